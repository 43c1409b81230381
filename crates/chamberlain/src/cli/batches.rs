//! `chamberlain batches`: how batches stand, what was set aside for them and what they cost.

use chamberlain_control::command::BatchesList;
use chamberlain_control::reply::Batch;
use clap::Args;

use super::context::Context;
use crate::failure::Failure;
use crate::out::or_dash;

const EXAMPLES: &str = "\
Examples:
  chamberlain batches
  chamberlain batches --open                            those whose cost is not known yet
  chamberlain batches --limit 500 --json";

const STATES: &str = "\
States: open (charged in full until its results were read), settled (charged what it cost),
given_up (its cost cannot be learned; it stays charged in full until chamberlain write-off).";

/// Batches on record, newest first, and what is known of their cost
#[derive(Args, Debug)]
#[command(before_help = EXAMPLES, after_help = STATES)]
pub(crate) struct Batches {
    /// Only those whose cost is not known yet
    #[arg(long)]
    open: bool,
    /// How many
    #[arg(long, value_name = "N")]
    limit: Option<u32>,
}

impl Batches {
    pub(super) fn run(self, context: &Context) -> Result<(), Failure> {
        let found = context.ask(BatchesList { open: self.open, limit: self.limit })?;
        let problems: Vec<String> = found
            .batches
            .iter()
            .filter_map(|batch| Some(format!("{}: {}", batch.id, batch.problem.as_ref()?)))
            .collect();
        context.show(&found, |out, found| {
            let headings =
                ["submitted", "batch", "key", "items", "upstream", "state", "set aside", "charged"];
            out.table(&headings, found.batches.iter().map(row).collect())
        })?;
        if !context.out.json {
            problems.iter().for_each(|problem| context.out.hint(problem));
        }
        Ok(())
    }
}

fn row(batch: &Batch) -> Vec<String> {
    vec![
        batch.at.to_string(),
        batch.id.clone(),
        batch.virtual_key_name.clone().unwrap_or_else(|| batch.virtual_key.clone()),
        batch.items.to_string(),
        or_dash(batch.processing_status.as_ref()),
        batch.state.clone(),
        or_dash(batch.reserved),
        or_dash(batch.cost),
    ]
}

//! `chamberlain limit`: rate limits and concurrency.

use chamberlain_control::command::{LimitList, LimitSet};
use chamberlain_control::reply::LimitLine;
use chamberlain_control::wire::Change;
use clap::{Args, Subcommand};

use super::budget::scope;
use super::context::Context;
use super::parse;
use crate::failure::Failure;
use crate::out::or_dash;

const EXAMPLES: &str = "\
Examples:
  chamberlain limit list
  chamberlain limit set staging --rpm 30 --concurrency 5
  chamberlain limit set ci --rpm off                    shares the environment's limit again";

/// Rate limits: list, set
#[derive(Args, Debug)]
#[command(before_help = EXAMPLES)]
pub(crate) struct Limit {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// List rate limits
    List {
        /// An environment or a virtual key; all when absent
        scope: Option<String>,
    },
    /// Set rate limits of a scope; `off` removes one, `default` goes back to the configuration
    Set(Set),
}

#[derive(Args, Debug)]
struct Set {
    /// An environment or a virtual key
    scope: String,
    /// Requests in any minute
    #[arg(long, value_name = "N|off|default", value_parser = parse::count_change)]
    rpm: Option<Change<u64>>,
    /// Input tokens in any minute
    #[arg(long, value_name = "N|off|default", value_parser = parse::count_change)]
    input_tpm: Option<Change<u64>>,
    /// Output tokens in any minute
    #[arg(long, value_name = "N|off|default", value_parser = parse::count_change)]
    output_tpm: Option<Change<u64>>,
    /// Calls in flight at once
    #[arg(long, value_name = "N|off|default", value_parser = parse::count_change)]
    concurrency: Option<Change<u64>>,
}

impl Limit {
    pub(super) fn run(self, context: &Context) -> Result<(), Failure> {
        let lines = match self.verb {
            Verb::List { scope } => context.ask(LimitList { scope })?,
            Verb::Set(set) => {
                let changes = [&set.rpm, &set.input_tpm, &set.output_tpm, &set.concurrency];
                if changes.iter().all(|change| change.is_none()) {
                    return Err(Failure::usage("nothing to set")
                        .hint("name --rpm, --input-tpm, --output-tpm or --concurrency"));
                }
                context.ask(LimitSet {
                    scope: set.scope,
                    rpm: set.rpm.unwrap_or_default(),
                    input_tpm: set.input_tpm.unwrap_or_default(),
                    output_tpm: set.output_tpm.unwrap_or_default(),
                    concurrency: set.concurrency.unwrap_or_default(),
                })?
            }
        };
        context.show(&lines, |out, lines| {
            let headings = [
                "scope",
                "requests/min",
                "input tokens/min",
                "output tokens/min",
                "in flight",
                "set by",
            ];
            out.table(&headings, lines.limits.iter().map(row).collect())
        })
    }
}

fn row(line: &LimitLine) -> Vec<String> {
    let mut sources: Vec<String> = line.sources.values().cloned().collect();
    sources.dedup();
    vec![
        scope(&line.scope),
        or_dash(line.limits.requests_per_minute),
        or_dash(line.limits.input_tokens_per_minute),
        or_dash(line.limits.output_tokens_per_minute),
        or_dash(line.limits.concurrency),
        sources.join(", "),
    ]
}

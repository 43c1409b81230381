//! `chamberlain prices`: the models, where they are in their life, and what they cost.

use chamberlain_control::command::PricesList;
use chamberlain_control::reply::{Price, PricePerMillion};
use chamberlain_core::ledger::price::Lifecycle;
use chamberlain_core::money::Money;
use clap::Args;

use super::context::Context;
use crate::failure::Failure;
use crate::out::or_dash;

const EXAMPLES: &str = "\
Examples:
  chamberlain prices
  chamberlain prices haiku
  chamberlain prices --all --json                       retired models too";

/// The models and their prices
#[derive(Args, Debug)]
#[command(before_help = EXAMPLES)]
pub(crate) struct Prices {
    /// Only models whose id contains this
    model: Option<String>,
    /// Retired models too
    #[arg(long)]
    all: bool,
}

impl Prices {
    pub(super) fn run(self, context: &Context) -> Result<(), Failure> {
        let prices = context.ask(PricesList { model: self.model, all: self.all })?;
        context.show(&prices, |out, prices| {
            let headings = [
                "model",
                "input",
                "output",
                "write 5m",
                "write 1h",
                "read",
                "context",
                "output max",
                "life",
            ];
            out.table(&headings, prices.prices.iter().map(row).collect())
        })?;
        if !context.out.json {
            context.out.hint("US dollars per million tokens");
        }
        Ok(())
    }
}

fn row(price: &Price) -> Vec<String> {
    let of = |part: fn(&PricePerMillion) -> Money| or_dash(price.per_million.as_ref().map(part));
    let life = match (price.lifecycle, &price.retires_on) {
        (Lifecycle::Retired, Some(day)) => format!("retired {day}"),
        (Lifecycle::Retired, None) => "retired".to_owned(),
        (_, Some(day)) => format!("retires {day}"),
        (Lifecycle::Deprecated, None) => "deprecated".to_owned(),
        (Lifecycle::Active, None) => "active".to_owned(),
    };
    vec![
        price.model.clone(),
        of(|per| per.input),
        of(|per| per.output),
        of(|per| per.cache_write_5m),
        of(|per| per.cache_write_1h),
        of(|per| per.cache_read),
        price.context_window.to_string(),
        price.max_output.to_string(),
        life,
    ]
}

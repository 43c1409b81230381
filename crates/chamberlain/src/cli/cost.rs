//! `chamberlain cost`: what calls cost. `cost today` prints a plain number first, so that scripts
//! can use it. What the mock answered costs nobody anything: it is told apart and added to nothing.

use chamberlain_control::command::{CostEstimate, CostMonth, CostToday, CostTop};
use chamberlain_control::reply::{CostLine, CostSummary, CostTopLines, Estimate};
use chamberlain_control::wire::CostBy;
use chamberlain_core::money::Money;
use clap::{Args, Subcommand, ValueEnum};

use super::budget::percent;
use super::context::Context;
use super::parse;
use crate::failure::Failure;
use crate::out::{Out, or_dash};

const EXAMPLES: &str = "\
Examples:
  chamberlain cost today                                a number in US dollars, then details
  chamberlain cost month --environment production
  chamberlain cost top --by model --since 7d
  chamberlain cost estimate claude-haiku-5-5 --input 2000 --output 500 --budget 5";

/// What calls cost: today, month, top, estimate
#[derive(Args, Debug)]
#[command(before_help = EXAMPLES)]
pub(crate) struct Cost {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// Today's cost in US dollars, without what the mock answered
    Today {
        /// Only of this environment
        #[arg(long)]
        environment: Option<String>,
    },
    /// This month's cost in US dollars, without what the mock answered
    Month {
        /// Only of this environment
        #[arg(long)]
        environment: Option<String>,
    },
    /// Who or what costs most
    Top {
        /// By what
        #[arg(long, value_enum, default_value_t = By::Key)]
        by: By,
        /// From when: 7d, 2026-11-01 or RFC 3339; the first of the month when absent
        #[arg(long, value_name = "WHEN")]
        since: Option<String>,
        /// How many lines
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000))]
        limit: Option<u32>,
    },
    /// What a call would cost
    Estimate(EstimateArgs),
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum By {
    /// Virtual key
    Key,
    /// Served model
    Model,
    /// Environment
    Environment,
    /// Operation
    Operation,
}

#[derive(Args, Debug)]
struct EstimateArgs {
    /// The model
    model: String,
    /// Uncached prompt tokens
    #[arg(long, value_name = "TOKENS", default_value_t = 0)]
    input: u64,
    /// Output tokens, thinking included
    #[arg(long, value_name = "TOKENS", default_value_t = 0)]
    output: u64,
    /// Tokens written to the five-minute cache
    #[arg(long, value_name = "TOKENS", default_value_t = 0)]
    cache_write_5m: u64,
    /// Tokens written to the one-hour cache
    #[arg(long, value_name = "TOKENS", default_value_t = 0)]
    cache_write_1h: u64,
    /// Tokens read from the cache
    #[arg(long, value_name = "TOKENS", default_value_t = 0)]
    cache_read: u64,
    /// Web searches
    #[arg(long, value_name = "N", default_value_t = 0)]
    web_searches: u64,
    /// At fast-mode prices
    #[arg(long)]
    fast: bool,
    /// At US-only prices
    #[arg(long)]
    us_only: bool,
    /// How many such calls would this buy
    #[arg(long, value_name = "USD", value_parser = parse::money)]
    budget: Option<Money>,
}

impl Cost {
    pub(super) fn run(self, context: &Context) -> Result<(), Failure> {
        match self.verb {
            Verb::Today { environment } => {
                context.show(&context.ask(CostToday { environment })?, summary)
            }
            Verb::Month { environment } => {
                context.show(&context.ask(CostMonth { environment })?, summary)
            }
            Verb::Top { by, since, limit } => {
                let by = match by {
                    By::Key => CostBy::VirtualKey,
                    By::Model => CostBy::Model,
                    By::Environment => CostBy::Environment,
                    By::Operation => CostBy::Operation,
                };
                context.show(&context.ask(CostTop { by, since, limit })?, top)
            }
            Verb::Estimate(args) => context.show(&context.ask(args.question())?, estimate),
        }
    }
}

impl EstimateArgs {
    fn question(self) -> CostEstimate {
        CostEstimate {
            model: self.model,
            input: self.input,
            output: self.output,
            cache_write_5m: self.cache_write_5m,
            cache_write_1h: self.cache_write_1h,
            cache_read: self.cache_read,
            web_searches: self.web_searches,
            fast: self.fast,
            us_only: self.us_only,
            budget: self.budget,
        }
    }
}

/// The number alone for programs; for people the parts below it.
fn summary(out: &Out, summary: &CostSummary) -> Result<(), Failure> {
    out.line(&summary.cost.to_decimal())?;
    if !out.terminal {
        return Ok(());
    }
    out.line("")?;
    out.line(&format!("{} in {} calls since {}", summary.cost, summary.calls, summary.from))?;
    if !summary.unsettled.is_zero() {
        out.line(&format!("of it {} for calls whose outcome is unknown", summary.unsettled))?;
    }
    if !summary.estimated.is_zero() {
        out.line(&format!("of it {} estimated", summary.estimated))?;
    }
    if summary.mock_calls > 0 {
        let CostSummary { mock_calls, mock_cost, .. } = summary;
        out.line(&format!(
            "besides, the mock answered {mock_calls} calls, which would have cost {mock_cost}"
        ))?;
    }
    for (heading, lines) in [("environment", &summary.by_environment), ("model", &summary.by_model)]
    {
        if !lines.is_empty() {
            out.line("")?;
            table(out, heading, lines)?;
        }
    }
    Ok(())
}

fn top(out: &Out, top: &CostTopLines) -> Result<(), Failure> {
    let heading = match top.by {
        CostBy::VirtualKey => "key",
        CostBy::Model => "model",
        CostBy::Environment => "environment",
        CostBy::Operation => "operation",
    };
    table(out, heading, &top.lines)
}

fn table(out: &Out, heading: &str, lines: &[CostLine]) -> Result<(), Failure> {
    let rows = lines.iter().map(|line| {
        vec![
            line.name.clone(),
            line.calls.to_string(),
            line.tokens.prompt().to_string(),
            line.tokens.output.to_string(),
            line.cost.to_string(),
            percent(line.share_basis_points),
            line.mock_calls.to_string(),
            line.mock_cost.to_string(),
        ]
    });
    let headings =
        [heading, "calls", "input", "output", "cost", "share", "mock calls", "mock cost"];
    out.table(&headings, rows.collect())
}

fn estimate(out: &Out, estimate: &Estimate) -> Result<(), Failure> {
    let per = &estimate.per_million;
    out.facts(&[
        ("cost", format!("{} ({} USD)", estimate.cost, estimate.cost.to_decimal())),
        ("model", estimate.model.clone()),
        ("per million tokens", format!("{} in, {} out", per.input, per.output)),
        ("calls for the budget", or_dash(estimate.calls)),
    ])
}

//! `chamberlain write-off`: a call whose outcome is unknown stays charged at its reservation until
//! a person says what it really cost.

use chamberlain_control::command;
use chamberlain_core::money::Money;
use clap::Args;

use super::context::Context;
use super::parse;
use crate::failure::Failure;

const EXAMPLES: &str = "\
Examples:
  chamberlain calls --certainty unsettled
  chamberlain write-off call_0193… --cost 0.0125 --reason 'from the usage report of 2026-11-23'";

/// Give a call whose outcome is unknown its true cost
#[derive(Args, Debug)]
#[command(before_help = EXAMPLES)]
pub(crate) struct WriteOff {
    /// The call's id
    call: String,
    /// What it really cost; 0 for nothing
    #[arg(long, value_name = "USD", value_parser = parse::money)]
    cost: Money,
    /// How that is known
    #[arg(long)]
    reason: String,
}

impl WriteOff {
    pub(super) fn run(self, context: &Context) -> Result<(), Failure> {
        let WriteOff { call, cost, reason } = self;
        let done = context.ask(command::WriteOff { call, cost, reason })?;
        context.show(&done, |out, done| {
            let mut facts = vec![
                ("call", done.call.clone()),
                ("charged before", done.was.to_string()),
                ("charged now", done.now.to_string()),
            ];
            if !done.kept.is_zero() {
                facts.push(("kept, maybe spent by calls lost with power", done.kept.to_string()));
            }
            out.facts(&facts)
        })
    }
}

//! `chamberlain pause` and `resume`: stop all calls of a scope, and let them pass again.

use chamberlain_control::command;
use chamberlain_control::reply::Paused;
use clap::Args;

use super::budget::scope;
use super::context::Context;
use super::virtual_key;
use crate::failure::Failure;
use crate::out::Out;

const EXAMPLES: &str = "\
Examples:
  chamberlain pause production --reason 'cost spike, looking into it' --until 2h
  chamberlain pause organization --reason 'key leaked' --end-calls
  chamberlain resume production";

/// Stop all calls of a scope
#[derive(Args, Debug)]
#[command(before_help = EXAMPLES)]
pub(crate) struct Pause {
    /// `organization`, an environment, or a virtual key
    scope: String,
    /// Why; clients are told
    #[arg(long)]
    reason: String,
    /// Until when: 2h, 2026-12-31 or RFC 3339; until somebody resumes when absent
    #[arg(long, value_name = "WHEN")]
    until: Option<String>,
    /// End the calls in flight too, within a second; without it they go on to their end
    #[arg(long)]
    end_calls: bool,
}

/// End a pause
#[derive(Args, Debug)]
#[command(before_help = EXAMPLES)]
pub(crate) struct Resume {
    /// `organization`, an environment, or a virtual key
    scope: String,
    /// Why
    #[arg(long)]
    reason: Option<String>,
}

impl Pause {
    pub(super) fn run(self, context: &Context) -> Result<(), Failure> {
        let Pause { scope, reason, until, end_calls: ends_calls } = self;
        let asked = command::Pause { scope: scope.clone(), reason, until, ends_calls };
        let paused = context.ask(asked)?;
        context.show(&paused, facts)?;
        context.out.hint(&format!("to end it: chamberlain resume {scope}"));
        Ok(())
    }
}

impl Resume {
    pub(super) fn run(self, context: &Context) -> Result<(), Failure> {
        let Resume { scope, reason } = self;
        context.show(&context.ask(command::Resume { scope, reason })?, facts)
    }
}

fn facts(out: &Out, paused: &Paused) -> Result<(), Failure> {
    out.facts(&[
        ("scope", scope(&paused.scope)),
        ("paused", virtual_key::pause(paused.pause.as_ref())),
    ])
}

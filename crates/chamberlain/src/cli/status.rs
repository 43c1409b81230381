//! `chamberlain status`: how Chamberlain is, on one screen.

use chamberlain_control::command;
use chamberlain_control::reply::{BudgetLines, EnvironmentStatus, Status as StatusReply};
use clap::Args;

use super::context::Context;
use super::{budget, virtual_key};
use crate::failure::Failure;
use crate::out::{Out, or_dash};

const EXAMPLES: &str = "\
Examples:
  chamberlain status
  chamberlain status --json";

/// How Chamberlain is
#[derive(Args, Debug)]
#[command(before_help = EXAMPLES)]
pub(crate) struct Status {}

impl Status {
    pub(super) fn run(self, context: &Context) -> Result<(), Failure> {
        context.show(&context.ask(command::Status {})?, show)
    }
}

fn show(out: &Out, status: &StatusReply) -> Result<(), Failure> {
    let mut facts = vec![("data", status.data.clone()), ("version", status.version.clone())];
    match &status.running {
        None => facts.push(("server", "not running; start it with `chamberlain up`".to_owned())),
        Some(running) => {
            let draining = if running.draining { ", shutting down" } else { "" };
            facts.push((
                "server",
                format!("running for {} s as process {}{draining}", running.uptime_s, running.pid),
            ));
            facts.push(("gateway", or_dash(running.gateway.as_ref())));
            facts.push(("console", or_dash(running.console.as_ref())));
            let mock = if running.mock { " (the built-in mock)" } else { "" };
            facts.push(("upstream", format!("{}{mock}", running.upstream)));
            facts.push((
                "calls",
                format!("{} in flight, {} waiting", running.in_flight, running.waiting),
            ));
        }
    }
    let store = match &status.store.problem {
        None => "ok".to_owned(),
        Some(problem) => format!("PROBLEM: {problem}"),
    };
    facts.push(("store", format!("{store}, {} bytes", or_dash(status.store.bytes))));
    facts.push(("audit log", format!("{} records", status.audit.size)));
    facts.push(("all calls paused", virtual_key::pause(status.pause.as_ref())));
    out.facts(&facts)?;
    out.line("")?;
    let headings = ["environment", "upstream key", "virtual keys", "paused", "rotation due"];
    out.table(&headings, status.environments.iter().map(environment).collect())?;
    if !status.budgets.is_empty() {
        out.line("")?;
        let lines = BudgetLines { budgets: status.budgets.clone(), notes: Vec::new() };
        budget::table(out, &lines)?;
    }
    Ok(())
}

fn environment(environment: &EnvironmentStatus) -> Vec<String> {
    vec![
        environment.name.clone(),
        environment.upstream_key.clone().unwrap_or_else(|| "none (the mock)".to_owned()),
        environment.virtual_keys.to_string(),
        virtual_key::pause(environment.pause.as_ref()),
        or_dash(environment.rotation_due),
    ]
}

//! `chamberlain status`: how Chamberlain is, on one screen, once or again and again.

use std::time::Duration;

use chamberlain_control::command;
use chamberlain_control::reply::{
    BackupStatus, BudgetLines, EnvironmentStatus, Status as StatusReply,
};
use clap::Args;

use super::context::Context;
use super::{budget, virtual_key};
use crate::failure::{Failure, exit};
use crate::out::{Out, or_dash};

const EXAMPLES: &str = "\
Examples:
  chamberlain status
  chamberlain status --watch                            again every two seconds, until Ctrl-C
  chamberlain status --watch=10 --json                  a line of JSON every ten seconds
  chamberlain status --ready                            exit code 7 unless calls are taken";

/// To the upper left corner, and clear all below.
const AFRESH: &str = "\x1b[H\x1b[J";

/// How Chamberlain is
#[derive(Args, Debug)]
#[command(before_help = EXAMPLES)]
pub(crate) struct Status {
    /// Ask again every so many seconds (2 if not said), until Ctrl-C
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "2", value_parser = clap::value_parser!(u64).range(1..=3600))]
    watch: Option<u64>,
    /// Exit with 7 unless a server takes calls: for health checks
    #[arg(long, conflicts_with = "watch")]
    ready: bool,
}

impl Status {
    pub(super) fn run(self, context: &Context) -> Result<(), Failure> {
        let Some(seconds) = self.watch else {
            let status = context.ask(command::Status {})?;
            context.show(&status, show)?;
            return if self.ready { takes_calls(&status) } else { Ok(()) };
        };
        loop {
            if context.out.terminal && !context.out.json {
                context.out.raw(AFRESH)?;
                context.out.line(&format!("{}, again every {seconds} s\n", context.now()))?;
            }
            context.show(&context.ask(command::Status {})?, show)?;
            std::thread::sleep(Duration::from_secs(seconds));
        }
    }
}

fn takes_calls(status: &StatusReply) -> Result<(), Failure> {
    let reason = match (&status.running, &status.store.problem) {
        (None, _) => "no server runs".to_owned(),
        (Some(running), _) if running.draining => "the server is shutting down".to_owned(),
        (_, Some(problem)) => format!("the store cannot be written: {problem}"),
        (Some(_), None) => return Ok(()),
    };
    Err(Failure::new(exit::UNAVAILABLE, format!("no calls are taken: {reason}")))
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
    facts.push(("backups", backups(&status.backup)));
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

fn backups(status: &BackupStatus) -> String {
    let made = match (&status.folder, &status.last_at) {
        (None, _) => "none by themselves".to_owned(),
        (Some(_), None) => "none yet".to_owned(),
        (Some(_), Some(at)) => format!("last at {at}"),
    };
    let drill = match &status.drill {
        None => ", never put back in a drill".to_owned(),
        Some(drill) => match &drill.problem {
            None => format!(", put back in a drill at {}", drill.at),
            Some(problem) => format!(", DRILL FAILED at {}: {problem}", drill.at),
        },
    };
    let held = if status.held { "; something is HELD since a restore" } else { "" };
    format!("{made}{drill}{held}")
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

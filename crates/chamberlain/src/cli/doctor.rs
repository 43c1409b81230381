//! `chamberlain doctor`: looks at everything that is often wrong, and says the mend. What belongs to
//! store, vault and audit log is looked at behind the door; what belongs to this machine, here.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chamberlain_control::client::Client;
use chamberlain_control::command;
use chamberlain_control::door;
use chamberlain_control::reply::{Check, CheckState, Doctor as DoctorReply, Running, UpstreamKey};
use chamberlain_gateway::probe;
use clap::Args;

use super::context::Context;
use crate::config::mistake::Gravity;
use crate::config::settings::Config;
use crate::failure::{Failure, exit};
use crate::out::{Out, clean};

mod repository;

const EXAMPLES: &str = "\
Examples:
  chamberlain doctor
  chamberlain doctor --json                             for monitoring; exit code 3 on a problem
  chamberlain doctor --offline                          asks nobody outside this machine
  chamberlain doctor --repository .                     keys that lie about in a repository";

/// Longest wait for upstream.
const UPSTREAM_MAX: Duration = Duration::from_secs(10);
/// A disk with less than this left is a problem.
const DISK_BYTES_MIN: u64 = 256 << 20;
/// A disk with less than this left is worth a look.
const DISK_BYTES_LOW: u64 = 2 << 30;
/// Clocks that differ by more than this make budgets change over at the wrong time, seconds.
const CLOCK_S_MAX: i64 = 60;

/// What the check of the data folder is called, here and behind the door.
const FOLDER: &str = "data folder";

/// Look at everything that is often wrong
#[derive(Args, Debug)]
#[command(before_help = EXAMPLES)]
pub(crate) struct Doctor {
    /// Do not look whether upstream can be reached
    #[arg(long)]
    offline: bool,
    /// Look instead at a repository: env files, what git would take, CI files, your shell's history
    #[arg(long, value_name = "DIR", conflicts_with = "offline")]
    repository: Option<PathBuf>,
}

impl Doctor {
    pub(super) fn run(self, context: &Context) -> Result<(), Failure> {
        if let Some(root) = &self.repository {
            return ended(context, repository::checks(root)?);
        }
        let mut checks = Vec::new();
        let config = configuration(context, &mut checks);
        let data = context.data()?;
        folder(&data, &mut checks);
        disk(&data, &mut checks);
        let running = inside(context, &data, &mut checks);
        if let Some(running) = &running {
            checks.push(core_dumps(running.pid));
        }
        if let Some(config) = &config {
            checks.push(exposure(config));
            if !self.offline {
                upstream(context, config, running.as_ref(), &mut checks);
            }
        }
        ended(context, checks)
    }
}

/// Shows what was found; a problem is an exit code of its own.
fn ended(context: &Context, checks: Vec<Check>) -> Result<(), Failure> {
    let state = checks.iter().map(|check| check.state).max().unwrap_or(CheckState::Ok);
    context.show(&DoctorReply { state, checks }, show)?;
    match state {
        CheckState::Problem => Err(Failure::silent(exit::PROBLEM)),
        CheckState::Ok | CheckState::Warning => Ok(()),
    }
}

fn check(name: &str, state: CheckState, message: impl Into<String>, fix: Option<String>) -> Check {
    Check { name: name.to_owned(), state, message: message.into(), fix }
}

fn show(out: &Out, doctor: &DoctorReply) -> Result<(), Failure> {
    for check in &doctor.checks {
        let word = match check.state {
            CheckState::Ok => "ok     ",
            CheckState::Warning => "warning",
            CheckState::Problem => "PROBLEM",
        };
        out.line(&format!("{word}  {}: {}", check.name, clean(&check.message)))?;
        if let Some(fix) = &check.fix {
            out.line(&format!("         fix: {}", clean(fix)))?;
        }
    }
    let count = |state| doctor.checks.iter().filter(|check| check.state == state).count();
    out.line(&match (count(CheckState::Problem), count(CheckState::Warning)) {
        (0, 0) => "Everything is in order.".to_owned(),
        (problems, warnings) => format!("Problems: {problems}, warnings: {warnings}."),
    })
}

/// Reads the configuration; each mistake is a check that failed.
fn configuration(context: &Context, checks: &mut Vec<Check>) -> Option<Config> {
    const NAME: &str = "configuration";
    let sources = match context.sources(Vec::new()) {
        Ok(sources) => sources,
        Err(failure) => {
            checks.push(check(NAME, CheckState::Problem, failure.message, failure.hint));
            return None;
        }
    };
    let file = sources.file.as_ref().map_or("no file", |(path, _)| path.as_str()).to_owned();
    let (config, mistakes) = match crate::config::load(&sources, context.now()) {
        Ok(loaded) => (Some(loaded.config), loaded.warnings),
        Err(mistakes) => (None, mistakes),
    };
    if mistakes.0.is_empty() {
        checks.push(check(NAME, CheckState::Ok, format!("nothing is wrong ({file})"), None));
    }
    for mistake in mistakes.0 {
        let state = match mistake.gravity {
            Gravity::Error => CheckState::Problem,
            Gravity::Warning => CheckState::Warning,
        };
        let place = mistake.place.map_or_else(String::new, |place| format!("{place}: "));
        checks.push(check(NAME, state, format!("{place}{}", mistake.what), Some(mistake.fix)));
    }
    config
}

/// Whether others can look into the data folder.
fn folder(data: &Path, checks: &mut Vec<Check>) {
    const NAME: &str = FOLDER;
    if !data.exists() {
        let message = format!("{} is not there yet", data.display());
        checks.push(check(NAME, CheckState::Warning, message, Some("chamberlain up".to_owned())));
        return;
    }
    if let Err(failure) = crate::data_dir::DataDir::open(data) {
        checks.push(check(NAME, CheckState::Problem, failure.message, failure.hint));
        return;
    }
    let before = checks.len();
    let entries = std::fs::read_dir(data).into_iter().flatten().flatten();
    for path in entries.map(|entry| entry.path()) {
        let Ok(found) = std::fs::symlink_metadata(&path) else { continue };
        let mode = found.mode() & 0o777;
        if !found.is_symlink() && mode & 0o077 != 0 {
            let message = format!("others can read {} (mode {mode:o})", path.display());
            let fix = format!("chmod go= {}", path.display());
            checks.push(check(NAME, CheckState::Problem, message, Some(fix)));
        }
    }
    if checks.len() == before {
        let message = format!("{} is its owner's alone", data.display());
        checks.push(check(NAME, CheckState::Ok, message, None));
    }
}

fn disk(data: &Path, checks: &mut Vec<Check>) {
    let Some(there) = data.ancestors().find(|path| path.exists()) else { return };
    let Ok(disk) = rustix::fs::statvfs(there) else { return };
    let left = disk.f_bavail.saturating_mul(disk.f_frsize);
    let state = match left {
        ..DISK_BYTES_MIN => CheckState::Problem,
        DISK_BYTES_MIN..DISK_BYTES_LOW => CheckState::Warning,
        _ => CheckState::Ok,
    };
    let fix = (state != CheckState::Ok)
        .then(|| "make room: when nothing can be put on record, every call is refused".to_owned());
    checks.push(check("disk", state, format!("{} MiB left", left >> 20), fix));
}

/// Asks behind the door; gives what the running server says of itself.
fn inside(context: &Context, data: &Path, checks: &mut Vec<Check>) -> Option<Running> {
    // A folder that was never used has nothing to look at, one whose store is gone has.
    let has = |name: &str| data.join(name).exists();
    let used = has("chamberlain.db") || (has("master.key") && has("chamberlain.db.lock"));
    if !used {
        return None;
    }
    let door = match context.door() {
        Ok(door) => door,
        Err(failure) => {
            checks.push(check("store", CheckState::Problem, failure.message, failure.hint));
            return None;
        }
    };
    match door::ask(door.as_ref(), command::Doctor {}) {
        // The folder was looked at here already, with the files in it.
        Ok(doctor) => checks.extend(doctor.checks.into_iter().filter(|check| check.name != FOLDER)),
        Err(error) => {
            checks.push(check("store", CheckState::Problem, error.message, error.hint));
        }
    }
    if let Ok(keys) = door::ask(door.as_ref(), command::KeyList::default()) {
        checks.extend(keys.keys.iter().filter_map(shared));
    }
    let server = Client::connect(data).ok().flatten()?;
    match door::ask(&server, command::Status {}) {
        Ok(status) => status.running,
        Err(_) => None,
    }
}

/// One key for several environments mixes their incidents, limits and costs at Anthropic.
fn shared(key: &UpstreamKey) -> Option<Check> {
    let [first, _, ..] = key.serves.as_slice() else { return None };
    Some(check(
        "shared keys",
        CheckState::Warning,
        format!("upstream key {:?} serves {}", key.name, key.serves.join(", ")),
        Some(format!(
            "give each a key of its own: chamberlain key add --name {first} --environment {first}"
        )),
    ))
}

fn core_dumps(pid: u32) -> Check {
    const NAME: &str = "core dumps";
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap_or_default();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max core file size"));
    match line.and_then(|line| line.split_whitespace().next()) {
        Some("0") => check(NAME, CheckState::Ok, "switched off", None),
        Some(_) => check(
            NAME,
            CheckState::Problem,
            format!("process {pid} could leave its memory, keys included, in a file"),
            Some("restart it with `chamberlain up`, which switches them off".to_owned()),
        ),
        None => {
            check(NAME, CheckState::Warning, format!("process {pid} cannot be looked at"), None)
        }
    }
}

/// The configuration warns about it too; here it is also said when it is well.
fn exposure(config: &Config) -> Check {
    use std::net::ToSocketAddrs;
    let listen = config.tls.is_none().then_some(config.listen.as_str());
    let open: Vec<&str> = listen
        .into_iter()
        .chain([config.console.as_str()])
        .filter(|address| {
            let found = address.to_socket_addrs();
            found.is_ok_and(|mut found| found.any(|address| !address.ip().is_loopback()))
        })
        .collect();
    if open.is_empty() {
        return {
            let message = match config.tls {
                Some(_) => "what the network reaches is under TLS",
                None => "only this machine can reach it",
            };
            check("exposure", CheckState::Ok, message, None)
        };
    }
    check(
        "exposure",
        CheckState::Warning,
        format!("the network reaches {} without TLS", open.join(" and ")),
        Some("keep a TLS proxy in front, and others off these ports".to_owned()),
    )
}

fn upstream(
    context: &Context,
    config: &Config,
    running: Option<&Running>,
    checks: &mut Vec<Check>,
) {
    const NAME: &str = "upstream reachable";
    if running.is_some_and(|running| running.mock) {
        let message = "calls are answered by the built-in mock";
        let fix = "chamberlain key add --name main, then restart `chamberlain up`";
        checks.push(check(NAME, CheckState::Warning, message, Some(fix.to_owned())));
        return;
    }
    let url = running.map_or(&config.upstream_url, |running| &running.upstream);
    let reached = url.parse().map_err(|_| "not a web address".to_owned()).and_then(|base| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| error.to_string())?;
        runtime.block_on(probe::head(&base, UPSTREAM_MAX))
    });
    match reached {
        Ok(reached) => {
            checks.push(check(NAME, CheckState::Ok, format!("{url} can be reached"), None));
            let now = context.now().ms() / 1_000;
            checks.extend(reached.date.and_then(|date| clock(&date, now)));
        }
        Err(reason) => checks.push(check(
            NAME,
            CheckState::Problem,
            format!("{url} cannot be reached: {reason}"),
            Some("look at upstream.url, and at the network, DNS and firewall here".to_owned()),
        )),
    }
}

const CLOCK: &str = "clock against upstream";

/// Compares our clock (seconds since the epoch) with upstream's `date` header.
fn clock(date: &str, now_s: i64) -> Option<Check> {
    let theirs = jiff::fmt::rfc2822::parse(date).ok()?.timestamp().as_second();
    let apart = now_s - theirs;
    if apart.abs() <= CLOCK_S_MAX {
        return Some(check(CLOCK, CheckState::Ok, "agrees with upstream's", None));
    }
    let side = if apart > 0 { "ahead of" } else { "behind" };
    Some(check(
        CLOCK,
        CheckState::Problem,
        format!("this machine's clock is {} s {side} upstream's", apart.abs()),
        Some("switch time synchronisation on: budgets begin and end by this clock".to_owned()),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_off_is_a_problem() {
        let date = "Mon, 23 Nov 2026 12:00:00 GMT";
        let noon = 1_795_435_200;
        assert_eq!(clock(date, noon + 59).unwrap().state, CheckState::Ok);
        let late = clock(date, noon - 61).unwrap();
        assert!(late.message.contains("61 s behind"), "{}", late.message);
        assert_eq!(late.state, CheckState::Problem);
        assert!(clock("yesterday", noon).is_none());
    }
}

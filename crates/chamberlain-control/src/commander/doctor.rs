//! The checks of `chamberlain doctor` that need the store and the vault.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use chamberlain_core::admission::key::KeyState;
use chamberlain_core::ledger::account::Scope;
use chamberlain_core::record::{Certainty, Severity};
use chamberlain_core::time::WindowKind;
use chamberlain_store::{CallFilter, EffectState};

use super::{Commander, audit, status};
use crate::error::CommandError;
use crate::publish;
use crate::reply::{Check, CheckState, DeliveryState, Doctor, SinkLine};
use crate::virtual_key::Ground;

const DAY_MS: i64 = 86_400_000;

/// Warned of this long before.
const SOON_MS: i64 = 14 * DAY_MS;

/// Effects looked at for those that were given up.
const EFFECTS: usize = 1_000;

impl Commander {
    pub(super) fn doctor(&self) -> Result<Doctor, CommandError> {
        let (house, ruling) = (self.house()?, self.settings.read().clone());
        let ground = Ground {
            house: &house,
            settings: &ruling.settings,
            calendar: &ruling.calendar,
            now: self.now(),
        };
        let mut checks = vec![
            self.check_folder(),
            self.check_store(),
            self.check_audit(),
            self.check_anchor(ground),
            self.check_clock(ground),
            self.check_outbox(),
            self.check_vault(ground),
            self.check_sinks(),
            self.check_backups(),
            check_upstream(ground),
            check_rotation(ground),
            self.check_inventory(),
            check_virtual_keys(ground),
            check_budgets(ground),
            self.check_unsettled(),
            self.check_reserved(),
        ];
        checks.sort_by_key(|check| std::cmp::Reverse(check.state));
        let state = checks.iter().map(|check| check.state).max().unwrap_or(CheckState::Ok);
        Ok(Doctor { state, checks })
    }

    /// Backups that are made, and were put back lately.
    fn check_backups(&self) -> Check {
        let name = "backups";
        let status = match self.backup_status() {
            Ok(status) => status,
            Err(error) => return problem(name, error.to_string(), "mend the store first"),
        };
        if status.held {
            return warning(
                name,
                "something is held back since a backup was put back",
                "chamberlain backup held says what, and how to end it",
            );
        }
        if status.folder.is_none() {
            return warning(
                name,
                "none are made by themselves",
                "set backup.folder and backup.recipients (docs/backup.md)",
            );
        }
        match self.backup_trouble(self.now()) {
            Ok(None) => ok(name, "the last one is young enough, and one was put back lately"),
            Ok(Some(trouble)) => problem(name, trouble, "chamberlain backup create, and drill"),
            Err(error) => problem(name, error.to_string(), "make the folder readable"),
        }
    }

    /// With no call in flight nothing may be set aside: money would be frozen.
    fn check_reserved(&self) -> Check {
        let name = "reservations";
        // A call may begin or end while this looks; the same amount held by no call, seen twice,
        // is not one of those.
        match (self.held_by_no_call(), self.held_by_no_call()) {
            (Ok(Some(first)), Ok(Some(second))) if first == second => problem(
                name,
                first,
                "restart: what no call holds becomes unsettled; and please report it",
            ),
            (Err(error), _) | (_, Err(error)) => {
                problem(name, error.to_string(), "mend the store first")
            }
            _ => ok(name, "nothing is set aside but for calls in flight"),
        }
    }

    fn held_by_no_call(&self) -> Result<Option<String>, CommandError> {
        let in_flight = || self.live.get().map_or(0, |live| live.running().in_flight);
        if in_flight() > 0 {
            return Ok(None);
        }
        let held = self.balances()?.into_iter().find(|(_, balance)| !balance.reserved.is_zero());
        let held = held.filter(|_| in_flight() == 0);
        Ok(held.map(|(account, balance)| {
            format!("{} is set aside in the {account} for no call", balance.reserved)
        }))
    }

    fn check_folder(&self) -> Check {
        let name = "data folder";
        let mode = fs::metadata(&self.data).map(|folder| folder.permissions().mode() & 0o777);
        let path = self.data.display();
        match mode {
            Ok(mode) if mode & 0o077 == 0 => ok(name, format!("{path} is closed to others")),
            Ok(mode) => problem(
                name,
                format!("{path} has mode {mode:o}, so others can look into it"),
                format!("chmod 700 {path}"),
            ),
            Err(error) => problem(name, format!("{path}: {error}"), "check the path"),
        }
    }

    fn check_store(&self) -> Check {
        let status = self.store_status();
        match status.problem {
            None => ok("store", "it can be read and written"),
            Some(what) => problem("store", what, "calls are refused until this is mended"),
        }
    }

    /// The last checkpoint still describes the beginning of the log.
    fn check_audit(&self) -> Check {
        let name = "audit log";
        match self.audit_grew_from_last_checkpoint() {
            Ok(Some((true, size))) => ok(name, format!("it grew from the head signed at {size}")),
            Ok(None) => warning(name, "no head is signed yet", "chamberlain audit checkpoint"),
            Ok(Some((false, size))) => problem(
                name,
                format!("it is not the log whose head was signed at {size}"),
                "chamberlain audit verify says where it was changed",
            ),
            Err(error) => problem(name, error.message, "chamberlain audit verify"),
        }
    }

    fn audit_grew_from_last_checkpoint(&self) -> Result<Option<(bool, u64)>, CommandError> {
        let Some(last) = self.last_checkpoint()? else { return Ok(None) };
        let grew = self.grew_from(&String::from_utf8_lossy(&last.note))?;
        Ok(Some((grew, last.size)))
    }

    fn check_anchor(&self, ground: Ground<'_>) -> Check {
        let name = "checkpoints elsewhere";
        match &ground.settings.checkpoint.anchor_file {
            Some(path) if path.exists() => {
                let last = self.anchored().map(|notes| notes.into_iter().next_back());
                match last.and_then(|note| note.map_or(Ok(true), |note| self.grew_from(&note))) {
                    Ok(true) => ok(name, format!("appended to {}", path.display())),
                    Ok(false) => problem(
                        name,
                        format!(
                            "the log did not grow from the last head in {}: it was cut, rolled \
                             back or begun anew",
                            path.display()
                        ),
                        "chamberlain audit verify; keep a copy of all files, restore the newest backup",
                    ),
                    Err(error) => problem(name, error.message, error.hint.unwrap_or_default()),
                }
            }
            Some(path) => warning(
                name,
                format!("{} does not exist yet", path.display()),
                "it appears with the first checkpoint of a running server",
            ),
            None => warning(
                name,
                "signed heads are kept beside the log only, so a rollback of both goes unnoticed",
                "set checkpoint.anchor_file to a file on another machine",
            ),
        }
    }

    fn check_clock(&self, ground: Ground<'_>) -> Check {
        let name = "clock";
        match audit::last_record(self) {
            Ok(Some(last)) if last.at > ground.now => warning(
                name,
                format!(
                    "the last record is of {}, which is ahead of now ({})",
                    last.at, ground.now
                ),
                "the clock was set back, or is wrong: check the time synchronization",
            ),
            Ok(_) => ok(name, format!("it is {}", ground.now)),
            Err(error) => problem(name, error.message, "chamberlain audit verify"),
        }
    }

    fn check_outbox(&self) -> Check {
        let name = "outbox";
        match self.store.effects_newest(EFFECTS) {
            Err(fault) => problem(name, fault.to_string(), "see the store's check"),
            Ok(effects) => {
                let given_up = |state| state == EffectState::GivenUp;
                match effects.iter().filter(|effect| given_up(effect.state)).count() {
                    0 => ok(name, "nothing was given up"),
                    count => problem(
                        name,
                        format!("{count} effects were given up"),
                        "look at their last error and do by hand what they were to do",
                    ),
                }
            }
        }
    }

    fn check_vault(&self, ground: Ground<'_>) -> Check {
        let name = "vault";
        let keys: Vec<_> = publish::open_keys(ground.house).collect();
        match keys.iter().find_map(|id| self.open_key(id).err()) {
            None if keys.is_empty() => ok(name, "it opens; it holds no upstream key yet"),
            None => ok(name, format!("upstream keys that open: {} of {0}", keys.len())),
            Some(error) => problem(name, error.message, error.hint.unwrap_or_default()),
        }
    }

    /// What was not delivered, and what still lies where it is of no use.
    fn check_sinks(&self) -> Check {
        let name = "sinks";
        let sinks = match self.sink_list() {
            Ok(listed) => listed.sinks,
            Err(error) => return problem(name, error.message, "see the store's check"),
        };
        let odd: Vec<String> = sinks.iter().filter_map(odd_sink).collect();
        match (odd.is_empty(), sinks.len()) {
            (true, 0) => ok(name, "no key is delivered anywhere"),
            (true, count) => ok(name, format!("{count}, each with what it was given last")),
            (false, _) => warning(
                name,
                odd.join("; "),
                "chamberlain sink check says what is there; chamberlain sink deliver puts a key in",
            ),
        }
    }

    /// What the last comparison with Anthropic's list found.
    fn check_inventory(&self) -> Check {
        let name = "inventory";
        let (findings, has_admin_key) = match (self.findings(), self.has_admin_key()) {
            (Ok(findings), Ok(has_admin_key)) => (findings, has_admin_key),
            (Err(error), _) | (_, Err(error)) => {
                return problem(name, error.message, "see the store's check");
            }
        };
        let told = findings.iter().filter(|found| found.finding.severity > Severity::Info);
        let worst = told.clone().max_by_key(|found| found.finding.severity);
        let fix = "chamberlain key list shows all of them; chamberlain key sync looks again";
        match worst {
            Some(worst) => {
                let count = told.count();
                let message = format!("{count} to look at: {}", worst.finding.message);
                match worst.finding.severity {
                    Severity::Critical => problem(name, message, worst.finding.advice.clone()),
                    _ => warning(name, message, fix),
                }
            }
            None if !has_admin_key => warning(
                name,
                "nobody compares it with what Anthropic lists: there is no admin key",
                "make one in the Claude Console, then chamberlain key admin add",
            ),
            None => ok(name, "it agrees with what Anthropic lists"),
        }
    }

    fn check_unsettled(&self) -> Check {
        let name = "unsettled calls";
        let filter = CallFilter { certainty: Some(Certainty::Unsettled), ..CallFilter::default() };
        match self.store.call_sum(&filter) {
            Err(fault) => problem(name, fault.to_string(), "see the store's check"),
            Ok(sum) if sum.calls == 0 => ok(name, "every call on record has a known cost"),
            Ok(sum) => warning(
                name,
                format!("{} calls are charged {} at their bound", sum.calls, sum.cost),
                "compare with the Claude Console (chamberlain calls --certainty unsettled), then \
                 chamberlain write-off",
            ),
        }
    }
}

/// What is odd about a sink.
fn odd_sink(sink: &SinkLine) -> Option<String> {
    let name = &sink.name;
    match (sink.last.as_ref().map(|last| last.state), &sink.holds) {
        (Some(DeliveryState::Begun), _) => Some(format!("{name}: a delivery did not end")),
        (Some(DeliveryState::Failed), _) => Some(format!("{name}: the last delivery failed")),
        (_, Some(held)) if !held.in_use => {
            let key = held.name.as_ref().unwrap_or(&held.key);
            Some(format!("{name}: it holds {key}, which is not in use any more"))
        }
        _ => None,
    }
}

fn check_upstream(ground: Ground<'_>) -> Check {
    let name = "upstream keys";
    let without: Vec<&str> = ground
        .settings
        .environments
        .iter()
        .map(|environment| &environment.name)
        .filter(|environment| ground.house.upstream_key_of(environment).is_none())
        .map(|environment| environment.as_str())
        .collect();
    match without.is_empty() {
        true => ok(name, "every environment has one"),
        false => warning(
            name,
            format!("calls of {} go to the mock: they have no key", without.join(", ")),
            "chamberlain key add --name main",
        ),
    }
}

fn check_rotation(ground: Ground<'_>) -> Check {
    let name = "rotation";
    let due: Vec<String> = status::rotations(ground.house, ground.settings, ground.calendar)
        .filter(|(_, _, due)| ground.now.plus_ms(SOON_MS) >= *due)
        .map(|(environment, key, due)| {
            format!("{} in {} by {}", key.name, environment.name, due.utc_date())
        })
        .collect();
    match due.is_empty() {
        true => ok(name, "no upstream key is due"),
        false => warning(
            name,
            format!("to be replaced: {}", due.join(", ")),
            "make a new key in the Claude Console, then chamberlain key add",
        ),
    }
}

fn check_virtual_keys(ground: Ground<'_>) -> Check {
    let name = "virtual keys";
    let in_use = || ground.house.virtual_keys.iter().filter(|key| key.state == KeyState::Active);
    let soon = ground.now.plus_ms(SOON_MS);
    let ending: Vec<&str> = in_use()
        .filter(|key| key.expires_at.is_some_and(|at| at <= soon))
        .map(|key| key.name.as_str())
        .collect();
    match ending.is_empty() {
        true => ok(name, format!("{} in use, none expires soon", in_use().count())),
        false => warning(
            name,
            format!("expired or about to: {}", ending.join(", ")),
            "chamberlain virtual update KEY --expires 90d, or revoke them",
        ),
    }
}

fn check_budgets(ground: Ground<'_>) -> Check {
    let name = "budgets";
    let unlimited = |of: &Scope| {
        let budgets = ground.house.budgets(of, ground.settings);
        WindowKind::ALL.iter().all(|kind| budgets.limit(*kind).is_none())
    };
    let names = ground.settings.environments.iter().map(|environment| &environment.name);
    let open: Vec<&str> = names
        .filter(|name| unlimited(&Scope::Environment((*name).clone())))
        .map(|name| name.as_str())
        .collect();
    match open.is_empty() || !unlimited(&Scope::Organization) {
        true => ok(name, "no call can spend without a limit"),
        false => warning(
            name,
            format!("nothing bounds the cost of {}", open.join(", ")),
            "chamberlain budget set NAME --daily USD",
        ),
    }
}

fn ok(name: &str, message: impl Into<String>) -> Check {
    Check { name: name.to_owned(), state: CheckState::Ok, message: message.into(), fix: None }
}

fn warning(name: &str, message: impl Into<String>, fix: impl Into<String>) -> Check {
    let state = CheckState::Warning;
    Check { state, fix: Some(fix.into()), ..ok(name, message) }
}

fn problem(name: &str, message: impl Into<String>, fix: impl Into<String>) -> Check {
    let state = CheckState::Problem;
    Check { state, fix: Some(fix.into()), ..ok(name, message) }
}

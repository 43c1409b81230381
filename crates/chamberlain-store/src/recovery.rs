//! What a start makes of how the last run ended, and what a proper end leaves behind.
//!
//! A crash never refunds. A call without an end stays charged at its reservation. After a power
//! loss, when the newest commits may be gone, what was leased and not seen spent counts as spent.

use std::path::Path;

use chamberlain_core::ledger::account::Balance;
use chamberlain_core::record::{Notice, Severity};
use chamberlain_core::time::Timestamp;
use rusqlite::Connection;
use serde_json::json;

use crate::balances::{self, Held};
use crate::fault::StoreFault;
use crate::intake::{self, Found};
use crate::meta;
use crate::writer::calls::{Trouble, facts};
use crate::writer::state::{State, open_calls};

const BOOT_ID: &str = "store.boot_id";
const CLEAN: &str = "store.clean";
const MOVED: &str = "store.intake";

/// Leases of windows that ended at most this long ago are tidied up, milliseconds.
const TIDIED_MS: i64 = 40 * 86_400_000;

/// How the last run ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum LastRun {
    /// There was none.
    None,
    /// It was closed.
    Closed,
    /// The process died; the machine went on, so everything committed is there.
    Killed,
    /// The machine started anew since, or nobody can tell: the newest commits may be gone.
    PowerLost,
}

impl LastRun {
    /// Reads how the last run ended. An empty boot id is never the same as another.
    pub(crate) fn read(connection: &Connection, boot_id: &str) -> Result<LastRun, StoreFault> {
        let Some(last) = meta::get(connection, BOOT_ID)? else { return Ok(LastRun::None) };
        let clean = meta::get(connection, CLEAN)?.is_some_and(|flag| flag == b"1");
        let same_boot = !boot_id.is_empty() && last == boot_id.as_bytes();
        Ok(match (clean, same_boot) {
            (true, _) => LastRun::Closed,
            (false, true) => LastRun::Killed,
            (false, false) => LastRun::PowerLost,
        })
    }

    fn word(self) -> &'static str {
        match self {
            LastRun::None => "none",
            LastRun::Closed => "closed",
            LastRun::Killed => "killed",
            LastRun::PowerLost => "power_lost",
        }
    }
}

/// Moves what the last run handed over and did not move itself into the tables, in the open
/// transaction. Gives the number of the next entry of the intake.
pub(crate) fn take_in(
    connection: &Connection,
    state: &mut State,
    path: &Path,
    last: LastRun,
) -> Result<u64, StoreFault> {
    // Without a last run what lies there belongs to a store that is gone.
    let next = moved(connection)?;
    let left = if last == LastRun::None { Vec::new() } else { intake::left_over(path, next)? };
    let count = left.len() as u64;
    for found in &left {
        let moved = match found {
            Found::Intent(intent) => state.intend(connection, intent),
            Found::Settlement(settlement) => state.settle(connection, settlement),
            Found::Notice(notice) => state.note(connection, notice),
        };
        match moved {
            Ok(()) => {}
            Err(Trouble::Refused(fault)) => {
                tracing::error!(error = %fault, "an entry of the intake was refused by the tables")
            }
            Err(Trouble::Broken(fault)) => return Err(fault),
        }
    }
    if count > 0 {
        tracing::info!(entries = count, "entries of the intake were moved into the tables");
    }
    state.flush(connection)?;
    mark_moved(connection, next + count)?;
    Ok(next + count)
}

/// The number of the first entry of the intake that is not in the tables.
fn moved(connection: &Connection) -> Result<u64, StoreFault> {
    let Some(bytes) = meta::get(connection, MOVED)? else { return Ok(0) };
    let bytes = bytes.try_into().map_err(|_| StoreFault::Damaged(format!("the mark {MOVED}")))?;
    Ok(u64::from_be_bytes(bytes))
}

/// Notes that every entry of the intake below `next` is in the tables.
pub(crate) fn mark_moved(connection: &Connection, next: u64) -> Result<(), StoreFault> {
    meta::put(connection, MOVED, &next.to_be_bytes())
}

/// Sets the books right after the last run, in the open transaction, and marks this run as begun.
pub(crate) fn recover(
    connection: &Connection,
    state: &mut State,
    boot_id: &str,
    now: Timestamp,
) -> Result<(), StoreFault> {
    let last = LastRun::read(connection, boot_id)?;
    // The end of the last run by its own records: a clock that was set forward in between must
    // not make its windows look ended.
    let alive_at = state.log.last_at().map_or(now, |at| at.min(now));
    let lost = open_calls(connection)?;
    for (call, _) in &lost {
        state.give_up(connection, *call, last == LastRun::PowerLost, now).map_err(fault)?;
    }
    state.flush(connection)?;
    let mut leases = 0;
    if last == LastRun::PowerLost {
        leases = charge_lost_leases(connection, state, alive_at, now)?;
    } else {
        return_leases(connection, alive_at)?;
    }
    meta::put(connection, BOOT_ID, boot_id.as_bytes())?;
    meta::put(connection, CLEAN, b"0")?;
    if last == LastRun::None {
        return Ok(());
    }
    let crashed = !lost.is_empty() || last == LastRun::PowerLost;
    if crashed {
        tracing::warn!(last_run = last.word(), calls = lost.len(), leases, "the last run crashed");
    }
    let notice = Notice {
        at: now,
        kind: "store.opened".into(),
        severity: if crashed { Severity::Warning } else { Severity::Info },
        subject: "store".into(),
        message: format!(
            "The store was opened after a run that ended like this: {}. {} calls have an unknown \
             end and {leases} leases may have been spent unseen; what they could have cost stays \
             charged.",
            last.word(),
            lost.len()
        ),
        facts: facts(json!({
            "last_run": last.word(),
            "calls_unsettled": lost.len(),
            "leases_lost": leases,
        })),
        notify: crashed,
    };
    state.note(connection, &notice).map_err(fault)
}

/// Marks a proper end: what was leased and not spent is given back.
pub(crate) fn close(connection: &Connection, state: &mut State) -> Result<(), StoreFault> {
    let alive_at = state.log.last_at().unwrap_or_default();
    return_leases(connection, alive_at)?;
    meta::put(connection, CLEAN, b"1")?;
    // The balances in memory are older than what was just written.
    *state = State::load(connection)?;
    Ok(())
}

/// Makes the next start take the last run for one that a power loss ended.
pub(crate) fn mark_interrupted(connection: &Connection) -> Result<(), StoreFault> {
    // An empty boot id is never the same as another.
    meta::put(connection, BOOT_ID, b"")?;
    meta::put(connection, CLEAN, b"0")
}

/// Counts the rest of every lease as spent; gives how many had a rest.
fn charge_lost_leases(
    connection: &Connection,
    state: &mut State,
    alive_at: Timestamp,
    now: Timestamp,
) -> Result<u64, StoreFault> {
    let mut leases = 0;
    for Held { id, account, balance } in balances::running(connection, alive_at)? {
        let rest = balance.granted.saturating_sub(balance.used());
        if rest.is_zero() {
            continue;
        }
        let unsettled = balance.unsettled.checked_add(rest);
        let unsettled = unsettled.ok_or_else(|| StoreFault::OutOfRange("a balance".into()))?;
        balances::save(connection, id, &Balance { unsettled, ..balance })?;
        let notice = Notice {
            at: now,
            kind: "lease.lost".into(),
            severity: Severity::Warning,
            subject: account.to_string(),
            message: format!(
                "The machine stopped without warning; {rest} that may have been spent unseen now \
                 counts as spent."
            ),
            facts: facts(json!({ "account": account, "amount": rest })),
            notify: false,
        };
        state.note(connection, &notice).map_err(fault)?;
        leases += 1;
    }
    Ok(leases)
}

/// Lets every lease shrink to what is used of it.
fn return_leases(connection: &Connection, alive_at: Timestamp) -> Result<(), StoreFault> {
    for Held { id, balance, .. } in balances::running(connection, alive_at.plus_ms(-TIDIED_MS))? {
        let used = balance.used();
        if balance.granted > used {
            balances::save(connection, id, &Balance { granted: used, ..balance })?;
        }
    }
    Ok(())
}

fn fault(trouble: Trouble) -> StoreFault {
    match trouble {
        Trouble::Refused(fault) | Trouble::Broken(fault) => fault,
    }
}

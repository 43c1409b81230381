//! What a start makes of how the last run ended, by the rule of the store's own recovery.
//!
//! A call without an end stays charged at its reservation. After a power loss, what was leased
//! and not seen spent counts as spent; after a kill it is given back.

use chamberlain_core::id::CallId;
use chamberlain_core::time::Timestamp;

use crate::record::{Damage, Record, plus};

/// Leases of windows that ended at most this long ago are tidied up, milliseconds.
const TIDIED_MS: i64 = 40 * 86_400_000;

/// How the last run ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum LastRun {
    /// The process died; everything committed is there.
    Killed,
    /// The machine died; the newest commits may be gone.
    PowerLost,
}

/// Sets the books right.
pub(crate) fn recover(record: &mut Record, last: LastRun, now: Timestamp) -> Result<(), Damage> {
    let alive_at = alive_at(record, now);
    let lost: Vec<CallId> = record.open.keys().copied().collect();
    for call in lost {
        let reserved = record.open[&call].amount;
        record.close(call, reserved, true, last == LastRun::PowerLost)?;
    }
    let since = match last {
        LastRun::PowerLost => alive_at,
        LastRun::Killed => alive_at.plus_ms(-TIDIED_MS),
    };
    let running = record.balances.iter_mut().filter(|(account, _)| account.window.end > since);
    for (_, balance) in running {
        let used = balance.used();
        match last {
            LastRun::PowerLost => {
                let rest = balance.granted.saturating_sub(used);
                balance.unsettled = plus(balance.unsettled, rest);
            }
            LastRun::Killed => balance.granted = balance.granted.min(used),
        }
    }
    record.last_at = Some(now);
    Ok(())
}

/// The end of the last run by the record's own word: a clock that was set forward in between must
/// not make its windows look ended.
pub(crate) fn alive_at(record: &Record, now: Timestamp) -> Timestamp {
    record.last_at.map_or(now, |at| at.min(now))
}

//! What a start makes of how the last life ended, by the rule of the store's own recovery.
//!
//! A call without an end stays charged at its reservation. After a power loss, what was leased
//! and not seen spent counts as spent; after the death of a node alone it is given back.

use chamberlain_core::id::CallId;
use chamberlain_core::time::Timestamp;

use crate::record::{Damage, Record, plus};

/// Leases of windows that ended at most this long ago are tidied up, milliseconds.
const TIDIED_MS: i64 = 40 * 86_400_000;

/// A node died and begins a new life: its open calls are given up, its leases shrink to their use.
pub(crate) fn after_death(record: &mut Record, node: usize, now: Timestamp) -> Result<(), Damage> {
    let since = alive_at(record, now).plus_ms(-TIDIED_MS);
    let open = record.open.iter().filter(|(_, share)| share.node == node);
    let lost: Vec<CallId> = open.map(|(call, _)| *call).collect();
    give_up(record, &lost, false)?;
    for (_, parts) in record.balances.iter_mut().filter(|(id, _)| id.window.end > since) {
        let balance = &mut parts[node];
        balance.granted = balance.granted.min(balance.used());
    }
    record.lives[node] += 1;
    record.last_at = Some(now);
    Ok(())
}

/// The journal's machine lost power: all open calls are given up, all leases count as spent.
pub(crate) fn after_power_loss(record: &mut Record, now: Timestamp) -> Result<(), Damage> {
    let since = alive_at(record, now);
    let lost: Vec<CallId> = record.open.keys().copied().collect();
    give_up(record, &lost, true)?;
    let running = record.balances.iter_mut().filter(|(id, _)| id.window.end > since);
    for balance in running.flat_map(|(_, parts)| parts) {
        let rest = balance.granted.saturating_sub(balance.used());
        balance.unsettled = plus(balance.unsettled, rest);
    }
    record.lives.iter_mut().for_each(|life| *life += 1);
    record.last_at = Some(now);
    Ok(())
}

fn give_up(record: &mut Record, lost: &[CallId], power_lost: bool) -> Result<(), Damage> {
    for call in lost {
        let reserved = record.open[call].amount;
        record.close(*call, reserved, true, power_lost)?;
    }
    Ok(())
}

/// The end of the last run by the record's own word: a clock that was set forward in between must
/// not make its windows look ended.
fn alive_at(record: &Record, now: Timestamp) -> Timestamp {
    record.last_at.map_or(now, |at| at.min(now))
}

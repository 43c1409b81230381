//! A clock that was ahead: what it leaves in the books, and how a person sets it right.
//!
//! A budget's window that has ended is not opened again when the clock steps back, or its money
//! could be spent twice. So after a clock was ahead, budgets go on in the windows of then. Nobody
//! but a person can know which of the two clocks was right.

use chamberlain_core::audit::record::Principal;
use chamberlain_core::ledger::account::{AccountId, Balance};
use chamberlain_core::time::Timestamp;
use chamberlain_store::{Facts, Store};
use serde_json::json;

use super::opened::of_store;
use crate::failure::Failure;

/// The name under which the store keeps the last window that was found to come of a wrong clock.
const ACCEPTED: &str = "clock.accepted";

/// Clocks that are set right by less than this need no person: the window comes soon.
const TOLERATED_MS: i64 = 3_600_000;

/// The books to begin with. Where they go on in the future, says so; with `accept` the present
/// clock is right, and the books go on in its windows.
pub(super) fn balances(
    store: &Store,
    now: Timestamp,
    accept: bool,
) -> Result<Vec<(AccountId, Balance)>, Failure> {
    let mut balances = store.balances(now).map_err(|fault| of_store(&fault))?;
    let accepted = store.meta(ACCEPTED).map_err(|fault| of_store(&fault))?;
    let accepted = accepted.and_then(|bytes| String::from_utf8(bytes).ok()?.parse().ok());
    let accepted = Timestamp::from_ms(accepted.unwrap_or(i64::MIN));
    balances.retain(|(account, _)| account.window.start <= now || account.window.start > accepted);
    let latest = balances.iter().map(|(account, _)| account.window.start).max();
    let Some(ahead) = latest.filter(|start| *start > now.plus_ms(TOLERATED_MS)) else {
        return Ok(balances);
    };
    if !accept {
        tracing::error!(
            clock = now.to_rfc3339(),
            window_start = ahead.to_rfc3339(),
            "budgets were last counted in a window that has not begun yet: the clock was ahead \
             then, or is behind now. Budgets do not renew before that. If the clock is right \
             now, start with --accept-clock, and resume what was paused"
        );
        return Ok(balances);
    }
    let facts = Facts {
        before: Some(json!({ "window_start": ahead.to_rfc3339() })),
        after: Some(json!({ "clock": now.to_rfc3339() })),
        ..Facts::default()
    };
    store
        .change(Principal::Chamberlain, move |change| {
            change.put_meta(ACCEPTED, ahead.ms().to_string().as_bytes())?;
            change.audit("clock.accepted", "clock", &facts)?;
            Ok(())
        })
        .map_err(|fault| of_store(&fault))?;
    balances.retain(|(account, _)| account.window.start <= now);
    Ok(balances)
}

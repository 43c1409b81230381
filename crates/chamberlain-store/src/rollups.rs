//! Calls summed up by the hour, and old calls taken away without any sum changing.
//!
//! A closed call is in the rollups when its closing record is below a mark, and is otherwise still
//! to be added. The mark moves in the same transaction as the sums, so no call is ever counted
//! twice or not at all.

use chamberlain_core::audit::record::Principal;
use chamberlain_core::time::Timestamp;
use rusqlite::{Connection, params};
use serde_json::json;

use crate::change::{Change, Facts};
use crate::fault::StoreFault;
use crate::meta;
use crate::store::Store;
use crate::words::count_column;

/// The mark: closing records below this number are in the rollups.
const TO: &str = "rollups.to";

/// Calls admitted before this moment may have been taken away.
const PRUNED_TO: &str = "rollups.pruned_to";

/// Closing records looked at in one transaction, and calls taken away in one: calls that are being
/// made wait for it.
const STEP: u64 = 5_000;

/// Adds calls to the rollups; `{calls}` selects them from `calls`.
macro_rules! add {
    ($certainty:literal, $cost:literal, $calls:literal) => {
        concat!(
            "INSERT INTO rollups (hour, virtual_key, environment, model, operation, outcome,
                 certainty, mock, calls, cost, tokens_input, tokens_write_5m,
                 tokens_write_1h, tokens_read, tokens_output)
             SELECT at - at % 3600000, virtual_key, environment, ifnull(served_model, model),
                 ifnull(operation, ''), ifnull(outcome, 'unknown'), ",
            $certainty,
            ", upstream_key IS NULL, count(*), sum(",
            $cost,
            "), sum(tokens_input), sum(tokens_write_5m), sum(tokens_write_1h), sum(tokens_read),
                 sum(tokens_output)
             FROM calls WHERE ",
            $calls,
            " GROUP BY 1, 2, 3, 4, 5, 6, 7, 8
             ON CONFLICT DO UPDATE SET
                 calls = calls + excluded.calls, cost = cost + excluded.cost,
                 tokens_input = tokens_input + excluded.tokens_input,
                 tokens_write_5m = tokens_write_5m + excluded.tokens_write_5m,
                 tokens_write_1h = tokens_write_1h + excluded.tokens_write_1h,
                 tokens_read = tokens_read + excluded.tokens_read,
                 tokens_output = tokens_output + excluded.tokens_output"
        )
    };
}

const ADD_CLOSED: &str = add!("certainty", "cost", "closed_seq >= ?1 AND closed_seq < ?2");
const ADD_ONE: &str = add!("certainty", "cost", "seq = ?1");

const SUBTRACT_UNSETTLED: &str = "
    UPDATE rollups SET
        calls = rollups.calls - 1, cost = rollups.cost - gone.cost,
        tokens_input = rollups.tokens_input - gone.tokens_input,
        tokens_write_5m = rollups.tokens_write_5m - gone.tokens_write_5m,
        tokens_write_1h = rollups.tokens_write_1h - gone.tokens_write_1h,
        tokens_read = rollups.tokens_read - gone.tokens_read,
        tokens_output = rollups.tokens_output - gone.tokens_output
    FROM (SELECT * FROM calls WHERE seq = ?1) AS gone
    WHERE rollups.hour = gone.at - gone.at % 3600000
      AND rollups.virtual_key = gone.virtual_key AND rollups.environment = gone.environment
      AND rollups.model = ifnull(gone.served_model, gone.model)
      AND rollups.operation = ifnull(gone.operation, '')
      AND rollups.outcome = ifnull(gone.outcome, 'unknown')
      AND rollups.certainty = 'unsettled'
      AND rollups.mock = (gone.upstream_key IS NULL)";

/// Adds calls to the usage of their upstream keys; `{calls}` selects them from `calls`.
macro_rules! add_to_keys {
    ($calls:literal) => {
        concat!(
            "INSERT INTO key_usage (upstream_key, day, calls, cost)
             SELECT upstream_key, at - at % 86400000, count(*), sum(cost)
             FROM calls WHERE upstream_key IS NOT NULL AND ",
            $calls,
            " GROUP BY 1, 2
             ON CONFLICT DO UPDATE SET
                 calls = calls + excluded.calls, cost = cost + excluded.cost"
        )
    };
}

const ADD_CLOSED_TO_KEYS: &str = add_to_keys!("closed_seq >= ?1 AND closed_seq < ?2");
const ADD_ONE_TO_KEYS: &str = add_to_keys!("seq = ?1");

const SUBTRACT_FROM_KEYS: &str = "
    UPDATE key_usage SET calls = key_usage.calls - 1, cost = key_usage.cost - gone.cost
    FROM (SELECT * FROM calls WHERE seq = ?1) AS gone
    WHERE key_usage.upstream_key = gone.upstream_key
      AND key_usage.day = gone.at - gone.at % 86400000";

const PRUNE: &str = "
    DELETE FROM calls WHERE seq IN (
        SELECT seq FROM calls
        WHERE at < ?1 AND closed_seq < ?2 AND certainty <> 'unsettled' ORDER BY at LIMIT ?3)";

/// How far rollups and pruning have come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Marks {
    /// Closing records below this are in the rollups.
    pub(crate) to: i64,
    /// Calls admitted before this may be gone.
    pub(crate) pruned_to: i64,
}

impl Marks {
    pub(crate) fn read(connection: &Connection) -> Result<Marks, StoreFault> {
        let number = |name| -> Result<i64, StoreFault> {
            let Some(bytes) = meta::get(connection, name)? else { return Ok(0) };
            let bytes =
                bytes.try_into().map_err(|_| StoreFault::Damaged(format!("meta {name}")))?;
            Ok(i64::from_be_bytes(bytes))
        };
        Ok(Marks { to: number(TO)?, pruned_to: number(PRUNED_TO)? })
    }
}

impl Store {
    /// Adds every call that has closed since the last time to the rollups. May run at any time and
    /// however often. Gives how many were added. Blocks.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn roll_up(&self) -> Result<u64, StoreFault> {
        let mut added = 0;
        loop {
            let (more, done) = self.keep_books(false, roll_up_step)?;
            added += more;
            if done {
                return Ok(added);
            }
        }
    }

    /// Takes away calls that were admitted before `before` and are in the rollups, and effects
    /// that were done before it, on record. Open and unsettled calls stay. Gives how many calls
    /// are gone. Blocks.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn prune(&self, before: Timestamp) -> Result<u64, StoreFault> {
        self.roll_up()?;
        let mut pruned = 0;
        loop {
            let step =
                self.change(Principal::Chamberlain, move |change| prune_step(change, before))?;
            pruned += step;
            if step < STEP {
                return Ok(pruned);
            }
        }
    }
}

fn roll_up_step(change: &mut Change<'_>) -> Result<(u64, bool), StoreFault> {
    let from = Marks::read(change.connection)?.to;
    let end = count_column(change.state.log.next());
    let to = end.min(from + count_column(STEP));
    let range = params![from, to];
    let calls: u64 = change
        .connection
        .prepare_cached("SELECT count(*) FROM calls WHERE closed_seq >= ?1 AND closed_seq < ?2")?
        .query_row(range, |row| row.get(0))?;
    if calls > 0 {
        change.connection.prepare_cached(ADD_CLOSED)?.execute(range)?;
        change.connection.prepare_cached(ADD_CLOSED_TO_KEYS)?.execute(range)?;
    }
    if to > from {
        meta::put(change.connection, TO, &to.to_be_bytes())?;
    }
    Ok((calls, to == end))
}

fn prune_step(change: &mut Change<'_>, before: Timestamp) -> Result<u64, StoreFault> {
    let marks = Marks::read(change.connection)?;
    let calls =
        change.connection.prepare_cached(PRUNE)?.execute(params![before.ms(), marks.to, STEP])?
            as u64;
    let effects = change
        .connection
        .prepare_cached("DELETE FROM outbox WHERE state = 'done' AND ended_at < ?1")?
        .execute([before.ms()])?;
    if calls == 0 && effects == 0 {
        return Ok(0);
    }
    if calls > 0 && before.ms() > marks.pruned_to {
        meta::put(change.connection, PRUNED_TO, &before.ms().to_be_bytes())?;
    }
    let after = json!({ "before": before.to_rfc3339(), "calls": calls, "effects": effects });
    let facts = Facts { after: Some(after), ..Facts::default() };
    change.audit("calls.pruned", "store", &facts)?;
    Ok(calls)
}

/// Takes an unsettled call out of the rollups, before its row changes; false when it is not in
/// there yet.
pub(crate) fn take_unsettled(connection: &Connection, seq: i64) -> Result<bool, StoreFault> {
    let closed: i64 = connection
        .prepare_cached("SELECT closed_seq FROM calls WHERE seq = ?1")?
        .query_row([seq], |row| row.get(0))?;
    if closed >= Marks::read(connection)?.to {
        return Ok(false);
    }
    let moved = connection.prepare_cached(SUBTRACT_UNSETTLED)?.execute([seq])?;
    if moved != 1 {
        return Err(StoreFault::Damaged("an unsettled call is missing in the rollups".into()));
    }
    connection.execute("DELETE FROM rollups WHERE calls = 0", [])?;
    connection.prepare_cached(SUBTRACT_FROM_KEYS)?.execute([seq])?;
    connection.execute("DELETE FROM key_usage WHERE calls = 0", [])?;
    Ok(true)
}

/// Adds a call as it is now.
pub(crate) fn add_one(connection: &Connection, seq: i64) -> Result<(), StoreFault> {
    connection.prepare_cached(ADD_ONE)?.execute([seq])?;
    connection.prepare_cached(ADD_ONE_TO_KEYS)?.execute([seq])?;
    Ok(())
}

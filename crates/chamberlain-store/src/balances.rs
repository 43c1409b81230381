//! Balances: one row for each budget of each scope in each window.

use chamberlain_core::id::{EnvironmentName, VirtualKeyId};
use chamberlain_core::ledger::account::{AccountId, Balance, Scope};
use chamberlain_core::money::Money;
use chamberlain_core::time::{Timestamp, Window, WindowKind};
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::fault::StoreFault;
use crate::words::unreadable;

const COLUMNS: &str = "id, scope_kind, scope_id, window_kind, window_start, window_end, \
                       settled, unsettled, reserved, granted";

const FIND: &str = "
    SELECT id, settled, unsettled, reserved, granted FROM balances
    WHERE scope_kind = ?1 AND scope_id = ?2 AND window_kind = ?3
      AND window_start = ?4 AND window_end = ?5";

const INSERT: &str = "
    INSERT INTO balances (scope_kind, scope_id, window_kind, window_start, window_end)
    VALUES (?1, ?2, ?3, ?4, ?5)";

const UPDATE: &str = "
    UPDATE balances SET settled = ?2, unsettled = ?3, reserved = ?4, granted = ?5 WHERE id = ?1";

/// A balance with the number of its row.
pub(crate) struct Held {
    pub(crate) id: i64,
    pub(crate) account: AccountId,
    pub(crate) balance: Balance,
}

/// Finds the row of `account`, making it when it is missing.
pub(crate) fn find_or_make(
    connection: &Connection,
    account: &AccountId,
) -> Result<(i64, Balance), StoreFault> {
    let (kind, name) = scope_columns(&account.scope);
    let Window { kind: window, start, end } = account.window;
    let key = params![kind, name, window.name(), start.ms(), end.ms()];
    let found = connection
        .prepare_cached(FIND)?
        .query_row(key, |row| Ok((row.get(0)?, balance(row, 1)?)))
        .optional()?;
    if let Some(found) = found {
        return Ok(found);
    }
    connection.prepare_cached(INSERT)?.execute(key)?;
    Ok((connection.last_insert_rowid(), Balance::default()))
}

/// Writes a balance back.
pub(crate) fn save(connection: &Connection, id: i64, balance: &Balance) -> Result<(), StoreFault> {
    let text = |money: Money| money.pico().to_string();
    let changed = connection.prepare_cached(UPDATE)?.execute(params![
        id,
        text(balance.settled),
        text(balance.unsettled),
        text(balance.reserved),
        text(balance.granted),
    ])?;
    if changed == 1 { Ok(()) } else { Err(StoreFault::Damaged(format!("balance {id} is gone"))) }
}

/// Loads a balance by the number of its row.
pub(crate) fn by_id(connection: &Connection, id: i64) -> Result<Held, StoreFault> {
    let sql = format!("SELECT {COLUMNS} FROM balances WHERE id = ?1");
    connection
        .prepare_cached(&sql)?
        .query_row([id], held)
        .optional()?
        .ok_or_else(|| StoreFault::Damaged(format!("balance {id} is gone")))
}

/// The accounts of a set, by its number.
pub(crate) fn accounts_of(connection: &Connection, set: i64) -> Result<Vec<AccountId>, StoreFault> {
    let ids: String = connection
        .prepare_cached("SELECT balances FROM account_sets WHERE id = ?1")?
        .query_row([set], |row| row.get(0))?;
    let ids: Vec<i64> = serde_json::from_str(&ids)
        .map_err(|error| StoreFault::Damaged(format!("account set {set}: {error}")))?;
    ids.into_iter().map(|id| Ok(by_id(connection, id)?.account)).collect()
}

/// The balances of windows that end after `now`.
pub(crate) fn running(connection: &Connection, now: Timestamp) -> Result<Vec<Held>, StoreFault> {
    let sql = format!("SELECT {COLUMNS} FROM balances WHERE window_end > ?1 ORDER BY id");
    let mut query = connection.prepare_cached(&sql)?;
    let rows = query.query_map([now.ms()], held)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The two columns that name a scope.
pub(crate) fn scope_columns(scope: &Scope) -> (&'static str, &str) {
    match scope {
        Scope::Organization => ("organization", ""),
        Scope::Environment(name) => ("environment", name.as_str()),
        Scope::VirtualKey(id) => ("virtual_key", id.as_str()),
    }
}

/// Reads what [`scope_columns`] gives.
pub(crate) fn scope_from(kind: &str, name: String) -> Option<Scope> {
    match kind {
        "organization" => Some(Scope::Organization),
        "environment" => Some(Scope::Environment(EnvironmentName::new(name))),
        "virtual_key" => Some(Scope::VirtualKey(VirtualKeyId::new(name))),
        _ => None,
    }
}

fn held(row: &Row<'_>) -> rusqlite::Result<Held> {
    let kind: String = row.get(1)?;
    let scope = scope_from(&kind, row.get(2)?).ok_or_else(|| unreadable(row, 1))?;
    let window: String = row.get(3)?;
    let kind = WindowKind::ALL
        .into_iter()
        .find(|kind| kind.name() == window)
        .ok_or_else(|| unreadable(row, 3))?;
    let window = Window {
        kind,
        start: Timestamp::from_ms(row.get(4)?),
        end: Timestamp::from_ms(row.get(5)?),
    };
    Ok(Held { id: row.get(0)?, account: AccountId { scope, window }, balance: balance(row, 6)? })
}

fn balance(row: &Row<'_>, first: usize) -> rusqlite::Result<Balance> {
    Ok(Balance {
        settled: money(row, first)?,
        unsettled: money(row, first + 1)?,
        reserved: money(row, first + 2)?,
        granted: money(row, first + 3)?,
    })
}

fn money(row: &Row<'_>, column: usize) -> rusqlite::Result<Money> {
    let text = row.get_ref(column)?.as_str()?;
    text.parse().map(Money::from_pico).map_err(|_| unreadable(row, column))
}

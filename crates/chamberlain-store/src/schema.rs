//! The steps that make the schema, applied in order and never changed afterwards.
//!
//! Each step is plain SQL, remembered with its SHA-256. A store that has a step this version does
//! not know, or a different one, is refused rather than guessed at.

use chamberlain_core::time::Timestamp;
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};
use sha2::{Digest, Sha256};

use crate::fault::StoreFault;

struct Step {
    name: &'static str,
    sql: &'static str,
}

macro_rules! steps {
    ($($name:literal),* $(,)?) => {
        &[$(Step { name: $name, sql: include_str!(concat!("../../../migrations/", $name, ".sql")) }),*]
    };
}

/// Every step, the first numbered 1.
const STEPS: &[Step] = steps![
    "0001_ledger",
    "0002_control",
    "0003_rollups",
    "0004_resources",
    "0005_power_lost",
    "0006_mock",
    "0007_inventory",
    "0008_sinks",
    "0009_rotations",
    "0010_audit_blocks",
    "0011_containments",
];

const MAKE_STEPS_TABLE: &str = "
    CREATE TABLE IF NOT EXISTS schema_steps (
        step       INTEGER PRIMARY KEY,
        name       TEXT    NOT NULL,
        sha256     BLOB    NOT NULL,
        applied_at INTEGER NOT NULL
    ) STRICT";

/// Brings the schema up to this version, in one transaction.
///
/// # Errors
/// When the store has newer or different steps; it is then left as it is.
pub(crate) fn migrate(connection: &mut Connection, now: Timestamp) -> Result<(), StoreFault> {
    migrate_to(connection, STEPS, now)
}

/// Checks that the schema is exactly this version's, without changing anything.
///
/// # Errors
/// When it is newer, older or different.
pub(crate) fn check(connection: &Connection) -> Result<(), StoreFault> {
    match applied(connection, STEPS)? {
        done if done == STEPS.len() => Ok(()),
        done => Err(StoreFault::ReadOnly(format!(
            "its schema is at step {done} of {}; start `chamberlain up` once to bring it up",
            STEPS.len()
        ))),
    }
}

/// How many steps the store has, which this version knows.
///
/// # Errors
/// When it has newer or different ones.
pub(crate) fn steps_done(connection: &Connection) -> Result<u32, StoreFault> {
    Ok(applied(connection, STEPS)? as u32)
}

fn migrate_to(
    connection: &mut Connection,
    steps: &[Step],
    now: Timestamp,
) -> Result<(), StoreFault> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute_batch(MAKE_STEPS_TABLE)?;
    let done = applied(&transaction, steps)?;
    for (place, step) in steps.iter().enumerate().skip(done) {
        transaction.execute_batch(step.sql)?;
        transaction.execute(
            "INSERT INTO schema_steps (step, name, sha256, applied_at) VALUES (?1, ?2, ?3, ?4)",
            params![place + 1, step.name, digest(step), now.ms()],
        )?;
        tracing::info!(
            step = place + 1,
            name = step.name,
            "a step of the store's schema was applied"
        );
    }
    Ok(transaction.commit()?)
}

/// How many of `steps` the store has; an error when it has others.
fn applied(connection: &Connection, steps: &[Step]) -> Result<usize, StoreFault> {
    let made: Option<u32> = connection
        .query_row("SELECT 1 FROM sqlite_schema WHERE name = 'schema_steps'", [], |row| row.get(0))
        .optional()?;
    if made.is_none() {
        return Ok(0);
    }
    let mut query = connection.prepare("SELECT step, sha256 FROM schema_steps ORDER BY step")?;
    let mut rows = query.query([])?;
    let mut done = 0;
    while let Some(row) = rows.next()? {
        let found: u32 = row.get(0)?;
        let Some(step) = steps.get(done) else {
            return Err(StoreFault::NewerSchema { found, known: steps.len() as u32 });
        };
        done += 1;
        if found as usize != done || row.get::<_, Vec<u8>>(1)? != digest(step) {
            return Err(StoreFault::EditedSchema { step: done as u32 });
        }
    }
    Ok(done)
}

fn digest(step: &Step) -> [u8; 32] {
    Sha256::digest(step.sql.as_bytes()).into()
}

#[cfg(test)]
mod older_tests;

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_ms(1);

    fn step(sql: &'static str) -> Step {
        Step { name: "a", sql }
    }

    const A: &str = "CREATE TABLE a (x INTEGER) STRICT;";
    const B: &str = "CREATE TABLE b (x INTEGER) STRICT;";

    #[test]
    fn steps_are_applied_once_and_in_order() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate_to(&mut connection, &[step(A)], NOW).unwrap();
        migrate_to(&mut connection, &[step(A), step(B)], NOW).unwrap();
        migrate_to(&mut connection, &[step(A), step(B)], NOW).unwrap();
        connection.execute("INSERT INTO b (x) VALUES (1)", []).unwrap();
    }

    #[test]
    fn a_newer_schema_is_refused() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate_to(&mut connection, &[step(A), step(B)], NOW).unwrap();
        let fault = migrate_to(&mut connection, &[step(A)], NOW).unwrap_err();
        assert_eq!(fault, StoreFault::NewerSchema { found: 2, known: 1 });
    }

    #[test]
    fn an_edited_step_is_refused() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate_to(&mut connection, &[step(A)], NOW).unwrap();
        let fault = migrate_to(&mut connection, &[step(B), step(A)], NOW).unwrap_err();
        assert_eq!(fault, StoreFault::EditedSchema { step: 1 });
    }

    #[test]
    fn a_step_that_fails_leaves_nothing_behind() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate_to(&mut connection, &[step(A), step("CREATE TABLE b (x) STRICT;")], NOW)
            .unwrap_err();
        assert_eq!(applied(&connection, &[step(A)]).unwrap(), 0);
    }

    #[test]
    fn the_schema_of_this_version_is_whole() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection, NOW).unwrap();
        check(&connection).unwrap();
    }

    /// Calls with their sums as they stood before sums told the mock apart: two for each outcome,
    /// of which the mock answered one; the last is not in the sums yet, and two were pruned.
    const BEFORE_0006: &str = "
        PRAGMA foreign_keys = OFF;
        INSERT INTO meta VALUES ('rollups.to', x'0000000000000105');
        INSERT INTO calls (seq, id, at, virtual_key, environment, upstream_key, route, model,
            max_tokens, stream, source, reserved, account_set, intent_seq, closed_seq, closed_at,
            outcome, certainty, cost, tokens_input)
        VALUES
            (1, x'01', 5, 'k', 'e', 'uk', 'messages', 'm', 1, 0, '', 9, 1, 1, 256, 6, 'cut',
             'settled', 10, 100),
            (2, x'02', 5, 'k', 'e', NULL, 'messages', 'm', 1, 0, '', 9, 1, 2, 257, 6, 'cut',
             'settled', 20, 200),
            (3, x'03', 5, 'k', 'e', NULL, 'messages', 'm', 1, 0, '', 9, 1, 3, 260, 6, NULL,
             'unsettled', 40, 400),
            (4, x'04', 5, 'k', 'e', NULL, 'messages', 'm', 1, 0, '', 9, 1, 4, 261, 6, 'cut',
             'settled', 80, 800);
        INSERT INTO rollups VALUES
            (0, 'k', 'e', 'm', '', 'cut', 'settled', 4, 1030, 5300, 0, 0, 0, 0),
            (0, 'k', 'e', 'm', '', 'unknown', 'unsettled', 1, 40, 400, 0, 0, 0, 0);";

    #[test]
    fn sums_that_are_there_are_parted_by_the_calls_that_are_there() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate_to(&mut connection, &STEPS[..5], NOW).unwrap();
        connection.execute_batch(BEFORE_0006).unwrap();
        migrate(&mut connection, NOW).unwrap();
        let mut query = connection
            .prepare("SELECT outcome, mock, calls, cost, tokens_input FROM rollups ORDER BY 1, 2")
            .unwrap();
        let row = |row: &rusqlite::Row<'_>| -> rusqlite::Result<(String, i64, i64, i64, i64)> {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?))
        };
        let rows: Vec<_> = query.query_map([], row).unwrap().map(Result::unwrap).collect();
        let expected =
            [("cut", 0, 3, 1010, 5100), ("cut", 1, 1, 20, 200), ("unknown", 1, 1, 40, 400)];
        assert_eq!(rows, expected.map(|(a, b, c, d, e)| (a.to_owned(), b, c, d, e)));
    }
}

//! A copy of the store as it is at one moment, made while calls are served; and what must be done to
//! such a copy before it is a store again.
//!
//! Everything handed over before is moved into the tables first, so the copy has what was promised.
//! `VACUUM INTO` reads in one transaction beside the writer, which goes on, and writes only what is
//! there: nothing that was deleted, not even its traces, is in a copy.

use std::path::Path;

use chamberlain_core::audit::merkle::Hash;
use rusqlite::Connection;

use crate::fault::StoreFault;
use crate::store::Store;
use crate::writer::log::AuditLog;
use crate::{file, meta, recovery, schema};

/// What is in a store that nobody writes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SnapshotFacts {
    /// How many steps of the schema it has.
    pub schema: u32,
    /// How many audit records.
    pub records: u64,
    /// The root over them.
    pub root: Hash,
    /// The signed head over the most of them.
    pub checkpoint: Option<Vec<u8>>,
    /// Upstream keys, removed ones included.
    pub upstream_keys: u64,
    /// Virtual keys, revoked ones included.
    pub virtual_keys: u64,
    /// Single calls.
    pub calls: u64,
    /// Balances.
    pub balances: u64,
}

impl Store {
    /// Writes a copy of the store into a new file at `to`, for its owner alone, and says what is in
    /// it. The writer is not kept waiting. Blocks for as long as copying takes.
    ///
    /// # Errors
    /// When it cannot be written (what lies at `to` then is of no use), or when the store itself
    /// cannot be: what was promised then is not in the tables.
    pub fn snapshot(&self, to: &Path) -> Result<SnapshotFacts, StoreFault> {
        self.catch_up();
        if let Some(failure) = self.health().failure {
            return Err(StoreFault::Failing(Box::new(failure.fault)));
        }
        drop(file::private(to)?);
        let connection = file::open_for_reading(self.path())?;
        connection.pragma_update(None, "query_only", false)?;
        let path = to.to_str().ok_or_else(|| {
            StoreFault::Io(format!("{} is no text; choose another folder", to.display()))
        })?;
        connection.execute("VACUUM INTO ?1", [path])?;
        inspect(to)
    }
}

/// Says what is in the store at `path`, which nobody writes.
///
/// # Errors
/// When it is no store, cannot be read, or is of a newer version.
pub fn inspect(path: &Path) -> Result<SnapshotFacts, StoreFault> {
    let connection = file::open_for_reading(path)?;
    let (records, root) = AuditLog::load(&connection)?.head();
    let count = |table: &str| -> Result<u64, StoreFault> {
        Ok(connection.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0))?)
    };
    Ok(SnapshotFacts {
        schema: schema::steps_done(&connection)?,
        records,
        root,
        checkpoint: last_checkpoint(&connection)?,
        upstream_keys: count("upstream_keys")?,
        virtual_keys: count("virtual_keys")?,
        calls: count("calls")?,
        balances: count("balances")?,
    })
}

fn last_checkpoint(connection: &Connection) -> Result<Option<Vec<u8>>, StoreFault> {
    let mut query =
        connection.prepare("SELECT note FROM checkpoints ORDER BY size DESC LIMIT 1")?;
    let mut rows = query.query([])?;
    Ok(rows.next()?.map(|row| row.get(0)).transpose()?)
}

/// Looks at every page and index of the store at `path`.
///
/// # Errors
/// [`StoreFault::Damaged`] with the first thing that is wrong.
pub fn check_integrity(path: &Path) -> Result<(), StoreFault> {
    let connection = file::open_for_reading(path)?;
    let answer: String = connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
    if answer == "ok" { Ok(()) } else { Err(StoreFault::Damaged(answer)) }
}

/// The value under a name in the store at `path`, which nobody writes.
///
/// # Errors
/// When it cannot be read.
pub fn meta_of(path: &Path, name: &str) -> Result<Option<Vec<u8>>, StoreFault> {
    meta::get(&file::open_for_reading(path)?, name)
}

/// Marks the store at `path`, a copy of one that was running, as one whose last run ended like a
/// power loss: nobody knows what happened after it was copied. What was leased then counts as spent
/// when it is opened, and calls that were in flight stay charged.
///
/// # Errors
/// When it cannot be written.
pub fn mark_interrupted(path: &Path) -> Result<(), StoreFault> {
    let connection = file::open_for_writing(path)?;
    recovery::mark_interrupted(&connection)?;
    // One file again, without a log beside it.
    let _: String =
        connection.pragma_update_and_check(None, "journal_mode", "delete", |row| row.get(0))?;
    Ok(())
}

/// A sealed key in a store.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SealedKey {
    /// Its id.
    pub id: String,
    /// What it is sealed in.
    pub sealed: Vec<u8>,
    /// Its fingerprint.
    pub fingerprint: String,
}

/// The upstream keys with a value in the store at `path`, which nobody writes.
///
/// # Errors
/// When they cannot be read.
pub fn sealed_keys(path: &Path) -> Result<Vec<SealedKey>, StoreFault> {
    let connection = file::open_for_reading(path)?;
    let mut query = connection.prepare(
        "SELECT id, sealed, fingerprint FROM upstream_keys WHERE sealed IS NOT NULL ORDER BY id",
    )?;
    let rows = query.query_map([], |row| {
        Ok(SealedKey { id: row.get(0)?, sealed: row.get(1)?, fingerprint: row.get(2)? })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

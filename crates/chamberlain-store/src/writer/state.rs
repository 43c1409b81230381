//! What the writer keeps in memory beside the store: open calls, balances, the end of the audit
//! log. After a rollback all of it is read anew, so that memory never knows more than the store.

use std::collections::HashMap;

use chamberlain_core::id::{CallId, UpstreamKeyId};
use chamberlain_core::quick::QuickMap;
use chamberlain_core::time::Timestamp;
use rusqlite::{Connection, OptionalExtension};

use super::books::Books;
use super::log::AuditLog;
use super::rows::Rows;
use crate::fault::StoreFault;

/// An upstream key's last use is written down when it is this much later than the last time.
const LAST_USE_STEP_MS: u64 = 60_000;

/// A call that has an intent and no end yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OpenCall {
    /// Its row.
    pub(crate) seq: i64,
    /// Picodollars set aside.
    pub(crate) reserved: i64,
    /// The balances it is charged to.
    pub(crate) set: i64,
}

/// Everything the writer remembers.
pub(crate) struct State {
    pub(crate) books: Books,
    pub(crate) log: AuditLog,
    pub(crate) open: QuickMap<CallId, OpenCall>,
    pub(crate) rows: Rows,
    /// No call has a greater id.
    pub(crate) last_id: CallId,
    /// The last number given to a row.
    last_call: i64,
    used: HashMap<UpstreamKeyId, Timestamp>,
}

impl State {
    /// Reads the state out of the store.
    pub(crate) fn load(connection: &Connection) -> Result<State, StoreFault> {
        let log = AuditLog::load(connection)?;
        let open = open_calls(connection)?.into_iter().collect();
        let last_call = connection
            .prepare_cached("SELECT ifnull(max(seq), 0) FROM calls")?
            .query_row([], |row| row.get(0))?;
        Ok(State {
            books: Books::default(),
            log,
            open,
            rows: Rows::default(),
            last_id: last_id(connection)?,
            last_call,
            used: HashMap::new(),
        })
    }

    /// The number of a new call's row.
    pub(crate) fn next_call(&mut self) -> i64 {
        self.last_call += 1;
        self.last_call
    }

    /// Writes what is pending into the open transaction.
    pub(crate) fn flush(&mut self, connection: &Connection) -> Result<(), StoreFault> {
        self.rows.flush(connection)?;
        self.log.flush(connection)?;
        self.books.flush(connection)
    }

    /// True when the use of a key at `at` is worth writing down.
    pub(crate) fn is_new_use(&mut self, key: &UpstreamKeyId, at: Timestamp) -> bool {
        match self.used.get_mut(key) {
            Some(last) if at.ms_since(*last) < LAST_USE_STEP_MS => false,
            Some(last) => {
                *last = at;
                true
            }
            None => {
                self.used.insert(key.clone(), at);
                true
            }
        }
    }
}

/// The calls without an end, in the order of their intents.
pub(crate) fn open_calls(connection: &Connection) -> Result<Vec<(CallId, OpenCall)>, StoreFault> {
    let mut query = connection.prepare_cached(
        "SELECT id, seq, reserved, account_set FROM calls WHERE closed_seq IS NULL ORDER BY seq",
    )?;
    let rows = query.query_map([], |row| {
        let id = CallId::from_bytes(row.get(0)?);
        Ok((id, OpenCall { seq: row.get(1)?, reserved: row.get(2)?, set: row.get(3)? }))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The greatest id that a call has.
fn last_id(connection: &Connection) -> Result<CallId, StoreFault> {
    let id = connection
        .prepare_cached("SELECT max(id) FROM calls")?
        .query_row([], |row| row.get::<_, Option<[u8; 16]>>(0))
        .optional()?
        .flatten();
    Ok(CallId::from_bytes(id.unwrap_or_default()))
}

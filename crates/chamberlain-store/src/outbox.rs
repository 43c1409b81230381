//! Effects waiting to be done: written with their cause, done at least once, visible until then.

use chamberlain_core::audit::record::Principal;
use chamberlain_core::id::EffectId;
use chamberlain_core::record::Notice;
use chamberlain_core::time::Timestamp;
use rusqlite::{Connection, Row, params};
use serde_json::Value;

use crate::change::{Change, Facts};
use crate::fault::StoreFault;
use crate::store::Store;
use crate::words::unreadable;
use crate::writer::log::Written;

/// The effect of telling people about a notice; its payload is the notice.
pub const NOTIFY: &str = "notify";

const INSERT: &str = "
    INSERT INTO outbox (id, cause_seq, kind, payload, state, next_at, created_at)
    VALUES (?1, ?2, ?3, ?4, 'waiting', ?5, ?5)";

/// Where an effect stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EffectState {
    /// To be done, now or later.
    Waiting,
    /// Done.
    Done,
    /// Tried for too long; a person has to see to it.
    GivenUp,
}

/// An effect of the outbox.
#[derive(Clone, PartialEq, Debug)]
pub struct Effect {
    /// Its id: the same however often it is tried.
    pub id: EffectId,
    /// The audit record of its cause.
    pub cause_seq: u64,
    /// What is to be done.
    pub kind: String,
    /// With what.
    pub payload: Value,
    /// Where it stands.
    pub state: EffectState,
    /// How often it was tried.
    pub attempts: u32,
    /// Not to be tried before.
    pub next_at: Timestamp,
    /// Since when it waits.
    pub created_at: Timestamp,
    /// Why the last try failed.
    pub last_error: Option<String>,
}

/// Writes an effect in the transaction of its cause. The id follows from the cause, so that the
/// same cause never makes two.
pub(crate) fn insert(
    connection: &Connection,
    cause: &Written,
    kind: &str,
    payload: &str,
    now: Timestamp,
) -> Result<EffectId, StoreFault> {
    let (entropy, _) = cause.leaf.split_first_chunk::<16>().expect("a hash has 32 bytes");
    let id = EffectId::mint(*entropy);
    connection.prepare_cached(INSERT)?.execute(params![
        id.as_str(),
        cause.seq,
        kind,
        payload,
        now.ms()
    ])?;
    Ok(id)
}

/// Writes the effect of telling people about a notice.
pub(crate) fn insert_notice(
    connection: &Connection,
    cause: &Written,
    notice: &Notice,
) -> Result<EffectId, StoreFault> {
    let payload = serde_json::to_string(notice)
        .map_err(|error| StoreFault::Mistake(format!("a notice as JSON: {error}")))?;
    insert(connection, cause, NOTIFY, &payload, notice.at)
}

impl Store {
    /// Effects whose time has come, the longest waiting first.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn effects_due(&self, now: Timestamp, count: usize) -> Result<Vec<Effect>, StoreFault> {
        self.read(|connection| {
            let rest = "WHERE state = 'waiting' AND next_at <= ?1 ORDER BY next_at, id LIMIT ?2";
            select(connection, rest, params![now.ms(), count])
        })
    }

    /// The newest effects, whatever their state.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn effects_newest(&self, count: usize) -> Result<Vec<Effect>, StoreFault> {
        self.read(|connection| {
            select(connection, "ORDER BY created_at DESC, cause_seq DESC LIMIT ?1", params![count])
        })
    }

    /// Marks an effect as done. Blocks.
    ///
    /// # Errors
    /// When it does not wait, or the store cannot be written.
    pub fn effect_done(&self, id: EffectId) -> Result<(), StoreFault> {
        self.keep_books(false, move |change| ended(change, &id, "done", None))
    }

    /// Counts a failed try and sets the time of the next. Blocks.
    ///
    /// # Errors
    /// When it does not wait, or the store cannot be written.
    pub fn effect_failed(
        &self,
        id: EffectId,
        error: String,
        next_at: Timestamp,
    ) -> Result<(), StoreFault> {
        self.keep_books(false, move |change| {
            let changed = change
                .connection
                .prepare_cached(
                    "UPDATE outbox SET attempts = attempts + 1, last_error = ?2, next_at = ?3
                     WHERE id = ?1 AND state = 'waiting'",
                )?
                .execute(params![id.as_str(), error, next_at.ms()])?;
            found(changed, &id)
        })
    }

    /// Marks an effect as one that a person has to see to, on record. Blocks.
    ///
    /// # Errors
    /// When it does not wait, or the store cannot be written.
    pub fn effect_given_up(&self, id: EffectId, error: String) -> Result<(), StoreFault> {
        self.change(Principal::Chamberlain, move |change| {
            ended(change, &id, "given_up", Some(&error))?;
            let facts = Facts { reason: Some(error), ..Facts::default() };
            change.audit("effect.given_up", id.as_str(), &facts)?;
            Ok(())
        })
    }
}

impl Change<'_> {
    /// Writes an effect that follows from the audit record `cause` of this change.
    ///
    /// # Errors
    /// When that record has an effect already, or the store cannot be written.
    pub fn effect(
        &mut self,
        cause: u64,
        kind: &str,
        payload: &Value,
    ) -> Result<EffectId, StoreFault> {
        let leaf = self
            .state
            .log
            .leaf(self.connection, cause)?
            .ok_or_else(|| StoreFault::Missing(format!("audit record {cause}")))?;
        let written = Written { seq: cause, leaf };
        insert(self.connection, &written, kind, &payload.to_string(), self.now())
    }
}

fn ended(
    change: &Change<'_>,
    id: &EffectId,
    state: &str,
    error: Option<&str>,
) -> Result<(), StoreFault> {
    let changed = change
        .connection
        .prepare_cached(
            "UPDATE outbox SET state = ?2, attempts = attempts + 1, ended_at = ?3, last_error = ?4
             WHERE id = ?1 AND state = 'waiting'",
        )?
        .execute(params![id.as_str(), state, change.now().ms(), error])?;
    found(changed, id)
}

fn found(changed: usize, id: &EffectId) -> Result<(), StoreFault> {
    if changed == 1 { Ok(()) } else { Err(StoreFault::Missing(format!("waiting effect {id}"))) }
}

fn select(
    connection: &Connection,
    rest: &str,
    values: impl rusqlite::Params,
) -> Result<Vec<Effect>, StoreFault> {
    let sql = format!(
        "SELECT id, cause_seq, kind, payload, state, attempts, next_at, created_at, last_error \
         FROM outbox {rest}"
    );
    let mut query = connection.prepare_cached(&sql)?;
    let rows = query.query_map(values, effect)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn effect(row: &Row<'_>) -> rusqlite::Result<Effect> {
    let payload = row.get_ref(3)?.as_str()?;
    let state = match row.get_ref(4)?.as_str()? {
        "waiting" => EffectState::Waiting,
        "done" => EffectState::Done,
        "given_up" => EffectState::GivenUp,
        _ => return Err(unreadable(row, 4)),
    };
    Ok(Effect {
        id: EffectId::new(row.get::<_, String>(0)?),
        cause_seq: row.get(1)?,
        kind: row.get(2)?,
        payload: serde_json::from_str(payload).map_err(|_| unreadable(row, 3))?,
        state,
        attempts: row.get(5)?,
        next_at: Timestamp::from_ms(row.get(6)?),
        created_at: Timestamp::from_ms(row.get(7)?),
        last_error: row.get(8)?,
    })
}

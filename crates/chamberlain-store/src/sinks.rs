//! What sinks were last given, and what they hold. No key is in it: keys are named by their ids
//! and by what stands for them.

use chamberlain_core::sink::fault::Effect;
use chamberlain_core::time::Timestamp;
use rusqlite::{OptionalExtension, Row, params};

use crate::change::Change;
use crate::fault::StoreFault;
use crate::store::Store;
use crate::words::{Word, read_word, read_word_or_null, word};

const COLUMNS: &str = "name, place, tried_key, tried, state, effect, error, begun_at, ended_at, \
                       held_key, held, held_at, mark";

/// Where a delivery stands.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum DeliveryState {
    /// Intended; whether it was done is not known yet.
    Begun,
    /// Done.
    Delivered,
    /// Not done, or not wholly.
    Failed,
}

impl Word for DeliveryState {
    const WORDS: &'static [(DeliveryState, &'static str)] = &[
        (DeliveryState::Begun, "begun"),
        (DeliveryState::Delivered, "delivered"),
        (DeliveryState::Failed, "failed"),
    ];
}

impl Word for Effect {
    const WORDS: &'static [(Effect, &'static str)] =
        &[(Effect::Nothing, "nothing"), (Effect::Done, "done"), (Effect::Unknown, "unknown")];
}

/// A key as records name it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NamedKey {
    /// Its id.
    pub key: String,
    /// What stands for it: an upstream key's fingerprint, a virtual key's public id.
    pub stands_for: String,
}

/// A key that a sink is known to hold.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Held {
    /// Which.
    pub key: NamedKey,
    /// Since when.
    pub at: Timestamp,
    /// What shows that it is still the same.
    pub mark: Option<String>,
}

/// What is on record of a sink.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SinkRow {
    /// The sink.
    pub name: String,
    /// Where exactly, as it was configured at the last try.
    pub place: String,
    /// What was last tried.
    pub tried: NamedKey,
    /// How that stands.
    pub state: DeliveryState,
    /// What a failure left behind.
    pub effect: Option<Effect>,
    /// Why it failed.
    pub error: Option<String>,
    /// When the last try began.
    pub begun_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// What it holds.
    pub held: Option<Held>,
}

impl Store {
    /// Every sink that something was delivered to, by name.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn sinks(&self) -> Result<Vec<SinkRow>, StoreFault> {
        self.read(|connection| {
            let sql = format!("SELECT {COLUMNS} FROM sinks ORDER BY name");
            let mut query = connection.prepare_cached(&sql)?;
            let rows = query.query_map([], sink)?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }
}

impl Change<'_> {
    /// One sink, as this change sees it.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn sink(&self, name: &str) -> Result<Option<SinkRow>, StoreFault> {
        let sql = format!("SELECT {COLUMNS} FROM sinks WHERE name = ?1");
        let mut query = self.connection.prepare_cached(&sql)?;
        Ok(query.query_row([name], sink).optional()?)
    }

    /// Puts on record that a key is about to be delivered. What the sink holds stays; only when it
    /// stands for another place than before, nothing is known of what is there.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn begin_delivery(
        &mut self,
        name: &str,
        place: &str,
        key: &NamedKey,
    ) -> Result<(), StoreFault> {
        self.connection
            .prepare_cached(
                "INSERT INTO sinks (name, place, tried_key, tried, state, begun_at)
                 VALUES (?1, ?2, ?3, ?4, 'begun', ?5)
                 ON CONFLICT (name) DO UPDATE SET
                    tried_key = ?3, tried = ?4, state = 'begun', begun_at = ?5,
                    effect = NULL, error = NULL, ended_at = NULL,
                    held_key = iif(place = ?2, held_key, NULL),
                    held = iif(place = ?2, held, NULL),
                    held_at = iif(place = ?2, held_at, NULL),
                    mark = iif(place = ?2, mark, NULL),
                    place = ?2",
            )?
            .execute(params![name, place, key.key, key.stands_for, self.now().ms()])?;
        Ok(())
    }

    /// Puts on record that what was begun is done.
    ///
    /// # Errors
    /// When nothing was begun, or the store cannot be written.
    pub fn end_delivery(&mut self, name: &str, mark: &str) -> Result<(), StoreFault> {
        let changed = self
            .connection
            .prepare_cached(
                "UPDATE sinks SET state = 'delivered', ended_at = ?2,
                    held_key = tried_key, held = tried, held_at = ?2, mark = ?3
                 WHERE name = ?1 AND state = 'begun'",
            )?
            .execute(params![name, self.now().ms(), mark])?;
        begun(changed, name)
    }

    /// Puts on record that what was begun failed. What the sink holds follows from what that left
    /// behind; where nobody can say, what it held is still named, for it may be there.
    ///
    /// # Errors
    /// When nothing was begun, or the store cannot be written.
    pub fn fail_delivery(
        &mut self,
        name: &str,
        effect: Effect,
        error: &str,
    ) -> Result<(), StoreFault> {
        let is_there = effect == Effect::Done;
        let changed = self
            .connection
            .prepare_cached(
                "UPDATE sinks SET state = 'failed', ended_at = ?2, effect = ?3, error = ?4,
                    held_key = iif(?5, tried_key, held_key), held = iif(?5, tried, held),
                    held_at = iif(?5, ?2, held_at), mark = iif(?5, NULL, mark)
                 WHERE name = ?1 AND state = 'begun'",
            )?
            .execute(params![name, self.now().ms(), word(effect), error, is_there])?;
        begun(changed, name)
    }

    /// Forgets what is on record of a sink; false when there is nothing.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn forget_sink(&mut self, name: &str) -> Result<bool, StoreFault> {
        let removed =
            self.connection.prepare_cached("DELETE FROM sinks WHERE name = ?1")?.execute([name])?;
        Ok(removed == 1)
    }
}

fn begun(changed: usize, name: &str) -> Result<(), StoreFault> {
    match changed {
        1 => Ok(()),
        _ => Err(StoreFault::Missing(format!("a delivery to sink {name:?} that was begun"))),
    }
}

fn sink(row: &Row<'_>) -> rusqlite::Result<SinkRow> {
    let moment = |column: usize| -> rusqlite::Result<Option<Timestamp>> {
        Ok(row.get::<_, Option<i64>>(column)?.map(Timestamp::from_ms))
    };
    let held = match (row.get(9)?, row.get(10)?, moment(11)?) {
        (Some(key), Some(stands_for), Some(at)) => {
            Some(Held { key: NamedKey { key, stands_for }, at, mark: row.get(12)? })
        }
        _ => None,
    };
    Ok(SinkRow {
        name: row.get(0)?,
        place: row.get(1)?,
        tried: NamedKey { key: row.get(2)?, stands_for: row.get(3)? },
        state: read_word(row, 4)?,
        effect: read_word_or_null(row, 5)?,
        error: row.get(6)?,
        begun_at: Timestamp::from_ms(row.get(7)?),
        ended_at: moment(8)?,
        held,
    })
}

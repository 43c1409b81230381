//! Rotations of upstream keys. Each change of one names the version it was made from, and carries
//! its step and its audit record; a change from an older version is refused.

use chamberlain_core::id::{EnvironmentName, RotationId, UpstreamKeyId};
use chamberlain_core::rotation::{Rotation, Stage, Traffic};
use chamberlain_core::time::{Date, Timestamp};
use rusqlite::{Connection, OptionalExtension, params};
use serde_json::json;

use crate::change::{Change, Facts};
use crate::fault::StoreFault;
use crate::store::Store;
use crate::words::{from_json, json as as_json};

/// Something that changed a rotation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RotationStep {
    /// When.
    pub at: Timestamp,
    /// Who.
    pub actor: String,
    /// `begun`, `intent`, `result`, `stage`, `approved`…
    pub kind: String,
    /// Where the rotation stood after it.
    pub stage: String,
    /// What exactly, for people.
    pub detail: String,
    /// Its record in the audit log.
    pub audit_seq: u64,
}

impl Store {
    /// Rotations that have not ended.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn open_rotations(&self) -> Result<Vec<Rotation>, StoreFault> {
        self.read(|connection| {
            select(connection, "WHERE ended_at IS NULL ORDER BY began_at, id", 0)
        })
    }

    /// The newest rotations, ended ones included, the newest first.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn rotations(&self, count: u32) -> Result<Vec<Rotation>, StoreFault> {
        let rest = "ORDER BY began_at DESC, id LIMIT ?1";
        self.read(|connection| select(connection, rest, count.max(1)))
    }

    /// What led a rotation to where it stands, in order.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn rotation_steps(&self, id: &RotationId) -> Result<Vec<RotationStep>, StoreFault> {
        self.read(|connection| {
            let mut query = connection.prepare_cached(
                "SELECT at, actor, kind, stage, detail, audit_seq FROM rotation_steps
                 WHERE rotation = ?1 ORDER BY version",
            )?;
            let rows = query.query_map([id.as_str()], |row| {
                Ok(RotationStep {
                    at: Timestamp::from_ms(row.get(0)?),
                    actor: row.get(1)?,
                    kind: row.get(2)?,
                    stage: row.get(3)?,
                    detail: row.get(4)?,
                    audit_seq: row.get(5)?,
                })
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// How many rotations of a seat were completed.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn rotations_done(&self, seat: Option<&EnvironmentName>) -> Result<u64, StoreFault> {
        self.read(|connection| {
            Ok(connection
                .prepare_cached("SELECT count(*) FROM rotations WHERE seat = ?1 AND stage = ?2")?
                .query_row(params![seat_text(seat), Stage::Done.word()], |row| row.get(0))?)
        })
    }

    /// What calls with a key came to since a moment, as far as it can be told from the outcomes.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn traffic_since(
        &self,
        key: &UpstreamKeyId,
        since: Timestamp,
    ) -> Result<Traffic, StoreFault> {
        self.read(|connection| {
            Ok(connection
                .prepare_cached(
                    "SELECT count(*) FILTER (WHERE outcome <> 'upstream_failed'),
                            count(*) FILTER (WHERE outcome = 'upstream_failed')
                     FROM calls WHERE at >= ?1 AND upstream_key = ?2 AND closed_seq IS NOT NULL",
                )?
                .query_row(params![since.ms(), key.as_str()], |row| {
                    Ok(Traffic { succeeded: row.get(0)?, failed: row.get(1)?, rejected: 0 })
                })?)
        })
    }

    /// The day of the last reminder about a key and that due date.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn reminded(&self, key: &UpstreamKeyId, due: Date) -> Result<Option<i64>, StoreFault> {
        self.read(|connection| {
            Ok(connection
                .prepare_cached(
                    "SELECT day FROM rotation_reminders WHERE upstream_key = ?1 AND due = ?2",
                )?
                .query_row(params![key.as_str(), due.to_string()], |row| row.get(0))
                .optional()?)
        })
    }
}

impl Change<'_> {
    /// Begins a rotation; gives the number of its audit record.
    ///
    /// # Errors
    /// When its key or its seat is being rotated already.
    pub fn begin_rotation(&mut self, rotation: &Rotation) -> Result<u64, StoreFault> {
        let taken = self
            .connection
            .prepare_cached(
                "SELECT id FROM rotations WHERE ended_at IS NULL AND (old_key = ?1 OR seat = ?2)",
            )?
            .query_row(params![rotation.old.as_str(), seat_of(rotation)], |row| {
                row.get::<_, String>(0)
            })
            .optional()?;
        if let Some(other) = taken {
            return Err(StoreFault::Conflict(format!("{other} rotates this key already")));
        }
        self.connection
            .prepare_cached(
                "INSERT INTO rotations (id, version, seat, old_key, new_key, stage, began_at,
                                        ended_at, rotation)
                 VALUES (?1, ?2, ?3, ?4, NULL, ?5, ?6, NULL, ?7)",
            )?
            .execute(params![
                rotation.id.as_str(),
                rotation.version,
                seat_of(rotation),
                rotation.old.as_str(),
                rotation.main.stage.word(),
                rotation.ordered.at.ms(),
                as_json(rotation)?,
            ])?;
        self.rotation_step(rotation, "begun", &rotation.ordered.reason)
    }

    /// Writes a rotation down in the place of the version before; gives the number of its audit
    /// record.
    ///
    /// # Errors
    /// When somebody else has written since: then nothing is changed.
    pub fn save_rotation(
        &mut self,
        rotation: &Rotation,
        kind: &str,
        detail: &str,
    ) -> Result<u64, StoreFault> {
        let ended_at = rotation.has_ended().then(|| self.now().ms());
        let changed = self
            .connection
            .prepare_cached(
                "UPDATE rotations SET version = ?2, new_key = ?3, stage = ?4, ended_at = ?5,
                                      rotation = ?6
                 WHERE id = ?1 AND version = ?2 - 1 AND ended_at IS NULL",
            )?
            .execute(params![
                rotation.id.as_str(),
                rotation.version,
                rotation.new.as_ref().map(|new| new.id.as_str()),
                rotation.main.stage.word(),
                ended_at,
                as_json(rotation)?,
            ])?;
        if changed != 1 {
            return Err(StoreFault::Conflict(format!(
                "{} was changed by somebody else meanwhile",
                rotation.id
            )));
        }
        self.rotation_step(rotation, kind, detail)
    }

    fn rotation_step(
        &mut self,
        rotation: &Rotation,
        kind: &str,
        detail: &str,
    ) -> Result<u64, StoreFault> {
        let stage = match &rotation.cut {
            Some(cut) => format!("{}+{}", rotation.main.stage, cut.stage),
            None => rotation.main.stage.to_string(),
        };
        let after = json!({
            "rotation": rotation.id,
            "version": rotation.version,
            "stage": stage,
            "detail": detail,
            "old": rotation.old,
            "new": rotation.new.as_ref().map(|new| &new.id),
        });
        let facts = Facts { reason: None, before: None, after: Some(after) };
        let subject = format!("upstream_key:{}", rotation.old);
        let seq = self.audit(&format!("rotation.{kind}"), &subject, &facts)?;
        self.connection
            .prepare_cached(
                "INSERT INTO rotation_steps (rotation, version, at, actor, kind, stage, detail,
                                             audit_seq)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            )?
            .execute(params![
                rotation.id.as_str(),
                rotation.version,
                self.now().ms(),
                self.actor().to_string(),
                kind,
                stage,
                detail,
                seq,
            ])?;
        Ok(seq)
    }

    /// Whether a rotation that has not ended replaces this key.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn is_being_replaced(&self, id: &UpstreamKeyId) -> Result<bool, StoreFault> {
        Ok(self
            .connection
            .prepare_cached("SELECT 1 FROM rotations WHERE ended_at IS NULL AND old_key = ?1")?
            .exists([id.as_str()])?)
    }

    /// Takes a key out of use without putting another one in its place. It stays sealed.
    ///
    /// # Errors
    /// When there is no such key, or it is revoked.
    pub fn shelve_upstream_key(&mut self, id: &UpstreamKeyId) -> Result<(), StoreFault> {
        let changed = self
            .connection
            .prepare_cached(
                "UPDATE upstream_keys SET state = 'staged'
                 WHERE id = ?1 AND state IN ('staged', 'current', 'previous')",
            )?
            .execute([id.as_str()])?;
        match changed {
            1 => Ok(()),
            _ => Err(StoreFault::Missing(format!("upstream key {id}"))),
        }
    }

    /// Remembers that a reminder was given; gives the number of its audit record.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn remind(
        &mut self,
        key: &UpstreamKeyId,
        due: Date,
        day: i64,
        facts: &Facts,
    ) -> Result<u64, StoreFault> {
        let seq = self.audit("rotation.reminder", &format!("upstream_key:{key}"), facts)?;
        self.connection
            .prepare_cached(
                "INSERT INTO rotation_reminders (upstream_key, due, day, at)
                 VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (upstream_key) DO UPDATE
                 SET due = excluded.due, day = excluded.day, at = excluded.at",
            )?
            .execute(params![key.as_str(), due.to_string(), day, self.now().ms()])?;
        Ok(seq)
    }
}

fn seat_text(seat: Option<&EnvironmentName>) -> &str {
    seat.map_or("", EnvironmentName::as_str)
}

fn seat_of(rotation: &Rotation) -> &str {
    seat_text(rotation.seat.as_ref())
}

fn select(connection: &Connection, rest: &str, count: u32) -> Result<Vec<Rotation>, StoreFault> {
    let mut query = connection.prepare_cached(&format!("SELECT rotation FROM rotations {rest}"))?;
    let read = |row: &rusqlite::Row<'_>| from_json(row, 0);
    let rows = match count {
        0 => query.query_map([], read)?.collect::<Result<_, _>>()?,
        count => query.query_map([count], read)?.collect::<Result<_, _>>()?,
    };
    Ok(rows)
}

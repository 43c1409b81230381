//! Containments. Each change of one names the version it was made from, and carries its step and
//! its audit record; a change from an older version is refused.

use chamberlain_core::containment::{Containment, Subject};
use chamberlain_core::id::{ContainmentId, UpstreamKeyId};
use chamberlain_core::time::Timestamp;
use rusqlite::{OptionalExtension, params};
use serde_json::{Value, json};

use crate::change::{Change, Facts};
use crate::fault::StoreFault;
use crate::store::Store;
use crate::words::{from_json, json as as_json};

/// Something that changed a containment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ContainmentStep {
    /// When.
    pub at: Timestamp,
    /// Who.
    pub actor: String,
    /// `begun`, `intent`, `result`, `failed`, `looked`, `ended`…
    pub kind: String,
    /// What exactly, for people.
    pub detail: String,
    /// Its record in the audit log.
    pub audit_seq: u64,
}

impl Store {
    /// Containments in which something is left to be done, the oldest first.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn open_containments(&self) -> Result<Vec<Containment>, StoreFault> {
        self.read(|connection| {
            let mut query = connection.prepare_cached(
                "SELECT containment FROM containments WHERE ended_at IS NULL ORDER BY began_at, id",
            )?;
            let rows = query.query_map([], |row| from_json(row, 0))?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// Every containment, the newest first.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn containments(&self) -> Result<Vec<Containment>, StoreFault> {
        self.read(|connection| {
            let mut query = connection.prepare_cached(
                "SELECT containment FROM containments ORDER BY began_at DESC, id",
            )?;
            let rows = query.query_map([], |row| from_json(row, 0))?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// The containment of a key, whether or not it has ended.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn containment_of(&self, subject: &Subject) -> Result<Option<Containment>, StoreFault> {
        self.read(|connection| {
            Ok(connection
                .prepare_cached("SELECT containment FROM containments WHERE subject = ?1")?
                .query_row([subject.to_string()], |row| from_json(row, 0))
                .optional()?)
        })
    }

    /// The upstream keys that are contained.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn contained_upstream_keys(&self) -> Result<Vec<UpstreamKeyId>, StoreFault> {
        self.read(|connection| {
            let mut query = connection.prepare_cached(
                "SELECT substr(subject, length('upstream_key:') + 1) FROM containments
                 WHERE subject LIKE 'upstream_key:%'",
            )?;
            let rows =
                query.query_map([], |row| row.get::<_, String>(0).map(UpstreamKeyId::new))?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// What led a containment to where it stands, in order.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn containment_steps(
        &self,
        id: &ContainmentId,
    ) -> Result<Vec<ContainmentStep>, StoreFault> {
        self.read(|connection| {
            let mut query = connection.prepare_cached(
                "SELECT at, actor, kind, detail, audit_seq FROM containment_steps
                 WHERE containment = ?1 ORDER BY version",
            )?;
            let rows = query.query_map([id.as_str()], |row| {
                Ok(ContainmentStep {
                    at: Timestamp::from_ms(row.get(0)?),
                    actor: row.get(1)?,
                    kind: row.get(2)?,
                    detail: row.get(3)?,
                    audit_seq: row.get(4)?,
                })
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// What was put together about a key's use, with the moment it was.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn containment_finding(
        &self,
        id: &ContainmentId,
        kind: &str,
    ) -> Result<Option<(Timestamp, Value)>, StoreFault> {
        self.read(|connection| {
            Ok(connection
                .prepare_cached(
                    "SELECT at, finding FROM containment_findings
                     WHERE containment = ?1 AND kind = ?2",
                )?
                .query_row([id.as_str(), kind], |row| {
                    Ok((Timestamp::from_ms(row.get(0)?), from_json(row, 1)?))
                })
                .optional()?)
        })
    }
}

impl Change<'_> {
    /// Puts a containment on record; gives the number of its audit record.
    ///
    /// # Errors
    /// When its key is contained already.
    pub fn begin_containment(
        &mut self,
        containment: &Containment,
        detail: &str,
    ) -> Result<u64, StoreFault> {
        let subject = containment.subject.to_string();
        let other = self
            .connection
            .prepare_cached("SELECT id FROM containments WHERE subject = ?1")?
            .query_row([&subject], |row| row.get::<_, String>(0))
            .optional()?;
        if let Some(other) = other {
            return Err(StoreFault::Conflict(format!("{subject} is contained already: {other}")));
        }
        self.connection
            .prepare_cached(
                "INSERT INTO containments (id, version, subject, began_at, ended_at, containment)
                 VALUES (?1, ?2, ?3, ?4, NULL, ?5)",
            )?
            .execute(params![
                containment.id.as_str(),
                containment.version,
                subject,
                containment.declared.at.ms(),
                as_json(containment)?,
            ])?;
        self.containment_step(containment, "begun", detail)
    }

    /// Whether an upstream key is contained.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn is_contained(&self, id: &UpstreamKeyId) -> Result<bool, StoreFault> {
        let subject = Subject::UpstreamKey(id.clone()).to_string();
        Ok(self
            .connection
            .prepare_cached("SELECT 1 FROM containments WHERE subject = ?1")?
            .exists([subject])?)
    }

    /// Writes a containment down in the place of the version before; gives the number of its audit
    /// record.
    ///
    /// # Errors
    /// When somebody else has written since: then nothing is changed.
    pub fn save_containment(
        &mut self,
        containment: &Containment,
        kind: &str,
        detail: &str,
    ) -> Result<u64, StoreFault> {
        let changed = self
            .connection
            .prepare_cached(
                "UPDATE containments SET version = ?2, ended_at = ?3, containment = ?4
                 WHERE id = ?1 AND version = ?2 - 1 AND ended_at IS NULL",
            )?
            .execute(params![
                containment.id.as_str(),
                containment.version,
                containment.ended_at.map(Timestamp::ms),
                as_json(containment)?,
            ])?;
        if changed != 1 {
            return Err(StoreFault::Conflict(format!(
                "{} was changed by somebody else meanwhile",
                containment.id
            )));
        }
        self.containment_step(containment, kind, detail)
    }

    /// Keeps what was put together about a key's use, in the place of what was before.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn put_containment_finding(
        &mut self,
        id: &ContainmentId,
        kind: &str,
        finding: &Value,
    ) -> Result<(), StoreFault> {
        self.connection
            .prepare_cached(
                "INSERT INTO containment_findings (containment, kind, at, finding)
                 VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (containment, kind) DO UPDATE
                 SET at = excluded.at, finding = excluded.finding",
            )?
            .execute(params![id.as_str(), kind, self.now().ms(), as_json(finding)?])?;
        Ok(())
    }

    fn containment_step(
        &mut self,
        containment: &Containment,
        kind: &str,
        detail: &str,
    ) -> Result<u64, StoreFault> {
        let after = json!({
            "containment": containment.id,
            "version": containment.version,
            "reason": containment.declared.reason,
            "detail": detail,
        });
        let facts =
            Facts { reason: containment.declared.note.clone(), before: None, after: Some(after) };
        let subject = containment.subject.to_string();
        let seq = self.audit(&format!("containment.{kind}"), &subject, &facts)?;
        self.connection
            .prepare_cached(
                "INSERT INTO containment_steps (containment, version, at, actor, kind, detail,
                                                audit_seq)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            )?
            .execute(params![
                containment.id.as_str(),
                containment.version,
                self.now().ms(),
                self.actor().to_string(),
                kind,
                detail,
                seq,
            ])?;
        Ok(seq)
    }
}

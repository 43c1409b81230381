//! The growing end of the audit log.

use chamberlain_core::audit::log::Log;
use chamberlain_core::audit::merkle::{Frontier, Hash, Node};
use chamberlain_core::audit::record::{self, Change, Place};
use chamberlain_core::record::Notice;
use chamberlain_core::time::Timestamp;
use rusqlite::{Connection, params};

use crate::audit::{self, STORED_LEVEL_MIN};
use crate::fault::StoreFault;

const INSERT: &str =
    "INSERT INTO audit (seq, at, kind, subject, bytes, leaf) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";

/// A record that was written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Written {
    /// Its number.
    pub(crate) seq: u64,
    /// Its leaf hash.
    pub(crate) leaf: Hash,
}

/// The end of the log, and room to write a record in.
pub(crate) struct AuditLog {
    log: Log,
    /// What the last record says when it was written.
    last_at: Option<Timestamp>,
    bytes: Vec<u8>,
    completed: Vec<(Node, Hash)>,
}

impl AuditLog {
    /// Reads where the stored log ends.
    pub(crate) fn load(connection: &Connection) -> Result<AuditLog, StoreFault> {
        let (size, last, last_at) = audit::end(connection)?;
        let mut state = size.to_be_bytes().to_vec();
        let mut first = 0u64;
        for level in (0..64u8).rev().filter(|level| size >> level & 1 == 1) {
            let peak = audit::node(connection, Node { level, index: first >> level })?;
            state.extend_from_slice(&peak);
            first += 1 << level;
        }
        let frontier = Frontier::from_bytes(&state)
            .ok_or_else(|| StoreFault::Damaged("the audit tree's edge".into()))?;
        let log = Log::resume(frontier, last);
        Ok(AuditLog { log, last_at, bytes: Vec::new(), completed: Vec::new() })
    }

    /// The number of the next record.
    pub(crate) fn next(&self) -> u64 {
        self.log.size()
    }

    /// How many records there are, and the root over them.
    pub(crate) fn head(&self) -> (u64, Hash) {
        (self.log.size(), self.log.root())
    }

    /// The moment of the last record, by its own word.
    pub(crate) fn last_at(&self) -> Option<Timestamp> {
        self.last_at
    }

    /// Writes one record. `subject` is `None` for the records of a call, which its row points at.
    pub(crate) fn append(
        &mut self,
        connection: &Connection,
        at: Timestamp,
        kind: &str,
        subject: Option<&str>,
        write: impl FnOnce(&mut Vec<u8>, &Place),
    ) -> Result<Written, StoreFault> {
        let place = self.log.place();
        self.bytes.clear();
        write(&mut self.bytes, &place);
        let completed = &mut self.completed;
        let leaf = self.log.append_with(&self.bytes, |node, hash| {
            if node.level >= STORED_LEVEL_MIN {
                completed.push((node, *hash));
            }
        });
        connection.prepare_cached(INSERT)?.execute(params![
            place.seq,
            at.ms(),
            kind,
            subject,
            self.bytes,
            leaf
        ])?;
        self.last_at = Some(at);
        for (node, hash) in self.completed.drain(..) {
            connection
                .prepare_cached("INSERT INTO audit_nodes (level, place, hash) VALUES (?1, ?2, ?3)")?
                .execute(params![node.level, node.index, hash])?;
        }
        Ok(Written { seq: place.seq, leaf })
    }

    /// Writes a notice.
    pub(crate) fn note(
        &mut self,
        connection: &Connection,
        notice: &Notice,
    ) -> Result<Written, StoreFault> {
        self.append(connection, notice.at, &notice.kind, Some(&notice.subject), |out, place| {
            record::notice(out, place, notice);
        })
    }

    /// Writes a change.
    pub(crate) fn change(
        &mut self,
        connection: &Connection,
        change: &Change<'_>,
    ) -> Result<Written, StoreFault> {
        self.append(connection, change.at, change.kind, Some(change.subject), |out, place| {
            record::change(out, place, change);
        })
    }
}

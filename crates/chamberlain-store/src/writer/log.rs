//! The growing end of the audit log.

use chamberlain_core::audit::log::Log;
use chamberlain_core::audit::merkle::{Frontier, Hash, Node};
use chamberlain_core::audit::record::{self, Change, Place};
use chamberlain_core::record::Notice;
use chamberlain_core::time::Timestamp;
use rusqlite::{Connection, params};

use crate::audit::blocks::Pending;
use crate::audit::{self, STORED_LEVEL_MIN};
use crate::fault::StoreFault;

/// A record that was written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Written {
    /// Its number.
    pub(crate) seq: u64,
    /// Its leaf hash.
    pub(crate) leaf: Hash,
}

/// The end of the log, and the records that are not in the file yet.
pub(crate) struct AuditLog {
    log: Log,
    /// What the last record says when it was written.
    last_at: Option<Timestamp>,
    pending: Pending,
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
        Ok(AuditLog { log, last_at, pending: Pending::default(), completed: Vec::new() })
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

    /// Adds one record, which is in the file after [`AuditLog::flush`]. `subject` is `None` for the
    /// records of a call, which its row points at.
    pub(crate) fn append(
        &mut self,
        connection: &Connection,
        at: Timestamp,
        kind: &str,
        subject: Option<&str>,
        write: impl FnOnce(&mut Vec<u8>, &Place),
    ) -> Result<Written, StoreFault> {
        let place = self.log.place();
        let start = self.pending.bytes().len();
        write(self.pending.bytes(), &place);
        let completed = &mut self.completed;
        let leaf = self.log.append_with(self.pending.since(start), |node, hash| {
            if node.level >= STORED_LEVEL_MIN {
                completed.push((node, *hash));
            }
        });
        self.pending.seal(place.seq, start, &leaf);
        self.last_at = Some(at);
        if let Some(subject) = subject {
            connection
                .prepare_cached(
                    "INSERT INTO audit_finder (seq, kind, subject) VALUES (?1, ?2, ?3)",
                )?
                .execute(params![place.seq, kind, subject])?;
        }
        for (node, hash) in self.completed.drain(..) {
            connection
                .prepare_cached("INSERT INTO audit_nodes (level, place, hash) VALUES (?1, ?2, ?3)")?
                .execute(params![node.level, node.index, hash])?;
        }
        if self.pending.is_full() {
            self.pending.flush(connection)?;
        }
        Ok(Written { seq: place.seq, leaf })
    }

    /// Writes what was added into the open transaction.
    pub(crate) fn flush(&mut self, connection: &Connection) -> Result<(), StoreFault> {
        self.pending.flush(connection)
    }

    /// The leaf hash of a record, also of one that is not in the file yet.
    pub(crate) fn leaf(
        &self,
        connection: &Connection,
        seq: u64,
    ) -> Result<Option<Hash>, StoreFault> {
        match self.pending.leaf(seq) {
            Some(leaf) => Ok(Some(leaf)),
            None => audit::leaf(connection, seq),
        }
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

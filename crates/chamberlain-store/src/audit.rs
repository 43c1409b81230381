//! The audit log as it is stored: records, leaf hashes, hashes of large subtrees, checkpoints.
//!
//! Reading hands out the stored bytes; whoever verifies hashes those, never something written anew.

use std::ops::ControlFlow;

use chamberlain_core::audit::merkle::{Hash, Node, node_hash};
use chamberlain_core::audit::proof::{self, ProofError};
use chamberlain_core::audit::verify;
use chamberlain_core::time::Timestamp;
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Rows, params, params_from_iter};

use crate::fault::StoreFault;
use crate::store::Store;
use crate::words::count_column;
use crate::writer::log::AuditLog;

/// Hashes of subtrees from this level up are stored; smaller ones are made from leaf hashes.
pub(crate) const STORED_LEVEL_MIN: u8 = 8;

/// The families of records that tell of a change by an operator.
const CHANGES: [&str; 10] = [
    "budget",
    "clock",
    "config",
    "key",
    "limit",
    "rotation",
    "scope",
    "upstream_key",
    "vault",
    "virtual_key",
];

/// One stored record, borrowed while it is read.
#[derive(Clone, Copy, Debug)]
pub struct StoredRecord<'a> {
    /// The row's number.
    pub seq: u64,
    /// The row's time, as its column has it.
    pub at: Timestamp,
    /// The row's kind, as its column has it.
    pub kind: &'a str,
    /// The row's subject, as its column has it; records of a call have none there.
    pub subject: Option<&'a str>,
    /// The bytes that were hashed.
    pub bytes: &'a [u8],
    /// The leaf hash stored with them.
    pub leaf: &'a [u8],
}

impl<'a> StoredRecord<'a> {
    /// The record as core's verifier takes it, every column included. What is not even of the form
    /// that this store writes is handed on as something that cannot be true.
    pub fn found(&self) -> verify::StoredRecord<'a> {
        let of_call = matches!(self.kind, "call.intent" | "call.settled");
        let subject = self.subject.or((!of_call).then_some(""));
        verify::StoredRecord {
            seq: self.seq,
            bytes: Some(self.bytes),
            leaf: Hash::try_from(self.leaf).unwrap_or_default(),
            columns: verify::Columns {
                at: Some(self.at),
                kind: Some(self.kind),
                subject,
                ..verify::Columns::default()
            },
        }
    }
}

/// Which records of the audit log to read.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct AuditFilter {
    /// From this number on.
    pub from: u64,
    /// Up to, but not including, this number.
    pub to: Option<u64>,
    /// Not before.
    pub since: Option<Timestamp>,
    /// Before.
    pub until: Option<Timestamp>,
    /// Exactly this kind, or every kind under it when it ends with a dot (`budget.`).
    pub kind: Option<String>,
    /// Exactly this subject. Records of a call are found through the call instead.
    pub subject: Option<String>,
}

/// A signed head of the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoredCheckpoint {
    /// How many records it covers.
    pub size: u64,
    /// When it was signed.
    pub at: Timestamp,
    /// The signed note.
    pub note: Vec<u8>,
}

impl Store {
    /// Hands every stored record from `from` on to `each`, in order, until it breaks off. Memory
    /// does not grow with the log; the bytes are those that were hashed.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn audit_each(
        &self,
        from: u64,
        each: impl FnMut(StoredRecord<'_>) -> ControlFlow<()>,
    ) -> Result<(), StoreFault> {
        self.read(|connection| {
            let mut query = connection.prepare_cached(
                "SELECT seq, at, kind, subject, bytes, leaf FROM audit
                 WHERE seq >= ?1 ORDER BY seq",
            )?;
            hand_out(query.query([from])?, each)
        })
    }

    /// Hands the records that match to `each`, in order, until it breaks off.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn audit_matching(
        &self,
        filter: &AuditFilter,
        each: impl FnMut(StoredRecord<'_>) -> ControlFlow<()>,
    ) -> Result<(), StoreFault> {
        let (conditions, values) = filter.conditions();
        self.read(|connection| {
            let mut query = connection.prepare(&format!(
                "SELECT seq, at, kind, subject, bytes, leaf FROM audit {conditions} ORDER BY seq"
            ))?;
            hand_out(query.query(params_from_iter(values))?, each)
        })
    }

    /// The bytes of one record.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn audit_record(&self, seq: u64) -> Result<Option<Vec<u8>>, StoreFault> {
        self.read(|connection| {
            Ok(connection
                .prepare_cached("SELECT bytes FROM audit WHERE seq = ?1")?
                .query_row([seq], |row| row.get(0))
                .optional()?)
        })
    }

    /// How many records the log has, and the root over them.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn audit_head(&self) -> Result<(u64, Hash), StoreFault> {
        self.read(|connection| Ok(AuditLog::load(connection)?.head()))
    }

    /// The number of the last record of a change that a restore must bring back: to keys, budgets,
    /// limits, pauses and what else an operator sets.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn last_change_seq(&self) -> Result<Option<u64>, StoreFault> {
        self.read(|connection| {
            let mut last = None;
            for family in CHANGES {
                let of: Option<u64> = connection
                    .prepare_cached(
                        "SELECT max(seq) FROM audit
                         WHERE subject IS NOT NULL AND kind >= ?1 || '.' AND kind < ?1 || '/'",
                    )?
                    .query_row([family], |row| row.get(0))?;
                last = last.max(of);
            }
            Ok(last)
        })
    }

    /// The hashes that prove that record `seq` is among the first `size`.
    ///
    /// # Errors
    /// When there is no such record, or the log cannot be read.
    pub fn audit_inclusion(&self, seq: u64, size: u64) -> Result<Vec<Hash>, StoreFault> {
        self.read(|connection| {
            proof::inclusion(seq, size, |wanted| node(connection, wanted)).map_err(unproven)
        })
    }

    /// The hashes that prove that the first `new` records begin with the first `old`.
    ///
    /// # Errors
    /// When `old` is larger than `new`, or the log cannot be read.
    pub fn audit_consistency(&self, old: u64, new: u64) -> Result<Vec<Hash>, StoreFault> {
        self.read(|connection| {
            proof::consistency(old, new, |wanted| node(connection, wanted)).map_err(unproven)
        })
    }

    /// Stores a signed head, durably. One of that size that is there already stays as it is.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn insert_checkpoint(&self, checkpoint: StoredCheckpoint) -> Result<(), StoreFault> {
        self.keep_books(true, move |change| {
            change
                .connection
                .prepare_cached(
                    "INSERT OR IGNORE INTO checkpoints (size, at, note) VALUES (?1, ?2, ?3)",
                )?
                .execute(params![checkpoint.size, checkpoint.at.ms(), checkpoint.note])?;
            Ok(())
        })
    }

    /// Every signed head, the smallest first.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn checkpoints(&self) -> Result<Vec<StoredCheckpoint>, StoreFault> {
        self.select_checkpoints("ORDER BY size", params![])
    }

    /// The signed heads over more than `size` records, the smallest first, `count` at the most.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn checkpoints_above(
        &self,
        size: u64,
        count: usize,
    ) -> Result<Vec<StoredCheckpoint>, StoreFault> {
        let values = params![count_column(size), count];
        self.select_checkpoints("WHERE size > ?1 ORDER BY size LIMIT ?2", values)
    }

    /// The signed head over the most records.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn last_checkpoint(&self) -> Result<Option<StoredCheckpoint>, StoreFault> {
        Ok(self.select_checkpoints("ORDER BY size DESC LIMIT 1", params![])?.pop())
    }

    fn select_checkpoints(
        &self,
        rest: &str,
        values: impl rusqlite::Params,
    ) -> Result<Vec<StoredCheckpoint>, StoreFault> {
        self.read(|connection| {
            let sql = format!("SELECT size, at, note FROM checkpoints {rest}");
            let mut query = connection.prepare_cached(&sql)?;
            let rows = query.query_map(values, |row| {
                Ok(StoredCheckpoint {
                    size: row.get(0)?,
                    at: Timestamp::from_ms(row.get(1)?),
                    note: row.get(2)?,
                })
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }
}

impl AuditFilter {
    fn conditions(&self) -> (String, Vec<Value>) {
        let (mut sql, mut values) = (String::from("WHERE true"), Vec::new());
        let mut add = |condition: &str, value: Option<Value>| {
            values.extend(value);
            sql.push_str(" AND ");
            sql.push_str(&condition.replace('?', &format!("?{}", values.len())));
        };
        if self.from > 0 {
            add("seq >= ?", Some(Value::Integer(count_column(self.from))));
        }
        if let Some(to) = self.to {
            add("seq < ?", Some(Value::Integer(count_column(to))));
        }
        if let Some(since) = self.since {
            add("at >= ?", Some(Value::Integer(since.ms())));
        }
        if let Some(until) = self.until {
            add("at < ?", Some(Value::Integer(until.ms())));
        }
        if let Some(kind) = &self.kind {
            match kind.strip_suffix('.') {
                None => add("kind = ?", Some(Value::Text(kind.clone()))),
                // A family of kinds is a range of texts: the character after the dot is the slash.
                Some(family) => {
                    add("kind >= ?", Some(Value::Text(kind.clone())));
                    add("kind < ?", Some(Value::Text(format!("{family}/"))));
                }
            }
            if !kind.starts_with("call.") {
                // All of these have one; said so, the index of such records applies.
                add("subject IS NOT NULL", None);
            }
        }
        if let Some(subject) = &self.subject {
            add("subject = ?", Some(Value::Text(subject.clone())));
        }
        (sql, values)
    }
}

fn hand_out(
    mut rows: Rows<'_>,
    mut each: impl FnMut(StoredRecord<'_>) -> ControlFlow<()>,
) -> Result<(), StoreFault> {
    while let Some(row) = rows.next()? {
        let record = StoredRecord {
            seq: row.get(0)?,
            at: Timestamp::from_ms(row.get(1)?),
            // Text that is no text was not written here; the verifier finds it by what it is not.
            kind: row.get_ref(2)?.as_str().unwrap_or_default(),
            subject: row.get_ref(3)?.as_str_or_null().unwrap_or(Some("")),
            bytes: row.get_ref(4)?.as_blob().map_err(rusqlite::Error::from)?,
            leaf: row.get_ref(5)?.as_blob().map_err(rusqlite::Error::from)?,
        };
        if each(record).is_break() {
            break;
        }
    }
    Ok(())
}

fn unproven(error: ProofError<StoreFault>) -> StoreFault {
    match error {
        ProofError::Read(fault) => fault,
        ProofError::OutOfRange { .. } => StoreFault::Missing(format!("proof: {error}")),
    }
}

/// How many records there are, and the last one's leaf hash (zeros without any) and moment.
pub(crate) fn end(connection: &Connection) -> Result<(u64, Hash, Option<Timestamp>), StoreFault> {
    let last = connection
        .prepare_cached("SELECT seq, leaf, at FROM audit ORDER BY seq DESC LIMIT 1")?
        .query_row([], |row| {
            let seq: u64 = row.get(0)?;
            Ok((seq + 1, row.get(1)?, Some(Timestamp::from_ms(row.get(2)?))))
        })
        .optional()?;
    Ok(last.unwrap_or_default())
}

/// The hash of a complete subtree.
pub(crate) fn node(connection: &Connection, node: Node) -> Result<Hash, StoreFault> {
    let Node { level, index } = node;
    let gone = || StoreFault::Damaged(format!("audit tree: node {level}/{index} is missing"));
    if level >= STORED_LEVEL_MIN {
        return connection
            .prepare_cached("SELECT hash FROM audit_nodes WHERE level = ?1 AND place = ?2")?
            .query_row(params![level, index], |row| row.get(0))
            .optional()?
            .ok_or_else(gone);
    }
    let count = 1usize << level;
    let first = index << level;
    let mut query = connection
        .prepare_cached("SELECT leaf FROM audit WHERE seq >= ?1 AND seq < ?2 ORDER BY seq")?;
    let rows = query.query_map(params![first, first + count as u64], |row| row.get(0))?;
    let mut hashes: Vec<Hash> = rows.collect::<Result<_, _>>()?;
    if hashes.len() != count {
        return Err(gone());
    }
    while hashes.len() > 1 {
        hashes = hashes.chunks(2).map(|pair| node_hash(&pair[0], &pair[1])).collect();
    }
    Ok(hashes[0])
}

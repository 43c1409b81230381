//! The audit log as it is stored: records, leaf hashes, hashes of large subtrees, checkpoints.
//!
//! Reading hands out the stored bytes; whoever verifies hashes those, never something written anew.

use std::ops::ControlFlow;

use chamberlain_core::audit::merkle::{Hash, Node, node_hash};
use chamberlain_core::audit::proof::{self, ProofError};
use chamberlain_core::audit::record::Head;
use chamberlain_core::audit::verify;
use chamberlain_core::time::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};

use self::blocks::Blocks;
use self::listings::Listings;
use crate::fault::StoreFault;
use crate::store::Store;
use crate::words::count_column;
use crate::writer::log::AuditLog;

pub(crate) mod blocks;
mod filter;
mod hashing;
mod listings;

pub use self::filter::AuditFilter;

/// Hashes of subtrees from this level up are stored; smaller ones are made from leaf hashes.
pub(crate) const STORED_LEVEL_MIN: u8 = 8;

/// The families of records that tell of a change by an operator.
const CHANGES: [&str; 11] = [
    "budget",
    "clock",
    "config",
    "containment",
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
    /// The number that it is stored under.
    pub seq: u64,
    /// The bytes that were hashed.
    pub bytes: &'a [u8],
    /// The leaf hash stored with them.
    pub leaf: &'a [u8],
    /// What a search finds it by; `None` where no search finds it, as is right for records of a
    /// call.
    pub listed: Option<Listing<'a>>,
}

/// What a search finds a record by, as its columns have it.
#[derive(Clone, Copy, Debug)]
pub struct Listing<'a> {
    /// Its kind.
    pub kind: &'a str,
    /// What it is about.
    pub subject: &'a str,
}

impl<'a> StoredRecord<'a> {
    /// The record as core's verifier takes it, every column included. What is not even of the form
    /// that this store writes is handed on as something that cannot be true.
    pub fn found(&self) -> verify::StoredRecord<'a> {
        let unlisted = Listing { kind: "", subject: "" };
        let listed = self.listed.or_else(|| (!is_of_call(self.bytes)).then_some(unlisted));
        verify::StoredRecord {
            seq: self.seq,
            bytes: Some(self.bytes),
            leaf: Hash::try_from(self.leaf).unwrap_or_default(),
            columns: verify::Columns {
                kind: listed.map(|listed| listed.kind),
                subject: listed.map(|listed| listed.subject),
                ..verify::Columns::default()
            },
        }
    }
}

/// Whether these are the bytes of a record of a call, which no search needs to find.
fn is_of_call(bytes: &[u8]) -> bool {
    let kind = Head::read(bytes).map(|head| head.kind);
    kind.is_some_and(|kind| matches!(kind, b"\"call.intent\"" | b"\"call.settled\""))
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
        mut each: impl FnMut(StoredRecord<'_>) -> ControlFlow<()>,
    ) -> Result<(), StoreFault> {
        self.read(|connection| {
            let mut query = connection.prepare_cached(blocks::SELECT)?;
            let mut blocks = Blocks::select(&mut query, from, i64::MAX)?;
            let mut listings = connection.prepare_cached(Listings::SELECT)?;
            let mut listings = Listings::select(&mut listings, from)?;
            while let Some(block) = blocks.next()? {
                for found in block.records().filter(|found| found.seq >= from) {
                    if each(listings.with(found)?).is_break() {
                        return Ok(());
                    }
                }
            }
            Ok(())
        })
    }

    /// Hands the records that match to `each`, in order, until it breaks off.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn audit_matching(
        &self,
        filter: &AuditFilter,
        mut each: impl FnMut(StoredRecord<'_>) -> ControlFlow<()>,
    ) -> Result<(), StoreFault> {
        if filter.is_listed() {
            return self.read(|connection| filter::listed(connection, filter, each));
        }
        let mut end = ControlFlow::Continue(());
        self.audit_each(filter.from, |record| {
            if filter.to.is_some_and(|to| record.seq >= to) {
                return ControlFlow::Break(());
            }
            if filter.matches(&record) {
                end = each(record);
            }
            end
        })
    }

    /// The bytes of one record.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn audit_record(&self, seq: u64) -> Result<Option<Vec<u8>>, StoreFault> {
        self.read(|connection| {
            let block = blocks::block_of(connection, seq)?;
            Ok(block.and_then(|block| block.record(seq).map(|found| found.bytes.to_vec())))
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
                        "SELECT max(seq) FROM audit_finder
                         WHERE kind >= ?1 || '.' AND kind < ?1 || '/'",
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

fn unproven(error: ProofError<StoreFault>) -> StoreFault {
    match error {
        ProofError::Read(fault) => fault,
        ProofError::OutOfRange { .. } => StoreFault::Missing(format!("proof: {error}")),
    }
}

/// How many records there are, and the last one's leaf hash (zeros without any) and moment.
pub(crate) fn end(connection: &Connection) -> Result<(u64, Hash, Option<Timestamp>), StoreFault> {
    let Some(block) = blocks::last(connection)? else { return Ok(Default::default()) };
    let Some(last) = block.records().last() else { return Ok(Default::default()) };
    let leaf = Hash::try_from(last.leaf)
        .map_err(|_| StoreFault::Damaged(format!("audit record {}", last.seq)))?;
    Ok((last.seq + 1, leaf, Head::read(last.bytes).map(|head| head.at)))
}

/// The leaf hash of a record.
pub(crate) fn leaf(connection: &Connection, seq: u64) -> Result<Option<Hash>, StoreFault> {
    Ok(blocks::leaves(connection, seq, seq + 1)?.pop())
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
    let mut hashes = blocks::leaves(connection, first, first + count as u64)?;
    if hashes.len() != count {
        return Err(gone());
    }
    while hashes.len() > 1 {
        hashes = hashes.chunks(2).map(|pair| node_hash(&pair[0], &pair[1])).collect();
    }
    Ok(hashes[0])
}

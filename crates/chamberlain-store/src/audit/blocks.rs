//! The records of the audit log as they lie in the file: many in one row.
//!
//! A block holds records that follow each other without a gap, in two values: a head for each
//! record (the length of its bytes and its leaf hash) and the bytes one after the other. Nothing of
//! it is believed when it is read: what does not fit together comes out as a record that no
//! verifier accepts, at the place where it stops fitting.

use chamberlain_core::audit::merkle::Hash;
use rusqlite::{Connection, OptionalExtension, Row, Statement};

use crate::fault::StoreFault;

/// Records in a block at the most. A proof or a single record reads one block.
const RECORDS_MAX: usize = 256;

/// From this size on a block takes no further record, bytes.
const BYTES_MAX: usize = 256 * 1024;

/// The length of a record's bytes, the highest first.
const LENGTH_BYTES: usize = 4;
const HEAD_BYTES: usize = LENGTH_BYTES + size_of::<Hash>();

/// Blocks that have records from the number `?1` on, and come before `?2`. The one before `?1` may
/// reach up to it.
macro_rules! select {
    ($columns:literal) => {
        concat!(
            "SELECT ",
            $columns,
            " FROM audit_blocks
             WHERE first >= ifnull((SELECT max(first) FROM audit_blocks
                                    WHERE first BETWEEN 0 AND ?1), 0)
               AND first < ?2
             ORDER BY first"
        )
    };
}

/// Every block with records from one number on, up to but not including another.
pub(super) const SELECT: &str = select!("first, heads, bytes");
const SELECT_HEADS: &str = select!("first, heads, x''");

/// Records that are not in the file yet. They become one row.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    first: u64,
    heads: Vec<u8>,
    bytes: Vec<u8>,
}

impl Pending {
    /// Where the bytes of the next record go: to the end.
    pub(crate) fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// The bytes from `start` on.
    pub(crate) fn since(&self, start: usize) -> &[u8] {
        &self.bytes[start..]
    }

    /// Makes what was written from `start` on the record `seq`, which follows the one before.
    pub(crate) fn seal(&mut self, seq: u64, start: usize, leaf: &Hash) {
        if self.heads.is_empty() {
            self.first = seq;
        }
        // No record comes near four gigabytes; SQLite takes no value of more than one.
        let length = u32::try_from(self.bytes.len() - start).unwrap_or(u32::MAX);
        self.heads.extend_from_slice(&length.to_be_bytes());
        self.heads.extend_from_slice(leaf);
    }

    /// The leaf hash of a record that is in here.
    pub(crate) fn leaf(&self, seq: u64) -> Option<Hash> {
        let place = usize::try_from(seq.checked_sub(self.first)?).ok()?;
        let head = self.heads.chunks_exact(HEAD_BYTES).nth(place)?;
        head[LENGTH_BYTES..].try_into().ok()
    }

    /// True when the next record belongs in another block.
    pub(crate) fn is_full(&self) -> bool {
        self.heads.len() >= RECORDS_MAX * HEAD_BYTES || self.bytes.len() >= BYTES_MAX
    }

    /// Writes them into the open transaction; keeps the memory.
    pub(crate) fn flush(&mut self, connection: &Connection) -> Result<(), StoreFault> {
        if self.heads.is_empty() {
            return Ok(());
        }
        connection
            .prepare_cached("INSERT INTO audit_blocks (first, heads, bytes) VALUES (?1, ?2, ?3)")?
            .execute((self.first, &self.heads[..], &self.bytes[..]))?;
        self.heads.clear();
        self.bytes.clear();
        Ok(())
    }
}

/// A block as it was found.
#[derive(Clone, Debug, Default)]
pub(crate) struct Block {
    first: u64,
    heads: Vec<u8>,
    bytes: Vec<u8>,
}

/// A record of a block as it was found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Found<'a> {
    pub(crate) seq: u64,
    pub(crate) bytes: &'a [u8],
    /// Its leaf hash; something of another length where the block does not fit together.
    pub(crate) leaf: &'a [u8],
}

impl Block {
    pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<Block> {
        Ok(Block { first: row.get(0)?, heads: row.get(1)?, bytes: row.get(2)? })
    }

    /// The size in memory, about.
    pub(super) fn len(&self) -> usize {
        self.heads.len() + self.bytes.len()
    }

    /// The record with this number.
    pub(super) fn record(&self, seq: u64) -> Option<Found<'_>> {
        let place = usize::try_from(seq.checked_sub(self.first)?).ok()?;
        self.records().nth(place)
    }

    /// Its records, in order, numbered without a gap. There is always one: a block of nothing is a record of nothing.
    pub(crate) fn records(&self) -> impl Iterator<Item = Found<'_>> {
        let nothing = self.heads.is_empty().then_some(&[][..]);
        let count = self.heads.len().div_ceil(HEAD_BYTES);
        let heads = nothing.into_iter().chain(self.heads.chunks(HEAD_BYTES));
        let mut bytes = &self.bytes[..];
        heads.zip(self.first..).enumerate().map(move |(place, (head, seq))| {
            let is_last = place + 1 >= count;
            let (length, leaf) = match head.split_first_chunk() {
                Some((length, leaf)) => (u32::from_be_bytes(*length) as usize, leaf),
                None => (0, &[][..]),
            };
            let fits = if is_last { length == bytes.len() } else { length <= bytes.len() };
            let until = if is_last || !fits { bytes.len() } else { length };
            let (record, rest) = bytes.split_at(until);
            bytes = rest;
            Found { seq, bytes: record, leaf: if fits { leaf } else { &[] } }
        })
    }
}

/// The block with the record `seq`, if any has it.
pub(crate) fn block_of(connection: &Connection, seq: u64) -> Result<Option<Block>, StoreFault> {
    Ok(connection
        .prepare_cached(
            "SELECT first, heads, bytes FROM audit_blocks WHERE first BETWEEN 0 AND ?1
             ORDER BY first DESC LIMIT 1",
        )?
        .query_row([seq], Block::read)
        .optional()?
        .filter(|block| block.record(seq).is_some()))
}

/// The last block, if there is any.
pub(crate) fn last(connection: &Connection) -> Result<Option<Block>, StoreFault> {
    let mut query = connection.prepare_cached(
        "SELECT first, heads, bytes FROM audit_blocks ORDER BY first DESC LIMIT 1",
    )?;
    Ok(query.query_row([], Block::read).optional()?)
}

/// The leaf hashes of the records `first` to `end` (not included) that are in the file.
pub(crate) fn leaves(
    connection: &Connection,
    first: u64,
    end: u64,
) -> Result<Vec<Hash>, StoreFault> {
    let mut query = connection.prepare_cached(SELECT_HEADS)?;
    let mut leaves = Vec::new();
    let mut rows = query.query((first, end))?;
    while let Some(row) = rows.next()? {
        let heads = row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?;
        let seqs = row.get::<_, u64>(0)?..end;
        for (seq, head) in seqs.zip(heads.chunks(HEAD_BYTES)).filter(|(seq, _)| *seq >= first) {
            let leaf = head.get(LENGTH_BYTES..).and_then(|leaf| leaf.try_into().ok());
            leaves.push(leaf.ok_or_else(|| {
                StoreFault::Damaged(format!("audit record {seq} has no leaf hash"))
            })?);
        }
    }
    Ok(leaves)
}

/// Blocks read one after another.
pub(super) struct Blocks<'a> {
    rows: rusqlite::Rows<'a>,
}

impl<'a> Blocks<'a> {
    /// All blocks with records from `from` on, up to `to`.
    pub(super) fn select(
        statement: &'a mut Statement<'_>,
        from: u64,
        to: i64,
    ) -> Result<Blocks<'a>, StoreFault> {
        Ok(Blocks { rows: statement.query((from, to))? })
    }

    pub(super) fn next(&mut self) -> Result<Option<Block>, StoreFault> {
        Ok(self.rows.next()?.map(Block::read).transpose()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(block: &Block) -> Vec<(u64, &[u8], usize)> {
        block.records().map(|found| (found.seq, found.bytes, found.leaf.len())).collect()
    }

    fn block() -> Block {
        let mut pending = Pending::default();
        for (seq, text) in (7..).zip(["one", "three", "", "four"]) {
            let start = pending.bytes().len();
            pending.bytes().extend_from_slice(text.as_bytes());
            pending.seal(seq, start, &[seq as u8; 32]);
        }
        assert_eq!(pending.leaf(8), Some([8; 32]));
        assert_eq!((pending.leaf(6), pending.leaf(11)), (None, None));
        Block { first: pending.first, heads: pending.heads, bytes: pending.bytes }
    }

    #[test]
    fn records_come_out_as_they_went_in() {
        let expected: [(u64, &[u8], usize); 4] =
            [(7, b"one", 32), (8, b"three", 32), (9, b"", 32), (10, b"four", 32)];
        assert_eq!(found(&block()), expected);
        assert!(block().records().all(|record| record.leaf == [record.seq as u8; 32]));
    }

    /// Whatever was cut off or put on comes out as a record without a leaf hash.
    #[test]
    fn a_block_that_does_not_fit_together_has_a_record_that_nobody_accepts() {
        let broken = |change: fn(&mut Block)| {
            let mut block = block();
            change(&mut block);
            let sizes: Vec<_> = found(&block).iter().map(|(seq, _, leaf)| (*seq, *leaf)).collect();
            sizes
        };
        let sound = |until: u64| (7..until).map(|seq| (seq, 32)).collect::<Vec<_>>();
        let with = |mut sound: Vec<(u64, usize)>, last: &[(u64, usize)]| {
            sound.extend_from_slice(last);
            sound
        };
        assert_eq!(broken(|block| block.bytes.push(0)), with(sound(10), &[(10, 0)]));
        assert_eq!(broken(|block| block.bytes.truncate(11)), with(sound(10), &[(10, 0)]));
        assert_eq!(broken(|block| block.heads.truncate(36 + 20)), with(sound(8), &[(8, 0)]));
        assert_eq!(broken(|block| block.heads.truncate(36 + 3)), with(sound(8), &[(8, 0)]));
        assert_eq!(broken(|block| block.heads.push(0)), with(sound(11), &[(11, 0)]));
        assert_eq!(broken(|block| block.heads.truncate(72)), with(sound(8), &[(8, 0)]));
        assert_eq!(broken(|block| block.heads.clear()), [(7, 0)]);
        assert_eq!(broken(|block| *block = Block { first: 9, ..Block::default() }), [(9, 0)]);
        let long = broken(|block| block.heads[0] = 255);
        assert_eq!(long, [(7, 0), (8, 0), (9, 32), (10, 0)]);
    }
}

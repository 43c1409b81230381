//! Reading the whole log with every leaf hash made anew, on several cores.
//!
//! Whoever verifies has to go through the records one after the other, and most of that work is
//! hashing, which no record waits for another with. So while one batch of blocks is gone through,
//! the next one is hashed and the one after it read.

use std::ops::ControlFlow;
use std::thread::{self, ScopedJoinHandle};

use chamberlain_core::audit::merkle::{Hash, leaf_hash};

use super::StoredRecord;
use super::blocks::{self, Block, Blocks};
use super::listings::Listings;
use crate::fault::StoreFault;
use crate::store::Store;

/// Blocks of about this size are hashed at a time, bytes. Three such batches are in memory.
const BATCH_BYTES: usize = 2 * 1024 * 1024;

/// Threads that hash at the most.
const HASHERS_MAX: usize = 8;

/// Blocks, and the leaf hashes that their bytes have.
#[derive(Default)]
struct Batch {
    blocks: Vec<Block>,
    hashes: Vec<Hash>,
}

impl Store {
    /// Hands every stored record to `each`, in order, with the leaf hash that its bytes have, until
    /// it breaks off. Uses half of the cores.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn audit_hashed(
        &self,
        mut each: impl FnMut(StoredRecord<'_>, Hash) -> ControlFlow<()>,
    ) -> Result<(), StoreFault> {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let hashers = (cores / 2).clamp(1, HASHERS_MAX);
        self.read(|connection| {
            let mut query = connection.prepare_cached(blocks::SELECT)?;
            let mut blocks = Blocks::select(&mut query, 0, i64::MAX)?;
            let mut listings = connection.prepare_cached(Listings::SELECT)?;
            let mut listings = Listings::select(&mut listings, 0)?;
            let (mut ready, mut read) = (Batch::default(), next(&mut blocks)?);
            while !ready.blocks.is_empty() || !read.is_empty() {
                let (hashes, later, flow) = thread::scope(|scope| {
                    let hashing: Vec<_> = parts(&read, hashers)
                        .map(|part| {
                            let hash = move || hashes_of(part);
                            (part, thread::Builder::new().spawn_scoped(scope, hash).ok())
                        })
                        .collect();
                    let later = next(&mut blocks);
                    let flow = hand_out(&ready, &mut listings, &mut each);
                    (hashing.into_iter().flat_map(finish).collect(), later, flow)
                });
                if flow?.is_break() {
                    break;
                }
                ready = Batch { blocks: read, hashes };
                read = later?;
            }
            Ok(())
        })
    }
}

/// Reads the next batch; empty at the end.
fn next(blocks: &mut Blocks<'_>) -> Result<Vec<Block>, StoreFault> {
    let (mut batch, mut bytes) = (Vec::new(), 0);
    while bytes < BATCH_BYTES
        && let Some(block) = blocks.next()?
    {
        bytes += block.len();
        batch.push(block);
    }
    Ok(batch)
}

/// Cuts blocks into as many runs, of about the same size.
fn parts(blocks: &[Block], count: usize) -> impl Iterator<Item = &[Block]> {
    let share = blocks.iter().map(Block::len).sum::<usize>() / count;
    let mut rest = blocks;
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let wanted = rest.iter().take_while(|block| {
            let more = bytes <= share;
            bytes += block.len();
            more
        });
        let (part, later) = rest.split_at(wanted.count());
        rest = later;
        (!part.is_empty()).then_some(part)
    })
}

fn hashes_of(blocks: &[Block]) -> Vec<Hash> {
    blocks.iter().flat_map(Block::records).map(|found| leaf_hash(found.bytes)).collect()
}

/// A part, and who hashes it; nobody where no thread could be had.
type Part<'scope, 'a> = (&'a [Block], Option<ScopedJoinHandle<'scope, Vec<Hash>>>);

/// Waits for a part; does it here where nobody did.
fn finish((part, thread): Part<'_, '_>) -> Vec<Hash> {
    let hashes = thread.and_then(|thread| thread.join().ok());
    hashes.unwrap_or_else(|| hashes_of(part))
}

fn hand_out(
    batch: &Batch,
    listings: &mut Listings<'_>,
    each: &mut impl FnMut(StoredRecord<'_>, Hash) -> ControlFlow<()>,
) -> Result<ControlFlow<()>, StoreFault> {
    let records = batch.blocks.iter().flat_map(Block::records);
    for (found, hash) in records.zip(&batch.hashes) {
        if each(listings.with(found)?, *hash).is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
    Ok(ControlFlow::Continue(()))
}

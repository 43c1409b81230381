//! Reading a whole log again and saying whether it is what was written.
//!
//! The verifier hashes the stored bytes, never a second spelling of them, and needs the same small
//! memory for any length. It gives two verdicts: *integrity* (nothing there was changed) and
//! *completeness* (nothing that was there is missing), each with the first index where it fails.
//!
//! What it can say rests on what it is fed. The records alone show an edit, a deletion, an insertion
//! or a new order, and where. Somebody who writes every later record anew is caught by a checkpoint
//! over the place, and a log cut at its end only by a checkpoint kept elsewhere. Records after the
//! last good checkpoint ([`Report::anchored`]) are vouched for by nobody yet.
//!
//! Feed everything in order: each stored checkpoint at the latest when its size is reached, those
//! from elsewhere before the first record.
//!
//! ```text
//! for each checkpoint from elsewhere: verifier.checkpoint(note)
//! for each record, by seq:
//!     while the next stored checkpoint's size <= verifier.size(): verifier.checkpoint(note)
//!     verifier.record(record)
//! the remaining stored checkpoints, then verifier.finish()
//! ```

use std::collections::BTreeMap;

use super::canonical;
use super::checkpoint::{Checkpoint, CheckpointError};
use super::merkle::{Frontier, Hash, leaf_hash, to_hex};
use super::note::{NoteError, VerifierKey};
use super::record::Head;
use crate::time::Timestamp;

mod report;

pub use report::{Fault, Finding, Report};

/// A record as it was found in the store.
#[derive(Clone, Copy, Debug)]
pub struct StoredRecord<'a> {
    /// The index it is stored under.
    pub seq: u64,
    /// Its bytes; `None` when they were pruned and only the leaf hash was kept.
    pub bytes: Option<&'a [u8]>,
    /// The leaf hash stored beside it.
    pub leaf: Hash,
    /// What else is stored beside it.
    pub columns: Columns<'a>,
}

/// Copies of parts of the record that a store keeps for searching. Each that is given must say what
/// the record says, or a search could be made to overlook it.
#[derive(Clone, Copy, Default, Debug)]
pub struct Columns<'a> {
    /// The leaf hash of the record before.
    pub prev: Option<Hash>,
    /// When.
    pub at: Option<Timestamp>,
    /// Who.
    pub actor: Option<&'a str>,
    /// What.
    pub kind: Option<&'a str>,
    /// About what.
    pub subject: Option<&'a str>,
}

/// A break of which only the next record tells on which side of it the fault lies.
#[derive(Clone, Copy, Debug)]
enum Suspicion {
    /// The record after this one was written after another one.
    Link {
        /// The index of the earlier of the two.
        index: u64,
    },
    /// A record claims an index that is already past.
    Number {
        /// The index it is stored under.
        stored: u64,
        /// The index it claims.
        claimed: u64,
    },
}

/// A log being read.
#[derive(Debug)]
pub struct Verifier {
    trusted: Vec<VerifierKey>,
    pruned_below: u64,
    next: u64,
    /// `None` after a gap: the tree cannot be grown over it.
    frontier: Option<Frontier>,
    /// The leaf hash of the record before; `None` right after a gap.
    prev: Option<Hash>,
    suspicion: Option<Suspicion>,
    /// The first signed root that the log does not have: the size vouched for before, and its own.
    rewritten: Option<(u64, u64)>,
    /// Checkpoints for sizes not reached yet.
    ahead: BTreeMap<u64, Vec<Hash>>,
    scratch: Vec<u8>,
    report: Report,
}

impl Verifier {
    /// A verifier that believes checkpoints signed by `trusted`. The content of records below the
    /// index `pruned_below` may be gone (0 where nothing is ever pruned).
    pub fn new(trusted: Vec<VerifierKey>, pruned_below: u64) -> Verifier {
        Verifier {
            trusted,
            pruned_below,
            next: 0,
            frontier: Some(Frontier::default()),
            prev: Some([0; 32]),
            suspicion: None,
            rewritten: None,
            ahead: BTreeMap::new(),
            scratch: Vec::new(),
            report: Report::default(),
        }
    }

    /// How many records the log has so far, missing ones included: the index expected next.
    pub fn size(&self) -> u64 {
        self.next
    }

    /// Reads the next record.
    pub fn record(&mut self, record: StoredRecord<'_>) {
        self.hashed(record, record.bytes.map(leaf_hash).unwrap_or_default());
    }

    /// Reads the next record, whose bytes have the leaf hash `hash`. For many records that can be
    /// found out on many cores.
    pub fn hashed(&mut self, record: StoredRecord<'_>, hash: Hash) {
        self.check_roots_at(self.next);
        if record.seq < self.next {
            return self.changed(record.seq, Fault::OutOfOrder);
        }
        if record.seq > self.next {
            self.gap(record.seq);
        }
        self.report.records += 1;
        match record.bytes {
            None => self.pruned(&record),
            Some(_) if hash != record.leaf => {
                self.settle_suspicion(None);
                self.changed(record.seq, Fault::Changed);
            }
            Some(bytes) => match Head::read(bytes) {
                None => {
                    self.settle_suspicion(None);
                    self.changed(record.seq, Fault::Unreadable);
                }
                Some(head) => self.head(&record, &head),
            },
        }
        if let Some(frontier) = &mut self.frontier {
            frontier.append(record.leaf);
        }
        self.prev = Some(record.leaf);
        self.next = record.seq.saturating_add(1);
    }

    /// Reads a checkpoint, stored or from elsewhere.
    pub fn checkpoint(&mut self, signed: &str) {
        let error = match Checkpoint::open(signed, &self.trusted) {
            Ok(checkpoint) if checkpoint.size >= self.next => {
                self.ahead.entry(checkpoint.size).or_default().push(checkpoint.root);
                return self.check_roots_at(self.next);
            }
            Ok(Checkpoint { size, .. }) => {
                return self.changed(size, Fault::LateCheckpoint { size });
            }
            Err(error) => error,
        };
        let size = Checkpoint::unverified(signed).map_or(self.next, |claimed| claimed.size);
        let fault = match error {
            CheckpointError::Note(NoteError::Untrusted { .. }) => Fault::ForeignCheckpoint { size },
            other => Fault::BadCheckpoint { size, reason: other.to_string() },
        };
        self.changed(size, fault);
    }

    /// The verdicts.
    pub fn finish(mut self) -> Report {
        self.check_roots_at(self.next);
        self.settle_suspicion(None);
        self.settle_rewritten();
        if let Some((size, _)) = self.ahead.last_key_value() {
            let fault = Fault::CutShort { size: *size };
            self.missing(self.next, fault);
        }
        let after_last = self.next - self.report.anchored;
        self.report.unanchored_most = self.report.unanchored_most.max(after_last);
        self.report.root = self.frontier.as_ref().map(|frontier| to_hex(&frontier.root()));
        self.report
    }

    fn gap(&mut self, until: u64) {
        self.settle_suspicion(None);
        self.missing(self.next, Fault::Gap { count: until - self.next });
        self.frontier = None;
        self.prev = None;
        // Nothing can be compared with checkpoints inside the gap.
        self.ahead = self.ahead.split_off(&until);
        self.next = until;
    }

    fn pruned(&mut self, record: &StoredRecord<'_>) {
        self.settle_suspicion(None);
        self.report.pruned += 1;
        if record.seq >= self.pruned_below {
            self.changed(record.seq, Fault::Pruned);
        }
    }

    /// Compares what a record says of itself with where it stands. Its bytes are as hashed.
    fn head(&mut self, record: &StoredRecord<'_>, head: &Head<'_>) {
        self.settle_suspicion(Some(head));
        let (stored, claimed) = (record.seq, head.seq);
        let linked = self.prev.is_none_or(|prev| prev == head.prev);
        if claimed < stored && !linked {
            self.suspicion = Some(Suspicion::Number { stored, claimed });
        } else if claimed != stored {
            self.changed(stored, Fault::Moved { stored, claimed });
        } else if !linked {
            self.broken_link(stored);
        }
        if let Some(column) = self.differing_column(&record.columns, head) {
            self.changed(stored, Fault::Column { column });
        }
    }

    fn broken_link(&mut self, index: u64) {
        match index.checked_sub(1) {
            // A signed root over the earlier one settles it.
            Some(index) if index >= self.report.anchored => {
                self.suspicion = Some(Suspicion::Link { index });
            }
            _ => self.changed(index, Fault::Misplaced),
        }
    }

    /// Decides where the fault lies by the next record, where there is one that can be read.
    fn settle_suspicion(&mut self, next: Option<&Head<'_>>) {
        match self.suspicion.take() {
            None => (),
            // Whichever of the two the next one was written after is in its place. An earlier one
            // that was changed has a later one that is followed; a later one that was put in, or
            // changed, has not.
            Some(Suspicion::Link { index }) => {
                let followed = next.is_none_or(|next| Some(next.prev) == self.prev);
                if followed {
                    self.changed(index, Fault::Replaced);
                } else {
                    self.changed(index + 1, Fault::Misplaced);
                }
            }
            // Where something was put in, all that follow are moved in the same way; a single one
            // that claims a past index was put there itself.
            Some(Suspicion::Number { stored, claimed }) => {
                let moved = match next {
                    Some(next) => next.seq == claimed + 1,
                    None => claimed + 1 == stored,
                };
                let index = if moved { claimed } else { stored };
                self.changed(index, Fault::Moved { stored, claimed });
            }
        }
    }

    fn differing_column(&mut self, columns: &Columns<'_>, head: &Head<'_>) -> Option<&'static str> {
        if columns.prev.is_some_and(|prev| prev != head.prev) {
            return Some("prev");
        }
        if columns.at.is_some_and(|at| at != head.at) {
            return Some("at");
        }
        let texts = [
            ("actor", columns.actor, head.actor),
            ("kind", columns.kind, head.kind),
            ("subject", columns.subject, head.subject),
        ];
        for (name, column, written) in texts {
            let Some(column) = column else { continue };
            self.scratch.clear();
            canonical::text(&mut self.scratch, column);
            if self.scratch != written {
                return Some(name);
            }
        }
        None
    }

    /// Compares the log with the checkpoints signed at its present size.
    fn check_roots_at(&mut self, size: u64) {
        let Some(roots) = self.ahead.remove(&size) else { return };
        let Some(root) = self.frontier.as_ref().map(Frontier::root) else { return };
        for signed in roots {
            if signed == root {
                self.report.checkpoints += 1;
                let since = size - self.report.anchored;
                self.report.unanchored_most = self.report.unanchored_most.max(since);
                self.report.anchored = size;
            } else {
                // All later roots differ as well, and say no more than the first.
                self.rewritten.get_or_insert((self.report.anchored, size));
            }
        }
    }

    /// A root that differs says that something between the last good checkpoint and `size` was
    /// changed. That is a finding of its own only where the records tell nothing more exact.
    fn settle_rewritten(&mut self) {
        let Some((from, size)) = self.rewritten.take() else { return };
        let found = self.report.integrity.as_ref().map(|finding| finding.index);
        if !found.is_some_and(|index| (from..size).contains(&index)) {
            self.changed(from, Fault::Rewritten { size });
        }
    }

    fn changed(&mut self, index: u64, fault: Fault) {
        keep_first(&mut self.report.integrity, index, fault);
        self.report.faults += 1;
    }

    fn missing(&mut self, index: u64, fault: Fault) {
        keep_first(&mut self.report.completeness, index, fault);
        self.report.faults += 1;
    }
}

fn keep_first(first: &mut Option<Finding>, index: u64, fault: Fault) {
    if first.as_ref().is_none_or(|found| index < found.index) {
        *first = Some(Finding { index, fault });
    }
}

#[cfg(test)]
mod tests;

//! Where a growing log stands: what its one writer keeps in memory between two records.

use super::merkle::{Frontier, Hash, Node, leaf_hash};
use super::record::Place;

/// The end of the log. Cloning is cheap, so a writer can try records on a copy and keep it when
/// they are committed.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Log {
    frontier: Frontier,
    prev: Hash,
}

impl Log {
    /// A log that goes on from a stored state; `prev` is the leaf hash of its last record (zeros
    /// when it has none).
    pub fn resume(frontier: Frontier, prev: Hash) -> Log {
        Log { frontier, prev }
    }

    /// Where the next record goes.
    pub fn place(&self) -> Place {
        Place { seq: self.frontier.size(), prev: self.prev }
    }

    /// Adds the bytes of a record made for [`Log::place`] and returns its leaf hash, to be stored
    /// with them. `completed` is told of the inner nodes that it completes.
    pub fn append_with(&mut self, record: &[u8], completed: impl FnMut(Node, &Hash)) -> Hash {
        let leaf = leaf_hash(record);
        self.frontier.append_with(leaf, completed);
        self.prev = leaf;
        leaf
    }

    /// Adds the bytes of a record, see [`Log::append_with`].
    pub fn append(&mut self, record: &[u8]) -> Hash {
        self.append_with(record, |_, _| ())
    }

    /// The number of records.
    pub fn size(&self) -> u64 {
        self.frontier.size()
    }

    /// The root over all of them.
    pub fn root(&self) -> Hash {
        self.frontier.root()
    }

    /// The right edge of the tree, to be stored.
    pub fn frontier(&self) -> &Frontier {
        &self.frontier
    }
}

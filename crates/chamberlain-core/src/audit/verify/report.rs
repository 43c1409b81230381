//! What the verifier found: two verdicts and the figures behind them.

use serde::Serialize;

/// What is wrong, and from where on.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Finding {
    /// The first bad (or first missing) index.
    pub index: u64,
    /// What is wrong there.
    #[serde(flatten)]
    pub fault: Fault,
}

/// The ways in which a log can be wrong.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case", tag = "fault")]
pub enum Fault {
    /// The bytes do not hash to the stored leaf hash.
    #[error("the record or its stored hash was changed")]
    Changed,
    /// The record after it was written after another one than this.
    #[error("the record was replaced: the next one was written after a record with another hash")]
    Replaced,
    /// The record does not follow the one before it.
    #[error("the record does not belong here: it was written after a record with another hash")]
    Misplaced,
    /// Its bytes claim another index than the one it is stored under.
    #[error("records were moved, inserted or renumbered: index {stored} holds record {claimed}")]
    Moved {
        /// The index it is stored under.
        stored: u64,
        /// The index its bytes claim.
        claimed: u64,
    },
    /// A column beside the record says something else than the record.
    #[error("the stored column {column:?} does not say what the record says")]
    Column {
        /// The column.
        column: &'static str,
    },
    /// The bytes are not those of a record.
    #[error("the stored bytes are not an audit record")]
    Unreadable,
    /// The bytes are gone where they should still be kept.
    #[error("the record's content is gone, though it is not old enough to be pruned")]
    Pruned,
    /// Records came in another order than that of their indexes.
    #[error("the record is there twice or out of order")]
    OutOfOrder,
    /// A checkpoint is not signed by a trusted key.
    #[error("the checkpoint for size {size} is not signed by a trusted key")]
    ForeignCheckpoint {
        /// The size it claims.
        size: u64,
    },
    /// A checkpoint cannot be believed for another reason.
    #[error("the checkpoint for size {size} cannot be believed: {reason}")]
    BadCheckpoint {
        /// The size it claims, or the size of the log where it stood.
        size: u64,
        /// The reason.
        reason: String,
    },
    /// A checkpoint came after its size was passed: stored under another size than it says.
    #[error("the checkpoint for size {size} is stored in the wrong place")]
    LateCheckpoint {
        /// The size it claims.
        size: u64,
    },
    /// A signed checkpoint has another root than the log: it was written anew somewhere between the
    /// finding's index and `size`.
    #[error(
        "up to {size} the log is not the one that was signed; it was written anew from this index on, or later"
    )]
    Rewritten {
        /// The size of the checkpoint.
        size: u64,
    },
    /// Records are missing inside the log.
    #[error("{count} records are missing")]
    Gap {
        /// How many.
        count: u64,
    },
    /// Records that a checkpoint attests are missing at the end.
    #[error("the log ends here, but was signed with {size} records: it was cut or rolled back")]
    CutShort {
        /// The largest size that was signed.
        size: u64,
    },
}

/// The outcome of reading a log.
#[derive(Clone, Default, PartialEq, Eq, Debug, Serialize)]
pub struct Report {
    /// Records read.
    pub records: u64,
    /// Of these, records whose content is pruned.
    pub pruned: u64,
    /// The root over the log, hexadecimal; `None` when records are missing inside it.
    pub root: Option<String>,
    /// Checkpoints that are signed by a trusted key and agree with the log.
    pub checkpoints: u64,
    /// The largest size that such a checkpoint vouches for.
    pub anchored: u64,
    /// The most records between two good checkpoints, or after the last.
    pub unanchored_most: u64,
    /// The first sign that something was changed.
    pub integrity: Option<Finding>,
    /// The first sign that something is missing.
    pub completeness: Option<Finding>,
    /// How many faults were found in all.
    pub faults: u64,
}

impl Report {
    /// Whether both verdicts are good.
    pub fn is_sound(&self) -> bool {
        self.integrity.is_none() && self.completeness.is_none()
    }
}

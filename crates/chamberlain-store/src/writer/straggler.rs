//! Which intents must be on the disk before their calls leave: those of a window that has ended by
//! the record's own word.
//!
//! A power loss charges the leases of windows that had not ended when the record ends. A call that
//! was admitted just before midnight and is written after it would be lost with its charge: nothing
//! else says that its window was still being spent. So it is not enough that it is in the intake:
//! its call waits for a commit, and that waits for the disk.

use chamberlain_core::record::Intent;
use chamberlain_core::time::Timestamp;

/// The latest moment at which the record may end if power is lost now.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct RecordEnd(Timestamp);

impl RecordEnd {
    /// For a record that is on the disk up to a last moment.
    pub(crate) fn new(last_at: Option<Timestamp>) -> RecordEnd {
        RecordEnd(last_at.unwrap_or_default())
    }

    /// True for an intent in a window that may have ended when the record before it ends.
    pub(crate) fn is_past(self, intent: &Intent) -> bool {
        intent.accounts.iter().any(|account| account.window.end <= self.0)
    }

    /// The record goes on to `at`, in the intake or in the tables.
    pub(crate) fn reaches(&mut self, at: Option<Timestamp>) {
        self.0 = self.0.max(at.unwrap_or_default());
    }

    /// A transaction was committed that ends with a record of `last_at`. A power loss keeps it and
    /// everything before when it was synced, and else any number of transactions since the last
    /// that was.
    pub(crate) fn committed(&mut self, synced: bool, last_at: Option<Timestamp>) {
        let last_at = last_at.unwrap_or_default();
        self.0 = if synced { last_at } else { self.0.max(last_at) };
    }
}

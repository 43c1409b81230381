//! The stages of a rotation, and the steps between them.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why a key is replaced, which decides the order of things.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The old key goes on working until the new one has proved itself.
    Planned,
    /// The old key is cut off at once; calls may fail until there is a new one.
    Emergency,
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$each:meta])* $case:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$each])* #[serde(rename = $word)] $case,)*
        }

        impl $name {
            /// Every one of them.
            pub const ALL: &'static [$name] = &[$($name::$case),*];

            /// The word used everywhere.
            pub const fn word(self) -> &'static str {
                match self { $($name::$case => $word,)* }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.word())
            }
        }
    };
}

words! {
    /// Where a rotation stands. The names are verbs done.
    Stage {
        /// Asked for; the team is told.
        Planned = "planned",
        /// The team knows.
        Notified = "notified",
        /// Everybody who has to agree did.
        Approved = "approved",
        /// What is there now can be restored.
        BackedUp = "backed_up",
        /// A person is to make the new key and hand it in.
        AwaitKey = "await_key",
        /// The new key is in the vault and not in use.
        Sealed = "sealed",
        /// Anthropic takes the new key.
        Probed = "probed",
        /// Those who do not go through Chamberlain have the new key.
        SinksWritten = "sinks_written",
        /// New calls leave with the new key.
        ServingNew = "serving_new",
        /// The key that leaves was seen to be the new one; it is watched.
        Soaking = "soaking",
        /// It did well. What began with the old key may end.
        Draining = "draining",
        /// The old key is switched off at Anthropic.
        OldInactive = "old_inactive",
        /// The old key was refused often enough, for long enough.
        OldProvenDead = "old_proven_dead",
        /// The old key is erased here.
        Archived = "archived",
        /// The log has its line.
        Recorded = "recorded",
        /// What is there now can be restored, too.
        BackedUpAgain = "backed_up_2",
        /// Emergency: what leaves was seen to leave with the new key.
        Verified = "verified",
        /// Emergency: somebody said that the key is not to be trusted.
        Declared = "declared",
        /// Emergency: no call leaves with the old key any more.
        LocalCut = "local_cut",
        /// All done.
        Done = "done",
        /// Given up before the new key was in use; everything is as before.
        Aborted = "aborted",
        /// The old key is in use again.
        RolledBack = "rolled_back",
    }
}

impl Stage {
    /// Whether nothing comes after it.
    pub const fn is_end(self) -> bool {
        matches!(self, Stage::Done | Stage::Aborted | Stage::RolledBack)
    }
}

words! {
    /// Something that is done outside, with its intent on record before and its result after.
    Step {
        /// Makes a backup that was restored once to see that it can be.
        Backup = "backup",
        /// Asks Anthropic for something free with the new key.
        Probe = "probe",
        /// Gives the new key to those who do not go through Chamberlain.
        WriteSinks = "write_sinks",
        /// Puts the new key into use.
        Promote = "promote",
        /// Looks which key leaves, and whether Anthropic takes it.
        Verify = "verify",
        /// Switches the old key off at Anthropic.
        Deactivate = "deactivate",
        /// Erases the old key here, and archives it at Anthropic where that can be done.
        Archive = "archive",
        /// Writes the log's line.
        Record = "record",
        /// Makes a backup that holds the new key.
        BackupAgain = "backup_2",
        /// Puts the old key into use again.
        Restore = "restore",
        /// Throws away a new key that was never in use.
        Discard = "discard",
        /// Takes the old key out of use here.
        Cut = "cut",
    }
}

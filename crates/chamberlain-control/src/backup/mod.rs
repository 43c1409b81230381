//! Backups as files: packed, encrypted, written so that none is ever half there, and opened again
//! with everything in them checked.
//!
//! What is in a folder is the truth about a folder of backups: there is no list that could be lost
//! with what it lists. This room refuses to put a backup back; the command line does, for nothing
//! may run on a data folder while that happens.

pub mod archive;
pub mod folder;
pub mod held;
pub mod make;
pub mod open;

mod openpgp;

/// What is wrong with a backup, each kind with its own exit code of the command line.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum BackupFaultKind {
    /// There is none.
    Missing,
    /// Those who try cannot read it, or the master key is another.
    WrongKey,
    /// It was changed or cut, or contradicts itself.
    Corrupt,
    /// It is too old to be put back without a word.
    Stale,
    /// It was made by another house.
    Foreign,
    /// It cannot be written or read now.
    Failed,
}

/// Why a backup was not made, read or put back: what and why, one sentence, and the next step.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{message}")]
pub struct BackupFault {
    /// What kind.
    pub kind: BackupFaultKind,
    /// What happened and why.
    pub message: String,
    /// What to do next.
    pub hint: Option<String>,
}

impl BackupFault {
    /// A fault of that kind.
    pub fn new(kind: BackupFaultKind, message: impl Into<String>) -> BackupFault {
        BackupFault { kind, message: message.into(), hint: None }
    }

    /// The same, with a next step.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> BackupFault {
        self.hint = Some(hint.into());
        self
    }

    /// Something could not be written or read.
    pub fn failed(message: impl Into<String>) -> BackupFault {
        BackupFault::new(BackupFaultKind::Failed, message)
    }

    /// A file could not be used.
    pub fn file(path: &std::path::Path, error: &std::io::Error) -> BackupFault {
        let kind = match error.kind() {
            std::io::ErrorKind::NotFound => BackupFaultKind::Missing,
            _ => BackupFaultKind::Failed,
        };
        BackupFault::new(kind, format!("{}: {error}", path.display()))
    }

    /// It was changed or cut.
    pub fn corrupt(what: impl std::fmt::Display) -> BackupFault {
        BackupFault::new(BackupFaultKind::Corrupt, format!("the backup is damaged: {what}"))
            .hint("take another one (chamberlain backup list); keep this one for the inquiry")
    }
}

/// Lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

//! What can go wrong with the store, in a few kinds that each say what to do.

use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

/// Why the store could not be opened, read or written.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum StoreFault {
    /// Another process has it.
    #[error(
        "{path} is in use by another process; stop that one, or let it do the work (the command \
         line talks to a running server by itself)"
    )]
    Locked {
        /// The file.
        path: PathBuf,
    },
    /// The file is not a store, or its contents contradict themselves.
    #[error(
        "the store is damaged ({0}); stop Chamberlain, keep a copy of the files for the inquiry, \
         and restore the last backup"
    )]
    Damaged(String),
    /// No space is left.
    #[error("the disk is full; free some space and writing goes on by itself")]
    DiskFull,
    /// Writing is not possible, or was not asked for.
    #[error(
        "the store cannot be written ({0}); let Chamberlain's user write to its folder and files"
    )]
    ReadOnly(String),
    /// Others could read it, or we may not.
    #[error("{path}: {problem}")]
    Permission {
        /// The file.
        path: PathBuf,
        /// What is wrong, and how to mend it.
        problem: String,
    },
    /// A newer Chamberlain wrote it.
    #[error(
        "the store has schema step {found}, this version knows {known}; start the newer version \
         of Chamberlain that wrote it, or restore a backup made before it"
    )]
    NewerSchema {
        /// The last step in the store.
        found: u32,
        /// The last step known here.
        known: u32,
    },
    /// A schema step is not the one this version was built with.
    #[error(
        "schema step {step} in the store differs from the one in this version; it was edited or \
         comes from another build, so the store is left as it is"
    )]
    EditedSchema {
        /// The step.
        step: u32,
    },
    /// The operating system failed.
    #[error(
        "the store's files could not be read or written: {0}; look at the disk's free space and health"
    )]
    Io(String),
    /// The writer is gone: the store was closed, or it failed beyond repair.
    #[error("the store is closed")]
    Closed,
    /// Refused at once, because writing fails and what is already owed must be written first.
    #[error("the store cannot be written at the moment: {0}")]
    Failing(Box<StoreFault>),
    /// More was asked for than a budget allows.
    #[error("{account} has a limit of {limit} and cannot be leased up to {wanted}")]
    AboveLimit {
        /// The account, for people.
        account: String,
        /// Its limit.
        limit: String,
        /// What was wanted, or is already used.
        wanted: String,
    },
    /// It contradicts what is there: a name is taken, a state does not allow it.
    #[error("{0}")]
    Conflict(String),
    /// There is no such thing.
    #[error("there is no {0}")]
    Missing(String),
    /// A value is outside of what the books hold.
    #[error("{0} is beyond the range of the books")]
    OutOfRange(String),
    /// A change that wrote no audit record; it was undone.
    #[error("a change without an audit record was undone (actor: {actor})")]
    NoRecord {
        /// Who tried.
        actor: String,
    },
    /// A mistake in Chamberlain itself; nothing was changed.
    #[error("a mistake in Chamberlain, nothing was changed: {0}")]
    Mistake(String),
}

impl StoreFault {
    /// True when the transaction it happened in cannot go on.
    pub(crate) fn breaks_transaction(&self) -> bool {
        matches!(
            self,
            StoreFault::Locked { .. }
                | StoreFault::DiskFull
                | StoreFault::ReadOnly(_)
                | StoreFault::Io(_)
        )
    }

    /// Reads what SQLite said about the file at `path`.
    pub(crate) fn from_sqlite(error: rusqlite::Error, path: &Path) -> StoreFault {
        match StoreFault::from(error) {
            StoreFault::Locked { .. } => StoreFault::Locked { path: path.to_owned() },
            StoreFault::Permission { problem, .. } => {
                StoreFault::Permission { path: path.to_owned(), problem }
            }
            other => other,
        }
    }
}

impl From<rusqlite::Error> for StoreFault {
    fn from(error: rusqlite::Error) -> StoreFault {
        let Some(code) = error.sqlite_error_code() else {
            return match &error {
                rusqlite::Error::FromSqlConversionFailure(..)
                | rusqlite::Error::IntegralValueOutOfRange(..)
                | rusqlite::Error::InvalidColumnType(..) => StoreFault::Damaged(error.to_string()),
                _ => StoreFault::Mistake(error.to_string()),
            };
        };
        match code {
            ErrorCode::DatabaseBusy
            | ErrorCode::DatabaseLocked
            | ErrorCode::FileLockingProtocolFailed => {
                StoreFault::Locked { path: PathBuf::from("the store") }
            }
            ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => {
                StoreFault::Damaged(error.to_string())
            }
            ErrorCode::DiskFull => StoreFault::DiskFull,
            ErrorCode::ReadOnly => StoreFault::ReadOnly(error.to_string()),
            ErrorCode::PermissionDenied | ErrorCode::CannotOpen => StoreFault::Permission {
                path: PathBuf::from("the store"),
                problem: format!("cannot be opened ({error}); check its owner and mode"),
            },
            ErrorCode::SystemIoFailure | ErrorCode::OutOfMemory => {
                StoreFault::Io(error.to_string())
            }
            ErrorCode::ConstraintViolation => StoreFault::Conflict(error.to_string()),
            _ => StoreFault::Mistake(error.to_string()),
        }
    }
}

//! Why a command of the command line ended without success: an exit code, what happened, and what
//! to do next.

use std::fmt;
use std::io;

use chamberlain_control::backup::{BackupFault, BackupFaultKind};
use chamberlain_control::error::{CommandError, ErrorCode};
use serde::Serialize;

/// The exit codes, documented by `chamberlain help exit-codes`.
pub(crate) mod exit {
    /// Something went wrong.
    pub(crate) const FAILED: u8 = 1;
    /// The command line or the configuration is wrong.
    pub(crate) const USAGE: u8 = 2;
    /// A check found a problem.
    pub(crate) const PROBLEM: u8 = 3;
    /// Not allowed, or not with this key.
    pub(crate) const FORBIDDEN: u8 = 4;
    /// What was named is not there.
    pub(crate) const NOT_FOUND: u8 = 5;
    /// What it needs is taken by somebody else.
    pub(crate) const CONFLICT: u8 = 6;
    /// The server, the store or the vault cannot be used.
    pub(crate) const UNAVAILABLE: u8 = 7;
    /// A backup is too old to be put back without a word.
    pub(crate) const STALE: u8 = 8;
    /// A backup is of another house.
    pub(crate) const FOREIGN: u8 = 9;
}

/// Why a command did not succeed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Failure {
    /// The exit code.
    #[serde(rename = "exit_code")]
    pub(crate) code: u8,
    /// What happened and why. Empty when it was already said.
    pub(crate) message: String,
    /// What to do next.
    pub(crate) hint: Option<String>,
}

impl Failure {
    /// A failure with that exit code.
    pub(crate) fn new(code: u8, message: impl Into<String>) -> Failure {
        Failure { code, message: message.into(), hint: None }
    }

    /// The same, with a next step.
    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Failure {
        self.hint = Some(hint.into());
        self
    }

    /// Something went wrong.
    pub(crate) fn failed(message: impl Into<String>) -> Failure {
        Failure::new(exit::FAILED, message)
    }

    /// The command line is wrong.
    pub(crate) fn usage(message: impl Into<String>) -> Failure {
        Failure::new(exit::USAGE, message)
    }

    /// Ends with `code`; everything was already said on stdout.
    pub(crate) fn silent(code: u8) -> Failure {
        Failure::new(code, "")
    }

    /// A file could not be used.
    pub(crate) fn file(path: &std::path::Path, error: &io::Error) -> Failure {
        Failure::failed(format!("{}: {error}", path.display()))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "\n hint: {hint}"),
            None => Ok(()),
        }
    }
}

impl From<BackupFault> for Failure {
    fn from(fault: BackupFault) -> Failure {
        let code = match fault.kind {
            BackupFaultKind::Missing => exit::NOT_FOUND,
            BackupFaultKind::WrongKey => exit::FORBIDDEN,
            BackupFaultKind::Corrupt => exit::PROBLEM,
            BackupFaultKind::Stale => exit::STALE,
            BackupFaultKind::Foreign => exit::FOREIGN,
            BackupFaultKind::Failed => exit::FAILED,
        };
        Failure { code, message: fault.message, hint: fault.hint }
    }
}

impl From<CommandError> for Failure {
    fn from(error: CommandError) -> Failure {
        let code = match error.code {
            ErrorCode::Failed => exit::FAILED,
            other => other.exit_code(),
        };
        Failure { code, message: error.message, hint: error.hint }
    }
}

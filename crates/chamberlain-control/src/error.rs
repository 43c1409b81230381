//! Why a command was not done, for people and for scripts.

use serde::{Deserialize, Serialize};

/// What kind of failure, each with its own exit code of the command line.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// The command itself is wrong.
    Usage,
    /// What it names does not exist.
    NotFound,
    /// It contradicts what is there.
    Conflict,
    /// Not allowed to whoever asks.
    Forbidden,
    /// The server, the store or the vault cannot be used now.
    Unavailable,
    /// Anything else that went wrong.
    Failed,
}

impl ErrorCode {
    /// The exit code of the command line.
    pub const fn exit_code(self) -> u8 {
        match self {
            ErrorCode::Failed => 1,
            ErrorCode::Usage => 2,
            ErrorCode::Forbidden => 4,
            ErrorCode::NotFound => 5,
            ErrorCode::Conflict => 6,
            ErrorCode::Unavailable => 7,
        }
    }

    /// The HTTP status on the socket.
    pub const fn status(self) -> u16 {
        match self {
            ErrorCode::Failed => 500,
            ErrorCode::Usage => 400,
            ErrorCode::Forbidden => 403,
            ErrorCode::NotFound => 404,
            ErrorCode::Conflict => 409,
            ErrorCode::Unavailable => 503,
        }
    }
}

/// Why a command was not done: what and why in `message`, the next step in `hint`.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error, Serialize, Deserialize)]
#[error("{message}")]
pub struct CommandError {
    /// What kind of failure.
    pub code: ErrorCode,
    /// What happened and why, one sentence.
    pub message: String,
    /// What to do next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl CommandError {
    /// A failure of that kind.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> CommandError {
        CommandError { code, message: message.into(), hint: None }
    }

    /// The same, with a next step.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> CommandError {
        self.hint = Some(hint.into());
        self
    }

    /// [`ErrorCode::Usage`]
    pub fn usage(message: impl Into<String>) -> CommandError {
        CommandError::new(ErrorCode::Usage, message)
    }

    /// [`ErrorCode::NotFound`]
    pub fn not_found(message: impl Into<String>) -> CommandError {
        CommandError::new(ErrorCode::NotFound, message)
    }

    /// [`ErrorCode::Conflict`]
    pub fn conflict(message: impl Into<String>) -> CommandError {
        CommandError::new(ErrorCode::Conflict, message)
    }

    /// [`ErrorCode::Unavailable`]
    pub fn unavailable(message: impl Into<String>) -> CommandError {
        CommandError::new(ErrorCode::Unavailable, message)
    }

    /// [`ErrorCode::Failed`]
    pub fn failed(message: impl Into<String>) -> CommandError {
        CommandError::new(ErrorCode::Failed, message)
    }
}

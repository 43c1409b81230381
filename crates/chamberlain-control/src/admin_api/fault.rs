//! Why the Admin API did not do what it was asked, each with what to do about it.

use crate::error::{CommandError, ErrorCode};

/// Why there is no good answer.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AdminFault {
    /// Nothing was sent.
    #[error("Anthropic's Admin API cannot be reached: {0}")]
    NotSent(String),
    /// It may have been sent; no answer came, or not in time.
    #[error("Anthropic's Admin API did not answer: {0}")]
    Lost(String),
    /// The admin key is not taken.
    #[error("Anthropic's Admin API does not take the admin key (401: {0})")]
    Unauthorized(String),
    /// The admin key is taken and may not do this, or not from here.
    #[error("Anthropic's Admin API does not allow it (403: {0})")]
    Forbidden(String),
    /// There is no such key or workspace.
    #[error("Anthropic's Admin API does not know it (404: {0})")]
    NotFound(String),
    /// Too many requests.
    #[error("Anthropic's Admin API wants to be asked less often (429)")]
    RateLimited {
        /// When to ask again, where it said so, in seconds.
        retry_after_s: Option<u64>,
    },
    /// It is broken, or what stands in front of it is.
    #[error("Anthropic's Admin API is in trouble ({status}: {message})")]
    Broken {
        /// The status.
        status: u16,
        /// Its words.
        message: String,
    },
    /// It understood and said no.
    #[error("Anthropic's Admin API refuses it ({status}: {message})")]
    Refused {
        /// The status.
        status: u16,
        /// Its words.
        message: String,
    },
    /// It said yes, and what it said cannot be true.
    #[error("what answers as Anthropic's Admin API cannot be believed: {0}")]
    Lying(String),
}

impl AdminFault {
    /// Whether the same may succeed a little later.
    pub fn may_pass(&self) -> bool {
        matches!(
            self,
            AdminFault::NotSent(_)
                | AdminFault::Lost(_)
                | AdminFault::RateLimited { .. }
                | AdminFault::Broken { .. }
        )
    }

    /// Whether it is sure that nothing was changed at Anthropic.
    pub fn changed_nothing(&self) -> bool {
        !matches!(self, AdminFault::Lost(_) | AdminFault::Broken { .. } | AdminFault::Lying(_))
    }

    /// What to do.
    pub fn advice(&self) -> &'static str {
        match self {
            AdminFault::NotSent(_) | AdminFault::Lost(_) => {
                "check the network and upstream.url; it is asked again every 10 minutes"
            }
            AdminFault::Unauthorized(_) => {
                "make an admin key in the Claude Console (Settings, Admin keys), then \
                 chamberlain key admin add"
            }
            AdminFault::Forbidden(_) => {
                "use an admin key of the organization; if it has an IP allow list, this machine's \
                 address must be on it"
            }
            AdminFault::NotFound(_) => {
                "it may belong to another organization than the admin key, or be deleted"
            }
            AdminFault::RateLimited { .. } | AdminFault::Broken { .. } => {
                "wait; it is asked again every 10 minutes"
            }
            AdminFault::Refused { .. } => {
                "read its words, and look at the key in the Claude Console"
            }
            AdminFault::Lying(_) => {
                "look at the key in the Claude Console, and at what stands between here and \
                 upstream.url"
            }
        }
    }
}

impl From<AdminFault> for CommandError {
    fn from(fault: AdminFault) -> CommandError {
        let code = match &fault {
            AdminFault::Unauthorized(_) | AdminFault::Forbidden(_) => ErrorCode::Forbidden,
            AdminFault::NotFound(_) => ErrorCode::NotFound,
            AdminFault::Refused { .. } => ErrorCode::Conflict,
            _ => ErrorCode::Unavailable,
        };
        let advice = fault.advice();
        CommandError::new(code, fault.to_string()).hint(advice)
    }
}

//! The way to hosts that are not upstream, as the control plane sees it: a port. The binary puts
//! the one client of the house behind it; tests answer by themselves.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};

/// Largest answer that is read.
pub const ANSWER_BYTES_MAX: usize = 1 << 20;

/// Why there is no answer.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum WebFault {
    /// No connection; nothing was sent.
    #[error("{0}")]
    NotSent(String),
    /// It may have been sent.
    #[error("{0}")]
    Lost(String),
}

/// Sends requests to hosts that are not upstream.
pub trait Web: Send + Sync + 'static {
    /// Sends one request and reads the whole answer, at most [`ANSWER_BYTES_MAX`] of it; both
    /// `within` that time. Follows no redirection: a credential goes to the host that was named.
    /// Blocks; may be called from anywhere but a task of a tokio runtime.
    ///
    /// # Errors
    /// When there is no answer.
    fn send(&self, request: Request<Bytes>, within: Duration) -> Result<Response<Bytes>, WebFault>;
}

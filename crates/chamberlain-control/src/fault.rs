//! What a fault of the store means to whoever asked.

use chamberlain_store::StoreFault;

use crate::error::{CommandError, ErrorCode};

/// Turns a fault of the store into an answer. The store's messages say what to do.
pub fn from_store(fault: StoreFault) -> CommandError {
    let code = match &fault {
        StoreFault::Conflict(_) => ErrorCode::Conflict,
        StoreFault::Missing(_) => ErrorCode::NotFound,
        StoreFault::OutOfRange(_) | StoreFault::AboveLimit { .. } => ErrorCode::Usage,
        StoreFault::NoRecord { .. } | StoreFault::Mistake(_) => ErrorCode::Failed,
        _ => ErrorCode::Unavailable,
    };
    CommandError::new(code, fault.to_string())
}

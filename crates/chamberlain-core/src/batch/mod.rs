//! Message batches: what is read of one before it leaves, what it may cost, and what its results
//! did cost.
//!
//! A batch carries every one of its requests, so its whole worst case is known when it is
//! submitted. Nothing here holds more than one request or one result at a time: 100,000 of them
//! are folded into a few numbers as they pass.

mod bill;
mod bound;
mod object;
mod poll;
mod request;
mod results;

pub use bill::{Bill, NoBill, Terms};
pub use bound::BatchBound;
pub use object::{BatchObject, RequestCounts, Unreadable, rewritten};
pub use poll::{GIVEN_UP_AFTER_MS, GONE_ANSWERS_MAX, Pace, next_look_ms};
pub use request::{BadBatch, ITEMS_MAX, Item, inspect};
pub use results::{Lines, ResultLine, TooLong};

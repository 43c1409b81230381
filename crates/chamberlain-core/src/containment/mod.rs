//! Taking a key that is not to be trusted any more out of use, for good: nothing leaves with it, it
//! is switched off at Anthropic and seen to be dead, and what was done with it is put together.
//!
//! The cut comes first and waits for nothing: it is made in the transaction that puts the
//! containment on record. Everything after it is a task of its own, so that none keeps another
//! waiting: [`decide()`] says which is next; its intent is on record before it is done, and what
//! came of it after. A process that dies at any point finds the intent when it starts again and
//! does the task over; each may be done twice.
//!
//! Replacing the key is another matter, and a rotation's ([`crate::rotation`]). This room refuses
//! to do anything itself, and to let a contained key back in.

mod act;
mod clock;
mod decide;
mod reason;
mod record;

#[cfg(test)]
mod tests;

pub use clock::{Alarm, Deadline, Who, alarms, deadlines};
pub use decide::{Effect, decide};
pub use reason::Reason;
pub use record::{Containment, Declared, Ended, Subject, Task, Work};

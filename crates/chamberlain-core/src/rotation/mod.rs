//! Replacing an upstream key, planned or in an emergency, as a machine of durable stages.
//!
//! [`decide()`] says what is to be done next; whoever does it writes the intent down first, then
//! acts, then writes down what came of it with [`Rotation::settled`]. So a process that dies at any
//! point finds, when it starts again, the intent and does the step over; every step may be done
//! twice. The order makes the promise: *the new key is handed in, tried, put into use, watched and
//! only then is the old one switched off*, and it counts as dead only when it was seen to be
//! refused.
//!
//! This room refuses to do anything itself: no key, no request and no clock come here.

mod act;
mod approval;
mod clock;
mod death;
mod decide;
mod record;
mod reminder;
mod soak;
mod stage;
mod terms;

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;

pub use act::{NotAllowed, Outcome, may_begin};
pub use approval::{Approval, Means, REVIEW_MS, Standing};
pub use clock::{Alarm, Clock, alarms, clocks};
pub use death::{Death, ProbeAnswer};
pub use decide::{Backup, Effect, Facts, Need, decide};
pub use record::{Attested, Exit, Intent, Lane, NewKey, Ordered, Rotation, Track, What};
pub use reminder::{Reminder, reminder};
pub use soak::Traffic;
pub use stage::{Kind, Stage, Step};
pub use terms::{MaintenanceWindow, Terms};

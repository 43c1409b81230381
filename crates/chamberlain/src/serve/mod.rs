//! The wiring: the only place where the rooms of the house meet.

mod console;
pub(crate) mod hardening;
mod journal;
pub(crate) mod listen;
mod master;
pub(crate) mod opened;
pub(crate) mod signals;

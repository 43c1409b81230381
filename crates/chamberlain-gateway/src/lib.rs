//! The way of a call: identify, inspect, decide, bound, admit, forward, meter, settle.
//!
//! This room cannot spell SQL: what must be on record goes through the [`journal::Journal`] port.

pub mod journal;

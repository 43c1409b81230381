//! The rules of Chamberlain.
//!
//! Everything here is a function of facts and time. This crate refuses to know sockets, files,
//! clocks, environment variables, randomness, SQL and `async`: whoever calls it brings the time as
//! a [`time::Timestamp`] and random bytes as an argument, so every decision can be replayed.

pub mod admission;
pub mod anthropic;
pub mod audit;
pub mod backup;
pub mod batch;
pub mod containment;
pub mod hygiene;
pub mod id;
pub mod keys;
pub mod ledger;
pub mod money;
pub mod overrides;
pub mod quick;
pub mod record;
pub mod resource;
pub mod rotation;
pub mod secret;
pub mod sink;
pub mod snapshot;
pub mod source;
pub mod time;
pub mod usage;

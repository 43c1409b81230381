//! The mock over real sockets, seen by a client that knows nothing of its inside.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, helpers included")]

mod client;
mod containers;

mod admin;
mod batches;
mod files;
mod journal;
mod messages;
mod models;
mod refusals;
mod streams;
mod threads;
mod transport;
mod usage;

//! The gateway through its sockets: a scripted upstream on one side, a journal in memory on the
//! other, and clients that behave and that do not.

#![expect(clippy::unwrap_used, reason = "a test that finds nothing to unwrap has failed")]

mod client;
mod journal;
mod upstream;
mod world;

mod admission;
mod batches;
mod changing;
mod cut;
mod files;
mod heavy;
mod leaving;
mod metrics;
mod money;
mod outcomes;
mod own;
mod pass;
mod recall;
mod refuse;
mod retry;
mod routes;
mod shutdown;
mod spending;

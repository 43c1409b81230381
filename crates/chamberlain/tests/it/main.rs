//! The real binary, from outside.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod command_line;
mod configuration;
mod house;
mod lifecycle;
mod metrics;
mod service;
mod spending;
mod stopping;
mod tidy;

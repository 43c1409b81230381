//! The binary: command line, configuration, wiring. It knows everybody and holds no rule.

mod config;

fn main() {}

//! The binary: command line, configuration, wiring. It knows everybody and holds no rule.

mod cli;
mod config;
mod data_dir;
mod failure;
mod out;
mod serve;
mod world;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run()
}

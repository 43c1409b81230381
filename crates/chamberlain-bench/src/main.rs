//! `cargo xtask bench`: what Chamberlain costs, beside nginx as a plain reverse proxy and the mock
//! directly, in interleaved rounds of one run. `docs/performance.md` says what each figure is.
//!
//! It measures and never judges a build: no figure makes it fail.

mod bare;
mod candidate;
mod goals;
mod load;
mod machine;
mod micro;
mod phases;
mod plan;
mod process;
mod report;
mod results;
mod run;
mod samples;
mod start;
mod streams;
mod upstream;
mod wire;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;

use crate::plan::{Command, Task};

/// As in the product, so that the row `bare` differs from it in nothing else.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let done = match Command::parse().task {
        Task::Run(asked) => run::run(&asked),
        Task::Upstream => upstream::run(),
        Task::Bare { listen, upstream } => bare::run(&listen, &upstream),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tell(&format!("bench: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Writes a line to standard output.
fn say(text: &str) {
    let mut out = std::io::stdout();
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}

/// Writes a line to standard error: what is going on.
fn tell(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

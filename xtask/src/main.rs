//! `cargo xtask`: the project's tasks, with plain cargo and nothing installed beforehand.
//!
//! `cargo xtask test` sets up what the tests need and runs all of them; `.ci/run` calls the same.

mod bench;
mod e2e;
mod mutate;
mod package;
mod run;

use std::process::ExitCode;

const HELP: &str = "\
cargo xtask <task>

  test         set up what the tests need, then run all of them
  test unit    only the Rust tests
  test e2e     only the tests with the official SDKs and Claude Code, through the real binary
  sim          live many simulated histories of the money, each audited after every step;
               --seeds N (1000), --steps M of each (10000), --first-seed S (0)
  mutate       break the rules of money on purpose, one at a time, in a copy of the tree, and show
               that each break is noticed; a word takes only those with it in their name, or
               those of a room: core, model, store, gateway
  bench        measure what Chamberlain costs, beside nginx and the mock directly;
               --quick, --only PART, --also NAME=FILE, --profile NAME (dist), --help for all
  package      the Debian package, with man pages and completions; --profile P (dist)
";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["test"] => unit().and_then(|()| e2e::test()),
        ["test", "unit"] => unit(),
        ["test", "e2e"] => e2e::test(),
        ["sim", words @ ..] => simulate(words),
        ["mutate"] => mutate::mutate(None),
        ["mutate", name] => mutate::mutate(Some(name)),
        ["bench", words @ ..] => bench::bench(words),
        ["package", words @ ..] => package::package(words),
        _ => {
            run::say(HELP);
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            run::say(&format!("xtask: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Every Rust test of the workspace.
fn unit() -> anyhow::Result<()> {
    run::run(run::cargo().args(["test", "--workspace", "--locked"]))
}

/// The simulation's soak. Optimized, because it is long.
fn simulate(words: &[&str]) -> anyhow::Result<()> {
    let build = ["run", "--quiet", "--locked", "--release", "--package", "chamberlain-sim", "--"];
    run::run(run::cargo().args(build).args(words))
}

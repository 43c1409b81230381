//! The command line: one file per noun. Each turns words into a command, has it done behind the
//! one door, and shows the reply.

mod audit;
mod backup;
mod batches;
mod budget;
mod calls;
mod completions;
mod config;
mod contain;
pub(crate) mod context;
mod cost;
mod doctor;
mod help;
mod init;
mod key;
mod limit;
mod man;
mod mock;
mod parse;
mod pause;
mod prices;
mod rotation;
mod sink;
mod status;
mod up;
mod vault;
mod virtual_key;
mod write_off;

use std::path::PathBuf;
use std::process::ExitCode;

use chamberlain_core::secret::redact;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::failure::{Failure, exit};
use crate::out::Out;
use context::Context;

const EXAMPLES: &str = "\
Examples:
  chamberlain up                                     start, with nothing configured
  chamberlain key add --name main                    seal an Anthropic key (asks for it)
  chamberlain virtual create --name ci --environment staging --daily 2
  chamberlain cost today
  chamberlain calls --follow
  chamberlain doctor";

/// Keeps Claude API keys: virtual keys out, hard budgets, every call on record
#[derive(Parser, Debug)]
#[command(name = "chamberlain", version, before_help = EXAMPLES, disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) globals: Globals,
    #[command(subcommand)]
    noun: Noun,
}

/// What every command takes.
#[derive(clap::Args, Debug, Clone, Default)]
pub(crate) struct Globals {
    /// The data folder (CHAMBERLAIN_DATA)
    #[arg(long, global = true, help_heading = "Options of every command", value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// The configuration file (CHAMBERLAIN_CONFIG)
    #[arg(long, global = true, help_heading = "Options of every command", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Data as JSON on stdout, errors as JSON on stderr
    #[arg(long, global = true, help_heading = "Options of every command")]
    pub(crate) json: bool,
    /// What is logged to stderr: off, error, warn, info, debug (CHAMBERLAIN_LOG)
    #[arg(long, global = true, help_heading = "Options of every command", value_name = "LEVEL")]
    pub(crate) log: Option<String>,
    /// How it is logged: auto, pretty, json (CHAMBERLAIN_LOG_FORMAT)
    #[arg(long, global = true, help_heading = "Options of every command", value_name = "FORMAT")]
    pub(crate) log_format: Option<String>,
}

#[derive(Subcommand, Debug)]
enum Noun {
    /// Start Chamberlain
    Up(up::Up),
    /// Upstream keys: seal, list, show, remove
    Key(key::Key),
    /// Sinks, where keys are delivered to: list, check, deliver, forget
    Sink(sink::Sink),
    /// Virtual keys: create, list, show, update, freeze, unfreeze, revoke
    Virtual(virtual_key::Virtual),
    /// Budgets: list, set
    Budget(budget::Budget),
    /// Rate limits: list, set
    Limit(limit::Limit),
    /// Replace upstream keys: status, start, approve, give-key, vouch, abort, rollback, resume, list, show, timeline
    Rotation(rotation::Rotation),
    /// Take a key that is not to be trusted out of use, now and for good
    Contain(contain::Contain),
    /// Keys that were contained: list, show, report, timeline, vouch, resume
    Containment(contain::Containment),
    /// Stop all calls of a scope
    Pause(pause::Pause),
    /// End a pause
    Resume(pause::Resume),
    /// Stop a virtual key, reversibly (the same as `virtual freeze`)
    Freeze(virtual_key::Freeze),
    /// Calls on record, newest first
    Calls(calls::Calls),
    /// Batches on record, newest first, and what is known of their cost
    Batches(batches::Batches),
    /// What calls cost: today, month, top, estimate
    Cost(cost::Cost),
    /// The audit log: verify, prove, export, checkpoint
    Audit(audit::Audit),
    /// Backups: create, list, verify, prune, drill, restore
    Backup(backup::Backup),
    /// The vault: change the master key
    Vault(vault::Vault),
    /// How Chamberlain is
    Status(status::Status),
    /// Look at everything that is often wrong
    Doctor(doctor::Doctor),
    /// The models and their prices
    Prices(prices::Prices),
    /// Give a call whose outcome is unknown its true cost
    WriteOff(write_off::WriteOff),
    /// The configuration: check, explain, reload
    Config(config::Config),
    /// Write a commented chamberlain.toml
    Init(init::Init),
    /// Completions for a shell
    Completions(completions::Completions),
    /// Write the man pages
    Man(man::Man),
    /// A faithful fake Anthropic API, for tests and for trying out
    Mock(mock::Mock),
    /// Help on a command or a topic
    Help(help::Help),
}

impl Noun {
    fn run(self, context: &Context) -> Result<(), Failure> {
        match self {
            Noun::Up(noun) => noun.run(context),
            Noun::Key(noun) => noun.run(context),
            Noun::Sink(noun) => noun.run(context),
            Noun::Virtual(noun) => noun.run(context),
            Noun::Budget(noun) => noun.run(context),
            Noun::Limit(noun) => noun.run(context),
            Noun::Rotation(noun) => noun.run(context),
            Noun::Contain(noun) => noun.run(context),
            Noun::Containment(noun) => noun.run(context),
            Noun::Pause(noun) => noun.run(context),
            Noun::Resume(noun) => noun.run(context),
            Noun::Freeze(noun) => noun.run(context),
            Noun::Calls(noun) => noun.run(context),
            Noun::Batches(noun) => noun.run(context),
            Noun::Cost(noun) => noun.run(context),
            Noun::Audit(noun) => noun.run(context),
            Noun::Backup(noun) => noun.run(context),
            Noun::Vault(noun) => noun.run(context),
            Noun::Status(noun) => noun.run(context),
            Noun::Doctor(noun) => noun.run(context),
            Noun::Prices(noun) => noun.run(context),
            Noun::WriteOff(noun) => noun.run(context),
            Noun::Config(noun) => noun.run(context),
            Noun::Init(noun) => noun.run(context),
            Noun::Completions(noun) => noun.run(context),
            Noun::Man(noun) => noun.run(context),
            Noun::Mock(noun) => noun.run(context),
            Noun::Help(noun) => noun.run(context),
        }
    }
}

/// The grammar, with examples before everything else in each help.
pub(crate) fn grammar() -> clap::Command {
    fn examples_first(command: clap::Command) -> clap::Command {
        command
            .help_template(
                "{about-with-newline}\n{before-help}{usage-heading} {usage}\n\n{all-args}{after-help}\n",
            )
            .mut_subcommands(examples_first)
    }
    examples_first(Cli::command())
}

/// Runs the command line of this process.
pub fn run() -> ExitCode {
    let parsed = grammar().try_get_matches().and_then(|matches| Cli::from_arg_matches(&matches));
    let cli = match parsed {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    let out = Out::new(cli.globals.json);
    match cli.noun.run(&Context::new(cli.globals, out)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            out.failure(&failure);
            ExitCode::from(failure.code)
        }
    }
}

/// Help and version go to stdout and are a success; mistakes go to stderr, as JSON when that was
/// asked for, and without a key that was put on the command line.
fn usage(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        // Nobody there to read it is no failure of ours.
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    let words: Vec<_> = std::env::args_os().skip(1).collect();
    let json = words.iter().take_while(|word| *word != "--").any(|word| word == "--json");
    let has_key = words.iter().any(|word| {
        let word = word.to_string_lossy();
        redact(&word) != word
    });
    if json || has_key {
        let text = error.to_string();
        let shown = redact(text.trim());
        let mut failure = Failure::usage(shown.strip_prefix("error: ").unwrap_or(&shown));
        if has_key {
            failure = failure.hint(
                "others on this machine can see a command line: revoke the key that was on it, and \
                 give its successor by stdin or --from-env",
            );
        }
        Out::new(json).failure(&failure);
    } else {
        let _ = error.print();
    }
    ExitCode::from(exit::USAGE)
}

#[cfg(test)]
mod tests;

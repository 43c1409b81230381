//! What was asked for on the command line, and how long each measurement takes.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Measures what Chamberlain costs, beside nginx and the mock directly, in interleaved rounds.
#[derive(Parser, Debug)]
pub(crate) struct Command {
    #[command(subcommand)]
    pub(crate) task: Task,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Task {
    /// Measure
    Run(Asked),
    /// Be the mock that is measured against
    #[command(hide = true)]
    Upstream,
    /// Be the gateway alone
    #[command(hide = true)]
    Bare {
        /// Where to listen
        listen: String,
        /// Where calls go
        upstream: String,
    },
}

/// What is measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Part {
    Throughput,
    Latency,
    Bodies,
    Streams,
    Memory,
    Start,
    Micro,
}

/// What was asked for.
#[derive(Args, Debug)]
pub(crate) struct Asked {
    /// The binary of Chamberlain that is measured
    #[arg(long, value_name = "FILE")]
    pub(crate) chamberlain: PathBuf,
    /// nginx's binary; without it nginx has no row
    #[arg(long, value_name = "FILE")]
    pub(crate) nginx: Option<PathBuf>,
    /// Another binary of Chamberlain with everything on, as a row of its own; repeatable
    #[arg(long, value_name = "NAME=FILE", value_parser = named)]
    pub(crate) also: Vec<(String, PathBuf)>,
    /// Only this; repeatable
    #[arg(long, value_name = "PART")]
    pub(crate) only: Vec<Part>,
    /// Rounds (5; streams 3; starts 7)
    #[arg(long, value_name = "N")]
    pub(crate) rounds: Option<u32>,
    /// Short rounds: shows that it works, says little
    #[arg(long)]
    pub(crate) quick: bool,
    /// Puts the tables into this file, between its two marks
    #[arg(long, value_name = "FILE")]
    pub(crate) write: Option<PathBuf>,
    /// Writes although other work on the machine spoils the figures; they are marked
    #[arg(long)]
    pub(crate) even_if_noisy: bool,
    /// Everything measured as JSON, in this file (- is standard output)
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

fn named(text: &str) -> Result<(String, PathBuf), String> {
    let (name, path) = text.split_once('=').ok_or("NAME=FILE is wanted")?;
    Ok((name.to_owned(), PathBuf::from(path)))
}

impl Asked {
    /// Whether that part was asked for.
    pub(crate) fn wants(&self, part: Part) -> bool {
        self.only.is_empty() || self.only.contains(&part)
    }

    /// How long everything takes.
    pub(crate) fn plan(&self) -> Plan {
        let ms = Duration::from_millis;
        let plan = match self.quick {
            true => Plan {
                rounds: 2,
                throughput: ms(600),
                latency: ms(600),
                bodies: ms(200),
                stream_rounds: 1,
                streams: ms(1_500),
                streams_divisor: 10,
                starts: 2,
                pieces: ms(100),
            },
            false => Plan {
                rounds: 5,
                throughput: ms(3_000),
                latency: ms(4_000),
                bodies: ms(1_500),
                stream_rounds: 3,
                streams: ms(4_000),
                streams_divisor: 1,
                starts: 7,
                pieces: ms(500),
            },
        };
        let Some(rounds) = self.rounds.map(|rounds| rounds.max(1)) else { return plan };
        Plan { rounds, stream_rounds: rounds, starts: rounds, ..plan }
    }
}

/// How many rounds, and how long each measurement in them takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) rounds: u32,
    pub(crate) throughput: Duration,
    pub(crate) latency: Duration,
    pub(crate) bodies: Duration,
    pub(crate) stream_rounds: u32,
    pub(crate) streams: Duration,
    /// By how much fewer streams are opened than are asked about.
    pub(crate) streams_divisor: u32,
    pub(crate) starts: u32,
    /// For each single piece.
    pub(crate) pieces: Duration,
}

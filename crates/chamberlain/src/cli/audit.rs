//! `chamberlain audit`: the Merkle log of everything that was decided and changed.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use chamberlain_control::command::{AuditCheckpoint, AuditExport, AuditProve, AuditVerify};
use chamberlain_control::door;
use chamberlain_control::reply::AuditVerified;
use clap::{Args, Subcommand};

use super::context::Context;
use crate::failure::{Failure, exit};
use crate::out::{Out, or_dash};

const EXAMPLES: &str = "\
Examples:
  chamberlain audit verify
  chamberlain audit checkpoint > head.note              keep it on another machine
  chamberlain audit verify --checkpoint head.note       notices a log that was rolled back
  chamberlain audit prove 17 > record-17.proof
  chamberlain audit export --out audit.jsonl";

/// The audit log: verify, prove, export, checkpoint
#[derive(Args, Debug)]
#[command(before_help = EXAMPLES)]
pub(crate) struct Audit {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// Check the whole log; exit code 3 when something is wrong
    Verify {
        /// A signed head that was kept elsewhere
        #[arg(long, value_name = "FILE")]
        checkpoint: Option<PathBuf>,
    },
    /// Prove that a record is in the log; the proof can be checked offline
    Prove {
        /// The record's sequence number
        seq: u64,
    },
    /// Give records out, one JSON object a line; this is itself on record
    Export {
        /// First sequence number
        #[arg(long, value_name = "SEQ", default_value_t = 0)]
        from: u64,
        /// First sequence number no longer wanted
        #[arg(long, value_name = "SEQ")]
        to: Option<u64>,
        /// Write to this new file (0600) instead of stdout
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Sign the log's head now and print it
    Checkpoint,
}

impl Audit {
    pub(super) fn run(self, context: &Context) -> Result<(), Failure> {
        match self.verb {
            Verb::Verify { checkpoint } => {
                let read = |path: PathBuf| {
                    std::fs::read_to_string(&path).map_err(|error| Failure::file(&path, &error))
                };
                let checkpoint = checkpoint.map(read).transpose()?;
                let verified = context.ask(AuditVerify { checkpoint })?;
                context.show(&verified, show_verified)?;
                if verified.ok { Ok(()) } else { Err(Failure::silent(exit::PROBLEM)) }
            }
            Verb::Prove { seq } => {
                let proof = context.ask(AuditProve { seq })?;
                context.show(&proof, |out, proof| out.raw(&with_newline(&proof.text)))
            }
            Verb::Export { from, to, out } => export(context, from, to, out),
            Verb::Checkpoint => {
                let checkpoint = context.ask(AuditCheckpoint {})?;
                context.show(&checkpoint, |out, head| out.raw(&with_newline(&head.note)))
            }
        }
    }
}

fn with_newline(text: &str) -> String {
    if text.ends_with('\n') { text.to_owned() } else { format!("{text}\n") }
}

fn show_verified(out: &Out, verified: &AuditVerified) -> Result<(), Failure> {
    out.facts(&[
        ("result", if verified.ok { "nothing is wrong" } else { "BROKEN" }.to_owned()),
        ("records", verified.records.to_string()),
        ("root", verified.root.clone()),
        ("signed by", verified.signer.clone()),
        ("signed up to record", or_dash(verified.last_checkpoint)),
        (
            "compared with one kept elsewhere",
            if verified.external { "yes" } else { "no" }.to_owned(),
        ),
    ])?;
    for problem in &verified.problems {
        let place = problem.seq.map_or_else(String::new, |seq| format!("record {seq}: "));
        out.line(&crate::out::clean(&format!("problem: {place}{}", problem.problem)))?;
    }
    Ok(())
}

fn export(
    context: &Context,
    mut from: u64,
    to: Option<u64>,
    file: Option<PathBuf>,
) -> Result<(), Failure> {
    let door = context.door()?;
    let mut file = match file {
        Some(path) => {
            let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
            let opened = opened.map_err(|error| match error.kind() {
                ErrorKind::AlreadyExists => {
                    Failure::new(exit::CONFLICT, format!("{} exists already", path.display()))
                        .hint("move it away, or name another file with --out")
                }
                _ => Failure::file(&path, &error),
            })?;
            Some((path, std::io::BufWriter::new(opened)))
        }
        None => None,
    };
    let mut count = 0u64;
    loop {
        let page = door::ask(door.as_ref(), AuditExport { from, to, limit: Some(10_000) })?;
        for record in &page.records {
            count += 1;
            match &mut file {
                None => context.out.value(record)?,
                Some((path, file)) => {
                    let written = serde_json::to_writer(&mut *file, record)
                        .map_err(std::io::Error::from)
                        .and_then(|()| file.write_all(b"\n"));
                    written.map_err(|error| Failure::file(path, &error))?;
                }
            }
        }
        match page.next {
            Some(next) if next > from => from = next,
            _ => break,
        }
    }
    if let Some((path, mut file)) = file {
        file.flush().map_err(|error| Failure::file(&path, &error))?;
        context.out.hint(&format!("{count} records written to {}", path.display()));
    }
    Ok(())
}

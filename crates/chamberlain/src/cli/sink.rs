//! `chamberlain sink`: where keys are delivered to. A virtual key comes in through stdin or a
//! hidden prompt, never as an argument.

use std::io::{IsTerminal, Read};

use chamberlain_control::command::{SinkCheck, SinkDeliver, SinkForget, SinkList};
use chamberlain_control::reply::{
    DeliveryLine, DeliveryState, NamedKey, SinkChecked, SinkDelivered, SinkLine,
};
use chamberlain_control::wire::SecretText;
use chamberlain_core::secret::Secret;
use clap::{Args, Subcommand};
use zeroize::Zeroizing;

use super::context::Context;
use crate::failure::{Failure, exit};
use crate::out::{Out, clean, or_dash};

/// Longest input taken for a virtual key, in bytes.
const KEY_BYTES_MAX: u64 = 4_096;

const EXAMPLES: &str = "\
Examples:
  chamberlain sink list                                 what each sink holds
  chamberlain sink check                                could they be delivered to; changes nothing
  chamberlain sink deliver app                          the key that the sink's environment uses now
  chamberlain sink deliver app --key main
  chamberlain virtual create --name ci --environment staging --daily 2 --json |
    jq -r .key | chamberlain sink deliver ci --virtual  a virtual key for CI";

/// Sinks, where keys are delivered to: list, check, deliver, forget
#[derive(Args, Debug)]
#[command(before_help = EXAMPLES)]
pub(crate) struct Sink {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// List sinks and what they are known to hold
    List,
    /// Look whether sinks can be delivered to and what is in them; changes nothing
    Check {
        /// Only this sink
        sink: Option<String>,
    },
    /// Deliver a key to a sink, and have it taken up
    Deliver {
        /// The sink
        sink: String,
        /// The upstream key, by id or name; without it, the one that the environment uses now
        #[arg(long, conflicts_with = "virtual_key")]
        key: Option<String>,
        /// A virtual key, read from stdin or a hidden prompt
        #[arg(long = "virtual")]
        virtual_key: bool,
        /// Deliver an upstream key to a sink that takes virtual keys only
        #[arg(long, requires = "reason", conflicts_with = "virtual_key")]
        force: bool,
        /// Why it is forced; it goes on record
        #[arg(long, requires = "force")]
        reason: Option<String>,
    },
    /// Forget what is on record of a sink; what lies there stays there
    Forget {
        /// The sink
        sink: String,
        /// Why
        #[arg(long)]
        reason: Option<String>,
    },
}

impl Sink {
    pub(super) fn run(self, context: &Context) -> Result<(), Failure> {
        match self.verb {
            Verb::List => {
                let sinks = context.ask(SinkList {})?;
                if sinks.sinks.is_empty() && !context.out.json {
                    context.out.hint("no sinks; they are [sinks.NAME] tables in chamberlain.toml");
                }
                context.show(&sinks, |out, sinks| {
                    let headings =
                        ["name", "kind", "environment", "holds", "since", "last delivery", "place"];
                    out.table(&headings, sinks.sinks.iter().map(row).collect())
                })
            }
            Verb::Check { sink } => check(context, sink),
            Verb::Deliver { sink, key, virtual_key, reason, .. } => {
                let virtual_key = virtual_key.then(read_key).transpose()?;
                let asked = SinkDeliver { sink, key, virtual_key, force_reason: reason };
                let delivered = context.ask(asked)?;
                context.show(&delivered, told)?;
                for note in &delivered.notes {
                    context.out.hint(&format!("note: {}", clean(note)));
                }
                Ok(())
            }
            Verb::Forget { sink, reason } => {
                let forgotten = context.ask(SinkForget { sink, reason })?;
                context.show(&forgotten, facts)?;
                if let Some(held) = &forgotten.holds {
                    let what = shown(held);
                    let place = clean(&forgotten.place).into_owned();
                    context.out.hint(&format!("forgotten here; {what} still lies at {place}"));
                }
                Ok(())
            }
        }
    }
}

fn check(context: &Context, sink: Option<String>) -> Result<(), Failure> {
    let checks = context.ask(SinkCheck { sink })?;
    context.show(&checks, |out, checks| checks.sinks.iter().try_for_each(|one| line(out, one)))?;
    match checks.sinks.iter().all(|sink| sink.ok) {
        true => Ok(()),
        false => Err(Failure::silent(exit::PROBLEM)),
    }
}

fn line(out: &Out, sink: &SinkChecked) -> Result<(), Failure> {
    let word = if sink.ok { "ok     " } else { "PROBLEM" };
    let says = sink.problem.as_deref().unwrap_or("it can be delivered to");
    out.line(&format!("{word}  {}: {}", sink.name, clean(says)))?;
    if let Some(hint) = &sink.hint {
        out.line(&format!("         fix: {}", clean(hint)))?;
    }
    if let Some(standing) = &sink.standing {
        out.line(&format!("         {}", clean(&standing.to_string())))?;
    }
    sink.notes.iter().try_for_each(|note| out.line(&format!("         note: {}", clean(note))))
}

fn shown(key: &NamedKey) -> String {
    let name = key.name.as_ref().unwrap_or(&key.key);
    if key.in_use { name.clone() } else { format!("{name} (not in use)") }
}

fn state(last: &DeliveryLine) -> &'static str {
    match last.state {
        DeliveryState::Begun => "begun, not ended",
        DeliveryState::Delivered => "delivered",
        DeliveryState::Failed => "failed",
    }
}

fn row(sink: &SinkLine) -> Vec<String> {
    vec![
        sink.name.clone(),
        sink.kind.clone().unwrap_or_else(|| "(not configured)".to_owned()),
        or_dash(sink.environment.as_ref()),
        or_dash(sink.holds.as_ref().map(shown)),
        or_dash(sink.holds_since),
        or_dash(sink.last.as_ref().map(state)),
        sink.place.clone(),
    ]
}

fn told(out: &Out, delivered: &SinkDelivered) -> Result<(), Failure> {
    facts(out, &delivered.sink)?;
    out.facts(&[(
        "written",
        if delivered.was_there { "no, it was there" } else { "yes" }.to_owned(),
    )])
}

fn facts(out: &Out, sink: &SinkLine) -> Result<(), Failure> {
    let last = sink.last.as_ref();
    out.facts(&[
        ("name", sink.name.clone()),
        ("kind", or_dash(sink.kind.as_ref())),
        ("environment", or_dash(sink.environment.as_ref())),
        ("place", sink.place.clone()),
        ("holds", or_dash(sink.holds.as_ref().map(shown))),
        ("fingerprint", or_dash(sink.holds.as_ref().map(|held| &held.stands_for))),
        ("since", or_dash(sink.holds_since)),
        ("last delivery", or_dash(last.map(state))),
        ("error", or_dash(last.and_then(|last| last.error.as_ref()))),
    ])
}

/// Reads a virtual key from stdin or a hidden prompt.
fn read_key() -> Result<SecretText, Failure> {
    let text = match std::io::stdin().is_terminal() {
        true => {
            let typed = rpassword::prompt_password("Virtual key (hidden): ");
            Zeroizing::new(typed.map_err(|error| Failure::failed(format!("the prompt: {error}")))?)
        }
        false => {
            // Room for all of it at once: a buffer that grows leaves copies behind.
            let mut text = Zeroizing::new(String::with_capacity(KEY_BYTES_MAX as usize + 1));
            let read = std::io::stdin().take(KEY_BYTES_MAX).read_to_string(&mut text);
            read.map_err(|error| Failure::usage(format!("stdin: {error}")))?;
            text
        }
    };
    match text.trim() {
        "" => Err(Failure::usage("no virtual key was given").hint("pipe it in, or type it")),
        key => Ok(SecretText::new(Secret::new(key.to_owned()))),
    }
}

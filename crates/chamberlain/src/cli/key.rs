//! `chamberlain key`: the real Anthropic keys. A key comes in through stdin, a hidden prompt or an
//! environment variable, never as an argument, and never comes out again.

use std::io::{IsTerminal, Read};

use chamberlain_control::command::{self, KeyAdd, KeyList, KeyRemove, KeyShow};
use chamberlain_control::reply::{UpstreamKey, UpstreamKeyState};
use chamberlain_control::wire::SecretText;
use chamberlain_core::secret::Secret;
use clap::{Args, Subcommand};
use zeroize::Zeroizing;

use super::context::Context;
use crate::failure::Failure;
use crate::out::{Out, or_dash};

/// Longest input taken for a key, in bytes.
const KEY_BYTES_MAX: u64 = 4_096;

const EXAMPLES: &str = "\
Examples:
  chamberlain key add --name main                       asks for the key, hidden
  pass show anthropic | chamberlain key add --name main --environment production
  chamberlain key add --name ci --from-env ANTHROPIC_API_KEY
  chamberlain key list";

/// Upstream keys: seal, list, show, remove
#[derive(Args, Debug)]
#[command(before_help = EXAMPLES)]
pub(crate) struct Key {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// Seal an Anthropic key into the vault; it is read from stdin or a hidden prompt
    Add {
        /// A name for people, unique
        #[arg(long)]
        name: String,
        /// The environment it is for; without it, the shared key of all that have none of their own
        #[arg(long, value_name = "ENVIRONMENT")]
        environment: Option<String>,
        /// Take it from this environment variable
        #[arg(long, value_name = "NAME")]
        from_env: Option<String>,
    },
    /// List upstream keys
    List {
        /// Removed ones too
        #[arg(long)]
        all: bool,
    },
    /// Show one upstream key, never its secret
    Show {
        /// Id or name
        key: String,
    },
    /// Forget an upstream key: erased here, still valid at Anthropic until you revoke it there
    Remove {
        /// Id or name
        key: String,
        /// Why
        #[arg(long)]
        reason: Option<String>,
    },
}

impl Key {
    pub(super) fn run(self, context: &Context) -> Result<(), Failure> {
        match self.verb {
            Verb::Add { name, environment, from_env } => {
                let secret = SecretText::new(read_secret(from_env.as_deref())?);
                let key = context.ask(KeyAdd { name, environment, secret })?;
                context.show(&key, facts)?;
                context.out.hint(&format!("sealed, fingerprint {}", key.fingerprint));
                if key.environment.is_none() {
                    context.out.hint("it serves every environment that has no key of its own");
                }
                let running = context.ask(command::Status {})?.running;
                if running.is_some_and(|running| running.mock) {
                    context.out.hint(
                        "the running server answers from the built-in mock: start it again to \
                         have calls leave with this key",
                    );
                }
                Ok(())
            }
            Verb::List { all } => {
                let keys = context.ask(KeyList { all })?;
                if keys.keys.is_empty() && !context.out.json {
                    context.out.hint("no upstream keys; add one: chamberlain key add --name main");
                }
                context.show(&keys, |out, keys| {
                    let rows = keys.keys.iter().map(row).collect();
                    out.table(
                        &["id", "name", "environment", "state", "hint", "created", "serves"],
                        rows,
                    )
                })
            }
            Verb::Show { key } => context.show(&context.ask(KeyShow { key })?, facts),
            Verb::Remove { key, reason } => {
                let removed = context.ask(KeyRemove { key, reason })?;
                context.show(&removed, facts)?;
                context.out.hint(
                    "erased here. At Anthropic it still works: revoke it in the Console, \
                     https://platform.claude.com/settings/keys",
                );
                Ok(())
            }
        }
    }
}

fn state(key: &UpstreamKey) -> &'static str {
    match key.state {
        UpstreamKeyState::Listed => "listed",
        UpstreamKeyState::Staged => "staged",
        UpstreamKeyState::Current => "current",
        UpstreamKeyState::Previous => "previous",
        UpstreamKeyState::Revoked => "removed",
    }
}

fn row(key: &UpstreamKey) -> Vec<String> {
    vec![
        key.id.clone(),
        key.name.clone(),
        key.environment.clone().unwrap_or_else(|| "(shared)".to_owned()),
        state(key).to_owned(),
        key.hint.clone(),
        key.created_at.to_string(),
        key.serves.join(", "),
    ]
}

fn facts(out: &Out, key: &UpstreamKey) -> Result<(), Failure> {
    out.facts(&[
        ("id", key.id.clone()),
        ("name", key.name.clone()),
        ("environment", key.environment.clone().unwrap_or_else(|| "(shared)".to_owned())),
        ("state", state(key).to_owned()),
        ("hint", key.hint.clone()),
        ("fingerprint", key.fingerprint.clone()),
        ("created", key.created_at.to_string()),
        ("removed", or_dash(key.removed_at)),
        ("serves", key.serves.join(", ")),
    ])
}

/// Reads a key from a file of its own.
pub(super) fn read_secret_file(path: &std::path::Path) -> Result<Secret, Failure> {
    let fail = |error: std::io::Error| Failure::file(path, &error);
    let mut text = Zeroizing::new(String::with_capacity(KEY_BYTES_MAX as usize + 1));
    let file = std::fs::File::open(path).map_err(fail)?;
    file.take(KEY_BYTES_MAX + 1).read_to_string(&mut text).map_err(fail)?;
    whole_key(&text)
}

/// Reads a key from where it may come from.
pub(super) fn read_secret(from_env: Option<&str>) -> Result<Secret, Failure> {
    let text = match from_env {
        Some(name) => {
            Zeroizing::new(std::env::var(name).map_err(|_| {
                Failure::usage(format!("the environment variable {name} is not set"))
            })?)
        }
        None if std::io::stdin().is_terminal() => {
            let typed = rpassword::prompt_password("Anthropic key (hidden): ");
            Zeroizing::new(typed.map_err(|error| Failure::failed(format!("the prompt: {error}")))?)
        }
        None => {
            // Room for all of it at once: a buffer that grows leaves copies behind.
            let mut text = Zeroizing::new(String::with_capacity(KEY_BYTES_MAX as usize + 1));
            let read = std::io::stdin().take(KEY_BYTES_MAX + 1).read_to_string(&mut text);
            read.map_err(|error| Failure::usage(format!("stdin: {error}")))?;
            text
        }
    };
    whole_key(&text)
}

fn whole_key(text: &str) -> Result<Secret, Failure> {
    let key = text.trim();
    if key.is_empty() {
        return Err(Failure::usage("no key was given")
            .hint("type it at the prompt, pipe it in, or use --from-env NAME"));
    }
    if key.len() as u64 > KEY_BYTES_MAX {
        return Err(Failure::usage("what was given is too long to be a key"));
    }
    Ok(Secret::new(key.to_owned()))
}

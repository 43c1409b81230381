//! `chamberlain key admin`: the key of Anthropic's Admin API. It comes in as upstream keys do, and
//! never comes out.

use std::path::PathBuf;

use chamberlain_control::command::{AdminKeyAdd, AdminKeyRemove, AdminKeyShow};
use chamberlain_control::reply::AdminKey;
use chamberlain_control::wire::SecretText;
use clap::{Args, Subcommand};

use super::{Origin, read_from};
use crate::cli::context::Context;
use crate::failure::Failure;
use crate::out::{Out, or_dash};

/// The admin key
#[derive(Args, Debug)]
pub(super) struct Admin {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// Seal an admin key, after asking Anthropic whose it is; read from stdin or a hidden prompt
    Add {
        /// Take it from this environment variable
        #[arg(long, value_name = "NAME", conflicts_with = "from_file")]
        from_env: Option<String>,
        /// Take it from this file, which holds nothing else
        #[arg(long, value_name = "FILE")]
        from_file: Option<PathBuf>,
        /// Do not ask Anthropic
        #[arg(long)]
        unchecked: bool,
    },
    /// Show whether there is one, never the key
    Show,
    /// Erase it here
    Remove {
        /// Why
        #[arg(long)]
        reason: Option<String>,
    },
}

impl Admin {
    pub(super) fn run(self, context: &Context) -> Result<(), Failure> {
        match self.verb {
            Verb::Add { from_env, from_file, unchecked } => {
                let from = Origin { variable: from_env, file: from_file, what: "Admin key" };
                let secret = SecretText::new(read_from(&from)?);
                let key = context.ask(AdminKeyAdd { secret, unchecked })?;
                context.show(&key, facts)?;
                context.out.hint("sealed; chamberlain key sync compares keys now");
                Ok(())
            }
            Verb::Show => context.show(&context.ask(AdminKeyShow {})?, facts),
            Verb::Remove { reason } => {
                context.show(&context.ask(AdminKeyRemove { reason })?, facts)?;
                context.out.hint("erased here; delete it in the Claude Console, too");
                Ok(())
            }
        }
    }
}

fn facts(out: &Out, key: &AdminKey) -> Result<(), Failure> {
    if !key.present {
        return out.line("there is no admin key");
    }
    out.facts(&[
        ("hint", or_dash(key.hint.as_ref())),
        ("fingerprint", or_dash(key.fingerprint.as_ref())),
        ("added", or_dash(key.created_at)),
        ("organization", or_dash(key.organization_name.as_ref())),
        ("organization id", or_dash(key.organization.as_ref())),
    ])
}

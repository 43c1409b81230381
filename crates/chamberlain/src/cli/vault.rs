//! `chamberlain vault`: what opens the sealed keys.

use std::path::PathBuf;

use chamberlain_control::client::Client;
use clap::{Args, Subcommand};
use serde_json::json;

use super::context::Context;
use crate::data_dir::DataDir;
use crate::failure::{Failure, exit};
use crate::rekey::{self, Next};

const EXAMPLES: &str = "\
Examples:
  chamberlain vault rekey                                 a new master.key in the data folder
  chamberlain vault rekey --new-key-file /safe/master.key
  chamberlain vault rekey --new-passphrase                asks for it, twice";

/// The vault: a new master key
#[derive(Args, Debug)]
#[command(before_help = EXAMPLES)]
pub(crate) struct Vault {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// Change the master key: everything sealed is wrapped anew; not while a server runs
    Rekey {
        /// The new master key is in this file, which is made if it is not there
        #[arg(long, value_name = "FILE", group = "new")]
        new_key_file: Option<PathBuf>,
        /// The vault opens with the passphrase in this file from now on
        #[arg(long, value_name = "FILE", group = "new")]
        new_passphrase_file: Option<PathBuf>,
        /// The vault opens with a passphrase from now on; asks for it
        #[arg(long, group = "new")]
        new_passphrase: bool,
    },
}

impl Vault {
    pub(super) fn run(self, context: &Context) -> Result<(), Failure> {
        let Verb::Rekey { new_key_file, new_passphrase_file, new_passphrase } = self.verb;
        let next = match (new_key_file, new_passphrase_file, new_passphrase) {
            (Some(file), ..) => Next::File(absolute(file)?),
            (_, Some(file), _) => Next::PassphraseFile(file),
            (_, _, true) => Next::Passphrase,
            _ => Next::Kept,
        };
        let path = context.data()?;
        if Client::connect(&path)?.is_some() {
            return Err(Failure::new(
                exit::CONFLICT,
                format!("a server works on {}: it holds the vault open", path.display()),
            )
            .hint("stop it, change the master key, and start it again"));
        }
        let data = DataDir::used(&path)?;
        let changed = rekey::change(&data, &next)?;
        show(context, &next, &changed)
    }
}

fn show(context: &Context, next: &Next, changed: &rekey::Changed) -> Result<(), Failure> {
    let done = changed.rekeyed;
    let aside = changed.set_aside.as_ref().map(|path| path.display().to_string());
    if context.out.json {
        return context.out.value(&json!({
            "upstream_keys": done.upstream_keys,
            "credentials": done.credentials,
            "passphrase": done.passphrase,
            "set_aside": aside,
        }));
    }
    context.out.facts(&[
        ("upstream keys wrapped anew", done.upstream_keys.to_string()),
        ("other credentials", done.credentials.to_string()),
        ("opens with", if done.passphrase { "a passphrase" } else { "a key" }.to_owned()),
        ("key of before", aside.clone().unwrap_or_else(|| "-".to_owned())),
    ])?;
    let start = match next {
        Next::Kept => String::new(),
        Next::File(file) => {
            format!("starts need it now: CHAMBERLAIN_MASTER_KEY_FILE={}\n  ", file.display())
        }
        Next::PassphraseFile(_) | Next::Passphrase => {
            "starts need it now: at the terminal, or by CHAMBERLAIN_PASSPHRASE_FILE\n  ".to_owned()
        }
    };
    context.out.hint(&format!(
        "{start}backups made before open with the master key of before only: keep it with them, away \
         from this machine; make a backup now, and keep the new master key elsewhere, too"
    ));
    Ok(())
}

fn absolute(path: PathBuf) -> Result<PathBuf, Failure> {
    std::path::absolute(&path).map_err(|error| Failure::file(&path, &error))
}

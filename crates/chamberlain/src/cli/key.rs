//! `chamberlain key`: the real Anthropic keys and everything that is known of them. A key comes in
//! through stdin, a hidden prompt, a file or an environment variable, never as an argument, and
//! never comes out again.

use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};

use chamberlain_control::command::{
    self, KeyAdd, KeyAnnotate, KeyImport, KeyList, KeyPolicy, KeyRemove, KeyRename, KeyShow,
    KeyVerify,
};
use chamberlain_control::reply::{KeyVerdict, UpstreamKey};
use chamberlain_control::wire::SecretText;
use chamberlain_core::secret::Secret;
use clap::{Args, Subcommand};
use zeroize::Zeroizing;

use super::context::Context;
use crate::failure::{Failure, exit};

mod about;
mod admin;
mod export;
mod show;

/// Longest input taken for a key, in bytes.
const KEY_BYTES_MAX: u64 = 4_096;

/// Longest table that is taken, in bytes: what a command can carry.
const TABLE_BYTES_MAX: u64 = 200 * 1024;

/// Where keys are made.
const CONSOLE: &str = "https://platform.claude.com/settings/keys";

const EXAMPLES: &str = "\
Examples:
  chamberlain key add --name main                       asks for the key, hidden
  chamberlain key add --environment production --purpose translation --team docs
  pass show anthropic | chamberlain key add --name main --environment production
  chamberlain key add --name ci --from-env ANTHROPIC_API_KEY
  chamberlain key list
  chamberlain key verify main --free                    does it work, at no cost?
  chamberlain key admin add                             lets keys be compared with Anthropic's list
  chamberlain key sync
  chamberlain key export --format csv > keys.csv";

/// Upstream keys: seal, list, show, name, verify, compare with Anthropic, remove
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
        /// A name for people, unique; without it one is made: PROJECT-ENVIRONMENT-PURPOSE-DATE. The
        /// name of an imported key gives that key its value
        #[arg(long, default_value = "")]
        name: String,
        /// The environment it is for; without it, the shared key of all that have none of their own
        #[arg(long, value_name = "ENVIRONMENT")]
        environment: Option<String>,
        /// Take it from this environment variable
        #[arg(long, value_name = "NAME", conflicts_with = "from_file")]
        from_env: Option<String>,
        /// Take it from this file, which holds nothing else
        #[arg(long, value_name = "FILE")]
        from_file: Option<PathBuf>,
        /// Seal it without putting it into use
        #[arg(long)]
        staged: bool,
        #[command(flatten)]
        about: about::About,
    },
    /// List upstream keys, and keys at Anthropic that nobody here knows
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
    /// Say more about a key: team, purpose, days, its id at Anthropic
    Annotate {
        /// Id or name
        key: String,
        #[command(flatten)]
        about: about::About,
    },
    /// Give a key another name
    Rename {
        /// Id or name
        key: String,
        /// The new name; without it one by the convention is made
        #[arg(default_value = "")]
        name: String,
        /// Rename it at Anthropic, too
        #[arg(long)]
        at_anthropic: bool,
    },
    /// Ask upstream whether a key works: for nothing, then with a call of ten tokens
    Verify {
        /// Id or name
        key: String,
        /// Only what costs nothing
        #[arg(long)]
        free: bool,
        /// The model it is to reach
        #[arg(long, value_name = "MODEL", conflicts_with = "free")]
        model: Option<String>,
    },
    /// Take over a table of keys without their values: CSV, YAML or Markdown
    Import {
        /// The file, or - for stdin
        file: PathBuf,
        /// Only say what would be done
        #[arg(long)]
        dry_run: bool,
    },
    /// Write the inventory, without values
    Export {
        /// In which form
        #[arg(long, value_enum, default_value = "csv")]
        format: export::Format,
    },
    /// Compare the inventory with what Anthropic lists; a running server does it every 10 minutes
    Sync,
    /// Check a secrets-rotation-policy.yaml, and set its dates
    Policy {
        /// The file; without it, keys.rotation_policy
        file: Option<PathBuf>,
        /// Set its dates to those of the inventory; everything else in it stays as it is
        #[arg(long)]
        update: bool,
    },
    /// The key of Anthropic's Admin API, with which keys are listed, renamed and switched off
    Admin(admin::Admin),
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
            Verb::Add { name, environment, from_env, from_file, staged, about } => {
                let from = Origin { variable: from_env, file: from_file, what: "Anthropic key" };
                if name.is_empty() {
                    context.out.hint(&format!("keys are made at {CONSOLE}"));
                }
                let secret = SecretText::new(read_from(&from)?);
                let about = about.into_about();
                let key = context.ask(KeyAdd { name, environment, secret, about, staged })?;
                added(context, &key)
            }
            Verb::List { all } => show::list(context, &context.ask(KeyList { all })?),
            Verb::Show { key } => context.show(&context.ask(KeyShow { key })?, show::facts),
            Verb::Annotate { key, about } => {
                let about = about.into_about();
                context.show(&context.ask(KeyAnnotate { key, about })?, show::facts)
            }
            Verb::Rename { key, name, at_anthropic } => {
                context.show(&context.ask(KeyRename { key, name, at_anthropic })?, show::facts)
            }
            Verb::Verify { key, free, model } => verify(context, KeyVerify { key, free, model }),
            Verb::Import { file, dry_run } => import(context, &file, dry_run),
            Verb::Export { format } => {
                export::write(&context.out, format, &context.ask(KeyList { all: true })?.keys)
            }
            Verb::Sync => sync(context),
            Verb::Policy { file, update } => policy(context, file.as_deref(), update),
            Verb::Admin(admin) => admin.run(context),
            Verb::Remove { key, reason } => {
                let removed = context.ask(KeyRemove { key, reason })?;
                context.show(&removed, show::facts)?;
                context.out.hint(&format!(
                    "erased here. At Anthropic it still works: revoke it in the Console, {CONSOLE}"
                ));
                Ok(())
            }
        }
    }
}

fn added(context: &Context, key: &UpstreamKey) -> Result<(), Failure> {
    context.show(key, show::facts)?;
    context.out.hint(&format!("sealed, fingerprint {}", key.fingerprint));
    if key.environment.is_none() {
        context.out.hint("it serves every environment that has no key of its own");
    }
    let running = context.ask(command::Status {})?.running;
    if running.is_some_and(|running| running.mock) {
        context.out.hint(
            "the running server answers from the built-in mock: start it again to have calls \
             leave with this key",
        );
    }
    Ok(())
}

fn verify(context: &Context, asked: KeyVerify) -> Result<(), Failure> {
    let verified = context.ask(asked)?;
    context.show(&verified, show::verified)?;
    match verified.verdict {
        KeyVerdict::Works => Ok(()),
        KeyVerdict::Dead | KeyVerdict::Forbidden => Err(Failure::silent(exit::PROBLEM)),
        KeyVerdict::Unknown => Err(Failure::silent(exit::UNAVAILABLE)),
    }
}

fn import(context: &Context, file: &Path, dry_run: bool) -> Result<(), Failure> {
    let mut table = String::new();
    let read = match file.as_os_str() == "-" {
        true => std::io::stdin().take(TABLE_BYTES_MAX + 1).read_to_string(&mut table),
        false => std::fs::File::open(file)
            .and_then(|file| file.take(TABLE_BYTES_MAX + 1).read_to_string(&mut table)),
    };
    read.map_err(|error| Failure::usage(format!("{}: {error}", file.display())))?;
    if table.len() as u64 > TABLE_BYTES_MAX {
        let problem = format!("{}: more than {TABLE_BYTES_MAX} bytes", file.display());
        return Err(Failure::usage(problem).hint("import it in parts"));
    }
    let file = file.display().to_string();
    let imported = context.ask(KeyImport { table, file, dry_run })?;
    context.show(&imported, show::imported)?;
    if imported.rows.iter().any(|row| row.done == "listed") && !dry_run {
        context.out.hint(
            "listed keys wait for their values: chamberlain key add --name NAME, one at a time",
        );
    }
    Ok(())
}

fn sync(context: &Context) -> Result<(), Failure> {
    let found = context.ask(command::KeySync {})?;
    context.show(&found, |out, found| show::findings(out, &found.findings))?;
    context.out.hint(&match found.asked_anthropic {
        true => format!(
            "Anthropic lists {} keys; {} to look at, {} of it new",
            found.listed,
            found.findings.len(),
            found.new
        ),
        false => {
            "Anthropic was not asked: there is no admin key (chamberlain key admin add)".to_owned()
        }
    });
    Ok(())
}

fn policy(context: &Context, file: Option<&Path>, update: bool) -> Result<(), Failure> {
    let file =
        file.map(|file| std::path::absolute(file).map_err(|error| Failure::file(file, &error)));
    let file = file.transpose()?.map(|file| file.display().to_string());
    let policy = context.ask(KeyPolicy { file, update })?;
    context.show(&policy, show::policy)?;
    for warning in &policy.warnings {
        context.out.hint(&format!("warning: {}: {warning}", policy.file));
    }
    if policy.changed {
        context.out.hint(&format!("{} is up to date", policy.file));
    }
    Ok(())
}

/// Where a secret may come from.
struct Origin {
    variable: Option<String>,
    file: Option<PathBuf>,
    what: &'static str,
}

/// Reads a key from a file of its own.
pub(super) fn read_secret_file(path: &Path) -> Result<Secret, Failure> {
    read_from(&Origin { variable: None, file: Some(path.to_owned()), what: "Anthropic key" })
}

/// Reads a key from an environment variable, else from a hidden prompt or stdin.
pub(super) fn read_secret(from_env: Option<&str>) -> Result<Secret, Failure> {
    let variable = from_env.map(str::to_owned);
    read_from(&Origin { variable, file: None, what: "Anthropic key" })
}

/// Reads a key from where it may come from.
fn read_from(from: &Origin) -> Result<Secret, Failure> {
    let text = match (&from.variable, &from.file) {
        (Some(name), _) => {
            Zeroizing::new(std::env::var(name).map_err(|_| {
                Failure::usage(format!("the environment variable {name} is not set"))
            })?)
        }
        (None, Some(path)) => {
            let file = std::fs::File::open(path);
            whole(file.map_err(|error| Failure::file(path, &error))?, &path.display().to_string())?
        }
        (None, None) if std::io::stdin().is_terminal() => {
            let typed = rpassword::prompt_password(format!("{} (hidden): ", from.what));
            Zeroizing::new(typed.map_err(|error| Failure::failed(format!("the prompt: {error}")))?)
        }
        (None, None) => whole(std::io::stdin(), "stdin")?,
    };
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

fn whole(from: impl Read, name: &str) -> Result<Zeroizing<String>, Failure> {
    // Room for all of it at once: a buffer that grows leaves copies behind.
    let mut text = Zeroizing::new(String::with_capacity(KEY_BYTES_MAX as usize + 1));
    let read = from.take(KEY_BYTES_MAX + 1).read_to_string(&mut text);
    read.map_err(|error| Failure::usage(format!("{name}: {error}")))?;
    Ok(text)
}

//! `chamberlain backup`: making backups, looking at them, putting one back, and saying what is known
//! of the time since.

use std::path::{Path, PathBuf};

use chamberlain_control::backup::folder;
use chamberlain_control::checkpoint;
use chamberlain_control::client::Client;
use chamberlain_control::command::{
    BackupCreate, BackupDrilled, BackupHeld, BackupList, BackupPrune, BackupRecheck, BackupRelease,
    BackupSettle,
};
use chamberlain_control::reply;
use chamberlain_core::audit::checkpoint::Checkpoint;
use chamberlain_core::backup::name::BackupName;
use chamberlain_core::money::Money;
use clap::{Args, Subcommand};
use serde_json::json;

use super::context::Context;
use super::parse;
use crate::data_dir::DataDir;
use crate::drill;
use crate::failure::{Failure, exit};
use crate::out::{Out, or_dash};
use crate::restore::{self, Source};

const EXAMPLES: &str = "\
Examples:
  age-keygen -o alice.identity                          once for each reader; keep it elsewhere
  chamberlain backup create --to /mnt/elsewhere --recipient age1… --recipient age1…
  chamberlain backup verify FILE --identity alice.identity
  chamberlain backup restore FILE --identity alice.identity --master-key master.key
  gpg --decrypt FILE | chamberlain backup restore - --decrypted --master-key master.key
  chamberlain backup held                               what waits for a word of yours after that
  chamberlain backup release --all --reason 'none was revoked since, says the ticket log'
  chamberlain backup settle organization --spent 12.50 --reason 'cost page of the Console'";

/// Backups: create, list, verify, prune, drill, restore; and what is held back after a restore
#[derive(Args, Debug)]
#[command(before_help = EXAMPLES)]
pub(crate) struct Backup {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// Make one now, while calls are served; the master key is not in it
    Create {
        /// A folder, or a file that is not there yet (default: backup.folder)
        #[arg(long, value_name = "PATH")]
        to: Option<PathBuf>,
        /// Who can read it, an age recipient; again for each (default: backup.recipients)
        #[arg(long = "recipient", value_name = "AGE1…")]
        recipients: Vec<String>,
        /// Who can read it instead, a file with an OpenPGP public key; again for each
        #[arg(long = "openpgp-key", value_name = "FILE", conflicts_with = "recipients")]
        openpgp_keys: Vec<PathBuf>,
    },
    /// List those in the folder, the newest first
    List {
        /// Another folder than backup.folder
        #[arg(long, value_name = "DIR")]
        folder: Option<PathBuf>,
    },
    /// Delete those that are kept no longer
    Prune {
        /// Only say which
        #[arg(long)]
        dry_run: bool,
    },
    /// Open one and check everything in it; changes nothing
    Verify(Opened),
    /// Put one back into an empty data folder
    Restore {
        #[command(flatten)]
        opened: Opened,
        /// Set aside the store that is in the data folder
        #[arg(long)]
        replace: bool,
        /// Put it back although a newer one is at hand, or it is older than a day
        #[arg(long)]
        accept_stale: bool,
        /// A signed head of the audit log that was kept elsewhere (default: checkpoint.anchor_file)
        #[arg(long, value_name = "FILE")]
        checkpoint: Option<PathBuf>,
    },
    /// Put one back into a scratch folder, start it, call it, and destroy it; exit code 3 if it fails
    Drill {
        /// The backup (default: the newest of this house in backup.folder)
        file: Option<PathBuf>,
        /// A file with age identities that can read it (default: backup.drill_identity)
        #[arg(long, value_name = "FILE")]
        identity: Option<PathBuf>,
        /// The file with the master key, where the data folder has none
        #[arg(long, value_name = "FILE")]
        master_key: Option<PathBuf>,
    },
    /// What is held back since one was put back
    Held,
    /// Let virtual keys work again that were frozen when one was put back
    Release {
        /// Ids or names
        #[arg(required_unless_present = "all")]
        keys: Vec<String>,
        /// All of them
        #[arg(long, conflicts_with = "keys")]
        all: bool,
        /// How it is known that none of them was revoked since
        #[arg(long)]
        reason: String,
    },
    /// Say what was spent since the backup that was put back
    Settle {
        /// organization, an environment or a virtual key
        #[arg(required_unless_present = "all")]
        scope: Option<String>,
        /// Every scope that is charged
        #[arg(long, conflicts_with = "scope")]
        all: bool,
        /// What it spent since then, at the most; 0 for nothing
        #[arg(long, value_name = "USD", value_parser = parse::money)]
        spent: Money,
        /// How that is known
        #[arg(long)]
        reason: String,
    },
    /// Have upstream asked now whether it takes the keys that are closed; it is asked again and again
    Recheck,
}

/// What to open.
#[derive(Args, Debug)]
struct Opened {
    /// The backup; - reads it from standard input
    file: PathBuf,
    /// A file with age identities that can read it
    #[arg(long, value_name = "FILE", required_unless_present = "decrypted")]
    identity: Option<PathBuf>,
    /// It was decrypted before, by gpg or age
    #[arg(long, conflicts_with = "identity")]
    decrypted: bool,
    /// The file with the master key of the house that it was made of
    #[arg(long, value_name = "FILE")]
    master_key: Option<PathBuf>,
}

impl Opened {
    fn source(&self) -> Source {
        Source {
            file: self.file.clone(),
            identity: self.identity.clone(),
            master_key: self.master_key.clone(),
        }
    }
}

impl Backup {
    pub(super) fn run(self, context: &Context) -> Result<(), Failure> {
        match self.verb {
            Verb::Create { to, recipients, openpgp_keys } => {
                let to = to.as_deref().map(absolute).transpose()?;
                let openpgp_keys =
                    openpgp_keys.iter().map(|key| absolute(key)).collect::<Result<_, _>>()?;
                let made = context.ask(BackupCreate { to, recipients, openpgp_keys })?;
                context.show(&made, show_made)
            }
            Verb::List { folder } => {
                let folder = folder.as_deref().map(absolute).transpose()?;
                context.show(&context.ask(BackupList { folder })?, show_list)
            }
            Verb::Prune { dry_run } => {
                let pruned = context.ask(BackupPrune { dry_run })?;
                context.show(&pruned, |out, pruned| {
                    out.line(&format!("{} backups: {}", pruned.backups.len(), verb(dry_run)))?;
                    table(out, pruned)
                })
            }
            Verb::Verify(opened) => verify(context, &opened),
            Verb::Restore { opened, replace, accept_stale, checkpoint } => {
                restore(context, &opened, replace, accept_stale, checkpoint.as_deref())
            }
            Verb::Drill { file, identity, master_key } => {
                drill(context, file, identity, master_key)
            }
            Verb::Held => context.show(&context.ask(BackupHeld {})?, show_held),
            Verb::Release { keys, all, reason } => {
                let held = context.ask(BackupRelease { keys, all, reason })?;
                context.show(&held, show_held)
            }
            Verb::Settle { scope, all: _, spent, reason } => {
                let held = context.ask(BackupSettle { scope, spent, reason })?;
                context.show(&held, show_held)
            }
            Verb::Recheck => {
                let asked = context.ask(BackupRecheck {})?;
                context.show(&asked, |out, asked| {
                    let row = |one: &reply::RecheckedKey| {
                        let state = if one.open { "open" } else { "closed" };
                        vec![one.key.name.clone(), state.to_owned(), one.answer.clone()]
                    };
                    out.table(&["key", "now", "answer"], asked.keys.iter().map(row).collect())
                })
            }
        }
    }
}

fn verb(dry_run: bool) -> &'static str {
    if dry_run { "would be deleted" } else { "deleted" }
}

/// As the server would see it, which works in another folder.
fn absolute(path: &Path) -> Result<String, Failure> {
    let path = std::path::absolute(path).map_err(|error| Failure::file(path, &error))?;
    Ok(path.display().to_string())
}

fn verify(context: &Context, opened: &Opened) -> Result<(), Failure> {
    let place = context.data().and_then(|data| DataDir::open(&data));
    // Without a data folder, as on a machine that only checks, the system's own folder has to do.
    let (beside, kept) = match &place {
        Ok(data) => (data.path().to_owned(), data.master_key()),
        Err(_) => (std::env::temp_dir(), PathBuf::from("master.key")),
    };
    let private = Beside::make(&beside)?;
    let checked = restore::check(&opened.source(), &private.0, &kept)?;
    let manifest = &checked.manifest;
    let reply = json!({
        "ok": true,
        "manifest": manifest,
        "sum": folder::is_as_written(&opened.file).ok().flatten(),
    });
    if context.out.json {
        return context.out.value(&reply);
    }
    context.out.facts(&[
        (
            "result",
            "nothing is wrong: it opens, is whole, signed, and every key in it opens".into(),
        ),
        ("made at", manifest.made_at.clone()),
        ("made by", format!("Chamberlain {}", manifest.made_by)),
        ("vault", manifest.vault.clone()),
        ("schema", format!("step {}", manifest.schema)),
        ("audit records", manifest.audit.records.to_string()),
        ("upstream keys", manifest.counts.upstream_keys.to_string()),
        ("virtual keys", manifest.counts.virtual_keys.to_string()),
        ("calls", manifest.counts.calls.to_string()),
    ])
}

fn restore(
    context: &Context,
    opened: &Opened,
    replace: bool,
    accept_stale: bool,
    checkpoint: Option<&Path>,
) -> Result<(), Failure> {
    let path = context.data()?;
    if Client::connect(&path)?.is_some() {
        let message = format!("a server runs on {}", path.display());
        return Err(Failure::new(exit::CONFLICT, message).hint("stop it first"));
    }
    let loaded = context.load(Vec::new())?;
    let settings = &loaded.config.settings;
    let data = DataDir::prepare(&path)?;
    let checked = restore::check(&opened.source(), data.path(), &data.master_key())?;
    if !accept_stale {
        let folders: Vec<&Path> = settings.backup.folder.as_deref().into_iter().collect();
        restore::refuse_stale(&checked, &opened.file, &folders, context.now())?;
    }
    let heads = match (checkpoint, &settings.checkpoint.anchor_file) {
        (Some(file), _) => {
            let text =
                std::fs::read_to_string(file).map_err(|error| Failure::file(file, &error))?;
            checkpoint::notes(&text)
        }
        (None, Some(file)) => {
            let text = checkpoint::read_anchors(file);
            checkpoint::anchored(&text.map_err(|error| Failure::failed(error.to_string()))?)
        }
        (None, None) => Vec::new(),
    };
    let restored = restore::put_back(&checked, &data, replace, &heads, settings)?;
    let held = &restored.held;
    let reply = json!({
        "data": data.path().display().to_string(),
        "made_at": checked.manifest.made_at,
        "records": checked.manifest.audit.records,
        "records_lost": restored.lost,
        "aside": restored.aside.as_ref().map(|path| path.display().to_string()),
        "virtual_keys_frozen": held.virtual_keys.len(),
        "upstream_keys_closed": held.upstream_keys.len(),
        "budgets_charged": held.spending.len(),
    });
    if context.out.json {
        return context.out.value(&reply);
    }
    context.out.facts(&[
        ("put back into", data.path().display().to_string()),
        ("made at", checked.manifest.made_at.clone()),
        ("audit records", checked.manifest.audit.records.to_string()),
        ("records known to be lost", restored.lost.to_string()),
        ("what was there before", or_dash(restored.aside.as_ref().map(|path| path.display()))),
        ("virtual keys frozen", held.virtual_keys.len().to_string()),
        ("upstream keys closed", held.upstream_keys.len().to_string()),
        ("budgets charged in full", held.spending.len().to_string()),
    ])?;
    context.out.hint(
        "next: chamberlain up asks upstream about its keys; chamberlain backup held says what waits \
         for you",
    );
    Ok(())
}

fn drill(
    context: &Context,
    file: Option<PathBuf>,
    identity: Option<PathBuf>,
    master_key: Option<PathBuf>,
) -> Result<(), Failure> {
    let settings = context.load(Vec::new())?.config.settings;
    let newest = || -> Result<PathBuf, Failure> {
        let list = context.ask(BackupList { folder: None })?;
        list.backups.first().map(|newest| PathBuf::from(&newest.path)).ok_or_else(|| {
            Failure::new(exit::NOT_FOUND, "there is no backup of this house to drill with")
                .hint("name one, or set backup.folder")
        })
    };
    let file = file.map_or_else(newest, Ok)?;
    let identity = identity.or(settings.backup.drill_identity.clone()).ok_or_else(|| {
        Failure::usage("a drill needs an identity that reads the backup")
            .hint("name its file with --identity, or set backup.drill_identity")
    })?;
    let data = DataDir::open(&context.data()?)?;
    let source = Source { file: file.clone(), identity: Some(identity), master_key };
    let head = head_for(context, &file)?;
    let (beside, kept) = (data.path(), data.master_key());
    let report = drill::drill(&source, beside, &kept, head.as_deref(), &settings)?;
    let ms = report.steps.iter().map(|step| step.ms).sum();
    let problem = report.problem.clone();
    context.ask(BackupDrilled { backup: report.backup.clone(), ms, problem })?;
    context.show(&report, |out, report| {
        let row = |step: &drill::Step| vec![step.name.clone(), step.ms.to_string()];
        out.table(&["step", "ms"], report.steps.iter().map(row).collect())?;
        out.line(&match &report.problem {
            None => format!("\n{} can be put back", report.backup),
            Some(problem) => format!("\n{} CANNOT be put back: {problem}", report.backup),
        })
    })?;
    if report.ok { Ok(()) } else { Err(Failure::silent(exit::PROBLEM)) }
}

/// The last head that was signed before a backup was made, as this house or the anchor file has it.
fn head_for(context: &Context, file: &Path) -> Result<Option<String>, Failure> {
    let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let Ok(name) = name.parse::<BackupName>() else { return Ok(None) };
    let Some(anchors) = context.load(Vec::new())?.config.settings.checkpoint.anchor_file else {
        return Ok(None);
    };
    let text = checkpoint::read_anchors(&anchors);
    let text = text.map_err(|error| Failure::failed(error.to_string()))?;
    let mut heads = checkpoint::anchored(&text).into_iter();
    let size = |note: &String| Checkpoint::unverified(note).map(|head| head.size);
    Ok(heads.rfind(|note| size(note).is_some_and(|size| size <= name.records)))
}

/// A folder that only we can look into.
struct Beside(PathBuf);

impl Beside {
    fn make(parent: &Path) -> Result<Beside, Failure> {
        use std::os::unix::fs::DirBuilderExt;
        let path = parent.join(format!("chamberlain-verify-{}", std::process::id()));
        let made = std::fs::DirBuilder::new().mode(0o700).create(&path);
        made.map_err(|error| Failure::file(&path, &error))?;
        Ok(Beside(path))
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn show_made(out: &Out, made: &reply::Backup) -> Result<(), Failure> {
    out.facts(&[
        ("backup", made.path.clone()),
        ("made at", made.made_at.to_string()),
        ("bytes", made.bytes.to_string()),
        ("audit records", made.records.to_string()),
        ("sha256", or_dash(made.sha256.as_ref())),
    ])?;
    for note in &made.notes {
        out.hint(&format!("note: {note}"));
    }
    out.hint(
        "the master key is not in it: keep master.key (or your passphrase) somewhere else, too",
    );
    Ok(())
}

fn show_list(out: &Out, list: &reply::Backups) -> Result<(), Failure> {
    match &list.folder {
        None => out.line("no folder for backups is configured (backup.folder)"),
        Some(folder) if list.backups.is_empty() => {
            out.line(&format!("no backup of this house is in {folder}"))
        }
        Some(_) => table(out, list),
    }
}

fn table(out: &Out, list: &reply::Backups) -> Result<(), Failure> {
    let row = |one: &reply::Backup| {
        vec![
            one.made_at.to_string(),
            one.records.to_string(),
            one.bytes.to_string(),
            one.path.clone(),
        ]
    };
    let headings = ["made at", "audit records", "bytes", "file"];
    out.table(&headings, list.backups.iter().map(row).collect())
}

fn show_held(out: &Out, held: &reply::BackupHeld) -> Result<(), Failure> {
    let Some(restored_at) = &held.restored_at else {
        return out.line("no backup was put back here; nothing is held");
    };
    let made_at = held.made_at.clone().unwrap_or_default();
    out.line(&format!("put back at {restored_at}, made at {made_at}\n"))?;
    let key = |kind: &str, key: &reply::HeldKey| {
        vec![kind.to_owned(), key.name.clone(), or_dash(key.environment.as_ref())]
    };
    let mut rows: Vec<Vec<String>> = Vec::new();
    rows.extend(held.upstream_keys.iter().map(|one| key("upstream key, closed", one)));
    rows.extend(held.virtual_keys.iter().map(|one| key("virtual key, frozen", one)));
    rows.extend(held.spending.iter().map(|one| {
        let what = format!("{} budget, charged {}", one.window.name(), one.charged);
        vec![what, one.scope.name.clone(), format!("until {}", one.window_end)]
    }));
    if rows.is_empty() {
        return out.line("nothing is held any more");
    }
    out.table(&["held", "name", ""], rows)
}

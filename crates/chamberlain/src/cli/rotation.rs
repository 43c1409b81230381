//! `chamberlain rotation`: replacing upstream keys. The server does the work; people begin it,
//! approve it, hand in the new key, and say what it cannot see.

use std::path::PathBuf;

use chamberlain_control::command::{
    RotationAbort, RotationApprove, RotationGiveKey, RotationList, RotationResume,
    RotationRollback, RotationShow, RotationStart, RotationStatus, RotationVouch,
};
use chamberlain_control::reply::{Rotation as Shown, RotationLine};
use chamberlain_control::wire::SecretText;
use chamberlain_core::rotation::What;
use clap::{Args, Subcommand};

use super::context::Context;
use super::key::{read_secret, read_secret_file};
use crate::failure::{Failure, exit};
use crate::out::{Out, or_dash};

const EXAMPLES: &str = "\
Examples:
  chamberlain rotation status                              days left for every key
  chamberlain rotation start production --reason scheduled --from 2h
  chamberlain rotation approve --file bob-says-yes.txt
  chamberlain rotation give-key                            asks for the new key, hidden
  chamberlain rotation show                                where it stands, and what it waits for
  chamberlain rotation start main --emergency --reason public_repository";

const WORDS: &str = "\
A planned rotation goes: planned, notified, approved, backed_up, await_key, sealed, probed,
sinks_written, serving_new, soaking, draining, old_inactive, old_proven_dead, archived, recorded,
backed_up_2, done. docs/rotation.md explains each, and who does what.";

/// Replace upstream keys: status, start, approve, give-key, vouch, abort, rollback, resume, list, show, timeline
#[derive(Args, Debug)]
#[command(before_help = EXAMPLES, after_help = WORDS)]
pub(crate) struct Rotation {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// Days left for every key, the most urgent first; exit code 3 when one is overdue
    Status,
    /// Begin to replace a key
    Start(Start),
    /// Agree to a rotation; not for whoever asked for it
    Approve {
        /// The rotation; may be left out where only one is under way
        rotation: Option<String>,
        /// A file of the approver's own with the line `approve rotation <id>`
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
        /// Go on alone, for this reason; to be reviewed within a day
        #[arg(long, value_name = "REASON", conflicts_with = "file")]
        break_glass: Option<String>,
    },
    /// Hand in the new key; it is read from stdin or a hidden prompt
    GiveKey {
        /// The rotation; may be left out where only one waits for a key
        rotation: Option<String>,
        /// What the new key is called here; without it, the old one's name with today's date
        #[arg(long)]
        name: Option<String>,
        /// Take it from this environment variable
        #[arg(long, value_name = "NAME", conflicts_with = "file")]
        from_env: Option<String>,
        /// Take it from this file
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// Say that something was done that Chamberlain cannot see
    Vouch {
        /// The rotation, then what: notified, backed_up, old_inactive, backed_up_2
        #[arg(num_args = 1..=2, value_names = ["ROTATION", "WHAT"], required = true)]
        words: Vec<String>,
        /// How that is known
        #[arg(long)]
        note: String,
    },
    /// Give up before the new key is in use; everything stays as it was
    Abort(Leave),
    /// Put the old key into use again
    Rollback(Leave),
    /// Try again where it is stuck
    Resume {
        /// The rotation; may be left out where only one is under way
        rotation: Option<String>,
    },
    /// List rotations that are under way
    List {
        /// Ended ones too
        #[arg(long)]
        all: bool,
    },
    /// Show a rotation: where it stands, and what it waits for
    Show {
        /// The rotation; without it, the newest
        rotation: Option<String>,
    },
    /// Everything that led a rotation to where it stands
    Timeline {
        /// The rotation; without it, the newest
        rotation: Option<String>,
    },
}

#[derive(Args, Debug)]
struct Start {
    /// The key's id or name, or the environment that it serves
    key: String,
    /// Why
    #[arg(long)]
    reason: String,
    /// The key is not to be trusted: cut it off at once, and mend the damage after
    #[arg(long)]
    emergency: bool,
    /// Touch nothing before this moment: 2h, a date, or RFC 3339
    #[arg(long, value_name = "WHEN")]
    from: Option<String>,
    /// Begin nothing after this moment
    #[arg(long, value_name = "WHEN")]
    until: Option<String>,
    /// Watch the new key for so long before the old one goes; 15 minutes unless said otherwise
    #[arg(long, value_name = "SPAN")]
    soak: Option<String>,
    /// It must have served so many calls, probes included; 20 unless said otherwise
    #[arg(long, value_name = "N")]
    soak_calls: Option<u64>,
}

#[derive(Args, Debug)]
struct Leave {
    /// The rotation; may be left out where only one is under way
    rotation: Option<String>,
    /// Why
    #[arg(long)]
    reason: String,
}

impl Rotation {
    pub(super) fn run(self, context: &Context) -> Result<(), Failure> {
        let shown = match self.verb {
            Verb::Status => return status(context),
            Verb::List { all } => return list(context, all),
            Verb::Timeline { rotation } => return timeline(context, rotation),
            Verb::Start(start) => start.ask(context)?,
            Verb::Approve { rotation, file, break_glass } => {
                let file = file.map(std::path::absolute).transpose();
                let file = file.map_err(|error| Failure::usage(error.to_string()))?;
                context.ask(RotationApprove { rotation, file, break_glass })?
            }
            Verb::GiveKey { rotation, name, from_env, file } => {
                let secret = match file {
                    Some(path) => read_secret_file(&path)?,
                    None => read_secret(from_env.as_deref())?,
                };
                let secret = SecretText::new(secret);
                context.ask(RotationGiveKey { rotation, name, secret })?
            }
            Verb::Vouch { words, note } => vouch(context, words, note)?,
            Verb::Abort(Leave { rotation, reason }) => {
                context.ask(RotationAbort { rotation, reason })?
            }
            Verb::Rollback(Leave { rotation, reason }) => {
                context.ask(RotationRollback { rotation, reason })?
            }
            Verb::Resume { rotation } => context.ask(RotationResume { rotation })?,
            Verb::Show { rotation } => context.ask(RotationShow { rotation })?,
        };
        context.show(&shown, facts)
    }
}

impl Start {
    fn ask(self, context: &Context) -> Result<Shown, Failure> {
        let Start { key, reason, emergency, from, until, soak, soak_calls } = self;
        let shown =
            context.ask(RotationStart { key, reason, emergency, from, until, soak, soak_calls })?;
        let running = context.ask(chamberlain_control::command::Status {})?.running;
        if running.is_none() {
            context.out.hint("it is on record; it goes on once the server runs: chamberlain up");
        }
        Ok(shown)
    }
}

fn vouch(context: &Context, mut words: Vec<String>, note: String) -> Result<Shown, Failure> {
    let word = words.pop().unwrap_or_default();
    let what = What::ALL.into_iter().find(|what| what.word() == word).ok_or_else(|| {
        let all: Vec<&str> = What::ALL.iter().map(|what| what.word()).collect();
        Failure::usage(format!("{word:?} is nothing that can be vouched for"))
            .hint(format!("one of {}", all.join(", ")))
    })?;
    context.ask(RotationVouch { rotation: words.pop(), what, note })
}

/// One line a key, so that cron can read it; fails when one is overdue.
fn status(context: &Context) -> Result<(), Failure> {
    let found = context.ask(RotationStatus {})?;
    context.show(&found, |out, found| {
        let rows = found.keys.iter().map(|due| {
            vec![
                due.days_left.to_string(),
                due.on.to_string(),
                due.environment.clone(),
                due.name.clone(),
                due.key.clone(),
                or_dash(due.rotation.as_ref()),
            ]
        });
        out.table(&["days left", "due", "environment", "name", "key", "rotation"], rows.collect())
    })?;
    match found.keys.iter().filter(|due| due.days_left < 0).count() {
        0 => Ok(()),
        late => Err(Failure::new(exit::PROBLEM, format!("{late} environments are overdue"))
            .hint("chamberlain rotation start KEY --reason scheduled")),
    }
}

fn list(context: &Context, all: bool) -> Result<(), Failure> {
    let found = context.ask(RotationList { all })?;
    if found.rotations.is_empty() && !context.out.json {
        context.out.hint("no rotation is under way");
    }
    context.show(&found, |out, found| {
        let row = |it: &Shown| {
            vec![
                it.id.clone(),
                it.old_name.clone(),
                it.state.clone(),
                it.since.to_string(),
                it.by.clone(),
                it.waits_for.first().cloned().unwrap_or_default(),
            ]
        };
        let rows = found.rotations.iter().map(row).collect();
        out.table(&["id", "key", "state", "since", "by", "waits for"], rows)
    })
}

fn timeline(context: &Context, rotation: Option<String>) -> Result<(), Failure> {
    let shown = context.ask(RotationShow { rotation })?;
    context.show(&shown.timeline, |out, lines: &Vec<RotationLine>| {
        let row = |line: &RotationLine| {
            vec![
                line.at.to_string(),
                line.actor.clone(),
                line.kind.clone(),
                line.stage.clone(),
                line.detail.clone(),
            ]
        };
        out.table(&["at", "who", "what", "stage", "detail"], lines.iter().map(row).collect())
    })
}

fn facts(out: &Out, it: &Shown) -> Result<(), Failure> {
    let environment = it.environment.clone().unwrap_or_else(|| "(shared)".to_owned());
    let new = it.new_key.as_ref().map(|key| match &it.new_fingerprint {
        Some(fingerprint) => format!("{key}, fingerprint {fingerprint}"),
        None => key.clone(),
    });
    let mut facts = vec![
        ("id", it.id.clone()),
        ("state", it.state.clone()),
        ("since", it.since.to_string()),
        ("old key", format!("{} ({})", it.old_name, it.old_key)),
        ("new key", or_dash(new)),
        ("environment", environment),
        ("asked by", format!("{}, {}: {}", it.by, it.at, it.reason)),
        ("approvals", format!("{} of {}", it.approvals, it.approvals_needed)),
    ];
    if it.stuck.is_some() {
        facts.push(("stage", it.stage.to_string()));
    }
    facts.extend(it.cut.map(|cut| ("old key is", cut.to_string())));
    facts.extend(it.review_by.map(|by| ("review by", by.to_string())));
    facts.extend(it.ended_because.clone().map(|why| ("ended", why)));
    out.facts(&facts)?;
    for clock in &it.clocks {
        let runs = if clock.runs { "runs" } else { "ended" };
        out.line(&format!("clock: {} {} of {} s, {runs}", clock.name, clock.ran_s, clock.limit_s))?;
    }
    for wait in &it.waits_for {
        out.line(&format!("waits for {wait}"))?;
    }
    Ok(())
}

//! `chamberlain contain`: takes a key that is not to be trusted out of use; `chamberlain
//! containment`: what came of it. The cut is made before the command answers; then it stays and
//! tells what the server does, until that is done or a person is needed.

use std::time::{Duration, Instant};

use chamberlain_control::command::{
    Contain as ContainCommand, ContainmentList, ContainmentReport, ContainmentResume,
    ContainmentShow, ContainmentVouch, Status,
};
use chamberlain_control::exposure::{Counted, Exposure, Share, UsageFound};
use chamberlain_control::reply::{
    Containment as Shown, ContainmentLine, ContainmentReport as Report, ContainmentWork,
};
use chamberlain_core::containment::{Reason, Work};
use clap::{Args, Subcommand};

use super::context::Context;
use crate::failure::{Failure, exit};
use crate::out::{Out, or_dash};

const EXAMPLES: &str = "\
Examples:
  chamberlain contain production --reason public-repository --note \"found on GitHub\"
  chamberlain contain upstream:main --reason offboarding
  chamberlain contain chm_...                                a virtual key, as it was found
  chamberlain containment show                               how it stands, and what is left to do
  chamberlain containment report                             what was done with the key";

const AFTER: &str = "\
Reasons: public-repository, application-logs, error-or-ticket, unauthorized-use, offboarding,
suspected-compromise, security-notice. docs/operating/containment.md goes through it step by step.";

/// How long the command stays to tell what the server does.
const STAY_MAX: Duration = Duration::from_secs(60);

const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Take a key that is not to be trusted out of use, now and for good
#[derive(Args, Debug)]
#[command(before_help = EXAMPLES, after_help = AFTER)]
pub(crate) struct Contain {
    /// A key's id or name, a virtual key, or the environment whose key it is
    key: String,
    /// Why, of a closed list (see below)
    #[arg(long)]
    reason: Option<String>,
    /// What else there is to say; it is put on record
    #[arg(long)]
    note: Option<String>,
    /// Leave once the key is cut off here, and do not tell what comes after
    #[arg(long)]
    no_wait: bool,
}

/// Keys that were contained: list, show, report, timeline, vouch, resume
#[derive(Args, Debug)]
#[command(before_help = EXAMPLES)]
pub(crate) struct Containment {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// List containments in which something is left to be done
    List {
        /// Those that are done, too
        #[arg(long)]
        all: bool,
    },
    /// How it stands, and what is left to do
    Show(Which),
    /// What was done with the key in the 48 hours before, and by Anthropic's count
    Report(Which),
    /// Everything that led there
    Timeline(Which),
    /// Say that the key was switched off in the Claude Console
    Vouch {
        #[command(flatten)]
        which: Which,
        /// How that is known
        #[arg(long)]
        note: String,
    },
    /// Try again at once what did not work
    Resume(Which),
}

#[derive(Args, Debug)]
struct Which {
    /// Its id, or the key's id or name; without it, the newest that fits
    containment: Option<String>,
}

impl Contain {
    pub(super) fn run(self, context: &Context) -> Result<(), Failure> {
        let Contain { key, reason, note, no_wait } = self;
        let reason = read_reason(reason.as_deref())?;
        let mut shown = context.ask(ContainCommand { key, reason, note })?;
        let runs = context.ask(Status {})?.running.is_some();
        if !context.out.json {
            begun(&context.out, &shown)?;
        }
        if runs && !no_wait {
            shown = stay(context, shown)?;
        } else if !context.out.json {
            shown.work.iter().try_for_each(|work| work_line(&context.out, work))?;
        }
        if !runs {
            context.out.hint(
                "no server runs here, so no call leaves anyway; the rest goes on when it does: \
                 chamberlain up",
            );
        }
        context.show(&shown, left)
    }
}

fn read_reason(text: Option<&str>) -> Result<Reason, Failure> {
    text.and_then(Reason::read).ok_or_else(|| {
        let problem = match text {
            None => "say why, with --reason".to_owned(),
            Some(text) => format!("{text:?} is no reason of the list"),
        };
        let all: Vec<String> =
            Reason::ALL.iter().map(|it| format!("{it}: {}", it.meaning())).collect();
        Failure::usage(problem)
            .hint(format!("one of\n  {}\nwhat does not fit goes into --note", all.join("\n  ")))
    })
}

/// Tells each piece of work as it is done, until nothing more is to be waited for.
fn stay(context: &Context, mut shown: Shown) -> Result<Shown, Failure> {
    let (mut told, began) = (Vec::new(), Instant::now());
    loop {
        for work in shown.work.iter().filter(|work| work.state != "under_way") {
            let state = (work.work, work.state.clone());
            if !told.contains(&state) {
                told.push(state);
                if !context.out.json {
                    work_line(&context.out, work)?;
                }
            }
        }
        // A key is erased when it was seen dead, which takes a minute; nobody waits for that.
        let goes_on = |work: &&ContainmentWork| {
            work.work != Work::Erase && matches!(work.state.as_str(), "under_way" | "failed")
        };
        if !shown.work.iter().any(|work| goes_on(&work)) || began.elapsed() > STAY_MAX {
            return Ok(shown);
        }
        std::thread::sleep(LOOK_EVERY);
        let before = shown.before;
        shown = context.ask(ContainmentShow { containment: Some(shown.id.clone()) })?;
        shown.timeline = Vec::new();
        shown.before = before;
    }
}

impl Containment {
    pub(super) fn run(self, context: &Context) -> Result<(), Failure> {
        let shown = match self.verb {
            Verb::List { all } => return list(context, all),
            Verb::Timeline(which) => return timeline(context, which),
            Verb::Report(which) => return report(context, which),
            Verb::Show(Which { containment }) => context.ask(ContainmentShow { containment })?,
            Verb::Vouch { which, note } => {
                context.ask(ContainmentVouch { containment: which.containment, note })?
            }
            Verb::Resume(Which { containment }) => {
                context.ask(ContainmentResume { containment })?
            }
        };
        context.show(&shown, facts)
    }
}

fn list(context: &Context, all: bool) -> Result<(), Failure> {
    let found = context.ask(ContainmentList { all })?;
    if found.containments.is_empty() && !context.out.json {
        context.out.hint("nothing is left to be done in any containment");
    }
    context.show(&found, |out, found| {
        let row = |it: &Shown| {
            vec![
                it.id.clone(),
                it.name.clone(),
                it.reason.to_string(),
                it.state.clone(),
                it.at.to_string(),
                it.by.clone(),
            ]
        };
        let rows = found.containments.iter().map(row).collect();
        out.table(&["id", "key", "reason", "state", "at", "by"], rows)
    })
}

fn timeline(context: &Context, which: Which) -> Result<(), Failure> {
    let shown = context.ask(ContainmentShow { containment: which.containment })?;
    context.show(&shown.timeline, |out, lines: &Vec<ContainmentLine>| {
        let row = |line: &ContainmentLine| {
            vec![line.at.to_string(), line.actor.clone(), line.kind.clone(), line.detail.clone()]
        };
        out.table(&["at", "who", "what", "detail"], lines.iter().map(row).collect())
    })
}

/// What the cut did, before anything else is told.
fn begun(out: &Out, it: &Shown) -> Result<(), Failure> {
    let kind = if it.kind == "upstream_key" { "upstream key" } else { "virtual key" };
    let hint = it.hint.as_ref().map_or(String::new(), |hint| format!(" {hint}"));
    if it.before {
        return out.line(&format!(
            "{kind} {:?}{hint} was contained already, by {} at {} ({})",
            it.name, it.by, it.at, it.reason
        ));
    }
    out.line(&format!("contained: {kind} {:?}{hint} ({})", it.name, it.id))?;
    if let Some(count) = it.in_flight.filter(|count| *count > 0) {
        out.line(&format!("{count} calls were on their way with it; they are ended"))?;
    }
    for one in &it.serves_now {
        out.line(&match &one.key {
            Some(key) => format!("calls of {} leave with {key:?} now", one.environment),
            None => format!("calls of {} are refused until there is a new key", one.environment),
        })?;
    }
    Ok(())
}

fn work_line(out: &Out, work: &ContainmentWork) -> Result<(), Failure> {
    let what = match work.work {
        Work::Cut => "no call leaves with it",
        Work::SwitchOff => "switched off at Anthropic",
        Work::Report => "what was done with it is put together",
        Work::Usage => "what Anthropic has counted is stored",
        Work::Erase => "its value is erased here",
    };
    let after = work.after_ms.map_or(String::new(), |ms| format!("{:>7.1} s", ms as f64 / 1_000.0));
    let by = work.by_hand.as_ref().map_or(String::new(), |by| format!(" (by hand, {by})"));
    match work.state.as_str() {
        "done" => out.line(&format!("{after}  {what}{by}")),
        "failed" => out.line(&format!(
            "    ...    not yet: {what}: {} (it is tried again)",
            work.failed.clone().unwrap_or_default()
        )),
        "waits" => {
            let why = work.failed.as_ref().map_or(String::new(), |why| format!(": {why}"));
            out.line(&format!("    !!!    waits for you: {what}{why}"))
        }
        _ => Ok(()),
    }
}

/// What is left to people.
fn left(out: &Out, it: &Shown) -> Result<(), Failure> {
    if it.left_to_do.is_empty() {
        return Ok(());
    }
    out.line("left to do:")?;
    for (place, what) in it.left_to_do.iter().enumerate() {
        out.line(&format!("{:>3}. {what}", place + 1))?;
    }
    Ok(())
}

fn facts(out: &Out, it: &Shown) -> Result<(), Failure> {
    out.facts(&[
        ("id", it.id.clone()),
        ("key", format!("{} ({})", it.name, it.key)),
        ("hint", or_dash(it.hint.as_ref())),
        ("environment", or_dash(it.environment.as_ref())),
        ("state", it.state.clone()),
        ("reason", it.reason.to_string()),
        ("note", or_dash(it.note.as_ref())),
        ("by", format!("{}, {}", it.by, it.at)),
        ("seen dead", or_dash(it.dead_at)),
        ("done", or_dash(it.ended_at)),
    ])?;
    it.work.iter().try_for_each(|work| work_line(out, work))?;
    for clock in &it.clocks {
        let ran = format!("{:.1} s", clock.ran_ms as f64 / 1_000.0);
        let who = serde_json::to_value(clock.who).unwrap_or_default();
        let who = who.as_str().unwrap_or_default().to_owned();
        let state = match clock.ended {
            Some(ended) if ended > clock.due => "done, late",
            Some(_) => "done",
            None => "runs",
        };
        out.line(&format!("clock: {} ({who}, by {}): {state}, {ran}", clock.name, clock.due))?;
    }
    left(out, it)
}

fn report(context: &Context, which: Which) -> Result<(), Failure> {
    let found = context.ask(ContainmentReport { containment: which.containment })?;
    if found.exposure.is_none() {
        return Err(Failure::new(exit::PROBLEM, "the report is not put together yet")
            .hint("ask again in a moment; chamberlain containment show says how it stands"));
    }
    context.show(&found, |out, Report { containment, exposure, usage }| {
        let Some(exposure) = exposure else { return Ok(()) };
        headline(out, containment, exposure)?;
        for (title, shares) in [
            ("model", &exposure.models),
            ("source", &exposure.sources),
            ("virtual key", &exposure.virtual_keys),
            ("operation", &exposure.operations),
            ("outcome", &exposure.outcomes),
            ("hour (UTC)", &exposure.hours),
        ] {
            out.line("")?;
            shares_table(out, title, shares)?;
        }
        out.line("")?;
        match usage {
            Some(usage) => usage_table(out, usage)?,
            None => out.line(
                "Anthropic's own count is not there: without it nobody knows whether the key was \
                 used past Chamberlain",
            )?,
        }
        out.line("")?;
        out.line("what this report cannot say:")?;
        exposure.unknown.iter().try_for_each(|line| out.line(&format!("  - {line}")))
    })
}

fn headline(out: &Out, it: &Shown, exposure: &Exposure) -> Result<(), Failure> {
    let all = &exposure.all;
    out.facts(&[
        ("key", format!("{} ({})", it.name, it.key)),
        ("contained", format!("{} by {}: {}", it.at, it.by, it.reason)),
        ("calls since", or_dash(exposure.since)),
        ("put together", or_dash(exposure.at)),
        ("calls", format!("{} ({} of them not ended then)", all.calls, all.open)),
        ("cost", all.cost.to_string()),
        ("tokens", tokens(all)),
        ("first call", or_dash(all.first)),
        ("last call", or_dash(all.last)),
        ("unsettled", exposure.unsettled.to_string()),
    ])
}

fn tokens(share: &Share) -> String {
    format!("{} in, {} out", share.tokens.prompt(), share.tokens.output)
}

fn shares_table(out: &Out, title: &str, shares: &[Share]) -> Result<(), Failure> {
    let row = |share: &Share| {
        vec![
            share.name.clone(),
            share.calls.to_string(),
            share.cost.to_string(),
            share.tokens.prompt().to_string(),
            share.tokens.output.to_string(),
            or_dash(share.first),
            or_dash(share.last),
        ]
    };
    let headings = [title, "calls", "cost", "tokens in", "tokens out", "first", "last"];
    out.table(&headings, shares.iter().map(row).collect())
}

fn usage_table(out: &Out, usage: &UsageFound) -> Result<(), Failure> {
    out.line(&format!("by Anthropic's count since {}, asked at {}:", usage.since, usage.at))?;
    let row = |it: &Counted| {
        vec![
            it.model.clone(),
            it.here.prompt().to_string(),
            it.there.prompt().to_string(),
            it.here.output.to_string(),
            it.there.output.to_string(),
            it.beyond.to_string(),
        ]
    };
    let headings = ["model", "in, here", "in, there", "out, here", "out, there", "beyond"];
    out.table(&headings, usage.models.iter().map(row).collect())?;
    out.line(&match usage.beyond {
        0 => "nothing beyond our record: as far as Anthropic has counted, every use of the key \
              went through Chamberlain"
            .to_owned(),
        beyond => {
            format!("{beyond} tokens beyond our record: somebody used the key past Chamberlain")
        }
    })
}

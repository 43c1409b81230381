//! `chamberlain calls`: what was called, by whom, at what cost.

use std::collections::BTreeSet;
use std::time::Duration;

use chamberlain_control::command::CallsList;
use chamberlain_control::door::{self, Door};
use chamberlain_control::reply::{Call, Calls as CallsReply};
use chamberlain_core::money::Money;
use chamberlain_core::record::Certainty;
use clap::Args;
use serde::Serialize;

use super::context::Context;
use super::parse;
use crate::failure::Failure;
use crate::out::{Out, clean, csv_field, or_dash};

const EXAMPLES: &str = "\
Examples:
  chamberlain calls --since 2h
  chamberlain calls --environment production --outcome cut
  chamberlain calls --min-cost 0.50 --since 7d --csv > dear.csv
  chamberlain calls --follow";

/// Largest page that is asked for.
const PAGE: u32 = 1_000;
/// How often a followed list looks for news.
const LOOK_EVERY: Duration = Duration::from_millis(500);

const HEADINGS: [&str; 10] =
    ["at", "environment", "key", "model", "outcome", "status", "input", "output", "cost", "ms"];
/// How wide a followed list's columns are; it cannot wait for the widest cell.
const WIDTHS: [usize; 10] = [24, 12, 16, 26, 16, 6, 8, 8, 10, 7];
const CSV_HEADINGS: &str = "id,at,ended_at,environment,virtual_key,virtual_key_name,operation,\
route,model,served_model,stream,outcome,certainty,status,stop_reason,input_tokens,\
cache_write_5m_tokens,cache_write_1h_tokens,cache_read_tokens,output_tokens,reserved_usd,cost_usd,\
attempts,first_byte_ms,duration_ms,source,upstream_key,upstream_request_id,mock";

/// Calls on record, newest first
#[derive(Args, Debug)]
#[command(before_help = EXAMPLES)]
pub(crate) struct Calls {
    /// Began then or later: 2h, 2026-11-23 or RFC 3339
    #[arg(long, value_name = "WHEN")]
    since: Option<String>,
    /// Began before
    #[arg(long, value_name = "WHEN")]
    until: Option<String>,
    /// Only of this virtual key (id or name)
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// Only of this environment
    #[arg(long)]
    environment: Option<String>,
    /// Only of this model, asked or served
    #[arg(long)]
    model: Option<String>,
    /// Only of this operation
    #[arg(long)]
    operation: Option<String>,
    /// Only with this outcome: completed, upstream_refused, upstream_failed, client_left, cut,
    /// not_sent, our_fault, in_flight
    #[arg(long)]
    outcome: Option<String>,
    /// Only with this certainty: settled, estimated, unsettled
    #[arg(long)]
    certainty: Option<String>,
    /// Only that cost this or more
    #[arg(long, value_name = "USD", value_parser = parse::money)]
    min_cost: Option<Money>,
    /// Only before this call, newest first (the next page)
    #[arg(long, value_name = "CALL", conflicts_with_all = ["after", "follow"])]
    before: Option<String>,
    /// Only after this call, oldest first
    #[arg(long, value_name = "CALL", conflicts_with = "follow")]
    after: Option<String>,
    /// How many
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    limit: u32,
    /// Show calls as they end, until interrupted
    #[arg(long, conflicts_with = "until")]
    follow: bool,
    /// Comma-separated values with a heading, exact costs
    #[arg(long)]
    csv: bool,
}

impl Calls {
    pub(super) fn run(self, context: &Context) -> Result<(), Failure> {
        if self.csv && context.out.json {
            return Err(Failure::usage("--csv and --json are two forms; choose one"));
        }
        let door = context.door()?;
        if self.follow {
            return self.follow(context.out, door.as_ref());
        }
        let (calls, has_more) = self.page(door.as_ref(), self.limit as usize)?;
        if self.csv {
            context.out.line(CSV_HEADINGS)?;
            return calls.iter().try_for_each(|call| context.out.line(&csv(call)));
        }
        let reply = CallsReply { calls, has_more };
        context.show(&reply, |out, reply| {
            out.table(&HEADINGS, reply.calls.iter().map(row).collect())
        })?;
        if reply.calls.is_empty() {
            context.out.hint("no call on record is like that");
        }
        if has_more {
            context.out.hint("there are more: raise --limit or narrow with --since and --until");
        }
        Ok(())
    }

    fn question(&self) -> CallsList {
        CallsList {
            environment: self.environment.clone(),
            virtual_key: self.key.clone(),
            model: self.model.clone(),
            operation: self.operation.clone(),
            outcome: self.outcome.clone(),
            certainty: self.certainty.clone(),
            since: self.since.clone(),
            until: self.until.clone(),
            ..CallsList::default()
        }
    }

    fn is_dear_enough(&self, call: &Call) -> bool {
        self.min_cost.is_none_or(|least| call.cost.is_some_and(|cost| cost >= least))
    }

    /// The first `wanted` calls in the direction asked for, and whether there are more.
    fn page(&self, door: &dyn Door, wanted: usize) -> Result<(Vec<Call>, bool), Failure> {
        let mut found: Vec<Call> = Vec::new();
        let (mut before, mut after) = (self.before.clone(), self.after.clone());
        loop {
            let missing = u32::try_from(wanted - found.len()).unwrap_or(PAGE);
            let limit = if self.min_cost.is_some() { PAGE } else { missing.min(PAGE) };
            let question = CallsList { before, after, limit: Some(limit), ..self.question() };
            let oldest_first = question.after.is_some();
            let page = door::ask(door, question)?;
            let last = page.calls.last().map(|call| call.id.clone());
            let went_on = last.is_some();
            (before, after) = if oldest_first { (None, last) } else { (last, None) };
            let dear = page.calls.into_iter().filter(|call| self.is_dear_enough(call));
            found.extend(dear);
            let more = page.has_more && went_on;
            if found.len() >= wanted || !more {
                let more = more || found.len() > wanted;
                found.truncate(wanted);
                return Ok((found, more));
            }
        }
    }

    /// Shows the last calls, then every call when it has ended.
    fn follow(&self, out: Out, door: &dyn Door) -> Result<(), Failure> {
        let (mut last, _) = self.page(door, 10)?;
        last.reverse();
        if self.csv {
            out.line(CSV_HEADINGS)?;
        }
        if out.terminal && !out.json && !self.csv {
            out.line(&in_columns(HEADINGS.iter().copied()).to_uppercase())?;
        }
        let mut seen = Seen::default();
        loop {
            for call in seen.news(last) {
                if self.is_dear_enough(&call) {
                    self.show_one(out, &call)?;
                }
            }
            std::thread::sleep(LOOK_EVERY);
            let after = seen.after.clone();
            let page = door::ask(door, CallsList { after, limit: Some(PAGE), ..self.question() })?;
            last = page.calls;
        }
    }

    fn show_one(&self, out: Out, call: &Call) -> Result<(), Failure> {
        if self.csv {
            out.line(&csv(call))
        } else if out.json {
            out.value(call)
        } else {
            out.line(&followed(call, out.terminal))
        }
    }
}

/// Which calls a followed list has shown. Calls begin in order but end in any, so the list is read
/// again from before the oldest that is still in flight.
#[derive(Debug, Default)]
struct Seen {
    /// Everything up to here is done with.
    after: Option<String>,
    shown: BTreeSet<String>,
}

impl Seen {
    /// The calls of `page` (oldest first) that ended and were not shown before.
    fn news(&mut self, page: Vec<Call>) -> Vec<Call> {
        let mut all_ended = true;
        let mut news = Vec::new();
        for call in page {
            let ended = call.ended_at.is_some();
            all_ended &= ended;
            if all_ended {
                self.after = Some(call.id.clone());
            }
            if ended && self.shown.insert(call.id.clone()) {
                news.push(call);
            }
        }
        if let Some(after) = &self.after {
            self.shown = self.shown.split_off(after);
        }
        news
    }
}

/// One line of a followed list: in columns for people, tab-separated for programs.
fn followed(call: &Call, terminal: bool) -> String {
    let cells = row(call);
    let cells: Vec<_> = cells.iter().map(|cell| clean(cell)).collect();
    match terminal {
        true => in_columns(cells.iter().map(AsRef::as_ref)),
        false => cells.join("\t"),
    }
}

/// Cells one beside the other, numbers to the right.
fn in_columns<'a>(cells: impl Iterator<Item = &'a str>) -> String {
    let mut line = String::new();
    for (column, (cell, width)) in cells.zip(WIDTHS).enumerate() {
        let cell =
            if column < 5 { format!("{cell:width$}  ") } else { format!("{cell:>width$}  ") };
        line.push_str(&cell);
    }
    line.trim_end().to_owned()
}

/// The word that serde writes for a value.
fn word<T: Serialize>(value: Option<T>) -> String {
    let value = value.and_then(|value| serde_json::to_value(value).ok());
    or_dash(value.as_ref().and_then(serde_json::Value::as_str))
}

/// How a call ended, and in brackets what there is to know about its cost.
fn outcome(call: &Call) -> String {
    let outcome = match (call.outcome, call.certainty) {
        // Chamberlain stopped while it was in flight: how it ended is not known.
        (None, Some(_)) => "unknown".to_owned(),
        (None, None) => "in_flight".to_owned(),
        (Some(outcome), _) => word(Some(outcome)),
    };
    let unsure = call.certainty.filter(|certainty| *certainty != Certainty::Settled);
    let notes = [unsure.map(|certainty| word(Some(certainty))), call.mock.then(|| "mock".into())];
    match notes.into_iter().flatten().collect::<Vec<String>>() {
        notes if notes.is_empty() => outcome,
        notes => format!("{outcome} ({})", notes.join(", ")),
    }
}

fn row(call: &Call) -> Vec<String> {
    vec![
        call.at.to_string(),
        call.environment.clone(),
        call.virtual_key_name.clone().unwrap_or_else(|| call.virtual_key.clone()),
        call.served_model.clone().unwrap_or_else(|| call.model.clone()),
        outcome(call),
        or_dash(call.status),
        call.tokens.prompt().to_string(),
        call.tokens.output.to_string(),
        or_dash(call.cost),
        or_dash(call.duration_ms),
    ]
}

fn csv(call: &Call) -> String {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let number = |value: Option<u64>| value.map_or_else(String::new, |value| value.to_string());
    let known = |word: String| if word == "—" { String::new() } else { word };
    let tokens = &call.tokens;
    let fields = [
        call.id.clone(),
        call.at.to_string(),
        call.ended_at.map_or_else(String::new, |at| at.to_string()),
        call.environment.clone(),
        call.virtual_key.clone(),
        text(&call.virtual_key_name),
        text(&call.operation),
        word(Some(call.route)),
        call.model.clone(),
        text(&call.served_model),
        call.stream.to_string(),
        known(word(call.outcome)),
        known(word(call.certainty)),
        number(call.status.map(u64::from)),
        text(&call.stop_reason),
        tokens.input.to_string(),
        tokens.cache_write_5m.to_string(),
        tokens.cache_write_1h.to_string(),
        tokens.cache_read.to_string(),
        tokens.output.to_string(),
        call.reserved.to_decimal(),
        call.cost.map_or_else(String::new, Money::to_decimal),
        number(call.attempts.map(u64::from)),
        number(call.first_byte_ms),
        number(call.duration_ms),
        call.source.clone(),
        text(&call.upstream_key),
        text(&call.upstream_request_id),
        call.mock.to_string(),
    ];
    fields.iter().map(|field| csv_field(field)).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(id: &str, ended: bool) -> Call {
        let mut call = serde_json::json!({
            "id": id, "at": "2026-11-23T09:00:00.000Z", "ended_at": null, "virtual_key": "k",
            "virtual_key_name": null, "environment": "staging", "route": "messages",
            "operation": null, "model": "=cmd,1", "served_model": null, "stream": false,
            "outcome": null, "certainty": null, "status": null, "stop_reason": null,
            "tokens": {"input":1,"cache_write_5m":0,"cache_write_1h":0,"cache_read":0,"output":2},
            "reserved": "0.5", "cost": null, "attempts": null, "first_byte_ms": null,
            "duration_ms": null, "source": "127.0.0.1", "upstream_key": null,
            "upstream_request_id": null, "mock": false,
        });
        if ended {
            call["ended_at"] = "2026-11-23T09:00:01.000Z".into();
        }
        serde_json::from_value(call).unwrap()
    }

    fn ids(calls: Vec<Call>) -> Vec<String> {
        calls.into_iter().map(|call| call.id).collect()
    }

    #[test]
    fn a_followed_list_shows_each_call_once_when_it_has_ended() {
        let mut seen = Seen::default();
        let news = seen.news(vec![call("1", true), call("2", false), call("3", true)]);
        assert_eq!(ids(news), ["1", "3"]);
        assert_eq!(seen.after.as_deref(), Some("1"));
        let news = seen.news(vec![call("2", true), call("3", true), call("4", true)]);
        assert_eq!(ids(news), ["2", "4"]);
        assert_eq!(seen.after.as_deref(), Some("4"));
        assert_eq!(seen.shown.len(), 1);
    }

    #[test]
    fn a_followed_line_keeps_its_tabs_and_cannot_drive_the_terminal() {
        let mut call = call("1", true);
        call.model = "m\u{1b}[2J\tx".to_owned();
        let line = followed(&call, false);
        assert_eq!(line.split('\t').count(), HEADINGS.len(), "{line}");
        assert!(!line.contains('\u{1b}') && !followed(&call, true).contains('\u{1b}'));
    }

    #[test]
    fn what_is_unsure_or_of_the_mock_is_marked() {
        let mut call = call("1", true);
        let mut marks = |outcome: Option<&str>, certainty: Option<&str>, mock| {
            let parse = |text: Option<&str>| serde_json::to_value(text).unwrap();
            call.outcome = serde_json::from_value(parse(outcome)).unwrap();
            call.certainty = serde_json::from_value(parse(certainty)).unwrap();
            call.mock = mock;
            (row(&call)[4].clone(), csv(&call).rsplit(',').next().unwrap().to_owned())
        };
        for (outcome, certainty, mock, shown) in [
            (Some("completed"), Some("settled"), false, "completed"),
            (Some("completed"), Some("settled"), true, "completed (mock)"),
            (Some("cut"), Some("estimated"), false, "cut (estimated)"),
            (Some("cut"), Some("estimated"), true, "cut (estimated, mock)"),
            (None, Some("unsettled"), false, "unknown (unsettled)"),
            (None, None, true, "in_flight (mock)"),
        ] {
            let expected = (shown.to_owned(), mock.to_string());
            assert_eq!(marks(outcome, certainty, mock), expected);
        }
    }

    #[test]
    fn a_line_has_as_many_fields_as_the_heading() {
        let line = csv(&call("1", true));
        assert!(line.contains("\"'=cmd,1\""), "{line}");
        assert_eq!(
            line.replace("=cmd,1", "").matches(',').count(),
            CSV_HEADINGS.matches(',').count()
        );
    }
}

//! Audit records as the bytes that are stored and hashed.
//!
//! A record is one JSON object on one line. Its head has a fixed order, so that a verifier reads it
//! without parsing JSON:
//!
//! ```text
//! {"v":1,"seq":7,"prev":"<64 hex>","at":1763888400000,"actor":"…","kind":"…","subject":"…","facts":{…}}
//! ```
//!
//! `seq` is the record's index in the log, from 0. `prev` is the leaf hash of the record before it
//! (zeros for the first). `at` is in milliseconds. In `facts`, members are sorted, money is dollars
//! as text, and what is absent is zero, `false`, `standard` or unknown. Keys, prompts and answers
//! have no place in a record; see [`super::canonical`] for the last net under that.

use std::fmt;

use serde_json::Value;

use super::canonical::{self, Object};
use super::merkle::{self, Hash};
use crate::id::{CallId, VirtualKeyId};
use crate::ledger::account::{AccountId, Scope};
use crate::record::{Certainty, Intent, Notice, Outcome, Route, Settlement, Severity};
use crate::time::Timestamp;
use crate::usage::{Iteration, IterationKind, Speed, Tokens, Usage};

mod read;

pub use read::{Head, Record};

/// Where a record goes: its index and the leaf hash of the record before it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// The index, from 0.
    pub seq: u64,
    /// The leaf hash of the record before; zeros for the first.
    pub prev: Hash,
}

/// Who acts.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Principal {
    /// Chamberlain itself.
    Chamberlain,
    /// Whoever holds a virtual key.
    VirtualKey(VirtualKeyId),
    /// A person, by name.
    Person(String),
    /// A program, by name.
    Service(String),
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Principal::Chamberlain => f.write_str("chamberlain"),
            Principal::VirtualKey(id) => write!(f, "virtual_key:{id}"),
            Principal::Person(name) => write!(f, "person:{name}"),
            Principal::Service(name) => write!(f, "service:{name}"),
        }
    }
}

/// A change made through the control plane, or anything else an operator did.
#[derive(Clone, Copy, Debug)]
pub struct Change<'a> {
    /// When.
    pub at: Timestamp,
    /// Who.
    pub actor: &'a Principal,
    /// Dotted name: `budget.changed`, `virtual_key.created`, `audit.exported`…
    pub kind: &'a str,
    /// What it is about.
    pub subject: &'a str,
    /// Why, in the words of whoever did it.
    pub reason: Option<&'a str>,
    /// How it was; `None` where there was nothing.
    pub before: Option<&'a Value>,
    /// How it is now; `None` where nothing is left.
    pub after: Option<&'a Value>,
}

/// Writes `call.intent` to the end of `out`. The subject is the call.
pub fn intent(out: &mut Vec<u8>, place: &Place, intent: &Intent) {
    intent_with(out, place, intent, &accounts(&intent.accounts));
}

/// How a record names accounts. Most calls of a day have the same.
pub fn accounts(accounts: &[AccountId]) -> Vec<u8> {
    let mut out = Vec::new();
    write_accounts(&mut out, accounts);
    out
}

/// Writes `call.intent`, where `accounts` is what [`accounts`] gives for those of the intent.
pub fn intent_with(out: &mut Vec<u8>, place: &Place, intent: &Intent, accounts: &[u8]) {
    let actor = |out: &mut Vec<u8>| {
        canonical::display(out, &format_args!("virtual_key:{}", intent.virtual_key));
    };
    head(out, place, intent.at, actor, "call.intent", |out| call(out, intent.call));
    let mut facts = Object::open(out);
    facts.member("accounts").extend_from_slice(accounts);
    facts.text("environment", Some(intent.environment.as_str()));
    facts.count("max_tokens", intent.max_tokens);
    facts.text("model", Some(&intent.model));
    facts.text("operation", intent.operation.as_deref());
    facts.money("reserved", intent.reserved);
    facts.text("resource", intent.resource.as_ref().map(|id| id.as_str()));
    canonical::plain(facts.member("route"), route(intent.route));
    canonical::display(facts.member("source"), &intent.source);
    flag(&mut facts, "stream", intent.stream);
    facts.text("upstream_key", intent.upstream_key.as_ref().map(|id| id.as_str()));
    facts.close();
    out.push(b'}');
}

/// Writes `call.settled` to the end of `out`. The subject is the call; its accounts are those of
/// the intent and are not repeated.
pub fn settlement(out: &mut Vec<u8>, place: &Place, end: &Settlement) {
    let actor = |out: &mut Vec<u8>| canonical::plain(out, "chamberlain");
    head(out, place, end.at, actor, "call.settled", |out| call(out, end.call));
    let mut facts = Object::open(out);
    facts.count("attempts", u64::from(end.attempts));
    canonical::plain(facts.member("certainty"), certainty(end.certainty));
    facts.money("cost", end.cost);
    facts.count("duration_ms", end.duration_ms);
    // Zero milliseconds and no first byte at all are different things.
    if let Some(first_byte_ms) = end.first_byte_ms {
        canonical::unsigned(facts.member("first_byte_ms"), first_byte_ms);
    }
    canonical::plain(facts.member("outcome"), outcome(end.outcome));
    facts.money("reserved", end.reserved);
    facts.text("served_model", end.served_model.as_deref());
    facts.count("status", u64::from(end.status));
    facts.text("stop_reason", end.stop_reason.as_deref());
    tokens(facts.member("tokens"), &end.tokens);
    facts.text("upstream_request_id", end.upstream_request_id.as_deref());
    if let Some(metered) = &end.usage {
        usage(facts.member("usage"), metered);
    }
    facts.close();
    out.push(b'}');
}

/// Writes a notice, under its own kind, to the end of `out`.
pub fn notice(out: &mut Vec<u8>, place: &Place, notice: &Notice) {
    let actor = |out: &mut Vec<u8>| canonical::plain(out, "chamberlain");
    let subject = |out: &mut Vec<u8>| canonical::text(out, &notice.subject);
    head(out, place, notice.at, actor, &notice.kind, subject);
    let mut facts = Object::open(out);
    canonical::map(facts.member("facts"), &notice.facts);
    facts.text("message", Some(&notice.message));
    flag(&mut facts, "notify", notice.notify);
    canonical::plain(facts.member("severity"), severity(notice.severity));
    facts.close();
    out.push(b'}');
}

/// Writes a change to the end of `out`.
pub fn change(out: &mut Vec<u8>, place: &Place, change: &Change<'_>) {
    let actor = |out: &mut Vec<u8>| canonical::text(out, &change.actor.to_string());
    let subject = |out: &mut Vec<u8>| canonical::text(out, change.subject);
    head(out, place, change.at, actor, change.kind, subject);
    let mut facts = Object::open(out);
    if let Some(after) = change.after {
        canonical::value(facts.member("after"), after);
    }
    if let Some(before) = change.before {
        canonical::value(facts.member("before"), before);
    }
    facts.text("reason", change.reason);
    facts.close();
    out.push(b'}');
}

/// What all records begin with; the caller adds the facts and the closing brace.
fn head(
    out: &mut Vec<u8>,
    place: &Place,
    at: Timestamp,
    actor: impl FnOnce(&mut Vec<u8>),
    kind: &str,
    subject: impl FnOnce(&mut Vec<u8>),
) {
    out.extend_from_slice(b"{\"v\":1,\"seq\":");
    canonical::unsigned(out, place.seq);
    out.extend_from_slice(b",\"prev\":\"");
    merkle::push_hex(out, &place.prev);
    out.extend_from_slice(b"\",\"at\":");
    canonical::signed(out, at.ms());
    out.extend_from_slice(b",\"actor\":");
    actor(out);
    out.extend_from_slice(b",\"kind\":");
    canonical::text(out, kind);
    out.extend_from_slice(b",\"subject\":");
    subject(out);
    out.extend_from_slice(b",\"facts\":");
}

/// Writes a call's id as it displays, and faster.
fn call(out: &mut Vec<u8>, call: CallId) {
    out.extend_from_slice(b"\"call_");
    merkle::push_hex(out, &call.to_bytes());
    out.push(b'"');
}

fn flag(facts: &mut Object<'_>, name: &'static str, yes: bool) {
    if yes {
        canonical::boolean(facts.member(name), true);
    }
}

/// Each account as `<scope>/<kind of window>/<its start in milliseconds>`, to be taken apart from
/// the right: a name may hold a slash.
fn write_accounts(out: &mut Vec<u8>, accounts: &[AccountId]) {
    out.push(b'[');
    for (place, account) in accounts.iter().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        let (kind, start) = (account.window.kind.name(), account.window.start.ms());
        match &account.scope {
            Scope::Organization => {
                canonical::display(out, &format_args!("organization/{kind}/{start}"));
            }
            Scope::Environment(name) => {
                canonical::display(out, &format_args!("environment:{name}/{kind}/{start}"));
            }
            Scope::VirtualKey(id) => {
                canonical::display(out, &format_args!("virtual_key:{id}/{kind}/{start}"));
            }
        }
    }
    out.push(b']');
}

fn tokens(out: &mut Vec<u8>, tokens: &Tokens) {
    let mut members = Object::open(out);
    members.count("cache_read", tokens.cache_read);
    members.count("cache_write_1h", tokens.cache_write_1h);
    members.count("cache_write_5m", tokens.cache_write_5m);
    members.count("input", tokens.input);
    members.count("output", tokens.output);
    members.close();
}

fn usage(out: &mut Vec<u8>, usage: &Usage) {
    let mut members = Object::open(out);
    if !usage.iterations.is_empty() {
        let out = members.member("iterations");
        out.push(b'[');
        for (place, entry) in usage.iterations.iter().enumerate() {
            if place > 0 {
                out.push(b',');
            }
            iteration(out, entry);
        }
        out.push(b']');
    }
    members.text("service_tier", usage.service_tier.as_deref());
    if usage.speed == Speed::Fast {
        canonical::plain(members.member("speed"), "fast");
    }
    tokens(members.member("totals"), &usage.totals);
    flag(&mut members, "us_only", usage.us_only);
    members.count("web_fetches", usage.web_fetches);
    members.count("web_searches", usage.web_searches);
    members.close();
}

fn iteration(out: &mut Vec<u8>, entry: &Iteration) {
    let mut members = Object::open(out);
    canonical::plain(members.member("kind"), iteration_kind(entry.kind));
    members.text("model", entry.model.as_deref());
    tokens(members.member("tokens"), &entry.tokens);
    members.close();
}

fn route(route: Route) -> &'static str {
    match route {
        Route::Messages => "messages",
        Route::CountTokens => "count_tokens",
        Route::Models => "models",
        Route::Model => "model",
        Route::BatchCreate => "batch_create",
        Route::Batches => "batches",
        Route::Batch => "batch",
        Route::BatchResults => "batch_results",
        Route::BatchCancel => "batch_cancel",
        Route::BatchDelete => "batch_delete",
        Route::FileUpload => "file_upload",
        Route::Files => "files",
        Route::File => "file",
        Route::FileContent => "file_content",
        Route::FileDelete => "file_delete",
    }
}

fn certainty(certainty: Certainty) -> &'static str {
    match certainty {
        Certainty::Settled => "settled",
        Certainty::Estimated => "estimated",
        Certainty::Unsettled => "unsettled",
    }
}

fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Completed => "completed",
        Outcome::UpstreamRefused => "upstream_refused",
        Outcome::UpstreamFailed => "upstream_failed",
        Outcome::ClientLeft => "client_left",
        Outcome::Cut => "cut",
        Outcome::NotSent => "not_sent",
        Outcome::OurFault => "our_fault",
    }
}

fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "info",
        Severity::Warning => "warning",
        Severity::High => "high",
        Severity::Critical => "critical",
    }
}

fn iteration_kind(kind: IterationKind) -> &'static str {
    match kind {
        IterationKind::Message => "message",
        IterationKind::Compaction => "compaction",
        IterationKind::AdvisorMessage => "advisor_message",
        IterationKind::FallbackMessage => "fallback_message",
        IterationKind::Unknown => "unknown",
    }
}

#[cfg(test)]
pub(super) mod tests;

//! The journal: what was asked, what was answered, and what it would cost.
//!
//! It is the truth that tests of a gateway compare their books with. It never holds a credential.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::config::{Abandoned, Journaling};
use crate::reply::Counts;

/// What is known of a credential.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Credential {
    /// The header it came in, in lower case.
    pub header: String,
    /// `bearer`, where the header has a scheme.
    pub scheme: Option<String>,
    /// The first 16 hexadecimal digits of the SHA-256 of the credential (without the scheme).
    pub sha256_prefix: String,
}

/// How a request ended, as far as the mock can see.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Not ended.
    #[default]
    Pending,
    /// The whole answer was handed to the connection.
    Delivered,
    /// The client left before that.
    ClientLeft,
    /// The mock ended the answer early, as it was asked to.
    Cut,
    /// The mock reset the connection before the answer, as it was asked to.
    Reset,
    /// The mock ended the stream with an `error` event, as it was asked to.
    ErrorEvent,
}

/// Tokens that are billed at one model's prices.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Charge {
    /// The model.
    pub model: String,
    /// `message`, `compaction`, `advisor_message` or `fallback_message`.
    pub kind: &'static str,
    /// The tokens.
    #[serde(flatten)]
    pub counts: Counts,
}

/// What a processed `POST /v1/messages` is billed. Absent for everything that is free: errors,
/// refusals before any output, `count_tokens`.
#[derive(Clone, Default, PartialEq, Eq, Debug, Serialize)]
pub struct Bill {
    /// The tokens, one entry for each model and sampling.
    pub charges: Vec<Charge>,
    /// Web searches.
    pub web_searches: u64,
    /// `standard` or `fast`.
    pub speed: String,
    /// `global`, `us` or `not_available`.
    pub inference_geo: String,
    /// False while the output is still being made, and for ever when the client left before its
    /// end and is not billed in full.
    pub complete: bool,
}

/// One request.
#[derive(Clone, Default, Debug, Serialize)]
pub struct Entry {
    /// Its number, from 1; also in the response header `x-mock-entry`.
    pub n: u64,
    /// When its head was read, in milliseconds since 1970-01-01 UTC.
    pub started_ms: u64,
    /// When it ended.
    pub ended_ms: Option<u64>,
    /// The method.
    pub method: String,
    /// The path.
    pub path: String,
    /// The query, credentials scrubbed.
    pub query: Option<String>,
    /// `HTTP/1.1` or `HTTP/2.0`
    pub http: String,
    /// Every other header, in order, names in lower case, credentials scrubbed.
    pub headers: Vec<(String, String)>,
    /// The credentials; more than one means that more than one was sent.
    pub credentials: Vec<Credential>,
    /// Other places where a credential's value was found: `query`, `body`, or a header's name.
    pub credential_elsewhere: Vec<String>,
    /// SHA-256 of the body as it came, in hexadecimal.
    pub body_sha256: Option<String>,
    /// Its length in bytes as it came.
    pub body_bytes: u64,
    /// `model` of the body.
    pub model: Option<String>,
    /// `stream` of the body.
    pub stream: bool,
    /// The scenario that was asked for.
    pub scenario: Option<String>,
    /// `request-id` of the answer.
    pub request_id: String,
    /// `id` of the message.
    pub message_id: Option<String>,
    /// The status of the answer, once there is one.
    pub status: Option<u16>,
    /// How it ended.
    pub outcome: Outcome,
    /// The final `usage` of the answer as JSON, as it would be (or was) reported.
    pub usage: Option<Box<RawValue>>,
    /// What it is billed: set when the generation begins, corrected when it ends.
    pub billed: Option<Bill>,
    /// What the items of a batch are billed, one bill for each that was answered, at half of every
    /// token price.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub batch_billed: Vec<Bill>,
    /// The body, if bodies are kept.
    #[serde(skip)]
    pub body: Option<Bytes>,
}

/// All requests, oldest first.
#[derive(Debug)]
pub struct Journal {
    mode: Journaling,
    entries_max: usize,
    kept: Mutex<Kept>,
}

#[derive(Default, Debug)]
struct Kept {
    entries: VecDeque<Arc<Mutex<Entry>>>,
    last: u64,
    dropped: u64,
}

impl Journal {
    pub(crate) fn new(mode: Journaling, entries_max: usize) -> Journal {
        Journal { mode, entries_max, kept: Mutex::default() }
    }

    /// Every entry as it is now.
    pub fn entries(&self) -> Vec<Entry> {
        self.since(0)
    }

    /// Every entry whose number is above `n`.
    pub fn since(&self, n: u64) -> Vec<Entry> {
        let kept = lock(&self.kept);
        let first = kept.last.saturating_sub(kept.entries.len() as u64);
        let skip = usize::try_from(n.saturating_sub(first)).unwrap_or(usize::MAX);
        let entries: Vec<_> = kept.entries.iter().skip(skip).cloned().collect();
        drop(kept);
        entries.iter().map(|entry| lock(entry).clone()).collect()
    }

    /// The entry of that number.
    pub fn entry(&self, n: u64) -> Option<Entry> {
        let kept = lock(&self.kept);
        let first = kept.last.saturating_sub(kept.entries.len() as u64);
        let at = usize::try_from(n.checked_sub(first + 1)?).ok()?;
        let entry = kept.entries.get(at).cloned();
        drop(kept);
        entry.map(|entry| lock(&entry).clone())
    }

    /// How many entries fell out because there were too many.
    pub fn dropped(&self) -> u64 {
        lock(&self.kept).dropped
    }

    /// Forgets every entry. Numbers go on.
    pub fn clear(&self) {
        let mut kept = lock(&self.kept);
        kept.entries.clear();
        kept.dropped = 0;
    }

    pub(crate) fn keeps_bodies(&self) -> bool {
        self.mode == Journaling::WithBodies
    }

    /// Opens the entry of a request.
    pub(crate) fn open(&self, abandoned: Abandoned, describe: impl FnOnce() -> Entry) -> Ticket {
        let mut entry = if self.mode == Journaling::Off { Entry::default() } else { describe() };
        entry.started_ms = now_ms();
        let mut kept = lock(&self.kept);
        kept.last += 1;
        entry.n = kept.last;
        let n = entry.n;
        let entry = (self.mode != Journaling::Off).then(|| Arc::new(Mutex::new(entry)));
        if let Some(entry) = &entry {
            kept.entries.push_back(Arc::clone(entry));
            if kept.entries.len() > self.entries_max {
                kept.entries.pop_front();
                kept.dropped += 1;
            }
        }
        Ticket { n, entry, abandoned, running: None, ended: false }
    }
}

/// A bill that grows with the output.
#[derive(Debug)]
struct Running {
    /// What is owed once the generation has begun; the output belongs to the last charge.
    begun: Option<Bill>,
    whole: Option<Bill>,
    sent_output: u64,
}

/// The open entry of a request. Dropped before [`Ticket::end`], it says that the client left.
#[derive(Debug)]
pub(crate) struct Ticket {
    n: u64,
    entry: Option<Arc<Mutex<Entry>>>,
    abandoned: Abandoned,
    running: Option<Box<Running>>,
    ended: bool,
}

impl Ticket {
    pub(crate) fn number(&self) -> u64 {
        self.n
    }

    /// The entry, for writing in it when this is gone.
    pub(crate) fn later(&self) -> Later {
        Later(self.entry.clone())
    }

    /// Whether anybody will read the entry.
    pub(crate) fn is_kept(&self) -> bool {
        self.entry.is_some()
    }

    /// Writes something down.
    pub(crate) fn note(&self, write: impl FnOnce(&mut Entry)) {
        if let Some(entry) = &self.entry {
            write(&mut lock(entry));
        }
    }

    /// The generation begins: `begun` is owed from now on, and `whole` at its end.
    pub(crate) fn generation_begins(&mut self, begun: Option<Bill>, whole: Option<Bill>) {
        self.note(|entry| entry.billed.clone_from(&begun));
        self.running = Some(Box::new(Running { begun, whole, sent_output: 0 }));
    }

    /// The generation is over before anything is sent: this is owed, whoever leaves.
    pub(crate) fn generated(&mut self, whole: Option<Bill>) {
        self.note(|entry| entry.billed = whole);
    }

    /// The output tokens that were sent so far.
    pub(crate) fn output_sent(&mut self, tokens: u64) {
        if let Some(running) = &mut self.running {
            running.sent_output = tokens;
        }
    }

    /// The answer ended like this.
    pub(crate) fn end(mut self, outcome: Outcome) {
        self.close(outcome);
    }

    fn close(&mut self, outcome: Outcome) {
        self.ended = true;
        let in_full = match outcome {
            Outcome::Delivered => true,
            Outcome::ClientLeft => self.abandoned == Abandoned::InFull,
            _ => false,
        };
        let running = self.running.take();
        self.note(|entry| {
            entry.ended_ms = Some(now_ms());
            entry.outcome = outcome;
            if let Some(running) = running {
                entry.billed = if in_full { running.whole } else { running.so_far() };
            }
        });
    }
}

/// An entry that something is written in after its request has ended.
#[derive(Clone, Debug)]
pub(crate) struct Later(Option<Arc<Mutex<Entry>>>);

impl Later {
    /// Writes something down.
    pub(crate) fn note(&self, write: impl FnOnce(&mut Entry)) {
        if let Some(entry) = &self.0 {
            write(&mut lock(entry));
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !self.ended {
            self.close(Outcome::ClientLeft);
        }
    }
}

impl Running {
    fn so_far(self) -> Option<Bill> {
        let mut bill = self.begun?;
        if let Some(last) = bill.charges.last_mut() {
            last.counts.output = self.sent_output;
        }
        Some(bill)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bill(output: u64, complete: bool) -> Option<Bill> {
        let counts = Counts { input: 10, output, ..Counts::default() };
        let charge = Charge { model: "m".to_owned(), kind: "message", counts };
        Some(Bill { charges: vec![charge], complete, ..Bill::default() })
    }

    fn billed(abandoned: Abandoned, outcome: Option<Outcome>) -> Option<Bill> {
        let journal = Journal::new(Journaling::On, 10);
        let mut ticket = journal.open(abandoned, Entry::default);
        ticket.generation_begins(bill(0, false), bill(50, true));
        assert_eq!(journal.entries()[0].billed, bill(0, false), "owed from the beginning");
        ticket.output_sent(7);
        match outcome {
            Some(outcome) => ticket.end(outcome),
            None => drop(ticket),
        }
        journal.entries()[0].billed.clone()
    }

    #[test]
    fn who_leaves_is_billed_what_was_made() {
        assert_eq!(billed(Abandoned::AsDelivered, Some(Outcome::Delivered)), bill(50, true));
        assert_eq!(billed(Abandoned::AsDelivered, None), bill(7, false));
        assert_eq!(billed(Abandoned::AsDelivered, Some(Outcome::Cut)), bill(7, false));
        assert_eq!(billed(Abandoned::InFull, None), bill(50, true));
    }

    #[test]
    fn numbers_go_on_when_entries_fall_out() {
        let journal = Journal::new(Journaling::On, 2);
        for _ in 0..3 {
            journal.open(Abandoned::AsDelivered, Entry::default).end(Outcome::Delivered);
        }
        let numbers = |entries: Vec<Entry>| entries.iter().map(|entry| entry.n).collect::<Vec<_>>();
        assert_eq!((numbers(journal.entries()), journal.dropped()), (vec![2, 3], 1));
        assert_eq!(numbers(journal.since(2)), [3]);
        assert!(journal.entry(1).is_none());
        assert_eq!(journal.entry(2).unwrap().n, 2);
        journal.clear();
        journal.open(Abandoned::AsDelivered, Entry::default).end(Outcome::Delivered);
        assert_eq!(numbers(journal.since(0)), [4]);
    }
}

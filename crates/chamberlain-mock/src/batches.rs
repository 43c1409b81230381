//! Message batches: taken in at once, worked on later, told in results.
//!
//! Time is the machine's plus what `POST /mock/clock` has added, so that a day passes when a test
//! wants it to. Nothing runs beside: what has become due is worked on when somebody looks.

mod work;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use http::Method;
use http::request::Parts;
use serde_json::{Value, json};

use self::work::Item;
use crate::error::ApiError;
use crate::ids::IdSource;
use crate::intake::{self, Received};
use crate::journal::{Later, Ticket};
use crate::messages::Content;
use crate::mock::State;
use crate::query;
use crate::request::Version;
use crate::scenario::Scenario;

/// Where batches are.
pub(crate) const PATH: &str = "/v1/messages/batches";

const DAY_MS: u64 = 24 * 3_600_000;
/// How long results are kept.
const KEPT_MS: u64 = 29 * DAY_MS;
const ITEMS_MAX: usize = 100_000;

/// Every batch, and the clock they live by.
#[derive(Default, Debug)]
pub(crate) struct Batches {
    kept: Mutex<Vec<Batch>>,
    ahead_ms: AtomicU64,
}

#[derive(Debug)]
struct Batch {
    id: String,
    created_ms: u64,
    version: Version,
    betas: std::collections::BTreeSet<String>,
    items: Vec<Item>,
    cancel_ms: Option<u64>,
    ended_ms: Option<u64>,
    later: Later,
}

/// A request about batches.
pub(crate) struct Asked<'a> {
    pub(crate) state: &'a State,
    pub(crate) parts: &'a Parts,
    pub(crate) received: &'a Received,
    pub(crate) version: Version,
    pub(crate) scenario: &'a Scenario,
    pub(crate) ticket: &'a Ticket,
    pub(crate) ids: IdSource,
}

impl Batches {
    pub(crate) fn now_ms(&self) -> u64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        now.saturating_add(self.ahead_ms.load(Ordering::Relaxed))
    }

    /// Lets the clock of batches run ahead by so much more.
    pub(crate) fn advance(&self, ms: u64) {
        self.ahead_ms.fetch_add(ms, Ordering::Relaxed);
    }

    /// Forgets every batch; the clock is the machine's again.
    pub(crate) fn clear(&self) {
        self.ahead_ms.store(0, Ordering::Relaxed);
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Batch>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Works on everything in batches that has become due.
    pub(crate) fn work_on_batches(&self) {
        let now = self.batches.now_ms();
        for batch in self.batches.lock().iter_mut() {
            batch.work(self, now);
        }
    }
}

impl Batch {
    /// Ends what is due, canceled or expired by `now`.
    fn work(&mut self, state: &State, now: u64) {
        if self.ended_ms.is_some() {
            return;
        }
        let expires = self.created_ms + DAY_MS;
        let over = self.cancel_ms.unwrap_or(expires).min(expires);
        let mut last = self.created_ms;
        for item in self.items.iter_mut().filter(|item| item.result.is_none()) {
            let due = item.due_ms.map(|after| self.created_ms + after);
            if let Some(due) = due.filter(|due| *due <= now && *due <= over) {
                item.answer(state, self.version, &self.betas, &self.later);
                last = last.max(due);
            } else if now >= over {
                let kind = if self.cancel_ms.is_some() { "canceled" } else { "expired" };
                item.result = Some(json!({ "type": kind }));
                last = last.max(over);
            }
        }
        if self.items.iter().all(|item| item.result.is_some()) {
            self.ended_ms = Some(last);
        }
    }

    fn shown(&self, origin: &str, now: u64) -> Value {
        let count = |kind: &str| {
            let is = |item: &&Item| item.kind() == Some(kind);
            self.items.iter().filter(is).count()
        };
        let archived =
            (now >= self.created_ms + KEPT_MS).then(|| moment(self.created_ms + KEPT_MS));
        let status = match (self.ended_ms, self.cancel_ms) {
            (Some(_), _) => "ended",
            (None, Some(_)) => "canceling",
            (None, None) => "in_progress",
        };
        // As in the real API, nothing is told of single items before the end.
        let ended = self.ended_ms.is_some();
        let told = |kind: &str| if ended { count(kind) } else { 0 };
        let results =
            (ended && archived.is_none()).then(|| format!("{origin}{PATH}/{}/results", self.id));
        json!({
            "id": self.id,
            "type": "message_batch",
            "processing_status": status,
            "request_counts": {
                "processing": if ended { 0 } else { self.items.len() },
                "succeeded": told("succeeded"),
                "errored": told("errored"),
                "canceled": told("canceled"),
                "expired": told("expired"),
            },
            "created_at": moment(self.created_ms),
            "expires_at": moment(self.created_ms + DAY_MS),
            "ended_at": self.ended_ms.map(moment),
            "cancel_initiated_at": self.cancel_ms.map(moment),
            "archived_at": archived,
            "results_url": results,
        })
    }

    /// The results, the last item first: their order means nothing.
    fn results(&self) -> Vec<u8> {
        let mut lines = Vec::new();
        for item in self.items.iter().rev() {
            lines.extend(crate::json::bytes(
                &json!({ "custom_id": item.custom_id, "result": item.result }),
            ));
            lines.push(b'\n');
        }
        lines
    }
}

impl Asked<'_> {
    /// Answers it.
    ///
    /// # Errors
    /// What the API would refuse, or was asked to.
    pub(crate) fn answer(self) -> Result<Content, ApiError> {
        let path = self.parts.uri.path();
        let mut steps = path.strip_prefix(PATH).unwrap_or_default().split('/').skip(1);
        let (id, verb) = (steps.next(), steps.next());
        let known = path == PATH || path[PATH.len()..].starts_with('/');
        if !known || steps.next().is_some() || id == Some("") {
            return Err(ApiError::not_found(format!("Not found: {path}")));
        }
        self.state.work_on_batches();
        match (&self.parts.method, id, verb) {
            (&Method::POST, None, None) => self.create(),
            (&Method::GET, None, None) => self.list(),
            (&Method::GET, Some(id), None) => self.on(id, |batch, now, origin| {
                Ok(Content::Json(crate::json::bytes(&batch.shown(origin, now))))
            }),
            (&Method::GET, Some(id), Some("results")) => self.on(id, results),
            (&Method::POST, Some(id), Some("cancel")) => self.on(id, cancel),
            (&Method::DELETE, Some(id), None) => self.delete(id),
            (_, _, None | Some("results" | "cancel")) => {
                Err(ApiError::new(http::StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed"))
            }
            _ => Err(ApiError::not_found(format!("Not found: {path}"))),
        }
    }

    fn create(&self) -> Result<Content, ApiError> {
        let bytes_max = self.state.config.batch_body_bytes_max;
        let plain = intake::text(self.received, &self.parts.headers, bytes_max)?;
        let body: Value = serde_json::from_str(&plain).map_err(|error| {
            ApiError::invalid(format!("The request body is not valid JSON: {error}"))
        })?;
        let items = work::items(&body, self.state.config.batch_delay, &self.parts.headers)?;
        if self.scenario.silence.is_some() && !self.scenario.silence_billed {
            return Ok(Content::Empty);
        }
        let now = self.state.batches.now_ms();
        let batch = Batch {
            id: self.ids.id("msgbatch_", 0),
            created_ms: now,
            version: self.version,
            betas: crate::validate::betas(&self.parts.headers),
            items,
            cancel_ms: None,
            ended_ms: None,
            later: self.ticket.later(),
        };
        let shown = batch.shown(&self.origin(), now);
        self.state.batches.lock().push(batch);
        Ok(Content::Json(crate::json::bytes(&shown)))
    }

    fn list(&self) -> Result<Content, ApiError> {
        let mut limit = 20_usize;
        let (mut after, mut before) = (None, None);
        for (key, value) in query::pairs(self.parts.uri.query()) {
            match key.as_str() {
                "limit" => {
                    let in_range = value.parse().ok().filter(|n| (1..=1000).contains(n));
                    limit = in_range
                        .ok_or_else(|| ApiError::invalid("limit: must be from 1 to 1000"))?;
                }
                "after_id" => after = Some(value),
                "before_id" => before = Some(value),
                _ => {}
            }
        }
        let (now, origin) = (self.state.batches.now_ms(), self.origin());
        let kept = self.state.batches.lock();
        let newest: Vec<&Batch> = kept.iter().rev().collect();
        let place = |id: &String| newest.iter().position(|batch| batch.id == *id);
        let start = after.as_ref().map_or(0, |id| place(id).map_or(newest.len(), |at| at + 1));
        let end = before.as_ref().map_or(newest.len(), |id| place(id).unwrap_or(0));
        let listed = newest.get(start..end).unwrap_or_default();
        let page = match before {
            Some(_) => &listed[listed.len().saturating_sub(limit)..],
            None => &listed[..listed.len().min(limit)],
        };
        let data: Vec<Value> = page.iter().map(|batch| batch.shown(&origin, now)).collect();
        Ok(Content::Json(crate::json::bytes(&json!({
            "first_id": data.first().map(|batch| batch["id"].clone()),
            "last_id": data.last().map(|batch| batch["id"].clone()),
            "has_more": page.len() < listed.len(),
            "data": data,
        }))))
    }

    fn on(
        &self,
        id: &str,
        act: impl FnOnce(&mut Batch, u64, &str) -> Result<Content, ApiError>,
    ) -> Result<Content, ApiError> {
        let now = self.state.batches.now_ms();
        let mut kept = self.state.batches.lock();
        let batch = kept.iter_mut().find(|batch| batch.id == id).ok_or_else(|| missing(id))?;
        act(batch, now, &self.origin())
    }

    fn delete(&self, id: &str) -> Result<Content, ApiError> {
        let mut kept = self.state.batches.lock();
        let at = kept.iter().position(|batch| batch.id == id).ok_or_else(|| missing(id))?;
        if kept[at].ended_ms.is_none() {
            return Err(ApiError::invalid(format!(
                "Batch {id} cannot be deleted while it is being processed; cancel it first."
            )));
        }
        kept.remove(at);
        let gone = json!({ "id": id, "type": "message_batch_deleted" });
        Ok(Content::Json(crate::json::bytes(&gone)))
    }

    /// Where the client reached the mock.
    fn origin(&self) -> String {
        let host = self.parts.headers.get(http::header::HOST).and_then(|host| host.to_str().ok());
        let authority = self.parts.uri.authority().map(|authority| authority.as_str());
        format!("http://{}", authority.or(host).unwrap_or("localhost"))
    }
}

fn results(batch: &mut Batch, now: u64, _: &str) -> Result<Content, ApiError> {
    if batch.ended_ms.is_none() {
        return Err(ApiError::not_found(format!("Batch {} has no results yet.", batch.id)));
    }
    if now >= batch.created_ms + KEPT_MS {
        return Err(ApiError::not_found(format!("The results of {} are archived.", batch.id)));
    }
    Ok(Content::Lines(batch.results()))
}

fn cancel(batch: &mut Batch, now: u64, origin: &str) -> Result<Content, ApiError> {
    if batch.ended_ms.is_none() {
        batch.cancel_ms.get_or_insert(now);
    }
    Ok(Content::Json(crate::json::bytes(&batch.shown(origin, now))))
}

fn missing(id: &str) -> ApiError {
    ApiError::not_found(format!("Batch {id} not found."))
}

fn moment(ms: u64) -> String {
    let at = jiff::Timestamp::from_millisecond(i64::try_from(ms).unwrap_or(i64::MAX));
    at.map(|at| format!("{at:.6}")).unwrap_or_default()
}

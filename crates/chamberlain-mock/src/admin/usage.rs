//! `/v1/organizations/usage_report/messages`: what was billed to each key that was made here, by the
//! hour and the model. It is counted from the journal, so it knows what the journal knows; what was
//! used in the last minutes can be held back, as the real one does.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Value, json};

use super::{Organization, moment};
use crate::error::ApiError;
use crate::journal::{Bill, Entry};
use crate::mock::State;
use crate::query;
use crate::reply::Counts;

const HOUR_MS: u64 = 3_600_000;

/// Hours that a page has unless it is said otherwise, and at most.
const HOURS: u64 = 24;
const HOURS_MAX: u64 = 168;

/// What was billed in one hour to one key for one model.
#[derive(Clone, Copy, Default)]
struct Used {
    counts: Counts,
    web_searches: u64,
}

/// By the beginning of the hour, the key's id, and the model.
type Table = BTreeMap<(u64, String, String), Used>;

/// Answers a request for the report.
pub(super) fn answer(state: &State, text: Option<&str>) -> Result<Value, ApiError> {
    let pairs = query::pairs(text);
    let value = |name: &str| pairs.iter().find(|(key, _)| key == name).map(|(_, it)| it.as_str());
    let from = instant(value("starting_at"), "starting_at")?;
    let from = from.ok_or_else(|| ApiError::invalid("starting_at: Field required"))?;
    let to = instant(value("ending_at"), "ending_at")?.unwrap_or_else(|| state.now_ms());
    match value("bucket_width") {
        Some("1h") => {}
        other => {
            let problem = format!("bucket_width: this mock counts by 1h, not {other:?}");
            return Err(ApiError::invalid(problem));
        }
    }
    let limit = value("limit").map_or(Ok(HOURS), |text| {
        let number = text.parse().ok().filter(|limit| (1..=HOURS_MAX).contains(limit));
        number.ok_or_else(|| ApiError::invalid("limit: must be from 1 to 168 for 1h"))
    })?;
    let wanted: Vec<&str> = all(&pairs, "api_key_ids[]");
    let groups: Vec<&str> = all(&pairs, "group_by[]");
    let first = value("page").map_or(Ok(from - from % HOUR_MS), |page| {
        page.parse().map_err(|_| ApiError::invalid("page: no page of this report"))
    })?;
    let table = count(state);
    let end = first.saturating_add(limit.saturating_mul(HOUR_MS)).min(to);
    let hours = (first..end).step_by(usize::try_from(HOUR_MS).unwrap_or(usize::MAX));
    let data: Vec<Value> = hours
        .map(|at| {
            json!({
                "starting_at": moment(at),
                "ending_at": moment(at + HOUR_MS),
                "results": results(&table, at, &wanted, &groups),
            })
        })
        .collect();
    let next = (end < to).then(|| end.to_string());
    Ok(json!({ "data": data, "has_more": next.is_some(), "next_page": next }))
}

fn all<'a>(pairs: &'a [(String, String)], name: &str) -> Vec<&'a str> {
    pairs.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str()).collect()
}

fn instant(text: Option<&str>, name: &str) -> Result<Option<u64>, ApiError> {
    let Some(text) = text else { return Ok(None) };
    let read: Option<jiff::Timestamp> = text.parse().ok();
    let ms = read.and_then(|at| u64::try_from(at.as_millisecond()).ok());
    ms.map(Some).ok_or_else(|| ApiError::invalid(format!("{name}: no RFC 3339 moment")))
}

/// The rows of one hour. What is not grouped by is summed, and null.
fn results(table: &Table, at: u64, wanted: &[&str], groups: &[&str]) -> Vec<Value> {
    let mut rows: BTreeMap<(Option<&str>, Option<&str>), Used> = BTreeMap::new();
    for ((hour, key, model), used) in table {
        if *hour != at || !wanted.is_empty() && !wanted.contains(&key.as_str()) {
            continue;
        }
        let by = |name: &str, value| groups.contains(&name).then_some(value);
        let row = rows.entry((by("api_key_id", key.as_str()), by("model", model.as_str())));
        row.or_default().add(used.counts, used.web_searches);
    }
    rows.into_iter().map(|((key, model), used)| used.shown(key, model)).collect()
}

impl Used {
    fn add(&mut self, counts: Counts, web_searches: u64) {
        self.counts.input += counts.input;
        self.counts.cache_write_5m += counts.cache_write_5m;
        self.counts.cache_write_1h += counts.cache_write_1h;
        self.counts.cache_read += counts.cache_read;
        self.counts.output += counts.output;
        self.web_searches += web_searches;
    }

    fn shown(&self, key: Option<&str>, model: Option<&str>) -> Value {
        let counts = &self.counts;
        json!({
            "uncached_input_tokens": counts.input,
            "cache_creation": {
                "ephemeral_5m_input_tokens": counts.cache_write_5m,
                "ephemeral_1h_input_tokens": counts.cache_write_1h,
            },
            "cache_read_input_tokens": counts.cache_read,
            "output_tokens": counts.output,
            "server_tool_use": { "web_search_requests": self.web_searches },
            "api_key_id": key,
            "workspace_id": null,
            "model": model,
            "service_tier": null,
            "context_window": null,
            "inference_geo": null,
            "account_id": null,
            "service_account_id": null,
        })
    }
}

fn count(state: &State) -> Table {
    state.work_on_batches();
    let mut table = Table::new();
    let late_ms = state.organization.lock().usage_late_ms;
    let until = state.now_ms().saturating_sub(late_ms);
    for entry in state.journal.entries() {
        let ended = entry.ended_ms.unwrap_or(u64::MAX);
        let Some(key) = key_of(&state.organization, &entry) else { continue };
        if ended > until {
            continue;
        }
        let hour = entry.started_ms - entry.started_ms % HOUR_MS;
        for bill in entry.billed.iter().chain(&entry.batch_billed) {
            take(&mut table, hour, &key, bill);
        }
    }
    table
}

fn take(table: &mut Table, hour: u64, key: &str, bill: &Bill) {
    for (place, charge) in bill.charges.iter().enumerate() {
        let row = table.entry((hour, key.to_owned(), charge.model.clone())).or_default();
        row.add(charge.counts, if place == 0 { bill.web_searches } else { 0 });
    }
}

/// The key made here that a request came with.
fn key_of(organization: &Organization, entry: &Entry) -> Option<String> {
    let prefix = &entry.credentials.first()?.sha256_prefix;
    let everything = organization.lock();
    let found = everything.keys.iter().find(|key| hex(&key.sha256[..8]) == *prefix);
    found.map(|key| key.id.clone())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

//! The mock's own endpoints under `/mock/`: they look at the journal and reset what is kept.

use bytes::Bytes;
use http::{Method, Response, StatusCode, header};
use serde_json::json;

use crate::admin::console;
use crate::delivery::Answer;
use crate::journal::Entry;
use crate::mock::State;
use crate::query;

/// Answers a request to `/mock/…`. They need no credential and are not in the journal.
pub(crate) fn answer(
    state: &State,
    method: &Method,
    path: &str,
    query: Option<&str>,
) -> Response<Answer> {
    state.work_on_batches();
    let rest = path.strip_prefix("/mock/").unwrap_or_default();
    let mut steps = rest.split('/');
    match (method.as_str(), steps.next(), steps.next(), steps.next(), steps.next()) {
        ("GET", Some("journal"), None, ..) => list(state, query),
        ("DELETE", Some("journal"), None, ..) => {
            state.journal.clear();
            reply(StatusCode::OK, JSON, b"{}\n".as_slice())
        }
        ("POST", Some("clock"), None, ..) => {
            let ahead = number(query, "advance_s").unwrap_or(0).saturating_mul(1_000);
            state.batches.advance(ahead);
            reply(StatusCode::OK, JSON, b"{}\n".as_slice())
        }
        ("POST", Some("fail"), None, ..) => {
            let pairs = query::pairs(query);
            let value = |name: &str| {
                pairs.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone())
            };
            state.faults.add(
                value("method"),
                value("path").unwrap_or_default(),
                number(query, "status").unwrap_or(500),
                number(query, "times").unwrap_or(1),
            );
            reply(StatusCode::OK, JSON, b"{}\n".as_slice())
        }
        ("POST", Some("delay"), None, ..) => {
            let pairs = query::pairs(query);
            let value = |name: &str| {
                pairs.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone())
            };
            state.faults.add_delay(
                value("method"),
                value("path").unwrap_or_default(),
                number(query, "ms").unwrap_or(0),
                number(query, "times").unwrap_or(1),
            );
            reply(StatusCode::OK, JSON, b"{}\n".as_slice())
        }
        ("DELETE", Some("state"), None, ..) => {
            state.forget();
            reply(StatusCode::OK, JSON, b"{}\n".as_slice())
        }
        ("GET", Some("journal"), Some(n), None, _) => match entry(state, n) {
            Some(entry) => reply(StatusCode::OK, JSON, crate::json::bytes(&entry)),
            None => unknown(),
        },
        ("GET", Some("journal"), Some(n), Some("body"), None) => {
            match entry(state, n).and_then(|entry| entry.body) {
                Some(body) => reply(StatusCode::OK, "application/octet-stream", body),
                None => unknown(),
            }
        }
        (method, ..) => {
            let steps: Vec<&str> = rest.split('/').collect();
            match console::answer(state, method, &steps, query) {
                Some((status, shown)) => reply(status, JSON, crate::json::bytes(&shown)),
                None => unknown(),
            }
        }
    }
}

const JSON: &str = "application/json";

fn entry(state: &State, n: &str) -> Option<Entry> {
    state.journal.entry(n.parse().ok()?)
}

fn list(state: &State, query: Option<&str>) -> Response<Answer> {
    let pairs = query::pairs(query);
    let value =
        |name: &str| pairs.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    let Ok(since) = value("since").unwrap_or("0").parse() else {
        let wrong = json!({ "error": "since must be the number of an entry" });
        return reply(StatusCode::BAD_REQUEST, JSON, crate::json::bytes(&wrong));
    };
    let entries = state.journal.since(since);
    if value("format") != Some("lines") {
        return reply(StatusCode::OK, JSON, crate::json::bytes(&entries));
    }
    let mut lines = Vec::new();
    for entry in &entries {
        lines.extend_from_slice(&crate::json::bytes(entry));
        lines.push(b'\n');
    }
    reply(StatusCode::OK, "application/x-ndjson", lines)
}

fn number(query: Option<&str>, name: &str) -> Option<u64> {
    query::pairs(query).iter().find(|(key, _)| key == name)?.1.parse().ok()
}

fn unknown() -> Response<Answer> {
    let hint = json!({ "error": "GET /mock/journal[?since=N][&format=lines], \
        GET /mock/journal/{n}, GET /mock/journal/{n}/body (when bodies are kept), \
        DELETE /mock/journal, DELETE /mock/state, POST /mock/clock?advance_s=N, \
        POST /mock/fail?path=/v1/…&method=GET&status=500&times=1, \
        POST /mock/delay?path=/v1/…&ms=500&times=1, \
        POST /mock/keys?name=…, POST /mock/keys/{id}?status=inactive; docs/mock.md has the rest" });
    reply(StatusCode::NOT_FOUND, JSON, crate::json::bytes(&hint))
}

fn reply(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Bytes>,
) -> Response<Answer> {
    let mut response = Response::new(Answer::whole(body, None));
    *response.status_mut() = status;
    let content_type = http::HeaderValue::from_static(content_type);
    response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    response
}

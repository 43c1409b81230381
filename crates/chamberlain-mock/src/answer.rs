//! Dresses an answer: status, headers, body.

use std::io::Write as _;
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};

use crate::config::MockConfig;
use crate::delivery::{Answer, Pace};
use crate::error::ApiError;
use crate::events::Events;
use crate::ids::IdSource;
use crate::journal::Ticket;
use crate::messages::Content;
use crate::scenario::Scenario;

/// What surrounds one answer.
pub(crate) struct Dressing<'a> {
    pub(crate) config: &'a MockConfig,
    pub(crate) parts: &'a Parts,
    pub(crate) scenario: &'a Scenario,
    pub(crate) ids: IdSource,
    pub(crate) ticket: Ticket,
}

impl Dressing<'_> {
    /// The answer to a request.
    pub(crate) fn dress(self, result: Result<Content, ApiError>) -> Response<Answer> {
        let request_id = self.ids.id("req_", 0);
        let status = match &result {
            Ok(_) => StatusCode::OK,
            Err(error) => error.status,
        };
        let mut headers = HeaderMap::new();
        put(&mut headers, "request-id", &request_id);
        put(&mut headers, "x-mock-entry", &self.ticket.number().to_string());
        self.organization(status, &mut headers);
        self.rate_limits(status, &mut headers);
        self.browser(&mut headers);
        self.ticket.note(|entry| {
            entry.status = Some(status.as_u16());
            entry.request_id.clone_from(&request_id);
            entry.scenario = (!self.scenario.text.is_empty()).then(|| self.scenario.text.clone());
        });
        let body = match result {
            Ok(content) => self.content(content, &request_id, &mut headers),
            Err(error) => self.error(&error, &request_id, &mut headers),
        };
        let mut response = Response::new(body);
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        response
    }

    fn content(self, content: Content, request_id: &str, headers: &mut HeaderMap) -> Answer {
        match content {
            Content::Empty => Answer::whole(Bytes::new(), Some(self.ticket)),
            Content::Json(json) => self.json(json, "application/json", headers),
            Content::Lines(lines) => self.json(lines, "application/x-jsonl", headers),
            Content::File { mime_type, content } => {
                put(headers, "content-type", &mime_type);
                Answer::paced(content, Pace::of_json(self.scenario), self.ticket)
            }
            Content::Message { reply, stream: false } => {
                let json = crate::json::bytes(&reply.whole());
                self.json(json, "application/json", headers)
            }
            Content::Message { reply, stream: true } => {
                put(headers, "content-type", "text/event-stream; charset=utf-8");
                put(headers, "cache-control", "no-cache");
                let scenario = self.scenario;
                let error = ApiError::new(overloaded(), "Overloaded").body(request_id);
                let events =
                    Events::new(*reply, scenario.chunk_tokens, scenario.pings, scenario.lean_delta);
                let pace = Pace::of_stream(scenario, self.config.event_gap);
                Answer::streamed(events, pace, error, self.ticket)
            }
        }
    }

    fn json(self, json: Vec<u8>, kind: &str, headers: &mut HeaderMap) -> Answer {
        put(headers, "content-type", kind);
        let mut bytes = Bytes::from(json);
        if self.scenario.gzip && accepts_gzip(&self.parts.headers) {
            put(headers, "content-encoding", "gzip");
            bytes = gzip(&bytes);
        }
        if self.parts.method == Method::HEAD {
            bytes = Bytes::new();
        }
        Answer::paced(bytes, Pace::of_json(self.scenario), self.ticket)
    }

    fn error(self, error: &ApiError, request_id: &str, headers: &mut HeaderMap) -> Answer {
        if let Some(seconds) = error.retry_after {
            put(headers, "retry-after", &seconds.to_string());
        }
        if let Some(ms) = error.retry_after_ms {
            put(headers, "retry-after-ms", &ms.to_string());
        }
        if let Some(should) = error.should_retry {
            put(headers, "x-should-retry", if should { "true" } else { "false" });
        }
        if error.html {
            put(headers, "content-type", "text/html");
            let page = format!("<html><body><h1>{}</h1></body></html>\n", error.status);
            return Answer::whole(page, Some(self.ticket));
        }
        self.json(error.body(request_id), "application/json", headers)
    }

    fn organization(&self, status: StatusCode, headers: &mut HeaderMap) {
        put(headers, "anthropic-organization-id", &self.config.organization_id);
        if status != StatusCode::UNAUTHORIZED {
            put(headers, "anthropic-workspace-id", &self.config.workspace_id);
        }
    }

    /// The limits that apply to calls of a model. They are not enforced.
    fn rate_limits(&self, status: StatusCode, headers: &mut HeaderMap) {
        if self.parts.uri.path() != "/v1/messages" || status == StatusCode::UNAUTHORIZED {
            return;
        }
        let limits = self.config.rate_limits;
        let left = self.scenario.left.unwrap_or_default();
        let reset = reset_at(left.reset_in_s);
        let requests_left = left.requests.unwrap_or(limits.requests.saturating_sub(1));
        let input_left = left.input_tokens.unwrap_or(limits.input_tokens);
        let output_left = left.output_tokens.unwrap_or(limits.output_tokens);
        let tokens = limits.input_tokens + limits.output_tokens;
        for (name, limit, left) in [
            ("requests", limits.requests, requests_left),
            ("input-tokens", limits.input_tokens, input_left),
            ("output-tokens", limits.output_tokens, output_left),
            ("tokens", tokens, input_left + output_left),
        ] {
            put(headers, &format!("anthropic-ratelimit-{name}-limit"), &limit.to_string());
            put(headers, &format!("anthropic-ratelimit-{name}-remaining"), &left.to_string());
            put(headers, &format!("anthropic-ratelimit-{name}-reset"), &reset);
        }
    }

    /// Lets a page in a browser read the answer, when the client says that it is one.
    fn browser(&self, headers: &mut HeaderMap) {
        let asked = &self.parts.headers;
        let direct = asked.get("anthropic-dangerous-direct-browser-access");
        if !asked.contains_key(header::ORIGIN) {
            return;
        }
        if direct.is_some() || self.parts.method == Method::OPTIONS {
            put(headers, "access-control-allow-origin", "*");
            put(headers, "access-control-expose-headers", "request-id, retry-after");
        }
        if self.parts.method == Method::OPTIONS {
            put(headers, "access-control-allow-methods", "GET, POST, DELETE, HEAD, OPTIONS");
            // A star does not cover `authorization`.
            let wanted = asked.get(header::ACCESS_CONTROL_REQUEST_HEADERS).cloned();
            let allowed = wanted.unwrap_or_else(|| HeaderValue::from_static("*"));
            headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, allowed);
        }
    }
}

fn overloaded() -> StatusCode {
    StatusCode::from_u16(529).expect("529 is a valid status code")
}

/// Sets a header whose value the configuration or the mock itself made; a value that no header
/// can carry is left out.
fn put(headers: &mut HeaderMap, name: &str, value: &str) {
    if let (Ok(name), Ok(value)) =
        (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value))
    {
        headers.insert(name, value);
    }
}

fn reset_at(in_s: u64) -> String {
    let now = jiff::Timestamp::now();
    let span = Duration::from_secs(in_s.min(86_400 * 366));
    let at = now.checked_add(span).unwrap_or(now);
    format!("{at:.0}")
}

fn accepts_gzip(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::ACCEPT_ENCODING)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .any(|line| line.split(',').any(|name| name.trim().starts_with("gzip")))
}

fn gzip(bytes: &[u8]) -> Bytes {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("writing to a vector never fails");
    encoder.finish().expect("writing to a vector never fails").into()
}

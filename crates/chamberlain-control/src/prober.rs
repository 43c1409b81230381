//! Asks upstream with one key, outside of any client's call: is it taken, and does it reach a
//! model?
//!
//! What is looked at is the key that stands in the request itself: a probe whose fingerprint is not
//! the one that was meant says nothing about the key that was meant.

use std::time::Duration;

use bytes::Bytes;
use chamberlain_core::secret;
use chamberlain_vault::keyring::{Fingerprint, UpstreamSecret};
use http::header::{CONTENT_TYPE, USER_AGENT};
use http::{HeaderValue, Method, Request, Response};
use serde_json::{Value, json};

use crate::web::{Web, WebFault};

/// How long one probe may take.
pub const PROBE_MAX: Duration = Duration::from_secs(20);

const VERSION: &str = "2023-06-01";

/// What a probe says about its key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It was taken.
    Works,
    /// It was refused as no valid key: 401 `authentication_error`.
    Dead(String),
    /// The key was taken and may not do this, or not from here: 403.
    Forbidden(String),
    /// Nothing was learned about the key: no answer, too many requests, trouble upstream.
    Unknown(String),
}

/// A probe that was sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Probed {
    /// What it says.
    pub verdict: Verdict,
    /// The fingerprint of the key that stood in the request.
    pub fingerprint: Fingerprint,
    /// The status, where there was an answer.
    pub status: Option<u16>,
    /// Upstream's `request-id`.
    pub request_id: Option<String>,
    /// `usage` of the answer to a paid probe.
    pub usage: Option<Value>,
}

/// Where and how probes are sent.
pub struct Prober<'a> {
    /// The way out.
    pub web: &'a dyn Web,
    /// Where upstream is, `https://api.anthropic.com`.
    pub base: &'a str,
    /// Makes the fingerprint of a header's value.
    pub fingerprint_of: &'a dyn Fn(&[u8]) -> Option<Fingerprint>,
}

impl Prober<'_> {
    /// A probe that costs nothing: lists one model.
    pub fn free(&self, key: &UpstreamSecret) -> Probed {
        self.send(key, Method::GET, "/v1/models?limit=1", Bytes::new())
    }

    /// A probe that costs ten tokens of output at the most: proves that the key reaches `model`.
    pub fn paid(&self, key: &UpstreamSecret, model: &str) -> Probed {
        let body = json!({
            "model": model,
            "max_tokens": 10,
            "messages": [{ "role": "user", "content": "Hello" }],
        });
        self.send(key, Method::POST, "/v1/messages", Bytes::from(body.to_string()))
    }

    fn send(&self, key: &UpstreamSecret, method: Method, target: &str, body: Bytes) -> Probed {
        let unsent = |why: String| Probed {
            verdict: Verdict::Unknown(why),
            fingerprint: key.fingerprint().clone(),
            status: None,
            request_id: None,
            usage: None,
        };
        let Ok(mut credential) = HeaderValue::from_bytes(key.expose_header_value()) else {
            return unsent("the key is no header value".to_owned());
        };
        credential.set_sensitive(true);
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{target}", self.base.trim_end_matches('/')))
            .header("x-api-key", credential)
            .header("anthropic-version", VERSION)
            .header(CONTENT_TYPE, "application/json")
            .header(USER_AGENT, concat!("chamberlain/", env!("CARGO_PKG_VERSION")))
            .body(body);
        let request = match request {
            Ok(request) => request,
            Err(error) => return unsent(format!("{}: {error}", self.base)),
        };
        // What counts is what is about to leave, not what was meant to.
        let used = (self.fingerprint_of)(request.headers()["x-api-key"].as_bytes());
        let Some(fingerprint) = used else {
            return unsent("what stands in the request is no key".to_owned());
        };
        match self.web.send(request, PROBE_MAX) {
            Ok(answer) => judged(&answer, fingerprint),
            Err(WebFault::NotSent(why) | WebFault::Lost(why)) => {
                Probed { fingerprint, ..unsent(why) }
            }
        }
    }
}

fn judged(answer: &Response<Bytes>, fingerprint: Fingerprint) -> Probed {
    let status = answer.status().as_u16();
    let body: Value = serde_json::from_slice(answer.body()).unwrap_or_default();
    let said =
        |name: &str| body["error"][name].as_str().map(|text| secret::redact(text).into_owned());
    let kind = said("type").unwrap_or_default();
    let message = said("message").unwrap_or_else(|| format!("status {status}"));
    let verdict = match status {
        200 => Verdict::Works,
        // Anything in between may answer 401; only Anthropic's own word counts.
        401 if kind == "authentication_error" => Verdict::Dead(message),
        403 => Verdict::Forbidden(message),
        _ => Verdict::Unknown(format!("{status}: {message}")),
    };
    let request_id = answer.headers().get("request-id").and_then(|value| value.to_str().ok());
    Probed {
        verdict,
        fingerprint,
        status: Some(status),
        request_id: request_id.map(str::to_owned),
        usage: body.get("usage").cloned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(status: u16, body: &str) -> Verdict {
        let answer = Response::builder().status(status).body(Bytes::from(body.to_owned())).unwrap();
        judged(&answer, Fingerprint::from_stored("f")).verdict
    }

    #[test]
    fn only_anthropics_own_401_is_a_death() {
        let error = |kind: &str| json!({ "error": { "type": kind, "message": "m" } }).to_string();
        assert_eq!(judge(200, "{}"), Verdict::Works);
        assert_eq!(judge(401, &error("authentication_error")), Verdict::Dead("m".into()));
        assert_eq!(judge(403, &error("permission_error")), Verdict::Forbidden("m".into()));
        for (status, body) in [
            (401, "<html>log in</html>".to_owned()),
            (401, error("proxy_error")),
            (404, error("not_found_error")),
            (429, error("rate_limit_error")),
            (500, error("api_error")),
            (529, error("overloaded_error")),
        ] {
            assert!(matches!(judge(status, &body), Verdict::Unknown(_)), "{status}");
        }
    }
}

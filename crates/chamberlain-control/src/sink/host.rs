//! What sinks behind an API share: the token, one request with its time limit, and what an answer
//! means.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use chamberlain_core::secret::redact;
use chamberlain_core::sink::fault::{Again, Answer, Effect, SinkFault};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, header};
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use crate::web::{Web, WebFault};

/// A longer token is none.
const TOKEN_BYTES_MAX: u64 = 4_096;

/// How much of what a host says stands in a message.
const SAID_CHARS_MAX: usize = 200;

/// A host with a token for it.
pub(super) struct Host {
    /// Its name, for people.
    pub(super) name: &'static str,
    /// The API's address.
    pub(super) api: String,
    /// The file that has the token.
    pub(super) token_file: String,
    /// The header that the token goes into, and what stands before it.
    pub(super) token_header: (HeaderName, &'static str),
    /// Headers that every request has.
    pub(super) headers: &'static [(&'static str, &'static str)],
    /// The network.
    pub(super) web: Arc<dyn Web>,
}

/// One question, within what is left of a time.
pub(super) struct Question<'a> {
    /// What for, for people: `write the secret`.
    pub(super) step: &'a str,
    pub(super) method: Method,
    /// Behind the API's address.
    pub(super) path: String,
    /// JSON; it may hold a key, and is wiped when it was sent.
    pub(super) body: Option<Zeroizing<Vec<u8>>>,
}

impl<'a> Question<'a> {
    /// A question that changes nothing.
    pub(super) fn get(step: &'a str, path: String) -> Question<'a> {
        Question { step, method: Method::GET, path, body: None }
    }

    fn writes(&self) -> bool {
        self.method != Method::GET
    }
}

/// What a host said.
pub(super) struct Said {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    body: Zeroizing<Vec<u8>>,
}

/// An open line to a host, for one delivery.
pub(super) struct Line<'a> {
    host: &'a Host,
    token: HeaderValue,
    until: Instant,
}

impl Host {
    /// Reads the token. Everything said on the line is within that time.
    pub(super) fn line(&self, within: Duration) -> Result<Line<'_>, SinkFault> {
        let token = self.token()?;
        let mut text = Zeroizing::new(Vec::with_capacity(token.len() + 16));
        text.extend_from_slice(self.token_header.1.as_bytes());
        text.extend_from_slice(&token);
        let mut value =
            HeaderValue::from_bytes(&text).map_err(|_| self.odd_token("is no token"))?;
        value.set_sensitive(true);
        Ok(Line { host: self, token: value, until: Instant::now() + within })
    }

    fn odd_token(&self, what: &str) -> SinkFault {
        SinkFault::refused(
            format!("{} {what}", self.token_file),
            "put the token alone into the file, and chmod 600 it",
        )
    }

    fn token(&self) -> Result<Zeroizing<Vec<u8>>, SinkFault> {
        let fail = |error: std::io::Error| self.odd_token(&format!("cannot be read: {error}"));
        let file = File::open(&self.token_file).map_err(fail)?;
        let mode = file.metadata().map_err(fail)?.mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(self.odd_token(&format!("can be read by others (mode {mode:o})")));
        }
        // Room for all of it at once: a buffer that grows leaves copies behind.
        let mut text = Zeroizing::new(Vec::with_capacity(TOKEN_BYTES_MAX as usize + 1));
        file.take(TOKEN_BYTES_MAX + 1).read_to_end(&mut text).map_err(fail)?;
        let token = text.trim_ascii();
        let visible = token.iter().all(|byte| byte.is_ascii_graphic());
        match !token.is_empty() && visible && token.len() as u64 <= TOKEN_BYTES_MAX {
            true => Ok(Zeroizing::new(token.to_vec())),
            false => Err(self.odd_token("holds no token")),
        }
    }
}

impl Line<'_> {
    /// Asks, and gives any answer.
    pub(super) fn ask(&self, question: Question<'_>) -> Result<Said, SinkFault> {
        let (step, writes) = (question.step, question.writes());
        let name = self.host.name;
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            let message = format!("no time was left to {step} at {name}");
            return Err(SinkFault::passing(message, "it is tried again later"));
        }
        let request = self.request(question)?;
        let answer = self.host.web.send(request, left).map_err(|fault| {
            let lost = matches!(fault, WebFault::Lost(_)) && writes;
            SinkFault {
                effect: if lost { Effect::Unknown } else { Effect::Nothing },
                again: Again::Later,
                message: format!("{name} could not be asked to {step}: {fault}"),
                hint: "look at the address, the network and the firewall; it is tried again later"
                    .to_owned(),
            }
        })?;
        let (head, body) = answer.into_parts();
        // It may hold the key that was sent.
        let body = Zeroizing::new(body.to_vec());
        Ok(Said { status: head.status, headers: head.headers, body })
    }

    fn request(&self, question: Question<'_>) -> Result<Request<Bytes>, SinkFault> {
        let url = format!("{}{}", self.host.api, question.path);
        let mut request = Request::builder()
            .method(question.method)
            .uri(&url)
            .header(&self.host.token_header.0, &self.token)
            .header(header::USER_AGENT, concat!("chamberlain/", env!("CARGO_PKG_VERSION")))
            .header(header::ACCEPT, "application/json");
        for (name, value) in self.host.headers {
            request = request.header(*name, *value);
        }
        let body = match question.body {
            None => Bytes::new(),
            Some(body) => {
                request = request.header(header::CONTENT_TYPE, "application/json");
                Bytes::from_owner(body)
            }
        };
        request.body(body).map_err(|error| {
            SinkFault::refused(format!("{url}: {error}"), "check the address and the names")
        })
    }

    /// Asks, and takes a success only.
    pub(super) fn must(&self, question: Question<'_>) -> Result<Said, SinkFault> {
        let (step, writes) = (question.step.to_owned(), question.writes());
        let said = self.ask(question)?;
        match said.status.is_success() {
            true => Ok(said),
            false => Err(said.fault(self.host.name, &step, writes)),
        }
    }
}

impl Said {
    /// The answer as a fault.
    pub(super) fn fault(&self, host: &str, step: &str, writes: bool) -> SinkFault {
        let header = |name: &str| self.headers.get(name).and_then(|value| value.to_str().ok());
        let said = self.message();
        let answer = Answer {
            host,
            step,
            status: self.status.as_u16(),
            retry_after_s: header("retry-after").and_then(|text| text.trim().parse().ok()),
            is_limited: header("x-ratelimit-remaining") == Some("0")
                || header("ratelimit-remaining") == Some("0"),
            said: &said,
            writes,
        };
        answer.fault()
    }

    /// What the host says about it, short, on one line, with nothing key-shaped in it.
    fn message(&self) -> String {
        let value: serde_json::Value = serde_json::from_slice(&self.body).unwrap_or_default();
        let said =
            ["message", "error", "error_description"].iter().find_map(|name| match &value[*name] {
                serde_json::Value::Null => None,
                serde_json::Value::String(text) => Some(text.clone()),
                other => Some(other.to_string()),
            });
        let line = said.unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ");
        redact(&line).chars().filter(|c| !c.is_control()).take(SAID_CHARS_MAX).collect()
    }

    /// The answer's JSON.
    pub(super) fn read<T: DeserializeOwned>(&self, host: &str, step: &str) -> Result<T, SinkFault> {
        // The reason could quote what was read.
        serde_json::from_slice(&self.body).map_err(|_| {
            SinkFault::passing(
                format!("{host} answered something unexpected when asked to {step}"),
                "check that the address is that of its API",
            )
        })
    }
}

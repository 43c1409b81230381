//! `POST /v1/messages` and `POST /v1/messages/count_tokens`.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::compose::compose;
use crate::containers::furnish;
use crate::credential::Presented;
use crate::error::ApiError;
use crate::ids::IdSource;
use crate::intake::{self, Received};
use crate::journal::Ticket;
use crate::json::text;
use crate::mock::State;
use crate::prompt;
use crate::reply::{Counts, Reply};
use crate::request::{Version, read_directives};
use crate::scenario::{Scenario, Silence};
use crate::validate;

/// What an answer consists of.
#[derive(Debug)]
pub(crate) enum Content {
    Empty,
    Json(Vec<u8>),
    /// One JSON value a line.
    Lines(Vec<u8>),
    File {
        mime_type: String,
        content: Bytes,
    },
    Message {
        reply: Box<Reply>,
        stream: bool,
    },
}

/// A request on its way to an answer.
pub(crate) struct Call<'a> {
    pub(crate) state: &'a State,
    pub(crate) parts: &'a Parts,
    pub(crate) received: &'a Received,
    pub(crate) version: Version,
    /// Read from the header; the directives of the prompt are added.
    pub(crate) scenario: &'a mut Scenario,
    pub(crate) ticket: &'a mut Ticket,
    pub(crate) ids: IdSource,
}

impl Call<'_> {
    /// Answers with a message.
    ///
    /// # Errors
    /// What the API would refuse, or was asked to.
    pub(crate) fn message(self) -> Result<Content, ApiError> {
        let body = self.body()?;
        let betas = validate::betas(&self.parts.headers);
        if !betas.iter().any(|beta| beta.starts_with("message-threads-")) {
            return self.message_to(body, &betas);
        }
        let body = self.state.threads.resume(body, Instant::now())?;
        let (threads, asked) = (&self.state.threads, body.get("thread").cloned());
        let answer = self.message_to(body, &betas);
        if answer.is_err() {
            threads.give_back(asked.as_ref());
        }
        answer
    }

    fn message_to(self, body: Value, betas: &BTreeSet<String>) -> Result<Content, ApiError> {
        let presented = Presented::new(&self.parts.headers);
        let clean = |text: &str| presented.scrub(text);
        read_directives(&body, self.scenario, clean).map_err(ApiError::invalid)?;
        let request = validate::message(body, &self.context(betas))?;
        self.state.files.check(&request.body)?;
        let container = self.state.containers.named(&request.body)?;
        let measured = prompt::measure(request.model.id, &request.body);
        if measured.tokens > request.model.window && self.scenario.usage.input.is_none() {
            return Err(too_long(measured.tokens, request.model.window));
        }
        self.state.scenarios.apply(self.scenario);
        if let Some(failure) = &self.scenario.failure {
            return Err(failure.clone());
        }
        let silent = self.scenario.silence.is_some();
        if silent && !self.scenario.silence_billed {
            return Ok(Content::Empty);
        }
        let config = &self.state.config;
        let least = if config.honour_cache_minimum { request.model.least_cacheable } else { 0 };
        let counts = self.state.cache.charge(&measured, least, Instant::now());
        let ids = if self.scenario.fixed_ids { self.fixed_ids() } else { self.ids };
        let composed = compose(&request, self.scenario, counts, betas, &ids);
        let mut reply = composed.reply;
        furnish(self.state, &mut reply, container);
        self.state.threads.hold(&request.body, &reply, Instant::now());
        self.ticket.note(|entry| {
            entry.message_id = Some(reply.id.clone());
            entry.usage = serde_json::value::to_raw_value(&reply.final_usage()).ok();
        });
        if request.stream && !silent {
            self.ticket.generation_begins(composed.begun, composed.whole);
        } else {
            self.ticket.generated(composed.whole);
        }
        Ok(Content::Message { reply: Box::new(reply), stream: request.stream })
    }

    /// Answers with the number of input tokens that the message would report.
    ///
    /// # Errors
    /// What the API would refuse, or was asked to by header.
    pub(crate) fn count(self) -> Result<Content, ApiError> {
        let body = self.body()?;
        let betas = validate::betas(&self.parts.headers);
        let model = validate::prompt(&body, &self.context(&betas))?;
        self.state.files.check(&body)?;
        self.state.scenarios.apply(self.scenario);
        if let Some(failure) = &self.scenario.failure {
            return Err(failure.clone());
        }
        let mut scripted = self.scenario.clone();
        // A directive with a mistake is the message's to refuse.
        let _ = read_directives(&body, &mut scripted, |text| self.presented().scrub(text));
        let tokens = prompt::measure(model.id, &body).tokens;
        let counts = scripted.usage.over(Counts { input: tokens, ..Counts::default() });
        let answer = json!({ "input_tokens": counts.prompt() });
        Ok(Content::Json(crate::json::bytes(&answer)))
    }

    fn presented(&self) -> Presented<'_> {
        Presented::new(&self.parts.headers)
    }

    fn fixed_ids(&self) -> IdSource {
        IdSource::of_request(self.parts.uri.path(), &self.received.bytes)
    }

    fn context<'b>(&self, betas: &'b BTreeSet<String>) -> validate::Context<'b> {
        let strict_fields = self.state.config.strict_fields;
        validate::Context { version: self.version, betas, strict_fields }
    }

    fn body(&self) -> Result<Value, ApiError> {
        let bytes_max = self.state.config.body_bytes_max;
        let plain = intake::text(self.received, &self.parts.headers, bytes_max)?;
        let body: Value = serde_json::from_str(&plain).map_err(|error| {
            ApiError::invalid(format!("The request body is not valid JSON: {error}"))
        })?;
        self.ticket.note(|entry| {
            entry.model = text(&body, "model").map(|model| self.presented().scrub(model));
            entry.stream = body.get("stream").and_then(Value::as_bool).unwrap_or(false);
        });
        Ok(body)
    }
}

/// What happens before any header, as asked for.
pub(crate) async fn before_headers(scenario: &Scenario, latency: Duration) -> Option<Severed> {
    let pause = latency.max(scenario.slow_headers);
    if !pause.is_zero() {
        tokio::time::sleep(pause).await;
    }
    match scenario.silence? {
        Silence::Hang => std::future::pending().await,
        Silence::Reset => Some(Severed),
    }
}

/// The connection ends here, without an answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Severed;

impl std::fmt::Display for Severed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the connection ends here, as the scenario asked")
    }
}

impl std::error::Error for Severed {}

fn too_long(tokens: u64, window: u64) -> ApiError {
    ApiError::invalid(format!("prompt is too long: {tokens} tokens > {window} maximum"))
}

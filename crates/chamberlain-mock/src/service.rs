//! One request from its head to its answer.

use std::sync::Arc;

use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use sha2::{Digest, Sha256};

use crate::admin::{self, api::AdminCall};
use crate::answer::Dressing;
use crate::batches::{self, Asked};
use crate::catalogue;
use crate::control;
use crate::credential::{Presented, is_secret};
use crate::delivery::Answer;
use crate::error::ApiError;
use crate::files::{self, FileCall, Place};
use crate::ids::{IdSource, hex};
use crate::intake::{self, Received};
use crate::journal::{Entry, Outcome, Ticket};
use crate::messages::{Call, Content, Severed, before_headers};
use crate::mock::State;
use crate::request::Version;
use crate::scenario::Scenario;
use crate::socket::Line;

/// Answers one request.
///
/// # Errors
/// [`Severed`], when the connection is to end without an answer.
pub(crate) async fn answer(
    state: Arc<State>,
    line: Arc<Line>,
    request: Request<Incoming>,
) -> Result<Response<Answer>, Severed> {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path();
    if path.starts_with("/mock/") {
        return Ok(control::answer(&state, &parts.method, path, parts.uri.query()));
    }
    let presented = Presented::new(&parts.headers);
    let mut ticket = state.journal.open(state.config.abandoned, || described(&parts, &presented));
    let bytes_max = match path == batches::PATH {
        true => state.config.batch_body_bytes_max,
        false => files::body_bytes_max(&state, path),
    };
    let received = intake::receive(body, bytes_max).await.map_err(|_| Severed)?;
    write_body_down(&state, &presented, &received, &ticket);

    let mut scenario = Scenario::default();
    let mut ids = state.ids.unique();
    let result = route(&state, &parts, &received, &mut scenario, &mut ticket, ids);
    if scenario.fixed_ids {
        ids = IdSource::of_request(path, &received.bytes);
    }
    let latency = if path == "/v1/messages" { state.config.latency } else { Default::default() };
    tokio::time::sleep(state.faults.delay(&parts.method, path)).await;
    if let Some(severed) = before_headers(&scenario, latency).await {
        ticket.end(Outcome::Reset);
        line.reset();
        return Err(severed);
    }
    let dressing =
        Dressing { config: &state.config, parts: &parts, scenario: &scenario, ids, ticket };
    // Errors quote paths, models and words, and a credential may have got in there.
    let result =
        result.map_err(|error| ApiError { message: presented.scrub(&error.message), ..error });
    Ok(dressing.dress(result))
}

fn route(
    state: &State,
    parts: &Parts,
    received: &Received,
    scenario: &mut Scenario,
    ticket: &mut Ticket,
    ids: IdSource,
) -> Result<Content, ApiError> {
    let path = parts.uri.path();
    let method = &parts.method;
    if *method == Method::OPTIONS {
        return Ok(Content::Empty);
    }
    if matches!(path, "/" | "/api/hello") && (*method == Method::HEAD || *method == Method::GET) {
        return Ok(Content::Json(b"{\"message\":\"hello\"}".to_vec()));
    }
    let presented = Presented::new(&parts.headers);
    let key = presented.key()?;
    let is_admin = path.starts_with(admin::api::PREFIX);
    if is_admin {
        admin::api::check(state, key)?;
    } else {
        state.organization.check(key, state.now_ms())?;
        if !state.config.keys.accepts(key) && !state.organization.made(key) {
            return Err(presented.unknown());
        }
    }
    for words in parts.headers.get_all("x-mock-scenario") {
        scenario
            .read(&presented.scrub(&String::from_utf8_lossy(words.as_bytes())))
            .map_err(ApiError::invalid)?;
    }
    if scenario.turn.is_some() {
        return Err(ApiError::invalid(
            "mock scenario: turn: a header is about one request; say it in a prompt",
        ));
    }
    state.faults.take(method, path)?;
    let version = version(parts)?;
    if is_admin {
        let query = parts.uri.query();
        return AdminCall { state, method, path, query, received, version }.answer();
    }
    if let Some(place) = Place::of(path) {
        return FileCall { state, parts, received, scenario, ids }.answer(place);
    }
    if path.starts_with(batches::PATH) {
        state.scenarios.apply(scenario);
        if let Some(failure) = &scenario.failure {
            return Err(failure.clone());
        }
        let asked = Asked { state, parts, received, version, scenario, ticket, ids };
        return asked.answer();
    }
    let model_id = path.strip_prefix("/v1/models/");
    let known = matches!(path, "/v1/messages" | "/v1/messages/count_tokens" | "/v1/models");
    if !known && model_id.is_none_or(|id| id.is_empty() || id.contains('/')) {
        return Err(ApiError::not_found(format!("Not found: {path}")));
    }
    let posts = path.starts_with("/v1/messages");
    if posts != (*method == Method::POST) || (!posts && *method != Method::GET) {
        let wrong = ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed");
        return Err(wrong);
    }
    if posts {
        let call = Call { state, parts, received, version, scenario, ticket, ids };
        return if path == "/v1/messages" { call.message() } else { call.count() };
    }
    state.scenarios.apply(scenario);
    if let Some(failure) = &scenario.failure {
        return Err(failure.clone());
    }
    let shown = match model_id {
        Some(id) => catalogue::show(id)?,
        None => catalogue::page(parts.uri.query())?,
    };
    Ok(Content::Json(crate::json::bytes(&shown)))
}

fn version(parts: &Parts) -> Result<Version, ApiError> {
    let Some(value) = parts.headers.get("anthropic-version") else {
        return Err(ApiError::invalid("anthropic-version: header is required"));
    };
    value.to_str().ok().and_then(Version::parse).ok_or_else(|| {
        ApiError::invalid(
            "anthropic-version: this version is not supported; use 2023-06-01 or 2026-10-21",
        )
    })
}

/// The entry of a request whose body has not come yet.
fn described(parts: &Parts, presented: &Presented) -> Entry {
    let mut elsewhere = Vec::new();
    let mut headers = Vec::with_capacity(parts.headers.len());
    for (name, value) in parts.headers.iter().filter(|(name, _)| !is_secret(name.as_str())) {
        let value = String::from_utf8_lossy(value.as_bytes());
        if presented.occurs_in(&value) {
            elsewhere.push(name.as_str().to_owned());
        }
        headers.push((name.as_str().to_owned(), presented.scrub(&value)));
    }
    for (place, text) in [("path", Some(parts.uri.path())), ("query", parts.uri.query())] {
        if text.is_some_and(|text| presented.occurs_in(text)) {
            elsewhere.push(place.to_owned());
        }
    }
    Entry {
        method: parts.method.to_string(),
        path: presented.scrub(parts.uri.path()),
        query: parts.uri.query().map(|query| presented.scrub(query)),
        http: format!("{:?}", parts.version),
        headers,
        credentials: presented.noted(),
        credential_elsewhere: elsewhere,
        ..Entry::default()
    }
}

fn write_body_down(state: &State, presented: &Presented, received: &Received, ticket: &Ticket) {
    if !ticket.is_kept() {
        return;
    }
    let sha256 = (!received.too_large).then(|| hex(&Sha256::digest(&received.bytes)));
    let text = std::str::from_utf8(&received.bytes).unwrap_or_default();
    let leaked = presented.occurs_in(text);
    let keeps_bodies = state.journal.keeps_bodies();
    ticket.note(|entry| {
        entry.body_sha256 = sha256;
        entry.body_bytes = received.len;
        if leaked {
            entry.credential_elsewhere.push("body".to_owned());
        }
        if keeps_bodies {
            // What was kept is shown to anybody who asks; a credential must not be in it.
            entry.body = Some(if leaked {
                presented.scrub(text).into_bytes().into()
            } else {
                received.bytes.clone()
            });
        }
    });
}

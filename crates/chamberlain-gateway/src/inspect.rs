//! Inspect: from a request to the facts that policy and money need.
//!
//! The body that goes upstream later is the very bytes that were read here; a decoded copy is
//! made only to be looked at.

use bytes::Bytes;
use chamberlain_core::admission::refusal::Refusal;
use chamberlain_core::anthropic::request::{
    CallerFacts, InspectLimits, MalformedRequest, RequestFacts, inspect as inspect_body,
};
use chamberlain_core::record::Route;
use http::HeaderMap;
use http::request::Parts;
use http_body::Body as _;
use hyper::body::Incoming;
use tokio::time::Instant;

use crate::body::{self, Hold};
use crate::desk::beside;
use crate::encoding::{Encoding, charset, decode, encoding};
use crate::files::announced;
use crate::gateway::Inner;
use crate::headers::{BETA, OPERATION, VERSION};
use crate::identify::{Call, Identified, carries_key};
use crate::notice::Witness;
use crate::own::Home;
use crate::refuse::Stop;

/// Bodies above this size are parsed beside the threads that move bytes, in turn.
const HEAVY_BYTES: u64 = 512 * 1024;
const OPERATION_CHARS_MAX: usize = 64;

/// A call whose request has been read.
pub(crate) struct Inspected {
    pub(crate) call: Call,
    pub(crate) head: Parts,
    pub(crate) route: Route,
    pub(crate) content: Content,
    /// What the body says; `None` where there is none to read.
    pub(crate) request: Option<RequestFacts>,
    pub(crate) caller: CallerFacts,
    /// Where the thread lives that it goes on with.
    pub(crate) home: Option<Home>,
}

/// A body as it came, and as it reads.
pub(crate) struct Content {
    /// What goes upstream.
    pub(crate) original: Bytes,
    /// What was inspected; the same bytes unless they were encoded.
    pub(crate) decoded: Bytes,
    /// The memory of both.
    pub(crate) hold: Hold,
}

impl Inner {
    /// Reads a request's body and the headers addressed to us.
    pub(crate) async fn inspect(
        &self,
        identified: Identified,
        route: Route,
        body: &mut Incoming,
        witness: &mut Witness,
    ) -> Result<Inspected, Stop> {
        let Identified { mut call, head } = identified;
        witness.route = Some(route);
        let caller = caller(&call, &head.headers)?;
        if route == Route::FileUpload {
            let hold = Hold::new(&self.bodies, &call.key.id);
            return announced(call, head, caller, body, hold);
        }
        let is_batch = route == Route::BatchCreate;
        let has_body = matches!(route, Route::Messages | Route::CountTokens) || is_batch;
        if has_body {
            version(&head.headers)?;
        }
        let encoding = if has_body {
            charset(&head.headers)?;
            encoding(&head.headers)?
        } else {
            Encoding::Identity
        };
        if has_body && (is_batch || is_heavy(body.size_hint().upper(), encoding)) {
            self.decide_without_body(&call, route, &caller)?;
        }
        let mut hold = Hold::new(&self.bodies, &call.key.id);
        let reading = Instant::now();
        let limit_bytes = match is_batch {
            true => call.snapshot.settings.batch_body_bytes_max,
            false => call.snapshot.settings.request_body_bytes_max,
        };
        let original = body::read(body, limit_bytes, &call.snapshot.settings, &mut hold).await?;
        call.watch = call.watch.without(reading);
        if !has_body {
            if !original.is_empty() {
                return Err(no_body_wanted().into());
            }
            let content = Content { decoded: original.clone(), original, hold };
            return Ok(Inspected { call, head, route, content, request: None, caller, home: None });
        }
        if is_batch || is_heavy(Some(original.len() as u64), encoding) {
            self.is_worth_reading(&call)?;
        }
        if is_batch {
            // Its items are read when they are judged: nobody keeps the facts of 100,000.
            let decoded = self.decoded(&call, encoding, &original, &mut hold).await?;
            let content = Content { original, decoded, hold };
            return Ok(Inspected { call, head, route, content, request: None, caller, home: None });
        }
        let (decoded, mut request) = self.read_facts(&call, encoding, &original, &mut hold).await?;
        // Only a name that is known: what else a client writes there may be anything.
        witness.model = call.snapshot.prices.model(&request.model).map(|model| model.id.clone());
        let home = self.own(&call, &mut request).await?;
        let content = Content { original, decoded, hold };
        Ok(Inspected { call, head, route, content, request: Some(request), caller, home })
    }

    /// A batch, as it reads.
    async fn decoded(
        &self,
        call: &Call,
        encoding: Encoding,
        original: &Bytes,
        hold: &mut Hold,
    ) -> Result<Bytes, Stop> {
        if encoding == Encoding::Identity {
            return Ok(original.clone());
        }
        let desk = self.desks.seat(&call.key.id).await;
        let settings = &call.snapshot.settings;
        // The most that it may decode to is more than a key's share of all memory; few do.
        let (mut room_bytes, mut full) = (settings.batch_body_bytes_max, None);
        while let Err(refusal) = hold.grow(room_bytes, settings.bodies_in_flight_bytes_max) {
            room_bytes /= 2;
            if room_bytes < original.len() {
                return Err(refusal.into());
            }
            full = Some(refusal);
        }
        let encoded = original.clone();
        let work = move || decode(encoding, &encoded, room_bytes);
        let decoded = beside(&self.calls, desk, hold, work).await?;
        let decoded = decoded.map_err(|refusal| match (&refusal, full) {
            (Refusal::TooLarge { .. }, Some(full)) => full,
            _ => refusal,
        })?;
        hold.shrink(room_bytes - decoded.len().min(room_bytes));
        Ok(decoded)
    }

    async fn read_facts(
        &self,
        call: &Call,
        encoding: Encoding,
        original: &Bytes,
        hold: &mut Hold,
    ) -> Result<(Bytes, RequestFacts), Stop> {
        let settings = &call.snapshot.settings;
        let limit_bytes = settings.request_body_bytes_max;
        let limits = InspectLimits { depth_max: settings.json_depth_max };
        let encoded = original.clone();
        let work = move || -> Result<(Bytes, RequestFacts), Refusal> {
            let decoded = decode(encoding, &encoded, limit_bytes)?;
            let facts = inspect_body(&decoded, limits).map_err(Refusal::Malformed)?;
            Ok((decoded, facts))
        };
        if !is_heavy(Some(original.len() as u64), encoding) {
            return Ok(work()?);
        }
        let desk = self.desks.seat(&call.key.id).await;
        if encoding != Encoding::Identity {
            hold.grow(limit_bytes, settings.bodies_in_flight_bytes_max)?;
        }
        let (decoded, facts) = beside(&self.calls, desk, hold, work).await??;
        if encoding != Encoding::Identity {
            hold.shrink(limit_bytes - decoded.len().min(limit_bytes));
        }
        Ok((decoded, facts))
    }
}

/// Whether a body is, or may become, too much to read in between. A compressed one may be a
/// thousand times larger than it looks.
fn is_heavy(bytes: Option<u64>, encoding: Encoding) -> bool {
    encoding != Encoding::Identity || bytes.is_none_or(|bytes| bytes > HEAVY_BYTES)
}

fn caller(call: &Call, headers: &HeaderMap) -> Result<CallerFacts, Refusal> {
    let betas = headers
        .get_all(BETA)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .map(|beta| beta.trim().to_owned())
        .filter(|beta| !beta.is_empty())
        .collect();
    Ok(CallerFacts { source: call.source, operation: operation(headers)?, betas })
}

/// `x-chamberlain-operation`: at most once, and a plain name, because it is put on record.
fn operation(headers: &HeaderMap) -> Result<Option<String>, Refusal> {
    let mut lines = headers.get_all(OPERATION).iter();
    let Some(line) = lines.next() else { return Ok(None) };
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    let name = line.to_str().unwrap_or_default().trim();
    let well_formed = !name.is_empty()
        && name.len() <= OPERATION_CHARS_MAX
        && name.bytes().all(is_plain)
        && !carries_key(name)
        && lines.next().is_none();
    if well_formed {
        return Ok(Some(name.to_owned()));
    }
    Err(Refusal::Malformed(MalformedRequest::Field {
        field: OPERATION.as_str().to_owned(),
        reason: "send it once, as up to 64 letters, digits, '_', '-' or '.'".to_owned(),
    }))
}

/// Versions of the API whose fields and answers this version knows.
const VERSIONS: [&str; 3] = ["2023-01-01", "2023-06-01", "2026-10-21"];

/// `anthropic-version`: another version may mean other fields, and so another cost. One that is
/// missing is upstream's to refuse.
fn version(headers: &HeaderMap) -> Result<(), Refusal> {
    let mut lines = headers.get_all(VERSION).iter();
    let Some(line) = lines.next() else { return Ok(()) };
    let is_known = VERSIONS.iter().any(|known| line.as_bytes() == known.as_bytes());
    if is_known && lines.next().is_none() {
        return Ok(());
    }
    Err(Refusal::Malformed(MalformedRequest::Field {
        field: VERSION.as_str().to_owned(),
        reason: format!("send it once, as one of {}", VERSIONS.join(", ")),
    }))
}

fn no_body_wanted() -> Refusal {
    Refusal::Malformed(MalformedRequest::Field {
        field: "body".to_owned(),
        reason: "this route takes no body".to_owned(),
    })
}

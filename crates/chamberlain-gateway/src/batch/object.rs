//! Answers that tell of one batch: read, remembered, and passed on with the link to its results
//! changed to lead to us. It is the one place where bytes of an answer change.

use std::time::Duration;

use bytes::Bytes;
use chamberlain_core::batch::{BatchObject, Unreadable, rewritten};
use chamberlain_core::record::{Notice, Route, Severity};
use chamberlain_core::resource::{Binding, Resource, ResourceId, ResourceKind};
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use http::{HeaderMap, Response};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use serde_json::{Map, Value, json};
use tokio::time::timeout;

use super::link::results_url;
use super::open::OpenBatch;
use crate::connect::Place;
use crate::ending::{End, Seen};
use crate::forward::{Client, Dispatch};
use crate::gateway::Inner;
use crate::headers::{self, CALL, REQUEST_ID, WARNING, call_value};
use crate::identify::Call;
use crate::refuse::{Fault, Stop};
use crate::stream::{AnswerBody, text};

/// Where the object that upstream last told is remembered.
pub(super) const SEEN: &str = "seen";
/// How far its cost is known: `open`, `settled` or `given_up`.
pub(super) const STATE: &str = "state";
pub(super) const CALL_ID: &str = "call";
pub(super) const ITEMS: &str = "items";
pub(super) const AT: &str = "at";
pub(super) const RESERVED: &str = "reserved";

/// A batch object has a few hundred bytes.
const OBJECT_BYTES_MAX: usize = 64 * 1024;
/// It comes with the head of its answer, or not at all.
const OBJECT_MAX: Duration = Duration::from_secs(30);

/// True for routes whose answer is a batch object.
pub(crate) fn tells_of_a_batch(route: Route) -> bool {
    matches!(route, Route::BatchCreate | Route::Batch | Route::BatchCancel)
}

impl Dispatch {
    /// Hands over an answer that tells of a batch.
    pub(crate) async fn deliver_batch(
        mut self,
        response: Response<Incoming>,
        place: Place,
        client: Client,
    ) {
        self.permit.first_byte();
        let (head, body) = response.into_parts();
        let status = head.status;
        let object = read(&head.headers, body).await;
        drop(place);
        let gateway = self.gateway.clone();
        let call = self.permit.tale().call.clone();
        let is_new = self.permit.tale().subject.route == Route::BatchCreate;
        let told = match object {
            Ok((object, bytes)) if is_new => {
                self.bind(&object, &bytes).await.map(|()| (object, bytes))
            }
            Ok((object, bytes)) => {
                gateway.saw(&object, &bytes).await;
                Ok((object, bytes))
            }
            Err(Unreadable) if is_new => {
                gateway.note_unbound(&call, None, "its answer could not be read");
                Err(Fault::BatchUnbound)
            }
            Err(Unreadable) => Err(Fault::BatchUnreadable),
        };
        let told: Result<_, Stop> = told.map_err(Stop::from).and_then(|(object, bytes)| {
            let url = results_url(&call, &self.head, &object.id);
            let body = rewritten(&bytes, &url).map_err(|_| Fault::BatchUnreadable)?;
            let mut out = headers::downstream(head.headers.clone(), self.keeps_rate_limits());
            out.remove(CONTENT_LENGTH);
            out.extend(self.own_limit.drain());
            out.insert(CALL, call_value(call.id));
            for warning in self.warnings.drain(..) {
                out.append(WARNING, warning);
            }
            let mut answer = Response::new(AnswerBody::whole(Bytes::from(body)));
            *answer.status_mut() = status;
            *answer.headers_mut() = out;
            Ok(answer)
        });
        let given = match &told {
            Ok(_) => status.as_u16(),
            Err(stop) => stop.answer().status,
        };
        let seen = if is_new { Seen::Accepted } else { Seen::answered() };
        let gone = client.gone.map(|gone| gone.why);
        let upstream_request_id = text(&head.headers, REQUEST_ID.as_str(), 128);
        let reserved = self.permit.reserved();
        let opened = self.opened.take().filter(|_| is_new);
        self.permit.settle(End { seen, gone, status: given, upstream_request_id });
        // Not before the settlement is handed over: only what is settled can be trued up.
        if let Some(batch) = opened {
            let reserved_usd = reserved.to_decimal();
            tracing::info!(batch = %batch.resource.id, call = %call.id, reserved_usd, "a batch was submitted");
            let pause = call.snapshot.settings.batch_look_ms_min;
            gateway.batches.open(batch, Duration::from_millis(pause));
        }
        client.tell(told);
    }

    /// Binds a batch to its virtual key, durably.
    async fn bind(&mut self, object: &BatchObject, bytes: &[u8]) -> Result<(), Fault> {
        let gateway = self.gateway.clone();
        let call = self.permit.tale().call.clone();
        let Some(id) = ResourceId::parse(&object.id) else {
            gateway.note_unbound(&call, None, "its id is of an unknown shape");
            return Err(Fault::BatchUnbound);
        };
        let resource = Resource {
            kind: ResourceKind::Batch,
            id: id.clone(),
            virtual_key: call.key.id.clone(),
            environment: call.environment.name.clone(),
            upstream_key: self.destination.key().cloned(),
            created: gateway.now(),
            expires: Some(gateway.now().plus_ms(KEPT_MS)),
            about: Map::from_iter([
                (STATE.to_owned(), json!("open")),
                (CALL_ID.to_owned(), json!(call.id)),
                (ITEMS.to_owned(), json!(self.items)),
                (AT.to_owned(), json!(call.at.ms())),
                (RESERVED.to_owned(), json!(self.permit.reserved())),
                (SEEN.to_owned(), json!(String::from_utf8_lossy(bytes))),
            ]),
        };
        match gateway.journal.bind(resource.clone()).await {
            Ok(Binding::Bound) => {
                self.opened = OpenBatch::of(resource);
                Ok(())
            }
            Ok(Binding::Taken) => {
                gateway.note_unbound(&call, Some(&id), "its id belongs to another virtual key");
                Err(Fault::BatchUnbound)
            }
            Err(fault) => {
                tracing::error!(call = %call.id, error = %fault, "a batch could not be bound");
                gateway.note_unbound(&call, Some(&id), "it could not be put on record");
                Err(Fault::BatchUnbound)
            }
        }
    }
}

/// How long a batch is remembered: as long as Anthropic keeps its results.
const KEPT_MS: i64 = 29 * 24 * 3_600_000;

impl Inner {
    /// Remembers what upstream told a client of a batch.
    async fn saw(&self, object: &BatchObject, bytes: &[u8]) {
        let Some(id) = ResourceId::parse(&object.id) else { return };
        // While it is open, the collector remembers what it sees; two hands would be in the way of
        // each other.
        if self.batches.is_open(&id) {
            return self.batches.nudge(&id);
        }
        let found = self.journal.resources(vec![(ResourceKind::Batch, id)]).await;
        let Some(batch) = found.ok().and_then(|mut found| found.pop().flatten()) else { return };
        if batch.about.get(STATE).is_some_and(|state| state != "open") {
            self.remember(&batch, bytes).await;
        }
    }

    /// Remembers the object of a batch whose state does not change.
    pub(super) async fn remember(&self, batch: &Resource, bytes: &[u8]) {
        let seen = Value::from(String::from_utf8_lossy(bytes));
        if batch.about.get(SEEN) == Some(&seen) {
            return;
        }
        let mut about = batch.about.clone();
        about.insert(SEEN.to_owned(), seen);
        let told = self.journal.describe(ResourceKind::Batch, batch.id.clone(), about).await;
        if let Err(fault) = told {
            tracing::warn!(batch = %batch.id, error = %fault, "how a batch stands could not be remembered");
        }
    }

    /// Tells a person of a batch that runs and belongs to nobody.
    fn note_unbound(&self, call: &Call, id: Option<&ResourceId>, why: &str) {
        let mut facts = Map::new();
        facts.insert("call".to_owned(), json!(call.id));
        facts.insert("virtual_key".to_owned(), json!(call.key.id));
        facts.insert("environment".to_owned(), json!(call.environment.name));
        facts.insert("batch".to_owned(), json!(id));
        let named = id.map_or("A batch".to_owned(), |id| format!("The batch {id}"));
        self.note(Notice {
            at: self.now(),
            kind: "batch.unbound".to_owned(),
            severity: Severity::High,
            subject: format!("virtual key {}", call.key.id),
            message: format!(
                "{named} was submitted by {} and taken by Anthropic, but {why}. It runs, nobody can \
                 reach it through Chamberlain, and its whole reservation stays charged. Cancel it \
                 in the Anthropic Console, and give the call its true cost with chamberlain \
                 write-off.",
                call.id
            ),
            facts,
            notify: false,
        });
    }
}

impl OpenBatch {
    /// Reads what was remembered of a batch; `None` for one whose cost is known.
    pub(crate) fn of(resource: Resource) -> Option<OpenBatch> {
        let about = &resource.about;
        if about.get(STATE)?.as_str()? != "open" {
            return None;
        }
        let call = serde_json::from_value(about.get(CALL_ID)?.clone()).ok()?;
        let submitted_at = chamberlain_core::time::Timestamp::from_ms(about.get(AT)?.as_i64()?);
        let items = about.get(ITEMS)?.as_u64()?;
        Some(OpenBatch { call, submitted_at, items, failures: 0, incomplete: 0, gone: 0, resource })
    }
}

/// Reads a batch object, and its bytes as they came.
async fn read(headers: &HeaderMap, body: Incoming) -> Result<(BatchObject, Bytes), Unreadable> {
    if headers.contains_key(CONTENT_ENCODING) {
        return Err(Unreadable);
    }
    let reading = Limited::new(body, OBJECT_BYTES_MAX).collect();
    let Ok(Ok(read)) = timeout(OBJECT_MAX, reading).await else { return Err(Unreadable) };
    let bytes = read.to_bytes();
    Ok((BatchObject::read(&bytes)?, bytes))
}

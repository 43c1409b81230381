//! `POST /v1/files`: the form streams through, and the answer is held until the new file's id is
//! bound to the virtual key.
//!
//! An upload is sent once. Whatever was sent of it cannot be sent again, because it was not kept.
//! It runs beside the client's connection: when the client leaves with the form not yet whole,
//! upstream's connection is broken off and no file is made; when it leaves later, the answer is
//! waited for, and the file is bound and shows in the client's list.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chamberlain_core::admission::breaker::Health;
use chamberlain_core::admission::refusal::Refusal;
use chamberlain_core::anthropic::meter::Metered;
use chamberlain_core::anthropic::request::CallerFacts;
use chamberlain_core::record::Route;
use chamberlain_core::resource::{Binding, Resource, ResourceId, ResourceKind};
use chamberlain_core::time::Timestamp;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body::Body as _;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::{Map, Value};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::form::{Form, Intake, Progress, form};
use crate::body::{self, Hold};
use crate::connect::SendFault;
use crate::decide::{Decided, Destination};
use crate::encoding::{Encoding, encoding};
use crate::ending::{End, Gone, Seen};
use crate::forward::{Client, Departure, Recorded, Told, is_redirect};
use crate::gateway::Inner;
use crate::headers::{self, CALL, REQUEST_ID, WARNING, call_value};
use crate::identify::Call;
use crate::inspect::{Content, Inspected};
use crate::permit::Permit;
use crate::recall::Entry;
use crate::refuse::{Fault, Stop};
use crate::stream::{AnswerBody, text};

/// What a resource remembers of a file: its object, as upstream wrote it.
pub(super) const METADATA: &str = "metadata";
/// What one upload takes of the memory set aside for bodies, whatever its size: a few pieces in
/// the connections on both sides, and the one between them.
const UPLOAD_HOLD_BYTES: usize = 2 * 1024 * 1024;
/// Longest time for a whole form. Half a gigabyte takes minutes on a slow line.
const WHOLE_MAX: Duration = Duration::from_secs(3_600);
/// An answer to an upload is one small object.
const ANSWER_BYTES_MAX: usize = 256 * 1024;
/// Longest time for undoing an upload that nobody could ever reach.
const UNDO_MAX: Duration = Duration::from_secs(10);
const REQUEST_ID_CHARS_MAX: usize = 128;

/// Looks at an upload without reading it: how long it says it is, and whether it is encoded.
pub(crate) fn announced(
    call: Call,
    head: Parts,
    caller: CallerFacts,
    body: &Incoming,
    mut hold: Hold,
) -> Result<Inspected, Stop> {
    let settings = &call.snapshot.settings;
    if encoding(&head.headers)? != Encoding::Identity {
        let message = "Files are taken as they are: upload without content-encoding.".to_owned();
        let code = "request_body_encoding_unsupported";
        return Err(Refusal::Encoding { code, message }.into());
    }
    let limit_bytes = settings.upload_body_bytes_max;
    if body.size_hint().lower() > limit_bytes as u64 {
        return Err(Refusal::UploadTooLarge { limit_bytes }.into());
    }
    hold.grow(UPLOAD_HOLD_BYTES, settings.bodies_in_flight_bytes_max)?;
    let content = Content { original: Bytes::new(), decoded: Bytes::new(), hold };
    let route = Route::FileUpload;
    Ok(Inspected { call, head, route, content, request: None, caller, home: None })
}

impl Inner {
    /// Sends the form upstream while it comes in, and answers once the file is bound.
    pub(super) async fn upload_file(
        self: &Arc<Self>,
        recorded: Recorded,
        body: &mut Incoming,
    ) -> Told {
        let limit_bytes = recorded.decided.call.snapshot.settings.upload_body_bytes_max;
        let (intake, form) = form(body.size_hint().exact());
        let (upload, request) = Upload::new(self, recorded, form)?;
        let (client, told) = oneshot::channel();
        self.calls.spawn(upload.run(request, client));
        let mut told = std::pin::pin!(told);
        let heard = tokio::select! {
            biased;
            heard = &mut told => Some(heard),
            () = pump(body, intake, limit_bytes) => None,
        };
        let heard = match heard {
            Some(heard) => heard,
            None => told.await,
        };
        // An answer that came early is lost when the connection ends with unread bytes in it.
        body::discard(body, false).await;
        // The task ends without a word only when it panicked; its permit has settled then.
        heard.unwrap_or_else(|_| Err(Fault::Ours.into()))
    }
}

/// Passes the form on, piece by piece, as fast as upstream takes it.
async fn pump(body: &mut Incoming, mut intake: Intake, limit_bytes: usize) {
    let deadline = Instant::now() + WHOLE_MAX;
    let mut passed: usize = 0;
    loop {
        let data = match body::next(body, deadline).await {
            Ok(Some(data)) => data,
            Ok(None) => return intake.end().await,
            Err(fault) => return intake.break_off(fault.into()),
        };
        passed = passed.saturating_add(data.len());
        if passed > limit_bytes {
            return intake.break_off(Refusal::UploadTooLarge { limit_bytes }.into());
        }
        if !intake.give(data).await {
            return;
        }
    }
}

/// One upload on its way.
struct Upload {
    gateway: Arc<Inner>,
    permit: Permit,
    entry: Entry,
    destination: Destination,
    progress: Arc<Progress>,
    /// For undoing it.
    undo: (Uri, HeaderMap),
    warnings: Vec<HeaderValue>,
    own_limit: HeaderMap,
    _hold: Hold,
}

/// How sending it ended.
enum Sent {
    Answer(Response<Bytes>),
    NotConnected,
    Lost,
    TimedOut,
    Left(Departure),
}

/// What the client is told, and how the call ended.
type Ending = (Told, End, Health);

impl Upload {
    fn new(
        gateway: &Arc<Inner>,
        recorded: Recorded,
        form: Form,
    ) -> Result<(Upload, Request<Form>), Stop> {
        let Recorded { decided, permit, own_limit, .. } = recorded;
        let Decided { call, head, content, destination, held, warnings, .. } = *decided;
        // Before its credential is taken, so that no removal of it goes unnoticed.
        let entry = gateway.enter(&call, &destination, held);
        let (base, credential) = gateway.address(&destination)?;
        let target = head.uri.path_and_query().ok_or(Fault::Ours)?;
        let uri = base.join(target).map_err(|_| Fault::Ours)?;
        let undo = (uri.clone(), headers::aside(&head.headers, credential.clone()));
        let keep_billing = call.snapshot.settings.forward_billing_headers;
        let progress = form.progress();
        let mut request = Request::new(form);
        *request.method_mut() = Method::POST;
        *request.uri_mut() = uri;
        *request.headers_mut() = headers::upstream(&head.headers, credential, keep_billing);
        let gateway = gateway.clone();
        let _hold = content.hold;
        let upload = Upload {
            gateway,
            permit,
            entry,
            destination,
            progress,
            undo,
            warnings,
            own_limit,
            _hold,
        };
        Ok((upload, request))
    }

    async fn run(mut self, request: Request<Form>, client: oneshot::Sender<Told>) {
        let mut client = Client::new(client);
        let (call, destination) = (self.permit.tale().call.clone(), self.destination.clone());
        let breaker = call.snapshot.settings.breaker;
        let now = self.gateway.now();
        self.gateway.standings.count_call(&destination, breaker, now);
        let passed = self.gateway.still_passes(&call, &destination);
        if let Err(stop) = passed {
            self.permit.settle(End::new(Seen::NotSent, stop.answer().status));
            return client.tell(Err(stop));
        }
        self.permit.watch(call.watch);
        let sent = self.send(request, &mut client).await;
        let (told, mut end, health) = self.judge(sent).await;
        self.gateway.report_health(&destination, breaker, health);
        end.gone = end.gone.or(client.gone.map(|departure| departure.why));
        self.permit.settle(end);
        client.tell(told);
    }

    /// Sends the form and reads the answer. Upstream may take as long between two pieces as
    /// between the last one and its answer.
    async fn send(&mut self, request: Request<Form>, client: &mut Client) -> Sent {
        let settings = &self.permit.tale().call.snapshot.settings;
        let silence_max = Duration::from_millis(settings.first_byte_ms_max);
        let drain = Duration::from_millis(settings.drain_ms_max);
        let progress = self.progress.clone();
        self.permit.expose();
        let (sending, _place) = self.gateway.connections.send(request);
        let answering = async {
            let (head, body) = match sending.await {
                Ok(response) => response.into_parts(),
                Err(SendFault::NotConnected(_)) => return Sent::NotConnected,
                Err(SendFault::Lost(reason)) => {
                    tracing::warn!(error = reason, "an upload was lost on its way upstream");
                    return Sent::Lost;
                }
            };
            match Limited::new(body, ANSWER_BYTES_MAX).collect().await {
                Ok(body) => Sent::Answer(Response::from_parts(head, body.to_bytes())),
                Err(_) => Sent::Lost,
            }
        };
        let silent = async {
            loop {
                let due = progress.taken_at() + silence_max;
                if Instant::now() >= due {
                    return;
                }
                sleep_until(due).await;
            }
        };
        let left = async {
            let departure = client.gone(self.entry.recall()).await;
            if progress.is_whole() {
                sleep(drain).await;
            }
            departure
        };
        tokio::select! {
            biased;
            sent = answering => sent,
            departure = left => Sent::Left(departure),
            () = silent => Sent::TimedOut,
        }
    }

    /// Says what the client is told, once what was made is bound.
    async fn judge(&mut self, sent: Sent) -> Ending {
        // Whatever became of upstream's side, it was the client's that broke first.
        if let Some(stop) = self.progress.broken() {
            let gone = if matches!(stop, Stop::Failed(_)) { Gone::Left } else { Gone::Recalled };
            let end = End::new(Seen::Silent, stop.answer().status);
            return (Err(stop), End { gone: Some(gone), ..end }, Health::Neutral);
        }
        let (seen, fault) = match sent {
            Sent::Answer(response) => return self.answered(response).await,
            Sent::Lost if self.progress.is_abandoned() => {
                let end = End { gone: Some(Gone::Left), ..End::new(Seen::Silent, 499) };
                return (Err(Fault::BodyBroken.into()), end, Health::Neutral);
            }
            Sent::Left(departure) => {
                let end = departure.end(Seen::Silent);
                return (Err(Fault::Ours.into()), end, Health::Neutral);
            }
            Sent::NotConnected => (Seen::NotSent, Fault::Unreachable),
            Sent::Lost => (Seen::Silent, Fault::UploadLost),
            Sent::TimedOut => (Seen::Silent, Fault::UploadLost),
        };
        let status = fault.answer().status;
        (Err(fault.into()), End::new(seen, status), Health::Failure)
    }

    async fn answered(&mut self, response: Response<Bytes>) -> Ending {
        let status = response.status();
        let health = if status.is_server_error() { Health::Failure } else { Health::Success };
        let request_id = text(response.headers(), REQUEST_ID.as_str(), REQUEST_ID_CHARS_MAX);
        let end = |seen, status| End {
            upstream_request_id: request_id.clone(),
            ..End::new(seen, status)
        };
        let refused = Seen::Refused { status: status.as_u16(), by_api: true };
        if status == StatusCode::UNAUTHORIZED && self.destination != Destination::Mock {
            let call = &self.permit.tale().call;
            let fault = self.gateway.rejected(call, &self.destination, response.headers());
            let status = fault.answer().status;
            return (Err(fault.into()), end(refused, status), health);
        }
        if is_redirect(status) {
            let call = self.permit.tale().call.id;
            let fault = self.gateway.redirected(call, self.undo.0.host(), status);
            let given = fault.answer().status;
            return (Err(fault.into()), end(refused, given), health);
        }
        self.permit.first_byte();
        if !status.is_success() {
            return (Ok(self.pass_on(response)), end(refused, status.as_u16()), health);
        }
        match self.bind(response.body()).await {
            Ok(()) => {
                let seen = Seen::Answered { metered: Box::new(Metered::default()), whole: true };
                (Ok(self.pass_on(response)), end(seen, status.as_u16()), health)
            }
            Err(stop) => {
                let status = stop.answer().status;
                (Err(stop), end(Seen::Forsaken, status), health)
            }
        }
    }

    /// Binds the new file to the virtual key. What cannot be bound is undone, as far as it can be,
    /// and the client never sees its id.
    async fn bind(&self, object: &Bytes) -> Result<(), Stop> {
        let call = &self.permit.tale().call;
        let file = file(object, call, &self.destination, self.gateway.now());
        let Some(file) = file else {
            tracing::error!(call = %call.id, "the answer to an upload could not be read");
            return Err(Fault::UploadUnreadable.into());
        };
        let id = file.id.clone();
        match self.gateway.journal.bind(file).await {
            Ok(Binding::Bound) => Ok(()),
            // It is another key's: not ours to delete.
            Ok(Binding::Taken) => Err(Refusal::NotOnRecord.into()),
            Err(fault) => {
                tracing::error!(call = %call.id, error = %fault, "a file could not be bound");
                self.undo(&id).await;
                Err(Refusal::NotOnRecord.into())
            }
        }
    }

    /// Deletes a file that nobody could reach. It belongs to the call that is on record.
    async fn undo(&self, id: &ResourceId) {
        let (uri, headers) = &self.undo;
        let path = format!("{}/{id}", uri.path());
        let mut parts = uri.clone().into_parts();
        parts.path_and_query = path.parse().ok();
        let Ok(uri) = Uri::from_parts(parts) else { return };
        let mut request = Request::new(Full::new(Bytes::new()));
        *request.method_mut() = Method::DELETE;
        *request.uri_mut() = uri;
        *request.headers_mut() = headers.clone();
        let (sending, _place) = self.gateway.connections.send(request);
        match timeout(UNDO_MAX, sending).await {
            Ok(Ok(response)) if response.status().is_success() => {
                tracing::warn!(file = %id, "a file that could not be bound was deleted at Anthropic");
            }
            _ => tracing::error!(
                file = %id,
                "a file that could not be bound stays at Anthropic, where only its owner in the \
                 Console can reach it"
            ),
        }
    }

    fn pass_on(&mut self, response: Response<Bytes>) -> Response<AnswerBody> {
        let call = &self.permit.tale().call;
        let keep_rate_limits = call.snapshot.settings.forward_rate_limit_headers;
        let mut out = headers::downstream(response.headers().clone(), keep_rate_limits);
        out.extend(self.own_limit.drain());
        out.insert(CALL, call_value(call.id));
        for warning in self.warnings.drain(..) {
            out.append(WARNING, warning);
        }
        let status = response.status();
        let mut answer = Response::new(AnswerBody::whole(response.into_body()));
        *answer.status_mut() = status;
        *answer.headers_mut() = out;
        answer
    }
}

/// What is read of a file's object; the rest is kept as it was written.
#[derive(Deserialize)]
struct Object {
    r#type: String,
    id: String,
    expires_at: Option<String>,
}

fn file(
    object: &Bytes,
    call: &Call,
    destination: &Destination,
    created: Timestamp,
) -> Option<Resource> {
    let text = std::str::from_utf8(object).ok()?;
    let read: Object = serde_json::from_str(text).ok()?;
    if read.r#type != "file" {
        return None;
    }
    let expires = match read.expires_at {
        Some(text) => Some(Timestamp::from_rfc3339(&text).ok()?),
        None => None,
    };
    let about = Map::from_iter([(METADATA.to_owned(), Value::String(text.trim().to_owned()))]);
    Some(Resource {
        kind: ResourceKind::File,
        id: ResourceId::parse(&read.id)?,
        virtual_key: call.key.id.clone(),
        environment: call.environment.name.clone(),
        upstream_key: destination.key().cloned(),
        created,
        expires,
        about,
    })
}

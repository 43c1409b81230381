//! Forward: send the call, as often as it surely was not worked on, and hand the answer over.
//!
//! A client that leaves does not cancel a call whose cost would then never be known. While the
//! client waits, its connection does the sending; when it leaves, a task of its own goes on with it.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use chamberlain_core::admission::breaker::Health;
use chamberlain_core::admission::refusal::Refusal;
use chamberlain_core::admission::retry::{AttemptEnd, delay_ms};
use chamberlain_core::id::{CallId, UpstreamKeyId};
use chamberlain_core::record::{Notice, Route, Severity};
use chamberlain_core::resource::{ResourceId, ResourceKind};
use chamberlain_core::snapshot::{BreakerSettings, GatewaySettings};
use futures_util::FutureExt;
use http::header::RETRY_AFTER;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use serde_json::{Map, json};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};

use crate::batch::{OpenBatch, tells_of_a_batch};
use crate::body::Hold;
use crate::connect::{Place, SendFault};
use crate::decide::{Decided, Destination};
use crate::ending::{End, Gone, Seen, says_not_begun};
use crate::gateway::Inner;
use crate::headers::{self, CALL, REQUEST_ID, RETRY_AFTER_MS, SHOULD_RETRY, WARNING, call_value};
use crate::identify::Call;
use crate::permit::Permit;
use crate::recall::{Entry, Recall};
use crate::refuse::{Fault, Stop};
use crate::stream::{AnswerBody, Flow, drain};

/// An answer that will be asked for again is read to its end within this, so that its connection
/// can be used again.
const DISPOSE_MAX: Duration = Duration::from_secs(1);
const DISPOSE_BYTES_MAX: usize = 64 * 1024;

/// A call that is on record and may leave.
pub(crate) struct Recorded {
    pub(crate) decided: Box<Decided>,
    pub(crate) permit: Permit,
    /// The client's own request limit, in place of upstream's rate-limit headers.
    pub(crate) own_limit: HeaderMap,
    /// What the call deletes.
    pub(crate) deletes: Option<Box<Deletion>>,
}

/// What is forgotten once upstream says that it is gone.
pub(crate) struct Deletion {
    pub(crate) kind: ResourceKind,
    pub(crate) id: ResourceId,
    /// Whether upstream would know it, were it there: then a 404 says that it is gone.
    pub(crate) is_at_home: bool,
}

pub(crate) type Told = Result<Response<AnswerBody>, Stop>;

impl Inner {
    /// Sends the call and waits for the head of its answer.
    pub(crate) async fn forward(self: Arc<Self>, recorded: Recorded) -> Told {
        let dispatch = Dispatch::new(&self, recorded)?;
        let (client, told) = oneshot::channel();
        let work = AssertUnwindSafe(dispatch.run(client)).catch_unwind().map(drop);
        Sending { gateway: self, work: Some(Box::pin(work)), told }.await
    }
}

/// A call that is being sent while its client waits.
struct Sending {
    gateway: Arc<Inner>,
    /// `None` once it has ended.
    work: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    told: oneshot::Receiver<Told>,
}

impl Future for Sending {
    type Output = Told;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Told> {
        if let Some(work) = &mut self.work
            && work.as_mut().poll(cx).is_ready()
        {
            self.work = None;
        }
        // It ends without a word only when it panicked; its permit has settled then.
        let told = ready!(Pin::new(&mut self.told).poll(cx));
        Poll::Ready(told.unwrap_or_else(|_| Err(Fault::Ours.into())))
    }
}

impl Drop for Sending {
    /// The client left, or was told while there is still something to do.
    fn drop(&mut self) {
        if let Some(work) = self.work.take() {
            self.gateway.aside(work);
        }
    }
}

/// One call on its way upstream.
pub(crate) struct Dispatch {
    pub(crate) gateway: Arc<Inner>,
    pub(crate) permit: Permit,
    entry: Entry,
    pub(crate) destination: Destination,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
    _hold: Hold,
    pub(crate) warnings: Vec<HeaderValue>,
    pub(crate) own_limit: HeaderMap,
    /// The head of the client's request.
    pub(crate) head: Parts,
    /// Items of a batch.
    pub(crate) items: u64,
    /// The batch that was bound.
    pub(crate) opened: Option<OpenBatch>,
    deletes: Option<Box<Deletion>>,
}

/// How one attempt ended.
enum Attempt {
    Answer(Response<Incoming>, Place),
    NotConnected,
    Lost,
    TimedOut,
    /// Nobody wants it any more, and no answer began while it was waited for.
    Left(Departure),
}

/// Whoever waits for the answer.
pub(crate) struct Client {
    /// `None` once it was told.
    told: Option<oneshot::Sender<Told>>,
    pub(crate) gone: Option<Departure>,
}

/// When and why nobody wanted the answer any more.
#[derive(Clone, Copy)]
pub(crate) struct Departure {
    at: Instant,
    pub(crate) why: Gone,
    /// The status given.
    status: u16,
}

impl Departure {
    pub(crate) fn end(self, seen: Seen) -> End {
        End { gone: Some(self.why), ..End::new(seen, self.status) }
    }
}

impl Client {
    pub(crate) fn new(told: oneshot::Sender<Told>) -> Client {
        Client { told: Some(told), gone: None }
    }

    /// Tells it how its call ended; one that is gone, or was told, is told nothing.
    pub(crate) fn tell(mut self, told: Told) {
        if let Some(client) = self.told.take() {
            let _ = client.send(told);
        }
    }

    /// Waits until the client has left, or its call is recalled; then it is told so at once.
    pub(crate) async fn gone(&mut self, recall: &Recall) -> Departure {
        let left = async {
            match &mut self.told {
                Some(client) => client.closed().await,
                None => std::future::pending().await,
            }
        };
        let (why, status) = tokio::select! {
            () = left => (Gone::Left, 499),
            stop = recall.called() => {
                let status = stop.answer().status;
                if let Some(client) = self.told.take() {
                    let _ = client.send(Err(stop));
                }
                (Gone::Recalled, status)
            }
        };
        let departure = Departure { at: Instant::now(), why, status };
        self.gone = Some(departure);
        departure
    }
}

impl Dispatch {
    fn new(gateway: &Arc<Inner>, recorded: Recorded) -> Result<Dispatch, Stop> {
        let Recorded { decided, mut permit, own_limit, deletes } = recorded;
        let Decided { call, head, content, destination, held, warnings, items, .. } = *decided;
        // Before its credential is taken, so that no removal of it goes unnoticed.
        let entry = gateway.enter(&call, &destination, held);
        let (base, credential) = gateway.address(&destination)?;
        let target = head.uri.path_and_query().ok_or(Fault::Ours)?;
        let uri = base.join(target).map_err(|_| Fault::Ours)?;
        let keep_billing = call.snapshot.settings.forward_billing_headers;
        let headers = headers::upstream(&head.headers, credential, keep_billing);
        permit.watch(call.watch);
        Ok(Dispatch {
            gateway: gateway.clone(),
            permit,
            entry,
            destination,
            method: head.method.clone(),
            uri,
            headers,
            body: content.original,
            _hold: content.hold,
            warnings,
            own_limit,
            head,
            items,
            opened: None,
            deletes,
        })
    }

    async fn run(mut self, client: oneshot::Sender<Told>) {
        let now = self.gateway.now();
        self.gateway.standings.count_call(&self.destination, self.breaker(), now);
        let mut client = Client::new(client);
        let mut retry = 0;
        // What is known when no further attempt is made.
        let mut seen = Seen::NotSent;
        let attempt = loop {
            if let Err(stop) =
                self.gateway.still_passes(&self.permit.tale().call, &self.destination)
            {
                self.permit.settle(End::new(seen, stop.answer().status));
                return client.tell(Err(stop));
            }
            let attempt = self.attempt(&mut client).await;
            self.report(&attempt);
            retry += 1;
            let wait_ms = if client.gone.is_none() { self.retry_in(&attempt, retry) } else { None };
            let Some(wait_ms) = wait_ms else { break attempt };
            self.permit.unexpose();
            if let Attempt::Answer(response, _) = &attempt {
                seen = Seen::Refused { status: response.status().as_u16(), by_api: true };
            }
            dispose(attempt).await;
            tokio::select! {
                () = sleep(Duration::from_millis(wait_ms)) => {}
                gone = client.gone(self.entry.recall()) => {
                    self.permit.settle(gone.end(seen));
                    return;
                }
            }
        };
        if let (Attempt::Answer(response, _), Some(deletion)) = (&attempt, self.deletes.take()) {
            self.gateway.forget(*deletion, response.status()).await;
        }
        match attempt {
            Attempt::Answer(response, place)
                if response.status().is_success()
                    && tells_of_a_batch(self.permit.tale().subject.route) =>
            {
                Box::pin(self.deliver_batch(response, place, client)).await;
            }
            attempt => self.finish(attempt, client),
        }
    }

    fn submits_batch(&self) -> bool {
        self.permit.tale().subject.route == Route::BatchCreate
    }

    /// Whether upstream's own rate limits are passed on.
    pub(crate) fn keeps_rate_limits(&self) -> bool {
        self.settings().forward_rate_limit_headers
    }

    fn settings(&self) -> &GatewaySettings {
        &self.permit.tale().call.snapshot.settings
    }

    fn breaker(&self) -> BreakerSettings {
        self.settings().breaker
    }

    /// Sends once. When nobody wants the answer any more, waits on for as long as answers are
    /// drained.
    async fn attempt(&mut self, client: &mut Client) -> Attempt {
        let first_byte = Duration::from_millis(self.settings().first_byte_ms_max);
        let drain = Duration::from_millis(self.settings().drain_ms_max);
        let mut request = Request::new(Full::new(self.body.clone()));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.clone();
        self.permit.expose();
        let (sending, place) = self.gateway.connections.send(request);
        let left = async {
            let departure = client.gone(self.entry.recall()).await;
            sleep(drain).await;
            departure
        };
        tokio::select! {
            biased;
            answer = timeout(first_byte, sending) => match answer {
                Ok(Ok(response)) => Attempt::Answer(response, place),
                Ok(Err(SendFault::NotConnected(reason))) => {
                    let (call, upstream) = (self.permit.tale().call.id, self.uri.host());
                    tracing::warn!(%call, upstream, error = reason, "upstream cannot be reached");
                    Attempt::NotConnected
                }
                Ok(Err(SendFault::Lost(reason))) => {
                    let (call, upstream) = (self.permit.tale().call.id, self.uri.host());
                    tracing::warn!(%call, upstream, error = reason, "upstream was lost before it answered");
                    Attempt::Lost
                }
                Err(_) => Attempt::TimedOut,
            },
            departure = left => Attempt::Left(departure),
        }
    }

    /// Tells the breaker, and remembers what upstream says about its limits.
    fn report(&self, attempt: &Attempt) {
        let health = match attempt {
            Attempt::Answer(response, _) if response.status().is_server_error() => Health::Failure,
            Attempt::Answer(..) => Health::Success,
            Attempt::NotConnected | Attempt::Lost | Attempt::TimedOut => Health::Failure,
            Attempt::Left(_) => Health::Neutral,
        };
        self.gateway.report_health(&self.destination, self.breaker(), health);
        let subject = &self.permit.tale().subject;
        if let Attempt::Answer(response, _) = attempt
            && subject.route == Route::Messages
        {
            let (standings, now) = (&self.gateway.standings, self.gateway.now());
            let headers = response.headers();
            standings.learn(&self.destination, self.breaker(), &subject.model, headers, now);
        }
    }

    /// Milliseconds to wait before this attempt is made again, if it is.
    fn retry_in(&mut self, attempt: &Attempt, retry: u32) -> Option<u64> {
        let settings = self.settings().retry;
        let end = match attempt {
            // Almost every attempt; randomness is not asked for in vain.
            Attempt::Answer(response, _) if response.status().is_success() => return None,
            Attempt::Answer(response, _) => answered(response),
            Attempt::NotConnected => AttemptEnd::NotConnected,
            Attempt::Lost | Attempt::TimedOut | Attempt::Left(_) => AttemptEnd::Unknown,
        };
        let wait_ms = delay_ms(end, retry, settings, self.gateway.random())?;
        let (breaker, now) = (self.breaker(), self.gateway.now());
        let standings = &self.gateway.standings;
        let worth_it = standings.closed_for_ms(&self.destination, breaker, now).is_none()
            && standings.take_retry(&self.destination, breaker, settings, now)
            && self.permit.count_attempt().is_ok();
        worth_it.then(|| self.gateway.metrics.count_retry(end))?;
        Some(wait_ms)
    }

    /// Hands the answer over, or says why there is none.
    fn finish(self, attempt: Attempt, client: Client) {
        let submits = self.submits_batch();
        let (seen, fault) = match attempt {
            Attempt::Answer(response, place) => {
                return self.deliver(response, place, client);
            }
            Attempt::NotConnected => (Seen::NotSent, Fault::Unreachable),
            Attempt::Lost | Attempt::TimedOut if submits => (Seen::Silent, Fault::BatchLost),
            Attempt::Lost => (Seen::Silent, Fault::Lost),
            Attempt::TimedOut => {
                let waited_ms = self.settings().first_byte_ms_max;
                (Seen::Silent, Fault::NoAnswer { waited_ms })
            }
            Attempt::Left(departure) => {
                self.permit.settle(departure.end(Seen::Silent));
                return;
            }
        };
        let end = End::new(seen, fault.answer().status);
        self.permit.settle(End { gone: client.gone.map(|gone| gone.why), ..end });
        client.tell(Err(fault.into()));
    }

    fn deliver(mut self, response: Response<Incoming>, place: Place, client: Client) {
        // Our key is not the client's business: told that its own were wrong, it would give up,
        // or ask a person to change a key that is fine. The mock may play such an answer.
        if response.status() == 401 && self.destination != Destination::Mock {
            let call = &self.permit.tale().call;
            let fault = self.gateway.rejected(call, &self.destination, response.headers());
            let end = End::new(Seen::Refused { status: 401, by_api: true }, fault.answer().status);
            self.permit.settle(end);
            return client.tell(Err(fault.into()));
        }
        if is_redirect(response.status()) {
            return self.refuse_redirect(response.status(), client);
        }
        self.permit.first_byte();
        let settings = self.settings();
        let keep_rate_limits = settings.forward_rate_limit_headers;
        let drain_max = Duration::from_millis(settings.drain_ms_max);
        let (call, submits) = (call_value(self.permit.tale().call.id), self.submits_batch());
        let (head, body) = response.into_parts();
        let flow = Flow::new(self.permit, self.entry, self.destination, place, &head, body);
        if let Some(gone) = client.gone {
            let gateway = flow.gateway().clone();
            gateway.aside(drain(flow, gone.at + drain_max, gone.why));
            return;
        }
        let status = head.status;
        let mut out = headers::downstream(head.headers, keep_rate_limits);
        out.extend(self.own_limit.drain());
        out.insert(CALL, call);
        for warning in self.warnings.drain(..) {
            out.append(WARNING, warning);
        }
        if submits && status.is_server_error() && !says_not_begun(status.as_u16()) {
            // It may have been taken. SDKs would submit it again by themselves.
            out.insert(SHOULD_RETRY, HeaderValue::from_static("false"));
        }
        let mut answer = Response::new(AnswerBody::metered(flow));
        *answer.status_mut() = status;
        *answer.headers_mut() = out;
        // When the client has just left, the answer comes back and drains as it is dropped.
        client.tell(Ok(answer));
    }

    /// A redirect is not passed on: it would lead the client, with its credential, past us.
    fn refuse_redirect(self, status: StatusCode, client: Client) {
        let call = self.permit.tale().call.id;
        let fault = self.gateway.redirected(call, self.uri.host(), status);
        let seen = Seen::Refused { status: status.as_u16(), by_api: false };
        let end = End::new(seen, fault.answer().status);
        self.permit.settle(End { gone: client.gone.map(|gone| gone.why), ..end });
        client.tell(Err(fault.into()));
    }
}

/// Whether an answer leads somewhere else. One that says that nothing has changed does not.
pub(crate) fn is_redirect(status: StatusCode) -> bool {
    status.is_redirection() && status != StatusCode::NOT_MODIFIED
}

impl Inner {
    /// Asks whether a call is still wanted, by us and by the breaker: a key that was stopped
    /// while the call waited for its record or for a retry sends nothing more, and a credential
    /// that was removed is not sent.
    pub(crate) fn still_passes(&self, call: &Call, destination: &Destination) -> Result<(), Stop> {
        self.look_again(call)?;
        if let Some(key) = destination.key()
            && !self.keys.is_open(key)
        {
            return Err(self.closed(call, key).into());
        }
        let passed = self.standings.pass(destination, call.snapshot.settings.breaker, self.now());
        passed.map_err(|retry_after_ms| Refusal::BreakerOpen { retry_after_ms }.into())
    }

    /// Why a key that a call was to leave with is not open any more. Where another one took its
    /// place, the call leaves with that one when it is sent again.
    fn closed(&self, call: &Call, key: &UpstreamKeyId) -> Fault {
        let snapshot = self.snapshot.load();
        let environment = snapshot.environments.get(&call.environment.name);
        match environment.map(|environment| (&environment.upstream_key, environment.is_contained)) {
            Some((Some(now), _)) if now != key => Fault::KeyRemoved(key.clone()),
            Some((None, true)) => Fault::KeyContained(call.environment.name.clone()),
            _ => Fault::KeyNotOpen(key.clone()),
        }
    }

    /// Forgets what upstream says is gone. Beside the client, so that one that leaves before it
    /// hears of it does not leave it remembered.
    async fn forget(&self, deletion: Deletion, status: StatusCode) {
        let Deletion { kind, id, is_at_home } = deletion;
        if !(status.is_success() || status == StatusCode::NOT_FOUND && is_at_home) {
            return;
        }
        if let Err(fault) = self.journal.forget(kind, id, self.now()).await {
            // It is gone all the same; deleting it once more forgets it.
            tracing::error!(%kind, error = %fault, "what was deleted upstream is still remembered");
        }
    }

    /// Notes that upstream answered with a redirect.
    pub(crate) fn redirected(
        &self,
        call: CallId,
        upstream: Option<&str>,
        status: StatusCode,
    ) -> Fault {
        let status = status.as_u16();
        tracing::warn!(%call, upstream, status, "upstream answered with a redirect, which is not followed");
        Fault::Redirected { status }
    }

    /// Tells a person that upstream does not take our key.
    pub(crate) fn rejected(
        &self,
        call: &Call,
        destination: &Destination,
        answer: &HeaderMap,
    ) -> Fault {
        let environment = call.environment.name.clone();
        let now = self.now();
        let key = destination.key();
        if let Some(key) = key
            && self.standings.tell_rejected(destination, call.snapshot.settings.breaker, now)
        {
            let mut facts = Map::new();
            facts.insert("upstream_key".to_owned(), json!(key));
            facts.insert("environment".to_owned(), json!(environment));
            let request_id = header(answer, REQUEST_ID.as_str());
            facts.insert("upstream_request_id".to_owned(), json!(request_id));
            self.note(Notice {
                at: now,
                kind: "upstream.key_rejected".to_owned(),
                severity: Severity::Critical,
                subject: format!("upstream key {key}"),
                message: format!(
                    "Anthropic answers 401 to the upstream key {key} of the environment \
                     {environment}: it is revoked, expired or wrong. Calls of that environment \
                     fail until it is replaced."
                ),
                facts,
                notify: true,
            });
        }
        Fault::KeyRejected(environment)
    }

    /// Tells the breaker of a credential; opening it is news.
    pub(crate) fn report_health(
        &self,
        destination: &Destination,
        settings: BreakerSettings,
        health: Health,
    ) {
        let now = self.now();
        if !self.standings.report(destination, settings, health, now) {
            return;
        }
        let subject = match destination.key() {
            Some(key) => format!("upstream key {key}"),
            None => "mock".to_owned(),
        };
        let mut facts = Map::new();
        facts.insert("upstream_key".to_owned(), json!(destination.key()));
        facts.insert("reset_timeout_ms".to_owned(), json!(settings.reset_timeout_ms));
        let message = format!(
            "Upstream failed {} times in a row; calls with {subject} are refused for {} s, then \
             one is let through to see.",
            settings.failure_threshold,
            settings.reset_timeout_ms / 1_000
        );
        let kind = "upstream.breaker_opened".to_owned();
        let severity = Severity::High;
        self.note(Notice { at: now, kind, severity, subject, message, facts, notify: false });
    }
}

fn answered(response: &Response<Incoming>) -> AttemptEnd {
    let headers = response.headers();
    let should_retry = match header(headers, SHOULD_RETRY.as_str()) {
        Some("true") => Some(true),
        Some("false") => Some(false),
        _ => None,
    };
    let ms = header(headers, RETRY_AFTER_MS.as_str()).and_then(|ms| ms.parse().ok());
    let seconds =
        || header(headers, RETRY_AFTER.as_str()).and_then(|text| text.parse::<u64>().ok());
    let retry_after_ms = ms.or_else(|| seconds().map(|seconds| seconds.saturating_mul(1_000)));
    AttemptEnd::Answered { status: response.status().as_u16(), retry_after_ms, should_retry }
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// Reads a short answer to its end, so that its connection is free again.
async fn dispose(attempt: Attempt) {
    if let Attempt::Answer(response, _place) = attempt {
        let reading = Limited::new(response.into_body(), DISPOSE_BYTES_MAX).collect();
        // Not read in time: the connection is closed, nothing else is lost.
        let _ = timeout(DISPOSE_MAX, reading).await;
    }
}

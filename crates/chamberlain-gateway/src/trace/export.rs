//! Sending spans: in batches, beside all calls, again after a failure that may pass, and never
//! for ever.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, USER_AGENT};
use http::{Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::otlp;
use super::span::Span;
use crate::connect;
use crate::gateway::StartFault;
use crate::metrics::Spans;
use crate::upstream::Base;

const PATH: &str = "/v1/traces";
const BATCH_MAX: usize = 512;
/// A span waits at most this long for others to go with it.
const GATHER_MAX: Duration = Duration::from_secs(1);
const SEND_MAX: Duration = Duration::from_secs(10);
/// What is left at the end is sent once, within this.
const LAST_SEND_MAX: Duration = Duration::from_secs(2);
/// Between one try and the next.
const WAITS: [Duration; 3] =
    [Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(4)];
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Sends spans to one collector.
pub(super) struct Exporter {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    uri: Uri,
    counts: Spans,
    /// True while nothing arrives, so that it is told once.
    is_failing: bool,
}

/// Why a batch did not arrive.
struct Failure {
    /// As metrics name it.
    kind: &'static str,
    why: String,
    /// True when the same may be taken later.
    may_pass: bool,
}

impl Exporter {
    pub(super) fn new(collector: &Uri, counts: Spans) -> Result<Exporter, StartFault> {
        let target = http::uri::PathAndQuery::from_static(PATH);
        let uri = Base::new(collector)?.join(&target).map_err(|_| StartFault::BadCollector)?;
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .timer(TokioTimer::new())
            .build(connect::https()?);
        Ok(Exporter { client, uri, counts, is_failing: false })
    }

    /// Sends until `stop`, and then what is left.
    pub(super) async fn run(mut self, mut spans: mpsc::Receiver<Span>, stop: CancellationToken) {
        while let Some(batch) = gather(&mut spans, &stop).await {
            self.deliver(&batch, &stop).await;
        }
        // Settled calls have handed in their spans before this is stopped.
        let mut batch = Vec::new();
        while let Ok(span) = spans.try_recv() {
            batch.push(span);
        }
        if !batch.is_empty() {
            self.deliver(&batch, &stop).await;
        }
    }

    /// Sends a batch, again where that may help, and counts what became of it.
    async fn deliver(&mut self, batch: &[Span], stop: &CancellationToken) {
        let body = Bytes::from(otlp::body(batch));
        let count = batch.len() as u64;
        let mut waits = WAITS.iter();
        let failure = loop {
            let last = stop.is_cancelled();
            match self.send(body.clone(), if last { LAST_SEND_MAX } else { SEND_MAX }).await {
                Ok(rejected) => {
                    let rejected = rejected.min(count);
                    self.counts.count_exported(count - rejected);
                    self.counts.count_dropped("refused", rejected);
                    self.is_failing = false;
                    return;
                }
                Err(failure) if !failure.may_pass || last => break failure,
                Err(failure) => match waits.next() {
                    None => break failure,
                    Some(wait) => tokio::select! {
                        () = sleep(*wait) => {}
                        () = stop.cancelled() => {}
                    },
                },
            }
        };
        self.counts.count_dropped(failure.kind, count);
        if !std::mem::replace(&mut self.is_failing, true) {
            tracing::warn!(
                spans = count,
                error = failure.why,
                "spans could not be exported and are dropped, as others will be until it is mended"
            );
        }
    }

    /// Sends once; gives how many spans were rejected of those that arrived.
    async fn send(&self, body: Bytes, within: Duration) -> Result<u64, Failure> {
        let agent = concat!("chamberlain/", env!("CARGO_PKG_VERSION"));
        let request = Request::builder()
            .method(Method::POST)
            .uri(self.uri.clone())
            .header(CONTENT_TYPE, "application/json")
            .header(USER_AGENT, agent)
            .body(Full::new(body))
            .map_err(|error| refused(error.to_string()))?;
        let exchange = async {
            let answer = self.client.request(request).await.map_err(|error| {
                let cause = std::error::Error::source(&error);
                let cause = cause.map(|cause| format!(": {cause}")).unwrap_or_default();
                unreachable(format!("{error}{cause}"))
            })?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
            let body = body.map(http_body_util::Collected::to_bytes).unwrap_or_default();
            if status.is_success() { Ok(otlp::rejected(&body)) } else { Err(told_no(status)) }
        };
        match timeout(within, exchange).await {
            Ok(ended) => ended,
            Err(_) => Err(unreachable(format!("no answer within {} s", within.as_secs()))),
        }
    }
}

/// The next batch; `None` once it is time to stop.
async fn gather(spans: &mut mpsc::Receiver<Span>, stop: &CancellationToken) -> Option<Vec<Span>> {
    let mut batch = Vec::new();
    tokio::select! {
        biased;
        () = stop.cancelled() => return None,
        count = spans.recv_many(&mut batch, BATCH_MAX) => if count == 0 { return None },
    }
    let due = Instant::now() + GATHER_MAX;
    while batch.len() < BATCH_MAX && !stop.is_cancelled() {
        let room = BATCH_MAX - batch.len();
        let more = timeout_at(due, spans.recv_many(&mut batch, room));
        let more = tokio::select! {
            more = more => more,
            () = stop.cancelled() => break,
        };
        if matches!(more, Err(_) | Ok(0)) {
            break;
        }
    }
    Some(batch)
}

fn unreachable(why: String) -> Failure {
    Failure { kind: "unreachable", why, may_pass: true }
}

fn refused(why: String) -> Failure {
    Failure { kind: "refused", why, may_pass: false }
}

/// By the specification these statuses, and no others, are worth another try.
fn told_no(status: StatusCode) -> Failure {
    let may_pass = matches!(status.as_u16(), 429 | 502 | 503 | 504);
    Failure { may_pass, ..refused(format!("the collector answered {status}")) }
}

//! Connections upstream: TLS, HTTP/1.1 and HTTP/2, time limits, and enough of them.
//!
//! One HTTP/2 connection takes only as many streams at once as the server allows, and the pool
//! of one client keeps a single such connection per host. So there are several clients, and a
//! request goes to the first that is not busy.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use chamberlain_core::snapshot::Snapshot;
use http::{Request, Response, Uri};
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tower_service::Service;

use crate::files::{BrokenOff, Form};
use crate::workers;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Over all workers.
const POOL_COUNT: usize = 32;
/// However many workers there are.
const POOL_COUNT_MIN: usize = 4;
const STREAMS_PER_POOL: usize = 64;
const POOL_IDLE: Duration = Duration::from_secs(90);
const PING_EVERY: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// Why no head of an answer came.
#[derive(Debug)]
pub(crate) enum SendFault {
    /// No connection; nothing was sent.
    NotConnected(String),
    /// The connection broke after something may have been sent.
    Lost(String),
}

/// All connections upstream. Each worker has its own: what waits for an answer and what reads it
/// then share a thread.
pub(crate) struct Connections {
    of_workers: Vec<Vec<Pool>>,
}

struct Pool {
    client: Client<TimedConnector, Sending>,
    busy: Arc<AtomicUsize>,
}

/// What is sent: a body that was read whole, or a form that passes through.
pub(crate) enum Sending {
    Whole(Full<Bytes>),
    Form(Form),
}

impl From<Full<Bytes>> for Sending {
    fn from(body: Full<Bytes>) -> Sending {
        Sending::Whole(body)
    }
}

impl From<Form> for Sending {
    fn from(form: Form) -> Sending {
        Sending::Form(form)
    }
}

impl Body for Sending {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        match self.get_mut() {
            Sending::Whole(body) => Pin::new(body).poll_frame(cx).map_err(|never| match never {}),
            Sending::Form(form) => Pin::new(form).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Sending::Whole(body) => body.is_end_stream(),
            Sending::Form(form) => form.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Sending::Whole(body) => body.size_hint(),
            Sending::Form(form) => form.size_hint(),
        }
    }
}

/// A request's place in a pool; free again when the answer has been read.
#[derive(Debug)]
pub(crate) struct Place {
    busy: Arc<AtomicUsize>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.busy.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Connections {
    pub(crate) fn new(
        snapshot: Arc<ArcSwap<Snapshot>>,
        workers: usize,
    ) -> Result<Connections, rustls::Error> {
        let connector = TimedConnector { inner: https()?, snapshot };
        let pool = || Pool { client: client(connector.clone()), busy: Arc::default() };
        let each = (POOL_COUNT / workers.max(1)).max(POOL_COUNT_MIN);
        let pools = || (0..each).map(|_| pool()).collect();
        // One more for what no worker does.
        Ok(Connections { of_workers: (0..=workers).map(|_| pools()).collect() })
    }

    /// Sends a request. The place lasts until its holder has read the answer.
    pub(crate) fn send(
        &self,
        request: Request<impl Into<Sending>>,
    ) -> (impl Future<Output = Result<Response<Incoming>, SendFault>> + Send + 'static, Place) {
        let pools = &self.of_workers[workers::number().min(self.of_workers.len() - 1)];
        let pool = pools
            .iter()
            .find(|pool| pool.busy.load(Ordering::Relaxed) < STREAMS_PER_POOL)
            .or_else(|| pools.iter().min_by_key(|pool| pool.busy.load(Ordering::Relaxed)))
            .expect("POOL_COUNT_MIN is not zero");
        pool.busy.fetch_add(1, Ordering::Relaxed);
        let place = Place { busy: pool.busy.clone() };
        let answer = pool.client.request(request.map(Into::into));
        (async move { answer.await.map_err(|error| send_fault(&error)) }, place)
    }
}

fn send_fault(error: &hyper_util::client::legacy::Error) -> SendFault {
    let mut reason = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        reason = format!("{reason}: {cause}");
        source = cause.source();
    }
    if error.is_connect() { SendFault::NotConnected(reason) } else { SendFault::Lost(reason) }
}

fn client(connector: TimedConnector) -> Client<TimedConnector, Sending> {
    // A request that a dead pooled connection hands back unsent goes out on another one; that
    // is the only sending again that happens below the retry rules, and it repeats nothing.
    Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .timer(TokioTimer::new())
        .pool_idle_timeout(POOL_IDLE)
        .http2_keep_alive_interval(PING_EVERY)
        .http2_keep_alive_timeout(PING_TIMEOUT)
        .http2_adaptive_window(true)
        .build(connector)
}

pub(crate) fn https() -> Result<HttpsConnector<HttpConnector>, rustls::Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots())
        .with_no_client_auth();
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_keepalive(Some(PING_EVERY));
    Ok(HttpsConnectorBuilder::new()
        .with_tls_config(config)
        .https_or_http()
        .enable_http1()
        .enable_http2()
        .wrap_connector(tcp))
}

/// The machine's certificates, or the compiled-in ones where the machine has none.
fn roots() -> rustls::RootCertStore {
    let mut roots = rustls::RootCertStore::empty();
    let native = rustls_native_certs::load_native_certs();
    let (taken, unreadable) = roots.add_parsable_certificates(native.certs);
    if taken == 0 {
        tracing::info!(
            certificates_unreadable = unreadable,
            "no system certificates found, using the built-in ones"
        );
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    roots
}

/// A connector whose whole work, TLS handshake included, has a time limit.
#[derive(Clone)]
struct TimedConnector {
    inner: HttpsConnector<HttpConnector>,
    snapshot: Arc<ArcSwap<Snapshot>>,
}

type Connecting =
    Pin<Box<dyn Future<Output = Result<MaybeHttpsStream<TokioIo<TcpStream>>, BoxError>> + Send>>;

impl Service<Uri> for TimedConnector {
    type Response = MaybeHttpsStream<TokioIo<TcpStream>>;
    type Error = BoxError;
    type Future = Connecting;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, uri: Uri) -> Connecting {
        let limit_ms = self.snapshot.load().settings.connect_ms_max;
        let connecting = self.inner.call(uri);
        Box::pin(async move {
            match tokio::time::timeout(Duration::from_millis(limit_ms), connecting).await {
                Ok(connected) => connected,
                Err(_) => Err(format!("no connection within {limit_ms} ms").into()),
            }
        })
    }
}

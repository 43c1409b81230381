//! What the gateway is made of, and what it is asked from outside.

use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use chamberlain_core::id::{CallId, UpstreamKeyId};
use chamberlain_core::ledger::account::{AccountId, Balance};
use chamberlain_core::money::Money;
use chamberlain_core::resource::Resource;
use chamberlain_core::rotation::Traffic;
use chamberlain_core::snapshot::Snapshot;
use chamberlain_core::time::{Clock, Entropy, Timestamp};
use http::Uri;
use prometheus_client::registry::Registry;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::admit::Hall;
use crate::batch::{Batches, OpenBatch};
use crate::body::BodyMemory;
use crate::connect::Connections;
use crate::desk::Desks;
use crate::health::Standings;
use crate::journal::Journal;
use crate::keys::KeySource;
use crate::listening::Listening;
use crate::live::Live;
use crate::metrics::Metrics;
use crate::own::{Foreign, Messages};
use crate::recall::Recalls;
use crate::strangers::Strangers;
use crate::trace::Tracer;
use crate::upstream::{BadBase, Base};
use crate::uses::Uses;

/// Where calls go.
#[derive(Clone, Debug)]
pub struct Upstream {
    /// The base URL: scheme, host, and perhaps a path that is put before every route.
    pub base: Uri,
    /// True when this is the built-in mock. No real key is ever sent to it.
    pub is_mock: bool,
}

/// Everything a [`Gateway`] is made of.
pub struct GatewayParts {
    /// What to decide by; a new snapshot holds from the next call on.
    pub snapshot: Arc<ArcSwap<Snapshot>>,
    /// Where things are put on record.
    pub journal: Arc<dyn Journal>,
    /// Where credentials come from.
    pub keys: Arc<dyn KeySource>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The source of randomness.
    pub entropy: Arc<dyn Entropy>,
    /// Where calls go.
    pub upstream: Upstream,
    /// The mock that answers test-mode keys; `None` refuses them unless `upstream` is the mock.
    pub mock: Option<Uri>,
    /// The books as the store remembers them.
    pub balances: Vec<(AccountId, Balance)>,
    /// Budget thresholds that make a notice, in percent, ascending.
    pub thresholds_percent: Vec<u32>,
    /// Threads that carry connections, each with a runtime of its own; with 0 the runtime that
    /// serves carries them.
    pub workers: usize,
}

/// Why a gateway could not be made.
#[derive(Debug, thiserror::Error)]
pub enum StartFault {
    /// A base URL cannot be used.
    #[error(transparent)]
    BadBase(#[from] BadBase),
    /// No TLS configuration could be made.
    #[error("TLS could not be set up: {0}")]
    Tls(#[from] rustls::Error),
    /// The address of the collector of traces cannot be used.
    #[error("the collector of traces has no address that can be called")]
    BadCollector,
}

/// The gateway. Cheap to clone; all clones are one gateway.
#[derive(Clone)]
pub struct Gateway {
    inner: Arc<Inner>,
}

/// How an upstream key is used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KeyUse {
    /// Calls on their way with it, those that wait included.
    pub in_flight: u64,
    /// What attempts with it have come to since the start.
    pub traffic: Traffic,
}

/// What all calls share.
pub(crate) struct Inner {
    pub(crate) snapshot: Arc<ArcSwap<Snapshot>>,
    pub(crate) journal: Arc<dyn Journal>,
    pub(crate) keys: Arc<dyn KeySource>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) base: Base,
    pub(crate) base_is_mock: bool,
    pub(crate) mock: Option<Base>,
    pub(crate) connections: Connections,
    pub(crate) hall: parking_lot::Mutex<Hall>,
    /// Told whenever money, a place or a lease became free.
    pub(crate) changed: Notify,
    pub(crate) bodies: Arc<BodyMemory>,
    pub(crate) desks: Arc<Desks>,
    /// Connections of clients that stand.
    pub(crate) connections_standing: Arc<AtomicUsize>,
    pub(crate) batches: Batches,
    pub(crate) standings: Standings,
    pub(crate) strangers: Strangers,
    pub(crate) foreign: Foreign,
    pub(crate) metrics: Metrics,
    /// Which answers went to whom, lately.
    pub(crate) messages: Messages,
    pub(crate) recalls: Recalls,
    pub(crate) uses: Uses,
    /// Who is told of each call, if anybody is.
    pub(crate) tracer: OnceLock<Tracer>,
    /// Threads that carry connections.
    pub(crate) workers: usize,
    /// Every task that works on a call after its client may have gone.
    pub(crate) calls: TaskTracker,
}

impl Gateway {
    /// Makes a gateway. Nothing is sent or listened to yet.
    ///
    /// # Errors
    /// [`StartFault`], when a base URL or TLS cannot be used.
    pub fn new(parts: GatewayParts) -> Result<Gateway, StartFault> {
        let started = parts.clock.now();
        let connections = Connections::new(parts.snapshot.clone(), parts.workers)?;
        let inner = Inner {
            base: Base::new(&parts.upstream.base)?,
            base_is_mock: parts.upstream.is_mock,
            mock: parts.mock.as_ref().map(Base::new).transpose()?,
            snapshot: parts.snapshot,
            journal: parts.journal,
            keys: parts.keys,
            clock: parts.clock,
            entropy: parts.entropy,
            connections,
            hall: parking_lot::Mutex::new(Hall::new(
                parts.balances,
                parts.thresholds_percent,
                started,
            )),
            changed: Notify::new(),
            bodies: Arc::default(),
            desks: Arc::default(),
            connections_standing: Arc::default(),
            batches: Batches::default(),
            standings: Standings::default(),
            strangers: Strangers::default(),
            foreign: Foreign::default(),
            metrics: Metrics::default(),
            messages: Messages::default(),
            recalls: Recalls::default(),
            uses: Uses::default(),
            tracer: OnceLock::new(),
            workers: parts.workers,
            calls: TaskTracker::new(),
        };
        Ok(Gateway { inner: Arc::new(inner) })
    }

    /// Takes calls until `stop` is cancelled, then lets the calls in flight end. Returns when the
    /// last one is settled.
    pub async fn serve(&self, listening: impl Into<Listening>, stop: CancellationToken) {
        crate::server::serve(self.inner.clone(), listening.into(), stop).await;
    }

    /// Gives an unsettled call its true cost in the books that calls are admitted by, after the
    /// store did, and lets waiting calls ask again.
    pub fn write_off(&self, accounts: &[AccountId], charged: Money, cost: Money) {
        self.inner.hall.lock().gate.write_off(accounts, charged, cost);
        self.inner.changed.notify_waiters();
    }

    /// Takes up the batches that were not settled when the last run ended; each is looked at soon.
    /// What is no open batch is passed over.
    pub fn take_up(&self, batches: Vec<Resource>) {
        let least_ms = self.inner.snapshot.load().settings.batch_look_ms_min;
        for batch in batches.into_iter().filter_map(OpenBatch::of) {
            let pause_ms = self.inner.random() % least_ms.max(1);
            self.inner.batches.open(batch, Duration::from_millis(pause_ms));
        }
    }

    pub(crate) fn inner(&self) -> &Arc<Inner> {
        &self.inner
    }

    /// What calls with an upstream key do now, and what they have come to since the start.
    pub fn use_of(&self, key: &UpstreamKeyId) -> KeyUse {
        let traffic = self.inner.standings.traffic(key);
        KeyUse { in_flight: self.inner.uses.of(key), traffic }
    }

    /// How things stand right now.
    pub fn live(&self) -> Live {
        self.inner.live()
    }

    /// Shows in `registry` what is counted of calls.
    pub fn register_metrics(&self, registry: &mut Registry) {
        self.inner.metrics.register(registry);
    }
}

impl Inner {
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(crate) fn mint_call(&self, now: Timestamp) -> CallId {
        let mut random = [0; 10];
        self.entropy.fill(&mut random);
        CallId::mint(now, random)
    }

    pub(crate) fn random(&self) -> u64 {
        let mut random = [0; 8];
        self.entropy.fill(&mut random);
        u64::from_le_bytes(random)
    }
}

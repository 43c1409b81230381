//! A gateway in a small world: one environment, one key, one upstream.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use chamberlain_core::admission::key::{KeyState, VirtualKey, mint};
use chamberlain_core::admission::policy::Policy;
use chamberlain_core::id::{EnvironmentName, UpstreamKeyId};
use chamberlain_core::ledger::price::PriceBook;
use chamberlain_core::money::Money;
use chamberlain_core::snapshot::{
    BreakerSettings, Budgets, Environment, GatewaySettings, Limits, Organization, RetrySettings,
    Snapshot,
};
use chamberlain_core::time::{Calendar, Clock, Entropy, Timestamp};
use chamberlain_gateway::keys::KeySource;
use chamberlain_gateway::{Gateway, GatewayParts, Upstream as Where};
use http::{HeaderValue, Method, Request};
use http_body_util::Full;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::client::{Answered, Connection};
use crate::journal::MemoryJournal;
use crate::upstream::Upstream;

pub(crate) const MODEL: &str = "claude-haiku-4-5-20251001";
pub(crate) const CREDENTIAL: &str = "the-real-key-made-for-tests";

/// A clock that starts on one fixed day and then runs.
struct RunningClock {
    started: tokio::time::Instant,
}

impl Clock for RunningClock {
    fn now(&self) -> Timestamp {
        let origin = Timestamp::from_rfc3339("2026-11-23T12:00:00Z").unwrap();
        origin.plus_ms(i64::try_from(self.started.elapsed().as_millis()).unwrap())
    }
}

/// Numbers that differ.
struct Counting(AtomicU64);

impl Entropy for Counting {
    fn fill(&self, bytes: &mut [u8]) {
        let next = self.0.fetch_add(1, Ordering::Relaxed).to_le_bytes();
        for (byte, next) in bytes.iter_mut().zip(next) {
            *byte = next;
        }
    }
}

/// One upstream key, until it is removed.
#[derive(Default)]
pub(crate) struct OneKey {
    removed: AtomicBool,
}

impl OneKey {
    pub(crate) fn remove(&self) {
        self.removed.store(true, Ordering::SeqCst);
    }
}

impl KeySource for OneKey {
    fn credential(&self, id: &UpstreamKeyId) -> Option<HeaderValue> {
        self.is_open(id).then(|| HeaderValue::from_static(CREDENTIAL))
    }

    fn is_open(&self, id: &UpstreamKeyId) -> bool {
        id.as_str() == "uk_test" && !self.removed.load(Ordering::SeqCst)
    }
}

/// What a test wants different.
pub(crate) struct Plan {
    pub(crate) settings: GatewaySettings,
    pub(crate) organization: Organization,
    pub(crate) environment: Environment,
    pub(crate) key: VirtualKey,
    pub(crate) base_is_mock: bool,
    pub(crate) with_mock: bool,
    pub(crate) base_path: &'static str,
    /// An upstream where nobody is.
    pub(crate) dead: Option<SocketAddr>,
}

pub(crate) struct World {
    pub(crate) gateway: Gateway,
    pub(crate) address: SocketAddr,
    pub(crate) upstream: Arc<Upstream>,
    pub(crate) mock: Arc<Upstream>,
    pub(crate) journal: Arc<MemoryJournal>,
    pub(crate) snapshot: Arc<ArcSwap<Snapshot>>,
    pub(crate) keys: Arc<OneKey>,
    pub(crate) key: String,
    pub(crate) stop: CancellationToken,
    pub(crate) serving: JoinHandle<()>,
}

fn plan() -> (Plan, String) {
    let minted = mint([1; 16], [2; 43]);
    let environment = Environment {
        name: EnvironmentName::new("dev"),
        policy: Policy::default(),
        budgets: Budgets { daily: Some(Money::from_usd(100)), monthly: None },
        pause_on_exceed: false,
        limits: Limits::default(),
        upstream_key: Some(UpstreamKeyId::new("uk_test")),
        is_contained: false,
        pause: None,
    };
    let key = VirtualKey {
        id: minted.id.clone(),
        name: "test".to_owned(),
        environment: environment.name.clone(),
        secret_hash: minted.secret_hash,
        policy: Policy::default(),
        budgets: Budgets::default(),
        limits: Limits::default(),
        operation: None,
        expires_at: None,
        state: KeyState::Active,
        pause: None,
        test_mode: false,
        created_at: Timestamp::default(),
    };
    let settings = GatewaySettings {
        retry: RetrySettings {
            retries_max: 3,
            initial_delay_ms: 5,
            delay_max_ms: 1_000,
            budget_percent: 20,
        },
        breaker: BreakerSettings {
            failure_threshold: 50,
            reset_timeout_ms: 60_000,
            success_threshold: 2,
        },
        ..GatewaySettings::default()
    };
    let plan = Plan {
        settings,
        organization: Organization::default(),
        environment,
        key,
        base_is_mock: false,
        with_mock: true,
        base_path: "",
        dead: None,
    };
    (plan, minted.text.expose().to_owned())
}

impl World {
    pub(crate) async fn new() -> World {
        World::with(|_| {}).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut Plan)) -> World {
        let (mut plan, key) = plan();
        change(&mut plan);
        World::made_of(plan, key).await
    }

    async fn made_of(plan: Plan, key: String) -> World {
        let (upstream, mock) = (Upstream::start().await, Upstream::start().await);
        let environment = Arc::new(plan.environment);
        let virtual_key = Arc::new(plan.key);
        let snapshot = Arc::new(ArcSwap::from_pointee(Snapshot {
            generation: 1,
            calendar: Calendar::utc(),
            organization: plan.organization,
            environments: HashMap::from([(environment.name.clone(), environment)]),
            virtual_keys: HashMap::from([(virtual_key.id.clone(), virtual_key)]),
            prices: Arc::new(PriceBook::builtin()),
            settings: plan.settings,
        }));
        let journal = Arc::new(MemoryJournal::default());
        let keys = Arc::new(OneKey::default());
        let url = |address: SocketAddr, path: &str| format!("http://{address}{path}").parse();
        let gateway = Gateway::new(GatewayParts {
            workers: 2,
            snapshot: snapshot.clone(),
            journal: journal.clone(),
            keys: keys.clone(),
            clock: Arc::new(RunningClock { started: tokio::time::Instant::now() }),
            entropy: Arc::new(Counting(AtomicU64::new(1))),
            upstream: Where {
                base: url(plan.dead.unwrap_or(upstream.address), plan.base_path).unwrap(),
                is_mock: plan.base_is_mock,
            },
            mock: plan.with_mock.then(|| url(mock.address, "").unwrap()),
            balances: Vec::new(),
            thresholds_percent: vec![75, 90, 100],
        })
        .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let (serving, stopping) = (gateway.clone(), stop.clone());
        let serving = tokio::spawn(async move { serving.serve(listener, stopping).await });
        World { gateway, address, upstream, mock, journal, snapshot, keys, key, stop, serving }
    }

    /// Publishes a snapshot that differs.
    pub(crate) fn publish(&self, change: impl FnOnce(&mut Snapshot)) {
        let mut snapshot = Snapshot::clone(&self.snapshot.load());
        snapshot.generation += 1;
        change(&mut snapshot);
        self.snapshot.store(Arc::new(snapshot));
    }

    /// A request with the key in `x-api-key`.
    pub(crate) fn request(&self, path: &str, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
        let body: Bytes = body.into();
        Request::builder()
            .method(if body.is_empty() { Method::GET } else { Method::POST })
            .uri(path)
            .header("host", "gateway.example")
            .header("x-api-key", &self.key)
            .header("anthropic-version", "2023-06-01")
            .header("content-type", "application/json")
            .body(Full::new(body))
            .unwrap()
    }

    /// A plain message request of at most 400 tokens.
    pub(crate) fn message(&self) -> Request<Full<Bytes>> {
        self.request("/v1/messages", body(""))
    }

    /// The same as a stream.
    pub(crate) fn stream(&self) -> Request<Full<Bytes>> {
        self.request("/v1/messages", body(r#","stream":true"#))
    }

    pub(crate) async fn connect(&self) -> Connection {
        Connection::open(self.address).await
    }

    /// Asks on a connection of its own.
    pub(crate) async fn ask(&self, request: Request<Full<Bytes>>) -> Answered {
        self.connect().await.ask(request).await
    }

    /// Waits until something is so.
    pub(crate) async fn until(&self, what: &str, is_so: impl Fn(&World) -> bool) {
        for _ in 0..2_000 {
            if is_so(self) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("{what} never came; {:?}", self.journal.entries());
    }

    /// Waits until every call is settled and checks that nothing is held any more.
    pub(crate) async fn settled(&self, calls: usize) {
        self.until("the settlement", |world| {
            world.journal.settlements().len() >= calls && world.gateway.live().in_flight == 0
        })
        .await;
        let live = self.gateway.live();
        assert_eq!(self.journal.settlements().len(), calls);
        for (account, balance) in &live.balances {
            assert!(balance.reserved.is_zero(), "{account}: {balance:?}");
        }
        assert_eq!((live.in_flight, live.waiting, live.body_bytes), (0, 0, 0));
        assert_eq!((live.bodies_waiting, live.bodies_read), (0, 0));
        self.journal.audit(Money::from_usd(1_000));
    }
}

/// A body of `POST /v1/messages`, with more fields if wanted.
pub(crate) fn body(more: &str) -> String {
    format!(
        concat!(
            r#"{{"model":"{}","max_tokens":400,"#,
            r#""messages":[{{"role":"user","content":"Grüße"}}]{}}}"#
        ),
        MODEL, more
    )
}

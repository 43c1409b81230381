//! The row `bare`: Chamberlain's own way of a call with everything behind it taken away.
//!
//! It is `chamberlain-gateway` as it ships, with one virtual key that is checked, the request
//! inspected, its bound computed, the answer metered and priced. The journal accepts everything
//! at once and keeps nothing: no intent on record, no ledger, no audit log, no budget, no limit.
//! What lies between this row and `everything` is what being sure of the money costs.

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::Context;
use arc_swap::ArcSwap;
use chamberlain_core::admission::key::{KeyState, MintedKey, VirtualKey, mint};
use chamberlain_core::admission::policy::Policy;
use chamberlain_core::id::{EnvironmentName, UpstreamKeyId};
use chamberlain_core::ledger::account::{Grant, LeaseWanted};
use chamberlain_core::ledger::price::PriceBook;
use chamberlain_core::record::{Intent, Notice, Settlement, TrueUp, TruedUp};
use chamberlain_core::resource::{
    Binding, Resource, ResourceId, ResourceKind, ResourceList, ResourcePage,
};
use chamberlain_core::snapshot::{
    Budgets, Environment, GatewaySettings, Limits, Organization, Snapshot,
};
use chamberlain_core::time::{Calendar, Clock, Entropy, Timestamp};
use chamberlain_gateway::journal::{Answer, Journal};
use chamberlain_gateway::keys::KeySource;
use chamberlain_gateway::{Gateway, GatewayParts, Upstream};
use http::{HeaderValue, Uri};
use serde_json::{Map, Value};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Accepts everything and keeps nothing.
struct NoJournal;

impl Journal for NoJournal {
    fn intend(&self, _: Intent) -> Answer<()> {
        accepted(())
    }

    fn settle(&self, _: Settlement) {}

    fn lease(&self, wanted: Vec<LeaseWanted>) -> Answer<Vec<Grant>> {
        let grant = |lease: LeaseWanted| Grant { account: lease.account, granted: lease.granted };
        accepted(wanted.into_iter().map(grant).collect())
    }

    fn note(&self, _: Notice) {}

    fn bind(&self, _: Resource) -> Answer<Binding> {
        accepted(Binding::Bound)
    }

    fn describe(&self, _: ResourceKind, _: ResourceId, _: Map<String, Value>) -> Answer<()> {
        accepted(())
    }

    fn forget(&self, _: ResourceKind, _: ResourceId, _: Timestamp) -> Answer<()> {
        accepted(())
    }

    fn resources(&self, wanted: Vec<(ResourceKind, ResourceId)>) -> Answer<Vec<Option<Resource>>> {
        accepted(wanted.iter().map(|_| None).collect())
    }

    fn true_up(&self, _: TrueUp) -> Answer<Option<TruedUp>> {
        accepted(None)
    }

    fn resources_of(&self, _: ResourcePage) -> Answer<Option<ResourceList>> {
        accepted(None)
    }
}

fn accepted<T: Send + 'static>(answer: T) -> Answer<T> {
    Box::pin(std::future::ready(Ok(answer)))
}

/// One credential that is none.
struct OneKey;

impl KeySource for OneKey {
    fn credential(&self, _: &UpstreamKeyId) -> Option<HeaderValue> {
        Some(HeaderValue::from_static("no-key-at-all"))
    }

    fn is_open(&self, _: &UpstreamKeyId) -> bool {
        true
    }
}

struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        now()
    }
}

struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        // As in the product: without randomness there is nothing to go on to.
        getrandom::fill(bytes).expect("the operating system gives random numbers");
    }
}

/// The system's clock.
pub(crate) fn now() -> Timestamp {
    let ms = crate::upstream::nanoseconds() / 1_000_000;
    Timestamp::from_ms(i64::try_from(ms).unwrap_or(i64::MAX))
}

/// Serves until the process is killed. Says its address and its virtual key as one JSON object.
pub(crate) fn run(listen: &str, upstream: &str) -> anyhow::Result<()> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(listen).await.context("no address")?;
        let (mut id, mut secret) = ([0; 16], [0; 43]);
        SystemEntropy.fill(&mut id);
        SystemEntropy.fill(&mut secret);
        let key = mint(id, secret);
        let gateway = gateway(&key, upstream.parse().context("upstream")?)?;
        let ready =
            serde_json::json!({ "address": listener.local_addr()?, "key": key.text.expose() });
        crate::say(&ready.to_string());
        gateway.serve(listener, CancellationToken::new()).await;
        Ok(())
    })
}

fn gateway(minted: &MintedKey, base: Uri) -> anyhow::Result<Gateway> {
    let environment = Environment {
        name: EnvironmentName::new("bench"),
        policy: Policy::default(),
        budgets: Budgets::default(),
        pause_on_exceed: false,
        limits: Limits::default(),
        upstream_key: Some(UpstreamKeyId::new("uk_bench")),
        is_contained: false,
        pause: None,
    };
    let key = VirtualKey {
        id: minted.id.clone(),
        name: "bench".to_owned(),
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
    let snapshot = Snapshot {
        generation: 1,
        calendar: Calendar::utc(),
        organization: Organization::default(),
        environments: HashMap::from([(environment.name.clone(), Arc::new(environment))]),
        virtual_keys: HashMap::from([(key.id.clone(), Arc::new(key))]),
        prices: Arc::new(PriceBook::builtin()),
        settings: GatewaySettings::default(),
    };
    Ok(Gateway::new(GatewayParts {
        workers: std::thread::available_parallelism().map_or(1, usize::from),
        snapshot: Arc::new(ArcSwap::from_pointee(snapshot)),
        journal: Arc::new(NoJournal),
        keys: Arc::new(OneKey),
        clock: Arc::new(SystemClock),
        entropy: Arc::new(SystemEntropy),
        upstream: Upstream { base, is_mock: false },
        mock: None,
        balances: Vec::new(),
        thresholds_percent: Vec::new(),
    })?)
}

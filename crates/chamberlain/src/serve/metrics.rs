//! `GET /metrics`: what the gateway counts, and how everything stands when it is asked, in the
//! OpenMetrics text format that Prometheus reads.
//!
//! docs/metrics.md explains every line; a test compares it with what is shown.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use arc_swap::ArcSwap;
use chamberlain_control::view;
use chamberlain_core::admission::breaker::BreakerState;
use chamberlain_core::ledger::account::{AccountId, Balance, Scope};
use chamberlain_core::snapshot::Snapshot;
use chamberlain_core::time::{Clock, WindowKind};
use chamberlain_gateway::{BreakerLive, Gateway, shown_usd};
use chamberlain_store::Store;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

/// What is put before every name.
const PREFIX: &str = "chamberlain";
const BREAKER_STATES: [(BreakerState, &str); 3] = [
    (BreakerState::Closed, "closed"),
    (BreakerState::HalfOpen, "half_open"),
    (BreakerState::Open, "open"),
];

type Number = Gauge<f64, AtomicU64>;

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct BudgetLabels {
    environment: String,
    window: &'static str,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct BreakerLabels {
    upstream_key: String,
    state: &'static str,
}

/// Everything that can be shown.
pub(super) struct Metrics {
    counted: Registry,
    gateway: Gateway,
    store: Store,
    snapshot: Arc<ArcSwap<Snapshot>>,
    clock: Arc<dyn Clock>,
}

impl Metrics {
    pub(super) fn new(
        gateway: Gateway,
        store: Store,
        snapshot: Arc<ArcSwap<Snapshot>>,
        clock: Arc<dyn Clock>,
    ) -> Metrics {
        let mut counted = Registry::with_prefix(PREFIX);
        let info = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        counted.register("build", "What is running", info);
        gateway.register_metrics(&mut counted);
        Metrics { counted, gateway, store, snapshot, clock }
    }

    /// The whole page. Reads the store, so it may block.
    pub(super) fn page(&self) -> Result<String, fmt::Error> {
        let mut page = String::new();
        encode_registry(&mut page, &self.counted)?;
        encode_registry(&mut page, &self.standing())?;
        encode_eof(&mut page)?;
        Ok(page)
    }

    /// How everything stands now.
    fn standing(&self) -> Registry {
        let mut registry = Registry::with_prefix(PREFIX);
        let live = self.gateway.live();
        let mut gauge = |name: &str, help: &str, value: u64| {
            let shown = Gauge::<u64, AtomicU64>::default();
            shown.set(value);
            registry.register(name, help, shown);
        };
        gauge("calls_in_flight", "Calls that were admitted and not settled", live.in_flight as u64);
        let age_s = live.oldest_batch.map_or(0, |at| self.clock.now().ms_since(at) / 1_000);
        gauge("batches_open", "Batches whose cost is not known yet", live.open_batches as u64);
        gauge("batch_oldest_seconds", "Age of the oldest of them", age_s);
        gauge("calls_waiting", "Calls that wait for a limit or for money", live.waiting as u64);
        gauge("connections", "Connections of clients", live.connections as u64);
        let held = live.body_bytes as u64;
        gauge("request_body_bytes", "Bytes of request bodies in memory", held);
        let waiting = live.bodies_waiting as u64;
        gauge(
            "request_bodies_waiting",
            "Large bodies that wait for their turn to be read",
            waiting,
        );
        let queued = self.store.health().queued as u64;
        gauge("store_queue", "What waits to be written", queued);
        // Without an answer it is left out: an old or made-up number would hide what is wrong.
        match self.store.audit_head() {
            Ok((size, _)) => gauge("audit_records", "Records of the audit log", size),
            Err(error) => tracing::warn!(%error, "the audit log's size cannot be read"),
        }
        show_breakers(&mut registry, &live.breakers);
        self.show_budgets(&mut registry, &live.balances);
        registry
    }

    fn show_budgets(&self, registry: &mut Registry, balances: &[(AccountId, Balance)]) {
        let kinds = [
            ("budget_limit_usd", "Budgets of environments"),
            ("budget_spent_usd", "What is spent of them"),
            ("budget_reserved_usd", "What is set aside of them for calls in flight"),
            ("budget_remaining_ratio", "The share of them that is neither spent nor set aside"),
        ];
        let families = kinds.map(|(name, help)| {
            let family = Family::<BudgetLabels, Number>::default();
            registry.register(name, help, family.clone());
            family
        });
        let snapshot = self.snapshot.load();
        let now = view::counted_at(balances.iter().map(|(id, _)| id), self.clock.now());
        for (environment, kind) in snapshot
            .environments
            .values()
            .flat_map(|environment| WindowKind::ALL.map(|kind| (environment, kind)))
        {
            let Some(limit) = environment.budgets.limit(kind) else { continue };
            let account = AccountId {
                scope: Scope::Environment(environment.name.clone()),
                window: snapshot.calendar.window(kind, now),
            };
            let found = balances.iter().find(|(id, _)| *id == account);
            let balance = found.map_or_else(Balance::default, |(_, balance)| *balance);
            // Nothing can be left of a budget of nothing.
            let remaining = limit.saturating_sub(balance.used()).basis_points_of(limit);
            let values = [
                shown_usd(limit),
                shown_usd(balance.spent()),
                shown_usd(balance.reserved),
                remaining.unwrap_or(0) as f64 / 10_000.0,
            ];
            let environment = environment.name.to_string();
            let labels = BudgetLabels { environment, window: kind.name() };
            for (family, value) in families.iter().zip(values) {
                family.get_or_create(&labels).set(value);
            }
        }
    }
}

fn show_breakers(registry: &mut Registry, breakers: &[BreakerLive]) {
    let family = Family::<BreakerLabels, Gauge<u64, AtomicU64>>::default();
    for breaker in breakers {
        let key = breaker.upstream_key.as_ref().map_or("mock".to_owned(), ToString::to_string);
        for (state, name) in BREAKER_STATES {
            let labels = BreakerLabels { upstream_key: key.clone(), state: name };
            family.get_or_create(&labels).set(u64::from(breaker.state == state));
        }
    }
    let help = "Breakers: 1 in the state that holds, 0 in the others";
    registry.register("breaker_state", help, family);
}

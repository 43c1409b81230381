//! What is counted of calls, for whoever watches many of them: nothing here is about one caller.
//!
//! Labels come from closed lists: routes, outcomes and codes of the code, models of the price
//! book, environments of the configuration. What a client writes never becomes a label, so no
//! client can make the list of series grow. Series are resolved once and kept; counting another
//! call takes no allocation.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use chamberlain_core::admission::retry::AttemptEnd;
use chamberlain_core::batch::Bill;
use chamberlain_core::id::EnvironmentName;
use chamberlain_core::ledger::price::PriceBook;
use chamberlain_core::money::{Money, PICO_PER_USD};
use chamberlain_core::record::{Outcome, Route, Settlement};
use chamberlain_core::usage::Tokens;
use parking_lot::{Mutex, RwLock};
use prometheus_client::encoding::{EncodeLabelSet, EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::{MetricType, TypedMetric};
use prometheus_client::registry::Registry;

use crate::notice::Witness;

/// Any model that the price book does not know, and what has no model or route.
const OTHER: &str = "other";
/// The outcome of what never became a call on record.
const REFUSED: &str = "refused";
const OUTCOMES: usize = 7;
const ROUTES: usize = 15;
/// Why an attempt is made again; see [`retry_reason`].
const RETRY_REASONS: [&str; 5] =
    ["not_connected", "rate_limited", "overloaded", "server_error", "other"];
/// Why a connection did not come to its first request.
const TURNED_AWAY: [&str; 4] = ["per_address", "timeout", "plain_http", "failed"];

/// Why a span was not exported: the queue was full, the collector did not answer, or said no.
const SPANS_DROPPED: [&str; 3] = ["queue_full", "unreachable", "refused"];

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct CallLabels {
    route: &'static str,
    model: String,
    environment: String,
    outcome: &'static str,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct CodeLabels {
    code: &'static str,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct RouteLabels {
    route: &'static str,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct RetryLabels {
    reason: &'static str,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct TurnedAwayLabels {
    reason: &'static str,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct DroppedLabels {
    reason: &'static str,
}

/// What became of spans.
#[derive(Clone)]
pub(crate) struct Spans {
    exported: Counter,
    dropped: Family<DroppedLabels, Counter>,
}

impl Default for Spans {
    fn default() -> Spans {
        let spans = Spans { exported: Counter::default(), dropped: Family::default() };
        SPANS_DROPPED.iter().for_each(|reason| spans.count_dropped(reason, 0));
        spans
    }
}

impl Spans {
    /// Counts spans that arrived.
    pub(crate) fn count_exported(&self, count: u64) {
        self.exported.inc_by(count);
    }

    /// Counts spans that are lost.
    pub(crate) fn count_dropped(&self, reason: &'static str, count: u64) {
        self.dropped.get_or_create(&DroppedLabels { reason }).inc_by(count);
    }
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct TokenLabels {
    model: String,
    kind: &'static str,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct SpendLabels {
    environment: String,
    model: String,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct ModelLabels {
    model: String,
}

/// Money that was charged. Exact until it is shown.
#[derive(Clone, Default, Debug)]
struct Spend(Arc<Mutex<i128>>);

impl Spend {
    fn add(&self, money: Money) {
        let mut pico = self.0.lock();
        *pico = pico.saturating_add(money.pico());
    }
}

impl TypedMetric for Spend {
    const TYPE: MetricType = MetricType::Counter;
}

impl EncodeMetric for Spend {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), fmt::Error> {
        let usd = shown_usd(Money::from_pico(*self.0.lock()));
        encoder.encode_counter::<NoLabelSet, f64, f64>(&usd, None)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

/// Dollars as Prometheus wants them: a float, and so for showing only.
pub fn shown_usd(money: Money) -> f64 {
    money.pico() as f64 / PICO_PER_USD as f64
}

type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;

/// Everything that is counted.
pub(crate) struct Metrics {
    requests: Family<CallLabels, Counter>,
    refusals: Family<CodeLabels, Counter>,
    duration: Histograms<RouteLabels>,
    first_byte: Histograms<RouteLabels>,
    overhead: Histogram,
    tokens: Family<TokenLabels, Counter>,
    spend: Family<SpendLabels, Spend>,
    reservation_ratio: Histograms<ModelLabels>,
    retries: Family<RetryLabels, Counter>,
    turned_away: Family<TurnedAwayLabels, Counter>,
    pub(crate) spans: Spans,
    series: RwLock<HashMap<EnvironmentName, HashMap<String, Arc<Series>>>>,
}

/// The series of one environment and model, resolved as they are needed.
#[derive(Default)]
struct Series {
    calls: [[OnceLock<Counter>; OUTCOMES]; ROUTES],
    refused: [OnceLock<Counter>; ROUTES],
    spent: OnceLock<Spent>,
}

/// What only a call that used something needs.
struct Spent {
    /// Beside [`kinds`].
    tokens: [Counter; 5],
    spend: Spend,
    reservation_ratio: Histogram,
}

impl Default for Metrics {
    fn default() -> Metrics {
        let metrics = Metrics {
            requests: Family::default(),
            refusals: Family::default(),
            duration: Family::new_with_constructor(durations),
            first_byte: Family::new_with_constructor(durations),
            overhead: Histogram::new([
                0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05,
                0.1, 0.25, 1.0,
            ]),
            tokens: Family::default(),
            spend: Family::default(),
            reservation_ratio: Family::new_with_constructor(ratios),
            retries: Family::default(),
            turned_away: Family::default(),
            spans: Spans::default(),
            series: RwLock::default(),
        };
        // A rate of what never happened yet is nothing, not unknown.
        for reason in RETRY_REASONS {
            drop(metrics.retries.get_or_create(&RetryLabels { reason }));
        }
        for reason in TURNED_AWAY {
            drop(metrics.turned_away.get_or_create(&TurnedAwayLabels { reason }));
        }
        metrics
    }
}

fn durations() -> Histogram {
    Histogram::new([
        0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0,
    ])
}

fn ratios() -> Histogram {
    Histogram::new([1.0, 1.1, 1.25, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0, 50.0, 100.0, 1_000.0])
}

impl Metrics {
    /// Shows them in `registry`.
    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register("requests", "Requests that ended, by how", self.requests.clone());
        registry.register("refusals", "Answers of our own that say no", self.refusals.clone());
        let help = "From a request's head to the end of its answer";
        registry.register("request_duration_seconds", help, self.duration.clone());
        let help = "From a request's head to the head of upstream's answer";
        registry.register("time_to_first_byte_seconds", help, self.first_byte.clone());
        let help = "Our own time before a call leaves, without waiting for anybody else";
        registry.register("overhead_seconds", help, self.overhead.clone());
        registry.register("tokens", "Tokens that were charged", self.tokens.clone());
        registry.register("spend_usd", "Money that was charged", self.spend.clone());
        let help = "What was set aside for a call, as a multiple of its cost";
        registry.register("reservation_ratio", help, self.reservation_ratio.clone());
        let help = "Attempts that were made again";
        registry.register("upstream_retries", help, self.retries.clone());
        let help = "Connections that ended before they could ask anything";
        registry.register("connections_turned_away", help, self.turned_away.clone());
        let help = "Spans that a collector of traces took";
        registry.register("trace_spans_exported", help, self.spans.exported.clone());
        let help = "Spans that no collector of traces has";
        registry.register("trace_spans_dropped", help, self.spans.dropped.clone());
    }

    /// Counts a call that was settled.
    pub(crate) fn count_settled(
        &self,
        settlement: &Settlement,
        ended: Ended<'_>,
        prices: &PriceBook,
    ) {
        let Ended { route, model, environment, took, cost_comes_later } = ended;
        let model = known(model, prices);
        let series = self.series(environment, model);
        let outcome = settlement.outcome;
        let labels = || CallLabels {
            route: route_name(route),
            model: model.to_owned(),
            environment: environment.to_string(),
            outcome: outcome_name(outcome),
        };
        series.calls[route_place(route)][outcome_place(outcome)]
            .get_or_init(|| self.requests.get_or_create_owned(&labels()))
            .inc();
        let route = RouteLabels { route: route_name(route) };
        self.duration.get_or_create(&route).observe(took.as_secs_f64());
        let is_nothing = settlement.tokens == Tokens::default() && settlement.cost.is_zero();
        if is_nothing || cost_comes_later {
            return;
        }
        let spent = series.spent.get_or_init(|| self.spent(environment, model));
        for (counter, (_, count)) in spent.tokens.iter().zip(kinds(&settlement.tokens)) {
            counter.inc_by(count);
        }
        spent.spend.add(settlement.cost);
        if let Some(points) = settlement.reserved.basis_points_of(settlement.cost) {
            spent.reservation_ratio.observe(points as f64 / 10_000.0);
        }
    }

    /// Counts what a batch did cost, when it was learned.
    pub(crate) fn count_learned(
        &self,
        environment: &EnvironmentName,
        bill: &Bill,
        prices: &PriceBook,
    ) {
        let model = known(bill.served_model.as_deref().unwrap_or(OTHER), prices);
        let series = self.series(environment, model);
        let spent = series.spent.get_or_init(|| self.spent(environment, model));
        for (counter, (_, count)) in spent.tokens.iter().zip(kinds(&bill.tokens)) {
            counter.inc_by(count);
        }
        spent.spend.add(bill.cost);
    }

    /// Counts an answer of our own, and the request it ends unless that is counted when its call
    /// is settled.
    pub(crate) fn count_stop(&self, witness: &Witness, code: &'static str) {
        self.refusals.get_or_create(&CodeLabels { code }).inc();
        if witness.is_on_record {
            return;
        }
        let model = witness.model.as_deref().unwrap_or(OTHER);
        let route = witness.route.map_or(OTHER, route_name);
        let labels = || CallLabels {
            route,
            model: model.to_owned(),
            environment: witness.environment.as_ref().map(ToString::to_string).unwrap_or_default(),
            outcome: REFUSED,
        };
        match (&witness.environment, witness.route) {
            (Some(environment), Some(route)) => self.series(environment, model).refused
                [route_place(route)]
            .get_or_init(|| self.requests.get_or_create_owned(&labels()))
            .inc(),
            _ => self.requests.get_or_create(&labels()).inc(),
        };
    }

    /// Notes that an answer of upstream has begun.
    pub(crate) fn observe_first_byte(&self, route: Route, took: Duration) {
        let route = RouteLabels { route: route_name(route) };
        self.first_byte.get_or_create(&route).observe(took.as_secs_f64());
    }

    /// Notes what we took ourselves before a call left.
    pub(crate) fn observe_overhead(&self, took: Duration) {
        self.overhead.observe(took.as_secs_f64());
    }

    /// Counts an attempt that is made again.
    pub(crate) fn count_retry(&self, end: AttemptEnd) {
        self.retries.get_or_create(&RetryLabels { reason: retry_reason(end) }).inc();
    }

    /// Counts a connection that did not come to its first request.
    pub(crate) fn count_turned_away(&self, reason: &'static str) {
        self.turned_away.get_or_create(&TurnedAwayLabels { reason }).inc();
    }

    fn series(&self, environment: &EnvironmentName, model: &str) -> Arc<Series> {
        let find = |all: &HashMap<EnvironmentName, HashMap<String, Arc<Series>>>| {
            all.get(environment).and_then(|models| models.get(model)).cloned()
        };
        if let Some(series) = find(&self.series.read()) {
            return series;
        }
        let mut all = self.series.write();
        let models = all.entry(environment.clone()).or_default();
        models.entry(model.to_owned()).or_default().clone()
    }

    fn spent(&self, environment: &EnvironmentName, model: &str) -> Spent {
        let of_kind = |(kind, _)| {
            self.tokens.get_or_create_owned(&TokenLabels { model: model.to_owned(), kind })
        };
        let (environment, model) = (environment.to_string(), model.to_owned());
        Spent {
            tokens: kinds(&Tokens::default()).map(of_kind),
            reservation_ratio: self
                .reservation_ratio
                .get_or_create_owned(&ModelLabels { model: model.clone() }),
            spend: self.spend.get_or_create_owned(&SpendLabels { environment, model }),
        }
    }
}

/// What is known of a call that ended besides its settlement.
#[derive(Clone, Copy)]
pub(crate) struct Ended<'a> {
    pub(crate) route: Route,
    /// As the client wrote it.
    pub(crate) model: &'a str,
    pub(crate) environment: &'a EnvironmentName,
    /// From the head of the request.
    pub(crate) took: Duration,
    /// What it is charged now is not what it cost.
    pub(crate) cost_comes_later: bool,
}

/// The model's own name, whatever it was called; not one that a client made up.
fn known<'a>(model: &str, prices: &'a PriceBook) -> &'a str {
    prices.model(model).map_or(OTHER, |model| &model.id)
}

fn kinds(tokens: &Tokens) -> [(&'static str, u64); 5] {
    [
        ("input", tokens.input),
        ("cache_write_5m", tokens.cache_write_5m),
        ("cache_write_1h", tokens.cache_write_1h),
        ("cache_read", tokens.cache_read),
        ("output", tokens.output),
    ]
}

fn retry_reason(end: AttemptEnd) -> &'static str {
    match end {
        AttemptEnd::NotConnected => "not_connected",
        AttemptEnd::Answered { status: 429, .. } => "rate_limited",
        AttemptEnd::Answered { status: 529, .. } => "overloaded",
        AttemptEnd::Answered { status: 500..=599, .. } => "server_error",
        AttemptEnd::Answered { .. } | AttemptEnd::Unknown => OTHER,
    }
}

pub(crate) fn route_name(route: Route) -> &'static str {
    match route {
        Route::Messages => "messages",
        Route::CountTokens => "count_tokens",
        Route::Models => "models",
        Route::Model => "model",
        Route::BatchCreate => "batch_create",
        Route::Batches => "batches",
        Route::Batch => "batch",
        Route::BatchResults => "batch_results",
        Route::BatchCancel => "batch_cancel",
        Route::BatchDelete => "batch_delete",
        Route::FileUpload => "file_upload",
        Route::Files => "files",
        Route::File => "file",
        Route::FileContent => "file_content",
        Route::FileDelete => "file_delete",
    }
}

fn route_place(route: Route) -> usize {
    match route {
        Route::Messages => 0,
        Route::CountTokens => 1,
        Route::Models => 2,
        Route::Model => 3,
        Route::FileUpload => 4,
        Route::Files => 5,
        Route::File => 6,
        Route::FileContent => 7,
        Route::FileDelete => 8,
        Route::BatchCreate => 9,
        Route::Batches => 10,
        Route::Batch => 11,
        Route::BatchResults => 12,
        Route::BatchCancel => 13,
        Route::BatchDelete => 14,
    }
}

pub(crate) fn outcome_name(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Completed => "completed",
        Outcome::UpstreamRefused => "upstream_refused",
        Outcome::UpstreamFailed => "upstream_failed",
        Outcome::ClientLeft => "client_left",
        Outcome::Cut => "cut",
        Outcome::NotSent => "not_sent",
        Outcome::OurFault => "our_fault",
    }
}

fn outcome_place(outcome: Outcome) -> usize {
    match outcome {
        Outcome::Completed => 0,
        Outcome::UpstreamRefused => 1,
        Outcome::UpstreamFailed => 2,
        Outcome::ClientLeft => 3,
        Outcome::Cut => 4,
        Outcome::NotSent => 5,
        Outcome::OurFault => 6,
    }
}

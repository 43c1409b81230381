//! A permit: money set aside for one call, and the duty to say how it ended. Used up exactly once.

use std::future::Future;
use std::sync::Arc;

use chamberlain_core::admission::gate::{Ending, Reservation};
use chamberlain_core::admission::refusal::Refusal;
use chamberlain_core::anthropic::meter::SoFar;
use chamberlain_core::ledger::cost::CostContext;
use chamberlain_core::ledger::cut::may_be_used_up;
use chamberlain_core::money::Money;
use chamberlain_core::record::{Certainty, Notice, Outcome, Route, Settlement, Severity};
use chamberlain_core::usage::Tokens;
use serde_json::{Map, json};
use tokio::time::Instant;

use crate::ending::{Bill, Concern, End, Seen, Verdict, judge};
use crate::gateway::Inner;
use crate::identify::Call;
use crate::log;
use crate::metrics::Ended;
use crate::record::Subject;
use crate::route::costs;
use crate::stopwatch::Stopwatch;
use crate::trace::Said;

/// What a call is, and what has happened to it so far.
pub(crate) struct Tale {
    pub(crate) call: Call,
    pub(crate) subject: Arc<Subject>,
    started: Instant,
    attempts: u32,
    first_byte_ms: Option<u64>,
    /// Until the call has left, for telling how much of its time was ours.
    watch: Option<Stopwatch>,
}

impl Tale {
    pub(crate) fn new(call: Call, subject: Arc<Subject>) -> Tale {
        Tale {
            call,
            subject,
            started: Instant::now(),
            attempts: 0,
            first_byte_ms: None,
            watch: None,
        }
    }

    fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// The right to send one call, and the duty to settle it.
#[must_use = "a permit that is dropped settles as our fault"]
pub(crate) struct Permit {
    gateway: Arc<Inner>,
    held: Option<Box<Held>>,
}

struct Held {
    reservation: Reservation,
    tale: Tale,
    /// True while upstream may be working on the call.
    exposed: bool,
}

impl Permit {
    pub(crate) fn new(gateway: Arc<Inner>, reservation: Reservation, tale: Tale) -> Permit {
        Permit { gateway, held: Some(Box::new(Held { reservation, tale, exposed: false })) }
    }

    pub(crate) fn gateway(&self) -> &Arc<Inner> {
        &self.gateway
    }

    /// What is set aside.
    pub(crate) fn reserved(&self) -> Money {
        self.held
            .as_ref()
            .expect("held until settled, and settling takes the permit")
            .reservation
            .cost
    }

    pub(crate) fn tale(&self) -> &Tale {
        &self.held.as_ref().expect("held until settled, and settling takes the permit").tale
    }

    /// Whether less was set aside than the call may cost, so that it must be ended in time.
    pub(crate) fn is_short(&self) -> bool {
        self.held.as_ref().is_some_and(|held| held.reservation.short)
    }

    /// Whether what was set aside may be used up, by what a stream has shown so far.
    pub(crate) fn may_be_used_up(&self, so_far: SoFar) -> bool {
        let Some(Held { reservation, tale, .. }) = self.held.as_deref() else { return true };
        let Tale { call, subject, .. } = tale;
        let context = CostContext {
            at: call.at,
            requested_model: &subject.model,
            served_model: &subject.model,
            stop_reason: None,
            assume_us_geo: call.snapshot.settings.assume_us_geo,
            batch: false,
        };
        may_be_used_up(so_far, reservation.cost, context, &call.snapshot.prices)
    }

    fn held(&mut self) -> &mut Held {
        self.held.as_mut().expect("held until settled, and settling takes the permit")
    }

    /// Notes that the call is about to be sent: from now on its outcome is unknown until seen.
    pub(crate) fn expose(&mut self) {
        let held = self.held();
        held.exposed = true;
        held.tale.attempts += 1;
        if let Some(watch) = held.tale.watch.take() {
            self.gateway.metrics.observe_overhead(watch.ours());
        }
    }

    /// Says how long the call has taken so far, and how much of it was ours.
    pub(crate) fn watch(&mut self, watch: Stopwatch) {
        self.held().tale.watch = Some(watch);
    }

    /// Notes that the last attempt surely did nothing.
    pub(crate) fn unexpose(&mut self) {
        self.held().exposed = false;
    }

    /// Notes that an answer has begun.
    pub(crate) fn first_byte(&mut self) {
        let held = self.held();
        held.tale.first_byte_ms = Some(held.tale.elapsed_ms());
        let (route, took) = (held.tale.subject.route, held.tale.call.watch.elapsed());
        self.gateway.metrics.observe_first_byte(route, took);
    }

    /// Counts another attempt against the request limit.
    pub(crate) fn count_attempt(&mut self) -> Result<(), Refusal> {
        let gateway = self.gateway.clone();
        let now = gateway.now();
        gateway.hall.lock().gate.count_attempt(&self.held().reservation, now)
    }

    /// Gives everything back for a call that is not on record. Nothing is told to the journal.
    pub(crate) fn forget(mut self) {
        let Some(held) = self.held.take() else { return };
        let nothing = Ending {
            cost: Money::ZERO,
            unsettled: false,
            input_tokens: Some(0),
            output_tokens: Some(0),
        };
        let now = self.gateway.now();
        let events = self.gateway.hall.lock().gate.settle(held.reservation, nothing, now);
        self.gateway.changed.notify_waiters();
        self.gateway.note_budgets(events, now);
    }

    /// Settles the call.
    pub(crate) fn settle(mut self, end: End) {
        if let Some(held) = self.held.take() {
            held.settle(&self.gateway, end);
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let Some(held) = self.held.take() else { return };
        let seen = if held.exposed { Seen::Forsaken } else { Seen::NotSent };
        held.settle(&self.gateway, End::new(seen, 499));
    }
}

impl Held {
    /// Ends the reservation in the gate and on record, in one step under the lock.
    fn settle(self: Box<Self>, gateway: &Arc<Inner>, end: End) {
        let verdict = self.verdict(&end);
        let (call, subject) = (self.tale.call.clone(), self.tale.subject.clone());
        let now = gateway.now();
        let is_accepted = end.seen == Seen::Accepted;
        let (message_id, error_type) = words(gateway, &end);
        let settlement = self.settlement(&verdict, end, now);
        let ending = Ending {
            cost: verdict.cost,
            unsettled: verdict.certainty == Certainty::Unsettled,
            input_tokens: verdict.counted.map(|tokens| tokens.limited_input()),
            output_tokens: verdict.counted.map(|tokens| tokens.output),
        };
        log::ended(&settlement, &call, &subject);
        let took = call.watch.elapsed();
        gateway.trace(Said {
            settlement: &settlement,
            call: &call,
            subject: &subject,
            message_id: message_id.as_deref(),
            error_type: error_type.as_deref(),
            took,
        });
        let ended = Ended {
            route: subject.route,
            model: &subject.model,
            environment: &call.environment.name,
            took,
            cost_comes_later: is_accepted,
        };
        gateway.metrics.count_settled(&settlement, ended, &call.snapshot.prices);
        let concern = verdict.concern;
        // That the cost of a batch is not known yet is as it should be.
        let notices = match is_accepted {
            true => Vec::new(),
            false => concern_notices(&settlement, concern, &call, &subject),
        };
        let events = {
            let mut hall = gateway.hall.lock();
            let events = hall.gate.settle(self.reservation, ending, now);
            gateway.journal.settle(settlement);
            events
        };
        gateway.changed.notify_waiters();
        gateway.note_budgets(events, now);
        for notice in notices {
            gateway.note(notice);
        }
    }

    fn verdict(&self, end: &End) -> Verdict {
        let Tale { call, subject, .. } = &self.tale;
        let bill = Bill {
            free: !costs(subject.route),
            reserved: self.reservation.cost,
            at: call.at,
            requested_model: &subject.model,
            max_tokens: subject.max_tokens,
            samples_again: subject.samples_again,
            short: self.reservation.short,
            works_later: subject.route == Route::BatchCreate,
            assume_us_geo: call.snapshot.settings.assume_us_geo,
            prices: &call.snapshot.prices,
        };
        judge(end, &bill)
    }

    fn settlement(
        &self,
        verdict: &Verdict,
        end: End,
        now: chamberlain_core::time::Timestamp,
    ) -> Settlement {
        let (tale, reservation) = (&self.tale, &self.reservation);
        let metered = match end.seen {
            Seen::Answered { metered, .. } => *metered,
            _ => Default::default(),
        };
        Settlement {
            call: reservation.call,
            at: now,
            outcome: verdict.outcome,
            certainty: verdict.certainty,
            cost: verdict.cost,
            reserved: reservation.cost,
            accounts: reservation.accounts.clone(),
            served_model: metered.served_model,
            tokens: verdict.tokens,
            usage: metered.usage,
            status: end.status,
            upstream_request_id: end.upstream_request_id,
            stop_reason: metered.stop_reason,
            attempts: tale.attempts,
            first_byte_ms: tale.first_byte_ms,
            duration_ms: tale.elapsed_ms(),
        }
    }
}

/// The id of an answer and the type of its error, where somebody is told of them.
fn words(gateway: &Inner, end: &End) -> (Option<String>, Option<String>) {
    match &end.seen {
        Seen::Answered { metered, .. } if gateway.tracer.get().is_some() => {
            (metered.message_id.clone(), metered.error_type.clone())
        }
        _ => (None, None),
    }
}

/// What a person should hear about how a call ended.
fn concern_notices(
    settlement: &Settlement,
    concern: Option<Concern>,
    call: &Call,
    subject: &Subject,
) -> Vec<Notice> {
    let mut notices = Vec::new();
    let mut tell = |kind: &str, severity, message: String| {
        let mut facts = Map::new();
        facts.insert("call".to_owned(), json!(settlement.call));
        facts.insert("virtual_key".to_owned(), json!(call.key.id));
        facts.insert("environment".to_owned(), json!(call.environment.name));
        facts.insert("model".to_owned(), json!(subject.model));
        facts.insert("served_model".to_owned(), json!(settlement.served_model));
        facts.insert("cost".to_owned(), json!(settlement.cost));
        facts.insert("reserved".to_owned(), json!(settlement.reserved));
        notices.push(Notice {
            at: settlement.at,
            kind: kind.to_owned(),
            severity,
            subject: format!("virtual key {}", call.key.id),
            message,
            facts,
            notify: false,
        });
    };
    let id = settlement.call;
    let overrun = settlement.overrun();
    if !overrun.is_zero() {
        let by = overrun.to_display();
        let message =
            format!("{id} cost {by} more than was set aside for it: its bound was wrong.");
        tell("ledger.overrun", Severity::Critical, message);
    }
    match concern {
        Some(Concern::Unpriced) => tell(
            "ledger.unpriced",
            Severity::High,
            format!(
                "{id} was served by a model without a price; its whole reservation is charged."
            ),
        ),
        Some(Concern::Unmetered) => tell(
            "ledger.unmetered",
            Severity::High,
            format!("{id} was answered without readable usage; its whole reservation is charged."),
        ),
        None if settlement.certainty == Certainty::Unsettled => tell(
            "ledger.unsettled",
            Severity::Warning,
            format!("What became of {id} is unknown; its whole reservation stays charged."),
        ),
        None => {}
    }
    if settlement.outcome == Outcome::OurFault {
        tell("call.abandoned", Severity::High, format!("{id} was dropped by Chamberlain itself."));
    }
    notices
}

impl Inner {
    /// Does something beside the call that caused it. It is waited for at shutdown.
    pub(crate) fn aside(&self, work: impl Future<Output = ()> + Send + 'static) {
        // Without a runtime the process is ending; dropping the work settles what it holds.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            self.calls.spawn_on(work, &runtime);
        }
    }
}

/// Nothing used.
pub(crate) const NO_TOKENS: Tokens =
    Tokens { input: 0, cache_write_5m: 0, cache_write_1h: 0, cache_read: 0, output: 0 };

//! The gate: rate limits, concurrency and budgets of every scope, all or nothing.
//!
//! A plain state machine under the caller's lock. It never waits: when a call could pass later it
//! says when, when it needs a durable lease first it says which.

use super::limit::SlidingWindow;
use super::refusal::{LimitKind, Refusal};
use crate::anthropic::request::RequestFacts;
use crate::id::CallId;
use crate::ledger::account::{AccountId, Balance, Grant, LeaseWanted, Scope};
use crate::ledger::book::{Book, Fit, Line, Shortfall, lines_in};
use crate::ledger::bound::Bound;
use crate::money::Money;
use crate::quick::QuickMap;
use crate::snapshot::{Budgets, Limits};
use crate::time::{Calendar, Timestamp};

pub use crate::ledger::book::BudgetEvent;

/// One scope a call belongs to, with the terms in force.
#[derive(Clone, PartialEq, Debug)]
pub struct Terms {
    /// The scope.
    pub scope: Scope,
    /// Its budgets.
    pub budgets: Budgets,
    /// Its limits.
    pub limits: Limits,
}

/// A call that wants to pass.
#[derive(Clone, Debug)]
pub struct AdmissionRequest<'a> {
    /// The call.
    pub call: CallId,
    /// Now.
    pub now: Timestamp,
    /// The calendar of the windows.
    pub calendar: &'a Calendar,
    /// The scopes, widest first: organization, environment, virtual key. For each kind of rate
    /// limit the narrowest scope that sets it counts, and only that one; budgets count in all.
    pub terms: &'a [Terms],
    /// What the call may cost and use at most; `None` for a free call (count_tokens, models),
    /// which counts as a request and is charged to no account.
    pub bound: Option<Bound>,
    /// Prompt tokens as rate limits should count them until the true number is known; see
    /// [`estimated_input_tokens`].
    pub estimated_input_tokens: u64,
    /// `max_tokens` of the request, for saying what would fit.
    pub max_tokens: Option<u64>,
}

/// A fair guess at a prompt's tokens, for rate limits only: a third of its bytes, and 1,600 for
/// each image. Rate limits are corrected when the true number is known; money never relies on
/// this.
pub fn estimated_input_tokens(facts: &RequestFacts) -> u64 {
    facts.prompt_bytes.div_ceil(3).saturating_add(facts.images.saturating_mul(1_600))
}

/// The answer.
#[derive(Debug)]
pub enum Admission {
    /// It may pass; the reservation must be settled.
    Admitted(Reservation),
    /// Not now: it could pass when time goes on or calls in flight end.
    Wait(Wait),
    /// First make these leases durable, hand them to [`Gate::grant`], then ask again.
    Lease(Vec<LeaseWanted>),
    /// No.
    Refused(Refusal),
}

/// When to ask again.
#[derive(Clone, PartialEq, Debug)]
pub struct Wait {
    /// The earliest moment a rate limit would let it pass; `None` when only the end of a call in
    /// flight can help (concurrency, money).
    pub until: Option<Timestamp>,
    /// What to tell the client if it does not wait.
    pub refusal: Refusal,
}

/// What an admitted call holds. Given back to [`Gate::settle`] exactly once.
#[must_use = "a reservation that is not settled freezes money"]
#[derive(Debug)]
pub struct Reservation {
    /// The call.
    pub call: CallId,
    /// When it was admitted.
    pub at: Timestamp,
    /// Money set aside.
    pub cost: Money,
    /// True when that is less than the call's bound: it must be ended before it is used up.
    pub short: bool,
    /// The accounts it is set aside in.
    pub accounts: Vec<AccountId>,
    charges: [Option<Charge>; 4],
}

/// Units counted against one rate limit.
#[derive(Clone, PartialEq, Debug)]
struct Charge {
    scope: Scope,
    limit: u64,
    units: u64,
}

/// How an admitted call ended, in numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ending {
    /// What is charged.
    pub cost: Money,
    /// True when the outcome is unknown and `cost` is the reservation.
    pub unsettled: bool,
    /// Input tokens as rate limits count them; `None` keeps what was charged at admission.
    pub input_tokens: Option<u64>,
    /// Output tokens; `None` keeps what was charged at admission.
    pub output_tokens: Option<u64>,
}

const KINDS: [LimitKind; 4] =
    [LimitKind::Concurrency, LimitKind::Requests, LimitKind::InputTokens, LimitKind::OutputTokens];
const CONCURRENCY: usize = 0;
const REQUESTS: usize = 1;
const INPUT: usize = 2;
const OUTPUT: usize = 3;

/// The counters of one scope.
#[derive(Clone, Default, Debug)]
struct Counters {
    in_flight: u64,
    windows: [SlidingWindow; 3],
}

impl Counters {
    fn window(&mut self, kind: usize) -> &mut SlidingWindow {
        &mut self.windows[kind - REQUESTS]
    }
}

/// The gate.
#[derive(Debug)]
pub struct Gate {
    book: Book,
    counters: QuickMap<Scope, Counters>,
    events: Vec<BudgetEvent>,
    in_flight: usize,
}

impl Gate {
    /// A gate over the balances that the store remembers. `thresholds_percent` (ascending) is what
    /// budget events are made for; a threshold already passed is not reported again.
    /// `started` is now; see [`Book::new`].
    pub fn new(
        balances: Vec<(AccountId, Balance)>,
        thresholds_percent: Vec<u32>,
        started: Timestamp,
    ) -> Gate {
        Gate {
            book: Book::new(balances, thresholds_percent, started),
            counters: QuickMap::default(),
            events: Vec::new(),
            in_flight: 0,
        }
    }

    /// Asks to pass. Nothing is consumed unless the answer is [`Admission::Admitted`].
    pub fn admit(&mut self, request: &AdmissionRequest<'_>) -> Admission {
        self.decide(request, false)
    }

    /// Asks to pass with what is left, for a call that will be ended when that may be used up.
    /// Where its bound fits, or where not even the least to begin with does, this is
    /// [`admit`](Gate::admit).
    pub fn admit_short(&mut self, request: &AdmissionRequest<'_>) -> Admission {
        self.decide(request, true)
    }

    fn decide(&mut self, request: &AdmissionRequest<'_>, may_be_short: bool) -> Admission {
        let lines = self.lines(request);
        let bound = request.bound.map_or(Money::ZERO, |bound| bound.cost);
        let mut cost = bound;
        let mut fit = self.book.fit(&lines, cost);
        if may_be_short
            && matches!(fit, Fit::Never(_) | Fit::WhenReleased(_))
            && let Some(left) = self.book.left(&lines)
            && request.bound.and_then(|bound| bound.least_to_cut).is_some_and(|least| least <= left)
        {
            cost = left.min(bound);
            fit = self.book.fit(&lines, cost);
        }
        if let Fit::Never(shortfall) = &fit {
            self.events.extend(self.book.refused(shortfall));
            return Admission::Refused(budget_refusal(shortfall, request));
        }
        let charges = charges(request);
        if let Some(answer) = self.rates_say(&charges, request.now) {
            return answer;
        }
        match fit {
            Fit::WhenReleased(shortfall) => {
                Admission::Wait(Wait { until: None, refusal: budget_refusal(&shortfall, request) })
            }
            Fit::NeedsLeases(wanted) => Admission::Lease(wanted),
            Fit::Fits | Fit::Never(_) => {
                let mut reservation = self.take(request, &lines, cost, charges);
                reservation.short = cost < bound;
                Admission::Admitted(reservation)
            }
        }
    }

    /// What the limits on requests and on calls in flight would say to one more, whatever it is;
    /// `None` when they would let it pass now. Nothing is consumed.
    pub fn requests_say(&mut self, terms: &[Terms], now: Timestamp) -> Option<Admission> {
        let mut charges = [const { None }; 4];
        for kind in [CONCURRENCY, REQUESTS] {
            let one =
                |(scope, limit): (&Scope, u64)| Charge { scope: scope.clone(), limit, units: 1 };
            charges[kind] = in_force(terms, kind).map(one);
        }
        self.rates_say(&charges, now)
    }

    /// Counts another attempt of an admitted call against its request limit.
    ///
    /// # Errors
    /// The limit that would be broken; then the call is not sent again.
    pub fn count_attempt(
        &mut self,
        reservation: &Reservation,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let Some(charge) = &reservation.charges[REQUESTS] else { return Ok(()) };
        let window = self.counters.entry(charge.scope.clone()).or_default().window(REQUESTS);
        match window.fits_at(1, charge.limit, now) {
            Some(at) if at <= now => {
                window.add(1, now);
                Ok(())
            }
            at => Err(rate_refusal(REQUESTS, charge, at, now)),
        }
    }

    /// Ends a reservation: charges the cost, lets the rest go, corrects the rate limits.
    pub fn settle(
        &mut self,
        reservation: Reservation,
        ending: Ending,
        now: Timestamp,
    ) -> Vec<BudgetEvent> {
        self.in_flight -= 1;
        let actual = [None, None, ending.input_tokens, ending.output_tokens];
        for (kind, charge) in reservation.charges.iter().enumerate() {
            let Some(charge) = charge else { continue };
            let Some(counters) = self.counters.get_mut(&charge.scope) else { continue };
            match (kind, actual[kind]) {
                (CONCURRENCY, _) => counters.in_flight = counters.in_flight.saturating_sub(1),
                (_, Some(units)) => {
                    counters.window(kind).correct(charge.units, units, reservation.at, now);
                }
                (_, None) => {}
            }
        }
        self.book.settle(&reservation.accounts, reservation.cost, ending.cost, ending.unsettled)
    }

    /// Gives an unsettled call its true cost, after the store did.
    pub fn write_off(&mut self, accounts: &[AccountId], charged: Money, cost: Money) {
        self.book.write_off(accounts, charged, cost);
    }

    /// Takes leases that are durable now.
    pub fn grant(&mut self, grants: &[Grant]) {
        self.book.grant(grants);
    }

    /// Events noticed at admission (a refusal for money at an exhausted budget); drained by the
    /// caller after [`Gate::admit`].
    pub fn take_events(&mut self) -> Vec<BudgetEvent> {
        std::mem::take(&mut self.events)
    }

    /// The books of every account in a window that has not ended.
    pub fn balances(&self, now: Timestamp) -> Vec<(AccountId, Balance)> {
        self.book.balances(now)
    }

    /// Calls in flight.
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// What the request limit in force has left: limit, remaining, and when it is whole again.
    pub fn request_limit(
        &mut self,
        terms: &[Terms],
        now: Timestamp,
    ) -> Option<(u64, u64, Timestamp)> {
        let (scope, limit) = in_force(terms, REQUESTS)?;
        let window = self.counters.entry(scope.clone()).or_default().window(REQUESTS);
        let count = window.count(now);
        Some((limit, limit.saturating_sub(count), window.whole_at(now)))
    }

    fn lines(&mut self, request: &AdmissionRequest<'_>) -> Vec<Line> {
        if request.bound.is_none() {
            return Vec::new();
        }
        let windows = self.book.windows(request.calendar, request.now);
        let mut lines = Vec::with_capacity(request.terms.len() * 2);
        for terms in request.terms {
            lines.extend(lines_in(windows, &terms.scope, &terms.budgets));
        }
        lines
    }

    /// `None` when every rate limit lets the call pass now.
    fn rates_say(&mut self, charges: &[Option<Charge>; 4], now: Timestamp) -> Option<Admission> {
        let mut latest: Option<(Timestamp, usize)> = None;
        for (kind, charge) in charges.iter().enumerate() {
            let Some(charge) = charge else { continue };
            let counters = self.counters.entry(charge.scope.clone()).or_default();
            if kind == CONCURRENCY {
                if counters.in_flight >= charge.limit {
                    let refusal = rate_refusal(kind, charge, Some(now.plus_ms(1_000)), now);
                    return Some(match charge.limit {
                        0 => Admission::Refused(rate_refusal(kind, charge, None, now)),
                        _ => Admission::Wait(Wait { until: None, refusal }),
                    });
                }
                continue;
            }
            match counters.window(kind).fits_at(charge.units, charge.limit, now) {
                None => return Some(Admission::Refused(rate_refusal(kind, charge, None, now))),
                Some(at) if at > now && latest.is_none_or(|(until, _)| until < at) => {
                    latest = Some((at, kind));
                }
                Some(_) => {}
            }
        }
        let (until, kind) = latest?;
        let charge = charges[kind].as_ref()?;
        let refusal = rate_refusal(kind, charge, Some(until), now);
        Some(Admission::Wait(Wait { until: Some(until), refusal }))
    }

    fn take(
        &mut self,
        request: &AdmissionRequest<'_>,
        lines: &[Line],
        cost: Money,
        charges: [Option<Charge>; 4],
    ) -> Reservation {
        for (kind, charge) in charges.iter().enumerate() {
            let Some(charge) = charge else { continue };
            let counters = self.counters.entry(charge.scope.clone()).or_default();
            match kind {
                CONCURRENCY => counters.in_flight += 1,
                _ => counters.window(kind).add(charge.units, request.now),
            }
        }
        self.book.reserve(lines, cost);
        self.in_flight += 1;
        let accounts = lines.iter().map(|line| line.account.clone()).collect();
        let (call, at) = (request.call, request.now);
        Reservation { call, at, cost, short: false, accounts, charges }
    }
}

/// The narrowest scope that sets a limit of that kind.
fn in_force(terms: &[Terms], kind: usize) -> Option<(&Scope, u64)> {
    terms.iter().rev().find_map(|terms| {
        let limit = match KINDS[kind] {
            LimitKind::Concurrency => terms.limits.concurrency,
            LimitKind::Requests => terms.limits.requests_per_minute,
            LimitKind::InputTokens => terms.limits.input_tokens_per_minute,
            LimitKind::OutputTokens => terms.limits.output_tokens_per_minute,
        };
        limit.map(|limit| (&terms.scope, limit))
    })
}

/// What the call counts against each kind of limit. A call larger than a whole token limit counts
/// as the limit: it passes when nothing else is in the window, and its true size counts after.
fn charges(request: &AdmissionRequest<'_>) -> [Option<Charge>; 4] {
    let output = request.bound.map_or(0, |bound| bound.output_tokens);
    let input = if request.bound.is_some() { request.estimated_input_tokens } else { 0 };
    let units = [1, 1, input, output];
    [CONCURRENCY, REQUESTS, INPUT, OUTPUT].map(|kind| {
        let (scope, limit) = in_force(request.terms, kind)?;
        let free = request.bound.is_none() && kind >= INPUT;
        let units = if kind >= INPUT { units[kind].min(limit).max(1) } else { 1 };
        (!free).then(|| Charge { scope: scope.clone(), limit, units })
    })
}

fn rate_refusal(kind: usize, charge: &Charge, at: Option<Timestamp>, now: Timestamp) -> Refusal {
    Refusal::Rate {
        kind: KINDS[kind],
        scope: charge.scope.clone(),
        limit: charge.limit,
        retry_after_ms: at.map(|at| at.ms_since(now)),
    }
}

fn budget_refusal(shortfall: &Shortfall, request: &AdmissionRequest<'_>) -> Refusal {
    let needed = request.bound.map_or(Money::ZERO, |bound| bound.cost);
    Refusal::Budget {
        account: shortfall.account.clone(),
        limit: shortfall.limit,
        needed,
        left: shortfall.left,
        reserved: shortfall.reserved,
        max_tokens_that_fits: max_tokens_that_fits(request, needed, shortfall.left),
        prompt: prompt_alone(request, needed).filter(|prompt| *prompt > shortfall.left),
    }
}

/// What the call may cost without any answer.
fn prompt_alone(request: &AdmissionRequest<'_>, needed: Money) -> Option<Money> {
    let each = request.bound?.cost_per_output_token;
    let answer = each.checked_mul(request.max_tokens?)?;
    (!each.is_zero()).then(|| needed.saturating_sub(answer))
}

/// The largest `max_tokens` whose bound would fit in `left`; `None` when lowering it cannot help.
fn max_tokens_that_fits(request: &AdmissionRequest<'_>, needed: Money, left: Money) -> Option<u64> {
    let each = request.bound?.cost_per_output_token.pico();
    let asked = request.max_tokens?;
    if each <= 0 {
        return None;
    }
    let missing = needed.saturating_sub(left).pico();
    let less = u64::try_from(missing.div_euclid(each) + i128::from(missing % each != 0)).ok()?;
    asked.checked_sub(less).filter(|fits| *fits > 0)
}

#[cfg(test)]
mod tests;

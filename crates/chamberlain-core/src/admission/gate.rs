//! The gate: rate limits, concurrency and budgets of every scope, all or nothing.
//!
//! A plain state machine under the caller's lock. It never waits: when a call could pass later it
//! says when, when it needs a durable lease first it says which.

use super::refusal::Refusal;
use crate::id::CallId;
use crate::ledger::account::{AccountId, Balance, Grant, LeaseWanted, Scope};
use crate::ledger::bound::Bound;
use crate::money::Money;
use crate::snapshot::{Budgets, Limits};
use crate::time::{Calendar, Timestamp};

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
    /// What the call may cost and use at most. A free call (count_tokens, models) has a zero
    /// bound and is charged to no account.
    pub bound: Bound,
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
    /// The accounts it is set aside in.
    pub accounts: Vec<AccountId>,
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

/// A budget crossed a threshold.
#[derive(Clone, PartialEq, Debug)]
pub struct BudgetEvent {
    /// The account.
    pub account: AccountId,
    /// Its limit.
    pub limit: Money,
    /// What is spent (settled and unsettled).
    pub spent: Money,
    /// 75, 90 or 100.
    pub threshold_percent: u32,
}

/// The gate.
#[derive(Debug)]
pub struct Gate {}

impl Gate {
    /// A gate over the balances that the store remembers. `thresholds_percent` is what budget
    /// events are made for; a threshold already passed is not reported again.
    pub fn new(_balances: Vec<(AccountId, Balance)>, _thresholds_percent: Vec<u32>) -> Gate {
        unimplemented!("being written")
    }

    /// Asks to pass. Nothing is consumed unless the answer is [`Admission::Admitted`].
    pub fn admit(&mut self, _request: &AdmissionRequest<'_>) -> Admission {
        unimplemented!("being written")
    }

    /// Counts another attempt of an admitted call against its request limit.
    ///
    /// # Errors
    /// The limit that would be broken; then the call is not sent again.
    pub fn count_attempt(
        &mut self,
        _reservation: &Reservation,
        _now: Timestamp,
    ) -> Result<(), Refusal> {
        unimplemented!("being written")
    }

    /// Ends a reservation: charges the cost, lets the rest go, corrects the rate limits.
    pub fn settle(
        &mut self,
        _reservation: Reservation,
        _ending: Ending,
        _now: Timestamp,
    ) -> Vec<BudgetEvent> {
        unimplemented!("being written")
    }

    /// Takes leases that are durable now.
    pub fn grant(&mut self, _grants: &[Grant]) {
        unimplemented!("being written")
    }

    /// Events noticed at admission (a refusal for money at an exhausted budget); drained by the
    /// caller after each [`Gate::admit`].
    pub fn take_events(&mut self) -> Vec<BudgetEvent> {
        unimplemented!("being written")
    }

    /// The books of every account in a window that has not ended.
    pub fn balances(&self, _now: Timestamp) -> Vec<(AccountId, Balance)> {
        unimplemented!("being written")
    }

    /// Calls in flight.
    pub fn in_flight(&self) -> usize {
        unimplemented!("being written")
    }

    /// What the call's own request limit has left, for response headers: limit, remaining, and
    /// when it is whole again.
    pub fn request_limit(&self, _terms: &[Terms], _now: Timestamp) -> Option<(u64, u64, Timestamp)> {
        unimplemented!("being written")
    }
}

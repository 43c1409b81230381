//! The open accounts of a node: what is spent, what is set aside, what may still be set aside.
//!
//! Pure arithmetic on [`Balance`]s. Money is set aside against leases that are already durable,
//! never against the limit itself, so that what a power loss forgets was never spendable.

use super::account::{AccountId, Balance, Grant, LeaseWanted, Scope};
use crate::money::Money;
use crate::quick::QuickMap;
use crate::snapshot::Budgets;
use crate::time::{Calendar, Timestamp, Window, WindowKind};

/// A lease is asked for in steps of this share of the limit, beyond what the call needs.
const LEASE_STEP_DIVISOR: i128 = 100;

/// From this share of the limit on, a refusal for want of money counts as the budget's end.
const EXHAUSTED_BASIS_POINTS: u64 = 9_900;

/// One budget that a call must fit in.
#[derive(Clone, PartialEq, Debug)]
pub struct Line {
    /// The account.
    pub account: AccountId,
    /// Its limit; `None` books without limiting.
    pub limit: Option<Money>,
}

/// Whether an amount can be set aside.
#[derive(Clone, PartialEq, Debug)]
pub enum Fit {
    /// In every line.
    Fits,
    /// In every line, once these leases are durable.
    NeedsLeases(Vec<LeaseWanted>),
    /// Only if calls in flight end below their reservation.
    WhenReleased(Shortfall),
    /// Not in this window.
    Never(Shortfall),
}

/// The first budget that has not enough left.
#[derive(Clone, PartialEq, Debug)]
pub struct Shortfall {
    /// Which.
    pub account: AccountId,
    /// Its limit.
    pub limit: Money,
    /// Limit less everything spent and set aside.
    pub left: Money,
    /// What calls in flight hold.
    pub reserved: Money,
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
    /// 75, 90 or 100; 100 also when a call was refused at 99 % or above.
    pub threshold_percent: u32,
}

#[derive(Clone, Copy, Default, Debug)]
struct Account {
    balance: Balance,
    limit: Option<Money>,
    /// The highest threshold reported, percent.
    reported: u32,
}

/// Every account that a node charges.
#[derive(Debug)]
pub struct Book {
    accounts: QuickMap<AccountId, Account>,
    thresholds_percent: Vec<u32>,
    /// The latest moment seen. A clock that steps back does not reopen an ended window.
    latest: Timestamp,
    /// When the first of the running windows ends; until then there is nothing to forget.
    next_end: Timestamp,
}

impl Book {
    /// A book over remembered balances. Thresholds must be ascending.
    ///
    /// `started` is now. What is remembered are the windows that had not ended then, so a clock
    /// that steps back later must not open an earlier one: nobody would know what was spent in it.
    pub fn new(
        balances: Vec<(AccountId, Balance)>,
        thresholds_percent: Vec<u32>,
        started: Timestamp,
    ) -> Book {
        let starts = balances.iter().map(|(id, _)| id.window.start);
        let latest = starts.fold(started, Timestamp::max);
        let accounts = balances
            .into_iter()
            .map(|(id, balance)| (id, Account { balance, ..Account::default() }))
            .collect();
        Book { accounts, thresholds_percent, latest, next_end: latest }
    }

    /// The windows that run at `now`, one per kind.
    pub fn windows(&mut self, calendar: &Calendar, now: Timestamp) -> [Window; 2] {
        self.latest = self.latest.max(now);
        let latest = self.latest;
        WindowKind::ALL.map(|kind| calendar.window(kind, latest))
    }

    /// The accounts of a scope at `now`, one per window kind.
    pub fn lines(
        &mut self,
        scope: &Scope,
        budgets: &Budgets,
        calendar: &Calendar,
        now: Timestamp,
    ) -> [Line; 2] {
        lines_in(self.windows(calendar, now), scope, budgets)
    }

    /// Whether `cost` can be set aside in all `lines`. Changes nothing but what is remembered of
    /// the limits.
    pub fn fit(&mut self, lines: &[Line], cost: Money) -> Fit {
        let mut wanted = Vec::new();
        let mut waiting = None;
        for line in lines {
            let account = self.account(line);
            let Some(limit) = line.limit else { continue };
            let balance = account.balance;
            let needed = |base: Money| base.checked_add(cost).filter(|sum| *sum <= limit);
            let shortfall = || Shortfall {
                account: line.account.clone(),
                limit,
                left: limit.saturating_sub(balance.used()),
                reserved: balance.reserved,
            };
            if needed(balance.spent()).is_none() {
                return Fit::Never(shortfall());
            }
            match needed(balance.used()) {
                None => waiting = waiting.or_else(|| Some(shortfall())),
                Some(sum) if sum > balance.granted => wanted.push(LeaseWanted {
                    account: line.account.clone(),
                    granted: with_step(sum, limit),
                    limit,
                }),
                Some(_) => {}
            }
        }
        match (waiting, wanted.is_empty()) {
            (Some(shortfall), _) => Fit::WhenReleased(shortfall),
            (None, false) => Fit::NeedsLeases(wanted),
            (None, true) => Fit::Fits,
        }
    }

    /// What could still be set aside in all `lines`; `None` where nothing limits it.
    pub fn left(&mut self, lines: &[Line]) -> Option<Money> {
        let left = lines.iter().filter_map(|line| {
            let limit = line.limit?;
            Some(limit.saturating_sub(self.account(line).balance.used()))
        });
        left.reduce(Money::min)
    }

    /// Sets `cost` aside in all `lines`. The caller has seen [`Fit::Fits`] under the same lock.
    pub fn reserve(&mut self, lines: &[Line], cost: Money) {
        for line in lines {
            let account = self.accounts.get_mut(&line.account).expect("it was seen to fit");
            account.balance.reserved = sum(account.balance.reserved, cost);
        }
    }

    /// Lets `reserved` go in all `accounts` and charges `cost`.
    pub fn settle(
        &mut self,
        accounts: &[AccountId],
        reserved: Money,
        cost: Money,
        unsettled: bool,
    ) -> Vec<BudgetEvent> {
        let mut events = Vec::new();
        for id in accounts {
            let account = self.accounts.entry(id.clone()).or_default();
            let balance = &mut account.balance;
            debug_assert!(balance.reserved >= reserved, "more is let go than was set aside");
            balance.reserved = balance.reserved.saturating_sub(reserved);
            let column = if unsettled { &mut balance.unsettled } else { &mut balance.settled };
            *column = sum(*column, cost);
            events.extend(crossed(id, account, &self.thresholds_percent));
        }
        events
    }

    /// Gives an unsettled call its true cost: what it was charged is let go and `cost` is settled.
    /// Accounts whose window has ended are passed over.
    pub fn write_off(&mut self, accounts: &[AccountId], charged: Money, cost: Money) {
        for id in accounts {
            let Some(account) = self.accounts.get_mut(id) else { continue };
            let balance = &mut account.balance;
            balance.unsettled = balance.unsettled.saturating_sub(charged);
            balance.settled = sum(balance.settled, cost);
        }
    }

    /// Notes that a call was refused at `shortfall`; an event when that is the budget's end.
    pub fn refused(&mut self, shortfall: &Shortfall) -> Option<BudgetEvent> {
        let account = self.accounts.get_mut(&shortfall.account)?;
        let spent = account.balance.spent();
        let share = spent.basis_points_of(shortfall.limit).unwrap_or(u64::MAX);
        let top = self.thresholds_percent.last().copied().unwrap_or(100);
        if share < EXHAUSTED_BASIS_POINTS || account.reported >= top {
            return None;
        }
        account.reported = top;
        Some(BudgetEvent {
            account: shortfall.account.clone(),
            limit: shortfall.limit,
            spent,
            threshold_percent: top,
        })
    }

    /// Takes leases that are durable now. A grant never shrinks a lease.
    pub fn grant(&mut self, grants: &[Grant]) {
        for grant in grants {
            let balance = &mut self.accounts.entry(grant.account.clone()).or_default().balance;
            balance.granted = balance.granted.max(grant.granted);
        }
    }

    /// The accounts whose window has not ended.
    pub fn balances(&self, now: Timestamp) -> Vec<(AccountId, Balance)> {
        let now = self.latest.max(now);
        let open = self.accounts.iter().filter(|(id, _)| id.window.end > now);
        open.map(|(id, account)| (id.clone(), account.balance)).collect()
    }

    fn account(&mut self, line: &Line) -> &mut Account {
        if !self.accounts.contains_key(&line.account) {
            self.forget_ended();
            self.next_end = self.next_end.min(line.account.window.end);
            self.accounts.insert(line.account.clone(), Account::default());
        }
        let thresholds = &self.thresholds_percent;
        let account =
            self.accounts.get_mut(&line.account).expect("inserted above when it was missing");
        if account.limit != line.limit {
            account.limit = line.limit;
            // What was passed before this limit was known is not news.
            account.reported = 0;
            crossed(&line.account, account, thresholds);
        }
        account
    }

    /// Drops accounts that can never be charged again. Called when a new account appears; looks
    /// at them all only when a window has ended since the last time, or the first call of every
    /// key in a day would keep all others waiting.
    fn forget_ended(&mut self) {
        let latest = self.latest;
        if latest < self.next_end {
            return;
        }
        self.accounts
            .retain(|id, account| id.window.end > latest || !account.balance.reserved.is_zero());
        let ends = self.accounts.keys().map(|id| id.window.end).filter(|end| *end > latest);
        self.next_end = ends.min().unwrap_or(Timestamp::from_ms(i64::MAX));
    }
}

/// The accounts of a scope in these windows.
pub fn lines_in(windows: [Window; 2], scope: &Scope, budgets: &Budgets) -> [Line; 2] {
    windows.map(|window| Line {
        account: AccountId { scope: scope.clone(), window },
        limit: budgets.limit(window.kind),
    })
}

/// Raises what is wanted by one step, up to the limit.
fn with_step(needed: Money, limit: Money) -> Money {
    let step = Money::from_pico(limit.pico() / LEASE_STEP_DIVISOR);
    sum(needed, step).min(limit)
}

/// The highest threshold passed that was not reported yet, if any; marks it reported.
fn crossed(id: &AccountId, account: &mut Account, thresholds: &[u32]) -> Option<BudgetEvent> {
    let limit = account.limit?;
    let spent = account.balance.spent();
    let share = spent.basis_points_of(limit).unwrap_or(u64::MAX);
    let passed = thresholds.iter().rev().find(|percent| share >= u64::from(**percent) * 100)?;
    if *passed <= account.reported {
        return None;
    }
    account.reported = *passed;
    Some(BudgetEvent { account: id.clone(), limit, spent, threshold_percent: *passed })
}

fn sum(left: Money, right: Money) -> Money {
    // Amounts are at most i64 picodollars each; 2^64 of them fit in the 128-bit range.
    left.checked_add(right).expect("sums of 64-bit amounts stay within 128 bits")
}

#[cfg(test)]
mod tests;

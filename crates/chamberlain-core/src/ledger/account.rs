//! An account: one budget of one scope in one calendar window.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::id::{EnvironmentName, VirtualKeyId};
use crate::money::Money;
use crate::time::{Window, WindowKind};

/// Who pays.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "scope", content = "name")]
pub enum Scope {
    /// Everything.
    Organization,
    /// One environment.
    Environment(EnvironmentName),
    /// One virtual key.
    VirtualKey(VirtualKeyId),
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scope::Organization => f.write_str("organization"),
            Scope::Environment(name) => write!(f, "environment {name}"),
            Scope::VirtualKey(id) => write!(f, "virtual key {id}"),
        }
    }
}

/// One budget of one scope in one window. Every call is charged to one account per scope and
/// window kind, whether or not that scope has a limit, so that setting a limit later counts what
/// was already spent.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct AccountId {
    /// Who pays.
    #[serde(flatten)]
    pub scope: Scope,
    /// In which window.
    pub window: Window,
}

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.window.kind.name();
        write!(f, "{kind} budget of {} ({})", self.scope, self.window.start.utc_date())
    }
}

/// The books of one account.
///
/// `settled + unsettled + reserved ≤ granted ≤ limit` at every instant, except where a settlement
/// exceeded its reservation (a bound was wrong; reported as an overrun) or a limit was lowered
/// below what was already spent.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Balance {
    /// Cost of calls that ended.
    pub settled: Money,
    /// Charged for calls whose outcome is unknown, and for leases lost with power.
    pub unsettled: Money,
    /// Set aside for calls in flight.
    pub reserved: Money,
    /// Durably leased to this node, spent or not.
    pub granted: Money,
}

impl Balance {
    /// What is gone or set aside.
    pub fn used(&self) -> Money {
        // Each part is bounded well below the range by `Money`'s parser and the i64 ledger rows.
        Money::from_pico(self.settled.pico() + self.unsettled.pico() + self.reserved.pico())
    }

    /// What is gone for good: settled and unsettled.
    pub fn spent(&self) -> Money {
        Money::from_pico(self.settled.pico() + self.unsettled.pico())
    }
}

/// A part of a budget that the node asks for before it admits against it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LeaseWanted {
    /// The account.
    pub account: AccountId,
    /// What the account's `granted` should rise to (never above the limit).
    pub granted: Money,
    /// The limit the node knows; the store refuses to grant above it.
    pub limit: Money,
}

impl LeaseWanted {
    /// What the lease rises to, given the node's own balance and what other nodes hold or have
    /// spent of the account (nothing, where the ledger is one node's alone). A lease never falls,
    /// and never rises above what the others leave of the limit. What it rises to may be less than
    /// what was asked for. `None` when it cannot rise and is too small.
    ///
    /// The same for the same books, however often it is asked: `granted` is a height, not a step.
    pub fn decide(&self, own: &Balance, elsewhere: Money) -> Option<Money> {
        let wanted = self.granted.max(own.granted).max(own.used());
        if wanted <= own.granted {
            return Some(own.granted);
        }
        if self.granted > self.limit || own.used() > self.limit {
            return None;
        }
        let room = self.limit.saturating_sub(elsewhere);
        let granted = wanted.min(room);
        (granted >= own.used() && granted > own.granted).then_some(granted)
    }
}

/// The answer: the account's `granted` is now durably this.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Grant {
    /// The account.
    pub account: AccountId,
    /// The new `granted`.
    pub granted: Money,
}

/// The window kinds of a scope, for code that walks both.
pub const WINDOW_KINDS: [WindowKind; 2] = WindowKind::ALL;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Timestamp;

    fn usd(usd: i64) -> Money {
        Money::from_usd(usd)
    }

    /// What a lease rises to, from `granted`, with `spent` of it spent, when 30 of 100 are asked.
    fn decided(granted: i64, spent: i64, elsewhere: i64) -> Option<Money> {
        let (start, end) = (Timestamp::from_ms(0), Timestamp::from_ms(1));
        let window = Window { kind: WindowKind::Daily, start, end };
        let account = AccountId { scope: Scope::Organization, window };
        let own = Balance { granted: usd(granted), settled: usd(spent), ..Balance::default() };
        LeaseWanted { account, granted: usd(30), limit: usd(100) }.decide(&own, usd(elsewhere))
    }

    #[test]
    fn a_lease_rises_to_what_others_leave_and_never_falls() {
        assert_eq!(decided(0, 0, 0), Some(usd(30)));
        assert_eq!(decided(30, 9, 99), Some(usd(30)), "asked twice, answered alike");
        assert_eq!(decided(40, 9, 60), Some(usd(40)));
        assert_eq!(decided(20, 9, 75), Some(usd(25)), "the rest of the budget");
        assert_eq!(decided(20, 9, 80), None);
        assert_eq!(decided(0, 0, 120), None, "a limit that was lowered");
        assert_eq!(decided(0, 50, 0), Some(usd(50)), "spent while there was no limit");
        assert_eq!(decided(0, 50, 60), None);
        assert_eq!(decided(0, 101, 0), None);
    }
}

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

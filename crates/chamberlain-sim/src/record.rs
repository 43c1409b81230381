//! What is on record: balances, open calls, unsettled calls. Changed by one item at a time, as
//! the store's writer changes its tables.

use std::collections::BTreeMap;
use std::sync::Arc;

use chamberlain_core::id::CallId;
use chamberlain_core::ledger::account::{AccountId, Balance, Grant, LeaseWanted};
use chamberlain_core::money::Money;
use chamberlain_core::time::Timestamp;

use crate::journal::{Answer, Item};
use crate::recovery;

/// The record cannot be what it is; says why.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Damage(pub(crate) String);

/// Money of one call, and whom it is charged to.
#[derive(Clone, Debug)]
pub(crate) struct Share {
    pub(crate) amount: Money,
    pub(crate) accounts: Arc<[AccountId]>,
    /// A power loss left it without an end; its settlement may be lost.
    pub(crate) power_lost: bool,
}

/// The record.
#[derive(Clone, Default, Debug)]
pub(crate) struct Record {
    pub(crate) balances: BTreeMap<AccountId, Balance>,
    /// Calls without an end, with what is set aside.
    pub(crate) open: BTreeMap<CallId, Share>,
    /// Calls with an unknown end, with what they are charged.
    pub(crate) unsettled: BTreeMap<CallId, Share>,
    /// When the last item was written, by its own word.
    pub(crate) last_at: Option<Timestamp>,
    /// Accounts that were looked up since somebody last took this list.
    pub(crate) touched: Vec<AccountId>,
}

impl Record {
    /// Writes one item.
    pub(crate) fn apply(&mut self, item: &Item, now: Timestamp) -> Result<Answer, Damage> {
        match item {
            Item::Intent(intent) => {
                let accounts = Arc::clone(&intent.accounts);
                let share = Share { amount: intent.reserved, accounts, power_lost: false };
                for account in share.accounts.iter() {
                    let balance = self.balance(account);
                    balance.reserved = plus(balance.reserved, share.amount);
                }
                self.open.insert(intent.call, share);
                self.last_at = Some(intent.at);
                Ok(Answer::Done)
            }
            Item::Settlement { call, at, cost, unsettled } => {
                self.close(*call, *cost, *unsettled, false)?;
                self.last_at = Some(*at);
                Ok(Answer::Done)
            }
            Item::Lease { wanted, .. } => Ok(self.lease(wanted, now)),
            Item::WriteOff { call, cost } => self.write_off(*call, *cost, now),
            Item::Recovery(last) => {
                recovery::recover(self, *last, now)?;
                Ok(Answer::Done)
            }
        }
    }

    /// Ends a call: its reservation is let go and its cost charged.
    pub(crate) fn close(
        &mut self,
        call: CallId,
        cost: Money,
        unsettled: bool,
        power_lost: bool,
    ) -> Result<(), Damage> {
        let Some(share) = self.open.remove(&call) else {
            return Err(Damage(format!("{call} was settled and is not open on record")));
        };
        for account in share.accounts.iter() {
            let balance = self.balance(account);
            balance.reserved = minus(balance.reserved, share.amount)
                .ok_or_else(|| Damage(format!("{call} lets go more than {account} holds")))?;
            let column = if unsettled { &mut balance.unsettled } else { &mut balance.settled };
            *column = plus(*column, cost);
        }
        if unsettled {
            self.unsettled.insert(call, Share { amount: cost, power_lost, ..share });
        }
        Ok(())
    }

    /// Raises leases, all or none; never above a limit.
    fn lease(&mut self, wanted: &[LeaseWanted], now: Timestamp) -> Answer {
        let mut grants = Vec::with_capacity(wanted.len());
        for lease in wanted {
            let balance = *self.balance(&lease.account);
            let granted = lease.granted.max(balance.granted).max(balance.used());
            if granted > lease.limit && granted > balance.granted {
                return Answer::Refused;
            }
            grants.push(Grant { account: lease.account.clone(), granted });
        }
        for grant in &grants {
            self.balance(&grant.account).granted = grant.granted;
        }
        self.last_at = Some(now);
        Answer::Granted(grants)
    }

    fn write_off(&mut self, call: CallId, cost: Money, now: Timestamp) -> Result<Answer, Damage> {
        let Some(share) = self.unsettled.remove(&call) else { return Ok(Answer::Refused) };
        let charged = share.amount;
        // What a call lost with power had let go may have been spent by calls lost with it.
        let let_go = if share.power_lost { charged.min(cost) } else { charged };
        for account in share.accounts.iter() {
            let balance = self.balance(account);
            balance.unsettled = minus(balance.unsettled, let_go).ok_or_else(|| {
                Damage(format!("{call} was more than all unsettled of {account}"))
            })?;
            balance.settled = plus(balance.settled, cost);
        }
        self.last_at = Some(now);
        Ok(Answer::WrittenOff { let_go, accounts: share.accounts })
    }

    fn balance(&mut self, account: &AccountId) -> &mut Balance {
        self.touched.push(account.clone());
        if !self.balances.contains_key(account) {
            self.balances.insert(account.clone(), Balance::default());
        }
        self.balances.get_mut(account).expect("inserted above when it was missing")
    }
}

/// The sum of two amounts.
pub(crate) fn plus(left: Money, right: Money) -> Money {
    left.checked_add(right).expect("a simulation's amounts are far from 128 bits")
}

/// What is left; `None` below nothing.
pub(crate) fn minus(left: Money, right: Money) -> Option<Money> {
    left.checked_sub(right).filter(|rest| !rest.is_negative())
}

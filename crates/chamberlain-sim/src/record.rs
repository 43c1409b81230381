//! What is on record: each node's part of each account, open calls, unsettled calls. Changed by one
//! item at a time, as the store's writer changes its tables.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chamberlain_core::id::CallId;
use chamberlain_core::ledger::account::{AccountId, Balance, Grant, LeaseWanted};
use chamberlain_core::money::Money;
use chamberlain_core::time::Timestamp;

use crate::journal::{Answer, Intent, Item};
use crate::node::Life;
use crate::recovery;

/// The record cannot be what it is; says why.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Damage(pub(crate) String);

/// Money of one call, and whom it is charged to.
#[derive(Clone, Debug)]
pub(crate) struct Share {
    pub(crate) node: usize,
    pub(crate) amount: Money,
    pub(crate) accounts: Arc<[AccountId]>,
    /// A power loss left it without an end; its settlement may be lost.
    pub(crate) power_lost: bool,
}

/// The record.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    /// Every node's part of every account.
    pub(crate) balances: BTreeMap<AccountId, Vec<Balance>>,
    /// Calls without an end, with what is set aside.
    pub(crate) open: BTreeMap<CallId, Share>,
    /// Calls with an unknown end, with what they are charged.
    pub(crate) unsettled: BTreeMap<CallId, Share>,
    /// The life that each node is in; what an earlier one asks for is refused.
    pub(crate) lives: Vec<u32>,
    /// Every call that ever had an intent here.
    known: BTreeSet<CallId>,
    /// When the last item was written, by its own word.
    pub(crate) last_at: Option<Timestamp>,
    /// Accounts that were looked up since somebody last took this list.
    pub(crate) touched: Vec<AccountId>,
}

impl Record {
    /// An empty record for so many nodes.
    pub(crate) fn new(nodes: usize) -> Record {
        Record {
            balances: BTreeMap::new(),
            open: BTreeMap::new(),
            unsettled: BTreeMap::new(),
            lives: vec![0; nodes],
            known: BTreeSet::new(),
            last_at: None,
            touched: Vec::new(),
        }
    }

    /// Writes one item of one node.
    pub(crate) fn apply(
        &mut self,
        item: &Item,
        life: Life,
        now: Timestamp,
    ) -> Result<Answer, Damage> {
        let is_fenced = self.lives[life.node] != life.number;
        match item {
            Item::Intent(_) | Item::Lease { .. } if is_fenced => Ok(Answer::Fenced),
            Item::Intent(intent) => Ok(self.intend(intent, life.node)),
            Item::Settlement { call, at, cost, unsettled } => {
                self.settle(*call, *cost, *unsettled)?;
                self.last_at = Some(*at);
                Ok(if is_fenced { Answer::Fenced } else { Answer::Done })
            }
            Item::Lease { wanted, .. } => Ok(self.lease(wanted, life.node, now)),
            Item::WriteOff { call, cost } => self.write_off(*call, *cost, now),
            Item::Begin { node } => {
                recovery::after_death(self, *node, now)?;
                Ok(Answer::Done)
            }
            Item::PowerBack => {
                recovery::after_power_loss(self, now)?;
                Ok(Answer::Done)
            }
        }
    }

    fn intend(&mut self, intent: &Intent, node: usize) -> Answer {
        // One that is sent again because its answer was lost is on record already.
        if self.known.insert(intent.call) {
            let accounts = Arc::clone(&intent.accounts);
            let share = Share { node, amount: intent.reserved, accounts, power_lost: false };
            for account in share.accounts.iter() {
                let balance = self.balance(account, node);
                balance.reserved = plus(balance.reserved, share.amount);
            }
            self.open.insert(intent.call, share);
        }
        self.last_at = Some(intent.at);
        Answer::Done
    }

    /// One that comes twice, or after its call was given up, changes no money.
    fn settle(&mut self, call: CallId, cost: Money, unsettled: bool) -> Result<(), Damage> {
        match self.open.contains_key(&call) {
            true => self.close(call, cost, unsettled, false),
            false if self.lives.len() > 1 => Ok(()),
            false => Err(Damage(format!("{call} was settled and is not open on record"))),
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
            return Err(Damage(format!("{call} is not open on record")));
        };
        for account in share.accounts.iter() {
            let balance = self.balance(account, share.node);
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

    /// Raises leases, all or none, as core decides.
    fn lease(&mut self, wanted: &[LeaseWanted], node: usize, now: Timestamp) -> Answer {
        let mut grants = Vec::with_capacity(wanted.len());
        for lease in wanted {
            let own = *self.balance(&lease.account, node);
            let parts = self.balances.get(&lease.account).map_or(&[][..], Vec::as_slice);
            let others = parts.iter().enumerate().filter(|(other, _)| *other != node);
            let elsewhere = others
                .map(|(_, balance)| balance.granted.max(balance.used()))
                .fold(Money::ZERO, plus);
            let Some(granted) = lease.decide(&own, elsewhere) else { return Answer::Refused };
            grants.push(Grant { account: lease.account.clone(), granted });
        }
        for grant in &grants {
            self.balance(&grant.account, node).granted = grant.granted;
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
            let balance = self.balance(account, share.node);
            balance.unsettled = minus(balance.unsettled, let_go).ok_or_else(|| {
                Damage(format!("{call} was more than all unsettled of {account}"))
            })?;
            balance.settled = plus(balance.settled, cost);
        }
        self.last_at = Some(now);
        let owner = Life { node: share.node, number: self.lives[share.node] };
        Ok(Answer::WrittenOff { let_go, accounts: share.accounts, owner })
    }

    /// What all nodes together use of an account.
    pub(crate) fn used(&self, account: &AccountId) -> Money {
        let parts = self.balances.get(account).into_iter().flatten();
        parts.map(Balance::used).fold(Money::ZERO, plus)
    }

    /// What one node has spent of an account.
    pub(crate) fn spent(&self, account: &AccountId, node: usize) -> Money {
        self.balances.get(account).map(|parts| parts[node].spent()).unwrap_or_default()
    }

    fn balance(&mut self, account: &AccountId, node: usize) -> &mut Balance {
        self.touched.push(account.clone());
        if !self.balances.contains_key(account) {
            let parts = vec![Balance::default(); self.lives.len()];
            self.balances.insert(account.clone(), parts);
        }
        let parts = self.balances.get_mut(account).expect("inserted above when it was missing");
        &mut parts[node]
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

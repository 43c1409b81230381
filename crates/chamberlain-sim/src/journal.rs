//! A model of the durable journal that one node or several share, written in transactions.
//!
//! What is committed survives the death of a node. What is synced survives a power loss of the
//! journal's machine, and of what was committed since, the loss keeps any number of transactions
//! from the first on. The model writes what the store's writer writes and knows nothing of rates,
//! limits or clients.

use std::sync::Arc;

use chamberlain_core::id::CallId;
use chamberlain_core::ledger::account::{AccountId, Grant, LeaseWanted};
use chamberlain_core::money::Money;
use chamberlain_core::time::Timestamp;

use crate::node::Life;
use crate::record::{Damage, Record};

/// A call on its way, as it is put on record before it leaves.
#[derive(Clone, Debug)]
pub(crate) struct Intent {
    pub(crate) call: CallId,
    pub(crate) at: Timestamp,
    pub(crate) reserved: Money,
    pub(crate) accounts: Arc<[AccountId]>,
}

/// Something to write.
#[derive(Clone, Debug)]
pub(crate) enum Item {
    /// A call is about to leave.
    Intent(Intent),
    /// A call has ended.
    Settlement { call: CallId, at: Timestamp, cost: Money, unsettled: bool },
    /// Leases are asked for, under the number of whoever asks.
    Lease { ticket: u64, wanted: Vec<LeaseWanted> },
    /// A person, or the collector of batches, gives an unsettled call its true cost.
    WriteOff { call: CallId, cost: Money },
    /// A node begins a new life after it died; everything it had committed is there.
    Begin { node: usize },
    /// The journal's machine is back after a power loss, and every node begins a new life.
    PowerBack,
}

impl Item {
    fn is_durable(&self) -> bool {
        matches!(self, Item::Lease { .. } | Item::WriteOff { .. } | Item::Begin { .. })
            || matches!(self, Item::PowerBack)
    }

    /// True for what has happened and cannot be refused any more.
    pub(crate) fn is_owed(&self) -> bool {
        matches!(self, Item::Settlement { .. })
    }
}

/// What the journal says of an item.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// It is on record.
    Done,
    /// The leases are durable.
    Granted(Vec<Grant>),
    /// What is no longer unsettled, where, and in which node's books.
    WrittenOff { let_go: Money, accounts: Arc<[AccountId]>, owner: Life },
    /// It is not on record, and never will be.
    Refused,
    /// As refused; whoever asked has been declared dead and must begin anew.
    Fenced,
}

/// Items written in one transaction, with who wrote them and when.
type Transaction = (Vec<Item>, Life, Timestamp);

/// The journal.
#[derive(Debug)]
pub(crate) struct Journal {
    pub(crate) committed: Record,
    synced: Record,
    unsynced: Vec<Transaction>,
    /// The latest moment at which the record may end if power is lost now.
    record_end: Timestamp,
}

impl Journal {
    /// An empty journal for so many nodes.
    pub(crate) fn new(nodes: usize) -> Journal {
        let record = Record::new(nodes);
        let synced = record.clone();
        let record_end = Timestamp::default();
        Journal { committed: record, synced, unsynced: Vec::new(), record_end }
    }

    /// Writes items of one node in one transaction.
    pub(crate) fn commit(
        &mut self,
        items: Vec<Item>,
        life: Life,
        now: Timestamp,
    ) -> Result<Vec<(Item, Answer)>, Damage> {
        let durable = items.iter().any(|item| item.is_durable() || self.is_past(item));
        let mut answered = Vec::with_capacity(items.len());
        for item in &items {
            let answer = self.committed.apply(item, life, now)?;
            answered.push((item.clone(), answer));
        }
        if !items.is_empty() {
            self.unsynced.push((items, life, now));
        }
        let last_at = self.committed.last_at.unwrap_or_default();
        self.record_end = if durable { last_at } else { self.record_end.max(last_at) };
        if durable {
            self.sync(usize::MAX)?;
        }
        Ok(answered)
    }

    /// The machine dies: of what was not synced, `kept` transactions survive. Gives the intents
    /// that are gone.
    pub(crate) fn lose_power(&mut self, kept: usize) -> Result<Vec<Intent>, Damage> {
        self.sync(kept)?;
        let lost = std::mem::take(&mut self.unsynced).into_iter().flat_map(|(items, ..)| items);
        let lost = lost.filter_map(|item| match item {
            Item::Intent(intent) => Some(intent),
            _ => None,
        });
        let lost = lost.collect();
        self.committed = self.synced.clone();
        Ok(lost)
    }

    /// Transactions committed and not synced.
    pub(crate) fn unsynced(&self) -> usize {
        self.unsynced.len()
    }

    /// True for an intent in a window that may have ended when the record before it ends: nothing
    /// else would say that the window was still being spent.
    fn is_past(&self, item: &Item) -> bool {
        match item {
            Item::Intent(intent) => {
                intent.accounts.iter().any(|account| account.window.end <= self.record_end)
            }
            _ => false,
        }
    }

    fn sync(&mut self, count: usize) -> Result<(), Damage> {
        for (items, life, at) in self.unsynced.drain(..count.min(self.unsynced.len())) {
            for item in items {
                self.synced.apply(&item, life, at)?;
            }
        }
        self.synced.touched.clear();
        Ok(())
    }
}

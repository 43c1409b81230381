//! A model of the durable journal: one queue, first in, first out, written in transactions.
//!
//! What is committed survives a kill. What is synced survives a power loss, and of what was
//! committed since, the loss keeps any prefix. The model writes what the store's writer writes
//! and knows nothing of rates, limits or clients.

use std::collections::VecDeque;
use std::sync::Arc;

use chamberlain_core::id::CallId;
use chamberlain_core::ledger::account::{AccountId, Grant, LeaseWanted};
use chamberlain_core::money::Money;
use chamberlain_core::time::Timestamp;

use crate::record::{Damage, Record};
use crate::recovery::LastRun;

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
    /// A person gives an unsettled call its true cost.
    WriteOff { call: CallId, cost: Money },
    /// A start sets the books right after the last run.
    Recovery(LastRun),
}

impl Item {
    fn is_durable(&self) -> bool {
        matches!(self, Item::Lease { .. } | Item::WriteOff { .. })
    }

    /// True for what has happened and cannot be refused any more.
    fn is_owed(&self) -> bool {
        matches!(self, Item::Settlement { .. })
    }
}

/// What the journal says of an item.
#[derive(Debug)]
pub(crate) enum Answer {
    /// It is on record.
    Done,
    /// The leases are durable.
    Granted(Vec<Grant>),
    /// What is no longer unsettled, and where.
    WrittenOff { let_go: Money, accounts: Arc<[AccountId]> },
    /// It is not on record, and never will be.
    Refused,
}

/// Items written in one transaction, each with its moment.
type Transaction = Vec<(Item, Timestamp)>;

/// The journal.
#[derive(Default, Debug)]
pub(crate) struct Journal {
    pub(crate) committed: Record,
    synced: Record,
    unsynced: Vec<Transaction>,
    /// The latest moment at which the record may end if power is lost now.
    record_end: Timestamp,
    queue: VecDeque<Item>,
    /// True from a failed transaction until one succeeds.
    failing: bool,
}

impl Journal {
    /// Puts an item at the end of the queue; gives it back when it is refused at once.
    pub(crate) fn hand_over(&mut self, item: Item) -> Option<Item> {
        if self.failing && !item.is_owed() {
            return Some(item);
        }
        self.queue.push_back(item);
        None
    }

    /// Items that wait.
    pub(crate) fn queued(&self) -> usize {
        self.queue.len()
    }

    /// Writes the first `count` items in one transaction.
    pub(crate) fn commit(
        &mut self,
        count: usize,
        now: Timestamp,
    ) -> Result<Vec<(Item, Answer)>, Damage> {
        let items: Vec<Item> = self.queue.drain(..count.min(self.queue.len())).collect();
        let mut answered = Vec::with_capacity(items.len());
        let durable = items.iter().any(|item| item.is_durable() || self.is_past(item));
        for item in &items {
            let answer = self.committed.apply(item, now)?;
            answered.push((item.clone(), answer));
        }
        self.failing = false;
        self.keep(items, now, durable)?;
        Ok(answered)
    }

    /// A transaction over the first `count` items fails: what was asked in it is refused, what
    /// has happened goes back to the head. Gives what was refused.
    pub(crate) fn fail(&mut self, count: usize) -> Vec<Item> {
        let items: Vec<Item> = self.queue.drain(..count.min(self.queue.len())).collect();
        let (owed, asked): (Vec<_>, Vec<_>) = items.into_iter().partition(Item::is_owed);
        for item in owed.into_iter().rev() {
            self.queue.push_front(item);
        }
        self.failing = true;
        asked
    }

    /// The process dies and starts again: what was not committed is gone.
    pub(crate) fn kill(&mut self, now: Timestamp) -> Result<(), Damage> {
        self.queue.clear();
        self.failing = false;
        self.recover(LastRun::Killed, now)
    }

    /// The machine dies and starts again: of what was not synced, `kept` transactions survive.
    /// Gives the intents that are gone.
    pub(crate) fn lose_power(
        &mut self,
        kept: usize,
        now: Timestamp,
    ) -> Result<Vec<Intent>, Damage> {
        self.queue.clear();
        self.failing = false;
        self.sync(kept)?;
        let lost = std::mem::take(&mut self.unsynced).into_iter().flatten();
        let lost = lost.filter_map(|(item, _)| match item {
            Item::Intent(intent) => Some(intent),
            _ => None,
        });
        let lost = lost.collect();
        self.committed = self.synced.clone();
        self.recover(LastRun::PowerLost, now)?;
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

    /// A recovery is on the disk before anything else happens.
    fn recover(&mut self, last: LastRun, now: Timestamp) -> Result<(), Damage> {
        let item = Item::Recovery(last);
        self.committed.apply(&item, now)?;
        self.keep(vec![item], now, true)
    }

    /// Remembers a committed transaction for the disk.
    fn keep(&mut self, items: Vec<Item>, now: Timestamp, durable: bool) -> Result<(), Damage> {
        if !items.is_empty() {
            self.unsynced.push(items.into_iter().map(|item| (item, now)).collect());
        }
        let last_at = self.committed.last_at.unwrap_or_default();
        self.record_end = if durable { last_at } else { self.record_end.max(last_at) };
        if durable { self.sync(usize::MAX) } else { Ok(()) }
    }

    fn sync(&mut self, count: usize) -> Result<(), Damage> {
        for (item, at) in self.unsynced.drain(..count.min(self.unsynced.len())).flatten() {
            self.synced.apply(&item, at)?;
        }
        self.synced.touched.clear();
        Ok(())
    }
}

//! A node: a gate, its calls, what it has handed to the journal and what it was told. All of it is
//! forgotten when it dies.

use std::collections::{BTreeMap, VecDeque};

use chamberlain_core::admission::gate::{Gate, Reservation, Terms};
use chamberlain_core::id::CallId;
use chamberlain_core::ledger::account::{AccountId, Balance};
use chamberlain_core::money::Money;
use chamberlain_core::time::Timestamp;

use crate::journal::Item;
use crate::upstream::Row;

/// One life of one node: from a start to the next.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct Life {
    pub(crate) node: usize,
    pub(crate) number: u32,
}

/// What a call is, before it is admitted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ask {
    pub(crate) call: CallId,
    pub(crate) key: usize,
    /// `None` for a free call.
    pub(crate) bound: Option<Money>,
    /// How often a lease was asked for it.
    pub(crate) tries: u32,
}

/// How far an admitted call has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stage {
    /// Its intent is with the journal.
    Recording { left: bool },
    /// It may leave.
    Recorded,
    /// It has left, upstream has billed it, and this is how it will end.
    Sent { billed: Money, row: &'static Row },
}

/// An admitted call.
#[derive(Debug)]
pub(crate) struct Going {
    pub(crate) reservation: Reservation,
    pub(crate) stage: Stage,
}

/// A node.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) life: Life,
    pub(crate) gate: Gate,
    /// What is in force by the snapshot it last heard of.
    pub(crate) terms: Vec<Terms>,
    pub(crate) calls: BTreeMap<CallId, Going>,
    /// Calls that wait for leases, by the number of the request.
    pub(crate) asks: BTreeMap<u64, Vec<Ask>>,
    /// Accounts whose lease is on its way.
    pub(crate) leasing: BTreeMap<AccountId, u64>,
    /// What waits to be written, first in, first out.
    pub(crate) queue: VecDeque<Item>,
    /// How many at the head may be on record already: they were sent, and the answers lost. Such a
    /// one must not be refused here; it is sent again until it is answered.
    unsure: usize,
    /// True from a failed transaction until one succeeds.
    failing: bool,
    /// How far its clock is from the journal's, milliseconds.
    pub(crate) skew_ms: i64,
}

impl Node {
    /// A node over remembered balances.
    pub(crate) fn start(
        life: Life,
        balances: Vec<(AccountId, Balance)>,
        terms: Vec<Terms>,
        now: Timestamp,
        skew_ms: i64,
    ) -> Node {
        Node {
            life,
            gate: Gate::new(balances, vec![75, 90, 100], now),
            terms,
            calls: BTreeMap::new(),
            asks: BTreeMap::new(),
            leasing: BTreeMap::new(),
            queue: VecDeque::new(),
            unsure: 0,
            failing: false,
            skew_ms,
        }
    }

    /// Puts an item at the end of the queue; gives it back when it is refused at once.
    pub(crate) fn hand_over(&mut self, item: Item) -> Option<Item> {
        if self.failing && !item.is_owed() {
            return Some(item);
        }
        self.queue.push_back(item);
        None
    }

    /// The first items of the queue, for one transaction that will be written.
    pub(crate) fn take(&mut self, count: usize) -> Vec<Item> {
        let items: Vec<Item> = self.queue.drain(..count.min(self.queue.len())).collect();
        self.unsure = self.unsure.saturating_sub(items.len());
        self.failing = false;
        items
    }

    /// These were written and the answers lost, so they are sent again, before anything later.
    pub(crate) fn send_again(&mut self, items: Vec<Item>) {
        self.unsure += items.len();
        items.into_iter().rev().for_each(|item| self.queue.push_front(item));
    }

    /// A transaction over the first `count` items failed: what was asked in it is refused, what has
    /// happened stays at the head. Gives what was refused.
    pub(crate) fn fail(&mut self, count: usize) -> Vec<Item> {
        let items: Vec<Item> = self.queue.drain(..count.min(self.queue.len())).collect();
        let unsure = self.unsure;
        let places = items.into_iter().enumerate();
        let (owed, asked): (Vec<_>, Vec<_>) =
            places.partition(|(place, item)| *place < unsure || item.is_owed());
        owed.into_iter().rev().for_each(|(_, item)| self.queue.push_front(item));
        self.failing = true;
        asked.into_iter().map(|(_, item)| item).collect()
    }

    /// A call as it was sent: what was billed, its bound, and how it will end.
    pub(crate) fn sent(&self, call: CallId) -> Option<(Money, Money, &'static Row)> {
        let going = self.calls.get(&call)?;
        match going.stage {
            Stage::Sent { billed, row } => Some((billed, going.reservation.cost, row)),
            _ => None,
        }
    }
}

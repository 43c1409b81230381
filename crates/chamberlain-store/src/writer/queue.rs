//! The one queue to the writer: first in, first out, for everything.
//!
//! Refuses intents, leases and changes at once while writing fails, and notices beyond a bound.
//! Never refuses a settlement.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use chamberlain_core::audit::record::Principal;
use chamberlain_core::ledger::account::{Grant, LeaseWanted};
use chamberlain_core::record::{Intent, Notice, Settlement, Severity, TrueUp, TruedUp};
use chamberlain_core::resource::Binding;
use chamberlain_core::time::Timestamp;
use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

use crate::change::Change;
use crate::fault::StoreFault;
use crate::resources::Keeping;

/// Ordinary notices that may wait at once; twice as many of the urgent ones.
const NOTICES_MAX: usize = 4_096;

/// The most that one transaction takes from the queue, so that the first waiter of a long queue
/// is not kept until the last.
const BATCH_MAX: usize = 2_048;

/// The work of a change.
pub(crate) type Job = Box<dyn FnOnce(&mut Change<'_>) -> Result<(), StoreFault> + Send>;

/// What a change needs to know beside its work.
pub(crate) struct Order {
    /// Who changes.
    pub(crate) actor: Principal,
    /// False for book-keeping, which needs no audit record.
    pub(crate) needs_record: bool,
    /// False when losing it with power is no loss.
    pub(crate) durable: bool,
    /// The work; taken when it is done.
    pub(crate) job: Option<Job>,
}

/// Something for the writer to do.
pub(crate) enum Item {
    Intend(Box<Intent>, oneshot::Sender<Result<(), StoreFault>>),
    Settle(Box<Settlement>),
    Lease(Vec<LeaseWanted>, oneshot::Sender<Result<Vec<Grant>, StoreFault>>),
    Note(Box<Notice>),
    Bind(Box<Keeping>, oneshot::Sender<Result<Binding, StoreFault>>),
    TrueUp(Box<TrueUp>, oneshot::Sender<Result<Option<TruedUp>, StoreFault>>),
    Change(Box<Order>, SyncSender<Result<(), StoreFault>>),
    Close(SyncSender<Result<(), StoreFault>>),
}

impl Item {
    /// True when the commit must survive a power loss.
    pub(crate) fn is_durable(&self) -> bool {
        match self {
            Item::Lease(..) | Item::Close(_) => true,
            Item::Change(order, _) => order.durable,
            Item::Intend(..)
            | Item::Settle(_)
            | Item::Note(_)
            | Item::Bind(..)
            | Item::TrueUp(..) => false,
        }
    }

    /// Gives the answer where one is awaited. A waiter that has gone is no fault.
    pub(crate) fn refuse(self, fault: StoreFault) {
        match self {
            Item::Intend(_, answer) => drop(answer.send(Err(fault))),
            Item::Lease(_, answer) => drop(answer.send(Err(fault))),
            Item::Bind(_, answer) => drop(answer.send(Err(fault))),
            Item::TrueUp(_, answer) => drop(answer.send(Err(fault))),
            Item::Change(_, answer) | Item::Close(answer) => drop(answer.send(Err(fault))),
            Item::Settle(settlement) => {
                tracing::error!(
                    call = %settlement.call,
                    cost = %settlement.cost,
                    %fault,
                    "a settlement could not be written; the call stays charged at its reservation"
                );
            }
            Item::Note(notice) => {
                tracing::error!(kind = notice.kind, subject = notice.subject, "a notice is lost");
            }
        }
    }
}

/// How the store is doing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Health {
    /// Set while nothing can be written.
    pub failure: Option<Failure>,
    /// What waits to be written, or is being written.
    pub queued: usize,
    /// The settlements among what waits.
    pub settlements_queued: usize,
}

/// Why and since when nothing can be written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    /// Since when.
    pub since: Timestamp,
    /// Why.
    pub fault: StoreFault,
    /// How often writing was tried.
    pub tries: u64,
    /// Intents, leases and changes refused since, without a try.
    pub refused: u64,
}

/// Notices that were counted instead of kept.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Suppressed {
    pub(crate) ordinary: u64,
    pub(crate) urgent: u64,
}

#[derive(Default)]
struct Inner {
    items: VecDeque<Item>,
    /// Items that the writer has taken and not committed yet.
    in_hand: usize,
    notices: usize,
    suppressed: Suppressed,
    failure: Option<Failure>,
    closed: bool,
}

/// The queue.
#[derive(Default)]
pub(crate) struct Queue {
    inner: Mutex<Inner>,
    wake: Condvar,
    /// Zero for no bound.
    bytes_max: AtomicU64,
}

/// What the writer is to do next.
pub(crate) struct Batch {
    pub(crate) items: Vec<Item>,
    pub(crate) suppressed: Suppressed,
    pub(crate) failure: Option<Failure>,
}

impl Queue {
    /// Puts an item at the end, or refuses it.
    pub(crate) fn push(&self, item: Item) {
        let mut inner = self.inner.lock();
        if let Some((item, fault)) = inner.admit(item) {
            drop(inner);
            item.refuse(fault);
            return;
        }
        // While writing fails the writer sleeps until its next try; nothing new wakes it.
        let wake = inner.failure.is_none() || inner.closed;
        drop(inner);
        if wake {
            self.wake.notify_one();
        }
    }

    /// Waits for work and takes a prefix of the queue. After a failure waits for `backoff` first,
    /// and then answers even when there is nothing to do, so that writing is tried again.
    pub(crate) fn take(&self, backoff: Option<Duration>) -> Batch {
        let mut inner = self.inner.lock();
        match backoff {
            Some(backoff) => {
                self.wake.wait_while_for(&mut inner, |inner| !inner.closed, backoff);
            }
            None => self.wake.wait_while(&mut inner, |inner| {
                inner.items.is_empty() && inner.suppressed == Suppressed::default()
            }),
        }
        // Nothing comes after the end, which is to be reached even while writing fails.
        let count = if inner.closed { inner.items.len() } else { inner.items.len().min(BATCH_MAX) };
        let items: Vec<Item> = inner.items.drain(..count).collect();
        inner.notices -= items.iter().filter(|item| matches!(item, Item::Note(_))).count();
        inner.in_hand = items.len();
        let suppressed = std::mem::take(&mut inner.suppressed);
        Batch { items, suppressed, failure: inner.failure.clone() }
    }

    /// Puts back at the head what must not be lost, and notes the failure.
    pub(crate) fn give_back(
        &self,
        owed: Vec<Item>,
        suppressed: Suppressed,
        fault: StoreFault,
        now: Timestamp,
    ) {
        let mut inner = self.inner.lock();
        inner.in_hand = 0;
        inner.notices += owed.iter().filter(|item| matches!(item, Item::Note(_))).count();
        for item in owed.into_iter().rev() {
            inner.items.push_front(item);
        }
        inner.suppressed.ordinary += suppressed.ordinary;
        inner.suppressed.urgent += suppressed.urgent;
        let failure = inner.failure.get_or_insert(Failure {
            since: now,
            fault: fault.clone(),
            tries: 0,
            refused: 0,
        });
        failure.fault = fault;
        failure.tries += 1;
    }

    /// Notes that what was taken is committed, so that writing works.
    pub(crate) fn committed(&self) {
        let mut inner = self.inner.lock();
        inner.in_hand = 0;
        inner.failure = None;
    }

    /// Refuses everything from now on, and what is queued as well.
    pub(crate) fn end(&self) {
        let mut inner = self.inner.lock();
        inner.closed = true;
        let rest = std::mem::take(&mut inner.items);
        drop(inner);
        rest.into_iter().for_each(|item| item.refuse(StoreFault::Closed));
    }

    /// How large the store may grow, bytes; zero for no bound.
    pub(crate) fn bytes_max(&self) -> u64 {
        self.bytes_max.load(Ordering::Relaxed)
    }

    /// Sets how large the store may grow.
    pub(crate) fn set_bytes_max(&self, bytes_max: Option<u64>) {
        self.bytes_max.store(bytes_max.unwrap_or(0), Ordering::Relaxed);
    }

    /// How the store is doing.
    pub(crate) fn health(&self) -> Health {
        let inner = self.inner.lock();
        let settlements = inner.items.iter().filter(|item| matches!(item, Item::Settle(_)));
        Health {
            failure: inner.failure.clone(),
            queued: inner.items.len() + inner.in_hand,
            settlements_queued: settlements.count(),
        }
    }
}

impl Inner {
    /// Takes the item, or gives it back with the reason why not.
    fn admit(&mut self, item: Item) -> Option<(Item, StoreFault)> {
        if self.closed {
            return Some((item, StoreFault::Closed));
        }
        match &item {
            Item::Note(notice) => {
                let urgent = notice.notify || notice.severity >= Severity::High;
                if self.notices >= if urgent { 2 * NOTICES_MAX } else { NOTICES_MAX } {
                    let Suppressed { ordinary, urgent: urgents } = &mut self.suppressed;
                    *(if urgent { urgents } else { ordinary }) += 1;
                    return None;
                }
                self.notices += 1;
            }
            Item::Intend(..)
            | Item::Lease(..)
            | Item::Bind(..)
            | Item::TrueUp(..)
            | Item::Change(..) => {
                if let Some(failure) = &mut self.failure {
                    failure.refused += 1;
                    let fault = StoreFault::Failing(Box::new(failure.fault.clone()));
                    return Some((item, fault));
                }
            }
            Item::Close(_) => self.closed = true,
            Item::Settle(_) => {}
        }
        self.items.push_back(item);
        None
    }
}

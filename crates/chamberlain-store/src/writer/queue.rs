//! The one queue to the writer: first in, first out, for everything.
//!
//! What calls hand over is also put in the intake, so that nobody waits for the writer: an intent
//! is on record once its frame is appended, by the thread of whoever waits for it. The writer may
//! then take its time and many items at once, and takes nothing that is not in the intake yet.
//!
//! Refuses intents, leases and changes at once while writing fails, and notices beyond a bound.
//! Never refuses a settlement.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use chamberlain_core::audit::record::Principal;
use chamberlain_core::id::CallId;
use chamberlain_core::ledger::account::{Grant, LeaseWanted};
use chamberlain_core::quick::QuickMap;
use chamberlain_core::record::{Intent, Notice, Settlement, Severity, TrueUp, TruedUp};
use chamberlain_core::resource::Binding;
use chamberlain_core::time::{Clock, Timestamp};
use parking_lot::{Condvar, Mutex, MutexGuard};
use tokio::sync::oneshot;

use crate::change::Change;
use crate::fault::StoreFault;
use crate::intake::{Entry, Frame, Intake};
use crate::resources::Keeping;
use crate::words::money_column;
use crate::writer::straggler::RecordEnd;

/// Ordinary notices that may wait at once; twice as many of the urgent ones.
const NOTICES_MAX: usize = 4_096;

/// The most that one transaction takes from the queue, so that the first waiter of a long queue
/// is not kept until the last.
const BATCH_MAX: usize = 2_048;

/// How long what calls hand over may wait until the writer appends it to the intake, where nobody
/// else does.
const APPEND_AFTER: Duration = Duration::from_millis(10);

/// How many times as long the writer lets what is in the intake gather before it moves it into the
/// tables. Whoever reads, leases or changes does not wait for it.
const GATHER: u32 = 5;

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
    /// Somebody waits for the commit of an intent only where the intake is not enough.
    Intend(Arc<Intent>, Option<oneshot::Sender<Result<(), StoreFault>>>),
    Settle(Arc<Settlement>),
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
            // What a true-up frees is spent without a new lease; done again, it would free it twice.
            Item::Lease(..) | Item::TrueUp(..) | Item::Close(_) => true,
            Item::Change(order, _) => order.durable,
            Item::Intend(_, waiter) => waiter.is_some(),
            Item::Settle(_) | Item::Note(_) | Item::Bind(..) => false,
        }
    }

    /// When it says that it was.
    fn at(&self) -> Option<Timestamp> {
        match self {
            Item::Intend(intent, _) => Some(intent.at),
            Item::Settle(settlement) => Some(settlement.at),
            Item::Note(notice) => Some(notice.at),
            Item::TrueUp(found, _) => Some(found.at),
            Item::Lease(..) | Item::Bind(..) | Item::Change(..) | Item::Close(_) => None,
        }
    }

    /// How it stands in the intake; `None` for what goes to the tables at once.
    fn entry(&self) -> Option<Entry<'_>> {
        match self {
            Item::Intend(intent, None) => Some(Entry::Intent(intent)),
            Item::Settle(settlement) => Some(Entry::Settlement(settlement)),
            Item::Note(notice) => Some(Entry::Notice(notice)),
            Item::Intend(_, Some(_))
            | Item::Lease(..)
            | Item::Bind(..)
            | Item::TrueUp(..)
            | Item::Change(..)
            | Item::Close(_) => None,
        }
    }

    /// Gives the answer where one is awaited. A waiter that has gone is no fault.
    pub(crate) fn refuse(self, fault: StoreFault) {
        match self {
            Item::Intend(_, Some(answer)) => drop(answer.send(Err(fault))),
            Item::Intend(intent, None) => {
                tracing::error!(
                    call = %intent.call,
                    error = %fault,
                    "an intent is not in the tables; while it is in the intake a start moves it"
                );
            }
            Item::Lease(_, answer) => drop(answer.send(Err(fault))),
            Item::Bind(_, answer) => drop(answer.send(Err(fault))),
            Item::TrueUp(_, answer) => drop(answer.send(Err(fault))),
            Item::Change(_, answer) | Item::Close(answer) => drop(answer.send(Err(fault))),
            Item::Settle(settlement) => {
                tracing::error!(
                    call = %settlement.call,
                    cost_usd = %settlement.cost.to_decimal(),
                    error = %fault,
                    "a settlement could not be written; the call stays charged at its reservation"
                );
            }
            Item::Note(notice) => {
                tracing::error!(
                    kind = notice.kind,
                    subject = notice.subject,
                    "a notice could not be written and is lost"
                );
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

/// What is asked of the writer, in order. What goes through the intake is numbered without a gap;
/// everything else has the number of what comes next.
#[derive(Default)]
struct Inner {
    items: VecDeque<(u64, Item)>,
    next: u64,
    /// What is to be appended to the intake, from the number `frame_first` on, and who waits for it.
    frame: Frame,
    frame_first: u64,
    waiting: Vec<oneshot::Sender<Result<(), StoreFault>>>,
    /// The first number of the frame that is being appended, and whether the writer waits for that.
    appending: Option<u64>,
    writer_waits: bool,
    /// Room for the frame after that.
    spare: Frame,
    /// Calls with an intent and no end yet.
    open: QuickMap<CallId, ()>,
    record_end: RecordEnd,
    /// Items among `items` that the writer does not let wait, or that somebody wants to read.
    urgent: usize,
    hurried: bool,
    /// Items that the writer has taken and not committed yet.
    in_hand: usize,
    /// Items that were ever queued, and those of them that are in the tables or were refused.
    queued: u64,
    finished: u64,
    notices: usize,
    suppressed: Suppressed,
    failure: Option<Failure>,
    closed: bool,
}

/// The queue.
pub(crate) struct Queue {
    inner: Mutex<Inner>,
    wake: Condvar,
    /// Told whenever the writer has finished something, or has failed to.
    done: Condvar,
    /// Locked by whoever appends; `inner` may be locked while it is, and never the other way round.
    intake: Mutex<Intake>,
    /// Everything below this number is in the tables.
    moved: AtomicU64,
    /// Zero for no bound.
    bytes_max: AtomicU64,
    clock: Arc<dyn Clock>,
}

/// What the writer is to do next.
pub(crate) struct Batch {
    pub(crate) items: Vec<(u64, Item)>,
    /// The number after the last item of the batch.
    pub(crate) next: u64,
    pub(crate) suppressed: Suppressed,
    /// Set when the batch ends a failure if it is written.
    pub(crate) failure: Option<Failure>,
}

impl Queue {
    /// A queue whose first item has the number `next`, behind a record that ends at `last_at`.
    pub(crate) fn new(
        intake: Intake,
        next: u64,
        last_at: Option<Timestamp>,
        clock: Arc<dyn Clock>,
    ) -> Queue {
        let record_end = RecordEnd::new(last_at);
        Queue {
            inner: Mutex::new(Inner { next, record_end, ..Inner::default() }),
            wake: Condvar::new(),
            done: Condvar::new(),
            intake: Mutex::new(intake),
            moved: AtomicU64::new(next),
            bytes_max: AtomicU64::new(0),
            clock,
        }
    }

    /// Puts an intent at the end, or refuses it. It is on record when the answer is `Ok`, which
    /// [`Queue::write_ahead`] brings about.
    pub(crate) fn intend(
        &self,
        intent: Arc<Intent>,
        answer: oneshot::Sender<Result<(), StoreFault>>,
    ) {
        if let Err(fault) = money_column("a reservation", intent.reserved) {
            drop(answer.send(Err(fault)));
            return;
        }
        let mut inner = self.inner.lock();
        let call = intent.call;
        if inner.open.contains_key(&call) {
            drop(inner);
            let problem = format!("{call} has an intent already");
            drop(answer.send(Err(StoreFault::Conflict(problem))));
            return;
        }
        // A power loss may lose the intake; see `straggler`.
        let (now, later) = if inner.record_end.is_past(&intent) {
            (Some(answer), None)
        } else {
            (None, Some(answer))
        };
        if let Some((item, fault)) = inner.admit(Item::Intend(intent, now)) {
            drop(inner);
            match later {
                Some(answer) => drop(answer.send(Err(fault))),
                None => item.refuse(fault),
            }
            return;
        }
        inner.open.insert(call, ());
        inner.waiting.extend(later);
        self.wake_for(inner);
    }

    /// Puts any other item at the end, or refuses it.
    pub(crate) fn push(&self, item: Item) {
        let mut inner = self.inner.lock();
        if let Some((item, fault)) = inner.admit(item) {
            drop(inner);
            item.refuse(fault);
            return;
        }
        self.wake_for(inner);
    }

    /// Wakes the writer where the last item is a reason to.
    fn wake_for(&self, inner: MutexGuard<'_, Inner>) {
        // While writing fails the writer sleeps until its next try; nothing new wakes it.
        let works = inner.failure.is_none() || inner.closed;
        let length = inner.items.len();
        let wake = works && (length <= 1 || length == BATCH_MAX || inner.urgent > 0);
        drop(inner);
        if wake {
            self.wake.notify_one();
        }
    }

    /// Appends to the intake what waits for it, and answers who waits for that. Takes as long as a
    /// write to a file takes. While somebody else appends this returns at once: whoever appends
    /// looks again before it leaves.
    pub(crate) fn write_ahead(&self) {
        loop {
            let (mut frame, first, waiting) = {
                let mut inner = self.inner.lock();
                if inner.frame.is_empty() || inner.appending.is_some() {
                    return;
                }
                let spare = std::mem::take(&mut inner.spare);
                inner.appending = Some(inner.frame_first);
                let frame = std::mem::replace(&mut inner.frame, spare);
                (frame, inner.frame_first, std::mem::take(&mut inner.waiting))
            };
            let mut intake = self.intake.lock();
            let appended = intake.append(&mut frame, first, self.moved.load(Ordering::Acquire));
            let mut inner = self.inner.lock();
            inner.appending = None;
            if let Err(fault) = &appended {
                tracing::error!(error = %fault, "the intake cannot be written; calls are refused");
                let now = self.clock.now();
                inner.take_back(first..first + u64::from(frame.count()));
                inner.failed(now, fault.clone()).refused += waiting.len() as u64;
            }
            frame.clear();
            inner.spare = frame;
            let wake = inner.writer_waits || appended.is_err();
            drop(inner);
            drop(intake);
            if wake {
                self.wake.notify_one();
            }
            waiting.into_iter().for_each(|answer| drop(answer.send(appended.clone())));
        }
    }

    /// Waits until everything that was queued before is in the tables, so that a reader finds it.
    /// While nothing can be written nobody waits.
    pub(crate) fn catch_up(&self) {
        let mut inner = self.inner.lock();
        let target = inner.queued;
        while inner.finished < target && inner.failure.is_none() && !inner.closed {
            if !inner.hurried {
                inner.hurried = true;
                self.wake.notify_one();
            }
            self.done.wait(&mut inner);
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
            None => {
                self.wake.wait_while(&mut inner, |inner| {
                    inner.items.is_empty()
                        && inner.suppressed == Suppressed::default()
                        && inner.failure.is_none()
                });
                for _ in 0..GATHER {
                    self.wake.wait_while_for(&mut inner, |inner| inner.may_gather(), APPEND_AFTER);
                    if !inner.may_gather() {
                        break;
                    }
                    MutexGuard::unlocked(&mut inner, || self.write_ahead());
                }
            }
        }
        drop(inner);
        loop {
            self.write_ahead();
            let mut inner = self.inner.lock();
            // Somebody else may be appending; then this waits until that is done.
            inner.writer_waits = true;
            self.wake.wait_while(&mut inner, |inner| {
                inner.appending.is_some() && inner.written_count() == 0
            });
            inner.writer_waits = false;
            if inner.written_count() > 0 || inner.items.is_empty() {
                return inner.batch();
            }
        }
    }

    /// Puts back at the head what must not be lost, forgets what was `asked` in vain, and notes the
    /// failure.
    pub(crate) fn give_back(
        &self,
        owed: Vec<(u64, Item)>,
        asked: &[(u64, Item)],
        suppressed: Suppressed,
        fault: StoreFault,
        now: Timestamp,
    ) {
        let mut inner = self.inner.lock();
        inner.finished += asked.len() as u64;
        inner.in_hand = 0;
        for (_, item) in asked {
            if let Item::Intend(intent, _) = item {
                inner.open.remove(&intent.call);
            }
        }
        inner.notices += owed.iter().filter(|(_, item)| matches!(item, Item::Note(_))).count();
        for item in owed.into_iter().rev() {
            inner.items.push_front(item);
        }
        inner.suppressed.ordinary += suppressed.ordinary;
        inner.suppressed.urgent += suppressed.urgent;
        inner.failed(now, fault).tries += 1;
        drop(inner);
        self.done.notify_all();
    }

    /// Notes that what was taken is committed, up to the number `next` and a last record of
    /// `last_at`, so that writing works.
    pub(crate) fn committed(&self, next: u64, synced: bool, last_at: Option<Timestamp>) {
        self.moved.store(next, Ordering::Release);
        let mut inner = self.inner.lock();
        inner.record_end.committed(synced, last_at);
        let queued = inner.items.iter().filter_map(|(_, item)| item.at()).max();
        inner.record_end.reaches(queued);
        inner.finished += inner.in_hand as u64;
        inner.in_hand = 0;
        // What came while writing failed is not in the intake. Before the next intent is, all of
        // that must be in the tables, or a kill would leave a gap before that intent.
        if inner.items.is_empty() {
            inner.failure = None;
        }
        drop(inner);
        self.done.notify_all();
    }

    /// Sees whether the intake can be written again.
    pub(crate) fn probe(&self) -> Result<(), StoreFault> {
        self.intake.lock().probe()
    }

    /// Refuses everything from now on, and what is queued as well.
    pub(crate) fn end(&self) {
        let mut inner = self.inner.lock();
        inner.closed = true;
        let rest = std::mem::take(&mut inner.items);
        let waiting = std::mem::take(&mut inner.waiting);
        inner.frame.clear();
        drop(inner);
        self.done.notify_all();
        waiting.into_iter().for_each(|answer| drop(answer.send(Err(StoreFault::Closed))));
        rest.into_iter().for_each(|(_, item)| item.refuse(StoreFault::Closed));
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
        let settlements = inner.items.iter().filter(|(_, item)| matches!(item, Item::Settle(_)));
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
            Item::Settle(settlement) => {
                self.open.remove(&settlement.call);
            }
        }
        self.enter(item)
    }

    /// Puts an item at the end, and in the next frame of the intake where it belongs there.
    fn enter(&mut self, item: Item) -> Option<(Item, StoreFault)> {
        self.record_end.reaches(item.at());
        let number = self.next;
        match item.entry() {
            None => self.urgent += 1,
            Some(entry) => {
                // While writing fails nothing is added to the intake: what happened is kept here,
                // and what is asked was refused.
                if self.failure.is_none() {
                    self.frame.push(entry);
                    if self.frame.count() == 1 {
                        self.frame_first = number;
                    }
                }
                self.next += 1;
            }
        }
        self.queued += 1;
        self.items.push_back((number, item));
        None
    }

    /// True while nothing speaks against letting more items come.
    fn may_gather(&self) -> bool {
        let few = self.items.len() < BATCH_MAX;
        few && self.urgent == 0 && !self.hurried && !self.closed && self.failure.is_none()
    }

    /// The number of the first item that is not in the intake and should be.
    fn written(&self) -> u64 {
        match self.appending {
            Some(first) => first,
            None if self.frame.is_empty() => self.next,
            None => self.frame_first,
        }
    }

    /// How many items are in the intake, or need not be.
    fn written_count(&self) -> usize {
        let written = self.written();
        self.items.partition_point(|(number, item)| {
            *number < written || (*number == written && item.entry().is_none())
        })
    }

    /// The next batch, which is what is in the intake, or need not be.
    fn batch(&mut self) -> Batch {
        // Nothing comes after the end, which is to be reached even while writing fails.
        let most = if self.closed { usize::MAX } else { BATCH_MAX };
        let (count, written) = (self.written_count().min(most), self.written());
        let items: Vec<_> = self.items.drain(..count).collect();
        for (_, item) in &items {
            match item {
                Item::Note(_) => self.notices -= 1,
                item if item.entry().is_none() => self.urgent -= 1,
                _ => {}
            }
        }
        self.in_hand = items.len();
        self.hurried = false;
        let next = self.items.front().map_or(written, |(number, _)| *number);
        let suppressed = std::mem::take(&mut self.suppressed);
        let failure = if self.items.is_empty() { self.failure.clone() } else { None };
        Batch { items, next, suppressed, failure }
    }

    /// Notes that writing fails, and why.
    fn failed(&mut self, now: Timestamp, fault: StoreFault) -> &mut Failure {
        let failure = self.failure.get_or_insert(Failure {
            since: now,
            fault: fault.clone(),
            tries: 0,
            refused: 0,
        });
        failure.fault = fault;
        failure
    }

    /// Takes intents back that could not be put in the intake.
    fn take_back(&mut self, numbers: Range<u64>) {
        let (before, open) = (self.items.len(), &mut self.open);
        self.items.retain(|(number, item)| match item {
            Item::Intend(intent, None) if numbers.contains(number) => {
                open.remove(&intent.call);
                false
            }
            _ => true,
        });
        self.finished += (before - self.items.len()) as u64;
    }
}

#[cfg(test)]
mod tests;

//! The one writer: a thread that takes everything queued, executes it in one transaction, commits,
//! and then answers whoever waits.
//!
//! A transaction is a prefix of the queue. When it fails, what was asked (leases, changes) is
//! refused and forgotten; what has happened (intents that are in the intake, settlements, notices)
//! goes back to the head of the queue and is written before anything later.

pub(crate) mod books;
pub(crate) mod calls;
pub(crate) mod log;
pub(crate) mod queue;
mod rows;
pub(crate) mod state;
mod straggler;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use chamberlain_core::ledger::account::Grant;
use chamberlain_core::record::{Notice, Severity, TruedUp};
use chamberlain_core::resource::Binding;
use chamberlain_core::time::{Clock, Timestamp};
use rusqlite::wal::CheckpointMode;
use rusqlite::{Connection, DEFAULT_NAME};
use serde_json::json;

use self::calls::{Trouble, facts};
use self::queue::{Batch, Failure, Item, Order, Queue, Suppressed};
use self::state::State;
use crate::change::Change;
use crate::fault::StoreFault;
use crate::file::Identity;
use crate::recovery;

/// How often the writer looks whether its file is still there, at the most, milliseconds.
const LOOK_EVERY_MS: u64 = 1_000;

/// The most pages that SQLite can count.
const PAGES_MAX: u64 = 4_294_967_294;

const BACKOFF_MIN: Duration = Duration::from_millis(20);
const BACKOFF_MAX: Duration = Duration::from_secs(2);

/// Which answer an item gets once the transaction is committed.
enum Answer {
    None,
    Done,
    Granted(Vec<Grant>),
    Bound(Binding),
    TruedUp(Option<TruedUp>),
    Refused(StoreFault),
}

/// Refuses everything once the writer is gone, however it went: nobody must wait for ever.
struct End(Arc<Queue>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// The writer.
pub(crate) struct Writer {
    connection: Connection,
    state: State,
    /// True when memory may know of a transaction that failed.
    stale: bool,
    queue: Arc<Queue>,
    clock: Arc<dyn Clock>,
    /// True while commits are synced to the disk.
    synced: bool,
    /// The size in force, bytes; zero for no bound.
    bytes_max: u64,
    /// Set after a failed transaction.
    backoff: Option<Duration>,
    file: Identity,
    /// When it was last seen under its name.
    seen_at: Timestamp,
}

impl Writer {
    /// A writer over an opened and recovered store.
    pub(crate) fn new(
        connection: Connection,
        state: State,
        queue: Arc<Queue>,
        clock: Arc<dyn Clock>,
        file: Identity,
    ) -> Writer {
        let seen_at = clock.now();
        Writer {
            connection,
            state,
            stale: false,
            queue,
            clock,
            synced: false,
            bytes_max: 0,
            backoff: None,
            file,
            seen_at,
        }
    }

    /// Works until the store is closed.
    pub(crate) fn run(mut self) {
        let _end = End(Arc::clone(&self.queue));
        loop {
            let mut batch = self.queue.take(self.backoff);
            let closing = batch.items.iter().any(|(_, item)| matches!(item, Item::Close(_)));
            match self.write(&mut batch) {
                Ok(answers) => {
                    self.backoff = None;
                    self.queue.committed(batch.next, self.synced, self.state.log.last_at());
                    if closing {
                        self.finish();
                    }
                    batch
                        .items
                        .into_iter()
                        .zip(answers)
                        .for_each(|((_, item), answer)| reply(item, answer));
                    self.state.books.trim();
                }
                Err(fault) => self.fail(batch, fault, closing),
            }
            if closing {
                return;
            }
        }
    }

    /// Executes a batch in one transaction.
    fn write(&mut self, batch: &mut Batch) -> Result<Vec<Answer>, StoreFault> {
        self.undo()?;
        self.sync(batch.items.iter().any(|(_, item)| item.is_durable()))?;
        self.bound()?;
        let now = self.clock.now();
        if now.ms().abs_diff(self.seen_at.ms()) >= LOOK_EVERY_MS {
            self.file.check()?;
            self.seen_at = now;
        }
        if batch.failure.is_some() {
            self.queue.probe()?;
        }
        self.connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        self.stale = true;
        if let Some(failure) = &batch.failure {
            self.state.note(&self.connection, &recovered(failure, now)).map_err(broken)?;
        }
        let mut answers = Vec::with_capacity(batch.items.len());
        for (_, item) in &mut batch.items {
            answers.push(match self.execute(item, now) {
                Ok(answer) => answer,
                Err(Trouble::Refused(fault)) => Answer::Refused(fault),
                Err(Trouble::Broken(fault)) => return Err(fault),
            });
        }
        if batch.suppressed != Suppressed::default() {
            self.state
                .note(&self.connection, &suppressed(batch.suppressed, now))
                .map_err(broken)?;
        }
        recovery::mark_moved(&self.connection, batch.next)?;
        self.state.flush(&self.connection)?;
        self.connection.prepare_cached("COMMIT")?.execute([])?;
        self.stale = false;
        Ok(answers)
    }

    fn execute(&mut self, item: &mut Item, now: Timestamp) -> Result<Answer, Trouble> {
        let (connection, state) = (&self.connection, &mut self.state);
        match item {
            Item::Intend(intent, _) => state.intend(connection, intent).map(|()| Answer::Done),
            Item::Settle(settlement) => state.settle(connection, settlement).map(|()| Answer::None),
            Item::Lease(wanted, _) => state.lease(connection, wanted, now).map(Answer::Granted),
            Item::Note(notice) => state.note(connection, notice).map(|()| Answer::None),
            Item::Bind(keeping, _) => state.keep(connection, keeping, now).map(Answer::Bound),
            Item::TrueUp(found, _) => state.true_up(connection, found).map(Answer::TruedUp),
            Item::Change(order, _) => self.change(order, now).map(|()| Answer::Done),
            Item::Close(_) => {
                state.flush(connection)?;
                recovery::close(connection, state)?;
                Ok(Answer::Done)
            }
        }
    }

    /// Runs a change under a savepoint: it takes effect whole and with its audit record, or not
    /// at all and without harm to the rest of the transaction.
    fn change(&mut self, order: &mut Order, now: Timestamp) -> Result<(), Trouble> {
        let Some(job) = order.job.take() else { return Ok(()) };
        self.state.flush(&self.connection)?;
        self.connection.prepare_cached("SAVEPOINT change")?.execute([])?;
        let changes = self.connection.total_changes();
        let mut change = Change::new(&self.connection, &mut self.state, &order.actor, now);
        let done = catch_unwind(AssertUnwindSafe(|| job(&mut change)))
            .unwrap_or_else(|_| Err(StoreFault::Mistake("a change panicked".into())));
        let recorded = change.is_recorded();
        let done = done.and_then(|()| {
            let silent =
                order.needs_record && !recorded && self.connection.total_changes() != changes;
            if silent {
                return Err(StoreFault::NoRecord { actor: order.actor.to_string() });
            }
            Ok(())
        });
        if let Err(fault) = done {
            if fault.breaks_transaction() || self.connection.is_autocommit() {
                return Err(Trouble::Broken(fault));
            }
            self.connection.execute_batch("ROLLBACK TO change; RELEASE change")?;
            self.state = State::load(&self.connection)?;
            return Err(Trouble::Refused(fault));
        }
        self.connection.prepare_cached("RELEASE change")?.execute([])?;
        Ok(())
    }

    /// Undoes a failed transaction, refuses what was asked in it and keeps what has happened.
    fn fail(&mut self, batch: Batch, fault: StoreFault, closing: bool) {
        let first = self.backoff.is_none();
        if first {
            tracing::error!(error = %fault, "the store cannot be written; calls are refused until it can");
        }
        if let Err(error) = self.undo() {
            // The next try begins with it again.
            tracing::error!(%error, "a failed transaction could not be undone at once");
        }
        let has_happened =
            |item: &Item| matches!(item, Item::Intend(_, None) | Item::Settle(_) | Item::Note(_));
        let is_owed = |(_, item): &(u64, Item)| !closing && has_happened(item);
        let (owed, asked): (Vec<_>, Vec<_>) = batch.items.into_iter().partition(is_owed);
        // The failure is made known before its first victim can ask again.
        self.queue.give_back(owed, &asked, batch.suppressed, fault.clone(), self.clock.now());
        asked.into_iter().for_each(|(_, item)| item.refuse(fault.clone()));
        let next = self.backoff.map_or(BACKOFF_MIN, |last| (last * 2).min(BACKOFF_MAX));
        self.backoff = Some(next);
    }

    /// Rolls a failed transaction back and forgets what memory knew of it.
    fn undo(&mut self) -> Result<(), StoreFault> {
        if !self.stale {
            return Ok(());
        }
        if !self.connection.is_autocommit() {
            self.connection.execute_batch("ROLLBACK")?;
        }
        self.state = State::load(&self.connection)?;
        self.stale = false;
        Ok(())
    }

    /// Sets whether the next commits wait for the disk.
    fn sync(&mut self, wanted: bool) -> Result<(), StoreFault> {
        if self.synced != wanted {
            let level = if wanted { "FULL" } else { "NORMAL" };
            self.connection.pragma_update(None, "synchronous", level)?;
            self.synced = wanted;
        }
        Ok(())
    }

    /// Puts the bound on the store's size in force when it was changed.
    fn bound(&mut self) -> Result<(), StoreFault> {
        let wanted = self.queue.bytes_max();
        if self.bytes_max != wanted {
            let page: u64 =
                self.connection.pragma_query_value(None, "page_size", |row| row.get(0))?;
            let pages = if wanted == 0 { PAGES_MAX } else { (wanted / page).clamp(1, PAGES_MAX) };
            let _: i64 =
                self.connection
                    .pragma_update_and_check(None, "max_page_count", pages, |row| row.get(0))?;
            self.bytes_max = wanted;
        }
        Ok(())
    }

    /// Leaves as little as possible for the next start to do. What it cannot do, the next start can.
    fn finish(&self) {
        if let Err(error) =
            self.connection.wal_checkpoint_v2(DEFAULT_NAME, CheckpointMode::TRUNCATE)
        {
            tracing::warn!(%error, "the last checkpoint of the store was left to the next start");
        }
    }
}

fn broken(trouble: Trouble) -> StoreFault {
    match trouble {
        Trouble::Refused(fault) | Trouble::Broken(fault) => fault,
    }
}

fn reply(item: Item, answer: Answer) {
    // A waiter that has gone is no fault: what it asked for is on record all the same.
    match (item, answer) {
        (item, Answer::Refused(fault)) => item.refuse(fault),
        (Item::Intend(_, Some(waiter)), _) => drop(waiter.send(Ok(()))),
        (Item::Lease(_, waiter), Answer::Granted(grants)) => drop(waiter.send(Ok(grants))),
        (Item::Bind(_, waiter), Answer::Bound(binding)) => drop(waiter.send(Ok(binding))),
        (Item::TrueUp(_, waiter), Answer::TruedUp(told)) => drop(waiter.send(Ok(told))),
        (Item::Change(_, waiter) | Item::Close(waiter), _) => drop(waiter.send(Ok(()))),
        _ => {}
    }
}

fn recovered(failure: &Failure, now: Timestamp) -> Notice {
    Notice {
        at: now,
        kind: "store.recovered".into(),
        severity: Severity::High,
        subject: "store".into(),
        message: format!(
            "The store could not be written since {} ({}); it can again. {} requests were refused \
             in the meantime.",
            failure.since, failure.fault, failure.refused
        ),
        facts: facts(json!({
            "since": failure.since.ms(),
            "fault": failure.fault.to_string(),
            "refused": failure.refused,
        })),
        notify: false,
    }
}

fn suppressed(count: Suppressed, now: Timestamp) -> Notice {
    Notice {
        at: now,
        kind: "notices.suppressed".into(),
        severity: if count.urgent > 0 { Severity::High } else { Severity::Warning },
        subject: "store".into(),
        message: format!(
            "{} notices came faster than they could be written and were only counted.",
            count.ordinary + count.urgent
        ),
        facts: facts(json!({ "ordinary": count.ordinary, "urgent": count.urgent })),
        notify: false,
    }
}

#[cfg(test)]
mod tests;

//! The store as the rest of the house sees it.

use std::fmt;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::task::{Context, Poll};
use std::thread::JoinHandle;

use chamberlain_core::audit::record::Principal;
use chamberlain_core::ledger::account::{AccountId, Balance, Grant, LeaseWanted};
use chamberlain_core::record::{Intent, Notice, Settlement};
use chamberlain_core::time::{Clock, Timestamp};
use parking_lot::Mutex;
use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::oneshot;
use tokio::sync::oneshot::error::RecvError;

use crate::change::Change;
use crate::fault::StoreFault;
use crate::file::{self, Hold, Identity};
use crate::intake::Intake;
use crate::readers::Readers;
use crate::recovery::{self, LastRun};
use crate::writer::Writer;
use crate::writer::queue::{Health, Item, Order, Queue};
use crate::writer::state::State;
use crate::{balances, checkpointer, schema};

/// How to open a store.
pub struct OpenOptions {
    /// Where the store gets the time from.
    pub clock: Arc<dyn Clock>,
    /// What tells one run of the machine from the next (`/proc/sys/kernel/random/boot_id`). Empty
    /// when unknown; every crash then counts as a power loss.
    pub boot_id: String,
    /// Open for reading only, beside whoever writes.
    pub read_only: bool,
    /// The store does not grow beyond this many bytes; it then behaves as on a full disk. `None`
    /// leaves it to the disk.
    pub bytes_max: Option<u64>,
}

/// The embedded store. Cloning gives another handle to the same one; when the last is dropped the
/// store is closed.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
}

struct Shared {
    readers: Readers,
    writing: Option<Writing>,
}

struct Writing {
    queue: Arc<Queue>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    _hold: Hold,
}

impl Store {
    /// Opens the store at `path`, making it when it is missing: brings its schema up to date, sets
    /// its books right after a crash, and starts the writer.
    ///
    /// # Errors
    /// [`StoreFault`], saying what to do.
    pub fn open(path: &Path, options: OpenOptions) -> Result<Store, StoreFault> {
        let readers = Readers::new(path);
        if options.read_only {
            if !path.exists() {
                return Err(StoreFault::Missing(format!("store at {}", path.display())));
            }
            readers.read(schema::check)?;
            return Ok(Store { shared: Arc::new(Shared { readers, writing: None }) });
        }
        let hold = Hold::take(path)?;
        let (mut connection, state, next) = prepare(path, &options)?;
        let (intake, last_at) = (Intake::open(path)?, state.log.last_at());
        let queue = Queue::new(intake, next, last_at, Arc::clone(&options.clock));
        let queue = Arc::new(queue);
        queue.set_bytes_max(options.bytes_max);
        let checkpoints = checkpointer::start(&mut connection, path)?;
        let file = Identity::of(path)?;
        let writer = Writer::new(connection, state, Arc::clone(&queue), options.clock, file);
        let writes = std::thread::Builder::new()
            .name("store-writer".into())
            .spawn(move || writer.run())
            .map_err(|error| StoreFault::Io(format!("no thread for writing: {error}")))?;
        let threads = Mutex::new(vec![writes, checkpoints]);
        let writing = Some(Writing { queue, threads, _hold: hold });
        Ok(Store { shared: Arc::new(Shared { readers, writing }) })
    }

    /// Records an intent. When the answer is `Ok`, it survives a process kill.
    pub fn intend(&self, intent: Intent) -> Recording {
        let (answer, answered) = oneshot::channel();
        let queue = self.shared.writing.as_ref().map(|writing| Arc::clone(&writing.queue));
        match &queue {
            Some(queue) => queue.intend(Arc::new(intent), answer),
            None => drop(answer.send(Err(StoreFault::ReadOnly("as asked".into())))),
        }
        Recording { queue, answered }
    }

    /// Records how a call ended. What cannot be written yet is kept and written before anything
    /// later.
    pub fn settle(&self, settlement: Settlement) {
        // They are those of the intent.
        let settlement = Settlement { accounts: Vec::new(), ..settlement };
        self.push(Item::Settle(Arc::new(settlement)));
    }

    /// Raises leases, all or none. When the answer is `Ok`, they survive a power loss.
    pub fn lease(
        &self,
        wanted: Vec<LeaseWanted>,
    ) -> oneshot::Receiver<Result<Vec<Grant>, StoreFault>> {
        let (answer, answered) = oneshot::channel();
        self.push(Item::Lease(wanted, answer));
        answered
    }

    /// Records a notice; under a flood notices are counted instead.
    pub fn note(&self, notice: Notice) {
        self.push(Item::Note(Box::new(notice)));
    }

    /// Makes a change of the control plane in one durable transaction and waits for it. Blocks:
    /// not to be called from an async task.
    ///
    /// # Errors
    /// What `work` answers, or [`StoreFault::NoRecord`] when it changed something and wrote no audit
    /// record. Nothing is changed then.
    pub fn change<T: Send + 'static>(
        &self,
        actor: Principal,
        work: impl FnOnce(&mut Change<'_>) -> Result<T, StoreFault> + Send + 'static,
    ) -> Result<T, StoreFault> {
        self.order(actor, true, true, work)
    }

    /// Makes a change that is the store's own book-keeping and needs no audit record.
    pub(crate) fn keep_books<T: Send + 'static>(
        &self,
        durable: bool,
        work: impl FnOnce(&mut Change<'_>) -> Result<T, StoreFault> + Send + 'static,
    ) -> Result<T, StoreFault> {
        self.order(Principal::Chamberlain, false, durable, work)
    }

    fn order<T: Send + 'static>(
        &self,
        actor: Principal,
        needs_record: bool,
        durable: bool,
        work: impl FnOnce(&mut Change<'_>) -> Result<T, StoreFault> + Send + 'static,
    ) -> Result<T, StoreFault> {
        let (send, result) = sync_channel(1);
        let job = Box::new(move |change: &mut Change<'_>| {
            // The receiver is below, and waits.
            let _ = send.send(work(change)?);
            Ok(())
        });
        let (answer, answered) = sync_channel(1);
        let order = Order { actor, needs_record, durable, job: Some(job) };
        self.push(Item::Change(Box::new(order), answer));
        answered.recv().unwrap_or(Err(StoreFault::Closed))?;
        result.recv().map_err(|_| StoreFault::Closed)
    }

    /// Sets how large the store may grow, see [`OpenOptions::bytes_max`]. In force from the next
    /// transaction on, also while writing fails for want of space.
    pub fn set_bytes_max(&self, bytes_max: Option<u64>) {
        if let Some(writing) = &self.shared.writing {
            writing.queue.set_bytes_max(bytes_max);
        }
    }

    /// How the store is doing.
    pub fn health(&self) -> Health {
        match &self.shared.writing {
            Some(writing) => writing.queue.health(),
            None => Health { failure: None, queued: 0, settlements_queued: 0 },
        }
    }

    /// The balances of windows that have not ended at `now`.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn balances(&self, now: Timestamp) -> Result<Vec<(AccountId, Balance)>, StoreFault> {
        let held = self.read(|connection| balances::running(connection, now))?;
        Ok(held.into_iter().map(|held| (held.account, held.balance)).collect())
    }

    /// Writes what is queued, gives leases back and closes. Whatever comes later is refused.
    /// Blocks until it is done; a second call finds it done.
    ///
    /// # Errors
    /// When not everything could be written. The next start then treats it as a crash.
    pub fn close(&self) -> Result<(), StoreFault> {
        self.shared.close()
    }

    pub(crate) fn read<T>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, StoreFault>,
    ) -> Result<T, StoreFault> {
        self.catch_up();
        self.shared.readers.read(work)
    }

    /// Waits until what was handed over before is in the tables.
    pub(crate) fn catch_up(&self) {
        if let Some(writing) = &self.shared.writing {
            writing.queue.catch_up();
        }
    }

    /// Where the store lies.
    pub(crate) fn path(&self) -> &Path {
        self.shared.readers.path()
    }

    pub(crate) fn push(&self, item: Item) {
        match &self.shared.writing {
            Some(writing) => writing.queue.push(item),
            None => item.refuse(StoreFault::ReadOnly("as asked".into())),
        }
    }
}

/// The answer to an intent. Whoever waits for it appends it to the intake, together with whatever
/// else waits there; that takes as long as a write to a file takes.
pub struct Recording {
    /// `None` once it was asked to write.
    queue: Option<Arc<Queue>>,
    answered: oneshot::Receiver<Result<(), StoreFault>>,
}

impl Recording {
    /// Waits for the answer. Not to be called from an async task.
    ///
    /// # Errors
    /// When the store is gone.
    pub fn blocking_recv(mut self) -> Result<Result<(), StoreFault>, RecvError> {
        self.write();
        self.answered.blocking_recv()
    }

    fn write(&mut self) {
        if let Some(queue) = self.queue.take() {
            queue.write_ahead();
        }
    }
}

impl Future for Recording {
    type Output = Result<Result<(), StoreFault>, RecvError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.write();
        Pin::new(&mut self.answered).poll(cx)
    }
}

impl fmt::Debug for Recording {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recording").field("answered", &self.answered).finish_non_exhaustive()
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("health", &self.health()).finish()
    }
}

impl fmt::Debug for OpenOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let OpenOptions { boot_id, read_only, bytes_max, .. } = self;
        f.debug_struct("OpenOptions")
            .field("boot_id", boot_id)
            .field("read_only", read_only)
            .field("bytes_max", bytes_max)
            .finish_non_exhaustive()
    }
}

impl Shared {
    fn close(&self) -> Result<(), StoreFault> {
        self.readers.close();
        let Some(writing) = &self.writing else { return Ok(()) };
        let mut threads = writing.threads.lock();
        if threads.is_empty() {
            return Ok(());
        }
        let (answer, answered) = sync_channel(1);
        writing.queue.push(Item::Close(answer));
        let closed = answered.recv().unwrap_or(Err(StoreFault::Closed));
        for thread in threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread of the store panicked");
            }
        }
        closed
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if let Err(fault) = self.close() {
            tracing::error!(error = %fault, "the store was not closed properly");
        }
    }
}

/// Opens the files, brings the schema up to date and sets the books right.
/// Gives the number of the next entry of the intake, too.
fn prepare(path: &Path, options: &OpenOptions) -> Result<(Connection, State, u64), StoreFault> {
    let now = options.clock.now();
    let mut connection = file::open_for_writing(path)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    schema::migrate(&mut connection, now)?;
    let last = LastRun::read(&connection, &options.boot_id)?;
    if matches!(last, LastRun::Killed | LastRun::PowerLost) {
        file::check_for_damage(&connection, path)?;
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut state = State::load(&transaction)?;
    let next = recovery::take_in(&transaction, &mut state, path, last)?;
    recovery::recover(&transaction, &mut state, &options.boot_id, now)?;
    state.flush(&transaction)?;
    transaction.commit()?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    // The balances in memory may be older than what recovery wrote.
    let state = State::load(&connection)?;
    Ok((connection, state, next))
}

//! Workers: threads that carry connections, each with a runtime of its own.
//!
//! A call is carried by one thread from its first byte to its last, upstream connection included.
//! Threads that share their tasks wake one another for each thing that happens, and a wake-up
//! costs as much as a large part of a call. What a thread is given it keeps, so connections go to
//! the one that has the fewest.

use std::cell::Cell;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use tokio::runtime::{self, Handle, Runtime};
use tokio_util::sync::CancellationToken;

/// How long work that nobody waits for any more may take to be put away.
const END_MAX: Duration = Duration::from_millis(100);

thread_local! {
    static NUMBER: Cell<usize> = const { Cell::new(0) };
}

/// The number of the worker that runs this; 0 where no worker does.
pub(crate) fn number() -> usize {
    NUMBER.get()
}

/// The threads. They end when this is dropped.
pub(crate) struct Workers {
    all: Vec<Worker>,
    ended: CancellationToken,
}

struct Worker {
    handle: Handle,
    /// Connections it has.
    connections: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
}

/// A connection at a worker, until it is dropped.
pub(crate) struct Carried(Arc<AtomicUsize>);

impl Drop for Carried {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Workers {
    /// Starts `count` threads; none leave connections to the runtime that takes them.
    ///
    /// # Errors
    /// The system's, when it gives no thread or no place to wait for events.
    pub(crate) fn start(count: usize) -> io::Result<Workers> {
        let ended = CancellationToken::new();
        let all = (1..=count).map(|number| Worker::start(number, ended.clone()));
        Ok(Workers { all: all.collect::<io::Result<_>>()?, ended })
    }

    /// No threads: the runtime that takes a connection carries it.
    pub(crate) fn none() -> Workers {
        Workers { all: Vec::new(), ended: CancellationToken::new() }
    }

    /// Runs `work`, which carries a connection, where there are the fewest.
    pub(crate) fn carry<W>(&self, work: impl FnOnce(Option<Carried>) -> W)
    where
        W: Future<Output = ()> + Send + 'static,
    {
        let fewest = |worker: &&Worker| worker.connections.load(Ordering::Relaxed);
        let Some(worker) = self.all.iter().min_by_key(fewest) else {
            tokio::spawn(work(None));
            return;
        };
        worker.connections.fetch_add(1, Ordering::Relaxed);
        worker.handle.spawn(work(Some(Carried(worker.connections.clone()))));
    }
}

impl Worker {
    fn start(number: usize, ended: CancellationToken) -> io::Result<Worker> {
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let run = move || run(number, runtime, &ended);
        let thread = Builder::new().name(format!("worker {number}")).spawn(run)?;
        Ok(Worker { handle, connections: Arc::default(), thread: Some(thread) })
    }
}

fn run(number: usize, runtime: Runtime, ended: &CancellationToken) {
    NUMBER.set(number);
    runtime.block_on(ended.cancelled());
    runtime.shutdown_timeout(END_MAX);
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.ended.cancel();
        for thread in self.all.iter_mut().filter_map(|worker| worker.thread.take()) {
            // One that panicked has nothing left to put away.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn connections_go_where_there_are_the_fewest() {
        let workers = Workers::start(3).unwrap();
        let (told, mut numbers) = mpsc::unbounded_channel();
        let mut held = Vec::new();
        for _ in 0..6 {
            let told = told.clone();
            workers.carry(|carried| async move {
                told.send((number(), carried)).unwrap();
            });
            held.push(numbers.recv().await.unwrap());
        }
        let count = |wanted: usize| held.iter().filter(|(number, _)| *number == wanted).count();
        assert_eq!([1, 2, 3].map(count), [2, 2, 2]);
        held.retain(|(number, _)| *number != 2);
        for _ in 0..2 {
            let told = told.clone();
            workers.carry(|carried| async move { told.send((number(), carried)).unwrap() });
            assert_eq!(numbers.recv().await.unwrap().0, 2, "both of its own have gone");
        }
    }

    #[tokio::test]
    async fn without_threads_the_callers_runtime_carries() {
        let workers = Workers::start(0).unwrap();
        let (told, number_told) = tokio::sync::oneshot::channel();
        workers.carry(|_| async move {
            let _ = told.send(number());
        });
        assert_eq!(number_told.await, Ok(0));
    }

    #[tokio::test]
    async fn what_is_left_at_the_end_is_dropped() {
        let workers = Workers::start(1).unwrap();
        let left = Arc::new(());
        let inside = left.clone();
        workers.carry(|_| async move {
            std::future::pending::<()>().await;
            drop(inside);
        });
        drop(workers);
        assert_eq!(Arc::strong_count(&left), 1);
    }
}

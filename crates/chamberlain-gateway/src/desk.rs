//! Large bodies: what can be said without them is said first, and reading them is done in turn.
//!
//! A compressed body may decode to a thousand times its size, and a batch has up to 256 MB. To know
//! what they are they must be read, before the gate can count them; so no request limit bounds what
//! that costs. Here it is bounded otherwise: half of the processors read, and no virtual key takes
//! more than half of those, nor its turn before another's.

use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

use chamberlain_core::admission::gate::Admission;
use chamberlain_core::admission::refusal::Refusal;
use chamberlain_core::admission::turns::Turns;
use chamberlain_core::id::VirtualKeyId;
use chamberlain_core::quick::QuickMap;
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::body::Hold;
use crate::bound::terms;
use crate::gateway::Inner;
use crate::identify::Call;
use crate::refuse::Fault;

/// The fewest desks, so that one is left when a virtual key has another.
const PLACES_MIN: usize = 2;

/// Where large bodies are decoded and read.
pub(crate) struct Desks(Mutex<Board>);

struct Board {
    turns: Turns,
    /// The number of the next who comes.
    next: u64,
    waiting: QuickMap<u64, oneshot::Sender<()>>,
}

impl Default for Desks {
    fn default() -> Desks {
        let processors = available_parallelism().map_or(1, usize::from);
        Desks::with((processors / 2).max(PLACES_MIN))
    }
}

impl Desks {
    fn with(places: usize) -> Desks {
        let turns = Turns::new(places);
        Desks(Mutex::new(Board { turns, next: 0, waiting: QuickMap::default() }))
    }

    /// Waits for a desk, in turn.
    pub(crate) async fn seat(self: &Arc<Self>, key: &VirtualKeyId) -> Desk {
        let (called, call) = oneshot::channel();
        let place = {
            let mut board = self.0.lock();
            let number = board.next;
            board.next += 1;
            board.turns.join(key, number);
            board.waiting.insert(number, called);
            board.call();
            Place { desks: self.clone(), key: key.clone(), number: Some(number) }
        };
        // It is told only once it has its turn, and is forgotten in no other way than by leaving.
        let _ = call.await;
        place.sit()
    }

    /// Bodies that wait for a desk, and desks that are taken.
    pub(crate) fn standing(&self) -> (usize, usize) {
        let board = self.0.lock();
        (board.turns.waiting(), board.turns.taken())
    }
}

impl Board {
    /// Calls whoever is next, as long as there are desks.
    fn call(&mut self) {
        while let Some(number) = self.turns.call_next() {
            if let Some(called) = self.waiting.remove(&number) {
                // One that has just left gives its desk back as it does.
                let _ = called.send(());
            }
        }
    }
}

/// A place in line.
struct Place {
    desks: Arc<Desks>,
    key: VirtualKeyId,
    /// `None` once it became a desk.
    number: Option<u64>,
}

impl Place {
    fn sit(mut self) -> Desk {
        self.number = None;
        Desk { desks: self.desks.clone(), key: self.key.clone() }
    }
}

impl Drop for Place {
    /// Its client left while it waited.
    fn drop(&mut self) {
        let Some(number) = self.number else { return };
        let mut board = self.desks.0.lock();
        board.waiting.remove(&number);
        if !board.turns.leave(&self.key, number) {
            board.turns.end(&self.key);
            board.call();
        }
    }
}

/// A desk, for one body; given back when dropped.
pub(crate) struct Desk {
    desks: Arc<Desks>,
    key: VirtualKeyId,
}

impl Drop for Desk {
    fn drop(&mut self) {
        let mut board = self.desks.0.lock();
        board.turns.end(&self.key);
        board.call();
    }
}

/// Works at a desk on what is held, beside the threads that move bytes. Desk and memory are held
/// until the work is done, also when nobody waits for it any more: whoever sends a body and leaves
/// at once would otherwise have the turn of one and the work of many.
pub(crate) async fn beside<T: Send + 'static>(
    tasks: &TaskTracker,
    desk: Desk,
    hold: &mut Hold,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Fault> {
    let held = hold.take();
    let working = tasks.spawn_blocking(move || {
        let done = work();
        drop(desk);
        (done, held)
    });
    let (done, held) = working.await.map_err(|_| Fault::Ours)?;
    *hold = held;
    Ok(done)
}

impl Inner {
    /// Refuses a call that is stopped by now, or that its request limit would not let pass within
    /// the longest wait, before a large body is read for it. It counts nothing: that is the gate's.
    pub(crate) fn is_worth_reading(&self, call: &Call) -> Result<(), Refusal> {
        let fresh = self.look_again(call)?;
        let call = fresh.as_ref().unwrap_or(call);
        let said = self.hall.lock().gate.requests_say(&terms(call), self.now());
        let wait_max = Duration::from_millis(call.snapshot.settings.wait_ms_max);
        match said {
            Some(Admission::Refused(refusal)) => Err(refusal),
            Some(Admission::Wait(wait)) if self.is_hopeless(&wait, Instant::now() + wait_max) => {
                Err(wait.refusal)
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;
    use crate::body::BodyMemory;

    fn keys() -> [VirtualKeyId; 2] {
        ["a", "b"].map(VirtualKeyId::new)
    }

    #[tokio::test]
    async fn a_key_with_many_bodies_leaves_a_desk_for_another() {
        let desks = Arc::new(Desks::with(2));
        let [greedy, modest] = keys();
        let first = desks.seat(&greedy).await;
        let more: Vec<_> = (0..100)
            .map(|_| {
                let (desks, greedy) = (desks.clone(), greedy.clone());
                tokio::spawn(async move { drop(desks.seat(&greedy).await) })
            })
            .collect();
        while desks.standing().0 < 100 {
            tokio::task::yield_now().await;
        }
        assert_eq!(desks.standing(), (100, 1));
        let other = desks.seat(&modest).await;
        assert_eq!(desks.standing(), (100, 2), "it did not wait for a hundred");
        drop((first, other));
        for task in more {
            task.await.unwrap();
        }
        assert_eq!(desks.standing(), (0, 0));
    }

    #[tokio::test]
    async fn whoever_leaves_the_line_leaves_its_place() {
        let desks = Arc::new(Desks::with(1));
        let [key, other] = keys();
        let desk = desks.seat(&key).await;
        let mut nobody = Context::from_waker(Waker::noop());
        {
            let mut waiting = pin!(desks.seat(&other));
            assert!(waiting.as_mut().poll(&mut nobody).is_pending());
            assert_eq!(desks.standing(), (1, 1));
        }
        assert_eq!(desks.standing(), (0, 1));
        {
            let mut called = pin!(desks.seat(&other));
            assert!(called.as_mut().poll(&mut nobody).is_pending());
            drop(desk);
            assert_eq!(desks.standing(), (0, 1), "it was called, and does not know it yet");
        }
        assert_eq!(desks.standing(), (0, 0));
        drop(desks.seat(&key).await);
    }

    #[tokio::test]
    async fn work_that_nobody_waits_for_holds_its_desk_and_memory_to_its_end() {
        let (desks, memory) = (Arc::new(Desks::with(1)), Arc::new(BodyMemory::default()));
        let tasks = TaskTracker::new();
        let [key, _] = keys();
        let mut hold = Hold::new(&memory, &key);
        hold.grow(10, 100).unwrap();
        assert_eq!(beside(&tasks, desks.seat(&key).await, &mut hold, || 7).await, Ok(7));
        assert_eq!((memory.used(), desks.standing()), (10, (0, 0)));
        let (end, ended) = std::sync::mpsc::channel::<()>();
        {
            let desk = desks.seat(&key).await;
            let mut work = pin!(beside(&tasks, desk, &mut hold, move || ended.recv().is_ok()));
            let mut nobody = Context::from_waker(Waker::noop());
            assert!(work.as_mut().poll(&mut nobody).is_pending());
        }
        drop(hold);
        let still = (memory.used(), desks.standing());
        assert_eq!(still, (10, (0, 1)), "the client has left, and its body is still worked on");
        end.send(()).unwrap();
        tasks.close();
        tasks.wait().await;
        // What nobody takes is thrown away a moment after the work has ended.
        while memory.used() > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(desks.standing(), (0, 0));
    }
}

//! The batches whose cost is not known yet, and when each is looked at next.

use std::collections::HashMap;
use std::time::Duration;

use chamberlain_core::id::CallId;
use chamberlain_core::resource::{Resource, ResourceId};
use chamberlain_core::time::Timestamp;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use tokio::time::Instant;

/// Asked for often, a batch is still not looked at more often than this.
const NUDGED_PAUSE: Duration = Duration::from_millis(500);

/// After a look that went wrong in Chamberlain itself.
const ABANDONED_PAUSE: Duration = Duration::from_secs(60);

/// A batch whose cost is not known yet.
#[derive(Clone, Debug)]
pub(crate) struct OpenBatch {
    pub(crate) resource: Resource,
    /// The call that submitted it.
    pub(crate) call: CallId,
    /// When that came in: the prices of then hold.
    pub(crate) submitted_at: Timestamp,
    pub(crate) items: u64,
    /// Looks in a row that failed.
    pub(crate) failures: u32,
    /// Sets of results that were not whole.
    pub(crate) incomplete: u32,
    /// Answers in a row that say that there is no such batch.
    pub(crate) gone: u32,
}

struct Slot {
    batch: OpenBatch,
    next: Instant,
    looked: Option<Instant>,
    /// Somebody looks at it just now.
    busy: bool,
}

/// All of them.
#[derive(Default)]
pub(crate) struct Batches {
    open: Mutex<HashMap<ResourceId, Slot>>,
    /// Told when something is due earlier, or a look has ended.
    changed: Notify,
}

impl Batches {
    /// Takes a batch up, to be looked at in `pause`.
    pub(crate) fn open(&self, batch: OpenBatch, pause: Duration) {
        let id = batch.resource.id.clone();
        let slot = Slot { batch, next: Instant::now() + pause, looked: None, busy: false };
        self.open.lock().insert(id, slot);
        self.changed.notify_waiters();
    }

    /// Has a batch looked at soon. Not while looking fails: whoever asks again and again would use
    /// up the looks after which a batch is given up within a second or two.
    pub(crate) fn nudge(&self, id: &ResourceId) {
        let mut open = self.open.lock();
        let Some(slot) = open.get_mut(id).filter(|slot| slot.batch.failures == 0) else { return };
        let now = Instant::now();
        let soonest = slot.looked.map_or(now, |looked| (looked + NUDGED_PAUSE).max(now));
        if soonest < slot.next {
            slot.next = soonest;
            self.changed.notify_waiters();
        }
    }

    pub(crate) fn is_open(&self, id: &ResourceId) -> bool {
        self.open.lock().contains_key(id)
    }

    /// How many there are, and since when the oldest is open.
    pub(crate) fn standing(&self) -> (usize, Option<Timestamp>) {
        let open = self.open.lock();
        (open.len(), open.values().map(|slot| slot.batch.submitted_at).min())
    }

    /// Takes one that is due, for looking at it; or says when the next will be.
    pub(super) fn due(&self) -> Result<OpenBatch, Option<Instant>> {
        let mut open = self.open.lock();
        let idle = open.values_mut().filter(|slot| !slot.busy);
        let Some(slot) = idle.min_by_key(|slot| slot.next) else { return Err(None) };
        if slot.next > Instant::now() {
            return Err(Some(slot.next));
        }
        slot.busy = true;
        Ok(slot.batch.clone())
    }

    /// Takes that one, unless somebody else looks at it; `None` when it is not open, or looking at
    /// it failed and its next look is not due: see [`nudge`](Batches::nudge).
    pub(super) fn take(&self, id: &ResourceId) -> Option<Result<OpenBatch, ()>> {
        let mut open = self.open.lock();
        let slot = open.get_mut(id)?;
        if slot.busy {
            return Some(Err(()));
        }
        if slot.batch.failures > 0 && slot.next > Instant::now() {
            return None;
        }
        slot.busy = true;
        Some(Ok(slot.batch.clone()))
    }

    /// Gives one back, to be looked at again in `pause`.
    pub(super) fn again(&self, batch: OpenBatch, pause: Duration) {
        if let Some(slot) = self.open.lock().get_mut(&batch.resource.id) {
            let now = Instant::now();
            *slot = Slot { batch, next: now + pause, looked: Some(now), busy: false };
        }
        self.changed.notify_waiters();
    }

    /// Gives one back that was taken and lost: to be looked at again, like one whose look failed.
    pub(super) fn abandoned(&self, id: &ResourceId) {
        if let Some(slot) = self.open.lock().get_mut(id) {
            let now = Instant::now();
            slot.batch.failures = slot.batch.failures.saturating_add(1);
            (slot.next, slot.looked, slot.busy) = (now + ABANDONED_PAUSE, Some(now), false);
        }
        self.changed.notify_waiters();
    }

    /// Lets one go: nothing more is to be learned of it.
    pub(super) fn close(&self, id: &ResourceId) {
        self.open.lock().remove(id);
        self.changed.notify_waiters();
    }

    /// The next change.
    pub(super) fn changed(&self) -> Notified<'_> {
        self.changed.notified()
    }
}

#[cfg(test)]
mod tests {
    use chamberlain_core::id::{EnvironmentName, VirtualKeyId};
    use chamberlain_core::resource::ResourceKind;

    use super::*;

    fn batch() -> OpenBatch {
        let resource = Resource {
            kind: ResourceKind::Batch,
            id: ResourceId::parse("msgbatch_1").unwrap(),
            virtual_key: VirtualKeyId::new("key"),
            environment: EnvironmentName::new("production"),
            upstream_key: None,
            created: Timestamp::from_ms(0),
            expires: None,
            about: serde_json::Map::new(),
        };
        let call = CallId::mint(Timestamp::from_ms(0), [0; 10]);
        let submitted_at = Timestamp::from_ms(0);
        OpenBatch { resource, call, submitted_at, items: 1, failures: 0, incomplete: 0, gone: 0 }
    }

    #[test]
    fn deleting_does_not_use_up_the_looks_after_which_it_is_given_up() {
        const HOUR: Duration = Duration::from_secs(3_600);
        let batches = Batches::default();
        let id = batch().resource.id;
        batches.open(batch(), HOUR);
        assert!(batches.take(&id).unwrap().is_ok(), "all is well: at once");
        assert!(batches.take(&id).unwrap().is_err(), "somebody looks");
        batches.again(OpenBatch { failures: 1, gone: 1, ..batch() }, HOUR);
        assert!(batches.take(&id).is_none(), "not before its time");
        batches.again(OpenBatch { failures: 1, gone: 1, ..batch() }, Duration::ZERO);
        assert!(batches.take(&id).unwrap().is_ok(), "now it is");
        batches.again(batch(), HOUR);
        assert!(batches.take(&id).unwrap().is_ok());
    }

    #[test]
    fn one_that_was_lost_is_looked_at_again() {
        let batches = Batches::default();
        let id = batch().resource.id;
        batches.open(batch(), Duration::ZERO);
        assert!(batches.due().is_ok());
        assert_eq!(batches.due().unwrap_err(), None, "it is being looked at");
        batches.abandoned(&id);
        assert!(batches.due().unwrap_err().is_some(), "later, and not too soon");
        assert_eq!(batches.open.lock()[&id].batch.failures, 1);
    }

    #[test]
    fn asking_hurries_a_look_but_not_after_one_that_failed() {
        const HOUR: Duration = Duration::from_secs(3_600);
        let batches = Batches::default();
        let id = batch().resource.id;
        let next = || batches.due().unwrap_err().unwrap();
        batches.open(batch(), HOUR);
        let calm = next();
        batches.nudge(&id);
        assert!(batches.due().is_ok(), "at once");
        batches.again(OpenBatch { failures: 1, gone: 1, ..batch() }, HOUR);
        batches.nudge(&id);
        assert!(next() >= calm, "three such looks give a batch up");
        batches.again(batch(), HOUR);
        batches.nudge(&id);
        assert!(next() < calm);
    }
}

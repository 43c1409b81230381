//! `/v1/messages/batches`: a way to spend that ends a day later, and a virtual key's own alone.
//!
//! A batch carries all its requests, so all they may cost is set aside when it is submitted. Once
//! upstream has taken it, the call is settled as charged in full and unsettled, with the batch
//! bound to its virtual key before the client sees the id: a crash or a restart forgets nothing.
//! The collector then looks at it until it has ended, reads the results itself, and trues the call
//! up to what it cost. What clients do with results does not matter for money.
//!
//! Batches belong to the workspace of an upstream key. Here an id of another virtual key is
//! refused as if there were no such batch, and lists are answered from our own record.

mod collect;
mod create;
mod link;
mod list;
mod object;
mod open;
mod own;

use std::sync::Arc;
use std::time::Duration;

use chamberlain_core::admission::refusal::Refusal;
use chamberlain_core::record::Route;
use chamberlain_core::resource::{Resource, ResourceKind};
use http::Response;

pub(crate) use self::collect::run as collect;
pub(crate) use self::link::came_under_tls;
pub(crate) use self::object::tells_of_a_batch;
pub(crate) use self::open::{Batches, OpenBatch};
use crate::bound::bounded;
use crate::decide::{Decided, Destination};
use crate::ending::{End, Seen};
use crate::forward::{Deletion, Recorded};
use crate::gateway::Inner;
use crate::notice::Witness;
use crate::refuse::Stop;
use crate::stream::AnswerBody;

/// How long a client that deletes a batch waits for its cost to be learned.
const LEARN_MAX: Duration = Duration::from_secs(30);

/// True for the routes of this room.
pub(crate) fn is_about_batches(route: Route) -> bool {
    matches!(
        route,
        Route::BatchCreate
            | Route::Batches
            | Route::Batch
            | Route::BatchResults
            | Route::BatchCancel
            | Route::BatchDelete
    )
}

impl Inner {
    /// Admits, records and answers a call about batches.
    pub(crate) async fn call_batches(
        self: Arc<Self>,
        mut decided: Box<Decided>,
        witness: &mut Witness,
    ) -> Result<Response<AnswerBody>, Stop> {
        let route = decided.subject.route;
        let own = self.own_batch(&decided).await?;
        if let Some(batch) = &own {
            // Only the key it was submitted with surely reaches it.
            decided.destination = self.destination_of(batch);
            decided.held = decided.destination.key().map(|key| self.uses.begin(key));
            self.address(&decided.destination)?;
        }
        if route != Route::Batches {
            self.breaker_is_not_open(&decided)?;
        }
        let bounded = match route {
            Route::BatchCreate => self.bounded_batch(decided).await?,
            _ => bounded(decided)?,
        };
        let admitted = self.admit(bounded).await?;
        let recorded = self.record(admitted).await?;
        witness.is_on_record = true;
        match (route, own) {
            (Route::Batches, _) => self.list_batches(recorded).await,
            (Route::BatchDelete, Some(batch)) => self.delete_batch(recorded, batch).await,
            (_, Some(batch)) => {
                // Whoever asks expects something to have happened.
                self.batches.nudge(&batch.id);
                self.forward(recorded).await
            }
            _ => self.forward(recorded).await,
        }
    }

    /// Waits until the cost of a batch is known, or known not to be had.
    async fn learned_in_time(self: &Arc<Self>, batch: &Resource) -> bool {
        if !self.batches.is_open(&batch.id) {
            return true;
        }
        let looking = self.look_now(&batch.id);
        // Not in time: it is still open, which is what is asked next.
        let _ = tokio::time::timeout(LEARN_MAX, looking).await;
        !self.batches.is_open(&batch.id)
    }

    /// Deletes one's own batch upstream, and forgets it when it is gone there. Not before its cost
    /// is known: its results go with it.
    async fn delete_batch(
        self: Arc<Self>,
        mut recorded: Recorded,
        batch: Resource,
    ) -> Result<Response<AnswerBody>, Stop> {
        if !self.learned_in_time(&batch).await {
            let refusal = Refusal::BatchNotSettled { id: batch.id.to_string() };
            recorded.permit.settle(End::new(Seen::NotSent, refusal.answer().status));
            return Err(refusal.into());
        }
        let (kind, id) = (ResourceKind::Batch, batch.id);
        // It is asked for with the key it was submitted with.
        recorded.deletes = Some(Box::new(Deletion { kind, id, is_at_home: true }));
        self.forward(recorded).await
    }
}

impl Inner {
    /// Where a batch is: with the key that it was submitted with, or with the one in whose place
    /// another was put since then. Batches are the workspace's, and a rotation stays in it.
    fn destination_of(&self, batch: &Resource) -> Destination {
        let Some(key) = &batch.upstream_key else { return Destination::Mock };
        if self.keys.is_open(key) {
            return Destination::Key(key.clone());
        }
        let snapshot = self.snapshot.load();
        let now = snapshot.environments.get(&batch.environment);
        let now = now.and_then(|environment| environment.upstream_key.clone());
        Destination::Key(now.unwrap_or_else(|| key.clone()))
    }
}

//! What the gateway puts on record goes to the store; notices also wake the control plane.

use std::sync::atomic::{AtomicBool, Ordering};

use chamberlain_core::ledger::account::{Grant, LeaseWanted};
use chamberlain_core::record::{Intent, Notice, Outcome, Settlement, TrueUp, TruedUp};
use chamberlain_core::resource::{
    Binding, Resource, ResourceId, ResourceKind, ResourceList, ResourcePage,
};
use chamberlain_core::time::Timestamp;
use chamberlain_gateway::journal::{Answer, Journal, JournalFault};
use chamberlain_store::{Store, StoreFault};
use serde_json::{Map, Value};
use tokio::sync::oneshot::error::RecvError;

use crate::out::Out;

/// The store, as the gateway's journal.
pub(super) struct StoreJournal {
    pub(super) store: Store,
    /// Told of every notice, after the store has it.
    pub(super) on_notice: Box<dyn Fn(&Notice) + Send + Sync>,
    /// Tells the person at the terminal that it works.
    pub(super) first_call: FirstCall,
}

/// Says once that a call went through.
pub(super) struct FirstCall {
    /// Where to say it; `None` when nobody looks.
    out: Option<Out>,
    said: AtomicBool,
}

impl FirstCall {
    /// Speaks to a terminal only.
    pub(super) fn new(out: Out) -> FirstCall {
        let out = Some(out).filter(|out| out.terminal && !out.json);
        FirstCall { out, said: AtomicBool::new(false) }
    }

    fn look_at(&self, settlement: &Settlement) {
        let Some(out) = &self.out else { return };
        if settlement.outcome != Outcome::Completed || self.said.swap(true, Ordering::Relaxed) {
            return;
        }
        let model = settlement.served_model.as_deref().unwrap_or("a model");
        let (input, output) = (settlement.tokens.prompt(), settlement.tokens.output);
        out.hint(&format!(
            "The first call went through: {model}, {input} tokens in, {output} out, {}.",
            settlement.cost
        ));
    }
}

impl Journal for StoreJournal {
    fn intend(&self, intent: Intent) -> Answer<()> {
        answer(self.store.intend(intent))
    }

    fn settle(&self, settlement: Settlement) {
        self.first_call.look_at(&settlement);
        self.store.settle(settlement);
    }

    fn lease(&self, wanted: Vec<LeaseWanted>) -> Answer<Vec<Grant>> {
        answer(self.store.lease(wanted))
    }

    fn note(&self, notice: Notice) {
        self.store.note(notice.clone());
        (self.on_notice)(&notice);
    }

    fn bind(&self, resource: Resource) -> Answer<Binding> {
        answer(self.store.bind(resource))
    }

    fn describe(
        &self,
        kind: ResourceKind,
        id: ResourceId,
        about: Map<String, Value>,
    ) -> Answer<()> {
        let described = answer(self.store.describe(kind, id, about));
        Box::pin(async { described.await.map(|_| ()) })
    }

    fn forget(&self, kind: ResourceKind, id: ResourceId, at: Timestamp) -> Answer<()> {
        let forgotten = answer(self.store.forget(kind, id, at));
        Box::pin(async { forgotten.await.map(|_| ()) })
    }

    fn true_up(&self, found: TrueUp) -> Answer<Option<TruedUp>> {
        answer(self.store.true_up(found))
    }

    fn resources(&self, wanted: Vec<(ResourceKind, ResourceId)>) -> Answer<Vec<Option<Resource>>> {
        let store = self.store.clone();
        look(move || store.resources(&wanted))
    }

    fn resources_of(&self, page: ResourcePage) -> Answer<Option<ResourceList>> {
        let store = self.store.clone();
        look(move || store.resources_of(&page))
    }
}

/// Reads from the store beside the threads that move bytes.
fn look<T: Send + 'static>(
    read: impl FnOnce() -> Result<T, StoreFault> + Send + 'static,
) -> Answer<T> {
    let reading = tokio::task::spawn_blocking(read);
    Box::pin(async move {
        match reading.await {
            Ok(found) => found.map_err(|fault| JournalFault(fault.to_string())),
            Err(_) => Err(JournalFault("the store could not be read".to_owned())),
        }
    })
}

/// The store was asked already; this only waits for what it says.
fn answer<T>(
    asked: impl Future<Output = Result<Result<T, StoreFault>, RecvError>> + Send + 'static,
) -> Answer<T> {
    Box::pin(async move {
        match asked.await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(fault)) => Err(JournalFault(fault.to_string())),
            Err(_) => Err(JournalFault("the store is closed".to_owned())),
        }
    })
}

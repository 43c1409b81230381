//! What the gateway puts on record goes to the store; notices also wake the control plane.

use chamberlain_core::ledger::account::{Grant, LeaseWanted};
use chamberlain_core::record::{Intent, Notice, Settlement};
use chamberlain_gateway::journal::{Answer, Journal, JournalFault};
use chamberlain_store::{Store, StoreFault};
use tokio::sync::oneshot;

/// The store, as the gateway's journal.
pub(super) struct StoreJournal {
    pub(super) store: Store,
    /// Told of every notice, after the store has it.
    pub(super) on_notice: Box<dyn Fn(&Notice) + Send + Sync>,
}

impl Journal for StoreJournal {
    fn intend(&self, intent: Intent) -> Answer<()> {
        answer(self.store.intend(intent))
    }

    fn settle(&self, settlement: Settlement) {
        self.store.settle(settlement);
    }

    fn lease(&self, wanted: Vec<LeaseWanted>) -> Answer<Vec<Grant>> {
        answer(self.store.lease(wanted))
    }

    fn note(&self, notice: Notice) {
        self.store.note(notice.clone());
        (self.on_notice)(&notice);
    }
}

/// The store was asked already; this only waits for what it says.
fn answer<T: Send + 'static>(asked: oneshot::Receiver<Result<T, StoreFault>>) -> Answer<T> {
    Box::pin(async move {
        match asked.await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(fault)) => Err(JournalFault(fault.to_string())),
            Err(_) => Err(JournalFault("the store is closed".to_owned())),
        }
    })
}

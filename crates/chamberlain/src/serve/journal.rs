//! What the gateway puts on record goes to the store; notices also wake the control plane.

use std::sync::atomic::{AtomicBool, Ordering};

use chamberlain_core::ledger::account::{Grant, LeaseWanted};
use chamberlain_core::record::{Intent, Notice, Outcome, Settlement};
use chamberlain_gateway::journal::{Answer, Journal, JournalFault};
use chamberlain_store::{Store, StoreFault};
use tokio::sync::oneshot;

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

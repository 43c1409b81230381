//! The port through which the gateway puts things on record.

use std::future::Future;
use std::pin::Pin;

use chamberlain_core::ledger::account::{Grant, LeaseWanted};
use chamberlain_core::record::{Intent, Notice, Settlement, TrueUp, TruedUp};
use chamberlain_core::resource::{
    Binding, Resource, ResourceId, ResourceKind, ResourceList, ResourcePage,
};
use chamberlain_core::time::Timestamp;
use serde_json::{Map, Value};

/// Why something could not be put on record. The call is then refused.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the record could not be written: {0}")]
pub struct JournalFault(pub String);

/// What the journal says in time. What was asked is in its queue already when this is returned.
pub type Answer<T> = Pin<Box<dyn Future<Output = Result<T, JournalFault>> + Send>>;

/// Whoever keeps the record. No method waits: each puts its argument in a queue, in order, and
/// answers through a channel where an answer is needed. The order of calls is the order of the
/// record: a settlement handed over before an intent is never written after it.
pub trait Journal: Send + Sync + 'static {
    /// Records an intent. The call may leave when the answer is `Ok`: the intent then survives a
    /// process kill. Being polled, the answer may write to a file.
    fn intend(&self, intent: Intent) -> Answer<()>;

    /// Records how a call ended. Cannot fail: what cannot be written yet is kept and written
    /// before anything later.
    fn settle(&self, settlement: Settlement);

    /// Makes leases durable (they survive a power loss when the answer is `Ok`).
    fn lease(&self, wanted: Vec<LeaseWanted>) -> Answer<Vec<Grant>>;

    /// Records a notice, best effort: under a flood notices are counted instead of kept.
    fn note(&self, notice: Notice);

    /// Binds a resource to its virtual key. Its id may reach the client when the answer is
    /// [`Binding::Bound`]: the binding then survives a process kill. Bound again to the same key it
    /// keeps its age and takes the rest anew; to another it is [`Binding::Taken`].
    fn bind(&self, resource: Resource) -> Answer<Binding>;

    /// Remembers something else about a resource, in place of what was remembered before. A fault
    /// when there is no such resource.
    fn describe(&self, kind: ResourceKind, id: ResourceId, about: Map<String, Value>)
    -> Answer<()>;

    /// Forgets a resource that upstream deleted at `at`. Forgetting what is not there is no fault.
    fn forget(&self, kind: ResourceKind, id: ResourceId, at: Timestamp) -> Answer<()>;

    /// Trues up a call to the cost that was learned after its end. `None` when its cost was known
    /// already. When the answer is `Ok`, it survives a power loss.
    fn true_up(&self, found: TrueUp) -> Answer<Option<TruedUp>>;

    /// Looks resources up, whoever they belong to, each answered in its place. Expired ones may
    /// still be there.
    fn resources(&self, wanted: Vec<(ResourceKind, ResourceId)>) -> Answer<Vec<Option<Resource>>>;

    /// A page of a virtual key's own; `None` when the page begins at one that is not its own.
    fn resources_of(&self, page: ResourcePage) -> Answer<Option<ResourceList>>;
}

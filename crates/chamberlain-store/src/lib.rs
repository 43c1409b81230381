//! The SQL wall: everything Chamberlain keeps, in one embedded SQLite file.
//!
//! What calls hand over is appended to the intake, which survives the death of the process. One
//! writer thread takes everything queued, executes it in one transaction and commits; a lease or a
//! change of the control plane survives a power loss too. Readers have connections of their own,
//! and see everything that was handed over before they ask.
//!
//! This room refuses to know secrets (it keeps sealed bytes only), HTTP, and any clock but the one
//! it is given. Rows never leave it; core's types do.

mod audit;
mod balances;
mod calls;
mod change;
mod checkpointer;
mod containments;
mod costs;
mod credentials;
mod fault;
mod file;
mod intake;
mod key_findings;
mod key_usage;
mod meta;
mod outbox;
mod readers;
mod recovery;
mod reseal;
mod resources;
mod rollups;
mod rotations;
mod schema;
mod scope_settings;
mod sinks;
pub mod snapshot;
mod store;
mod unseen;
mod upstream_keys;
mod virtual_keys;
mod words;
mod write_off;
mod writer;

pub use audit::{AuditFilter, Listing, StoredCheckpoint, StoredRecord};
pub use calls::{CallEnd, CallFilter, CallOrder, CallRow, CallSum};
pub use change::{Change, Facts};
pub use containments::ContainmentStep;
pub use costs::{CostBy, CostFilter, CostSum};
pub use credentials::Credential;
pub use fault::StoreFault;
pub use key_findings::KeyFinding;
pub use key_usage::KeyUsage;
pub use outbox::{Effect, EffectState, NOTIFY};
pub use reseal::SealedPlace;
pub use rotations::RotationStep;
pub use sinks::{DeliveryState, Held, NamedKey, SinkRow};
pub use store::{OpenOptions, Recording, Store};
pub use upstream_keys::{UpstreamKey, UpstreamKeyState};
pub use write_off::WrittenOff;
pub use writer::queue::{Failure, Health};

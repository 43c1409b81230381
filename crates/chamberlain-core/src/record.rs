//! What the gateway puts on record: an [`Intent`] before a call leaves, a [`Settlement`] when it
//! ends, a [`Notice`] for everything else that was decided.

use serde::{Deserialize, Serialize};

use crate::id::{CallId, EnvironmentName, UpstreamKeyId, VirtualKeyId};
use crate::ledger::account::AccountId;
use crate::money::Money;
use crate::resource::ResourceId;
use crate::source::Source;
use crate::time::Timestamp;
use crate::usage::{Tokens, Usage};

/// The routes a client may take.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Route {
    /// `POST /v1/messages`
    Messages,
    /// `POST /v1/messages/count_tokens`
    CountTokens,
    /// `GET /v1/models`
    Models,
    /// `GET /v1/models/{id}`
    Model,
    /// `POST /v1/messages/batches`
    BatchCreate,
    /// `GET /v1/messages/batches`
    Batches,
    /// `GET /v1/messages/batches/{id}`
    Batch,
    /// `GET /v1/messages/batches/{id}/results`
    BatchResults,
    /// `POST /v1/messages/batches/{id}/cancel`
    BatchCancel,
    /// `DELETE /v1/messages/batches/{id}`
    BatchDelete,
    /// `POST /v1/files`
    FileUpload,
    /// `GET /v1/files`
    Files,
    /// `GET /v1/files/{id}`
    File,
    /// `GET /v1/files/{id}/content`
    FileContent,
    /// `DELETE /v1/files/{id}`
    FileDelete,
}

/// Written before a call leaves: what it may cost at most, and who pays.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Intent {
    /// The call.
    pub call: CallId,
    /// When it was admitted.
    pub at: Timestamp,
    /// Who calls.
    pub virtual_key: VirtualKeyId,
    /// In which environment.
    pub environment: EnvironmentName,
    /// The upstream key it will leave with; `None` for the mock.
    pub upstream_key: Option<UpstreamKeyId>,
    /// Which route.
    pub route: Route,
    /// What the call is for, where bound or named.
    pub operation: Option<String>,
    /// The model asked for.
    pub model: String,
    /// `max_tokens` of the request.
    pub max_tokens: u64,
    /// Whether the answer is a stream.
    pub stream: bool,
    /// Where the client is.
    pub source: Source,
    /// Money set aside.
    pub reserved: Money,
    /// The accounts it is set aside in.
    pub accounts: Vec<AccountId>,
    /// The file or batch that its path names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<ResourceId>,
}

/// How a call ended.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Answered in full.
    Completed,
    /// Upstream refused it (a 4xx, or an error before any work).
    UpstreamRefused,
    /// Upstream failed before an answer began.
    UpstreamFailed,
    /// The client left; the rest was drained to learn the cost.
    ClientLeft,
    /// The answer broke off: upstream's doing, or ours when its key was stopped.
    Cut,
    /// Upstream could not be reached; nothing was sent.
    NotSent,
    /// Chamberlain itself failed.
    OurFault,
}

/// How sure the cost is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Certainty {
    /// From final usage that upstream reported.
    Settled,
    /// The outcome was seen, but final usage was not: an upper estimate is charged.
    Estimated,
    /// The outcome is unknown: the whole reservation stays charged.
    Unsettled,
}

/// Written when a call has ended.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Settlement {
    /// The call.
    pub call: CallId,
    /// When it ended.
    pub at: Timestamp,
    /// How.
    pub outcome: Outcome,
    /// How sure `cost` is.
    pub certainty: Certainty,
    /// What is charged.
    pub cost: Money,
    /// What had been set aside, to be let go in the same step.
    pub reserved: Money,
    /// The accounts, as in the intent.
    pub accounts: Vec<AccountId>,
    /// The model that served it.
    pub served_model: Option<String>,
    /// Summed tokens over everything billed.
    pub tokens: Tokens,
    /// Everything priced, as metered; `None` when nothing was seen.
    pub usage: Option<Usage>,
    /// The status given to the client.
    pub status: u16,
    /// Upstream's `request-id`.
    pub upstream_request_id: Option<String>,
    /// `stop_reason` of the answer.
    pub stop_reason: Option<String>,
    /// Times the call was sent upstream.
    pub attempts: u32,
    /// From admission to the first byte of the answer, milliseconds.
    pub first_byte_ms: Option<u64>,
    /// From admission to the end, milliseconds.
    pub duration_ms: u64,
}

impl Settlement {
    /// How far the cost went over its reservation. Anything but zero means that a bound was wrong.
    pub fn overrun(&self) -> Money {
        self.cost.saturating_sub(self.reserved)
    }
}

/// Written when the cost of a call that was settled as unknown has been learned: what it was
/// charged is let go, and what it cost is charged instead. Said of a batch when its results were
/// read.
#[derive(Clone, PartialEq, Debug)]
pub struct TrueUp {
    /// The call.
    pub call: CallId,
    /// When it was learned.
    pub at: Timestamp,
    /// What it cost.
    pub cost: Money,
    /// Its billed tokens.
    pub tokens: Tokens,
    /// The model that served it, where it was one.
    pub served_model: Option<String>,
    /// The batch it was learned from, remembered anew in the same step.
    pub batch: ResourceId,
    /// What is remembered of it from now on.
    pub about: serde_json::Map<String, serde_json::Value>,
}

/// What became of a [`TrueUp`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TruedUp {
    /// What the call was charged until then.
    pub was: Money,
    /// What is no longer unsettled in its accounts: all of that, unless the call was lost with
    /// power.
    pub let_go: Money,
    /// The accounts it is charged to.
    pub accounts: Vec<AccountId>,
}

/// How urgent a notice is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// For the record.
    Info,
    /// Worth a look.
    Warning,
    /// Needs a person soon.
    High,
    /// Needs a person now.
    Critical,
}

/// Something decided or noticed on the way of a call that is neither intent nor settlement.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Notice {
    /// When.
    pub at: Timestamp,
    /// Dotted name: `call.refused`, `budget.threshold`, `security.real_key_offered`…
    pub kind: String,
    /// How urgent; from `High` on it also goes to the outbox.
    pub severity: Severity,
    /// What it is about: a virtual key, an environment, an upstream key.
    pub subject: String,
    /// One sentence, readable alone.
    pub message: String,
    /// The facts behind it. Never a secret, never a prompt.
    pub facts: serde_json::Map<String, serde_json::Value>,
    /// True when the outbox must carry it whatever the severity (budget thresholds).
    pub notify: bool,
}

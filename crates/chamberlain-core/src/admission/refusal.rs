//! Every way to say no, with what the client is told.
//!
//! A refusal is not an error of ours: it names the rule, the numbers and the next step. Clients
//! get it in Anthropic's shape, so their SDKs raise the class they know.

use serde::Serialize;

use super::key::KeyState;
use crate::anthropic::request::{Capability, MalformedRequest};
use crate::ledger::account::{AccountId, Scope};
use crate::ledger::bound::NoBound;
use crate::ledger::price::Unpriced;
use crate::money::Money;
use crate::resource::{ResourceId, ResourceKind};
use crate::source::Source;
use crate::time::Timestamp;

mod answer;
#[cfg(test)]
mod tests;

pub use answer::Answer;

/// Which rate limit.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LimitKind {
    /// Requests in 60 seconds.
    Requests,
    /// Input tokens in 60 seconds.
    InputTokens,
    /// Output tokens in 60 seconds.
    OutputTokens,
    /// Calls in flight.
    Concurrency,
}

impl LimitKind {
    /// What it counts, for people.
    pub const fn noun(self) -> &'static str {
        match self {
            LimitKind::Requests => "requests per minute",
            LimitKind::InputTokens => "input tokens per minute",
            LimitKind::OutputTokens => "output tokens per minute",
            LimitKind::Concurrency => "calls in flight",
        }
    }
}

/// Why a call may not pass.
#[derive(Clone, PartialEq, Debug)]
pub enum Refusal {
    /// No credential.
    NoCredential,
    /// Two credentials that differ.
    CredentialsDiffer,
    /// A real Anthropic key was offered.
    RealKeyOffered,
    /// Not a virtual key of ours, or the wrong secret.
    UnknownKey,
    /// Frozen or revoked.
    KeyStopped(KeyState),
    /// Expired.
    KeyExpired {
        /// When.
        at: Timestamp,
    },
    /// A scope is paused.
    Paused {
        /// Which.
        scope: Scope,
        /// Why.
        reason: String,
        /// Until when, where known.
        until: Option<Timestamp>,
    },
    /// No such route.
    UnknownRoute {
        /// The method.
        method: String,
        /// The path, shortened.
        path: String,
    },
    /// A route of Anthropic's that is known, and not forwarded.
    RouteNotForwarded {
        /// The method.
        method: String,
        /// The path, shortened.
        path: String,
        /// Why, and what to do instead.
        reason: &'static str,
    },
    /// The route exists with another method.
    WrongMethod {
        /// What it takes.
        allowed: String,
    },
    /// The body could not be read.
    Malformed(MalformedRequest),
    /// The body is too large.
    TooLarge {
        /// The limit in bytes.
        limit_bytes: usize,
        /// True when it was small before decoding.
        decoded: bool,
    },
    /// An item of a batch was refused, and so was the batch.
    BatchItem {
        /// The item's place, from 0.
        index: u64,
        /// Its `custom_id`.
        custom_id: String,
        /// What the item was refused for.
        refusal: Box<Refusal>,
    },
    /// A batch is to be deleted upstream before its cost is known here.
    BatchNotSettled {
        /// The batch.
        id: String,
    },
    /// A file upload is too large.
    UploadTooLarge {
        /// The limit in bytes.
        limit_bytes: usize,
    },
    /// What a request names by its id is not there, or belongs to another virtual key: the answer
    /// does not say which.
    UnknownResource {
        /// What it would be.
        kind: ResourceKind,
        /// The id as it was written.
        id: String,
    },
    /// The body's encoding or charset is not one we can inspect.
    Encoding {
        /// Anthropic's `error_code`.
        code: &'static str,
        /// Which one, and what to do.
        message: String,
    },
    /// Too much body is in memory already.
    BodiesInFlight {
        /// The limit in bytes.
        limit_bytes: usize,
        /// What this key holds, when it is its share that is used up.
        key_bytes: Option<usize>,
    },
    /// The source is not allowed.
    Source {
        /// Where the client is.
        source: Source,
    },
    /// The model is not allowed.
    Model {
        /// The model.
        model: String,
        /// The rule that said so.
        rule: String,
    },
    /// The model is unknown, so it has no price.
    UnknownModel {
        /// The model.
        model: String,
    },
    /// The model is retired upstream.
    RetiredModel {
        /// The model.
        model: String,
        /// Since when.
        on: String,
    },
    /// The operation is missing or not allowed.
    Operation {
        /// What was named.
        named: Option<String>,
        /// What would be allowed.
        allowed: Vec<String>,
    },
    /// A capability is not allowed.
    Capability {
        /// Which.
        capability: Capability,
        /// The rule that said so.
        rule: String,
    },
    /// `max_tokens` is above the cap.
    MaxTokens {
        /// What was asked.
        asked: u64,
        /// The cap.
        cap: u64,
    },
    /// A thread cannot be gone on with from there.
    UnknownThread {
        /// The message that was to be gone on from.
        id: ResourceId,
        /// True when it is the key's own, and lives with an upstream key that is not in use.
        moved: bool,
    },
    /// The cost cannot be bounded.
    Unbounded {
        /// The field.
        field: String,
        /// Why, and what to do.
        reason: String,
    },
    /// A budget has not enough left.
    Budget {
        /// Which.
        account: AccountId,
        /// Its limit.
        limit: Money,
        /// What the call may cost at most.
        needed: Money,
        /// What is left.
        left: Money,
        /// Of the missing part, what calls in flight hold.
        reserved: Money,
        /// The largest `max_tokens` that would fit, when lowering it alone would help.
        max_tokens_that_fits: Option<u64>,
        /// What its prompt alone may cost, where that is already more than is left.
        prompt: Option<Money>,
    },
    /// A rate limit.
    Rate {
        /// Which kind.
        kind: LimitKind,
        /// Whose.
        scope: Scope,
        /// The limit.
        limit: u64,
        /// When it would pass; `None` if never (the call alone is larger than the limit).
        retry_after_ms: Option<u64>,
    },
    /// Too many calls wait already.
    QueueFull,
    /// The breaker is open.
    BreakerOpen {
        /// When the next attempt is let through.
        retry_after_ms: u64,
    },
    /// The call could not be put on record, so it was not made.
    NotOnRecord,
    /// Chamberlain is shutting down.
    Draining,
}

impl From<NoBound> for Refusal {
    fn from(no_bound: NoBound) -> Refusal {
        match no_bound {
            NoBound::Unbounded { field, reason } => Refusal::Unbounded { field, reason },
            NoBound::Unpriced(Unpriced::UnknownModel(model) | Unpriced::NoPriceInForce(model)) => {
                Refusal::UnknownModel { model }
            }
            NoBound::Unpriced(Unpriced::NoFastPrice(model)) => Refusal::Unbounded {
                field: "speed".to_owned(),
                reason: format!("{model} has no fast-mode price; leave speed out"),
            },
            NoBound::Unpriced(Unpriced::Overflow) => Refusal::Unbounded {
                field: "max_tokens".to_owned(),
                reason: "the call could cost more than the books can hold; lower it".to_owned(),
            },
        }
    }
}

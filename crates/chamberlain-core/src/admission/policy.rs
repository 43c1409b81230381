//! What a virtual key or an environment may do. Deny wins; every answer names its rule.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::refusal::Refusal;
use crate::anthropic::request::{CallerFacts, Capability, RequestFacts};
use crate::ledger::price::PriceBook;
use crate::time::Timestamp;

/// Allow rules. An environment and a virtual key each have one; a call needs both.
#[derive(Clone, Default, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// Globs (`claude-sonnet-*`) of allowed models; empty allows every priced, active model.
    pub models_allow: Vec<String>,
    /// Globs of denied models; a match here wins.
    pub models_deny: Vec<String>,
    /// Operations allowed; empty requires none.
    pub operations_allow: Vec<String>,
    /// Operations denied; a match here wins.
    pub operations_deny: Vec<String>,
    /// Capabilities denied.
    pub capabilities_deny: Vec<Capability>,
    /// Capabilities allowed; `None` allows all that are not denied.
    pub capabilities_allow: Option<Vec<Capability>>,
    /// Largest `max_tokens`; a request above it is refused.
    pub max_tokens: Option<u64>,
    /// Source networks allowed; empty allows all.
    pub networks_allow: Vec<IpNet>,
}

/// Whose policy said no, for the rule's name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Holder<'a> {
    /// An environment's.
    Environment(&'a str),
    /// A virtual key's.
    VirtualKey(&'a str),
}

/// A warning that goes with an allowed call.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Warning {
    /// The model retires soon.
    ModelRetires {
        /// The model.
        model: String,
        /// The day.
        on: String,
    },
}

/// Facts a policy looks at.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The request.
    pub request: &'a RequestFacts,
    /// The caller.
    pub caller: &'a CallerFacts,
    /// The operation in force: bound to the key, or named in the header.
    pub operation: Option<&'a str>,
    /// The prices, which also say which models are active.
    pub prices: &'a PriceBook,
    /// Now.
    pub now: Timestamp,
}

/// Whether `policy` lets the call pass.
///
/// # Errors
/// The refusal, naming the rule.
pub fn decide(
    _policy: &Policy,
    _holder: Holder<'_>,
    _question: &Question<'_>,
) -> Result<Vec<Warning>, Refusal> {
    unimplemented!("being written")
}

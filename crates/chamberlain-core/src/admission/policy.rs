//! What a virtual key or an environment may do. Deny wins; every answer names its rule.
//!
//! Models are judged wherever a request names one (`model`, `fallbacks`, an advisor), and what a
//! request uses is judged by its structure, never by what it calls itself.

use std::fmt;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::refusal::Refusal;
use crate::anthropic::request::{CallerFacts, Capability, Fallbacks, RequestFacts};
use crate::ledger::bound::prompt_bound;
use crate::ledger::price::{Lifecycle, Model, PriceBook};
use crate::source::Source;
use crate::time::Timestamp;

#[cfg(test)]
mod tests;

/// A prompt that may be longer than this many tokens is [`Capability::LongContext`].
const LONG_CONTEXT_TOKENS: u64 = 200_000;

/// How long before a model's end calls to it are warned.
const RETIREMENT_NOTICE_MS: i64 = 60 * 24 * 3_600_000;

/// No model has a longer name; a longer one is not worth matching.
const MODEL_NAME_BYTES_MAX: usize = 256;

/// Allow rules. An environment and a virtual key each have one; a call needs both.
#[derive(Clone, Default, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// Globs (`claude-sonnet-*`) of allowed models; empty allows every priced, active model. The
    /// name must match as the client wrote it: an allowed id does not allow its alias.
    pub models_allow: Vec<String>,
    /// Globs of denied models; a match of the name, the id or any alias wins.
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
    /// What becomes of a call that a budget cannot hold. Counts in a virtual key's policy only.
    #[serde(skip_serializing_if = "OnShortage::is_preset")]
    pub on_shortage: OnShortage,
}

/// What becomes of a call that a budget cannot hold.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnShortage {
    /// It is refused. The preset, and the one with the full guarantee.
    #[default]
    Refuse,
    /// A stream is admitted with what is left, and ended when that may be used up.
    Cut,
}

impl OnShortage {
    fn is_preset(&self) -> bool {
        *self == OnShortage::Refuse
    }
}

/// Whose policy said no, for the rule's name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Holder<'a> {
    /// An environment's.
    Environment(&'a str),
    /// A virtual key's.
    VirtualKey(&'a str),
}

impl fmt::Display for Holder<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Holder::Environment(name) => write!(f, "environment {name}"),
            Holder::VirtualKey(id) => write!(f, "virtual key {id}"),
        }
    }
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
    policy: &Policy,
    holder: Holder<'_>,
    question: &Question<'_>,
) -> Result<Vec<Warning>, Refusal> {
    decide_caller(policy, question.caller, question.operation)?;
    let warnings = policy.check_models(holder, question)?;
    policy.check_capabilities(holder, question)?;
    policy.check_max_tokens(question.request)?;
    Ok(warnings)
}

/// What `policy` says of a caller, whatever the body: where it is and what it calls for.
///
/// # Errors
/// The refusal, naming the rule.
pub fn decide_caller(
    policy: &Policy,
    caller: &CallerFacts,
    operation: Option<&str>,
) -> Result<(), Refusal> {
    policy.check_source(caller.source)?;
    policy.check_operation(operation)
}

/// Whether `policy` lets a call pass that names no model: one that only uses `capability`.
///
/// # Errors
/// The refusal, naming the rule.
pub fn decide_use(
    policy: &Policy,
    holder: Holder<'_>,
    caller: &CallerFacts,
    operation: Option<&str>,
    capability: Capability,
) -> Result<(), Refusal> {
    decide_caller(policy, caller, operation)?;
    policy.check_capability(holder, capability)
}

/// The operation a call is for: the one its key is bound to, or else the one the header names.
///
/// # Errors
/// [`Refusal::Operation`], when the header names another one than the key is bound to.
pub fn operation_in_force<'a>(
    bound: Option<&'a str>,
    named: Option<&'a str>,
) -> Result<Option<&'a str>, Refusal> {
    match (bound, named) {
        (Some(bound), Some(named)) if bound != named => Err(Refusal::Operation {
            named: Some(named.to_owned()),
            allowed: vec![bound.to_owned()],
        }),
        (bound, named) => Ok(bound.or(named)),
    }
}

impl Policy {
    /// Whether calls may come from there.
    ///
    /// # Errors
    /// [`Refusal::Source`].
    pub fn check_source(&self, source: Source) -> Result<(), Refusal> {
        // What comes through the Unix socket is in no network: where networks are listed, it is
        // refused.
        let listed = |address| self.networks_allow.iter().any(|network| network.contains(&address));
        let allowed = self.networks_allow.is_empty() || source.address().is_some_and(listed);
        if allowed { Ok(()) } else { Err(Refusal::Source { source }) }
    }

    fn check_operation(&self, operation: Option<&str>) -> Result<(), Refusal> {
        let listed = |list: &[String]| {
            operation.is_some_and(|operation| list.iter().any(|listed| listed == operation))
        };
        let allowed = self.operations_allow.is_empty() || listed(&self.operations_allow);
        if allowed && !listed(&self.operations_deny) {
            return Ok(());
        }
        let denied = |name: &&String| self.operations_deny.contains(name);
        Err(Refusal::Operation {
            named: operation.map(str::to_owned),
            allowed: self.operations_allow.iter().filter(|name| !denied(name)).cloned().collect(),
        })
    }

    fn check_models(
        &self,
        holder: Holder<'_>,
        question: &Question<'_>,
    ) -> Result<Vec<Warning>, Refusal> {
        let Question { request, prices, now, .. } = *question;
        let has_rules = !self.models_allow.is_empty() || !self.models_deny.is_empty();
        if request.fallbacks == Fallbacks::Default && has_rules {
            let model = "default".to_owned();
            return Err(Refusal::Model {
                model,
                rule: format!("{holder} (which names models; list those wanted in fallbacks)"),
            });
        }
        let mut warnings = Vec::new();
        for name in model_names(request) {
            let model = self.check_model(holder, name, prices, now)?;
            let retires = prices.retires_at(model);
            if retires.is_some_and(|day| day <= now.plus_ms(RETIREMENT_NOTICE_MS)) {
                let on = model.retires_on.clone().unwrap_or_default();
                let warning = Warning::ModelRetires { model: model.id.clone(), on };
                if !warnings.contains(&warning) {
                    warnings.push(warning);
                }
            }
        }
        Ok(warnings)
    }

    fn check_model<'a>(
        &self,
        holder: Holder<'_>,
        name: &str,
        prices: &'a PriceBook,
        now: Timestamp,
    ) -> Result<&'a Model, Refusal> {
        let unknown = || Refusal::UnknownModel { model: name.to_owned() };
        if name.len() > MODEL_NAME_BYTES_MAX {
            return Err(unknown());
        }
        let refused = |rule| Refusal::Model { model: name.to_owned(), rule };
        let known = prices.model(name);
        let denies = |glob: &&String| {
            let names = known.map(|model| std::iter::once(&model.id).chain(&model.aliases));
            matches(glob, name) || names.into_iter().flatten().any(|name| matches(glob, name))
        };
        if let Some(glob) = self.models_deny.iter().find(denies) {
            return Err(refused(format!("{holder} (models_deny has {glob:?})")));
        }
        let allowed = self.models_allow.is_empty()
            || self.models_allow.iter().any(|glob| matches(glob, name));
        if !allowed {
            return Err(refused(format!(
                "{holder} (models_allow has only {})",
                self.models_allow.join(", ")
            )));
        }
        let model = known.ok_or_else(unknown)?;
        if prices.lifecycle(model, now) == Lifecycle::Retired {
            let on = model.retires_on.clone().unwrap_or_default();
            return Err(Refusal::RetiredModel { model: name.to_owned(), on });
        }
        Ok(model)
    }

    fn check_capabilities(
        &self,
        holder: Holder<'_>,
        question: &Question<'_>,
    ) -> Result<(), Refusal> {
        let is_long =
            model_names(question.request).filter_map(|name| question.prices.model(name)).any(
                |model| prompt_bound(question.request, model.context_window) > LONG_CONTEXT_TOKENS,
            );
        // How long a prompt may be depends on the model's window, so it is judged here and not
        // taken from the body.
        let from_body = question.request.capabilities.iter().copied();
        let mut used = from_body
            .filter(|capability| *capability != Capability::LongContext)
            .chain(is_long.then_some(Capability::LongContext));
        used.try_for_each(|capability| self.check_capability(holder, capability))
    }

    fn check_capability(&self, holder: Holder<'_>, capability: Capability) -> Result<(), Refusal> {
        let rule = if self.capabilities_deny.contains(&capability) {
            "capabilities_deny"
        } else if self.capabilities_allow.as_ref().is_some_and(|ok| !ok.contains(&capability)) {
            "capabilities_allow"
        } else {
            return Ok(());
        };
        Err(Refusal::Capability { capability, rule: format!("{holder} ({rule})") })
    }

    fn check_max_tokens(&self, request: &RequestFacts) -> Result<(), Refusal> {
        let Some(cap) = self.max_tokens else { return Ok(()) };
        let in_fallbacks = match &request.fallbacks {
            Fallbacks::List(list) => list.iter().filter_map(|fallback| fallback.max_tokens).max(),
            Fallbacks::None | Fallbacks::Default => None,
        };
        match request.max_tokens.max(in_fallbacks) {
            Some(asked) if asked > cap => Err(Refusal::MaxTokens { asked, cap }),
            _ => Ok(()),
        }
    }
}

/// Every model a request names, wherever.
fn model_names(request: &RequestFacts) -> impl Iterator<Item = &str> {
    let fallbacks = match &request.fallbacks {
        Fallbacks::List(list) => list.as_slice(),
        Fallbacks::None | Fallbacks::Default => &[],
    };
    std::iter::once(request.model.as_str())
        .chain(fallbacks.iter().map(|fallback| fallback.model.as_str()))
        .chain(request.server_tools.iter().filter_map(|tool| tool.model.as_deref()))
}

/// Whether `text` matches `glob`, in which `*` stands for any run of bytes and `?` for one.
///
/// On a mismatch only the last `*` takes one byte more, so no pattern takes exponential time.
pub fn matches(glob: &str, text: &str) -> bool {
    let (glob, text) = (glob.as_bytes(), text.as_bytes());
    let (mut g, mut t) = (0, 0);
    let mut retry = None;
    while t < text.len() {
        match glob.get(g) {
            Some(b'*') => {
                g += 1;
                retry = Some((g, t));
            }
            Some(&byte) if byte == b'?' || byte == text[t] => {
                g += 1;
                t += 1;
            }
            _ => {
                let Some((after_star, taken)) = retry else { return false };
                g = after_star;
                t = taken + 1;
                retry = Some((after_star, t));
            }
        }
    }
    glob[g..].iter().all(|byte| *byte == b'*')
}

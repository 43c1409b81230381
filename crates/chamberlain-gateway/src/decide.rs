//! Decide: whether policy lets the call pass, and which credential it would leave with.

use std::sync::Arc;

use chamberlain_core::admission::key::{KeyState, VirtualKey};
use chamberlain_core::admission::policy::{self, Holder, Question, Warning};
use chamberlain_core::admission::refusal::Refusal;
use chamberlain_core::id::UpstreamKeyId;
use chamberlain_core::ledger::account::Scope;
use chamberlain_core::snapshot::Pause;
use chamberlain_core::time::Timestamp;
use http::HeaderValue;
use http::request::Parts;

use crate::batch::is_about_batches;
use crate::files::is_about_files;
use crate::gateway::Inner;
use crate::headers;
use crate::identify::Call;
use crate::inspect::{Content, Inspected};
use crate::own::Home;
use crate::record::Subject;
use crate::refuse::{Fault, Stop};
use crate::uses::Use;
use chamberlain_core::anthropic::request::{CallerFacts, Capability, RequestFacts};
use chamberlain_core::record::Route;

/// Where a call goes, by its credential.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Destination {
    /// Upstream, with this key.
    Key(UpstreamKeyId),
    /// The mock.
    Mock,
}

impl Destination {
    /// The upstream key; `None` for the mock.
    pub(crate) fn key(&self) -> Option<&UpstreamKeyId> {
        match self {
            Destination::Key(id) => Some(id),
            Destination::Mock => None,
        }
    }
}

/// A call that policy lets pass. It goes from step to step in a box: it is large, and each step
/// would copy it.
pub(crate) struct Decided {
    pub(crate) call: Call,
    pub(crate) head: Parts,
    pub(crate) content: Content,
    pub(crate) request: Option<RequestFacts>,
    pub(crate) subject: Arc<Subject>,
    pub(crate) caller: CallerFacts,
    /// Items of a batch.
    pub(crate) items: u64,
    pub(crate) destination: Destination,
    /// Counts it among the calls with its key.
    pub(crate) held: Option<Use>,
    /// For `x-chamberlain-warning`.
    pub(crate) warnings: Vec<HeaderValue>,
}

impl Inner {
    /// Asks pauses, then the environment's policy, then the key's, as they are now: a body may
    /// have taken ten minutes to come in, and a key that was stopped since then has no say.
    pub(crate) fn decide(&self, inspected: Inspected) -> Result<Box<Decided>, Stop> {
        let Inspected { call, head, route, content, request, caller, home } = inspected;
        let call = self.look_again(&call)?.unwrap_or(call);
        pauses(&call, call.at)?;
        let operation = operation(&call, &caller)?;
        let warnings = match &request {
            Some(request) => policies(&call, request, &caller, operation.as_deref())?,
            None if is_about_files(route) => {
                uses(&call, &caller, operation.as_deref(), Capability::Files)?;
                Vec::new()
            }
            None if is_about_batches(route) => {
                uses(&call, &caller, operation.as_deref(), Capability::Batches)?;
                Vec::new()
            }
            None => {
                sources(&call)?;
                Vec::new()
            }
        };
        let destination = self.destination(&call)?;
        stays_at_home(request.as_ref(), home, &destination)?;
        // A key that is not open is found out before anything is set aside or recorded for it.
        self.address(&destination)?;
        let keep_billing = call.snapshot.settings.forward_billing_headers;
        let left_out = headers::left_out(&head.headers, keep_billing);
        let warnings = warnings.iter().filter_map(warning_text).chain(left_out).collect();
        let subject = Arc::new(Subject::new(route, operation, request.as_ref(), head.uri.path()));
        let items = 0;
        let held = destination.key().map(|key| self.uses.begin(key));
        Ok(Box::new(Decided {
            call,
            head,
            content,
            request,
            subject,
            caller,
            items,
            destination,
            held,
            warnings,
        }))
    }

    /// Asks what can be asked before a body is read, in the same words as after it: pauses, and
    /// the policies about the caller and the route. A large body is not read for nothing.
    pub(crate) fn decide_without_body(
        &self,
        call: &Call,
        route: Route,
        caller: &CallerFacts,
    ) -> Result<(), Refusal> {
        pauses(call, call.at)?;
        let operation = operation(call, caller)?;
        if is_about_batches(route) {
            return uses(call, caller, operation.as_deref(), Capability::Batches);
        }
        policy::decide_caller(&call.environment.policy, caller, operation.as_deref())?;
        policy::decide_caller(&call.key.policy, caller, operation.as_deref())
    }

    /// Looks again, for a call that has taken its time: what was stopped in the meantime stays
    /// here. Gives the call by what is in force now; `None` when nothing was changed.
    pub(crate) fn look_again(&self, call: &Call) -> Result<Option<Call>, Refusal> {
        let (snapshot, now) = (self.snapshot.load_full(), self.now());
        if snapshot.generation == call.snapshot.generation {
            expiry(&call.key, now)?;
            return Ok(None);
        }
        let key = snapshot.virtual_keys.get(&call.key.id).ok_or(Refusal::UnknownKey)?.clone();
        if key.state != KeyState::Active {
            return Err(Refusal::KeyStopped(key.state));
        }
        expiry(&key, now)?;
        let environment = snapshot.environments.get(&key.environment);
        let environment = environment.unwrap_or(&call.environment).clone();
        let fresh = Call { snapshot, key, environment, ..call.clone() };
        pauses(&fresh, now)?;
        Ok(Some(fresh))
    }

    /// A test-mode key never leaves the house; and no real key is ever shown to the mock.
    fn destination(&self, call: &Call) -> Result<Destination, Fault> {
        if call.key.test_mode {
            let mock = self.base_is_mock || self.mock.is_some();
            return if mock { Ok(Destination::Mock) } else { Err(Fault::NoMock) };
        }
        if self.base_is_mock {
            return Ok(Destination::Mock);
        }
        let environment = &call.environment;
        match &environment.upstream_key {
            Some(key) => Ok(Destination::Key(key.clone())),
            None if environment.is_contained => Err(Fault::KeyContained(environment.name.clone())),
            None => Err(Fault::NoUpstreamKey(environment.name.clone())),
        }
    }
}

fn expiry(key: &VirtualKey, now: Timestamp) -> Result<(), Refusal> {
    match key.expires_at.filter(|expiry| *expiry <= now) {
        Some(at) => Err(Refusal::KeyExpired { at }),
        None => Ok(()),
    }
}

fn pauses(call: &Call, now: Timestamp) -> Result<(), Refusal> {
    let holds = |pause: &Option<Pause>| pause.clone().filter(|pause| pause.holds(now));
    let (scope, pause) = if let Some(pause) = holds(&call.snapshot.organization.pause) {
        (Scope::Organization, pause)
    } else if let Some(pause) = holds(&call.environment.pause) {
        (Scope::Environment(call.environment.name.clone()), pause)
    } else if let Some(pause) = holds(&call.key.pause) {
        (Scope::VirtualKey(call.key.id.clone()), pause)
    } else {
        return Ok(());
    };
    Err(Refusal::Paused { scope, reason: pause.reason, until: pause.until })
}

/// A thread is known to the upstream key that it was begun with, and surely to no other.
fn stays_at_home(
    request: Option<&RequestFacts>,
    home: Option<Home>,
    destination: &Destination,
) -> Result<(), Refusal> {
    let Some(home) = home.filter(|home| home.as_ref() != destination.key()) else { return Ok(()) };
    let upstream_key = home.as_ref().map(tracing::field::display);
    tracing::debug!(upstream_key, "a thread lives with another upstream key");
    match request.and_then(|request| request.previous_message.clone()) {
        Some(id) => Err(Refusal::UnknownThread { id, moved: true }),
        None => Ok(()),
    }
}

/// The operation in force: a key that is bound to one cannot be talked into another.
fn operation(call: &Call, caller: &CallerFacts) -> Result<Option<String>, Refusal> {
    match (&call.key.operation, &caller.operation) {
        (Some(bound), Some(named)) if bound != named => {
            Err(Refusal::Operation { named: Some(named.clone()), allowed: vec![bound.clone()] })
        }
        (bound, named) => Ok(bound.clone().or_else(|| named.clone())),
    }
}

pub(crate) fn policies(
    call: &Call,
    request: &RequestFacts,
    caller: &CallerFacts,
    operation: Option<&str>,
) -> Result<Vec<Warning>, Refusal> {
    let prices = &call.snapshot.prices;
    let question = Question { request, caller, operation, prices, now: call.at };
    let environment = Holder::Environment(call.environment.name.as_str());
    let mut warnings = policy::decide(&call.environment.policy, environment, &question)?;
    let key = Holder::VirtualKey(call.key.id.as_str());
    for warning in policy::decide(&call.key.policy, key, &question)? {
        if !warnings.contains(&warning) {
            warnings.push(warning);
        }
    }
    Ok(warnings)
}

/// Asks the environment's policy and the key's about a request that names no model.
fn uses(
    call: &Call,
    caller: &CallerFacts,
    operation: Option<&str>,
    capability: Capability,
) -> Result<(), Refusal> {
    let environment = Holder::Environment(call.environment.name.as_str());
    policy::decide_use(&call.environment.policy, environment, caller, operation, capability)?;
    let key = Holder::VirtualKey(call.key.id.as_str());
    policy::decide_use(&call.key.policy, key, caller, operation, capability)
}

/// Requests without a body have no model or capability to ask about; where they come from counts
/// all the same.
fn sources(call: &Call) -> Result<(), Refusal> {
    call.environment.policy.check_source(call.source)?;
    call.key.policy.check_source(call.source)
}

pub(crate) fn warning_text(warning: &Warning) -> Option<HeaderValue> {
    let text = match warning {
        Warning::ModelRetires { model, on } => {
            format!("{model} retires on {on}; choose a newer model before that day")
        }
    };
    HeaderValue::try_from(text).ok()
}

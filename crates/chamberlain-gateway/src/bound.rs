//! Bound: what the call may cost at the most, and the terms of everyone who would pay.

use chamberlain_core::admission::gate::{AdmissionRequest, Terms, estimated_input_tokens};
use chamberlain_core::admission::refusal::Refusal;
use chamberlain_core::ledger::account::Scope;
use chamberlain_core::ledger::bound::{Bound, BoundContext, bound};
use chamberlain_core::record::Route;
use chamberlain_core::snapshot::Limits;
use chamberlain_core::time::Timestamp;

use crate::decide::Decided;
use crate::identify::Call;

/// A call whose cost has a proven upper bound.
pub(crate) struct Bounded {
    pub(crate) decided: Box<Decided>,
    pub(crate) pass: Pass,
}

/// What the gate is asked.
pub(crate) struct Pass {
    pub(crate) terms: Vec<Terms>,
    /// `None` for what is free.
    pub(crate) bound: Option<Bound>,
    pub(crate) estimated_input_tokens: u64,
    pub(crate) max_tokens: Option<u64>,
    /// True once the prompt has been counted, or counting it was tried.
    pub(crate) counted: bool,
    /// True once the call may be admitted with what is left, to be cut when that may be used up.
    pub(crate) may_be_short: bool,
}

impl Pass {
    /// A pass for something of our own that is free and counts against nobody's limits.
    pub(crate) fn aside() -> Pass {
        Pass {
            terms: Vec::new(),
            bound: None,
            estimated_input_tokens: 0,
            max_tokens: None,
            counted: false,
            may_be_short: false,
        }
    }

    /// The question at this moment.
    pub(crate) fn question<'a>(&'a self, call: &'a Call, now: Timestamp) -> AdmissionRequest<'a> {
        AdmissionRequest {
            call: call.id,
            now,
            calendar: &call.snapshot.calendar,
            terms: &self.terms,
            bound: self.bound,
            estimated_input_tokens: self.estimated_input_tokens,
            max_tokens: self.max_tokens,
        }
    }
}

/// Bounds the call. What has no bound is refused, naming the field.
pub(crate) fn bounded(decided: Box<Decided>) -> Result<Bounded, Refusal> {
    let Decided { call, request, subject, .. } = &*decided;
    let (bound, estimate) = match request {
        Some(request) if subject.route == Route::Messages => {
            let bound = bound(request, &call.snapshot.prices, context(call, None))?;
            (Some(bound), estimated_input_tokens(request))
        }
        _ => (None, 0),
    };
    let max_tokens = request.as_ref().and_then(|request| request.max_tokens);
    let terms = terms(call);
    let pass = Pass {
        terms,
        bound,
        estimated_input_tokens: estimate,
        max_tokens,
        counted: false,
        may_be_short: false,
    };
    Ok(Bounded { decided, pass })
}

/// Bounds the call again, now that its prompt has been counted. Never makes it larger.
pub(crate) fn tighten(bounded: &mut Bounded, counted_prompt: u64) {
    let Bounded { decided, pass } = bounded;
    let (Some(request), Some(before)) = (&decided.request, pass.bound) else { return };
    let context = context(&decided.call, Some(counted_prompt));
    if let Ok(after) = bound(request, &decided.call.snapshot.prices, context)
        && after.cost < before.cost
    {
        pass.bound = Some(after);
        pass.estimated_input_tokens = pass.estimated_input_tokens.min(counted_prompt);
    }
}

pub(crate) fn context(call: &Call, counted_prompt: Option<u64>) -> BoundContext<'_> {
    let settings = &call.snapshot.settings;
    BoundContext {
        at: call.at,
        assume_us_geo: settings.assume_us_geo,
        counted_prompt,
        batch: false,
        fields_allowed: &settings.fields_allowed,
    }
}

/// Who pays and whose limits count, widest first.
///
/// A test-mode key costs nothing real, so what it plays with is its own: it can run into its own
/// budgets and limits, and never uses up what others need for calls that do cost something.
pub(crate) fn terms(call: &Call) -> Vec<Terms> {
    let own = Terms {
        scope: Scope::VirtualKey(call.key.id.clone()),
        budgets: call.key.budgets,
        limits: call.key.limits,
    };
    if call.key.test_mode {
        return vec![own];
    }
    vec![
        Terms {
            scope: Scope::Organization,
            budgets: call.snapshot.organization.budgets,
            limits: Limits::default(),
        },
        Terms {
            scope: Scope::Environment(call.environment.name.clone()),
            budgets: call.environment.budgets,
            limits: call.environment.limits,
        },
        own,
    ]
}

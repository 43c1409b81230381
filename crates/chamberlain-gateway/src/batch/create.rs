//! Submitting: every item judged and bounded before the batch leaves, as they pass by, and the
//! batch bound to its virtual key before its client learns that there is one.

use std::sync::Arc;

use bytes::Bytes;
use chamberlain_core::admission::policy::Warning;
use chamberlain_core::admission::refusal::Refusal;
use chamberlain_core::anthropic::request::{CallerFacts, InspectLimits};
use chamberlain_core::batch::{BadBatch, BatchBound, inspect};
use http::HeaderValue;

use super::own::Named;
use crate::bound::{Bounded, Pass, context, terms};
use crate::decide::{Decided, policies, warning_text};
use crate::desk::beside;
use crate::gateway::Inner;
use crate::identify::Call;
use crate::record::Subject;
use crate::refuse::Stop;

/// What stands for the model of a batch that asks for several.
pub(crate) const SEVERAL_MODELS: &str = "several";

/// What a batch is, all items taken together.
struct Looked {
    items: u64,
    bound: BatchBound,
    /// The model, if all items ask for the same.
    model: Option<String>,
    warnings: Vec<Warning>,
    named: Named,
}

impl Inner {
    /// Judges and bounds every item. The first that is refused refuses the batch.
    pub(super) async fn bounded_batch(&self, mut decided: Box<Decided>) -> Result<Bounded, Stop> {
        let (call, caller) = (decided.call.clone(), decided.caller.clone());
        let (body, operation) =
            (decided.content.decoded.clone(), decided.subject.operation.clone());
        let work = move || look(&call, &caller, operation.as_deref(), &body);
        // A batch has up to 256 MB, and there is no telling from its size how long it takes.
        let desk = self.desks.seat(&decided.call.key.id).await;
        let looked = beside(&self.calls, desk, &mut decided.content.hold, work).await??;
        let Looked { items, bound, model, warnings, named } = looked;
        self.refers_to_own(&decided.call, named).await?;
        let model = model.unwrap_or_else(|| SEVERAL_MODELS.to_owned());
        decided.subject = Arc::new(Subject { model, ..Subject::clone(&decided.subject) });
        decided.items = items;
        let told: Vec<HeaderValue> = warnings.iter().filter_map(warning_text).collect();
        decided.warnings.extend(told);
        let terms = terms(&decided.call);
        // Anthropic works batches off by limits of their own, so the tokens in them count against
        // no minute; the submission counts as a request.
        let pass = Pass {
            terms,
            bound: Some(bound.whole()),
            estimated_input_tokens: 0,
            max_tokens: None,
            counted: true,
            may_be_short: false,
        };
        Ok(Bounded { decided, pass })
    }
}

fn look(
    call: &Call,
    caller: &CallerFacts,
    operation: Option<&str>,
    body: &Bytes,
) -> Result<Looked, Refusal> {
    let settings = &call.snapshot.settings;
    let limits = InspectLimits { depth_max: settings.json_depth_max };
    let mut bound = BatchBound::default();
    let (mut model, mut several) = (None, false);
    let mut warnings = Vec::new();
    let mut named = Named::default();
    let read = inspect(body, limits, |item| -> Result<(), Refusal> {
        for warning in policies(call, item.facts, caller, operation)? {
            if !warnings.contains(&warning) {
                warnings.push(warning);
            }
        }
        bound.add(item.facts, &call.snapshot.prices, context(call, None))?;
        named.note(item)?;
        match &model {
            None => model = Some(item.facts.model.clone()),
            Some(one) => several |= *one != item.facts.model,
        }
        Ok(())
    });
    let items = read.map_err(|bad| match bad {
        BadBatch::Malformed(malformed) => Refusal::Malformed(malformed),
        BadBatch::Item { index, custom_id, why } => {
            Refusal::BatchItem { index, custom_id, refusal: Box::new(why) }
        }
    })?;
    Ok(Looked { items, bound, model: model.filter(|_| !several), warnings, named })
}

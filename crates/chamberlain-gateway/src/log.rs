//! The lines of the log that are about one call: one for each request, when it ends.
//!
//! They have a target of their own, so that they can be left out: at thousands of calls a second
//! they are most of the log. What they say is names, ids and numbers; never a prompt, an answer or
//! a secret. Nothing is formatted while nobody reads it.

use chamberlain_core::admission::refusal::Answer;
use chamberlain_core::record::{Certainty, Settlement};

use crate::identify::Call;
use crate::metrics::{outcome_name, route_name};
use crate::notice::Witness;
use crate::record::Subject;

/// The line of a call that came on record.
pub(crate) fn ended(settlement: &Settlement, call: &Call, subject: &Subject) {
    tracing::info!(
        target: "chamberlain::calls",
        call = %settlement.call,
        route = route_name(subject.route),
        environment = %call.environment.name,
        virtual_key = %call.key.id,
        operation = subject.operation,
        model = subject.model,
        served_model = settlement.served_model,
        stream = subject.stream,
        status = settlement.status,
        outcome = outcome_name(settlement.outcome),
        certainty = certainty_name(settlement.certainty),
        cost_usd = settlement.cost.to_decimal(),
        reserved_usd = settlement.reserved.to_decimal(),
        input_tokens = settlement.tokens.input,
        cache_write_5m_tokens = settlement.tokens.cache_write_5m,
        cache_write_1h_tokens = settlement.tokens.cache_write_1h,
        cache_read_tokens = settlement.tokens.cache_read,
        output_tokens = settlement.tokens.output,
        attempts = settlement.attempts,
        first_byte_ms = settlement.first_byte_ms,
        duration_ms = settlement.duration_ms,
        upstream_request_id = settlement.upstream_request_id,
        trace_id = call.trace.map(|trace| tracing::field::display(trace.trace)),
        "a call ended"
    );
}

/// The line of a request that was answered by Chamberlain itself. One whose call came on record
/// ends with the line of the call.
pub(crate) fn stopped(witness: &Witness, answer: &Answer) {
    if witness.is_on_record {
        tracing::debug!(
            call = %witness.call,
            status = answer.status,
            code = answer.code,
            "a call on record was answered with an error of our own"
        );
        return;
    }
    tracing::info!(
        target: "chamberlain::calls",
        call = %witness.call,
        route = witness.route.map(route_name),
        environment = witness.environment.as_ref().map(tracing::field::display),
        virtual_key = witness.key.as_ref().map(tracing::field::display),
        model = witness.model,
        source = %witness.source,
        status = answer.status,
        code = answer.code,
        "a request was refused"
    );
}

/// How surely the cost of a call is known, in words.
pub(crate) fn certainty_name(certainty: Certainty) -> &'static str {
    match certainty {
        Certainty::Settled => "settled",
        Certainty::Estimated => "estimated",
        Certainty::Unsettled => "unsettled",
    }
}

//! What a span says of a call.

use std::time::Duration;

use chamberlain_core::record::{Certainty, Outcome, Route, Settlement};
use chamberlain_core::time::Timestamp;
use chamberlain_core::usage::Tokens;

use super::{SpanId, TraceId};
use crate::gateway::Inner;
use crate::identify::Call;
use crate::log::certainty_name;
use crate::metrics::outcome_name;
use crate::record::Subject;

/// Everything that is known of a call that ended.
pub(crate) struct Said<'a> {
    pub(crate) settlement: &'a Settlement,
    pub(crate) call: &'a Call,
    pub(crate) subject: &'a Subject,
    /// `id` of the answer.
    pub(crate) message_id: Option<&'a str>,
    /// `error.type` of the answer.
    pub(crate) error_type: Option<&'a str>,
    /// From the head of the request to its end.
    pub(crate) took: Duration,
}

impl Said<'_> {
    /// Only calls of a model are spans of the conventions, and only those of traces that are kept.
    pub(crate) fn is_wanted(&self) -> bool {
        let is_kept = self.call.trace.is_none_or(|parent| parent.sampled);
        self.subject.route == Route::Messages && is_kept
    }

    /// Why the call is no success; `None` when it is one.
    fn error(&self) -> Option<String> {
        let Settlement { outcome, status, .. } = self.settlement;
        let by_status = matches!(outcome, Outcome::UpstreamRefused | Outcome::UpstreamFailed);
        match (outcome, self.error_type) {
            (Outcome::Completed, _) => None,
            (_, Some(word)) => Some(word.to_owned()),
            _ if by_status => Some(status.to_string()),
            _ => Some(outcome_name(*outcome).to_owned()),
        }
    }
}

/// A value of an attribute.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Value {
    Text(String),
    Number(u64),
    Seconds(f64),
    Flag(bool),
    Texts(Vec<String>),
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::Text(text.to_owned())
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Value {
        Value::Number(number)
    }
}

/// One call, as it is sent.
#[derive(Debug)]
pub(crate) struct Span {
    pub(crate) trace: TraceId,
    pub(crate) id: SpanId,
    pub(crate) parent: Option<SpanId>,
    pub(crate) name: String,
    pub(crate) start: Timestamp,
    pub(crate) took: Duration,
    pub(crate) is_error: bool,
    pub(crate) attributes: Vec<(&'static str, Value)>,
}

impl Span {
    pub(crate) fn new(gateway: &Inner, said: &Said<'_>) -> Span {
        let mut attributes = Vec::with_capacity(28);
        request(&mut attributes, gateway, said);
        answer(&mut attributes, said);
        ours(&mut attributes, said);
        let (trace, parent) = match said.call.trace {
            Some(parent) => (parent.trace, Some(parent.span)),
            None => (TraceId(new_trace(gateway)), None),
        };
        Span {
            trace,
            id: SpanId(gateway.random().max(1).to_be_bytes()),
            parent,
            name: format!("chat {}", said.subject.model),
            start: said.call.at,
            took: said.took,
            is_error: said.settlement.outcome != Outcome::Completed,
            attributes,
        }
    }
}

fn new_trace(gateway: &Inner) -> [u8; 16] {
    let (high, low) = (u128::from(gateway.random()), u128::from(gateway.random()));
    (high << 64 | low).max(1).to_be_bytes()
}

type Attributes = Vec<(&'static str, Value)>;

fn request(attributes: &mut Attributes, gateway: &Inner, said: &Said<'_>) {
    let Said { call, subject, .. } = said;
    attributes.extend([
        ("gen_ai.operation.name", "chat".into()),
        ("gen_ai.provider.name", "anthropic".into()),
        ("gen_ai.request.model", subject.model.as_str().into()),
        ("gen_ai.request.max_tokens", subject.max_tokens.into()),
        ("gen_ai.request.stream", Value::Flag(subject.stream)),
    ]);
    if let Some(base) = gateway.base_of(call) {
        attributes.push(("server.address", base.host().into()));
        attributes.push(("server.port", u64::from(base.port()).into()));
    }
}

fn answer(attributes: &mut Attributes, said: &Said<'_>) {
    let Settlement { tokens, served_model, stop_reason, status, .. } = said.settlement;
    let mut text = |name, text: Option<&str>| {
        attributes.extend(text.map(|text| (name, Value::from(text))));
    };
    text("gen_ai.response.model", served_model.as_deref());
    text("gen_ai.response.id", said.message_id);
    text("error.type", said.error().as_deref());
    if let Some(reason) = stop_reason {
        attributes.push(("gen_ai.response.finish_reasons", Value::Texts(vec![reason.clone()])));
    }
    if let (Some(ms), true) = (said.settlement.first_byte_ms, said.subject.stream) {
        let seconds = Value::Seconds(Duration::from_millis(ms).as_secs_f64());
        attributes.push(("gen_ai.response.time_to_first_chunk", seconds));
    }
    attributes.push(("http.response.status_code", u64::from(*status).into()));
    // Of a call whose end is unknown nothing is known to be used; that is not the same as nothing.
    if said.settlement.certainty != Certainty::Unsettled {
        usage(attributes, tokens);
    }
}

fn usage(attributes: &mut Attributes, tokens: &Tokens) {
    let written = tokens.cache_write_5m.saturating_add(tokens.cache_write_1h);
    attributes.extend([
        // By the conventions the whole prompt; Anthropic's own `input_tokens` is without the cache.
        ("gen_ai.usage.input_tokens", tokens.prompt().into()),
        ("gen_ai.usage.output_tokens", tokens.output.into()),
        ("gen_ai.usage.cache_read.input_tokens", tokens.cache_read.into()),
        ("gen_ai.usage.cache_creation.input_tokens", written.into()),
    ]);
}

/// What only Chamberlain knows.
fn ours(attributes: &mut Attributes, said: &Said<'_>) {
    let Said { settlement, call, subject, .. } = said;
    attributes.extend([
        ("chamberlain.call", Value::Text(settlement.call.to_string())),
        ("chamberlain.virtual_key", call.key.id.as_str().into()),
        ("chamberlain.environment", call.environment.name.as_str().into()),
        ("chamberlain.outcome", outcome_name(settlement.outcome).into()),
        ("chamberlain.certainty", certainty_name(settlement.certainty).into()),
        ("chamberlain.cost_usd", Value::Text(settlement.cost.to_decimal())),
        ("chamberlain.attempts", u64::from(settlement.attempts).into()),
    ]);
    let optional = [
        ("chamberlain.operation", &subject.operation),
        ("chamberlain.upstream_request_id", &settlement.upstream_request_id),
    ];
    let known = optional.into_iter().filter_map(|(name, text)| Some((name, text.as_deref()?)));
    attributes.extend(known.map(|(name, text)| (name, text.into())));
}

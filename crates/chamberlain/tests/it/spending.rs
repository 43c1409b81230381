//! Every way to spend, row by row: `docs/spending.md` is the table of these tests. A row says what
//! a request or an answer has, and what Chamberlain makes of it; the test asks the code the same
//! and compares the words. The lists below name the features that the page must have, so that no
//! row is lost.

use chamberlain_control::settings::default_policy;
use chamberlain_core::admission::policy::{Holder, Question, decide};
use chamberlain_core::admission::refusal::Refusal;
use chamberlain_core::anthropic::meter::Meter;
use chamberlain_core::anthropic::request::{CallerFacts, InspectLimits, RequestFacts, inspect};
use chamberlain_core::ledger::bound::{Bound, BoundContext, bound};
use chamberlain_core::ledger::cost::{CostContext, cost};
use chamberlain_core::ledger::price::PriceBook;
use chamberlain_core::time::Timestamp;
use serde_json::{Value, json};

use crate::tidy::repository::{code_spans, rows};

const PAGE: &str = "docs/spending.md";

/// What a row may change: everything else is this.
fn request(change: &Value) -> Value {
    let mut body = json!({
        "model": "claude-sonnet-5-5",
        "max_tokens": 1000,
        "messages": [{"role": "user", "content": "Hello"}],
    });
    for (field, value) in change.as_object().expect("a row's request is an object") {
        match value {
            Value::String(text) if text == "absent" => body.as_object_mut().unwrap().remove(field),
            value => body.as_object_mut().unwrap().insert(field.clone(), value.clone()),
        };
    }
    body
}

fn at() -> Timestamp {
    Timestamp::from_rfc3339("2026-11-23T09:00:00Z").unwrap()
}

fn facts(body: &Value) -> Result<RequestFacts, Refusal> {
    let limits = InspectLimits { depth_max: 120 };
    inspect(body.to_string().as_bytes(), limits).map_err(Refusal::Malformed)
}

fn policy(facts: &RequestFacts, prices: &PriceBook) -> Result<(), Refusal> {
    let caller = CallerFacts { source: [127, 0, 0, 1].into(), operation: None, betas: Vec::new() };
    let question = Question { request: facts, caller: &caller, operation: None, prices, now: at() };
    decide(&default_policy(), Holder::Environment("production"), &question).map(drop)
}

fn bounded(facts: &RequestFacts, prices: &PriceBook) -> Result<Bound, Refusal> {
    let context = BoundContext {
        at: at(),
        assume_us_geo: false,
        counted_prompt: None,
        batch: false,
        fields_allowed: &[],
    };
    Ok(bound(facts, prices, context)?)
}

/// What becomes of a request, in the words of the page.
fn verdict(change: &Value) -> String {
    let prices = PriceBook::builtin();
    let facts = match facts(&request(change)) {
        Ok(facts) => facts,
        Err(refusal) => return refused(&refusal),
    };
    let bounded = match bounded(&facts, &prices) {
        Ok(bound) => format!("at most ${}", bound.cost.to_decimal()),
        Err(refusal) => refused(&refusal),
    };
    match policy(&facts, &prices) {
        Ok(()) => bounded,
        Err(Refusal::Capability { capability, .. }) => {
            let name = serde_json::to_value(capability).unwrap();
            format!(
                "refused by the preset policy (`{}`); if allowed: {bounded}",
                name.as_str().unwrap()
            )
        }
        Err(refusal) => refused(&refusal),
    }
}

fn refused(refusal: &Refusal) -> String {
    match refusal {
        Refusal::Unbounded { field, reason } => format!("refused at `{field}`: {reason}"),
        refusal => {
            let answer = refusal.answer();
            format!("refused as `{}`: {}", answer.code, answer.message)
        }
    }
}

/// What an answer to `requested` costs, in the words of the page.
fn charged(answer: &Value) -> String {
    let prices = PriceBook::builtin();
    let requested = answer["asked"].as_str().unwrap_or("claude-sonnet-5-5");
    let mut message = answer.clone();
    let usage = message["usage"].as_object_mut().expect("a row's answer has a usage");
    usage.entry("input_tokens").or_insert(json!(0));
    usage.entry("output_tokens").or_insert(json!(0));
    let mut meter = Meter::for_json(1 << 20);
    meter.push(message.to_string().as_bytes());
    let metered = meter.finish();
    let context = CostContext {
        at: at(),
        requested_model: requested,
        served_model: metered.served_model.as_deref().unwrap_or(requested),
        stop_reason: metered.stop_reason.as_deref(),
        assume_us_geo: false,
        batch: false,
    };
    match cost(&metered.usage.expect("it is read"), context, &prices) {
        Ok(cost) => format!("${}", cost.money.to_decimal()),
        Err(unpriced) => format!("the reservation: {unpriced}"),
    }
}

/// Compares one table with what the code says, and with the list of what must be in it.
fn compare(heading: &str, features: &[&str], say: impl Fn(&Value) -> String) {
    let rows = rows(PAGE, heading);
    let names: Vec<&str> = rows.iter().map(|row| row[0].as_str()).collect();
    assert_eq!(names, features, "left: the rows of {PAGE} under {heading:?}");
    let mut wrong = Vec::new();
    for row in &rows {
        let written = code_spans(&row[1]);
        let json: Value = serde_json::from_str(written[0])
            .unwrap_or_else(|error| panic!("{PAGE}, {:?}: {error}", row[0]));
        let said = say(&json);
        if row[2] != said {
            wrong.push(format!("| {} | {} | {said} |", row[0], row[1]));
        }
    }
    assert!(wrong.is_empty(), "{PAGE} should say:\n{}", wrong.join("\n"));
}

#[test]
fn every_way_to_ask_has_a_bound_or_a_refusal() {
    compare("What a request may ask for", &ASKED, verdict);
}

#[test]
fn every_way_to_be_charged_has_a_price() {
    compare("What an answer costs", &ANSWERED, charged);
}

/// The rows under that heading.
const ASKED: [&str; 90] = [
    "a plain request",
    "`max_tokens` missing",
    "`max_tokens` of 0: writes the cache, no output",
    "`max_tokens` with a fraction",
    "an image",
    "an image by URL",
    "a PDF",
    "a file by id",
    "a content block of an unknown type",
    "a client tool of one's own",
    "client tools that Anthropic defines",
    "web search with `max_uses`",
    "web search without `max_uses`",
    "web search of a version not known",
    "web fetch, with or without `max_uses`",
    "tool search",
    "code execution alone",
    "code execution beside an older web tool",
    "code execution, free beside a newer web tool",
    "a file put into a container",
    "the same where code execution is free",
    "a container by id",
    "a container by id where code execution is free",
    "skills",
    "skills where code execution is free",
    "MCP servers",
    "an MCP toolset",
    "an advisor with `max_uses`",
    "an advisor without `max_uses`",
    "an advisor without a model",
    "an advisor of an unpriced model",
    "a server tool not known",
    "a server tool with a member not known",
    "a tool added in a message",
    "a tool added in a message, without its limit",
    "a server tool added in a message of a thread",
    "a thread that begins",
    "a thread that continues",
    "`fallbacks` as a list",
    "`fallbacks` of `default`",
    "more than three fallbacks",
    "a fallback without a price",
    "a fast fallback",
    "a fallback with a member not known",
    "server tools and a fallback",
    "compaction, asked for",
    "compaction by a context edit",
    "compaction with server tools",
    "a context edit that clears",
    "a context edit not known",
    "`speed` fast on Fable 5.2",
    "`speed` fast on Opus 5.5",
    "`speed` fast on Opus 5",
    "`speed` fast on Opus 4.8",
    "`speed` fast on a model without it",
    "`speed` of another word",
    "`inference_geo` us",
    "`inference_geo` global",
    "`inference_geo` of another place",
    "the cache for 5 minutes, at the top",
    "the cache for an hour, at the top",
    "… in `system`",
    "… in a block of a message",
    "… inside a tool's result",
    "… on a tool",
    "… of an advisor's own prompt",
    "… on an added tool",
    "a cache lifetime not known",
    "`service_tier` auto",
    "`service_tier` standard_only",
    "`billing_policy`",
    "`fallback_credit_token`",
    "`task_budget`",
    "structured output",
    "thinking",
    "`diagnostics`",
    "an unknown field, as `n` would be",
    "an unknown field of a message",
    "Haiku 5.5, a prompt that is surely short",
    "Haiku 5.5, a prompt that may be above 100,000 tokens",
    "Haiku 5.5 with server tools",
    "a model's alias",
    "an alias that is not sure",
    "another alias that is not sure",
    "a name like an alias that nobody has",
    "a model's name in other letters",
    "a retired model",
    "a restricted model, `claude-mythos-5-2`",
    "`max_tokens` above the model's output, as `output-300k-2026-03-24` allows",
    "two of everything",
];

/// The rows under that heading.
const ANSWERED: [&str; 22] = [
    "input and output",
    "cache writes of both lifetimes, and reads",
    "late cache writes of server tools count as five minutes",
    "`inference_geo` us",
    "`inference_geo` of a place not known",
    "`speed` fast",
    "`speed` not known",
    "`service_tier` priority: list prices",
    "web searches",
    "Haiku 5.5 at 100,000 tokens",
    "Haiku 5.5 at 100,001 tokens",
    "Haiku 5.5, two short prompts that together are long",
    "a model other than asked for",
    "a model without a price",
    "a refusal before any output",
    "a refusal in the middle of the output",
    "`iterations` with a compaction and an advisor",
    "a fallback that served after a declined attempt",
    "a fallback that served after half an answer",
    "`iterations` that leave something out",
    "an iteration of a kind not known",
    "a redeemed fallback credit: list prices",
];

//! Composes an answer: what it says, what it reports, what it is billed.

use std::collections::BTreeSet;

use crate::ids::IdSource;
use crate::journal::{Bill, Charge};
use crate::reply::{
    Block, Counts, CreditStatus, FallbackCredit, Iteration, Reply, ServerToolUse, StopDetails,
};
use crate::request::MessageRequest;
use crate::scenario::{Iterations, Refusal, Scenario};
use crate::writer::Writer;

/// What a credit begins with that a refusal hands out.
pub(crate) const CREDIT: &str = "fct_";

/// An answer and what it is billed.
#[derive(Debug)]
pub(crate) struct Composed {
    pub(crate) reply: Reply,
    /// Owed once the generation has begun; the output so far belongs to its last charge.
    pub(crate) begun: Option<Bill>,
    /// Owed at the end.
    pub(crate) whole: Option<Bill>,
}

/// The samplings behind an answer.
struct Samplings {
    /// The model that `message_start` names.
    start_model: String,
    /// The model that the whole answer names.
    model: String,
    /// The totals that the answer reports.
    total: Counts,
    /// Everything that ran, the one that answered last.
    charges: Vec<Charge>,
    iterations: Option<Vec<Iteration>>,
}

/// Composes the answer to `request`, whose prompt the cache split into `prompt`.
/// The compaction beta has it always tell its iterations; the credit beta has a refusal hand out a
/// credit.
pub(crate) fn compose(
    request: &MessageRequest,
    scenario: &Scenario,
    prompt: Counts,
    betas: &BTreeSet<String>,
    ids: &IdSource,
) -> Composed {
    let has = |prefix: &str| betas.iter().any(|beta| beta.starts_with(prefix));
    let iterations_always = has("compact-");
    let credit = has("fallback-credit-").then(|| ids.id(CREDIT, 0));
    let prompt = scenario.usage.over(prompt).with_output(0);
    let mut writer = Writer::new(request, scenario, ids, prompt.prompt());
    let declined = scenario.iterations == Some(Iterations::FallbackDeclined);
    let silent = declined || scenario.refusal == Some(Refusal::Before);
    let samplings = if silent {
        silence(request, scenario, prompt, declined)
    } else {
        sample(request, scenario, prompt, &mut writer, iterations_always)
    };
    finish(request, scenario, prompt, writer, samplings, silent, credit)
}

/// A refusal before any output: tokens are reported and not billed.
fn silence(
    request: &MessageRequest,
    scenario: &Scenario,
    prompt: Counts,
    declined: bool,
) -> Samplings {
    let hop = Iteration::new("message", None, prompt);
    let model = scenario.model.clone().unwrap_or_else(|| request.model.id.to_owned());
    Samplings {
        start_model: model.clone(),
        model,
        total: prompt,
        charges: Vec::new(),
        iterations: declined.then(|| vec![hop.clone(), hop]),
    }
}

fn sample(
    request: &MessageRequest,
    scenario: &Scenario,
    prompt: Counts,
    writer: &mut Writer,
    iterations_always: bool,
) -> Samplings {
    if scenario.iterations == Some(Iterations::FallbackServed) {
        return fallback(request, scenario, prompt, writer);
    }
    if request.compacts() {
        return compaction(request, scenario, prompt, writer);
    }
    let model = scenario.model.clone().unwrap_or_else(|| request.model.id.to_owned());
    let mut side = None;
    match scenario.iterations {
        Some(Iterations::Compaction) => {
            let base =
                Counts { input: 1_900, cache_read: 149_300, output: 2_100, ..Counts::default() };
            side = Some(Charge {
                model: request.model.id.to_owned(),
                kind: "compaction",
                counts: scenario.aside.over(base),
            });
            writer.compaction();
        }
        Some(Iterations::Advisor) => {
            let base = Counts { input: 5_200, output: 700, ..Counts::default() };
            let advisor = scenario.other_model.as_deref().or_else(|| request.advisor_model());
            side = Some(Charge {
                model: advisor.unwrap_or("claude-fable-5-2").to_owned(),
                kind: "advisor_message",
                counts: scenario.aside.over(base),
            });
            writer.advice();
        }
        _ => {}
    }
    writer.answer();
    let mut total = prompt;
    if scenario.server_tool {
        let base = Counts { input: 8_000, cache_write_5m: 1_500, ..Counts::default() };
        total += scenario.aside.over(base).with_output(0);
    }
    total.output = scenario.usage.output.unwrap_or(writer.output());
    let message = Iteration::new("message", None, total);
    let iterations = match &side {
        Some(side) if side.kind == "compaction" => {
            Some(vec![Iteration::new(side.kind, None, side.counts), message])
        }
        Some(side) => {
            Some(vec![message, Iteration::new(side.kind, Some(&side.model), side.counts)])
        }
        None => iterations_always.then(|| vec![message]),
    };
    let main = Charge { model: model.clone(), kind: "message", counts: total };
    Samplings {
        start_model: model.clone(),
        model,
        total,
        charges: side.into_iter().chain([main]).collect(),
        iterations,
    }
}

/// A compaction that was asked for: a summary and no reply, and none of it in the totals.
fn compaction(
    request: &MessageRequest,
    scenario: &Scenario,
    prompt: Counts,
    writer: &mut Writer,
) -> Samplings {
    writer.summarize();
    let model = scenario.model.clone().unwrap_or_else(|| request.model.id.to_owned());
    let counts = prompt.with_output(scenario.usage.output.unwrap_or(writer.output()));
    Samplings {
        start_model: model.clone(),
        model: model.clone(),
        total: Counts::default(),
        iterations: Some(vec![Iteration::new("compaction", None, counts)]),
        charges: vec![Charge { model, kind: "compaction", counts }],
    }
}

/// The requested model declined, before or in the middle of its output, and another one served.
fn fallback(
    request: &MessageRequest,
    scenario: &Scenario,
    prompt: Counts,
    writer: &mut Writer,
) -> Samplings {
    let requested = request.model.id;
    let (listed, max_tokens) = request.first_fallback().unwrap_or(("claude-opus-4-8", None));
    let asked = scenario.other_model.as_deref().unwrap_or(listed);
    let serving = crate::catalogue::find(asked).map_or(asked, |model| model.id).to_owned();
    let said = scenario.fallback_after.unwrap_or(0);
    writer.filler(said);
    let declined = scenario.aside.over(prompt.with_output(writer.output()));
    writer.fallback(&request.asked_model, &serving, max_tokens);
    writer.answer();
    // Another model's cache is cold.
    let total = Counts {
        input: prompt.prompt(),
        output: scenario.usage.output.unwrap_or(writer.output()),
        ..Counts::default()
    };
    let serves = Charge { model: serving.clone(), kind: "fallback_message", counts: total };
    let declines = Charge { model: requested.to_owned(), kind: "message", counts: declined };
    let declines_mid = declined.output > 0;
    Samplings {
        start_model: if declines_mid { requested.to_owned() } else { serving.clone() },
        model: serving.clone(),
        total,
        iterations: Some(vec![
            Iteration::new("message", None, declined),
            Iteration::new("fallback_message", Some(&serving), total),
        ]),
        charges: declines_mid.then_some(declines).into_iter().chain([serves]).collect(),
    }
}

fn finish(
    request: &MessageRequest,
    scenario: &Scenario,
    prompt: Counts,
    writer: Writer,
    samplings: Samplings,
    free: bool,
    credit: Option<String>,
) -> Composed {
    let asked = |key: &str| request.body.get(key).and_then(serde_json::Value::as_str);
    let text = |value: &str| value.to_owned();
    let geo = if request.model.geo {
        asked("inference_geo").unwrap_or("global")
    } else {
        "not_available"
    };
    let fast = asked("speed") == Some("fast") && request.model.runs_fast();
    let compacts = !free && request.compacts();
    let refused = free || scenario.refusal.is_some();
    let stop = writer.stop();
    let stop_reason = match &scenario.stop_reason {
        Some(reason) => reason.clone(),
        None if refused => text("refusal"),
        None => text(stop.reason),
    };
    let thinking_tokens = writer
        .blocks
        .iter()
        .filter_map(|block| match block {
            Block::Thinking { tokens, .. } => Some(*tokens),
            _ => None,
        })
        .reduce(|sum, tokens| sum + tokens);
    let searches = scenario.searches.or(scenario.server_tool.then_some(1));
    let reply = Reply {
        id: writer.message_id(),
        start_model: samplings.start_model,
        model: samplings.model,
        stop_sequence: stop.sequence,
        stop_details: refused.then(|| refusal(scenario, credit)),
        container: None,
        stop_reason,
        start: if compacts {
            Counts::default()
        } else {
            prompt.with_output(samplings.total.output.min(2))
        },
        total: samplings.total,
        thinking_tokens,
        server_tool_use: searches.map(|web_search_requests| ServerToolUse {
            web_search_requests,
            web_fetch_requests: 0,
        }),
        iterations: samplings.iterations,
        fallback_credit: crate::json::given(&request.body, "fallback_credit_token")
            .map(|_| FallbackCredit { status: CreditStatus::Redeemed }),
        tier: scenario.tier.clone().unwrap_or_else(|| text("standard")),
        geo: scenario.geo.clone().unwrap_or_else(|| text(geo)),
        speed: scenario
            .speed
            .clone()
            .unwrap_or_else(|| text(if fast { "fast" } else { "standard" })),
        blocks: writer.blocks,
    };
    let bill = |charges: Vec<Charge>, web_searches: u64, complete: bool| {
        let (speed, inference_geo) = (reply.speed.clone(), reply.geo.clone());
        (!free).then_some(Bill { charges, web_searches, speed, inference_geo, complete })
    };
    let kind = if compacts { "compaction" } else { "message" };
    let first = Charge { model: reply.start_model.clone(), kind, counts: prompt };
    Composed {
        begun: bill(vec![first], 0, false),
        whole: bill(samplings.charges, searches.unwrap_or(0), true),
        reply,
    }
}

fn refusal(scenario: &Scenario, fallback_credit_token: Option<String>) -> StopDetails {
    StopDetails {
        r#type: "refusal",
        category: Some(scenario.category.clone().unwrap_or_else(|| "cyber".to_owned())),
        explanation: Some("The mock was asked to refuse.".to_owned()),
        fallback_credit_token,
    }
}

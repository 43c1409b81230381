use super::*;
use crate::anthropic::request::{
    CacheWrites, Capability, Fallback, Fallbacks, ServerTool, ServerToolKind,
};
use crate::usage::Speed;

const CONTEXT: BoundContext<'static> = BoundContext {
    // 2026-11-23T09:00:00Z
    at: Timestamp::from_ms(1_795_424_400_000),
    assume_us_geo: false,
    counted_prompt: None,
    batch: false,
    fields_allowed: &[],
};

fn plain(model: &str, prompt_bytes: u64, max_tokens: u64) -> RequestFacts {
    RequestFacts {
        model: model.to_owned(),
        max_tokens: Some(max_tokens),
        prompt_bytes,
        plain: true,
        ..RequestFacts::default()
    }
}

fn of(facts: &RequestFacts) -> Bound {
    bound(facts, &PriceBook::builtin(), CONTEXT).unwrap()
}

fn usd(text: &str) -> Money {
    text.parse().unwrap()
}

fn tool(kind: ServerToolKind, type_name: &str, max_uses: Option<u64>) -> ServerTool {
    ServerTool {
        kind,
        type_name: type_name.to_owned(),
        max_uses,
        max_content_tokens: None,
        model: None,
        max_tokens: None,
    }
}

fn with_tools(tools: &[ServerTool]) -> RequestFacts {
    RequestFacts { server_tools: tools.to_vec(), ..plain("claude-sonnet-5-5", 100, 1_000) }
}

fn with_fallbacks(list: &[(&str, Option<u64>)]) -> RequestFacts {
    let fallback = |(model, max_tokens): &(&str, Option<u64>)| Fallback {
        model: (*model).to_owned(),
        max_tokens: *max_tokens,
        speed: None,
    };
    RequestFacts {
        fallbacks: Fallbacks::List(list.iter().map(fallback).collect()),
        ..plain("claude-sonnet-5-5", 9_000, 1_000)
    }
}

#[test]
fn the_clock_of_these_tests_reads_what_it_says() {
    assert_eq!(CONTEXT.at.to_rfc3339(), "2026-11-23T09:00:00.000Z");
}

#[test]
fn a_plain_request_is_its_bytes_framing_and_max_tokens() {
    let bound = of(&plain("claude-sonnet-5-5", 1_000, 4_096));
    assert_eq!(bound.prompt_tokens, 2_000);
    assert_eq!(bound.cost, usd("0.04496"), "2,000 at $2 and 4,096 at $10 a million");
    assert_eq!((bound.input_tokens, bound.output_tokens), (2_000, 4_096));
    let framed = RequestFacts { plain: false, images: 2, ..plain("claude-sonnet-5-5", 1_000, 0) };
    assert_eq!(of(&framed).prompt_tokens, 1_000 + 10_000 + 2 * 4_784);
    assert_eq!(of(&framed).output_tokens, 0);
}

#[test]
fn the_dearest_call_of_the_pinned_production_policy_is_66_cents() {
    let whole_window = plain("claude-sonnet-4-5-20250929", 30_000_000, 4_096);
    assert_eq!(of(&whole_window).cost, usd("0.66144"));
}

#[test]
fn cache_control_raises_the_price_of_every_prompt_token() {
    let cost =
        |cache_writes| of(&RequestFacts { cache_writes, ..plain("claude-opus-5-5", 0, 0) }).cost;
    assert_eq!(cost(CacheWrites::None), usd("0.004"));
    assert_eq!(cost(CacheWrites::FiveMinutes), usd("0.005"));
    assert_eq!(cost(CacheWrites::OneHour), usd("0.008"));
}

#[test]
fn haiku_5_5_is_bounded_at_its_long_prices_from_100_001_tokens_on() {
    let cost = |bytes| of(&plain("claude-haiku-5-5", bytes, 1_000)).cost;
    assert_eq!(cost(99_000), usd("0.0105"), "100,000 tokens");
    assert_eq!(cost(99_001), usd("0.0525005"), "one more, and everything costs five times");
}

#[test]
fn us_only_and_fast_stack() {
    let facts = plain("claude-fable-5-2", 0, 1_000);
    let of = |facts: RequestFacts| of(&facts).cost;
    assert_eq!(of(facts.clone()), usd("0.048"));
    let geo = |geo: &str| Some(geo.to_owned());
    let us = RequestFacts { inference_geo: geo("us"), ..facts.clone() };
    assert_eq!(of(us.clone()), usd("0.0528"));
    assert_eq!(of(RequestFacts { inference_geo: geo("mars"), ..facts.clone() }), usd("0.0528"));
    assert_eq!(of(RequestFacts { inference_geo: geo("global"), ..facts }), usd("0.048"));
    assert_eq!(of(RequestFacts { speed: Speed::Fast, ..us }), usd("0.1056"));
}

#[test]
fn a_workspace_in_the_us_is_assumed_where_the_model_can_run_there() {
    let context = BoundContext { assume_us_geo: true, ..CONTEXT };
    let cost = |model| bound(&plain(model, 0, 1_000), &PriceBook::builtin(), context).unwrap().cost;
    assert_eq!(cost("claude-sonnet-5-5"), usd("0.0132"));
    assert_eq!(cost("claude-haiku-4-5"), usd("0.006"), "it has no US-only inference");
}

#[test]
fn what_the_body_does_not_show_may_fill_the_window() {
    let facts = plain("claude-sonnet-5-5", 100, 0);
    let elsewhere = [
        RequestFacts { prompt_is_elsewhere: true, ..facts.clone() },
        RequestFacts { thread: Thread::Continue, ..facts.clone() },
        RequestFacts { mcp: true, ..facts.clone() },
        with_tools(&[tool(ServerToolKind::WebFetch, "web_fetch_20260318", None)]),
    ];
    for facts in elsewhere {
        let bound = of(&facts);
        assert_eq!(bound.prompt_tokens, 1_000_000, "{facts:?}");
        assert!(!bound.refinable, "{facts:?}");
    }
    assert!(of(&facts).refinable);
}

#[test]
fn a_continued_thread_is_bounded_by_what_it_held_and_what_is_added() {
    let plain = plain("claude-sonnet-5-5", 100, 0);
    let facts = RequestFacts { thread: Thread::Continue, thread_tokens: Some(5_000), ..plain };
    let prompt = |facts: &RequestFacts| of(facts).prompt_tokens;
    assert_eq!(prompt(&facts), 5_000 + 100 + 1_000);
    assert_eq!(prompt(&RequestFacts { images: 2, ..facts.clone() }), 6_100 + 2 * 4_784);
    assert_eq!(prompt(&RequestFacts { thread_tokens: Some(999_000), ..facts.clone() }), 1_000_000);
    assert_eq!(prompt(&RequestFacts { prompt_is_elsewhere: true, ..facts.clone() }), 1_000_000);
    assert_eq!(prompt(&RequestFacts { mcp: true, ..facts.clone() }), 1_000_000);
    let created = RequestFacts { thread: Thread::Create, ..facts.clone() };
    assert_eq!(prompt(&created), 1_100, "nothing is carried into a new thread");
    assert!(!of(&facts).refinable, "count_tokens does not see the thread");
}

#[test]
fn a_count_replaces_bytes_where_it_is_smaller_and_sees_everything() {
    let prompt = |facts: &RequestFacts, counted| {
        let context = BoundContext { counted_prompt: Some(counted), ..CONTEXT };
        let bound = bound(facts, &PriceBook::builtin(), context).unwrap();
        assert!(!bound.refinable, "it was counted already");
        bound.prompt_tokens
    };
    let facts = plain("claude-sonnet-5-5", 50_000, 1_000);
    assert_eq!(prompt(&facts, 12_345), 12_345);
    assert_eq!(prompt(&facts, 60_000), 51_000);
    let elsewhere = RequestFacts { prompt_is_elsewhere: true, ..facts };
    assert_eq!(prompt(&elsewhere, 12_345), 1_000_000);
    let another_tokenizer = with_fallbacks(&[("claude-haiku-4-5", None)]);
    assert_eq!(prompt(&another_tokenizer, 1_234), 11_000);
}

#[test]
fn server_tools_sample_ten_times_over_a_full_window() {
    let bound = of(&with_tools(&[tool(ServerToolKind::WebSearch, "web_search_20260318", Some(5))]));
    assert_eq!((bound.input_tokens, bound.output_tokens), (10_000_000, 10_000));
    // 10 M at the 5m write price of $2.50, 10,000 at $10, five searches.
    assert_eq!(bound.cost, usd("25.15"));
}

#[test]
fn every_fallback_may_be_tried_at_the_dearest_price() {
    let bound =
        of(&with_fallbacks(&[("claude-opus-5-5", Some(3_000)), ("claude-haiku-4-5", None)]));
    // The last reads what the two before had written.
    assert_eq!(bound.prompt_tokens, 10_000 + 2 * 3_000);
    assert_eq!((bound.input_tokens, bound.output_tokens), (48_000, 9_000));
    assert_eq!(bound.cost, usd("0.372"), "48,000 at $4 and 9,000 at $20");
}

#[test]
fn an_advisor_is_added_at_its_own_price() {
    let advisor = ServerTool {
        model: Some("claude-haiku-4-5".to_owned()),
        max_tokens: Some(2_000),
        ..tool(ServerToolKind::Advisor, "advisor_20260301", Some(3))
    };
    let bound = of(&with_tools(&[advisor]));
    // Thirteen samplings of 1 M at $2.50 and 1,000 at $10; three of 200,000 at $2 and 2,000 at $5.
    assert_eq!(bound.cost, usd("33.86"));
}

#[test]
fn what_has_no_bound_is_refused_by_name() {
    let advisor = |model: Option<&str>, max_uses| ServerTool {
        model: model.map(str::to_owned),
        ..tool(ServerToolKind::Advisor, "advisor_20260301", max_uses)
    };
    let code = tool(ServerToolKind::CodeExecution, "code_execution_20260521", None);
    let old_search = tool(ServerToolKind::WebSearch, "web_search_20250305", Some(1));
    let capability = |capability| RequestFacts {
        capabilities: vec![capability],
        ..plain("claude-sonnet-5-5", 1, 1)
    };
    let table = [
        (
            RequestFacts { fallbacks: Fallbacks::Default, ..plain("claude-sonnet-5-5", 1, 1) },
            "fallbacks",
        ),
        (RequestFacts { max_tokens: None, ..plain("claude-sonnet-5-5", 1, 1) }, "max_tokens"),
        (with_tools(&[advisor(Some("claude-opus-5-5"), None)]), "tools[].max_uses"),
        (with_tools(&[advisor(None, Some(1))]), "tools[].model"),
        (
            with_tools(&[tool(ServerToolKind::WebSearch, "web_search_20260318", None)]),
            "tools[].max_uses",
        ),
        (with_tools(std::slice::from_ref(&code)), "tools[].type code_execution"),
        (with_tools(&[code, old_search]), "tools[].type code_execution"),
        (capability(Capability::Containers), "tools[].type code_execution"),
        (
            with_tools(&[tool(ServerToolKind::Unknown, "teleport_20270101", None)]),
            "tools[].type teleport_20270101",
        ),
        (capability(Capability::UnknownServerTool), "tools[].type of some tool"),
    ];
    for (facts, expected) in table {
        match bound(&facts, &PriceBook::builtin(), CONTEXT) {
            Err(NoBound::Unbounded { field, .. }) => assert_eq!(field, expected),
            other => panic!("{expected}: {other:?}"),
        }
    }
}

#[test]
fn code_execution_is_free_beside_a_newer_web_tool() {
    let code = tool(ServerToolKind::CodeExecution, "code_execution_20260521", None);
    let fetch = tool(ServerToolKind::WebFetch, "web_fetch_20260209", None);
    assert_eq!(of(&with_tools(&[code, fetch.clone()])).cost, of(&with_tools(&[fetch])).cost);
}

#[test]
fn unpriced_models_and_modes_have_no_bound() {
    let unpriced = |facts: RequestFacts| match bound(&facts, &PriceBook::builtin(), CONTEXT) {
        Err(NoBound::Unpriced(unpriced)) => unpriced,
        other => panic!("{other:?}"),
    };
    assert_eq!(unpriced(plain("gpt-5", 1, 1)), Unpriced::UnknownModel("gpt-5".into()));
    let fallback = with_fallbacks(&[("gpt-5", None)]);
    assert_eq!(unpriced(fallback), Unpriced::UnknownModel("gpt-5".into()));
    let fast = RequestFacts { speed: Speed::Fast, ..plain("claude-sonnet-5-5", 1, 1) };
    assert_eq!(unpriced(fast), Unpriced::NoFastPrice("claude-sonnet-5-5".into()));
    assert_eq!(unpriced(plain("claude-sonnet-5-5", 1, u64::MAX)), Unpriced::Overflow);
    let rows_hold = plain("claude-sonnet-5-5", 1, 900_000_000_000);
    assert!(of(&rows_hold).cost > Money::from_usd(8_999_999));
    assert_eq!(unpriced(plain("claude-sonnet-5-5", 1, 930_000_000_000)), Unpriced::Overflow);
}

#[test]
fn what_would_fit_does_fit() {
    let searching = tool(ServerToolKind::WebSearch, "web_search_20260318", Some(5));
    let requests = [
        plain("claude-sonnet-5-5", 1_000, 8_000),
        plain("claude-haiku-5-5", 99_500, 8_000),
        with_tools(&[searching]),
        with_fallbacks(&[("claude-opus-5-5", None), ("claude-haiku-5-5", None)]),
        RequestFacts { compaction: true, ..plain("claude-opus-5-5", 1_000, 300_000) },
    ];
    for mut facts in requests {
        let asked = of(&facts);
        facts.max_tokens = facts.max_tokens.map(|tokens| tokens - 500);
        let less = asked.cost_per_output_token.checked_mul(500).unwrap();
        assert!(!less.is_zero());
        assert!(of(&facts).cost <= asked.cost.checked_sub(less).unwrap(), "{facts:?}");
    }
    let own_max_tokens = with_fallbacks(&[("claude-opus-5-5", Some(9_000))]);
    assert_eq!(of(&own_max_tokens).cost_per_output_token, Money::ZERO);
}

#[test]
fn a_field_not_known_has_no_bound_unless_the_operator_vouches_for_it() {
    let fields = |names: &[&str]| RequestFacts {
        unknown_fields: names.iter().map(|name| (*name).to_owned()).collect(),
        ..plain("claude-sonnet-5-5", 100, 1_000)
    };
    let allowed = ["novelty".to_owned()];
    let vouched = BoundContext { fields_allowed: &allowed, ..CONTEXT };
    let ask = |names: &[&str], context| bound(&fields(names), &PriceBook::builtin(), context);
    let refused = |names: &[&str], context| match ask(names, context) {
        Err(NoBound::Unbounded { field, .. }) => field,
        other => panic!("{names:?}: {other:?}"),
    };
    assert_eq!(refused(&["novelty"], CONTEXT), "novelty");
    assert!(ask(&["novelty"], vouched).is_ok());
    assert_eq!(refused(&["novelty", "n"], vouched), "n");
    assert_eq!(refused(&["messages[].novelty"], vouched), "messages[].novelty");
}

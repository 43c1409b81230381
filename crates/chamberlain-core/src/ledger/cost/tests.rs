use super::*;

fn at(text: &str) -> Timestamp {
    Timestamp::from_rfc3339(text).unwrap()
}

fn served<'a>(model: &'a str) -> CostContext<'a> {
    CostContext {
        at: at("2026-11-23T09:00:00Z"),
        requested_model: model,
        served_model: model,
        stop_reason: Some("end_turn"),
        assume_us_geo: false,
        batch: false,
    }
}

fn tokens(input: u64, output: u64) -> Tokens {
    Tokens { input, output, ..Tokens::default() }
}

fn totals(totals: Tokens) -> Usage {
    Usage { totals, ..Usage::default() }
}

fn entry(kind: IterationKind, model: Option<&str>, tokens: Tokens) -> Iteration {
    Iteration { kind, model: model.map(str::to_owned), tokens }
}

fn usd(text: &str) -> Money {
    text.parse().unwrap()
}

fn of(usage: &Usage, context: CostContext<'_>) -> Result<Money, Unpriced> {
    cost(usage, context, &PriceBook::builtin()).map(|cost| cost.money)
}

/// The worked examples of Anthropic's facts and of the requirements.
#[test]
fn worked_examples_are_exact() {
    let us = Usage {
        us_only: true,
        ..totals(Tokens {
            input: 41,
            cache_write_1h: 1_200,
            cache_read: 8_600,
            output: 233,
            ..Tokens::default()
        })
    };
    assert_eq!(of(&us, served("claude-sonnet-5-5")), Ok(usd("0.0088792")));
    let pages = [(700, 500, "0.0096"), (7_000, 3_500, "0.0735"), (35_000, 15_000, "0.33")];
    for (input, output, expected) in pages {
        let usage = totals(tokens(input, output));
        assert_eq!(of(&usage, served("claude-sonnet-4-5-20250929")), Ok(usd(expected)));
    }
    let capped = totals(tokens(35_000, 4_096));
    assert_eq!(of(&capped, served("claude-sonnet-4-5")), Ok(usd("0.16644")));
    for (usage, expected) in [(tokens(2_500, 0), "0.0075"), (tokens(0, 2_500), "0.0375")] {
        assert_eq!(of(&totals(usage), served("claude-sonnet-4-5")), Ok(usd(expected)));
    }
}

#[test]
fn opus_was_five_times_sonnet_once() {
    let usage = totals(tokens(1_000, 1_000));
    let cost = |model, day| of(&usage, CostContext { at: at(day), ..served(model) }).unwrap();
    let sonnet = cost("claude-sonnet-4-5", "2025-12-01T00:00:00Z");
    assert_eq!(Some(cost("claude-opus-4-1", "2025-12-01T00:00:00Z")), sonnet.checked_mul(5));
    let opus = cost("claude-opus-4-5", "2025-12-01T00:00:00Z");
    assert_eq!(opus.checked_mul(3), sonnet.checked_mul(5), "5 / 3");
}

#[test]
fn iterations_are_the_bill() {
    let compaction =
        Tokens { input: 1_900, cache_read: 149_300, output: 2_100, ..Tokens::default() };
    let usage = Usage {
        iterations: vec![
            entry(IterationKind::Compaction, None, compaction),
            entry(IterationKind::Message, None, tokens(4_300, 410)),
            entry(IterationKind::AdvisorMessage, Some("claude-fable-5-2"), tokens(5_200, 700)),
        ],
        ..totals(tokens(4_300, 410))
    };
    let cost = cost(&usage, served("claude-opus-5-5"), &PriceBook::builtin()).unwrap();
    assert_eq!(cost.money, usd("0.17446"));
    assert_eq!((cost.tokens.prompt(), cost.tokens.output), (160_700, 3_210));
    let top_level_alone = Usage { iterations: Vec::new(), ..usage };
    assert_eq!(of(&top_level_alone, served("claude-opus-5-5")), Ok(usd("0.0254")));
}

#[test]
fn the_row_in_force_when_the_request_began_counts() {
    let usage = totals(Tokens { cache_read: 1_000_000, ..Tokens::default() });
    let cost = |moment| of(&usage, CostContext { at: at(moment), ..served("claude-sonnet-5-5") });
    assert_eq!(cost("2026-10-06T23:59:59.999Z"), Ok(usd("0.20")));
    assert_eq!(cost("2026-10-07T00:00:00Z"), Ok(usd("0.10")));
}

#[test]
fn cache_reads_are_not_a_tenth_everywhere() {
    let usage = totals(Tokens { cache_read: 1_000_000, ..Tokens::default() });
    for (model, expected) in [
        ("claude-fable-5-1", "0.25"),
        ("claude-fable-5-2", "0.20"),
        ("claude-opus-5-5", "0.20"),
        ("claude-opus-5", "0.50"),
        ("claude-haiku-5-5", "0.05"),
    ] {
        assert_eq!(of(&usage, served(model)), Ok(usd(expected)), "{model}");
    }
}

#[test]
fn haiku_5_5_at_its_edge() {
    let cost = |prompt| of(&totals(tokens(prompt, 1_000)), served("claude-haiku-5-5"));
    assert_eq!(cost(100_000), Ok(usd("0.0105")));
    assert_eq!(cost(100_001), Ok(usd("0.0525005")));
    // Every part of a prompt counts towards its length.
    let mixed = Tokens { input: 1, cache_write_5m: 40_000, cache_read: 60_000, ..tokens(0, 1_000) };
    assert_eq!(of(&totals(mixed), served("claude-haiku-5-5")), Ok(usd("0.0305005")));
}

#[test]
fn haiku_5_5_is_judged_by_the_sum_of_its_prompts_even_where_each_is_short() {
    let message = || entry(IterationKind::Message, None, tokens(60_000, 100));
    let summed = totals(tokens(120_000, 200));
    assert_eq!(of(&summed, served("claude-haiku-5-5")), Ok(usd("0.0605")));
    let shown = Usage { iterations: vec![message(), message()], ..summed };
    assert_eq!(of(&shown, served("claude-haiku-5-5")), Ok(usd("0.0605")), "the dearer reading");
    let summary = entry(IterationKind::Compaction, None, tokens(60_000, 100));
    let compacted = Usage { iterations: vec![summary, message()], ..totals(tokens(60_000, 100)) };
    let cost = of(&compacted, served("claude-haiku-5-5"));
    assert_eq!(cost, Ok(usd("0.0121")), "a summary is a request of its own");
}

#[test]
fn cache_writes_of_both_kinds_and_late_ones_of_server_tools() {
    // The first sampling said 2,000 for an hour; the final 9,000 adds 7,000 implied five-minute ones.
    let usage = totals(Tokens {
        input: 10_682,
        cache_write_1h: 2_000,
        cache_write_5m: 7_000,
        ..tokens(0, 510)
    });
    let usage = Usage { web_searches: 2, ..usage };
    assert_eq!(of(&usage, served("claude-sonnet-5-5")), Ok(usd("0.071964")));
}

#[test]
fn modes_multiply_once() {
    let usage = Usage { speed: Speed::Fast, us_only: true, ..totals(tokens(1_000, 1_000)) };
    assert_eq!(of(&usage, served("claude-opus-5-5")), Ok(usd("0.0528")));
    let searched = Usage { web_searches: 3, ..usage };
    assert_eq!(
        of(&searched, served("claude-opus-5-5")),
        Ok(usd("0.0828")),
        "fees stay as they are"
    );
}

#[test]
fn a_workspace_in_the_us_is_assumed_where_the_model_can_run_there() {
    let cost =
        |model| of(&totals(tokens(1_000, 0)), CostContext { assume_us_geo: true, ..served(model) });
    assert_eq!(cost("claude-sonnet-5-5"), Ok(usd("0.0022")));
    assert_eq!(cost("claude-haiku-4-5"), Ok(usd("0.001")));
}

#[test]
fn a_refusal_costs_what_it_wrote() {
    let refused = CostContext { stop_reason: Some("refusal"), ..served("claude-sonnet-5-5") };
    let before = totals(tokens(5_000, 0));
    assert_eq!(of(&before, refused), Ok(Money::ZERO));
    assert_eq!(
        of(&before, served("claude-sonnet-5-5")),
        Ok(usd("0.01")),
        "max_tokens: 0 is billed"
    );
    assert_eq!(of(&totals(tokens(5_000, 10)), refused), Ok(usd("0.0101")));
    let all_declined = Usage {
        iterations: vec![
            entry(IterationKind::Message, None, tokens(5_000, 0)),
            entry(IterationKind::FallbackMessage, Some("claude-opus-5"), tokens(5_000, 0)),
        ],
        ..before
    };
    assert_eq!(of(&all_declined, refused), Ok(Money::ZERO));
    let mut first_wrote = all_declined;
    first_wrote.iterations[0].tokens.output = 10;
    let context = CostContext { served_model: "claude-opus-5", ..refused };
    assert_eq!(of(&first_wrote, context), Ok(usd("0.02525")), "the first, at the dearer model");
}

#[test]
fn a_fallback_is_billed_at_its_model_and_declined_attempts_at_what_they_wrote() {
    let answer = |declined_output| Usage {
        iterations: vec![
            entry(IterationKind::Message, None, tokens(1_000, declined_output)),
            entry(IterationKind::FallbackMessage, Some("claude-opus-5"), tokens(1_000, 100)),
        ],
        ..totals(tokens(1_000, 100))
    };
    let context = CostContext { served_model: "claude-opus-5", ..served("claude-fable-5-2") };
    let serving = usd("0.0075");
    assert_eq!(of(&answer(0), context), Ok(serving), "declined before it wrote anything");
    let declined = usd("0.012");
    assert_eq!(of(&answer(100), context), Ok(serving.checked_add(declined).unwrap()));
    // Which model a nameless entry ran at is not said, so the dearer one counts.
    let cheaper = CostContext { served_model: "claude-opus-5", ..served("claude-haiku-4-5") };
    assert_eq!(of(&answer(100), cheaper), Ok(serving.checked_add(serving).unwrap()));
}

#[test]
fn the_model_that_served_is_priced_and_not_the_one_asked_for() {
    let context = CostContext { served_model: "claude-opus-5", ..served("claude-haiku-4-5") };
    assert_eq!(of(&totals(tokens(1_000, 100)), context), Ok(usd("0.0075")));
}

#[test]
fn an_advisor_without_fast_mode_ran_at_the_ordinary_speed() {
    let usage = Usage {
        speed: Speed::Fast,
        iterations: vec![
            entry(IterationKind::Message, None, tokens(1_000, 0)),
            entry(IterationKind::AdvisorMessage, Some("claude-haiku-4-5"), tokens(1_000, 0)),
        ],
        ..totals(tokens(1_000, 0))
    };
    assert_eq!(of(&usage, served("claude-opus-5-5")), Ok(usd("0.009")));
    let served_without = of(&usage, served("claude-sonnet-5-5"));
    assert_eq!(served_without, Err(Unpriced::NoFastPrice("claude-sonnet-5-5".into())));
}

#[test]
fn unknown_is_never_free() {
    let context = CostContext { served_model: "claude-nine", ..served("claude-sonnet-5-5") };
    let usage = totals(tokens(1_000, 1_000));
    assert_eq!(of(&usage, context), Err(Unpriced::UnknownModel("claude-nine".into())));
    let dearest = dearest_cost(&usage, context, &PriceBook::builtin()).unwrap();
    assert_eq!(dearest.money, usd("0.06"), "Fable 5");
    let nameless = Usage {
        iterations: vec![entry(IterationKind::AdvisorMessage, None, tokens(1, 1))],
        ..usage.clone()
    };
    assert!(of(&nameless, served("claude-sonnet-5-5")).is_err());
    let strange =
        Usage { iterations: vec![entry(IterationKind::Unknown, None, tokens(1_000, 0))], ..usage };
    let strange = Usage { totals: Tokens::default(), ..strange };
    let context = CostContext { served_model: "claude-haiku-4-5", ..served("claude-opus-5") };
    assert_eq!(of(&strange, context), Ok(usd("0.005")), "the dearer of both");
    let left_out = Usage { totals: tokens(1_000, 1_000), ..strange };
    assert_eq!(of(&left_out, context), Ok(usd("0.006")), "what the list leaves out is not free");
    let absurd = totals(tokens(u64::MAX, u64::MAX));
    assert_eq!(of(&absurd, served("claude-opus-5")), Err(Unpriced::Overflow));
    assert_eq!(dearest_cost(&absurd, context, &PriceBook::builtin()), None);
}

fn broken_off(metered: &Metered, context: CostContext<'_>) -> Money {
    estimate(metered, context, 4_096, usd("1"), &PriceBook::builtin()).money
}

#[test]
fn a_broken_answer_is_estimated_from_above() {
    let begun = Metered { usage: Some(totals(tokens(1_000, 3))), ..Metered::default() };
    let context = CostContext { stop_reason: None, ..served("claude-sonnet-5-5") };
    assert_eq!(broken_off(&begun, context), usd("0.00203"), "as metered");
    let delivered = Metered { delivered_chars: 1_001, ..begun.clone() };
    assert_eq!(broken_off(&delivered, context), usd("0.00601"), "401 tokens of 2.5 characters");
    // A thousand characters of Chinese: three bytes each, and more tokens than characters.
    let wide = Metered { delivered_chars: 1_000, delivered_wide_bytes: 3_000, ..begun.clone() };
    assert_eq!(broken_off(&wide, context), usd("0.036"), "3,400 tokens");
    let wider = Metered { delivered_wide_bytes: 30_000, ..wide };
    assert_eq!(broken_off(&wider, context), usd("0.04296"), "never more than max_tokens");
    let thinking = Metered { thinking_seen: true, ..delivered };
    assert_eq!(broken_off(&thinking, context), usd("0.04296"), "max_tokens");
    let nothing = Metered { usage: None, ..begun.clone() };
    assert_eq!(broken_off(&nothing, context), usd("1"), "the whole reservation");
    let unknown = CostContext { served_model: "claude-nine", ..context };
    assert_eq!(broken_off(&begun, unknown), usd("0.01015"), "at the dearest prices");
    let absurd = Metered { usage: Some(totals(tokens(u64::MAX, 3))), ..begun };
    assert_eq!(broken_off(&absurd, context), usd("1"));
}

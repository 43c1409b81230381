use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::usage::{Iteration, IterationKind, Speed, Tokens};

/// A stream of these events, each named after its `type`.
fn stream(events: &[Value]) -> String {
    events
        .iter()
        .map(|event| format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap_or("")))
        .collect()
}

fn start(usage: Value) -> Value {
    json!({"type": "message_start", "message": {"id": "msg_1", "type": "message",
        "role": "assistant", "model": "claude-opus-5-5", "content": [], "stop_reason": null,
        "usage": usage}})
}

fn delta(usage: Value) -> Value {
    json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": usage})
}

fn stop() -> Value {
    json!({"type": "message_stop"})
}

fn say(delta: Value) -> Value {
    json!({"type": "content_block_delta", "index": 0, "delta": delta})
}

fn meter_text(text: &str) -> Metered {
    let mut meter = Meter::for_stream();
    meter.push(text.as_bytes());
    meter.finish()
}

fn meter(events: &[Value]) -> Metered {
    meter_text(&stream(events))
}

fn meter_json(body: &Value) -> Metered {
    let mut meter = Meter::for_json(1 << 20);
    meter.push(body.to_string().as_bytes());
    meter.finish()
}

fn message(usage: Value) -> Value {
    json!({"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-opus-5-5",
        "content": [{"type": "text", "text": "Oak"}], "stop_reason": "end_turn", "usage": usage})
}

fn final_tokens(metered: &Metered) -> Tokens {
    assert!(metered.is_final, "{metered:?}");
    metered.usage.as_ref().unwrap().totals
}

#[test]
fn a_plain_stream() {
    let metered = meter(&[
        start(json!({"input_tokens": 88, "cache_creation_input_tokens": 0,
            "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
            "cache_read_input_tokens": 2048, "output_tokens": 3, "service_tier": "standard",
            "inference_geo": "global"})),
        json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
        json!({"type": "ping"}),
        say(json!({"type": "text_delta", "text": "Route: Zürich \u{1f600}"})),
        json!({"type": "content_block_stop", "index": 0}),
        delta(json!({"output_tokens": 9})),
        stop(),
    ]);
    assert_eq!(
        metered,
        Metered {
            usage: Some(Usage {
                totals: Tokens { input: 88, cache_read: 2048, output: 9, ..Tokens::default() },
                service_tier: Some("standard".to_owned()),
                ..Usage::default()
            }),
            is_final: true,
            served_model: Some("claude-opus-5-5".to_owned()),
            message_id: Some("msg_1".to_owned()),
            stop_reason: Some("end_turn".to_owned()),
            delivered_chars: 15,
            delivered_wide_bytes: 6,
            blocks: 1,
            ..Metered::default()
        }
    );
}

#[test]
fn a_whole_message_in_json() {
    let mut body = message(json!({"input_tokens": 41, "cache_creation_input_tokens": 1200,
        "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 1200},
        "cache_read_input_tokens": 8600, "output_tokens": 233,
        "output_tokens_details": {"thinking_tokens": 190},
        "server_tool_use": {"web_search_requests": 2, "web_fetch_requests": 1},
        "service_tier": "standard", "inference_geo": "us", "speed": "fast"}));
    body["content"] = json!([
        {"type": "thinking", "thinking": "Hm", "signature": "xxxx"},
        {"type": "text", "text": "Ok…"},
        {"type": "tool_use", "id": "t", "name": "n", "input": {"a": 1}},
        {"type": "web_search_tool_result", "content": [{"type": "web_search_result"}]},
    ]);
    let metered = meter_json(&body);
    let usage = metered.usage.clone().unwrap();
    assert!(metered.is_final);
    let mut unread = body.clone();
    unread["usage"] = json!(null);
    let unread = meter_json(&unread);
    assert!(!unread.is_final && unread.thinking_seen, "what was delivered says something then");
    assert_eq!(unread.delivered_chars, 2 + 3 + 7);
    assert_eq!(
        usage,
        Usage {
            totals: Tokens {
                input: 41,
                cache_write_1h: 1200,
                cache_read: 8600,
                output: 233,
                ..Tokens::default()
            },
            web_searches: 2,
            web_fetches: 1,
            speed: Speed::Fast,
            us_only: true,
            service_tier: Some("standard".to_owned()),
            ..Usage::default()
        }
    );
}

/// Bifrost #3451 and #5354, agentgateway #2977, agent-framework #7143.
#[test]
fn trap_the_final_delta_replaces_and_is_never_added() {
    let metered = meter(&[
        start(json!({"input_tokens": 100, "output_tokens": 5, "cache_read_input_tokens": 40})),
        delta(json!({"output_tokens": 70})),
        delta(json!({"output_tokens": 90, "input_tokens": 100, "cache_read_input_tokens": 40})),
        stop(),
    ]);
    let expected = Tokens { input: 100, cache_read: 40, output: 90, ..Tokens::default() };
    assert_eq!(final_tokens(&metered), expected);
}

#[test]
fn trap_cache_reads_may_come_only_at_the_end() {
    let metered = meter(&[
        start(json!({"input_tokens": 10, "output_tokens": 1, "cache_read_input_tokens": null})),
        delta(json!({"output_tokens": 2, "cache_read_input_tokens": 9_000})),
        stop(),
    ]);
    assert_eq!(final_tokens(&metered).cache_read, 9_000);
}

/// The documented web-search sample: billing from `message_start` alone misses three quarters.
#[test]
fn trap_input_grows_with_server_tools() {
    let metered = meter(&[
        start(json!({"input_tokens": 2679, "output_tokens": 3})),
        delta(json!({"input_tokens": 10_682, "output_tokens": 510,
            "server_tool_use": {"web_search_requests": 1}})),
        stop(),
    ]);
    assert_eq!((final_tokens(&metered).input, metered.usage.unwrap().web_searches), (10_682, 1));
}

/// LiteLLM #42663: 20 to 60 % under-billed.
#[test]
fn trap_cache_writes_beyond_the_split_are_five_minute_writes() {
    let begin = |five_minutes: u64, hour: u64| {
        start(json!({"input_tokens": 1, "output_tokens": 1,
            "cache_creation_input_tokens": five_minutes + hour,
            "cache_creation": {"ephemeral_5m_input_tokens": five_minutes, "ephemeral_1h_input_tokens": hour}}))
    };
    for (five_minutes, hour, total, expected) in [
        (0, 1_200, 5_000, 3_800),
        (300, 1_200, 5_000, 3_800),
        (300, 0, 5_000, 5_000),
        (300, 1_200, 1_500, 300),
    ] {
        let last = delta(json!({"output_tokens": 9, "cache_creation_input_tokens": total}));
        let tokens = final_tokens(&meter(&[begin(five_minutes, hour), last, stop()]));
        assert_eq!((tokens.cache_write_5m, tokens.cache_write_1h), (expected, hour));
    }
    // A total that says less than the split does not make it cheaper.
    let less = delta(json!({"output_tokens": 9, "cache_creation_input_tokens": 0}));
    let tokens = final_tokens(&meter(&[begin(300, 1_200), less, stop()]));
    assert_eq!((tokens.cache_write_5m, tokens.cache_write_1h), (300, 1_200));
    // Without a split they are five-minute writes.
    let tokens = final_tokens(&meter_json(&message(
        json!({"input_tokens": 1, "output_tokens": 1, "cache_creation_input_tokens": 70}),
    )));
    assert_eq!((tokens.cache_write_5m, tokens.cache_write_1h), (70, 0));
}

#[test]
fn trap_server_tools_have_counters_of_their_own() {
    let metered = meter(&[
        start(json!({"input_tokens": 1, "output_tokens": 1,
            "server_tool_use": {"web_search_requests": 1, "web_fetch_requests": 4}})),
        delta(
            json!({"output_tokens": 5, "server_tool_use": {"web_search_requests": 3, "web_fetch_requests": null, "code_execution_requests": 2}}),
        ),
        stop(),
    ]);
    let usage = metered.usage.unwrap();
    assert_eq!((usage.web_searches, usage.web_fetches), (3, 4));
}

/// llmgateway #3264, Otari #256: another vendor's words must not read as a usage of zero.
#[test]
fn trap_another_dialect_is_no_usage_of_zero() {
    let foreign = json!({"prompt_tokens": 500, "completion_tokens": 20, "total_tokens": 520});
    let metered = meter_json(&message(foreign.clone()));
    assert_eq!((metered.usage, metered.is_final), (None, false));
    let metered = meter(&[start(foreign.clone()), delta(foreign.clone()), stop()]);
    assert_eq!((metered.usage, metered.is_final), (None, false));
    let begun = start(json!({"input_tokens": 1, "output_tokens": 1}));
    assert!(!meter(&[begun, delta(foreign), stop()]).is_final);
    let openai = "data: {\"choices\":[{\"delta\":{\"content\":\"hi\"}}]}\n\ndata: [DONE]\n\n";
    assert_eq!(meter_text(openai), Metered::default());
}

/// Bifrost #3357: cancels and timeouts hid a quarter of a month.
#[test]
fn trap_what_broke_off_was_billed_all_the_same() {
    let metered = meter(&[
        start(json!({"input_tokens": 700, "output_tokens": 2, "cache_read_input_tokens": 9})),
        say(json!({"type": "text_delta", "text": "twelve chars"})),
    ]);
    assert_eq!(
        metered.usage.unwrap().totals,
        Tokens { input: 700, cache_read: 9, output: 2, ..Tokens::default() }
    );
    assert_eq!((metered.is_final, metered.delivered_chars), (false, 12));
}

#[test]
fn only_a_whole_stream_is_final() {
    let begin = start(json!({"input_tokens": 1, "output_tokens": 1}));
    let end = delta(json!({"output_tokens": 5}));
    let whole = [begin.clone(), end.clone(), stop()];
    assert!(meter(&whole).is_final);
    for (events, why) in [
        (vec![begin.clone(), end.clone()], "no message_stop"),
        (vec![begin.clone(), stop()], "no message_delta"),
        (vec![end.clone(), stop()], "no message_start"),
        (vec![begin.clone(), json!({"type": "message_delta", "delta": {}}), stop()], "no usage"),
        (vec![begin.clone(), delta(json!({"input_tokens": 5})), stop()], "no output_tokens"),
        (
            vec![begin.clone(), delta(json!({"output_tokens": -5})), end.clone(), stop()],
            "unreadable",
        ),
        (vec![start(json!(null)), end.clone(), stop()], "null at the start"),
        (vec![begin.clone(), json!({"type": "error", "error": {}}), end.clone(), stop()], "error"),
    ] {
        assert!(!meter(&events).is_final, "{why}");
    }
    // The empty line after the last event is missing: it is none.
    let text = stream(&whole);
    assert!(!meter_text(&text[..text.len() - 1]).is_final);
    // An event that carries numbers and is too long to read.
    let long = json!({"type": "message_delta", "usage": {"output_tokens": 9}, "x": "y".repeat(EVENT_BYTES_MAX)});
    assert!(!meter(&[begin.clone(), long, end.clone(), stop()]).is_final);
    // What has no numbers may be as long as it likes.
    let long =
        json!({"type": "content_block_start", "content_block": {"x": "y".repeat(EVENT_BYTES_MAX)}});
    let metered = meter(&[begin, long, end, stop()]);
    assert_eq!((metered.is_final, metered.delivered_chars), (true, 0));
}

#[test]
fn nulls_and_the_unknown_are_tolerated() {
    let nulls = json!({"input_tokens": null, "cache_creation_input_tokens": null,
        "cache_read_input_tokens": null, "cache_creation": null, "server_tool_use": null,
        "iterations": null, "service_tier": null, "speed": null, "inference_geo": null,
        "output_tokens": 6, "novel": {"deep": [1]}});
    let metered = meter(&[
        json!({"type": "novel_event", "usage": {"input_tokens": 1_000_000}}),
        start(
            json!({"input_tokens": 4, "output_tokens": 1, "cache_read_input_tokens": 8, "speed": "fast"}),
        ),
        json!({"type": "content_block_start", "index": 0, "content_block": {"type": "novel", "text": 5, "to": 1}}),
        say(json!({"type": "novel_delta", "novel": 1})),
        delta(nulls),
        stop(),
    ]);
    assert_eq!(
        final_tokens(&metered),
        Tokens { input: 4, cache_read: 8, output: 6, ..Tokens::default() }
    );
    assert_eq!(metered.usage.unwrap().speed, Speed::Fast);

    let mut body = message(json!({"input_tokens": 4, "output_tokens": 6, "cache_creation": null}));
    body["content"] = json!([{"type": "novel", "text": {"not": "a text"}}]);
    assert_eq!(final_tokens(&meter_json(&body)).output, 6);
}

#[test]
fn an_unknown_speed_is_not_the_cheap_one() {
    for (speed, expected) in
        [("standard", Speed::Standard), ("fast", Speed::Fast), ("ludicrous", Speed::Fast)]
    {
        let usage = json!({"input_tokens": 1, "output_tokens": 1, "speed": speed});
        assert_eq!(meter_json(&message(usage)).usage.unwrap().speed, expected);
    }
}

#[test]
fn iterations_come_from_the_last_delta() {
    let entry = |kind: &str, input: u64| {
        json!({"type": kind, "input_tokens": input, "output_tokens": 2,
        "cache_creation_input_tokens": 9, "cache_read_input_tokens": 4,
        "cache_creation": {"ephemeral_1h_input_tokens": 5}})
    };
    let mut advisor = entry("advisor_message", 3);
    advisor["model"] = json!("claude-fable-5-2");
    let metered = meter(&[
        start(json!({"input_tokens": 1, "output_tokens": 1})),
        delta(json!({"output_tokens": 2, "iterations": [entry("message", 1)]})),
        delta(
            json!({"output_tokens": 3, "iterations": [entry("compaction", 1), entry("message", 2), advisor, entry("novel", 4)]}),
        ),
        stop(),
    ]);
    let iteration = |kind, input, model: Option<&str>| Iteration {
        kind,
        model: model.map(str::to_owned),
        tokens: Tokens { input, output: 2, cache_write_5m: 4, cache_write_1h: 5, cache_read: 4 },
    };
    assert_eq!(
        metered.usage.unwrap().iterations,
        [
            iteration(IterationKind::Compaction, 1, None),
            iteration(IterationKind::Message, 2, None),
            iteration(IterationKind::AdvisorMessage, 3, Some("claude-fable-5-2")),
            iteration(IterationKind::Unknown, 4, None),
        ]
    );
    assert_eq!(metered.served_model.as_deref(), Some("claude-opus-5-5"));
}

#[test]
fn the_served_model_follows_the_fallback() {
    let begin = start(json!({"input_tokens": 1, "output_tokens": 1}));
    let hop = json!({"type": "content_block_start", "index": 1, "content_block": {"type": "fallback",
        "from": {"model": "claude-opus-5-5"}, "to": {"model": "claude-sonnet-5-5"}}});
    let end = delta(json!({"output_tokens": 2}));
    let served = |events: &[Value]| meter(events).served_model.unwrap();
    assert_eq!(served(&[begin.clone(), hop.clone(), end, stop()]), "claude-sonnet-5-5");
    // The iterations have the last word.
    let usage = json!({"input_tokens": 1, "output_tokens": 2, "iterations": [
        {"type": "message", "input_tokens": 1, "output_tokens": 0},
        {"type": "fallback_message", "model": "claude-haiku-5-5", "input_tokens": 1, "output_tokens": 2}]});
    assert_eq!(served(&[begin, hop, delta(usage.clone()), stop()]), "claude-haiku-5-5");
    assert_eq!(meter_json(&message(usage)).served_model.unwrap(), "claude-haiku-5-5");
}

#[test]
fn delivered_characters_are_counted() {
    let metered = meter(&[
        start(json!({"input_tokens": 1, "output_tokens": 1})),
        json!({"type": "content_block_start", "index": 0, "content_block": {"type": "tool_use", "id": "t", "name": "n", "input": {}}}),
        say(json!({"type": "text_delta", "text": "né\n\"\u{1f600}"})),
        say(json!({"type": "input_json_delta", "partial_json": "{\"a\":"})),
        say(json!({"type": "input_json_delta", "partial_json": ""})),
        say(json!({"type": "signature_delta", "signature": "xxxxxxxx"})),
        say(json!({"type": "citations_delta", "citation": {"cited_text": "xxxx"}})),
        say(json!({"type": "compaction_delta", "content": "sum", "encrypted_content": "xxxx"})),
    ]);
    assert_eq!((metered.delivered_chars, metered.thinking_seen), (5 + 5 + 3, false));
    assert_eq!(metered.delivered_wide_bytes, 2 + 4);
    // A surrogate pair written as escapes is one character.
    let escaped = "event: content_block_delta\ndata: {\"delta\":{\"text\":\"\\ud83d\\ude00\"}}\n\n";
    assert_eq!(meter_text(escaped).delivered_chars, 1);
    // What cannot be read counts at its length, which is more.
    let broken = "event: content_block_delta\ndata: {\"delta\":{\"text\":\"\\ud83d\"}}\n\n";
    assert_eq!(meter_text(broken).delivered_chars, 27);
}

#[test]
fn hidden_thinking_is_noticed() {
    let block = |kind: &str| json!({"type": "content_block_start", "index": 0, "content_block": {"type": kind, "thinking": ""}});
    assert!(meter(&[block("thinking")]).thinking_seen);
    assert!(meter(&[block("redacted_thinking")]).thinking_seen);
    assert!(!meter(&[block("text")]).thinking_seen);
    let metered = meter(&[say(
        json!({"type": "thinking_delta", "thinking": "hm", "estimated_tokens": null}),
    )]);
    assert_eq!((metered.thinking_seen, metered.delivered_chars), (true, 2));
}

#[test]
fn refusals_and_errors() {
    let mut refusal = delta(json!({"output_tokens": 0}));
    refusal["delta"] = json!({"stop_reason": "refusal", "stop_details": {"type": "refusal"}});
    let metered = meter(&[start(json!({"input_tokens": 1, "output_tokens": 1})), refusal, stop()]);
    assert_eq!((metered.stop_reason.as_deref(), metered.is_final), (Some("refusal"), true));

    let error = json!({"type": "error", "error": {"type": "overloaded_error", "message": "m"}, "request_id": "req_1"});
    let metered = meter(&[start(json!({"input_tokens": 6, "output_tokens": 1})), error.clone()]);
    assert_eq!(metered.error_type.as_deref(), Some("overloaded_error"));
    assert_eq!((metered.usage.unwrap().totals.input, metered.is_final), (6, false));
    let metered = meter_json(&error);
    assert_eq!(metered.error_type.as_deref(), Some("overloaded_error"));
    assert_eq!((metered.usage, metered.is_final), (None, false));
    assert_eq!(meter_json(&json!({"error": {}})).error_type.as_deref(), Some("unknown"));
}

#[test]
fn counted_tokens_are_read() {
    let metered = meter_json(&json!({"input_tokens": 2_095, "context_management": null}));
    assert_eq!(metered, Metered { counted_tokens: Some(2_095), ..Metered::default() });
}

#[test]
fn a_json_answer_that_cannot_be_read_yields_nothing() {
    let whole = message(json!({"input_tokens": 4, "output_tokens": 6})).to_string();
    for body in ["", "<html>", "[]", "null", &whole[..whole.len() - 1], &format!("{whole}x")] {
        let mut meter = Meter::for_json(1_000);
        meter.push(body.as_bytes());
        assert!(!meter.saw_end());
        assert_eq!(meter.finish(), Metered::default(), "{body}");
    }
    for (max, read) in [(whole.len(), true), (whole.len() - 1, false)] {
        let mut meter = Meter::for_json(max);
        whole.as_bytes().chunks(7).for_each(|piece| meter.push(piece));
        // Once too long it stays unread, also when what follows would fit.
        assert_eq!(meter.finish().is_final, read);
    }
}

#[test]
fn the_end_is_seen_once_and_nothing_after_it() {
    let mut meter = Meter::for_stream();
    let events =
        [start(json!({"input_tokens": 4, "output_tokens": 1})), delta(json!({"output_tokens": 6}))];
    meter.push(stream(&events).as_bytes());
    assert!(!meter.saw_end());
    meter.push(b"event: message_stop\ndata: {}\n");
    assert!(!meter.saw_end());
    meter.push(b"\n");
    assert!(meter.saw_end());
    meter.push(stream(&events[..1]).as_bytes());
    assert_eq!(final_tokens(&meter.finish()).output, 6);

    let mut meter = Meter::for_stream();
    meter.push(stream(&[json!({"type": "error", "error": {"type": "api_error"}})]).as_bytes());
    assert!(meter.saw_end());
}

#[test]
fn an_event_without_a_name_goes_by_its_type() {
    let events = [
        start(json!({"input_tokens": 4, "output_tokens": 1})),
        delta(json!({"output_tokens": 6})),
        stop(),
    ];
    let nameless: String = events.iter().map(|event| format!("data: {event}\r\n\r\n")).collect();
    assert_eq!(meter_text(&nameless), meter(&events));
}

#[test]
fn what_passes_through_is_not_shown() {
    for mut meter in [Meter::for_stream(), Meter::for_json(1_000)] {
        meter.push(b"data: hush");
        let shown = format!("{meter:?}");
        assert!(!shown.contains("hush") && !shown.contains("104"), "{shown}");
    }
}

/// Streams made of the events there are, whole and damaged, in any order.
fn streams() -> impl Strategy<Value = Vec<u8>> {
    let number = 0..5_000_u64;
    let usage = (
        number.clone(),
        number.clone(),
        prop::option::of(number.clone()),
        prop::option::of(number),
    )
        .prop_map(|(input, output, written, read)| {
            json!({"input_tokens": input, "output_tokens": output,
                "cache_creation_input_tokens": written, "cache_read_input_tokens": read,
                "cache_creation": {"ephemeral_1h_input_tokens": read}})
        });
    let event = prop_oneof![
        usage.clone().prop_map(start),
        usage.prop_map(delta),
        any::<String>().prop_map(|text| say(json!({"type": "text_delta", "text": text}))),
        any::<String>().prop_map(|text| say(json!({"type": "thinking_delta", "thinking": text}))),
        Just(stop()),
        Just(json!({"type": "ping"})),
        Just(
            json!({"type": "content_block_start", "content_block": {"type": "fallback", "to": {"model": "m"}}})
        ),
        Just(json!({"type": "novel", "x": "y".repeat(40)})),
    ];
    let piece = prop_oneof![
        9 => event.prop_map(|event| stream(&[event]).into_bytes()),
        1 => prop::collection::vec(any::<u8>(), 0..20),
        1 => Just(b": comment\r\n\r\n".to_vec()),
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn any_split_gives_the_same_metered(
        stream in streams(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
    ) {
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
        cuts.extend([0, stream.len()]);
        cuts.sort_unstable();
        let (mut whole, mut pieces) = (Meter::for_stream(), Meter::for_stream());
        whole.push(&stream);
        cuts.windows(2).for_each(|pair| pieces.push(&stream[pair[0]..pair[1]]));
        prop_assert_eq!(whole.saw_end(), pieces.saw_end());
        prop_assert_eq!(whole.finish(), pieces.finish());
    }

    #[test]
    fn any_bytes_end_in_an_answer(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        for mut meter in [Meter::for_stream(), Meter::for_json(300)] {
            meter.push(&bytes);
            prop_assert!(!meter.finish().is_final);
        }
    }

    #[test]
    fn stream_and_json_agree(
        numbers in prop::array::uniform5(0..10_000_u64),
        searches in 0..9_u64,
        text in any::<String>(),
    ) {
        let [input, output, five_minutes, hour, read] = numbers;
        let whole = json!({"input_tokens": input, "output_tokens": output,
            "cache_creation_input_tokens": five_minutes + hour, "cache_read_input_tokens": read,
            "cache_creation": {"ephemeral_5m_input_tokens": five_minutes, "ephemeral_1h_input_tokens": hour},
            "server_tool_use": {"web_search_requests": searches}, "service_tier": "standard"});
        let mut early = whole.clone();
        early["output_tokens"] = json!(1);
        early["input_tokens"] = json!(0);
        early["server_tool_use"] = json!(null);
        let last = json!({"input_tokens": input, "output_tokens": output,
            "server_tool_use": {"web_search_requests": searches}});
        let streamed = meter(&[start(early), say(json!({"text": text})), delta(last), stop()]);
        let mut body = message(whole);
        body["content"] = json!([{"type": "text", "text": text}]);
        // What was delivered is not looked at where the numbers are there.
        let streamed = Metered { delivered_chars: 0, delivered_wide_bytes: 0, ..streamed };
        prop_assert_eq!(streamed, meter_json(&body));
        body["usage"] = json!(null);
        let unread = meter_json(&body);
        prop_assert_eq!(unread.delivered_chars, text.chars().count() as u64);
    }
}

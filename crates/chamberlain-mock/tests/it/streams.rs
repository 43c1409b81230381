//! Server-sent events: order, content, numbers.

use serde_json::{Value, json};

use crate::client::*;

/// The content that the deltas of a stream add up to.
fn assembled(events: &[Value]) -> Vec<Value> {
    let mut blocks: Vec<Value> = Vec::new();
    let mut input = String::new();
    for event in events {
        let block = event["index"].as_u64().map(|index| index as usize);
        match event["type"].as_str().unwrap() {
            "content_block_start" => {
                assert_eq!(block, Some(blocks.len()));
                blocks.push(event["content_block"].clone());
                input.clear();
            }
            "content_block_delta" => {
                let delta = &event["delta"];
                let block = &mut blocks[block.unwrap()];
                let mut add = |field: &str, from: &str| {
                    let sum = format!(
                        "{}{}",
                        block[field].as_str().unwrap(),
                        delta[from].as_str().unwrap()
                    );
                    block[field] = json!(sum);
                };
                match delta["type"].as_str().unwrap() {
                    "text_delta" => add("text", "text"),
                    "thinking_delta" => add("thinking", "thinking"),
                    "signature_delta" => add("signature", "signature"),
                    "compaction_delta" => add("content", "content"),
                    "input_json_delta" => input.push_str(delta["partial_json"].as_str().unwrap()),
                    other => panic!("an unknown delta {other}"),
                }
            }
            "content_block_stop" if !input.is_empty() => {
                assert_eq!(blocks[block.unwrap()]["input"], json!({}), "tools start empty");
                blocks[block.unwrap()]["input"] = serde_json::from_str(&input).unwrap();
            }
            _ => {}
        }
    }
    blocks
}

#[tokio::test]
async fn events_come_in_order() {
    let mock = start().await;
    let answer = stream(&mock, &ask("[[mock: text=\"eight by\"]]")).await;
    assert_eq!(answer.header("content-type"), "text/event-stream; charset=utf-8");
    assert_eq!(
        answer.event_names(),
        [
            "message_start",
            "content_block_start",
            "ping",
            "content_block_delta",
            "content_block_stop",
            "message_delta",
            "message_stop"
        ]
    );
    assert!(answer.complete);
    let events = answer.events();
    let start = &events[0]["message"];
    assert_eq!((&start["content"], &start["stop_reason"]), (&json!([]), &Value::Null));
    assert!(start["usage"]["cache_creation"].is_object());
    let end = &events[5];
    assert_eq!(end["delta"]["stop_reason"], "end_turn");
    assert_eq!(end["usage"]["output_tokens"], 2);
    for missing in ["cache_creation", "service_tier", "inference_geo", "speed"] {
        assert!(end["usage"].get(missing).is_none(), "message_delta must not tell {missing}");
    }
}

#[tokio::test]
async fn a_stream_adds_up_to_the_whole_answer() {
    let mock = start().await;
    let tools = json!({"tools": [{"name": "t", "input_schema": {"type": "object", "properties": {
        "city": {"type": "string"}, "days": {"type": "array", "items": {"type": "integer"}}}}}]});
    for (words, more) in [
        ("", json!({})),
        ("output_tokens=100 chunk=1", json!({})),
        ("text=\"日本語 Grüße 🍳\" split=1", json!({})),
        ("tool text=hello", tools),
        ("thinking=30", json!({"thinking": {"type": "adaptive"}})),
        ("thinking=30", json!({"thinking": {"type": "adaptive", "display": "omitted"}})),
        ("server_tool searches=2", json!({})),
        ("iterations=compaction", json!({})),
        ("iterations=advisor", json!({})),
        ("iterations=fallback_served after=9", json!({})),
        ("refusal", json!({})),
        ("refusal=mid after=9", json!({})),
        ("", json!({"max_tokens": 0})),
        ("stop_reason=pause_turn", json!({})),
    ] {
        let body = with(ask(&format!("[[mock: fixed_ids {words}]]")), more);
        let answer = stream(&mock, &body).await;
        let events = answer.events();
        let mut whole = message(&mock, &body).await;
        // Identifiers made from the request differ with `stream`.
        let mut assembled = json!(assembled(&events));
        for content in [&mut assembled, &mut whole["content"]] {
            for block in content.as_array_mut().unwrap() {
                for name in ["id", "tool_use_id", "signature"] {
                    if block[name].is_string() {
                        block[name] = json!("any");
                    }
                }
                block.as_object_mut().unwrap().retain(|_, value| !value.is_null());
            }
        }
        assert_eq!(assembled, whole["content"], "{words}");
        let end = events.iter().find(|event| event["type"] == "message_delta").unwrap();
        assert_eq!(end["delta"]["stop_reason"], whole["stop_reason"], "{words}");
        for name in ["input_tokens", "output_tokens", "cache_creation_input_tokens", "iterations"] {
            assert_eq!(end["usage"].get(name), whole["usage"].get(name), "{words}: {name}");
        }
    }
}

#[tokio::test]
async fn every_event_leaves_on_its_own() {
    let mock = start().await;
    let answer = stream(&mock, &ask("[[mock: output_tokens=40]]")).await;
    assert_eq!(answer.frames.len(), answer.events().len());
}

#[tokio::test]
async fn bytes_may_be_split_anywhere() {
    let mock = start().await;
    let answer = stream(&mock, &ask("[[mock: text=\"日🍳\" split=1]]")).await;
    assert!(answer.frames.iter().all(|frame| frame.len() == 1));
    assert!(answer.text().contains("日🍳"));
    let whole = post(&mock, "/v1/messages", &ask("[[mock: text=\"日🍳\" split=1]]")).await;
    assert_eq!(whole.json()["content"][0]["text"], "日🍳");
    assert!(whole.headers.contains_key("content-length"));
}

#[tokio::test]
async fn a_stream_breaks_where_it_was_asked_to() {
    let mock = start().await;
    let start = ["message_start"];
    let two = [
        "message_start",
        "content_block_start",
        "ping",
        "content_block_delta",
        "content_block_delta",
    ];
    for (at, before) in
        [("=headers", &[][..]), ("=start", &start), (" after=2", &two), ("=stop", &[])]
    {
        let text = "output_tokens=40";
        let cut = stream(&mock, &ask(&format!("[[mock: {text} cut{at}]]"))).await;
        assert_eq!((cut.status.as_u16(), cut.complete), (200, false), "cut{at}");
        let truncated = stream(&mock, &ask(&format!("[[mock: {text} truncate{at}]]"))).await;
        assert!(truncated.complete, "truncate{at}");
        let broken = stream(&mock, &ask(&format!("[[mock: {text} error_mid_stream{at}]]"))).await;
        assert!(broken.complete, "error_mid_stream{at}");
        let mut names = broken.event_names();
        assert_eq!(names.pop().as_deref(), Some("error"));
        assert_eq!(names, truncated.event_names());
        assert_eq!(names, cut.event_names());
        if at == "=stop" {
            assert_eq!(names.last().unwrap(), "message_delta");
        } else {
            assert_eq!(names, before, "{at}");
        }
        let error = broken.events().pop().unwrap();
        assert_eq!(error["error"]["type"], "overloaded_error");
        assert_eq!(error["request_id"], broken.header("request-id"));
    }
    let cut = post(&mock, "/v1/messages", &ask("[[mock: cut]]")).await;
    assert!(!cut.complete && !cut.bytes().is_empty(), "a JSON answer is cut in its middle");
    let healthy = post(&mock, "/v1/messages", &ask("[[mock: error_mid_stream]]")).await;
    assert_eq!(healthy.json()["stop_reason"], "end_turn", "JSON has no error events");
}

#[tokio::test]
async fn pings_and_lean_deltas_on_request() {
    let mock = start().await;
    let answer = stream(&mock, &ask("[[mock: output_tokens=12 chunk=4 pings lean_delta]]")).await;
    let pings = answer.event_names().iter().filter(|name| *name == "ping").count();
    assert_eq!(pings, 3, "one at the start, one between each two of three deltas");
    let end = answer.events().into_iter().find(|event| event["type"] == "message_delta").unwrap();
    assert_eq!(end["usage"], json!({"output_tokens": 12}));
}

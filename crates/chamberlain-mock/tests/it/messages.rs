//! Whole answers: shape, content, headers.

use chamberlain_mock::MockConfig;
use serde_json::{Value, json};

use crate::client::*;

#[tokio::test]
async fn a_message_has_every_field() {
    let mock = start().await;
    let answer = post(&mock, "/v1/messages?beta=true", &ask("hi")).await;
    assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, "application/json"));
    let message = answer.json();
    assert!(message["id"].as_str().unwrap().starts_with("msg_"));
    let text = message["content"][0]["text"].as_str().unwrap();
    let expected = json!({
        "id": message["id"],
        "type": "message",
        "role": "assistant",
        "model": "claude-sonnet-5-5",
        "content": [{"type": "text", "text": text}],
        "stop_reason": "end_turn",
        "stop_sequence": null,
        "stop_details": null,
        "container": null,
        "usage": {
            "input_tokens": 3 + 8 + 1,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
            "output_tokens": text.len().div_ceil(4),
            "service_tier": "standard",
            "inference_geo": "global",
            "speed": "standard",
        },
    });
    assert_eq!(message, expected);
}

#[tokio::test]
async fn every_answer_says_which_request_it_is_for() {
    let config = MockConfig { organization_id: "org-of-test".to_owned(), ..MockConfig::default() };
    let mock = start_with(config).await;
    let mut seen = Vec::new();
    for (path, status) in
        [("/v1/messages", 200), ("/v1/messages/count_tokens", 200), ("/nowhere", 404)]
    {
        let answer = post(&mock, path, &ask("hi")).await;
        assert_eq!(answer.status, status, "{path}");
        assert!(answer.header("request-id").starts_with("req_"));
        assert_eq!(answer.header("anthropic-organization-id"), "org-of-test");
        assert!(answer.header("anthropic-workspace-id").starts_with("wrkspc_"));
        seen.push(answer.header("request-id").to_owned());
    }
    seen.dedup();
    assert_eq!(seen.len(), 3);
}

#[tokio::test]
async fn rate_limit_headers_tell_what_was_asked_for() {
    let mock = start().await;
    let answer = post(&mock, "/v1/messages", &ask("hi")).await;
    for bucket in ["requests", "input-tokens", "output-tokens", "tokens"] {
        for part in ["limit", "remaining"] {
            let name = format!("anthropic-ratelimit-{bucket}-{part}");
            assert!(answer.header(&name).parse::<u64>().is_ok(), "{name}");
        }
        assert!(answer.header(&format!("anthropic-ratelimit-{bucket}-reset")).ends_with('Z'));
    }
    let answer =
        post(&mock, "/v1/messages", &ask("[[mock: ratelimit requests=0 input=7 reset=60]]")).await;
    assert_eq!(answer.header("anthropic-ratelimit-requests-remaining"), "0");
    assert_eq!(answer.header("anthropic-ratelimit-input-tokens-remaining"), "7");
}

#[tokio::test]
async fn equal_requests_get_equal_bytes_when_asked_to() {
    let mock = start().await;
    let body =
        with(ask("[[mock: fixed_ids]]"), json!({"tools": [{"name": "t", "input_schema": {}}]}));
    let first = post(&mock, "/v1/messages", &body).await;
    let second = post(&mock, "/v1/messages", &body).await;
    assert_eq!(first.bytes(), second.bytes());
    assert_eq!(first.header("request-id"), second.header("request-id"));
    let other = post(&mock, "/v1/messages", &ask("another [[mock: fixed_ids]]")).await;
    assert_ne!(first.header("request-id"), other.header("request-id"));
}

#[tokio::test]
async fn the_served_model_is_the_dated_one() {
    let mock = start().await;
    let alias = with(ask("hi"), json!({"model": "claude-haiku-4-5"}));
    assert_eq!(message(&mock, &alias).await["model"], "claude-haiku-4-5-20251001");
    let other = message(&mock, &ask("[[mock: model=claude-opus-5-5]]")).await;
    assert_eq!(other["model"], "claude-opus-5-5");
}

#[tokio::test]
async fn output_never_exceeds_max_tokens() {
    let mock = start().await;
    for (max_tokens, text, reason) in [
        (0, "hi", "max_tokens"),
        (1, "hi", "max_tokens"),
        (5, "[[mock: text=\"日本語日本語日本語日本語\"]]", "max_tokens"),
        (50, "[[mock: output_tokens=50]]", "end_turn"),
        (49, "[[mock: output_tokens=50]]", "max_tokens"),
        (5, "[[mock: tool]]", "max_tokens"),
        (200, "[[mock: text=\"\"]]", "end_turn"),
    ] {
        let body = with(
            ask(text),
            json!({"max_tokens": max_tokens, "tools": [{"name": "t", "input_schema": {}}]}),
        );
        let message = message(&mock, &body).await;
        let output = message["usage"]["output_tokens"].as_u64().unwrap();
        assert!(output <= max_tokens, "{output} > {max_tokens} for {text}");
        assert_eq!(output == 0, max_tokens == 0);
        assert_eq!(message["stop_reason"], reason, "{text} in {max_tokens}");
    }
}

#[tokio::test]
async fn an_answer_stops_at_a_stop_sequence_and_at_the_window() {
    let mock = start().await;
    let stops =
        with(ask("[[mock: text=\"one two three\"]]"), json!({"stop_sequences": ["three", " two"]}));
    let stopped = message(&mock, &stops).await;
    assert_eq!(stopped["content"][0]["text"], "one");
    assert_eq!(
        (&stopped["stop_reason"], &stopped["stop_sequence"]),
        (&json!("stop_sequence"), &json!(" two"))
    );

    let prompt = "x".repeat(4 * (200_000 - 3 - 8 - 10));
    let full = with(ask(&prompt), json!({"model": "claude-haiku-4-5", "max_tokens": 1000}));
    let message = message(&mock, &full).await;
    assert_eq!(message["usage"]["input_tokens"], 199_990);
    assert_eq!(message["stop_reason"], "model_context_window_exceeded");
    assert_eq!(message["usage"]["output_tokens"], 10);
}

fn weather() -> Value {
    json!({"tools": [
        {"type": "web_search_20250305", "name": "web_search"},
        {"name": "weather", "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}}},
        {"name": "clock", "input_schema": {"type": "object"}},
    ]})
}

#[tokio::test]
async fn tools_are_called_when_asked_for() {
    let mock = start().await;
    let calls = async |body: Value| {
        let message = message(&mock, &body).await;
        let tools = message["content"].as_array().unwrap().iter();
        let tools = tools.filter(|block| block["type"] == "tool_use");
        let names: Vec<String> = tools
            .map(|block| format!("{} {}", block["name"].as_str().unwrap(), block["input"]))
            .collect();
        assert_eq!(message["stop_reason"] == "tool_use", !names.is_empty());
        names
    };
    let none: [&str; 0] = [];
    assert_eq!(calls(with(ask("use weather"), weather())).await, none);
    assert_eq!(
        calls(with(ask("[[mock: tool]]"), weather())).await,
        [r#"weather {"city":"example"}"#]
    );
    assert_eq!(
        calls(with(ask("[[mock: tool=clock,weather]]"), weather())).await,
        ["clock {}", r#"weather {"city":"example"}"#]
    );
    assert_eq!(
        calls(with(ask(r#"[[mock: tool=clock tool_input="{\"a\":1}"]]"#), weather())).await,
        [r#"clock {"a":1}"#]
    );
    let forced = |choice: Value| {
        with(with(ask("hi"), weather()), json!({"model": "claude-opus-4-8", "tool_choice": choice}))
    };
    assert_eq!(calls(forced(json!({"type": "any"}))).await.len(), 1);
    assert_eq!(calls(forced(json!({"type": "tool", "name": "clock"}))).await, ["clock {}"]);
}

#[tokio::test]
async fn thinking_counts_and_its_signature_comes_back() {
    let mock = start().await;
    for (display, shown) in [("summarized", true), ("omitted", false)] {
        let thinking = json!({"thinking": {"type": "adaptive", "display": display}});
        let body = with(ask("[[mock: thinking=40 text=word]]"), thinking);
        let answer = message(&mock, &body).await;
        let block = &answer["content"][0];
        assert_eq!(block["type"], "thinking");
        assert_eq!(block["thinking"] != "", shown);
        assert_eq!(answer["usage"]["output_tokens"], 41);
        assert_eq!(answer["usage"]["output_tokens_details"]["thinking_tokens"], 40);

        let next = |blocks: &Value| {
            json!({"messages": [
                {"role": "user", "content": "a"},
                {"role": "assistant", "content": blocks},
                {"role": "user", "content": "b"}]})
        };
        message(&mock, &with(ask(""), next(&answer["content"]))).await;
        let mut forged = answer["content"].clone();
        forged[0]["signature"] = json!("made up");
        let refused = post(&mock, "/v1/messages", &with(ask(""), next(&forged))).await;
        assert_eq!(refused.status, 400);
        assert!(refused.error().1.contains("signature"));
    }
}

#[tokio::test]
async fn structured_output_fits_its_schema() {
    let mock = start().await;
    let schema = json!({"type": "object", "properties": {"n": {"type": "integer"}, "ok": {"type": "boolean"}}});
    let format = json!({"output_config": {"format": {"type": "json_schema", "schema": schema}}});
    let message = message(&mock, &with(ask("hi"), format)).await;
    let text = message["content"][0]["text"].as_str().unwrap();
    assert_eq!(serde_json::from_str::<Value>(text).unwrap(), json!({"n": 1, "ok": true}));
}

#[tokio::test]
async fn probes_and_preflights_are_answered() {
    let mock = start().await;
    for path in ["/", "/api/hello"] {
        let probe = http::Request::builder().method("HEAD").uri(path).header("host", "mock");
        let answer = send(&mock, whole(probe, "")).await;
        assert_eq!((answer.status.as_u16(), answer.bytes().len()), (200, 0), "{path}");
    }
    let preflight = http::Request::builder()
        .method("OPTIONS")
        .uri("/v1/messages")
        .header("host", "mock")
        .header("origin", "http://localhost")
        .header("access-control-request-headers", "authorization,anthropic-version");
    let answer = send(&mock, whole(preflight, "")).await;
    assert_eq!(answer.header("access-control-allow-origin"), "*");
    assert_eq!(answer.header("access-control-allow-headers"), "authorization,anthropic-version");
    let headers =
        [("origin", "http://localhost"), ("anthropic-dangerous-direct-browser-access", "true")];
    let answer = post_with(&mock, &ask("hi"), &headers).await;
    assert_eq!(answer.header("access-control-allow-origin"), "*");
}

#[tokio::test]
async fn a_tool_comes_and_goes_with_messages() {
    let mock = start().await;
    let definition = json!({ "name": "late", "input_schema": { "type": "object" } });
    let added = json!({ "type": "tool_addition", "tool": { "type": "tool_definition", "definition": definition } });
    let gone =
        json!({ "type": "tool_removal", "tool": { "type": "tool_reference", "name": "late" } });
    let mut body = ask("[[mock: tool=late]]");
    for (change, reason) in [(added, "tool_use"), (gone, "end_turn")] {
        let system = json!({ "role": "system", "content": [change] });
        body["messages"].as_array_mut().unwrap().push(system);
        assert_eq!(message(&mock, &body).await["stop_reason"], reason);
    }
}

#[tokio::test]
async fn a_prompt_tells_a_whole_loop_of_turns() {
    let mock = start().await;
    let prompt = "[[mock: text=one]] [[mock: turn=2 text=two]] [[mock: turn=3 text=three]]";
    let mut body = ask(prompt);
    for said in ["one", "two", "three"] {
        let answer = message(&mock, &body).await;
        assert_eq!(answer["content"][0]["text"], said);
        let messages = body["messages"].as_array_mut().unwrap();
        messages.push(json!({ "role": "assistant", "content": answer["content"] }));
        messages.push(json!({ "role": "user", "content": "go on" }));
    }
    let never = ask("[[mock: turn=0 text=x]]");
    assert_eq!(post(&mock, "/v1/messages", &never).await.status, 400);
    let refused = post_with(&mock, &ask("hi"), &[("x-mock-scenario", "turn=2 text=x")]).await;
    assert_eq!(refused.status, 400, "a header knows no turns");
}

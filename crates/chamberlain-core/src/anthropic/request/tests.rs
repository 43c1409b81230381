use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const LIMITS: InspectLimits = InspectLimits { depth_max: 64 };

fn read(body: &Value) -> Result<RequestFacts, MalformedRequest> {
    inspect(body.to_string().as_bytes(), LIMITS)
}

fn facts(body: &Value) -> RequestFacts {
    read(body).unwrap_or_else(|refused| panic!("{refused}: {body}"))
}

/// A small request with one more field.
fn with(field: &str, value: Value) -> Value {
    let mut body = json!({"model": "claude-haiku-5-5", "max_tokens": 8, "messages": []});
    body[field] = value;
    body
}

/// A small request whose only message holds these blocks.
fn saying(blocks: Value) -> Value {
    with("messages", json!([{"role": "user", "content": blocks}]))
}

fn refused_at(body: &Value) -> String {
    match read(body) {
        Err(MalformedRequest::Field { field, reason }) => {
            assert!(!reason.is_empty());
            field
        }
        other => panic!("{other:?}: {body}"),
    }
}

fn text_of(facts: &RequestFacts) -> String {
    serde_json::to_string(&facts.capabilities).unwrap()
}

#[test]
fn a_plain_request() {
    let body = json!({
        "model": "claude-sonnet-5-5", "max_tokens": 512, "stream": true,
        "system": "You label invoices.", "temperature": 1, "stop_sequences": ["x"],
        "messages": [{"role": "user", "content": "Label: 12 chairs, oak."}],
        "output_config": {"effort": "low"}, "metadata": {"user_id": "u-7f31"},
    });
    let bytes = body.to_string().len() as u64;
    assert_eq!(
        facts(&body),
        RequestFacts {
            model: "claude-sonnet-5-5".to_owned(),
            max_tokens: Some(512),
            stream: true,
            body_bytes: bytes,
            prompt_bytes: bytes,
            plain: true,
            end_user: Some("u-7f31".to_owned()),
            ..RequestFacts::default()
        }
    );
}

#[test]
fn what_claude_code_sends() {
    let seen = facts(&json!({
        "model": "claude-opus-5-5", "max_tokens": 128_000, "stream": true,
        "thinking": {"type": "adaptive", "display": "omitted"},
        "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
        "output_config": {"effort": "high"},
        "metadata": {"user_id": "{\"device_id\":\"d\",\"session_id\":\"s\"}"},
        "system": [
            {"type": "text", "text": "x-anthropic-billing-header: cc_version=2"},
            {"type": "text", "text": "You are…", "cache_control": {"type": "ephemeral", "scope": "global"}},
        ],
        "tools": [{"name": "Bash", "description": "Runs", "input_schema": {"type": "object",
            "properties": {"cache_control": {"type": "string"}, "source": {"type": "string"}}}}],
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "hi"}]},
            {"role": "assistant", "content": [
                {"type": "thinking", "thinking": "", "signature": "s"},
                {"type": "tool_use", "id": "t", "name": "Bash", "input": {"type": "image", "cache_control": 1}},
            ]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "ok"}]},
            {"role": "system", "content": "mind the time"},
        ],
    }));
    assert_eq!(text_of(&seen), r#"["tools","thinking","caching"]"#);
    assert_eq!(seen.cache_writes, CacheWrites::FiveMinutes);
    assert!(!seen.plain && !seen.prompt_is_elsewhere && !seen.compaction);
    assert_eq!(seen.unknown_fields, [""; 0]);
    assert_eq!(seen.prompt_bytes, seen.body_bytes);
}

#[test]
fn fields_that_money_reads_must_have_their_shape() {
    for (field, value) in [
        ("model", json!(null)),
        ("model", json!("")),
        ("model", json!(["claude-haiku-5-5"])),
        ("model", json!("x".repeat(257))),
        ("max_tokens", json!(-1)),
        ("max_tokens", json!(1.5)),
        ("max_tokens", json!("8")),
        ("stream", json!("true")),
        ("stream", json!(1)),
        ("messages", json!("hello")),
        ("tools", json!({"type": "web_search_20260318"})),
        ("thinking", json!("enabled")),
        ("output_config", json!([])),
        ("speed", json!("ludicrous")),
        ("speed", json!(2)),
        ("inference_geo", json!(true)),
        ("service_tier", json!(["auto"])),
        ("metadata", json!("u")),
        ("cache_control", json!("ephemeral")),
        ("container", json!(7)),
        ("mcp_servers", json!({})),
        ("fallbacks", json!("any")),
        ("fallbacks", json!({})),
        ("thread", json!("create")),
        ("thread", json!({})),
        ("context_management", json!([])),
    ] {
        assert_eq!(refused_at(&with(field, value.clone())), field, "{value}");
    }
    for (path, body) in [
        ("metadata.user_id", with("metadata", json!({"user_id": 4}))),
        ("cache_control.ttl", with("cache_control", json!({"type": "ephemeral", "ttl": "24h"}))),
        ("system.0.cache_control.ttl", with("system", json!([{"cache_control": {"ttl": 5}}]))),
        ("messages.0", with("messages", json!(["hello"]))),
        ("tools.0", with("tools", json!(["web_search"]))),
        ("tools.0.type", with("tools", json!([{"type": 1}]))),
        ("tools.1.max_uses", with("tools", json!([{}, {"type": "advisor_1", "max_uses": -3}]))),
        ("fallbacks.0", with("fallbacks", json!([{"max_tokens": 5}]))),
        ("fallbacks.0", with("fallbacks", json!(["m"]))),
        ("fallbacks.1.model", with("fallbacks", json!([{"model": "m"}, {"model": ""}]))),
        ("fallbacks.3", with("fallbacks", json!(vec![json!({"model": "m"}); 4]))),
        ("thread.type", with("thread", json!({"type": "fork"}))),
        ("context_management.edits", with("context_management", json!({"edits": 1}))),
        (
            "messages.0.content.0.content.1.cache_control",
            saying(json!([{"type": "tool_result", "content": [{}, {"cache_control": 1}]}])),
        ),
    ] {
        assert_eq!(refused_at(&body), path, "{body}");
    }
    assert_eq!(refused_at(&json!({"max_tokens": 1, "messages": []})), "model");
    assert_eq!(refused_at(&json!(["model"])), "the body");
    assert_eq!(refused_at(&json!("model")), "the body");
}

#[test]
fn optional_fields_may_be_null() {
    let mut body = with("stream", json!(null));
    for field in [
        "system",
        "tools",
        "thinking",
        "output_config",
        "output_format",
        "speed",
        "inference_geo",
        "service_tier",
        "metadata",
        "cache_control",
        "container",
        "context_management",
        "compaction",
        "mcp_servers",
        "fallbacks",
        "fallback_credit_token",
        "thread",
        "billing_policy",
        "tool_choice",
        "diagnostics",
    ] {
        body[field] = Value::Null;
    }
    let seen = facts(&body);
    assert_eq!(seen.capabilities, []);
    assert!(seen.plain && !seen.mcp && !seen.compaction);
    assert_eq!((seen.fallbacks, seen.thread), (Fallbacks::None, Thread::None));
}

#[test]
fn count_tokens_needs_no_max_tokens() {
    assert_eq!(facts(&json!({"model": "m", "messages": []})).max_tokens, None);
    assert_eq!(facts(&with("max_tokens", json!(0))).max_tokens, Some(0));
    assert_eq!(facts(&with("max_tokens", json!(u64::MAX))).max_tokens, Some(u64::MAX));
}

#[test]
fn unknown_fields_are_named() {
    let mut body = with("sampling_v9", json!({"cache_control": 1, "fallbacks": 2}));
    body["zeta"] = json!(null);
    let seen = facts(&body);
    assert_eq!(seen.unknown_fields, ["sampling_v9", "zeta"]);
    assert!(!seen.plain);
    for number in 0..500 {
        body[format!("{number}{}", "y".repeat(300))] = json!(0);
    }
    let seen = facts(&body);
    assert_eq!(seen.unknown_fields.len(), 32);
    assert!(seen.unknown_fields.iter().all(|name| name.len() < 100));
}

#[test]
fn image_payloads_are_no_text() {
    let payload = "QUJD".repeat(1_000);
    let image = json!({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": payload}});
    for body in [
        saying(json!([image])),
        saying(json!([{"type": "tool_result", "tool_use_id": "t", "content": [image]}])),
        saying(json!([{"type": "document", "source": {"type": "content", "content": [image]}}])),
    ] {
        let seen = facts(&body);
        assert_eq!(seen.images, 1, "{body}");
        assert_eq!(seen.body_bytes - seen.prompt_bytes, 4_000, "{body}");
        assert!(seen.capabilities.contains(&Capability::Images));
        assert!(!seen.prompt_is_elsewhere);
    }
    // Slashes may be escaped; what is taken off is never more than what stands there.
    let escaped = br#"{"model":"m","messages":[{"content":[{"source":{"data":"\/\/\/","type":"base64"},"type":"image"}]}]}"#;
    let seen = inspect(escaped, LIMITS).unwrap();
    assert_eq!(seen.body_bytes - seen.prompt_bytes, 3);
}

#[test]
fn only_images_and_documents_have_payloads() {
    let source = json!({"type": "base64", "media_type": "image/png", "data": "x".repeat(4_000)});
    for block in [
        json!({"type": "text", "text": "hi", "source": source}),
        json!({"type": "search_result", "source": source}),
        json!({"type": "tool_use", "input": {"type": "image", "source": source}}),
        json!({"type": "image", "source": {"type": "text", "data": "x".repeat(4_000)}}),
        json!({"type": "image", "data": "x".repeat(4_000), "source": {"type": "base64"}}),
        json!({"type": "redacted_thinking", "data": "x".repeat(4_000)}),
        json!({"type": "future_block", "source": source}),
        json!({"type": "mcp_tool_listing", "tools": [{"annotations": {"type": "image", "source": source}}]}),
        json!({"type": "fallback", "trigger": {"content": [{"type": "image", "source": source}]}}),
    ] {
        let seen = facts(&saying(json!([block])));
        assert_eq!(seen.prompt_bytes, seen.body_bytes, "{block}");
    }
    let outside = facts(&with("novel", json!([{"type": "image", "source": source}])));
    assert_eq!((outside.images, outside.prompt_bytes), (0, outside.body_bytes));
}

#[test]
fn documents_and_what_they_hide() {
    let pdf = json!({"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBE"}});
    let seen = facts(&saying(json!([pdf])));
    assert!(seen.prompt_is_elsewhere);
    assert_eq!(seen.body_bytes - seen.prompt_bytes, 4);
    assert_eq!(text_of(&seen), r#"["documents","long_context"]"#);

    let text = json!({"type": "document", "source": {"type": "text", "data": "A. B. C."}});
    let seen = facts(&saying(json!([text])));
    assert_eq!(seen.prompt_bytes, seen.body_bytes);
    assert_eq!(text_of(&seen), r#"["documents"]"#);
    assert!(!seen.prompt_is_elsewhere && seen.plain);

    // Cited text is cut into sentences that are numbered: more tokens than bytes, if they are short.
    let mut cited = text;
    cited["citations"] = json!({"enabled": true});
    let seen = facts(&saying(json!([cited])));
    assert_eq!(seen.prompt_bytes, seen.body_bytes + 3 * 8);
    cited["citations"] = json!({"enabled": false});
    let seen = facts(&saying(json!([cited])));
    assert_eq!(seen.prompt_bytes, seen.body_bytes);
}

#[test]
fn content_from_elsewhere_is_seen_wherever_it_hides() {
    for block in [
        json!({"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}}),
        json!({"type": "image", "source": {"type": "file", "file_id": "file_1"}}),
        json!({"type": "document", "source": {"type": "url", "url": "https://example.com/a.pdf"}}),
        json!({"type": "document", "source": {"type": "file", "file_id": "file_1"}}),
        json!({"type": "document", "source": {"type": "bucket"}}),
        json!({"type": "image"}),
        json!({"type": "container_upload", "file_id": "file_1"}),
        json!({"type": "tool_result", "content": [{"type": "image", "source": {"type": "url"}}]}),
        json!({"type": "tool_result", "content": [{"type": "remote_thing"}]}),
        json!({"type": "document", "source": {"type": "content", "content": [{"type": "remote_thing"}]}}),
        json!({"type": "web_fetch_tool_result", "content": {"type": "web_fetch_result",
            "content": {"type": "document", "source": {"type": "url"}}}}),
        json!({"type": "text", "text": "t", "later": {"deep": [{"type": "image", "source": {"type": "url"}}]}}),
        json!({"type": "remote_thing", "url": "https://example.com"}),
        json!({"no_type": 1}),
    ] {
        let seen = facts(&saying(json!([block])));
        assert!(seen.prompt_is_elsewhere, "{block}");
        assert!(seen.capabilities.contains(&Capability::ExternalContent), "{block}");
        assert!(seen.capabilities.contains(&Capability::LongContext), "{block}");
    }
    let system = facts(&with("system", json!([{"type": "image", "source": {"type": "url"}}])));
    assert!(system.prompt_is_elsewhere);
}

#[test]
fn what_comes_back_from_server_tools_is_known() {
    let seen = facts(&saying(json!([
        {"type": "text", "text": "x", "citations": [{"type": "web_search_result_location", "url": "u"}]},
        {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"query": "q"}},
        {"content": [{"type": "web_search_result", "encrypted_content": "e", "url": "u"}],
         "caller": {"type": "direct"}, "type": "web_search_tool_result"},
        {"type": "web_fetch_tool_result", "content": {"type": "web_fetch_tool_result_error"}},
        {"type": "code_execution_tool_result", "content": {"type": "code_execution_result",
            "content": [{"type": "code_execution_output", "file_id": "f"}]}},
        {"type": "fallback", "from": {"model": "a"}, "to": {"model": "b"}, "trigger": {"type": "refusal"}},
        {"type": "search_result", "source": "https://example.com", "title": "t", "content": [{"type": "text"}]},
    ])));
    assert!(!seen.prompt_is_elsewhere);
    assert_eq!(seen.capabilities, []);
    assert!(!seen.plain);
}

#[test]
fn cache_control_is_found_anywhere() {
    let hour = json!({"type": "ephemeral", "ttl": "1h"});
    for body in [
        with("cache_control", hour.clone()),
        with("system", json!([{"type": "text", "text": "s", "cache_control": hour}])),
        with("tools", json!([{"name": "t", "input_schema": {}, "cache_control": hour}])),
        with("tools", json!([{"type": "advisor_20260301", "caching": hour}])),
        saying(
            json!([{"type": "text", "cache_control": {"ttl": "5m"}}, {"type": "text", "cache_control": hour}]),
        ),
        saying(
            json!([{"type": "tool_result", "content": [{"type": "text", "cache_control": hour}]}]),
        ),
        saying(
            json!([{"type": "compaction", "tool_changes": [{"type": "tool_addition", "cache_control": hour}]}]),
        ),
    ] {
        let seen = facts(&body);
        assert_eq!(seen.cache_writes, CacheWrites::OneHour, "{body}");
        assert!(seen.capabilities.contains(&Capability::Caching));
    }
    for ttl in [json!({}), json!({"ttl": null}), json!({"ttl": "5m"})] {
        assert_eq!(facts(&with("cache_control", ttl)).cache_writes, CacheWrites::FiveMinutes);
    }
    let data = json!([{"type": "tool_use", "input": {"cache_control": {"ttl": "1h"}}}]);
    assert_eq!(facts(&saying(data)).cache_writes, CacheWrites::None);
}

#[test]
fn tools_are_told_apart_by_type() {
    for (tool, capability) in [
        (json!({"name": "f"}), Capability::Tools),
        (json!({"name": "f", "type": null}), Capability::Tools),
        (json!({"name": "f", "type": "custom"}), Capability::Tools),
        (json!({"type": "bash_20250124"}), Capability::Tools),
        (json!({"type": "text_editor_20250728"}), Capability::Tools),
        (json!({"type": "memory_20250818"}), Capability::Tools),
        (json!({"type": "computer_toolset_20260801"}), Capability::Tools),
        (json!({"type": "browser_toolset_20260801"}), Capability::Tools),
        (json!({"type": "web_search_20260318"}), Capability::WebSearch),
        (json!({"type": "web_fetch_20260318"}), Capability::WebFetch),
        (json!({"type": "code_execution_20260521"}), Capability::CodeExecution),
        (json!({"type": "tool_search_tool_bm25_20251119"}), Capability::ToolSearch),
        (json!({"type": "advisor_20260301"}), Capability::Advisor),
        (json!({"type": "mcp_toolset", "mcp_server_name": "s"}), Capability::Mcp),
        (json!({"type": "dream_20270101"}), Capability::UnknownServerTool),
        (json!({"type": "bash_code_execution_20270101"}), Capability::UnknownServerTool),
        (json!({"type": "browser_task_20270101"}), Capability::UnknownServerTool),
        (json!({"type": "memory_2027"}), Capability::UnknownServerTool),
        (json!({"type": "Custom"}), Capability::UnknownServerTool),
        (json!({"type": ""}), Capability::UnknownServerTool),
    ] {
        let seen = facts(&with("tools", json!([tool])));
        assert_eq!(seen.capabilities, [capability], "{tool}");
        assert_eq!(seen.server_tools.is_empty(), capability == Capability::Tools, "{tool}");
        assert!(!seen.plain);
    }
    assert!(facts(&with("tools", json!([]))).plain);
}

#[test]
fn limits_of_server_tools_are_read() {
    let seen = facts(&with(
        "tools",
        json!([
            {"type": "web_search_20260318", "name": "web_search", "max_uses": 3},
            {"max_content_tokens": 9_000, "type": "web_fetch_20260318"},
            {"type": "advisor_20260301", "model": "claude-fable-5-2", "max_uses": 2, "max_tokens": 700},
            {"type": "code_execution_20260521", "max_uses": null},
        ]),
    ));
    let tool = |kind, type_name: &str| ServerTool {
        kind,
        type_name: type_name.to_owned(),
        max_uses: None,
        max_content_tokens: None,
        model: None,
        max_tokens: None,
    };
    assert_eq!(
        seen.server_tools,
        [
            ServerTool {
                max_uses: Some(3),
                ..tool(ServerToolKind::WebSearch, "web_search_20260318")
            },
            ServerTool {
                max_content_tokens: Some(9_000),
                ..tool(ServerToolKind::WebFetch, "web_fetch_20260318")
            },
            ServerTool {
                max_uses: Some(2),
                model: Some("claude-fable-5-2".to_owned()),
                max_tokens: Some(700),
                ..tool(ServerToolKind::Advisor, "advisor_20260301")
            },
            tool(ServerToolKind::CodeExecution, "code_execution_20260521"),
        ]
    );
}

#[test]
fn tools_defined_inside_messages_are_tools() {
    let addition = json!({"type": "tool_addition", "tool": {"type": "tool_definition",
        "definition": {"type": "web_search_20260318", "name": "web_search"}}});
    for body in [
        with("messages", json!([{"role": "system", "content": [addition]}])),
        saying(json!([{"type": "compaction", "content": "c", "tool_changes": [addition]}])),
    ] {
        let seen = facts(&body);
        assert_eq!(seen.capabilities, [Capability::WebSearch], "{body}");
        assert_eq!(seen.server_tools.len(), 1);
        assert!(!seen.plain);
    }
    let reference =
        json!([{"type": "tool_addition", "tool": {"type": "tool_reference", "name": "f"}}]);
    assert_eq!(facts(&saying(reference)).server_tools, []);
}

#[test]
fn models_named_outside_model_are_read() {
    let seen = facts(&with(
        "fallbacks",
        json!([{"model": "a", "max_tokens": 9, "speed": "fast"}, {"thinking": {"type": "enabled"}, "model": "b"}]),
    ));
    assert_eq!(
        seen.fallbacks,
        Fallbacks::List(vec![
            Fallback { model: "a".to_owned(), max_tokens: Some(9), speed: Some(Speed::Fast) },
            Fallback { model: "b".to_owned(), max_tokens: None, speed: None },
        ])
    );
    assert_eq!(text_of(&seen), r#"["thinking","fast","fallbacks"]"#);
    assert_eq!(facts(&with("fallbacks", json!("default"))).fallbacks, Fallbacks::Default);
}

#[test]
fn other_ways_to_move_the_cost() {
    for (field, value, capability) in [
        ("speed", json!("fast"), Capability::Fast),
        ("inference_geo", json!("us"), Capability::InferenceGeo),
        ("service_tier", json!("auto"), Capability::PriorityTier),
        ("thinking", json!({"type": "enabled", "budget_tokens": 1024}), Capability::Thinking),
        ("thinking", json!({"type": "dreaming"}), Capability::Thinking),
        ("output_config", json!({"format": {"type": "json_schema"}}), Capability::StructuredOutput),
        ("output_format", json!({"type": "json_schema"}), Capability::StructuredOutput),
        ("mcp_servers", json!([{"type": "url", "url": "https://example.com"}]), Capability::Mcp),
        ("thread", json!({"type": "create"}), Capability::Threads),
        ("compaction", json!({"type": "summarize"}), Capability::Compaction),
        (
            "context_management",
            json!({"edits": [{"type": "compact_20260112"}]}),
            Capability::Compaction,
        ),
        ("context_management", json!({"edits": [{"type": "rewrite_1"}]}), Capability::Compaction),
        ("billing_policy", json!({"type": "billing_policy"}), Capability::BillingPolicy),
    ] {
        let seen = facts(&with(field, value.clone()));
        assert_eq!(seen.capabilities, [capability], "{field} {value}");
        assert_eq!(seen.mcp, capability == Capability::Mcp);
        assert_eq!(seen.compaction, capability == Capability::Compaction);
    }
    for (field, value) in [
        ("service_tier", json!("standard_only")),
        ("fallback_credit_token", json!("tok")),
        ("fallback_credit_token", json!({"token": "tok", "mode": "strict"})),
        ("speed", json!("standard")),
        ("thinking", json!({"type": "disabled"})),
        ("output_config", json!({"format": null, "task_budget": null})),
        ("mcp_servers", json!([])),
        ("container", json!({"id": null, "skills": []})),
    ] {
        let seen = facts(&with(field, value));
        assert_eq!((seen.capabilities, seen.plain), (vec![], true), "{field}");
    }
    let geo = facts(&with("inference_geo", json!("us")));
    assert_eq!(geo.inference_geo.as_deref(), Some("us"));
    assert!(!facts(&with("thinking", json!({"type": "dreaming"}))).plain);
    assert!(!facts(&with("output_config", json!({"task_budget": {"total": 1}}))).plain);
}

#[test]
fn threads_and_containers_hold_a_prompt_we_do_not_see() {
    let seen = facts(&with("thread", json!({"previous_message_id": "msg_1", "type": "continue"})));
    assert_eq!(seen.thread, Thread::Continue);
    assert_eq!(seen.previous_message.as_ref().map(|id| id.as_str()), Some("msg_1"));
    assert!(seen.capabilities.contains(&Capability::LongContext));
    let seen = facts(&with("thread", json!({"type": "create"})));
    assert!(!seen.capabilities.contains(&Capability::LongContext));
    for (container, expected) in [
        (json!("container_1"), r#"["code_execution","containers","long_context"]"#),
        (json!({"id": "container_1"}), r#"["code_execution","containers","long_context"]"#),
        (json!({"skills": [{"type": "anthropic"}]}), r#"["code_execution","long_context"]"#),
    ] {
        let seen = facts(&with("container", container));
        assert!(seen.prompt_is_elsewhere && !seen.plain);
        assert_eq!(text_of(&seen), expected);
    }
}

#[test]
fn long_context_begins_where_the_bound_passes_200_000() {
    let at = |bytes: usize| {
        let empty = facts(&with("system", json!(""))).body_bytes as usize;
        let seen = facts(&with("system", json!("x".repeat(bytes - empty))));
        assert_eq!(seen.prompt_bytes, bytes as u64);
        seen.capabilities.contains(&Capability::LongContext)
    };
    assert!(!at(200_000));
    assert!(at(200_001));
    let images = |count: usize| {
        let image = json!({"type": "image", "source": {"type": "base64", "data": "QUJD"}});
        facts(&saying(json!(vec![image; count]))).capabilities.contains(&Capability::LongContext)
    };
    assert!(!images(41));
    assert!(images(42));
}

#[test]
fn a_duplicate_is_named_with_its_place() {
    let body = br#"{"model":"claude-haiku-5-5","max_tokens":1,"messages":[],"max_\u0074okens":9}"#;
    assert_eq!(
        inspect(body, LIMITS).unwrap_err().to_string(),
        "the JSON object at the top level has the key \"max_tokens\" more than once; which one \
         counts is undefined, so it is refused"
    );
    let body = br#"{"model":"m","messages":[{"content":[{"type":"text","text":"a","text":"b"}]}]}"#;
    assert_eq!(
        inspect(body, LIMITS),
        Err(MalformedRequest::DuplicateKey {
            path: "messages.0.content.0".to_owned(),
            key: "text".to_owned()
        })
    );
}

/// Blocks that are legal wherever content is, with everything that is counted in them.
fn blocks() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        "[a-z \"\\\\é]{0,20}".prop_map(|text| json!({"type": "text", "text": text})),
        "[A-Z]{0,40}".prop_map(|data| json!({"type": "image", "source": {"type": "base64", "data": data, "media_type": "image/png"}})),
        "[A-Z]{0,40}".prop_map(|data| json!({"type": "document", "title": "t", "source": {"type": "base64", "data": data}})),
        any::<bool>().prop_map(|on| json!({"type": "document", "citations": {"enabled": on}, "source": {"type": "text", "data": "A. B."}})),
        Just(json!({"type": "image", "source": {"type": "url", "url": "https://example.com"}})),
        Just(json!({"type": "text", "text": "c", "cache_control": {"type": "ephemeral", "ttl": "1h"}})),
        Just(json!({"type": "tool_use", "id": "t", "name": "n", "input": {"type": "image", "source": {"type": "url"}}})),
        Just(json!({"type": "novel", "x": 1})),
        Just(json!({"type": "tool_addition", "tool": {"type": "tool_definition", "definition": {"type": "web_fetch_20260318", "max_uses": 2}}})),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        (
            prop::sample::select(vec!["tool_result", "web_fetch_tool_result", "novel_result"]),
            prop::collection::vec(inner, 0..4),
        )
            .prop_map(
                |(kind, content)| json!({"type": kind, "tool_use_id": "t", "content": content}),
            )
    })
}

fn bodies() -> impl Strategy<Value = Value> {
    let extra = prop::sample::select(vec![
        ("stream", json!(true)),
        ("speed", json!("fast")),
        ("novel_field", json!({"a": [1, {"b": 2}]})),
        ("thinking", json!({"type": "adaptive", "display": "omitted"})),
        ("fallbacks", json!([{"model": "a", "max_tokens": 4}, {"model": "b", "speed": "fast"}])),
        (
            "tools",
            json!([{"name": "f", "input_schema": {"x": 1}}, {"type": "advisor_20260301", "model": "a", "max_uses": 1}]),
        ),
        ("container", json!({"id": "c", "skills": [{"type": "anthropic"}]})),
        (
            "context_management",
            json!({"edits": [{"type": "compact_20260112", "trigger": {"value": 5}}]}),
        ),
        ("thread", json!({"type": "continue", "previous_message_id": "msg_1"})),
        ("system", json!([{"type": "text", "text": "s"}])),
    ]);
    (prop::collection::vec(extra, 0..6), prop::collection::vec(blocks(), 0..5)).prop_map(
        |(extras, blocks)| {
            let mut body = saying(json!(blocks));
            for (field, value) in extras {
                body[field] = value;
            }
            body
        },
    )
}

/// Writes `value` with the members of each object in an order drawn from `order`.
fn shuffled(value: &Value, order: &mut dyn FnMut() -> u64) -> String {
    match value {
        Value::Array(elements) => {
            let elements: Vec<String> = elements.iter().map(|e| shuffled(e, order)).collect();
            format!("[{}]", elements.join(","))
        }
        Value::Object(members) => {
            let mut members: Vec<(u64, String)> = members
                .iter()
                .map(|(key, value)| (order(), format!("{}:{}", json!(key), shuffled(value, order))))
                .collect();
            members.sort();
            let members: Vec<String> = members.into_iter().map(|(_, text)| text).collect();
            format!("{{{}}}", members.join(","))
        }
        leaf => leaf.to_string(),
    }
}

proptest! {
    #[test]
    fn the_facts_do_not_depend_on_the_order_of_keys(body in bodies(), seed in any::<u64>()) {
        let mut state = seed | 1;
        let mut draw = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        let mut here = facts(&body);
        let mut there = inspect(shuffled(&body, &mut draw).as_bytes(), LIMITS).unwrap();
        // Lists keep the order in which things are written.
        for facts in [&mut here, &mut there] {
            facts.unknown_fields.sort();
            facts.server_tools.sort_by(|a, b| a.type_name.cmp(&b.type_name));
        }
        prop_assert_eq!(here, there);
    }

    #[test]
    fn a_request_cut_short_is_refused(body in bodies(), at in any::<prop::sample::Index>()) {
        let text = body.to_string();
        let cut = &text.as_bytes()[..at.index(text.len())];
        prop_assert!(inspect(cut, LIMITS).is_err());
    }

    #[test]
    fn a_damaged_request_never_panics(
        body in bodies(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut bytes = body.to_string().into_bytes();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let _ = inspect(&bytes, LIMITS);
    }

    #[test]
    fn any_bytes_end_in_an_answer(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(inspect(&bytes, LIMITS).is_err());
    }

    #[test]
    fn the_prompt_is_never_smaller_than_its_text(text in any::<String>()) {
        let body = saying(json!([
            {"type": "text", "text": text},
            {"type": "image", "source": {"type": "base64", "data": text}},
        ]));
        let seen = facts(&body);
        prop_assert!(seen.prompt_bytes >= text.len() as u64);
    }
}

fn ids(seen: &RequestFacts) -> Vec<&str> {
    seen.files.iter().map(|id| id.as_str()).collect()
}

#[test]
fn every_file_that_is_read_is_found_wherever_it_stands() {
    let source = |id: &str| json!({"type": "document", "source": {"type": "file", "file_id": id}});
    let upload = |id: &str| json!({"file_id": id, "type": "container_upload"});
    let result = json!({
        "type": "tool_result", "tool_use_id": "x",
        "content": [source("f_nested"), upload("f_upload_nested")],
    });
    let content = json!({"type": "document", "source": {"type": "content", "content": [
        {"type": "image", "source": {"file_id": "f_image", "type": "file"}},
    ]}});
    let novel =
        json!({"type": "novel_block", "file_id": "f_novel", "inside": {"file_id": "f_deep"}});
    let mut body =
        saying(json!([result, content, upload("f_upload"), source("f_1"), novel, source("f_1")]));
    body["system"] = json!([source("f_system")]);
    let expected = [
        "f_1",
        "f_deep",
        "f_image",
        "f_nested",
        "f_novel",
        "f_system",
        "f_upload",
        "f_upload_nested",
    ];
    assert_eq!(ids(&facts(&body)), expected);
}

#[test]
fn the_result_of_a_server_tool_mentions_files_and_reads_none() {
    let output = json!({"type": "code_execution_output", "file_id": "f_made"});
    let wrapped = json!({"type": "container_upload", "file_id": "f_read"});
    let source = json!({"type": "image", "source": {"type": "file", "file_id": "f_source"}});
    let result = json!({
        "content": {"type": "code_execution_result", "content": [output, wrapped, source]},
        "type": "code_execution_tool_result", "tool_use_id": "x",
    });
    assert_eq!(ids(&facts(&saying(json!([result])))), ["f_read", "f_source"]);
    let input = json!({"type": "tool_use", "id": "x", "name": "n", "input": {"file_id": 7}});
    assert_eq!(ids(&facts(&saying(json!([input])))), Vec::<&str>::new());
}

#[test]
fn ids_of_a_wrong_shape_are_refused_by_name() {
    let file = |id: Value| saying(json!([{"type": "container_upload", "file_id": id}]));
    let source =
        |id: Value| saying(json!([{"type": "image", "source": {"type": "file", "file_id": id}}]));
    let thread = |id: Value| with("thread", json!({"type": "continue", "previous_message_id": id}));
    let diagnosed = |id: Value| with("diagnostics", json!({"previous_message_id": id}));
    for (field, body) in [
        ("messages.0.content.0.file_id", file(json!("../x"))),
        ("messages.0.content.0.file_id", file(json!(7))),
        ("messages.0.content.0.source.file_id", source(json!("a b"))),
        ("container", with("container", json!("a/b"))),
        ("container", with("container", json!(""))),
        ("container.id", with("container", json!({"id": "a".repeat(129)}))),
        ("thread.previous_message_id", thread(json!("msg%201"))),
        ("thread", thread(json!(null))),
        ("thread", with("thread", json!({"type": "create", "previous_message_id": "msg_1"}))),
        ("diagnostics.previous_message_id", diagnosed(json!("é"))),
    ] {
        match inspect(body.to_string().as_bytes(), LIMITS) {
            Err(MalformedRequest::Field { field: found, .. }) => assert_eq!(found, field),
            other => panic!("{field}: {other:?}"),
        }
    }
    assert_eq!(facts(&diagnosed(json!(null))).diagnosed_message, None);
    let seen = facts(&diagnosed(json!("msg_9")));
    assert_eq!(seen.diagnosed_message.unwrap().as_str(), "msg_9");
    assert!(seen.plain);
    assert_eq!(facts(&with("container", json!("c_1"))).container.unwrap().as_str(), "c_1");
    assert_eq!(facts(&with("container", json!({"id": "c_2"}))).container.unwrap().as_str(), "c_2");
}

#[test]
fn a_request_names_a_thousand_files_and_no_more() {
    let uploads = |count: usize| {
        let block = |n| json!({"type": "container_upload", "file_id": format!("f_{n}")});
        saying(json!((0..count).map(block).collect::<Vec<_>>())).to_string()
    };
    assert_eq!(inspect(uploads(1_000).as_bytes(), LIMITS).unwrap().files.len(), 1_000);
    assert!(inspect(uploads(1_001).as_bytes(), LIMITS).is_err());
}

#[test]
fn skills_of_the_workspace_are_a_capability_of_their_own() {
    let skills = |skills: Value| facts(&with("container", json!({"skills": skills}))).capabilities;
    let own = json!({"type": "anthropic", "skill_id": "pptx"});
    assert!(!skills(json!([own])).contains(&Capability::CustomSkills));
    for other in [json!({"type": "custom", "skill_id": "s"}), json!({"skill_id": "s"}), json!({})] {
        assert!(skills(json!([other.clone(), own])).contains(&Capability::CustomSkills), "{other}");
        assert!(skills(json!([own, other])).contains(&Capability::CustomSkills));
    }
}

#[test]
fn a_fallbacks_way_of_thinking_is_not_the_requests() {
    let mut body = with("fallbacks", json!([{"model": "a", "thinking": {"type": "disabled"}}]));
    assert_eq!(facts(&body).thinking, None);
    body["thinking"] = json!({"type": "adaptive"});
    assert_eq!(facts(&body).thinking.as_deref(), Some("adaptive"));
}

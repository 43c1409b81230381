//! What is refused, and in which words.

use std::io::Write as _;

use chamberlain_mock::{AcceptedKeys, MockConfig};
use serde_json::{Value, json};

use crate::client::*;

async fn send_as(mock: &chamberlain_mock::RunningMock, headers: &[(&str, &str)]) -> Answer {
    let builder =
        http::Request::builder().method("POST").uri("/v1/messages").header("host", "mock");
    let builder =
        headers.iter().fold(builder, |builder, (name, value)| builder.header(*name, *value));
    send(mock, whole(builder, ask("hi").to_string())).await
}

#[tokio::test]
async fn keys_come_in_either_header() {
    let keys = AcceptedKeys::only(["right-key"]);
    let mock = start_with(MockConfig { keys, ..MockConfig::default() }).await;
    let version = ("anthropic-version", "2023-06-01");
    for (headers, status) in [
        (vec![("x-api-key", "right-key")], 200),
        (vec![("authorization", "Bearer right-key")], 200),
        (vec![("x-api-key", "right-key"), ("authorization", "Bearer right-key")], 200),
        (vec![("x-api-key", "right-key"), ("authorization", "Bearer wrong-key")], 401),
        (vec![("x-api-key", "wrong-key")], 401),
        (vec![("authorization", "Basic right-key")], 401),
        (vec![], 401),
    ] {
        let answer = send_as(&mock, &[&headers[..], &[version]].concat()).await;
        assert_eq!(answer.status, status, "{headers:?}");
        if status == 401 {
            assert_eq!(answer.error().0, "authentication_error");
            assert!(!answer.headers.contains_key("anthropic-workspace-id"));
            assert!(!answer.text().contains("wrong-key") && !answer.text().contains("right-key"));
        }
    }
}

#[tokio::test]
async fn the_version_is_required_and_decides_about_sampling() {
    let mock = start().await;
    let key = ("authorization", "Bearer some-key");
    let missing = send_as(&mock, &[key]).await;
    assert_eq!(
        (missing.status.as_u16(), missing.error().0.as_str()),
        (400, "invalid_request_error")
    );
    assert_eq!(send_as(&mock, &[key, ("anthropic-version", "2020-01-01")]).await.status, 400);

    let send = async |version: &str, body: Value| {
        let builder = http::Request::builder()
            .method("POST")
            .uri("/v1/messages")
            .header("host", "mock")
            .header("x-api-key", KEY)
            .header("anthropic-version", version);
        crate::client::send(&mock, whole(builder, body.to_string())).await.status.as_u16()
    };
    let old_model = |more: Value| with(with(ask("hi"), json!({"model": "claude-haiku-4-5"})), more);
    for name in ["temperature", "top_p", "top_k"] {
        let body = old_model(json!({name: 1}));
        assert_eq!(send("2023-06-01", body.clone()).await, 200, "{name}");
        assert_eq!(send("2026-10-21", body).await, 400, "{name}");
    }
    assert_eq!(send("2023-06-01", with(ask("hi"), json!({"temperature": 1.0}))).await, 200);
    assert_eq!(send("2023-06-01", with(ask("hi"), json!({"temperature": 0.5}))).await, 400);
    let citations = json!([{"type": "text", "text": "a", "citations": [{}]}]);
    let cited = with(ask(""), json!({"messages": [{"role": "user", "content": citations}]}));
    assert_eq!(send("2023-06-01", cited.clone()).await, 200);
    assert_eq!(send("2026-10-21", cited).await, 400);
    let document = json!([{"type": "document", "source": {"type": "text", "data": "a"}}]);
    let said = with(ask(""), json!({"messages": [{"role": "assistant", "content": document}]}));
    assert_eq!(send("2023-06-01", said.clone()).await, 200);
    assert_eq!(send("2026-10-21", said).await, 400);
}

#[tokio::test]
async fn a_wrong_body_is_named() {
    let mock = start().await;
    let no_field = |name: &str| {
        let mut body = ask("hi");
        body.as_object_mut().unwrap().remove(name);
        body
    };
    let marked = |ttls: &[&str]| {
        let blocks: Vec<Value> = ttls
            .iter()
            .map(|ttl| json!({"type": "text", "text": "a", "cache_control": {"type": "ephemeral", "ttl": ttl}}))
            .collect();
        with(ask("hi"), json!({ "system": blocks }))
    };
    let tool = json!([{"name": "t", "input_schema": {}}]);
    let cases = [
        (no_field("model"), 400, "model: Field required"),
        (no_field("max_tokens"), 400, "max_tokens: Field required"),
        (no_field("messages"), 400, "messages: Field required"),
        (with(ask("hi"), json!({"messages": []})), 400, "at least one message"),
        (
            with(ask("hi"), json!({"messages": [{"role": "tool", "content": "x"}]})),
            400,
            "messages.0.role",
        ),
        (with(ask("hi"), json!({"messages": [{"role": "user"}]})), 400, "messages.0.content"),
        (
            with(ask("hi"), json!({"messages": [{"role": "user", "content": [{}]}]})),
            400,
            "messages.0.content.0.type",
        ),
        (with(ask("hi"), json!({"model": "gpt-9"})), 404, "model: gpt-9"),
        (with(ask("hi"), json!({"model": "claude-opus-4-1"})), 404, "model: claude-opus-4-1"),
        (with(ask("hi"), json!({"max_tokens": -1})), 400, "max_tokens"),
        (with(ask("hi"), json!({"max_tokens": 128_001})), 400, "128001 > 128000"),
        (with(ask("hi"), json!({"stream": "yes"})), 400, "stream"),
        (with(ask("hi"), json!({"tool_choice": {"type": "any"}})), 400, "while providing tools"),
        (
            with(ask("hi"), json!({"tool_choice": {"type": "any"}, "tools": tool})),
            400,
            "not supported on claude-sonnet-5-5",
        ),
        (
            with(ask("hi"), json!({"thinking": {"type": "enabled", "budget_tokens": 2000}})),
            400,
            "thinking.type",
        ),
        (with(ask("hi"), json!({"speed": "fast"})), 400, "fast mode"),
        (with(ask("hi"), json!({"speed": "fast", "model": "claude-opus-5"})), 400, "beta header"),
        (with(ask("hi"), json!({"inference_geo": "mars"})), 400, "inference_geo"),
        (
            with(ask("hi"), json!({"inference_geo": "us", "model": "claude-haiku-4-5"})),
            400,
            "inference_geo",
        ),
        (marked(&["5m", "5m", "5m", "5m", "5m"]), 400, "Found 5"),
        (marked(&["5m", "1h"]), 400, "must not come after"),
        (marked(&["2h"]), 400, "cache_control.ttl"),
        (
            with(ask("hi"), json!({"fallbacks": "default"})),
            400,
            "fallbacks: Extra inputs are not permitted",
        ),
        (ask("[[mock: overlaoded]]"), 400, "overlaoded"),
    ];
    for (body, status, words) in cases {
        let answer = post(&mock, "/v1/messages", &body).await;
        assert_eq!(answer.status, status, "{body}");
        let (_, message) = answer.error();
        assert!(message.contains(words), "{message:?} does not say {words:?}");
    }
    let long = ask(&"x".repeat(4_000_000));
    let answer = post(&mock, "/v1/messages", &long).await;
    assert!(answer.error().1.contains("prompt is too long: 1000011 tokens > 1000000 maximum"));
}

#[tokio::test]
async fn a_beta_opens_its_field_however_the_flags_are_sent() {
    let mock = start().await;
    let body = with(ask("hi"), json!({"fallbacks": [{"model": "claude-opus-4-8"}], "unknown": 1}));
    let beta = "server-side-fallback-2026-07-01";
    for headers in [
        vec![("anthropic-beta", beta)],
        vec![("anthropic-beta", "unheard-of-2030-01-01, server-side-fallback-2026-07-01")],
        vec![("anthropic-beta", "a,b"), ("anthropic-beta", beta)],
    ] {
        assert_eq!(post_with(&mock, &body, &headers).await.status, 200, "{headers:?}");
    }
    let strict = start_with(MockConfig { strict_fields: true, ..MockConfig::default() }).await;
    let answer = post_with(&strict, &body, &[("anthropic-beta", beta)]).await;
    assert_eq!(answer.error().1, "unknown: Extra inputs are not permitted");
}

#[tokio::test]
async fn bodies_are_decoded_or_refused() {
    let mock = start_with(MockConfig { body_bytes_max: 10_000, ..MockConfig::default() }).await;
    let gzip = |bytes: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    };
    let plain = ask("Grüße").to_string().into_bytes();
    let latin: Vec<u8> = ask("Gr\u{fc}\u{df}e").to_string().chars().map(|c| c as u8).collect();
    let deep = format!("{{\"model\":{}{}}}", "[".repeat(200), "]".repeat(200)).into_bytes();
    let utf8 = "application/json";
    let latin1 = "application/json; charset=ISO-8859-1";
    let bomb = gzip(&vec![b' '; 20_000]);
    let cases: Vec<(&str, &str, Vec<u8>, u16, &str)> = vec![
        ("gzip", utf8, gzip(&plain), 200, ""),
        ("identity", utf8, plain.clone(), 200, ""),
        ("gzip", utf8, b"not gzip".to_vec(), 400, "request_body_encoding_invalid"),
        ("br", utf8, plain.clone(), 400, "request_body_encoding_unsupported"),
        ("gzip", utf8, bomb, 413, "request_body_too_large_after_decoding"),
        ("identity", latin1, latin.clone(), 200, ""),
        ("identity", utf8, latin, 400, ""),
        ("identity", "application/json; charset=utf-16", plain.clone(), 400, "unsupported_charset"),
        ("identity", utf8, vec![b' '; 10_001], 413, ""),
        ("identity", utf8, b"{\"model\":".to_vec(), 400, ""),
        ("identity", utf8, b"[]".to_vec(), 400, ""),
        ("identity", utf8, deep, 400, ""),
    ];
    for (encoding, content_type, body, status, code) in cases {
        let builder = http::Request::builder()
            .method("POST")
            .uri("/v1/messages")
            .header("host", "mock")
            .header("x-api-key", KEY)
            .header("anthropic-version", "2026-10-21")
            .header("content-encoding", encoding)
            .header("content-type", content_type);
        let answer = send(&mock, whole(builder, body)).await;
        assert_eq!(answer.status, status, "{encoding} {content_type}: {}", answer.text());
        if status != 200 {
            let found = answer.json()["error"]["details"]["error_code"].clone();
            assert_eq!(found.as_str().unwrap_or(""), code);
            let kind = if status == 413 { "request_too_large" } else { "invalid_request_error" };
            assert_eq!(answer.error().0, kind);
        }
    }
}

#[tokio::test]
async fn thirty_two_megabytes_and_one_byte() {
    let mock = start().await;
    let limit = 32 * 1024 * 1024;
    let empty = ask("").to_string().len();
    // Four bytes of a token make eight million tokens: too long for any model, but not too large.
    let fits = ask(&"x".repeat(limit - empty)).to_string();
    assert_eq!(fits.len(), limit);
    let answer = send(&mock, whole(request("POST", "/v1/messages"), fits.clone())).await;
    assert_eq!(answer.status, 400);
    assert!(answer.error().1.starts_with("prompt is too long"));
    let answer = send(&mock, whole(request("POST", "/v1/messages"), fits + " ")).await;
    assert_eq!((answer.status.as_u16(), answer.error().0.as_str()), (413, "request_too_large"));
}

#[tokio::test]
async fn named_failures_look_like_the_real_ones() {
    let mock = start().await;
    let cases = [
        ("rate_limited", 429, "rate_limit_error", "", Some("1")),
        ("ramp", 429, "rate_limit_error", "ramp_limit_exceeded", Some("5")),
        ("tier_cap", 429, "rate_limit_error", "enforced_spend_limit_reached", None),
        ("own_limit", 400, "invalid_request_error", "", None),
        ("workspace_limit", 400, "invalid_request_error", "", None),
        ("billing", 402, "billing_error", "", None),
        ("credit", 400, "invalid_request_error", "", None),
        ("ip", 403, "permission_error", "", None),
        ("expired", 401, "authentication_error", "", None),
        ("revoked", 401, "authentication_error", "", None),
        ("too_large", 413, "request_too_large", "", None),
        ("internal", 500, "api_error", "", None),
        ("unavailable", 503, "api_error", "", None),
        ("timeout", 504, "timeout_error", "", None),
        ("overloaded", 529, "overloaded_error", "", None),
        ("status=409", 409, "conflict_error", "", None),
        (
            "status=429 retry_after=7 code=own type=billing_error",
            429,
            "billing_error",
            "own",
            Some("7"),
        ),
    ];
    for (words, status, kind, code, retry_after) in cases {
        let answer = post(&mock, "/v1/messages", &ask(&format!("[[mock: {words}]]"))).await;
        assert_eq!(answer.status, status, "{words}");
        assert_eq!(answer.error().0, kind, "{words}");
        assert_eq!(answer.json()["error"]["details"]["error_code"].as_str().unwrap_or(""), code);
        assert_eq!(answer.headers.get("retry-after").map(|v| v.to_str().unwrap()), retry_after);
        assert!(!answer.headers.contains_key("x-should-retry"));
    }
    let own = post(&mock, "/v1/messages", &ask("[[mock: own_limit]]")).await;
    assert!(own.error().1.starts_with("You have reached your specified API usage limits"));
    let steered = post(&mock, "/v1/messages", &ask("[[mock: status=400 should_retry=true]]")).await;
    assert_eq!(steered.header("x-should-retry"), "true");
    let page = post(&mock, "/v1/messages", &ask("[[mock: status=502 html]]")).await;
    assert_eq!((page.status.as_u16(), page.header("content-type")), (502, "text/html"));
}

#[tokio::test]
async fn failures_end_after_their_times() {
    let mock = start().await;
    let status = async |words: &str| {
        post(&mock, "/v1/messages", &ask(&format!("[[mock: {words}]]"))).await.status.as_u16()
    };
    let words = "rate_limited times=2 id=one";
    assert_eq!([status(words).await, status(words).await, status(words).await], [429, 429, 200]);
    assert_eq!(status("rate_limited times=1 id=two").await, 429);
    mock.mock().forget();
    assert_eq!(status(words).await, 429);
}

#[tokio::test]
async fn other_paths_and_methods_are_refused() {
    let mock = start().await;
    for path in ["/v1/messages/x", "/v1/files/", "/v1/complete", "/v1/organizations", "/v1"] {
        let answer = send(&mock, whole(request("GET", path), "")).await;
        assert_eq!(
            (answer.status.as_u16(), answer.error().0.as_str()),
            (404, "not_found_error"),
            "{path}"
        );
    }
    for (method, path) in
        [("GET", "/v1/messages"), ("POST", "/v1/models"), ("DELETE", "/v1/models/x")]
    {
        assert_eq!(
            send(&mock, whole(request(method, path), "")).await.status,
            405,
            "{method} {path}"
        );
    }
}

//! What passes, passes untouched.

use std::io::Write;

use bytes::Bytes;
use chamberlain_core::money::Money;
use chamberlain_core::record::{Certainty, Outcome, Route};
use http::{HeaderValue, Method};

use crate::client::{Connection, piece, read};
use crate::upstream::{Answer, data, events, message};
use crate::world::{CREDENTIAL, MODEL, World, body};

#[tokio::test]
async fn a_json_call_passes_byte_for_byte_and_is_settled_exactly() {
    let world = World::new().await;
    let mut request = world
        .request("/v1/messages?beta=true&x=%2F", body(r#","metadata":{"user_id":"\u00e4"}  "#));
    let headers = request.headers_mut();
    headers.append("anthropic-beta", HeaderValue::from_static("one,two"));
    headers.append("anthropic-beta", HeaderValue::from_static("three"));
    headers.append("cookie", HeaderValue::from_static("a=b"));
    headers.append("x-forwarded-for", HeaderValue::from_static("1.2.3.4"));
    headers.append("x-stainless-lang", HeaderValue::from_static("python"));
    headers.append("accept-encoding", HeaderValue::from_static("gzip, br"));
    let answered = world.ask(request).await;
    assert_eq!((answered.status.as_u16(), answered.broken), (200, false));
    assert_eq!(answered.body, message().as_bytes());
    assert_eq!(answered.header("request-id"), Some("req_upstream"));
    assert_eq!(answered.header("content-type"), Some("application/json"));

    let arrived = &world.upstream.arrived()[0];
    assert_eq!(arrived.method, "POST");
    assert_eq!(arrived.target, "/v1/messages?beta=true&x=%2F");
    assert_eq!(arrived.body, body(r#","metadata":{"user_id":"\u00e4"}  "#).as_bytes());
    let mut sent: Vec<_> = arrived
        .headers
        .iter()
        .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
        .filter(|line| !line.starts_with("host:") && !line.starts_with("content-length:"))
        .collect();
    sent.sort();
    assert_eq!(
        sent,
        [
            "accept-encoding: identity",
            "anthropic-beta: one,two",
            "anthropic-beta: three",
            "anthropic-version: 2023-06-01",
            "content-type: application/json",
            &format!("x-api-key: {CREDENTIAL}"),
            "x-stainless-lang: python",
        ]
    );

    world.settled(1).await;
    let settlement = &world.journal.settlements()[0];
    let intent = &world.journal.intents()[0];
    assert_eq!(
        (settlement.outcome, settlement.certainty),
        (Outcome::Completed, Certainty::Settled)
    );
    assert_eq!(settlement.cost, Money::from_pico(1_100_000_000));
    assert!(settlement.cost <= intent.reserved);
    assert_eq!((settlement.tokens.input, settlement.tokens.output), (100, 200));
    assert_eq!(settlement.served_model.as_deref(), Some(MODEL));
    assert_eq!(settlement.stop_reason.as_deref(), Some("end_turn"));
    assert_eq!(settlement.upstream_request_id.as_deref(), Some("req_upstream"));
    assert_eq!((settlement.status, settlement.attempts), (200, 1));
    assert!(settlement.first_byte_ms.unwrap() <= settlement.duration_ms);
    assert_eq!((intent.route, intent.model.as_str()), (Route::Messages, MODEL));
    assert_eq!((intent.max_tokens, intent.stream), (400, false));
    assert_eq!(intent.upstream_key.as_ref().map(|key| key.as_str()), Some("uk_test"));
    assert_eq!(intent.source.to_string(), "127.0.0.1");
    assert_eq!(answered.header("x-chamberlain-call"), Some(intent.call.to_string().as_str()));
}

#[tokio::test]
async fn a_stream_passes_event_by_event() {
    let world = World::new().await;
    let (pieces, answer) = Answer::pieces("text/event-stream; charset=utf-8");
    world.upstream.then_answer(answer);
    let mut connection = world.connect().await;
    let response = connection.send(world.stream()).await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream; charset=utf-8");
    let mut body = response.into_body();
    // The next event is not there yet when the one before it arrives.
    for event in events() {
        let (first, second) = event.split_at(event.len() / 2);
        for half in [first, second] {
            pieces.send(data(half)).ok().unwrap();
            assert_eq!(piece(&mut body).await, half);
        }
    }
    drop(pieces);
    assert!(http_body_util::BodyExt::frame(&mut body).await.is_none());
    world.settled(1).await;
    let settlement = &world.journal.settlements()[0];
    assert_eq!(
        (settlement.outcome, settlement.certainty),
        (Outcome::Completed, Certainty::Settled)
    );
    assert_eq!(settlement.cost, Money::from_pico(1_100_000_000));
}

#[tokio::test]
async fn bearer_and_http2_are_as_good() {
    let world = World::new().await;
    let mut request = world.message();
    let key = request.headers_mut().remove("x-api-key").unwrap();
    let bearer = format!("Bearer {}", key.to_str().unwrap());
    request.headers_mut().insert("authorization", HeaderValue::try_from(bearer).unwrap());
    *request.uri_mut() = "http://gateway.example/v1/messages".parse().unwrap();
    let mut connection = Connection::open_http2(world.address).await;
    for _ in 0..2 {
        let answered = connection.ask(request.clone()).await;
        assert_eq!((answered.status.as_u16(), answered.body.as_ref()), (200, message().as_bytes()));
    }
    let headers = &world.upstream.arrived()[0].headers;
    assert_eq!(headers["x-api-key"], CREDENTIAL);
    assert!(!headers.contains_key("authorization"));
    assert_eq!(headers["host"], world.upstream.address.to_string());
    drop(connection);
    world.settled(2).await;
}

#[tokio::test]
async fn a_compressed_body_is_inspected_and_sent_as_it_came() {
    let world = World::new().await;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(body("").as_bytes()).unwrap();
    let compressed = Bytes::from(encoder.finish().unwrap());
    let mut request = world.request("/v1/messages", compressed.clone());
    request.headers_mut().insert("content-encoding", HeaderValue::from_static("gzip"));
    assert_eq!(world.ask(request).await.status, 200);
    let arrived = &world.upstream.arrived()[0];
    assert_eq!(arrived.body, compressed);
    assert_eq!(arrived.headers["content-encoding"], "gzip");
    assert_eq!(world.journal.intents()[0].model, MODEL);
    world.settled(1).await;
}

#[tokio::test]
async fn free_routes_are_recorded_and_cost_nothing() {
    let world = World::with(|plan| plan.base_path = "/some/path/").await;
    let count = format!(r#"{{"model":"{MODEL}","messages":[{{"role":"user","content":"x"}}]}}"#);
    let counted = world.ask(world.request("/v1/messages/count_tokens", count)).await;
    assert_eq!(counted.text(), r#"{"input_tokens":100}"#);
    for path in ["/v1/models?limit=1000", "/v1/models/claude-haiku-4-5"] {
        assert_eq!(world.ask(world.request(path, "")).await.status, 200, "{path}");
    }
    let targets: Vec<_> = world.upstream.arrived().into_iter().map(|it| it.target).collect();
    assert_eq!(
        targets,
        [
            "/some/path/v1/messages/count_tokens",
            "/some/path/v1/models?limit=1000",
            "/some/path/v1/models/claude-haiku-4-5"
        ]
    );
    world.settled(3).await;
    let routes: Vec<_> = world.journal.intents().iter().map(|intent| intent.route).collect();
    assert_eq!(routes, [Route::CountTokens, Route::Models, Route::Model]);
    for settlement in world.journal.settlements() {
        assert!(settlement.cost.is_zero() && settlement.accounts.is_empty());
        assert_eq!(settlement.outcome, Outcome::Completed);
    }
    assert_eq!(world.journal.leases().len(), 0);
}

#[tokio::test]
async fn probes_are_answered_here() {
    let world = World::new().await;
    for path in ["/", "/api/hello"] {
        let mut request = world.request(path, "");
        *request.method_mut() = Method::HEAD;
        request.headers_mut().remove("x-api-key");
        let answered = world.ask(request).await;
        assert_eq!((answered.status.as_u16(), answered.body.len()), (200, 0), "{path}");
    }
    assert!(world.upstream.arrived().is_empty() && world.journal.entries().is_empty());
}

#[tokio::test]
async fn a_connection_serves_many_calls() {
    let world = World::new().await;
    let mut connection = world.connect().await;
    for _ in 0..5 {
        assert_eq!(connection.ask(world.message()).await.status, 200);
    }
    drop(connection);
    world.settled(5).await;
}

#[tokio::test]
async fn billing_headers_are_dropped_and_said_so() {
    let world = World::new().await;
    let mut request = world.message();
    request.headers_mut().insert("anthropic-workspace-id", HeaderValue::from_static("wrkspc_x"));
    let answered = world.ask(request.clone()).await;
    let warning = answered.header("x-chamberlain-warning").unwrap();
    assert!(warning.starts_with("anthropic-workspace-id"), "{warning}");
    world.publish(|snapshot| snapshot.settings.forward_billing_headers = true);
    assert_eq!(world.ask(request).await.header("x-chamberlain-warning"), None);
    let sent: Vec<_> = world
        .upstream
        .arrived()
        .iter()
        .map(|it| it.headers.contains_key("anthropic-workspace-id"))
        .collect();
    assert_eq!(sent, [false, true]);
}

#[tokio::test]
async fn rate_limit_headers_are_upstreams_or_the_keys_own() {
    let world = World::with(|plan| plan.key.limits.requests_per_minute = Some(10)).await;
    world.upstream.otherwise(|_| {
        Answer::json(200, message())
            .header("anthropic-ratelimit-requests-limit", "4000")
            .header("anthropic-ratelimit-requests-remaining", "3999")
            .header("anthropic-ratelimit-requests-reset", "2026-11-23T12:00:01Z")
            .header("anthropic-ratelimit-tokens-limit", "80000")
    });
    let answered = world.ask(world.message()).await;
    assert_eq!(answered.header("anthropic-ratelimit-requests-limit"), Some("4000"));
    world.publish(|snapshot| snapshot.settings.forward_rate_limit_headers = false);
    let answered = world.ask(world.message()).await;
    assert_eq!(answered.header("anthropic-ratelimit-requests-limit"), Some("10"));
    assert_eq!(answered.header("anthropic-ratelimit-requests-remaining"), Some("8"));
    assert_eq!(answered.header("anthropic-ratelimit-tokens-limit"), None);
    let learned = world.gateway.live().upstream_limits;
    assert_eq!((learned[0].limit, learned[0].remaining), (4000, 3999));
}

#[tokio::test]
async fn test_mode_keys_are_answered_by_the_mock_and_never_reach_upstream() {
    let world = World::with(|plan| plan.key.test_mode = true).await;
    assert_eq!(world.ask(world.message()).await.status, 200);
    assert!(world.upstream.arrived().is_empty());
    let arrived = &world.mock.arrived()[0];
    assert_ne!(arrived.headers["x-api-key"], CREDENTIAL);
    assert_eq!(world.journal.intents()[0].upstream_key, None);
    world.settled(1).await;
}

#[tokio::test]
async fn the_mock_as_upstream_never_sees_a_real_key() {
    let world = World::with(|plan| plan.base_is_mock = true).await;
    assert_eq!(world.ask(world.message()).await.status, 200);
    assert_ne!(world.upstream.arrived()[0].headers["x-api-key"], CREDENTIAL);
}

#[tokio::test]
async fn a_large_body_passes_whole() {
    let world = World::new().await;
    let text = "ä".repeat(2 * 1024 * 1024);
    let sent = format!(
        r#"{{"model":"{MODEL}","max_tokens":1,"messages":[{{"role":"user","content":"{text}"}}]}}"#
    );
    let request = world.request("/v1/messages", sent.clone());
    let mut connection = world.connect().await;
    let answered = read(connection.send(request).await.unwrap()).await;
    assert_eq!(answered.status, 200, "{}", answered.text());
    assert!(world.upstream.arrived()[0].body == sent.as_bytes());
    world.settled(1).await;
}

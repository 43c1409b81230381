//! Large and compressed bodies: what is refused before they are read, and what before they come.

use std::sync::Arc;

use chamberlain_core::anthropic::request::Capability;
use chamberlain_core::snapshot::Pause;
use chamberlain_core::time::Timestamp;
use http::{HeaderValue, Request};
use http_body_util::Full;

use crate::client::raw;
use crate::world::{World, body};

fn compressed(world: &World, plain: &str) -> Request<Full<bytes::Bytes>> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut encoder, plain.as_bytes()).unwrap();
    let mut request = world.request("/v1/messages", encoder.finish().unwrap());
    request.headers_mut().insert("content-encoding", HeaderValue::from_static("gzip"));
    request
}

async fn world_of_one_request_a_minute(wait_ms_max: u64) -> World {
    World::with(|plan| {
        plan.settings.wait_ms_max = wait_ms_max;
        plan.key.limits.requests_per_minute = Some(1);
    })
    .await
}

#[tokio::test]
async fn a_key_that_is_over_its_request_limit_has_nothing_decoded_or_read() {
    let world = world_of_one_request_a_minute(0).await;
    // What is refused is counted by nobody, before as after.
    for _ in 0..3 {
        assert_eq!(world.ask(compressed(&world, "{")).await.code(), Some("malformed_request"));
    }
    assert_eq!(world.ask(compressed(&world, &body(""))).await.status, 200);
    for plain in ["{".to_owned(), body("")] {
        let answered = world.ask(compressed(&world, &plain)).await;
        answered.is_refused(429, "rate_limit_error", "requests_per_minute");
        assert!(answered.header("retry-after").is_some(), "in the words of the gate");
    }
    let small = world.ask(world.request("/v1/messages", "{")).await;
    assert_eq!(small.code(), Some("malformed_request"), "what costs nothing to read is read");
    world.settled(1).await;
}

#[tokio::test]
async fn a_limit_that_waiting_helps_with_is_waited_for_as_before() {
    let world = world_of_one_request_a_minute(120_000).await;
    assert_eq!(world.ask(compressed(&world, &body(""))).await.status, 200);
    let request = compressed(&world, &body(""));
    let mut connection = world.connect().await;
    let waiting = tokio::spawn(async move { connection.ask(request).await });
    world.until("one that waits", |world| world.gateway.live().waiting == 1).await;
    waiting.abort();
    world.until("nobody waits", |world| world.gateway.live().body_bytes == 0).await;
    world.settled(1).await;
}

/// The answer to a request whose body has not come yet.
async fn before_the_body(world: &World, path: &str, headers: &str) -> String {
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: gateway\r\nx-api-key: {}\r\nexpect: 100-continue\r\n\
         anthropic-version: 2023-06-01\r\ncontent-length: 30000000\r\n{headers}\r\n",
        world.key
    );
    raw(world.address, &head).await
}

#[tokio::test]
async fn what_needs_no_body_is_refused_before_it_comes() {
    let world = World::new().await;
    world.publish(|snapshot| {
        for key in snapshot.virtual_keys.values_mut() {
            Arc::make_mut(key).policy.capabilities_deny.push(Capability::Batches);
        }
    });
    let told = before_the_body(&world, "/v1/messages/batches", "").await;
    assert!(told.starts_with("HTTP/1.1 403") && told.contains("capability_not_allowed"), "{told}");
    world.publish(|snapshot| {
        for key in snapshot.virtual_keys.values_mut() {
            Arc::make_mut(key).operation = Some("summary".to_owned());
        }
    });
    let named = "x-chamberlain-operation: other\r\n";
    let told = before_the_body(&world, "/v1/messages", named).await;
    assert!(told.contains("operation_not_allowed"), "{told}");
    world.publish(|snapshot| {
        for environment in snapshot.environments.values_mut() {
            let policy = &mut Arc::make_mut(environment).policy;
            policy.networks_allow = vec!["192.0.2.0/24".parse().unwrap()];
        }
    });
    for path in ["/v1/messages", "/v1/messages/count_tokens"] {
        let told = before_the_body(&world, path, "").await;
        assert!(told.contains("source_not_allowed"), "{told}");
    }
    world.publish(|snapshot| {
        snapshot.organization.pause = Some(Pause {
            since: Timestamp::default(),
            until: None,
            by: "test".to_owned(),
            reason: "a leak".to_owned(),
            ends_calls: false,
        });
    });
    let told = before_the_body(&world, "/v1/messages", "").await;
    assert!(told.contains("a leak"), "{told}");
    assert!(world.journal.intents().is_empty());
}

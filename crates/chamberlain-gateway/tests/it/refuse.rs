//! What is refused: before anything is sent, in Anthropic's shape, saying what to do.

use chamberlain_core::admission::key::KeyState;
use chamberlain_core::id::EnvironmentName;
use chamberlain_core::record::Severity;
use chamberlain_core::snapshot::Pause;
use chamberlain_core::source::Source;
use chamberlain_core::time::Timestamp;
use http::HeaderValue;

use crate::client::raw;
use crate::journal::Mood;
use crate::world::{World, body};

fn pause() -> Pause {
    let reason = "an incident".to_owned();
    Pause {
        since: Timestamp::default(),
        until: None,
        by: "somebody".to_owned(),
        reason,
        ends_calls: false,
    }
}

async fn nothing_left(world: &World) {
    assert!(world.upstream.arrived().is_empty() && world.mock.arrived().is_empty());
    assert!(world.journal.intents().is_empty() && world.journal.settlements().is_empty());
    world.settled(0).await;
}

#[tokio::test]
async fn whoever_is_not_known_is_refused_and_told_about() {
    let world = World::new().await;
    let mut request = world.message();
    request.headers_mut().remove("x-api-key");
    world.ask(request.clone()).await.is_refused(401, "authentication_error", "no_credential");
    let wrong = format!("{}x", &world.key[..world.key.len() - 1]);
    request.headers_mut().insert("x-api-key", HeaderValue::try_from(&wrong).unwrap());
    let answered = world.ask(request).await;
    answered.is_refused(401, "authentication_error", "unknown_key");
    assert_eq!(answered.header("x-should-retry"), Some("false"));
    let notices = world.journal.notices("auth.failed");
    assert_eq!(notices.len(), 2);
    assert_eq!(notices[1].facts["source"], "127.0.0.1");
    assert_eq!(notices[1].facts["offered"].as_str(), world.key.split('_').nth(1));
    let secret = wrong.split('_').next_back().unwrap();
    assert!(!format!("{:?}", world.journal.entries()).contains(secret));
    nothing_left(&world).await;
}

#[tokio::test]
async fn a_real_key_is_a_security_event_and_goes_nowhere() {
    let world = World::new().await;
    let real = format!("sk-ant-api03-{}", "Zq7".repeat(9));
    let mut request = world.message();
    let bearer = HeaderValue::try_from(format!("Bearer {real}")).unwrap();
    request.headers_mut().insert("authorization", bearer);
    let answered = world.ask(request).await;
    answered.is_refused(401, "authentication_error", "real_key_offered");
    let notices = world.journal.notices("security.real_key_offered");
    assert_eq!((notices.len(), notices[0].severity), (1, Severity::High));
    assert_eq!(notices[0].facts["real_key_kind"], "sk-ant-api03");
    let written = format!("{:?} {:?} {}", world.journal.entries(), answered, answered.text());
    assert!(!written.contains("Zq7"), "{written}");
    nothing_left(&world).await;
}

#[tokio::test]
async fn a_key_in_a_strange_place_is_not_put_on_record() {
    let world = World::new().await;
    let (real, virtual_key) = (format!("sk-ant-api03-{}", "Zq7".repeat(9)), world.key.clone());
    for key in [&real, &virtual_key] {
        let secret = &key[key.len() - 20..];
        let model = body("").replace(crate::world::MODEL, key);
        let mut operation = world.message();
        let value = HeaderValue::try_from(key).unwrap();
        operation.headers_mut().insert("x-chamberlain-operation", value);
        for request in [
            world.request("/v1/messages", model),
            operation,
            world.request(&format!("/v1/models/{key}"), ""),
            world.request(&format!("/v1/{key}"), ""),
        ] {
            let answered = world.ask(request).await;
            assert!(answered.status.is_client_error(), "{answered:?}");
            let written = format!("{:?} {:?}", world.journal.entries(), answered);
            assert!(!written.contains(secret), "{written}");
        }
    }
    nothing_left(&world).await;
}

#[tokio::test]
async fn heads_are_bounded() {
    let world = World::new().await;
    let many = "x-a: b\r\n".repeat(200);
    let long = format!("x-a: {}\r\n", "b".repeat(200_000));
    for headers in [many, long] {
        let request = format!("GET /v1/models HTTP/1.1\r\nhost: g\r\n{headers}\r\n");
        let answer = raw(world.address, &request).await;
        // A head that is cut off may take the answer down with it.
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431 "), "{answer}");
    }
    assert!(world.journal.entries().is_empty());
}

#[tokio::test]
async fn stopped_keys_and_pauses_are_told_apart() {
    let frozen = World::with(|plan| plan.key.state = KeyState::Frozen).await;
    frozen.ask(frozen.message()).await.is_refused(403, "permission_error", "key_frozen");
    nothing_left(&frozen).await;
    let world = World::with(|plan| plan.key.pause = Some(pause())).await;
    world.ask(world.message()).await.is_refused(503, "api_error", "paused");
    let world = World::with(|plan| plan.environment.pause = Some(pause())).await;
    let answered = world.ask(world.message()).await;
    answered.is_refused(503, "api_error", "paused");
    assert!(answered.text().contains("nvironment dev is paused (an incident)"));
    world.publish(|snapshot| snapshot.organization.pause = Some(pause()));
    assert!(world.ask(world.message()).await.text().contains("rganization is paused"));
    nothing_left(&world).await;
}

#[tokio::test]
async fn paths_are_matched_as_they_were_sent() {
    let world = World::new().await;
    for target in [
        "//v1/messages",
        "/v1/./messages",
        "/v1/models/../messages",
        "/v1/%6Dessages",
        "/v1/messages/",
        "/v1/messages%2Fcount_tokens",
        "/v1/models/..%2Fmessages",
        "/v1/complete",
        "/v1/messages/batches",
        "/",
        "*",
        "http://gateway.example/v1/messages",
        "https://api.anthropic.com/v1/messages",
    ] {
        let (key, body) = (&world.key, body(""));
        let length = body.len();
        let request = format!(
            "POST {target} HTTP/1.1\r\nhost: gateway.example\r\nx-api-key: {key}\r\n\
             content-length: {length}\r\nconnection: close\r\n\r\n{body}"
        );
        let answer = raw(world.address, &request).await;
        let status = answer.split(' ').nth(1).unwrap_or_default();
        assert!(["400", "403", "405"].contains(&status), "{target}: {answer}");
    }
    nothing_left(&world).await;
}

#[tokio::test]
async fn unknown_routes_are_for_known_callers_only() {
    let world = World::new().await;
    let known = world.ask(world.request("/v1/nothing", "")).await;
    known.is_refused(403, "permission_error", "unknown_route");
    let notice = &world.journal.notices("call.refused")[0];
    assert_eq!(notice.facts["code"], "unknown_route");
    assert_eq!(notice.facts["environment"], "dev");
    let mut request = world.request("/v1/nothing", "");
    request.headers_mut().remove("x-api-key");
    world.ask(request).await.is_refused(401, "authentication_error", "no_credential");
    let wrong = world.ask(world.request("/v1/models", "{}")).await;
    assert_eq!((wrong.status.as_u16(), wrong.code()), (405, Some("wrong_method")));
    nothing_left(&world).await;
}

#[tokio::test]
async fn bodies_that_are_too_large_are_refused_however_they_come() {
    let world = World::with(|plan| plan.settings.request_body_bytes_max = 100_000).await;
    let large = world.request("/v1/messages", vec![b' '; 100_001]);
    world.ask(large).await.is_refused(413, "request_too_large", "request_too_large");
    let key = &world.key;
    let chunk = format!("{:x}\r\n{}\r\n", 50_000, " ".repeat(50_000));
    let request = format!(
        "POST /v1/messages HTTP/1.1\r\nhost: g\r\nx-api-key: {key}\r\nconnection: close\r\n\
         transfer-encoding: chunked\r\n\r\n{chunk}{chunk}1\r\n \r\n0\r\n\r\n"
    );
    let answer = raw(world.address, &request).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    let bomb = miniature_bomb();
    assert!(bomb.len() < 100_000);
    let mut request = world.request("/v1/messages", bomb);
    request.headers_mut().insert("content-encoding", HeaderValue::from_static("gzip"));
    let code = "request_body_too_large_after_decoding";
    world.ask(request).await.is_refused(413, "request_too_large", code);
    nothing_left(&world).await;
}

fn miniature_bomb() -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    std::io::Write::write_all(&mut encoder, &vec![b' '; 10_000_000]).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn bodies_together_stay_within_memory() {
    let world = World::with(|plan| plan.settings.bodies_in_flight_bytes_max = 10).await;
    let answered = world.ask(world.message()).await;
    answered.is_refused(503, "overloaded_error", "bodies_in_flight");
    assert_eq!(answered.header("x-should-retry"), Some("true"));
    nothing_left(&world).await;
}

#[tokio::test]
async fn what_cannot_be_read_is_refused() {
    let world = World::new().await;
    for bad in [
        "{".to_owned(),
        "[]".to_owned(),
        body(r#","model":"claude-opus-5-5""#),
        body(&format!(r#","x":{}{}"#, "[".repeat(200), "]".repeat(200))),
    ] {
        let answered = world.ask(world.request("/v1/messages", bad.clone())).await;
        assert_eq!(answered.code(), Some("malformed_request"), "{bad}");
    }
    let mut latin = body("").into_bytes();
    latin.push(0xff);
    let answered = world.ask(world.request("/v1/messages", latin)).await;
    assert_eq!(answered.code(), Some("malformed_request"));
    let mut request = world.message();
    let utf16 = HeaderValue::from_static("application/json; charset=utf-16");
    request.headers_mut().insert("content-type", utf16);
    let answered = world.ask(request).await;
    answered.is_refused(400, "invalid_request_error", "unsupported_charset");
    let mut request = world.message();
    let twice = HeaderValue::from_static("gzip, gzip");
    request.headers_mut().insert("content-encoding", twice);
    let code = "request_body_encoding_unsupported";
    world.ask(request).await.is_refused(400, "invalid_request_error", code);
    nothing_left(&world).await;
}

#[tokio::test]
async fn a_get_takes_no_body() {
    let world = World::new().await;
    let mut request = world.request("/v1/models", "{}");
    *request.method_mut() = http::Method::GET;
    let answered = world.ask(request).await;
    assert_eq!(answered.code(), Some("malformed_request"), "{}", answered.text());
    nothing_left(&world).await;
}

#[tokio::test]
async fn policy_and_networks_decide_before_anything_leaves() {
    let world = World::with(|plan| {
        plan.environment.policy.models_allow = vec!["claude-sonnet-*".to_owned()];
    })
    .await;
    world.ask(world.message()).await.is_refused(403, "permission_error", "model_not_allowed");
    let notice = &world.journal.notices("call.refused")[0];
    assert_eq!(
        (notice.severity, &notice.facts["code"]),
        (Severity::Warning, &"model_not_allowed".into())
    );
    let world = World::with(|plan| {
        plan.key.policy.networks_allow = vec!["10.0.1.0/24".parse().unwrap()];
        plan.settings.trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()];
    })
    .await;
    for (from, path, status) in [
        ("10.0.1.7", "/v1/messages", 200),
        ("10.0.2.7", "/v1/messages", 403),
        ("10.0.1.7, 10.0.2.7", "/v1/messages", 403),
        ("10.0.2.7", "/v1/models", 403),
        ("10.0.1.7", "/v1/models", 200),
    ] {
        let body = if path.ends_with("models") { String::new() } else { body("") };
        let mut request = world.request(path, body);
        request.headers_mut().insert("x-forwarded-for", HeaderValue::from_static(from));
        assert_eq!(world.ask(request).await.status.as_u16(), status, "{from} {path}");
    }
    let source: Source = "10.0.1.7".parse().unwrap();
    assert!(world.journal.intents().iter().all(|intent| intent.source == source));
}

#[tokio::test]
async fn a_bound_operation_cannot_be_talked_away() {
    let world = World::with(|plan| plan.key.operation = Some("summary".to_owned())).await;
    let mut request = world.message();
    let other = HeaderValue::from_static("translation");
    request.headers_mut().insert("x-chamberlain-operation", other);
    let answered = world.ask(request.clone()).await;
    answered.is_refused(403, "permission_error", "operation_not_allowed");
    request.headers_mut().append("x-chamberlain-operation", HeaderValue::from_static("summary"));
    assert_eq!(world.ask(request).await.code(), Some("malformed_request"));
    nothing_left(&world).await;
    assert_eq!(world.ask(world.message()).await.status, 200);
    assert_eq!(world.journal.intents()[0].operation.as_deref(), Some("summary"));
}

#[tokio::test]
async fn without_a_key_for_upstream_nothing_is_sent() {
    let world = World::with(|plan| plan.environment.upstream_key = None).await;
    world.ask(world.message()).await.is_refused(503, "api_error", "no_upstream_key");
    nothing_left(&world).await;
    let world = World::with(|plan| {
        plan.environment.upstream_key = Some(chamberlain_core::id::UpstreamKeyId::new("uk_sealed"));
    })
    .await;
    world.ask(world.message()).await.is_refused(503, "api_error", "upstream_key_not_open");
    nothing_left(&world).await;
    let world = World::with(|plan| (plan.key.test_mode, plan.with_mock) = (true, false)).await;
    world.ask(world.message()).await.is_refused(503, "api_error", "no_mock");
    let world = World::with(|plan| plan.key.environment = EnvironmentName::new("gone")).await;
    world.ask(world.message()).await.is_refused(503, "api_error", "no_environment");
    nothing_left(&world).await;
}

#[tokio::test]
async fn what_cannot_be_recorded_is_not_made() {
    let world = World::new().await;
    world.journal.intents_are(Mood::Broken);
    let answered = world.ask(world.message()).await;
    answered.is_refused(503, "api_error", "not_on_record");
    assert_eq!(answered.header("x-should-retry"), Some("true"));
    nothing_left(&world).await;
    world.journal.intents_are(Mood::Willing);
    assert_eq!(world.ask(world.message()).await.status, 200, "and then it works again");
}

#[tokio::test]
async fn callers_without_a_key_cannot_fill_the_record() {
    let world = World::new().await;
    let mut connection = world.connect().await;
    for _ in 0..300 {
        let mut request = world.message();
        request.headers_mut().remove("x-api-key");
        connection.ask(request).await.is_refused(401, "authentication_error", "no_credential");
    }
    let told = world.journal.notices("auth.failed").len();
    assert!((120..300).contains(&told), "{told}");
}

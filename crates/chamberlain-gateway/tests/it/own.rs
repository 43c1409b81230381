//! What upstream keeps for one virtual key is out of reach of every other.

use bytes::Bytes;
use chamberlain_core::admission::key::{VirtualKey, mint};
use chamberlain_core::id::{UpstreamKeyId, VirtualKeyId};
use chamberlain_core::record::Severity;
use chamberlain_core::resource::{Resource, ResourceId, ResourceKind};
use http::{HeaderValue, Request};
use http_body_util::Full;
use serde_json::{Map, Value, json};

use crate::client::{Answered, piece, read};
use crate::journal::Mood;
use crate::upstream::{Answer, data};
use crate::world::{MODEL, World};

/// A second key of the same environment.
fn other_key(world: &World) -> String {
    let minted = mint([7; 16], [8; 43]);
    world.publish(|snapshot| {
        let first = snapshot.virtual_keys.values().next().unwrap();
        let key = VirtualKey {
            id: minted.id.clone(),
            name: "other".to_owned(),
            secret_hash: minted.secret_hash,
            ..VirtualKey::clone(first)
        };
        snapshot.virtual_keys.insert(minted.id.clone(), key.into());
    });
    minted.text.expose().to_owned()
}

fn own_id(world: &World) -> VirtualKeyId {
    VirtualKeyId::new(world.key.split('_').nth(1).unwrap())
}

fn resource(world: &World, kind: ResourceKind, id: &str) -> Resource {
    Resource {
        kind,
        id: ResourceId::parse(id).unwrap(),
        virtual_key: own_id(world),
        environment: world.snapshot.load().environments.values().next().unwrap().name.clone(),
        upstream_key: Some(UpstreamKeyId::new("uk_test")),
        created: chamberlain_core::time::Timestamp::default(),
        expires: None,
        about: Map::new(),
    }
}

fn body(more: Value) -> Bytes {
    let mut body = json!({
        "model": MODEL, "max_tokens": 100,
        "messages": [{ "role": "user", "content": "Hi" }],
    });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body.to_string().into()
}

fn asking(world: &World, key: &str, more: Value) -> Request<Full<Bytes>> {
    let mut request = world.request("/v1/messages", body(more));
    request.headers_mut().insert("x-api-key", HeaderValue::try_from(key).unwrap());
    request
}

async fn ask(world: &World, key: &str, more: Value) -> Answered {
    world.ask(asking(world, key, more)).await
}

fn create() -> Value {
    json!({ "thread": { "type": "create" } })
}

fn go_on(id: &str) -> Value {
    json!({ "thread": { "type": "continue", "previous_message_id": id } })
}

fn uploading(id: &str) -> Value {
    let upload = json!({ "type": "container_upload", "file_id": id });
    let fetch = json!({ "type": "web_fetch_20260209", "name": "web_fetch" });
    json!({ "messages": [{ "role": "user", "content": [upload] }], "tools": [fetch] })
}

fn in_container(id: &str) -> Value {
    let fetch = json!({ "type": "web_fetch_20260209", "name": "web_fetch" });
    json!({ "container": id, "tools": [fetch] })
}

/// A message of upstream's, with more in it.
fn message(id: &str, more: Value) -> String {
    let mut message = json!({
        "id": id, "type": "message", "role": "assistant", "model": MODEL,
        "content": [{ "type": "text", "text": "Hello" }], "stop_reason": "end_turn",
        "usage": { "input_tokens": 100, "output_tokens": 20 },
    });
    message.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    message.to_string()
}

fn code_result(file: &str) -> Value {
    json!({ "type": "code_execution_tool_result", "tool_use_id": "x", "content": {
        "type": "code_execution_result",
        "content": [{ "type": "code_execution_output", "file_id": file }],
    } })
}

#[tokio::test]
async fn a_thread_is_gone_on_with_by_its_own_key_only() {
    let world = World::new().await;
    let other = other_key(&world);
    world.upstream.then_answer(Answer::json(200, message("msg_first", json!({}))));
    assert_eq!(ask(&world, &world.key, create()).await.status, 200);
    let bound = &world.journal.bound()[0];
    assert_eq!((bound.kind, bound.id.as_str()), (ResourceKind::Message, "msg_first"));
    assert_eq!(bound.upstream_key.as_ref().map(|key| key.as_str()), Some("uk_test"));

    let foreign = ask(&world, &other, go_on("msg_first")).await;
    let unknown = ask(&world, &other, go_on("msg_other")).await;
    foreign.is_refused(404, "not_found_error", "thread_not_found");
    unknown.is_refused(404, "not_found_error", "thread_not_found");
    let text = |answered: &Answered| answered.json()["error"]["message"].to_string();
    assert_eq!(text(&foreign), text(&unknown).replace("msg_other", "msg_first"));
    let notices = world.journal.notices("security.foreign_id");
    assert_eq!(notices.len(), 1, "only what exists was somebody's");
    assert_eq!(notices[0].severity, Severity::Warning);
    assert_eq!(notices[0].facts["owner"], json!(own_id(&world)));

    world.upstream.then_answer(Answer::json(200, message("msg_second", json!({}))));
    assert_eq!(ask(&world, &world.key, go_on("msg_first")).await.status, 200);
    assert_eq!(world.upstream.arrived().len(), 2, "what was refused never left");
    world.settled(2).await;
}

#[tokio::test]
async fn what_a_thread_held_bounds_its_next_turn() {
    let world = World::new().await;
    world.upstream.then_answer(Answer::json(200, message("msg_1", json!({}))));
    ask(&world, &world.key, create()).await;
    world.upstream.then_answer(Answer::json(200, message("msg_2", json!({}))));
    ask(&world, &world.key, go_on("msg_1")).await;
    // Without what is remembered, it would be 200,000 tokens at the price of a cache write: $0.25.
    let reserved = world.journal.intents()[1].reserved.to_decimal();
    assert!(reserved.starts_with("0.00"), "{reserved}");

    world.journal.has(resource(&world, ResourceKind::Message, "msg_of_another_version"));
    let answered = ask(&world, &world.key, go_on("msg_of_another_version")).await;
    answered.is_refused(404, "not_found_error", "thread_not_found");
}

#[tokio::test]
async fn tools_that_a_thread_was_begun_with_are_bounded_in_every_turn() {
    let world = World::new().await;
    let search = json!({ "type": "web_search_20260318", "name": "web_search", "max_uses": 3 });
    let mut first = create();
    first["tools"] = json!([search]);
    world.upstream.then_answer(Answer::json(200, message("msg_1", json!({}))));
    assert_eq!(ask(&world, &world.key, first).await.status, 200);
    world.upstream.then_answer(Answer::json(200, message("msg_2", json!({}))));
    assert_eq!(ask(&world, &world.key, go_on("msg_1")).await.status, 200);
    let intents = world.journal.intents();
    assert!(intents[1].reserved >= intents[0].reserved, "ten samplings and three searches again");
}

#[tokio::test]
async fn a_thread_stays_with_its_upstream_key() {
    let world = World::new().await;
    world.upstream.then_answer(Answer::json(200, message("msg_1", json!({}))));
    ask(&world, &world.key, create()).await;
    let mut bound = world.journal.bound().remove(0);
    bound.upstream_key = Some(UpstreamKeyId::new("uk_before"));
    world.journal.has(bound);
    let answered = ask(&world, &world.key, go_on("msg_1")).await;
    answered.is_refused(404, "not_found_error", "thread_not_found");
    assert!(answered.text().contains("an upstream key that this environment does not use"));
    world.settled(1).await;
}

#[tokio::test]
async fn files_and_containers_are_their_own_keys() {
    let world = World::new().await;
    let other = other_key(&world);
    world.journal.has(resource(&world, ResourceKind::File, "file_1"));
    world.journal.has(resource(&world, ResourceKind::Container, "container_1"));
    let source = json!({ "type": "document", "source": { "type": "file", "file_id": "file_1" } });
    let nested = json!({ "type": "tool_result", "tool_use_id": "x", "content": [source] });
    let in_result = json!({ "messages": [{ "role": "user", "content": [nested] }] });
    for more in [uploading("file_1"), in_result, in_container("container_1")] {
        let foreign = ask(&world, &other, more.clone()).await;
        foreign.is_refused(404, "not_found_error", "unknown_resource");
        assert_eq!(ask(&world, &world.key, more).await.status, 200);
    }
    let mut count = world.request("/v1/messages/count_tokens", body(uploading("file_1")));
    count.headers_mut().insert("x-api-key", HeaderValue::try_from(&other).unwrap());
    world.ask(count).await.is_refused(404, "not_found_error", "unknown_resource");
    for unknown in [uploading("file_2"), in_container("container_2")] {
        let answered = ask(&world, &world.key, unknown).await;
        answered.is_refused(404, "not_found_error", "unknown_resource");
    }
    assert_eq!(world.journal.notices("security.foreign_id").len(), 4);
    world.settled(3).await;
}

#[tokio::test]
async fn what_an_answer_hands_out_is_the_callers() {
    let world = World::new().await;
    let other = other_key(&world);
    let container = json!({ "id": "container_9", "expires_at": "2026-11-23T13:00:00Z" });
    let made = json!({ "container": container, "content": [code_result("file_9")] });
    world.upstream.then_answer(Answer::json(200, message("msg_9", made)));
    world.journal.has(resource(&world, ResourceKind::File, "file_1"));
    assert_eq!(ask(&world, &world.key, uploading("file_1")).await.status, 200);
    for more in [uploading("file_9"), in_container("container_9")] {
        assert_eq!(ask(&world, &world.key, more.clone()).await.status, 200);
        assert_eq!(ask(&world, &other, more).await.status, 404);
    }
    let answered = ask(&world, &world.key, go_on("msg_9")).await;
    answered.is_refused(404, "not_found_error", "thread_not_found");
}

fn event(name: &str, event: Value) -> String {
    format!("event: {name}\ndata: {event}\n\n")
}

fn start(id: &str) -> String {
    let message: Value = serde_json::from_str(&message(id, json!({}))).unwrap();
    event("message_start", json!({ "type": "message_start", "message": message }))
}

fn delta(container: Value) -> String {
    let delta = json!({ "stop_reason": "end_turn", "container": container });
    let usage = json!({ "output_tokens": 20 });
    event("message_delta", json!({ "type": "message_delta", "delta": delta, "usage": usage }))
}

fn stop() -> String {
    event("message_stop", json!({ "type": "message_stop" }))
}

#[tokio::test]
async fn a_stream_waits_only_where_an_id_is() {
    let world = World::new().await;
    let (pieces, answer) = Answer::pieces("text/event-stream");
    world.upstream.then_answer(answer);
    world.journal.bindings_are(Mood::Slow);
    let mut more = create();
    more["stream"] = json!(true);
    let mut connection = world.connect().await;
    let asked = connection.send(asking(&world, &world.key, more)).await.unwrap();
    let mut body = asked.into_body();
    pieces.send(data("event: ping\ndata: {}\n\n")).unwrap();
    assert_eq!(piece(&mut body).await, "event: ping\ndata: {}\n\n", "nothing to wait for");
    pieces.send(data(&start("msg_1"))).unwrap();
    world.until("the binding", |world| world.journal.kept_bindings() == 1).await;
    {
        let waiting = std::pin::pin!(piece(&mut body));
        let waited = tokio::time::timeout(std::time::Duration::from_millis(50), waiting).await;
        assert!(waited.is_err(), "the id was passed on before it was bound");
    }
    world.journal.release();
    assert_eq!(piece(&mut body).await, start("msg_1"));
    pieces.send(data(&delta(Value::Null))).unwrap();
    assert_eq!(piece(&mut body).await, delta(Value::Null));
    pieces.send(data(&stop())).unwrap();
    assert_eq!(piece(&mut body).await, stop());
    assert_eq!(world.journal.bound()[0].about["tokens"], json!(120));
    drop(pieces);
    world.settled(1).await;
}

#[tokio::test]
async fn an_id_that_cannot_be_bound_does_not_reach_the_client() {
    let world = World::new().await;
    let other = other_key(&world);
    world.journal.has(resource(&world, ResourceKind::Message, "msg_twice"));
    world.journal.has(resource(&world, ResourceKind::Container, "container_twice"));
    let streamed = |more: &str| Answer::stream([data("event: ping\ndata: {}\n\n"), data(more)]);
    let mut in_stream = create();
    in_stream["stream"] = json!(true);

    world.upstream.then_answer(streamed(&start("msg_twice")));
    let stream = ask(&world, &other, in_stream.clone()).await;
    assert!(stream.broken && !stream.text().contains("msg_twice"), "{}", stream.text());
    assert!(stream.text().contains("not_on_record"), "{}", stream.text());

    world.upstream.then_answer(Answer::json(200, message("msg_twice", json!({}))));
    let whole = ask(&world, &other, create()).await;
    assert!(whole.broken && whole.body.is_empty(), "{}", whole.text());

    world.journal.bindings_are(Mood::Broken);
    world.upstream.then_answer(streamed(&start("msg_new")));
    let stream = ask(&world, &other, in_stream).await;
    assert!(stream.broken && !stream.text().contains("msg_new"), "{}", stream.text());
    world.settled(3).await;
}

#[tokio::test]
async fn a_container_is_bound_before_the_event_that_tells_it() {
    let world = World::new().await;
    let container = json!({ "id": "container_1", "expires_at": "2026-11-23T13:00:00Z" });
    let whole = [start("msg_1"), delta(container), stop()].concat();
    // Split in the middle of events: what comes out is the same.
    let pieces: Vec<_> =
        whole.as_bytes().chunks(37).map(|it| std::str::from_utf8(it).unwrap()).map(data).collect();
    world.upstream.then_answer(Answer::stream(pieces));
    let mut more = in_container("container_0");
    more["stream"] = json!(true);
    world.journal.has(resource(&world, ResourceKind::Container, "container_0"));
    let mut connection = world.connect().await;
    let answered = read(connection.send(asking(&world, &world.key, more)).await.unwrap()).await;
    assert_eq!((answered.text(), answered.broken), (whole.as_str(), false));
    let bound = world.journal.bound();
    let ids: Vec<_> = bound.iter().map(|it| it.id.as_str()).collect();
    assert_eq!(ids, ["container_0", "container_1"], "without a thread the message is not bound");
    assert!(bound[1].expires.is_some());
    world.settled(1).await;
}

#[tokio::test]
async fn a_cache_miss_is_explained_by_ones_own_answers_only() {
    let world = World::new().await;
    let other = other_key(&world);
    let diagnosed = |id: &str| json!({ "diagnostics": { "previous_message_id": id } });
    world.upstream.then_answer(Answer::json(200, message("msg_json", json!({}))));
    ask(&world, &world.key, json!({})).await;
    world.upstream.then_answer(Answer::stream([
        data(&start("msg_sse")),
        data(&delta(Value::Null)),
        data(&stop()),
    ]));
    ask(&world, &world.key, json!({ "stream": true })).await;
    assert_eq!(world.journal.bound(), [], "plain calls bind nothing");
    for id in ["msg_json", "msg_sse"] {
        assert_eq!(ask(&world, &world.key, diagnosed(id)).await.status, 200);
        let foreign = ask(&world, &other, diagnosed(id)).await;
        foreign.is_refused(404, "not_found_error", "unknown_resource");
    }
    let unknown = ask(&world, &world.key, diagnosed("msg_unknown")).await;
    unknown.is_refused(404, "not_found_error", "unknown_resource");
    assert_eq!(ask(&world, &world.key, json!({ "diagnostics": {} })).await.status, 200);
}

#[tokio::test]
async fn own_resources_that_cannot_be_looked_up_are_refused() {
    let world = World::new().await;
    world.journal.has(resource(&world, ResourceKind::File, "file_1"));
    world.journal.lookups_are(Mood::Broken);
    let answered = ask(&world, &world.key, uploading("file_1")).await;
    answered.is_refused(503, "api_error", "not_on_record");
    world.settled(0).await;
}

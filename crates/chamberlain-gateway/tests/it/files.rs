//! Files: whose they are, how they pass, and what is left of an upload that goes wrong.

use std::sync::Arc;
use std::time::Duration;

use chamberlain_core::admission::key::{VirtualKey, mint};
use chamberlain_core::anthropic::request::Capability;
use chamberlain_core::id::UpstreamKeyId;
use chamberlain_core::record::{Outcome, Route};
use chamberlain_core::snapshot::GatewaySettings;
use http::{Method, Request};
use http_body_util::Full;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::client::Answered;
use crate::journal::Mood;
use crate::upstream::{Act, Answer, Arrived, Piece, error};
use crate::world::{CREDENTIAL, World};

const FORM: &str =
    "--edge\r\ncontent-disposition: form-data; name=\"file\"\r\n\r\n\u{fc}\r\n--edge--";

/// The object of file number `n`, written as nobody else would write it.
fn object(n: usize) -> String {
    format!("{{ \"type\":\"file\", \"id\":\"file_{n}\",\"size_bytes\":2.0,\"expires_at\":null}}\n")
}

/// An upstream that takes any form and shows any file.
fn takes_files(world: &World) {
    let made = std::sync::atomic::AtomicUsize::new(0);
    world.upstream.otherwise(move |arrived: &Arrived| match arrived.method.as_str() {
        "POST" => {
            Answer::json(200, object(made.fetch_add(1, std::sync::atomic::Ordering::SeqCst) + 1))
        }
        "DELETE" => Answer::json(200, "{\"id\":\"file_1\",\"type\":\"file_deleted\"}"),
        _ => Answer::json(200, "{\"upstream\":\"object\"}"),
    });
}

fn ask_as(world: &World, key: &str, method: Method, path: &str) -> Request<Full<bytes::Bytes>> {
    let mut request = world.request(path, "");
    *request.method_mut() = method;
    request.headers_mut().insert("x-api-key", key.parse().unwrap());
    request
}

async fn get(world: &World, path: &str) -> Answered {
    world.ask(world.request(path, "")).await
}

async fn delete(world: &World, path: &str) -> Answered {
    world.ask(ask_as(world, &world.key, Method::DELETE, path)).await
}

fn form(world: &World) -> Request<Full<bytes::Bytes>> {
    let mut request = world.request("/v1/files?beta=true", FORM);
    let form = "multipart/form-data; boundary=edge".parse().unwrap();
    request.headers_mut().insert("content-type", form);
    request
}

async fn upload(world: &World) -> Answered {
    world.ask(form(world)).await
}

/// Publishes a second key of the same environment; its text.
fn another_key(world: &World) -> String {
    let minted = mint([7; 16], [8; 43]);
    let first = world.snapshot.load().virtual_keys.values().next().unwrap().clone();
    let (id, secret_hash) = (minted.id.clone(), minted.secret_hash);
    let other = Arc::new(VirtualKey { id: id.clone(), secret_hash, ..VirtualKey::clone(&first) });
    world.publish(|snapshot| drop(snapshot.virtual_keys.insert(id, other)));
    minted.text.expose().to_owned()
}

/// A connection that an upload was begun on, with `announced` bytes to come or in chunks.
async fn begin(world: &World, announced: Option<usize>) -> TcpStream {
    let length = match announced {
        Some(length) => format!("content-length: {length}"),
        None => "transfer-encoding: chunked".to_owned(),
    };
    let head = format!(
        "POST /v1/files HTTP/1.1\r\nhost: h\r\nx-api-key: {}\r\nconnection: close\r\n\
         anthropic-version: 2026-10-21\r\n\
         content-type: multipart/form-data; boundary=edge\r\n{length}\r\n\r\n",
        world.key
    );
    let mut stream = TcpStream::connect(world.address).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    stream
}

/// Sends the text in one chunk.
async fn chunk(stream: &mut TcpStream, text: &str) {
    let chunk = format!("{:x}\r\n{text}\r\n", text.len());
    stream.write_all(chunk.as_bytes()).await.unwrap();
}

async fn rest(mut stream: TcpStream) -> String {
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn a_form_passes_byte_for_byte_and_its_file_is_bound_first() {
    let world = World::new().await;
    takes_files(&world);
    let answer = upload(&world).await;
    assert_eq!((answer.status.as_u16(), answer.text()), (200, object(1).as_str()));
    assert!(answer.header("x-chamberlain-call").is_some());
    let arrived = &world.upstream.arrived()[0];
    assert_eq!((arrived.method.as_str(), arrived.target.as_str()), ("POST", "/v1/files?beta=true"));
    assert_eq!(arrived.body, FORM);
    assert_eq!(arrived.headers["x-api-key"], CREDENTIAL);
    assert_eq!(arrived.headers["content-type"], "multipart/form-data; boundary=edge");
    assert_eq!(arrived.headers["content-length"], FORM.len().to_string().as_str());
    let bound = &world.journal.bound()[0];
    assert_eq!((bound.id.as_str(), bound.expires), ("file_1", None));
    assert_eq!(bound.upstream_key, Some(UpstreamKeyId::new("uk_test")));
    world.settled(1).await;
    let settlement = &world.journal.settlements()[0];
    assert_eq!((settlement.outcome, settlement.status), (Outcome::Completed, 200));
    assert!(settlement.cost.is_zero() && settlement.reserved.is_zero());
    assert_eq!(world.journal.intents()[0].route, Route::FileUpload);
}

#[tokio::test]
async fn the_answer_waits_for_the_binding() {
    let world = World::new().await;
    takes_files(&world);
    world.journal.bindings_are(Mood::Slow);
    let asking = tokio::spawn({
        let (request, address) = (form(&world), world.address);
        async move { crate::client::Connection::open(address).await.ask(request).await }
    });
    world.until("the file", |world| world.upstream.arrived().len() == 1).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!asking.is_finished());
    world.journal.release();
    assert_eq!(asking.await.unwrap().status, 200);
    world.settled(1).await;
}

#[tokio::test]
async fn what_cannot_be_bound_is_deleted_and_never_shown() {
    let world = World::new().await;
    takes_files(&world);
    world.journal.bindings_are(Mood::Broken);
    let answer = upload(&world).await;
    answer.is_refused(503, "api_error", "not_on_record");
    assert!(!answer.text().contains("file_1"));
    let undone = &world.upstream.arrived()[1];
    assert_eq!((undone.method.as_str(), undone.target.as_str()), ("DELETE", "/v1/files/file_1"));
    assert_eq!(undone.headers["x-api-key"], CREDENTIAL);
    assert_eq!(undone.headers["anthropic-version"], "2023-06-01");
    world.settled(1).await;
    assert_eq!(world.journal.notices("call.abandoned").len(), 1);
}

#[tokio::test]
async fn an_id_that_is_another_keys_already_is_neither_shown_nor_deleted() {
    let world = World::new().await;
    let other = another_key(&world);
    world.upstream.otherwise(|_| Answer::json(200, object(1)));
    assert_eq!(upload(&world).await.status, 200);
    let mut request = form(&world);
    request.headers_mut().insert("x-api-key", other.parse().unwrap());
    world.ask(request).await.is_refused(503, "api_error", "not_on_record");
    assert!(world.upstream.arrived().iter().all(|arrived| arrived.method == "POST"));
}

#[tokio::test]
async fn an_answer_that_names_no_file_is_not_passed_on() {
    for answer in [
        "{\"id\":\"../x\",\"type\":\"file\"}",
        "{\"id\":\"msg_1\",\"type\":\"message\"}",
        "{\"type\":\"file\"}",
        "[]",
        "<html>",
        "{\"id\":\"f\",\"type\":\"file\",\"expires_at\":\"soon\"}",
    ] {
        let world = World::new().await;
        world.upstream.then_answer(Answer::json(200, answer));
        upload(&world).await.is_refused(502, "api_error", "upload_unreadable");
        assert!(world.journal.bound().is_empty());
        world.settled(1).await;
    }
}

#[tokio::test]
async fn upstreams_no_to_a_form_passes_as_it_is() {
    let world = World::new().await;
    let body = error("invalid_request_error");
    world.upstream.then_answer(Answer::json(400, body.clone()));
    world.upstream.then_answer(Answer::json(529, error("overloaded_error")));
    let answer = upload(&world).await;
    assert_eq!((answer.status.as_u16(), answer.text(), answer.code()), (400, body.as_str(), None));
    assert_eq!(upload(&world).await.status, 529);
    assert_eq!(world.upstream.arrived().len(), 2, "what was sent is not sent again");
    world.settled(2).await;
}

#[tokio::test]
async fn somebody_elses_file_is_as_good_as_none() {
    let world = World::new().await;
    takes_files(&world);
    let other = another_key(&world);
    assert_eq!(upload(&world).await.status, 200);
    let routes = [
        (Method::GET, "/v1/files/ID"),
        (Method::GET, "/v1/files/ID/content"),
        (Method::DELETE, "/v1/files/ID"),
    ];
    for (method, path) in routes {
        let ask = |id: &str| ask_as(&world, &other, method.clone(), &path.replace("ID", id));
        let foreign = world.ask(ask("file_1")).await;
        let missing = world.ask(ask("file_2")).await;
        foreign.is_refused(404, "not_found_error", "unknown_resource");
        let plain = |answer: &Answered| {
            let message = answer.json()["error"]["message"].as_str().unwrap().to_owned();
            let names =
                |map: &http::HeaderMap| map.keys().map(ToString::to_string).collect::<Vec<_>>();
            (answer.status, message.replace("file_1", "file_2"), names(&answer.headers))
        };
        assert_eq!(plain(&foreign), plain(&missing), "{method} {path}");
    }
    let list = world.ask(ask_as(&world, &other, Method::GET, "/v1/files?ids=file_1")).await;
    assert_eq!(list.json(), json!({"data": [], "next_page": null}));
    assert_eq!(world.upstream.arrived().len(), 1);
    let notices = world.journal.notices("security.foreign_id");
    assert_eq!(notices.len(), 4);
    assert!(notices[0].message.contains("file_1"), "{:?}", notices[0]);
}

#[tokio::test]
async fn ones_own_file_is_asked_of_upstream() {
    let world = World::new().await;
    takes_files(&world);
    assert_eq!(upload(&world).await.status, 200);
    assert_eq!(get(&world, "/v1/files/file_1?beta=true").await.text(), "{\"upstream\":\"object\"}");
    let content = "event: not one\n\n".repeat(9);
    let answer = Answer::json(200, content.clone()).header("content-type", "text/event-stream");
    world.upstream.then_answer(answer);
    let answer = get(&world, "/v1/files/file_1/content").await;
    assert_eq!((answer.text(), answer.broken), (content.as_str(), false));
    assert_eq!(world.upstream.arrived()[2].target, "/v1/files/file_1/content");
    world.settled(3).await;
    let routes: Vec<_> = world.journal.intents().iter().map(|intent| intent.route).collect();
    assert_eq!(routes, [Route::FileUpload, Route::File, Route::FileContent]);
    assert!(world.journal.settlements().iter().all(|it| it.outcome == Outcome::Completed));
}

#[tokio::test]
async fn a_download_that_breaks_off_upstream_breaks_off_here_without_words() {
    let world = World::new().await;
    takes_files(&world);
    assert_eq!(upload(&world).await.status, 200);
    let pieces = [crate::upstream::data("data: x\n\n"), Piece::Cut];
    world.upstream.then_answer(Answer::slow("text/event-stream", pieces));
    let answer = get(&world, "/v1/files/file_1/content").await;
    assert_eq!((answer.text(), answer.broken), ("data: x\n\n", true));
    world.settled(2).await;
}

#[tokio::test]
async fn a_download_that_nobody_takes_is_not_read_on() {
    let world = World::new().await;
    takes_files(&world);
    assert_eq!(upload(&world).await.status, 200);
    let (pieces, answer) = Answer::pieces("application/pdf");
    world.upstream.then_answer(answer);
    let mut connection = world.connect().await;
    let mut body =
        connection.send(world.request("/v1/files/file_1/content", "")).await.unwrap().into_body();
    pieces.send(crate::upstream::data("one")).unwrap();
    assert_eq!(crate::client::piece(&mut body).await, "one");
    drop((body, connection));
    world.until("the end upstream", |world| world.upstream.cancelled() == 1).await;
    world.settled(2).await;
}

#[tokio::test]
async fn what_is_deleted_is_forgotten() {
    let world = World::new().await;
    takes_files(&world);
    for _ in 0..3 {
        assert_eq!(upload(&world).await.status, 200);
    }
    assert_eq!(delete(&world, "/v1/files/file_1").await.status, 200);
    world.upstream.then_answer(Answer::json(404, error("not_found_error")));
    assert_eq!(delete(&world, "/v1/files/file_2").await.status, 404);
    world.upstream.then_answer(Answer::json(400, error("invalid_request_error")));
    assert_eq!(delete(&world, "/v1/files/file_3").await.status, 400);
    let left: Vec<_> = world.journal.bound().iter().map(|file| file.id.to_string()).collect();
    assert_eq!(left, ["file_3"]);
    get(&world, "/v1/files/file_1").await.is_refused(404, "not_found_error", "unknown_resource");
    delete(&world, "/v1/files/file_1").await.is_refused(404, "not_found_error", "unknown_resource");
}

#[tokio::test]
async fn not_found_with_another_upstream_key_forgets_nothing() {
    let world = World::new().await;
    takes_files(&world);
    assert_eq!(upload(&world).await.status, 200);
    let mut file = world.journal.bound().remove(0);
    file.upstream_key = Some(UpstreamKeyId::new("uk_before"));
    world.journal.has(file);
    world.upstream.then_answer(Answer::json(404, error("not_found_error")));
    assert_eq!(delete(&world, "/v1/files/file_1").await.status, 404);
    assert_eq!(world.journal.bound().len(), 1);
}

#[tokio::test]
async fn lists_come_from_our_own_record_as_upstream_wrote_it() {
    let world = World::new().await;
    takes_files(&world);
    for _ in 0..3 {
        assert_eq!(upload(&world).await.status, 200);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let answer = get(&world, "/v1/files?limit=2").await;
    let two = format!("{},{}", object(3).trim(), object(2).trim());
    let next = "\"next_page\":\"page_file_2\"";
    assert_eq!(answer.text(), format!("{{\"data\":[{two}],{next}}}"));
    assert!(answer.header("request-id").unwrap().starts_with("req_chm_"));
    let answer = get(&world, "/v1/files?limit=2&page=page_file_2").await;
    assert_eq!(answer.text(), format!("{{\"data\":[{}],\"next_page\":null}}", object(1).trim()));
    let mut old = world.request("/v1/files?limit=1&before_id=file_1", "");
    old.headers_mut().insert("anthropic-beta", "a, files-api-2025-04-14".parse().unwrap());
    let page = world.ask(old).await.json();
    let told = |name: &str| page[name].clone();
    assert_eq!((told("first_id"), told("last_id")), (json!("file_2"), json!("file_2")));
    assert_eq!(told("has_more"), json!(true));
    let named = get(&world, "/v1/files?ids[]=file_1&ids[]=file_9&ids[]=file_3").await.json();
    let ids: Vec<&Value> = named["data"].as_array().unwrap().iter().map(|it| &it["id"]).collect();
    assert_eq!(ids, [&json!("file_3"), &json!("file_1")]);
    for wrong in ["scope_id=x", "page=page_file_9", "limit=0"] {
        let refused = get(&world, &format!("/v1/files?{wrong}")).await;
        refused.is_refused(400, "invalid_request_error", "malformed_request");
    }
    assert_eq!(world.upstream.arrived().len(), 3);
    world.settled(3 + 7).await;
}

#[tokio::test]
async fn policy_and_limits_hold_for_files() {
    let world = World::with(|plan| {
        plan.key.policy.capabilities_deny = vec![Capability::Files];
    })
    .await;
    upload(&world).await.is_refused(403, "permission_error", "capability_not_allowed");
    get(&world, "/v1/files").await.is_refused(403, "permission_error", "capability_not_allowed");
    let world = World::with(|plan| {
        plan.key.limits.requests_per_minute = Some(1);
        plan.settings.wait_ms_max = 0;
    })
    .await;
    takes_files(&world);
    assert_eq!(upload(&world).await.status, 200);
    upload(&world).await.is_refused(429, "rate_limit_error", "requests_per_minute");
    get(&world, "/v1/files").await.is_refused(429, "rate_limit_error", "requests_per_minute");
    world.journal.intents_are(Mood::Broken);
    world.settled(1).await;
}

#[tokio::test]
async fn what_is_not_on_record_is_not_uploaded_or_deleted() {
    let world = World::new().await;
    takes_files(&world);
    assert_eq!(upload(&world).await.status, 200);
    world.journal.intents_are(Mood::Broken);
    upload(&world).await.is_refused(503, "api_error", "not_on_record");
    delete(&world, "/v1/files/file_1").await.is_refused(503, "api_error", "not_on_record");
    assert_eq!(world.upstream.arrived().len(), 1);
}

fn small(settings: &mut GatewaySettings) {
    settings.upload_body_bytes_max = 1_000;
}

#[tokio::test]
async fn an_upload_that_is_too_large_is_refused_however_it_comes() {
    let world = World::with(|plan| small(&mut plan.settings)).await;
    takes_files(&world);
    let announced = rest(begin(&world, Some(1_001)).await).await;
    assert!(announced.starts_with("HTTP/1.1 413") && announced.contains("upload_too_large"));
    assert!(world.journal.intents().is_empty());
    let mut stream = begin(&world, None).await;
    for _ in 0..11 {
        chunk(&mut stream, &"x".repeat(100)).await;
    }
    stream.write_all(b"0\r\n\r\n").await.unwrap();
    let chunked = rest(stream).await;
    assert!(chunked.starts_with("HTTP/1.1 413"), "{chunked}");
    assert!(chunked.contains("server.upload_body_max"), "{chunked}");
    world.settled(1).await;
    assert_eq!(world.journal.settlements()[0].status, 413);
    assert!(world.upstream.arrived().is_empty(), "it never became a whole form");
    let mut exact = begin(&world, None).await;
    chunk(&mut exact, &"x".repeat(1_000)).await;
    exact.write_all(b"0\r\n\r\n").await.unwrap();
    assert!(rest(exact).await.starts_with("HTTP/1.1 200"));
    assert_eq!(world.upstream.arrived()[0].body.len(), 1_000);
}

#[tokio::test]
async fn an_encoded_form_is_refused() {
    let world = World::new().await;
    let mut request = form(&world);
    request.headers_mut().insert("content-encoding", "gzip".parse().unwrap());
    let refused = world.ask(request).await;
    refused.is_refused(400, "invalid_request_error", "request_body_encoding_unsupported");
    assert!(world.upstream.arrived().is_empty());
}

#[tokio::test]
async fn an_upload_takes_the_same_memory_whatever_its_size() {
    let world = World::new().await;
    takes_files(&world);
    let mut stream = begin(&world, Some(400_000_000)).await;
    stream.write_all(FORM.as_bytes()).await.unwrap();
    world.until("the call", |world| world.gateway.live().in_flight == 1).await;
    assert_eq!(world.gateway.live().body_bytes, 2 * 1024 * 1024);
    drop(stream);
    world.settled(1).await;
    let world = World::with(|plan| plan.settings.bodies_in_flight_bytes_max = 1024 * 1024).await;
    upload(&world).await.is_refused(503, "overloaded_error", "bodies_in_flight");
}

#[tokio::test]
async fn a_client_that_leaves_inside_its_form_makes_no_file() {
    let world = World::new().await;
    takes_files(&world);
    for announced in [Some(1_000), None] {
        let mut stream = begin(&world, announced).await;
        chunk(&mut stream, FORM).await;
        world.until("the call", |world| world.gateway.live().in_flight == 1).await;
        drop(stream);
        world.until("its end", |world| world.gateway.live().in_flight == 0).await;
    }
    world.settled(2).await;
    for settlement in world.journal.settlements() {
        assert_eq!(settlement.outcome, Outcome::ClientLeft, "{settlement:?}");
    }
    assert!(world.upstream.arrived().is_empty() && world.journal.bound().is_empty());
}

#[tokio::test]
async fn a_client_that_leaves_after_its_form_finds_its_file_in_the_list() {
    let world = World::new().await;
    let answer = Answer::json(200, object(1)).after(Duration::from_millis(300));
    world.upstream.then_answer(answer);
    let mut stream = begin(&world, Some(FORM.len())).await;
    stream.write_all(FORM.as_bytes()).await.unwrap();
    world.until("the form", |world| world.upstream.arrived().len() == 1).await;
    drop(stream);
    world.settled(1).await;
    assert_eq!(world.journal.settlements()[0].outcome, Outcome::ClientLeft);
    assert!(get(&world, "/v1/files").await.text().contains("file_1"));
}

#[tokio::test]
async fn upstream_may_answer_before_the_form_is_whole() {
    let world = World::new().await;
    // An upstream that does not wait for the body, as an edge in front of it may not.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let early = listener.local_addr().unwrap();
    let answering = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let body = error("request_too_large");
        let head = format!(
            "HTTP/1.1 413 Too Large\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n",
            body.len()
        );
        let mut seen = [0; 256];
        let _ = stream.read(&mut seen).await;
        stream.write_all((head + &body).as_bytes()).await.unwrap();
        tokio::time::sleep(Duration::from_secs(20)).await;
    });
    drop(world);
    let world = World::with(|plan| plan.dead = Some(early)).await;
    let mut stream = begin(&world, Some(1_000_000)).await;
    stream.write_all(FORM.as_bytes()).await.unwrap();
    world.settled(1).await;
    assert_eq!(world.journal.settlements()[0].outcome, Outcome::UpstreamRefused);
    stream.write_all(&vec![0; 1_000_000 - FORM.len()]).await.unwrap();
    let answer = rest(stream).await;
    assert!(answer.starts_with("HTTP/1.1 413") && answer.contains("request_too_large"), "{answer}");
    answering.abort();
}

#[tokio::test]
async fn an_upload_that_upstream_drops_is_not_sent_again() {
    let world = World::new().await;
    world.upstream.then(Act::Hangup);
    upload(&world).await.is_refused(502, "api_error", "upload_lost");
    assert_eq!(world.upstream.arrived().len(), 1);
    world.settled(1).await;
    let dead = World::with(|plan| plan.dead = Some(([127, 0, 0, 1], 1).into())).await;
    upload(&dead).await.is_refused(502, "api_error", "upstream_unreachable");
    dead.settled(1).await;
}

#[tokio::test]
async fn an_upload_of_a_key_that_is_frozen_is_broken_off() {
    let world = World::new().await;
    takes_files(&world);
    let mut stream = begin(&world, Some(1_000)).await;
    stream.write_all(FORM.as_bytes()).await.unwrap();
    world.until("the call", |world| world.gateway.live().in_flight == 1).await;
    world.publish(|snapshot| {
        for key in snapshot.virtual_keys.values_mut() {
            Arc::make_mut(key).state = chamberlain_core::admission::key::KeyState::Frozen;
        }
    });
    world.settled(1).await;
    stream.write_all(&vec![b'x'; 1_000 - FORM.len()]).await.unwrap();
    let answer = rest(stream).await;
    assert!(answer.starts_with("HTTP/1.1 403") && answer.contains("key_frozen"), "{answer}");
    assert!(world.upstream.arrived().is_empty());
    assert_eq!(world.journal.settlements()[0].outcome, Outcome::Cut);
}

#[tokio::test]
async fn a_client_that_leaves_while_its_file_is_deleted_does_not_find_it_again() {
    let world = World::new().await;
    takes_files(&world);
    upload(&world).await;
    let slow = Answer::json(200, "{}").after(Duration::from_millis(100));
    world.upstream.then_answer(slow);
    let mut connection = world.connect().await;
    let request = ask_as(&world, &world.key, Method::DELETE, "/v1/files/file_1");
    tokio::select! {
        answer = connection.send(request) => panic!("answered: {answer:?}"),
        () = world.until("the deletion", |world| world.upstream.arrived().len() == 2) => {}
    }
    drop(connection);
    world.until("nothing", |world| world.journal.bound().is_empty()).await;
    let named = world.journal.intents()[1].resource.as_ref().map(|id| id.to_string());
    assert_eq!(named.as_deref(), Some("file_1"), "it is on record what was deleted");
    world.settled(2).await;
    assert_eq!(world.journal.settlements()[1].outcome, Outcome::ClientLeft);
}

#[tokio::test]
async fn a_key_that_tries_ids_without_end_is_put_on_record_ten_times_a_minute() {
    let world = World::new().await;
    takes_files(&world);
    upload(&world).await;
    let other = another_key(&world);
    for _ in 0..25 {
        let request = ask_as(&world, &other, Method::GET, "/v1/files/file_1");
        world.ask(request).await.is_refused(404, "not_found_error", "unknown_resource");
    }
    assert_eq!(world.journal.notices("security.foreign_id").len(), 10);
}

//! Keys that are stopped while a call of theirs is in flight: it is ended, and paid for.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chamberlain_core::admission::key::{KeyState, mint};
use chamberlain_core::id::VirtualKeyId;
use chamberlain_core::money::Money;
use chamberlain_core::record::{Certainty, Outcome};
use chamberlain_core::snapshot::{Pause, Snapshot};
use chamberlain_core::time::Timestamp;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use serde_json::Value;
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::timeout;

use crate::client::{Connection, read};
use crate::upstream::{Answer, Piece, data, error, events, message};
use crate::world::World;

const EXACT: Money = Money::from_pico(1_100_000_000);

/// So that a call that is not ended fails a test instead of holding it up.
const LONGEST: Duration = Duration::from_secs(20);

fn stop(snapshot: &mut Snapshot, stopped: KeyState) {
    for key in snapshot.virtual_keys.values_mut() {
        Arc::make_mut(key).state = stopped;
    }
}

/// A call whose answer has begun.
struct Begun {
    pieces: UnboundedSender<Piece>,
    response: Response<Incoming>,
    connection: Connection,
}

/// Sends a call whose answer begins with `first`, and reads that.
async fn begin(
    world: &World,
    request: Request<Full<Bytes>>,
    kind: &str,
    first: &str,
    mut connection: Connection,
) -> Begun {
    let (pieces, answer) = Answer::pieces(kind);
    world.upstream.then_answer(answer);
    if !first.is_empty() {
        pieces.send(data(first)).ok().unwrap();
    }
    let mut response = connection.send(request).await.unwrap();
    assert_eq!(response.status(), 200);
    let mut seen = 0;
    while seen < first.len() {
        let frame = response.body_mut().frame().await.unwrap().unwrap();
        seen += frame.data_ref().unwrap().len();
    }
    Begun { pieces, response, connection }
}

async fn begin_stream(world: &World, first: &str) -> Begun {
    let connection = world.connect().await;
    begin(world, world.stream(), "text/event-stream", first, connection).await
}

impl Begun {
    /// Reads what the client still gets, which must break off. Upstream is still at it.
    async fn broken_off(self) -> (String, UnboundedSender<Piece>) {
        let ended = timeout(LONGEST, read(self.response)).await;
        let answered = ended.unwrap_or_else(|_| panic!("it was not ended"));
        assert!(answered.broken, "{answered:?}");
        (answered.text().to_owned(), self.pieces)
    }
}

/// The one event that is all of a text.
fn event(text: &str) -> Value {
    let event = text.strip_prefix("event: error\ndata: ").and_then(|it| it.strip_suffix("\n\n"));
    let event = event.unwrap_or_else(|| panic!("not one error event: {text:?}"));
    serde_json::from_str(event).unwrap()
}

/// Upstream brings the rest although nobody takes it, and the call is settled by it.
async fn settled_by(world: &World, pieces: UnboundedSender<Piece>, rest: &str, status: u16) {
    assert!(pieces.send(data(rest)).is_ok(), "upstream was cancelled");
    drop(pieces);
    world.settled(1).await;
    let settlement = &world.journal.settlements()[0];
    assert_eq!((settlement.outcome, settlement.certainty), (Outcome::Cut, Certainty::Settled));
    assert_eq!((settlement.cost, settlement.status), (EXACT, status));
    assert_eq!((world.journal.intents().len(), world.upstream.arrived().len()), (1, 1));
}

#[tokio::test]
async fn a_stream_of_a_key_that_is_stopped_ends_with_the_reason() {
    for (stopped, word, code) in
        [(KeyState::Frozen, "frozen", "key_frozen"), (KeyState::Revoked, "revoked", "key_revoked")]
    {
        for begun in [0, 1, 4] {
            let world = World::new().await;
            let events = events();
            let stream = begin_stream(&world, &events[..begun].concat()).await;
            world.publish(|snapshot| stop(snapshot, stopped));
            let (text, pieces) = stream.broken_off().await;
            let event = event(&text);
            assert_eq!(event["type"], "error");
            assert_eq!(event["error"]["type"], "permission_error");
            assert_eq!(event["error"]["details"]["error_code"], code);
            assert!(event["error"]["message"].as_str().unwrap().contains(word), "{event}");
            assert_eq!(event["request_id"], "req_upstream");
            settled_by(&world, pieces, &events[begun..].concat(), 200).await;
            let notices = world.journal.notices("call.recalled");
            assert_eq!((notices.len(), &notices[0].facts["code"]), (1, &code.into()));
        }
    }
}

#[tokio::test]
async fn over_http2_too_and_the_connection_stays() {
    let world = World::new().await;
    let connection = Connection::open_http2(world.address).await;
    let mut request = world.stream();
    *request.uri_mut() = "http://gateway.example/v1/messages".parse().unwrap();
    let first = events()[0];
    let stream = begin(&world, request, "text/event-stream", first, connection).await;
    world.publish(|snapshot| stop(snapshot, KeyState::Frozen));
    let (pieces, answered) = (stream.pieces, read(stream.response).await);
    assert!(answered.broken);
    assert_eq!(event(answered.text())["error"]["type"], "permission_error");
    settled_by(&world, pieces, &events()[1..].concat(), 200).await;
    let mut connection = stream.connection;
    let mut request = world.message();
    *request.uri_mut() = "http://gateway.example/v1/messages".parse().unwrap();
    connection.ask(request).await.is_refused(403, "permission_error", "key_frozen");
}

#[tokio::test]
async fn inside_an_event_there_are_no_words_of_ours() {
    let world = World::new().await;
    let half = &events()[0][..60];
    let stream = begin_stream(&world, half).await;
    world.publish(|snapshot| stop(snapshot, KeyState::Frozen));
    let (text, pieces) = stream.broken_off().await;
    assert_eq!(text, "");
    settled_by(&world, pieces, &events().concat()[60..], 200).await;
}

#[tokio::test]
async fn a_json_answer_of_a_key_that_is_stopped_breaks_off() {
    let world = World::new().await;
    let (first, rest) = message().split_at(100);
    let connection = world.connect().await;
    let answer = begin(&world, world.message(), "application/json", first, connection).await;
    world.publish(|snapshot| stop(snapshot, KeyState::Revoked));
    let (text, pieces) = answer.broken_off().await;
    assert_eq!(text, "");
    settled_by(&world, pieces, rest, 200).await;
}

#[tokio::test]
async fn before_its_head_an_answer_gives_way_to_the_refusal() {
    let world = World::new().await;
    world.upstream.then_answer(Answer::json(200, message()).after(Duration::from_secs(2)));
    let (mut connection, request) = (world.connect().await, world.message());
    let asked = tokio::spawn(async move { connection.ask(request).await });
    world.until("the call", |world| world.upstream.arrived().len() == 1).await;
    world.publish(|snapshot| stop(snapshot, KeyState::Frozen));
    asked.await.unwrap().is_refused(403, "permission_error", "key_frozen");
    world.settled(1).await;
    let settlement = &world.journal.settlements()[0];
    assert_eq!((settlement.outcome, settlement.certainty), (Outcome::Cut, Certainty::Settled));
    assert_eq!((settlement.cost, settlement.attempts), (EXACT, 1));
}

#[tokio::test]
async fn a_retry_is_not_waited_for() {
    let world = World::with(|plan| plan.settings.retry.delay_max_ms = 3_600_000).await;
    let refusal = Answer::json(529, error("overloaded_error")).header("retry-after", "3600");
    world.upstream.then_answer(refusal);
    let (mut connection, request) = (world.connect().await, world.message());
    let asked = tokio::spawn(async move { connection.ask(request).await });
    world.until("the first attempt", |world| world.upstream.arrived().len() == 1).await;
    world.publish(|snapshot| stop(snapshot, KeyState::Frozen));
    asked.await.unwrap().is_refused(403, "permission_error", "key_frozen");
    world.settled(1).await;
    let settlement = &world.journal.settlements()[0];
    assert_eq!((settlement.attempts, settlement.cost), (1, Money::ZERO));
}

#[tokio::test]
async fn a_stream_ends_with_the_upstream_key_it_runs_on() {
    let world = World::new().await;
    let events = events();
    let stream = begin_stream(&world, events[0]).await;
    world.keys.remove();
    world.publish(|_| {});
    let (text, pieces) = stream.broken_off().await;
    let event = event(&text);
    assert_eq!(event["error"]["type"], "api_error");
    assert_eq!(event["error"]["details"]["error_code"], "upstream_key_removed");
    settled_by(&world, pieces, &events[1..].concat(), 200).await;
}

#[tokio::test]
async fn a_removed_upstream_key_is_not_sent_again() {
    let world = World::with(|plan| plan.settings.retry.delay_max_ms = 3_600_000).await;
    let refusal = Answer::json(529, error("overloaded_error")).header("retry-after-ms", "300");
    world.upstream.then_answer(refusal);
    let (mut connection, request) = (world.connect().await, world.message());
    let asked = tokio::spawn(async move { connection.ask(request).await });
    world.until("the first attempt", |world| world.upstream.arrived().len() == 1).await;
    // Nothing is published: the attempt itself looks.
    world.keys.remove();
    asked.await.unwrap().is_refused(503, "api_error", "upstream_key_not_open");
    assert_eq!(world.upstream.arrived().len(), 1);
    world.settled(1).await;
}

/// Another key of the same environment: its id and its text.
fn another_key(world: &World) -> (VirtualKeyId, String) {
    let minted = mint([3; 16], [4; 43]);
    world.publish(|snapshot| {
        let mut key = snapshot.virtual_keys.values().next().unwrap().as_ref().clone();
        key.id = minted.id.clone();
        key.secret_hash = minted.secret_hash;
        snapshot.virtual_keys.insert(key.id.clone(), Arc::new(key));
    });
    (minted.id, minted.text.expose().to_owned())
}

#[tokio::test]
async fn other_keys_streams_go_on_and_a_pause_or_expiry_ends_none() {
    let world = World::new().await;
    let events = events();
    let (other, text) = another_key(&world);
    let kept = begin_stream(&world, events[0]).await;
    let mut request = world.stream();
    request.headers_mut().insert("x-api-key", text.parse().unwrap());
    let connection = world.connect().await;
    let ended = begin(&world, request, "text/event-stream", events[0], connection).await;
    world.publish(|snapshot| {
        let over = Some(Timestamp::from_rfc3339("2026-11-23T11:00:00Z").unwrap());
        for key in snapshot.virtual_keys.values_mut() {
            let key = Arc::make_mut(key);
            if key.id == other {
                key.state = KeyState::Frozen;
            } else {
                key.expires_at = over;
            }
        }
        let pause = |until, ends_calls| {
            let (since, by, reason) = (Timestamp::default(), "test".to_owned(), "test".to_owned());
            Some(Pause { since, until, by, reason, ends_calls })
        };
        snapshot.organization.pause = pause(None, false);
        // One that is over ends nothing either, whatever it asked for.
        for environment in snapshot.environments.values_mut() {
            Arc::make_mut(environment).pause = pause(over, true);
        }
    });
    // With the one ended, all have been looked at.
    let (words, pieces) = ended.broken_off().await;
    assert_eq!(event(&words)["error"]["details"]["error_code"], "key_frozen");
    kept.pieces.send(data(&events[1..].concat())).ok().unwrap();
    drop(kept.pieces);
    let answered = read(kept.response).await;
    assert_eq!((answered.text(), answered.broken), (events[1..].concat().as_str(), false));
    pieces.send(data(&events[1..].concat())).ok().unwrap();
    drop(pieces);
    world.settled(2).await;
    let mut outcomes: Vec<_> =
        world.journal.settlements().iter().map(|it| (it.outcome, it.cost)).collect();
    outcomes.sort_by_key(|(outcome, _)| format!("{outcome:?}"));
    assert_eq!(outcomes, [(Outcome::Completed, EXACT), (Outcome::Cut, EXACT)]);
}

#[tokio::test]
async fn what_upstream_does_not_end_in_time_is_cancelled_and_estimated() {
    let world = World::with(|plan| plan.settings.drain_ms_max = 50).await;
    let stream = begin_stream(&world, &events()[..4].concat()).await;
    world.publish(|snapshot| stop(snapshot, KeyState::Frozen));
    let (_, _pieces) = stream.broken_off().await;
    world.settled(1).await;
    let settlement = &world.journal.settlements()[0];
    assert_eq!((settlement.outcome, settlement.certainty), (Outcome::Cut, Certainty::Estimated));
    assert!(!settlement.cost.is_zero() && settlement.cost <= settlement.reserved);
    world.until("the cancellation", |world| world.upstream.cancelled() == 1).await;
}

#[tokio::test]
async fn a_pause_of_any_scope_ends_the_calls_in_flight_when_it_is_asked_to() {
    for scope in ["organization", "environment", "key"] {
        let world = World::new().await;
        let stream = begin_stream(&world, events()[0]).await;
        world.publish(|snapshot| {
            let pause = Some(Pause {
                since: Timestamp::default(),
                until: None,
                by: "test".to_owned(),
                reason: "a leak".to_owned(),
                ends_calls: true,
            });
            match scope {
                "organization" => snapshot.organization.pause = pause,
                "environment" => {
                    for environment in snapshot.environments.values_mut() {
                        Arc::make_mut(environment).pause = pause.clone();
                    }
                }
                _ => {
                    for key in snapshot.virtual_keys.values_mut() {
                        Arc::make_mut(key).pause = pause.clone();
                    }
                }
            }
        });
        let (words, pieces) = stream.broken_off().await;
        let told = event(&words);
        assert_eq!(told["error"]["type"], "api_error", "{scope}");
        assert_eq!(told["error"]["details"]["error_code"], "paused", "{scope}");
        assert!(told["error"]["message"].as_str().unwrap().contains("a leak"), "{scope}");
        pieces.send(data(&events()[1..].concat())).ok().unwrap();
        drop(pieces);
        world.settled(1).await;
        let settlement = &world.journal.settlements()[0];
        assert_eq!((settlement.outcome, settlement.cost), (Outcome::Cut, EXACT), "{scope}");
    }
}

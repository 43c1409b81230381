//! Keys that ask for a stream to be begun with what is left of a budget, and ended in time.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chamberlain_core::admission::policy::OnShortage;
use chamberlain_core::money::Money;
use chamberlain_core::record::{Certainty, Outcome};
use http::Request;
use http_body_util::{BodyExt, Full};
use serde_json::json;
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::JoinHandle;

use crate::client::{Answered, read};
use crate::upstream::{Answer, Piece, data, events};
use crate::world::{MODEL, World};

/// Of the day; a call of these tests may cost five times as much.
const LIMIT: Money = Money::from_pico(20_000_000_000);

async fn world(on_shortage: OnShortage) -> World {
    world_that_drains(on_shortage, 30_000).await
}

async fn world_that_drains(on_shortage: OnShortage, drain_ms_max: u64) -> World {
    let world = World::with(|plan| {
        plan.environment.budgets.daily = Some(LIMIT);
        plan.settings.wait_ms_max = 0;
        plan.settings.drain_ms_max = drain_ms_max;
    })
    .await;
    world.publish(|snapshot| {
        for key in snapshot.virtual_keys.values_mut() {
            Arc::make_mut(key).policy.on_shortage = on_shortage;
        }
    });
    world
}

/// A request that may cost ten cents.
fn dear(world: &World, stream: bool, thinking: bool) -> Request<Full<Bytes>> {
    let mut body = json!({
        "model": MODEL,
        "max_tokens": 20_000,
        "stream": stream,
        "messages": [{"role": "user", "content": "Hello"}],
    });
    if thinking {
        body["thinking"] = json!({"type": "enabled", "budget_tokens": 2_000});
    }
    world.request("/v1/messages", body.to_string())
}

fn delta(text: &str) -> String {
    let event = json!({"type": "content_block_delta", "index": 0,
        "delta": {"type": "text_delta", "text": text}});
    format!("event: content_block_delta\ndata: {event}\n\n")
}

#[tokio::test]
async fn a_stream_is_ended_before_what_is_left_is_used_up() {
    let world = world(OnShortage::Cut).await;
    let (pieces, answer) = Answer::pieces("text/event-stream");
    world.upstream.then_answer(answer);
    let mut connection = world.connect().await;
    let response = connection.send(dear(&world, true, false)).await.unwrap();
    assert_eq!(response.status(), 200);
    pieces.send(data(&events()[..2].concat())).ok().unwrap();
    let reading = tokio::spawn(read(response));
    let mut written = 0;
    while pieces.send(data(&delta(&"x".repeat(100)))).is_ok() {
        written += 100;
        assert!(written < 100_000, "it was not ended");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let answered = reading.await.unwrap();
    assert!(answered.broken);
    let words = answered.text().rsplit("event: error\ndata: ").next().unwrap();
    let told: serde_json::Value = serde_json::from_str(words.trim()).unwrap();
    assert_eq!(told["error"]["type"], "billing_error");
    assert_eq!(told["error"]["details"]["error_code"], "budget_cut");
    world.settled(1).await;
    let settlement = &world.journal.settlements()[0];
    assert_eq!((settlement.outcome, settlement.certainty), (Outcome::Cut, Certainty::Unsettled));
    assert_eq!((settlement.reserved, settlement.cost), (LIMIT, LIMIT));
    world.until("the cancellation", |world| world.upstream.cancelled() == 1).await;
    // A token is at least a byte: even so, and with the margin, no more was written than was left.
    let bytes = answered.text().matches('x').count() as u64;
    let rest = LIMIT.pico() / 5_000_000 - 20;
    assert!(i128::from(bytes) + 1_024 <= rest + 100, "{bytes} of {rest}");
    assert!(bytes > 2_000, "{bytes}: there was money for more");
}

#[tokio::test]
async fn a_stream_that_ends_in_time_is_settled_exactly() {
    let world = world(OnShortage::Cut).await;
    world.upstream.then_answer(Answer::stream(events().into_iter().map(data)));
    let answered = world.ask(dear(&world, true, false)).await;
    assert_eq!((answered.status.as_u16(), answered.broken), (200, false));
    world.settled(1).await;
    let settlement = &world.journal.settlements()[0];
    assert_eq!(
        (settlement.outcome, settlement.certainty),
        (Outcome::Completed, Certainty::Settled)
    );
    assert_eq!(settlement.cost, Money::from_pico(1_100_000_000));
    assert_eq!(settlement.reserved, LIMIT);
}

/// A stream of a key that may be cut, with what has come of it so far.
async fn begun(world: &World) -> (UnboundedSender<Piece>, JoinHandle<Answered>) {
    let (pieces, answer) = Answer::pieces("text/event-stream");
    world.upstream.then_answer(answer);
    let mut connection = world.connect().await;
    let response = connection.send(dear(world, true, false)).await.unwrap();
    pieces.send(data(&events()[..2].concat())).ok().unwrap();
    // The connection must outlive the answer.
    let reading = tokio::spawn(async move {
        let answered = read(response).await;
        drop(connection);
        answered
    });
    (pieces, reading)
}

/// More than there was money for.
const TOO_MUCH: usize = 3_500;

#[tokio::test]
async fn what_is_used_up_with_the_last_event_is_settled_exactly() {
    let world = world(OnShortage::Cut).await;
    let (pieces, reading) = begun(&world).await;
    let rest = delta(&"x".repeat(TOO_MUCH)) + &events()[4..].concat();
    pieces.send(data(&rest)).ok().unwrap();
    drop(pieces);
    let answered = reading.await.unwrap();
    assert!(!answered.broken && answered.text().ends_with(&rest));
    world.settled(1).await;
    let settlement = &world.journal.settlements()[0];
    assert_eq!(
        (settlement.outcome, settlement.certainty),
        (Outcome::Completed, Certainty::Settled)
    );
}

#[tokio::test]
async fn an_event_that_has_begun_is_ended_first_so_that_its_client_can_be_told() {
    let world = world(OnShortage::Cut).await;
    let (pieces, reading) = begun(&world).await;
    let last = delta("the last");
    let (begun, ended) = last.split_at(last.len() / 2);
    pieces.send(data(&(delta(&"x".repeat(TOO_MUCH)) + begun))).ok().unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    // Nobody takes it when the stream was cut where it stood.
    let _ = pieces.send(data(ended));
    let answered = reading.await.unwrap();
    assert!(answered.broken);
    let told = answered.text().rsplit_once("event: error\ndata: ").unwrap();
    assert!(told.0.ends_with(&last), "{}", told.0);
    let told: serde_json::Value = serde_json::from_str(told.1.trim()).unwrap();
    assert_eq!(told["error"]["details"]["error_code"], "budget_cut");
}

#[tokio::test]
async fn an_event_that_does_not_end_is_not_waited_for() {
    let world = world(OnShortage::Cut).await;
    let (pieces, reading) = begun(&world).await;
    let begun = delta("y").split_once('y').unwrap().0.to_owned();
    pieces.send(data(&(delta(&"x".repeat(TOO_MUCH)) + &begun))).ok().unwrap();
    let mut written = 0;
    while pieces.send(data(&"y".repeat(1_000))).is_ok() {
        written += 1_000;
        assert!(written < 1_000_000, "it was not ended");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let answered = reading.await.unwrap();
    assert!(answered.broken && !answered.text().contains("event: error"));
    world.settled(1).await;
    let settlement = &world.journal.settlements()[0];
    assert_eq!((settlement.outcome, settlement.certainty), (Outcome::Cut, Certainty::Unsettled));
}

#[tokio::test]
async fn a_client_that_leaves_does_not_let_it_run_on() {
    let world = world(OnShortage::Cut).await;
    let (pieces, answer) = Answer::pieces("text/event-stream");
    world.upstream.then_answer(answer);
    let mut connection = world.connect().await;
    let response = connection.send(dear(&world, true, false)).await.unwrap();
    pieces.send(data(&events()[..2].concat())).ok().unwrap();
    drop((response, connection));
    let mut written = 0;
    while pieces.send(data(&delta(&"x".repeat(100)))).is_ok() {
        written += 100;
        assert!(written < 100_000, "it was not ended");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    world.settled(1).await;
    let settlement = &world.journal.settlements()[0];
    assert_eq!(settlement.outcome, Outcome::ClientLeft);
    assert_eq!((settlement.certainty, settlement.cost), (Certainty::Unsettled, LIMIT));
}

#[tokio::test]
async fn a_client_that_leaves_does_not_use_up_what_was_left() {
    let world = world_that_drains(OnShortage::Cut, 50).await;
    let (pieces, answer) = Answer::pieces("text/event-stream");
    world.upstream.then_answer(answer);
    let mut connection = world.connect().await;
    pieces.send(data(&(events()[..2].concat() + &delta(&"x".repeat(100))))).ok().unwrap();
    let mut response = connection.send(dear(&world, true, false)).await.unwrap();
    assert!(response.frame().await.unwrap().is_ok());
    drop((response, connection));
    world.settled(1).await;
    let settlement = &world.journal.settlements()[0];
    assert_eq!(
        (settlement.outcome, settlement.certainty),
        (Outcome::ClientLeft, Certainty::Estimated)
    );
    // 100 in; 100 bytes, 64 for the block and 1,024 that may have been on their way out.
    let spent = Money::from_pico(100_000_000 + (100 + 64 + 1_024) * 5_000_000);
    assert_eq!((settlement.cost, settlement.reserved), (spent, LIMIT));
    world.until("the cancellation", |world| world.upstream.cancelled() == 1).await;
    world.upstream.then_answer(Answer::stream(events().into_iter().map(data)));
    let answered = world.ask(dear(&world, true, false)).await;
    assert_eq!((answered.status.as_u16(), answered.broken), (200, false), "the rest is there");
    world.settled(2).await;
    assert_eq!(world.journal.settlements()[1].reserved, LIMIT.saturating_sub(spent));
}

#[tokio::test]
async fn one_that_broke_off_upstream_is_charged_what_it_showed() {
    let world = world(OnShortage::Cut).await;
    let (pieces, answer) = Answer::pieces("text/event-stream");
    world.upstream.then_answer(answer);
    let mut connection = world.connect().await;
    pieces.send(data(&events()[..2].concat())).ok().unwrap();
    let mut response = connection.send(dear(&world, true, false)).await.unwrap();
    assert!(response.frame().await.unwrap().is_ok(), "it has come before it breaks off");
    pieces.send(Piece::Cut).ok().unwrap();
    assert!(read(response).await.broken);
    world.settled(1).await;
    let settlement = &world.journal.settlements()[0];
    assert_eq!((settlement.outcome, settlement.certainty), (Outcome::Cut, Certainty::Estimated));
    assert!(settlement.cost < LIMIT);
}

#[tokio::test]
async fn what_cannot_be_followed_is_refused_and_so_is_all_without_cut() {
    for (on_shortage, stream, thinking) in [
        (OnShortage::Cut, false, false),
        (OnShortage::Cut, true, true),
        (OnShortage::Refuse, true, false),
    ] {
        let world = world(on_shortage).await;
        let answered = world.ask(dear(&world, stream, thinking)).await;
        assert_eq!(answered.code(), Some("budget_exceeded"), "{on_shortage:?} {stream} {thinking}");
        assert!(world.upstream.arrived().is_empty());
        assert!(world.journal.intents().is_empty());
    }
}

//! Clients that leave, at every stage.

use std::time::Duration;

use chamberlain_core::admission::key::KeyState;
use chamberlain_core::money::Money;
use chamberlain_core::record::{Certainty, Outcome};

use crate::client::{Connection, piece};
use crate::journal::Mood;
use crate::upstream::{Act, Answer, data, events, message};
use crate::world::World;

const EXACT: Money = Money::from_pico(1_100_000_000);

/// Sends a request and leaves once `arrived` is so.
async fn leave_when(world: &World, stream: bool, so: impl Fn(&World) -> bool) {
    let mut connection = world.connect().await;
    let request = if stream { world.stream() } else { world.message() };
    tokio::select! {
        answer = connection.send(request) => panic!("answered: {answer:?}"),
        () = world.until("the moment to leave", so) => {}
    }
    drop(connection);
}

#[tokio::test]
async fn before_the_intent_is_on_record_nothing_is_sent() {
    let world = World::new().await;
    world.journal.intents_are(Mood::Slow);
    leave_when(&world, false, |world| world.journal.kept().0 == 1).await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(world.gateway.live().in_flight, 1, "held until it is known what is on record");
    world.journal.release();
    world.settled(1).await;
    let settlement = &world.journal.settlements()[0];
    assert_eq!((settlement.outcome, settlement.attempts), (Outcome::NotSent, 0));
    assert!(settlement.cost.is_zero() && world.upstream.arrived().is_empty());
}

#[tokio::test]
async fn before_the_intent_failed_nothing_is_recorded() {
    let world = World::new().await;
    world.journal.intents_are(Mood::Slow);
    leave_when(&world, false, |world| world.journal.kept().0 == 1).await;
    world.journal.fail();
    world.until("the end", |world| world.gateway.live().in_flight == 0).await;
    assert!(world.journal.settlements().is_empty() && world.upstream.arrived().is_empty());
    assert!(world.gateway.live().balances.iter().all(|(_, balance)| balance.reserved.is_zero()));
}

#[tokio::test]
async fn while_waiting_everything_is_given_back() {
    let world = World::with(|plan| plan.key.limits.concurrency = Some(1)).await;
    world.upstream.then(Act::Hang);
    let mut first = world.connect().await;
    let request = world.message();
    let hanging = tokio::spawn(async move {
        let _ = first.send(request).await;
    });
    world.until("the first call", |world| world.upstream.arrived().len() == 1).await;
    leave_when(&world, false, |world| world.gateway.live().waiting == 1).await;
    world.until("nobody waits", |world| world.gateway.live().waiting == 0).await;
    assert_eq!(world.journal.intents().len(), 1, "the one that left was never admitted");
    hanging.abort();
}

#[tokio::test]
async fn before_the_answer_it_is_still_heard_and_priced() {
    let world = World::new().await;
    let slow = Answer::json(200, message()).after(Duration::from_millis(150));
    world.upstream.then_answer(slow);
    leave_when(&world, false, |world| world.upstream.arrived().len() == 1).await;
    world.settled(1).await;
    let settlement = &world.journal.settlements()[0];
    assert_eq!(settlement.outcome, Outcome::ClientLeft);
    assert_eq!((settlement.certainty, settlement.cost), (Certainty::Settled, EXACT));
}

#[tokio::test]
async fn before_an_answer_that_never_comes_it_stays_charged() {
    let world = World::with(|plan| plan.settings.drain_ms_max = 50).await;
    world.upstream.then(Act::Hang);
    leave_when(&world, false, |world| world.upstream.arrived().len() == 1).await;
    world.settled(1).await;
    let settlement = &world.journal.settlements()[0];
    assert_eq!(settlement.outcome, Outcome::ClientLeft);
    assert_eq!(settlement.certainty, Certainty::Unsettled);
    assert_eq!((settlement.cost, settlement.status), (settlement.reserved, 499));
    world.until("the cancellation", |world| world.upstream.cancelled() == 1).await;
}

#[tokio::test]
async fn in_the_middle_of_a_stream_the_rest_is_read_to_learn_the_cost() {
    let world = World::new().await;
    let (pieces, answer) = Answer::pieces("text/event-stream");
    world.upstream.then_answer(answer);
    let mut connection = world.connect().await;
    pieces.send(data(events()[0])).ok().unwrap();
    let mut body = connection.send(world.stream()).await.unwrap().into_body();
    assert_eq!(piece(&mut body).await, events()[0]);
    drop(body);
    drop(connection);
    for event in &events()[1..] {
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert!(pieces.send(data(event)).is_ok(), "upstream was cancelled");
    }
    drop(pieces);
    world.settled(1).await;
    let settlement = &world.journal.settlements()[0];
    assert_eq!(settlement.outcome, Outcome::ClientLeft);
    assert_eq!((settlement.certainty, settlement.cost), (Certainty::Settled, EXACT));
}

#[tokio::test]
async fn in_the_middle_of_a_stream_without_draining_it_is_cancelled_and_estimated() {
    let world = World::with(|plan| plan.settings.drain_ms_max = 0).await;
    let (pieces, answer) = Answer::pieces("text/event-stream");
    world.upstream.then_answer(answer);
    let mut connection = world.connect().await;
    pieces.send(data(&events()[..4].concat())).ok().unwrap();
    let mut body = connection.send(world.stream()).await.unwrap().into_body();
    piece(&mut body).await;
    drop(body);
    drop(connection);
    world.settled(1).await;
    let settlement = &world.journal.settlements()[0];
    assert_eq!(settlement.outcome, Outcome::ClientLeft);
    assert_eq!(settlement.certainty, Certainty::Estimated);
    assert!(!settlement.cost.is_zero() && settlement.cost <= settlement.reserved);
    world.until("the cancellation", |world| world.upstream.cancelled() == 1).await;
}

#[tokio::test]
async fn after_the_last_event_it_has_not_left() {
    let world = World::new().await;
    let (pieces, answer) = Answer::pieces("text/event-stream");
    world.upstream.then_answer(answer);
    let mut connection = world.connect().await;
    pieces.send(data(&events().concat())).ok().unwrap();
    let mut body = connection.send(world.stream()).await.unwrap().into_body();
    let mut read = String::new();
    while read.len() < events().concat().len() {
        read.push_str(&piece(&mut body).await);
    }
    drop(body);
    drop(connection);
    world.settled(1).await;
    let settlement = &world.journal.settlements()[0];
    assert_eq!((settlement.outcome, settlement.cost), (Outcome::Completed, EXACT));
    drop(pieces);
}

#[tokio::test]
async fn during_a_retry_nothing_more_is_sent() {
    let world = World::with(|plan| plan.settings.retry.initial_delay_ms = 1_000).await;
    let refusal = crate::upstream::error("overloaded_error");
    world.upstream.then_answer(Answer::json(529, refusal));
    leave_when(&world, false, |world| world.upstream.arrived().len() == 1).await;
    world.settled(1).await;
    let settlement = &world.journal.settlements()[0];
    assert_eq!((settlement.outcome, settlement.attempts), (Outcome::ClientLeft, 1));
    assert!(settlement.cost.is_zero(), "{settlement:?}");
    assert_eq!(world.upstream.arrived().len(), 1);
}

#[tokio::test]
async fn over_http2_one_stream_can_leave_and_the_others_stay() {
    let world = World::new().await;
    let (pieces, answer) = Answer::pieces("text/event-stream");
    world.upstream.then_answer(answer);
    let mut connection = Connection::open_http2(world.address).await;
    pieces.send(data(events()[0])).ok().unwrap();
    let mut request = world.stream();
    *request.uri_mut() = "http://gateway.example/v1/messages".parse().unwrap();
    let mut body = connection.send(request).await.unwrap().into_body();
    assert_eq!(piece(&mut body).await, events()[0]);
    drop(body);
    for event in &events()[1..] {
        pieces.send(data(event)).ok().unwrap();
    }
    drop(pieces);
    world.settled(1).await;
    let settlement = &world.journal.settlements()[0];
    assert_eq!((settlement.outcome, settlement.cost), (Outcome::ClientLeft, EXACT));
    let mut request = world.message();
    *request.uri_mut() = "http://gateway.example/v1/messages".parse().unwrap();
    assert_eq!(connection.ask(request).await.status, 200);
}

#[tokio::test]
async fn a_key_that_is_frozen_while_its_call_waits_does_not_pass() {
    let world = World::with(|plan| {
        plan.key.limits.concurrency = Some(1);
        plan.settings.wait_ms_max = 60_000;
    })
    .await;
    let slow = Answer::json(200, message()).after(Duration::from_secs(2));
    world.upstream.then_answer(slow);
    let (mut one, mut two) = (world.connect().await, world.connect().await);
    let (first, second) = (world.message(), world.message());
    let first = tokio::spawn(async move { one.ask(first).await });
    world.until("the first call", |world| world.upstream.arrived().len() == 1).await;
    let second = tokio::spawn(async move { two.ask(second).await });
    world.until("the second waits", |world| world.gateway.live().waiting == 1).await;
    world.publish(|snapshot| {
        for key in snapshot.virtual_keys.values_mut() {
            std::sync::Arc::make_mut(key).state = KeyState::Frozen;
        }
    });
    first.await.unwrap().is_refused(403, "permission_error", "key_frozen");
    second.await.unwrap().is_refused(403, "permission_error", "key_frozen");
    assert_eq!(world.upstream.arrived().len(), 1);
}

#[tokio::test]
async fn a_client_that_stops_reading_does_not_hold_its_money_for_ever() {
    let world = World::with(|plan| plan.settings.idle_ms_max = 300).await;
    let (pieces, answer) = Answer::pieces("text/event-stream");
    world.upstream.then_answer(answer);
    let mut connection = world.connect().await;
    pieces.send(data(events()[0])).ok().unwrap();
    let mut body = connection.send(world.stream()).await.unwrap().into_body();
    assert_eq!(piece(&mut body).await, events()[0]);
    // More than all the buffers on the way take; and the body is not asked for any of it.
    let ping = events()[2].repeat(20_000);
    for _ in 0..40 {
        pieces.send(data(&ping)).ok().unwrap();
    }
    for event in &events()[3..] {
        pieces.send(data(event)).ok().unwrap();
    }
    drop(pieces);
    world.settled(1).await;
    let settlement = &world.journal.settlements()[0];
    assert_eq!((settlement.outcome, settlement.cost), (Outcome::ClientLeft, EXACT));
    drop(body);
}

#[tokio::test]
async fn over_http2_too_a_client_must_take_its_answer() {
    let world = World::with(|plan| plan.settings.idle_ms_max = 300).await;
    let (pieces, answer) = Answer::pieces("text/event-stream");
    world.upstream.then_answer(answer);
    let mut connection = Connection::open_http2(world.address).await;
    pieces.send(data(events()[0])).ok().unwrap();
    let mut request = world.stream();
    *request.uri_mut() = "http://gateway.example/v1/messages".parse().unwrap();
    let mut body = connection.send(request).await.unwrap().into_body();
    assert_eq!(piece(&mut body).await, events()[0]);
    let ping = events()[2].repeat(20_000);
    for _ in 0..40 {
        pieces.send(data(&ping)).ok().unwrap();
    }
    for event in &events()[3..] {
        pieces.send(data(event)).ok().unwrap();
    }
    drop(pieces);
    world.settled(1).await;
    let settlement = &world.journal.settlements()[0];
    assert_eq!((settlement.outcome, settlement.cost), (Outcome::ClientLeft, EXACT));
    let mut request = world.message();
    *request.uri_mut() = "http://gateway.example/v1/messages".parse().unwrap();
    assert_eq!(connection.ask(request).await.status, 200, "the connection serves others");
    assert!(crate::client::read_on(body).await, "what was taken away ends as broken off");
}

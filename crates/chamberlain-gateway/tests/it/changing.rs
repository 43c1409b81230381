//! What is changed while a call is on its way: it counts before the call leaves.

use std::sync::Arc;
use std::time::Duration;

use chamberlain_core::admission::key::KeyState;
use chamberlain_core::ledger::account::Scope;
use chamberlain_core::money::Money;
use chamberlain_core::snapshot::Snapshot;
use chamberlain_core::time::Timestamp;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::upstream::{Answer, error, message};
use crate::world::{World, body};

/// Sends a message whose body comes in two halves, with a change in between.
async fn slowly(world: &World, change: impl FnOnce(&mut Snapshot)) -> String {
    let body = body("");
    let head = format!(
        "POST /v1/messages HTTP/1.1\r\nhost: gateway.example\r\nx-api-key: {}\r\n\
         content-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        world.key,
        body.len()
    );
    let (one, two) = body.as_bytes().split_at(20);
    let mut stream = TcpStream::connect(world.address).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(one).await.unwrap();
    world.until("the first half", |world| world.gateway.live().body_bytes > 0).await;
    world.publish(change);
    stream.write_all(two).await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8(answer).unwrap()
}

fn state(snapshot: &mut Snapshot, state: KeyState) {
    for key in snapshot.virtual_keys.values_mut() {
        Arc::make_mut(key).state = state;
    }
}

#[tokio::test]
async fn a_key_that_is_stopped_while_its_body_comes_in_does_not_pass() {
    for (stopped, code) in [(KeyState::Frozen, "key_frozen"), (KeyState::Revoked, "key_revoked")] {
        let world = World::new().await;
        let answer = slowly(&world, |snapshot| state(snapshot, stopped)).await;
        assert!(answer.contains(code), "{answer}");
        assert!(world.upstream.arrived().is_empty());
        world.settled(0).await;
    }
}

#[tokio::test]
async fn a_key_that_expires_while_its_body_comes_in_does_not_pass() {
    let world = World::new().await;
    let answer = slowly(&world, |snapshot| {
        for key in snapshot.virtual_keys.values_mut() {
            let past = Timestamp::from_rfc3339("2026-11-23T11:00:00Z").unwrap();
            Arc::make_mut(key).expires_at = Some(past);
        }
    })
    .await;
    assert!(answer.contains("key_expired"), "{answer}");
    assert!(world.upstream.arrived().is_empty());
}

#[tokio::test]
async fn a_key_that_is_stopped_between_two_attempts_sends_no_more() {
    let world = World::new().await;
    let refusal = Answer::json(529, error("overloaded_error")).header("retry-after-ms", "500");
    world.upstream.then_answer(refusal);
    let (mut connection, request) = (world.connect().await, world.message());
    let asked = tokio::spawn(async move { connection.ask(request).await });
    world.until("the first attempt", |world| world.upstream.arrived().len() == 1).await;
    world.publish(|snapshot| state(snapshot, KeyState::Frozen));
    asked.await.unwrap().is_refused(403, "permission_error", "key_frozen");
    assert_eq!(world.upstream.arrived().len(), 1);
    world.settled(1).await;
    assert!(world.journal.settlements()[0].cost.is_zero());
}

#[tokio::test]
async fn a_budget_that_is_lowered_while_a_body_comes_in_counts() {
    let world = World::new().await;
    let answer = slowly(&world, |snapshot| {
        for environment in snapshot.environments.values_mut() {
            Arc::make_mut(environment).budgets.daily = Some(Money::from_pico(1_000_000));
        }
    })
    .await;
    assert!(answer.contains("budget_exceeded"), "{answer}");
    assert!(world.upstream.arrived().is_empty());
    world.settled(0).await;
}

#[tokio::test]
async fn a_budget_that_is_lowered_while_a_call_waits_counts() {
    let world = World::with(|plan| {
        plan.key.limits.concurrency = Some(1);
        plan.settings.wait_ms_max = 60_000;
    })
    .await;
    world.upstream.then_answer(Answer::json(200, message()).after(Duration::from_millis(300)));
    let (mut one, mut two) = (world.connect().await, world.connect().await);
    let (first, second) = (world.message(), world.message());
    let first = tokio::spawn(async move { one.ask(first).await });
    world.until("the first call", |world| world.upstream.arrived().len() == 1).await;
    let second = tokio::spawn(async move { two.ask(second).await });
    world.until("the second waits", |world| world.gateway.live().waiting == 1).await;
    world.publish(|snapshot| {
        for environment in snapshot.environments.values_mut() {
            Arc::make_mut(environment).budgets.daily = Some(Money::from_pico(1_000_000));
        }
    });
    assert_eq!(first.await.unwrap().status, 200);
    second.await.unwrap().is_refused(429, "billing_error", "budget_exceeded");
    // Its prompt may have been counted, to see whether it fits.
    let arrived = world.upstream.arrived();
    assert_eq!(arrived.iter().filter(|call| call.target == "/v1/messages").count(), 1);
}

#[tokio::test]
async fn what_a_test_mode_key_plays_with_is_its_own() {
    let world = World::with(|plan| {
        plan.key.test_mode = true;
        plan.key.budgets.daily = Some(Money::from_usd(1));
        // Real calls could not be made any more.
        plan.environment.budgets.daily = Some(Money::ZERO);
    })
    .await;
    assert_eq!(world.ask(world.message()).await.status, 200);
    world.settled(1).await;
    let live = world.gateway.live();
    assert!(!live.balances.is_empty());
    for (account, balance) in &live.balances {
        assert!(matches!(account.scope, Scope::VirtualKey(_)), "{account}: {balance:?}");
    }
    world.publish(|snapshot| {
        for key in snapshot.virtual_keys.values_mut() {
            Arc::make_mut(key).budgets.daily = Some(Money::from_pico(1_000_000));
        }
    });
    let refused = world.ask(world.message()).await;
    refused.is_refused(429, "billing_error", "budget_exceeded");
}

//! Budgets, leases, limits and waiting.

use std::time::Duration;

use chamberlain_core::ledger::account::Scope;
use chamberlain_core::money::Money;
use chamberlain_core::record::{Outcome, Route, Severity};

use tokio_util::sync::CancellationToken;

use crate::journal::Mood;
use crate::upstream::{Act, Answer, message};
use crate::world::World;

const COST: Money = Money::from_pico(1_100_000_000);

/// What one call of these tests is reserved at.
async fn reservation() -> Money {
    let world = World::new().await;
    world.ask(world.message()).await;
    world.settled(1).await;
    world.journal.intents()[0].reserved
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_thousand_clients_share_a_budget_for_a_hundred_calls() {
    let reserved = reservation().await;
    // Exactly what a hundred calls need, one after the other: ninety-nine that cost what they
    // cost, and one more that can still be set aside.
    let limit = COST.checked_mul(99).unwrap().checked_add(reserved).unwrap();
    let world = World::with(|plan| {
        plan.environment.budgets.daily = Some(limit);
        plan.settings.wait_ms_max = 60_000;
    })
    .await;
    // The prompt is counted at more than its bytes bound it to, so counting cannot help.
    world.upstream.otherwise(|arrived| match arrived.target.contains("count_tokens") {
        true => Answer::json(200, r#"{"input_tokens":1000000}"#),
        false => Answer::json(200, message()).after(Duration::from_millis(2)),
    });
    let clients: Vec<_> = (0..1_000)
        .map(|_| {
            let (request, address) = (world.message(), world.address);
            tokio::spawn(async move {
                crate::client::Connection::open(address).await.ask(request).await
            })
        })
        .collect();
    let (sampled, done) = (world.gateway.clone(), CancellationToken::new());
    let until = done.clone();
    let sampler = tokio::spawn(async move {
        while !until.is_cancelled() {
            let live = sampled.live();
            for (account, balance) in &live.balances {
                assert!(balance.used() <= limit, "{account}: {balance:?}");
                assert!(balance.granted <= limit, "{account}: {balance:?}");
            }
            tokio::task::yield_now().await;
        }
    });
    let (mut served, mut refused) = (0, 0);
    for client in clients {
        let answered = client.await.unwrap();
        match answered.status.as_u16() {
            200 => served += 1,
            _ => {
                answered.is_refused(429, "billing_error", "budget_exceeded");
                assert_eq!(answered.header("x-should-retry"), Some("false"));
                refused += 1;
            }
        }
    }
    assert_eq!((served, refused), (100, 900));
    done.cancel();
    sampler.await.unwrap();
    world.until("the end", |world| world.gateway.live().in_flight == 0).await;
    world.journal.audit(limit);
    let live = world.gateway.live();
    let environment = live
        .balances
        .iter()
        .find(|(account, _)| matches!(account.scope, Scope::Environment(_)))
        .unwrap();
    assert_eq!(environment.1.settled, COST.checked_mul(100).unwrap());
    assert!(environment.1.reserved.is_zero());
    assert!(environment.1.granted <= limit);
    let events = world.journal.notices("budget.threshold");
    let percents: Vec<_> =
        events.iter().map(|notice| notice.facts["threshold_percent"].as_u64().unwrap()).collect();
    assert_eq!(percents, [75, 90], "the end was at 98 %");
    assert!(events.iter().all(|notice| notice.notify));
    assert_eq!(events[0].severity, Severity::Warning);
}

#[tokio::test]
async fn whoever_waits_for_money_is_served_when_it_is_let_go() {
    let reserved = reservation().await;
    let world = World::with(|plan| {
        plan.environment.budgets.daily = Some(reserved.checked_add(COST).unwrap());
        plan.settings.wait_ms_max = 60_000;
    })
    .await;
    world.upstream.otherwise(|arrived| match arrived.target.contains("count_tokens") {
        true => Answer::json(500, "{}"),
        false => Answer::json(200, message()),
    });
    let slow = Answer::json(200, message()).after(Duration::from_millis(100));
    world.upstream.then_answer(slow);
    let (first, second) = (world.message(), world.message());
    let (mut one, mut two) = (world.connect().await, world.connect().await);
    let first = tokio::spawn(async move { one.ask(first).await.status });
    world.until("the first call", |world| world.upstream.arrived().len() == 1).await;
    let second = tokio::spawn(async move { two.ask(second).await.status });
    world.until("the second waits", |world| world.gateway.live().waiting == 1).await;
    assert_eq!(
        (first.await.unwrap(), second.await.unwrap()),
        (200.into_status(), 200.into_status())
    );
}

trait IntoStatus {
    fn into_status(self) -> http::StatusCode;
}

impl IntoStatus for u16 {
    fn into_status(self) -> http::StatusCode {
        http::StatusCode::from_u16(self).unwrap()
    }
}

#[tokio::test]
async fn near_the_limit_the_prompt_is_counted_once_and_the_call_fits() {
    let limit = Money::from_pico(2_500_000_000);
    assert!(limit < reservation().await);
    let world = World::with(|plan| plan.environment.budgets.daily = Some(limit)).await;
    let answered = world.ask(world.message()).await;
    assert_eq!(answered.status, 200, "{}", answered.text());
    let arrived = world.upstream.arrived();
    let targets: Vec<_> = arrived.iter().map(|it| it.target.as_str()).collect();
    assert_eq!(targets, ["/v1/messages/count_tokens", "/v1/messages"]);
    let counted: serde_json::Value = serde_json::from_slice(&arrived[0].body).unwrap();
    assert!(counted.get("max_tokens").is_none() && counted.get("messages").is_some());
    world.settled(2).await;
    let intents = world.journal.intents();
    assert_eq!((intents[0].route, intents[1].route), (Route::CountTokens, Route::Messages));
    assert!(intents[0].reserved.is_zero() && intents[0].accounts.is_empty());
    // A hundred tokens counted, eight of slack, 400 out: 0.002108 dollars.
    assert_eq!(intents[1].reserved, Money::from_pico(2_108_000_000));
    world.journal.audit(limit);
}

#[tokio::test]
async fn counting_is_not_tried_where_it_cannot_help() {
    let world = World::with(|plan| {
        plan.environment.budgets.daily = Some(Money::from_pico(1_000_000_000));
    })
    .await;
    let answered = world.ask(world.message()).await;
    answered.is_refused(429, "billing_error", "budget_exceeded");
    assert!(world.upstream.arrived().is_empty(), "400 tokens of output alone cost more");
    world.settled(0).await;
}

#[tokio::test]
async fn a_count_that_fails_leaves_the_decision_as_it_was() {
    let limit = Money::from_pico(2_500_000_000);
    assert!(limit < reservation().await);
    let world = World::with(|plan| plan.environment.budgets.daily = Some(limit)).await;
    world.upstream.then_answer(Answer::json(500, "{}"));
    let answered = world.ask(world.message()).await;
    answered.is_refused(429, "billing_error", "budget_exceeded");
    world.settled(1).await;
    assert_eq!(world.journal.settlements()[0].outcome, Outcome::UpstreamFailed);
}

#[tokio::test]
async fn one_lease_is_asked_for_however_many_want_it() {
    let world = World::new().await;
    world.journal.leases_are(Mood::Slow);
    let clients: Vec<_> = (0..20)
        .map(|_| {
            let (request, address) = (world.message(), world.address);
            tokio::spawn(async move {
                crate::client::Connection::open(address).await.ask(request).await.status
            })
        })
        .collect();
    world.until("a lease", |world| world.journal.kept().1 == 1).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(world.journal.kept().1, 1);
    assert!(world.upstream.arrived().is_empty(), "nothing is admitted without its lease");
    world.journal.release();
    for client in clients {
        assert_eq!(client.await.unwrap(), 200);
    }
    world.settled(20).await;
}

#[tokio::test]
async fn without_a_lease_nothing_is_sent() {
    let world = World::new().await;
    world.journal.leases_are(Mood::Broken);
    world.ask(world.message()).await.is_refused(503, "api_error", "not_on_record");
    assert!(world.upstream.arrived().is_empty());
    world.settled(0).await;
    world.journal.leases_are(Mood::Willing);
    assert_eq!(world.ask(world.message()).await.status, 200, "and then it works again");
}

#[tokio::test]
async fn a_lease_is_taken_in_although_its_client_left() {
    let world = World::new().await;
    world.journal.leases_are(Mood::Slow);
    let mut connection = world.connect().await;
    tokio::select! {
        _ = connection.send(world.message()) => panic!("answered"),
        () = world.until("a lease", |world| world.journal.kept().1 == 1) => {}
    }
    drop(connection);
    tokio::time::sleep(Duration::from_millis(20)).await;
    world.journal.release();
    let granted =
        |world: &World| world.gateway.live().balances.iter().any(|it| !it.1.granted.is_zero());
    world.until("the grant", granted).await;
    assert_eq!(world.ask(world.message()).await.status, 200);
    assert_eq!(world.journal.leases().len(), 1);
}

#[tokio::test]
async fn concurrency_is_never_above_its_limit_and_all_are_served() {
    let world = World::with(|plan| {
        plan.key.limits.concurrency = Some(3);
        plan.settings.wait_ms_max = 60_000;
    })
    .await;
    world.upstream.otherwise(|_| Answer::json(200, message()).after(Duration::from_millis(5)));
    let clients: Vec<_> = (0..40)
        .map(|_| {
            let (request, address) = (world.message(), world.address);
            tokio::spawn(async move {
                crate::client::Connection::open(address).await.ask(request).await.status
            })
        })
        .collect();
    for client in clients {
        assert_eq!(client.await.unwrap(), 200);
    }
    assert!(world.upstream.most_at_once() <= 3, "{}", world.upstream.most_at_once());
    world.settled(40).await;
}

#[tokio::test]
async fn waiting_has_an_end_and_a_true_answer() {
    let world = World::with(|plan| {
        plan.key.limits.concurrency = Some(1);
        plan.settings.wait_ms_max = 30;
    })
    .await;
    world.upstream.then(Act::Hang);
    let (mut hanging, request) = (world.connect().await, world.message());
    let hanging = tokio::spawn(async move {
        let _ = hanging.send(request).await;
    });
    world.until("the first call", |world| world.upstream.arrived().len() == 1).await;
    for _ in 0..2 {
        let answered = world.ask(world.message()).await;
        answered.is_refused(429, "rate_limit_error", "concurrency");
    }
    world.publish(|snapshot| snapshot.settings.waiting_calls_max = 0);
    let answered = world.ask(world.message()).await;
    answered.is_refused(503, "overloaded_error", "queue_full");
    assert_eq!(world.gateway.live().waiting, 0);
    hanging.abort();
}

#[tokio::test]
async fn a_request_limit_that_time_alone_can_mend_is_told_at_once() {
    let world = World::with(|plan| plan.key.limits.requests_per_minute = Some(2)).await;
    for _ in 0..2 {
        assert_eq!(world.ask(world.message()).await.status, 200);
    }
    let answered = world.ask(world.message()).await;
    answered.is_refused(429, "rate_limit_error", "requests_per_minute");
    let seconds: u64 = answered.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=61).contains(&seconds), "{seconds}");
    assert_eq!(world.upstream.arrived().len(), 2);
    world.settled(2).await;
}

#[tokio::test]
async fn an_upstream_with_nothing_left_is_not_asked_at_once() {
    let world = World::with(|plan| plan.settings.wait_ms_max = 40).await;
    let empty = Answer::json(200, message())
        .header("anthropic-ratelimit-requests-limit", "1")
        .header("anthropic-ratelimit-requests-remaining", "0")
        .header("anthropic-ratelimit-requests-reset", "2026-11-23T12:01:00Z");
    world.upstream.then_answer(empty);
    assert_eq!(world.ask(world.message()).await.status, 200);
    let mut connection = world.connect().await;
    let request = world.message();
    let held = tokio::spawn(async move { connection.ask(request).await.status });
    world.until("it is held back", |world| world.gateway.live().waiting == 1).await;
    assert_eq!(world.upstream.arrived().len(), 1);
    assert_eq!(held.await.unwrap(), 200, "and goes on after the wait");
    world.settled(2).await;
}

//! What is repeated, what is not, and when upstream is left alone.

use std::time::Duration;

use chamberlain_core::admission::breaker::BreakerState;
use chamberlain_core::record::Outcome;
use chamberlain_core::snapshot::BreakerSettings;

use crate::upstream::{Act, Answer, error, message};
use crate::world::World;

fn overloaded() -> Answer {
    Answer::json(529, error("overloaded_error"))
}

#[tokio::test]
async fn what_was_refused_for_load_is_sent_again() {
    for status in [429, 503, 529] {
        let world = World::new().await;
        for _ in 0..2 {
            world.upstream.then_answer(Answer::json(status, error("overloaded_error")));
        }
        let answered = world.ask(world.message()).await;
        assert_eq!((answered.status.as_u16(), answered.text()), (200, message()));
        world.settled(1).await;
        assert_eq!(world.journal.settlements()[0].attempts, 3);
        let bodies: Vec<_> = world.upstream.arrived().into_iter().map(|it| it.body).collect();
        assert!(bodies.len() == 3 && bodies.iter().all(|body| *body == bodies[0]));
    }
}

#[tokio::test]
async fn the_last_answer_passes_when_it_is_given_up() {
    let world = World::new().await;
    world.upstream.otherwise(|_| overloaded().header("x-n", "9"));
    let answered = world.ask(world.message()).await;
    assert_eq!((answered.status.as_u16(), answered.header("x-n")), (529, Some("9")));
    assert_eq!(answered.text(), error("overloaded_error"));
    world.settled(1).await;
    let settlement = &world.journal.settlements()[0];
    assert_eq!((settlement.attempts, settlement.outcome), (4, Outcome::UpstreamFailed));
    assert!(settlement.cost.is_zero());
}

#[tokio::test]
async fn what_upstream_says_about_retrying_counts() {
    let world = World::new().await;
    world.upstream.then_answer(overloaded().header("retry-after", "3600"));
    let answered = world.ask(world.message()).await;
    assert_eq!((answered.status.as_u16(), answered.header("retry-after")), (529, Some("3600")));
    world.upstream.then_answer(overloaded().header("x-should-retry", "false"));
    assert_eq!(world.ask(world.message()).await.status, 529);
    world.upstream.then_answer(Answer::json(500, error("api_error")));
    assert_eq!(world.ask(world.message()).await.status, 500, "a 500 may have been worked on");
    assert_eq!(world.upstream.arrived().len(), 3);
    world.settled(3).await;
}

#[tokio::test]
async fn every_attempt_counts_against_the_request_limit() {
    let world = World::with(|plan| plan.key.limits.requests_per_minute = Some(2)).await;
    world.upstream.otherwise(|_| overloaded());
    assert_eq!(world.ask(world.message()).await.status, 529);
    assert_eq!(world.upstream.arrived().len(), 2, "the third would have been over the limit");
    world.settled(1).await;
}

#[tokio::test]
async fn retries_stay_a_share_of_calls() {
    let world = World::new().await;
    world.upstream.otherwise(|_| overloaded());
    for _ in 0..10 {
        assert_eq!(world.ask(world.message()).await.status, 529);
    }
    assert_eq!(world.upstream.arrived().len(), 20, "ten calls and the floor of ten retries");
    world.settled(10).await;
}

fn breaker(reset_timeout_ms: u64) -> BreakerSettings {
    BreakerSettings { failure_threshold: 5, reset_timeout_ms, success_threshold: 2 }
}

#[tokio::test]
async fn an_upstream_that_keeps_failing_is_left_alone() {
    let world = World::with(|plan| {
        plan.settings.breaker = breaker(60_000);
        plan.settings.retry.retries_max = 0;
    })
    .await;
    world.upstream.otherwise(|_| Answer::json(500, error("api_error")));
    for _ in 0..5 {
        assert_eq!(world.ask(world.message()).await.status, 500);
    }
    for _ in 0..3 {
        let answered = world.ask(world.message()).await;
        answered.is_refused(503, "overloaded_error", "breaker_open");
        assert!(answered.header("retry-after").is_some());
    }
    assert_eq!(world.upstream.arrived().len(), 5, "nothing is sent while it is open");
    assert_eq!(world.journal.intents().len(), 5);
    assert_eq!(world.gateway.live().breakers[0].state, BreakerState::Open);
    assert_eq!(world.journal.notices("upstream.breaker_opened").len(), 1);
    world.settled(5).await;
}

#[tokio::test]
async fn two_probes_that_succeed_close_the_breaker() {
    let world = World::with(|plan| {
        plan.settings.breaker = breaker(100);
        plan.settings.retry.retries_max = 0;
    })
    .await;
    for _ in 0..5 {
        world.upstream.then_answer(Answer::json(500, error("api_error")));
        world.ask(world.message()).await;
    }
    assert_eq!(world.gateway.live().breakers[0].state, BreakerState::Open);
    world
        .until("half open", |world| {
            world.gateway.live().breakers[0].state == BreakerState::HalfOpen
        })
        .await;
    for _ in 0..2 {
        assert_eq!(world.ask(world.message()).await.status, 200);
    }
    assert_eq!(world.gateway.live().breakers[0].state, BreakerState::Closed);
    world.settled(7).await;
}

#[tokio::test]
async fn refusals_of_upstream_do_not_open_the_breaker() {
    let world = World::with(|plan| {
        plan.settings.breaker = breaker(60_000);
        plan.settings.retry.retries_max = 0;
    })
    .await;
    for status in [400, 401, 403, 404, 429, 429, 429, 429] {
        world.upstream.then_answer(Answer::json(status, error("x")));
        world.ask(world.message()).await;
    }
    assert_eq!(world.ask(world.message()).await.status, 200);
    assert_eq!(world.gateway.live().breakers[0].state, BreakerState::Closed);
}

#[tokio::test]
async fn a_probe_that_is_lost_lets_the_next_one_through() {
    let world = World::with(|plan| {
        plan.settings.breaker = breaker(50);
        plan.settings.retry.retries_max = 0;
        plan.settings.drain_ms_max = 0;
    })
    .await;
    for _ in 0..5 {
        world.upstream.then_answer(Answer::json(500, error("api_error")));
        world.ask(world.message()).await;
    }
    tokio::time::sleep(Duration::from_millis(60)).await;
    world.upstream.then(Act::Hang);
    let mut connection = world.connect().await;
    let asking = connection.send(world.message());
    let _ = tokio::time::timeout(Duration::from_millis(100), asking).await;
    drop(connection);
    world.settled(6).await;
    assert_eq!(world.ask(world.message()).await.status, 200);
}

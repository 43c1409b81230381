//! What is counted of calls: all of them, once, under names that no client chooses.

use chamberlain_core::record::Outcome;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;

use crate::upstream::{Act, Answer, error};
use crate::world::{MODEL, World, body};

fn page(world: &World) -> String {
    let mut registry = Registry::default();
    world.gateway.register_metrics(&mut registry);
    let mut page = String::new();
    encode(&mut page, &registry).unwrap();
    page
}

/// The lines that begin so, as labels and value.
fn lines<'a>(page: &'a str, start: &str) -> Vec<&'a str> {
    page.lines().filter(|line| line.starts_with(start)).collect()
}

/// The sum of the lines that begin so and contain that.
fn sum(page: &str, start: &str, label: &str) -> f64 {
    let lines = lines(page, start).into_iter().filter(|line| line.contains(label));
    lines.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
}

#[tokio::test]
async fn a_thousand_unknown_models_are_one_series() {
    let world = World::new().await;
    let mut connection = world.connect().await;
    for number in 0..1_000 {
        let body = body("").replace(MODEL, &format!("claude-made-up-{number}"));
        let answered = connection.ask(world.request("/v1/messages", body)).await;
        assert!(answered.status.is_client_error(), "{answered:?}");
    }
    let page = page(&world);
    let requests = lines(&page, "requests_total");
    assert_eq!(requests.len(), 1, "{requests:?}");
    assert!(requests[0].contains(r#"model="other""#), "{requests:?}");
    assert_eq!(sum(&page, "requests_total", r#"outcome="refused""#), 1_000.0);
    assert_eq!(sum(&page, "refusals_total", "code="), 1_000.0);
    assert!(!page.contains("made-up"), "{page}");
}

#[tokio::test]
async fn every_request_is_counted_once_however_it_ends() {
    let world = World::new().await;
    assert_eq!(world.ask(world.message()).await.status, 200);
    world.upstream.then_answer(Answer::json(400, error("invalid_request_error")));
    assert_eq!(world.ask(world.message()).await.status, 400);
    world.upstream.then(Act::Hangup);
    world.ask(world.message()).await.is_refused(502, "api_error", "upstream_connection_lost");
    world.ask(world.request("/v1/nothing", "")).await.is_refused(
        403,
        "permission_error",
        "unknown_route",
    );
    world.settled(3).await;
    let page = page(&world);
    for (outcome, count) in
        [("completed", 1.0), ("upstream_refused", 1.0), ("upstream_failed", 1.0), ("refused", 1.0)]
    {
        let label = format!("outcome=\"{outcome}\"");
        assert_eq!(sum(&page, "requests_total", &label), count, "{outcome}: {page}");
    }
    assert_eq!(sum(&page, "requests_total", ""), 4.0, "{page}");
    assert_eq!(sum(&page, "refusals_total", "upstream_connection_lost"), 1.0);
    assert_eq!(sum(&page, "overhead_seconds_count", ""), 3.0);
    let settlements = world.journal.settlements();
    assert!(settlements.iter().any(|settled| settled.outcome == Outcome::UpstreamFailed));
    let pico: i128 = settlements.iter().map(|settled| settled.cost.pico()).sum();
    assert_eq!(sum(&page, "spend_usd_total", MODEL), pico as f64 / 1e12, "unsettled included");
}

#[tokio::test]
async fn retries_are_counted_by_their_reason() {
    let world = World::new().await;
    for status in [429, 529] {
        world.upstream.then_answer(Answer::json(status, error("overloaded_error")));
    }
    assert_eq!(world.ask(world.message()).await.status, 200);
    world.settled(1).await;
    let page = page(&world);
    let count = |reason: &str| sum(&page, "upstream_retries_total", &format!("\"{reason}\""));
    assert_eq!(
        [count("rate_limited"), count("overloaded"), count("not_connected")],
        [1.0, 1.0, 0.0]
    );
    assert_eq!(sum(&page, "requests_total", "completed"), 1.0, "one call, three attempts");
}

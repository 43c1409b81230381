//! Every row of the table of ends, seen through the sockets.

use std::time::Duration;

use chamberlain_core::money::Money;
use chamberlain_core::record::{Certainty, Outcome, Settlement, Severity};

use crate::upstream::{Act, Answer, Piece, data, error, events, message};
use crate::world::{MODEL, World};

async fn only_settlement(world: &World) -> Settlement {
    world.settled(1).await;
    world.journal.settlements().remove(0)
}

fn row(settlement: &Settlement) -> (Outcome, Certainty, bool) {
    (settlement.outcome, settlement.certainty, settlement.cost.is_zero())
}

#[tokio::test]
async fn an_error_of_the_api_passes_and_costs_nothing() {
    for (status, kind, outcome) in [
        (400, "invalid_request_error", Outcome::UpstreamRefused),
        (404, "not_found_error", Outcome::UpstreamRefused),
        (413, "request_too_large", Outcome::UpstreamRefused),
        (500, "api_error", Outcome::UpstreamFailed),
        (504, "timeout_error", Outcome::UpstreamFailed),
    ] {
        let world = World::new().await;
        let answer = Answer::json(status, error(kind)).header("x-should-retry", "false");
        world.upstream.then_answer(answer);
        let answered = world.ask(world.message()).await;
        assert_eq!((answered.status.as_u16(), answered.text()), (status, error(kind).as_str()));
        assert_eq!(answered.header("x-should-retry"), Some("false"));
        assert_eq!(answered.code(), None, "it is not our answer");
        let settlement = only_settlement(&world).await;
        assert_eq!(row(&settlement), (outcome, Certainty::Settled, true), "{status}");
        assert_eq!((settlement.status, settlement.attempts), (status, 1));
    }
}

#[tokio::test]
async fn an_error_page_of_something_in_between_stays_charged() {
    let world = World::new().await;
    let page = Answer::json(502, "<html>bad gateway</html>").header("content-type", "text/html");
    world.upstream.then_answer(page);
    let answered = world.ask(world.message()).await;
    assert_eq!((answered.status.as_u16(), answered.text()), (502, "<html>bad gateway</html>"));
    let settlement = only_settlement(&world).await;
    assert_eq!(row(&settlement), (Outcome::UpstreamFailed, Certainty::Unsettled, false));
    assert_eq!(settlement.cost, settlement.reserved);
    assert_eq!(world.journal.notices("ledger.unsettled").len(), 1);
}

#[tokio::test]
async fn a_redirect_is_neither_followed_nor_passed_on() {
    let there = "https://api.anthropic.com/v1/messages";
    for status in [301, 302, 303, 307, 308] {
        let world = World::new().await;
        let answer = Answer::json(status, "{}").header("location", there);
        world.upstream.then_answer(answer);
        let answered = world.ask(world.message()).await;
        answered.is_refused(502, "api_error", "upstream_redirected");
        assert_eq!(answered.header("x-should-retry"), Some("false"));
        assert_eq!(answered.header("location"), None);
        assert!(answered.text().contains(&format!("({status})")), "{}", answered.text());
        assert!(!answered.text().contains("api.anthropic.com"));
        let settlement = only_settlement(&world).await;
        let (outcome, certainty) = match status {
            303 => (Outcome::UpstreamFailed, Certainty::Unsettled),
            _ => (Outcome::UpstreamRefused, Certainty::Settled),
        };
        assert_eq!(row(&settlement), (outcome, certainty, status != 303), "{status}");
        assert_eq!(settlement.status, 502);
        assert_eq!(world.upstream.arrived().len(), 1);
    }
    let world = World::new().await;
    let answer = Answer::json(304, "").header("location", there).header("etag", "\"1\"");
    world.upstream.then_answer(answer);
    let answered = world.ask(world.request("/v1/models", "")).await;
    assert_eq!((answered.status.as_u16(), answered.header("location")), (304, None));
    assert_eq!(answered.header("etag"), Some("\"1\""), "nothing has changed");
}

#[tokio::test]
async fn a_connection_lost_after_sending_stays_charged() {
    let world = World::new().await;
    world.upstream.then(Act::Hangup);
    let answered = world.ask(world.message()).await;
    answered.is_refused(502, "api_error", "upstream_connection_lost");
    let settlement = only_settlement(&world).await;
    assert_eq!(row(&settlement), (Outcome::UpstreamFailed, Certainty::Unsettled, false));
    assert_eq!((settlement.cost, settlement.status), (settlement.reserved, 502));
    assert_eq!(world.upstream.arrived().len(), 1, "a POST that may have arrived is not repeated");
}

#[tokio::test]
async fn no_answer_in_time_stays_charged() {
    let world = World::with(|plan| plan.settings.first_byte_ms_max = 50).await;
    world.upstream.then(Act::Hang);
    world.ask(world.message()).await.is_refused(504, "timeout_error", "upstream_timeout");
    let settlement = only_settlement(&world).await;
    assert_eq!(row(&settlement), (Outcome::UpstreamFailed, Certainty::Unsettled, false));
    assert_eq!(world.upstream.arrived().len(), 1);
}

#[tokio::test]
async fn what_never_connected_costs_nothing() {
    // A port that was just let go: nobody listens there.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let dead = World::with(|plan| {
        plan.settings.retry.retries_max = 1;
        plan.dead = Some(free);
    })
    .await;
    dead.ask(dead.message()).await.is_refused(502, "api_error", "upstream_unreachable");
    let settlement = only_settlement(&dead).await;
    assert_eq!(row(&settlement), (Outcome::NotSent, Certainty::Settled, true));
    assert_eq!(settlement.attempts, 2, "a failed connection is tried again");
}

#[tokio::test]
async fn a_json_answer_that_breaks_off_stays_visible_and_charged() {
    let world = World::new().await;
    let pieces = [data(&message()[..100]), Piece::Cut];
    world.upstream.then_answer(Answer::slow("application/json", pieces));
    let answered = world.ask(world.message()).await;
    assert_eq!((answered.broken, answered.text()), (true, &message()[..100]));
    let settlement = only_settlement(&world).await;
    assert_eq!(row(&settlement), (Outcome::Cut, Certainty::Unsettled, false));
    assert_eq!(settlement.cost, settlement.reserved);
}

#[tokio::test]
async fn a_stream_that_breaks_off_says_so_and_then_breaks_off_too() {
    for end in [Some(Piece::Cut), None] {
        let world = World::new().await;
        let events = events();
        let before = &events[..4];
        let pieces = before.iter().map(|event| data(event)).chain(end);
        world.upstream.then_answer(Answer::stream(pieces));
        let answered = world.ask(world.stream()).await;
        let text = answered.text().strip_prefix(before.concat().as_str()).unwrap();
        let event = text.strip_prefix("event: error\ndata: ").unwrap();
        let event: serde_json::Value = serde_json::from_str(event.trim_end()).unwrap();
        assert_eq!(
            (&event["type"], &event["error"]["type"]),
            (&"error".into(), &"api_error".into())
        );
        assert_eq!(event["request_id"], "req_upstream");
        assert!(text.ends_with("\n\n") && answered.broken, "{answered:?}");
        let settlement = only_settlement(&world).await;
        assert_eq!(row(&settlement), (Outcome::Cut, Certainty::Estimated, false));
        assert!(settlement.cost <= settlement.reserved);
        assert_eq!(settlement.tokens.input, 100);
    }
}

#[tokio::test]
async fn a_stream_that_breaks_off_inside_an_event_gets_no_words_of_ours() {
    let world = World::new().await;
    let half = &events()[3][..60];
    let pieces = [data(events()[0]), data(half), Piece::Cut];
    world.upstream.then_answer(Answer::stream(pieces));
    let answered = world.ask(world.stream()).await;
    assert_eq!((answered.text(), answered.broken), ([events()[0], half].concat().as_str(), true));
    assert_eq!(only_settlement(&world).await.outcome, Outcome::Cut);
}

#[tokio::test]
async fn a_stream_that_breaks_off_before_its_first_event_stays_charged() {
    let world = World::new().await;
    world.upstream.then_answer(Answer::stream([data(": hello\n\n"), Piece::Cut]));
    let answered = world.ask(world.stream()).await;
    assert!(answered.broken && answered.text().starts_with(": hello\n\nevent: error"));
    let settlement = only_settlement(&world).await;
    assert_eq!(row(&settlement), (Outcome::Cut, Certainty::Unsettled, false));
}

#[tokio::test]
async fn an_error_event_of_upstream_passes_as_it_is() {
    let error = format!("event: error\ndata: {}\n\n", error("overloaded_error"));
    let world = World::new().await;
    world.upstream.then_answer(Answer::stream([data(&error)]));
    let answered = world.ask(world.stream()).await;
    assert_eq!((answered.text(), answered.broken), (error.as_str(), false));
    let settlement = only_settlement(&world).await;
    assert_eq!(row(&settlement), (Outcome::UpstreamFailed, Certainty::Settled, true));

    let world = World::new().await;
    let events = events();
    let pieces = events[..4].iter().map(|event| data(event)).chain([data(&error)]);
    world.upstream.then_answer(Answer::stream(pieces));
    let answered = world.ask(world.stream()).await;
    assert!(answered.text().ends_with(&error) && !answered.broken);
    let settlement = only_settlement(&world).await;
    assert_eq!(row(&settlement), (Outcome::Cut, Certainty::Estimated, false));
}

#[tokio::test]
async fn silence_inside_an_answer_ends_it() {
    let world = World::with(|plan| plan.settings.idle_ms_max = 50).await;
    let (pieces, answer) = Answer::pieces("text/event-stream");
    world.upstream.then_answer(answer);
    pieces.send(data(events()[0])).ok().unwrap();
    let answered = world.ask(world.stream()).await;
    assert!(answered.broken && answered.text().contains("event: error"));
    let settlement = only_settlement(&world).await;
    assert_eq!((settlement.outcome, settlement.certainty), (Outcome::Cut, Certainty::Estimated));
    world.until("the cancellation", |world| world.upstream.cancelled() == 1).await;
    drop(pieces);
}

#[tokio::test]
async fn a_rejected_upstream_key_is_not_the_clients_fault() {
    let world = World::new().await;
    for _ in 0..2 {
        world.upstream.then_answer(Answer::json(401, error("authentication_error")));
        let answered = world.ask(world.message()).await;
        answered.is_refused(502, "api_error", "upstream_key_rejected");
        assert_eq!(answered.header("x-should-retry"), Some("false"));
        assert!(!answered.text().contains("invalid x-api-key"));
    }
    world.settled(2).await;
    let settlement = &world.journal.settlements()[0];
    assert_eq!(row(settlement), (Outcome::UpstreamRefused, Certainty::Settled, true));
    let notices = world.journal.notices("upstream.key_rejected");
    assert_eq!(notices.len(), 1, "one notice a minute");
    assert_eq!((notices[0].severity, notices[0].notify), (Severity::Critical, true));
    assert_eq!(notices[0].facts["upstream_key"], "uk_test");
}

#[tokio::test]
async fn an_answer_without_usage_or_price_is_never_free() {
    let world = World::new().await;
    world.upstream.then_answer(Answer::json(200, r#"{"type":"message"}"#));
    assert_eq!(world.ask(world.message()).await.status, 200);
    let unpriced = message().replace(MODEL, "claude-not-in-the-book");
    world.upstream.then_answer(Answer::json(200, unpriced));
    assert_eq!(world.ask(world.message()).await.status, 200);
    let encoded = Answer::json(200, message()).header("content-encoding", "gzip");
    world.upstream.then_answer(encoded);
    assert_eq!(world.ask(world.message()).await.status, 200);
    world.settled(3).await;
    let settlements = world.journal.settlements();
    for settlement in &settlements {
        assert_eq!(settlement.cost, settlement.reserved);
    }
    let certainties: Vec<_> = settlements.iter().map(|it| it.certainty).collect();
    use Certainty::{Estimated, Unsettled};
    assert_eq!(certainties, [Unsettled, Estimated, Unsettled]);
    assert_eq!(world.journal.notices("ledger.unmetered").len(), 2);
    assert_eq!(world.journal.notices("ledger.unpriced").len(), 1);
}

#[tokio::test]
async fn a_bound_that_was_wrong_is_charged_in_full_and_shouted_about() {
    let world = World::new().await;
    let more = message().replace(r#""output_tokens":200"#, r#""output_tokens":2000000"#);
    world.upstream.then_answer(Answer::json(200, more));
    assert_eq!(world.ask(world.message()).await.status, 200);
    let settlement = only_settlement(&world).await;
    assert!(settlement.cost > settlement.reserved);
    assert_eq!(settlement.cost, Money::from_pico(10_000_100_000_000));
    assert_eq!(world.journal.notices("ledger.overrun")[0].severity, Severity::Critical);
}

#[tokio::test]
async fn a_slow_answer_is_waited_for() {
    let world = World::new().await;
    let slow = Answer::json(200, message()).after(Duration::from_millis(100));
    world.upstream.then_answer(slow);
    assert_eq!(world.ask(world.message()).await.status, 200);
    assert_eq!(only_settlement(&world).await.outcome, Outcome::Completed);
}

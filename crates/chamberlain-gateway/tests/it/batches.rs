//! Batches: everything they may cost is set aside before they leave, nobody sees another's, and
//! what they did cost is learned without the client.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use chamberlain_core::admission::key::{VirtualKey, mint};
use chamberlain_core::anthropic::request::Capability;
use chamberlain_core::money::Money;
use chamberlain_core::record::{Certainty, Outcome, Route};
use chamberlain_core::snapshot::Budgets;
use http::{Method, Request};
use http_body_util::Full;
use serde_json::{Value, json};

use crate::upstream::{Act, Answer, Arrived, Piece, data, error};
use crate::world::*;

const PATH: &str = "/v1/messages/batches";
/// What two items of `item` may cost: 1,000 for framing, and their bytes, and 400 out, each.
const RESULTS: &str = concat!(
    r#"{"custom_id":"b","result":{"type":"errored","error":{"type":"error"}}}"#,
    "\n",
    r#"{"custom_id":"a","result":{"type":"succeeded","message":{"id":"msg_1","type":"message","#,
    r#""role":"assistant","model":"claude-haiku-4-5-20251001","content":[],"stop_reason":"end_turn","#,
    r#""usage":{"input_tokens":100,"output_tokens":200}}}}"#,
    "\n"
);
/// 100 in at 1 and 200 out at 5 dollars a million, halved.
const COST: &str = "0.00055";

fn item(custom_id: &str) -> Value {
    json!({"custom_id": custom_id, "params": {
        "model": MODEL, "max_tokens": 400, "messages": [{"role": "user", "content": "hi"}],
    }})
}

fn batch(items: &[Value]) -> String {
    json!({ "requests": items }).to_string()
}

fn two() -> String {
    batch(&[item("a"), item("b")])
}

fn object(ended: bool) -> String {
    let status = if ended { "ended" } else { "in_progress" };
    let link = if ended {
        r#""https://api.anthropic.com/v1/messages/batches/msgbatch_1/results""#
    } else {
        "null"
    };
    format!(
        r#"{{"id":"msgbatch_1", "type":"message_batch","processing_status":"{status}","created_at":"2026-11-23T12:00:00Z","results_url": {link} ,"novel":1.0}}"#
    )
}

/// An upstream with one batch, which has ended when told so.
fn plays_batches(world: &World) -> Arc<AtomicBool> {
    let ended = Arc::new(AtomicBool::new(false));
    let told = ended.clone();
    world.upstream.otherwise(move |arrived: &Arrived| {
        let target = arrived.target.split('?').next().unwrap();
        match (arrived.method.as_str(), target.strip_prefix(PATH).unwrap()) {
            ("POST", "") => Answer::json(200, object(false)),
            ("GET", "/msgbatch_1/results") => Answer::json(200, RESULTS),
            ("DELETE", _) => {
                Answer::json(200, r#"{"id":"msgbatch_1","type":"message_batch_deleted"}"#)
            }
            (_, "/msgbatch_1" | "/msgbatch_1/cancel") => {
                Answer::json(200, object(told.load(Ordering::SeqCst)))
            }
            _ => Answer::json(404, error("not_found_error")),
        }
    });
    ended
}

async fn world() -> (World, Arc<AtomicBool>) {
    let world = World::with(|plan| plan.settings.batch_look_ms_min = 20).await;
    let ended = plays_batches(&world);
    (world, ended)
}

fn ask(world: &World, method: Method, path: &str) -> Request<Full<bytes::Bytes>> {
    let mut request = world.request(path, "");
    *request.method_mut() = method;
    request
}

/// Money that is in use in every account of the only virtual key.
fn used(world: &World) -> Money {
    let live = world.gateway.live();
    let used = live.balances.iter().map(|(_, balance)| balance.used()).max();
    used.unwrap_or(Money::ZERO)
}

fn usd(text: &str) -> Money {
    text.parse().unwrap()
}

#[tokio::test]
async fn a_batch_is_charged_in_full_and_trued_up_when_it_has_ended() {
    let (world, ended) = world().await;
    let sent = two();
    let answer = world.ask(world.request(PATH, sent.clone())).await;
    assert_eq!((answer.status.as_u16(), answer.text()), (200, object(false).as_str()));
    let arrived = world.upstream.arrived();
    assert_eq!((arrived[0].target.as_str(), &arrived[0].body[..]), (PATH, sent.as_bytes()));

    let intent = world.journal.intents().remove(0);
    assert_eq!((intent.route, intent.model.as_str()), (Route::BatchCreate, MODEL));
    let params = item("a")["params"].to_string().len() as i128;
    // Bytes and framing in, at 0.5 dollars a million; 400 out at 2.5.
    let pico = 2 * ((params + 1_000) * 500_000 + 400 * 2_500_000);
    assert_eq!(intent.reserved, Money::from_pico(pico));
    let settled = world.journal.settlements().remove(0);
    assert_eq!((settled.outcome, settled.certainty), (Outcome::Completed, Certainty::Unsettled));
    assert_eq!((settled.cost, used(&world)), (intent.reserved, intent.reserved));
    assert!(world.journal.notices("ledger.unsettled").is_empty(), "nothing is wrong");

    // Looked at, and not settled while it runs.
    world.until("a look", |world| world.upstream.arrived().len() >= 3).await;
    assert_eq!(used(&world), intent.reserved);
    ended.store(true, Ordering::SeqCst);
    world.until("the true-up", |world| !world.journal.true_ups().is_empty()).await;
    world.until("the money", |world| used(world) == usd(COST)).await;
    let found = world.journal.true_ups().remove(0);
    assert_eq!((found.call, found.cost, found.tokens.output), (intent.call, usd(COST), 200));
    let looks = world.upstream.arrived();
    for look in &looks[1..] {
        assert_eq!(look.headers["x-api-key"], CREDENTIAL);
        assert_eq!(look.headers["anthropic-version"], "2023-06-01");
    }
    world.until("an end", |world| world.gateway.live().open_batches == 0).await;
    assert_eq!(world.journal.true_ups().len(), 1);
    world.settled(1).await;
}

#[tokio::test]
async fn links_lead_to_us_and_nothing_else_changes() {
    let (world, ended) = world().await;
    ended.store(true, Ordering::SeqCst);
    world.ask(world.request(PATH, two())).await;
    let there = "https://api.anthropic.com/v1/messages/batches/msgbatch_1/results";
    let here = "http://gateway.example/v1/messages/batches/msgbatch_1/results";
    let expected = object(true).replace(there, here);
    let answer = world.ask(ask(&world, Method::GET, "/v1/messages/batches/msgbatch_1")).await;
    assert_eq!(answer.text(), expected);
    assert_eq!(answer.header("request-id"), Some("req_upstream"));
    let path = "/v1/messages/batches/msgbatch_1/cancel";
    let answer = world.ask(ask(&world, Method::POST, path)).await;
    assert_eq!(answer.text(), expected);
    world.until("an end", |world| world.gateway.live().open_batches == 0).await;
    let list = world.ask(ask(&world, Method::GET, PATH)).await.json();
    assert_eq!(list["data"][0]["results_url"], here);
    assert_eq!((&list["first_id"], &list["has_more"]), (&json!("msgbatch_1"), &json!(false)));
    assert!(
        !world.upstream.arrived().iter().any(|it| it.method == "GET" && it.target == PATH),
        "upstream's list is the whole workspace's"
    );
    let results = world.ask(ask(&world, Method::GET, &format!("{PATH}/msgbatch_1/results"))).await;
    assert_eq!(results.text(), RESULTS, "untouched");
    world.publish(|snapshot| {
        snapshot.settings.public_url = Some("https://claude.example".to_owned());
    });
    let answer = world.ask(ask(&world, Method::GET, "/v1/messages/batches/msgbatch_1")).await;
    let public = "https://claude.example/v1/messages/batches/msgbatch_1/results";
    assert_eq!(answer.json()["results_url"], public);
}

#[tokio::test]
async fn an_answer_whose_link_cannot_be_changed_is_held_back() {
    let (world, _) = world().await;
    world.ask(world.request(PATH, two())).await;
    let answers = [
        "<html>",
        "[]",
        // Not ended: the collector needs no link, and would settle a batch that has.
        r#"{"id":"msgbatch_1","processing_status":"canceling","results_url":"a","results_url":"b"}"#,
    ];
    for bad in answers {
        world.upstream.otherwise(move |_| Answer::json(200, bad));
        let answer = world.ask(ask(&world, Method::GET, "/v1/messages/batches/msgbatch_1")).await;
        answer.is_refused(502, "api_error", "batch_unreadable");
    }
    assert_eq!(world.gateway.live().open_batches, 1, "and nothing was concluded from it");
    assert!(world.journal.true_ups().is_empty());
}

/// A second virtual key in the same environment.
fn another(world: &World) -> String {
    let minted = mint([7; 16], [8; 43]);
    world.publish(|snapshot| {
        let first = snapshot.virtual_keys.values().next().unwrap().clone();
        let other = VirtualKey {
            id: minted.id.clone(),
            name: "other".to_owned(),
            secret_hash: minted.secret_hash,
            ..VirtualKey::clone(&first)
        };
        snapshot.virtual_keys.insert(minted.id.clone(), Arc::new(other));
    });
    minted.text.expose().to_owned()
}

#[tokio::test]
async fn anothers_batch_is_refused_exactly_like_one_that_is_not_there() {
    let (world, _) = world().await;
    world.ask(world.request(PATH, two())).await;
    let other = another(&world);
    let seen = world.upstream.arrived().iter().filter(|it| it.method != "GET").count();
    for (method, rest) in [
        (Method::GET, ""),
        (Method::GET, "/results"),
        (Method::POST, "/cancel"),
        (Method::DELETE, ""),
    ] {
        let mut answers = Vec::new();
        for id in ["msgbatch_1", "msgbatch_2"] {
            let mut request = ask(&world, method.clone(), &format!("{PATH}/{id}{rest}"));
            request.headers_mut().insert("x-api-key", other.parse().unwrap());
            let answer = world.ask(request).await;
            answer.is_refused(404, "not_found_error", "unknown_resource");
            answers.push(answer.json()["error"]["message"].as_str().unwrap().replace(id, "ID"));
        }
        assert_eq!(answers[0], answers[1], "{method} {rest}");
    }
    let mut request = ask(&world, Method::GET, PATH);
    request.headers_mut().insert("x-api-key", other.parse().unwrap());
    assert_eq!(world.ask(request).await.json()["data"], json!([]));
    let sent = world.upstream.arrived().iter().filter(|it| it.method != "GET").count();
    assert_eq!(sent, seen, "nothing of it went upstream");
    assert_eq!(world.journal.notices("security.foreign_id").len(), 4);
}

#[tokio::test]
async fn one_refused_item_refuses_the_batch_and_is_named() {
    let (world, _) = world().await;
    let mut items = vec![item("a"), item("b"), item("c")];
    let put = |items: &mut Vec<Value>, name: &str, value: Value| items[2]["params"][name] = value;
    for (name, value, status, code) in [
        ("model", json!("claude-nine"), 404, "unknown_model"),
        ("stream", json!(true), 400, "malformed_request"),
        ("speed", json!("fast"), 400, "malformed_request"),
        ("mcp_servers", json!([{"url": "https://e"}]), 400, "unbounded_cost"),
        (
            "tools",
            json!([{"type": "web_search_20260318", "name": "s", "max_uses": 1}]),
            400,
            "unbounded_cost",
        ),
    ] {
        let before = items.clone();
        put(&mut items, name, value);
        let answer = world.ask(world.request(PATH, batch(&items))).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (status, Some(code)), "{name}");
        let message = answer.json()["error"]["message"].to_string();
        assert!(message.contains("requests.2") && message.contains("\\\"c\\\""), "{message}");
        items = before;
    }
    // Whose the file is makes no difference to the answer: it is not the caller's.
    let source = json!({"type": "file", "file_id": "file_other"});
    let block = json!([{"type": "document", "source": source}]);
    items[2]["params"]["messages"][0]["content"] = block;
    let answer = world.ask(world.request(PATH, batch(&items))).await;
    answer.is_refused(404, "not_found_error", "unknown_resource");
    assert!(answer.text().contains("requests.2"), "{}", answer.text());
    world.publish(|snapshot| {
        for environment in snapshot.environments.values_mut() {
            Arc::make_mut(environment).policy.capabilities_deny = vec![Capability::Batches];
        }
    });
    let answer = world.ask(world.request(PATH, two())).await;
    answer.is_refused(403, "permission_error", "capability_not_allowed");
    assert!(world.upstream.arrived().is_empty());
    world.settled(0).await;
}

#[tokio::test]
async fn a_budget_takes_exactly_the_batches_that_fit() {
    let (world, ended) = world().await;
    let params = item("a")["params"].to_string().len() as i128;
    let bound = 2 * ((params + 1_000) * 500_000 + 400 * 2_500_000);
    let mut first = true;
    for (left, status) in [(-1, 429), (0, 200)] {
        world.publish(|snapshot| {
            let key = snapshot.virtual_keys.values_mut().next().unwrap();
            let daily = Some(Money::from_pico(bound + left));
            Arc::make_mut(key).budgets = Budgets { daily, monthly: None };
        });
        let answer = world.ask(world.request(PATH, two())).await;
        assert_eq!(answer.status.as_u16(), status, "{}", answer.text());
        if std::mem::take(&mut first) {
            assert_eq!(answer.code(), Some("budget_exceeded"));
        }
    }
    // Nothing is left, until the batch turns out to have cost less.
    assert_eq!(world.ask(world.message()).await.code(), Some("budget_exceeded"));
    ended.store(true, Ordering::SeqCst);
    world.until("the true-up", |world| world.gateway.live().open_batches == 0).await;
    world.upstream.then_answer(Answer::json(200, crate::upstream::message()));
    let small = body("").replace("400", "200");
    let answer = world.ask(world.request("/v1/messages", small)).await;
    assert_eq!(answer.status.as_u16(), 200, "{}", answer.text());
    world.journal.audit(Money::from_usd(100));
}

#[tokio::test]
async fn a_submission_without_an_answer_stays_charged() {
    let (world, _) = world().await;
    world.upstream.then(Act::Hangup);
    let answer = world.ask(world.request(PATH, two())).await;
    answer.is_refused(502, "api_error", "batch_lost");
    assert_eq!(answer.header("x-should-retry"), Some("false"), "it may run already");
    let settled = world.journal.settlements().remove(0);
    assert_eq!((settled.certainty, settled.cost), (Certainty::Unsettled, settled.reserved));
    assert_eq!(world.journal.notices("ledger.unsettled").len(), 1);

    // Taken, but nobody can tell which it is.
    world.upstream.then_answer(Answer::json(200, "<html>"));
    let answer = world.ask(world.request(PATH, two())).await;
    answer.is_refused(502, "api_error", "batch_unbound");
    assert_eq!(answer.header("x-should-retry"), Some("false"));
    assert_eq!(world.journal.settlements()[1].certainty, Certainty::Unsettled);
    assert_eq!(world.journal.notices("batch.unbound").len(), 1);

    // Failed, perhaps after it was taken: freed, it could run without a bill.
    world.upstream.then_answer(Answer::json(500, error("api_error")));
    let answer = world.ask(world.request(PATH, two())).await;
    assert_eq!((answer.status.as_u16(), answer.text()), (500, error("api_error").as_str()));
    assert_eq!(answer.header("x-should-retry"), Some("false"));
    let settled = world.journal.settlements().remove(2);
    assert_eq!((settled.certainty, settled.cost), (Certainty::Unsettled, settled.reserved));

    // What upstream refused costs nothing.
    world.upstream.then_answer(Answer::json(400, error("invalid_request_error")));
    let answer = world.ask(world.request(PATH, two())).await;
    assert_eq!(answer.status.as_u16(), 400);
    assert_eq!(world.journal.settlements()[3].cost, Money::ZERO);
    world.settled(4).await;
}

#[tokio::test]
async fn looks_that_fail_are_made_again_and_results_are_read_whole_or_not_at_all() {
    let (world, _) = world().await;
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    world.upstream.otherwise(move |arrived: &Arrived| {
        let results = arrived.target.ends_with("/results");
        if arrived.method == "POST" {
            return Answer::json(200, object(false));
        }
        match (count.fetch_add(1, Ordering::SeqCst), results) {
            (0, _) => Answer::json(500, error("api_error")),
            (1, _) => Answer::json(429, error("rate_limit_error")),
            (2, _) => Answer::json(404, error("not_found_error")),
            (_, false) => Answer::json(200, object(true)),
            // Cut in the middle of a line, then at the end of one, then in the middle without a
            // word: all are incomplete.
            (4, true) => Answer::slow("application/x-jsonl", [data(&RESULTS[..120]), Piece::Cut]),
            (6, true) => Answer::json(200, RESULTS.split_inclusive('\n').next().unwrap()),
            (8, true) => Answer::json(200, &RESULTS[..120]),
            (_, true) => Answer::json(200, RESULTS),
        }
    });
    world.ask(world.request(PATH, two())).await;
    world.until("the true-up", |world| !world.journal.true_ups().is_empty()).await;
    assert_eq!(world.journal.true_ups()[0].cost, usd(COST));
    assert_eq!(asked.load(Ordering::SeqCst), 11);
    world.until("the money", |world| used(world) == usd(COST)).await;
}

#[tokio::test]
async fn what_cannot_be_learned_stays_charged_and_a_person_is_told() {
    let unpriced = RESULTS.replace("claude-haiku-4-5-20251001", "claude-nine");
    let unmetered = RESULTS.replace("input_tokens", "tokens_in");
    let strange = RESULTS.replace("errored", "paused");
    let twice = [RESULTS, RESULTS].concat();
    for results in [None, Some(unpriced), Some(unmetered), Some(strange), Some(twice)] {
        let (world, _) = world().await;
        world.upstream.otherwise(move |arrived: &Arrived| match &results {
            _ if arrived.method == "POST" => Answer::json(200, object(false)),
            None => Answer::json(404, error("not_found_error")),
            Some(results) if arrived.target.ends_with("/results") => {
                Answer::json(200, results.clone())
            }
            Some(_) => Answer::json(200, object(true)),
        });
        world.ask(world.request(PATH, two())).await;
        let reserved = world.journal.intents()[0].reserved;
        world.until("a notice", |world| !world.journal.notices("batch.given_up").is_empty()).await;
        world.until("an end", |world| world.gateway.live().open_batches == 0).await;
        assert!(world.journal.true_ups().is_empty());
        assert_eq!(used(&world), reserved);
        assert_eq!(world.journal.batches()[0].about["state"], "given_up");
    }
}

#[tokio::test]
async fn a_batch_is_deleted_only_when_its_cost_is_known() {
    let (world, ended) = world().await;
    world.publish(|snapshot| snapshot.settings.batch_look_ms_min = 3_600_000);
    world.ask(world.request(PATH, two())).await;
    let delete = || ask(&world, Method::DELETE, "/v1/messages/batches/msgbatch_1");
    world.ask(delete()).await.is_refused(400, "invalid_request_error", "batch_not_settled");
    assert!(!world.upstream.arrived().iter().any(|it| it.method == "DELETE"));
    ended.store(true, Ordering::SeqCst);
    let answer = world.ask(delete()).await;
    assert_eq!(answer.json()["type"], "message_batch_deleted");
    assert_eq!(world.journal.true_ups()[0].cost, usd(COST), "learned before");
    assert!(world.journal.batches().is_empty());
    world.ask(delete()).await.is_refused(404, "not_found_error", "unknown_resource");
}

#[tokio::test]
async fn deleting_again_and_again_does_not_give_it_up() {
    let (world, _) = world().await;
    world.publish(|snapshot| snapshot.settings.batch_look_ms_min = 3_600_000);
    world.ask(world.request(PATH, two())).await;
    world.upstream.otherwise(|_| Answer::json(404, error("not_found_error")));
    for _ in 0..8 {
        let answer =
            world.ask(ask(&world, Method::DELETE, "/v1/messages/batches/msgbatch_1")).await;
        answer.is_refused(400, "invalid_request_error", "batch_not_settled");
    }
    assert_eq!(world.gateway.live().open_batches, 1);
    assert!(world.journal.notices("batch.given_up").is_empty());
    let looks = world.upstream.arrived().iter().filter(|it| it.method == "GET").count();
    assert_eq!(looks, 1, "the next look is made when it is due");
}

#[tokio::test]
async fn a_look_that_panics_is_made_again() {
    let (world, ended) = world().await;
    world.publish(|snapshot| snapshot.settings.batch_look_ms_min = 3_600_000);
    world.ask(world.request(PATH, two())).await;
    world.journal.panics_at_true_ups(true);
    ended.store(true, Ordering::SeqCst);
    let delete = || ask(&world, Method::DELETE, "/v1/messages/batches/msgbatch_1");
    world.ask(delete()).await.is_refused(400, "invalid_request_error", "batch_not_settled");
    world.journal.panics_at_true_ups(false);
    // Somebody who waited for the look to end would wait for ever.
    world.ask(delete()).await.is_refused(400, "invalid_request_error", "batch_not_settled");
    assert_eq!(world.gateway.live().open_batches, 1);
    assert!(world.journal.true_ups().is_empty());
}

#[tokio::test]
async fn batches_of_the_last_run_are_taken_up() {
    let (world, ended) = world().await;
    world.publish(|snapshot| snapshot.settings.batch_look_ms_min = 3_600_000);
    world.ask(world.request(PATH, two())).await;
    ended.store(true, Ordering::SeqCst);
    let known = world.journal.batches();
    world.publish(|snapshot| snapshot.settings.batch_look_ms_min = 20);
    world.gateway.take_up(known);
    world.until("the true-up", |world| !world.journal.true_ups().is_empty()).await;
    world.until("the money", |world| used(world) == usd(COST)).await;
    world.gateway.take_up(world.journal.batches());
    assert_eq!(world.gateway.live().open_batches, 0, "its cost is known");
}

#[tokio::test]
async fn a_frozen_key_does_not_keep_its_batch_from_being_settled() {
    let (world, ended) = world().await;
    world.ask(world.request(PATH, two())).await;
    world.publish(|snapshot| {
        let key = snapshot.virtual_keys.values_mut().next().unwrap();
        Arc::make_mut(key).state = chamberlain_core::admission::key::KeyState::Revoked;
    });
    ended.store(true, Ordering::SeqCst);
    world.until("the true-up", |world| !world.journal.true_ups().is_empty()).await;
    let answer = world.ask(ask(&world, Method::GET, "/v1/messages/batches/msgbatch_1")).await;
    assert_eq!(answer.code(), Some("key_revoked"));
}

fn gzip(plain: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(plain.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn a_compressed_batch_is_taken_and_no_more_memory_than_there_is() {
    let (world, _) = world().await;
    world.publish(|snapshot| {
        snapshot.settings.batch_body_bytes_max = 1 << 20;
        snapshot.settings.bodies_in_flight_bytes_max = 1 << 20;
    });
    let send = async |plain: &str| {
        let mut request = world.request(PATH, gzip(plain));
        request.headers_mut().insert("content-encoding", "gzip".parse().unwrap());
        world.ask(request).await
    };
    let answer = send(&two()).await;
    assert_eq!(answer.status.as_u16(), 200, "{}", answer.text());
    let long = format!("{{{}", " ".repeat(600_000));
    send(&long).await.is_refused(429, "rate_limit_error", "bodies_in_flight_of_key");
    world.settled(1).await;
}

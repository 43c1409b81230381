//! Message batches: taken in, worked on when due, told, billed, canceled, expired, deleted.

use std::time::Duration;

use chamberlain_mock::{MockConfig, RunningMock};
use serde_json::{Value, json};

use crate::client::*;

const PATH: &str = "/v1/messages/batches";
const HOUR: Duration = Duration::from_secs(3_600);

fn item(custom_id: &str, says: &str) -> Value {
    json!({"custom_id": custom_id, "params": ask(says)})
}

async fn submit(mock: &RunningMock, items: Vec<Value>) -> Value {
    let answer = post(mock, PATH, &json!({ "requests": items })).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

async fn get(mock: &RunningMock, path: &str) -> Answer {
    send(mock, whole(request("GET", path), "")).await
}

fn path(batch: &Value) -> String {
    format!("{PATH}/{}", batch["id"].as_str().unwrap())
}

#[tokio::test]
async fn all_kinds_of_results_come_in_another_order() {
    let slow = MockConfig { batch_delay: Duration::from_secs(60), ..MockConfig::default() };
    let mock = start_with(slow).await;
    let mut streamed = item("c", "hi");
    streamed["params"]["stream"] = json!(true);
    let items = vec![
        item("a", "[[mock: text=one]]"),
        item("b", "[[mock: overloaded]]"),
        streamed,
        item("d", "[[mock: hang]]"),
        item("e", "[[mock: refusal]]"),
    ];
    let batch = submit(&mock, items).await;
    assert_eq!(
        (&batch["type"], &batch["processing_status"]),
        (&json!("message_batch"), &json!("in_progress"))
    );
    assert_eq!(batch["request_counts"]["processing"], 5);
    assert_eq!((&batch["results_url"], &batch["ended_at"]), (&Value::Null, &Value::Null));
    assert!(mock.journal().entries()[0].batch_billed.is_empty(), "nothing is due yet");

    mock.mock().advance(HOUR);
    let running = get(&mock, &path(&batch)).await.json();
    assert_eq!(running["processing_status"], "in_progress", "one hangs");
    assert_eq!(get(&mock, &format!("{}/results", path(&batch))).await.status, 404);
    mock.mock().advance(24 * HOUR);
    let ended = get(&mock, &path(&batch)).await.json();
    assert_eq!(ended["processing_status"], "ended");
    assert_eq!(
        ended["request_counts"],
        json!({"processing": 0, "succeeded": 2, "errored": 2, "canceled": 0, "expired": 1})
    );
    let url = ended["results_url"].as_str().unwrap();
    assert_eq!(url, format!("http://mock{}/results", path(&batch)));

    let answer = get(&mock, &format!("{}/results", path(&batch))).await;
    let lines: Vec<Value> =
        answer.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let told: Vec<_> =
        lines.iter().map(|line| (&line["custom_id"], &line["result"]["type"])).collect();
    let expected = [
        ("e", "succeeded"),
        ("d", "expired"),
        ("c", "errored"),
        ("b", "errored"),
        ("a", "succeeded"),
    ]
    .map(|(id, kind)| (json!(id), json!(kind)));
    assert_eq!(told, expected.iter().map(|(id, kind)| (id, kind)).collect::<Vec<_>>());
    assert_eq!(lines[4]["result"]["message"]["usage"]["service_tier"], "batch");
    assert_eq!(lines[3]["result"]["error"]["error"]["type"], "overloaded_error");

    let billed = mock.journal().entries()[0].batch_billed.clone();
    assert_eq!(billed.len(), 1, "what was answered, and no refusal");
    let usage = &lines[4]["result"]["message"]["usage"];
    assert_eq!(usage["output_tokens"], billed[0].charges[0].counts.output);
    mock.mock().advance(29 * 24 * HOUR);
    assert_eq!(get(&mock, &format!("{}/results", path(&batch))).await.status, 404, "archived");
}

#[tokio::test]
async fn what_was_answered_before_a_cancel_is_billed() {
    let mock = start().await;
    let items = vec![item("done", "hi"), item("waits", "[[mock: slow_headers ms=3600000]]")];
    let batch = submit(&mock, items).await;
    let running = get(&mock, &path(&batch)).await.json();
    assert_eq!(running["processing_status"], "in_progress");
    let gone = send(&mock, whole(request("DELETE", &path(&batch)), "")).await;
    assert_eq!(gone.status, 400, "only what has ended can be deleted");
    let canceling = post(&mock, &format!("{}/cancel", path(&batch)), &json!({})).await.json();
    assert_eq!(canceling["processing_status"], "canceling");
    let ended = get(&mock, &path(&batch)).await.json();
    assert_eq!(ended["processing_status"], "ended");
    assert_eq!(
        (&ended["request_counts"]["succeeded"], &ended["request_counts"]["canceled"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(mock.journal().entries()[0].batch_billed.len(), 1);
    let gone = send(&mock, whole(request("DELETE", &path(&batch)), "")).await;
    assert_eq!(gone.json(), json!({"id": batch["id"], "type": "message_batch_deleted"}));
    assert_eq!(get(&mock, &path(&batch)).await.status, 404);
}

#[tokio::test]
async fn the_frame_is_checked_at_once() {
    let mock = start().await;
    for (body, place) in [
        (json!({}), "requests"),
        (json!({"requests": []}), "requests"),
        (json!({"requests": [item("a b", "x")]}), "requests.0.custom_id"),
        (json!({"requests": [item("a", "x"), item("a", "x")]}), "requests.1.custom_id"),
        (json!({"requests": [{"custom_id": "a"}]}), "requests.0.params"),
        (json!({"requests": [item("a", "x")], "more": 1}), "more"),
    ] {
        let answer = post(&mock, PATH, &body).await;
        assert_eq!(answer.status, 400);
        assert!(answer.error().1.starts_with(place), "{body}: {}", answer.text());
    }
    assert_eq!(get(&mock, &format!("{PATH}/msgbatch_none")).await.status, 404);
    assert_eq!(get(&mock, &format!("{PATH}/a/b")).await.status, 404);
}

#[tokio::test]
async fn batches_are_listed_newest_first() {
    let mock = start().await;
    let mut ids = Vec::new();
    for _ in 0..4 {
        ids.insert(
            0,
            submit(&mock, vec![item("a", "hi")]).await["id"].as_str().unwrap().to_owned(),
        );
    }
    let page = async |query: String| {
        let page = get(&mock, &format!("{PATH}{query}")).await.json();
        let of = |batch: &Value| batch["id"].as_str().unwrap().to_owned();
        let found: Vec<String> = page["data"].as_array().unwrap().iter().map(of).collect();
        (found, page["has_more"].as_bool().unwrap())
    };
    assert_eq!(page(String::new()).await, (ids.clone(), false));
    assert_eq!(page("?limit=3".to_owned()).await, (ids[..3].to_vec(), true));
    assert_eq!(page(format!("?limit=2&after_id={}", ids[0])).await, (ids[1..3].to_vec(), true));
    assert_eq!(page(format!("?limit=2&before_id={}", ids[3])).await, (ids[1..3].to_vec(), true));
}

#[tokio::test]
async fn requests_to_come_can_be_made_to_fail() {
    let mock = start().await;
    let batch = submit(&mock, vec![item("a", "hi")]).await;
    let asked = http::Request::builder()
        .method("POST")
        .uri("/mock/fail?path=/v1/messages/batches/&method=GET&status=503&times=2")
        .header("host", "mock");
    send(&mock, whole(asked, "")).await;
    for status in [503, 503, 200] {
        assert_eq!(get(&mock, &path(&batch)).await.status, status);
    }
}

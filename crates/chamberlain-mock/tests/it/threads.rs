//! Threads: what a turn goes on with, what it costs, and what is refused.

use serde_json::{Value, json};

use crate::client::*;

fn turn(thread: Value, text: &str) -> Value {
    let mut body = ask(text);
    body["thread"] = thread;
    body
}

fn create(text: &str) -> Value {
    turn(json!({ "type": "create" }), text)
}

fn go_on(id: &Value, text: &str) -> Value {
    turn(json!({ "type": "continue", "previous_message_id": id }), text)
}

async fn turn_of(mock: &chamberlain_mock::RunningMock, body: &Value) -> Answer {
    post_with(mock, body, &[("anthropic-beta", "message-threads-2026-08-12")]).await
}

#[tokio::test]
async fn a_turn_sends_what_is_new_and_is_billed_for_everything() {
    let mock = start().await;
    let mut first = create("[[mock: text=one]] hi");
    first["system"] = json!("Be brief.");
    first["tools"] = json!([{ "name": "clock", "input_schema": { "type": "object" } }]);
    let begun = turn_of(&mock, &first).await.json();
    let second = turn_of(&mock, &go_on(&begun["id"], "[[mock: text=two]]")).await.json();
    let held = begun["usage"]["input_tokens"].as_u64().unwrap();
    let said = begun["usage"]["output_tokens"].as_u64().unwrap();
    let billed = second["usage"]["input_tokens"].as_u64().unwrap();
    assert_eq!(second["content"][0]["text"], "two");
    assert!(billed > held + said, "{billed} for a thread of {held} and {said}");
    let third = turn_of(&mock, &go_on(&second["id"], "[[mock: tool=clock]]")).await.json();
    assert_eq!(third["stop_reason"], "tool_use", "the thread has the tools it was begun with");
}

#[tokio::test]
async fn a_turn_is_gone_on_from_once_and_unchanged() {
    let mock = start().await;
    let begun = turn_of(&mock, &create("hi")).await.json();
    let mut changed = go_on(&begun["id"], "more");
    changed["system"] = json!("Another.");
    let refused = |answer: &Answer, status: u16, code: &str| {
        assert_eq!(answer.status, status, "{}", answer.text());
        assert_eq!(answer.json()["error"]["details"]["error_code"], code);
    };
    refused(&turn_of(&mock, &changed).await, 400, "thread_fingerprint_mismatch");
    let failing = go_on(&begun["id"], "[[mock: overloaded]]");
    assert_eq!(turn_of(&mock, &failing).await.status, 529);
    assert_eq!(turn_of(&mock, &go_on(&begun["id"], "more")).await.status, 200);
    refused(&turn_of(&mock, &go_on(&begun["id"], "more")).await, 400, "thread_already_continued");
    refused(&turn_of(&mock, &go_on(&json!("msg_01none"), "more")).await, 404, "thread_not_found");
    mock.mock().forget();
    refused(&turn_of(&mock, &go_on(&begun["id"], "more")).await, 404, "thread_not_found");
}

#[tokio::test]
async fn threads_need_their_beta() {
    let mock = start().await;
    let answer = post(&mock, "/v1/messages", &create("hi")).await;
    assert_eq!(answer.status, 400);
    assert!(answer.error().1.contains("thread"), "{}", answer.text());
}

//! Containers and what code made in them, compactions that were asked for, and the credits of
//! refusals.

use serde_json::{Value, json};

use crate::client::*;

fn in_container(id: &Value, text: &str) -> Value {
    with(ask(text), json!({ "container": id }))
}

#[tokio::test]
async fn code_runs_in_a_container_that_can_be_gone_on_with() {
    let mock = start().await;
    let answer = message(&mock, &ask("[[mock: code files=2]]")).await;
    let container = &answer["container"];
    assert!(container["id"].as_str().unwrap().starts_with("container_01"), "{answer}");
    let result = &answer["content"][1];
    assert_eq!(result["type"], "bash_code_execution_tool_result");
    assert_eq!(result["tool_use_id"], answer["content"][0]["id"]);
    let files = result["content"]["content"].as_array().unwrap();
    assert_eq!(files.len(), 2);
    for file in files {
        let path = format!("/v1/files/{}/content", file["file_id"].as_str().unwrap());
        let found = send(&mock, whole(request("GET", &path), String::new())).await;
        assert_eq!(found.status, 200, "{}", found.text());
    }
    let again = message(&mock, &in_container(&container["id"], "[[mock: code]]")).await;
    assert_eq!(&again["container"], container);
    let quiet = message(&mock, &in_container(&json!({ "id": container["id"] }), "hi")).await;
    assert_eq!(&quiet["container"], container);
    assert_eq!(message(&mock, &ask("hi")).await["container"], Value::Null);
    mock.mock().forget();
    let gone = post(&mock, "/v1/messages", &in_container(&container["id"], "hi")).await;
    assert_eq!(gone.status, 404, "{}", gone.text());
}

#[tokio::test]
async fn a_stream_tells_its_container_at_the_end() {
    let mock = start().await;
    let events = stream(&mock, &ask("[[mock: code files=1]]")).await.events();
    let of = |name: &str| events.iter().find(|event| event["type"] == name).unwrap();
    assert_eq!(of("message_start")["message"]["container"], Value::Null);
    let told = &of("message_delta")["delta"]["container"]["id"];
    assert!(told.as_str().unwrap().starts_with("container_01"));
}

#[tokio::test]
async fn a_compaction_is_a_summary_outside_the_totals() {
    let mock = start().await;
    let beta = [("anthropic-beta", "compact-2026-09-04")];
    let asked = with(ask("[[mock: text=no]]"), json!({ "compaction": { "type": "summarize" } }));
    let answer = post_with(&mock, &asked, &beta).await.json();
    assert_eq!(
        (&answer["stop_reason"], answer["content"].as_array().unwrap().len()),
        (&json!("compaction"), 1)
    );
    assert_eq!(answer["content"][0]["type"], "compaction");
    let usage = &answer["usage"];
    assert_eq!((&usage["input_tokens"], &usage["output_tokens"]), (&json!(0), &json!(0)));
    let [iteration] = usage["iterations"].as_array().unwrap().as_slice() else { panic!("{usage}") };
    assert_eq!(iteration["type"], "compaction");
    let entry = mock.mock().journal().entries().pop().unwrap();
    let charge = &entry.billed.unwrap().charges[0];
    assert_eq!((charge.kind, charge.counts.output), ("compaction", 9));
    assert!(charge.counts.input > 0);
    assert_eq!(post_with(&mock, &asked, &[]).await.status, 400, "it is a beta");
}

#[tokio::test]
async fn a_refusal_hands_out_a_credit_where_it_is_wanted() {
    let mock = start().await;
    let beta = [("anthropic-beta", "fallback-credit-2026-06-01")];
    assert!(
        message(&mock, &ask("[[mock: refusal]]")).await["stop_details"]["fallback_credit_token"]
            .is_null()
    );
    let refused = post_with(&mock, &ask("[[mock: refusal]]"), &beta).await.json();
    let credit = &refused["stop_details"]["fallback_credit_token"];
    assert!(credit.as_str().unwrap().starts_with("fct_"), "{refused}");
    let redeem = |credit: &Value| with(ask("hi"), json!({ "fallback_credit_token": credit }));
    let redeemed = post_with(&mock, &redeem(credit), &beta).await.json();
    assert_eq!(redeemed["usage"]["fallback_credit"]["status"]["type"], "redeemed");
    assert_eq!(post_with(&mock, &redeem(&json!("made up")), &beta).await.status, 400);
    assert_eq!(post_with(&mock, &redeem(credit), &[]).await.status, 400, "it is a beta");
}

//! The journal as the truth about what was asked and billed.

use std::io::Read as _;

use chamberlain_mock::{Abandoned, Journaling, MockConfig, Outcome, RunningMock};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::io::AsyncWriteExt;

use crate::client::*;

async fn get(mock: &RunningMock, path: &str) -> Answer {
    let asked = http::Request::builder().uri(path).header("host", "mock");
    send(mock, whole(asked, "")).await
}

#[tokio::test]
async fn an_entry_tells_everything_but_the_credential() {
    let mock =
        start_with(MockConfig { journal: Journaling::WithBodies, ..MockConfig::default() }).await;
    let body = with(ask("hi"), json!({"stream": true})).to_string();
    let asked = request("POST", "/v1/messages?beta=true")
        .header("authorization", format!("Bearer {KEY}"))
        .header("X-App", "cli");
    let answer = send(&mock, whole(asked, body.clone())).await;
    let entries = get(&mock, "/mock/journal").await.json();
    let entry = &entries[0];
    let digest: String =
        Sha256::digest(body.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    for (name, value) in [
        ("n", json!(1)),
        ("method", json!("POST")),
        ("path", json!("/v1/messages")),
        ("query", json!("beta=true")),
        ("http", json!("HTTP/1.1")),
        ("body_sha256", json!(digest)),
        ("body_bytes", json!(body.len())),
        ("model", json!("claude-sonnet-5-5")),
        ("stream", json!(true)),
        ("status", json!(200)),
        ("outcome", json!("delivered")),
        ("request_id", json!(answer.header("request-id"))),
        ("message_id", answer.events()[0]["message"]["id"].clone()),
        ("credential_elsewhere", json!([])),
    ] {
        assert_eq!(entry[name], value, "{name}");
    }
    assert_eq!(answer.header("x-mock-entry"), "1");
    assert!(entry["headers"].as_array().unwrap().contains(&json!(["x-app", "cli"])));
    let credentials = entry["credentials"].as_array().unwrap();
    assert_eq!(credentials.len(), 2, "both headers are told");
    assert_eq!(credentials[0]["sha256_prefix"], credentials[1]["sha256_prefix"]);
    assert_eq!(get(&mock, "/mock/journal/1/body").await.text(), body);
    assert_eq!(&get(&mock, "/mock/journal/1").await.json(), entry);
}

#[tokio::test]
async fn a_credential_is_found_nowhere() {
    let mock =
        start_with(MockConfig { journal: Journaling::WithBodies, ..MockConfig::default() }).await;
    let other = "another-credential-9876543210";
    let mut answers = Vec::new();
    for body in [ask(&format!("my key is {KEY}")).to_string(), format!("{{{KEY}")] {
        let asked = request("POST", &format!("/v1/messages?key={KEY}"))
            .header("cookie", other)
            .header("proxy-authorization", other)
            .header("x-note", format!("key {KEY}"))
            .header("x-mock-scenario", format!("id={KEY}"));
        answers.push(send(&mock, whole(asked, body)).await);
    }
    let echo = with(ask(&format!("[[mock: text={KEY}]]")), json!({"stop_sequences": [KEY]}));
    answers.push(post(&mock, "/v1/messages", &echo).await);
    answers.push(post(&mock, "/v1/messages", &ask(&format!("[[mock: {KEY}]]"))).await);
    answers.push(post(&mock, "/v1/messages", &with(ask("hi"), json!({"model": KEY}))).await);
    let asked = request("GET", &format!("/v1/models/{KEY}"));
    answers.push(send(&mock, whole(asked, "")).await);
    let entry = &mock.journal().entries()[0];
    assert_eq!(entry.credential_elsewhere, ["x-note", "x-mock-scenario", "query", "body"]);
    answers.push(get(&mock, "/mock/journal").await);
    answers.push(get(&mock, "/mock/journal?format=lines").await);
    for n in 1..=6 {
        answers.push(get(&mock, &format!("/mock/journal/{n}")).await);
        answers.push(get(&mock, &format!("/mock/journal/{n}/body")).await);
    }
    for answer in answers {
        let shown = format!("{:?} {}", answer.headers, answer.text());
        for credential in [KEY, other] {
            assert!(!shown.contains(credential), "{shown}");
        }
    }
    let printed = format!("{:?}", mock.journal().entries());
    assert!(!printed.contains(KEY) && !printed.contains(other));
}

#[tokio::test]
async fn the_journal_is_read_in_parts_and_cleared() {
    let mock = start().await;
    for _ in 0..3 {
        message(&mock, &ask("hi")).await;
    }
    let since = get(&mock, "/mock/journal?since=2").await.json();
    assert_eq!(since.as_array().unwrap().iter().map(|entry| &entry["n"]).collect::<Vec<_>>(), [3]);
    let lines = get(&mock, "/mock/journal?format=lines").await.text();
    assert_eq!(lines.lines().filter(|line| serde_json::from_str::<Value>(line).is_ok()).count(), 3);
    assert_eq!(get(&mock, "/mock/journal?since=x").await.status, 400);
    assert_eq!(get(&mock, "/mock/journal/1/body").await.status, 404, "bodies are not kept");
    let clear =
        http::Request::builder().method("DELETE").uri("/mock/journal").header("host", "mock");
    assert_eq!(send(&mock, whole(clear, "")).await.status, 200);
    assert_eq!(get(&mock, "/mock/journal").await.json(), json!([]));
}

#[tokio::test]
async fn a_journal_that_is_off_keeps_nothing() {
    let mock = start_with(MockConfig { journal: Journaling::Off, ..MockConfig::default() }).await;
    message(&mock, &ask("hi")).await;
    assert!(mock.journal().entries().is_empty());
}

/// Leaves in the middle of a stream, after a few events, and gives the entry.
async fn leave(mock: &RunningMock, words: &str, frames: usize) -> chamberlain_mock::Entry {
    let body = with(ask(&format!("[[mock: {words}]]")), json!({"stream": true}));
    let stream = tokio::net::TcpStream::connect(mock.address()).await.unwrap();
    let io = hyper_util::rt::TokioIo::new(stream);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
    let connection = tokio::spawn(connection);
    let asked = whole(request("POST", "/v1/messages"), body.to_string());
    let mut answer = sender.send_request(asked).await.unwrap().into_body();
    for _ in 0..frames {
        answer.frame().await.unwrap().unwrap();
    }
    connection.abort();
    drop((sender, answer));
    until(|| mock.journal().entries()[0].outcome != Outcome::Pending).await;
    mock.journal().entries().remove(0)
}

#[tokio::test]
async fn who_leaves_a_stream_is_billed_what_was_made() {
    let mock = start().await;
    // message_start, content_block_start, ping, then four tokens a delta, then silence.
    let entry = leave(&mock, "output_tokens=100 stall after=3", 6).await;
    assert_eq!(entry.outcome, Outcome::ClientLeft);
    let bill = entry.billed.unwrap();
    assert_eq!((bill.charges[0].counts.output, bill.complete), (12, false));
    let usage: Value = serde_json::from_str(entry.usage.unwrap().get()).unwrap();
    assert_eq!(usage["output_tokens"], 100);

    let config = MockConfig { abandoned: Abandoned::InFull, ..MockConfig::default() };
    let mock = start_with(config).await;
    let bill = leave(&mock, "output_tokens=100 stall after=3", 6).await.billed.unwrap();
    assert_eq!((bill.charges[0].counts.output, bill.complete), (100, true));
}

#[tokio::test]
async fn a_bill_begins_with_the_generation() {
    let mock = start().await;
    let body =
        with(ask("[[mock: output_tokens=100 slow_headers ms=60000]]"), json!({"stream": true}));
    let mut raw = tokio::net::TcpStream::connect(mock.address()).await.unwrap();
    let text = format!(
        "POST /v1/messages HTTP/1.1\r\nhost: mock\r\nx-api-key: {KEY}\r\n\
         anthropic-version: 2026-10-21\r\ncontent-length: {}\r\n\r\n{body}",
        body.to_string().len()
    );
    raw.write_all(text.as_bytes()).await.unwrap();
    until(|| mock.journal().entries().first().is_some_and(|entry| entry.billed.is_some())).await;
    let entry = mock.journal().entries().remove(0);
    assert_eq!((entry.outcome, entry.status), (Outcome::Pending, None));
    drop(raw);
    until(|| mock.journal().entries()[0].outcome == Outcome::ClientLeft).await;
    let counts = mock.journal().entries()[0].billed.clone().unwrap().charges[0].counts;
    assert!(counts.input > 0 && counts.output == 0);
}

#[tokio::test]
async fn a_broken_answer_is_billed_as_far_as_it_came() {
    let mock = start().await;
    for (words, outcome, output) in [
        ("output_tokens=100 cut after=2", Outcome::Cut, 8),
        ("output_tokens=100 truncate after=2", Outcome::Cut, 8),
        ("output_tokens=100 error_mid_stream after=2", Outcome::ErrorEvent, 8),
        ("output_tokens=100 cut=headers", Outcome::Cut, 0),
        ("output_tokens=100 cut=stop", Outcome::Cut, 100),
    ] {
        stream(&mock, &ask(&format!("[[mock: {words}]]"))).await;
        let entry = mock.journal().entries().pop().unwrap();
        let bill = entry.billed.unwrap();
        assert_eq!((entry.outcome, bill.charges[0].counts.output), (outcome, output), "{words}");
        assert!(!bill.complete);
    }
    post(&mock, "/v1/messages", &ask("[[mock: output_tokens=100 cut]]")).await;
    let bill = mock.journal().entries().pop().unwrap().billed.unwrap();
    assert_eq!(bill.charges[0].counts.output, 100, "a JSON answer is made before it is sent");
}

#[tokio::test]
async fn resets_are_billed_only_when_asked_to() {
    let mock = start().await;
    for (words, billed) in [("reset", false), ("reset billed=true", true)] {
        let asked =
            whole(request("POST", "/v1/messages"), ask(&format!("[[mock: {words}]]")).to_string());
        assert!(try_send(&mock, asked).await.is_err());
        let entry = mock.journal().entries().pop().unwrap();
        assert_eq!((entry.outcome, entry.billed.is_some()), (Outcome::Reset, billed), "{words}");
        assert_eq!(entry.status, None);
    }
}

#[tokio::test]
async fn errors_are_free() {
    let mock = start().await;
    for body in [ask("[[mock: overloaded]]"), with(ask("hi"), json!({"model": "nobody"}))] {
        post(&mock, "/v1/messages", &body).await;
        let entry = mock.journal().entries().pop().unwrap();
        assert!(entry.billed.is_none() && entry.usage.is_none());
        assert_eq!(entry.outcome, Outcome::Delivered);
    }
}

#[test]
fn a_reset_is_a_real_reset() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mock = runtime.block_on(start());
    let body = ask("[[mock: reset]]").to_string();
    let mut raw = std::net::TcpStream::connect(mock.address()).unwrap();
    let head = format!(
        "POST /v1/messages HTTP/1.1\r\nhost: mock\r\nx-api-key: {KEY}\r\n\
         anthropic-version: 2026-10-21\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    std::io::Write::write_all(&mut raw, head.as_bytes()).unwrap();
    let mut answer = Vec::new();
    let error = raw.read_to_end(&mut answer).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    assert!(answer.is_empty());
}

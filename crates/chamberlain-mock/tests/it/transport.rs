//! Protocols, load, compression, shutdown.

use std::io::Read as _;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};

use crate::client::*;

async fn h2(
    mock: &chamberlain_mock::RunningMock,
) -> hyper::client::conn::http2::SendRequest<Full<Bytes>> {
    let stream = tokio::net::TcpStream::connect(mock.address()).await.unwrap();
    let (sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    tokio::spawn(connection);
    sender
}

fn h2_request(mock: &chamberlain_mock::RunningMock, body: &Value) -> http::Request<Full<Bytes>> {
    let builder = http::Request::builder()
        .method("POST")
        .uri(format!("{}/v1/messages", mock.url()))
        .header("authorization", format!("Bearer {KEY}"))
        .header("anthropic-version", "2026-10-21");
    whole(builder, body.to_string())
}

#[tokio::test]
async fn http2_with_prior_knowledge() {
    let mock = start().await;
    let mut sender = h2(&mock).await;
    let answer = sender.send_request(h2_request(&mock, &ask("hi"))).await.unwrap();
    assert_eq!(answer.status(), 200);
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(serde_json::from_slice::<Value>(&body).unwrap()["type"], "message");
    assert_eq!(mock.journal().entries()[0].http, "HTTP/2.0");
    let cut = with(ask("[[mock: cut]]"), json!({"stream": true}));
    let answer = sender.send_request(h2_request(&mock, &cut)).await.unwrap();
    assert!(answer.into_body().collect().await.is_err());
    let reset = sender.send_request(h2_request(&mock, &ask("[[mock: reset]]"))).await;
    assert!(reset.is_err());
}

#[tokio::test]
async fn one_connection_serves_many_requests() {
    let mock = start().await;
    let stream = tokio::net::TcpStream::connect(mock.address()).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    for stream in [false, true, false] {
        let body = with(ask("hi"), json!({"stream": stream}));
        sender.ready().await.unwrap();
        let asked = whole(request("POST", "/v1/messages"), body.to_string());
        let answer = sender.send_request(asked).await.unwrap();
        assert_eq!(answer.status(), 200);
        answer.into_body().collect().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_thousand_streams_are_open_at_once() {
    let mock = start().await;
    let senders = [h2(&mock).await, h2(&mock).await];
    let body = with(ask("[[mock: output_tokens=8 stall=stop]]"), json!({"stream": true}));
    let mut streams = Vec::new();
    for n in 0..2_000 {
        let mut sender = senders[n % senders.len()].clone();
        sender.ready().await.unwrap();
        let answer = sender.send_request(h2_request(&mock, &body));
        streams.push(tokio::spawn(async move {
            let mut body = answer.await.unwrap().into_body();
            let mut read = Vec::new();
            while !read.ends_with(b"\n\n") || !read.windows(13).any(|part| part == b"message_delta")
            {
                read.extend_from_slice(&body.frame().await.unwrap().unwrap().into_data().unwrap());
            }
            body
        }));
    }
    let mut open = Vec::new();
    for stream in streams {
        open.push(stream.await.unwrap());
    }
    let entries = mock.journal().entries();
    assert_eq!(entries.len(), 2_000);
    assert!(entries.iter().all(|entry| entry.outcome == chamberlain_mock::Outcome::Pending));
    drop(open);
}

#[tokio::test]
async fn compression_only_where_asked_for_and_accepted() {
    let mock = start().await;
    let body = ask("[[mock: gzip]]");
    let plain = post_with(&mock, &body, &[("accept-encoding", "br, zstd")]).await;
    assert!(!plain.headers.contains_key("content-encoding"));
    let packed = post_with(&mock, &body, &[("accept-encoding", "gzip, deflate, br, zstd")]).await;
    assert_eq!(packed.header("content-encoding"), "gzip");
    let mut text = String::new();
    flate2::read::GzDecoder::new(packed.bytes().as_slice()).read_to_string(&mut text).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap()["type"], "message");
}

#[tokio::test]
async fn a_stopped_mock_lets_go_of_its_port() {
    let mock = start().await;
    let address = mock.address();
    message(&mock, &ask("hi")).await;
    mock.stop().await;
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
    tokio::net::TcpListener::bind(address).await.unwrap();
}

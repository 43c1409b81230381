//! A raw HTTP client.

use bytes::Bytes;
use chamberlain_mock::{Mock, MockConfig, RunningMock};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};

pub(crate) const KEY: &str = "test-credential-0123456789";

pub(crate) async fn start() -> RunningMock {
    start_with(MockConfig::default()).await
}

pub(crate) async fn start_with(config: MockConfig) -> RunningMock {
    Mock::start(config).await.unwrap()
}

/// An answer, with the frames its body came in.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) frames: Vec<Bytes>,
    /// The body came to its proper end.
    pub(crate) complete: bool,
}

impl Answer {
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.frames.concat()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.bytes()).unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes()).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The error's type and message.
    pub(crate) fn error(&self) -> (String, String) {
        let body = self.json();
        assert_eq!(body["type"], "error", "{body}");
        assert_eq!(body["request_id"], self.header("request-id"), "{body}");
        let field = |name: &str| body["error"][name].as_str().unwrap().to_owned();
        (field("type"), field("message"))
    }

    /// The events of a stream, each with its name checked against its data.
    pub(crate) fn events(&self) -> Vec<Value> {
        let text = self.text();
        let (whole, rest) = text.rsplit_once("\n\n").unwrap_or(("", text.as_str()));
        assert!(rest.is_empty(), "a stream ends inside an event: {rest:?}");
        let event = |frame: &str| {
            let (name, data) = frame.split_once('\n').unwrap();
            let name = name.strip_prefix("event: ").unwrap();
            let data: Value = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
            assert_eq!(data["type"], name);
            data
        };
        whole.split("\n\n").filter(|frame| !frame.is_empty()).map(event).collect()
    }

    pub(crate) fn event_names(&self) -> Vec<String> {
        self.events().iter().map(|event| event["type"].as_str().unwrap().to_owned()).collect()
    }
}

/// A request with the usual headers.
pub(crate) fn request(method: &str, path: &str) -> http::request::Builder {
    Request::builder()
        .method(method)
        .uri(path)
        .header("host", "mock")
        .header("x-api-key", KEY)
        .header("anthropic-version", "2026-10-21")
        .header("content-type", "application/json")
}

pub(crate) fn whole(
    builder: http::request::Builder,
    body: impl Into<Bytes>,
) -> Request<Full<Bytes>> {
    builder.body(Full::new(body.into())).unwrap()
}

/// Sends on a connection of its own.
///
/// # Errors
/// When there is no answer.
pub(crate) async fn try_send(
    mock: &RunningMock,
    request: Request<Full<Bytes>>,
) -> Result<Answer, hyper::Error> {
    let stream = tokio::net::TcpStream::connect(mock.address()).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    let response = sender.send_request(request).await?;
    let (parts, mut body) = response.into_parts();
    let (mut frames, mut complete) = (Vec::new(), true);
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => frames.extend(frame.into_data().ok()),
            Err(_) => {
                complete = false;
                break;
            }
        }
    }
    drop(sender);
    let _ = connection.await.unwrap();
    Ok(Answer { status: parts.status, headers: parts.headers, frames, complete })
}

pub(crate) async fn send(mock: &RunningMock, request: Request<Full<Bytes>>) -> Answer {
    try_send(mock, request).await.unwrap()
}

/// A body that asks for `text`.
pub(crate) fn ask(text: &str) -> Value {
    json!({
        "model": "claude-sonnet-5-5",
        "max_tokens": 200,
        "messages": [{"role": "user", "content": text}],
    })
}

/// `body` with the fields of `more`.
pub(crate) fn with(mut body: Value, more: Value) -> Value {
    for (key, value) in more.as_object().unwrap() {
        body[key] = value.clone();
    }
    body
}

pub(crate) async fn post(mock: &RunningMock, path: &str, body: &Value) -> Answer {
    send(mock, whole(request("POST", path), body.to_string())).await
}

/// Posts a message with further headers.
pub(crate) async fn post_with(
    mock: &RunningMock,
    body: &Value,
    headers: &[(&str, &str)],
) -> Answer {
    let builder = headers.iter().fold(request("POST", "/v1/messages"), |builder, (name, value)| {
        builder.header(*name, *value)
    });
    send(mock, whole(builder, body.to_string())).await
}

/// The JSON answer to a message.
pub(crate) async fn message(mock: &RunningMock, body: &Value) -> Value {
    let answer = post(mock, "/v1/messages", body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

/// The stream that answers a message.
pub(crate) async fn stream(mock: &RunningMock, body: &Value) -> Answer {
    post(mock, "/v1/messages", &with(body.clone(), json!({"stream": true}))).await
}

/// Waits until `done` holds: for what the server learns a moment after the client acted.
pub(crate) async fn until(done: impl Fn() -> bool) {
    for _ in 0..2_000 {
        if done() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    panic!("this never came to be");
}

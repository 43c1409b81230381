//! Clients: one connection each, which can be dropped at any moment.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// True when the body broke off.
    pub(crate) broken: bool,
}

impl Answered {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub(crate) fn code(&self) -> Option<&str> {
        self.header("x-chamberlain-code")
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// Checks that this is an answer of Chamberlain's own, in Anthropic's shape.
    pub(crate) fn is_refused(&self, status: u16, kind: &str, code: &str) {
        assert_eq!((self.status.as_u16(), self.code()), (status, Some(code)), "{}", self.text());
        let body = self.json();
        assert_eq!(body["type"], "error");
        assert_eq!(body["error"]["type"], kind);
        assert_eq!(body["error"]["details"]["error_code"], code);
        let request_id = self.header("request-id").unwrap();
        assert_eq!(body["request_id"], request_id);
        let call = self.header("x-chamberlain-call").unwrap().strip_prefix("call_").unwrap();
        assert_eq!(request_id.strip_prefix("req_chm_"), Some(call));
        assert_eq!(self.header("content-type"), Some("application/json"));
        assert!(self.header("x-should-retry").is_some());
    }
}

/// One connection of one client. Dropping it is leaving.
pub(crate) struct Connection {
    sender: Sender,
    driver: JoinHandle<()>,
}

enum Sender {
    Http1(hyper::client::conn::http1::SendRequest<Full<Bytes>>),
    Http2(hyper::client::conn::http2::SendRequest<Full<Bytes>>),
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr) -> Connection {
        let io = TokioIo::new(TcpStream::connect(address).await.unwrap());
        let (sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
        let driver = tokio::spawn(async move {
            let _ = connection.await;
        });
        Connection { sender: Sender::Http1(sender), driver }
    }

    pub(crate) async fn open_http2(address: SocketAddr) -> Connection {
        let io = TokioIo::new(TcpStream::connect(address).await.unwrap());
        let (sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
        let driver = tokio::spawn(async move {
            let _ = connection.await;
        });
        Connection { sender: Sender::Http2(sender), driver }
    }

    pub(crate) async fn send(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> hyper::Result<Response<Incoming>> {
        match &mut self.sender {
            Sender::Http1(sender) => sender.send_request(request).await,
            Sender::Http2(sender) => sender.send_request(request).await,
        }
    }

    pub(crate) async fn ask(&mut self, request: Request<Full<Bytes>>) -> Answered {
        read(self.send(request).await.unwrap()).await
    }
}

/// Reads an answer to its end.
pub(crate) async fn read(response: Response<Incoming>) -> Answered {
    let (head, mut body) = response.into_parts();
    let mut whole = Vec::new();
    let mut broken = false;
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => whole.extend_from_slice(frame.data_ref().unwrap_or(&Bytes::new())),
            Err(_) => {
                broken = true;
                break;
            }
        }
    }
    Answered { status: head.status, headers: head.headers, body: whole.into(), broken }
}

/// Reads what is left of an answer; true when it broke off.
pub(crate) async fn read_on(mut body: Incoming) -> bool {
    while let Some(frame) = body.frame().await {
        if frame.is_err() {
            return true;
        }
    }
    false
}

/// The next piece of an answer as text.
pub(crate) async fn piece(body: &mut Incoming) -> String {
    let frame = body.frame().await.unwrap().unwrap();
    String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap()
}

/// Sends bytes as they are and reads until the other side closes or is silent after an answer.
pub(crate) async fn raw(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // Whoever is refused early may find the connection closed while it still writes.
    let _ = stream.write_all(request.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

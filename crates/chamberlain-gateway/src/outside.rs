//! Requests to hosts that are not upstream, on behalf of the control plane: one at a time, each on
//! a connection of its own. The network is this room's; what is asked and why, it does not know.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

use crate::connect::https;
use crate::probe::chain;

/// Why there is no answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NoAnswer {
    /// No connection; nothing was sent.
    NotSent(String),
    /// It may have been sent.
    Lost(String),
}

/// Sends one request and reads the answer, at most `bytes_max` of it, both `within` that time.
/// Redirections are answers like any other.
///
/// # Errors
/// When there is no whole answer.
pub async fn send(
    request: Request<Bytes>,
    within: Duration,
    bytes_max: usize,
) -> Result<Response<Bytes>, NoAnswer> {
    let connector =
        https().map_err(|error| NoAnswer::NotSent(format!("TLS could not be set up: {error}")))?;
    let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build(connector);
    let exchange = async {
        let answer = client.request(request.map(Full::new)).await.map_err(|error| {
            match error.is_connect() {
                true => NoAnswer::NotSent(chain(&error)),
                false => NoAnswer::Lost(chain(&error)),
            }
        })?;
        let (head, body) = answer.into_parts();
        let body = Limited::new(body, bytes_max).collect().await;
        let body =
            body.map_err(|error| NoAnswer::Lost(format!("its answer broke off: {error}")))?;
        Ok(Response::from_parts(head, body.to_bytes()))
    };
    match tokio::time::timeout(within, exchange).await {
        Ok(answer) => answer,
        Err(_) => Err(NoAnswer::Lost(format!("no answer within {} ms", within.as_millis()))),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    /// Answers the first connection with `text`.
    fn host(text: &'static str) -> String {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/x", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut asked = [0; 1024];
            let _ = stream.read(&mut asked);
            stream.write_all(text.as_bytes()).unwrap();
        });
        url
    }

    async fn ask(url: String) -> Result<Response<Bytes>, NoAnswer> {
        let request = Request::get(url).body(Bytes::new()).unwrap();
        send(request, Duration::from_secs(5), 8).await
    }

    #[tokio::test]
    async fn an_answer_is_read_whole_and_a_redirection_is_one() {
        let moved =
            "HTTP/1.1 307 x\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 2\r\n\r\nhi";
        let answer = ask(host(moved)).await.unwrap();
        assert_eq!((answer.status().as_u16(), answer.body().as_ref()), (307, &b"hi"[..]));
    }

    #[tokio::test]
    async fn what_was_sent_and_not_answered_is_told_from_what_was_not() {
        for broken in ["", "HTTP/1.1 200 x\r\ncontent-length: 9\r\n\r\nhi"] {
            assert!(matches!(ask(host(broken)).await, Err(NoAnswer::Lost(_))), "{broken:?}");
        }
        let long = "HTTP/1.1 200 x\r\ncontent-length: 9\r\n\r\n123456789";
        assert!(matches!(ask(host(long)).await, Err(NoAnswer::Lost(_))));
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let nobody = format!("http://{}", listener.local_addr().unwrap());
        drop(listener);
        assert!(matches!(ask(nobody).await, Err(NoAnswer::NotSent(_))));
    }
}

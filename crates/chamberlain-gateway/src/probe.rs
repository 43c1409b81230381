//! Looks whether upstream can be reached, without a key and without spending anything.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Uri, header};
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

use crate::connect::https;

/// What upstream said to a `HEAD /`. Any status means that it can be reached.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reached {
    /// The status.
    pub status: u16,
    /// Its `date` header, as sent.
    pub date: Option<String>,
}

/// Sends `HEAD /` to `base`, waiting at most `limit` for connection, TLS and answer together.
///
/// # Errors
/// Why there was no answer.
pub async fn head(base: &Uri, limit: Duration) -> Result<Reached, String> {
    let connector = https().map_err(|error| format!("TLS could not be set up: {error}"))?;
    let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build(connector);
    let request = Request::builder()
        .method(Method::HEAD)
        .uri(base)
        .body(Full::default())
        .map_err(|error| error.to_string())?;
    let answer = match tokio::time::timeout(limit, client.request(request)).await {
        Err(_) => return Err(format!("no answer within {} s", limit.as_secs())),
        Ok(Err(error)) => return Err(chain(&error)),
        Ok(Ok(answer)) => answer,
    };
    let date = answer.headers().get(header::DATE).and_then(|date| date.to_str().ok());
    Ok(Reached { status: answer.status().as_u16(), date: date.map(str::to_owned) })
}

/// An error with all its causes, the outermost first.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nobody_there_is_said_with_the_cause() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        drop(listener);
        let error = head(&base.parse().unwrap(), Duration::from_secs(5)).await.unwrap_err();
        assert!(error.contains("refused"), "{error}");
    }
}

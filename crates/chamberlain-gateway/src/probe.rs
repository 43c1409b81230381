//! Looks whether upstream can be reached, without a key, and whether it takes a key; without
//! spending anything.

use std::time::Duration;

use bytes::Bytes;
use chamberlain_vault::keyring::UpstreamSecret;
use http::uri::PathAndQuery;
use http::{Method, Request, Uri, header};
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

use crate::connect::https;
use crate::keys::credential_of;
use crate::upstream::Base;

/// What a list of models is asked for with; it costs nothing, and needs a key that is taken.
const MODELS: &str = "/v1/models?limit=1";

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

/// Asks `base` for the list of models with a key, waiting at most `limit`, and gives the status: 200
/// where the key is taken, 401 where it is not.
///
/// # Errors
/// Why there was no answer. It says nothing of the key.
pub async fn key_status(
    base: &Uri,
    secret: &UpstreamSecret,
    limit: Duration,
) -> Result<u16, String> {
    let connector = https().map_err(|error| format!("TLS could not be set up: {error}"))?;
    let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build(connector);
    let base = Base::new(base).map_err(|error| error.to_string())?;
    let target = PathAndQuery::from_static(MODELS);
    let request = Request::builder()
        .uri(base.join(&target).map_err(|error| error.to_string())?)
        .header("anthropic-version", "2023-06-01")
        .header("x-api-key", credential_of(secret).ok_or("the key makes no header")?)
        .body(Full::default())
        .map_err(|error| error.to_string())?;
    match tokio::time::timeout(limit, client.request(request)).await {
        Err(_) => Err(format!("no answer within {} s", limit.as_secs())),
        Ok(Err(error)) => Err(chain(&error)),
        Ok(Ok(answer)) => Ok(answer.status().as_u16()),
    }
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

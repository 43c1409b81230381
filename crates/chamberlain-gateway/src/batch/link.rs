//! Where clients reach us: for the one link that is changed in an answer.

use chamberlain_core::snapshot::GatewaySettings;
use http::header::HOST;
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderMap, Request};

use crate::identify::Call;

const FORWARDED_PROTO: &str = "x-forwarded-proto";
const FORWARDED_HOST: &str = "x-forwarded-host";

/// Where the results of a batch are for the client of a request: at the configured public address,
/// or else where the request says that it went. What it says counts for its own answer alone, so it
/// need not be believed. Where it says nothing that could be an address, the link is a path, which
/// stays with us too.
pub(super) fn results_url(call: &Call, head: &Parts, batch: &str) -> String {
    let origin = origin(&call.snapshot.settings, head).unwrap_or_default();
    format!("{origin}/v1/messages/batches/{batch}/results")
}

/// The connection of a request is encrypted, by ourselves.
#[derive(Clone, Copy)]
struct UnderTls;

/// Remembers that a request came under TLS, if it may be answered with a link.
pub(crate) fn came_under_tls<B>(request: &mut Request<B>) {
    if request.uri().path().starts_with("/v1/messages/batches") {
        request.extensions_mut().insert(UnderTls);
    }
}

fn origin(settings: &GatewaySettings, head: &Parts) -> Option<String> {
    if let Some(url) = &settings.public_url {
        return Some(url.clone());
    }
    let is_https = head.extensions.get::<UnderTls>().is_some()
        || single(&head.headers, FORWARDED_PROTO) == Some("https");
    let scheme = if is_https { "https" } else { "http" };
    let host = single(&head.headers, FORWARDED_HOST)
        .or_else(|| head.uri.authority().map(Authority::as_str))
        .or_else(|| single(&head.headers, HOST.as_str()))?;
    // What is no plain authority does not get into a link.
    let authority = host.parse::<Authority>().ok()?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte);
    authority.as_str().bytes().all(plain).then(|| format!("{scheme}://{authority}"))
}

/// The value of a header that was sent once.
fn single<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut lines = headers.get_all(name).iter();
    let line = lines.next()?.to_str().ok()?.trim();
    lines.next().is_none().then_some(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(headers: &[(&str, &str)], public_url: Option<&str>) -> String {
        let mut request = http::Request::builder().uri("/v1/messages/batches");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let head = request.body(()).unwrap().into_parts().0;
        let public_url = public_url.map(str::to_owned);
        let settings = GatewaySettings { public_url, ..GatewaySettings::default() };
        origin(&settings, &head).unwrap_or_default()
    }

    #[test]
    fn the_client_is_sent_back_to_where_it_came() {
        let host = ("host", "gateway.example:8787");
        assert_eq!(of(&[host], None), "http://gateway.example:8787");
        assert_eq!(of(&[("host", "[::1]:80")], None), "http://[::1]:80");
        assert_eq!(of(&[host], Some("https://c.example")), "https://c.example");
        let proxied = [host, ("x-forwarded-proto", "https"), ("x-forwarded-host", "c.example")];
        assert_eq!(of(&proxied, None), "https://c.example");
    }

    #[test]
    fn what_is_no_address_is_no_link() {
        for host in ["", "a b", "user@host", "a/b", "a?b", "a\\b", "a\"b"] {
            assert_eq!(of(&[("host", host)], None), "", "{host:?}");
        }
        assert_eq!(of(&[("host", "a"), ("host", "b")], None), "");
        assert_eq!(of(&[], None), "");
    }
}

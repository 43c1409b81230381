//! Which headers pass, in which direction. A closed list of exceptions; all else is untouched.

use chamberlain_core::id::CallId;
use chamberlain_core::time::Timestamp;
use http::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONNECTION, CONTENT_LENGTH, CONTENT_LOCATION, COOKIE, EXPECT,
    FORWARDED, HOST, LOCATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE, VIA,
};
use http::{HeaderMap, HeaderName, HeaderValue};

pub(crate) const API_KEY: HeaderName = HeaderName::from_static("x-api-key");
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("request-id");
pub(crate) const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");
pub(crate) const RETRY_AFTER_MS: HeaderName = HeaderName::from_static("retry-after-ms");
pub(crate) const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
pub(crate) const BETA: HeaderName = HeaderName::from_static("anthropic-beta");
pub(crate) const VERSION: HeaderName = HeaderName::from_static("anthropic-version");
pub(crate) const OPERATION: HeaderName = HeaderName::from_static("x-chamberlain-operation");
pub(crate) const CALL: HeaderName = HeaderName::from_static("x-chamberlain-call");
pub(crate) const CODE: HeaderName = HeaderName::from_static("x-chamberlain-code");
pub(crate) const WARNING: HeaderName = HeaderName::from_static("x-chamberlain-warning");

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const ALT_SVC: HeaderName = HeaderName::from_static("alt-svc");
const RATE_LIMIT_PREFIX: &str = "anthropic-ratelimit-";

/// The API's own request headers that are known, and choose no payer.
const API_HEADERS: [&str; 3] =
    ["anthropic-version", "anthropic-beta", "anthropic-dangerous-direct-browser-access"];

/// Headers by which some servers and proxies take a request for another one than it says.
const OVERRIDES: [&str; 6] = [
    "x-http-method-override",
    "x-http-method",
    "x-method-override",
    "x-original-method",
    "x-original-url",
    "x-rewrite-url",
];

/// Headers that choose who pays. Dropped unless the operator lets them pass.
pub(crate) const BILLING: [&str; 2] = ["anthropic-workspace-id", "anthropic-user-profile-id"];

/// So many left-out headers are told of.
const TOLD_MAX: usize = 8;

/// The id of a call as a header value.
pub(crate) fn call_value(call: CallId) -> HeaderValue {
    HeaderValue::try_from(call.to_string()).expect("a call id is lower-case ASCII")
}

/// Headers that belong to one connection, by name or because `Connection` names them.
struct HopByHop<'a> {
    named: Vec<&'a str>,
}

impl<'a> HopByHop<'a> {
    fn of(headers: &'a HeaderMap) -> HopByHop<'a> {
        let lines = headers.get_all(CONNECTION).iter().filter_map(|line| line.to_str().ok());
        let named = lines.flat_map(|line| line.split(',')).map(str::trim).collect();
        HopByHop { named }
    }

    fn has(&self, name: &HeaderName) -> bool {
        matches!(*name, CONNECTION | TE | TRAILER | TRANSFER_ENCODING | UPGRADE)
            || *name == KEEP_ALIVE
            || name.as_str().starts_with("proxy-")
            || self.named.iter().any(|named| named.eq_ignore_ascii_case(name.as_str()))
    }
}

/// What goes upstream of a client's headers, in its order, with our one credential.
///
/// Left out: the client's credentials and cookies, what belongs to its connection, what says
/// where it comes from, what is addressed to us, what would choose another payer, what of the API
/// this version does not know, what would make it another request, and every name with an
/// underscore, which some servers read as the same name with a hyphen.
/// `accept-encoding` becomes `identity`, so that the answer can be metered as it passes.
pub(crate) fn upstream(
    headers: &HeaderMap,
    credential: HeaderValue,
    keep_billing: bool,
) -> HeaderMap {
    let hop = HopByHop::of(headers);
    let mut out = HeaderMap::with_capacity(headers.len() + 2);
    for (name, value) in headers {
        if !hop.has(name) && passes_upstream(name, keep_billing) {
            out.append(name, value.clone());
        }
    }
    out.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    out.insert(API_KEY, credential);
    out
}

/// The headers of a request of our own beside a client's: its API version and betas, and our one
/// credential.
pub(crate) fn aside(client: &HeaderMap, credential: HeaderValue) -> HeaderMap {
    let mut out = HeaderMap::new();
    for name in [VERSION, BETA] {
        for value in client.get_all(&name) {
            out.append(&name, value.clone());
        }
    }
    out.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    out.insert(API_KEY, credential);
    out
}

fn passes_upstream(name: &HeaderName, keep_billing: bool) -> bool {
    let dropped = match *name {
        AUTHORIZATION | COOKIE | HOST | CONTENT_LENGTH | ACCEPT_ENCODING | EXPECT | FORWARDED
        | VIA => true,
        _ => {
            let name = name.as_str();
            name == API_KEY
                || name == "x-real-ip"
                || name.starts_with("x-forwarded-")
                || name.starts_with("x-chamberlain-")
                || name.contains('_')
                || OVERRIDES.contains(&name)
                || is_foreign(name, keep_billing)
        }
    };
    !dropped
}

/// Whether a header of the API does not pass: it chooses a payer, or is not known.
fn is_foreign(name: &str, keep_billing: bool) -> bool {
    let passes = API_HEADERS.contains(&name) || (keep_billing && BILLING.contains(&name));
    name.starts_with("anthropic-") && !passes
}

/// What to tell a client of its headers of the API that were left out, however they are spelt.
pub(crate) fn left_out(headers: &HeaderMap, keep_billing: bool) -> Vec<HeaderValue> {
    let told = headers.keys().filter_map(|name| {
        let name = name.as_str();
        let hyphens = name.replace('_', "-");
        if !hyphens.starts_with("anthropic-") {
            return None;
        }
        let why = match (name == hyphens, BILLING.contains(&hyphens.as_str())) {
            (true, true) if keep_billing => return None,
            (_, true) => "chooses who pays",
            (false, false) => "is not how the header is spelt",
            (true, false) if API_HEADERS.contains(&name) => return None,
            (true, false) => "is not known to this version",
        };
        HeaderValue::try_from(format!("{name} {why} and was not sent on")).ok()
    });
    told.take(TOLD_MAX).collect()
}

/// What goes back to the client of upstream's headers, in its order.
///
/// Left out: what belongs to upstream's connection or speaks of its address (`alt-svc`, `location`
/// and `content-location`, which would lead past us), anything
/// that claims to be ours, and, where so configured, its rate limits, which are shared by all.
pub(crate) fn downstream(headers: HeaderMap, keep_rate_limits: bool) -> HeaderMap {
    let hop = HopByHop::of(&headers);
    let passes = |name: &HeaderName| {
        let text = name.as_str();
        let dropped = hop.has(name)
            || matches!(*name, LOCATION | CONTENT_LOCATION)
            || *name == ALT_SVC
            || text.starts_with("x-chamberlain-")
            || (!keep_rate_limits && text.starts_with(RATE_LIMIT_PREFIX));
        !dropped
    };
    // Taking one out would change the order of the others.
    if headers.keys().all(passes) {
        return headers;
    }
    let mut out = HeaderMap::with_capacity(headers.len() + 4);
    for (name, value) in headers.iter().filter(|(name, _)| passes(name)) {
        out.append(name, value.clone());
    }
    out
}

/// A limit on requests, what is left of it, and when it is whole again, in Anthropic's words.
pub(crate) fn request_limit((limit, remaining, reset): (u64, u64, Timestamp)) -> HeaderMap {
    let mut out = HeaderMap::with_capacity(3);
    let name = |part| HeaderName::from_static(part);
    out.insert(name("anthropic-ratelimit-requests-limit"), limit.into());
    out.insert(name("anthropic-ratelimit-requests-remaining"), remaining.into());
    if let Ok(reset) = HeaderValue::try_from(reset.to_rfc3339()) {
        out.insert(name("anthropic-ratelimit-requests-reset"), reset);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in lines {
            map.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        map
    }

    fn lines(map: &HeaderMap) -> Vec<(&str, &str)> {
        map.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect()
    }

    #[test]
    fn only_what_may_pass_goes_upstream() {
        let out = upstream(
            &map(&[
                ("host", "gateway"),
                ("x-api-key", "virtual"),
                ("authorization", "Bearer virtual"),
                ("cookie", "a=b"),
                ("proxy-authorization", "Basic x"),
                ("proxy-connection", "keep-alive"),
                ("connection", "keep-alive, X-Hop , te"),
                ("keep-alive", "timeout=5"),
                ("x-hop", "1"),
                ("te", "trailers"),
                ("transfer-encoding", "chunked"),
                ("content-length", "12"),
                ("expect", "100-continue"),
                ("accept-encoding", "gzip, br"),
                ("forwarded", "for=1.2.3.4"),
                ("x-forwarded-for", "1.2.3.4"),
                ("x-forwarded-proto", "https"),
                ("x-real-ip", "1.2.3.4"),
                ("via", "1.1 proxy"),
                ("x-chamberlain-operation", "summary"),
                ("anthropic-workspace-id", "wrkspc_1"),
                ("anthropic-user-profile-id", "uprof_1"),
            ]),
            HeaderValue::from_static("credential"),
            false,
        );
        assert_eq!(lines(&out), [("accept-encoding", "identity"), ("x-api-key", "credential")]);
    }

    #[test]
    fn everything_else_goes_upstream_untouched_and_in_order() {
        let sent = [
            ("anthropic-version", "2026-10-21"),
            ("anthropic-beta", "one,two"),
            ("anthropic-beta", "three"),
            ("content-type", "application/json"),
            ("content-encoding", "gzip"),
            ("user-agent", "Anthropic/Python 2.12.0"),
            ("x-stainless-lang", "python"),
            ("traceparent", "00-0-0-01"),
            ("x-claude-code-session-id", "s"),
            ("anthropic-workspace-id", "wrkspc_1"),
        ];
        let out = upstream(&map(&sent), HeaderValue::from_static("c"), true);
        let expected: Vec<_> =
            sent.into_iter().chain([("accept-encoding", "identity"), ("x-api-key", "c")]).collect();
        assert_eq!(lines(&out), expected);
    }

    #[test]
    fn answers_keep_their_headers() {
        let sent = map(&[
            ("content-type", "application/json"),
            ("request-id", "req_1"),
            ("connection", "close"),
            ("alt-svc", "h3=\":443\""),
            ("location", "https://api.anthropic.com/v1/messages/1"),
            ("content-location", "/v1/messages/1"),
            ("x-chamberlain-call", "forged"),
            ("anthropic-ratelimit-requests-remaining", "7"),
            ("retry-after", "3"),
            ("content-length", "2"),
        ]);
        let kept = [
            ("content-type", "application/json"),
            ("request-id", "req_1"),
            ("anthropic-ratelimit-requests-remaining", "7"),
            ("retry-after", "3"),
            ("content-length", "2"),
        ];
        assert_eq!(lines(&downstream(sent.clone(), true)), kept);
        let without: Vec<_> =
            kept.into_iter().filter(|(name, _)| !name.starts_with("anthropic-rate")).collect();
        assert_eq!(lines(&downstream(sent, false)), without);
    }
}

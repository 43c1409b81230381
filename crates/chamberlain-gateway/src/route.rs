//! The route table: one list of everything a client may ask for. What is not in it is refused.
//!
//! Paths are matched as they were sent, byte for byte. Nothing is decoded or normalized, so `//`,
//! `%2e`, `..`, encoded slashes and a trailing slash are simply other paths, and refused.

use chamberlain_core::admission::refusal::Refusal;
use chamberlain_core::record::Route;
use http::request::Parts;
use http::{Method, Version};

use crate::barred;
use crate::identify::carries_key;

/// What a route asks of its callers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// A virtual key, policy, limits, and money set aside before it leaves.
    Metered,
    /// A virtual key, policy and limits; it costs nothing.
    Free,
    /// Nothing: answered here, without a credential, and never forwarded.
    Open,
}

/// How a route's path is matched.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PathPattern {
    /// The whole path.
    Exact(&'static str),
    /// This prefix, and then one plain segment: letters, digits, `.`, `_`, `-`.
    OneUnder(&'static str),
    /// The first, then one plain segment, then the second.
    Within(&'static str, &'static str),
}

/// One route.
#[derive(Debug)]
pub struct RouteSpec {
    /// The method it takes.
    pub method: Method,
    /// Its path.
    pub path: PathPattern,
    /// What it asks of callers.
    pub access: Access,
    /// Its name on record; `None` for what never leaves.
    pub route: Option<Route>,
}

/// Every route there is.
pub static ROUTES: [RouteSpec; 17] = [
    RouteSpec {
        method: Method::POST,
        path: PathPattern::Exact("/v1/messages"),
        access: Access::Metered,
        route: Some(Route::Messages),
    },
    RouteSpec {
        method: Method::POST,
        path: PathPattern::Exact("/v1/messages/count_tokens"),
        access: Access::Free,
        route: Some(Route::CountTokens),
    },
    RouteSpec {
        method: Method::GET,
        path: PathPattern::Exact("/v1/models"),
        access: Access::Free,
        route: Some(Route::Models),
    },
    RouteSpec {
        method: Method::GET,
        path: PathPattern::OneUnder("/v1/models/"),
        access: Access::Free,
        route: Some(Route::Model),
    },
    RouteSpec {
        method: Method::POST,
        path: PathPattern::Exact("/v1/files"),
        access: Access::Free,
        route: Some(Route::FileUpload),
    },
    RouteSpec {
        method: Method::GET,
        path: PathPattern::Exact("/v1/files"),
        access: Access::Free,
        route: Some(Route::Files),
    },
    RouteSpec {
        method: Method::GET,
        path: PathPattern::OneUnder("/v1/files/"),
        access: Access::Free,
        route: Some(Route::File),
    },
    RouteSpec {
        method: Method::DELETE,
        path: PathPattern::OneUnder("/v1/files/"),
        access: Access::Free,
        route: Some(Route::FileDelete),
    },
    RouteSpec {
        method: Method::GET,
        path: PathPattern::Within("/v1/files/", "/content"),
        access: Access::Free,
        route: Some(Route::FileContent),
    },
    RouteSpec {
        method: Method::POST,
        path: PathPattern::Exact("/v1/messages/batches"),
        access: Access::Metered,
        route: Some(Route::BatchCreate),
    },
    RouteSpec {
        method: Method::GET,
        path: PathPattern::Exact("/v1/messages/batches"),
        access: Access::Free,
        route: Some(Route::Batches),
    },
    RouteSpec {
        method: Method::GET,
        path: PathPattern::OneUnder("/v1/messages/batches/"),
        access: Access::Free,
        route: Some(Route::Batch),
    },
    RouteSpec {
        method: Method::DELETE,
        path: PathPattern::OneUnder("/v1/messages/batches/"),
        access: Access::Free,
        route: Some(Route::BatchDelete),
    },
    RouteSpec {
        method: Method::GET,
        path: PathPattern::Within("/v1/messages/batches/", "/results"),
        access: Access::Free,
        route: Some(Route::BatchResults),
    },
    RouteSpec {
        method: Method::POST,
        path: PathPattern::Within("/v1/messages/batches/", "/cancel"),
        access: Access::Free,
        route: Some(Route::BatchCancel),
    },
    // Probes of clients at their start; they carry no credential and want any answer at all.
    RouteSpec {
        method: Method::HEAD,
        path: PathPattern::Exact("/"),
        access: Access::Open,
        route: None,
    },
    RouteSpec {
        method: Method::HEAD,
        path: PathPattern::Exact("/api/hello"),
        access: Access::Open,
        route: None,
    },
];

const PATH_SHOWN_CHARS: usize = 128;
const SEGMENT_CHARS_MAX: usize = 128;

impl PathPattern {
    fn matches(self, path: &str) -> bool {
        match self {
            PathPattern::Exact(whole) => path == whole,
            PathPattern::OneUnder(prefix) => path.strip_prefix(prefix).is_some_and(is_plain),
            PathPattern::Within(prefix, suffix) => path
                .strip_prefix(prefix)
                .and_then(|rest| rest.strip_suffix(suffix))
                .is_some_and(is_plain),
        }
    }
}

fn is_plain(segment: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (1..=SEGMENT_CHARS_MAX).contains(&segment.len())
        && segment.bytes().all(plain)
        && !segment.bytes().all(|byte| byte == b'.')
        && !carries_key(segment)
}

/// True for routes that may cost money.
pub(crate) fn costs(route: Route) -> bool {
    matches!(route, Route::Messages | Route::BatchCreate)
}

/// Finds the route of a request.
///
/// # Errors
/// [`Refusal::UnknownRoute`], [`Refusal::RouteNotForwarded`], or [`Refusal::WrongMethod`] when the path exists.
pub(crate) fn find(head: &Parts) -> Result<&'static RouteSpec, Refusal> {
    let path = head.uri.path();
    let unknown = || {
        let method = head.method.as_str().chars().take(16).collect();
        let shown = path.chars().take(PATH_SHOWN_CHARS).collect();
        match barred::reason(path) {
            Some(reason) => Refusal::RouteNotForwarded { method, path: shown, reason },
            None => Refusal::UnknownRoute { method, path: shown },
        }
    };
    // In HTTP/1.1 a target with a host in it is meant for a forward proxy, which this is not.
    if head.version <= Version::HTTP_11 && head.uri.authority().is_some() {
        return Err(unknown());
    }
    let mut allowed = Vec::new();
    for spec in ROUTES.iter().filter(|spec| spec.path.matches(path)) {
        if spec.method == head.method {
            return Ok(spec);
        }
        allowed.push(spec.method.as_str());
    }
    if allowed.is_empty() {
        return Err(unknown());
    }
    Err(Refusal::WrongMethod { allowed: allowed.join(" or ") })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find_uri(method: Method, uri: &str) -> Result<&'static RouteSpec, Refusal> {
        let request = http::Request::builder().method(method).uri(uri).body(()).unwrap();
        find(&request.into_parts().0)
    }

    #[test]
    fn every_route_is_found_at_its_own_path_only() {
        for spec in &ROUTES {
            let path = match spec.path {
                PathPattern::Exact(path) => path.to_owned(),
                PathPattern::OneUnder(prefix) => format!("{prefix}claude-haiku-4-5-20251001"),
                PathPattern::Within(prefix, suffix) => format!("{prefix}file_01{suffix}"),
            };
            let found = find_uri(spec.method.clone(), &path).unwrap();
            assert!(std::ptr::eq(found, spec), "{path}");
            let found = find_uri(spec.method.clone(), &format!("{path}?beta=true")).unwrap();
            assert!(std::ptr::eq(found, spec), "{path} with a query");
            let wrong = find_uri(Method::PATCH, &path);
            assert!(matches!(wrong, Err(Refusal::WrongMethod { .. })), "{path}");
        }
    }

    #[test]
    fn only_probes_are_open_and_only_messages_cost() {
        let open: Vec<_> =
            ROUTES.iter().filter(|spec| spec.access == Access::Open).map(|s| s.path).collect();
        assert_eq!(open, [PathPattern::Exact("/"), PathPattern::Exact("/api/hello")]);
        for spec in &ROUTES {
            assert_eq!(spec.access == Access::Open, spec.route.is_none(), "{:?}", spec.path);
            let costs = spec.route.is_some_and(costs);
            assert_eq!(spec.access == Access::Metered, costs, "{:?}", spec.path);
        }
    }

    #[test]
    fn path_tricks_are_other_paths() {
        for path in [
            "//v1/messages",
            "/v1//messages",
            "/v1/messages/",
            "/v1/./messages",
            "/v1/models/../messages",
            "/v1/%6dessages",
            "/v1/messages%2f",
            "/v1/messages%00",
            "/v1/messages;a=b",
            "/V1/messages",
            "/v1/messages/count_tokens/",
            "/v1/messages/batches/",
            "/v1/messages/batches/a/b",
            "/v1/messages/batches/a/results/",
            "/v1/messages/batches/../results",
            "/v1/messages/batches/%61/results",
            "/v1/models/",
            "/v1/models/.",
            "/v1/models/..",
            "/v1/models/a%2fb",
            "/v1/models/a/b",
            "/v1/models/%2e%2e",
            "/v1/models/..%2fmessages",
            "/v1/complete%2f",
            "/v1//complete",
            "/v1/completely",
            "http://api.anthropic.com/v1/messages",
        ] {
            for method in [Method::POST, Method::GET] {
                let found = find_uri(method.clone(), path);
                assert!(
                    matches!(found, Err(Refusal::UnknownRoute { .. })),
                    "{method} {path}: {found:?}"
                );
            }
        }
    }
}

//! What a request's head says about its framing, judged before anything else is looked at.
//!
//! Where two readers of the same bytes could see different requests, none is taken and the
//! connection ends: a proxy in front may have seen another request than we did. Hyper refuses most
//! of it already (`docs/listening.md` has the table); here is what it lets pass.

use http::header::{CONNECTION, EXPECT, HOST, TRANSFER_ENCODING};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Version};

use crate::refuse::Fault;

/// Longest path and query.
const TARGET_BYTES_MAX: usize = 8 * 1024;

/// Judges the head of a request.
///
/// # Errors
/// [`Fault::BadHead`], [`Fault::TargetTooLong`] or [`Fault::Expectation`].
pub(crate) fn check(head: &Parts) -> Result<(), Fault> {
    let bad = |what| Err(Fault::BadHead { what });
    if head.method == Method::CONNECT {
        return bad("CONNECT asks for a tunnel, and this is no proxy");
    }
    if head.uri.path_and_query().is_some_and(|target| target.as_str().len() > TARGET_BYTES_MAX) {
        return Err(Fault::TargetTooLong { limit_bytes: TARGET_BYTES_MAX });
    }
    let hosts = head.headers.get_all(HOST).iter().count();
    let hosts_are_wrong = match head.version {
        Version::HTTP_11 => hosts != 1,
        _ => hosts > 1,
    };
    if hosts_are_wrong {
        return bad("it must carry exactly one host header");
    }
    let mut encodings = head.headers.get_all(TRANSFER_ENCODING).iter();
    let is_chunked = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"chunked");
    if encodings.next().is_some_and(|first| !is_chunked(first)) || encodings.next().is_some() {
        return bad("the only transfer-encoding that is taken is chunked, once");
    }
    let mut expectations = head.headers.get_all(EXPECT).iter();
    let is_known = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"100-continue");
    if expectations.any(|value| !is_known(value)) {
        return Err(Fault::Expectation);
    }
    Ok(())
}

/// Ends the connection after this answer. Over HTTP/2 a stream's framing is its own, and stays so.
pub(crate) fn close(version: Version, headers: &mut HeaderMap) {
    if version <= Version::HTTP_11 {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(method: Method, uri: &str, lines: &[(&str, &str)]) -> Parts {
        let mut request = http::Request::builder().method(method).uri(uri);
        for (name, value) in lines {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn what_is_ambiguous_is_refused() {
        const HOST: (&str, &str) = ("host", "gateway");
        let post = |lines: &[(&str, &str)]| check(&head(Method::POST, "/v1/messages", lines));
        for lines in [
            &[HOST][..],
            &[HOST, ("transfer-encoding", "Chunked")],
            &[HOST, ("expect", "100-Continue")],
        ] {
            assert_eq!(post(lines), Ok(()), "{lines:?}");
        }
        for lines in [
            &[][..],
            &[HOST, HOST],
            &[HOST, ("transfer-encoding", "gzip, chunked")],
            &[HOST, ("transfer-encoding", "identity"), ("transfer-encoding", "chunked")],
            &[HOST, ("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")],
        ] {
            assert!(matches!(post(lines), Err(Fault::BadHead { .. })), "{lines:?}");
        }
        let lines = [HOST, ("expect", "100-continue"), ("expect", "a-miracle")];
        assert_eq!(post(&lines), Err(Fault::Expectation));
        let tunnel = check(&head(Method::CONNECT, "gateway:443", &[HOST]));
        assert!(matches!(tunnel, Err(Fault::BadHead { .. })));
        let target = |bytes: usize| format!("/{}", "a".repeat(bytes - 1));
        let ask = |bytes| check(&head(Method::GET, &target(bytes), &[HOST]));
        assert_eq!(ask(TARGET_BYTES_MAX), Ok(()));
        assert!(matches!(ask(TARGET_BYTES_MAX + 1), Err(Fault::TargetTooLong { .. })));
    }

    #[test]
    fn a_stream_of_http_2_needs_no_host_header() {
        let mut head = head(Method::POST, "https://gateway/v1/messages", &[]);
        head.version = Version::HTTP_2;
        assert_eq!(check(&head), Ok(()));
    }
}

//! Who calls: the credentials of a request, and the traces they may leave.
//!
//! A credential is compared and hashed, and never kept, logged or shown.

use http::{HeaderMap, StatusCode, header};
use sha2::{Digest, Sha256};

#[cfg(test)]
use crate::config::AcceptedKeys;
use crate::error::ApiError;
use crate::ids::hex;
use crate::journal::Credential;

/// Headers whose values never leave this module.
const SECRET_HEADERS: [&str; 4] = ["x-api-key", "authorization", "proxy-authorization", "cookie"];

/// Shorter values are not looked for elsewhere: they would be found everywhere.
const TELLING_LEN: usize = 8;

/// The credentials of one request.
pub(crate) struct Presented<'a> {
    headers: &'a HeaderMap,
}

impl<'a> Presented<'a> {
    pub(crate) fn new(headers: &'a HeaderMap) -> Presented<'a> {
        Presented { headers }
    }

    /// Every secret header with its scheme and its value without the scheme.
    fn each(&self) -> impl Iterator<Item = (&'static str, Option<&'static str>, &'a [u8])> {
        SECRET_HEADERS.into_iter().flat_map(|name| {
            self.headers.get_all(name).iter().map(move |value| {
                let value = value.as_bytes();
                match name {
                    "authorization" if bearer(value).is_some() => {
                        (name, Some("bearer"), bearer(value).unwrap_or_default())
                    }
                    _ => (name, None, value),
                }
            })
        })
    }

    /// What the journal may know.
    pub(crate) fn noted(&self) -> Vec<Credential> {
        self.each()
            .map(|(header, scheme, value)| Credential {
                header: header.to_owned(),
                scheme: scheme.map(str::to_owned),
                sha256_prefix: fingerprint(value),
            })
            .collect()
    }

    /// Decides whether the caller may come in.
    ///
    /// # Errors
    /// 401.
    #[cfg(test)]
    fn check(&self, accepted: &AcceptedKeys) -> Result<(), ApiError> {
        let key = self.key()?;
        if accepted.accepts(key) { Ok(()) } else { Err(self.unknown()) }
    }

    /// The one key that was given.
    ///
    /// # Errors
    /// 401, when there is none, or two.
    pub(crate) fn key(&self) -> Result<&'a [u8], ApiError> {
        let mut key: Option<&[u8]> = None;
        for (header, scheme, value) in self.each() {
            let value = match (header, scheme) {
                ("x-api-key", _) | ("authorization", Some(_)) => value,
                ("authorization", None) => return Err(denied("Invalid bearer token")),
                _ => continue,
            };
            if key.is_some_and(|key| key != value) {
                return Err(denied("conflicting credentials: send one API key"));
            }
            key = Some(value);
        }
        key.filter(|key| !key.is_empty()).ok_or_else(|| denied("x-api-key header is required"))
    }

    /// The answer to a key that nobody knows.
    pub(crate) fn unknown(&self) -> ApiError {
        match self.headers.contains_key(header::AUTHORIZATION) {
            true => denied("Invalid bearer token"),
            false => denied("invalid x-api-key"),
        }
    }

    /// True when one of the credentials occurs in `text`.
    pub(crate) fn occurs_in(&self, text: &str) -> bool {
        self.telling().any(|key| text.contains(key))
    }

    /// `text` with every credential in it replaced by its fingerprint.
    pub(crate) fn scrub(&self, text: &str) -> String {
        self.telling().fold(text.to_owned(), |text, key| {
            if text.contains(key) {
                text.replace(key, &format!("[credential sha256:{}]", fingerprint(key.as_bytes())))
            } else {
                text
            }
        })
    }

    fn telling(&self) -> impl Iterator<Item = &'a str> {
        self.each()
            .filter_map(|(_, _, value)| std::str::from_utf8(value).ok())
            .filter(|value| value.len() >= TELLING_LEN)
    }
}

/// True for a header whose value is a credential.
pub(crate) fn is_secret(name: &str) -> bool {
    SECRET_HEADERS.contains(&name)
}

fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = value.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| rest.trim_ascii())
}

/// The first 16 hexadecimal digits of the SHA-256.
fn fingerprint(value: &[u8]) -> String {
    hex(&Sha256::digest(value)[..8])
}

/// A 401.
pub(crate) fn denied(message: &str) -> ApiError {
    ApiError::new(StatusCode::UNAUTHORIZED, message)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &str)| {
            (http::HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
        };
        pairs.iter().map(pair).collect()
    }

    fn comes_in(pairs: &[(&'static str, &str)], accepted: &AcceptedKeys) -> bool {
        Presented::new(&headers(pairs)).check(accepted).is_ok()
    }

    #[test]
    fn either_header_or_both_alike() {
        let any = AcceptedKeys::Any;
        assert!(comes_in(&[("x-api-key", "one-key")], &any));
        assert!(comes_in(&[("authorization", "bearer one-key")], &any));
        assert!(comes_in(&[("x-api-key", "k"), ("authorization", "Bearer k")], &any));
        assert!(!comes_in(&[("x-api-key", "k"), ("authorization", "Bearer other")], &any));
        assert!(!comes_in(&[], &any));
        assert!(!comes_in(&[("x-api-key", "")], &any));
        assert!(!comes_in(&[("authorization", "Basic k")], &any));
        assert!(!comes_in(&[("cookie", "k")], &any));
        let only = AcceptedKeys::only(["right"]);
        assert!(comes_in(&[("x-api-key", "right")], &only));
        assert!(!comes_in(&[("x-api-key", "wrong")], &only));
    }

    #[test]
    fn a_credential_is_scrubbed_wherever_it_shows() {
        let headers = headers(&[("authorization", "Bearer planted-key")]);
        let presented = Presented::new(&headers);
        assert!(presented.occurs_in("/v1/models?key=planted-key"));
        assert!(!presented.scrub("a planted-key b").contains("planted-key"));
        assert!(!format!("{:?}", presented.noted()).contains("planted-key"));
    }
}

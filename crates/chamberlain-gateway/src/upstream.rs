//! Where a call goes: a base URL, and the whole URL of one request.

use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderValue, Uri};

use crate::decide::Destination;
use crate::gateway::Inner;
use crate::identify::Call;
use crate::refuse::Fault;

/// Why a base URL cannot be used.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{url} cannot be an upstream: {reason}")]
pub struct BadBase {
    url: String,
    reason: &'static str,
}

/// A base URL, taken apart once.
#[derive(Clone, Debug)]
pub(crate) struct Base {
    scheme: Scheme,
    authority: Authority,
    /// Put before every path; empty, or begins with a slash and does not end with one.
    prefix: String,
}

impl Base {
    pub(crate) fn new(url: &Uri) -> Result<Base, BadBase> {
        let bad = |reason| BadBase { url: url.to_string(), reason };
        let scheme = url.scheme().ok_or_else(|| bad("it needs http:// or https:// in front"))?;
        if *scheme != Scheme::HTTP && *scheme != Scheme::HTTPS {
            return Err(bad("only http:// and https:// are spoken"));
        }
        let authority = url.authority().ok_or_else(|| bad("it names no host"))?;
        if authority.as_str().contains('@') {
            return Err(bad("it carries credentials; keys belong in the vault"));
        }
        if url.query().is_some() {
            return Err(bad("it has a query; a base URL ends with its path"));
        }
        let prefix = url.path().trim_end_matches('/').to_owned();
        Ok(Base { scheme: scheme.clone(), authority: authority.clone(), prefix })
    }

    pub(crate) fn host(&self) -> &str {
        self.authority.host()
    }

    pub(crate) fn port(&self) -> u16 {
        let usual = if self.scheme == Scheme::HTTPS { 443 } else { 80 };
        self.authority.port_u16().unwrap_or(usual)
    }

    /// The URL of a request to `target`, which is left exactly as the client sent it.
    pub(crate) fn join(&self, target: &PathAndQuery) -> Result<Uri, http::Error> {
        let builder = Uri::builder().scheme(self.scheme.clone()).authority(self.authority.clone());
        if self.prefix.is_empty() {
            return builder.path_and_query(target.clone()).build();
        }
        builder.path_and_query(format!("{}{target}", self.prefix)).build()
    }
}

/// What the mock is given instead of a key.
const MOCK_CREDENTIAL: HeaderValue = HeaderValue::from_static("chamberlain-mock");

impl Inner {
    /// Where a call goes, for telling about it.
    pub(crate) fn base_of(&self, call: &Call) -> Option<&Base> {
        let is_mocked = call.key.test_mode && !self.base_is_mock;
        if is_mocked { self.mock.as_ref() } else { Some(&self.base) }
    }

    /// The base URL of a destination, and the one credential that goes with it.
    pub(crate) fn address(&self, destination: &Destination) -> Result<(&Base, HeaderValue), Fault> {
        match destination {
            Destination::Mock => {
                let base = if self.base_is_mock { Some(&self.base) } else { self.mock.as_ref() };
                base.map(|base| (base, MOCK_CREDENTIAL)).ok_or(Fault::NoMock)
            }
            Destination::Key(id) => {
                let mut credential =
                    self.keys.credential(id).ok_or_else(|| Fault::KeyNotOpen(id.clone()))?;
                credential.set_sensitive(true);
                Ok((&self.base, credential))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn join(base: &str, target: &str) -> String {
        let base = Base::new(&base.parse().unwrap()).unwrap();
        base.join(&target.parse().unwrap()).unwrap().to_string()
    }

    #[test]
    fn the_target_is_put_after_the_base() {
        let target = "/v1/messages?beta=true&x=%2f";
        assert_eq!(join("https://h", target), format!("https://h{target}"));
        assert_eq!(join("https://h:8443/", target), format!("https://h:8443{target}"));
        assert_eq!(join("http://h/a/b/", target), format!("http://h/a/b{target}"));
    }

    #[test]
    fn what_is_no_base_is_refused() {
        for bad in ["/v1", "h:443", "ftp://h", "https://user:pass@h", "https://h/?a=b"] {
            assert!(Base::new(&bad.parse().unwrap()).is_err(), "{bad}");
        }
    }
}

//! The port through which the gateway gets the credential for one upstream request.

use chamberlain_core::id::UpstreamKeyId;
use chamberlain_vault::keyring::{Keyring, UpstreamSecret};
use http::HeaderValue;

/// Whoever guards the real keys. The gateway never sees a key as text: it gets a header value
/// that is marked sensitive, so that neither logs nor HTTP/2 header tables keep it.
pub trait KeySource: Send + Sync + 'static {
    /// The value of `x-api-key` for that upstream key, marked sensitive; `None` when the key is
    /// not open (unknown, revoked, or the vault is sealed).
    fn credential(&self, id: &UpstreamKeyId) -> Option<HeaderValue>;

    /// Whether that key is open, without a look at it.
    fn is_open(&self, id: &UpstreamKeyId) -> bool;
}

/// An opened key as a header value, marked sensitive.
pub(crate) fn credential_of(secret: &UpstreamSecret) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_bytes(secret.expose_header_value()).ok()?;
    value.set_sensitive(true);
    Some(value)
}

impl KeySource for Keyring {
    fn credential(&self, id: &UpstreamKeyId) -> Option<HeaderValue> {
        credential_of(self.get(id)?.as_ref())
    }

    fn is_open(&self, id: &UpstreamKeyId) -> bool {
        self.get(id).is_some()
    }
}

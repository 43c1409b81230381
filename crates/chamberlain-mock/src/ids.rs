//! Identifiers that look like the API's.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use sha2::{Digest, Sha256};

/// Hands out seeds for identifiers: each different, or each made from the request.
#[derive(Debug)]
pub(crate) struct Ids {
    seed: u128,
    next: AtomicU64,
}

/// The source of one request's identifiers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IdSource([u8; 32]);

impl Ids {
    pub(crate) fn new() -> Ids {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Ids { seed: now.as_nanos(), next: AtomicU64::new(0) }
    }

    /// A source that was never handed out before.
    pub(crate) fn unique(&self) -> IdSource {
        let mut hash = Sha256::new();
        hash.update(self.seed.to_be_bytes());
        hash.update(self.next.fetch_add(1, Ordering::Relaxed).to_be_bytes());
        IdSource(hash.finalize().into())
    }
}

impl IdSource {
    /// The source that this path and body always give.
    pub(crate) fn of_request(path: &str, body: &[u8]) -> IdSource {
        let mut hash = Sha256::new();
        hash.update(path.as_bytes());
        hash.update([0]);
        hash.update(body);
        IdSource(hash.finalize().into())
    }

    /// The identifier number `n` with this prefix, such as `msg_01…`.
    pub(crate) fn id(&self, prefix: &str, n: u32) -> String {
        const ALPHABET: &[u8; 58] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
        let mut hash = Sha256::new();
        hash.update(self.0);
        hash.update(prefix.as_bytes());
        hash.update(n.to_be_bytes());
        let digest: [u8; 32] = hash.finalize().into();
        let mut id = String::with_capacity(prefix.len() + 24);
        id.push_str(prefix);
        id.push_str("01");
        id.extend(digest[..22].iter().map(|byte| char::from(ALPHABET[usize::from(*byte) % 58])));
        id
    }
}

impl IdSource {
    /// A signature for a thinking block, which [`is_signature`] recognizes later.
    pub(crate) fn signature(&self, n: u32) -> String {
        let seed = &self.id("EqMock", n);
        format!("{seed}{}", seal(seed))
    }
}

/// True for a signature that a mock made.
pub(crate) fn is_signature(text: &str) -> bool {
    text.split_at_checked(SEED_LEN).is_some_and(|(seed, rest)| rest == seal(seed))
}

const SEED_LEN: usize = "EqMock01".len() + 22;

fn seal(seed: &str) -> String {
    let digest: [u8; 32] = Sha256::digest(format!("thinking signature {seed}")).into();
    hex(&digest[..16])
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a string never fails");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_are_recognized_and_forgeries_are_not() {
        let signature = Ids::new().unique().signature(0);
        assert!(is_signature(&signature));
        let forged = signature.replace("EqMock01", "EqMock02");
        for wrong in [forged.as_str(), "", "abc", &signature[1..], &signature[..50]] {
            assert!(!is_signature(wrong), "{wrong} was accepted");
        }
    }

    #[test]
    fn identifiers_are_unique_unless_made_from_the_request() {
        let ids = Ids::new();
        assert_ne!(ids.unique().id("msg_", 0), ids.unique().id("msg_", 0));
        let fixed = IdSource::of_request("/v1/messages", b"{}");
        assert_eq!(fixed.id("msg_", 0), IdSource::of_request("/v1/messages", b"{}").id("msg_", 0));
        assert_ne!(fixed.id("msg_", 0), fixed.id("msg_", 1));
    }
}

//! What a mock may be told.

use std::time::Duration;

use sha2::{Digest, Sha256};

/// Which credentials are accepted. Only their SHA-256 is kept.
#[derive(Clone, Default, Debug)]
pub enum AcceptedKeys {
    /// Anything that is not empty.
    #[default]
    Any,
    /// These, by the SHA-256 of the key; see [`AcceptedKeys::only`].
    Only(Vec<[u8; 32]>),
}

impl AcceptedKeys {
    /// Accepts exactly these keys.
    pub fn only<K: AsRef<str>>(keys: impl IntoIterator<Item = K>) -> AcceptedKeys {
        let digest = |key: K| Sha256::digest(key.as_ref().as_bytes()).into();
        AcceptedKeys::Only(keys.into_iter().map(digest).collect())
    }

    pub(crate) fn accepts(&self, key: &[u8]) -> bool {
        match self {
            AcceptedKeys::Any => !key.is_empty(),
            AcceptedKeys::Only(known) => {
                let digest: [u8; 32] = Sha256::digest(key).into();
                known.contains(&digest)
            }
        }
    }
}

/// What the journal keeps.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub enum Journaling {
    /// Nothing, for load tests that look elsewhere.
    Off,
    /// Every request without its body.
    #[default]
    On,
    /// Every request and its body as it came (before decoding).
    WithBodies,
}

/// What a client that leaves in the middle of a stream is billed. Anthropic publishes no rule, so
/// both are possible and a test should hold under both.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub enum Abandoned {
    /// The input, and the output that was generated until then.
    #[default]
    AsDelivered,
    /// The whole answer, as if it had been read to the end.
    InFull,
}

/// The limits that the rate-limit headers speak of. They are told, not enforced.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RateLimits {
    /// Requests a minute.
    pub requests: u64,
    /// Input tokens a minute.
    pub input_tokens: u64,
    /// Output tokens a minute.
    pub output_tokens: u64,
}

/// Everything a mock may be told. `MockConfig::default()` suits most tests.
#[derive(Clone, Debug)]
pub struct MockConfig {
    /// Which credentials are accepted.
    pub keys: AcceptedKeys,
    /// What the journal keeps.
    pub journal: Journaling,
    /// How many requests the journal keeps (a few kilobytes each); older ones fall out and are
    /// counted.
    pub journal_entries_max: usize,
    /// Time before the first byte of an answer to `/v1/messages`.
    pub latency: Duration,
    /// Time between the events of a stream.
    pub event_gap: Duration,
    /// `anthropic-organization-id`.
    pub organization_id: String,
    /// `anthropic-workspace-id`.
    pub workspace_id: String,
    /// Largest request body in bytes, before and after decoding.
    pub body_bytes_max: u64,
    /// Largest file in bytes.
    pub file_bytes_max: u64,
    /// Largest body of a batch in bytes, before and after decoding.
    pub batch_body_bytes_max: u64,
    /// Time until the items of a batch are answered.
    pub batch_delay: Duration,
    /// Refuses fields of `/v1/messages` that the API does not document, as the API does.
    pub strict_fields: bool,
    /// Leaves prompts uncached that are shorter than the model's least cacheable length.
    pub honour_cache_minimum: bool,
    /// What a client that leaves is billed.
    pub abandoned: Abandoned,
    /// What the rate-limit headers speak of.
    pub rate_limits: RateLimits,
}

impl Default for MockConfig {
    fn default() -> MockConfig {
        MockConfig {
            keys: AcceptedKeys::Any,
            journal: Journaling::On,
            journal_entries_max: 100_000,
            latency: Duration::ZERO,
            event_gap: Duration::ZERO,
            organization_id: "00000000-0000-4000-8000-000000000001".to_owned(),
            workspace_id: "wrkspc_01Mock".to_owned(),
            body_bytes_max: 32 * 1024 * 1024,
            file_bytes_max: 500 * 1024 * 1024,
            batch_body_bytes_max: 256 * 1024 * 1024,
            batch_delay: Duration::ZERO,
            strict_fields: false,
            honour_cache_minimum: true,
            abandoned: Abandoned::AsDelivered,
            rate_limits: RateLimits {
                requests: 4_000,
                input_tokens: 2_000_000,
                output_tokens: 400_000,
            },
        }
    }
}

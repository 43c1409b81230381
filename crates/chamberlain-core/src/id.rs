//! Names of things: typed, cheap to clone, never mixed up.
//!
//! Ids are minted from bytes that the caller brings, so a simulation from one seed mints the same
//! ids again.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Lower-case letters and digits that cannot be mistaken for one another when read aloud.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

fn encode(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(ALPHABET[usize::from(byte & 31)])).collect()
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The prefix every minted id of this kind begins with.
            pub const PREFIX: &'static str = $prefix;

            /// Mints an id from sixteen random bytes.
            pub fn mint(entropy: [u8; 16]) -> $name {
                $name(format!("{}{}", $prefix, encode(&entropy)).into())
            }

            /// Takes a text that is known to be an id of this kind.
            pub fn new(text: impl Into<Arc<str>>) -> $name {
                $name(text.into())
            }

            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }
    };
}

text_id!(
    /// A virtual key: the public part of `chm_<public id>_<secret>`.
    VirtualKeyId,
    ""
);
text_id!(
    /// A real Anthropic key that Chamberlain guards.
    UpstreamKeyId,
    "uk_"
);
text_id!(
    /// An environment; the id is its name (`production`).
    EnvironmentName,
    ""
);
text_id!(
    /// An effect waiting in the outbox.
    EffectId,
    "eff_"
);

text_id!(
    /// One rotation of an upstream key.
    RotationId,
    "rot_"
);
text_id!(
    /// The containment of one key.
    ContainmentId,
    "con_"
);

impl VirtualKeyId {
    /// Mints the sixteen-character public id of a virtual key.
    pub fn is_well_formed(text: &str) -> bool {
        text.len() == 16 && text.bytes().all(|byte| ALPHABET.contains(&byte))
    }
}

/// One call, ordered by time: 48 bits of milliseconds, then 80 random bits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(u128);

impl CallId {
    /// Mints the id of a call that starts at `now`.
    pub fn mint(now: crate::time::Timestamp, entropy: [u8; 10]) -> CallId {
        let mut random = [0u8; 16];
        random[6..].copy_from_slice(&entropy);
        let time = (now.ms().max(0) as u128 & 0xffff_ffff_ffff) << 80;
        CallId(time | u128::from_be_bytes(random))
    }

    /// Reads the form that [`fmt::Display`] writes.
    pub fn parse(text: &str) -> Option<CallId> {
        let hex = text.strip_prefix("call_").filter(|hex| hex.len() == 32)?;
        u128::from_str_radix(hex, 16).ok().map(CallId)
    }

    /// The sixteen bytes of the id, in the order of time.
    pub fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }

    /// Reads what [`CallId::to_bytes`] gives.
    pub fn from_bytes(bytes: [u8; 16]) -> CallId {
        CallId(u128::from_be_bytes(bytes))
    }
}

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "call_{:032x}", self.0)
    }
}

impl fmt::Debug for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl Serialize for CallId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for CallId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<CallId, D::Error> {
        let text = String::deserialize(deserializer)?;
        CallId::parse(&text).ok_or_else(|| serde::de::Error::custom("not a call id"))
    }
}

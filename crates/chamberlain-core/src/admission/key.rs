//! Virtual keys: what Chamberlain hands out instead of real ones.
//!
//! The form is `chm_<public id>_<secret>`: the public id (sixteen characters) finds the key, the
//! secret (43 characters) proves possession. Only the SHA-256 of the secret is kept; a plain hash is
//! enough for a secret that cannot be guessed. Its first 37 characters are random, 222 bits; the
//! last six are a checksum of all before them, so that a scanner knows a key from what only looks
//! like one. Whether a key opens is decided by the hash alone.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::policy::Policy;
use crate::id::{EnvironmentName, VirtualKeyId};
use crate::secret::Secret;
use crate::snapshot::{Budgets, Limits, Pause};
use crate::time::Timestamp;

/// What every virtual key begins with.
pub const PREFIX: &str = "chm_";

const SECRET_ALPHABET: &[u8; 64] =
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// How many characters of a secret are random.
const SECRET_RANDOM: usize = 37;

/// A virtual key's state.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyState {
    /// In use.
    Active,
    /// Stopped, reversibly.
    Frozen,
    /// Stopped for good.
    Revoked,
}

/// A virtual key as the gateway knows it. Carries no money and no secret.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct VirtualKey {
    /// The public id.
    pub id: VirtualKeyId,
    /// A name for people.
    pub name: String,
    /// The environment it belongs to; it is refused in every other.
    pub environment: EnvironmentName,
    /// SHA-256 of the secret.
    pub secret_hash: [u8; 32],
    /// What it may do, on top of the environment's policy.
    pub policy: Policy,
    /// Its own budgets.
    pub budgets: Budgets,
    /// Its own limits; where one is set, it counts alone and the environment's does not.
    pub limits: Limits,
    /// The operation every call is for, when the key is bound to one.
    pub operation: Option<String>,
    /// After this moment it is refused.
    pub expires_at: Option<Timestamp>,
    /// Its state.
    pub state: KeyState,
    /// Set while it is paused.
    pub pause: Option<Pause>,
    /// Test-mode keys are answered by the mock and never reach upstream.
    pub test_mode: bool,
    /// When it was made.
    pub created_at: Timestamp,
}

/// What a client presents, taken apart.
#[derive(Debug)]
pub struct PresentedKey {
    /// The public id.
    pub id: VirtualKeyId,
    /// SHA-256 of the secret.
    pub secret_hash: [u8; 32],
}

impl PresentedKey {
    /// Takes a credential apart; `None` when it does not have the form of a virtual key.
    pub fn parse(text: &str) -> Option<PresentedKey> {
        let (id, secret) = text.strip_prefix(PREFIX)?.split_once('_')?;
        let well_formed = VirtualKeyId::is_well_formed(id)
            && secret.len() == 43
            && secret
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
        well_formed.then(|| PresentedKey { id: VirtualKeyId::new(id), secret_hash: hash(secret) })
    }

    /// Whether this is `key`'s secret. Takes the same time whatever differs.
    pub fn opens(&self, key: &VirtualKey) -> bool {
        self.secret_hash.ct_eq(&key.secret_hash).into()
    }
}

/// A freshly made virtual key: the public id, the whole text (shown once) and the hash to keep.
#[derive(Debug)]
pub struct MintedKey {
    /// The public id.
    pub id: VirtualKeyId,
    /// `chm_<public id>_<secret>`.
    pub text: Secret,
    /// SHA-256 of the secret.
    pub secret_hash: [u8; 32],
}

/// Makes a virtual key from random bytes. The last six of `secret` are not needed: the checksum
/// stands in their place.
pub fn mint(id: [u8; 16], secret: [u8; 43]) -> MintedKey {
    let id = VirtualKeyId::mint(id);
    let digit = |value: u8| char::from(SECRET_ALPHABET[usize::from(value & 63)]);
    let mut text = format!("{PREFIX}{id}_");
    let start = text.len();
    text.extend(secret[..SECRET_RANDOM].iter().map(|byte| digit(*byte)));
    let sum = crc32(text.as_bytes());
    text.extend([30, 24, 18, 12, 6, 0].map(|shift| digit((sum >> shift) as u8)));
    let secret_hash = hash(&text[start..]);
    MintedKey { text: Secret::new(text), id, secret_hash }
}

/// CRC-32 as in zip and Ethernet, a bit at a time: a key is made once.
fn crc32(bytes: &[u8]) -> u32 {
    let bit = |sum: u32, _| if sum & 1 == 1 { (sum >> 1) ^ 0xedb8_8320 } else { sum >> 1 };
    !bytes.iter().fold(!0, |sum, byte| (0..8).fold(sum ^ u32::from(*byte), bit))
}

fn hash(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minted_key_is_read_back() {
        let minted = mint([7; 16], [200; 43]);
        let presented = PresentedKey::parse(minted.text.expose()).unwrap();
        assert_eq!(presented.id, minted.id);
        assert_eq!(presented.secret_hash, minted.secret_hash);
    }

    #[test]
    fn a_minted_key_ends_with_its_checksum() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        let minted = mint([7; 16], [200; 43]);
        let (start, check) = minted.text.expose().split_at(58);
        let digits = check.bytes().map(|digit| SECRET_ALPHABET.iter().position(|d| *d == digit));
        let sum = digits.fold(0, |sum, digit| sum << 6 | digit.unwrap() as u64);
        assert_eq!(sum, u64::from(crc32(start.as_bytes())));
    }

    #[test]
    fn other_forms_are_not_virtual_keys() {
        let good = mint([7; 16], [200; 43]);
        let good = good.text.expose();
        for bad in
            ["", "chm_", "chm_a_b", &good[1..], &good[..good.len() - 1], &good.to_uppercase()]
        {
            assert!(PresentedKey::parse(bad).is_none(), "{bad:?} was taken");
        }
    }
}

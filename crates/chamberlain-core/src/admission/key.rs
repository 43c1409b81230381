//! Virtual keys: what Chamberlain hands out instead of real ones.
//!
//! The form is `chm_<public id>_<secret>`: the public id (sixteen characters) finds the key, the
//! secret (43 characters, 256 bits) proves possession. Only the SHA-256 of the secret is kept; a
//! plain hash is enough for a secret that cannot be guessed.

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

/// Makes a virtual key from random bytes.
pub fn mint(id: [u8; 16], secret: [u8; 43]) -> MintedKey {
    let id = VirtualKeyId::mint(id);
    let secret: String =
        secret.iter().map(|byte| char::from(SECRET_ALPHABET[usize::from(byte & 63)])).collect();
    let secret_hash = hash(&secret);
    MintedKey { text: Secret::new(format!("{PREFIX}{id}_{secret}")), id, secret_hash }
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

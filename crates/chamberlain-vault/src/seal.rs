//! Sealed data: safe to store, to copy and to lose.
//!
//! ```text
//! "CHS" | version 1 | algorithm 1 | root id (8)
//!       | nonce (24) | data key, encrypted with the wrapping key (32 + 16)
//!       | nonce (24) | secret, encrypted with the data key (n + 16)
//! ```
//!
//! Algorithm 1 is XChaCha20-Poly1305 for both. Both are bound to what the secret is for and which
//! record it is (the associated data), so that sealed data moved to another record does not open.
//! A new master key means wrapping each data key anew (rewrapping); the secret itself stays as it is.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use chamberlain_core::time::Entropy;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

use crate::derive::{Key, derive, hex};

const MAGIC: [u8; 5] = *b"CHS\x01\x01";
const ROOT_ID: usize = 8;
const NONCE: usize = 24;
const TAG: usize = 16;
const WRAPPED: usize = NONCE + 32 + TAG;
const HEAD: usize = MAGIC.len() + ROOT_ID;
const BODY: usize = HEAD + WRAPPED;

/// What a secret is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purpose {
    /// A real Anthropic key.
    UpstreamKey,
    /// The seed of the key that signs audit checkpoints.
    AuditSeed,
    /// The key under which fingerprints are made.
    FingerprintKey,
    /// The root key of before, while data keys are wrapped anew.
    PreviousRoot,
    /// A credential for anything but calls, such as the key of the Admin API.
    Credential,
}

impl Purpose {
    /// Part of the associated data: never to be changed.
    const fn name(self) -> &'static str {
        match self {
            Purpose::UpstreamKey => "upstream key",
            Purpose::AuditSeed => "audit seed",
            Purpose::FingerprintKey => "fingerprint key",
            Purpose::PreviousRoot => "previous root",
            Purpose::Credential => "credential",
        }
    }
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Which secret: what it is for, and the id of its record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place<'a> {
    /// What for.
    pub purpose: Purpose,
    /// Which record.
    pub id: &'a str,
}

impl Place<'_> {
    /// What the encryption of `part` is bound to. Lengths go first, so no two places look alike.
    fn associated_data(&self, part: &str) -> Vec<u8> {
        let mut data = Vec::new();
        data.extend_from_slice(&MAGIC);
        for text in [part, self.purpose.name(), self.id] {
            data.extend_from_slice(&(text.len() as u64).to_be_bytes());
            data.extend_from_slice(text.as_bytes());
        }
        data
    }
}

/// Why sealed data does not open.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SealError {
    /// Too short, or not sealed data at all.
    #[error("this is not sealed data, or it was cut short")]
    Form,
    /// Sealed by a later version.
    #[error(
        "sealed in format {version} with algorithm {algorithm}, which this version of Chamberlain cannot read; use a newer one"
    )]
    Unsupported {
        /// The format version.
        version: u8,
        /// The algorithm.
        algorithm: u8,
    },
    /// Sealed under a master key that is not at hand.
    #[error(
        "sealed under another master key (root {root_id}) than the one given; give that one, or restore the data that belongs to this one"
    )]
    OtherRoot {
        /// The root id, hexadecimal.
        root_id: String,
    },
    /// Changed, or the sealed data of another record.
    #[error(
        "the sealed {purpose} of {id:?} is damaged, or is that of another record; restore it from a backup"
    )]
    Damaged {
        /// What it is for.
        purpose: Purpose,
        /// Which record.
        id: String,
    },
}

/// Sealed data.
#[derive(Clone, PartialEq, Eq)]
pub struct Sealed(Vec<u8>);

impl Sealed {
    /// The bytes to be stored.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Takes stored bytes.
    ///
    /// # Errors
    /// When they do not have the form; whether they open is another question.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Sealed, SealError> {
        if bytes.len() < BODY + NONCE + TAG || bytes[..3] != MAGIC[..3] {
            return Err(SealError::Form);
        }
        if bytes[..5] != MAGIC {
            return Err(SealError::Unsupported { version: bytes[3], algorithm: bytes[4] });
        }
        Ok(Sealed(bytes))
    }

    fn root_id(&self) -> &[u8] {
        &self.0[MAGIC.len()..HEAD]
    }

    fn wrapped(&self) -> &[u8] {
        &self.0[HEAD..BODY]
    }

    fn body(&self) -> &[u8] {
        &self.0[BODY..]
    }
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[sealed under {}]", hex(self.root_id()))
    }
}

impl Serialize for Sealed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Sealed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Sealed, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = BASE64.decode(text).map_err(|_| serde::de::Error::custom(SealError::Form))?;
        Sealed::from_bytes(bytes).map_err(serde::de::Error::custom)
    }
}

/// The keys that come of one master key.
pub(crate) struct Root {
    key: Key,
    wrapping: Key,
    id: [u8; ROOT_ID],
}

impl Root {
    pub(crate) fn new(key: Key) -> Root {
        let wrapping = derive(&key, "chamberlain vault: wrapping data keys", b"");
        let digest = derive(&key, "chamberlain vault: root id", b"");
        let mut id = [0; ROOT_ID];
        id.copy_from_slice(&digest[..ROOT_ID]);
        Root { key, wrapping, id }
    }

    /// The bytes of the key itself, for sealing it under its successor.
    pub(crate) fn expose(&self) -> &[u8; 32] {
        &self.key
    }

    /// What tells this root key from any other, for the vault `id`.
    pub(crate) fn check(&self, id: &str) -> Key {
        derive(&self.key, "chamberlain vault: check", id.as_bytes())
    }

    pub(crate) fn sealed(&self, sealed: &Sealed) -> bool {
        self.id == sealed.root_id()
    }
}

impl fmt::Debug for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[root {}]", hex(&self.id))
    }
}

/// Seals `secret` at its place.
pub(crate) fn seal(root: &Root, place: Place<'_>, secret: &[u8], entropy: &dyn Entropy) -> Sealed {
    let mut data_key = Key::default();
    entropy.fill(&mut data_key[..]);
    let mut bytes = Vec::with_capacity(BODY + NONCE + secret.len() + TAG);
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&root.id);
    bytes.extend_from_slice(&wrap(root, place, &data_key, entropy));
    let data = place.associated_data("secret");
    bytes.extend_from_slice(&encrypt(&data_key, secret, &data, entropy));
    Sealed(bytes)
}

/// Opens what was sealed at `place` under `root`.
pub(crate) fn open(
    root: &Root,
    place: Place<'_>,
    sealed: &Sealed,
) -> Result<Zeroizing<Vec<u8>>, SealError> {
    let data_key = unwrap(root, place, sealed)?;
    decrypt(&data_key, sealed.body(), &place.associated_data("secret"))
        .ok_or_else(|| damaged(place))
}

/// The same secret under a new root: its data key is wrapped anew, and the secret checked.
pub(crate) fn rewrap(
    from: &Root,
    to: &Root,
    place: Place<'_>,
    sealed: &Sealed,
    entropy: &dyn Entropy,
) -> Result<Sealed, SealError> {
    let data_key = unwrap(from, place, sealed)?;
    let data = place.associated_data("secret");
    decrypt(&data_key, sealed.body(), &data).ok_or_else(|| damaged(place))?;
    let wrapped = wrap(to, place, &data_key, entropy);
    Ok(Sealed([&MAGIC[..], &to.id, &wrapped, sealed.body()].concat()))
}

fn wrap(root: &Root, place: Place<'_>, data_key: &Key, entropy: &dyn Entropy) -> Vec<u8> {
    encrypt(&root.wrapping, &data_key[..], &place.associated_data("data key"), entropy)
}

fn unwrap(root: &Root, place: Place<'_>, sealed: &Sealed) -> Result<Key, SealError> {
    if !root.sealed(sealed) {
        return Err(SealError::OtherRoot { root_id: hex(sealed.root_id()) });
    }
    let opened = decrypt(&root.wrapping, sealed.wrapped(), &place.associated_data("data key"));
    let opened = opened.filter(|key| key.len() == 32).ok_or_else(|| damaged(place))?;
    let mut key = Key::default();
    key.copy_from_slice(&opened);
    Ok(key)
}

/// A fresh nonce, then the encrypted text with its tag.
fn encrypt(key: &Key, text: &[u8], data: &[u8], entropy: &dyn Entropy) -> Vec<u8> {
    let mut nonce = [0; NONCE];
    entropy.fill(&mut nonce);
    let cipher = XChaCha20Poly1305::new((&**key).into());
    let encrypted = cipher
        .encrypt(&XNonce::from(nonce), Payload { msg: text, aad: data })
        .expect("a text that fits in memory is not too long for the cipher");
    [&nonce[..], &encrypted].concat()
}

fn decrypt(key: &Key, bytes: &[u8], data: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (nonce, encrypted) = bytes.split_first_chunk::<NONCE>()?;
    let cipher = XChaCha20Poly1305::new((&**key).into());
    cipher
        .decrypt(&XNonce::from(*nonce), Payload { msg: encrypted, aad: data })
        .ok()
        .map(Zeroizing::new)
}

fn damaged(place: Place<'_>) -> SealError {
    SealError::Damaged { purpose: place.purpose, id: place.id.to_owned() }
}

#[cfg(test)]
mod tests;

//! The manifest: what is in a backup, signed with the key that signs the audit log's heads.
//!
//! It stands first in the backup, so that everything after it is held against it. Encryption to a
//! recipient says nothing of who encrypted; the signature does. A manifest with a field that is not
//! known here is refused, for nobody could say what it promises.

use serde::{Deserialize, Serialize};

use crate::audit::note::{self, NoteError, VerifierKey};

/// The format of this version.
pub const FORMAT: u32 = 1;

/// The store's name inside a backup.
pub const STORE: &str = "chamberlain.db";

/// The manifest's name inside a backup.
pub const MANIFEST: &str = "manifest.note";

/// What is in a backup.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The format of manifest and archive.
    pub format: u32,
    /// When the backup was begun, RFC 3339 in UTC. Everything promised before is in it.
    pub made_at: String,
    /// The version of Chamberlain that made it.
    pub made_by: String,
    /// The id of the vault whose master key opens what is sealed in it.
    pub vault: String,
    /// The number of the published view when it was made; 0 without a running server.
    pub generation: u64,
    /// The last step of the store's schema.
    pub schema: u32,
    /// The store.
    pub store: FileFacts,
    /// The audit log in it.
    pub audit: LogFacts,
    /// How much is in it, for telling whether all of it came back.
    pub counts: Counts,
}

/// A file in a backup.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileFacts {
    /// Its name in the archive.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// Its SHA-256, hexadecimal.
    pub sha256: String,
}

/// The audit log in a backup.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogFacts {
    /// How many records; the last has the number before.
    pub records: u64,
    /// The root over them, hexadecimal.
    pub root: String,
    /// The last signed head in it, a note; `None` when none was signed yet.
    pub checkpoint: Option<String>,
}

/// How many rows of what people count.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counts {
    /// Upstream keys, removed ones included.
    pub upstream_keys: u64,
    /// Virtual keys, revoked ones included.
    pub virtual_keys: u64,
    /// Single calls.
    pub calls: u64,
    /// Balances of budgets.
    pub balances: u64,
}

/// Why a manifest is not believed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ManifestError {
    /// Not text, or not of the form.
    #[error("the manifest cannot be read: {0}")]
    Unreadable(String),
    /// Of a format that this version does not know.
    #[error("the backup is of format {0}, this version knows format {FORMAT}; use a newer one")]
    Format(u32),
    /// Signed by nobody who is trusted, or forged.
    #[error("the manifest is not believed: {0}")]
    Signature(#[from] NoteError),
}

impl Manifest {
    /// The manifest as it is stored: JSON in a signed note. `sign` makes an Ed25519 signature with
    /// the private half of `key`.
    ///
    /// # Errors
    /// When the key is not the one that signs.
    pub fn sign(
        &self,
        key: &VerifierKey,
        sign: impl FnOnce(&[u8]) -> [u8; 64],
    ) -> Result<String, ManifestError> {
        let text = serde_json::to_string_pretty(self)
            .map_err(|error| ManifestError::Unreadable(error.to_string()))?;
        Ok(note::sign(&format!("{text}\n"), key, sign)?)
    }

    /// Reads a manifest that `key` signed.
    ///
    /// # Errors
    /// When somebody else signed it, it was changed, or it is of another form.
    pub fn open(signed: &str, key: &VerifierKey) -> Result<Manifest, ManifestError> {
        let opened = note::open(signed, std::slice::from_ref(key))?;
        Manifest::read(opened.text)
    }

    /// What a manifest claims, whoever signed it: for finding out whose it is, never for believing.
    ///
    /// # Errors
    /// When it is of another form.
    pub fn unverified(signed: &str) -> Result<Manifest, ManifestError> {
        let text = note::unverified_text(signed)
            .ok_or_else(|| ManifestError::Unreadable("it is no signed note".to_owned()))?;
        Manifest::read(text)
    }

    fn read(text: &str) -> Result<Manifest, ManifestError> {
        /// Read first, so that a newer format is named and not its first unknown field.
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        let unreadable = |error: serde_json::Error| ManifestError::Unreadable(error.to_string());
        let Format { format } = serde_json::from_str(text).map_err(unreadable)?;
        if format != FORMAT {
            return Err(ManifestError::Format(format));
        }
        serde_json::from_str(text).map_err(unreadable)
    }
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::{Signer, SigningKey};

    use super::*;

    fn pair(byte: u8) -> (VerifierKey, SigningKey) {
        let private = SigningKey::from_bytes(&[byte; 32]);
        let public = private.verifying_key().to_bytes();
        (VerifierKey::new("chamberlain/x", &public).unwrap(), private)
    }

    fn manifest() -> Manifest {
        Manifest {
            format: FORMAT,
            made_at: "2026-11-24T02:30:00.000Z".into(),
            made_by: "0.1.0".into(),
            vault: "00ff".into(),
            generation: 7,
            schema: 6,
            store: FileFacts { name: STORE.into(), bytes: 4096, sha256: "ab".repeat(32) },
            audit: LogFacts { records: 12, root: "cd".repeat(32), checkpoint: None },
            counts: Counts { upstream_keys: 1, virtual_keys: 2, calls: 3, balances: 4 },
        }
    }

    #[test]
    fn what_was_signed_is_read_and_nothing_else() {
        let (key, private) = pair(1);
        let (other, _) = pair(2);
        let signed = manifest().sign(&key, |text| private.sign(text).to_bytes()).unwrap();
        assert_eq!(Manifest::open(&signed, &key), Ok(manifest()));
        assert!(matches!(Manifest::open(&signed, &other), Err(ManifestError::Signature(_))));
        assert_eq!(Manifest::unverified(&signed), Ok(manifest()));
        for place in 0..signed.len() {
            let mut bytes = signed.clone().into_bytes();
            bytes[place] ^= 1;
            if let Ok(changed) = String::from_utf8(bytes) {
                assert!(Manifest::open(&changed, &key).is_err(), "byte {place}");
            }
            if signed.is_char_boundary(place) {
                assert!(Manifest::open(&signed[..place], &key).is_err(), "cut at {place}");
            }
        }
    }

    #[test]
    fn a_newer_format_is_named() {
        let (key, private) = pair(1);
        let newer = format!("{{\"format\": 2, \"{}\": 1}}\n", "something_new");
        let signed = note::sign(&newer, &key, |text| private.sign(text).to_bytes()).unwrap();
        assert_eq!(Manifest::open(&signed, &key), Err(ManifestError::Format(2)));
    }

    #[test]
    fn an_unknown_field_is_refused() {
        let (key, private) = pair(1);
        let text = serde_json::to_string(&manifest()).unwrap();
        let more = format!("{},\"more\":1}}\n", text.strip_suffix('}').unwrap());
        let signed = note::sign(&more, &key, |text| private.sign(text).to_bytes()).unwrap();
        assert!(matches!(Manifest::open(&signed, &key), Err(ManifestError::Unreadable(_))));
    }
}

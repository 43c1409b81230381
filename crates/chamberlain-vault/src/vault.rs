//! The vault: the master key's root, the two secrets of its own, and what can be done with them.
//!
//! The [`VaultHeader`] is stored in the clear. It says how the root key comes of a passphrase, lets
//! a wrong master key be told from damage, and holds the vault's own secrets, sealed: the seed that
//! signs audit checkpoints, and the key under which fingerprints are made. These stay the same when
//! the master key changes, or old records could no longer be compared and verified.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use chamberlain_core::id::UpstreamKeyId;
use chamberlain_core::time::Entropy;
use ed25519_dalek::{Signer, SigningKey};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::admin_key::AdminKey;
use crate::derive::{Key, derive, hex};
use crate::keyring::{Fingerprint, UpstreamSecret};
use crate::master::{Master, MasterError, Stretch};
use crate::seal::{self, Place, Purpose, Root, SealError, Sealed};
use crate::upstream_key::{UpstreamKey, hint};

const VERSION: u32 = 1;

/// What is stored of a vault.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct VaultHeader {
    version: u32,
    /// The vault's own id, thirty-two hexadecimal digits.
    id: String,
    /// How the passphrase becomes the root key; `None` where the master key is one already.
    stretch: Option<Stretch>,
    /// Tells the right root key from others, base64.
    check: String,
    fingerprint_key: Sealed,
    audit_seed: Sealed,
    /// The root key of before, while data keys are wrapped anew.
    previous_root: Option<Sealed>,
    /// Over all of the above: tells damage from a wrong master key.
    checksum: String,
}

impl VaultHeader {
    /// The vault's id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Whether a passphrase opens it, and not a key.
    pub fn wants_passphrase(&self) -> bool {
        self.stretch.is_some()
    }

    /// Whether a change of the master key was begun and not finished.
    pub fn is_rewrapping(&self) -> bool {
        self.previous_root.is_some()
    }

    fn with_checksum(mut self) -> VaultHeader {
        self.checksum = self.checksum_of();
        self
    }

    fn checksum_of(&self) -> String {
        let mut hasher = Sha256::new();
        let mut part = |bytes: &[u8]| {
            hasher.update((bytes.len() as u64).to_be_bytes());
            hasher.update(bytes);
        };
        part(&self.version.to_be_bytes());
        part(self.id.as_bytes());
        match &self.stretch {
            None => part(b""),
            Some(Stretch { salt, memory_kib, passes, lanes }) => {
                part(format!("{salt} {memory_kib} {passes} {lanes}").as_bytes());
            }
        }
        part(self.check.as_bytes());
        part(self.fingerprint_key.as_bytes());
        part(self.audit_seed.as_bytes());
        part(self.previous_root.as_ref().map_or(b"", Sealed::as_bytes));
        let digest: [u8; 32] = hasher.finalize().into();
        hex(&digest[..8])
    }
}

/// Why a vault does not open, or a secret in it.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// Made by a later version.
    #[error(
        "the vault is of version {0}, which this version of Chamberlain cannot read; use a newer one"
    )]
    Unsupported(u32),
    /// The header was changed since it was written.
    #[error(
        "the vault's header is damaged; restore the data folder from a backup (your master key may well be right)"
    )]
    Damaged,
    /// A key was given to a vault that wants a passphrase.
    #[error("this vault opens with a passphrase, and a master key was given; give the passphrase")]
    WantsPassphrase,
    /// A passphrase was given to a vault that wants a key.
    #[error(
        "this vault opens with a master key, and a passphrase was given; give the master key (its file, usually)"
    )]
    WantsKey,
    /// Another master key.
    #[error(
        "this is not the master key of vault {vault}. Give the one that was made with this data \
         folder, from its file or your backup. Without it the keys in the vault cannot be read by \
         anybody: begin with a new data folder and add the upstream keys again"
    )]
    WrongKey {
        /// The vault's id, shortened.
        vault: String,
    },
    /// Another passphrase.
    #[error(
        "this is not the passphrase of vault {vault}. Mind the keyboard layout and capital letters, and try again"
    )]
    WrongPassphrase {
        /// The vault's id, shortened.
        vault: String,
    },
    /// A change of the master key was begun before and is not finished.
    #[error("a change of the master key is already under way; let it finish first")]
    RewrappingUnderWay,
    /// The master key could not be got.
    #[error(transparent)]
    Master(#[from] MasterError),
    /// Something sealed does not open.
    #[error(transparent)]
    Seal(#[from] SealError),
}

/// An open vault. Everything in it is wiped when it is dropped.
pub struct Vault {
    id: String,
    root: Root,
    previous: Option<Root>,
    fingerprint_key: Key,
    audit_key: SigningKey,
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[vault {}]", shortened(&self.id))
    }
}

impl Vault {
    /// Makes a new vault that `master` opens, and the header to be stored.
    ///
    /// # Errors
    /// When a passphrase cannot be turned into a key (no memory).
    pub fn create(
        master: &Master,
        entropy: &dyn Entropy,
    ) -> Result<(Vault, VaultHeader), VaultError> {
        let mut id = [0; 16];
        entropy.fill(&mut id);
        let mut fingerprint_key = Key::default();
        entropy.fill(&mut fingerprint_key[..]);
        let mut seed = Key::default();
        entropy.fill(&mut seed[..]);
        let (root, stretch) = new_root(master, entropy)?;
        let vault = Vault {
            id: hex(&id),
            root,
            previous: None,
            fingerprint_key,
            audit_key: SigningKey::from_bytes(&seed),
        };
        let header = vault.header(stretch, entropy);
        Ok((vault, header))
    }

    /// Opens a vault.
    ///
    /// # Errors
    /// When the master key is not its own, or the header is damaged; the two are told apart.
    pub fn open(master: &Master, header: &VaultHeader) -> Result<Vault, VaultError> {
        if header.version != VERSION {
            return Err(VaultError::Unsupported(header.version));
        }
        if header.checksum != header.checksum_of() {
            return Err(VaultError::Damaged);
        }
        let root = match master.root(header.stretch.as_ref()) {
            Some(key) => Root::new(key?),
            None if header.wants_passphrase() => return Err(VaultError::WantsPassphrase),
            None => return Err(VaultError::WantsKey),
        };
        if header.check != check_of(&root, &header.id) {
            let vault = shortened(&header.id);
            return Err(match header.wants_passphrase() {
                true => VaultError::WrongPassphrase { vault },
                false => VaultError::WrongKey { vault },
            });
        }
        let own = |purpose, sealed| open_key(&root, Place { purpose, id: &header.id }, sealed);
        let fingerprint_key = own(Purpose::FingerprintKey, &header.fingerprint_key)?;
        let audit_key = SigningKey::from_bytes(&*own(Purpose::AuditSeed, &header.audit_seed)?);
        let previous = header.previous_root.as_ref();
        let previous = previous.map(|sealed| own(Purpose::PreviousRoot, sealed)).transpose()?;
        let (id, previous) = (header.id.clone(), previous.map(Root::new));
        Ok(Vault { id, root, previous, fingerprint_key, audit_key })
    }

    /// The vault's id, as its header has it.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Seals an upstream key for storage under `id`.
    pub fn seal_upstream_key(
        &self,
        id: &UpstreamKeyId,
        key: &UpstreamKey,
        entropy: &dyn Entropy,
    ) -> Sealed {
        seal::seal(&self.root, upstream(id), key.expose().as_bytes(), entropy)
    }

    /// Opens the upstream key stored under `id`, for the keyring.
    ///
    /// # Errors
    /// When it was sealed under another master key, for another id, or was damaged.
    pub fn open_upstream_key(
        &self,
        id: &UpstreamKeyId,
        sealed: &Sealed,
    ) -> Result<UpstreamSecret, VaultError> {
        let place = upstream(id);
        let header = seal::open(self.root_of(sealed), place, sealed)?;
        let damaged = || SealError::Damaged { purpose: place.purpose, id: place.id.to_owned() };
        let key = std::str::from_utf8(&header).map_err(|_| damaged())?;
        let (fingerprint, hint) = (self.fingerprint_of(key), hint(key));
        Ok(UpstreamSecret::new(header, fingerprint, hint))
    }

    /// What stands for a key in records, the same for the same key: two fingerprints that agree are
    /// one key handed in twice.
    pub fn fingerprint(&self, key: &UpstreamKey) -> Fingerprint {
        self.fingerprint_of(key.expose())
    }

    /// Seals the Admin API's key for its one place.
    pub fn seal_admin_key(&self, key: &AdminKey, entropy: &dyn Entropy) -> Sealed {
        seal::seal(&self.root, ADMIN, key.expose().as_bytes(), entropy)
    }

    /// Opens the Admin API's key.
    ///
    /// # Errors
    /// When it was changed, is something else's, or sealed under another master key.
    pub fn open_admin_key(&self, sealed: &Sealed) -> Result<UpstreamSecret, VaultError> {
        let header = seal::open(self.root_of(sealed), ADMIN, sealed)?;
        let damaged = || SealError::Damaged { purpose: ADMIN.purpose, id: ADMIN.id.to_owned() };
        let key = std::str::from_utf8(&header).map_err(|_| damaged())?;
        let (fingerprint, hint) = (self.fingerprint_of(key), hint(key));
        Ok(UpstreamSecret::new(header, fingerprint, hint))
    }

    /// The fingerprint of the Admin API's key.
    pub fn admin_fingerprint(&self, key: &AdminKey) -> Fingerprint {
        self.fingerprint_of(key.expose())
    }

    /// Wraps the sealed Admin API's key anew; `None` when it is under the present root already.
    ///
    /// # Errors
    /// When it does not open.
    pub fn rewrap_admin_key(
        &self,
        sealed: &Sealed,
        entropy: &dyn Entropy,
    ) -> Result<Option<Sealed>, VaultError> {
        if self.root.sealed(sealed) {
            return Ok(None);
        }
        Ok(Some(seal::rewrap(self.root_of(sealed), &self.root, ADMIN, sealed, entropy)?))
    }

    /// The fingerprint of a key as it stands in a header; `None` when that is no text.
    pub fn fingerprint_of_header(&self, value: &[u8]) -> Option<Fingerprint> {
        std::str::from_utf8(value).ok().map(|key| self.fingerprint_of(key))
    }

    fn fingerprint_of(&self, key: &str) -> Fingerprint {
        let digest = derive(&self.fingerprint_key, "chamberlain: upstream key", key.as_bytes());
        Fingerprint(hex(&digest[..8]))
    }

    /// The public key that audit checkpoints verify under.
    pub fn audit_public_key(&self) -> [u8; 32] {
        self.audit_key.verifying_key().to_bytes()
    }

    /// Signs the text of an audit checkpoint (Ed25519).
    pub fn sign(&self, text: &[u8]) -> [u8; 64] {
        self.audit_key.sign(text).to_bytes()
    }

    /// Begins a change of the master key. From now on `master` opens the vault: store the header
    /// before anything else. The old root stays with it, sealed under the new one, until all that
    /// was sealed is [rewrapped](Vault::rewrap_upstream_key) and the change is
    /// [finished](Vault::finish_rewrapping), so that a crash in between loses nothing.
    ///
    /// Should the header not be stored, drop the vault and open it again.
    ///
    /// # Errors
    /// When a change is already under way, or a passphrase cannot be turned into a key; the vault
    /// is then as it was.
    pub fn begin_rewrapping(
        &mut self,
        master: &Master,
        entropy: &dyn Entropy,
    ) -> Result<VaultHeader, VaultError> {
        if self.previous.is_some() {
            return Err(VaultError::RewrappingUnderWay);
        }
        let (root, stretch) = new_root(master, entropy)?;
        self.previous = Some(std::mem::replace(&mut self.root, root));
        Ok(self.header(stretch, entropy))
    }

    /// The same upstream key sealed under the present master key; `None` when it is already. Any
    /// number of times, in any order, with any pause.
    ///
    /// # Errors
    /// As [`Vault::open_upstream_key`]; what does not open is not touched.
    pub fn rewrap_upstream_key(
        &self,
        id: &UpstreamKeyId,
        sealed: &Sealed,
        entropy: &dyn Entropy,
    ) -> Result<Option<Sealed>, VaultError> {
        if self.root.sealed(sealed) {
            return Ok(None);
        }
        let from = self.root_of(sealed);
        Ok(Some(seal::rewrap(from, &self.root, upstream(id), sealed, entropy)?))
    }

    /// Ends a change of the master key: the old root is forgotten. Only when everything sealed has
    /// been rewrapped and stored; what was not can never be opened again.
    pub fn finish_rewrapping(&mut self, header: &VaultHeader) -> VaultHeader {
        self.previous = None;
        VaultHeader { previous_root: None, ..header.clone() }.with_checksum()
    }

    fn root_of(&self, sealed: &Sealed) -> &Root {
        self.previous.as_ref().filter(|previous| previous.sealed(sealed)).unwrap_or(&self.root)
    }

    fn header(&self, stretch: Option<Stretch>, entropy: &dyn Entropy) -> VaultHeader {
        let own = |purpose, secret: &[u8; 32]| {
            seal::seal(&self.root, Place { purpose, id: &self.id }, secret, entropy)
        };
        let previous = self.previous.as_ref();
        VaultHeader {
            version: VERSION,
            id: self.id.clone(),
            stretch,
            check: check_of(&self.root, &self.id),
            fingerprint_key: own(Purpose::FingerprintKey, &self.fingerprint_key),
            audit_seed: own(Purpose::AuditSeed, self.audit_key.as_bytes()),
            previous_root: previous.map(|root| own(Purpose::PreviousRoot, root.expose())),
            checksum: String::new(),
        }
        .with_checksum()
    }
}

fn new_root(master: &Master, entropy: &dyn Entropy) -> Result<(Root, Option<Stretch>), VaultError> {
    let stretch = master.new_stretch(entropy);
    let key = master.root(stretch.as_ref()).expect("settings just made for this master key");
    Ok((Root::new(key?), stretch))
}

fn open_key(root: &Root, place: Place<'_>, sealed: &Sealed) -> Result<Key, SealError> {
    let opened = seal::open(root, place, sealed)?;
    let key = <[u8; 32]>::try_from(&opened[..]).map(Zeroizing::new);
    key.map_err(|_| SealError::Damaged { purpose: place.purpose, id: place.id.to_owned() })
}

/// Where the Admin API's key is sealed for; there is one.
const ADMIN: Place<'_> = Place { purpose: Purpose::Credential, id: "admin" };

fn upstream(id: &UpstreamKeyId) -> Place<'_> {
    Place { purpose: Purpose::UpstreamKey, id: id.as_str() }
}

fn check_of(root: &Root, id: &str) -> String {
    BASE64.encode(&root.check(id)[..16])
}

fn shortened(id: &str) -> String {
    id.chars().take(8).collect()
}

#[cfg(test)]
mod tests;

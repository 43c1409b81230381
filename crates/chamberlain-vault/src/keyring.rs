//! Opened upstream keys, ready for the hot path.
//!
//! A key is decrypted once, when it is put on the ring; a call takes an [`Arc`] under a read lock
//! held for a look-up. Nothing here prints, clones or serializes a secret.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use chamberlain_core::id::UpstreamKeyId;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// What stands for a key where the key must not be seen: sixteen hexadecimal digits that are the
/// same for the same key in one vault, and tell nothing about it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fingerprint(pub(crate) String);

impl Fingerprint {
    /// Takes a stored fingerprint.
    pub fn from_stored(text: impl Into<String>) -> Fingerprint {
        Fingerprint(text.into())
    }

    /// The sixteen digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// An opened upstream key. It can do one thing: become a header of an upstream request. It is
/// overwritten with zeros when the last holder lets it go, so hold it no longer than that takes.
pub struct UpstreamSecret {
    header: Zeroizing<Vec<u8>>,
    fingerprint: Fingerprint,
    hint: String,
}

impl UpstreamSecret {
    pub(crate) fn new(
        header: Zeroizing<Vec<u8>>,
        fingerprint: Fingerprint,
        hint: String,
    ) -> UpstreamSecret {
        UpstreamSecret { header, fingerprint, hint }
    }

    /// The value of the `x-api-key` header. Mark the header as sensitive; its copy is not wiped.
    pub fn expose_header_value(&self) -> &[u8] {
        &self.header
    }

    /// Which key this is.
    pub fn fingerprint(&self) -> &Fingerprint {
        &self.fingerprint
    }

    /// What people know it by, `sk-ant-api03-R2D...igAA`.
    pub fn hint(&self) -> &str {
        &self.hint
    }
}

impl fmt::Debug for UpstreamSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[upstream secret {}]", self.fingerprint)
    }
}

type Keys = HashMap<UpstreamKeyId, Arc<UpstreamSecret>>;

/// The upstream keys that are open.
#[derive(Default)]
pub struct Keyring {
    keys: RwLock<Keys>,
}

impl Keyring {
    /// The key `id`, if it is open.
    pub fn get(&self, id: &UpstreamKeyId) -> Option<Arc<UpstreamSecret>> {
        self.read().get(id).cloned()
    }

    /// Puts a key on the ring, in place of what was there under its id.
    pub fn insert(&self, id: UpstreamKeyId, secret: UpstreamSecret) {
        self.write().insert(id, Arc::new(secret));
    }

    /// Takes a key off the ring; says whether it was there. Calls that hold it keep it until they
    /// let it go.
    pub fn remove(&self, id: &UpstreamKeyId) -> bool {
        self.write().remove(id).is_some()
    }

    /// Takes all keys off the ring.
    pub fn close(&self) {
        let keys = std::mem::take(&mut *self.write());
        drop(keys);
    }

    /// How many keys are open.
    pub fn len(&self) -> usize {
        self.read().len()
    }

    /// Whether no key is open.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    // A panic elsewhere cannot leave a map half changed, so a poisoned lock is as good as any.
    fn read(&self) -> RwLockReadGuard<'_, Keys> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Keys> {
        self.keys.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[keyring of {}]", self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> UpstreamSecret {
        let header = Zeroizing::new(text.as_bytes().to_vec());
        UpstreamSecret::new(header, Fingerprint("00ff".into()), "sk-ant-...".into())
    }

    #[test]
    fn a_key_is_there_from_insertion_to_removal() {
        let ring = Keyring::default();
        let (one, other) = (UpstreamKeyId::mint([1; 16]), UpstreamKeyId::mint([2; 16]));
        assert!(ring.get(&one).is_none() && ring.is_empty());
        ring.insert(one.clone(), secret("first"));
        ring.insert(other.clone(), secret("second"));
        assert_eq!(ring.get(&one).unwrap().expose_header_value(), b"first");
        ring.insert(one.clone(), secret("third"));
        let held = ring.get(&one).unwrap();
        assert!(ring.remove(&one) && !ring.remove(&one));
        assert!(ring.get(&one).is_none());
        assert_eq!(held.expose_header_value(), b"third");
        ring.close();
        assert!(ring.get(&other).is_none() && ring.is_empty());
    }

    #[test]
    fn the_ring_is_the_last_holder() {
        let ring = Keyring::default();
        let id = UpstreamKeyId::mint([1; 16]);
        ring.insert(id.clone(), secret("first"));
        let held = Arc::downgrade(&ring.get(&id).unwrap());
        ring.close();
        assert!(held.upgrade().is_none());
    }

    #[test]
    fn nothing_is_printed() {
        let ring = Keyring::default();
        ring.insert(UpstreamKeyId::mint([1; 16]), secret("first"));
        let held = ring.get(&UpstreamKeyId::mint([1; 16])).unwrap();
        let printed = format!("{ring:?} {ring:#?} {held:?} {held:#?}");
        assert!(!printed.contains("first") && !printed.contains("102"), "{printed}");
    }
}

//! Keyed hashing: how one secret key becomes several, each for one use.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

/// A key of 256 bits, wiped when dropped.
pub(crate) type Key = Zeroizing<[u8; 32]>;

/// HMAC-SHA256 under `key` over `purpose`, a zero byte, and `message`. Purposes are our own words
/// and hold no zero byte, so no two uses of a key ever see the same input.
pub(crate) fn derive(key: &Key, purpose: &str, message: &[u8]) -> Key {
    let mut mac = Hmac::<Sha256>::new_from_slice(&key[..]).expect("HMAC takes keys of any length");
    mac.update(purpose.as_bytes());
    mac.update(&[0]);
    mac.update(message);
    Zeroizing::new(mac.finalize().into_bytes().into())
}

/// Lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

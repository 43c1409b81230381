//! A key on its way to a sink: borrowed from whoever opened it, for the moment of one delivery.
//!
//! It cannot be kept, cloned, serialized or printed. What a sink does with its bytes is the sink's
//! to answer for; the files that take them out are listed in the tidy test.

use std::fmt;

use chamberlain_core::id::VirtualKeyId;
use chamberlain_core::secret::Secret;
use sha2::{Digest, Sha256};

use crate::derive::hex;
use crate::keyring::UpstreamSecret;

/// A key on its way to a sink.
pub struct Parcel<'a> {
    text: &'a [u8],
    stands_for: &'a str,
}

impl<'a> Parcel<'a> {
    /// A virtual key; it is known by its public id.
    pub fn of_virtual_key(text: &'a Secret, id: &'a VirtualKeyId) -> Parcel<'a> {
        Parcel { text: text.expose().as_bytes(), stands_for: id.as_str() }
    }

    /// The key itself. Copies that a sink makes are the sink's to wipe.
    pub fn expose_to_sink(&self) -> &'a [u8] {
        self.text
    }

    /// What stands for the key where it must not be seen: an upstream key's fingerprint, a virtual
    /// key's public id.
    pub fn stands_for(&self) -> &'a str {
        self.stands_for
    }

    /// Whether `bytes` are this key.
    pub fn is(&self, bytes: &[u8]) -> bool {
        // Of hashes, so that how long it takes tells nothing about the key.
        Sha256::digest(self.text) == Sha256::digest(bytes)
    }

    /// Whether `printed` is the SHA-256 of this key in hexadecimal: what a program shows that
    /// proves which key it uses.
    pub fn has_sha256(&self, printed: &str) -> bool {
        hex(&Sha256::digest(self.text)).eq_ignore_ascii_case(printed)
    }
}

impl UpstreamSecret {
    /// This key, to be delivered to a sink.
    pub fn parcel(&self) -> Parcel<'_> {
        Parcel { text: self.expose_header_value(), stands_for: self.fingerprint().as_str() }
    }
}

impl fmt::Debug for Parcel<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[parcel {}]", self.stands_for)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parcel_knows_its_key_and_prints_nothing_of_it() {
        let minted = chamberlain_core::admission::key::mint([7; 16], [9; 43]);
        let parcel = Parcel::of_virtual_key(&minted.text, &minted.id);
        assert_eq!(parcel.stands_for(), minted.id.as_str());
        assert!(parcel.is(parcel.expose_to_sink()) && !parcel.is(b"another"));
        let printed = hex(&Sha256::digest(minted.text.expose()));
        assert!(parcel.has_sha256(&printed) && parcel.has_sha256(&printed.to_uppercase()));
        assert!(!parcel.has_sha256(&printed[1..]));
        assert_eq!(format!("{parcel:?} {parcel:#?}").matches(minted.id.as_str()).count(), 2);
        assert!(!format!("{parcel:?}").contains(&minted.text.expose()[30..40]));
    }
}

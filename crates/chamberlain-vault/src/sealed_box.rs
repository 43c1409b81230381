//! Sealed boxes as libsodium makes them (`crypto_box_seal`): only the holder of the private key can
//! open one, and nobody can tell who made it. GitHub takes secrets in this form.

use chamberlain_core::time::Entropy;
use crypto_box::PublicKey;
use crypto_box::aead::rand_core::{CryptoRng, Error, RngCore};

use crate::parcel::Parcel;

/// Seals a key for the holder of the private key that belongs to `public`.
pub fn seal(public: [u8; 32], parcel: &Parcel<'_>, entropy: &dyn Entropy) -> Vec<u8> {
    PublicKey::from_bytes(public)
        .seal(&mut Dice(entropy), parcel.expose_to_sink())
        .expect("a text that fits in memory is not too long for the cipher")
}

/// The house's randomness in the form that the crate asks for.
struct Dice<'a>(&'a dyn Entropy);

impl CryptoRng for Dice<'_> {}

impl RngCore for Dice<'_> {
    fn next_u32(&mut self) -> u32 {
        let mut bytes = [0; 4];
        self.fill_bytes(&mut bytes);
        u32::from_le_bytes(bytes)
    }

    fn next_u64(&mut self) -> u64 {
        let mut bytes = [0; 8];
        self.fill_bytes(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        self.0.fill(bytes);
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Error> {
        self.fill_bytes(bytes);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crypto_box::SecretKey;

    use super::*;
    use crate::testing::Seeded;

    #[test]
    fn only_the_private_key_opens_a_box_and_no_two_are_alike() {
        let entropy = Seeded::new(7);
        let private = SecretKey::from([3; 32]);
        let minted = chamberlain_core::admission::key::mint([7; 16], [9; 43]);
        let parcel = Parcel::of_virtual_key(&minted.text, &minted.id);
        let public = *private.public_key().as_bytes();
        let (one, other) = (seal(public, &parcel, &entropy), seal(public, &parcel, &entropy));
        assert_ne!(one, other);
        assert!(parcel.is(&private.unseal(&one).unwrap()));
        assert_eq!(one.len(), parcel.expose_to_sink().len() + 48);
        assert!(SecretKey::from([4; 32]).unseal(&one).is_err());
        let mut changed = one;
        changed[60] ^= 1;
        assert!(private.unseal(&changed).is_err());
    }
}

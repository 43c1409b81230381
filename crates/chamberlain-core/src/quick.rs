//! Maps whose keys nobody outside can choose: accounts, scopes, calls. They are asked dozens of
//! times for each call, and the standard hasher, which defends against chosen keys, was a tenth of
//! what a call cost.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// A map with [`Quick`].
pub type QuickMap<K, V> = HashMap<K, V, BuildHasherDefault<Quick>>;

/// Mixes what it is given with one multiplication for eight bytes. Not for keys that a client
/// writes: it is easy to make many that collide.
#[derive(Clone, Copy, Default, Debug)]
pub struct Quick(u64);

/// An odd number without a pattern (2^64 divided by the golden ratio).
const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

impl Quick {
    fn mix(&mut self, word: u64) {
        self.0 = (self.0 ^ word).wrapping_mul(FACTOR).rotate_left(29);
    }
}

impl Hasher for Quick {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        words.iter().for_each(|word| self.mix(u64::from_le_bytes(*word)));
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        self.mix(u64::from_le_bytes(last) ^ (bytes.len() as u64) << 56);
    }

    fn write_u8(&mut self, value: u8) {
        self.mix(u64::from(value));
    }

    fn write_u64(&mut self, value: u64) {
        self.mix(value);
    }

    fn write_i64(&mut self, value: i64) {
        self.mix(value.cast_unsigned());
    }

    fn write_u128(&mut self, value: u128) {
        self.mix(value as u64);
        self.mix((value >> 64) as u64);
    }

    fn write_usize(&mut self, value: usize) {
        self.mix(value as u64);
    }

    fn write_isize(&mut self, value: isize) {
        self.mix(value as u64);
    }

    fn finish(&self) -> u64 {
        // The map looks at the highest bits and at the lowest.
        let mixed = self.0.wrapping_mul(FACTOR);
        mixed ^ mixed >> 32
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::hash::{BuildHasher, BuildHasherDefault};

    use super::*;
    use crate::id::{CallId, VirtualKeyId};
    use crate::ledger::account::Scope;
    use crate::time::Timestamp;

    fn hash(value: impl std::hash::Hash) -> u64 {
        BuildHasherDefault::<Quick>::default().hash_one(value)
    }

    /// How many of `hashes` fall into a place of a table that another has, at twice as many places.
    fn crowded(hashes: &[u64], shift: u32) -> usize {
        let mask = (hashes.len() as u64 * 2).next_power_of_two() - 1;
        let places: HashSet<u64> = hashes.iter().map(|hash| hash >> shift & mask).collect();
        hashes.len() - places.len()
    }

    #[test]
    fn keys_that_differ_little_fall_apart() {
        let keys =
            (0..4_096).map(|n| hash(Scope::VirtualKey(VirtualKeyId::new(format!("{n:016}")))));
        let calls = (0..4_096u64).map(|n| {
            let mut entropy = [0; 10];
            entropy[2..].copy_from_slice(&n.to_be_bytes());
            hash(CallId::mint(Timestamp::from_ms(1_795_424_400_000), entropy))
        });
        for hashes in [keys.collect::<Vec<_>>(), calls.collect()] {
            assert_eq!(hashes.iter().collect::<HashSet<_>>().len(), hashes.len());
            // Random ones would be crowded in about a fifth of the cases.
            assert!(crowded(&hashes, 0) < hashes.len() * 3 / 10, "{}", crowded(&hashes, 0));
            let tags: HashSet<u64> = hashes.iter().map(|hash| hash >> 57).collect();
            assert_eq!(tags.len(), 128, "the highest bits differ as well");
        }
    }

    #[test]
    fn where_one_text_ends_and_the_next_begins_counts() {
        assert_ne!(hash(("ab", "c")), hash(("a", "bc")));
        assert_ne!(hash(""), hash("\0"));
        assert_ne!(hash([0u8; 8].as_slice()), hash([0u8; 9].as_slice()));
    }
}

//! Keys that tests make at run time, in the shapes of real ones. No such text is committed.

use crate::crc32::crc32;

/// Numbers from a seed.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed ^ 0x9e37_79b9_7f4a_7c15)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    pub(crate) fn of(&mut self, alphabet: &[u8], length: usize) -> String {
        (0..length).map(|_| char::from(alphabet[self.below(alphabet.len())])).collect()
    }
}

pub(crate) const KEY_CHARS: &[u8] =
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
pub(crate) const PUBLIC_ID_CHARS: &[u8] = b"0123456789abcdefghjkmnpqrstvwxyz";

pub(crate) fn key_chars(random: &mut Random, length: usize) -> String {
    random.of(KEY_CHARS, length)
}

/// A key in the form in which real ones are seen: 86 characters, `-`, 6 characters, `AA`.
pub(crate) fn real_form(random: &mut Random, kind: &str) -> String {
    format!("sk-ant-{kind}-{}-{}AA", key_chars(random, 86), key_chars(random, 6))
}

/// A key whose body is 95 characters, and nothing more is known of it.
pub(crate) fn random_form(random: &mut Random, kind: &str) -> String {
    format!("sk-ant-{kind}-{}", key_chars(random, 95))
}

/// A virtual key of Chamberlain's.
pub(crate) fn virtual_key(random: &mut Random) -> String {
    let start = format!("chm_{}_{}", random.of(PUBLIC_ID_CHARS, 16), key_chars(random, 37));
    let sum = crc32(start.as_bytes());
    let digit = |shift: u32| char::from(KEY_CHARS[(sum >> shift) as usize & 63]);
    let check: String = [30, 24, 18, 12, 6, 0].map(digit).into_iter().collect();
    start + &check
}

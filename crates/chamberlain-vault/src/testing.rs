//! What the tests share: randomness that repeats, and keys made on the spot.

use std::sync::Mutex;

use chamberlain_core::secret::Secret;
use chamberlain_core::time::Entropy;

/// SplitMix64 from a seed.
pub(crate) struct Seeded(Mutex<u64>);

impl Seeded {
    pub(crate) fn new(seed: u64) -> Seeded {
        Seeded(Mutex::new(seed))
    }

    pub(crate) fn below(&self, bound: usize) -> usize {
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        (u64::from_le_bytes(bytes) % bound as u64) as usize
    }
}

impl Entropy for Seeded {
    fn fill(&self, bytes: &mut [u8]) {
        let mut state = self.0.lock().unwrap();
        for chunk in bytes.chunks_mut(8) {
            *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut mixed = *state;
            mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
            chunk.copy_from_slice(&(mixed ^ mixed >> 31).to_le_bytes()[..chunk.len()]);
        }
    }
}

/// A text of the form of a credential of `kind`, `api03` for an API key.
pub(crate) fn credential(kind: &str, entropy: &Seeded) -> String {
    const CHARS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let secret: String = (0..93).map(|_| char::from(CHARS[entropy.below(64)])).collect();
    format!("sk-ant-{kind}-{secret}AA")
}

pub(crate) fn secret(text: &str) -> Secret {
    Secret::new(text.to_owned())
}

/// Whether six characters in a row of the secret part of `key` stand in `text`.
pub(crate) fn leaks(text: &str, key: &str) -> bool {
    let start = key.char_indices().map(|(at, _)| at).nth(13).unwrap_or(0);
    let chars: Vec<char> = key[start..].chars().collect();
    chars.windows(6).any(|run| text.contains(&run.iter().collect::<String>()))
}

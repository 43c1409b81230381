//! What the tests share: a clock that stands where it is put, and randomness that repeats.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use chamberlain_core::time::{Clock, Entropy, Timestamp};
use http::{Request, Response};

use crate::web::{Web, WebFault};

/// 2026-11-23T12:00:00Z.
pub(crate) const NOON: Timestamp = Timestamp::from_ms(1_795_435_200_000);

/// A clock that stands.
pub(crate) struct Hands(AtomicI64);

impl Hands {
    pub(crate) fn at(moment: Timestamp) -> Hands {
        Hands(AtomicI64::new(moment.ms()))
    }

    pub(crate) fn turn(&self, ms: i64) {
        self.0.fetch_add(ms, Ordering::SeqCst);
    }
}

impl Clock for Hands {
    fn now(&self) -> Timestamp {
        Timestamp::from_ms(self.0.load(Ordering::SeqCst))
    }
}

/// SplitMix64.
pub(crate) struct Dice(AtomicU64);

impl Dice {
    pub(crate) const fn new() -> Dice {
        Dice(AtomicU64::new(0))
    }
}

impl Entropy for Dice {
    fn fill(&self, bytes: &mut [u8]) {
        for byte in bytes {
            let seed = self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::SeqCst);
            let mixed = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            *byte = (mixed >> 56) as u8;
        }
    }
}

/// A web in which no host can be reached.
pub(crate) struct Nowhere;

impl Web for Nowhere {
    fn send(&self, _: Request<Bytes>, _: Duration) -> Result<Response<Bytes>, WebFault> {
        Err(WebFault::NotSent("there is no network here".to_owned()))
    }
}

/// A text of the form of an Anthropic key.
pub(crate) fn real_key(letter: char) -> String {
    format!("sk-ant-{}-{}AA", "api03", letter.to_string().repeat(93))
}

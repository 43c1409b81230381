//! The real clock and the real randomness. Everybody else gets them as values.

use std::time::{SystemTime, UNIX_EPOCH};

use chamberlain_core::time::{Clock, Entropy, Timestamp};

/// The system's clock.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let ms = since.map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX));
        Timestamp::from_ms(ms)
    }
}
/// The operating system's random numbers.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        // Without randomness no key may be made and no call be named: there is nothing to go on to.
        getrandom::fill(bytes).expect("the operating system gives random numbers");
    }
}

//! How much is put on record about callers without a key: enough to see them, never so much that
//! whoever can reach the door could fill the disk and so stop everybody's calls.

use chamberlain_core::time::Timestamp;
use parking_lot::Mutex;

const MINUTE_MS: u64 = 60_000;
/// Told of in a minute; the others are counted.
const TOLD_MAX: u64 = 120;
/// The same of what also goes to people.
const URGENT_TOLD_MAX: u64 = 20;

/// What was told of callers without a key in this minute.
#[derive(Debug, Default)]
pub(crate) struct Strangers {
    ordinary: Mutex<Minute>,
    urgent: Mutex<Minute>,
}

/// What was told of one thing in a minute.
#[derive(Debug, Default)]
pub(crate) struct Minute {
    began: Timestamp,
    told: u64,
    untold: u64,
}

impl Strangers {
    /// Whether to tell of one more; if so, how many were only counted before.
    pub(crate) fn tell(&self, urgent: bool, now: Timestamp) -> Option<u64> {
        let (minute, max) = match urgent {
            true => (&self.urgent, URGENT_TOLD_MAX),
            false => (&self.ordinary, TOLD_MAX),
        };
        minute.lock().tell(max, now)
    }
}

impl Minute {
    /// Whether to tell of one more, when `max` are told in a minute; if so, how many were only
    /// counted before.
    pub(crate) fn tell(&mut self, max: u64, now: Timestamp) -> Option<u64> {
        if self.has_passed(now) {
            let untold = self.untold;
            *self = Minute { began: now, told: 1, untold: 0 };
            return Some(untold);
        }
        if self.told < max {
            self.told += 1;
            return Some(0);
        }
        self.untold += 1;
        None
    }

    /// Whether nothing is left to be said of it.
    pub(crate) fn is_over(&self, now: Timestamp) -> bool {
        self.has_passed(now) && self.untold == 0
    }

    fn has_passed(&self, now: Timestamp) -> bool {
        now.ms_since(self.began).max(self.began.ms_since(now)) >= MINUTE_MS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_told_of_in_part_and_counted_whole() {
        let strangers = Strangers::default();
        let at = |ms: i64| Timestamp::from_ms(1_790_000_000_000 + ms);
        let told = (0..1_000).filter_map(|ms| strangers.tell(false, at(ms))).count();
        assert_eq!(told, 120);
        assert_eq!(strangers.tell(true, at(1_000)), Some(0), "what is urgent has room of its own");
        assert_eq!(strangers.tell(false, at(59_999)), None);
        assert_eq!(strangers.tell(false, at(60_000)), Some(881));
        assert_eq!(strangers.tell(false, at(60_001)), Some(0));
        assert_eq!(strangers.tell(false, at(-1)), Some(0), "a clock put back begins a minute");
        let told = (0..100).filter_map(|_| strangers.tell(true, at(2_000))).count();
        assert_eq!(told, 19);
    }
}

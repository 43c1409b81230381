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

#[derive(Debug, Default)]
struct Minute {
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
        let mut minute = minute.lock();
        if now.ms_since(minute.began).max(minute.began.ms_since(now)) >= MINUTE_MS {
            let untold = minute.untold;
            *minute = Minute { began: now, told: 1, untold: 0 };
            return Some(untold);
        }
        if minute.told < max {
            minute.told += 1;
            return Some(0);
        }
        minute.untold += 1;
        None
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

//! A strict sliding window: never more than the limit in any 60 seconds.

use crate::time::Timestamp;

const BUCKETS: usize = 60;
const BUCKET_MS: i64 = 1_000;

/// Counts units in the 60 seconds up to now.
///
/// Time is cut into seconds; a second counts in full until it has left the window whole, so the
/// count can be up to one second old but never too low. (A token bucket that starts full would
/// let nearly twice the limit through in its first minute.)
#[derive(Clone, Debug)]
pub struct SlidingWindow {
    buckets: [u64; BUCKETS + 1],
    newest: i64,
    sum: u64,
}

impl Default for SlidingWindow {
    fn default() -> SlidingWindow {
        SlidingWindow { buckets: [0; BUCKETS + 1], newest: i64::MIN, sum: 0 }
    }
}

impl SlidingWindow {
    /// Units in the window at `now`.
    pub fn count(&mut self, now: Timestamp) -> u64 {
        self.roll(now);
        self.sum
    }

    /// Adds `units` at `now`.
    pub fn add(&mut self, units: u64, now: Timestamp) {
        self.roll(now);
        let slot = Self::slot(self.newest);
        self.buckets[slot] = self.buckets[slot].saturating_add(units);
        self.sum = self.sum.saturating_add(units);
    }

    /// Replaces `charged` units that were added at `at` by `actual` ones. What has left the window
    /// in the meantime is let be, except that an excess counts from now on.
    pub fn correct(&mut self, charged: u64, actual: u64, at: Timestamp, now: Timestamp) {
        self.roll(now);
        if actual > charged {
            self.add(actual - charged, now);
            return;
        }
        let second = at.ms().div_euclid(BUCKET_MS);
        if second > self.newest - BUCKETS as i64 - 1 && second <= self.newest {
            let slot = Self::slot(second);
            let back = (charged - actual).min(self.buckets[slot]);
            self.buckets[slot] -= back;
            self.sum -= back;
        }
    }

    /// The earliest moment at which `units` more would fit under `limit`; `None` if never.
    pub fn fits_at(&mut self, units: u64, limit: u64, now: Timestamp) -> Option<Timestamp> {
        if units > limit {
            return None;
        }
        self.roll(now);
        let mut excess = self.sum.saturating_add(units).saturating_sub(limit);
        if excess == 0 {
            return Some(now);
        }
        for second in self.newest - BUCKETS as i64..=self.newest {
            excess = excess.saturating_sub(self.buckets[Self::slot(second)]);
            if excess == 0 {
                return Some(Timestamp::from_ms((second + BUCKETS as i64 + 1) * BUCKET_MS));
            }
        }
        None
    }

    /// When the window is empty again.
    pub fn whole_at(&mut self, now: Timestamp) -> Timestamp {
        self.roll(now);
        let last = (self.newest - BUCKETS as i64..=self.newest)
            .rev()
            .find(|second| self.buckets[Self::slot(*second)] > 0);
        last.map_or(now, |second| Timestamp::from_ms((second + BUCKETS as i64 + 1) * BUCKET_MS))
    }

    fn slot(second: i64) -> usize {
        second.rem_euclid(BUCKETS as i64 + 1) as usize
    }

    /// Moves on to `now`. A clock that steps back leaves the window where it was: nothing is
    /// forgotten early. One that steps back by more than the window takes the window along, so
    /// that what is in it leaves after as long as ever, and not only when the clock has come to
    /// where it was before.
    fn roll(&mut self, now: Timestamp) {
        let second = now.ms().div_euclid(BUCKET_MS);
        if second <= self.newest {
            if second < self.newest - BUCKETS as i64 {
                let back = Self::slot(self.newest - second);
                self.buckets.rotate_left(back);
                self.newest = second;
            }
            return;
        }
        if self.newest == i64::MIN || second - self.newest > BUCKETS as i64 {
            self.buckets = [0; BUCKETS + 1];
            self.sum = 0;
        } else {
            for passed in self.newest + 1..=second {
                let slot = Self::slot(passed);
                self.sum -= self.buckets[slot];
                self.buckets[slot] = 0;
            }
        }
        self.newest = second;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_ms(ms)
    }

    #[test]
    fn the_21st_request_in_a_minute_waits_for_the_first_to_leave() {
        let mut window = SlidingWindow::default();
        for request in 0..20 {
            let now = at(500 + request * 1_000);
            assert_eq!(window.fits_at(1, 20, now), Some(now));
            window.add(1, now);
        }
        assert_eq!(window.fits_at(1, 20, at(20_500)), Some(at(61_000)));
        assert_eq!(window.fits_at(1, 20, at(61_000)), Some(at(61_000)));
        assert_eq!(window.fits_at(21, 20, at(0)), None);
    }

    #[test]
    fn a_settled_call_gives_back_what_it_did_not_use() {
        let mut window = SlidingWindow::default();
        window.add(4_096, at(0));
        window.correct(4_096, 96, at(0), at(30_000));
        assert_eq!(window.count(at(30_000)), 96);
        window.correct(10, 40, at(0), at(31_000));
        assert_eq!(window.count(at(31_000)), 126);
    }

    #[test]
    fn a_clock_that_steps_back_forgets_nothing() {
        let mut window = SlidingWindow::default();
        window.add(5, at(100_000));
        assert_eq!(window.count(at(10_000)), 5);
        assert_eq!(window.count(at(100_000 + 62_000)), 0);
    }

    #[test]
    fn a_clock_that_is_put_right_does_not_hold_calls_back_for_as_long_as_it_was_wrong() {
        for wrong_by in [61, 62, 100, 3_600, 86_399, 10 * 365 * 86_400] {
            let mut window = SlidingWindow::default();
            let before = 1_000_000 + wrong_by * 1_000;
            window.add(3, at(before));
            window.add(4, at(before + 20_000));
            let now = 1_000_000 + 20_000;
            assert_eq!(window.count(at(now)), 7, "nothing is forgotten early, {wrong_by}");
            assert_eq!(window.count(at(now + 40_999)), 7, "{wrong_by}");
            assert_eq!(window.count(at(now + 41_000)), 4, "{wrong_by}");
            assert_eq!(window.fits_at(7, 7, at(now + 41_000)), Some(at(now + 61_000)));
            assert_eq!(window.count(at(now + 61_000)), 0, "{wrong_by}");
        }
    }

    proptest! {
        /// However calls arrive, no 60 seconds contain more than the limit.
        #[test]
        fn no_minute_holds_more_than_the_limit(
            gaps in proptest::collection::vec(0i64..9_000, 1..200),
            limit in 1u64..30,
        ) {
            let mut window = SlidingWindow::default();
            let mut now = 0;
            let mut admitted: Vec<i64> = Vec::new();
            for gap in gaps {
                now += gap;
                if window.fits_at(1, limit, at(now)) == Some(at(now)) {
                    window.add(1, at(now));
                    admitted.push(now);
                }
            }
            for start in &admitted {
                let inside = admitted.iter().filter(|t| (*start..*start + 60_000).contains(t));
                prop_assert!(inside.count() as u64 <= limit);
            }
        }
    }
}

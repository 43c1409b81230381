//! Whether and when an attempt that failed is made again.
//!
//! Anthropic has no idempotency key: an attempt is repeated only when upstream surely did not
//! process it (the connection failed before anything was sent) or said that it refused it
//! (429, 503, 529).

use crate::snapshot::RetrySettings;
use crate::time::Timestamp;

/// How an attempt ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AttemptEnd {
    /// No connection; nothing was sent.
    NotConnected,
    /// An answer's head.
    Answered {
        /// Its status.
        status: u16,
        /// `retry-after`, milliseconds.
        retry_after_ms: Option<u64>,
        /// `x-should-retry`.
        should_retry: Option<bool>,
    },
    /// Anything else: it may have been processed.
    Unknown,
}

/// Milliseconds to wait before retry number `retry` (the first is 1), or `None` for no retry.
///
/// `jitter` is any random number; it takes up to a quarter off the delay, so that clients which
/// failed together do not come back together.
pub fn delay_ms(end: AttemptEnd, retry: u32, settings: RetrySettings, jitter: u64) -> Option<u64> {
    if retry > settings.retries_max {
        return None;
    }
    let backoff = settings
        .initial_delay_ms
        .saturating_mul(1u64.checked_shl(retry.saturating_sub(1)).unwrap_or(u64::MAX))
        .min(settings.delay_max_ms);
    let jittered = backoff - jitter % (backoff / 4 + 1);
    match end {
        AttemptEnd::NotConnected => Some(jittered),
        AttemptEnd::Unknown => None,
        AttemptEnd::Answered { should_retry: Some(false), .. } => None,
        AttemptEnd::Answered { status: 429 | 503 | 529, retry_after_ms, .. } => {
            match retry_after_ms {
                // Waiting less than upstream asks for is a wasted attempt; waiting longer than
                // the cap is the client's decision, not ours.
                Some(asked) => (asked <= settings.delay_max_ms).then_some(asked),
                None => Some(jittered),
            }
        }
        AttemptEnd::Answered { .. } => None,
    }
}

/// Bounds retries to a share of calls, so that an outage is not multiplied.
#[derive(Clone, Debug, Default)]
pub struct RetryBudget {
    window_start: Timestamp,
    calls: u64,
    retries: u64,
}

impl RetryBudget {
    const WINDOW_MS: u64 = 60_000;
    const FLOOR: u64 = 10;

    /// Counts a call.
    pub fn count_call(&mut self, now: Timestamp) {
        self.roll(now);
        self.calls += 1;
    }

    /// Takes one retry; false when the share is used up.
    pub fn take_retry(&mut self, settings: RetrySettings, now: Timestamp) -> bool {
        self.roll(now);
        let share = self.calls.saturating_mul(u64::from(settings.budget_percent)) / 100;
        let allowed = self.retries < share.max(Self::FLOOR);
        self.retries += u64::from(allowed);
        allowed
    }

    fn roll(&mut self, now: Timestamp) {
        if now.ms_since(self.window_start) >= Self::WINDOW_MS || now < self.window_start {
            *self = RetryBudget { window_start: now, calls: 0, retries: 0 };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: RetrySettings = RetrySettings {
        retries_max: 3,
        initial_delay_ms: 1_000,
        delay_max_ms: 8_000,
        budget_percent: 20,
    };

    fn answered(status: u16, retry_after_ms: Option<u64>) -> AttemptEnd {
        AttemptEnd::Answered { status, retry_after_ms, should_retry: None }
    }

    #[test]
    fn delays_are_one_two_four_seconds_and_then_no_more() {
        let delays: Vec<_> =
            (1..=4).map(|retry| delay_ms(answered(529, None), retry, SETTINGS, 0)).collect();
        assert_eq!(delays, [Some(1_000), Some(2_000), Some(4_000), None]);
    }

    #[test]
    fn only_what_surely_did_nothing_is_repeated() {
        for status in [200, 400, 401, 403, 404, 408, 409, 413, 500, 502, 504] {
            assert_eq!(delay_ms(answered(status, None), 1, SETTINGS, 0), None, "{status}");
        }
        assert_eq!(delay_ms(AttemptEnd::Unknown, 1, SETTINGS, 0), None);
        for status in [429, 503, 529] {
            assert!(delay_ms(answered(status, None), 1, SETTINGS, 0).is_some(), "{status}");
        }
        assert!(delay_ms(AttemptEnd::NotConnected, 1, SETTINGS, 0).is_some());
    }

    #[test]
    fn retry_after_wins_up_to_the_cap() {
        assert_eq!(delay_ms(answered(429, Some(3_000)), 1, SETTINGS, 999), Some(3_000));
        assert_eq!(delay_ms(answered(429, Some(8_001)), 1, SETTINGS, 0), None);
    }

    #[test]
    fn upstream_may_forbid_it() {
        let end =
            AttemptEnd::Answered { status: 429, retry_after_ms: None, should_retry: Some(false) };
        assert_eq!(delay_ms(end, 1, SETTINGS, 0), None);
    }

    #[test]
    fn jitter_takes_at_most_a_quarter_off() {
        for jitter in 0..2_000 {
            let delay = delay_ms(answered(503, None), 1, SETTINGS, jitter).unwrap();
            assert!((750..=1_000).contains(&delay), "{delay}");
        }
    }

    #[test]
    fn retries_stay_a_share_of_calls() {
        let mut budget = RetryBudget::default();
        let now = Timestamp::from_ms(1_000_000);
        (0..100).for_each(|_| budget.count_call(now));
        let taken = (0..100).filter(|_| budget.take_retry(SETTINGS, now)).count();
        assert_eq!(taken, 20);
        assert!(budget.take_retry(SETTINGS, now.plus_ms(60_000)), "a new minute brings new ones");
    }
}

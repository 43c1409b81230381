//! The circuit breaker of one upstream credential: closed, open, half-open.

use serde::{Deserialize, Serialize};

use crate::snapshot::BreakerSettings;
use crate::time::Timestamp;

/// Where it stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BreakerState {
    /// All calls pass.
    Closed,
    /// No call passes.
    Open,
    /// One call at a time passes, to see; another one when that takes long to begin to answer.
    HalfOpen,
}

/// What an attempt showed about upstream's health.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Health {
    /// It answered (any 2xx, 3xx, 4xx, 429 included).
    Success,
    /// 5xx, 529, no connection, or a timeout.
    Failure,
    /// Nothing about upstream: the client left, or we refused.
    Neutral,
}

/// How long a probe keeps all others waiting. An answer may take ten minutes to begin, and
/// upstream may have been well all the time.
const PROBE_ALONE_MS: u64 = 10_000;

/// A breaker.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Breaker {
    settings: BreakerSettings,
    failures: u32,
    successes: u32,
    opened_at: Option<Timestamp>,
    probe_since: Option<Timestamp>,
}

impl Breaker {
    /// A closed breaker.
    pub fn new(settings: BreakerSettings) -> Breaker {
        Breaker { settings, failures: 0, successes: 0, opened_at: None, probe_since: None }
    }

    /// Where it stands at `now`.
    pub fn state(&self, now: Timestamp) -> BreakerState {
        match self.opened_at {
            None => BreakerState::Closed,
            Some(at) if now.ms_since(at) < self.settings.reset_timeout_ms => BreakerState::Open,
            Some(_) => BreakerState::HalfOpen,
        }
    }

    /// Asks to send one attempt; a pass must be answered with [`Breaker::report`].
    ///
    /// # Errors
    /// Milliseconds until it is worth asking again.
    pub fn pass(&mut self, now: Timestamp) -> Result<(), u64> {
        // A clock that was put back does not keep it open for as long as it was wrong.
        self.opened_at = self.opened_at.map(|opened_at| opened_at.min(now));
        let Some(opened_at) = self.opened_at else { return Ok(()) };
        let open_ms = now.ms_since(opened_at);
        if open_ms < self.settings.reset_timeout_ms {
            return Err(self.settings.reset_timeout_ms - open_ms);
        }
        self.probe_since = self.probe_since.map(|since| since.min(now));
        if self.probe_since.is_some_and(|since| now.ms_since(since) < PROBE_ALONE_MS) {
            return Err(1_000);
        }
        self.probe_since = Some(now);
        Ok(())
    }

    /// Reports what an attempt that passed has shown. True when this opened the breaker.
    pub fn report(&mut self, health: Health, now: Timestamp) -> bool {
        let probing = self.probe_since.take().is_some();
        match health {
            Health::Neutral => false,
            Health::Success => {
                self.failures = 0;
                if probing {
                    self.successes += 1;
                    if self.successes >= self.settings.success_threshold {
                        self.opened_at = None;
                        self.successes = 0;
                    }
                }
                false
            }
            Health::Failure => {
                self.successes = 0;
                self.failures = self.failures.saturating_add(1);
                let opens = probing
                    || (self.opened_at.is_none()
                        && self.failures >= self.settings.failure_threshold);
                if opens {
                    self.opened_at = Some(now);
                }
                opens
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: BreakerSettings =
        BreakerSettings { failure_threshold: 5, reset_timeout_ms: 60_000, success_threshold: 2 };

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_ms(ms)
    }

    fn opened() -> Breaker {
        let mut breaker = Breaker::new(SETTINGS);
        for failure in 1..=5 {
            assert_eq!(breaker.pass(at(0)), Ok(()));
            assert_eq!(breaker.report(Health::Failure, at(0)), failure == 5);
        }
        breaker
    }

    #[test]
    fn five_failures_in_a_row_open_it_for_a_minute() {
        let mut breaker = opened();
        assert_eq!(breaker.pass(at(1)), Err(59_999));
        assert_eq!(breaker.state(at(59_999)), BreakerState::Open);
        assert_eq!(breaker.state(at(60_000)), BreakerState::HalfOpen);
    }

    #[test]
    fn a_success_in_between_starts_the_count_again() {
        let mut breaker = Breaker::new(SETTINGS);
        for _ in 0..4 {
            breaker.report(Health::Failure, at(0));
        }
        breaker.report(Health::Success, at(0));
        for _ in 0..4 {
            assert!(!breaker.report(Health::Failure, at(0)));
        }
        assert_eq!(breaker.state(at(0)), BreakerState::Closed);
    }

    #[test]
    fn one_probe_at_a_time_and_two_successes_close_it() {
        let mut breaker = opened();
        assert_eq!(breaker.pass(at(60_000)), Ok(()));
        assert!(breaker.pass(at(60_000)).is_err(), "a second probe passed");
        breaker.report(Health::Success, at(60_001));
        assert_eq!(breaker.state(at(60_001)), BreakerState::HalfOpen);
        assert_eq!(breaker.pass(at(60_002)), Ok(()));
        breaker.report(Health::Success, at(60_003));
        assert_eq!(breaker.state(at(60_003)), BreakerState::Closed);
    }

    #[test]
    fn a_failed_probe_opens_it_again() {
        let mut breaker = opened();
        breaker.pass(at(60_000)).unwrap();
        assert!(breaker.report(Health::Failure, at(60_500)));
        assert_eq!(breaker.pass(at(61_000)), Err(59_500));
    }

    #[test]
    fn a_clock_that_is_put_back_does_not_keep_it_open() {
        let mut breaker = opened();
        assert_eq!(breaker.pass(at(-86_400_000)), Err(60_000));
        assert_eq!(breaker.state(at(-86_340_000)), BreakerState::HalfOpen);
        assert_eq!(breaker.pass(at(-86_340_000)), Ok(()));
    }

    #[test]
    fn a_probe_that_takes_long_does_not_keep_the_others_out() {
        let mut breaker = opened();
        assert_eq!(breaker.pass(at(60_000)), Ok(()));
        assert_eq!(breaker.pass(at(69_999)), Err(1_000));
        assert_eq!(breaker.pass(at(70_000)), Ok(()), "the second probe");
        assert_eq!(breaker.pass(at(70_001)), Err(1_000));
        breaker.report(Health::Success, at(70_002));
        assert_eq!(breaker.pass(at(70_003)), Ok(()));
        breaker.report(Health::Success, at(70_004));
        assert_eq!(breaker.state(at(70_004)), BreakerState::Closed);
        assert!(!breaker.report(Health::Success, at(600_000)), "the first one, late");
        assert_eq!(breaker.state(at(600_000)), BreakerState::Closed);
    }

    #[test]
    fn a_neutral_end_of_a_probe_lets_the_next_one_through() {
        let mut breaker = opened();
        breaker.pass(at(60_000)).unwrap();
        breaker.report(Health::Neutral, at(60_001));
        assert_eq!(breaker.pass(at(60_002)), Ok(()));
    }
}

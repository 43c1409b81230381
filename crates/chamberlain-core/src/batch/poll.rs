//! When a batch is looked at again. Pure: the time, what was seen and a random number go in.

/// After so long without results a batch is given up: Anthropic keeps results for 29 days, and a
/// batch ends within one.
pub const GIVEN_UP_AFTER_MS: u64 = 30 * 24 * 3_600_000;

/// So many answers in a row that say that there is no such batch are believed.
pub const GONE_ANSWERS_MAX: u32 = 3;

/// The longest pause between two looks at a batch that runs.
const PAUSE_MAX_MS: u64 = 5 * 60_000;
/// The longest pause while looking fails.
const FAILED_PAUSE_MAX_MS: u64 = 30 * 60_000;
/// A batch that has run this many times longer is looked at this many times less often.
const AGE_SHARE: u64 = 20;

/// What the next pause depends on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pace {
    /// The shortest pause.
    pub least_ms: u64,
    /// How long ago the batch was submitted.
    pub age_ms: u64,
    /// Looks in a row that failed.
    pub failures: u32,
}

/// Milliseconds until the next look.
///
/// A twentieth of the batch's age while all is well, so that a result is known at the latest when
/// it is five percent older than it has to be; twice as long after every look that fails.
/// `jitter` is any random number; it takes up to a quarter off, so that batches which were
/// submitted together, or found together at a start, are not looked at together.
pub fn next_look_ms(pace: Pace, jitter: u64) -> u64 {
    let least = pace.least_ms.max(1);
    let pause = match pace.failures {
        0 => (pace.age_ms / AGE_SHARE).clamp(least, PAUSE_MAX_MS.max(least)),
        failures => {
            let doubled = least.saturating_mul(1u64.checked_shl(failures).unwrap_or(u64::MAX));
            doubled.min(FAILED_PAUSE_MAX_MS.max(least))
        }
    };
    pause - jitter % (pause / 4 + 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pause(age_ms: u64, failures: u32) -> u64 {
        next_look_ms(Pace { least_ms: 5_000, age_ms, failures }, 0)
    }

    #[test]
    fn an_older_batch_is_looked_at_less_often() {
        assert_eq!(
            [0, 100_000, 600_000, 86_400_000].map(|age| pause(age, 0)),
            [5_000, 5_000, 30_000, 300_000]
        );
    }

    #[test]
    fn failures_double_the_pause() {
        assert_eq!(
            [1, 2, 3, 60, 64, u32::MAX].map(|n| pause(0, n)),
            [10_000, 20_000, 40_000, 1_800_000, 1_800_000, 1_800_000]
        );
    }

    proptest! {
        #[test]
        fn a_pause_is_never_nothing_and_never_for_ever(
            least_ms in 0u64..10_000_000, age_ms: u64, failures: u32, jitter: u64,
        ) {
            let pause = next_look_ms(Pace { least_ms, age_ms, failures }, jitter);
            prop_assert!(pause >= least_ms.max(1) * 3 / 4);
            prop_assert!(pause <= FAILED_PAUSE_MAX_MS.max(least_ms).max(1));
        }
    }
}

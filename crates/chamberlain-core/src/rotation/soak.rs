//! Whether a key that was put into use does well: long enough, often enough, and failing no more
//! than the one before it.

use serde::{Deserialize, Serialize};

use super::terms::Terms;
use crate::time::Timestamp;

/// So many failures are chance; a rate is looked at from the next one on. A refusal of the key
/// itself is never chance.
const FAILURES_BY_CHANCE: u64 = 2;

/// What attempts with a key have come to.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
pub struct Traffic {
    /// Answered, whatever the answer, but for the two below.
    pub succeeded: u64,
    /// Answered with 5xx, lost, or not answered.
    pub failed: u64,
    /// Answered with 401: the key itself was refused.
    pub rejected: u64,
}

impl Traffic {
    fn all(&self) -> u128 {
        u128::from(self.succeeded) + u128::from(self.failed)
    }
}

/// How the watch stands.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) enum Soak {
    /// Watch on.
    NotYet,
    /// It did well.
    Passed,
    /// It does not do well, and why.
    Breached(String),
}

/// Judges a key that has been in use since `since`. `probes` are free requests of our own that it
/// passed; `before` is what the key before it came to in the hour before.
pub(super) fn soak(
    terms: &Terms,
    since: Timestamp,
    new: Traffic,
    probes: u64,
    before: Traffic,
    now: Timestamp,
) -> Soak {
    if new.rejected > 0 {
        return Soak::Breached(format!("Anthropic refused the new key {} times", new.rejected));
    }
    if new.failed > FAILURES_BY_CHANCE && fails_more(new, before) {
        let (failed, all) = (new.failed, new.all());
        return Soak::Breached(format!(
            "{failed} of {all} attempts with the new key failed; before it were {} of {}",
            before.failed,
            before.all()
        ));
    }
    let long_enough = now.ms_since(since) >= terms.soak_ms;
    let often_enough = new.succeeded.saturating_add(probes) >= terms.soak_successes;
    if long_enough && often_enough { Soak::Passed } else { Soak::NotYet }
}

/// Whether a rate is above both one in a hundred and twice what it was.
fn fails_more(new: Traffic, before: Traffic) -> bool {
    let (failed, all) = (u128::from(new.failed), new.all());
    let above_one_percent = failed * 100 > all;
    let above_twice = failed * before.all() > 2 * u128::from(before.failed) * all;
    above_one_percent && (before.all() == 0 || above_twice)
}

/// The pause between two probes while a key is watched, milliseconds: often enough that with no
/// calls at all the watch still ends in time.
pub(super) fn probe_pause_ms(terms: &Terms) -> u64 {
    terms.soak_ms / terms.soak_successes.max(1).saturating_mul(5).div_ceil(4)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SINCE: Timestamp = Timestamp::from_ms(0);

    fn after(minutes: i64, new: Traffic, probes: u64, before: Traffic) -> Soak {
        soak(&Terms::default(), SINCE, new, probes, before, SINCE.plus_ms(minutes * 60_000))
    }

    fn traffic(succeeded: u64, failed: u64) -> Traffic {
        Traffic { succeeded, failed, rejected: 0 }
    }

    #[test]
    fn it_takes_both_time_and_successes() {
        let none = Traffic::default();
        assert_eq!(after(14, traffic(1_000, 0), 0, none), Soak::NotYet);
        assert_eq!(after(15, traffic(19, 0), 0, none), Soak::NotYet);
        assert_eq!(after(15, traffic(20, 0), 0, none), Soak::Passed);
        assert_eq!(after(15, none, 20, none), Soak::Passed, "probes fill in");
        assert_eq!(after(15, traffic(5, 0), 15, none), Soak::Passed);
    }

    #[test]
    fn failing_more_than_before_is_a_breach() {
        let breached = |soak| matches!(soak, Soak::Breached(_));
        assert!(!breached(after(1, traffic(297, 3), 0, Traffic::default())), "one percent");
        assert!(breached(after(1, traffic(296, 3), 0, Traffic::default())));
        assert!(!breached(after(1, traffic(94, 6), 0, traffic(97, 3))), "twice what it was");
        assert!(breached(after(1, traffic(93, 7), 0, traffic(97, 3))));
        assert!(!breached(after(1, traffic(0, 2), 0, Traffic::default())), "may be chance");
        let rejected = Traffic { rejected: 1, ..traffic(10_000, 0) };
        assert!(breached(after(1, rejected, 0, Traffic::default())), "never chance");
    }

    #[test]
    fn probes_alone_fill_a_watch_in_time() {
        let terms = Terms::default();
        assert_eq!(probe_pause_ms(&terms), 36_000);
        assert!(terms.soak_ms / probe_pause_ms(&terms) >= terms.soak_successes);
    }
}

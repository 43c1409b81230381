//! When a backup is due: after a change by an operator, and again and again in any case.

use crate::time::Timestamp;

/// After a backup the next change waits this long for others, milliseconds.
pub const PAUSE_MS: u64 = 60_000;

/// A backup that was made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Made {
    /// When.
    pub at: Timestamp,
    /// How many records its audit log has.
    pub records: u64,
}

/// Whether to make one at `now`. `changed` is the number of the last audit record of a change that
/// a restore must bring back (keys, budgets, limits, pauses); `every_ms` the time between two in
/// which nothing changed.
pub fn is_due(last: Option<Made>, changed: Option<u64>, every_ms: u64, now: Timestamp) -> bool {
    let Some(last) = last else { return true };
    // A clock that was set back must not put backups off.
    if now < last.at {
        return true;
    }
    let age = now.ms_since(last.at);
    let news = changed.is_some_and(|seq| seq >= last.records);
    age >= every_ms || (news && age >= PAUSE_MS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_backed_up_within_the_minute_and_all_else_in_time() {
        let last = Some(Made { at: Timestamp::from_ms(1_000_000_000), records: 100 });
        let due = |changed, after_ms: i64| {
            is_due(last, changed, 900_000, Timestamp::from_ms(1_000_000_000 + after_ms))
        };
        assert!(!due(None, 899_999) && due(None, 900_000));
        assert!(!due(Some(99), 899_999), "the last change is in the backup");
        assert!(!due(Some(100), 59_999) && due(Some(100), 60_000));
        assert!(due(None, -1), "the clock was set back");
        assert!(is_due(None, None, 900_000, Timestamp::from_ms(0)), "there is none yet");
    }
}

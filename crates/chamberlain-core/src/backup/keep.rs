//! Which backups are kept: all of the last hours, one an hour for two days, one a day after that,
//! and none for longer than the operator says (at most 35 days, for a key that was erased here is
//! sealed in the backups of before).
//!
//! The newest is always kept, however old: it is all there is.

use std::collections::BTreeSet;

use super::name::BackupName;
use crate::time::Timestamp;

const HOUR_MS: u64 = 3_600_000;
const DAY_MS: u64 = 24 * HOUR_MS;

/// All are kept this long.
const ALL_MS: u64 = 2 * HOUR_MS;

/// One an hour is kept this long.
const HOURLY_MS: u64 = 2 * DAY_MS;

/// The names among `found` (all of one vault, in any order) that are kept no longer at `now`, the
/// oldest first.
pub fn to_prune(found: &[BackupName], keep_ms: u64, now: Timestamp) -> Vec<BackupName> {
    let mut newest_first: Vec<&BackupName> = found.iter().collect();
    newest_first.sort_by_key(|name| std::cmp::Reverse((name.made_at, name.records)));
    let mut spans = BTreeSet::new();
    let mut prune = Vec::new();
    // One that is from a clock that was ahead is not taken for the newest.
    let newest = newest_first.iter().find(|name| name.made_at <= now).copied();
    for name in newest_first {
        let age = now.ms_since(name.made_at);
        let span = match age {
            _ if age <= ALL_MS => None,
            _ if age <= HOURLY_MS => Some((HOUR_MS, name.made_at.ms().div_euclid(HOUR_MS as i64))),
            _ => Some((DAY_MS, name.made_at.ms().div_euclid(DAY_MS as i64))),
        };
        let kept = match span {
            _ if Some(name) == newest => {
                spans.extend(span);
                true
            }
            _ if age > keep_ms => false,
            None => true,
            // The last of each hour and day, which is the first met here.
            Some(span) => spans.insert(span),
        };
        if !kept {
            prune.push(name.clone());
        }
    }
    prune.reverse();
    prune
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::name::Encryption;
    use super::*;

    const NOW: Timestamp = Timestamp::from_ms(1_763_960_000_000);
    const KEEP_MS: u64 = 35 * DAY_MS;

    fn aged(ms: u64) -> BackupName {
        let made_at = NOW.plus_ms(-i64::try_from(ms).unwrap());
        BackupName::new("3f9a01c2", made_at, 1, Encryption::Age)
    }

    #[test]
    fn a_quarter_hourly_house_keeps_what_it_should() {
        // One each quarter of an hour for sixty days.
        let found: Vec<BackupName> = (0..60 * 96).map(|n| aged(n * 900_000)).collect();
        let gone = to_prune(&found, KEEP_MS, NOW);
        let kept: Vec<&BackupName> = found.iter().filter(|name| !gone.contains(name)).collect();
        let within = |from: u64, to: u64| {
            let age = |name: &&&BackupName| (from..to).contains(&NOW.ms_since(name.made_at));
            kept.iter().filter(age).count()
        };
        assert_eq!(within(0, ALL_MS + 1), 9, "all of two hours");
        assert!((45..=47).contains(&within(ALL_MS + 1, HOURLY_MS + 1)), "one an hour");
        assert!((33..=34).contains(&within(HOURLY_MS + 1, KEEP_MS + 1)), "one a day");
        assert_eq!(within(KEEP_MS + 1, u64::MAX), 0, "none longer than 35 days");
    }

    #[test]
    fn the_newest_is_kept_however_old() {
        let (old, older) = (aged(90 * DAY_MS), aged(91 * DAY_MS));
        assert_eq!(
            to_prune(&[older.clone(), old.clone()], KEEP_MS, NOW),
            std::slice::from_ref(&older)
        );
        let ahead = BackupName::new("3f9a01c2", NOW.plus_ms(9_000_000), 1, Encryption::Age);
        assert_eq!(to_prune(&[ahead, older.clone(), old], KEEP_MS, NOW), [older]);
    }

    proptest! {
        #[test]
        fn the_newest_is_never_pruned_and_pruning_twice_prunes_nothing_more(
            ages in prop::collection::vec(0u64..60 * DAY_MS, 1..60),
        ) {
            let found: Vec<BackupName> = ages.iter().map(|ms| aged(*ms)).collect();
            let gone = to_prune(&found, KEEP_MS, NOW);
            let kept: Vec<BackupName> =
                found.iter().filter(|name| !gone.contains(name)).cloned().collect();
            let newest = found.iter().max_by_key(|name| name.made_at).unwrap();
            prop_assert!(kept.contains(newest));
            prop_assert!(to_prune(&kept, KEEP_MS, NOW).is_empty());
        }
    }
}

//! Whether a backup is too old to be put back without a person saying so.
//!
//! What happened after a backup is not in it: keys that were revoked since would live again, money
//! that was spent since would be there again. Every restore is held for that; one of these is not
//! even begun.

use super::name::BackupName;
use crate::time::Timestamp;

/// One older than this is not what anybody means to put back, milliseconds.
pub const AGE_MS_MAX: u64 = 24 * 3_600_000;

/// Why a backup is too old.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Stale {
    /// There is a newer one.
    #[error("a newer backup of the same vault lies beside it: {0}")]
    Newer(BackupName),
    /// It is old.
    #[error("it was made {hours} hours ago; what was changed and spent since then is not in it")]
    Old {
        /// Its age, whole hours.
        hours: u64,
    },
}

/// Why the backup `made_at` with an audit log of `records` is too old at `now`; `beside` are the
/// names of the other backups of the same vault that are at hand.
pub fn is_stale(
    made_at: Timestamp,
    records: u64,
    beside: &[BackupName],
    now: Timestamp,
) -> Option<Stale> {
    let newest = beside.iter().max_by_key(|name| (name.records, name.made_at));
    if let Some(newest) = newest.filter(|newest| newest.records > records) {
        return Some(Stale::Newer(newest.clone()));
    }
    let age = now.ms_since(made_at);
    (age > AGE_MS_MAX).then_some(Stale::Old { hours: age / 3_600_000 })
}

#[cfg(test)]
mod tests {
    use super::super::name::Encryption;
    use super::*;

    #[test]
    fn the_newest_of_today_is_put_back_and_no_other() {
        let made = Timestamp::from_ms(1_763_960_000_000);
        let later = |ms: u64| made.plus_ms(i64::try_from(ms).unwrap());
        let beside = |records| vec![BackupName::new("3f9a01c2", made, records, Encryption::Age)];
        assert_eq!(is_stale(made, 10, &beside(10), later(AGE_MS_MAX)), None);
        assert_eq!(is_stale(made, 10, &[], later(1)), None);
        assert!(matches!(is_stale(made, 10, &beside(11), later(1)), Some(Stale::Newer(_))));
        let old = is_stale(made, 10, &beside(9), later(AGE_MS_MAX + 1));
        assert_eq!(old, Some(Stale::Old { hours: 24 }));
    }
}

//! When a key is to be replaced: derived from when it last was, from its environment's interval,
//! and from when it expires. Nobody types the day.

use serde::{Deserialize, Serialize};

use crate::time::Date;

/// A key that expires is replaced this many days before.
pub const BEFORE_EXPIRY_DAYS: i64 = 14;

/// What Anthropic recommends between two rotations, in days.
pub const VENDOR_ADVICE_DAYS: u32 = 90;

/// Why a rotation falls on its day.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Because {
    /// The environment's interval.
    Interval,
    /// The key expires, sooner than the interval ends.
    Expiry,
}

/// The next rotation.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct NextRotation {
    /// The day.
    pub on: Date,
    /// Why that day.
    pub because: Because,
}

/// Where a key stands before its next rotation.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "standing", content = "days")]
pub enum Standing {
    /// More than two weeks to go.
    Fresh(u64),
    /// At most two weeks to go.
    Soon(u64),
    /// Today.
    Due,
    /// So many days too late.
    Overdue(u64),
}

/// The day of the next rotation: the interval after the last one, or two weeks before the key
/// expires, whichever comes first.
pub fn next_rotation(last: Date, interval_days: u32, expires_on: Option<Date>) -> NextRotation {
    let by_policy = last.plus_days(i64::from(interval_days));
    let by_expiry = expires_on.map(|on| on.plus_days(-BEFORE_EXPIRY_DAYS));
    match by_expiry {
        Some(on) if on < by_policy => NextRotation { on, because: Because::Expiry },
        _ => NextRotation { on: by_policy, because: Because::Interval },
    }
}

/// Days to go, negative when it is overdue: what `chamberlain rotation status` prints.
pub fn days_left(next: Date, today: Date) -> i64 {
    today.days_until(next)
}

impl Standing {
    /// Where a key stands on `today`.
    pub fn of(next: Date, today: Date) -> Standing {
        match days_left(next, today) {
            0 => Standing::Due,
            left @ 1..=BEFORE_EXPIRY_DAYS => Standing::Soon(left.unsigned_abs()),
            left if left > 0 => Standing::Fresh(left.unsigned_abs()),
            late => Standing::Overdue(late.unsigned_abs()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn day(text: &str) -> Date {
        Date::parse(text).unwrap()
    }

    #[test]
    fn the_next_rotation_follows_from_the_last() {
        let next = next_rotation(day("2025-12-08"), 180, None);
        assert_eq!(next, NextRotation { on: day("2026-06-06"), because: Because::Interval });
        let next = next_rotation(day("2025-06-08"), 180, None);
        assert_eq!(next.on, day("2025-12-05"));
        assert_eq!(Standing::of(next.on, day("2025-12-08")), Standing::Overdue(3));
    }

    #[test]
    fn a_key_that_expires_is_replaced_two_weeks_before() {
        let last = day("2026-01-01");
        let at = |expires| next_rotation(last, 180, Some(day(expires)));
        // 180 days after the first of January is the 30th of June.
        assert_eq!(at("2026-07-14").because, Because::Interval);
        assert_eq!(at("2026-07-14").on, day("2026-06-30"));
        let sooner = NextRotation { on: day("2026-06-29"), because: Because::Expiry };
        assert_eq!(at("2026-07-13"), sooner);
    }

    #[test]
    fn the_days_of_the_reminders_are_exact() {
        let next = next_rotation(day("2025-12-08"), 180, None).on;
        for (today, standing) in [
            ("2026-05-22", Standing::Fresh(15)),
            ("2026-05-23", Standing::Soon(14)),
            ("2026-05-30", Standing::Soon(7)),
            ("2026-06-05", Standing::Soon(1)),
            ("2026-06-06", Standing::Due),
            ("2026-06-07", Standing::Overdue(1)),
        ] {
            assert_eq!(Standing::of(next, day(today)), standing, "{today}");
        }
    }

    proptest! {
        #[test]
        fn no_key_is_left_in_use_up_to_its_expiry(
            last in 0_i64..20_000,
            interval in 1_u32..1_000,
            life in 0_i64..2_000,
        ) {
            let last = day("1990-01-01").plus_days(last);
            let expires = last.plus_days(life);
            let next = next_rotation(last, interval, Some(expires)).on;
            prop_assert!(next <= expires.plus_days(-BEFORE_EXPIRY_DAYS));
            prop_assert!(next <= last.plus_days(i64::from(interval)));
        }
    }
}

//! When people are reminded that a key is to be replaced: fourteen days before, seven days before,
//! on the day, and then every day until it is done.
//!
//! When it is due, [`crate::keys::schedule`] says. A reminder that fell due while nobody was there to
//! send it is not sent late together with all that came after it: the latest one says all there is.

use serde::{Deserialize, Serialize};

use crate::keys::schedule::days_left;
use crate::record::Severity;
use crate::time::Date;

/// Something people are to be told.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Reminder {
    /// Days after the day on which the key is due; negative before it.
    pub day: i64,
    /// How urgent.
    pub severity: Severity,
}

/// The reminder of a key that is due on `next`, unless it, or a later one, was given. `given` is
/// the `day` of the last one about this key and this due date.
pub fn reminder(next: Date, given: Option<i64>, today: Date) -> Option<Reminder> {
    let day = match -days_left(next, today) {
        ..-14 => return None,
        -14..-7 => -14,
        -7..0 => -7,
        today => today,
    };
    let is_news = given.is_none_or(|given| given < day);
    let severity = match day {
        -14 => Severity::Warning,
        -7 => Severity::High,
        _ => Severity::Critical,
    };
    is_news.then_some(Reminder { day, severity })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::schedule::next_rotation;
    use crate::time::Timestamp;

    fn on(text: &str) -> Date {
        Date::parse(text).unwrap()
    }

    fn date(moment: Timestamp) -> Date {
        on(&moment.utc_date())
    }

    fn at(text: &str) -> Timestamp {
        Timestamp::from_rfc3339(text).unwrap()
    }

    /// Lives from a key's first day on, looking every ten minutes, with twenty restarts of up to
    /// five hours, and a rotation on `replaced`.
    fn live(days: i64, interval: u32, replaced: i64) -> Vec<(String, i64, Severity)> {
        let first = at("2025-12-08T15:30:00Z");
        let (mut since, mut given) = (first, None);
        let mut told = Vec::new();
        let mut down = 0;
        for look in 0..days * 144 {
            let now = first.plus_ms(look * 600_000);
            if look == replaced * 144 {
                // Another key, and so another due date: what was told of the old one is forgotten.
                (since, given) = (now, None);
            }
            // What was given is durable; a restart only means that nobody looks for a while.
            if look % (days * 144 / 20) == 0 {
                down = look % 31;
            }
            if down > 0 {
                down -= 1;
                continue;
            }
            let next = next_rotation(date(since), interval, None).on;
            if let Some(reminder) = reminder(next, given, date(now)) {
                given = Some(reminder.day);
                told.push((now.utc_date(), reminder.day, reminder.severity));
            }
        }
        told
    }

    #[test]
    fn four_hundred_days_of_a_key_of_180() {
        let told = live(400, 180, 183);
        let expected = [
            ("2026-05-23", -14, Severity::Warning),
            ("2026-05-30", -7, Severity::High),
            ("2026-06-06", 0, Severity::Critical),
            ("2026-06-07", 1, Severity::Critical),
            ("2026-06-08", 2, Severity::Critical),
            ("2026-06-09", 3, Severity::Critical),
            // Replaced on the ninth of June at 15:30; due again on 2026-12-06.
            ("2026-11-22", -14, Severity::Warning),
            ("2026-11-29", -7, Severity::High),
            ("2026-12-06", 0, Severity::Critical),
        ];
        let expected: Vec<_> = expected
            .into_iter()
            .map(|(day, after, severity)| (day.to_owned(), after, severity))
            .collect();
        let daily =
            (1..).map(|n| (on("2026-12-06").plus_days(n).to_string(), n, Severity::Critical));
        let until_the_end: Vec<_> = expected.into_iter().chain(daily).take(told.len()).collect();
        assert_eq!(told, until_the_end);
        assert_eq!(told.last().unwrap().0, "2027-01-12", "to the last day of the run");
    }

    #[test]
    fn four_hundred_days_of_a_key_of_365() {
        let told = live(400, 365, 370);
        let days: Vec<_> = told.iter().map(|(date, day, _)| (date.as_str(), *day)).collect();
        let expected = [
            ("2026-11-24", -14),
            ("2026-12-01", -7),
            ("2026-12-08", 0),
            ("2026-12-09", 1),
            ("2026-12-10", 2),
            ("2026-12-11", 3),
            ("2026-12-12", 4),
            ("2026-12-13", 5),
        ];
        assert_eq!(days, expected, "replaced on day 370, and quiet from then on");
    }

    #[test]
    fn after_a_long_absence_only_the_latest_is_told() {
        let due = on("2026-06-06");
        let back = reminder(due, None, on("2026-06-10")).unwrap();
        assert_eq!((back.day, back.severity), (4, Severity::Critical));
        assert_eq!(reminder(due, Some(4), on("2026-06-10")), None);
        assert_eq!(reminder(due, Some(4), on("2026-06-09")), None, "clock put back");
    }
}

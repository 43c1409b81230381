//! A calendar day, without an hour and without a zone.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A calendar day, written `2026-11-23`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Date(pub(super) jiff::civil::Date);

impl Date {
    /// Reads `2026-11-23`, and nothing that is written otherwise; `None` when it is no day.
    pub fn parse(text: &str) -> Option<Date> {
        let bytes = text.as_bytes();
        let digits = |range: std::ops::Range<usize>| bytes[range].iter().all(u8::is_ascii_digit);
        let is_written_so = bytes.len() == 10
            && (bytes[4], bytes[7]) == (b'-', b'-')
            && digits(0..4)
            && digits(5..7)
            && digits(8..10);
        if !is_written_so {
            return None;
        }
        text.parse().ok().map(Date)
    }

    /// The day `days` later (earlier when negative), clamped to the years from -9999 to 9999.
    #[must_use]
    pub fn plus_days(self, days: i64) -> Date {
        let far = if days < 0 { jiff::civil::Date::MIN } else { jiff::civil::Date::MAX };
        let span = jiff::Span::new().try_days(days);
        Date(span.and_then(|span| self.0.checked_add(span)).unwrap_or(far))
    }

    /// Days from this one to `other`, negative when that is past.
    pub fn days_until(self, other: Date) -> i64 {
        i64::from((other.0 - self.0).get_days())
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0.to_string())
    }
}

impl fmt::Debug for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl Serialize for Date {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Date {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Date, D::Error> {
        let text = String::deserialize(deserializer)?;
        Date::parse(&text).ok_or_else(|| {
            serde::de::Error::custom("expected a day as 2026-11-23: year, month, day")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> Date {
        Date::parse(text).unwrap()
    }

    #[test]
    fn a_day_is_read_in_one_form_only() {
        assert_eq!(day("2026-06-06").to_string(), "2026-06-06");
        for text in
            ["", "2026-6-6", "20260606", "2026-02-30", "2026-06-06T00:00", "+026-06-06", "June 6"]
        {
            assert_eq!(Date::parse(text), None, "{text}");
        }
    }

    #[test]
    fn days_are_counted_over_leap_years() {
        assert_eq!(day("2025-12-08").plus_days(180), day("2026-06-06"));
        assert_eq!(day("2025-06-08").plus_days(180), day("2025-12-05"), "the seed says 12-04");
        assert_eq!(day("2024-02-28").plus_days(2), day("2024-03-01"));
        assert_eq!(day("2025-06-08").days_until(day("2025-12-08")), 183);
        assert_eq!(day("2026-01-02").days_until(day("2026-01-01")), -1);
        assert_eq!(day("2026-01-01").plus_days(i64::MAX).to_string(), "9999-12-31");
    }
}

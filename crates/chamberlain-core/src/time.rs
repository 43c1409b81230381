//! Time as a value.
//!
//! [`Timestamp`] is an argument of every rule; the only clock in the house is made in the binary
//! and handed to the edges as a [`Clock`].

use std::fmt;

use serde::{Deserialize, Serialize};

mod date;

pub use date::Date;

/// A moment, in milliseconds since 1970-01-01 UTC.
#[derive(
    Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The moment `ms` milliseconds after the epoch.
    pub const fn from_ms(ms: i64) -> Timestamp {
        Timestamp(ms)
    }

    /// Milliseconds since the epoch.
    pub const fn ms(self) -> i64 {
        self.0
    }

    /// The moment `ms` milliseconds later (earlier when negative), clamped to the range.
    pub const fn plus_ms(self, ms: i64) -> Timestamp {
        Timestamp(self.0.saturating_add(ms))
    }

    /// Milliseconds from `earlier` to `self`, never below zero.
    pub const fn ms_since(self, earlier: Timestamp) -> u64 {
        let ms = self.0.saturating_sub(earlier.0);
        if ms < 0 { 0 } else { ms as u64 }
    }

    /// RFC 3339 in UTC with milliseconds, `2026-11-23T09:00:00.000Z`.
    pub fn to_rfc3339(self) -> String {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(moment) => format!("{moment:.3}"),
            Err(_) => format!("{}ms", self.0),
        }
    }

    /// Reads an RFC 3339 moment.
    ///
    /// # Errors
    /// When the text is not one, with the reason.
    pub fn from_rfc3339(text: &str) -> Result<Timestamp, String> {
        let moment: jiff::Timestamp = text.parse().map_err(|error| format!("{error}"))?;
        Ok(Timestamp(moment.as_millisecond()))
    }

    /// Reads the moment of an HTTP `date` header; `None` when it is none.
    pub fn from_http_date(text: &str) -> Option<Timestamp> {
        let read = jiff::fmt::rfc2822::parse(text).ok()?;
        Some(Timestamp(read.timestamp().as_millisecond()))
    }

    /// The calendar date in UTC, `2026-11-23`.
    pub fn utc_date(self) -> String {
        self.to_rfc3339().chars().take(10).collect()
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.to_rfc3339())
    }
}

/// How long a budget window is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WindowKind {
    /// A calendar day.
    Daily,
    /// A calendar month.
    Monthly,
}

impl WindowKind {
    /// Both kinds, the shorter first.
    pub const ALL: [WindowKind; 2] = [WindowKind::Daily, WindowKind::Monthly];

    /// The word used everywhere: `daily`, `monthly`.
    pub const fn name(self) -> &'static str {
        match self {
            WindowKind::Daily => "daily",
            WindowKind::Monthly => "monthly",
        }
    }
}

/// One calendar window: its kind, and the half-open span `[start, end)`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Window {
    /// Day or month.
    pub kind: WindowKind,
    /// First moment inside.
    pub start: Timestamp,
    /// First moment after.
    pub end: Timestamp,
}

/// The calendar that budgets are counted in: a time zone, UTC unless configured.
#[derive(Clone, Debug)]
pub struct Calendar {
    zone: jiff::tz::TimeZone,
}

impl Calendar {
    /// The UTC calendar.
    pub fn utc() -> Calendar {
        Calendar { zone: jiff::tz::TimeZone::UTC }
    }

    /// The calendar of an IANA zone such as `Europe/Zurich`.
    ///
    /// # Errors
    /// When the zone is unknown, with the reason.
    pub fn named(zone: &str) -> Result<Calendar, String> {
        jiff::tz::TimeZone::get(zone)
            .map(|zone| Calendar { zone })
            .map_err(|error| format!("{error}"))
    }

    /// The window of `kind` that contains `now`. Days are 23 or 25 hours long when clocks change.
    pub fn window(&self, kind: WindowKind, now: Timestamp) -> Window {
        let moment = jiff::Timestamp::from_millisecond(now.0).unwrap_or_default();
        let date = moment.to_zoned(self.zone.clone()).date();
        let first = match kind {
            WindowKind::Daily => date,
            WindowKind::Monthly => date.first_of_month(),
        };
        let next = match kind {
            WindowKind::Daily => first.tomorrow().unwrap_or(first),
            WindowKind::Monthly => first.last_of_month().tomorrow().unwrap_or(first),
        };
        Window { kind, start: self.midnight(first), end: self.midnight(next) }
    }

    /// The day that `at` lies in.
    pub fn date(&self, at: Timestamp) -> Date {
        let moment = jiff::Timestamp::from_millisecond(at.0).unwrap_or_default();
        Date(moment.to_zoned(self.zone.clone()).date())
    }

    /// When a day begins.
    pub fn start_of(&self, date: Date) -> Timestamp {
        self.midnight(date.0)
    }

    /// The day written `2026-11-23`; `None` when that is not a date.
    pub fn day(&self, text: &str) -> Option<Window> {
        let first: jiff::civil::Date = text.parse().ok().filter(|_| text.len() == 10)?;
        let next = first.tomorrow().unwrap_or(first);
        let (start, end) = (self.midnight(first), self.midnight(next));
        Some(Window { kind: WindowKind::Daily, start, end })
    }

    fn midnight(&self, date: jiff::civil::Date) -> Timestamp {
        // Fails only beyond the year 9999; the far end of time is then a window that never ends.
        date.to_zoned(self.zone.clone())
            .map_or(Timestamp(i64::MAX), |zoned| Timestamp(zoned.timestamp().as_millisecond()))
    }
}

/// Where the edges get the time from.
pub trait Clock: Send + Sync + 'static {
    /// The present moment.
    fn now(&self) -> Timestamp;
}

/// Where the edges get randomness from.
pub trait Entropy: Send + Sync + 'static {
    /// Fills `bytes` with unpredictable bytes.
    fn fill(&self, bytes: &mut [u8]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::from_rfc3339(text).unwrap()
    }

    #[test]
    fn an_http_date_is_read_or_none() {
        let noon = at("2026-11-24T12:00:00Z");
        assert_eq!(Timestamp::from_http_date("Tue, 24 Nov 2026 12:00:00 GMT"), Some(noon));
        assert_eq!(Timestamp::from_http_date("today"), None);
    }

    #[test]
    fn windows_are_calendar_windows() {
        let calendar = Calendar::utc();
        let day = calendar.window(WindowKind::Daily, at("2026-02-28T23:59:59.999Z"));
        assert_eq!((day.start, day.end), (at("2026-02-28T00:00:00Z"), at("2026-03-01T00:00:00Z")));
        let month = calendar.window(WindowKind::Monthly, at("2026-12-31T12:00:00Z"));
        assert_eq!(
            (month.start, month.end),
            (at("2026-12-01T00:00:00Z"), at("2027-01-01T00:00:00Z"))
        );
    }

    #[test]
    fn a_day_is_found_by_its_date() {
        for zone in ["UTC", "Europe/Zurich", "Pacific/Kiritimati", "Pacific/Pago_Pago"] {
            let calendar = Calendar::named(zone).unwrap();
            let day = calendar.day("2026-03-29").unwrap();
            assert_eq!(calendar.window(WindowKind::Daily, day.start), day, "{zone}");
            assert_eq!(calendar.window(WindowKind::Daily, day.end.plus_ms(-1)), day, "{zone}");
        }
        for text in ["", "2026-02-30", "29.3.2026", "20260329", "2026-03-29T00:00:00Z"] {
            assert_eq!(Calendar::utc().day(text), None, "{text}");
        }
    }

    #[test]
    fn a_day_is_as_long_as_its_zone_says() {
        let calendar = Calendar::named("Europe/Zurich").unwrap();
        let spring = calendar.window(WindowKind::Daily, at("2026-03-29T12:00:00Z"));
        assert_eq!(spring.end.ms_since(spring.start), 23 * 3_600_000);
        let autumn = calendar.window(WindowKind::Daily, at("2026-10-25T12:00:00Z"));
        assert_eq!(autumn.end.ms_since(autumn.start), 25 * 3_600_000);
    }
}

//! Moments as people write them: `30d`, `2026-12-31`, or RFC 3339.

use chamberlain_core::time::{Calendar, Timestamp};

use crate::error::CommandError;

/// Ten thousand years, so that nothing a person can mean is out of range.
const SPAN_MS_MAX: i64 = 10_000 * 366 * 86_400_000;

/// Reads a moment that lies ahead: a span from now on, the end of a day, or a moment.
///
/// # Errors
/// When the text is none of them, or is not ahead.
pub fn ahead(text: &str, now: Timestamp, calendar: &Calendar) -> Result<Timestamp, CommandError> {
    let moment = match span_ms(text) {
        Some(ms) => now.plus_ms(ms),
        None => match calendar.day(text.trim()) {
            Some(day) => day.end,
            None => Timestamp::from_rfc3339(text.trim()).map_err(|_| not_a_moment(text))?,
        },
    };
    if moment > now {
        return Ok(moment);
    }
    Err(CommandError::usage(format!("{text:?} is {moment}, which is not in the future")))
}

/// Reads a moment that lies behind: a span before now, the beginning of a day, or a moment.
///
/// # Errors
/// When the text is none of them.
pub fn behind(text: &str, now: Timestamp, calendar: &Calendar) -> Result<Timestamp, CommandError> {
    match (span_ms(text), calendar.day(text.trim())) {
        (Some(ms), _) => Ok(now.plus_ms(-ms)),
        (None, Some(day)) => Ok(day.start),
        (None, None) => Timestamp::from_rfc3339(text.trim()).map_err(|_| not_a_moment(text)),
    }
}

/// `90s`, `45m`, `12h`, `30d`, `2w`, in milliseconds.
fn span_ms(text: &str) -> Option<i64> {
    let text = text.trim();
    let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    let unit_ms: i64 = match unit {
        "s" => 1_000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        "w" => 7 * 86_400_000,
        _ => return None,
    };
    let count: i64 = digits.parse().ok()?;
    count.checked_mul(unit_ms).filter(|ms| *ms <= SPAN_MS_MAX)
}

fn not_a_moment(text: &str) -> CommandError {
    CommandError::usage(format!("{text:?} is not a time"))
        .hint("write a span like 90s, 45m, 12h, 30d or 2w, a date like 2026-12-31, or RFC 3339")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::from_rfc3339(text).unwrap()
    }

    const NOW: &str = "2026-11-23T09:30:00Z";

    #[test]
    fn what_lies_ahead() {
        let calendar = Calendar::utc();
        for (text, moment) in [
            ("30d", "2026-12-23T09:30:00Z"),
            (" 90s ", "2026-11-23T09:31:30Z"),
            ("2w", "2026-12-07T09:30:00Z"),
            ("2026-12-31", "2027-01-01T00:00:00Z"),
            ("2026-11-23", "2026-11-24T00:00:00Z"),
            ("2026-11-23T12:00:00+02:00", "2026-11-23T10:00:00Z"),
        ] {
            assert_eq!(ahead(text, at(NOW), &calendar).unwrap(), at(moment), "{text}");
        }
    }

    #[test]
    fn what_does_not() {
        let calendar = Calendar::utc();
        let long = "9".repeat(19) + "d";
        for text in
            ["", "30", "d", "-3d", "0d", "1y", "3.5h", "2026-11-22", "2026-11-23T09:30:00Z", &long]
        {
            let error = ahead(text, at(NOW), &calendar).unwrap_err();
            assert_eq!(error.code, crate::error::ErrorCode::Usage, "{text}");
        }
    }

    #[test]
    fn what_lies_behind() {
        let calendar = Calendar::named("Europe/Zurich").unwrap();
        for (text, moment) in [
            ("7d", "2026-11-16T09:30:00Z"),
            ("2026-11-01", "2026-10-31T23:00:00Z"),
            ("2026-11-01T00:00:00Z", "2026-11-01T00:00:00Z"),
        ] {
            assert_eq!(behind(text, at(NOW), &calendar).unwrap(), at(moment), "{text}");
        }
        assert!(behind("yesterday", at(NOW), &calendar).is_err());
    }
}

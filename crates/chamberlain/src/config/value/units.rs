//! Numbers with a unit: durations and sizes. A number without one is nobody's guess.

use super::{Kind, Value, Wrong, wrong};

const SECOND_MS: u64 = 1_000;
pub(super) const DAY_MS: u64 = 86_400 * SECOND_MS;
pub(super) const TIME_UNITS: [(&str, u64); 5] =
    [("ms", 1), ("s", SECOND_MS), ("m", 60 * SECOND_MS), ("h", 3_600 * SECOND_MS), ("d", DAY_MS)];
pub(super) const SIZE_UNITS: [(&str, u64); 7] = [
    ("B", 1),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
];

pub(super) fn with_unit(text: &str, units: &[(&str, u64)], kind: Kind) -> Result<u64, Wrong> {
    let not_one = || wrong(format!("{text:?} is not {}", kind.expects()), kind.instead());
    let mut rest = text.trim();
    let mut total = 0u64;
    if rest.is_empty() {
        return not_one();
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (number, tail) = rest.split_at(digits);
        let letters = tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        let Some((_, factor)) = units.iter().find(|(name, _)| *name == unit) else {
            return not_one();
        };
        let Ok(number) = number.parse::<u64>() else { return not_one() };
        let Some(sum) = number.checked_mul(*factor).and_then(|part| total.checked_add(part)) else {
            return not_one();
        };
        total = sum;
        rest = tail.trim_start();
    }
    Ok(total)
}

pub(super) fn within(
    number: u64,
    (min, max): (u64, u64),
    text: &str,
    show: fn(u64) -> String,
) -> Result<Value, Wrong> {
    if number < min {
        return wrong(format!("{text:?} is too small"), format!("write at least {:?}", show(min)));
    }
    if number > max {
        return wrong(format!("{text:?} is too large"), format!("write at most {:?}", show(max)));
    }
    Ok(Value::Number(number))
}

/// The shortest exact form of a duration in milliseconds.
pub(crate) fn duration_text(ms: u64) -> String {
    let exact = TIME_UNITS.iter().rev().find(|(_, factor)| ms != 0 && ms.is_multiple_of(*factor));
    exact.map_or_else(|| "0s".to_owned(), |(unit, factor)| format!("{}{unit}", ms / factor))
}

pub(super) fn size_text(bytes: u64) -> String {
    let binary = [("GiB", 1u64 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    let exact = binary.iter().find(|(_, factor)| bytes != 0 && bytes.is_multiple_of(*factor));
    exact.map_or_else(|| format!("{bytes}B"), |(unit, factor)| format!("{}{unit}", bytes / factor))
}

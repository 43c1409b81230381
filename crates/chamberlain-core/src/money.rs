//! Money as an exact integer.
//!
//! One unit is a picodollar (10⁻¹² US dollars). The finest price in use, a Haiku 5.5 batch cache
//! read in the US geography, is 5,500 picodollars a token, so nothing is ever rounded in the
//! books; rounding happens only when an amount is shown. Amounts are 128 bits wide and every
//! operation is checked: an overflow is an error, never a wrap.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Picodollars in one US dollar.
pub const PICO_PER_USD: i128 = 1_000_000_000_000;

/// An exact amount of US dollars, counted in picodollars.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Money(i128);

impl Money {
    /// No money.
    pub const ZERO: Money = Money(0);

    /// The amount of `pico` picodollars.
    pub const fn from_pico(pico: i128) -> Money {
        Money(pico)
    }

    /// The amount of `usd` whole dollars.
    pub const fn from_usd(usd: i64) -> Money {
        Money(usd as i128 * PICO_PER_USD)
    }

    /// The amount in picodollars.
    pub const fn pico(self) -> i128 {
        self.0
    }

    /// True for an amount of exactly nothing.
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// True for an amount below nothing.
    pub const fn is_negative(self) -> bool {
        self.0 < 0
    }

    /// Adds, or `None` on overflow.
    pub fn checked_add(self, other: Money) -> Option<Money> {
        self.0.checked_add(other.0).map(Money)
    }

    /// Subtracts, or `None` on overflow. The result may be negative.
    pub fn checked_sub(self, other: Money) -> Option<Money> {
        self.0.checked_sub(other.0).map(Money)
    }

    /// Multiplies by a count, or `None` on overflow.
    pub fn checked_mul(self, count: u64) -> Option<Money> {
        self.0.checked_mul(i128::from(count)).map(Money)
    }

    /// What is left of `self` after `other`, never below nothing.
    pub fn saturating_sub(self, other: Money) -> Money {
        Money(self.0.saturating_sub(other.0).max(0))
    }

    /// This share of a whole in basis points (hundredths of a percent), rounded down.
    ///
    /// `None` when the whole is not positive.
    pub fn basis_points_of(self, whole: Money) -> Option<u64> {
        if whole.0 <= 0 {
            return None;
        }
        let points = self.0.checked_mul(10_000)?.div_euclid(whole.0);
        u64::try_from(points).ok()
    }

    /// Exact decimal dollars without a sign of currency: `"0.0088792"`, at least two decimals.
    pub fn to_decimal(self) -> String {
        let sign = if self.0 < 0 { "-" } else { "" };
        let magnitude = self.0.unsigned_abs();
        let whole = magnitude / PICO_PER_USD.unsigned_abs();
        let fraction = format!("{:012}", magnitude % PICO_PER_USD.unsigned_abs());
        let fraction = fraction.trim_end_matches('0');
        format!("{sign}{whole}.{fraction:0<2}")
    }

    /// Dollars for people, `"$12.35"`: cents from one dollar up, six decimals below, rounded up so
    /// that something is never shown as nothing.
    pub fn to_display(self) -> String {
        let sign = if self.0 < 0 { "-" } else { "" };
        let magnitude = self.0.unsigned_abs();
        let one = PICO_PER_USD.unsigned_abs();
        if magnitude == 0 {
            return "$0.00".to_owned();
        }
        let (unit, width) = if magnitude >= one { (one / 100, 2) } else { (one / 1_000_000, 6) };
        let rounded = magnitude.div_ceil(unit);
        let per_dollar = one / unit;
        let (whole, fraction) = (rounded / per_dollar, rounded % per_dollar);
        let text = format!("{sign}${whole}.{fraction:0width$}");
        if width == 6 {
            let trimmed = text.trim_end_matches('0');
            let decimals = trimmed.len() - trimmed.find('.').map_or(trimmed.len(), |at| at + 1);
            return format!("{trimmed}{}", "0".repeat(2usize.saturating_sub(decimals)));
        }
        text
    }
}

/// Why a text is not an amount of money.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    /// Not a plain decimal number.
    #[error("{0:?} is not an amount in US dollars; write it like 25 or 25.00")]
    NotDecimal(String),
    /// More than twelve decimals.
    #[error("{0:?} is finer than a picodollar (twelve decimals)")]
    TooFine(String),
    /// Beyond the range of the books.
    #[error("{0:?} is too large an amount")]
    TooLarge(String),
}

impl FromStr for Money {
    type Err = MoneyError;

    /// Parses `25`, `25.00`, `$25` or `25.00 USD`. Exponents and signs are refused.
    fn from_str(text: &str) -> Result<Money, MoneyError> {
        let bare = text.trim();
        let bare = bare.strip_prefix('$').unwrap_or(bare);
        let bare = bare.strip_suffix("USD").unwrap_or(bare).trim_end();
        let (whole, fraction) = bare.split_once('.').unwrap_or((bare, ""));
        let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || !digits(whole) || !digits(fraction) || bare.ends_with('.') {
            return Err(MoneyError::NotDecimal(text.to_owned()));
        }
        if fraction.len() > 12 {
            return Err(MoneyError::TooFine(text.to_owned()));
        }
        let too_large = || MoneyError::TooLarge(text.to_owned());
        let whole: i128 = whole.parse().map_err(|_| too_large())?;
        let fraction: i128 = format!("{fraction:0<12}").parse().map_err(|_| too_large())?;
        let pico = whole.checked_mul(PICO_PER_USD).and_then(|pico| pico.checked_add(fraction));
        // A quarter of the range is kept free so that sums of a few amounts cannot overflow.
        pico.filter(|pico| *pico < i128::MAX / 4).map(Money).ok_or_else(too_large)
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.to_display())
    }
}

impl fmt::Debug for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "${}", self.to_decimal())
    }
}

impl Serialize for Money {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.to_decimal())
    }
}

impl<'de> Deserialize<'de> for Money {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Money, D::Error> {
        let text = String::deserialize(deserializer)?;
        let (negative, digits) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.as_str()),
        };
        let money: Money = digits.parse().map_err(serde::de::Error::custom)?;
        Ok(if negative { Money(-money.0) } else { money })
    }
}

#[cfg(test)]
mod tests;

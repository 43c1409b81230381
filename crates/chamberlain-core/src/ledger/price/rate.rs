//! What a token costs: exact, in whole picodollars.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Picodollars a token, by category.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Rates {
    /// Uncached input.
    pub input: u64,
    /// Output.
    pub output: u64,
    /// Five-minute cache write.
    pub cache_write_5m: u64,
    /// One-hour cache write.
    pub cache_write_1h: u64,
    /// Cache read.
    pub cache_read: u64,
}

impl Rates {
    /// The dearer of both, category by category.
    pub fn dearest(self, other: Rates) -> Rates {
        self.zip(other, u64::max)
    }

    /// The prices of US-only inference: exactly 1.1 times, which [`UsdPerMtok`] keeps whole.
    pub(super) fn us_only(self) -> Rates {
        self.zip(self, |rate, _| rate / 10 * 11)
    }

    /// The prices of a batch: half of each. Rounded up, where an own price's US-only rate is odd.
    pub(crate) fn in_batch(self) -> Rates {
        self.zip(self, |rate, _| rate.div_ceil(2))
    }

    pub(super) fn zip(self, other: Rates, join: impl Fn(u64, u64) -> u64) -> Rates {
        Rates {
            input: join(self.input, other.input),
            output: join(self.output, other.output),
            cache_write_5m: join(self.cache_write_5m, other.cache_write_5m),
            cache_write_1h: join(self.cache_write_1h, other.cache_write_1h),
            cache_read: join(self.cache_read, other.cache_read),
        }
    }
}

/// A price as people write it, `"0.125"` US dollars per million tokens; kept as whole picodollars
/// a token.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct UsdPerMtok(u64);

impl UsdPerMtok {
    /// The price of `pico` picodollars a token, for showing one of [`Rates`].
    pub const fn from_pico_per_token(pico: u64) -> UsdPerMtok {
        UsdPerMtok(pico)
    }

    /// Picodollars a token.
    pub const fn pico_per_token(self) -> u64 {
        self.0
    }
}

/// Why a text is not a price.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RateError {
    /// Not a plain decimal number.
    #[error("{0:?} is not a price; write US dollars per million tokens, like \"0.125\"")]
    NotDecimal(String),
    /// Finer than the books.
    #[error("{0:?} has more than five decimals; its US-only price would not be whole picodollars")]
    TooFine(String),
    /// Nothing, or more than a dollar a token.
    #[error("{0:?} is not between 0.00001 and 1000000 US dollars per million tokens")]
    OutOfRange(String),
}

impl FromStr for UsdPerMtok {
    type Err = RateError;

    fn from_str(text: &str) -> Result<UsdPerMtok, RateError> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || !digits(whole) || !digits(fraction) || text.ends_with('.') {
            return Err(RateError::NotDecimal(text.to_owned()));
        }
        if fraction.len() > 5 {
            return Err(RateError::TooFine(text.to_owned()));
        }
        // A dollar per million tokens is a million picodollars a token.
        let out_of_range = || RateError::OutOfRange(text.to_owned());
        let whole: u64 = whole.parse().map_err(|_| out_of_range())?;
        let fraction: u64 = format!("{fraction:0<6}").parse().map_err(|_| out_of_range())?;
        let pico = whole.checked_mul(1_000_000).and_then(|pico| pico.checked_add(fraction));
        pico.filter(|pico| (1..=1_000_000_000_000).contains(pico))
            .map(UsdPerMtok)
            .ok_or_else(out_of_range)
    }
}

impl fmt::Display for UsdPerMtok {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fraction = format!("{:06}", self.0 % 1_000_000);
        let fraction = fraction.trim_end_matches('0');
        f.pad(&format!("{}.{fraction:0<2}", self.0 / 1_000_000))
    }
}

impl Serialize for UsdPerMtok {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for UsdPerMtok {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<UsdPerMtok, D::Error> {
        struct Text;
        impl de::Visitor<'_> for Text {
            type Value = UsdPerMtok;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a quoted price in US dollars per million tokens, like \"0.125\"")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<UsdPerMtok, E> {
                text.parse().map_err(E::custom)
            }
        }
        // Only text: a TOML or JSON number may already have lost its last digit.
        deserializer.deserialize_str(Text)
    }
}

/// Prices for all five categories, in US dollars per million tokens.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PriceSet {
    /// Uncached input.
    pub input: UsdPerMtok,
    /// Output.
    pub output: UsdPerMtok,
    /// Five-minute cache write.
    pub cache_write_5m: UsdPerMtok,
    /// One-hour cache write.
    pub cache_write_1h: UsdPerMtok,
    /// Cache read.
    pub cache_read: UsdPerMtok,
}

impl PriceSet {
    pub(super) fn rates(self) -> Rates {
        Rates {
            input: self.input.pico_per_token(),
            output: self.output.pico_per_token(),
            cache_write_5m: self.cache_write_5m.pico_per_token(),
            cache_write_1h: self.cache_write_1h.pico_per_token(),
            cache_read: self.cache_read.pico_per_token(),
        }
    }
}

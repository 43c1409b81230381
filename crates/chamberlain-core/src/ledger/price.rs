//! The price book: dated prices per model, tier, speed and geography.

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;
use crate::usage::Speed;

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

/// Where a model is in its life.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lifecycle {
    /// Served.
    Active,
    /// Served, with an end announced.
    Deprecated,
    /// No longer served.
    Retired,
}

/// What the book knows of a model besides its prices.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Model {
    /// The id.
    pub id: String,
    /// Other ids for the same model.
    pub aliases: Vec<String>,
    /// Context window in tokens.
    pub context_window: u64,
    /// Largest output in tokens.
    pub max_output: u64,
    /// True when US-only inference exists (and costs 1.1 times).
    pub us_geo: bool,
    /// True when fast mode has prices.
    pub fast: bool,
    /// Announced end, `2026-11-30`.
    pub retires_on: Option<String>,
}

/// Why there is no price.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Unpriced {
    /// No such model in the book.
    #[error("the model {0:?} is not in the price book")]
    UnknownModel(String),
    /// No row in force at that time.
    #[error("the model {0:?} has no price in force at that time")]
    NoPriceInForce(String),
    /// Fast mode has no price for the model.
    #[error("the model {0:?} has no fast-mode price")]
    NoFastPrice(String),
    /// A sum left the range.
    #[error("the amount is beyond the range of the books")]
    Overflow,
}

/// All prices.
#[derive(Clone, Debug)]
pub struct PriceBook {}

/// Which of a model's prices.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PriceQuery {
    /// When the request began.
    pub at: Timestamp,
    /// The speed.
    pub speed: Speed,
    /// US-only inference.
    pub us_only: bool,
    /// The whole prompt in tokens, for models priced by its length.
    pub prompt_tokens: u64,
}

impl PriceBook {
    /// The book that is compiled in.
    pub fn builtin() -> PriceBook {
        unimplemented!("being written")
    }

    /// The model of that id or alias.
    pub fn model(&self, _id: &str) -> Option<&Model> {
        unimplemented!("being written")
    }

    /// Where the model is in its life at `at`.
    pub fn lifecycle(&self, _model: &Model, _at: Timestamp) -> Lifecycle {
        unimplemented!("being written")
    }

    /// Every model, newest first.
    pub fn models(&self) -> &[Model] {
        unimplemented!("being written")
    }

    /// The rates that apply.
    ///
    /// # Errors
    /// [`Unpriced`], when there are none: unknown is never free.
    pub fn rates(&self, _model: &str, _query: PriceQuery) -> Result<Rates, Unpriced> {
        unimplemented!("being written")
    }
}

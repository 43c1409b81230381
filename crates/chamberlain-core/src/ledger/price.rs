//! The price book: dated prices per model, tier, speed and geography.
//!
//! Prices are absolute and whole picodollars a token; nothing here is a float or a factor, except
//! the one factor Anthropic has (1.1 for US-only inference), and a price that would not stay whole
//! under it is refused when it is read. A model that is not in the book has no price: unknown is
//! never free.

use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use crate::money::Money;
use crate::quick::QuickMap;
use crate::time::Timestamp;
use crate::usage::Speed;

mod file;
mod own;
mod rate;
#[cfg(test)]
mod tests;

pub use own::{LongContextOverride, PriceError, PriceOverride};
pub use rate::{PriceSet, RateError, Rates, UsdPerMtok};

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
    /// Day of release, `2026-09-28`.
    pub released: Option<String>,
    /// Day from which its end is announced.
    pub deprecated_on: Option<String>,
    /// Announced end, `2026-11-30`; from 00:00 UTC of that day it is retired.
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

/// Prices that hold above a prompt length, for every token of the request.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct LongContext {
    /// They hold when the prompt has more tokens than this.
    pub above_prompt_tokens: u64,
    /// The prices.
    pub rates: Rates,
}

/// A model's prices from a day on.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Row {
    /// First moment in force.
    from: Timestamp,
    standard: Rates,
    long_context: Option<LongContext>,
    fast: Option<Rates>,
    /// Fast mode is gone from this moment on.
    fast_until: Option<Timestamp>,
}

impl Row {
    fn fast_at(&self, at: Timestamp) -> Option<Rates> {
        self.fast.filter(|_| self.fast_until.is_none_or(|until| at < until))
    }

    fn rates(&self, query: PriceQuery) -> Option<Rates> {
        let long = self
            .long_context
            .filter(|long| query.prompt_tokens > long.above_prompt_tokens)
            .map(|long| long.rates);
        let rates = match (query.speed, long) {
            (Speed::Standard, None) => self.standard,
            (Speed::Standard, Some(long)) => long,
            (Speed::Fast, None) => self.fast_at(query.at)?,
            // No model has both today, so nobody has said what it would cost.
            (Speed::Fast, Some(_)) => return None,
        };
        Some(if query.us_only { rates.us_only() } else { rates })
    }
}

/// The dated part of what is known of one model.
#[derive(Clone, Debug)]
struct History {
    /// Sorted by `from`; each holds until the next begins. Never empty.
    rows: Vec<Row>,
    deprecated_at: Option<Timestamp>,
    retires_at: Option<Timestamp>,
}

impl History {
    fn row_at(&self, at: Timestamp) -> Option<&Row> {
        self.rows.iter().rev().find(|row| row.from <= at)
    }
}

/// One model's prices in force, for showing.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct PriceLine<'a> {
    /// The model.
    pub model: &'a Model,
    /// Where it is in its life.
    pub lifecycle: Lifecycle,
    /// The ordinary prices.
    pub standard: Rates,
    /// The prices of long prompts, where they differ.
    pub long_context: Option<LongContext>,
    /// The prices of fast mode, where there is one.
    pub fast: Option<Rates>,
}

/// All prices.
#[derive(Clone, Debug)]
pub struct PriceBook {
    as_of: String,
    digest: String,
    web_search: Money,
    models: Vec<Model>,
    /// Beside `models`, same order.
    histories: Vec<History>,
    /// Ids and aliases, to the place in `models`.
    index: QuickMap<String, usize>,
}

impl PriceBook {
    /// The book that is compiled in.
    pub fn builtin() -> PriceBook {
        static BUILTIN: LazyLock<PriceBook> = LazyLock::new(|| {
            PriceBook::read(include_str!("prices.json"))
                .expect("the compiled-in price book is well formed, which a test reads it for")
        });
        BUILTIN.clone()
    }

    /// The day the built-in prices were last looked up, `2026-11-23`.
    pub fn as_of(&self) -> &str {
        &self.as_of
    }

    /// SHA-256 over the built-in book and the operator's own rows, in hex: names in a record which
    /// prices were applied.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// The price of one web search; failed searches are free and not counted upstream.
    pub fn web_search(&self) -> Money {
        self.web_search
    }

    /// The model of that id or alias.
    pub fn model(&self, id: &str) -> Option<&Model> {
        self.index.get(id).map(|&place| &self.models[place])
    }

    /// Where the model is in its life at `at`.
    pub fn lifecycle(&self, model: &Model, at: Timestamp) -> Lifecycle {
        let Some(history) = self.history(&model.id) else { return Lifecycle::Retired };
        let reached = |day: Option<Timestamp>| day.is_some_and(|day| day <= at);
        if reached(history.retires_at) {
            Lifecycle::Retired
        } else if reached(history.deprecated_at) {
            Lifecycle::Deprecated
        } else {
            Lifecycle::Active
        }
    }

    /// The moment the model stops being served, where it is announced.
    pub fn retires_at(&self, model: &Model) -> Option<Timestamp> {
        self.history(&model.id)?.retires_at
    }

    /// Every model, newest first.
    pub fn models(&self) -> &[Model] {
        &self.models
    }

    /// Every model that has a price at `at`, newest first, with its prices in force.
    pub fn in_force(&self, at: Timestamp) -> impl Iterator<Item = PriceLine<'_>> {
        self.models.iter().zip(&self.histories).filter_map(move |(model, history)| {
            let row = history.row_at(at)?;
            Some(PriceLine {
                model,
                lifecycle: self.lifecycle(model, at),
                standard: row.standard,
                long_context: row.long_context,
                fast: row.fast_at(at),
            })
        })
    }

    /// The rates that apply.
    ///
    /// `us_only` multiplies whether or not the model is known to offer US-only inference: an
    /// answer that says `us` was billed so.
    ///
    /// # Errors
    /// [`Unpriced`], when there are none: unknown is never free.
    pub fn rates(&self, model: &str, query: PriceQuery) -> Result<Rates, Unpriced> {
        let history =
            self.history(model).ok_or_else(|| Unpriced::UnknownModel(model.to_owned()))?;
        let row =
            history.row_at(query.at).ok_or_else(|| Unpriced::NoPriceInForce(model.to_owned()))?;
        row.rates(query).ok_or_else(|| Unpriced::NoFastPrice(model.to_owned()))
    }

    /// For each category the dearest rate of any model that is served at `query.at`; for usage of
    /// a model that is not in the book. `None` when nothing is served.
    pub fn dearest_rates(&self, query: PriceQuery) -> Option<Rates> {
        let served = self
            .models
            .iter()
            .filter(|model| self.lifecycle(model, query.at) != Lifecycle::Retired)
            .filter_map(|model| {
                let standard = PriceQuery { speed: Speed::Standard, ..query };
                self.rates(&model.id, query).or_else(|_| self.rates(&model.id, standard)).ok()
            });
        served.reduce(Rates::dearest)
    }

    fn history(&self, id: &str) -> Option<&History> {
        self.index.get(id).map(|&place| &self.histories[place])
    }
}

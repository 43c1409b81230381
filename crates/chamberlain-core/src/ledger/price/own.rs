//! The operator's own prices, on top of the compiled-in ones.
//!
//! Refuses what would make a price guesswork: a date that is not one, a name two models share, two
//! rows for one day, a row that would drop the dearer price of long prompts or shrink a context
//! window that bounds are proved with.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{History, LongContext, Model, PriceBook, PriceSet, Row, UsdPerMtok};
use crate::time::Timestamp;

/// Every moment.
pub(super) const ALWAYS: Timestamp = Timestamp::from_ms(i64::MIN);

/// What the largest known model has; assumed of a new one, since a bound must not be too small.
const LARGEST_CONTEXT_WINDOW: u64 = 1_000_000;
const LARGEST_OUTPUT: u64 = 128_000;

/// Why prices were refused. Each names the row and the mend.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PriceError {
    /// The file is not what this version reads.
    #[error("the price book cannot be read: {0}")]
    Book(String),
    /// Not a model id.
    #[error(
        "prices: {0:?} is not a model id; write it as Anthropic does, like \"claude-opus-5-5\""
    )]
    Id(String),
    /// Not a date.
    #[error("prices for {id}: {text:?} is not a date; write it like \"2026-11-30\" (00:00 UTC)")]
    Date {
        /// The model.
        id: String,
        /// What was written.
        text: String,
    },
    /// Dated rows leave a time without a price.
    #[error("prices for {id}: no price between {until} and {from}")]
    Gap {
        /// The model.
        id: String,
        /// End of the earlier row.
        until: Timestamp,
        /// Begin of the later row.
        from: Timestamp,
    },
    /// Two rows for the same model and moment.
    #[error("prices for {id}: two rows are in force from the same day; remove one")]
    Twice {
        /// The model.
        id: String,
    },
    /// A name that another model has.
    #[error("prices for {id}: the name {alias:?} already belongs to {model}")]
    AliasTaken {
        /// The model whose row it is.
        id: String,
        /// The name.
        alias: String,
        /// Who has it.
        model: String,
    },
    /// The book has a dearer price for long prompts and the row has none.
    #[error(
        "prices for {id}: prompts above {above} tokens cost more; say what, in long_context \
         (with the same prices if they no longer do)"
    )]
    LongContextMissing {
        /// The model.
        id: String,
        /// The threshold in force.
        above: u64,
    },
    /// A bound of a known model would shrink, and with it every proof made from it.
    #[error("prices for {id}: {field} is {known} and cannot be made smaller")]
    Shrinks {
        /// The model.
        id: String,
        /// Which bound.
        field: &'static str,
        /// Its value in the book.
        known: u64,
    },
}

/// Prices for long prompts, in an own row.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LongContextOverride {
    /// The prices hold when the prompt has more tokens than this.
    pub above_prompt_tokens: u64,
    /// The prices, for every token of such a request.
    pub prices: PriceSet,
}

/// An operator's own row, `[[prices]]` in the configuration. All prices are quoted decimals in US
/// dollars per million tokens.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PriceOverride {
    /// The model's id; one that the book does not have makes a new model.
    pub id: String,
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
    /// The day (00:00 UTC) from which the row holds; without it, it holds always and replaces
    /// every built-in row of the model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effective_from: Option<String>,
    /// Context window in tokens; 1,000,000 for a new model unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context_window: Option<u64>,
    /// Largest output in tokens; 128,000 for a new model unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_output: Option<u64>,
    /// Further ids of the model.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
    /// Prices of fast mode; without them fast calls are refused while the row holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fast: Option<PriceSet>,
    /// Prices of long prompts; needed where the book has them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub long_context: Option<LongContextOverride>,
}

impl PriceOverride {
    fn row(&self, from: Timestamp) -> Row {
        let standard = PriceSet {
            input: self.input,
            output: self.output,
            cache_write_5m: self.cache_write_5m,
            cache_write_1h: self.cache_write_1h,
            cache_read: self.cache_read,
        };
        Row {
            from,
            standard: standard.rates(),
            long_context: self.long_context.map(|long| LongContext {
                above_prompt_tokens: long.above_prompt_tokens,
                rates: long.prices.rates(),
            }),
            fast: self.fast.map(PriceSet::rates),
            fast_until: None,
        }
    }
}

impl PriceBook {
    /// This book with the operator's own rows on top.
    ///
    /// The order of `rows` does not matter: of two rows for one model the later `effective_from`
    /// wins from its day on.
    ///
    /// # Errors
    /// [`PriceError`], naming the row and the mend.
    pub fn with_overrides(mut self, rows: Vec<PriceOverride>) -> Result<PriceBook, PriceError> {
        if rows.is_empty() {
            return Ok(self);
        }
        let mut dated = Vec::with_capacity(rows.len());
        for row in rows {
            let from = match &row.effective_from {
                Some(text) => day(&row.id, text)?,
                None => ALWAYS,
            };
            dated.push((from, row));
        }
        dated.sort_by(|(from_a, a), (from_b, b)| (from_a, &a.id).cmp(&(from_b, &b.id)));
        let mut digest = Sha256::new();
        digest.update(&self.digest);
        let mut seen = HashSet::with_capacity(dated.len());
        for (from, row) in &dated {
            let place = self.override_with(*from, row)?;
            if !seen.insert((place, *from)) {
                return Err(PriceError::Twice { id: row.id.clone() });
            }
            let canonical =
                serde_json::to_vec(row).map_err(|error| PriceError::Book(error.to_string()))?;
            digest.update(canonical);
        }
        self.digest = hex(&digest.finalize());
        Ok(self)
    }

    /// Puts one own row on top; returns the place of its model.
    fn override_with(&mut self, from: Timestamp, own: &PriceOverride) -> Result<usize, PriceError> {
        let Some(&place) = self.index.get(&own.id) else { return self.add_own(from, own) };
        let history = &mut self.histories[place];
        let long_context = history.rows.last().and_then(|row| row.long_context);
        if let (Some(long), None) = (long_context, own.long_context) {
            let above = long.above_prompt_tokens;
            return Err(PriceError::LongContextMissing { id: own.id.clone(), above });
        }
        // What the book says of later days gives way as well.
        history.rows.retain(|row| row.from < from);
        history.rows.push(own.row(from));
        let model = &mut self.models[place];
        model.fast = history.rows.iter().any(|row| row.fast.is_some());
        grow(&own.id, "context_window", &mut model.context_window, own.context_window)?;
        grow(&own.id, "max_output", &mut model.max_output, own.max_output)?;
        for alias in &own.aliases {
            self.name(alias, place)?;
            let model = &mut self.models[place];
            if *alias != model.id && !model.aliases.contains(alias) {
                model.aliases.push(alias.clone());
            }
        }
        Ok(place)
    }

    fn add_own(&mut self, from: Timestamp, own: &PriceOverride) -> Result<usize, PriceError> {
        let model = Model {
            id: own.id.clone(),
            aliases: own.aliases.clone(),
            context_window: own.context_window.unwrap_or(LARGEST_CONTEXT_WINDOW),
            max_output: own.max_output.unwrap_or(LARGEST_OUTPUT),
            us_geo: true,
            fast: own.fast.is_some(),
            released: None,
            deprecated_on: None,
            retires_on: None,
        };
        let history = History { rows: vec![own.row(from)], deprecated_at: None, retires_at: None };
        self.add(model, history)
    }

    pub(super) fn add(&mut self, model: Model, history: History) -> Result<usize, PriceError> {
        let place = self.models.len();
        let names: Vec<String> =
            std::iter::once(&model.id).chain(&model.aliases).cloned().collect();
        self.models.push(model);
        self.histories.push(history);
        names.iter().try_for_each(|name| self.name(name, place))?;
        Ok(place)
    }

    fn name(&mut self, name: &str, place: usize) -> Result<(), PriceError> {
        let sound = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:/@".contains(&byte);
        if name.is_empty() || name.len() > 128 || !name.bytes().all(sound) {
            return Err(PriceError::Id(name.to_owned()));
        }
        match self.index.insert(name.to_owned(), place) {
            Some(other) if other != place => Err(PriceError::AliasTaken {
                id: self.models[place].id.clone(),
                alias: name.to_owned(),
                model: self.models[other].id.clone(),
            }),
            _ => Ok(()),
        }
    }
}

fn grow(
    id: &str,
    field: &'static str,
    known: &mut u64,
    own: Option<u64>,
) -> Result<(), PriceError> {
    match own {
        Some(own) if own < *known => {
            Err(PriceError::Shrinks { id: id.to_owned(), field, known: *known })
        }
        own => {
            *known = own.unwrap_or(*known);
            Ok(())
        }
    }
}

/// 00:00 UTC of a day.
pub(super) fn day(id: &str, text: &str) -> Result<Timestamp, PriceError> {
    Some(text)
        .filter(|text| text.len() == 10)
        .and_then(|text| Timestamp::from_rfc3339(&format!("{text}T00:00:00Z")).ok())
        .ok_or_else(|| PriceError::Date { id: id.to_owned(), text: text.to_owned() })
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

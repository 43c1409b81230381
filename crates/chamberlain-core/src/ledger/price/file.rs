//! Reading the compiled-in price file.
//!
//! Refuses dated rows with a gap between them and any factor for US-only inference but the known.

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::own::{ALWAYS, PriceError, day, hex};
use super::{History, LongContext, Model, PriceBook, PriceSet, Rates, Row, UsdPerMtok};
use crate::money::Money;
use crate::quick::QuickMap;
use crate::time::Timestamp;

/// The only factor Anthropic has for US-only inference.
const US_MULTIPLIER: &str = "1.1";

impl PriceBook {
    /// Reads a book in the form of `prices.json`.
    pub(super) fn read(text: &str) -> Result<PriceBook, PriceError> {
        let file: BookFile =
            serde_json::from_str(text).map_err(|error| PriceError::Book(error.to_string()))?;
        let web_search = per_thousand(&file.tools.web_search.usd_per_1000_requests)?;
        let mut entries = file.models;
        // Stable, so that models of one day keep the order of the file.
        entries.sort_by(|a, b| b.released.cmp(&a.released));
        let mut book = PriceBook {
            as_of: file.as_of,
            digest: hex(&Sha256::digest(text)),
            web_search,
            models: Vec::with_capacity(entries.len()),
            histories: Vec::with_capacity(entries.len()),
            index: QuickMap::default(),
        };
        for entry in entries {
            let history = entry.history()?;
            book.add(entry.model()?, history)?;
        }
        Ok(book)
    }
}

/// `prices.json`, as far as it is used. Batch prices and tokenizers wait for the issues that need
/// them.
#[derive(Deserialize)]
struct BookFile {
    as_of: String,
    tools: ToolPrices,
    models: Vec<ModelEntry>,
}

#[derive(Deserialize)]
struct ToolPrices {
    web_search: WebSearchPrice,
}

#[derive(Deserialize)]
struct WebSearchPrice {
    usd_per_1000_requests: String,
}

#[derive(Deserialize)]
struct ModelEntry {
    id: String,
    aliases: Vec<String>,
    input: UsdPerMtok,
    output: UsdPerMtok,
    cache_write_5m: Option<UsdPerMtok>,
    cache_write_1h: Option<UsdPerMtok>,
    cache_read: Option<UsdPerMtok>,
    long_context: Option<LongContextEntry>,
    fast: Option<FastEntry>,
    inference_geo_us_multiplier: Option<String>,
    context_window: u64,
    max_output: u64,
    released: Option<String>,
    deprecated_on: Option<String>,
    retires_on: Option<String>,
    price_history: Vec<HistoryEntry>,
}

#[derive(Clone, Copy, Deserialize)]
struct LongContextEntry {
    threshold_input_tokens: u64,
    #[serde(flatten)]
    prices: EntryPrices,
}

#[derive(Deserialize)]
struct FastEntry {
    #[serde(flatten)]
    prices: EntryPrices,
    available_until: Option<String>,
}

/// Like [`PriceSet`], but among other fields, which serde cannot refuse there.
#[derive(Clone, Copy, Deserialize)]
struct EntryPrices {
    input: UsdPerMtok,
    output: UsdPerMtok,
    cache_write_5m: UsdPerMtok,
    cache_write_1h: UsdPerMtok,
    cache_read: UsdPerMtok,
}

impl EntryPrices {
    fn rates(self) -> Rates {
        let EntryPrices { input, output, cache_write_5m, cache_write_1h, cache_read } = self;
        PriceSet { input, output, cache_write_5m, cache_write_1h, cache_read }.rates()
    }
}

/// What was different until a day. An unknown field here would be a price not understood.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HistoryEntry {
    effective_from: Option<String>,
    effective_until: String,
    cache_read: Option<UsdPerMtok>,
    long_context: Option<LongContextEntry>,
    /// The price only held for requests with this beta; without it so long a prompt was refused.
    #[serde(rename = "requires_beta")]
    _requires_beta: Option<String>,
}

impl LongContextEntry {
    fn tier(self) -> LongContext {
        LongContext { above_prompt_tokens: self.threshold_input_tokens, rates: self.prices.rates() }
    }
}

impl ModelEntry {
    fn model(&self) -> Result<Model, PriceError> {
        let us_geo = match self.inference_geo_us_multiplier.as_deref() {
            None => false,
            Some(US_MULTIPLIER) => true,
            Some(other) => {
                let reason =
                    format!("{}: US-only multiplier {other} is not {US_MULTIPLIER}", self.id);
                return Err(PriceError::Book(reason));
            }
        };
        Ok(Model {
            id: self.id.clone(),
            aliases: self.aliases.clone(),
            context_window: self.context_window,
            max_output: self.max_output,
            us_geo,
            fast: self.fast.is_some(),
            released: self.released.clone(),
            deprecated_on: self.deprecated_on.clone(),
            retires_on: self.retires_on.clone(),
        })
    }

    fn history(&self) -> Result<History, PriceError> {
        let date =
            |text: &Option<String>| text.as_deref().map(|text| day(&self.id, text)).transpose();
        let current = self.current_row(date)?;
        let mut rows = Vec::with_capacity(self.price_history.len() + 1);
        let mut previous_end = None;
        for entry in &self.price_history {
            let from = date(&entry.effective_from)?.or(previous_end).unwrap_or(ALWAYS);
            let until = day(&self.id, &entry.effective_until)?;
            if let Some(end) = previous_end.filter(|end| *end != from) {
                return Err(PriceError::Gap { id: self.id.clone(), until: end, from });
            }
            let mut row = Row { from, ..current.clone() };
            if let Some(read) = entry.cache_read {
                row.standard.cache_read = read.pico_per_token();
            }
            row.long_context = entry.long_context.map(LongContextEntry::tier).or(row.long_context);
            rows.push(row);
            previous_end = Some(until);
        }
        rows.push(Row { from: previous_end.unwrap_or(ALWAYS), ..current });
        let retires_at = date(&self.retires_on)?;
        // An announced end without a day of announcement was announced some time before.
        let deprecated_at = date(&self.deprecated_on)?.or(retires_at.map(|_| ALWAYS));
        Ok(History { rows, deprecated_at, retires_at })
    }

    fn current_row(
        &self,
        date: impl Fn(&Option<String>) -> Result<Option<Timestamp>, PriceError>,
    ) -> Result<Row, PriceError> {
        // A category that is not offered cannot be used; should it appear in an answer all the
        // same, it costs as much as the dearest kind of cache write (twice the input).
        let dearest = 2 * self.input.pico_per_token();
        let cache = |price: Option<UsdPerMtok>| price.map_or(dearest, UsdPerMtok::pico_per_token);
        let fast_until = match &self.fast {
            Some(fast) => date(&fast.available_until)?,
            None => None,
        };
        Ok(Row {
            from: ALWAYS,
            standard: Rates {
                input: self.input.pico_per_token(),
                output: self.output.pico_per_token(),
                cache_write_5m: cache(self.cache_write_5m),
                cache_write_1h: cache(self.cache_write_1h),
                cache_read: cache(self.cache_read),
            },
            long_context: self.long_context.map(LongContextEntry::tier),
            fast: self.fast.as_ref().map(|fast| fast.prices.rates()),
            fast_until,
        })
    }
}

/// The price of one of a thousand.
fn per_thousand(usd: &str) -> Result<Money, PriceError> {
    let whole: Money = usd.parse().map_err(|error| PriceError::Book(format!("{error}")))?;
    if whole.pico() % 1_000 == 0 {
        Ok(Money::from_pico(whole.pico() / 1_000))
    } else {
        Err(PriceError::Book(format!("{usd} for a thousand is not whole for one")))
    }
}

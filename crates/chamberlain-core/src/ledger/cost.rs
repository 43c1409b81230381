//! What a call did cost, exactly.
//!
//! `usage.iterations`, where an answer has it, is the bill: every sampling at the price of the
//! model that ran. The top-level numbers leave compactions, advisors and declined models out, so
//! they are the bill only where there are no iterations. Prices are those in force when the
//! request began, of the model that served it.
//!
//! Refuses to guess: a model without a price is [`Unpriced`], and then the caller charges
//! [`dearest_cost`], or the whole reservation where that fails too. Unknown is never free.
//! List prices are what is counted; a priority contract or a redeemed fallback credit makes the
//! true bill smaller, never larger.

use super::price::{PriceBook, PriceQuery, Rates, Unpriced};
use crate::anthropic::meter::Metered;
use crate::money::Money;
use crate::time::Timestamp;
use crate::usage::{Iteration, IterationKind, Speed, Tokens, Usage};

#[cfg(test)]
mod tests;

/// Facts beside the usage that decide the price.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CostContext<'a> {
    /// When the request began.
    pub at: Timestamp,
    /// The model asked for.
    pub requested_model: &'a str,
    /// The model that served.
    pub served_model: &'a str,
    /// `stop_reason`.
    pub stop_reason: Option<&'a str>,
    /// The workspace may run in the US geography although usage does not say so.
    pub assume_us_geo: bool,
    /// It was an item of a batch: tokens cost half, fees do not.
    pub batch: bool,
}

/// The exact cost, and the tokens it is made of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cost {
    /// The money.
    pub money: Money,
    /// Billed tokens, summed over iterations.
    pub tokens: Tokens,
}

/// Prices what was used.
///
/// # Errors
/// [`Unpriced`], when a model that served is not in the book.
pub fn cost(usage: &Usage, context: CostContext<'_>, prices: &PriceBook) -> Result<Cost, Unpriced> {
    if usage.speed == Speed::Fast {
        check_fast(context, prices)?;
    }
    total(usage, context, prices, |tokens, models| {
        dearest_of(tokens, models, usage, context, prices)
    })
}

/// Prices at the dearest active model, for usage that cannot be priced otherwise. Unknown is
/// never free.
///
/// `None` when no model is served, or the sum leaves the range of the books.
pub fn dearest_cost(usage: &Usage, context: CostContext<'_>, prices: &PriceBook) -> Option<Cost> {
    total(usage, context, prices, |tokens, _| {
        let query = PriceQuery {
            at: context.at,
            speed: usage.speed,
            us_only: usage.us_only || context.assume_us_geo,
            prompt_tokens: tokens.prompt(),
        };
        let rates = prices.dearest_rates(query);
        let rates = rates.ok_or_else(|| Unpriced::UnknownModel(context.served_model.to_owned()))?;
        price(tokens, in_batch(rates, context))
    })
    .ok()
}

/// An upper estimate for an answer that broke off: what was metered, with output raised to what
/// was delivered (one token per 2.5 characters of ASCII, and one per byte of all others, of which
/// a tokenizer may need several for one), or to `max_tokens` once thinking began, since hidden
/// thinking is billed and not delivered. The whole reservation when nothing was metered.
///
/// Where server tools ran, the samplings after the last one metered are not in it: such a call
/// keeps its reservation until the true cost is known.
pub fn estimate(
    metered: &Metered,
    context: CostContext<'_>,
    max_tokens: u64,
    reserved: Money,
    prices: &PriceBook,
) -> Cost {
    let Some(usage) = &metered.usage else {
        return Cost { money: reserved, tokens: Tokens::default() };
    };
    let delivered = metered.delivered_chars.saturating_mul(2).div_ceil(5);
    let delivered = delivered.saturating_add(metered.delivered_wide_bytes).min(max_tokens);
    let hidden = if metered.thinking_seen { max_tokens } else { 0 };
    let missing = delivered.max(hidden).saturating_sub(usage.totals.output);
    let mut usage = usage.clone();
    usage.totals.output += missing;
    if let Some(last) = usage.iterations.last_mut() {
        last.tokens.output = last.tokens.output.saturating_add(missing);
    }
    cost(&usage, context, prices)
        .ok()
        .or_else(|| dearest_cost(&usage, context, prices))
        .unwrap_or(Cost { money: reserved, tokens: usage.totals })
}

/// Adds up the bill, asking `price_of` for what tokens cost at the dearest of some models.
fn total(
    usage: &Usage,
    context: CostContext<'_>,
    prices: &PriceBook,
    price_of: impl Fn(&Tokens, &[&str]) -> Result<Money, Unpriced>,
) -> Result<Cost, Unpriced> {
    let searches = prices.web_search().checked_mul(usage.web_searches);
    let searches = searches.ok_or(Unpriced::Overflow)?;
    let mut cost = Cost { money: searches, tokens: Tokens::default() };
    let mut add = |tokens: &Tokens, models: &[&str]| {
        let sum = cost.money.checked_add(price_of(tokens, models)?);
        // Ledger rows are 64 bits wide.
        let in_range = sum.filter(|sum| i64::try_from(sum.pico()).is_ok());
        cost.money = in_range.ok_or(Unpriced::Overflow)?;
        cost.tokens = cost.tokens.plus(*tokens);
        Ok(())
    };
    if is_declined(usage, context) {
        return Ok(cost);
    }
    if usage.iterations.is_empty() {
        add(&usage.totals, &[context.served_model])?;
        return Ok(cost);
    }
    let serving = usage.iterations.iter().rev().find(|entry| is_fallback(entry));
    let serving_model = serving.and_then(|entry| entry.model.as_deref());
    for entry in &usage.iterations {
        let declined = entry.tokens.output == 0
            && match entry.kind {
                IterationKind::Message => serving.is_some(),
                IterationKind::FallbackMessage => context.stop_reason == Some("refusal"),
                _ => false,
            };
        if !declined {
            add(&entry.tokens, &models_of(entry, context, serving_model)?)?;
        }
    }
    if usage.totals.output > 0 {
        // Whether a price for long prompts is asked by each prompt or by their sum is not said;
        // the sum is never cheaper. Nor may a list that leaves something out make it so.
        let sum = price_of(&usage.totals, &[context.served_model])?;
        let least = searches.checked_add(sum).filter(|least| i64::try_from(least.pico()).is_ok());
        cost.money = cost.money.max(least.ok_or(Unpriced::Overflow)?);
    }
    Ok(cost)
}

fn is_fallback(entry: &Iteration) -> bool {
    entry.kind == IterationKind::FallbackMessage
}

/// A refusal before any output is reported and not billed.
fn is_declined(usage: &Usage, context: CostContext<'_>) -> bool {
    context.stop_reason == Some("refusal")
        && usage.totals.output == 0
        && usage.iterations.iter().all(|entry| entry.tokens.output == 0)
}

/// The models an entry may have run at; it is priced at the dearest of them.
///
/// An entry that names its model ran there. One that does not ran at the requested model, which
/// is the serving one, unless there was a fallback: then declined attempts and the serving model's
/// earlier samplings look the same.
fn models_of<'a>(
    entry: &'a Iteration,
    context: CostContext<'a>,
    serving: Option<&'a str>,
) -> Result<Vec<&'a str>, Unpriced> {
    let CostContext { requested_model: requested, served_model: served, .. } = context;
    match (entry.kind, entry.model.as_deref()) {
        (_, Some(named)) => Ok(vec![named]),
        (IterationKind::FallbackMessage, None) => Ok(vec![served]),
        (IterationKind::AdvisorMessage, None) => {
            Err(Unpriced::UnknownModel("(an advisor without a name)".to_owned()))
        }
        (IterationKind::Message | IterationKind::Compaction | IterationKind::Unknown, None) => {
            Ok([Some(requested), Some(served), serving].into_iter().flatten().collect())
        }
    }
}

fn dearest_of(
    tokens: &Tokens,
    models: &[&str],
    usage: &Usage,
    context: CostContext<'_>,
    prices: &PriceBook,
) -> Result<Money, Unpriced> {
    let mut dearest = Err(Unpriced::Overflow);
    for (place, model) in models.iter().enumerate() {
        if models[..place].contains(model) {
            continue;
        }
        let assumed = context.assume_us_geo && prices.model(model).is_some_and(|m| m.us_geo);
        let query = PriceQuery {
            at: context.at,
            speed: usage.speed,
            us_only: usage.us_only || assumed,
            prompt_tokens: tokens.prompt(),
        };
        let rates = in_batch(rates_of(model, query, prices)?, context);
        let money = price(tokens, rates)?;
        dearest = Ok(dearest.map_or(money, |dearest: Money| dearest.max(money)));
    }
    dearest
}

/// An answer says how fast it ran as a whole, so the model that served it must have had that mode.
fn check_fast(context: CostContext<'_>, prices: &PriceBook) -> Result<(), Unpriced> {
    let speed = Speed::Fast;
    let query = PriceQuery { at: context.at, speed, us_only: false, prompt_tokens: 0 };
    prices.rates(context.served_model, query).map(drop)
}

/// The rates of one of the models in an answer: one that has no fast mode (an advisor, a declined
/// fallback) ran at the ordinary speed whatever the others did.
fn rates_of(model: &str, query: PriceQuery, prices: &PriceBook) -> Result<Rates, Unpriced> {
    prices.rates(model, query).or_else(|unpriced| match unpriced {
        Unpriced::NoFastPrice(_) => {
            prices.rates(model, PriceQuery { speed: Speed::Standard, ..query })
        }
        unpriced => Err(unpriced),
    })
}

fn in_batch(rates: Rates, context: CostContext<'_>) -> Rates {
    if context.batch { rates.in_batch() } else { rates }
}

fn price(tokens: &Tokens, rates: Rates) -> Result<Money, Unpriced> {
    [
        (tokens.input, rates.input),
        (tokens.cache_write_5m, rates.cache_write_5m),
        (tokens.cache_write_1h, rates.cache_write_1h),
        (tokens.cache_read, rates.cache_read),
        (tokens.output, rates.output),
    ]
    .into_iter()
    .try_fold(0i128, |sum, (count, rate)| {
        sum.checked_add(i128::from(count).checked_mul(i128::from(rate))?)
    })
    .map(Money::from_pico)
    .ok_or(Unpriced::Overflow)
}

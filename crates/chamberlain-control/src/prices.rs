//! Prices and estimates, by the same book and the same arithmetic that bill calls.

use chamberlain_core::admission::policy;
use chamberlain_core::ledger::cost::{self, CostContext};
use chamberlain_core::ledger::price::{Lifecycle, PriceQuery, Rates, Unpriced};
use chamberlain_core::money::Money;
use chamberlain_core::time::Timestamp;
use chamberlain_core::usage::{Speed, Tokens, Usage};

use crate::command::{CostEstimate, PricesList};
use crate::error::CommandError;
use crate::reply::{Estimate, Price, PricePerMillion, Prices};
use crate::settings::Settings;

const MILLION: i128 = 1_000_000;

/// The prices in force at `now`.
pub fn list(asked: &PricesList, settings: &Settings, now: Timestamp) -> Prices {
    let book = &settings.prices;
    let wanted = |id: &str| match &asked.model {
        None => true,
        Some(part) => id.contains(part.as_str()) || policy::matches(part, id),
    };
    let price = |model: &chamberlain_core::ledger::price::Model| {
        let lifecycle = book.lifecycle(model, now);
        let shown = (asked.all || lifecycle != Lifecycle::Retired)
            && (wanted(&model.id) || model.aliases.iter().any(|alias| wanted(alias)));
        let at = |speed, us_only| {
            let query = PriceQuery { at: now, speed, us_only, prompt_tokens: 0 };
            book.rates(&model.id, query).ok().map(per_million)
        };
        shown.then(|| Price {
            model: model.id.clone(),
            aliases: model.aliases.clone(),
            lifecycle,
            retires_on: model.retires_on.clone(),
            context_window: model.context_window,
            max_output: model.max_output,
            per_million: at(Speed::Standard, false),
            fast_per_million: at(Speed::Fast, false),
            us_only_per_million: model.us_geo.then(|| at(Speed::Standard, true)).flatten(),
        })
    };
    Prices { at: now.into(), prices: book.models().iter().filter_map(price).collect() }
}

/// What one call would cost, and how many a budget buys.
///
/// # Errors
/// When the model or the variant has no price.
pub fn estimate(
    asked: &CostEstimate,
    settings: &Settings,
    now: Timestamp,
) -> Result<Estimate, CommandError> {
    let book = &settings.prices;
    let tokens = Tokens {
        input: asked.input,
        cache_write_5m: asked.cache_write_5m,
        cache_write_1h: asked.cache_write_1h,
        cache_read: asked.cache_read,
        output: asked.output,
    };
    let speed = if asked.fast { Speed::Fast } else { Speed::Standard };
    let query =
        PriceQuery { at: now, speed, us_only: asked.us_only, prompt_tokens: tokens.prompt() };
    let rates = book.rates(&asked.model, query).map_err(unpriced)?;
    let usage = Usage {
        totals: tokens,
        web_searches: asked.web_searches,
        speed,
        us_only: asked.us_only,
        ..Usage::default()
    };
    let context = CostContext {
        at: now,
        requested_model: &asked.model,
        served_model: &asked.model,
        stop_reason: None,
        assume_us_geo: false,
        batch: false,
    };
    let cost = cost::cost(&usage, context, book).map_err(unpriced)?.money;
    let model = book.model(&asked.model).map_or(&asked.model, |model| &model.id);
    Ok(Estimate {
        model: model.clone(),
        tokens,
        per_million: per_million(rates),
        cost,
        budget: asked.budget,
        calls: asked.budget.and_then(|budget| whole_calls(budget, cost)),
    })
}

/// How many calls of `cost` a budget buys; `None` when they are free.
fn whole_calls(budget: Money, cost: Money) -> Option<u64> {
    let calls = budget.pico().max(0).checked_div(cost.pico())?;
    Some(u64::try_from(calls).unwrap_or(u64::MAX))
}

fn unpriced(unpriced: Unpriced) -> CommandError {
    match unpriced {
        Unpriced::Overflow => CommandError::usage(unpriced.to_string()),
        _ => CommandError::not_found(unpriced.to_string()).hint("chamberlain prices lists them"),
    }
}

fn per_million(rates: Rates) -> PricePerMillion {
    let price = |pico: u64| Money::from_pico(i128::from(pico) * MILLION);
    PricePerMillion {
        input: price(rates.input),
        output: price(rates.output),
        cache_write_5m: price(rates.cache_write_5m),
        cache_write_1h: price(rates.cache_write_1h),
        cache_read: price(rates.cache_read),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorCode;
    use crate::testing::NOON;

    fn asked(input: u64, output: u64) -> CostEstimate {
        CostEstimate {
            model: "claude-sonnet-4-5-20250929".to_owned(),
            input,
            output,
            budget: Some(Money::from_usd(100)),
            ..CostEstimate::default()
        }
    }

    #[test]
    fn a_budget_buys_so_many_documents() {
        // Of 1, 10 and 50 pages (S119, S120).
        for (input, output, cost, calls) in [
            (700, 500, "0.0096", 10_416),
            (7_000, 3_500, "0.0735", 1_360),
            (35_000, 15_000, "0.33", 303),
        ] {
            let estimate = estimate(&asked(input, output), &Settings::default(), NOON).unwrap();
            assert_eq!(estimate.cost.to_decimal(), cost);
            assert_eq!(estimate.calls, Some(calls));
        }
    }

    #[test]
    fn every_category_has_its_price() {
        let asked = CostEstimate {
            model: "claude-sonnet-4-5".to_owned(),
            cache_write_5m: 1_000,
            cache_write_1h: 1_000,
            cache_read: 1_000,
            web_searches: 1,
            ..CostEstimate::default()
        };
        let estimate = estimate(&asked, &Settings::default(), NOON).unwrap();
        // 3.75, 6 and 0.30 dollars a million, and a cent a search.
        assert_eq!(estimate.cost.to_decimal(), "0.02005");
        assert_eq!(estimate.model, "claude-sonnet-4-5-20250929");
        assert_eq!((estimate.budget, estimate.calls), (None, None));
    }

    #[test]
    fn unknown_has_no_price() {
        let settings = Settings::default();
        let model = CostEstimate { model: "claude-x".to_owned(), ..asked(1, 1) };
        assert_eq!(estimate(&model, &settings, NOON).unwrap_err().code, ErrorCode::NotFound);
        let fast = CostEstimate { fast: true, ..asked(1, 1) };
        assert_eq!(estimate(&fast, &settings, NOON).unwrap_err().code, ErrorCode::NotFound);
        let free = estimate(&asked(0, 0), &settings, NOON).unwrap();
        assert_eq!((free.cost, free.calls), (Money::ZERO, None));
    }

    #[test]
    fn the_list_shows_what_can_be_called() {
        let settings = Settings::default();
        let sonnet = PricesList { model: Some("sonnet-4-5".to_owned()), all: false };
        let listed = list(&sonnet, &settings, NOON).prices;
        let [price] = &listed[..] else { panic!("{listed:?}") };
        let per_million = price.per_million.unwrap();
        assert_eq!(per_million.input, Money::from_usd(3));
        assert_eq!(per_million.output, Money::from_usd(15));
        let active = list(&PricesList::default(), &settings, NOON).prices;
        let all = list(&PricesList { model: None, all: true }, &settings, NOON).prices;
        assert!(active.iter().all(|price| price.lifecycle != Lifecycle::Retired));
        assert!(all.len() > active.len());
    }
}

use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;
use crate::anthropic::meter::Metered;
use crate::anthropic::request::{CacheWrites, RequestFacts};
use crate::batch::BatchBound;
use crate::ledger::bound::{BoundContext, NoBound};
use crate::ledger::price::{Lifecycle, Model, PriceQuery};
use crate::usage::{Speed, Usage};

static PRICES: LazyLock<PriceBook> = LazyLock::new(PriceBook::builtin);

fn now() -> Timestamp {
    Timestamp::from_rfc3339("2026-11-23T09:00:00Z").unwrap()
}

fn context() -> BoundContext<'static> {
    BoundContext {
        at: now(),
        assume_us_geo: false,
        counted_prompt: None,
        batch: false,
        fields_allowed: &[],
    }
}

fn terms() -> Terms<'static> {
    Terms { submitted_at: now(), assume_us_geo: false, prices: &PRICES }
}

fn succeeded(model: &str, totals: Tokens) -> ResultLine {
    ResultLine::Succeeded(Box::new(Metered {
        usage: Some(Usage { totals, service_tier: Some("batch".to_owned()), ..Usage::default() }),
        is_final: true,
        served_model: Some(model.to_owned()),
        stop_reason: Some("end_turn".to_owned()),
        ..Metered::default()
    }))
}

fn usd(text: &str) -> Money {
    text.parse().unwrap()
}

#[test]
fn succeeded_results_cost_half_and_the_others_nothing() {
    let mut bill = Bill::default();
    let tokens = Tokens {
        input: 1_000,
        cache_write_5m: 100,
        cache_write_1h: 10,
        cache_read: 10_000,
        output: 200,
    };
    bill.add(succeeded("claude-sonnet-5-5", tokens), terms()).unwrap();
    // (1,000·2 + 100·2.5 + 10·4 + 10,000·0.10 + 200·10) / 10^6 / 2
    assert_eq!(bill.cost, usd("0.002645"));
    for line in [ResultLine::Errored, ResultLine::Canceled, ResultLine::Expired] {
        bill.add(line, terms()).unwrap();
    }
    assert_eq!((bill.cost, bill.tokens), (usd("0.002645"), tokens));
    assert_eq!(bill.served_model.as_deref(), Some("claude-sonnet-5-5"));
    bill.add(succeeded("claude-haiku-5-5", tokens), terms()).unwrap();
    bill.add(succeeded("claude-sonnet-5-5", tokens), terms()).unwrap();
    assert_eq!(bill.served_model, None, "there were several");
    assert_eq!(bill.clone().whole(5), Err(NoBill::Incomplete { results: 6, items: 5 }));
    assert_eq!(bill.clone().whole(7), Err(NoBill::Incomplete { results: 6, items: 7 }));
    assert!(bill.whole(6).is_ok());
}

#[test]
fn the_long_prompts_of_haiku_cost_five_times_and_then_half() {
    let cost = |input| {
        let mut bill = Bill::default();
        let tokens = Tokens { input, output: 1_000, ..Tokens::default() };
        bill.add(succeeded("claude-haiku-5-5", tokens), terms()).unwrap();
        bill.cost
    };
    assert_eq!(cost(100_000), usd("0.00525"));
    assert_eq!(cost(100_001), usd("0.02625025"));
}

#[test]
fn what_cannot_be_priced_leaves_no_bill() {
    let tokens = Tokens { input: 1, output: 1, ..Tokens::default() };
    let add = |line| Bill::default().add(line, terms());
    assert!(matches!(add(succeeded("claude-nine", tokens)), Err(NoBill::Unpriced(_))));
    let silent = ResultLine::Succeeded(Box::default());
    assert_eq!(add(silent), Err(NoBill::Unmetered));
    assert_eq!(add(ResultLine::Unreadable), Err(NoBill::Unreadable));
    assert!(matches!(add(ResultLine::Unknown("x".to_owned())), Err(NoBill::UnknownKind(_))));
}

#[test]
fn every_built_in_price_can_be_halved() {
    for model in PRICES.models() {
        for (us_only, prompt_tokens) in [(false, 0), (false, 500_000), (true, 0), (true, 500_000)] {
            let query = PriceQuery { at: now(), speed: Speed::Standard, us_only, prompt_tokens };
            let Ok(rates) = PRICES.rates(&model.id, query) else { continue };
            let half = rates.in_batch();
            for (half, whole) in [
                (half.input, rates.input),
                (half.output, rates.output),
                (half.cache_write_5m, rates.cache_write_5m),
                (half.cache_write_1h, rates.cache_write_1h),
                (half.cache_read, rates.cache_read),
            ] {
                assert_eq!(half * 2, whole, "{}", model.id);
            }
        }
    }
}

#[test]
fn server_tools_have_no_bound_in_a_batch() {
    let facts = RequestFacts {
        model: "claude-sonnet-5-5".to_owned(),
        max_tokens: Some(5),
        mcp: true,
        ..RequestFacts::default()
    };
    let answer = BatchBound::default().add(&facts, &PRICES, context());
    assert!(matches!(answer, Err(NoBound::Unbounded { field, .. }) if field == "mcp_servers"));
}

/// An item, and what upstream made of it: the prompt and the answer as shares of the most that
/// they can be.
#[derive(Clone, Debug)]
struct Lived {
    model: usize,
    prompt_bytes: u64,
    max_tokens: u64,
    cached: bool,
    us: bool,
    kind: u8,
    prompt_share: u64,
    output_share: u64,
    split: [u64; 2],
}

fn lived() -> impl Strategy<Value = Lived> {
    let share = || prop_oneof![Just(0u64), Just(1_000), 0..=1_000u64];
    let item =
        (any::<prop::sample::Index>(), 0..200_000u64, 1..128_000u64, any::<bool>(), any::<bool>());
    (item, 0..6u8, share(), share(), [share(), share()]).prop_map(
        |(
            (model, prompt_bytes, max_tokens, cached, us),
            kind,
            prompt_share,
            output_share,
            split,
        )| {
            let model = model.index(served().len());
            Lived {
                model,
                prompt_bytes,
                max_tokens,
                cached,
                us,
                kind,
                prompt_share,
                output_share,
                split,
            }
        },
    )
}

fn served() -> Vec<&'static Model> {
    let is_served = |model: &&Model| PRICES.lifecycle(model, now()) != Lifecycle::Retired;
    PRICES.models().iter().filter(is_served).collect()
}

impl Lived {
    fn facts(&self) -> RequestFacts {
        RequestFacts {
            model: served()[self.model].id.clone(),
            max_tokens: Some(self.max_tokens),
            prompt_bytes: self.prompt_bytes,
            plain: true,
            cache_writes: if self.cached { CacheWrites::OneHour } else { CacheWrites::None },
            inference_geo: self.us.then(|| "us".to_owned()),
            ..RequestFacts::default()
        }
    }

    fn result(&self) -> ResultLine {
        let model = served()[self.model];
        let most = (self.prompt_bytes + 1_000).min(model.context_window);
        let prompt = most * self.prompt_share / 1_000;
        let written = if self.cached { prompt * self.split[0] / 1_000 } else { 0 };
        let cache_read = (prompt - written) * self.split[1] / 1_000;
        let totals = Tokens {
            input: prompt - written - cache_read,
            cache_write_1h: written,
            cache_write_5m: 0,
            cache_read,
            output: self.max_tokens * self.output_share / 1_000,
        };
        match self.kind {
            0 => ResultLine::Errored,
            1 => ResultLine::Canceled,
            2 => ResultLine::Expired,
            _ => match succeeded(&model.id, totals) {
                ResultLine::Succeeded(mut metered) => {
                    metered.usage.as_mut().unwrap().us_only = self.us;
                    ResultLine::Succeeded(metered)
                }
                other => other,
            },
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn no_set_of_results_costs_more_than_the_bound(items in proptest::collection::vec(lived(), 1..20)) {
        let mut bound = BatchBound::default();
        let mut bill = Bill::default();
        for item in &items {
            bound.add(&item.facts(), &PRICES, context()).unwrap();
            bill.add(item.result(), terms()).unwrap();
        }
        let bound = bound.whole();
        let bill = bill.whole(items.len() as u64).unwrap();
        prop_assert!(bill.cost <= bound.cost, "{:?} is more than {:?}", bill.cost, bound.cost);
        prop_assert!(bill.tokens.output <= bound.output_tokens);
        prop_assert!(bill.tokens.prompt() <= bound.input_tokens);
    }
}

//! A request, taken apart into the factors of its cost.

use super::tools::{
    advisor_uses, check_batch, check_code_execution, check_threads, check_unknown_tools, samplings,
};
use super::{BoundContext, FRAMING, NoBound, prompt_bound, prompt_is_in_body, spend, unbounded};
use crate::anthropic::request::{
    CacheWrites, Capability, Fallback, Fallbacks, RequestFacts, ServerToolKind, Thread,
};
use crate::ledger::price::{Model, PriceBook, PriceQuery, Rates, Unpriced};
use crate::money::Money;
use crate::usage::Speed;

/// The longest answer that a model gives in a batch, with `output-300k-2026-03-24`.
const BATCH_OUTPUT_MAX: u64 = 300_000;

/// A request, read for what multiplies its cost.
pub(super) struct Call<'a> {
    facts: &'a RequestFacts,
    prices: &'a PriceBook,
    context: BoundContext<'a>,
    fallbacks: &'a [Fallback],
    /// The requested model and every fallback.
    models: Vec<&'a Model>,
    /// Models that may each be tried in full.
    pub(super) attempts: u64,
    /// Samplings of one attempt, compactions apart.
    pub(super) samplings: u64,
    /// Compactions of one attempt.
    pub(super) compactions: u64,
    /// Output tokens of one sampling.
    max_tokens: u64,
    /// Input tokens of one sampling.
    pub(super) prompt: u64,
}

impl<'a> Call<'a> {
    pub(super) fn read(
        facts: &'a RequestFacts,
        prices: &'a PriceBook,
        context: BoundContext<'a>,
    ) -> Result<Call<'a>, NoBound> {
        check_fields(facts, context.fields_allowed)?;
        let fallbacks = match &facts.fallbacks {
            Fallbacks::None => &[],
            Fallbacks::List(list) => list.as_slice(),
            Fallbacks::Default => {
                let reason = "\"default\" lets any model serve; list the models instead";
                return Err(unbounded("fallbacks", reason));
            }
        };
        let max_tokens = facts.max_tokens.ok_or_else(|| {
            unbounded("max_tokens", "it is missing; say how long the answer may be")
        })?;
        if context.batch {
            check_batch(facts)?;
        }
        check_code_execution(facts)?;
        check_unknown_tools(facts)?;
        check_threads(facts)?;
        let named = std::iter::once(facts.model.as_str())
            .chain(fallbacks.iter().map(|fallback| fallback.model.as_str()));
        let models = named.map(|name| known(prices, name)).collect::<Result<Vec<_>, _>>()?;
        let samplings = samplings(facts)?;
        let mut call = Call {
            facts,
            prices,
            context,
            fallbacks,
            models,
            attempts: 1 + fallbacks.len() as u64,
            samplings,
            compactions: if facts.compaction { samplings } else { 0 },
            max_tokens: fallbacks.iter().filter_map(|f| f.max_tokens).fold(max_tokens, u64::max),
            prompt: 0,
        };
        call.prompt = call.prompt();
        Ok(call)
    }

    /// One prompt, over all models: what the body shows, as counted where that is less, and what
    /// earlier attempts had written before they were declined.
    fn prompt(&self) -> u64 {
        let windows = self.models.iter().map(|model| model.context_window);
        let window = windows.clone().fold(0, u64::max);
        let shown = windows.map(|window| prompt_bound(self.facts, window)).fold(0, u64::max);
        let summary = if self.facts.compaction { FRAMING } else { 0 };
        let counted = self.context.counted_prompt.filter(|_| self.can_count());
        let shown = counted.map_or(shown, |counted| shown.min(counted.saturating_add(summary)));
        let carried = self.max_tokens.saturating_mul(self.attempts - 1);
        shown.saturating_add(carried).min(window)
    }

    /// Whether `count_tokens` sees the same prompt. Another model may count otherwise.
    pub(super) fn can_count(&self) -> bool {
        prompt_is_in_body(self.facts) && self.fallbacks.is_empty()
    }

    /// Whether every token of the output can be seen as it streams: one sampling of one model that
    /// does not think.
    pub(super) fn can_be_cut(&self) -> bool {
        let facts = self.facts;
        let hides = facts.capabilities.contains(&Capability::Thinking);
        let one_sampling = self.attempts == 1 && self.samplings == 1 && self.compactions == 0;
        facts.stream
            && one_sampling
            && !hides
            && !self.context.batch
            && facts.server_tools.is_empty()
    }

    pub(super) fn executor_output(&self) -> Option<u64> {
        let longest = self.models.iter().map(|model| model.max_output).fold(0, u64::max);
        let longest = if self.context.batch { longest.max(BATCH_OUTPUT_MAX) } else { longest };
        let summaries = self.compactions.checked_mul(self.max_tokens.max(longest))?;
        let answers = self.samplings.checked_mul(self.max_tokens)?;
        answers.checked_add(summaries)?.checked_mul(self.attempts)
    }

    /// For each category the dearest price that any of the models may ask.
    ///
    /// `prompt` decides whether the price of long prompts can apply. An answer without `iterations`
    /// shows the sum of its prompts only, and is priced by that.
    pub(super) fn executor_rates(&self, prompt: u64) -> Result<Rates, NoBound> {
        let asked = std::iter::once(Some(self.facts.speed))
            .chain(self.fallbacks.iter().map(|fallback| fallback.speed));
        let mut rates = Rates::default();
        for (model, asked) in self.models.iter().zip(asked) {
            let dearest = self.dearest(model, prompt, asked == Some(Speed::Fast))?;
            rates = rates.dearest(dearest);
        }
        Ok(rates)
    }

    /// The dearest prices of one model. Fast mode that is asked of it must have a price; where it
    /// is asked of another model it may spread to this one.
    fn dearest(&self, model: &Model, prompt: u64, asked_fast: bool) -> Result<Rates, NoBound> {
        let query = |speed, prompt_tokens| {
            let us_only = self.is_us_only(model);
            let at = self.context.at;
            self.prices.rates(&model.id, PriceQuery { at, speed, us_only, prompt_tokens })
        };
        let mut dearest = query(Speed::Standard, 0)?.dearest(query(Speed::Standard, prompt)?);
        if asked_fast || (model.fast && self.any_fast()) {
            for prompt in [0, prompt] {
                match query(Speed::Fast, prompt) {
                    Ok(fast) => dearest = dearest.dearest(fast),
                    Err(unpriced) if asked_fast => return Err(unpriced.into()),
                    // Without a price for it, it is not a mode this model can have run in.
                    Err(_) => {}
                }
            }
        }
        Ok(if self.context.batch { dearest.in_batch() } else { dearest })
    }

    fn any_fast(&self) -> bool {
        self.facts.speed == Speed::Fast
            || self.fallbacks.iter().any(|fallback| fallback.speed == Some(Speed::Fast))
    }

    fn is_us_only(&self, model: &Model) -> bool {
        let asked = self.facts.inference_geo.as_deref().is_some_and(|geo| geo != "global");
        asked || (self.context.assume_us_geo && model.us_geo)
    }

    /// The dearest price one prompt token can have.
    pub(super) fn prompt_rate(&self, rates: Rates) -> u64 {
        let facts = self.facts;
        let uncached = rates.input.max(rates.cache_read);
        let tools = !facts.server_tools.is_empty() || facts.mcp;
        // What a thread remembers may ask for the hour although this request does not.
        if facts.cache_writes == CacheWrites::OneHour
            || facts.thread == Thread::Continue
            || !facts.unknown_fields.is_empty()
        {
            uncached.max(rates.cache_write_5m).max(rates.cache_write_1h)
        } else if facts.cache_writes == CacheWrites::FiveMinutes
            || tools
            || facts.thread != Thread::None
        {
            uncached.max(rates.cache_write_5m)
        } else {
            uncached
        }
    }

    pub(super) fn cost_per_output_token(&self, rates: Rates) -> Money {
        // A fallback's own `max_tokens` stays when the request's is lowered.
        if self.fallbacks.iter().any(|fallback| fallback.max_tokens.is_some()) {
            return Money::ZERO;
        }
        let count = self.attempts.saturating_mul(self.samplings);
        Money::from_pico(i128::from(count) * i128::from(rates.output))
    }

    pub(super) fn advice(&self) -> Result<Advice, NoBound> {
        let advisors =
            self.facts.server_tools.iter().filter(|tool| tool.kind == ServerToolKind::Advisor);
        let mut advice = Advice::default();
        for tool in advisors {
            let name = tool.model.as_deref().ok_or_else(|| {
                unbounded("tools[].model", "an advisor without a model has no price; name one")
            })?;
            let model = known(self.prices, name)?;
            let uses = self.attempts.checked_mul(advisor_uses(tool)?).ok_or(Unpriced::Overflow)?;
            let longest = tool.max_tokens.unwrap_or(model.max_output.max(self.max_tokens));
            let input = uses.checked_mul(model.context_window).ok_or(Unpriced::Overflow)?;
            let output = uses.checked_mul(longest).ok_or(Unpriced::Overflow)?;
            let rates = self.dearest(model, input, false)?;
            // An advisor has cache settings of its own.
            let prompt_rate = [rates.cache_read, rates.cache_write_5m, rates.cache_write_1h]
                .into_iter()
                .fold(rates.input, u64::max);
            let cost = spend(input, prompt_rate, output, rates.output)?;
            advice.cost = advice.cost.checked_add(cost).ok_or(Unpriced::Overflow)?;
            advice.input_tokens = advice.input_tokens.saturating_add(input);
            advice.output_tokens = advice.output_tokens.saturating_add(output);
        }
        Ok(advice)
    }
}

/// What all advisors of a call may cost and use.
#[derive(Default)]
pub(super) struct Advice {
    pub(super) cost: Money,
    pub(super) input_tokens: u64,
    pub(super) output_tokens: u64,
}

/// A field that is not known may multiply the answers, name another model or another payer.
fn check_fields(facts: &RequestFacts, allowed: &[String]) -> Result<(), NoBound> {
    match facts.unknown_fields.iter().find(|field| !allowed.contains(field)) {
        None => Ok(()),
        Some(field) => Err(unbounded(
            field,
            "this version does not know it, so it cannot tell what it costs; leave it out, update \
             Chamberlain, or let your operator name it in upstream.fields_allowed",
        )),
    }
}

fn known<'a>(prices: &'a PriceBook, name: &str) -> Result<&'a Model, Unpriced> {
    prices.model(name).ok_or_else(|| Unpriced::UnknownModel(name.to_owned()))
}

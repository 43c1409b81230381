//! What a call may cost at most, before it is made.
//!
//! The bound is proved from the request alone: how many times a model can sample for it, how long
//! each prompt and each answer can be, and the dearest price each of those tokens can have. What
//! has no such limit is refused, naming the field. Where Anthropic's documents leave a question
//! open, the dearer reading is taken:
//!
//! | In the request | Reading |
//! |---|---|
//! | a prompt that is all in the body | no more tokens than bytes, plus images and framing |
//! | anything read from elsewhere, server tools, MCP, a field let pass unknown | a full context window |
//! | an unknown field | refused, unless the operator says that it costs nothing |
//! | a client tool that Anthropic brings the definition of | the definition, rounded up |
//! | a continued thread | what it held after its last turn and what this one adds; where that is not known, a full context window. Prompts written to the cache for an hour. The tools and modes of every turn before count again |
//! | a server tool declared inside a message of a thread | refused: what continues the thread would not show it |
//! | server tools, MCP | ten samplings, and one for each use of an advisor; prompts written to the cache |
//! | `max_tokens` | for each sampling, as asked |
//! | compaction | one more sampling before each, as long as the model can answer |
//! | `fallbacks` | every model tried in full at the dearest prices of all, each reading what the one before had written; `"default"` refused |
//! | an advisor | `max_uses` full windows at its own prices; refused without |
//! | web search | `max_uses` fees for each model tried; refused without |
//! | code execution | its hours are in no answer, so refused unless a web tool makes them free |
//! | `speed`, `inference_geo` | the dearer of what was asked and what it may fall back to |
//! | `service_tier` | list prices; a priority contract is not known here |
//! | an item of a batch | half of every token price, fees whole; server tools and MCP refused, because how often they sample in a batch is nowhere said |

use super::cut::CUT_MARGIN_TOKENS;
use super::price::{PriceBook, Unpriced};
use crate::anthropic::request::{RequestFacts, Thread};
use crate::money::Money;
use crate::time::Timestamp;

mod call;
#[cfg(test)]
mod property;
#[cfg(test)]
mod tests;
mod tools;

use call::Call;
use tools::web_search_fees;

/// The most tokens one image has, on any model.
const TOKENS_PER_IMAGE: u64 = 4_784;

/// Tokens upstream adds around a prompt of plain messages.
const FRAMING_PLAIN: u64 = 1_000;

/// The same where tools, schemas or a summary's instructions come with it.
const FRAMING: u64 = 10_000;

/// What the bound may assume.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BoundContext<'a> {
    /// When the request began.
    pub at: Timestamp,
    /// The workspace may run in the US geography although the request does not ask for it.
    pub assume_us_geo: bool,
    /// The prompt's tokens as counted by `count_tokens`, with the slack already added; replaces
    /// the bound from bytes where it is smaller and the whole prompt is in the body.
    pub counted_prompt: Option<u64>,
    /// The request is an item of a batch: tokens at half price, fees whole.
    pub batch: bool,
    /// Unknown fields that the operator says cost nothing, by their path; all others are refused.
    pub fields_allowed: &'a [String],
}

/// An upper bound.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bound {
    /// The cost cannot be above this.
    pub cost: Money,
    /// Tokens of one prompt, at the most.
    pub prompt_tokens: u64,
    /// Input tokens of the whole call, at the most.
    pub input_tokens: u64,
    /// Output tokens of the whole call, at the most.
    pub output_tokens: u64,
    /// What one token less in `max_tokens` takes off `cost` at the least, for saying what would
    /// fit; nothing when that alone would not help.
    pub cost_per_output_token: Money,
    /// True when `count_tokens` could make it smaller.
    pub refinable: bool,
    /// The least that a stream can begin with which is ended when its money may be used up: the
    /// whole prompt and [`CUT_MARGIN_TOKENS`]. `None` when its use cannot be followed as it
    /// streams.
    pub least_to_cut: Option<Money>,
}

/// Why there is no bound.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NoBound {
    /// A field makes the cost unbounded.
    #[error("{field} cannot be bounded: {reason}")]
    Unbounded {
        /// The field.
        field: String,
        /// Why, and what to do.
        reason: String,
    },
    /// There is no price.
    #[error(transparent)]
    Unpriced(#[from] super::price::Unpriced),
}

/// Tokens of one prompt at the most, for a model with that context window.
pub(crate) fn prompt_bound(facts: &RequestFacts, context_window: u64) -> u64 {
    let carried = match (facts.thread, facts.thread_tokens) {
        _ if !new_prompt_is_in_body(facts) => return context_window,
        (Thread::Continue, None) => return context_window,
        (Thread::Continue, Some(tokens)) => tokens,
        (Thread::None | Thread::Create, _) => 0,
    };
    let framing = if facts.plain { FRAMING_PLAIN } else { FRAMING };
    let images = facts.images.saturating_mul(TOKENS_PER_IMAGE);
    let compaction = if facts.compaction { FRAMING } else { 0 };
    [carried, images, framing, compaction, facts.builtin_tool_tokens]
        .iter()
        .fold(facts.prompt_bytes, |tokens, more| tokens.saturating_add(*more))
        .min(context_window)
}

/// Whether everything the model will read can be seen in the body. Results of server tools and
/// MCP cannot, nor can what a field does that this version does not know.
fn prompt_is_in_body(facts: &RequestFacts) -> bool {
    new_prompt_is_in_body(facts) && facts.thread != Thread::Continue
}

/// The same of what this request adds to a thread.
fn new_prompt_is_in_body(facts: &RequestFacts) -> bool {
    !facts.prompt_is_elsewhere
        && facts.server_tools.is_empty()
        && !facts.mcp
        && facts.unknown_fields.is_empty()
}

/// Bounds the cost of a message request. (`count_tokens` is free and needs no bound.)
///
/// # Errors
/// [`NoBound`], naming the field that cannot be bounded.
pub fn bound(
    facts: &RequestFacts,
    prices: &PriceBook,
    context: BoundContext<'_>,
) -> Result<Bound, NoBound> {
    let call = Call::read(facts, prices, context)?;
    let samplings = call.attempts.checked_mul(call.samplings + call.compactions);
    let executor_input = samplings.and_then(|count| count.checked_mul(call.prompt));
    let executor_input = executor_input.ok_or(Unpriced::Overflow)?;
    let executor_output = call.executor_output().ok_or(Unpriced::Overflow)?;
    let rates = call.executor_rates(call.samplings.saturating_mul(call.prompt))?;
    let executor = spend(executor_input, call.prompt_rate(rates), executor_output, rates.output)?;
    let advice = call.advice()?;
    let searches = web_search_fees(facts, call.attempts, prices)?;
    let cost = [executor, advice.cost, searches]
        .iter()
        .try_fold(Money::ZERO, |sum, part| sum.checked_add(*part))
        // Ledger rows are 64 bits wide.
        .filter(|cost| i64::try_from(cost.pico()).is_ok())
        .ok_or(Unpriced::Overflow)?;
    Ok(Bound {
        cost,
        prompt_tokens: call.prompt,
        input_tokens: executor_input.saturating_add(advice.input_tokens),
        output_tokens: executor_output.saturating_add(advice.output_tokens),
        cost_per_output_token: call.cost_per_output_token(rates),
        refinable: call.can_count() && context.counted_prompt.is_none(),
        least_to_cut: match call.can_be_cut() {
            true => {
                let rate = call.prompt_rate(rates);
                Some(spend(executor_input, rate, CUT_MARGIN_TOKENS, rates.output)?)
            }
            false => None,
        },
    })
}

fn unbounded(field: &str, reason: impl Into<String>) -> NoBound {
    NoBound::Unbounded { field: field.to_owned(), reason: reason.into() }
}

fn spend(input: u64, input_rate: u64, output: u64, output_rate: u64) -> Result<Money, Unpriced> {
    let prompt = i128::from(input).checked_mul(i128::from(input_rate));
    let answer = i128::from(output).checked_mul(i128::from(output_rate));
    prompt
        .zip(answer)
        .and_then(|(prompt, answer)| prompt.checked_add(answer))
        .map(Money::from_pico)
        .ok_or(Unpriced::Overflow)
}

//! What a call may cost at most, before it is made.

use super::price::PriceBook;
use crate::anthropic::request::{RequestFacts, Thread};
use crate::money::Money;
use crate::time::Timestamp;

/// The most tokens one image has, on any model.
const TOKENS_PER_IMAGE: u64 = 4_784;

/// Tokens upstream adds around a prompt of plain messages.
const FRAMING_PLAIN: u64 = 1_000;

/// The same where tools, schemas or a summary's instructions come with it.
const FRAMING: u64 = 10_000;

/// What the bound may assume.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BoundContext {
    /// When the request began.
    pub at: Timestamp,
    /// The workspace may run in the US geography although the request does not ask for it.
    pub assume_us_geo: bool,
    /// The prompt's tokens as counted by `count_tokens`, with the slack already added; replaces
    /// the bound from bytes where it is smaller and the whole prompt is in the body.
    pub counted_prompt: Option<u64>,
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
    /// The part of `cost` that one `max_tokens` token stands for, for saying what would fit.
    pub cost_per_output_token: Money,
    /// True when `count_tokens` could make it smaller.
    pub refinable: bool,
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
    if !prompt_is_in_body(facts) {
        return context_window;
    }
    let framing = if facts.plain { FRAMING_PLAIN } else { FRAMING };
    let images = facts.images.saturating_mul(TOKENS_PER_IMAGE);
    let compaction = if facts.compaction { FRAMING } else { 0 };
    [images, framing, compaction]
        .iter()
        .fold(facts.prompt_bytes, |tokens, more| tokens.saturating_add(*more))
        .min(context_window)
}

/// Whether everything the model will read can be seen in the body. Results of server tools and
/// MCP cannot, nor can what a field does that this version does not know.
fn prompt_is_in_body(facts: &RequestFacts) -> bool {
    !facts.prompt_is_elsewhere
        && facts.server_tools.is_empty()
        && !facts.mcp
        && facts.thread != Thread::Continue
        && facts.unknown_fields.is_empty()
}

/// Bounds the cost of a request.
///
/// # Errors
/// [`NoBound`], naming the field that cannot be bounded.
pub fn bound(_: &RequestFacts, _: &PriceBook, _: BoundContext) -> Result<Bound, NoBound> {
    unimplemented!("being written")
}

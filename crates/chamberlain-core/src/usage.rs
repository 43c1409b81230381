//! What a call used, in the words of Anthropic's `usage` object.

use serde::{Deserialize, Serialize};

/// Billable tokens by category. Every token of a sampling is in exactly one field.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Tokens {
    /// Uncached prompt tokens.
    pub input: u64,
    /// Prompt tokens written to the five-minute cache.
    pub cache_write_5m: u64,
    /// Prompt tokens written to the one-hour cache.
    pub cache_write_1h: u64,
    /// Prompt tokens read from the cache.
    pub cache_read: u64,
    /// Output tokens, thinking included.
    pub output: u64,
}

impl Tokens {
    /// The whole prompt: uncached, written and read.
    pub fn prompt(&self) -> u64 {
        self.input
            .saturating_add(self.cache_write_5m)
            .saturating_add(self.cache_write_1h)
            .saturating_add(self.cache_read)
    }

    /// Both together.
    pub fn plus(self, other: Tokens) -> Tokens {
        Tokens {
            input: self.input.saturating_add(other.input),
            cache_write_5m: self.cache_write_5m.saturating_add(other.cache_write_5m),
            cache_write_1h: self.cache_write_1h.saturating_add(other.cache_write_1h),
            cache_read: self.cache_read.saturating_add(other.cache_read),
            output: self.output.saturating_add(other.output),
        }
    }

    /// Input tokens as Anthropic's per-minute limits count them: cache reads are free.
    pub fn limited_input(&self) -> u64 {
        self.input.saturating_add(self.cache_write_5m).saturating_add(self.cache_write_1h)
    }
}

/// What one entry of `usage.iterations` stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IterationKind {
    /// A sampling of the requested (or serving) model.
    Message,
    /// A compaction, at the requested model.
    Compaction,
    /// An advisor's sampling, at its own model.
    AdvisorMessage,
    /// The serving hop after a fallback, at its own model.
    FallbackMessage,
    /// A kind this version does not know; priced at the dearest model it could be.
    Unknown,
}

/// One sampling inside a call.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Iteration {
    /// What it stands for.
    pub kind: IterationKind,
    /// The model that ran, where the entry says so.
    pub model: Option<String>,
    /// Its tokens.
    pub tokens: Tokens,
}

/// `usage.speed`.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Speed {
    /// The ordinary speed.
    #[default]
    Standard,
    /// Fast mode, at its own prices.
    Fast,
}

/// Everything about a finished call that has a price.
#[derive(Clone, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Usage {
    /// The top-level numbers.
    pub totals: Tokens,
    /// Per-sampling numbers; empty when the answer has none.
    pub iterations: Vec<Iteration>,
    /// Web searches made.
    pub web_searches: u64,
    /// Web fetches made (free, but recorded).
    pub web_fetches: u64,
    /// `usage.speed`.
    pub speed: Speed,
    /// True when `usage.inference_geo` says `us`.
    pub us_only: bool,
    /// `usage.service_tier` as sent.
    pub service_tier: Option<String>,
}

//! The shapes of answers, as far as they are read: open objects, nulls anywhere, texts counted
//! instead of copied.

use std::fmt;
use std::ops::Add;

use serde::Deserialize;
use serde::de::{Deserializer, Visitor};
use serde_json::value::RawValue;

use super::Metered;
use crate::usage::{Iteration, IterationKind, Speed, Tokens, Usage};

/// Length of a text. The text itself is not kept.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(super) struct Chars {
    /// In Unicode characters.
    pub(super) all: u64,
    /// Those beyond ASCII, in bytes.
    pub(super) wide_bytes: u64,
}

impl Add for Chars {
    type Output = Chars;

    fn add(self, more: Chars) -> Chars {
        Chars { all: self.all + more.all, wide_bytes: self.wide_bytes + more.wide_bytes }
    }
}

impl Chars {
    fn of(text: &str) -> Chars {
        if text.is_ascii() {
            return Chars { all: text.len() as u64, wide_bytes: 0 };
        }
        let ascii = text.bytes().filter(u8::is_ascii).count();
        Chars { all: text.chars().count() as u64, wide_bytes: (text.len() - ascii) as u64 }
    }

    /// The length of a text that could not be read, at the most: no character is shorter than a
    /// byte.
    pub(super) fn at_most(bytes: usize) -> Chars {
        Chars { all: bytes as u64, wide_bytes: bytes as u64 }
    }
}

impl<'de> Deserialize<'de> for Chars {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Chars, D::Error> {
        struct Counter;
        impl Visitor<'_> for Counter {
            type Value = Chars;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a string or null")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Chars, E> {
                Ok(Chars::of(text))
            }

            fn visit_unit<E: serde::de::Error>(self) -> Result<Chars, E> {
                Ok(Chars::default())
            }
        }
        deserializer.deserialize_any(Counter)
    }
}

/// `usage`, whole or the part of it that a `message_delta` repeats.
#[derive(Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct UsageWire {
    pub(super) input_tokens: Option<u64>,
    pub(super) output_tokens: Option<u64>,
    cache_creation_input_tokens: Option<u64>,
    cache_read_input_tokens: Option<u64>,
    cache_creation: Option<CacheCreation>,
    server_tool_use: Option<ServerToolUse>,
    service_tier: Option<String>,
    inference_geo: Option<String>,
    speed: Option<String>,
    iterations: Option<Vec<IterationWire>>,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(default)]
struct CacheCreation {
    ephemeral_5m_input_tokens: Option<u64>,
    ephemeral_1h_input_tokens: Option<u64>,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(default)]
struct ServerToolUse {
    web_search_requests: Option<u64>,
    web_fetch_requests: Option<u64>,
}

#[derive(Clone, Default, Deserialize)]
#[serde(default)]
struct IterationWire {
    r#type: Option<String>,
    model: Option<String>,
    input_tokens: Option<u64>,
    output_tokens: Option<u64>,
    cache_creation_input_tokens: Option<u64>,
    cache_read_input_tokens: Option<u64>,
    cache_creation: Option<CacheCreation>,
}

/// `later` where it is there, else `earlier`.
fn replace<T>(earlier: &mut Option<T>, later: Option<T>) {
    if later.is_some() {
        *earlier = later;
    }
}

impl UsageWire {
    /// Takes what a later event says. Its numbers are totals, so they replace and never add.
    pub(super) fn overwrite(&mut self, later: UsageWire) {
        replace(&mut self.input_tokens, later.input_tokens);
        replace(&mut self.output_tokens, later.output_tokens);
        replace(&mut self.cache_creation_input_tokens, later.cache_creation_input_tokens);
        replace(&mut self.cache_read_input_tokens, later.cache_read_input_tokens);
        replace(&mut self.cache_creation, later.cache_creation);
        replace(&mut self.service_tier, later.service_tier);
        replace(&mut self.inference_geo, later.inference_geo);
        replace(&mut self.speed, later.speed);
        replace(&mut self.iterations, later.iterations);
        if let Some(later) = later.server_tool_use {
            let counters = self.server_tool_use.get_or_insert_default();
            replace(&mut counters.web_search_requests, later.web_search_requests);
            replace(&mut counters.web_fetch_requests, later.web_fetch_requests);
        }
    }

    /// True when it has the two numbers that every usage of Anthropic's has.
    pub(super) fn is_whole(&self) -> bool {
        self.input_tokens.is_some() && self.output_tokens.is_some()
    }

    pub(super) fn usage(&self) -> Usage {
        let counters = self.server_tool_use.unwrap_or_default();
        Usage {
            totals: tokens(
                self.input_tokens,
                self.output_tokens,
                self.cache_read_input_tokens,
                self.cache_creation_input_tokens,
                self.cache_creation,
            ),
            iterations: self.iterations.iter().flatten().map(IterationWire::iteration).collect(),
            web_searches: counters.web_search_requests.unwrap_or(0),
            web_fetches: counters.web_fetch_requests.unwrap_or(0),
            // A speed this version does not know is not the cheap one.
            speed: match self.speed.as_deref() {
                None | Some("standard") => Speed::Standard,
                Some(_) => Speed::Fast,
            },
            // Nor is a geography; `not_available` is what models without one say.
            us_only: !matches!(
                self.inference_geo.as_deref(),
                None | Some("global" | "not_available" | "")
            ),
            service_tier: self.service_tier.clone(),
        }
    }

    /// The model that served after a fallback, where the iterations tell.
    pub(super) fn fallback_model(&self) -> Option<&str> {
        let entries = self.iterations.iter().flatten().rev();
        entries
            .filter(|entry| entry.kind() == IterationKind::FallbackMessage)
            .find_map(|entry| entry.model.as_deref())
    }
}

impl IterationWire {
    fn kind(&self) -> IterationKind {
        match self.r#type.as_deref() {
            Some("message") => IterationKind::Message,
            Some("compaction") => IterationKind::Compaction,
            Some("advisor_message") => IterationKind::AdvisorMessage,
            Some("fallback_message") => IterationKind::FallbackMessage,
            _ => IterationKind::Unknown,
        }
    }

    fn iteration(&self) -> Iteration {
        Iteration {
            kind: self.kind(),
            model: self.model.clone(),
            tokens: tokens(
                self.input_tokens,
                self.output_tokens,
                self.cache_read_input_tokens,
                self.cache_creation_input_tokens,
                self.cache_creation,
            ),
        }
    }
}

/// The split of cache writes is told once, at the beginning, and the total again at the end: what
/// the total has more was written by server tools, for five minutes.
fn tokens(
    input: Option<u64>,
    output: Option<u64>,
    cache_read: Option<u64>,
    cache_written: Option<u64>,
    split: Option<CacheCreation>,
) -> Tokens {
    let split = split.unwrap_or_default();
    let hour = split.ephemeral_1h_input_tokens.unwrap_or(0);
    let five_minutes = split.ephemeral_5m_input_tokens.unwrap_or(0);
    Tokens {
        input: input.unwrap_or(0),
        cache_write_5m: cache_written.unwrap_or(0).saturating_sub(hour).max(five_minutes),
        cache_write_1h: hour,
        cache_read: cache_read.unwrap_or(0),
        output: output.unwrap_or(0),
    }
}

/// `error` of an error body or event.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct ErrorWire {
    r#type: Option<String>,
}

impl ErrorWire {
    pub(super) fn name(self) -> String {
        self.r#type.unwrap_or_else(|| "unknown".to_owned())
    }
}

/// A content block: whole in a JSON answer, at its beginning in a stream.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct BlockWire<'a> {
    r#type: Option<String>,
    text: Chars,
    thinking: Chars,
    #[serde(borrow)]
    input: Option<&'a RawValue>,
    to: Option<ModelWire>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ModelWire {
    model: Option<String>,
}

impl BlockWire<'_> {
    pub(super) fn is_thinking(&self) -> bool {
        matches!(self.r#type.as_deref(), Some("thinking" | "redacted_thinking"))
    }

    /// Characters of its texts.
    pub(super) fn text_chars(&self) -> Chars {
        self.text + self.thinking
    }

    /// Characters of its texts and its tool input.
    fn chars(&self) -> Chars {
        self.text_chars() + self.input.map_or(Chars::default(), |raw| Chars::of(raw.get()))
    }

    /// The model that takes over, when this marks a fallback.
    pub(super) fn fallback_to(self) -> Option<String> {
        (self.r#type.as_deref() == Some("fallback")).then_some(self.to?.model).flatten()
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Body<'a> {
    id: Option<String>,
    model: Option<String>,
    stop_reason: Option<String>,
    usage: Option<UsageWire>,
    input_tokens: Option<u64>,
    error: Option<ErrorWire>,
    /// Read on its own: a block of a shape not known yet must not cost the numbers.
    #[serde(borrow)]
    content: Option<&'a RawValue>,
}

/// Reads a whole JSON answer: a message, a count of tokens, or an error.
pub(super) fn body(bytes: &[u8]) -> Metered {
    // Looked at once as a whole, and not at each string.
    let body = str::from_utf8(bytes).ok().and_then(|text| serde_json::from_str(text).ok());
    let Some(body): Option<Body<'_>> = body else { return Metered::default() };
    if let Some(error) = body.error {
        return Metered { error_type: Some(error.name()), ..Metered::default() };
    }
    let usage = body.usage.filter(UsageWire::is_whole);
    // What was delivered says something only where the numbers are missing.
    let content: Vec<BlockWire<'_>> = body
        .content
        .filter(|_| usage.is_none())
        .and_then(|content| serde_json::from_str(content.get()).ok())
        .unwrap_or_default();
    let fallback = usage.as_ref().and_then(|usage| usage.fallback_model()).map(str::to_owned);
    let delivered = content.iter().map(BlockWire::chars).fold(Chars::default(), Add::add);
    Metered {
        is_final: usage.is_some(),
        usage: usage.map(|usage| usage.usage()),
        served_model: fallback.or(body.model),
        message_id: body.id,
        stop_reason: body.stop_reason,
        delivered_chars: delivered.all,
        delivered_wide_bytes: delivered.wide_bytes,
        thinking_seen: content.iter().any(BlockWire::is_thinking),
        counted_tokens: body.input_tokens,
        ..Metered::default()
    }
}

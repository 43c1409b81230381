//! From the bytes of an answer to what it used. Reads, never rewrites; a body it cannot read
//! yields what was seen so far and `is_final == false`, never a broken stream.
//!
//! It does not guess: numbers are final only when upstream said all of them. A usage that cannot
//! be read, or is in another vendor's words, is no usage rather than one of zero.

mod stream;
mod wire;

use std::fmt;

use self::stream::StreamMeter;
use super::sse::Sse;
use crate::usage::Usage;

/// Longest event that is read. What has a price is far shorter; longer ones are results of server
/// tools, which pass by unread.
const EVENT_BYTES_MAX: usize = 1 << 20;

/// What a [`Meter`] has seen.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Metered {
    /// Usage so far, or final.
    pub usage: Option<Usage>,
    /// True when `usage` is what upstream bills: a whole JSON message, or a stream that reached
    /// its last `message_delta` and `message_stop`.
    pub is_final: bool,
    /// `model` of the answer.
    pub served_model: Option<String>,
    /// `id` of the answer.
    pub message_id: Option<String>,
    /// `stop_reason`.
    pub stop_reason: Option<String>,
    /// Unicode characters of output delivered (text, thinking, tool input). Not counted in a JSON
    /// answer whose usage could be read.
    pub delivered_chars: u64,
    /// UTF-8 bytes of those of them beyond ASCII, each of which may be several tokens.
    pub delivered_wide_bytes: u64,
    /// True once a thinking block began (its text may be hidden while it is billed). Not looked
    /// for in a JSON answer whose usage could be read.
    pub thinking_seen: bool,
    /// Content blocks that began, of a stream.
    pub blocks: u64,
    /// True when an event that carries numbers could not be read, so that not all are known.
    pub lost: bool,
    /// `error.type` of an error body or event.
    pub error_type: Option<String>,
    /// `input_tokens` of a count_tokens answer.
    pub counted_tokens: Option<u64>,
}

/// Tokens of a content block beside its text: its kind, the name of a tool.
const BLOCK_TOKENS: u64 = 64;

/// What a stream has used at the most so far.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SoFar {
    /// The usage; a token of output is taken to be a byte.
    pub usage: Usage,
    /// The model that serves.
    pub served_model: Option<String>,
    /// True when output was begun that cannot be seen.
    pub hidden: bool,
}

impl Metered {
    /// What a stream that ended here has used at the most; `None` before its first usage.
    pub fn so_far(&self) -> Option<SoFar> {
        self.usage.clone().map(|usage| self.with(usage))
    }

    /// The same with another usage: its output is raised to all bytes of text that were delivered
    /// and a fixed number of tokens for each block.
    fn with(&self, mut usage: Usage) -> SoFar {
        // All characters and the bytes of the wide ones are at least all bytes.
        let bytes = self.delivered_chars.saturating_add(self.delivered_wide_bytes);
        let written = bytes.saturating_add(self.blocks.saturating_mul(BLOCK_TOKENS));
        usage.totals.output = usage.totals.output.max(written);
        let served_model = self.served_model.clone();
        SoFar { usage, served_model, hidden: self.thinking_seen || self.lost }
    }
}

/// Reads one answer.
pub struct Meter(Kind);

enum Kind {
    Stream(Box<Stream>),
    Json { body: Vec<u8>, bytes_max: usize, too_long: bool },
}

struct Stream {
    sse: Sse,
    meter: StreamMeter,
}

impl fmt::Debug for Meter {
    /// What passes through is the client's own, so none of it is shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.0 {
            Kind::Stream(_) => "stream",
            Kind::Json { .. } => "json",
        };
        f.debug_tuple("Meter").field(&kind).finish()
    }
}

impl Meter {
    /// A meter for `text/event-stream`.
    pub fn for_stream() -> Meter {
        let sse = Sse::new(EVENT_BYTES_MAX);
        Meter(Kind::Stream(Box::new(Stream { sse, meter: StreamMeter::default() })))
    }

    /// A meter for a JSON body. `bytes_max` bounds what it keeps; a longer body is not read.
    pub fn for_json(bytes_max: usize) -> Meter {
        Meter(Kind::Json { body: Vec::new(), bytes_max, too_long: false })
    }

    /// Takes the next bytes, split anywhere.
    pub fn push(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            Kind::Stream(stream) => {
                let Stream { sse, meter } = &mut **stream;
                sse.push(bytes, |event| meter.event(event));
            }
            Kind::Json { body, bytes_max, too_long } => {
                *too_long |= bytes.len() > *bytes_max - body.len();
                if *too_long {
                    *body = Vec::new();
                } else {
                    body.extend_from_slice(bytes);
                }
            }
        }
    }

    /// True once the answer's natural end was seen (`message_stop`, or an `error` event). The end
    /// of a JSON answer is the end of its body, so there it is never true.
    pub fn saw_end(&self) -> bool {
        match &self.0 {
            Kind::Stream(stream) => stream.meter.saw_end(),
            Kind::Json { .. } => false,
        }
    }

    /// `id` of the message, once a stream has told it.
    pub fn message_id(&self) -> Option<&str> {
        match &self.0 {
            Kind::Stream(stream) => stream.meter.message_id(),
            Kind::Json { .. } => None,
        }
    }

    /// What a stream has used at the most so far, as [`Metered::so_far`] says it of its end. `None`
    /// for JSON, and before the first usage.
    pub fn so_far(&self) -> Option<SoFar> {
        match &self.0 {
            Kind::Stream(stream) => stream.meter.so_far(),
            Kind::Json { .. } => None,
        }
    }

    /// What was seen. For JSON this parses the body, so it is called once, at the end.
    pub fn finish(self) -> Metered {
        match self.0 {
            Kind::Stream(stream) => stream.meter.finish(),
            Kind::Json { body, .. } => wire::body(&body),
        }
    }
}

#[cfg(test)]
mod tests;

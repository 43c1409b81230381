//! From the bytes of an answer to what it used. Reads, never rewrites; a body it cannot read
//! yields what was seen so far and `is_final == false`, never a broken stream.

use crate::usage::Usage;

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
    /// Unicode characters of output delivered (text, thinking, tool input).
    pub delivered_chars: u64,
    /// True once a thinking block began (its text may be hidden while it is billed).
    pub thinking_seen: bool,
    /// `error.type` of an error body or event.
    pub error_type: Option<String>,
    /// `input_tokens` of a count_tokens answer.
    pub counted_tokens: Option<u64>,
}

/// Reads one answer.
#[derive(Debug)]
pub struct Meter {}

impl Meter {
    /// A meter for `text/event-stream`.
    pub fn for_stream() -> Meter {
        unimplemented!("being written")
    }

    /// A meter for a JSON body. `bytes_max` bounds what it keeps; a longer body is not read.
    pub fn for_json(_bytes_max: usize) -> Meter {
        unimplemented!("being written")
    }

    /// Takes the next bytes, split anywhere.
    pub fn push(&mut self, _bytes: &[u8]) {
        unimplemented!("being written")
    }

    /// True once the answer's natural end was seen (`message_stop`, or an `error` event).
    pub fn saw_end(&self) -> bool {
        unimplemented!("being written")
    }

    /// What was seen. For JSON this parses the body, so it is called once, at the end.
    pub fn finish(self) -> Metered {
        unimplemented!("being written")
    }
}

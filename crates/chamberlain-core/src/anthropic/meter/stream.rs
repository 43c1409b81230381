//! The events of a streamed answer, and what they add up to.

use serde::Deserialize;

use super::wire::{BlockWire, Chars, ErrorWire, UsageWire};
use super::{Metered, SoFar};
use crate::anthropic::sse::Event;

#[derive(Deserialize)]
struct MessageStart {
    message: MessageWire,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct MessageWire {
    id: Option<String>,
    model: Option<String>,
    usage: Option<UsageWire>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct MessageDelta {
    delta: Option<StopWire>,
    usage: Option<UsageWire>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct StopWire {
    stop_reason: Option<String>,
}

#[derive(Deserialize)]
struct BlockStart<'a> {
    #[serde(borrow)]
    content_block: BlockWire<'a>,
}

#[derive(Deserialize)]
struct BlockDelta {
    delta: DeltaWire,
}

/// What each kind of delta adds to the output; the others (signatures, citations) have none of
/// these.
#[derive(Default, Deserialize)]
#[serde(default)]
struct DeltaWire {
    text: Chars,
    thinking: Option<Chars>,
    partial_json: Chars,
    /// Of a compaction.
    content: Chars,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ErrorEvent {
    error: ErrorWire,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Named<'a> {
    r#type: Option<&'a str>,
}

/// Reads the events of one answer.
#[derive(Default)]
pub(super) struct StreamMeter {
    seen: Metered,
    /// The last word on each number so far.
    usage: UsageWire,
    /// `message_start` was read.
    started: bool,
    /// A `message_delta` with usage was read.
    totalled: bool,
    stopped: bool,
}

impl StreamMeter {
    pub(super) fn event(&mut self, event: Event<'_>) {
        if self.saw_end() {
            return;
        }
        match event.name {
            b"" => match serde_json::from_slice::<Named<'_>>(event.data) {
                Ok(Named { r#type: Some(name) }) => self.named(name.as_bytes(), event),
                Ok(Named { r#type: None }) | Err(_) => self.seen.lost |= event.cut,
            },
            name => self.named(name, event),
        }
    }

    fn named(&mut self, name: &[u8], event: Event<'_>) {
        match name {
            b"content_block_delta" => self.block_delta(event),
            b"content_block_start" => self.block_start(event),
            b"message_start" => {
                let read = serde_json::from_slice::<MessageStart>(event.data);
                self.seen.lost |= !read.is_ok_and(|start| self.message_start(start.message));
            }
            b"message_delta" => {
                let read = serde_json::from_slice::<MessageDelta>(event.data);
                self.seen.lost |= !read.is_ok_and(|delta| self.message_delta(delta));
            }
            b"message_stop" => self.stopped = true,
            b"error" => {
                let error: ErrorEvent = serde_json::from_slice(event.data).unwrap_or_default();
                self.seen.error_type = Some(error.error.name());
            }
            _ => {}
        }
    }

    /// False when the numbers that every answer begins with are missing.
    fn message_start(&mut self, message: MessageWire) -> bool {
        self.seen.message_id = message.id;
        self.seen.served_model = message.model;
        let usage = message.usage.unwrap_or_default();
        self.started = usage.is_whole();
        self.usage.overwrite(usage);
        self.started
    }

    /// False when it has a usage without the number that every delta has.
    fn message_delta(&mut self, delta: MessageDelta) -> bool {
        let stop = delta.delta.unwrap_or_default();
        if stop.stop_reason.is_some() {
            self.seen.stop_reason = stop.stop_reason;
        }
        let Some(usage) = delta.usage else { return true };
        let readable = usage.output_tokens.is_some();
        self.totalled |= readable;
        self.usage.overwrite(usage);
        readable
    }

    fn block_start(&mut self, event: Event<'_>) {
        self.seen.blocks += 1;
        match serde_json::from_slice::<BlockStart<'_>>(event.data) {
            Ok(BlockStart { content_block }) => {
                self.seen.thinking_seen |= content_block.is_thinking();
                self.delivered(content_block.text_chars());
                if let Some(model) = content_block.fallback_to() {
                    self.seen.served_model = Some(model);
                }
            }
            // Results of server tools are no output of the model, however long.
            Err(_) if event.cut => {}
            Err(_) => self.delivered(Chars::at_most(event.data_bytes)),
        }
    }

    fn block_delta(&mut self, event: Event<'_>) {
        match serde_json::from_slice::<BlockDelta>(event.data) {
            Ok(BlockDelta { delta }) => {
                self.seen.thinking_seen |= delta.thinking.is_some();
                let thinking = delta.thinking.unwrap_or_default();
                self.delivered(delta.text + thinking + delta.partial_json + delta.content);
            }
            Err(_) => self.delivered(Chars::at_most(event.data_bytes)),
        }
    }

    fn delivered(&mut self, more: Chars) {
        self.seen.delivered_chars += more.all;
        self.seen.delivered_wide_bytes += more.wide_bytes;
    }

    pub(super) fn saw_end(&self) -> bool {
        self.stopped || self.seen.error_type.is_some()
    }

    pub(super) fn message_id(&self) -> Option<&str> {
        self.seen.message_id.as_deref()
    }

    pub(super) fn so_far(&self) -> Option<SoFar> {
        if !self.started {
            return None;
        }
        Some(self.seen.with(self.usage.usage()))
    }

    pub(super) fn finish(self) -> Metered {
        let mut seen = self.seen;
        if let Some(model) = self.usage.fallback_model() {
            seen.served_model = Some(model.to_owned());
        }
        if self.started || self.totalled {
            seen.usage = Some(self.usage.usage());
        }
        seen.is_final = self.started && self.totalled && self.stopped && !seen.lost;
        seen
    }
}

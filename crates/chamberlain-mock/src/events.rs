//! An answer as server-sent events, made one at a time.

use std::collections::VecDeque;

use bytes::Bytes;
use serde::Serialize;
use serde_json::json;

use crate::containers::Container;
use crate::reply::{Block, DeltaUsage, Message, Reply, StopDetails, text_tokens, tool_tokens};
use crate::scenario::Point;

/// Tokens in one delta when nothing else was asked for.
const CHUNK_TOKENS: usize = 4;

/// How far a stream has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    New,
    /// `message_start` is out.
    Started,
    /// Content is being sent.
    Content,
    /// The last `message_delta` is out.
    Delta,
    /// `message_stop` is out.
    Done,
}

/// The events of one answer.
#[derive(Debug)]
pub(crate) struct Events {
    reply: Reply,
    /// Bytes in one delta.
    chunk: usize,
    pings: bool,
    lean: bool,
    stage: Stage,
    /// Made and not yet given out.
    queue: VecDeque<Bytes>,
    /// The block that is being sent, and how far it has come.
    block: usize,
    open: Option<Progress>,
    events: usize,
    deltas: u64,
    /// Output tokens of the blocks before this one, and of this one so far.
    output_before: u64,
    output: u64,
}

/// How far a block has come.
#[derive(Debug)]
struct Progress {
    /// What its deltas carry.
    text: String,
    at: usize,
    /// The first delta was made.
    begun: bool,
    /// The signature was made.
    signed: bool,
}

impl Events {
    pub(crate) fn new(
        reply: Reply,
        chunk_tokens: Option<usize>,
        pings: bool,
        lean: bool,
    ) -> Events {
        Events {
            reply,
            chunk: chunk_tokens.unwrap_or(CHUNK_TOKENS).saturating_mul(4),
            pings,
            lean,
            stage: Stage::New,
            queue: VecDeque::new(),
            block: 0,
            open: None,
            events: 0,
            deltas: 0,
            output_before: 0,
            output: 0,
        }
    }

    /// True when everything before `point` was given out.
    pub(crate) fn reached(&self, point: Point) -> bool {
        let content_done = self.open.is_none() && self.block == self.reply.blocks.len();
        self.queue.is_empty()
            && match (point, self.stage) {
                (Point::Headers, _) => true,
                (Point::Start, stage) => stage != Stage::New,
                (Point::Deltas(_), Stage::New | Stage::Started) => false,
                (Point::Deltas(n), Stage::Content) => {
                    content_done || (self.open.is_some() && self.deltas >= n)
                }
                (Point::Deltas(_), _) => true,
                (Point::Stop, stage) => matches!(stage, Stage::Delta | Stage::Done),
            }
    }

    /// Output tokens made so far.
    pub(crate) fn output(&self) -> u64 {
        self.output
    }

    fn start(&mut self) {
        let message = self.reply.opening();
        let start = MessageStart { r#type: "message_start", message };
        self.queue.push_back(frame("message_start", &crate::json::bytes(&start), 0));
        self.stage = Stage::Started;
    }

    fn open_block(&mut self) {
        let index = self.block;
        let block = &self.reply.blocks[index];
        let event =
            BlockStart { r#type: "content_block_start", index, content_block: opened(block) };
        let text = match block {
            Block::Text { text } => text.clone(),
            Block::Thinking { thinking, .. } => thinking.clone(),
            Block::ToolUse { input, .. } | Block::ServerToolUse { input, .. } => input.to_string(),
            Block::Compaction { content } => content.clone(),
            _ => String::new(),
        };
        self.output_before = self.output;
        self.open = Some(Progress { text, at: 0, begun: false, signed: false });
        self.push("content_block_start", &event);
        if index == 0 {
            self.queue.push_back(ping());
        }
    }

    /// The next delta of the open block, or its end.
    fn advance_block(&mut self) {
        let index = self.block;
        let Some(mut progress) = self.open.take() else { return };
        let delta = next_delta(&self.reply.blocks[index], &mut progress, self.chunk);
        let so_far = tokens_so_far(&self.reply.blocks[index], &progress);
        self.output = self.output_before + so_far;
        if let Some(delta) = delta {
            if self.pings && self.deltas > 0 {
                self.queue.push_back(ping());
            }
            self.deltas += 1;
            let event = BlockDelta { r#type: "content_block_delta", index, delta };
            self.push("content_block_delta", &event);
            self.open = Some(progress);
        } else {
            self.push("content_block_stop", &BlockStop { r#type: "content_block_stop", index });
            self.block += 1;
        }
    }

    fn message_delta(&mut self) {
        let delta = MessageDelta {
            r#type: "message_delta",
            delta: Stopped {
                stop_reason: self.reply.stop_reason.clone(),
                stop_sequence: self.reply.stop_sequence.clone(),
                stop_details: self.reply.stop_details.clone(),
                container: self.reply.container.clone(),
            },
            usage: self.reply.delta_usage(self.lean),
        };
        self.output = self.reply.total.output;
        self.push("message_delta", &delta);
        self.stage = Stage::Delta;
    }

    /// Queues an event. The real API pads its data with blanks, so that lengths tell less; this
    /// does too, the same way every time.
    fn push<T: Serialize>(&mut self, name: &str, data: &T) {
        let json = crate::json::bytes(data);
        self.events += 1;
        let padding = (self.events * 7 + json.len()) % 11;
        self.queue.push_back(frame(name, &json, padding));
    }
}

impl Iterator for Events {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(event) = self.queue.pop_front() {
                return Some(event);
            }
            match self.stage {
                Stage::New => self.start(),
                Stage::Started => {
                    self.stage = Stage::Content;
                    if self.reply.blocks.is_empty() {
                        self.queue.push_back(ping());
                    }
                }
                Stage::Content if self.open.is_some() => self.advance_block(),
                Stage::Content if self.block < self.reply.blocks.len() => self.open_block(),
                Stage::Content => self.message_delta(),
                Stage::Delta => {
                    self.push("message_stop", &json!({ "type": "message_stop" }));
                    self.stage = Stage::Done;
                }
                Stage::Done => return None,
            }
        }
    }
}

/// The block as `content_block_start` shows it: empty where deltas follow.
fn opened(block: &Block) -> Block {
    match block.clone() {
        Block::Text { .. } => Block::Text { text: String::new() },
        Block::Thinking { .. } => {
            Block::Thinking { thinking: String::new(), signature: String::new(), tokens: 0 }
        }
        Block::ToolUse { id, name, .. } => Block::ToolUse { id, name, input: json!({}) },
        Block::ServerToolUse { id, name, .. } => {
            Block::ServerToolUse { id, name, input: json!({}) }
        }
        Block::Compaction { .. } => Block::Compaction { content: String::new() },
        whole => whole,
    }
}

fn next_delta(block: &Block, progress: &mut Progress, chunk: usize) -> Option<Piece> {
    let first = !std::mem::replace(&mut progress.begun, true);
    match block {
        // The real API opens the input of a tool with an empty piece.
        Block::ToolUse { .. } | Block::ServerToolUse { .. } if first => {
            Some(Piece::InputJson { partial_json: String::new() })
        }
        // A compaction comes in one piece.
        Block::Compaction { content } => {
            first.then(|| Piece::Compaction { content: content.clone() })
        }
        _ => match (take(progress, chunk), block) {
            (Some(text), Block::Text { .. }) => Some(Piece::Text { text }),
            (Some(thinking), Block::Thinking { .. }) => Some(Piece::Thinking { thinking }),
            (Some(partial_json), _) => Some(Piece::InputJson { partial_json }),
            (None, Block::Thinking { signature, .. }) if !progress.signed => {
                progress.signed = true;
                Some(Piece::Signature { signature: signature.clone() })
            }
            (None, _) => None,
        },
    }
}

/// The next piece of text, whole characters of at least one.
fn take(progress: &mut Progress, chunk: usize) -> Option<String> {
    let rest = &progress.text[progress.at..];
    let letter = rest.chars().next()?;
    let len = rest.floor_char_boundary(chunk).max(letter.len_utf8());
    progress.at += len;
    Some(rest[..len].to_owned())
}

fn tokens_so_far(block: &Block, progress: &Progress) -> u64 {
    match block {
        Block::Text { .. } => text_tokens(progress.at),
        Block::Thinking { tokens, .. } if progress.signed => *tokens,
        Block::Thinking { tokens, .. } => text_tokens(progress.at).min(*tokens),
        Block::ToolUse { .. } | Block::ServerToolUse { .. } => tool_tokens(progress.at as u64),
        _ => 0,
    }
}

fn frame(name: &str, json: &[u8], padding: usize) -> Bytes {
    let mut frame = Vec::with_capacity(json.len() + name.len() + padding + 17);
    frame.extend_from_slice(b"event: ");
    frame.extend_from_slice(name.as_bytes());
    frame.extend_from_slice(b"\ndata: ");
    frame.extend_from_slice(json);
    frame.resize(frame.len() + padding, b' ');
    frame.extend_from_slice(b"\n\n");
    frame.into()
}

/// A `ping` event.
pub(crate) fn ping() -> Bytes {
    Bytes::from_static(b"event: ping\ndata: {\"type\": \"ping\"}\n\n")
}

/// An `error` event with this JSON.
pub(crate) fn error(json: &[u8]) -> Bytes {
    frame("error", json, 0)
}

#[derive(Serialize)]
struct MessageStart<'a> {
    r#type: &'static str,
    message: Message<'a>,
}

#[derive(Serialize)]
struct BlockStart {
    r#type: &'static str,
    index: usize,
    content_block: Block,
}

#[derive(Serialize)]
struct BlockDelta {
    r#type: &'static str,
    index: usize,
    delta: Piece,
}

#[derive(Serialize)]
#[serde(tag = "type")]
enum Piece {
    #[serde(rename = "text_delta")]
    Text { text: String },
    #[serde(rename = "thinking_delta")]
    Thinking { thinking: String },
    #[serde(rename = "signature_delta")]
    Signature { signature: String },
    #[serde(rename = "input_json_delta")]
    InputJson { partial_json: String },
    #[serde(rename = "compaction_delta")]
    Compaction { content: String },
}

#[derive(Serialize)]
struct BlockStop {
    r#type: &'static str,
    index: usize,
}

#[derive(Serialize)]
struct MessageDelta {
    r#type: &'static str,
    delta: Stopped,
    usage: DeltaUsage,
}

#[derive(Serialize)]
struct Stopped {
    stop_reason: String,
    stop_sequence: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stop_details: Option<StopDetails>,
    #[serde(skip_serializing_if = "Option::is_none")]
    container: Option<Container>,
}

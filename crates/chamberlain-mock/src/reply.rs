//! The shapes of an answer, in the field order of the real API.

use std::ops::AddAssign;

use serde::Serialize;
use serde_json::Value;

use crate::containers::Container;

/// Tokens by category; every token is in exactly one.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug, Serialize)]
pub struct Counts {
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

impl Counts {
    /// The whole prompt.
    pub fn prompt(&self) -> u64 {
        self.input + self.cache_written() + self.cache_read
    }

    /// Both kinds of cache writes.
    pub fn cache_written(&self) -> u64 {
        self.cache_write_5m + self.cache_write_1h
    }

    /// The same prompt with this much output.
    #[must_use]
    pub fn with_output(mut self, output: u64) -> Counts {
        self.output = output;
        self
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, more: Counts) {
        self.input += more.input;
        self.cache_write_5m += more.cache_write_5m;
        self.cache_write_1h += more.cache_write_1h;
        self.cache_read += more.cache_read;
        self.output += more.output;
    }
}

/// One content block.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum Block {
    Text {
        text: String,
    },
    Thinking {
        thinking: String,
        signature: String,
        /// What it costs, which the shown text does not say.
        #[serde(skip)]
        tokens: u64,
    },
    ToolUse {
        id: String,
        name: String,
        input: Value,
    },
    ServerToolUse {
        id: String,
        name: String,
        input: Value,
    },
    WebSearchToolResult {
        tool_use_id: String,
        content: Vec<SearchResult>,
    },
    BashCodeExecutionToolResult {
        tool_use_id: String,
        content: CodeResult,
    },
    AdvisorToolResult {
        tool_use_id: String,
        content: AdvisorResult,
    },
    Compaction {
        content: String,
    },
    Fallback {
        from: ModelName,
        to: ModelName,
        trigger: Trigger,
    },
}

/// Tokens of that many bytes of text.
pub(crate) fn text_tokens(bytes: usize) -> u64 {
    (bytes as u64).div_ceil(4)
}

/// Tokens of a tool call whose input has that many bytes of JSON.
pub(crate) fn tool_tokens(bytes: u64) -> u64 {
    8 + bytes.div_ceil(4)
}

#[derive(Clone, PartialEq, Debug, Serialize)]
pub(crate) struct SearchResult {
    pub(crate) r#type: &'static str,
    pub(crate) title: String,
    pub(crate) url: String,
    pub(crate) encrypted_content: String,
    pub(crate) page_age: Option<String>,
}

/// What a command printed in a container, and the files it made.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(crate) struct CodeResult {
    pub(crate) r#type: &'static str,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) return_code: i32,
    pub(crate) content: Vec<FileMade>,
}

#[derive(Clone, PartialEq, Debug, Serialize)]
pub(crate) struct FileMade {
    pub(crate) r#type: &'static str,
    pub(crate) file_id: String,
}

#[derive(Clone, PartialEq, Debug, Serialize)]
pub(crate) struct AdvisorResult {
    pub(crate) r#type: &'static str,
    pub(crate) text: String,
    pub(crate) stop_reason: &'static str,
}

#[derive(Clone, PartialEq, Debug, Serialize)]
pub(crate) struct ModelName {
    pub(crate) model: String,
}

#[derive(Clone, PartialEq, Debug, Serialize)]
pub(crate) struct Trigger {
    pub(crate) r#type: &'static str,
    pub(crate) category: Option<String>,
}

#[derive(Clone, PartialEq, Debug, Serialize)]
pub(crate) struct StopDetails {
    pub(crate) r#type: &'static str,
    pub(crate) category: Option<String>,
    pub(crate) explanation: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) fallback_credit_token: Option<String>,
}

/// A whole message.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(crate) struct Message<'a> {
    pub(crate) id: &'a str,
    pub(crate) r#type: &'static str,
    pub(crate) role: &'static str,
    pub(crate) model: &'a str,
    pub(crate) content: &'a [Block],
    pub(crate) stop_reason: Option<&'a str>,
    pub(crate) stop_sequence: Option<&'a str>,
    pub(crate) stop_details: Option<&'a StopDetails>,
    pub(crate) container: Option<&'a Container>,
    pub(crate) usage: UsageShown,
}

/// `usage` of a whole message and of `message_start`.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(crate) struct UsageShown {
    pub(crate) input_tokens: u64,
    pub(crate) cache_creation_input_tokens: u64,
    pub(crate) cache_read_input_tokens: u64,
    pub(crate) cache_creation: Split,
    pub(crate) output_tokens: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) output_tokens_details: Option<OutputDetails>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) server_tool_use: Option<ServerToolUse>,
    pub(crate) service_tier: String,
    pub(crate) inference_geo: String,
    pub(crate) speed: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) iterations: Option<Vec<Iteration>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) fallback_credit: Option<FallbackCredit>,
}

/// `usage` of `message_delta`: cumulative, without the split and without where it ran.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(crate) struct DeltaUsage {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) input_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cache_creation_input_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cache_read_input_tokens: Option<u64>,
    pub(crate) output_tokens: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) output_tokens_details: Option<OutputDetails>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) server_tool_use: Option<ServerToolUse>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) iterations: Option<Vec<Iteration>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) fallback_credit: Option<FallbackCredit>,
}

/// What became of a credit that was to be redeemed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub(crate) struct FallbackCredit {
    pub(crate) status: CreditStatus,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum CreditStatus {
    Redeemed,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub(crate) struct Split {
    pub(crate) ephemeral_5m_input_tokens: u64,
    pub(crate) ephemeral_1h_input_tokens: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub(crate) struct OutputDetails {
    pub(crate) thinking_tokens: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub(crate) struct ServerToolUse {
    pub(crate) web_search_requests: u64,
    pub(crate) web_fetch_requests: u64,
}

/// One entry of `usage.iterations`.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(crate) struct Iteration {
    pub(crate) r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) model: Option<String>,
    pub(crate) input_tokens: u64,
    pub(crate) cache_creation_input_tokens: u64,
    pub(crate) cache_read_input_tokens: u64,
    pub(crate) cache_creation: Split,
    pub(crate) output_tokens: u64,
}

impl Iteration {
    pub(crate) fn new(kind: &'static str, model: Option<&str>, counts: Counts) -> Iteration {
        Iteration {
            r#type: kind,
            model: model.map(str::to_owned),
            input_tokens: counts.input,
            cache_creation_input_tokens: counts.cache_written(),
            cache_read_input_tokens: counts.cache_read,
            cache_creation: Split::of(counts),
            output_tokens: counts.output,
        }
    }
}

impl Split {
    pub(crate) fn of(counts: Counts) -> Split {
        Split {
            ephemeral_5m_input_tokens: counts.cache_write_5m,
            ephemeral_1h_input_tokens: counts.cache_write_1h,
        }
    }
}

/// An answer, composed and not yet sent.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) id: String,
    /// The model that `message_start` names.
    pub(crate) start_model: String,
    /// The model that a whole message names.
    pub(crate) model: String,
    pub(crate) blocks: Vec<Block>,
    pub(crate) stop_reason: String,
    pub(crate) stop_sequence: Option<String>,
    pub(crate) stop_details: Option<StopDetails>,
    /// Where code ran, which the end of the answer tells.
    pub(crate) container: Option<Container>,
    /// What `message_start` says, with its small output.
    pub(crate) start: Counts,
    /// What the end says.
    pub(crate) total: Counts,
    pub(crate) thinking_tokens: Option<u64>,
    pub(crate) server_tool_use: Option<ServerToolUse>,
    pub(crate) iterations: Option<Vec<Iteration>>,
    pub(crate) fallback_credit: Option<FallbackCredit>,
    pub(crate) tier: String,
    pub(crate) geo: String,
    pub(crate) speed: String,
}

impl Reply {
    fn usage(&self, counts: Counts) -> UsageShown {
        UsageShown {
            input_tokens: counts.input,
            cache_creation_input_tokens: counts.cache_written(),
            cache_read_input_tokens: counts.cache_read,
            cache_creation: Split::of(counts),
            output_tokens: counts.output,
            output_tokens_details: None,
            server_tool_use: None,
            service_tier: self.tier.clone(),
            inference_geo: self.geo.clone(),
            speed: self.speed.clone(),
            iterations: None,
            fallback_credit: None,
        }
    }

    fn details(&self) -> Option<OutputDetails> {
        self.thinking_tokens.map(|thinking_tokens| OutputDetails { thinking_tokens })
    }

    /// `usage` of the whole message.
    pub(crate) fn final_usage(&self) -> UsageShown {
        UsageShown {
            output_tokens_details: self.details(),
            server_tool_use: self.server_tool_use,
            iterations: self.iterations.clone(),
            fallback_credit: self.fallback_credit,
            ..self.usage(self.total)
        }
    }

    /// `usage` of the last `message_delta`; `lean` leaves out what is optional and unchanged.
    pub(crate) fn delta_usage(&self, lean: bool) -> DeltaUsage {
        let shown = |count: u64| (!lean).then_some(count);
        DeltaUsage {
            input_tokens: shown(self.total.input),
            cache_creation_input_tokens: shown(self.total.cache_written()),
            cache_read_input_tokens: shown(self.total.cache_read),
            output_tokens: self.total.output,
            output_tokens_details: self.details(),
            server_tool_use: self.server_tool_use,
            iterations: self.iterations.clone(),
            fallback_credit: self.fallback_credit,
        }
    }

    /// Whether code ran in a container.
    pub(crate) fn ran_code(&self) -> bool {
        let is_result = |block: &Block| matches!(block, Block::BashCodeExecutionToolResult { .. });
        self.blocks.iter().any(is_result)
    }

    /// The files that code made.
    pub(crate) fn files_made(&self) -> impl Iterator<Item = &str> {
        self.blocks
            .iter()
            .filter_map(|block| match block {
                Block::BashCodeExecutionToolResult { content, .. } => Some(&content.content),
                _ => None,
            })
            .flatten()
            .map(|file| file.file_id.as_str())
    }

    /// The message as one JSON answer.
    pub(crate) fn whole(&self) -> Message<'_> {
        Message {
            id: &self.id,
            r#type: "message",
            role: "assistant",
            model: &self.model,
            content: &self.blocks,
            stop_reason: Some(&self.stop_reason),
            stop_sequence: self.stop_sequence.as_deref(),
            stop_details: self.stop_details.as_ref(),
            container: self.container.as_ref(),
            usage: self.final_usage(),
        }
    }

    /// The message as `message_start` shows it.
    pub(crate) fn opening(&self) -> Message<'_> {
        Message {
            id: &self.id,
            r#type: "message",
            role: "assistant",
            model: &self.start_model,
            content: &[],
            stop_reason: None,
            stop_sequence: None,
            stop_details: None,
            container: None,
            usage: self.usage(self.start),
        }
    }
}

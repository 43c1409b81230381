//! From the bytes of a request to the facts that policy and money need.

mod block;
mod place;
mod reading;
mod shape;
mod thread;
mod tool;

use std::collections::BTreeSet;

use self::place::Place;
use self::reading::Reading;
use super::json::{self, JsonError};
use crate::resource::ResourceId;
use crate::source::Source;
use crate::usage::Speed;

pub use self::thread::ThreadMemory;

/// One capability a request uses, read from its body. Policies allow or deny each by name.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Capability {
    /// An image block.
    Images,
    /// A document block (PDF, text, content).
    Documents,
    /// Content read from a URL or a file id: the body does not show what will be read.
    ExternalContent,
    /// Client tools.
    Tools,
    /// Thinking.
    Thinking,
    /// `cache_control` anywhere.
    Caching,
    /// `output_config.format`.
    StructuredOutput,
    /// `web_search_*`.
    WebSearch,
    /// `web_fetch_*`.
    WebFetch,
    /// `code_execution_*`, skills or a container.
    CodeExecution,
    /// `tool_search_tool_*`.
    ToolSearch,
    /// `mcp_servers` or an MCP toolset.
    Mcp,
    /// `advisor_*`.
    Advisor,
    /// A server tool this version does not know.
    UnknownServerTool,
    /// `speed: "fast"`.
    Fast,
    /// `fallbacks`.
    Fallbacks,
    /// `thread`.
    Threads,
    /// `compaction` or a compacting `context_management` edit.
    Compaction,
    /// `container` by id.
    Containers,
    /// `container.skills` that are not Anthropic's own: they belong to the whole workspace.
    CustomSkills,
    /// `inference_geo`.
    InferenceGeo,
    /// `service_tier` other than `standard_only`.
    PriorityTier,
    /// `billing_policy`.
    BillingPolicy,
    /// The routes of `/v1/files`. That a message reads a file is [`Capability::ExternalContent`].
    Files,
    /// A prompt that cannot be shown to be at most 200,000 tokens: one byte of it may be a token, an
    /// image 4,784, and what is elsewhere anything.
    LongContext,
    /// It is an item of a batch.
    Batches,
}

/// The longest cache lifetime a request may write.
#[derive(
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Debug,
    serde::Serialize,
    serde::Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum CacheWrites {
    /// No `cache_control` anywhere.
    #[default]
    None,
    /// Five minutes at the most.
    FiveMinutes,
    /// One hour somewhere.
    OneHour,
}

/// Which server tool.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServerToolKind {
    /// `web_search_*`
    WebSearch,
    /// `web_fetch_*`
    WebFetch,
    /// `code_execution_*`
    CodeExecution,
    /// `tool_search_tool_*`
    ToolSearch,
    /// `advisor_*`
    Advisor,
    /// `mcp_toolset`
    McpToolset,
    /// Anything else with a dated type that no client tool has.
    Unknown,
}

/// A declared server tool with the limits the request puts on it.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub struct ServerTool {
    /// Which.
    pub kind: ServerToolKind,
    /// The `type` as written.
    pub type_name: String,
    /// `max_uses`.
    pub max_uses: Option<u64>,
    /// `max_content_tokens` (web fetch).
    pub max_content_tokens: Option<u64>,
    /// `model` (advisor).
    pub model: Option<String>,
    /// `max_tokens` (advisor).
    pub max_tokens: Option<u64>,
}

/// One entry of `fallbacks`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fallback {
    /// The model.
    pub model: String,
    /// Its `max_tokens`, when it differs.
    pub max_tokens: Option<u64>,
    /// Its speed.
    pub speed: Option<Speed>,
}

/// `fallbacks` as written.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub enum Fallbacks {
    /// Absent.
    #[default]
    None,
    /// `"default"`: any active model may serve.
    Default,
    /// A list.
    List(Vec<Fallback>),
}

/// `thread` as written.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub enum Thread {
    /// Absent.
    #[default]
    None,
    /// `{"type":"create"}`
    Create,
    /// `{"type":"continue", …}`: the prompt is not in the body.
    Continue,
}

/// What was read from the body of a message (or count_tokens) request.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct RequestFacts {
    /// `model`.
    pub model: String,
    /// `max_tokens`; `None` only for count_tokens.
    pub max_tokens: Option<u64>,
    /// `stream`.
    pub stream: bool,
    /// Length of the decoded body.
    pub body_bytes: u64,
    /// UTF-8 bytes of the decoded body without the payload of base64 images and PDFs: no prompt
    /// in the body has more tokens than this plus images and framing.
    pub prompt_bytes: u64,
    /// Image blocks.
    pub images: u64,
    /// True when something is read that the body does not show: URL and file sources, PDFs,
    /// containers. What a continued thread holds is not among it.
    pub prompt_is_elsewhere: bool,
    /// True when only small fixed framing is added to the prompt: no tools, no structured output,
    /// nothing unknown.
    pub plain: bool,
    /// Cache writes that may occur.
    pub cache_writes: CacheWrites,
    /// Tokens that upstream may add for the client tools that it brings the definition of.
    pub builtin_tool_tokens: u64,
    /// Declared server tools.
    pub server_tools: Vec<ServerTool>,
    /// A server tool is declared inside a message, where a thread remembers it.
    pub inline_server_tool: bool,
    /// `mcp_servers` present.
    pub mcp: bool,
    /// `fallbacks`.
    pub fallbacks: Fallbacks,
    /// `thread`.
    pub thread: Thread,
    /// `thread.previous_message_id`: what a continued thread goes on from.
    pub previous_message: Option<ResourceId>,
    /// Tokens that the thread holds already, at the most, where they are remembered. Not in the
    /// body: whoever looks the thread up sets it with [`RequestFacts::resume`].
    pub thread_tokens: Option<u64>,
    /// An earlier turn of the thread had a field that this version does not know. Set in the same
    /// way.
    pub thread_unknown: bool,
    /// `diagnostics.previous_message_id`: what a cache miss is to be explained by.
    pub diagnosed_message: Option<ResourceId>,
    /// `container` by id.
    pub container: Option<ResourceId>,
    /// Files that sources and container uploads name.
    pub files: BTreeSet<ResourceId>,
    /// Compaction may run.
    pub compaction: bool,
    /// `context_management` has edits, so that part of the prompt may be left out.
    pub context_edits: bool,
    /// `thinking.type` as written.
    pub thinking: Option<String>,
    /// `speed`.
    pub speed: Speed,
    /// `inference_geo` as written.
    pub inference_geo: Option<String>,
    /// `service_tier` as written.
    pub service_tier: Option<String>,
    /// `metadata.user_id`, never logged in full.
    pub end_user: Option<String>,
    /// Fields that this version does not know, where a new one could cost money: at the top level,
    /// in `fallbacks`, in a message, in a server tool, and the type of a content block.
    pub unknown_fields: Vec<String>,
    /// Everything the request uses, sorted.
    pub capabilities: Vec<Capability>,
}

/// Facts from outside the body.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CallerFacts {
    /// Where the client is: the peer's address, or a believed forwarded one.
    pub source: Source,
    /// `x-chamberlain-operation`.
    pub operation: Option<String>,
    /// `anthropic-beta` flags.
    pub betas: Vec<String>,
}

/// Why a body was refused before anything was decided. Always the client's to mend.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum MalformedRequest {
    /// Not UTF-8.
    #[error("the request body is not valid UTF-8 (first bad byte at offset {offset})")]
    NotUtf8 {
        /// Where.
        offset: usize,
    },
    /// Not JSON.
    #[error("the request body is not valid JSON: {reason}")]
    NotJson {
        /// What the parser says.
        reason: String,
    },
    /// A name twice in one object.
    #[error(
        "the JSON object at {path} has the key {key:?} more than once; which one counts is undefined, so it is refused"
    )]
    DuplicateKey {
        /// JSON path of the object.
        path: String,
        /// The key.
        key: String,
    },
    /// Nested too deeply.
    #[error("the request body is nested deeper than {max} levels")]
    TooDeep {
        /// The limit.
        max: usize,
    },
    /// A field has a shape that policy cannot read.
    #[error("{field}: {reason}")]
    Field {
        /// Path of the field.
        field: String,
        /// What is wrong, and what is expected.
        reason: String,
    },
}

/// What to refuse while reading.
#[derive(Clone, Copy, Debug)]
pub struct InspectLimits {
    /// Deepest nesting.
    pub depth_max: usize,
}

impl From<JsonError> for MalformedRequest {
    fn from(error: JsonError) -> MalformedRequest {
        match error {
            JsonError::NotUtf8 { offset } => MalformedRequest::NotUtf8 { offset },
            JsonError::NotJson { reason } => MalformedRequest::NotJson { reason },
            JsonError::TooDeep { max } => MalformedRequest::TooDeep { max },
            JsonError::DuplicateKey { path, key } => {
                let path = if path.is_empty() { "the top level".to_owned() } else { path };
                MalformedRequest::DuplicateKey { path, key }
            }
            JsonError::Wrong { path, reason } => {
                let field = if path.is_empty() { "the body".to_owned() } else { path };
                MalformedRequest::Field { field, reason }
            }
        }
    }
}

/// Reads the facts out of a decoded body, strictly: valid UTF-8, valid JSON, no key twice in any
/// object, bounded depth, and the right shape for every field that policy or money reads. Fields
/// that are not known are named in [`RequestFacts::unknown_fields`]; whoever bounds the cost
/// refuses them.
///
/// Where the body leaves a doubt, the doubt counts against the request: a content block of a kind
/// this version does not know may pull in anything, so it is
/// [`prompt_is_elsewhere`](RequestFacts::prompt_is_elsewhere) and
/// [`Capability::ExternalContent`]; a context edit that is not a `clear_…` may be a compaction.
///
/// # Errors
/// [`MalformedRequest`], naming the field and the mend.
pub fn inspect(body: &[u8], limits: InspectLimits) -> Result<RequestFacts, MalformedRequest> {
    let mut reading = Reading::new(body.len());
    json::read(body, limits.depth_max, Place::Body, &mut reading)?;
    reading.finish()
}

#[cfg(test)]
mod tests;

//! The map of a request body: which place leads to which, and what is noted there.

use std::borrow::Cow;
use std::collections::BTreeSet;

use super::block::{Block, Kind, SourceKind, Verdict};
use super::{
    CacheWrites, Capability, Fallback, Fallbacks, MalformedRequest, RequestFacts, ServerTool,
    ServerToolKind, Thread,
};
use crate::anthropic::json::{Listener, Value, Wrong, quoted};
use crate::usage::Speed;

/// Tokens of one image, at the most.
const IMAGE_TOKENS_MAX: u64 = 4_784;
/// A longer prompt is [`Capability::LongContext`].
const SHORT_CONTEXT_TOKENS: u64 = 200_000;
/// Entries that `fallbacks` may have.
const FALLBACKS_MAX: usize = 3;
/// Longest name (of a model, a tool type, a region) that a request may have.
const NAME_BYTES_MAX: usize = 256;
/// So many unknown fields are named; more of them say nothing new.
const UNKNOWN_FIELDS_NAMED: usize = 32;

/// A place in the body that somebody reads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Place {
    /// Nobody reads what is here, beyond the rules of JSON.
    Unread,
    Body,
    Model,
    MaxTokens,
    Stream,
    Speed,
    InferenceGeo,
    ServiceTier,
    Metadata,
    EndUser,
    Messages,
    Message,
    /// A text, blocks, or one block.
    Content,
    Block,
    /// Whatever else stands in a block.
    Attribute,
    BlockType,
    Source,
    SourceType,
    SourceData,
    Citations,
    CitationsEnabled,
    CacheControl,
    CacheTtl,
    Tools,
    Tool,
    ToolType,
    ToolMaxUses,
    ToolMaxContentTokens,
    ToolModel,
    ToolMaxTokens,
    /// `tool` of a block that changes the tool set in the middle of a conversation.
    ToolChange,
    Thinking,
    ThinkingType,
    OutputConfig,
    OutputFormat,
    TaskBudget,
    Fallbacks,
    Fallback,
    FallbackModel,
    FallbackMaxTokens,
    FallbackSpeed,
    Thread,
    ThreadType,
    Container,
    ContainerId,
    Skills,
    Skill,
    McpServers,
    McpServer,
    ContextManagement,
    Edits,
    Edit,
    EditType,
    Compaction,
    /// A field that lets somebody else pay.
    OtherPayer,
}

impl Place {
    /// The fields of the body; `None` for one this version does not know.
    fn of_field(name: &str) -> Option<Place> {
        Some(match name {
            "model" => Place::Model,
            "max_tokens" => Place::MaxTokens,
            "messages" => Place::Messages,
            "system" => Place::Content,
            "stream" => Place::Stream,
            "tools" => Place::Tools,
            "thinking" => Place::Thinking,
            "output_config" => Place::OutputConfig,
            "output_format" => Place::OutputFormat,
            "speed" => Place::Speed,
            "inference_geo" => Place::InferenceGeo,
            "service_tier" => Place::ServiceTier,
            "metadata" => Place::Metadata,
            "cache_control" => Place::CacheControl,
            "container" => Place::Container,
            "context_management" => Place::ContextManagement,
            "compaction" => Place::Compaction,
            "mcp_servers" => Place::McpServers,
            "fallbacks" => Place::Fallbacks,
            "thread" => Place::Thread,
            "fallback_credit_token" | "billing_policy" => Place::OtherPayer,
            "tool_choice" | "stop_sequences" | "temperature" | "top_p" | "top_k"
            | "diagnostics" => Place::Unread,
            _ => return None,
        })
    }

    fn of_block_member(key: &str) -> Place {
        match key {
            "type" => Place::BlockType,
            "source" => Place::Source,
            "content" => Place::Content,
            "citations" => Place::Citations,
            "cache_control" => Place::CacheControl,
            "tool" => Place::ToolChange,
            // The caller's own data, with names of the caller's choice.
            "input" | "input_schema" => Place::Unread,
            _ => Place::Attribute,
        }
    }

    fn of_tool_member(key: &str) -> Place {
        match key {
            "type" => Place::ToolType,
            "max_uses" => Place::ToolMaxUses,
            "max_content_tokens" => Place::ToolMaxContentTokens,
            "model" => Place::ToolModel,
            "max_tokens" => Place::ToolMaxTokens,
            // An advisor's own prompt may be cached too.
            "cache_control" | "caching" => Place::CacheControl,
            _ => Place::Unread,
        }
    }

    fn of_fallback_member(key: &str) -> Place {
        match key {
            "model" => Place::FallbackModel,
            "max_tokens" => Place::FallbackMaxTokens,
            "speed" => Place::FallbackSpeed,
            "thinking" => Place::Thinking,
            "output_config" => Place::OutputConfig,
            _ => Place::Unread,
        }
    }

    /// The place under `key`, for objects whose members are the same wherever they stand.
    fn member(self, key: &str) -> Place {
        match (self, key) {
            (Place::Block | Place::Content | Place::Attribute, key) => Place::of_block_member(key),
            (Place::Tool, key) => Place::of_tool_member(key),
            (Place::Fallback, key) => Place::of_fallback_member(key),
            (Place::Message, "content") | (Place::Source, "content") => Place::Content,
            (Place::Message, "cache_control") => Place::CacheControl,
            (Place::Message, "output_config") => Place::OutputConfig,
            (Place::Message, "role") => Place::Unread,
            (Place::Message, _) => Place::Attribute,
            (Place::Source, "type") => Place::SourceType,
            (Place::Source, "data") => Place::SourceData,
            (Place::Citations, "enabled") => Place::CitationsEnabled,
            (Place::CacheControl, "ttl") => Place::CacheTtl,
            (Place::ToolChange, "definition") => Place::Tool,
            (Place::Metadata, "user_id") => Place::EndUser,
            (Place::Thinking, "type") => Place::ThinkingType,
            (Place::OutputConfig, "format") => Place::OutputFormat,
            (Place::OutputConfig, "task_budget") => Place::TaskBudget,
            (Place::Thread, "type") => Place::ThreadType,
            (Place::Container, "id") => Place::ContainerId,
            (Place::Container, "skills") => Place::Skills,
            (Place::ContextManagement, "edits") => Place::Edits,
            (Place::Edit, "type") => Place::EditType,
            _ => Place::Unread,
        }
    }

    fn element(self) -> Place {
        match self {
            Place::Messages => Place::Message,
            Place::Content => Place::Block,
            Place::Attribute => Place::Attribute,
            Place::Tools => Place::Tool,
            Place::Fallbacks => Place::Fallback,
            Place::Skills => Place::Skill,
            Place::McpServers => Place::McpServer,
            Place::Edits => Place::Edit,
            _ => Place::Unread,
        }
    }
}

/// The facts while the body passes.
#[derive(Debug)]
pub(super) struct Reading {
    facts: RequestFacts,
    capabilities: BTreeSet<Capability>,
    /// Bytes that are no text of the prompt.
    payload_bytes: u64,
    /// Bytes that the API adds to the prompt.
    added_bytes: u64,
    /// The blocks that have begun and not ended.
    blocks: Vec<Block>,
    /// The tool that is being read.
    tool: ToolDraft,
}

#[derive(Default, Debug)]
struct ToolDraft {
    type_name: Option<String>,
    max_uses: Option<u64>,
    max_content_tokens: Option<u64>,
    model: Option<String>,
    max_tokens: Option<u64>,
}

fn wrong<T>(expected: impl Into<Cow<'static, str>>) -> Result<T, Wrong> {
    Err(Wrong(expected.into()))
}

/// A whole number, or nothing.
fn whole(value: Value<'_>) -> Result<Option<u64>, Wrong> {
    match value {
        Value::Whole(number) => Ok(Some(number)),
        Value::Null => Ok(None),
        _ => wrong("expected a whole number that is not negative"),
    }
}

/// A name, or nothing. Names are kept and put on record, so they may not be of any length.
fn name(value: Value<'_>) -> Result<Option<String>, Wrong> {
    match text(value)? {
        Some(name) if name.len() > NAME_BYTES_MAX => {
            wrong(format!("expected a name of at most {NAME_BYTES_MAX} bytes"))
        }
        name => Ok(name.map(str::to_owned)),
    }
}

/// A text, or nothing.
fn text(value: Value<'_>) -> Result<Option<&str>, Wrong> {
    match value {
        Value::Text(text) => Ok(Some(text)),
        Value::Null => Ok(None),
        _ => wrong("expected a string"),
    }
}

/// A model's name, or nothing.
fn model(value: Value<'_>) -> Result<Option<String>, Wrong> {
    match name(value)? {
        Some(name) if name.is_empty() => wrong("expected the name of a model, not an empty string"),
        name => Ok(name),
    }
}

fn speed(value: Value<'_>) -> Result<Option<Speed>, Wrong> {
    match text(value)? {
        None => Ok(None),
        Some("standard") => Ok(Some(Speed::Standard)),
        Some("fast") => Ok(Some(Speed::Fast)),
        Some(_) => wrong("expected \"standard\" or \"fast\""),
    }
}

fn object_or_null(value: Value<'_>) -> Result<(), Wrong> {
    match value {
        Value::Object | Value::Null => Ok(()),
        _ => wrong("expected an object"),
    }
}

fn array_or_null(value: Value<'_>) -> Result<(), Wrong> {
    match value {
        Value::Array | Value::Null => Ok(()),
        _ => wrong("expected an array"),
    }
}

fn object(value: Value<'_>) -> Result<(), Wrong> {
    match value {
        Value::Object => Ok(()),
        _ => wrong("expected an object"),
    }
}

impl Reading {
    pub(super) fn new(body_bytes: usize) -> Reading {
        let facts =
            RequestFacts { body_bytes: body_bytes as u64, plain: true, ..RequestFacts::default() };
        Reading {
            facts,
            capabilities: BTreeSet::new(),
            payload_bytes: 0,
            added_bytes: 0,
            blocks: Vec::new(),
            tool: ToolDraft::default(),
        }
    }

    /// The facts, when the body has ended.
    pub(super) fn finish(mut self) -> Result<RequestFacts, MalformedRequest> {
        if self.facts.model.is_empty() {
            return Err(MalformedRequest::Field {
                field: "model".to_owned(),
                reason: "it is required; name the model to use".to_owned(),
            });
        }
        let facts = &mut self.facts;
        facts.prompt_bytes =
            facts.body_bytes.saturating_sub(self.payload_bytes).saturating_add(self.added_bytes);
        let images = facts.images.saturating_mul(IMAGE_TOKENS_MAX);
        if facts.prompt_is_elsewhere
            || facts.prompt_bytes.saturating_add(images) > SHORT_CONTEXT_TOKENS
        {
            self.capabilities.insert(Capability::LongContext);
        }
        facts.plain &= facts.unknown_fields.is_empty();
        facts.capabilities = self.capabilities.into_iter().collect();
        Ok(self.facts)
    }

    fn uses(&mut self, capability: Capability) {
        self.capabilities.insert(capability);
    }

    fn field(&mut self, name: &str) -> Place {
        if let Some(place) = Place::of_field(name) {
            return place;
        }
        if self.facts.unknown_fields.len() < UNKNOWN_FIELDS_NAMED {
            self.facts.unknown_fields.push(quoted(name));
        }
        Place::Unread
    }

    /// Notes a value of the request itself.
    fn note(&mut self, place: Place, value: Value<'_>) -> Result<(), Wrong> {
        match place {
            Place::Body => object(value)?,
            Place::Model => match model(value)? {
                Some(name) => self.facts.model = name,
                None => return wrong("expected the name of a model"),
            },
            Place::MaxTokens => self.facts.max_tokens = whole(value)?,
            Place::Stream => match value {
                Value::Bool(stream) => self.facts.stream = stream,
                Value::Null => {}
                _ => return wrong("expected true or false"),
            },
            Place::Speed => {
                self.facts.speed = speed(value)?.unwrap_or_default();
                if self.facts.speed == Speed::Fast {
                    self.uses(Capability::Fast);
                }
            }
            Place::InferenceGeo => {
                self.facts.inference_geo = name(value)?;
                if self.facts.inference_geo.is_some() {
                    self.uses(Capability::InferenceGeo);
                }
            }
            Place::ServiceTier => {
                self.facts.service_tier = name(value)?;
                if self.facts.service_tier.as_deref().is_some_and(|tier| tier != "standard_only") {
                    self.uses(Capability::PriorityTier);
                }
            }
            Place::EndUser => self.facts.end_user = text(value)?.map(str::to_owned),
            Place::OtherPayer if value != Value::Null => self.uses(Capability::BillingPolicy),
            Place::Metadata | Place::Thinking | Place::OutputConfig => object_or_null(value)?,
            Place::ThinkingType => match text(value)? {
                Some("disabled") => {}
                kind => {
                    self.uses(Capability::Thinking);
                    self.facts.plain &=
                        matches!(kind, Some("enabled" | "adaptive" | "between_tools"));
                }
            },
            Place::OutputFormat if value != Value::Null => {
                self.uses(Capability::StructuredOutput);
                self.facts.plain = false;
            }
            Place::TaskBudget if value != Value::Null => self.facts.plain = false,
            _ => return self.note_content(place, value),
        }
        Ok(())
    }

    /// Notes a value that brings in models, money or a prompt from outside the body.
    fn note_outside(&mut self, place: Place, value: Value<'_>) -> Result<(), Wrong> {
        match place {
            Place::Fallbacks => self.fallbacks(value)?,
            Place::Fallback => self.fallback(value)?,
            Place::FallbackModel | Place::FallbackMaxTokens | Place::FallbackSpeed => {
                self.fallback_member(place, value)?;
            }
            Place::Thread | Place::ContextManagement => object_or_null(value)?,
            Place::ThreadType => self.thread(value)?,
            Place::Container => match value {
                Value::Text(_) => self.container_by_id(),
                Value::Object | Value::Null => {}
                _ => return wrong("expected the id of a container, or an object"),
            },
            Place::ContainerId if text(value)?.is_some() => self.container_by_id(),
            Place::Skills | Place::McpServers | Place::Edits => array_or_null(value)?,
            Place::Skill => {
                self.uses(Capability::CodeExecution);
                self.facts.prompt_is_elsewhere = true;
                self.facts.plain = false;
            }
            Place::McpServer => {
                self.uses(Capability::Mcp);
                self.facts.mcp = true;
                self.facts.plain = false;
            }
            Place::Edit => object(value)?,
            Place::EditType => match text(value)? {
                Some(kind) if kind.starts_with("clear_") => {}
                _ => self.compacts(),
            },
            Place::Compaction if value != Value::Null => self.compacts(),
            _ => {}
        }
        Ok(())
    }

    fn compacts(&mut self) {
        self.uses(Capability::Compaction);
        self.facts.compaction = true;
        self.facts.plain = false;
    }

    fn container_by_id(&mut self) {
        self.uses(Capability::Containers);
        self.uses(Capability::CodeExecution);
        self.facts.prompt_is_elsewhere = true;
        self.facts.plain = false;
    }

    fn thread(&mut self, value: Value<'_>) -> Result<(), Wrong> {
        self.facts.thread = match value {
            Value::Text("create") => Thread::Create,
            Value::Text("continue") => Thread::Continue,
            _ => return wrong("expected \"create\" or \"continue\""),
        };
        self.uses(Capability::Threads);
        self.facts.prompt_is_elsewhere |= self.facts.thread == Thread::Continue;
        Ok(())
    }

    fn fallbacks(&mut self, value: Value<'_>) -> Result<(), Wrong> {
        self.facts.fallbacks = match value {
            Value::Null => return Ok(()),
            Value::Text("default") => Fallbacks::Default,
            Value::Array => Fallbacks::List(Vec::new()),
            _ => return wrong("expected \"default\" or an array of up to 3 entries"),
        };
        self.uses(Capability::Fallbacks);
        Ok(())
    }

    fn fallback(&mut self, value: Value<'_>) -> Result<(), Wrong> {
        object(value)?;
        if let Fallbacks::List(list) = &mut self.facts.fallbacks {
            if list.len() == FALLBACKS_MAX {
                return wrong("expected at most 3 entries");
            }
            list.push(Fallback { model: String::new(), max_tokens: None, speed: None });
        }
        Ok(())
    }

    /// The entry of `fallbacks` that is being read.
    fn open_fallback(&mut self) -> Option<&mut Fallback> {
        match &mut self.facts.fallbacks {
            Fallbacks::List(list) => list.last_mut(),
            Fallbacks::None | Fallbacks::Default => None,
        }
    }

    fn fallback_member(&mut self, place: Place, value: Value<'_>) -> Result<(), Wrong> {
        let Some(entry) = self.open_fallback() else { return Ok(()) };
        match place {
            Place::FallbackModel => entry.model = model(value)?.unwrap_or_default(),
            Place::FallbackMaxTokens => entry.max_tokens = whole(value)?,
            _ => {
                entry.speed = speed(value)?;
                if entry.speed == Some(Speed::Fast) {
                    self.uses(Capability::Fast);
                }
            }
        }
        Ok(())
    }

    /// Notes a value inside the prompt: messages, blocks, caching.
    fn note_content(&mut self, place: Place, value: Value<'_>) -> Result<(), Wrong> {
        match (place, value) {
            (Place::Messages, value) => array_or_null(value)?,
            (Place::Message, value) => object(value)?,
            (Place::Content | Place::Block, Value::Object) => self.open_block(false),
            (Place::Attribute, Value::Object) => self.open_block(true),
            (Place::BlockType, Value::Text(name)) => self.block(|b| b.kind = Kind::of(name)),
            (Place::SourceType, Value::Text(name)) => {
                self.block(|b| b.source = SourceKind::of(name));
            }
            (Place::SourceData, Value::Text(data)) => {
                self.block(|b| b.data_bytes = data.len() as u64);
            }
            (Place::CitationsEnabled, value) => {
                self.block(|b| b.cited = !matches!(value, Value::Bool(false) | Value::Null));
            }
            (Place::CacheControl, Value::Null) => {}
            (Place::CacheControl, value) => {
                object(value)?;
                self.caches(CacheWrites::FiveMinutes);
            }
            (Place::CacheTtl, value) => match text(value)? {
                None | Some("5m") => {}
                Some("1h") => self.caches(CacheWrites::OneHour),
                Some(_) => return wrong("expected \"5m\" or \"1h\""),
            },
            (place, value) => return self.note_tool(place, value),
        }
        Ok(())
    }

    fn caches(&mut self, writes: CacheWrites) {
        self.uses(Capability::Caching);
        self.facts.cache_writes = self.facts.cache_writes.max(writes);
    }

    fn open_block(&mut self, attribute: bool) {
        let aside = attribute || self.blocks.last().is_some_and(|around| around.aside);
        self.blocks.push(Block { attribute, aside, ..Block::default() });
    }

    /// Changes the innermost open block.
    fn block(&mut self, change: impl FnOnce(&mut Block)) {
        if let Some(block) = self.blocks.last_mut() {
            change(block);
        }
    }

    fn close_block(&mut self) {
        let Some(block) = self.blocks.pop() else { return };
        let mut verdict = block.judge();
        if verdict.unknown
            && let Some(around) = self.blocks.last_mut()
        {
            // Whether it matters depends on what it stands in, which is not known yet.
            around.holds_unknown = true;
            verdict.unknown = false;
        }
        let Verdict { image, document, upload, tools, unknown, .. } = verdict;
        for (used, capability) in [
            (image, Capability::Images),
            (document, Capability::Documents),
            (upload, Capability::CodeExecution),
            (verdict.external || unknown, Capability::ExternalContent),
        ] {
            if used {
                self.uses(capability);
            }
        }
        self.facts.images += u64::from(image);
        self.payload_bytes += verdict.payload_bytes;
        self.added_bytes = self.added_bytes.saturating_add(verdict.added_bytes);
        self.facts.prompt_is_elsewhere |= verdict.elsewhere || unknown;
        self.facts.plain &= !(tools || upload || unknown);
    }

    /// Notes a value of a tool's declaration.
    fn note_tool(&mut self, place: Place, value: Value<'_>) -> Result<(), Wrong> {
        match place {
            Place::Tools => array_or_null(value)?,
            Place::Tool => {
                object(value)?;
                self.tool = ToolDraft::default();
            }
            Place::ToolType => self.tool.type_name = name(value)?,
            Place::ToolMaxUses => self.tool.max_uses = whole(value)?,
            Place::ToolMaxContentTokens => self.tool.max_content_tokens = whole(value)?,
            Place::ToolModel => self.tool.model = model(value)?,
            Place::ToolMaxTokens => self.tool.max_tokens = whole(value)?,
            _ => return self.note_outside(place, value),
        }
        Ok(())
    }

    fn close_tool(&mut self) {
        self.facts.plain = false;
        let tool = std::mem::take(&mut self.tool);
        let Some(type_name) = tool.type_name else {
            self.uses(Capability::Tools);
            return;
        };
        let Some((kind, capability)) = server_tool(&type_name) else {
            self.uses(Capability::Tools);
            return;
        };
        self.uses(capability);
        let ToolDraft { max_uses, max_content_tokens, model, max_tokens, .. } = tool;
        self.facts.server_tools.push(ServerTool {
            kind,
            type_name,
            max_uses,
            max_content_tokens,
            model,
            max_tokens,
        });
    }
}

/// Which server tool a `type` names; `None` for the tools that the client runs itself.
fn server_tool(type_name: &str) -> Option<(ServerToolKind, Capability)> {
    const CLIENT: [&str; 5] = ["bash_", "text_editor_", "memory_", "computer_", "browser_"];
    const SERVER: [(&str, ServerToolKind, Capability); 6] = [
        ("web_search_", ServerToolKind::WebSearch, Capability::WebSearch),
        ("web_fetch_", ServerToolKind::WebFetch, Capability::WebFetch),
        ("code_execution_", ServerToolKind::CodeExecution, Capability::CodeExecution),
        ("tool_search_tool_", ServerToolKind::ToolSearch, Capability::ToolSearch),
        ("advisor_", ServerToolKind::Advisor, Capability::Advisor),
        ("mcp_toolset", ServerToolKind::McpToolset, Capability::Mcp),
    ];
    if type_name == "custom" || CLIENT.iter().any(|prefix| type_name.starts_with(prefix)) {
        return None;
    }
    let known = SERVER.iter().find(|(prefix, ..)| type_name.starts_with(prefix));
    Some(known.map_or(
        (ServerToolKind::Unknown, Capability::UnknownServerTool),
        |&(_, kind, capability)| (kind, capability),
    ))
}

impl Listener for Reading {
    type Place = Place;

    fn member(&mut self, object: Place, key: &str) -> Place {
        match object {
            Place::Body => self.field(key),
            place => place.member(key),
        }
    }

    fn element(&mut self, array: Place) -> Place {
        array.element()
    }

    fn value(&mut self, place: Place, value: Value<'_>) -> Result<(), Wrong> {
        if place == Place::Unread {
            return Ok(());
        }
        self.note(place, value)
    }

    fn close(&mut self, place: Place, value: Value<'_>) -> Result<(), Wrong> {
        match (place, value) {
            (Place::Content | Place::Block | Place::Attribute, Value::Object) => self.close_block(),
            (Place::Tool, Value::Object) => self.close_tool(),
            (Place::Thread, Value::Object) if self.facts.thread == Thread::None => {
                return wrong("expected a type of \"create\" or \"continue\"");
            }
            (Place::Fallback, Value::Object)
                if self.open_fallback().is_some_and(|entry| entry.model.is_empty()) =>
            {
                return wrong("expected the name of a model under \"model\"");
            }
            _ => {}
        }
        Ok(())
    }
}

//! What is noted at each place of a request body, and what it amounts to.

use std::collections::BTreeSet;

use super::block::{Block, Kind, SourceKind, Verdict};
use super::place::Place;
use super::shape::{
    array_or_null, id, model, name, object, object_or_null, speed, text, whole, wrong,
};
use super::tool::ToolDraft;
use super::{CacheWrites, Capability, Fallback, Fallbacks, MalformedRequest, RequestFacts, Thread};
use crate::anthropic::json::{Listener, Value, Wrong, quoted};
use crate::resource::ResourceId;
use crate::usage::Speed;

/// Tokens of one image, at the most.
const IMAGE_TOKENS_MAX: u64 = 4_784;
/// A longer prompt is [`Capability::LongContext`].
const SHORT_CONTEXT_TOKENS: u64 = 200_000;
/// Entries that `fallbacks` may have.
const FALLBACKS_MAX: usize = 3;
/// What an entry of `fallbacks` may have.
const FALLBACK_MEMBERS: [&str; 5] = ["model", "max_tokens", "thinking", "output_config", "speed"];
/// What a message may have.
const MESSAGE_MEMBERS: [&str; 5] =
    ["role", "content", "cache_control", "output_config", "clear_at"];
/// So many unknown fields are named; more of them say nothing new.
const UNKNOWN_FIELDS_NAMED: usize = 32;
/// Files that one request may name, each with its look-up.
const FILES_MAX: usize = 1_000;

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
    /// A skill's type was `anthropic`.
    own_skill: bool,
    /// An entry of `fallbacks` is being read.
    in_fallback: bool,
    /// Files named by a block itself, whose meaning depends on what the block turns out to be.
    mentions: Vec<ResourceId>,
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
            own_skill: false,
            in_fallback: false,
            mentions: Vec::new(),
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
        facts.files.extend(std::mem::take(&mut self.mentions));
        facts.prompt_bytes =
            facts.body_bytes.saturating_sub(self.payload_bytes).saturating_add(self.added_bytes);
        let images = facts.images.saturating_mul(IMAGE_TOKENS_MAX);
        if facts.prompt_is_elsewhere
            || facts.thread == Thread::Continue
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
        self.unknown(quoted(name));
        Place::Unread
    }

    /// Notes a field that this version does not know.
    fn unknown(&mut self, path: String) {
        let named = &mut self.facts.unknown_fields;
        if named.len() < UNKNOWN_FIELDS_NAMED && !named.contains(&path) {
            named.push(path);
        }
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
            Place::ThinkingType => match self.thinking(value)?.as_deref() {
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
            Place::Thread | Place::ContextManagement | Place::Diagnostics => object_or_null(value)?,
            Place::ThreadPrevious => self.facts.previous_message = id(value)?,
            Place::DiagnosedMessage => self.facts.diagnosed_message = id(value)?,
            Place::ThreadType => self.thread(value)?,
            Place::Container => match value {
                Value::Text(_) => self.container_by_id(id(value)?),
                Value::Object | Value::Null => {}
                _ => return wrong("expected the id of a container, or an object"),
            },
            Place::ContainerId => {
                if let Some(id) = id(value)? {
                    self.container_by_id(Some(id));
                }
            }
            Place::Skills | Place::McpServers | Place::Edits => array_or_null(value)?,
            Place::SkillType => self.own_skill = text(value)? == Some("anthropic"),
            Place::Skill => {
                self.own_skill = false;
                self.uses(Capability::CodeExecution);
                self.facts.prompt_is_elsewhere = true;
                self.facts.plain = false;
            }
            Place::McpServer => {
                self.uses(Capability::Mcp);
                self.facts.mcp = true;
                self.facts.plain = false;
            }
            Place::Edit => {
                object(value)?;
                self.facts.context_edits = true;
            }
            Place::EditType => match text(value)? {
                Some(kind) if kind.starts_with("clear_") => {}
                _ => self.compacts(),
            },
            Place::Compaction if value != Value::Null => self.compacts(),
            _ => {}
        }
        Ok(())
    }

    /// Notes how a request thinks; a fallback's own way is not the request's.
    fn thinking(&mut self, value: Value<'_>) -> Result<Option<String>, Wrong> {
        let kind = name(value)?;
        if !self.in_fallback {
            self.facts.thinking.clone_from(&kind);
        }
        Ok(kind)
    }

    fn compacts(&mut self) {
        self.uses(Capability::Compaction);
        self.facts.compaction = true;
        self.facts.plain = false;
    }

    fn container_by_id(&mut self, id: Option<ResourceId>) {
        self.facts.container = id;
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
        self.in_fallback = true;
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
            (Place::SourceFile, value) => {
                if let Some(id) = id(value)? {
                    self.facts.files.insert(id);
                    self.count_files()?;
                }
            }
            (Place::BlockFile, value) => {
                if let Some(id) = id(value)? {
                    self.mentions.push(id);
                    self.count_files()?;
                }
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

    fn count_files(&self) -> Result<(), Wrong> {
        if self.facts.files.len() + self.mentions.len() > FILES_MAX {
            return wrong(format!("expected at most {FILES_MAX} files in one request"));
        }
        Ok(())
    }

    /// Judges the files that a block, or one inside it, mentioned: an upload reads them, the result
    /// of a server tool that is sent back only says that they were made.
    fn close_mentions(&mut self, block: Block) {
        match block.kind {
            Kind::ContainerUpload => {
                self.facts.files.extend(self.mentions.drain(block.mentions_before..));
            }
            Kind::ServerResult => self.mentions.truncate(block.mentions_before),
            _ => {}
        }
    }

    fn caches(&mut self, writes: CacheWrites) {
        self.uses(Capability::Caching);
        self.facts.cache_writes = self.facts.cache_writes.max(writes);
    }

    fn open_block(&mut self, attribute: bool) {
        let aside = attribute || self.blocks.last().is_some_and(|around| around.aside);
        let mentions_before = self.mentions.len();
        self.blocks.push(Block { attribute, aside, mentions_before, ..Block::default() });
    }

    /// Changes the innermost open block.
    fn block(&mut self, change: impl FnOnce(&mut Block)) {
        if let Some(block) = self.blocks.last_mut() {
            change(block);
        }
    }

    fn close_block(&mut self) {
        let Some(block) = self.blocks.pop() else { return };
        self.close_mentions(block);
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
        if unknown {
            self.unknown("content[].type".to_owned());
        }
        self.facts.prompt_is_elsewhere |= verdict.elsewhere || unknown;
        self.facts.plain &= !(tools || upload || unknown);
    }

    /// Notes a value of a tool's declaration.
    fn note_tool(&mut self, place: Place, value: Value<'_>) -> Result<(), Wrong> {
        match place {
            Place::Tools => array_or_null(value),
            Place::Tool => {
                self.tool = ToolDraft::default();
                object(value)
            }
            Place::ToolType
            | Place::ToolMaxUses
            | Place::ToolMaxContentTokens
            | Place::ToolModel
            | Place::ToolMaxTokens => self.tool.note(place, value),
            _ => self.note_outside(place, value),
        }
    }

    fn close_tool(&mut self) {
        let declared = std::mem::take(&mut self.tool).declared();
        self.uses(declared.capability);
        self.facts.builtin_tool_tokens += declared.builtin_tokens;
        if declared.server_tool.is_some() {
            self.facts.inline_server_tool |= !self.blocks.is_empty();
            for name in declared.unknown {
                self.unknown(format!("tools[].{name}"));
            }
        }
        self.facts.server_tools.extend(declared.server_tool);
        self.facts.plain = false;
    }
}

impl Listener for Reading {
    type Place = Place;

    fn member(&mut self, object: Place, key: &str) -> Place {
        match object {
            Place::Body => return self.field(key),
            Place::Fallback if !FALLBACK_MEMBERS.contains(&key) => {
                self.unknown(format!("fallbacks[].{}", quoted(key)));
            }
            Place::Message if !MESSAGE_MEMBERS.contains(&key) => {
                self.unknown(format!("messages[].{}", quoted(key)));
            }
            Place::Tool => self.tool.member(key),
            _ => {}
        }
        object.member(key)
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
        self.in_fallback &= place != Place::Fallback;
        match (place, value) {
            (Place::Content | Place::Block | Place::Attribute, Value::Object) => self.close_block(),
            (Place::Tool, Value::Object) => self.close_tool(),
            (Place::Thread, Value::Object) if self.facts.thread == Thread::None => {
                return wrong("expected a type of \"create\" or \"continue\"");
            }
            (Place::Thread, Value::Object) => {
                match (self.facts.thread, &self.facts.previous_message) {
                    (Thread::Continue, None) => {
                        return wrong(
                            "expected the id of the last answer under \"previous_message_id\"",
                        );
                    }
                    (Thread::Create, Some(_)) => {
                        return wrong("\"previous_message_id\" belongs to a type of \"continue\"");
                    }
                    _ => {}
                }
            }
            (Place::Skill, Value::Object) if !self.own_skill => self.uses(Capability::CustomSkills),
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

//! The map of a request body: which place leads to which.

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
    /// `file_id` of a source.
    SourceFile,
    /// `file_id` of a block.
    BlockFile,
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
    ThreadPrevious,
    Diagnostics,
    DiagnosedMessage,
    Container,
    ContainerId,
    Skills,
    Skill,
    SkillType,
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
    /// The field of the body of that name; `None` for one this version does not know.
    pub(super) fn of_field(name: &str) -> Option<Place> {
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
            "billing_policy" => Place::OtherPayer,
            "diagnostics" => Place::Diagnostics,
            // A credit makes the same payer's cache writes cheaper; list prices are set aside and
            // charged whether or not it is redeemed.
            "fallback_credit_token" => Place::Unread,
            "tool_choice" | "stop_sequences" | "temperature" | "top_p" | "top_k" => Place::Unread,
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
            "file_id" => Place::BlockFile,
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
    pub(super) fn member(self, key: &str) -> Place {
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
            (Place::Source, "file_id") => Place::SourceFile,
            (Place::Citations, "enabled") => Place::CitationsEnabled,
            (Place::CacheControl, "ttl") => Place::CacheTtl,
            (Place::ToolChange, "definition") => Place::Tool,
            (Place::Metadata, "user_id") => Place::EndUser,
            (Place::Thinking, "type") => Place::ThinkingType,
            (Place::OutputConfig, "format") => Place::OutputFormat,
            (Place::OutputConfig, "task_budget") => Place::TaskBudget,
            (Place::Thread, "type") => Place::ThreadType,
            (Place::Thread, "previous_message_id") => Place::ThreadPrevious,
            (Place::Diagnostics, "previous_message_id") => Place::DiagnosedMessage,
            (Place::Skill, "type") => Place::SkillType,
            (Place::Container, "id") => Place::ContainerId,
            (Place::Container, "skills") => Place::Skills,
            (Place::ContextManagement, "edits") => Place::Edits,
            (Place::Edit, "type") => Place::EditType,
            _ => Place::Unread,
        }
    }

    pub(super) fn element(self) -> Place {
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

//! Declared tools: who runs them, and what the request allows them.

use super::place::Place;
use super::shape::{model, name, whole};
use super::{Capability, ServerTool, ServerToolKind};
use crate::anthropic::json::{Value, Wrong, quoted};

/// What a server tool's declaration may have.
const SERVER_TOOL_MEMBERS: [&str; 24] = [
    "type",
    "name",
    "cache_control",
    "caching",
    "strict",
    "defer_loading",
    "allowed_callers",
    "max_uses",
    "max_tokens",
    "max_content_tokens",
    "model",
    "allowed_domains",
    "blocked_domains",
    "user_location",
    "response_inclusion",
    "citations",
    "url_sources",
    "use_cache",
    "mcp_server_name",
    "server_name",
    "configs",
    "default_config",
    "tools",
    "description",
];

/// So many unknown members of one tool are kept.
const UNKNOWN_KEPT: usize = 8;

/// A tool while its declaration passes.
#[derive(Default, Debug)]
pub(super) struct ToolDraft {
    type_name: Option<String>,
    max_uses: Option<u64>,
    max_content_tokens: Option<u64>,
    model: Option<String>,
    max_tokens: Option<u64>,
    /// Members that no server tool has.
    unknown: Vec<String>,
}

/// What a declaration says, when it has ended.
#[derive(Debug)]
pub(super) struct Declared {
    /// What it needs.
    pub(super) capability: Capability,
    /// The server tool that it is.
    pub(super) server_tool: Option<ServerTool>,
    /// Tokens of a definition that upstream brings itself.
    pub(super) builtin_tokens: u64,
    /// Members that no server tool has; they matter only to one.
    pub(super) unknown: Vec<String>,
}

impl ToolDraft {
    /// Notes the name of a member.
    pub(super) fn member(&mut self, key: &str) {
        if self.unknown.len() < UNKNOWN_KEPT && !SERVER_TOOL_MEMBERS.contains(&key) {
            self.unknown.push(quoted(key));
        }
    }

    /// Notes a value of the declaration.
    pub(super) fn note(&mut self, place: Place, value: Value<'_>) -> Result<(), Wrong> {
        match place {
            Place::ToolType => self.type_name = name(value)?,
            Place::ToolMaxUses => self.max_uses = whole(value)?,
            Place::ToolMaxContentTokens => self.max_content_tokens = whole(value)?,
            Place::ToolModel => self.model = model(value)?,
            Place::ToolMaxTokens => self.max_tokens = whole(value)?,
            _ => {}
        }
        Ok(())
    }

    /// What it needs, and the server tool that it is, when its declaration has ended.
    pub(super) fn declared(self) -> Declared {
        let ToolDraft { type_name, max_uses, max_content_tokens, model, max_tokens, unknown } =
            self;
        let mut declared = Declared {
            capability: Capability::Tools,
            server_tool: None,
            builtin_tokens: 0,
            unknown,
        };
        let Some(type_name) = type_name else { return declared };
        if let Some(tokens) = client_tool(&type_name) {
            declared.builtin_tokens = tokens;
            return declared;
        }
        let (kind, capability) = server_tool(&type_name);
        declared.capability = capability;
        declared.server_tool =
            Some(ServerTool { kind, type_name, max_uses, max_content_tokens, model, max_tokens });
        declared
    }
}

/// The tokens of the definition that upstream adds for a tool that the client runs itself; `None`
/// for a server tool. Rounded up well above what Anthropic's documents say (325, 700, 4,500 and
/// 7,480 tokens; memory is not told).
fn client_tool(type_name: &str) -> Option<u64> {
    const CLIENT: [(&str, u64); 5] = [
        ("bash_", 1_000),
        ("text_editor_", 1_500),
        ("memory_", 3_000),
        ("computer_", 6_000),
        ("browser_", 9_000),
    ];
    if type_name == "custom" {
        return Some(0);
    }
    let is_one = |(prefix, _): &&(&str, u64)| type_name.strip_prefix(prefix).is_some_and(is_dated);
    CLIENT.iter().find(is_one).map(|&(_, tokens)| tokens)
}

/// Whether this is what follows the name of a client tool: its date. Another word there makes it
/// another tool (`bash_code_execution_…`), which upstream may run.
fn is_dated(rest: &str) -> bool {
    let date = rest.strip_prefix("toolset_").unwrap_or(rest);
    date.len() == 8 && date.bytes().all(|byte| byte.is_ascii_digit())
}

/// Which server tool a `type` names. A version that is not known may have another price, so it is
/// an unknown tool.
fn server_tool(type_name: &str) -> (ServerToolKind, Capability) {
    const SERVER: [(ServerToolKind, Capability, &[&str]); 6] = [
        (
            ServerToolKind::WebSearch,
            Capability::WebSearch,
            &["web_search_20250305", "web_search_20260209", "web_search_20260318"],
        ),
        (
            ServerToolKind::WebFetch,
            Capability::WebFetch,
            &[
                "web_fetch_20250910",
                "web_fetch_20260209",
                "web_fetch_20260309",
                "web_fetch_20260318",
            ],
        ),
        (
            ServerToolKind::CodeExecution,
            Capability::CodeExecution,
            &[
                "code_execution_20250522",
                "code_execution_20250825",
                "code_execution_20260120",
                "code_execution_20260521",
            ],
        ),
        (
            ServerToolKind::ToolSearch,
            Capability::ToolSearch,
            &[
                "tool_search_tool_bm25_20251119",
                "tool_search_tool_regex_20251119",
                "tool_search_tool_bm25",
                "tool_search_tool_regex",
            ],
        ),
        (ServerToolKind::Advisor, Capability::Advisor, &["advisor_20260301"]),
        (ServerToolKind::McpToolset, Capability::Mcp, &["mcp_toolset"]),
    ];
    let known = SERVER.iter().find(|(.., names)| names.contains(&type_name));
    known.map_or(
        (ServerToolKind::Unknown, Capability::UnknownServerTool),
        |&(kind, capability, _)| (kind, capability),
    )
}

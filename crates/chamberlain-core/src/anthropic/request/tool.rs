//! Declared tools: who runs them, and what the request allows them.

use super::place::Place;
use super::shape::{model, name, whole};
use super::{Capability, ServerTool, ServerToolKind};
use crate::anthropic::json::{Value, Wrong};

/// A tool while its declaration passes.
#[derive(Default, Debug)]
pub(super) struct ToolDraft {
    type_name: Option<String>,
    max_uses: Option<u64>,
    max_content_tokens: Option<u64>,
    model: Option<String>,
    max_tokens: Option<u64>,
}

impl ToolDraft {
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
    pub(super) fn declared(self) -> (Capability, Option<ServerTool>) {
        let ToolDraft { type_name, max_uses, max_content_tokens, model, max_tokens } = self;
        let Some(type_name) = type_name else { return (Capability::Tools, None) };
        let Some((kind, capability)) = server_tool(&type_name) else {
            return (Capability::Tools, None);
        };
        let tool = ServerTool { kind, type_name, max_uses, max_content_tokens, model, max_tokens };
        (capability, Some(tool))
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

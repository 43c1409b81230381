//! A message request as far as the mock reads it.

use serde_json::Value;

use crate::catalogue::Model;
use crate::json;
use crate::scenario::{self, Scenario};

/// `anthropic-version`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Version {
    /// `2023-06-01`
    Old,
    /// `2026-10-21`
    New,
}

impl Version {
    pub(crate) fn parse(text: &str) -> Option<Version> {
        match text {
            "2023-06-01" => Some(Version::Old),
            "2026-10-21" => Some(Version::New),
            _ => None,
        }
    }
}

/// `thinking.display`, and whether there is thinking at all.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ThinkingShown {
    /// No thinking.
    Off,
    /// The text is shown.
    Summary,
    /// Only the signature is.
    Omitted,
}

/// A validated request for a message.
#[derive(Clone, Debug)]
pub(crate) struct MessageRequest {
    pub(crate) model: &'static Model,
    /// `model` as written.
    pub(crate) asked_model: String,
    pub(crate) max_tokens: u64,
    pub(crate) stream: bool,
    pub(crate) body: Value,
}

impl MessageRequest {
    /// The client tools, by name and input schema: those that are declared, those that a message
    /// adds, and none that a later message takes away.
    pub(crate) fn client_tools(&self) -> impl Iterator<Item = (&str, Option<&Value>)> {
        let mut tools: Vec<&Value> = json::list(&self.body, "tools").iter().collect();
        for message in json::list(&self.body, "messages") {
            for block in blocks_of(message.get("content")) {
                let Some(tool) = block.get("tool") else { continue };
                match json::text(block, "type") {
                    Some("tool_addition") => tools.extend(tool.get("definition")),
                    Some("tool_removal") => {
                        let gone = json::text(tool, "name");
                        tools.retain(|tool| gone.is_none() || json::text(tool, "name") != gone);
                    }
                    _ => {}
                }
            }
        }
        tools.into_iter().filter_map(|tool| {
            let kind = json::text(tool, "type").unwrap_or("custom");
            let client = kind == "custom" || CLIENT_TOOLS.iter().any(|own| kind.starts_with(own));
            let name = json::text(tool, "name").filter(|_| client)?;
            Some((name, tool.get("input_schema")))
        })
    }

    /// The tool that `tool_choice` forces; an empty name stands for any.
    pub(crate) fn forced_tool(&self) -> Option<&str> {
        let choice = self.body.get("tool_choice")?;
        match json::text(choice, "type")? {
            "any" => Some(""),
            "tool" => json::text(choice, "name"),
            _ => None,
        }
    }

    /// How thinking is to be shown.
    pub(crate) fn thinking(&self) -> ThinkingShown {
        let Some(thinking) = self.body.get("thinking") else { return ThinkingShown::Off };
        match (json::text(thinking, "type"), json::text(thinking, "display")) {
            (Some("adaptive" | "enabled"), Some("omitted")) => ThinkingShown::Omitted,
            (Some("adaptive" | "enabled"), _) => ThinkingShown::Summary,
            _ => ThinkingShown::Off,
        }
    }

    /// `thinking.budget_tokens`
    pub(crate) fn thinking_budget(&self) -> Option<u64> {
        self.body.get("thinking")?.get("budget_tokens")?.as_u64()
    }

    /// The schema of `output_config.format`.
    pub(crate) fn output_schema(&self) -> Option<&Value> {
        self.body.get("output_config")?.get("format")?.get("schema")
    }

    /// `stop_sequences`
    pub(crate) fn stop_sequences(&self) -> impl Iterator<Item = &str> {
        json::list(&self.body, "stop_sequences").iter().filter_map(Value::as_str)
    }

    /// The first model of `fallbacks`, with its own `max_tokens`.
    pub(crate) fn first_fallback(&self) -> Option<(&str, Option<u64>)> {
        let first = json::list(&self.body, "fallbacks").first()?;
        Some((json::text(first, "model")?, first.get("max_tokens").and_then(Value::as_u64)))
    }

    /// Whether a summary of the conversation is asked for, and no reply.
    pub(crate) fn compacts(&self) -> bool {
        json::given(&self.body, "compaction").is_some()
    }

    /// The model of a declared advisor tool.
    pub(crate) fn advisor_model(&self) -> Option<&str> {
        let advisor = |tool: &&Value| {
            json::text(tool, "type").is_some_and(|kind| kind.starts_with("advisor_"))
        };
        json::text(json::list(&self.body, "tools").iter().find(advisor)?, "model")
    }
}

/// What the type of an Anthropic-defined tool begins with that the client runs itself.
const CLIENT_TOOLS: [&str; 5] = ["bash_2", "text_editor_2", "memory_2", "computer_", "browser_"];

/// Adds the directives to `scenario` that are about the answer to come, `clean`ed of credentials:
/// those in the last user message, and those of any user message that name this turn.
///
/// # Errors
/// What is wrong with which word.
pub(crate) fn read_directives(
    body: &Value,
    scenario: &mut Scenario,
    clean: impl Fn(&str) -> String,
) -> Result<(), String> {
    let is = |message: &Value, role: &str| json::text(message, "role") == Some(role);
    let messages = json::list(body, "messages");
    let Some(last) = messages.iter().rposition(|message| is(message, "user")) else {
        return Ok(());
    };
    for (at, message) in messages.iter().enumerate().filter(|(_, message)| is(message, "user")) {
        let since =
            || messages[at..=last].iter().filter(|message| is(message, "assistant")).count();
        for block in blocks_of(message.get("content")) {
            let text = json::text(block, "text").or(block.as_str()).unwrap_or_default();
            for directive in scenario::directives(text).map(&clean) {
                let is_due = match Scenario::turn_of(&directive) {
                    Ok(Some(turn)) => turn == since() as u64 + 1,
                    Ok(None) => at == last,
                    Err(wrong) if at == last => return Err(wrong),
                    // It was refused when it was the last.
                    Err(_) => false,
                };
                if is_due {
                    scenario.read(&directive)?;
                }
            }
        }
    }
    Ok(())
}

/// The content of a message, or a system prompt, as a list: a string is a list of one.
pub(crate) fn blocks_of(content: Option<&Value>) -> &[Value] {
    match content {
        Some(Value::Array(blocks)) => blocks,
        Some(text @ Value::String(_)) => std::slice::from_ref(text),
        _ => &[],
    }
}

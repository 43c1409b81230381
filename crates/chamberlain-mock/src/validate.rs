//! What the API refuses before it runs a model.

use std::collections::BTreeSet;

use http::HeaderMap;
use serde_json::Value;

use crate::catalogue::{self, Fast, Model};
use crate::compose::CREDIT;
use crate::error::ApiError;
use crate::ids::is_signature;
use crate::json::{self, given, text};
use crate::request::{MessageRequest, Version, blocks_of};

/// Everything that `/v1/messages` documents.
const FIELDS: [&str; 28] = [
    "billing_policy",
    "cache_control",
    "compaction",
    "container",
    "context_management",
    "diagnostics",
    "fallback_credit_token",
    "fallbacks",
    "inference_geo",
    "max_tokens",
    "mcp_servers",
    "messages",
    "metadata",
    "model",
    "output_config",
    "output_format",
    "service_tier",
    "speed",
    "stop_sequences",
    "stream",
    "system",
    "temperature",
    "thinking",
    "thread",
    "tool_choice",
    "tools",
    "top_k",
    "top_p",
];

/// Fields that exist only with a beta, and what the name of that beta begins with.
const BETA_FIELDS: [(&str, &[&str]); 7] = [
    ("billing_policy", &["user-profiles-billing-"]),
    ("compaction", &["compact-"]),
    ("context_management", &["context-management-", "compact-"]),
    ("fallback_credit_token", &["fallback-credit-"]),
    ("fallbacks", &["server-side-fallback-"]),
    ("mcp_servers", &["mcp-client-"]),
    ("thread", &["message-threads-"]),
];

/// The flags of all `anthropic-beta` lines, with or without blanks.
pub(crate) fn betas(headers: &HeaderMap) -> BTreeSet<String> {
    headers
        .get_all("anthropic-beta")
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .map(|flag| flag.trim().to_owned())
        .filter(|flag| !flag.is_empty())
        .collect()
}

/// What surrounds a body.
pub(crate) struct Context<'a> {
    pub(crate) version: Version,
    pub(crate) betas: &'a BTreeSet<String>,
    pub(crate) strict_fields: bool,
}

/// Validates a body of `/v1/messages`.
///
/// # Errors
/// 400, or 404 for a model that does not exist.
pub(crate) fn message(body: Value, context: &Context) -> Result<MessageRequest, ApiError> {
    let model = prompt(&body, context)?;
    let max_tokens = match given(&body, "max_tokens") {
        None => return Err(ApiError::invalid("max_tokens: Field required")),
        Some(value) => value.as_u64().ok_or_else(|| {
            ApiError::invalid("max_tokens: Input should be a whole number of at least 0")
        })?,
    };
    if max_tokens > model.max_output {
        return Err(ApiError::invalid(format!(
            "max_tokens: {max_tokens} > {}, which is the maximum allowed number of output tokens \
             for {}",
            model.max_output, model.id
        )));
    }
    thinking(&body, model, max_tokens)?;
    credit(&body)?;
    let stream = match given(&body, "stream") {
        None => false,
        Some(value) => value
            .as_bool()
            .ok_or_else(|| ApiError::invalid("stream: Input should be a valid boolean"))?,
    };
    let asked_model = text(&body, "model").unwrap_or_default().to_owned();
    Ok(MessageRequest { model, asked_model, max_tokens, stream, body })
}

/// Validates what `/v1/messages` and `count_tokens` have in common.
///
/// # Errors
/// 400, or 404 for a model that does not exist.
pub(crate) fn prompt(body: &Value, context: &Context) -> Result<&'static Model, ApiError> {
    let Some(fields) = body.as_object() else {
        return Err(ApiError::invalid("Input should be a valid dictionary"));
    };
    let name = match given(body, "model") {
        None => return Err(ApiError::invalid("model: Field required")),
        Some(name) => name
            .as_str()
            .ok_or_else(|| ApiError::invalid("model: Input should be a valid string"))?,
    };
    let model = catalogue::callable(name)?;
    for field in fields.keys() {
        let unknown = context.strict_fields && !FIELDS.contains(&field.as_str());
        if unknown || lacks_beta(field, context.betas) {
            return Err(ApiError::invalid(format!("{field}: Extra inputs are not permitted")));
        }
    }
    messages(body, context)?;
    sampling(body, model, context)?;
    modes(body, model, context)?;
    tool_choice(body, model)?;
    cache_control(body)?;
    Ok(model)
}

fn lacks_beta(field: &str, betas: &BTreeSet<String>) -> bool {
    BETA_FIELDS.iter().any(|(name, prefixes)| {
        *name == field
            && !betas.iter().any(|flag| prefixes.iter().any(|prefix| flag.starts_with(prefix)))
    })
}

fn messages(body: &Value, context: &Context) -> Result<(), ApiError> {
    let messages = match given(body, "messages") {
        None => return Err(ApiError::invalid("messages: Field required")),
        Some(list) => list
            .as_array()
            .ok_or_else(|| ApiError::invalid("messages: Input should be a valid list"))?,
    };
    if messages.is_empty() {
        return Err(ApiError::invalid("messages: at least one message is required"));
    }
    if messages.len() > 100_000 {
        return Err(ApiError::invalid("messages: at most 100000 messages are allowed"));
    }
    for (n, message) in messages.iter().enumerate() {
        let role = text(message, "role").unwrap_or_default();
        if !matches!(role, "user" | "assistant" | "system") {
            let wrong =
                format!("messages.{n}.role: Input should be 'user', 'assistant' or 'system'");
            return Err(ApiError::invalid(wrong));
        }
        if !matches!(message.get("content"), Some(Value::String(_) | Value::Array(_))) {
            return Err(ApiError::invalid(format!("messages.{n}.content: Field required")));
        }
        for (m, block) in blocks_of(message.get("content")).iter().enumerate() {
            content(block, role, context)
                .map_err(|wrong| ApiError::invalid(format!("messages.{n}.content.{m}{wrong}")))?;
        }
    }
    Ok(())
}

/// Checks one block; the error goes on where the path of the block ends.
fn content(block: &Value, role: &str, context: &Context) -> Result<(), String> {
    if block.is_string() {
        return Ok(());
    }
    let Some(kind) = text(block, "type") else { return Err(".type: Field required".to_owned()) };
    let new = context.version == Version::New;
    match kind {
        "text" if text(block, "text").is_none() => Err(".text.text: Field required".to_owned()),
        "text" if new && role == "user" && !json::list(block, "citations").is_empty() => {
            Err(".text.citations: citations are not allowed in user messages".to_owned())
        }
        "document" if new && role == "assistant" => {
            Err(": document blocks are not allowed in assistant messages".to_owned())
        }
        "thinking" if !is_signature(text(block, "signature").unwrap_or_default()) => {
            Err(": Invalid `signature` in `thinking` block".to_owned())
        }
        _ => Ok(()),
    }
}

fn sampling(body: &Value, model: &Model, context: &Context) -> Result<(), ApiError> {
    for name in ["temperature", "top_p", "top_k"] {
        let Some(value) = given(body, name) else { continue };
        if context.version == Version::New {
            return Err(ApiError::invalid(format!(
                "{name}: not supported with anthropic-version 2026-10-21"
            )));
        }
        let default = name == "temperature" && value.as_f64() == Some(1.0);
        if model.fixed_sampling && !default {
            return Err(ApiError::invalid(format!(
                "{name}: only the default value is supported on {}",
                model.id
            )));
        }
    }
    Ok(())
}

fn modes(body: &Value, model: &Model, context: &Context) -> Result<(), ApiError> {
    match given(body, "inference_geo").map(Value::as_str) {
        None => {}
        Some(Some("global" | "us")) if model.geo => {}
        Some(Some("global" | "us")) => {
            let wrong = format!("inference_geo: not supported on {}", model.id);
            return Err(ApiError::invalid(wrong));
        }
        Some(_) => {
            return Err(ApiError::invalid("inference_geo: Input should be 'global' or 'us'"));
        }
    }
    match given(body, "speed").map(Value::as_str) {
        None | Some(Some("standard")) => Ok(()),
        Some(Some("fast")) => match model.fast {
            Fast::Open | Fast::Ignored => Ok(()),
            Fast::WithBeta if context.betas.iter().any(|beta| beta.starts_with("fast-mode-")) => {
                Ok(())
            }
            Fast::WithBeta => Err(ApiError::invalid(format!(
                "speed: fast mode on {} needs the beta header fast-mode-2026-02-01",
                model.id
            ))),
            Fast::Refused => {
                Err(ApiError::invalid(format!("speed: fast mode is not supported on {}", model.id)))
            }
        },
        Some(_) => Err(ApiError::invalid("speed: Input should be 'standard' or 'fast'")),
    }
}

fn tool_choice(body: &Value, model: &Model) -> Result<(), ApiError> {
    let Some(choice) = given(body, "tool_choice") else { return Ok(()) };
    let kind = text(choice, "type").unwrap_or_default();
    let tools = json::list(body, "tools");
    match kind {
        "auto" | "none" => Ok(()),
        "any" | "tool" if tools.is_empty() => {
            Err(ApiError::invalid("tool_choice: may only be specified while providing tools"))
        }
        "any" | "tool" if !model.forced_tools => Err(ApiError::invalid(format!(
            "tool_choice: type '{kind}' is not supported on {}",
            model.id
        ))),
        "any" => Ok(()),
        "tool" => {
            let name = text(choice, "name").unwrap_or_default();
            if tools.iter().any(|tool| text(tool, "name") == Some(name)) {
                return Ok(());
            }
            Err(ApiError::invalid(format!(
                "tool_choice: Tool '{name}' not found in provided tools"
            )))
        }
        _ => Err(ApiError::invalid(
            "tool_choice.type: Input should be 'auto', 'any', 'none' or 'tool'",
        )),
    }
}

fn thinking(body: &Value, model: &Model, max_tokens: u64) -> Result<(), ApiError> {
    let Some(thinking) = given(body, "thinking") else { return Ok(()) };
    let kind = text(thinking, "type").unwrap_or_default();
    if !model.thinks(kind) {
        return Err(ApiError::invalid(format!(
            "thinking.type: '{kind}' is not supported on {}",
            model.id
        )));
    }
    if kind != "enabled" {
        return Ok(());
    }
    match thinking.get("budget_tokens").and_then(Value::as_u64) {
        None => Err(ApiError::invalid("thinking.enabled.budget_tokens: Field required")),
        Some(budget) if budget < 1024 => Err(ApiError::invalid(
            "thinking.enabled.budget_tokens: Input should be greater than or equal to 1024",
        )),
        Some(budget) if budget >= max_tokens => {
            Err(ApiError::invalid("`max_tokens` must be greater than `thinking.budget_tokens`"))
        }
        Some(_) => Ok(()),
    }
}

/// A credit that no mock handed out is refused; who redeems it is not looked at.
fn credit(body: &Value) -> Result<(), ApiError> {
    let Some(credit) = given(body, "fallback_credit_token") else { return Ok(()) };
    let token = credit.as_str().or_else(|| text(credit, "token")).unwrap_or_default();
    if token.starts_with(CREDIT) {
        return Ok(());
    }
    Err(ApiError::invalid("fallback_credit_token: invalid or malformed"))
}

/// At most four breakpoints, known TTLs, and none of five minutes before one of an hour.
fn cache_control(body: &Value) -> Result<(), ApiError> {
    let tools = json::list(body, "tools").iter();
    let system = blocks_of(body.get("system")).iter();
    let messages = json::list(body, "messages").iter();
    let contents = messages.flat_map(|message| blocks_of(message.get("content")));
    let controls: Vec<&Value> = tools
        .chain(system)
        .chain(contents)
        .chain([body])
        .filter_map(|block| given(block, "cache_control"))
        .collect();
    if controls.len() > 4 {
        return Err(ApiError::invalid(format!(
            "A maximum of 4 blocks with cache_control may be provided. Found {}.",
            controls.len()
        )));
    }
    let mut short_seen = false;
    for control in controls {
        if text(control, "type") != Some("ephemeral") {
            return Err(ApiError::invalid("cache_control.type: Input should be 'ephemeral'"));
        }
        match given(control, "ttl").map(Value::as_str) {
            None | Some(Some("5m")) => short_seen = true,
            Some(Some("1h")) if short_seen => {
                return Err(ApiError::invalid(
                    "a ttl='1h' cache_control block must not come after a ttl='5m' cache_control \
                     block",
                ));
            }
            Some(Some("1h")) => {}
            Some(_) => {
                return Err(ApiError::invalid("cache_control.ttl: Input should be '5m' or '1h'"));
            }
        }
    }
    Ok(())
}

//! Reads what the Admin API writes, in both versions' shapes. A field that must be there and is not
//! is an answer that is not the API's; a value that is new there is kept as unknown.

use chamberlain_core::keys::listed::{
    KeyPrincipal, KeyScope, ListedKey, ListedStatus, Member, Workspace,
};
use chamberlain_core::secret;
use chamberlain_core::time::Timestamp;
use serde_json::Value;

/// Longest text of theirs that is passed on, in characters.
const TEXT_CHARS_MAX: usize = 500;

/// A key.
pub(super) fn key(value: &Value) -> Result<ListedKey, String> {
    let id = required(value, "id", "a key")?;
    let status = required(value, "status", &id)?;
    let status: ListedStatus = serde_json::from_value(Value::String(status))
        .map_err(|error| format!("{id}: status: {error}"))?;
    Ok(ListedKey {
        name: required(value, "name", &id)?,
        status,
        hint: text(value, "partial_key_hint").unwrap_or_default(),
        created_at: moment(value, "created_at", &id)?
            .ok_or_else(|| format!("{id} has no created_at"))?,
        created_by: value.get("created_by").and_then(|by| text(by, "id")),
        expires_at: moment(value, "expires_at", &id)?,
        scope: scope(value),
        principal: value.get("principal").and_then(principal),
        id,
    })
}

/// Version 2026-10-21 has `scope`, the one before `workspace_id`, null for the default workspace.
fn scope(value: &Value) -> KeyScope {
    match (value.get("scope"), value.get("workspace_id")) {
        (Some(scope), _) => match (text(scope, "type").as_deref(), text(scope, "workspace_id")) {
            (Some("workspace"), Some(id)) => KeyScope::Workspace { id },
            (Some("workspace"), None) => KeyScope::DefaultWorkspace,
            (Some("organization"), _) => KeyScope::Organization,
            _ => KeyScope::Unknown,
        },
        (None, Some(Value::Null)) => KeyScope::DefaultWorkspace,
        (None, Some(Value::String(id))) => KeyScope::Workspace { id: id.clone() },
        _ => KeyScope::Unknown,
    }
}

fn principal(value: &Value) -> Option<KeyPrincipal> {
    let user = || text(value, "user_id").map(|id| KeyPrincipal::User { id });
    let account =
        || text(value, "service_account_id").map(|id| KeyPrincipal::ServiceAccount { id });
    user().or_else(account)
}

/// A workspace.
pub(super) fn workspace(value: &Value) -> Result<Workspace, String> {
    let id = required(value, "id", "a workspace")?;
    let (name, archived_at) = (required(value, "name", &id)?, moment(value, "archived_at", &id)?);
    Ok(Workspace { id, name, archived_at })
}

/// A member of a workspace.
pub(super) fn member(value: &Value) -> Result<Member, String> {
    let user_id = required(value, "user_id", "a member")?;
    let role = required(value, "workspace_role", &user_id)?;
    Ok(Member { user_id, role })
}

/// The words of an error, without anything in them that looks like a key.
pub(super) fn error(body: Option<&Value>) -> String {
    let said = body.and_then(|body| body.get("error")).and_then(|error| text(error, "message"));
    said.unwrap_or_else(|| "without a reason in the API's form".to_owned())
}

pub(super) fn required(value: &Value, name: &str, of: &str) -> Result<String, String> {
    text(value, name).ok_or_else(|| format!("{of} has no {name}"))
}

fn text(value: &Value, name: &str) -> Option<String> {
    let text = value.get(name)?.as_str()?;
    let short: String = text.chars().take(TEXT_CHARS_MAX).collect();
    Some(secret::redact(&short).into_owned())
}

pub(super) fn moment(value: &Value, name: &str, of: &str) -> Result<Option<Timestamp>, String> {
    match value.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Timestamp::from_rfc3339(text)
            .map(Some)
            .map_err(|_| format!("{of}: {name} is no moment")),
        Some(_) => Err(format!("{of}: {name} is no moment")),
    }
}

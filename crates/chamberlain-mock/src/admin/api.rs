//! `/v1/organizations/…`: what the real Admin API answers about keys, workspaces and members, in
//! both versions' shapes. There is no way to make a key or to read one, as there is none there.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::{ADMIN_PREFIX, DEFAULT_WORKSPACE, Everything, Status, Workspace};
use crate::error::ApiError;
use crate::intake::Received;
use crate::json;
use crate::messages::Content;
use crate::mock::State;
use crate::query;
use crate::request::Version;

/// Everything under it is the Admin API.
pub(crate) const PREFIX: &str = "/v1/organizations/";

const PAGE: usize = 20;
const PAGE_MAX: usize = 1_000;

/// A request to the Admin API.
pub(crate) struct AdminCall<'a> {
    pub(crate) state: &'a State,
    pub(crate) method: &'a Method,
    pub(crate) path: &'a str,
    pub(crate) query: Option<&'a str>,
    pub(crate) received: &'a Received,
    pub(crate) version: Version,
}

/// Whether a credential opens the Admin API.
///
/// # Errors
/// 403 for a key of a workspace, 401 for anything else that is no admin key.
pub(crate) fn check(state: &State, credential: &[u8]) -> Result<(), ApiError> {
    if !credential.starts_with(ADMIN_PREFIX) {
        let message = "This API key is not allowed to use the Admin API. Use an admin key.";
        return Err(match credential.starts_with(b"sk-ant-api") {
            true => ApiError::new(StatusCode::FORBIDDEN, message),
            false => crate::credential::denied("invalid x-api-key"),
        });
    }
    match state.config.keys.accepts(credential) || state.organization.made_admin(credential) {
        true => Ok(()),
        false => Err(crate::credential::denied("invalid x-api-key")),
    }
}

impl AdminCall<'_> {
    pub(crate) fn answer(&self) -> Result<Content, ApiError> {
        let rest = self.path.strip_prefix(PREFIX).unwrap_or_default();
        let steps: Vec<&str> = rest.split('/').collect();
        let shown = match (self.method.as_str(), steps.as_slice()) {
            ("GET", ["me"]) => self.me(),
            ("GET", ["api_keys"]) => self.keys()?,
            ("GET", ["api_keys", id]) => self.key(id)?,
            ("POST", ["api_keys", id]) => self.update(id)?,
            ("GET", ["workspaces"]) => self.workspaces()?,
            ("GET", ["workspaces", id]) => self.workspace(id)?,
            ("GET", ["workspaces", id, "members"]) => self.members(id)?,
            ("GET", ["usage_report", "messages"]) => super::usage::answer(self.state, self.query)?,
            (_, ["me"] | ["api_keys", ..] | ["workspaces", ..] | ["usage_report", ..]) => {
                return Err(ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed"));
            }
            _ => return Err(ApiError::not_found(format!("Not found: {}", self.path))),
        };
        Ok(Content::Json(match self.state.organization.lies("not_json") {
            true => b"<html><body>It works!</body></html>".to_vec(),
            false => json::bytes(&shown),
        }))
    }

    fn me(&self) -> Value {
        let id = &self.state.config.organization_id;
        json!({ "id": id, "type": "organization", "name": "Mock" })
    }

    fn keys(&self) -> Result<Value, ApiError> {
        let now_ms = self.state.now_ms();
        let wanted = |name: &str| self.value(name);
        let (status, workspace, maker) =
            (wanted("status"), wanted("workspace_id"), wanted("created_by_user_id"));
        if let Some(word) = &status
            && !matches!(word.as_str(), "active" | "inactive" | "archived" | "expired")
        {
            return Err(ApiError::invalid(format!("status: {word:?} is no status")));
        }
        let everything = self.state.organization.lock();
        let listed: Vec<Value> = everything
            .keys
            .iter()
            .filter(|key| status.as_deref().is_none_or(|word| word == key.shown_status(now_ms)))
            .filter(|key| {
                let place = key.workspace().unwrap_or(DEFAULT_WORKSPACE);
                workspace.as_deref().is_none_or(|wanted| wanted == place)
            })
            .filter(|key| maker.is_none() || key.created_by == maker)
            .map(|key| key.shown(self.version, now_ms))
            .collect();
        drop(everything);
        let mut page = self.page(listed)?;
        if self.state.organization.lies("no_status") {
            for key in page["data"].as_array_mut().into_iter().flatten() {
                key.as_object_mut().map(|key| key.remove("status"));
            }
        }
        Ok(page)
    }

    fn key(&self, id: &str) -> Result<Value, ApiError> {
        let everything = self.state.organization.lock();
        let key = everything.keys.iter().find(|key| key.id == id).ok_or_else(|| unknown(id))?;
        Ok(key.shown(self.version, self.state.now_ms()))
    }

    fn update(&self, id: &str) -> Result<Value, ApiError> {
        let body: Value = serde_json::from_slice(&self.received.bytes)
            .map_err(|_| ApiError::invalid("the body is no JSON object"))?;
        let (name, status) = asked(&body)?;
        let lies = |kind| self.state.organization.lies(kind);
        let (unchanged, other) = (lies("not_changed"), lies("other_key"));
        let now_ms = self.state.now_ms();
        let mut everything = self.state.organization.lock();
        let lag_ms = everything.lag_ms;
        let Everything { keys, .. } = &mut *everything;
        let key = keys.iter_mut().find(|key| key.id == id).ok_or_else(|| unknown(id))?;
        if key.status == Status::Archived && status.is_some_and(|status| status != key.status) {
            return Err(ApiError::invalid("an archived API key cannot be changed"));
        }
        if !unchanged {
            if let Some(name) = name {
                key.name = name;
            }
            if let Some(status) = status {
                key.set(status, now_ms, lag_ms);
            }
        }
        let mut shown = key.shown(self.version, now_ms);
        if other {
            shown["id"] = json!("apikey_01SomebodyElses");
        }
        Ok(shown)
    }

    fn workspaces(&self) -> Result<Value, ApiError> {
        let flag = |name: &str| self.value(name).as_deref() == Some("true");
        let everything = self.state.organization.lock();
        let mut listed: Vec<Value> = Vec::new();
        if flag("include_default") {
            listed.push(default_workspace().shown());
        }
        let shown =
            |workspace: &&Workspace| workspace.archived_ms.is_none() || flag("include_archived");
        listed.extend(everything.workspaces.iter().filter(shown).map(Workspace::shown));
        drop(everything);
        self.page(listed)
    }

    fn workspace(&self, id: &str) -> Result<Value, ApiError> {
        if id == DEFAULT_WORKSPACE {
            return Ok(default_workspace().shown());
        }
        let everything = self.state.organization.lock();
        let found = everything.workspaces.iter().find(|workspace| workspace.id == id);
        found.map(Workspace::shown).ok_or_else(|| unknown(id))
    }

    fn members(&self, id: &str) -> Result<Value, ApiError> {
        let everything = self.state.organization.lock();
        if id == DEFAULT_WORKSPACE {
            // Everybody in the organization is in it; the API refuses to list them here.
            return Err(ApiError::invalid("the default workspace has no member list"));
        }
        let found = everything.workspaces.iter().find(|workspace| workspace.id == id);
        let workspace = found.ok_or_else(|| unknown(id))?;
        let member = |(user, role): &(String, String)| {
            json!({
                "type": "workspace_member",
                "user_id": user,
                "workspace_id": id,
                "workspace_role": role,
            })
        };
        let listed = workspace.members.iter().map(member).collect();
        drop(everything);
        self.page(listed)
    }

    /// One page of a list, oldest first; `after_id` and `before_id` name what was seen last.
    fn page(&self, listed: Vec<Value>) -> Result<Value, ApiError> {
        let limit = match self.value("limit") {
            None => PAGE,
            Some(text) => {
                text.parse().ok().filter(|limit| (1..=PAGE_MAX).contains(limit)).ok_or_else(
                    || ApiError::invalid("limit: must be a whole number from 1 to 1000"),
                )?
            }
        };
        let place = |id: &str| {
            let name = |value: &Value| {
                json::text(value, "id").or(json::text(value, "user_id")) == Some(id)
            };
            let unknown = || ApiError::invalid(format!("nothing {id:?} in this list"));
            listed.iter().position(name).ok_or_else(unknown)
        };
        let same_page = self.state.organization.lies("same_page");
        let (start, end, more) = match (self.value("after_id"), self.value("before_id")) {
            (Some(_), Some(_)) => {
                return Err(ApiError::invalid("after_id and before_id exclude each other"));
            }
            (None, Some(id)) => {
                let end = place(&id)?;
                let start = end.saturating_sub(limit);
                (start, end, start > 0)
            }
            (after, None) => {
                let start = after.filter(|_| !same_page).map(|id| place(&id)).transpose()?;
                let start = start.map_or(0, |at| at + 1);
                let end = (start + limit).min(listed.len());
                (start, end, end < listed.len() || same_page)
            }
        };
        let data = &listed[start..end];
        let id = |value: &Value| value.get("id").or(value.get("user_id")).cloned();
        Ok(json!({
            "data": data,
            "has_more": more,
            "first_id": data.first().and_then(id),
            "last_id": data.last().and_then(id),
        }))
    }

    fn value(&self, name: &str) -> Option<String> {
        let pairs = query::pairs(self.query);
        pairs.into_iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }
}

/// What a change asks for.
fn asked(body: &Value) -> Result<(Option<String>, Option<Status>), ApiError> {
    let fields = body.as_object().ok_or_else(|| ApiError::invalid("the body is no object"))?;
    if let Some(odd) = fields.keys().find(|name| !matches!(name.as_str(), "name" | "status")) {
        return Err(ApiError::invalid(format!("{odd}: Extra inputs are not permitted")));
    }
    let name = match fields.get("name") {
        None | Some(Value::Null) => None,
        Some(Value::String(name)) if (1..=500).contains(&name.chars().count()) => {
            Some(name.clone())
        }
        Some(_) => return Err(ApiError::invalid("name: must be a text of 1 to 500 characters")),
    };
    let status = match fields.get("status") {
        None | Some(Value::Null) => None,
        Some(word) => {
            let read = word.as_str().and_then(Status::read);
            Some(read.ok_or_else(|| {
                ApiError::invalid("status: Input should be 'active', 'inactive' or 'archived'")
            })?)
        }
    };
    Ok((name, status))
}

fn default_workspace() -> Workspace {
    Workspace {
        id: DEFAULT_WORKSPACE.to_owned(),
        name: "Default".to_owned(),
        created_ms: 0,
        archived_ms: None,
        members: Vec::new(),
    }
}

fn unknown(id: &str) -> ApiError {
    ApiError::not_found(format!("Not found: {id}"))
}

//! What a person does in the Console, for tests: makes keys, switches them off, puts people into
//! workspaces; and what makes the Admin API slow, late or untruthful.

use http::StatusCode;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{Key, LIES, Lie, Organization, Scope, Status, Workspace, hint, mint};
use crate::ids::IdSource;
use crate::mock::State;
use crate::query;
use crate::request::Version;

/// Answers a request below `/mock/` about the organization; `None` when it is about something else.
pub(crate) fn answer(
    state: &State,
    method: &str,
    steps: &[&str],
    query: Option<&str>,
) -> Option<(StatusCode, Value)> {
    let asked = Asked { state, pairs: query::pairs(query) };
    let answered = match (method, steps) {
        ("POST", ["keys"]) => asked.make_key(),
        ("GET", ["keys"]) => Ok(asked.keys()),
        ("POST", ["keys", id]) => asked.set_key(id),
        ("DELETE", ["keys", id]) => asked.delete_key(id),
        ("POST", ["admin_keys"]) => Ok(asked.make_admin_key()),
        ("POST", ["workspaces"]) => Ok(asked.make_workspace()),
        ("POST", ["workspaces", id, "members"]) => asked.set_member(id),
        ("DELETE", ["workspaces", id, "members", user]) => asked.remove_member(id, user),
        ("POST", ["admin", "lie"]) => asked.lie(),
        ("POST", ["admin", "lag"]) => Ok(asked.lag()),
        ("POST", ["admin", "usage_late"]) => Ok(asked.usage_late()),
        _ => return None,
    };
    Some(match answered {
        Ok(shown) => (StatusCode::OK, shown),
        Err(why) => (StatusCode::BAD_REQUEST, json!({ "error": why })),
    })
}

struct Asked<'a> {
    state: &'a State,
    pairs: Vec<(String, String)>,
}

impl Asked<'_> {
    fn value(&self, name: &str) -> Option<String> {
        self.pairs.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone())
    }

    fn organization(&self) -> &Organization {
        &self.state.organization
    }

    fn ids(&self) -> IdSource {
        self.state.ids.unique()
    }

    /// Makes a key. Its value is in this answer and nowhere else.
    fn make_key(&self) -> Result<Value, String> {
        let (now_ms, ids) = (self.state.now_ms(), self.ids());
        let scope = match self.value("workspace_id") {
            None => Scope::Default,
            Some(word) if word == "organization" => Scope::Organization,
            Some(id) => Scope::Workspace(id),
        };
        let mut everything = self.organization().lock();
        if let Scope::Workspace(id) = &scope
            && !everything.is_known(id)
        {
            return Err(format!("there is no workspace {id:?}"));
        }
        let number = |name: &str| {
            let text = self.value(name);
            text.map(|text| text.parse::<u64>().map_err(|_| format!("{name}: no number")))
        };
        let created_ms =
            now_ms.saturating_sub(number("age_s").transpose()?.unwrap_or(0).saturating_mul(1_000));
        let expires_in_s = number("expires_in_s").transpose()?;
        let value = mint("api03", ids);
        let key = Key {
            id: ids.id("apikey_", 0),
            name: self.value("name").unwrap_or_else(|| "unnamed".to_owned()),
            status: Status::Active,
            sha256: Sha256::digest(value.as_bytes()).into(),
            hint: hint(&value),
            created_ms,
            created_by: self.value("created_by"),
            expires_ms: expires_in_s.map(|s| now_ms.saturating_add(s.saturating_mul(1_000))),
            scope,
            principal: self.value("principal"),
            works_from_ms: 0,
            before: Status::Active,
        };
        let mut shown = key.shown(Version::New, now_ms);
        shown["key"] = json!(value);
        everything.keys.push(key);
        Ok(shown)
    }

    fn keys(&self) -> Value {
        let now_ms = self.state.now_ms();
        let everything = self.organization().lock();
        let shown = everything.keys.iter().map(|key| key.shown(Version::New, now_ms));
        json!({ "keys": shown.collect::<Vec<_>>() })
    }

    /// Switches a key off or on, gives it another name, lets its time end.
    fn set_key(&self, id: &str) -> Result<Value, String> {
        let now_ms = self.state.now_ms();
        let status = self.value("status");
        let mut everything = self.organization().lock();
        let lag_ms = everything.lag_ms;
        let found = everything.keys.iter_mut().find(|key| key.id == id);
        let key = found.ok_or_else(|| format!("there is no key {id:?}"))?;
        match status.as_deref() {
            None => {}
            Some("expired") => key.expires_ms = Some(now_ms),
            Some(word) => {
                let status = Status::read(word).ok_or_else(|| format!("no status {word:?}"))?;
                key.set(status, now_ms, lag_ms);
            }
        }
        if let Some(name) = self.value("name") {
            key.name = name;
        }
        Ok(key.shown(Version::New, now_ms))
    }

    /// Forgets a key, as if it had been deleted: lists have it no more, and it is refused.
    fn delete_key(&self, id: &str) -> Result<Value, String> {
        let mut everything = self.organization().lock();
        let place = everything.keys.iter().position(|key| key.id == id);
        let place = place.ok_or_else(|| format!("there is no key {id:?}"))?;
        let gone = everything.keys.remove(place);
        everything.gone.push(gone.sha256);
        Ok(json!({}))
    }

    fn make_admin_key(&self) -> Value {
        let value = mint("admin01", self.ids());
        let mut everything = self.organization().lock();
        everything.admins.push(Sha256::digest(value.as_bytes()).into());
        json!({ "key": value })
    }

    fn make_workspace(&self) -> Value {
        let id = self.value("id").unwrap_or_else(|| self.ids().id("wrkspc_", 0));
        let workspace = Workspace {
            id,
            name: self.value("name").unwrap_or_else(|| "unnamed".to_owned()),
            created_ms: self.state.now_ms(),
            archived_ms: None,
            members: Vec::new(),
        };
        let shown = workspace.shown();
        self.organization().lock().workspaces.push(workspace);
        shown
    }

    fn set_member(&self, id: &str) -> Result<Value, String> {
        let user = self.value("user_id").ok_or("user_id: whose?")?;
        let role = self.value("role").unwrap_or_else(|| "workspace_user".to_owned());
        self.with_workspace(id, |workspace| {
            workspace.members.retain(|(known, _)| *known != user);
            workspace.members.push((user, role));
        })
    }

    fn remove_member(&self, id: &str, user: &str) -> Result<Value, String> {
        self.with_workspace(id, |workspace| workspace.members.retain(|(known, _)| known != user))
    }

    fn with_workspace(
        &self,
        id: &str,
        change: impl FnOnce(&mut Workspace),
    ) -> Result<Value, String> {
        let mut everything = self.organization().lock();
        let found = everything.workspaces.iter_mut().find(|workspace| workspace.id == id);
        let workspace = found.ok_or_else(|| format!("there is no workspace {id:?}"))?;
        change(workspace);
        Ok(workspace.shown())
    }

    fn lie(&self) -> Result<Value, String> {
        let kind = self.value("kind").unwrap_or_default();
        if !LIES.contains(&kind.as_str()) {
            return Err(format!("kind: one of {}", LIES.join(", ")));
        }
        let left = self.value("times").and_then(|times| times.parse().ok()).unwrap_or(1);
        self.organization().lock().lies.push(Lie { kind, left });
        Ok(json!({}))
    }

    /// A change of status works so much later than it is shown.
    fn lag(&self) -> Value {
        self.organization().lock().lag_ms = self.ms();
        json!({})
    }

    /// A call is in the usage report so much later than it ended.
    fn usage_late(&self) -> Value {
        self.organization().lock().usage_late_ms = self.ms();
        json!({})
    }

    fn ms(&self) -> u64 {
        self.value("ms").and_then(|ms| ms.parse().ok()).unwrap_or(0)
    }
}

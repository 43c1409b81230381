//! The organization behind the Admin API: its keys, workspaces and members.
//!
//! A key is made at `/mock/keys`, as a person makes one in the Console: its value is shown once and
//! only its hash is kept. A key that was made here is refused by every call once it is switched
//! off or its time is over; credentials that were not made here are none of this file's business.

use std::sync::Mutex;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::credential;
use crate::error::ApiError;
use crate::ids::IdSource;
use crate::request::Version;

pub(crate) mod api;
pub(crate) mod console;
mod usage;

/// What every admin key begins with.
const ADMIN_PREFIX: &[u8] = b"sk-ant-admin";

/// The workspace that every organization has.
const DEFAULT_WORKSPACE: &str = "wrkspc_01Default";

/// How a key stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Status {
    Active,
    Inactive,
    Archived,
}

impl Status {
    fn read(word: &str) -> Option<Status> {
        match word {
            "active" => Some(Status::Active),
            "inactive" => Some(Status::Inactive),
            "archived" => Some(Status::Archived),
            _ => None,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Status::Active => "active",
            Status::Inactive => "inactive",
            Status::Archived => "archived",
        }
    }
}

/// How far a key reaches.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Scope {
    Default,
    Workspace(String),
    Organization,
}

#[derive(Clone, Debug)]
struct Key {
    id: String,
    name: String,
    status: Status,
    sha256: [u8; 32],
    hint: String,
    created_ms: u64,
    created_by: Option<String>,
    expires_ms: Option<u64>,
    scope: Scope,
    /// `user_…` or `svac_…`
    principal: Option<String>,
    /// A change of status works from then on; before, the key does what `before` says.
    works_from_ms: u64,
    before: Status,
}

#[derive(Clone, Debug)]
struct Workspace {
    id: String,
    name: String,
    created_ms: u64,
    archived_ms: Option<u64>,
    members: Vec<(String, String)>,
}

/// An answer that is not true, and how often it is still to be given.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Lie {
    kind: String,
    left: u64,
}

/// The lies that can be asked for.
const LIES: [&str; 5] = ["not_changed", "other_key", "not_json", "no_status", "same_page"];

#[derive(Default, Debug)]
struct Everything {
    keys: Vec<Key>,
    workspaces: Vec<Workspace>,
    lies: Vec<Lie>,
    /// How long a change of status takes to work.
    lag_ms: u64,
    /// How long it takes until a call is in the usage report.
    usage_late_ms: u64,
    /// Hashes of keys that were deleted.
    gone: Vec<[u8; 32]>,
    /// Hashes of admin keys that were made here.
    admins: Vec<[u8; 32]>,
}

/// The organization.
#[derive(Default, Debug)]
pub(crate) struct Organization(Mutex<Everything>);

impl Organization {
    fn lock(&self) -> std::sync::MutexGuard<'_, Everything> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Forgets everything.
    pub(crate) fn clear(&self) {
        *self.lock() = Everything::default();
    }

    /// Whether a credential that was made here may still call.
    ///
    /// # Errors
    /// 401, when it was switched off or its time is over.
    pub(crate) fn check(&self, presented: &[u8], now_ms: u64) -> Result<(), ApiError> {
        let everything = self.lock();
        if everything.keys.is_empty() && everything.gone.is_empty() {
            return Ok(());
        }
        let sha256: [u8; 32] = Sha256::digest(presented).into();
        if everything.gone.contains(&sha256) {
            return Err(credential::denied("invalid x-api-key"));
        }
        let Some(key) = everything.keys.iter().find(|key| key.sha256 == sha256) else {
            return Ok(());
        };
        if key.is_expired(now_ms) {
            return Err(credential::denied("API key has expired"));
        }
        match key.works_as(now_ms) {
            Status::Active => Ok(()),
            Status::Inactive | Status::Archived => Err(credential::denied("invalid x-api-key")),
        }
    }

    /// Whether a credential is an admin key that was made here.
    fn made_admin(&self, presented: &[u8]) -> bool {
        let sha256: [u8; 32] = Sha256::digest(presented).into();
        self.lock().admins.contains(&sha256)
    }

    /// Whether a credential is a key that was made here.
    pub(crate) fn made(&self, presented: &[u8]) -> bool {
        let sha256: [u8; 32] = Sha256::digest(presented).into();
        self.lock().keys.iter().any(|key| key.sha256 == sha256)
    }

    /// Whether the next answer is to be this lie.
    fn lies(&self, kind: &str) -> bool {
        let mut everything = self.lock();
        let lie = everything.lies.iter_mut().find(|lie| lie.kind == kind && lie.left > 0);
        lie.map(|lie| lie.left -= 1).is_some()
    }
}

impl Everything {
    fn is_known(&self, workspace: &str) -> bool {
        workspace == DEFAULT_WORKSPACE || self.workspaces.iter().any(|known| known.id == workspace)
    }
}

impl Key {
    fn is_expired(&self, now_ms: u64) -> bool {
        self.expires_ms.is_some_and(|at| at <= now_ms)
    }

    /// What it does to calls now.
    fn works_as(&self, now_ms: u64) -> Status {
        if now_ms < self.works_from_ms { self.before } else { self.status }
    }

    fn set(&mut self, status: Status, now_ms: u64, lag_ms: u64) {
        self.before = self.works_as(now_ms);
        self.status = status;
        self.works_from_ms = now_ms.saturating_add(lag_ms);
    }

    /// The word that lists have for it.
    fn shown_status(&self, now_ms: u64) -> &'static str {
        match self.status {
            Status::Active if self.is_expired(now_ms) => "expired",
            other => other.word(),
        }
    }

    fn workspace(&self) -> Option<&str> {
        match &self.scope {
            Scope::Workspace(id) => Some(id),
            _ => None,
        }
    }

    fn shown(&self, version: Version, now_ms: u64) -> Value {
        let principal = self.principal.as_ref().map(|id| match id.starts_with("svac_") {
            true => json!({ "type": "service_account_actor", "service_account_id": id }),
            false => json!({ "type": "user_actor", "user_id": id }),
        });
        let mut shown = json!({
            "id": self.id,
            "type": "api_key",
            "name": self.name,
            "status": self.shown_status(now_ms),
            "partial_key_hint": self.hint,
            "created_at": moment(self.created_ms),
            "created_by": self.created_by.as_ref().map(|id| json!({ "id": id, "type": "user" })),
            "expires_at": self.expires_ms.map(moment),
            "principal": principal,
        });
        let (name, place) = match (version, &self.scope) {
            (Version::Old, _) => ("workspace_id", json!(self.workspace())),
            (Version::New, Scope::Organization) => ("scope", json!({ "type": "organization" })),
            (Version::New, _) => {
                let id = self.workspace().unwrap_or(DEFAULT_WORKSPACE);
                ("scope", json!({ "type": "workspace", "workspace_id": id }))
            }
        };
        shown[name] = place;
        shown
    }
}

impl Workspace {
    fn shown(&self) -> Value {
        json!({
            "id": self.id,
            "type": "workspace",
            "name": self.name,
            "display_color": "#6C5BB9",
            "created_at": moment(self.created_ms),
            "archived_at": self.archived_ms.map(moment),
            "data_residency": {
                "workspace_geo": "us",
                "allowed_inference_geos": "unrestricted",
                "default_inference_geo": "global",
            },
            "tags": {},
        })
    }
}

/// The value of a new key, `api03` for calls and `admin01` for the Admin API.
fn mint(kind: &str, ids: IdSource) -> String {
    let parts: String = (0..5).map(|n| ids.id("", n)).collect();
    format!("sk-ant-{kind}-{}AA", &parts[..93])
}

/// Beginning and end of a key, as the Console shows them.
fn hint(key: &str) -> String {
    let kind = key.split('-').nth(2).unwrap_or_default();
    let secret = &key["sk-ant-".len() + kind.len() + 1..];
    format!("sk-ant-{kind}-{}...{}", &secret[..3], &secret[secret.len() - 4..])
}

/// RFC 3339 in UTC.
fn moment(ms: u64) -> String {
    let at = i64::try_from(ms).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    at.unwrap_or_default().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Ids;

    #[test]
    fn a_minted_key_has_the_form_of_a_real_one() {
        let key = mint("api03", Ids::new().unique());
        assert_eq!((key.len(), &key[..13], &key[106..]), (108, "sk-ant-api03-", "AA"));
        assert_eq!(mint("admin01", Ids::new().unique()).len(), 110);
        let hint = hint(&key);
        assert_eq!((&hint[..16], &hint[19..]), (&key[..16], &key[104..]));
        assert_ne!(key, mint("api03", Ids::new().unique()));
    }
}

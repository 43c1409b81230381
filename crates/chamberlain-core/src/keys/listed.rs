//! A key as Anthropic's Admin API lists it: everything but the key.
//!
//! Two versions of the API write it in two shapes. What this file does not know (a new status, a
//! new kind of scope) it keeps as unknown instead of guessing.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::time::Timestamp;

/// How a key stands at Anthropic.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum ListedStatus {
    /// It is taken.
    Active,
    /// Switched off; may be switched on again.
    Inactive,
    /// Switched off for good.
    Archived,
    /// Its time is over.
    Expired,
    /// A status that this version does not know.
    Other(String),
}

impl ListedStatus {
    /// Its word at Anthropic.
    pub fn word(&self) -> &str {
        match self {
            ListedStatus::Active => "active",
            ListedStatus::Inactive => "inactive",
            ListedStatus::Archived => "archived",
            ListedStatus::Expired => "expired",
            ListedStatus::Other(word) => word,
        }
    }

    fn read(word: String) -> ListedStatus {
        match word.as_str() {
            "active" => ListedStatus::Active,
            "inactive" => ListedStatus::Inactive,
            "archived" => ListedStatus::Archived,
            "expired" => ListedStatus::Expired,
            _ => ListedStatus::Other(word),
        }
    }
}

impl Serialize for ListedStatus {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.word())
    }
}

impl<'de> Deserialize<'de> for ListedStatus {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<ListedStatus, D::Error> {
        String::deserialize(deserializer).map(ListedStatus::read)
    }
}

/// How far a key reaches.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum KeyScope {
    /// One workspace.
    Workspace {
        /// `wrkspc_…`
        id: String,
    },
    /// The workspace that every organization has; version `2023-06-01` does not tell its id.
    DefaultWorkspace,
    /// All of the organization.
    Organization,
    /// Something that this version does not know.
    Unknown,
}

/// On whose behalf a key acts.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum KeyPrincipal {
    /// A person: it dies with their account.
    User {
        /// `user_…`
        id: String,
    },
    /// A service account.
    ServiceAccount {
        /// `svac_…`
        id: String,
    },
}

impl KeyPrincipal {
    /// Its id at Anthropic.
    pub fn id(&self) -> &str {
        match self {
            KeyPrincipal::User { id } | KeyPrincipal::ServiceAccount { id } => id,
        }
    }
}

/// A key as it is listed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ListedKey {
    /// `apikey_…`
    pub id: String,
    /// Its name in the Console.
    pub name: String,
    /// How it stands.
    pub status: ListedStatus,
    /// Its beginning and end, `sk-ant-api03-R2D...igAA`.
    pub hint: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// Who made it, where that is known.
    #[serde(default)]
    pub created_by: Option<String>,
    /// When it ends.
    #[serde(default)]
    pub expires_at: Option<Timestamp>,
    /// How far it reaches.
    pub scope: KeyScope,
    /// On whose behalf it acts; `None` for a key of its workspace.
    #[serde(default)]
    pub principal: Option<KeyPrincipal>,
}

impl ListedKey {
    /// Its workspace, where it has one by id.
    pub fn workspace(&self) -> Option<&str> {
        match &self.scope {
            KeyScope::Workspace { id } => Some(id),
            _ => None,
        }
    }
}

/// A workspace.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Workspace {
    /// `wrkspc_…`
    pub id: String,
    /// Its name in the Console.
    pub name: String,
    /// When it was put away; its keys ended then.
    #[serde(default)]
    pub archived_at: Option<Timestamp>,
}

/// Somebody who may act in a workspace.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Member {
    /// `user_…`
    pub user_id: String,
    /// `workspace_admin`, `workspace_developer` and so on.
    pub role: String,
}

#[cfg(test)]
pub(crate) fn sample(id: &str, name: &str) -> ListedKey {
    ListedKey {
        id: id.to_owned(),
        name: name.to_owned(),
        status: ListedStatus::Active,
        hint: format!("sk-ant-api03-{}...xyAA", &name[..name.len().min(3)]),
        created_at: Timestamp::from_ms(0),
        created_by: None,
        expires_at: None,
        scope: KeyScope::DefaultWorkspace,
        principal: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_status_stays_what_it_is() {
        for word in ["active", "inactive", "archived", "expired", "quarantined"] {
            let read: ListedStatus = serde_json::from_value(word.into()).unwrap();
            assert_eq!(serde_json::to_value(&read).unwrap(), word);
        }
        let read: ListedStatus = serde_json::from_value("quarantined".into()).unwrap();
        assert!(matches!(read, ListedStatus::Other(_)));
    }
}

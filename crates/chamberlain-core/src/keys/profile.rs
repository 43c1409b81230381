//! What people say about an upstream key, and what was learned of it at Anthropic: everything of
//! the inventory but the key itself.

use serde::{Deserialize, Serialize};

use super::listed::ListedKey;
use crate::time::{Date, Timestamp};

/// Why a key was made.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CreatedFor {
    /// The first key of a new installation.
    InitialSetup,
    /// It replaces one on schedule.
    ScheduledRotation,
    /// A new environment.
    NewEnvironment,
    /// It replaces one that somebody else may have.
    Compromise,
}

impl CreatedFor {
    /// Every reason, with its word.
    pub const WORDS: [(CreatedFor, &'static str); 4] = [
        (CreatedFor::InitialSetup, "initial_setup"),
        (CreatedFor::ScheduledRotation, "scheduled_rotation"),
        (CreatedFor::NewEnvironment, "new_environment"),
        (CreatedFor::Compromise, "compromise"),
    ];

    /// Its word.
    pub fn word(self) -> &'static str {
        CreatedFor::WORDS
            .iter()
            .find(|(reason, _)| *reason == self)
            .map_or("initial_setup", |(_, word)| *word)
    }

    /// Reads a word; hyphens do as well.
    pub fn read(word: &str) -> Option<CreatedFor> {
        let word = word.replace('-', "_");
        CreatedFor::WORDS.iter().find(|(_, known)| *known == word).map(|(reason, _)| *reason)
    }
}

/// Leave a key alone that looks unused.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Exemption {
    /// Why it is rarely used.
    pub reason: String,
    /// The last day this holds.
    pub until: Date,
}

/// What is kept of an upstream key beside its value and its state. Absent is unknown.
#[derive(Clone, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct Profile {
    /// The project, the first part of its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// The one team that answers for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub team: Option<String>,
    /// What it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub purpose: Option<String>,
    /// Why it was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_for: Option<CreatedFor>,
    /// Why it is kept as it is, in the words of whoever decided so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rationale: Option<String>,
    /// The day it was made at Anthropic.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_on: Option<Date>,
    /// The day it took the place of the one before it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_rotated_on: Option<Date>,
    /// When Anthropic stops taking it, as far as people said so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// Its id at Anthropic, `apikey_…`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub anthropic_id: Option<String>,
    /// Not to be called unused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exemption: Option<Exemption>,
    /// As Anthropic listed it last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seen: Option<Seen>,
}

/// A key as Anthropic listed it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Seen {
    /// When.
    pub at: Timestamp,
    /// How.
    pub key: ListedKey,
}

impl Profile {
    /// When Anthropic stops taking it: what Anthropic says, else what people said.
    pub fn expiry(&self) -> Option<Timestamp> {
        let seen = self.seen.as_ref().and_then(|seen| seen.key.expires_at);
        seen.or(self.expires_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_profile_is_an_empty_object() {
        assert_eq!(serde_json::to_string(&Profile::default()).unwrap(), "{}");
        assert_eq!(serde_json::from_str::<Profile>("{}").unwrap(), Profile::default());
    }

    #[test]
    fn what_anthropic_says_of_an_expiry_wins() {
        let mut profile = Profile { expires_at: Some(Timestamp::from_ms(5)), ..Profile::default() };
        assert_eq!(profile.expiry(), Some(Timestamp::from_ms(5)));
        let mut key = crate::keys::listed::sample("apikey_1", "a");
        key.expires_at = Some(Timestamp::from_ms(3));
        profile.seen = Some(Seen { at: Timestamp::from_ms(1), key });
        assert_eq!(profile.expiry(), Some(Timestamp::from_ms(3)));
    }

    #[test]
    fn every_reason_has_a_word() {
        for (reason, word) in CreatedFor::WORDS {
            assert_eq!((CreatedFor::read(word), reason.word()), (Some(reason), word));
            assert_eq!(serde_json::to_value(reason).unwrap(), word);
        }
        assert_eq!(CreatedFor::read("new-environment"), Some(CreatedFor::NewEnvironment));
        assert_eq!(CreatedFor::read("because"), None);
    }
}

//! Something about a key that a person should look at: what, about which key, how urgent, and
//! what to do.

use serde::{Deserialize, Serialize};

use crate::record::Severity;

/// What kind of finding.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FindingKind {
    /// A key that works at Anthropic and that nobody here knows.
    Shadow,
    /// A key that is kept here and that Anthropic does not list.
    Missing,
    /// A key in use here that is switched off at Anthropic.
    Inactive,
    /// A key in use here whose time is over at Anthropic.
    Expired,
    /// A key that ends soon.
    Expiring,
    /// A key that ends before it would be replaced by the environment's interval.
    ExpiresEarly,
    /// A key that no call has left with for long.
    Unused,
    /// A key in a workspace that is not its environment's.
    Misplaced,
    /// A key of the whole organization.
    OrganizationWide,
    /// A name that is not by the convention, or says other than what is stored.
    Misnamed,
    /// A key that may be one of several at Anthropic.
    Ambiguous,
    /// One key that serves several environments.
    Shared,
    /// A key that was removed here and still works at Anthropic.
    StillAlive,
    /// Members of a workspace came or went.
    Members,
}

impl FindingKind {
    /// Every kind.
    pub const ALL: [FindingKind; 14] = [
        FindingKind::Shadow,
        FindingKind::Missing,
        FindingKind::Inactive,
        FindingKind::Expired,
        FindingKind::Expiring,
        FindingKind::ExpiresEarly,
        FindingKind::Unused,
        FindingKind::Misplaced,
        FindingKind::OrganizationWide,
        FindingKind::Misnamed,
        FindingKind::Ambiguous,
        FindingKind::Shared,
        FindingKind::StillAlive,
        FindingKind::Members,
    ];

    /// The word used everywhere.
    pub const fn word(self) -> &'static str {
        match self {
            FindingKind::Shadow => "shadow",
            FindingKind::Missing => "missing",
            FindingKind::Inactive => "inactive",
            FindingKind::Expired => "expired",
            FindingKind::Expiring => "expiring",
            FindingKind::ExpiresEarly => "expires_early",
            FindingKind::Unused => "unused",
            FindingKind::Misplaced => "misplaced",
            FindingKind::OrganizationWide => "organization_wide",
            FindingKind::Misnamed => "misnamed",
            FindingKind::Ambiguous => "ambiguous",
            FindingKind::Shared => "shared",
            FindingKind::StillAlive => "still_alive",
            FindingKind::Members => "members",
        }
    }

    /// Whether it can only be seen by looking at what Anthropic lists.
    pub const fn needs_anthropic(self) -> bool {
        matches!(
            self,
            FindingKind::Shadow
                | FindingKind::Missing
                | FindingKind::Inactive
                | FindingKind::Misplaced
                | FindingKind::OrganizationWide
                | FindingKind::Ambiguous
                | FindingKind::StillAlive
                | FindingKind::Members
        )
    }
}

/// A finding. Two findings of one kind about one subject are the same finding.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Finding {
    /// What kind.
    pub kind: FindingKind,
    /// The upstream key's id here, or the key's or workspace's id at Anthropic.
    pub subject: String,
    /// What people call the subject.
    pub name: String,
    /// How urgent.
    pub severity: Severity,
    /// One sentence, readable alone.
    pub message: String,
    /// What to do.
    pub advice: String,
}

impl Finding {
    /// What makes it the same finding as one from before.
    pub fn identity(&self) -> (FindingKind, &str) {
        (self.kind, &self.subject)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_own_word() {
        let mut words: Vec<&str> = FindingKind::ALL.iter().map(|kind| kind.word()).collect();
        for kind in FindingKind::ALL {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.word());
        }
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), FindingKind::ALL.len());
    }
}

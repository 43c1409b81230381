//! Why a key is contained: a closed list, so that reports can count.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why a key is not to be trusted any more.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// It was seen in a public repository.
    PublicRepository,
    /// It was seen in an application's logs.
    ApplicationLogs,
    /// It was seen in an error message or a ticket.
    ErrorOrTicket,
    /// Somebody used it who may not.
    UnauthorizedUse,
    /// Somebody who knew it has left.
    Offboarding,
    /// It may be known to others; nobody is sure.
    SuspectedCompromise,
    /// A security team, GitHub or Anthropic said so.
    SecurityNotice,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Reason; 7] = [
        Reason::PublicRepository,
        Reason::ApplicationLogs,
        Reason::ErrorOrTicket,
        Reason::UnauthorizedUse,
        Reason::Offboarding,
        Reason::SuspectedCompromise,
        Reason::SecurityNotice,
    ];

    /// The word used everywhere.
    pub const fn word(self) -> &'static str {
        match self {
            Reason::PublicRepository => "public-repository",
            Reason::ApplicationLogs => "application-logs",
            Reason::ErrorOrTicket => "error-or-ticket",
            Reason::UnauthorizedUse => "unauthorized-use",
            Reason::Offboarding => "offboarding",
            Reason::SuspectedCompromise => "suspected-compromise",
            Reason::SecurityNotice => "security-notice",
        }
    }

    /// What it means, for people who choose one.
    pub const fn meaning(self) -> &'static str {
        match self {
            Reason::PublicRepository => "it was seen in a public repository",
            Reason::ApplicationLogs => "it was seen in an application's logs",
            Reason::ErrorOrTicket => "it was seen in an error message or a ticket",
            Reason::UnauthorizedUse => "somebody used it who may not",
            Reason::Offboarding => "somebody who knew it has left",
            Reason::SuspectedCompromise => "it may be known to others; nobody is sure",
            Reason::SecurityNotice => "a security team, GitHub or Anthropic said so",
        }
    }

    /// The reason that a text is the word for; spaces and underscores count as hyphens.
    pub fn read(text: &str) -> Option<Reason> {
        let text = text.trim().to_ascii_lowercase().replace([' ', '_'], "-");
        Reason::ALL.into_iter().find(|reason| reason.word() == text)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

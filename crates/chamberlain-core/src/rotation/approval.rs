//! Who has to agree before anything is touched.
//!
//! A production key needs two people, neither of whom asked for the rotation; one who approves
//! twice is one. An approval counts for four hours. In need one person may break the glass, with a
//! reason, and somebody else reviews it within a day.

use serde::{Deserialize, Serialize};

use super::record::Rotation;
use crate::time::Timestamp;

/// A break of the glass is reviewed within this, milliseconds.
pub const REVIEW_MS: i64 = 24 * 3_600_000;

/// How an approval came.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "means")]
pub enum Means {
    /// By a command.
    Command,
    /// By a file of the approver's own.
    File {
        /// Where it lay.
        path: String,
    },
    /// By whoever could not wait for others.
    BrokenGlass {
        /// Why.
        reason: String,
    },
}

/// Somebody agreed.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Approval {
    /// Who.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// How.
    #[serde(flatten)]
    pub means: Means,
}

/// How the approvals stand.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Standing {
    /// Approvals that count now.
    pub have: u32,
    /// Approvals that are needed.
    pub need: u32,
    /// Whether somebody broke the glass, which is as good as all of them.
    pub broken_glass: bool,
    /// When it is to be reviewed.
    pub review_by: Option<Timestamp>,
}

impl Standing {
    /// Whether nobody else is waited for.
    pub fn is_enough(&self) -> bool {
        self.broken_glass || self.have >= self.need
    }
}

impl Rotation {
    /// How its approvals stand at `now`.
    pub fn standing(&self, now: Timestamp) -> Standing {
        let counts = |approval: &&Approval| {
            approval.at <= now && now.ms_since(approval.at) < self.terms.approval_ms
        };
        let mut people: Vec<&str> = Vec::new();
        let mut broken = None;
        for approval in self.approvals.iter().filter(counts) {
            if let Means::BrokenGlass { .. } = approval.means {
                broken = Some(approval.at);
            } else if approval.by != self.ordered.by && !people.contains(&approval.by.as_str()) {
                people.push(&approval.by);
            }
        }
        Standing {
            have: people.len().try_into().unwrap_or(u32::MAX),
            need: self.approvals_needed,
            broken_glass: broken.is_some(),
            review_by: broken.map(|at| at.plus_ms(REVIEW_MS)),
        }
    }
}

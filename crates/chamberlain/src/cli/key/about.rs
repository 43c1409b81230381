//! What can be said about an upstream key, as flags of the commands that take it.

use chamberlain_control::command::KeyAbout;
use clap::Args;

/// What can be said about a key. An empty text forgets what was said before.
#[derive(Args, Debug)]
pub(super) struct About {
    /// The project, the first part of its name
    #[arg(long)]
    project: Option<String>,
    /// The one team that answers for it
    #[arg(long)]
    team: Option<String>,
    /// What it is for
    #[arg(long)]
    purpose: Option<String>,
    /// Why it was made: initial-setup, scheduled-rotation, new-environment, compromise
    #[arg(long = "for", value_name = "REASON")]
    created_for: Option<String>,
    /// Why it is kept as it is
    #[arg(long)]
    rationale: Option<String>,
    /// The day it was made at Anthropic
    #[arg(long, value_name = "DAY")]
    created: Option<String>,
    /// The day it took over from the one before it
    #[arg(long, value_name = "DAY")]
    last_rotated: Option<String>,
    /// When Anthropic stops taking it: a day, or RFC 3339
    #[arg(long, value_name = "WHEN")]
    expires: Option<String>,
    /// Its id at Anthropic, apikey_…
    #[arg(long, value_name = "ID")]
    anthropic_id: Option<String>,
    /// Not to be called unused up to this day; with --reason
    #[arg(long, value_name = "DAY")]
    exempt_until: Option<String>,
    /// Why it may rest
    #[arg(long, value_name = "WHY")]
    reason: Option<String>,
}

impl About {
    /// As the command has it.
    pub(super) fn into_about(self) -> KeyAbout {
        KeyAbout {
            project: self.project,
            team: self.team,
            purpose: self.purpose,
            created_for: self.created_for,
            rationale: self.rationale,
            created_on: self.created,
            last_rotated_on: self.last_rotated,
            expires: self.expires,
            anthropic_id: self.anthropic_id,
            exempt_until: self.exempt_until,
            exempt_reason: self.reason,
        }
    }
}

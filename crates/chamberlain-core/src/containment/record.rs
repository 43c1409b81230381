//! One containment: what is on record of it, and the questions that are asked of that.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::clock::Alarm;
use super::reason::Reason;
use crate::id::{ContainmentId, EnvironmentName, UpstreamKeyId, VirtualKeyId};
use crate::rotation::Death;
use crate::time::Timestamp;

/// What is contained.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind", content = "id")]
pub enum Subject {
    /// A real Anthropic key.
    UpstreamKey(UpstreamKeyId),
    /// A virtual key.
    VirtualKey(VirtualKeyId),
}

impl Subject {
    /// The upstream key, if it is one.
    pub fn upstream_key(&self) -> Option<&UpstreamKeyId> {
        match self {
            Subject::UpstreamKey(id) => Some(id),
            Subject::VirtualKey(_) => None,
        }
    }
}

/// As audit records are filed: `upstream_key:uk_…`.
impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Subject::UpstreamKey(id) => write!(f, "upstream_key:{id}"),
            Subject::VirtualKey(id) => write!(f, "virtual_key:{id}"),
        }
    }
}

/// Something that is to be done, in the order of its urgency.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Work {
    /// Nothing leaves with the key any more, and what is on its way is ended.
    Cut,
    /// It is switched off at Anthropic.
    SwitchOff,
    /// What was done with it is put together from the calls on record.
    Report,
    /// What Anthropic reports of its use is stored.
    Usage,
    /// Its value is erased here.
    Erase,
}

impl Work {
    /// All of it.
    pub const ALL: [Work; 5] = [Work::Cut, Work::SwitchOff, Work::Report, Work::Usage, Work::Erase];

    /// The word used everywhere.
    pub const fn word(self) -> &'static str {
        match self {
            Work::Cut => "cut",
            Work::SwitchOff => "switch_off",
            Work::Report => "report",
            Work::Usage => "usage",
            Work::Erase => "erase",
        }
    }

    /// Whether Anthropic's Admin API is needed for it.
    pub const fn needs_anthropic(self) -> bool {
        matches!(self, Work::SwitchOff | Work::Usage)
    }
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// How something ended.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Ended {
    /// When.
    pub at: Timestamp,
    /// Whoever did it by hand and how it is known; `None` when Chamberlain did it.
    pub by_hand: Option<String>,
}

/// Where one piece of work stands.
#[derive(Clone, Default, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Task {
    /// Since when its intent is on record; `None` before that.
    pub intent: Option<Timestamp>,
    /// Tries that failed.
    pub tries: u32,
    /// The next try is not made before.
    pub not_before: Option<Timestamp>,
    /// Why the last try failed.
    pub failed: Option<String>,
    /// Trying again is of no use before a person has seen to it.
    pub is_stuck: bool,
    /// How it ended; `None` while it has not.
    pub ended: Option<Ended>,
}

/// What somebody said when a key was contained, and how things stood then.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Declared {
    /// Who.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// Why.
    pub reason: Reason,
    /// What else there is to say.
    pub note: Option<String>,
    /// Environments whose calls left with it.
    pub served: Vec<EnvironmentName>,
    /// Calls that were on their way with it; `None` when no server ran.
    pub in_flight: Option<u64>,
    /// Whether its value is kept here, so that it can be seen dead and has to be erased.
    pub has_value: bool,
}

/// A containment.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Containment {
    /// Its id.
    pub id: ContainmentId,
    /// Grows with every change; who writes names the version that was read.
    pub version: u64,
    /// What is contained.
    pub subject: Subject,
    /// Who said so, why, and how things stood.
    pub declared: Declared,
    /// What is to be done, and how far it is.
    pub tasks: BTreeMap<Work, Task>,
    /// Refusals of the key since it was switched off.
    pub death: Death,
    /// When Anthropic was last asked with it.
    pub looked_at: Option<Timestamp>,
    /// Since when it counts as dead.
    pub dead_at: Option<Timestamp>,
    /// Alarms that were given.
    pub alarmed: Vec<Alarm>,
    /// When all was done.
    pub ended_at: Option<Timestamp>,
}

impl Containment {
    /// A containment as it is put on record. The cut is made in the same transaction, so its intent
    /// is on record with it.
    pub fn declare(id: ContainmentId, subject: Subject, declared: Declared) -> Containment {
        let of_upstream = subject.upstream_key().is_some();
        let wanted = |work: &Work| match work {
            Work::Cut | Work::Report => true,
            Work::SwitchOff | Work::Usage => of_upstream,
            Work::Erase => of_upstream && declared.has_value,
        };
        let mut tasks: BTreeMap<Work, Task> =
            Work::ALL.into_iter().filter(wanted).map(|work| (work, Task::default())).collect();
        if let Some(cut) = tasks.get_mut(&Work::Cut) {
            cut.intent = Some(declared.at);
        }
        Containment {
            id,
            version: 1,
            subject,
            declared,
            tasks,
            death: Death::default(),
            looked_at: None,
            dead_at: None,
            alarmed: Vec::new(),
            ended_at: None,
        }
    }

    /// When a piece of work ended.
    pub fn done_at(&self, work: Work) -> Option<Timestamp> {
        Some(self.tasks.get(&work)?.ended.as_ref()?.at)
    }

    /// Whether a piece of work has ended, or was never to be done.
    pub fn is_done(&self, work: Work) -> bool {
        self.tasks.get(&work).is_none_or(|task| task.ended.is_some())
    }
}

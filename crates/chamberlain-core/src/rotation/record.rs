//! One rotation: what is on record of it, and the questions that are asked of that.

use serde::{Deserialize, Serialize};

use super::approval::Approval;
use super::clock::Alarm;
use super::death::Death;
use super::soak::Traffic;
use super::stage::{Kind, Stage, Step};
use super::terms::{MaintenanceWindow, Terms};
use crate::id::{EnvironmentName, RotationId, UpstreamKeyId};
use crate::time::Timestamp;

/// Who asked for a rotation, and why.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Ordered {
    /// Who.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// Why.
    pub reason: String,
}

/// The key that comes after.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct NewKey {
    /// Its id here.
    pub id: UpstreamKeyId,
    /// What it is told by.
    pub fingerprint: String,
}

/// The intent of a step, on record before the step is done.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Intent {
    /// What is to be done.
    pub step: Step,
    /// Since when.
    pub at: Timestamp,
}

/// One of the two things that go on side by side in an emergency; a planned rotation has one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Track {
    /// To the new key.
    Main,
    /// Away from the old one.
    Cut,
}

/// Where one of them stands.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Lane {
    /// The stage that was reached.
    pub stage: Stage,
    /// Since when.
    pub since: Timestamp,
    /// What is being done; `None` between two steps.
    pub intent: Option<Intent>,
    /// Tries of that step that failed.
    pub tries: u32,
    /// The next try is not made before.
    pub not_before: Option<Timestamp>,
    /// Why a person is needed, once the machine has given up.
    pub stuck: Option<String>,
}

impl Lane {
    pub(super) fn at(stage: Stage, since: Timestamp) -> Lane {
        Lane { stage, since, intent: None, tries: 0, not_before: None, stuck: None }
    }
}

/// What a person vouches for, where Chamberlain cannot see it by itself.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// The team was told.
    Notified,
    /// There is a backup, newer than the last change, and it was restored once to see that it can
    /// be.
    BackedUp,
    /// The old key was switched off at Anthropic by hand.
    OldInactive,
    /// There is a backup with the new key.
    BackedUpAgain,
}

impl What {
    /// Everything that can be vouched for.
    pub const ALL: [What; 4] =
        [What::Notified, What::BackedUp, What::OldInactive, What::BackedUpAgain];

    /// The word used everywhere.
    pub const fn word(self) -> &'static str {
        match self {
            What::Notified => "notified",
            What::BackedUp => "backed_up",
            What::OldInactive => "old_inactive",
            What::BackedUpAgain => "backed_up_2",
        }
    }
}

/// A person vouched for something.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Attested {
    /// What.
    pub what: What,
    /// Who.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// How it is known.
    pub note: String,
}

/// The way out that somebody asked for.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Exit {
    /// [`Stage::Aborted`] or [`Stage::RolledBack`].
    pub to: Stage,
    /// Who, or Chamberlain itself.
    pub by: String,
    /// Why.
    pub reason: String,
}

/// A rotation.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Rotation {
    /// Its id.
    pub id: RotationId,
    /// Grows with every change; who writes names the version that was read.
    pub version: u64,
    /// Planned or emergency.
    pub kind: Kind,
    /// The environment whose key it is; `None` for the shared one.
    pub seat: Option<EnvironmentName>,
    /// The key that is replaced.
    pub old: UpstreamKeyId,
    /// Rotations of that seat that were completed when this one was planned.
    pub generation: u64,
    /// The numbers it goes by.
    pub terms: Terms,
    /// How many have to approve.
    pub approvals_needed: u32,
    /// When anything may be touched; `None`: any time.
    pub window: Option<MaintenanceWindow>,
    /// Who asked, and why.
    pub ordered: Ordered,
    /// Who agreed.
    pub approvals: Vec<Approval>,
    /// What was vouched for.
    pub attested: Vec<Attested>,
    /// The new key, once it is in the vault.
    pub new: Option<NewKey>,
    /// Fingerprints of keys that Anthropic did not take; they are not tried again.
    pub refused: Vec<String>,
    /// What the old key came to in the hour before the new one was put into use.
    pub before: Traffic,
    /// Probes that the new key passed while it was watched.
    pub probes: u64,
    /// When something was last looked at.
    pub looked_at: Option<Timestamp>,
    /// Refusals of the old key since it was switched off.
    pub death: Death,
    /// Steps whose intent was ever on record.
    pub begun: Vec<Step>,
    /// The way out, once somebody asked for one.
    pub exit: Option<Exit>,
    /// Alarms that were given.
    pub alarmed: Vec<Alarm>,
    /// To the new key.
    pub main: Lane,
    /// Away from the old key; emergencies only.
    pub cut: Option<Lane>,
    /// When each stage was reached, in order.
    pub history: Vec<(Stage, Timestamp)>,
}

impl Rotation {
    /// A rotation that was just asked for.
    pub fn order(
        id: RotationId,
        kind: Kind,
        seat: Option<EnvironmentName>,
        old: UpstreamKeyId,
        generation: u64,
        ordered: Ordered,
    ) -> Rotation {
        let now = ordered.at;
        let (first, cut) = match kind {
            Kind::Planned => (Stage::Planned, None),
            Kind::Emergency => (Stage::AwaitKey, Some(Lane::at(Stage::Declared, now))),
        };
        let mut history = vec![(first, now)];
        history.extend(cut.as_ref().map(|lane| (lane.stage, now)));
        Rotation {
            id,
            version: 1,
            kind,
            seat,
            old,
            generation,
            terms: Terms::default(),
            approvals_needed: 0,
            window: None,
            ordered,
            approvals: Vec::new(),
            attested: Vec::new(),
            new: None,
            refused: Vec::new(),
            before: Traffic::default(),
            probes: 0,
            looked_at: None,
            death: Death::default(),
            begun: Vec::new(),
            exit: None,
            alarmed: Vec::new(),
            main: Lane::at(first, now),
            cut,
            history,
        }
    }

    /// Whether nothing more is to be done.
    pub fn has_ended(&self) -> bool {
        self.main.stage.is_end()
    }

    /// The lane of that name, where there is one.
    pub fn lane(&self, track: Track) -> Option<&Lane> {
        match track {
            Track::Main => Some(&self.main),
            Track::Cut => self.cut.as_ref(),
        }
    }

    pub(super) fn lane_mut(&mut self, track: Track) -> Option<&mut Lane> {
        match track {
            Track::Main => Some(&mut self.main),
            Track::Cut => self.cut.as_mut(),
        }
    }

    /// When a stage was first reached.
    pub fn reached(&self, stage: Stage) -> Option<Timestamp> {
        self.history.iter().find(|(reached, _)| *reached == stage).map(|(_, at)| *at)
    }

    /// What was vouched for last.
    pub fn attested(&self, what: What) -> Option<&Attested> {
        self.attested.iter().rev().find(|attested| attested.what == what)
    }

    /// Whether the new key was, or may have been, put into use.
    pub fn may_serve_new(&self) -> bool {
        self.begun.contains(&Step::Promote)
    }

    /// Whether the old key was, or may have been, switched off at Anthropic.
    pub fn may_have_deactivated(&self) -> bool {
        self.begun.contains(&Step::Deactivate) || self.attested(What::OldInactive).is_some()
    }

    /// Whether those who do not go through Chamberlain may have got the new key.
    pub fn may_have_written_sinks(&self) -> bool {
        self.begun.contains(&Step::WriteSinks)
    }
}

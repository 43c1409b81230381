//! What becomes of a rotation when something was decided, done, or said by a person.
//!
//! Each of these gives the rotation as it is to be on record from then on; none does anything.

use super::approval::{Approval, Means};
use super::clock::Alarm;
use super::death::ProbeAnswer;
use super::record::{Attested, Exit, Intent, Lane, NewKey, Rotation, Track, What};
use super::stage::{Kind, Stage, Step};
use crate::id::{EnvironmentName, RotationId, UpstreamKeyId};
use crate::time::Timestamp;

/// What came of a step.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Outcome {
    /// It is done, now or before.
    Done,
    /// It may be done or not; it is worth trying again.
    Failed(String),
    /// It will not be done, however often it is tried.
    Refused(String),
}

/// Why a person may not do what was asked, with what to do instead.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub struct NotAllowed(pub String);

fn no<T>(why: impl Into<String>) -> Result<T, NotAllowed> {
    Err(NotAllowed(why.into()))
}

/// Whether a rotation of a key may begin beside those that have not ended; gives the planned one
/// that an emergency takes the place of.
///
/// # Errors
/// When that key is being replaced already, or its seat is.
pub fn may_begin<'a>(
    open: impl IntoIterator<Item = &'a Rotation>,
    kind: Kind,
    seat: Option<&EnvironmentName>,
    old: &UpstreamKeyId,
) -> Result<Option<&'a Rotation>, NotAllowed> {
    let touches = |other: &Rotation| {
        other.seat.as_ref() == seat
            || other.old == *old
            || other.new.as_ref().is_some_and(|new| new.id == *old)
    };
    let mut others = open.into_iter().filter(|other| !other.has_ended() && touches(other));
    match (others.next(), kind) {
        (None, _) => Ok(None),
        (Some(other), Kind::Emergency) if other.kind == Kind::Planned => Ok(Some(other)),
        (Some(other), _) => no(format!(
            "this key is being replaced already: {} is at {} (chamberlain rotation show {})",
            other.id, other.main.stage, other.id
        )),
    }
}

/// Who does what nobody asked for.
const ITSELF: &str = "chamberlain";

impl Rotation {
    fn changed(&self, change: impl FnOnce(&mut Rotation)) -> Rotation {
        let mut after = self.clone();
        after.version += 1;
        change(&mut after);
        after
    }

    fn reach(&mut self, track: Track, stage: Stage, now: Timestamp) {
        if let Some(lane) = self.lane_mut(track) {
            *lane = Lane::at(stage, now);
            self.history.push((stage, now));
        }
    }

    /// With the intent of a step on record.
    #[must_use]
    pub fn intended(&self, track: Track, step: Step, now: Timestamp) -> Rotation {
        self.changed(|after| {
            if !after.begun.contains(&step) {
                after.begun.push(step);
            }
            if let Some(lane) = after.lane_mut(track) {
                lane.intent = Some(Intent { step, at: now });
            }
        })
    }

    /// With a stage reached that nothing had to be done for.
    #[must_use]
    pub fn entered(&self, track: Track, stage: Stage, now: Timestamp) -> Rotation {
        self.changed(|after| after.reach(track, stage, now))
    }

    /// With what came of the step whose intent is on record. Without an intent nothing changes.
    #[must_use]
    pub fn settled(&self, track: Track, outcome: &Outcome, now: Timestamp) -> Rotation {
        let Some(step) = self.lane(track).and_then(|lane| lane.intent).map(|intent| intent.step)
        else {
            return self.clone();
        };
        self.changed(|after| match outcome {
            Outcome::Done => after.reach(track, stage_after(step, after.kind), now),
            Outcome::Failed(why) => after.fail(track, why, now),
            Outcome::Refused(why) => after.refuse(track, step, why, now),
        })
    }

    fn fail(&mut self, track: Track, why: &str, now: Timestamp) {
        let terms = self.terms;
        let Some(lane) = self.lane_mut(track) else { return };
        lane.tries += 1;
        if lane.tries >= terms.tries_max {
            lane.stuck = Some(format!("tried {} times: {why}", lane.tries));
            lane.not_before = None;
        } else {
            let pause_ms = i64::try_from(terms.pause_ms(lane.tries)).unwrap_or(i64::MAX);
            lane.not_before = Some(now.plus_ms(pause_ms));
        }
    }

    fn refuse(&mut self, track: Track, step: Step, why: &str, now: Timestamp) {
        match (step, self.kind) {
            // The next key may be better; this one is never tried again.
            (Step::Probe, _) => {
                self.refused.extend(self.new.take().map(|new| new.fingerprint));
                self.reach(track, Stage::AwaitKey, now);
            }
            (Step::Verify, Kind::Planned) => {
                self.main.intent = None;
                self.turn_back(why);
            }
            _ => {
                if let Some(lane) = self.lane_mut(track) {
                    (lane.intent, lane.stuck) = (None, Some(why.to_owned()));
                }
            }
        }
    }

    fn turn_back(&mut self, why: &str) {
        self.exit.get_or_insert_with(|| Exit {
            to: Stage::RolledBack,
            by: ITSELF.to_owned(),
            reason: why.to_owned(),
        });
    }

    /// On its way back to the old key.
    #[must_use]
    pub fn turned_back(&self, why: &str) -> Rotation {
        self.changed(|after| after.turn_back(why))
    }

    /// On its way out because it is stale: what was intended is not done any more.
    #[must_use]
    pub fn discarded(&self, why: &str) -> Rotation {
        self.changed(|after| {
            after.main = Lane::at(after.main.stage, after.main.since);
            let (to, by, reason) = (Stage::Aborted, ITSELF.to_owned(), why.to_owned());
            after.exit = Some(Exit { to, by, reason });
        })
    }

    /// Ended at once because an emergency takes its place.
    #[must_use]
    pub fn superseded(&self, by: &RotationId, now: Timestamp) -> Rotation {
        self.changed(|after| {
            let reason = format!("the emergency {by} takes its place");
            after.exit = Some(Exit { to: Stage::Aborted, by: ITSELF.to_owned(), reason });
            after.reach(Track::Main, Stage::Aborted, now);
        })
    }

    /// With what Anthropic said to the new key while it was watched.
    #[must_use]
    pub fn looked_at_new(&self, answer: &ProbeAnswer, now: Timestamp) -> Rotation {
        self.changed(|after| {
            after.looked_at = Some(now);
            match answer {
                ProbeAnswer::Works => after.probes += 1,
                ProbeAnswer::Rejected => after.turn_back("Anthropic refused the new key"),
                ProbeAnswer::Inconclusive(_) => {}
            }
        })
    }

    /// With what Anthropic said to the old key after it was switched off.
    #[must_use]
    pub fn looked_at_old(&self, answer: &ProbeAnswer, now: Timestamp) -> Rotation {
        self.changed(|after| {
            after.looked_at = Some(now);
            after.death = after.death.after(answer, now);
        })
    }

    /// With an alarm given.
    #[must_use]
    pub fn sounded(&self, alarm: Alarm) -> Rotation {
        self.changed(|after| after.alarmed.push(alarm))
    }

    /// With an approval.
    ///
    /// # Errors
    /// When whoever approves may not, did already, or comes too late.
    pub fn approved(&self, approval: Approval, now: Timestamp) -> Result<Rotation, NotAllowed> {
        self.refuse_when_ended()?;
        if self.may_serve_new() {
            return no("the new key is in use already; there is nothing left to approve");
        }
        match &approval.means {
            Means::BrokenGlass { reason } if reason.trim().is_empty() => {
                return no("breaking the glass wants a reason");
            }
            Means::BrokenGlass { .. } => {}
            _ if approval.by == self.ordered.by => {
                return no(format!(
                    "{} asked for this rotation and may not approve it; somebody else has to, or \
                     the glass is to be broken (--break-glass REASON)",
                    approval.by
                ));
            }
            _ => {
                let counts = |other: &&Approval| {
                    other.by == approval.by && now.ms_since(other.at) < self.terms.approval_ms
                };
                if self.approvals.iter().any(|other| counts(&other)) {
                    return no(format!("{} has approved already", approval.by));
                }
            }
        }
        Ok(self.changed(|after| after.approvals.push(approval)))
    }

    /// With something that a person vouches for.
    ///
    /// # Errors
    /// When it is not the time for it.
    pub fn vouched(&self, attested: Attested) -> Result<Rotation, NotAllowed> {
        self.refuse_when_ended()?;
        if attested.what == What::OldInactive && self.exit.is_some() {
            return no("it is on its way back to the old key; switch that on again at Anthropic");
        }
        let stage = self.main.stage;
        let cut = self.cut.as_ref().map(|lane| lane.stage);
        let (fits, when) = match attested.what {
            What::Notified => (stage == Stage::Planned, "while it is planned"),
            What::BackedUp => (stage <= Stage::Approved, "before anything is touched"),
            What::OldInactive => (
                stage == Stage::Draining || cut == Some(Stage::LocalCut),
                "once the old key is to be switched off",
            ),
            What::BackedUpAgain => (stage == Stage::Recorded, "at the end, when it is recorded"),
        };
        if !fits {
            return no(format!(
                "{} is vouched for {when}; the rotation is at {stage}",
                attested.what.word()
            ));
        }
        let what = attested.what;
        Ok(self.changed(|after| {
            after.attested.push(attested);
            let track = if after.cut.is_some() { Track::Cut } else { Track::Main };
            // What a person did by hand is not tried any more.
            if let Some(lane) = after.lane_mut(track).filter(|_| what == What::OldInactive) {
                *lane = Lane::at(lane.stage, lane.since);
            }
        }))
    }

    /// With the new key sealed in the vault.
    ///
    /// # Errors
    /// When no key is waited for, or Anthropic did not take this one before.
    pub fn given(&self, new: NewKey, now: Timestamp) -> Result<Rotation, NotAllowed> {
        self.refuse_when_ended()?;
        if self.main.stage != Stage::AwaitKey || self.exit.is_some() {
            return no(format!("no key is waited for: the rotation is at {}", self.main.stage));
        }
        if self.refused.contains(&new.fingerprint) {
            return no("Anthropic did not take this very key before; make another one");
        }
        Ok(self.changed(|after| {
            after.new = Some(new);
            after.reach(Track::Main, Stage::Sealed, now);
        }))
    }

    /// On its way out.
    ///
    /// # Errors
    /// When that way is closed, with the one that is open.
    pub fn asked_out(&self, exit: Exit) -> Result<Rotation, NotAllowed> {
        self.refuse_when_ended()?;
        if self.kind == Kind::Emergency {
            return no(
                "an emergency is not called off: the old key is not to be trusted. Give it a \
                       new key (chamberlain rotation give-key)",
            );
        }
        if let Some(other) = &self.exit {
            return no(format!("it is on its way to {} already", other.to));
        }
        match (exit.to, self.may_serve_new()) {
            (Stage::Aborted, true) => {
                return no("the new key is, or may be, in use: roll back instead \
                           (chamberlain rotation rollback)");
            }
            (Stage::RolledBack, false) => {
                return no(
                    "the new key was never in use: abort instead (chamberlain rotation abort)",
                );
            }
            (Stage::RolledBack, true) if self.may_have_deactivated() => {
                return no(
                    "the old key is, or may be, switched off at Anthropic, so nothing can go \
                           back to it. To replace the new key too, rotate again when this is done",
                );
            }
            (Stage::Aborted | Stage::RolledBack, _) => {}
            (to, _) => return no(format!("{to} is no way out")),
        }
        Ok(self.changed(|after| {
            if after.main.stuck.is_some() {
                after.main = Lane::at(after.main.stage, after.main.since);
            }
            after.exit = Some(exit);
        }))
    }

    /// Trying again after it was stuck.
    ///
    /// # Errors
    /// When it is not stuck.
    pub fn resumed(&self) -> Result<Rotation, NotAllowed> {
        self.refuse_when_ended()?;
        let stuck = |lane: &Lane| lane.stuck.is_some();
        if !stuck(&self.main) && !self.cut.as_ref().is_some_and(stuck) {
            return no("it is not stuck; chamberlain rotation status says what it waits for");
        }
        Ok(self.changed(|after| {
            for lane in [Some(&mut after.main), after.cut.as_mut()].into_iter().flatten() {
                (lane.stuck, lane.tries, lane.not_before) = (None, 0, None);
            }
        }))
    }

    fn refuse_when_ended(&self) -> Result<(), NotAllowed> {
        match self.has_ended() {
            true => no(format!("this rotation has ended ({})", self.main.stage)),
            false => Ok(()),
        }
    }
}

/// Where a step leads.
const fn stage_after(step: Step, kind: Kind) -> Stage {
    match (step, kind) {
        (Step::Backup, _) => Stage::BackedUp,
        (Step::Probe, _) => Stage::Probed,
        (Step::WriteSinks, _) => Stage::SinksWritten,
        (Step::Promote, _) => Stage::ServingNew,
        (Step::Verify, Kind::Planned) => Stage::Soaking,
        (Step::Verify, Kind::Emergency) => Stage::Verified,
        (Step::Deactivate, _) => Stage::OldInactive,
        (Step::Archive, _) => Stage::Archived,
        (Step::Record, Kind::Planned) => Stage::Recorded,
        (Step::Record, Kind::Emergency) => Stage::Done,
        (Step::BackupAgain, _) => Stage::BackedUpAgain,
        (Step::Restore, _) => Stage::RolledBack,
        (Step::Discard, _) => Stage::Aborted,
        (Step::Cut, _) => Stage::LocalCut,
    }
}

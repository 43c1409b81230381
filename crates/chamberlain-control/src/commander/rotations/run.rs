//! What Chamberlain does about a rotation by itself: reads, decides, writes the intent down, acts,
//! writes the result down. One effect at a time, each on what is on record then.

use chamberlain_core::audit::record::Principal;
use chamberlain_core::id::{EnvironmentName, RotationId, UpstreamKeyId};
use chamberlain_core::rotation::{
    Backup, Effect, Facts, Kind, ProbeAnswer, Rotation, Stage, Track, Traffic, decide,
};
use chamberlain_core::time::Timestamp;
use chamberlain_store::UpstreamKeyState;

use super::{Commander, from_store};
use crate::error::CommandError;

/// More than any rotation does without waiting for anybody.
const EFFECTS_MAX: u32 = 64;

impl Commander {
    /// Goes on with every rotation of that kind for as long as nothing has to be waited for.
    ///
    /// # Errors
    /// When something could not be read or written down; it is tried again at the next run.
    pub fn rotate_all(&self, kind: Kind) -> Result<(), CommandError> {
        if self.live.get().is_none() {
            return Ok(());
        }
        let mut first_error = None;
        let open = self.store.open_rotations().map_err(from_store)?;
        for rotation in open.into_iter().filter(|rotation| rotation.kind == kind) {
            if let Err(error) = self.rotate(&rotation.id) {
                first_error.get_or_insert(error);
            }
        }
        first_error.map_or(Ok(()), Err)
    }

    /// Goes on with one rotation.
    pub(super) fn rotate(&self, id: &RotationId) -> Result<(), CommandError> {
        for _ in 0..EFFECTS_MAX {
            if !self.next_effect(id)? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Does the next thing; false when there is nothing to do now.
    pub(in crate::commander) fn next_effect(&self, id: &RotationId) -> Result<bool, CommandError> {
        let open = self.store.open_rotations().map_err(from_store)?;
        let Some(rotation) = open.into_iter().find(|rotation| rotation.id == *id) else {
            return Ok(false);
        };
        let facts = self.rotation_facts(&rotation)?;
        let waits = |effect: &Effect| matches!(effect, Effect::Ask(..) | Effect::Wait(..));
        let effects = decide(&rotation, &facts, self.now());
        let Some(effect) = effects.into_iter().find(|effect| !waits(effect)) else {
            return Ok(false);
        };
        tracing::debug!(rotation = %id, ?effect, "a rotation goes on");
        match self.effect(&rotation, effect) {
            // Somebody else was first; the next turn sees what they wrote.
            Err(error) if error.code == crate::error::ErrorCode::Conflict => Ok(true),
            done => done.map(|()| true),
        }
    }

    fn effect(&self, rotation: &Rotation, effect: Effect) -> Result<(), CommandError> {
        let now = self.now();
        let (after, kind, detail) = match effect {
            Effect::Perform(track, step) => {
                self.perform_step(rotation, track, step)?;
                let stage = rotation.main.stage.word();
                tracing::debug!(rotation = %rotation.id, stage, %step, "a step of a rotation is over");
                return Ok(());
            }
            Effect::Ask(..) | Effect::Wait(..) => return Ok(()),
            Effect::Intend(track, step) => {
                let mut after = rotation.intended(track, step, now);
                if step == chamberlain_core::rotation::Step::Promote {
                    after.before = self.before_promotion(rotation, now)?;
                }
                (after, "intent", step.word().to_owned())
            }
            Effect::Enter(track, stage) => {
                (rotation.entered(track, stage, now), "stage", stage.word().to_owned())
            }
            Effect::LookAtNew => {
                let answer = self.probe_new(rotation);
                (rotation.looked_at_new(&answer, now), "looked", said("the new key", &answer))
            }
            Effect::LookAtOld => {
                let answer = self.probe_key(&rotation.old);
                (rotation.looked_at_old(&answer, now), "looked", said("the old key", &answer))
            }
            Effect::Discard(why) => (rotation.discarded(&why), "stale", why),
            Effect::TurnBack(why) => (rotation.turned_back(&why), "turned_back", why),
            Effect::Sound(alarm) => {
                let detail = super::view::alarm_text(rotation, alarm);
                (rotation.sounded(alarm), "alarm", detail)
            }
        };
        self.save(&Principal::Chamberlain, &after, kind, detail, |_| Ok(()))
    }

    /// What the old key came to in the hour before.
    fn before_promotion(
        &self,
        rotation: &Rotation,
        now: Timestamp,
    ) -> Result<Traffic, CommandError> {
        self.store.traffic_since(&rotation.old, now.plus_ms(-3_600_000)).map_err(from_store)
    }

    /// How the world stands for a rotation.
    pub(super) fn rotation_facts(&self, rotation: &Rotation) -> Result<Facts, CommandError> {
        let house = self.house()?;
        let seat = rotation.seat.as_ref();
        let new = rotation.new.as_ref().map(|new| &new.id);
        let live = self.live.get();
        let others = house.upstream_keys.iter().filter(|row| Some(&row.id) != new);
        let changed = others.flat_map(|row| [Some(row.created_at), row.removed_at]).flatten();
        let hindrances = match rotation.main.stage {
            Stage::Approved => self.hindrances(rotation),
            _ => Vec::new(),
        };
        let (can_back_up, can_drill) = self.can_back_up();
        Ok(Facts {
            generation: self.store.rotations_done(seat).map_err(from_store)?,
            serving: self.serving(seat)?,
            in_flight_old: live.map(|live| live.use_of(&rotation.old).0),
            told: false,
            hindrances,
            backup: self.drilled_backup_at()?.map(|at| Backup { at, is_verified: true }),
            changed_at: changed.max().unwrap_or_default(),
            can_back_up,
            can_drill,
            can_deactivate: self.can_deactivate()?,
            new: live.zip(new).map(|(live, new)| live.use_of(new).1).unwrap_or_default(),
        })
    }

    /// The key that calls of a seat leave with, by what is published.
    pub(super) fn serving(
        &self,
        seat: Option<&EnvironmentName>,
    ) -> Result<Option<UpstreamKeyId>, CommandError> {
        let published = self.publisher.published().load_full();
        let names = self.environments_of(seat)?;
        let mut found = names
            .iter()
            .filter_map(|name| published.environments.get(name))
            .map(|environment| environment.upstream_key.clone());
        let house = self.house()?;
        let stored = house
            .upstream_keys
            .iter()
            .find(|row| row.state == UpstreamKeyState::Current && row.environment.as_ref() == seat);
        // A shared key that every environment has replaced by its own serves nobody.
        let Some(first) = found.next() else { return Ok(stored.map(|row| row.id.clone())) };
        Ok(first.filter(|first| found.all(|other| other.as_ref() == Some(first))))
    }

    /// The environments that leave with the key of a seat.
    pub(super) fn environments_of(
        &self,
        seat: Option<&EnvironmentName>,
    ) -> Result<Vec<EnvironmentName>, CommandError> {
        if let Some(seat) = seat {
            return Ok(vec![seat.clone()]);
        }
        let (house, ruling) = (self.house()?, self.settings.read().clone());
        let has_own = |name: &EnvironmentName| {
            house.upstream_keys.iter().any(|row| {
                row.state == UpstreamKeyState::Current && row.environment.as_ref() == Some(name)
            })
        };
        let names = ruling.settings.environments.iter().map(|it| it.name.clone());
        Ok(names.filter(|name| !has_own(name)).collect())
    }

    /// Says what came of a step, and writes down whatever belongs to it in the same transaction.
    pub(super) fn settle_step(
        &self,
        rotation: &Rotation,
        track: Track,
        outcome: &chamberlain_core::rotation::Outcome,
        detail: String,
    ) -> Result<(), CommandError> {
        use chamberlain_core::rotation::Outcome;
        let after = rotation.settled(track, outcome, self.now());
        // A key that Anthropic does not take is worth nothing to anybody.
        let refused = rotation.new.clone().filter(|_| after.new.is_none());
        let kind = match outcome {
            Outcome::Done => "result",
            Outcome::Failed(_) => "failed",
            Outcome::Refused(_) => "refused",
        };
        self.save(&Principal::Chamberlain, &after, kind, detail, move |change| match refused {
            Some(new) => change.revoke_upstream_key(&new.id),
            None => Ok(()),
        })
    }
}

fn said(of: &str, answer: &ProbeAnswer) -> String {
    match answer {
        ProbeAnswer::Works => format!("Anthropic takes {of}"),
        ProbeAnswer::Rejected => format!("Anthropic answers 401 to {of}"),
        ProbeAnswer::Inconclusive(why) => format!("{of}: nothing is known ({why})"),
    }
}

//! What Chamberlain does about a containment by itself: reads, decides, writes the intent down,
//! acts, writes the result down. What is urgent in one comes before what is not in another.

use chamberlain_core::audit::record::Principal;
use chamberlain_core::containment::{Alarm, Containment, Effect, Work, decide};
use chamberlain_core::id::ContainmentId;
use chamberlain_core::rotation::{Outcome, ProbeAnswer};
use chamberlain_store::Change;

use super::{Commander, from_store, tell};
use crate::error::{CommandError, ErrorCode};

/// More than any containment does without waiting for anybody.
const EFFECTS_MAX: u32 = 64;

impl Commander {
    /// Goes on with every containment for as long as nothing has to be waited for.
    ///
    /// # Errors
    /// When something could not be read or written down; it is tried again at the next run.
    pub fn pursue_all(&self) -> Result<(), CommandError> {
        if self.live.get().is_none() {
            return Ok(());
        }
        self.pursue_those(|_| true)
    }

    /// Goes on with one containment.
    pub(in crate::commander) fn pursue(&self, id: &ContainmentId) -> Result<(), CommandError> {
        self.pursue_those(|it| it.id == *id)
    }

    fn pursue_those(&self, wanted: impl Fn(&Containment) -> bool) -> Result<(), CommandError> {
        // One at a time; whoever holds it does everybody's.
        let Some(_turn) = self.pursuing.try_lock() else { return Ok(()) };
        for _ in 0..EFFECTS_MAX {
            let open = self.store.open_containments().map_err(from_store)?;
            let can_ask = self.has_admin_key()?;
            let due = open.iter().filter(|it| wanted(it)).filter_map(|it| {
                let effects = decide(it, can_ask, self.now());
                let effect = effects.into_iter().find(is_act)?;
                Some((urgency(&effect), it, effect))
            });
            let Some((_, it, effect)) = due.min_by_key(|(urgency, ..)| *urgency) else {
                return Ok(());
            };
            tracing::debug!(containment = %it.id, ?effect, "a containment goes on");
            match self.pursue_effect(it, effect) {
                // Somebody else wrote meanwhile; the next turn sees it.
                Err(error) if error.code == ErrorCode::Conflict => {}
                done => done?,
            }
        }
        Ok(())
    }

    fn pursue_effect(&self, it: &Containment, effect: Effect) -> Result<(), CommandError> {
        let now = self.now();
        let (after, kind, detail) = match effect {
            Effect::Perform(work) => return self.perform_work(it, work),
            Effect::Ask(_) | Effect::Wait(_) => return Ok(()),
            Effect::Intend(work) => (it.intended(work, now), "intent", work.word().to_owned()),
            Effect::Look => {
                let answer = match it.subject.upstream_key() {
                    Some(id) => self.probe_key(id),
                    None => {
                        ProbeAnswer::Inconclusive("a virtual key is not asked about".to_owned())
                    }
                };
                let detail = match &answer {
                    ProbeAnswer::Works => "Anthropic still takes it".to_owned(),
                    ProbeAnswer::Rejected => "Anthropic answers 401 to it".to_owned(),
                    ProbeAnswer::Inconclusive(why) => format!("nothing is known of it ({why})"),
                };
                (it.looked(&answer, now), "looked", detail)
            }
            Effect::Sound(alarm) => (it.sounded(alarm), "alarm", tell::alarm_text(it, alarm)),
            Effect::End => (it.ended(now), "ended", String::new()),
        };
        self.save_containment(&Principal::Chamberlain, &after, kind, detail, |_| Ok(()))
    }

    fn perform_work(&self, it: &Containment, work: Work) -> Result<(), CommandError> {
        let done = match work {
            Work::Cut => self.publish().map(|_| super::work::Done::plain("no call leaves with it")),
            Work::SwitchOff => return self.settle_outcome(it, work, self.switch_off(it)),
            Work::Report => self.put_together(it),
            Work::Usage => return self.settle_outcome(it, work, self.count_at_anthropic(it)),
            Work::Erase => Ok(super::work::erase(it)),
        };
        let outcome = done.map_err(|error| Outcome::Failed(error.to_string()));
        self.settle_outcome(it, work, outcome)
    }

    /// Puts on record what came of a piece of work, with what belongs to it in one transaction.
    fn settle_outcome(
        &self,
        it: &Containment,
        work: Work,
        done: Result<super::work::Done, Outcome>,
    ) -> Result<(), CommandError> {
        let now = self.now();
        match done {
            Ok(done) => {
                let after = it.settled(work, &Outcome::Done, now);
                let detail = format!("{work}: {}", done.detail);
                let id = it.id.clone();
                let with = move |change: &mut Change<'_>| (done.with)(change, &id);
                self.save_containment(&Principal::Chamberlain, &after, "result", detail, with)
            }
            Err(outcome) => {
                let (kind, why) = match &outcome {
                    Outcome::Refused(why) => ("refused", why.as_str()),
                    Outcome::Failed(why) => ("failed", why.as_str()),
                    Outcome::Done => ("failed", "no result"),
                };
                tracing::warn!(containment = %it.id, %work, error = why, "a piece of work of a containment failed");
                let after = it.settled(work, &outcome, now);
                let detail = format!("{work}: {why}");
                self.save_containment(&Principal::Chamberlain, &after, kind, detail, |_| Ok(()))
            }
        }
    }
}

fn is_act(effect: &Effect) -> bool {
    !matches!(effect, Effect::Ask(_) | Effect::Wait(_))
}

/// The lower the sooner.
fn urgency(effect: &Effect) -> u8 {
    match effect {
        Effect::Intend(Work::Cut) | Effect::Perform(Work::Cut) => 0,
        Effect::Intend(Work::SwitchOff) | Effect::Perform(Work::SwitchOff) => 1,
        Effect::Sound(Alarm::Clock { .. }) => 2,
        Effect::Sound(_) => 3,
        Effect::Intend(_) | Effect::Perform(_) => 4,
        Effect::Look | Effect::End => 5,
        Effect::Ask(_) | Effect::Wait(_) => 6,
    }
}

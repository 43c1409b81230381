//! What becomes of a containment when something was decided, done, or said by a person.
//!
//! Each of these gives the containment as it is to be on record from then on; none does anything.

use super::clock::Alarm;
use super::record::{Containment, Ended, Task, Work};
use crate::rotation::{NotAllowed, Outcome, ProbeAnswer, Terms};
use crate::time::Timestamp;

impl Containment {
    fn changed(&self, change: impl FnOnce(&mut Containment)) -> Containment {
        let mut after = self.clone();
        after.version += 1;
        change(&mut after);
        after
    }

    fn with_task(&self, work: Work, change: impl FnOnce(&mut Task)) -> Containment {
        self.changed(|after| {
            if let Some(task) = after.tasks.get_mut(&work) {
                change(task);
            }
        })
    }

    /// With the intent of a piece of work on record.
    #[must_use]
    pub fn intended(&self, work: Work, now: Timestamp) -> Containment {
        self.with_task(work, |task| task.intent = Some(now))
    }

    /// With what came of it. What failed is tried again after a pause that grows up to a minute,
    /// for as long as it takes: a key that works is not given up.
    #[must_use]
    pub fn settled(&self, work: Work, outcome: &Outcome, now: Timestamp) -> Containment {
        self.with_task(work, |task| match outcome {
            Outcome::Done => {
                let ended = Some(Ended { at: now, by_hand: None });
                *task = Task { ended, ..Task::default() };
            }
            Outcome::Failed(why) => {
                task.tries = task.tries.saturating_add(1);
                let pause_ms = Terms::default().pause_ms(task.tries);
                task.not_before = Some(now.plus_ms(i64::try_from(pause_ms).unwrap_or(i64::MAX)));
                task.failed = Some(why.clone());
            }
            Outcome::Refused(why) => {
                task.tries = task.tries.saturating_add(1);
                (task.intent, task.failed, task.is_stuck) = (None, Some(why.clone()), true);
            }
        })
    }

    /// With what Anthropic said to the key after it was switched off.
    #[must_use]
    pub fn looked(&self, answer: &ProbeAnswer, now: Timestamp) -> Containment {
        self.changed(|after| {
            after.looked_at = Some(now);
            after.death = after.death.after(answer, now);
            if after.death.is_proven(&Terms::default()) {
                after.dead_at = Some(now);
            }
        })
    }

    /// With the word of somebody who switched the key off by hand.
    ///
    /// # Errors
    /// When there is nothing to switch off, or it is off already.
    pub fn switched_off_by_hand(
        &self,
        by: &str,
        note: &str,
        now: Timestamp,
    ) -> Result<Containment, NotAllowed> {
        match self.tasks.get(&Work::SwitchOff) {
            None => Err(NotAllowed("a virtual key is not known at Anthropic".to_owned())),
            Some(task) if task.ended.is_some() => {
                Err(NotAllowed("it is switched off already".to_owned()))
            }
            Some(_) => Ok(self.with_task(Work::SwitchOff, |task| {
                let ended = Some(Ended { at: now, by_hand: Some(format!("{by}: {note}")) });
                *task = Task { ended, ..Task::default() };
            })),
        }
    }

    /// Trying again what is stuck, and at once what waits for its next try.
    ///
    /// # Errors
    /// When nothing is to be tried again.
    pub fn resumed(&self) -> Result<Containment, NotAllowed> {
        let waits =
            |task: &Task| task.ended.is_none() && (task.is_stuck || task.not_before.is_some());
        if !self.tasks.values().any(waits) {
            return Err(NotAllowed("nothing of it is to be tried again".to_owned()));
        }
        Ok(self.changed(|after| {
            for task in after.tasks.values_mut().filter(|task| waits(task)) {
                (task.is_stuck, task.tries, task.not_before) = (false, 0, None);
            }
        }))
    }

    /// With an alarm given.
    #[must_use]
    pub fn sounded(&self, alarm: Alarm) -> Containment {
        self.changed(|after| after.alarmed.push(alarm))
    }

    /// At its end.
    #[must_use]
    pub fn ended(&self, now: Timestamp) -> Containment {
        self.changed(|after| after.ended_at = Some(now))
    }
}

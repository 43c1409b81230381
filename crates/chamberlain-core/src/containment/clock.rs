//! The clocks of a containment: who is to have done what by when, and the alarms they give.

use serde::{Deserialize, Serialize};

use super::record::{Containment, Work};
use crate::rotation::{Clock, Terms};
use crate::time::Timestamp;

const SECOND_MS: u64 = 1_000;
const MINUTE_MS: u64 = 60 * SECOND_MS;

/// Tries after which people are told that something does not work.
const TRIES_TOLD: u32 = 5;

/// Whose turn it is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Who {
    /// Chamberlain does it by itself.
    Chamberlain,
    /// A person has to.
    Operator,
}

/// A clock, and whose it is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Deadline {
    /// Whose turn it is.
    pub who: Who,
    /// Since when, until when, and whether it was done.
    pub clock: Clock,
}

/// Something people are to be told of while a containment runs, once.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "alarm")]
pub enum Alarm {
    /// So much of the quarter of an hour is used.
    Clock {
        /// 50, 80 or 100.
        percent: u64,
    },
    /// Something does not work, though it was tried several times, or will not be done at all.
    Trouble {
        /// What.
        work: Work,
    },
    /// The key was switched off and was not proven dead in time.
    StillAlive,
    /// It was not for so long that it is an incident.
    StillAliveIncident,
}

/// The clocks: the whole of it first, then its parts.
pub fn deadlines(containment: &Containment, can_ask_anthropic: bool) -> Vec<Deadline> {
    let began = containment.declared.at;
    let cut = containment.done_at(Work::Cut);
    let mut all = Vec::new();
    let mut add = |who, name, began, ended, limit_ms| {
        all.push(Deadline { who, clock: Clock { name, began, ended, limit_ms } });
    };
    let by_hand = containment.tasks.contains_key(&Work::SwitchOff)
        && (!can_ask_anthropic || is_stuck(containment, Work::SwitchOff));
    let whole = if by_hand { Who::Operator } else { Who::Chamberlain };
    add(whole, "contained", began, contained_at(containment), 15 * MINUTE_MS);
    add(Who::Chamberlain, "no call leaves", began, cut, SECOND_MS);
    for (work, name, limit_ms) in [
        (Work::SwitchOff, "switched off at Anthropic", 10 * SECOND_MS),
        (Work::Report, "exposure reported", MINUTE_MS),
        (Work::Usage, "usage at Anthropic stored", MINUTE_MS),
    ] {
        if containment.tasks.contains_key(&work) {
            let hands = work == Work::SwitchOff && by_hand;
            let (who, limit_ms) = match hands {
                true => (Who::Operator, 5 * MINUTE_MS),
                false => (Who::Chamberlain, limit_ms),
            };
            add(who, name, began, containment.done_at(work), limit_ms);
        }
    }
    if let Some(off) = containment.done_at(Work::SwitchOff)
        && containment.declared.has_value
    {
        let limit_ms = Terms::default().death_alert_ms;
        add(Who::Chamberlain, "seen dead", off, containment.dead_at, limit_ms);
    }
    all
}

/// When nothing more could be done with the key, by us and by anybody.
fn contained_at(containment: &Containment) -> Option<Timestamp> {
    let cut = containment.done_at(Work::Cut)?;
    match containment.tasks.get(&Work::SwitchOff) {
        None => Some(cut),
        Some(task) => task.ended.as_ref().map(|ended| ended.at.max(cut)),
    }
}

fn is_stuck(containment: &Containment, work: Work) -> bool {
    containment.tasks.get(&work).is_some_and(|task| task.is_stuck)
}

/// Alarms that are due and were not given.
pub fn alarms(containment: &Containment, now: Timestamp) -> Vec<Alarm> {
    let mut due = Vec::new();
    let whole = deadlines(containment, true).into_iter().next();
    if let Some(Deadline { clock, .. }) = whole.filter(|whole| whole.clock.ended.is_none()) {
        let reached = [50, 80, 100].into_iter().filter(|at| clock.used_percent(now) >= *at);
        due.extend(reached.map(|percent| Alarm::Clock { percent }));
    }
    for (work, task) in &containment.tasks {
        let fails = task.is_stuck || task.tries >= TRIES_TOLD;
        due.extend((task.ended.is_none() && fails).then_some(Alarm::Trouble { work: *work }));
    }
    if let Some(off) = containment.done_at(Work::SwitchOff)
        && containment.declared.has_value
        && containment.dead_at.is_none()
    {
        let (waited, terms) = (now.ms_since(off), Terms::default());
        due.extend((waited >= terms.death_alert_ms).then_some(Alarm::StillAlive));
        due.extend((waited >= terms.death_incident_ms).then_some(Alarm::StillAliveIncident));
    }
    due.retain(|alarm| !containment.alarmed.contains(alarm));
    due
}

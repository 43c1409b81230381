//! What is to be done next, of what is on record and whether Anthropic can be asked.

use super::clock::{Alarm, alarms};
use super::record::{Containment, Work};
use crate::rotation::{Death, Terms};
use crate::time::Timestamp;

/// What is to be done.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Effect {
    /// Write down that this is going to be done.
    Intend(Work),
    /// Do it; its intent is on record. It may have been done before.
    Perform(Work),
    /// Ask Anthropic for something free with the key, which is switched off.
    Look,
    /// Tell people.
    Sound(Alarm),
    /// Write down that all is done.
    End,
    /// Only a person can do this.
    Ask(Work),
    /// Nothing before this moment.
    Wait(Timestamp),
}

/// Decides: everything that may be done now, the most urgent first.
pub fn decide(containment: &Containment, can_ask_anthropic: bool, now: Timestamp) -> Vec<Effect> {
    if containment.ended_at.is_some() {
        return Vec::new();
    }
    if !containment.is_done(Work::Cut) {
        return next(containment, Work::Cut, can_ask_anthropic, now).into_iter().collect();
    }
    let mut effects: Vec<Effect> = [Work::SwitchOff, Work::Report, Work::Usage]
        .into_iter()
        .filter_map(|work| next(containment, work, can_ask_anthropic, now))
        .collect();
    if containment.is_done(Work::SwitchOff) {
        match (containment.declared.has_value, containment.dead_at) {
            (true, None) => effects.push(look(containment, now)),
            _ => effects.extend(next(containment, Work::Erase, can_ask_anthropic, now)),
        }
    }
    effects.extend(alarms(containment, now).into_iter().map(Effect::Sound));
    if effects.is_empty() || effects.iter().all(is_only_wished_for) && all_else_is_done(containment)
    {
        effects = vec![Effect::End];
    }
    effects
}

/// What Anthropic reports of a key's use is good to have, and nothing waits for it for ever: where
/// it cannot be had, a containment ends without it.
fn is_only_wished_for(effect: &Effect) -> bool {
    matches!(effect, Effect::Ask(Work::Usage))
}

fn all_else_is_done(containment: &Containment) -> bool {
    Work::ALL.into_iter().filter(|work| *work != Work::Usage).all(|work| containment.is_done(work))
}

fn next(
    containment: &Containment,
    work: Work,
    can_ask_anthropic: bool,
    now: Timestamp,
) -> Option<Effect> {
    let task = containment.tasks.get(&work).filter(|task| task.ended.is_none())?;
    if task.is_stuck || work.needs_anthropic() && !can_ask_anthropic {
        return Some(Effect::Ask(work));
    }
    if let Some(not_before) = task.not_before.filter(|not_before| now < *not_before) {
        return Some(Effect::Wait(not_before));
    }
    Some(match task.intent {
        Some(_) => Effect::Perform(work),
        None => Effect::Intend(work),
    })
}

/// At once, then after each pause.
fn look(containment: &Containment, now: Timestamp) -> Effect {
    let pause_ms = i64::try_from(Death::pause_ms(&Terms::default())).unwrap_or(i64::MAX);
    match containment.looked_at.map(|at| at.plus_ms(pause_ms)) {
        Some(next) if now < next => Effect::Wait(next),
        _ => Effect::Look,
    }
}

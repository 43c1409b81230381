//! The clocks of an emergency, and the alarms they give.

use serde::{Deserialize, Serialize};

use super::record::Rotation;
use super::stage::{Kind, Stage};
use crate::time::Timestamp;

const MINUTE_MS: u64 = 60_000;

/// A clock of an emergency: from a stage to a stage, within a time.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Clock {
    /// What it measures.
    pub name: &'static str,
    /// When it began to run.
    pub began: Timestamp,
    /// When it stopped; `None` while it runs.
    pub ended: Option<Timestamp>,
    /// How long it may run, milliseconds.
    pub limit_ms: u64,
}

impl Clock {
    /// How much of its time is used, in percent.
    pub fn used_percent(&self, now: Timestamp) -> u64 {
        let ran = self.ended.unwrap_or(now).ms_since(self.began);
        ran.saturating_mul(100) / self.limit_ms.max(1)
    }
}

/// Something people are to be told of while a rotation runs, once.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "alarm")]
pub enum Alarm {
    /// So much of a clock is used.
    Clock {
        /// Which of [`clocks`], by its place.
        place: usize,
        /// 50, 80 or 100.
        percent: u64,
    },
    /// The old key is switched off and was not proven dead in time.
    StillAlive,
    /// It was not for so long that it is an incident.
    StillAliveIncident,
    /// Calls do not end on the old key.
    NotDrained,
}

/// The clocks of an emergency: the whole of it, then its parts. A part begins when the one before
/// it has ended. A planned rotation has none.
pub fn clocks(rotation: &Rotation) -> Vec<Clock> {
    if rotation.kind != Kind::Emergency {
        return Vec::new();
    }
    let began = rotation.ordered.at;
    let contained = rotation.reached(Stage::OldInactive).zip(rotation.reached(Stage::Verified));
    let contained = contained.map(|(inactive, verified)| inactive.max(verified));
    let mut clocks = vec![
        Clock { name: "emergency", began, ended: contained, limit_ms: 15 * MINUTE_MS },
        Clock {
            name: "new key taken in",
            began,
            ended: rotation.reached(Stage::Sealed),
            limit_ms: 5 * MINUTE_MS,
        },
    ];
    let parts = [
        ("new key in use", Stage::Sealed, Stage::ServingNew, 5),
        ("service verified", Stage::ServingNew, Stage::Verified, 2),
    ];
    for (name, from, to, minutes) in parts {
        if let Some(began) = rotation.reached(from) {
            let ended = rotation.reached(to);
            clocks.push(Clock { name, began, ended, limit_ms: minutes * MINUTE_MS });
        }
    }
    clocks
}

/// Alarms that are due and were not given.
pub fn alarms(rotation: &Rotation, in_flight_old: Option<u64>, now: Timestamp) -> Vec<Alarm> {
    let mut due = Vec::new();
    for (place, clock) in clocks(rotation).iter().enumerate() {
        if clock.ended.is_none() {
            let reached = [50, 80, 100].into_iter().filter(|at| clock.used_percent(now) >= *at);
            due.extend(reached.map(|percent| Alarm::Clock { place, percent }));
        }
    }
    let inactive = rotation.reached(Stage::OldInactive);
    let dead = rotation.reached(Stage::OldProvenDead).is_some();
    if let Some(since) = inactive.filter(|_| !dead) {
        let waited = now.ms_since(since);
        due.extend((waited >= rotation.terms.death_alert_ms).then_some(Alarm::StillAlive));
        due.extend(
            (waited >= rotation.terms.death_incident_ms).then_some(Alarm::StillAliveIncident),
        );
    }
    let lane = &rotation.main;
    if lane.stage == Stage::Draining && in_flight_old != Some(0) {
        let waited = now.ms_since(lane.since);
        due.extend((waited >= rotation.terms.drain_ms_max).then_some(Alarm::NotDrained));
    }
    due.retain(|alarm| !rotation.alarmed.contains(alarm));
    due
}

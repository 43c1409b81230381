//! What is to be done next, of what is on record and how the world stands.

use super::clock::{Alarm, alarms};
use super::death::Death;
use super::record::{Lane, Rotation, Track, What};
use super::soak::{self, Soak, Traffic, soak};
use super::stage::{Kind, Stage, Step};
use crate::id::UpstreamKeyId;
use crate::time::Timestamp;

/// A backup.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Backup {
    /// When it was begun: what changed later is not in it.
    pub at: Timestamp,
    /// Whether it was restored once to see that it can be.
    pub is_verified: bool,
}

/// How the world stands.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Facts {
    /// Rotations of the seat that were completed.
    pub generation: u64,
    /// The key that new calls leave with.
    pub serving: Option<UpstreamKeyId>,
    /// Calls on their way with the old key; `None` when nobody knows.
    pub in_flight_old: Option<u64>,
    /// Whether the team has got the message that a rotation is planned.
    pub told: bool,
    /// What is wrong that can be known before anything is touched.
    pub hindrances: Vec<String>,
    /// The newest backup.
    pub backup: Option<Backup>,
    /// When a key or a setting was last changed, this rotation's own steps left out.
    pub changed_at: Timestamp,
    /// Whether Chamberlain can make a backup by itself.
    pub can_back_up: bool,
    /// Whether it can restore one by itself, too, to see that it can be.
    pub can_drill: bool,
    /// Whether Chamberlain can switch a key off at Anthropic by itself.
    pub can_deactivate: bool,
    /// What attempts with the new key have come to.
    pub new: Traffic,
}

/// What only a person can do.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Need {
    /// The team is to be told.
    Notice,
    /// So many more have to approve.
    Approvals {
        /// How many more.
        missing: u32,
    },
    /// It is not the hour.
    Window,
    /// What is wrong is to be mended.
    Mend(Vec<String>),
    /// A backup is to be made and tried.
    Backup,
    /// The new key is to be made at Anthropic and handed in.
    Key,
    /// The old key is to be switched off at Anthropic.
    Deactivate,
    /// A backup with the new key is to be made.
    BackupAgain,
    /// Calls do not end on the old key.
    Drain {
        /// How many; `None` when nobody knows.
        in_flight: Option<u64>,
    },
    /// The machine gave up.
    Help(String),
}

/// What is to be done.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Effect {
    /// Write down that this step is going to be done.
    Intend(Track, Step),
    /// Do this step; its intent is on record. It may have been done before.
    Perform(Track, Step),
    /// Ask Anthropic for something free with the new key.
    LookAtNew,
    /// Ask Anthropic for something free with the old key.
    LookAtOld,
    /// Write down that this stage is reached; nothing is done outside.
    Enter(Track, Stage),
    /// Write down that nothing more is done, because it was planned on ground that is gone.
    Discard(String),
    /// Write down that the old key is to be put into use again.
    TurnBack(String),
    /// Tell people.
    Sound(Alarm),
    /// Only a person can go on.
    Ask(Track, Need),
    /// Nothing before this moment.
    Wait(Track, Timestamp),
}

/// Decides. At most one effect for each lane, and the alarms that are due.
pub fn decide(rotation: &Rotation, facts: &Facts, now: Timestamp) -> Vec<Effect> {
    if rotation.has_ended() {
        return Vec::new();
    }
    if let Some(reason) = stale(rotation, facts) {
        return vec![Effect::Discard(reason)];
    }
    let mut effects: Vec<Effect> =
        alarms(rotation, facts.in_flight_old, now).into_iter().map(Effect::Sound).collect();
    // What cuts a leak comes before what mends the damage.
    if let Some(lane) = &rotation.cut {
        effects.extend(next(rotation, Track::Cut, lane, facts, now));
    }
    effects.extend(next(rotation, Track::Main, &rotation.main, facts, now));
    effects
}

/// Why a rotation is not to go on: it was planned before another one was completed, or before
/// somebody replaced the key in another way. Once the new key is in use it is never stale.
fn stale(rotation: &Rotation, facts: &Facts) -> Option<String> {
    let is_new = rotation.new.as_ref().is_some_and(|new| Some(&new.id) == facts.serving.as_ref());
    let is_past = rotation.kind == Kind::Emergency
        || rotation.exit.is_some()
        || rotation.reached(Stage::ServingNew).is_some();
    if is_past || is_new {
        return None;
    }
    if facts.generation != rotation.generation {
        return Some(format!(
            "another rotation of this key was completed since it was planned ({} then, {} now)",
            rotation.generation, facts.generation
        ));
    }
    match &facts.serving {
        Some(serving) if *serving == rotation.old => None,
        Some(other) => Some(format!("{other} is in use now, not {}", rotation.old)),
        None => Some(format!("{} is not in use any more", rotation.old)),
    }
}

fn next(
    rotation: &Rotation,
    track: Track,
    lane: &Lane,
    facts: &Facts,
    now: Timestamp,
) -> Option<Effect> {
    if let Some(reason) = &lane.stuck {
        return Some(Effect::Ask(track, Need::Help(reason.clone())));
    }
    if let Some(not_before) = lane.not_before.filter(|not_before| now < *not_before) {
        return Some(Effect::Wait(track, not_before));
    }
    if let Some(intent) = &lane.intent {
        return Some(Effect::Perform(track, intent.step));
    }
    if let Some(effect) = way_out(rotation, track) {
        return Some(effect);
    }
    match (rotation.kind, track) {
        (Kind::Planned, _) => planned(rotation, facts, now),
        (Kind::Emergency, Track::Main) => emergency(rotation),
        (Kind::Emergency, Track::Cut) => cut(rotation, lane, facts, now),
    }
}

/// The first step of the way out that was asked for.
fn way_out(rotation: &Rotation, track: Track) -> Option<Effect> {
    let exit = rotation.exit.as_ref().filter(|_| track == Track::Main)?;
    Some(match exit.to {
        Stage::RolledBack => Effect::Intend(track, Step::Restore),
        _ if rotation.new.is_some() => Effect::Intend(track, Step::Discard),
        to => Effect::Enter(track, to),
    })
}

fn planned(rotation: &Rotation, facts: &Facts, now: Timestamp) -> Option<Effect> {
    let track = Track::Main;
    let ask = |need| Some(Effect::Ask(track, need));
    let intend = |step| Some(Effect::Intend(track, step));
    let enter = |stage| Some(Effect::Enter(track, stage));
    let lane = &rotation.main;
    match lane.stage {
        Stage::Planned if facts.told || rotation.attested(What::Notified).is_some() => {
            enter(Stage::Notified)
        }
        Stage::Planned => ask(Need::Notice),
        Stage::Notified => gate_of_approval(rotation, now).or(enter(Stage::Approved)),
        Stage::Approved => before_the_first_touch(rotation, facts, now),
        Stage::BackedUp => enter(Stage::AwaitKey),
        Stage::AwaitKey => ask(Need::Key),
        Stage::Sealed => intend(Step::Probe),
        Stage::Probed => gates(rotation, now).or(intend(Step::WriteSinks)),
        Stage::SinksWritten => gates(rotation, now).or(intend(Step::Promote)),
        Stage::ServingNew => intend(Step::Verify),
        Stage::Soaking => watch(rotation, facts, now),
        Stage::Draining => drain(rotation, facts),
        Stage::OldInactive => see_it_dead(rotation, lane, now),
        Stage::OldProvenDead => intend(Step::Archive),
        Stage::Archived => intend(Step::Record),
        Stage::Recorded if rotation.attested(What::BackedUpAgain).is_some() => {
            enter(Stage::BackedUpAgain)
        }
        Stage::Recorded if facts.can_back_up => intend(Step::BackupAgain),
        Stage::Recorded => ask(Need::BackupAgain),
        Stage::BackedUpAgain => enter(Stage::Done),
        Stage::Verified | Stage::Declared | Stage::LocalCut => None,
        Stage::Done | Stage::Aborted | Stage::RolledBack => None,
    }
}

fn gate_of_approval(rotation: &Rotation, now: Timestamp) -> Option<Effect> {
    let standing = rotation.standing(now);
    let missing = standing.need.saturating_sub(standing.have);
    (!standing.is_enough()).then_some(Effect::Ask(Track::Main, Need::Approvals { missing }))
}

fn gate_of_window(rotation: &Rotation, now: Timestamp) -> Option<Effect> {
    let window = rotation.window.filter(|window| !window.is_open(now))?;
    Some(match now < window.start {
        true => Effect::Wait(Track::Main, window.start),
        false => Effect::Ask(Track::Main, Need::Window),
    })
}

/// What must hold until the new key is in use: an approval that has run out, or a window that has
/// closed, stops a rotation where it is.
fn gates(rotation: &Rotation, now: Timestamp) -> Option<Effect> {
    gate_of_approval(rotation, now).or_else(|| gate_of_window(rotation, now))
}

fn before_the_first_touch(rotation: &Rotation, facts: &Facts, now: Timestamp) -> Option<Effect> {
    if let Some(effect) = gates(rotation, now) {
        return Some(effect);
    }
    if !facts.hindrances.is_empty() {
        return Some(Effect::Ask(Track::Main, Need::Mend(facts.hindrances.clone())));
    }
    let kept = facts.backup.filter(|backup| backup.is_verified).map(|backup| backup.at);
    let vouched = rotation.attested(What::BackedUp).map(|attested| attested.at);
    Some(match kept.max(vouched) {
        Some(at) if at >= facts.changed_at => Effect::Enter(Track::Main, Stage::BackedUp),
        _ if facts.can_back_up && facts.can_drill => Effect::Intend(Track::Main, Step::Backup),
        _ => Effect::Ask(Track::Main, Need::Backup),
    })
}

fn watch(rotation: &Rotation, facts: &Facts, now: Timestamp) -> Option<Effect> {
    let (terms, since) = (&rotation.terms, rotation.main.since);
    match soak(terms, since, facts.new, rotation.probes, rotation.before, now) {
        Soak::Breached(reason) => Some(Effect::TurnBack(reason)),
        Soak::Passed => Some(Effect::Enter(Track::Main, Stage::Draining)),
        Soak::NotYet => {
            let enough =
                facts.new.succeeded.saturating_add(rotation.probes) >= terms.soak_successes;
            let end = since.plus_ms(i64::try_from(terms.soak_ms).unwrap_or(i64::MAX));
            if enough {
                return Some(Effect::Wait(Track::Main, end));
            }
            Some(look(rotation, since, soak::probe_pause_ms(terms), now, Effect::LookAtNew))
        }
    }
}

fn drain(rotation: &Rotation, facts: &Facts) -> Option<Effect> {
    let track = Track::Main;
    let is_new = rotation.new.as_ref().map(|new| &new.id) == facts.serving.as_ref();
    if !is_new {
        // Somebody put another key into use meanwhile; nothing is switched off on that ground.
        let why = "the new key is not the one in use; put it into use again, or roll back";
        return Some(Effect::Ask(track, Need::Help(why.to_owned())));
    }
    Some(match facts.in_flight_old {
        Some(0) if rotation.attested(What::OldInactive).is_some() => {
            Effect::Enter(track, Stage::OldInactive)
        }
        Some(0) if facts.can_deactivate => Effect::Intend(track, Step::Deactivate),
        Some(0) => Effect::Ask(track, Need::Deactivate),
        in_flight => Effect::Ask(track, Need::Drain { in_flight }),
    })
}

fn see_it_dead(rotation: &Rotation, lane: &Lane, now: Timestamp) -> Option<Effect> {
    let track = if rotation.cut.is_some() { Track::Cut } else { Track::Main };
    if rotation.death.is_proven(&rotation.terms) {
        return Some(Effect::Enter(track, Stage::OldProvenDead));
    }
    let pause_ms = Death::pause_ms(&rotation.terms);
    Some(match look(rotation, lane.since, pause_ms, now, Effect::LookAtOld) {
        Effect::Wait(_, until) => Effect::Wait(track, until),
        effect => effect,
    })
}

/// Looks when it is time: at once in a new stage, then after each pause.
fn look(
    rotation: &Rotation,
    since: Timestamp,
    pause_ms: u64,
    now: Timestamp,
    effect: Effect,
) -> Effect {
    let pause_ms = i64::try_from(pause_ms).unwrap_or(i64::MAX);
    match rotation.looked_at.filter(|looked_at| *looked_at >= since) {
        Some(looked_at) if now < looked_at.plus_ms(pause_ms) => {
            Effect::Wait(Track::Main, looked_at.plus_ms(pause_ms))
        }
        _ => effect,
    }
}

fn emergency(rotation: &Rotation) -> Option<Effect> {
    let track = Track::Main;
    match rotation.main.stage {
        Stage::AwaitKey => Some(Effect::Ask(track, Need::Key)),
        Stage::Sealed => Some(Effect::Intend(track, Step::Probe)),
        Stage::Probed => Some(Effect::Intend(track, Step::Promote)),
        Stage::ServingNew => Some(Effect::Intend(track, Step::Verify)),
        Stage::Verified => {
            let dead = rotation.cut.as_ref().is_some_and(|cut| cut.stage == Stage::OldProvenDead);
            dead.then_some(Effect::Intend(track, Step::Archive))
        }
        Stage::Archived => Some(Effect::Intend(track, Step::Record)),
        _ => None,
    }
}

fn cut(rotation: &Rotation, lane: &Lane, facts: &Facts, now: Timestamp) -> Option<Effect> {
    let track = Track::Cut;
    match lane.stage {
        Stage::Declared => Some(Effect::Intend(track, Step::Cut)),
        Stage::LocalCut if rotation.attested(What::OldInactive).is_some() => {
            Some(Effect::Enter(track, Stage::OldInactive))
        }
        Stage::LocalCut if facts.can_deactivate => Some(Effect::Intend(track, Step::Deactivate)),
        Stage::LocalCut => Some(Effect::Ask(track, Need::Deactivate)),
        Stage::OldInactive => see_it_dead(rotation, lane, now),
        _ => None,
    }
}

//! Rotations as people are shown them, and told of them.

use chamberlain_core::record::{Notice, Severity};
use chamberlain_core::rotation::{Alarm, Effect, Need, Rotation, Track, clocks, decide};
use chamberlain_store::{Change, NOTIFY, StoreFault};
use serde_json::{Map, json};

use super::{Commander, from_store};
use crate::error::CommandError;
use crate::reply::{self, RotationClock, RotationLine};

impl Commander {
    pub(super) fn rotation_view(&self, rotation: &Rotation) -> reply::Rotation {
        let now = self.now();
        let standing = rotation.standing(now);
        let house = self.house().unwrap_or_default();
        let old = house.upstream_keys.iter().find(|row| row.id == rotation.old);
        let stuck = [Some(&rotation.main), rotation.cut.as_ref()];
        let stuck = stuck.into_iter().flatten().find_map(|lane| lane.stuck.clone());
        let clock = |clock: chamberlain_core::rotation::Clock| RotationClock {
            name: clock.name.to_owned(),
            ran_s: clock.ended.unwrap_or(now).ms_since(clock.began) / 1_000,
            limit_s: clock.limit_ms / 1_000,
            runs: clock.ended.is_none(),
        };
        let state = match (&stuck, rotation.main.stage) {
            (Some(_), _) => "stuck".to_owned(),
            (None, stage) => stage.to_string(),
        };
        reply::Rotation {
            id: rotation.id.to_string(),
            kind: rotation.kind,
            environment: rotation.seat.as_ref().map(ToString::to_string),
            old_key: rotation.old.to_string(),
            old_name: old.map(|row| row.name.clone()).unwrap_or_default(),
            new_key: rotation.new.as_ref().map(|new| new.id.to_string()),
            new_fingerprint: rotation.new.as_ref().map(|new| new.fingerprint.clone()),
            state,
            stage: rotation.main.stage,
            since: rotation.main.since.into(),
            cut: rotation.cut.as_ref().map(|lane| lane.stage),
            waits_for: self.waits_for(rotation),
            stuck,
            by: rotation.ordered.by.clone(),
            at: rotation.ordered.at.into(),
            reason: rotation.ordered.reason.clone(),
            approvals: standing.have,
            approvals_needed: standing.need,
            review_by: standing.review_by.map(Into::into),
            ended_because: rotation.exit.as_ref().map(|exit| exit.reason.clone()),
            clocks: clocks(rotation).into_iter().map(clock).collect(),
            timeline: Vec::new(),
        }
    }

    fn waits_for(&self, rotation: &Rotation) -> Vec<String> {
        let Ok(facts) = self.rotation_facts(rotation) else { return Vec::new() };
        let effects = decide(rotation, &facts, self.now());
        let text = |effect: &Effect| match effect {
            Effect::Ask(track, need) => Some(need_text(rotation, *track, need, facts.can_back_up)),
            Effect::Wait(_, until) => Some(format!("{until}")),
            _ => None,
        };
        effects.iter().filter_map(text).collect()
    }

    pub(super) fn timeline(&self, rotation: &Rotation) -> Result<Vec<RotationLine>, CommandError> {
        let steps = self.store.rotation_steps(&rotation.id).map_err(from_store)?;
        let line = |step: chamberlain_store::RotationStep| RotationLine {
            at: step.at.into(),
            actor: step.actor,
            kind: step.kind,
            stage: step.stage,
            detail: step.detail,
            audit_seq: step.audit_seq,
        };
        Ok(steps.into_iter().map(line).collect())
    }
}

fn need_text(rotation: &Rotation, track: Track, need: &Need, can_back_up: bool) -> String {
    let id = &rotation.id;
    match need {
        Need::Notice => format!(
            "somebody to tell the team, and to say so: chamberlain rotation vouch {id} notified \
             --note ..."
        ),
        Need::Approvals { missing } => format!(
            "{missing} more to approve: chamberlain rotation approve {id} (docs/rotation.md says \
             who may)"
        ),
        Need::Window => "a maintenance window: this one is over. Abort, and start anew".to_owned(),
        Need::Mend(wrong) => format!("somebody to mend: {}", wrong.join("; ")),
        Need::Backup if can_back_up => format!(
            "a backup that is newer than the last change of a key and was restored once. Chamberlain \
             makes them and cannot read them: chamberlain backup drill --identity FILE, or \
             chamberlain rotation vouch {id} backed_up --note ..."
        ),
        Need::Backup => format!(
            "a backup that was restored once. Chamberlain makes none, because backup.folder is not \
             configured: chamberlain rotation vouch {id} backed_up --note ..."
        ),
        Need::Key => format!(
            "the new key, made in the Claude Console in the same workspace: chamberlain rotation \
             give-key {id}"
        ),
        Need::Deactivate => format!(
            "the key {} to be switched off in the Claude Console (API keys, Disable): then \
             chamberlain rotation vouch {id} old_inactive --note ...",
            rotation.old
        ),
        Need::BackupAgain => format!(
            "a backup with the new key. Chamberlain makes none, because backup.folder is not \
             configured: chamberlain rotation vouch {id} backed_up_2 --note ..."
        ),
        Need::Drain { in_flight: Some(count) } => {
            format!("{count} calls to end that are on their way with the old key")
        }
        Need::Drain { in_flight: None } => "calls to end; how many is not known".to_owned(),
        Need::Help(why) => {
            let lane = if track == Track::Cut { "cutting the old key off: " } else { "" };
            format!("help: {lane}{why} (then chamberlain rotation resume {id})")
        }
    }
}

pub(super) fn alarm_text(rotation: &Rotation, alarm: Alarm) -> String {
    match alarm {
        Alarm::Clock { place, percent } => {
            let clocks = clocks(rotation);
            let clock = clocks.get(place);
            let name = clock.map_or("a clock", |clock| clock.name);
            let minutes = clock.map_or(0, |clock| clock.limit_ms / 60_000);
            format!("{name}: {percent} % of {minutes} min are used")
        }
        Alarm::StillAlive => "the old key was switched off and is not proven dead".to_owned(),
        Alarm::StillAliveIncident => {
            "the old key was switched off and still is not proven dead: treat it as an incident"
                .to_owned()
        }
        Alarm::NotDrained => "calls do not end on the old key".to_owned(),
    }
}

/// Queues what people are to be told of, in the transaction of its cause.
pub(super) fn tell(
    change: &mut Change<'_>,
    cause: u64,
    rotation: &Rotation,
    kind: &str,
    detail: &str,
) -> Result<(), StoreFault> {
    let is_stuck = [Some(&rotation.main), rotation.cut.as_ref()]
        .into_iter()
        .flatten()
        .any(|lane| lane.stuck.is_some());
    let emergency = rotation.kind == chamberlain_core::rotation::Kind::Emergency;
    let severity = match kind {
        "begun" if emergency => Severity::Critical,
        "begun" | "approved" => Severity::Warning,
        "alarm" | "turned_back" => Severity::High,
        "failed" | "refused" if is_stuck => Severity::High,
        "refused" => Severity::Warning,
        _ if rotation.has_ended() => Severity::Info,
        _ => return Ok(()),
    };
    let stage = rotation.main.stage;
    let message =
        format!("Rotation {} of {} is at {stage}: {kind}. {detail}", rotation.id, rotation.old);
    let mut facts = Map::new();
    facts.insert("rotation".to_owned(), json!(rotation.id));
    facts.insert("old_key".to_owned(), json!(rotation.old));
    facts.insert("environment".to_owned(), json!(rotation.seat));
    facts.insert("stage".to_owned(), json!(stage));
    facts.insert("by".to_owned(), json!(rotation.ordered.by));
    let notice = Notice {
        at: change.now(),
        kind: format!("rotation.{kind}"),
        severity,
        subject: format!("upstream key {}", rotation.old),
        message,
        facts,
        notify: true,
    };
    let payload = serde_json::to_value(&notice)
        .map_err(|error| StoreFault::Mistake(format!("a notice as JSON: {error}")))?;
    change.effect(cause, NOTIFY, &payload).map(drop)
}

//! Whole rotations as they are decided, one line for each effect; and what people may not do.

use super::*;
use crate::id::{EnvironmentName, RotationId, UpstreamKeyId};
use crate::time::Timestamp;

const START: Timestamp = Timestamp::from_ms(1_795_435_200_000);

fn ordered() -> Ordered {
    Ordered { by: "ada".to_owned(), at: START, reason: "scheduled".to_owned() }
}

fn begun(kind: Kind) -> Rotation {
    let seat = Some(EnvironmentName::new("production"));
    let (id, old) = (RotationId::new("rot_1"), UpstreamKeyId::new("uk_old"));
    let mut rotation = Rotation::order(id, kind, seat, old, 3, ordered());
    rotation.approvals_needed = if kind == Kind::Planned { 2 } else { 0 };
    rotation
}

fn facts() -> Facts {
    Facts {
        generation: 3,
        serving: Some(UpstreamKeyId::new("uk_old")),
        in_flight_old: Some(2),
        told: false,
        hindrances: vec!["the sink ci has no place to write to".to_owned()],
        backup: None,
        changed_at: START,
        can_back_up: false,
        can_drill: false,
        can_deactivate: true,
        new: Traffic::default(),
    }
}

fn approval(by: &str, at: Timestamp) -> Approval {
    Approval { by: by.to_owned(), at, means: Means::Command }
}

fn vouch(what: What, at: Timestamp) -> Attested {
    Attested { what, by: "ada".to_owned(), at, note: "seen".to_owned() }
}

fn new_key() -> NewKey {
    NewKey { id: UpstreamKeyId::new("uk_new"), fingerprint: "00aa".to_owned() }
}

/// A rotation that is lived through, with a line for each thing that was decided.
struct Life {
    rotation: Rotation,
    facts: Facts,
    now: Timestamp,
    lines: Vec<String>,
}

impl Life {
    fn of(rotation: Rotation) -> Life {
        Life { rotation, facts: facts(), now: START, lines: Vec::new() }
    }

    fn line(&mut self, text: &str) {
        let s = self.now.ms_since(START) / 1_000;
        let cut = self.rotation.cut.as_ref().map(|lane| format!("+{}", lane.stage));
        let stage = format!("{}{}", self.rotation.main.stage, cut.unwrap_or_default());
        self.lines.push(format!("{s:>5} s  {stage:<32} {text}"));
    }

    fn said(&mut self, text: &str, after: Result<Rotation, NotAllowed>) {
        self.line(&format!("a person: {text}"));
        self.rotation = after.unwrap();
    }

    /// Goes on until only a person, or time, can.
    fn run(&mut self) {
        for _ in 0..200 {
            let effects = decide(&self.rotation, &self.facts, self.now);
            let Some(effect) = effects
                .iter()
                .find(|effect| !matches!(effect, Effect::Ask(..) | Effect::Wait(..)))
                .cloned()
            else {
                for effect in effects {
                    self.line(&format!("{effect:?}"));
                }
                return;
            };
            self.line(&format!("{effect:?}"));
            self.perform(effect);
        }
        panic!("it does not come to rest:\n{}", self.lines.join("\n"));
    }

    fn perform(&mut self, effect: Effect) {
        let (rotation, now) = (&self.rotation, self.now);
        self.rotation = match effect {
            Effect::Intend(track, step) => rotation.intended(track, step, now),
            Effect::Perform(track, step) => {
                match step {
                    Step::Promote => self.facts.serving = Some(UpstreamKeyId::new("uk_new")),
                    Step::Cut => self.facts.serving = None,
                    Step::Restore => self.facts.serving = Some(UpstreamKeyId::new("uk_old")),
                    _ => {}
                }
                rotation.settled(track, &Outcome::Done, now)
            }
            Effect::LookAtNew => rotation.looked_at_new(&ProbeAnswer::Works, now),
            Effect::LookAtOld => rotation.looked_at_old(&ProbeAnswer::Rejected, now),
            Effect::Enter(track, stage) => rotation.entered(track, stage, now),
            Effect::Discard(why) => rotation.discarded(&why),
            Effect::TurnBack(why) => rotation.turned_back(&why),
            Effect::Sound(alarm) => rotation.sounded(alarm),
            Effect::Ask(..) | Effect::Wait(..) => unreachable!("not performed"),
        };
    }

    fn wait(&mut self, ms: i64) {
        self.now = self.now.plus_ms(ms);
        self.run();
    }

    fn told(&self) -> String {
        self.lines.join("\n")
    }
}

#[test]
fn a_planned_rotation_from_the_first_word_to_the_last() {
    let mut rotation = begun(Kind::Planned);
    let start = START.plus_ms(3_600_000);
    rotation.window = Some(MaintenanceWindow { start, end: start.plus_ms(3_600_000) });
    let mut life = Life::of(rotation);
    life.run();
    life.facts.told = true;
    life.run();
    let approved = life.rotation.approved(approval("bob", life.now), life.now);
    life.said("bob approves", approved);
    life.wait(60_000);
    let approved = life.rotation.approved(approval("cyd", life.now), life.now);
    life.said("cyd approves", approved);
    life.run();
    life.now = start.plus_ms(-1);
    life.run();
    life.wait(1);
    life.facts.hindrances.clear();
    life.run();
    let vouched = life.rotation.vouched(vouch(What::BackedUp, life.now));
    life.said("there is a backup, restored once", vouched);
    life.run();
    let given = life.rotation.given(new_key(), life.now);
    life.said("here is the new key", given);
    life.run();
    for _ in 0..30 {
        life.wait(36_000);
    }
    life.facts.in_flight_old = Some(0);
    life.run();
    for _ in 0..3 {
        life.wait(30_000);
    }
    let vouched = life.rotation.vouched(vouch(What::BackedUpAgain, life.now));
    life.said("there is a backup of it all", vouched);
    life.run();
    assert_eq!(life.rotation.main.stage, Stage::Done);
    insta::assert_snapshot!(life.told());
}

#[test]
fn an_emergency_from_the_first_word_to_the_last() {
    let mut life = Life::of(begun(Kind::Emergency));
    life.run();
    life.wait(150_000);
    let given = life.rotation.given(new_key(), life.now);
    life.said("here is the new key", given);
    life.run();
    life.wait(30_000);
    life.wait(30_000);
    assert_eq!(life.rotation.main.stage, Stage::Done);
    insta::assert_snapshot!(life.told());
}

#[test]
fn without_a_new_key_the_clocks_of_an_emergency_give_alarm() {
    let mut life = Life::of(begun(Kind::Emergency));
    life.facts.can_deactivate = false;
    for _ in 0..20 {
        life.wait(60_000);
    }
    let alarms: Vec<_> = life.lines.iter().filter(|line| line.contains("Sound")).collect();
    let text = alarms.iter().map(|line| line.as_str()).collect::<Vec<_>>().join("\n");
    insta::assert_snapshot!(text);
}

fn at(stage: Stage) -> Rotation {
    let mut rotation = begun(Kind::Planned);
    rotation.approvals_needed = 0;
    rotation.new = Some(new_key());
    if (Stage::ServingNew..=Stage::BackedUpAgain).contains(&stage) {
        rotation = rotation.entered(Track::Main, Stage::ServingNew, START);
    }
    rotation.entered(Track::Main, stage, START)
}

fn effect(rotation: &Rotation, facts: &Facts, now: Timestamp) -> Effect {
    decide(rotation, facts, now).pop().unwrap()
}

fn serving_new() -> Facts {
    Facts { serving: Some(UpstreamKeyId::new("uk_new")), ..facts() }
}

#[test]
fn who_asked_does_not_approve_and_nobody_counts_twice() {
    let rotation = begun(Kind::Planned).entered(Track::Main, Stage::Notified, START);
    assert!(rotation.approved(approval("ada", START), START).is_err());
    let once = rotation.approved(approval("bob", START), START).unwrap();
    assert!(once.approved(approval("bob", START), START).is_err());
    let four_hours = START.plus_ms(4 * 3_600_000);
    assert_eq!(once.standing(four_hours.plus_ms(-1)).have, 1);
    assert_eq!(once.standing(four_hours).have, 0, "an approval counts for four hours");
    let twice = once.approved(approval("cyd", START), START).unwrap();
    assert!(twice.standing(START).is_enough() && !once.standing(START).is_enough());
    assert!(!twice.standing(four_hours).is_enough());
    let glass = |reason: &str| Approval {
        means: Means::BrokenGlass { reason: reason.to_owned() },
        ..approval("ada", START)
    };
    assert!(rotation.approved(glass(" "), START).is_err(), "without a reason");
    let broken = rotation.approved(glass("nobody else is awake"), START).unwrap().standing(START);
    assert!(broken.is_enough());
    assert_eq!(broken.review_by, Some(START.plus_ms(24 * 3_600_000)));
}

#[test]
fn an_approval_that_runs_out_stops_it_before_the_new_key_is_used() {
    let mut rotation = at(Stage::SinksWritten);
    rotation.approvals_needed = 2;
    let rotation = rotation.approved(approval("bob", START), START).unwrap();
    let rotation = rotation.approved(approval("cyd", START), START).unwrap();
    let now = START.plus_ms(4 * 3_600_000);
    let promote = Effect::Intend(Track::Main, Step::Promote);
    assert_eq!(effect(&rotation, &facts(), now.plus_ms(-1)), promote);
    let missing = Effect::Ask(Track::Main, Need::Approvals { missing: 2 });
    assert_eq!(effect(&rotation, &facts(), now), missing);
}

#[test]
fn a_backup_older_than_the_last_change_is_none() {
    let rotation = at(Stage::Approved);
    let mut facts = Facts { hindrances: Vec::new(), ..facts() };
    let ask = Effect::Ask(Track::Main, Need::Backup);
    assert_eq!(effect(&rotation, &facts, START), ask);
    facts.backup = Some(Backup { at: START.plus_ms(-1), is_verified: true });
    assert_eq!(effect(&rotation, &facts, START), ask, "older");
    facts.backup = Some(Backup { at: START, is_verified: false });
    assert_eq!(effect(&rotation, &facts, START), ask, "never restored");
    facts.can_back_up = true;
    facts.can_drill = false;
    assert_eq!(effect(&rotation, &facts, START), ask, "made here and never restored here");
    facts.can_drill = true;
    let make = Effect::Intend(Track::Main, Step::Backup);
    assert_eq!(effect(&rotation, &facts, START), make);
    facts.backup = Some(Backup { at: START, is_verified: true });
    let enter = Effect::Enter(Track::Main, Stage::BackedUp);
    assert_eq!(effect(&rotation, &facts, START), enter);
}

#[test]
fn a_step_is_tried_five_times_and_then_a_person_is_asked() {
    let mut rotation = at(Stage::Sealed);
    let mut now = START;
    let mut tries = 0;
    // An hour of a provider that answers 500.
    for _ in 0..3_600 {
        match effect(&rotation, &facts(), now) {
            Effect::Intend(track, step) => rotation = rotation.intended(track, step, now),
            Effect::Perform(track, Step::Probe) => {
                tries += 1;
                rotation = rotation.settled(track, &Outcome::Failed("500".to_owned()), now);
            }
            Effect::Wait(..) => now = now.plus_ms(1_000),
            Effect::Ask(_, Need::Help(why)) => {
                assert_eq!(why, "tried 5 times: 500");
                now = now.plus_ms(1_000);
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(tries, 5);
    let again = rotation.resumed().unwrap();
    assert_eq!(effect(&again, &facts(), now), Effect::Perform(Track::Main, Step::Probe));
}

#[test]
fn what_anthropic_refused_is_not_taken_again() {
    let rotation = at(Stage::Sealed).intended(Track::Main, Step::Probe, START);
    let refused = Outcome::Refused("401".to_owned());
    let rotation = rotation.settled(Track::Main, &refused, START);
    assert_eq!((rotation.main.stage, &rotation.new), (Stage::AwaitKey, &None));
    assert!(rotation.given(new_key(), START).is_err());
    let other = NewKey { fingerprint: "00bb".to_owned(), ..new_key() };
    assert_eq!(rotation.given(other, START).unwrap().main.stage, Stage::Sealed);
}

#[test]
fn stale_intents_are_thrown_away() {
    for (intent, generation, serving) in [
        (None, 4, "uk_old"),
        (Some(Step::Probe), 4, "uk_old"),
        (Some(Step::Promote), 4, "uk_other"),
        (Some(Step::WriteSinks), 3, "uk_other"),
    ] {
        let mut rotation = at(Stage::Probed);
        if let Some(step) = intent {
            rotation = rotation.intended(Track::Main, step, START);
        }
        let serving = Some(UpstreamKeyId::new(serving));
        let facts = Facts { generation, serving, ..facts() };
        let Effect::Discard(why) = effect(&rotation, &facts, START) else {
            panic!("{intent:?} is not thrown away");
        };
        let rotation = rotation.discarded(&why);
        assert_eq!(rotation.main.intent, None);
        let discard = Effect::Intend(Track::Main, Step::Discard);
        assert_eq!(effect(&rotation, &facts, START), discard, "and its key with it");
    }
    let promoting = at(Stage::SinksWritten).intended(Track::Main, Step::Promote, START);
    let done = Facts { generation: 3, ..serving_new() };
    let perform = Effect::Perform(Track::Main, Step::Promote);
    assert_eq!(effect(&promoting, &done, START), perform, "done before the crash");
}

#[test]
fn a_key_that_is_not_the_one_that_leaves_is_taken_back() {
    let rotation = at(Stage::ServingNew).intended(Track::Main, Step::Verify, START);
    let wrong = Outcome::Refused("production leaves with 00cc, not 00aa".to_owned());
    let rotation = rotation.settled(Track::Main, &wrong, START);
    let restore = Effect::Intend(Track::Main, Step::Restore);
    assert_eq!(effect(&rotation, &serving_new(), START), restore);
}

#[test]
fn a_breach_of_the_watch_goes_back_by_itself() {
    let mut rotation = at(Stage::Soaking);
    rotation.begun.push(Step::Promote);
    let facts = Facts { new: Traffic { succeeded: 10, failed: 3, rejected: 0 }, ..serving_new() };
    let Effect::TurnBack(why) = effect(&rotation, &facts, START) else { panic!("it goes on") };
    let rotation = rotation.turned_back(&why);
    let restore = Effect::Intend(Track::Main, Step::Restore);
    assert_eq!(effect(&rotation, &facts, START), restore);
    let rejected = at(Stage::Soaking).looked_at_new(&ProbeAnswer::Rejected, START);
    assert_eq!(effect(&rejected, &serving_new(), START), restore);
}

#[test]
fn nothing_is_switched_off_while_calls_are_on_their_way() {
    let rotation = at(Stage::Draining);
    let with = |in_flight_old| Facts { in_flight_old, ..serving_new() };
    let deactivate = Effect::Intend(Track::Main, Step::Deactivate);
    assert_eq!(effect(&rotation, &with(Some(0)), START), deactivate);
    for in_flight in [None, Some(1)] {
        let later = START.plus_ms(3_600_000);
        let ask = Effect::Ask(Track::Main, Need::Drain { in_flight });
        assert_eq!(effect(&rotation, &with(in_flight), later), ask, "however long it takes");
        let alarmed = decide(&rotation, &with(in_flight), later);
        assert_eq!(alarmed[0], Effect::Sound(Alarm::NotDrained));
    }
    let other = Facts { serving: None, ..with(Some(0)) };
    assert!(matches!(effect(&rotation, &other, START), Effect::Ask(_, Need::Help(_))));
    let by_hand = Facts { can_deactivate: false, ..with(Some(0)) };
    let ask = Effect::Ask(Track::Main, Need::Deactivate);
    assert_eq!(effect(&rotation, &by_hand, START), ask);
    let rotation = rotation.vouched(vouch(What::OldInactive, START)).unwrap();
    let enter = Effect::Enter(Track::Main, Stage::OldInactive);
    assert_eq!(effect(&rotation, &by_hand, START), enter);
}

#[test]
fn the_ways_out_close_behind_it() {
    let exit = |to| Exit { to, by: "ada".to_owned(), reason: "changed her mind".to_owned() };
    let (abort, back) = (exit(Stage::Aborted), exit(Stage::RolledBack));
    let early = at(Stage::Probed);
    assert!(early.asked_out(abort.clone()).is_ok() && early.asked_out(back.clone()).is_err());
    let promoting = at(Stage::SinksWritten).intended(Track::Main, Step::Promote, START);
    assert!(
        promoting.asked_out(abort.clone()).is_err() && promoting.asked_out(back.clone()).is_ok()
    );
    let deactivating = promoting.entered(Track::Main, Stage::Draining, START).intended(
        Track::Main,
        Step::Deactivate,
        START,
    );
    assert!(deactivating.asked_out(abort.clone()).is_err());
    assert!(deactivating.asked_out(back.clone()).is_err());
    let leaving = promoting.asked_out(back).unwrap().entered(Track::Main, Stage::Draining, START);
    assert!(leaving.vouched(vouch(What::OldInactive, START)).is_err(), "it is needed again");
    assert!(begun(Kind::Emergency).asked_out(abort).is_err());
}

#[test]
fn one_rotation_at_a_time_but_an_emergency_takes_the_place_of_a_plan() {
    let (old, plan) = (UpstreamKeyId::new("uk_old"), at(Stage::Soaking));
    let seat = Some(EnvironmentName::new("production"));
    let other = (Some(EnvironmentName::new("staging")), UpstreamKeyId::new("uk_staging"));
    let ask = |kind, open: &Rotation, seat: &Option<EnvironmentName>, key: &UpstreamKeyId| {
        may_begin([open], kind, seat.as_ref(), key).map(|found| found.map(|it| it.id.clone()))
    };
    assert!(ask(Kind::Planned, &plan, &seat, &old).is_err());
    assert!(ask(Kind::Planned, &plan, &other.0, &old).is_err(), "the same key");
    assert!(ask(Kind::Planned, &plan, &other.0, &new_key().id).is_err(), "its new key");
    assert_eq!(ask(Kind::Planned, &plan, &other.0, &other.1), Ok(None));
    assert_eq!(ask(Kind::Emergency, &plan, &seat, &old), Ok(Some(plan.id.clone())));
    assert!(ask(Kind::Emergency, &begun(Kind::Emergency), &seat, &old).is_err());
    let ended = plan.superseded(&RotationId::new("rot_2"), START);
    assert_eq!(ask(Kind::Planned, &ended, &seat, &old), Ok(None));
}

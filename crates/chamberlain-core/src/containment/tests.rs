use proptest::prelude::*;

use super::*;
use crate::id::{ContainmentId, EnvironmentName, UpstreamKeyId, VirtualKeyId};
use crate::rotation::{Outcome, ProbeAnswer};
use crate::time::Timestamp;

const NOON: Timestamp = Timestamp::from_ms(1_795_435_200_000);

fn declared(has_value: bool) -> Declared {
    Declared {
        by: "ada".to_owned(),
        at: NOON,
        reason: Reason::PublicRepository,
        note: None,
        served: vec![EnvironmentName::new("production")],
        in_flight: Some(3),
        has_value,
    }
}

fn of_key(has_value: bool) -> Containment {
    let subject = Subject::UpstreamKey(UpstreamKeyId::new("uk_1"));
    Containment::declare(ContainmentId::new("con_1"), subject, declared(has_value))
}

fn of_virtual_key() -> Containment {
    let subject = Subject::VirtualKey(VirtualKeyId::new("k1"));
    Containment::declare(ContainmentId::new("con_2"), subject, declared(false))
}

/// Does the most urgent thing, with that outcome and that answer.
fn step(it: &Containment, can_ask: bool, outcome: &Outcome, now: Timestamp) -> Containment {
    let waits = |effect: &Effect| matches!(effect, Effect::Ask(_) | Effect::Wait(_));
    match decide(it, can_ask, now).into_iter().find(|effect| !waits(effect)) {
        None | Some(Effect::Ask(_) | Effect::Wait(_)) => it.clone(),
        Some(Effect::Intend(work)) => it.intended(work, now),
        Some(Effect::Perform(work)) => it.settled(work, outcome, now),
        Some(Effect::Look) => it.looked(&ProbeAnswer::Rejected, now),
        Some(Effect::Sound(alarm)) => it.sounded(alarm),
        Some(Effect::End) => it.ended(now),
    }
}

fn at(seconds: i64) -> Timestamp {
    NOON.plus_ms(seconds * 1_000)
}

fn run(it: Containment, can_ask: bool, seconds: i64) -> Containment {
    (0..seconds * 10)
        .fold(it, |it, tenth| step(&it, can_ask, &Outcome::Done, NOON.plus_ms(tenth * 100)))
}

#[test]
fn a_reason_is_one_of_a_closed_list() {
    for reason in Reason::ALL {
        assert_eq!(Reason::read(reason.word()), Some(reason));
        let json = serde_json::to_string(&reason).unwrap();
        assert_eq!(json, format!("\"{reason}\""));
    }
    assert_eq!(Reason::read("Public repository"), Some(Reason::PublicRepository));
    assert_eq!(Reason::read("it felt wrong"), None);
}

#[test]
fn the_cut_comes_first_and_waits_for_nothing() {
    let it = of_key(true);
    assert_eq!(decide(&it, false, NOON), [Effect::Perform(Work::Cut)]);
    assert_eq!(decide(&it, true, NOON), [Effect::Perform(Work::Cut)]);
}

#[test]
fn each_piece_of_work_goes_on_while_another_fails() {
    let it = of_key(true).settled(Work::Cut, &Outcome::Done, NOON);
    let it = it.intended(Work::SwitchOff, NOON);
    let failed = it.settled(Work::SwitchOff, &Outcome::Failed("no answer".to_owned()), NOON);
    let due = decide(&failed, true, NOON);
    assert_eq!(due[0], Effect::Wait(at(1)));
    assert_eq!(due[1..], [Effect::Intend(Work::Report), Effect::Intend(Work::Usage)]);
    assert_eq!(decide(&failed, true, at(1))[0], Effect::Perform(Work::SwitchOff));
}

#[test]
fn switching_off_is_tried_for_as_long_as_it_takes() {
    let mut it = of_key(true).settled(Work::Cut, &Outcome::Done, NOON);
    it = it.intended(Work::SwitchOff, NOON);
    let mut now = NOON;
    let mut told = 0;
    for _ in 0..100 {
        it = it.settled(Work::SwitchOff, &Outcome::Failed("down".to_owned()), now);
        let due = decide(&it, true, now);
        let Effect::Wait(next) = due[0] else { panic!("{due:?}") };
        assert!(next.ms_since(now) <= 60_000);
        for alarm in alarms(&it, now) {
            told += u32::from(matches!(alarm, Alarm::Trouble { .. }));
            it = it.sounded(alarm);
        }
        now = next;
        assert_eq!(decide(&it, true, now)[0], Effect::Perform(Work::SwitchOff));
    }
    assert_eq!(told, 1, "people are told once that it does not work");
}

#[test]
fn without_the_admin_api_a_person_switches_it_off() {
    let it = run(of_key(true), false, 100);
    assert!(decide(&it, false, at(100)).contains(&Effect::Ask(Work::SwitchOff)));
    assert_eq!(it.ended_at, None);
    let off = it.switched_off_by_hand("ada", "in the Console", at(100)).unwrap();
    assert!(off.switched_off_by_hand("bob", "me too", at(101)).is_err());
    let end = (0..2_000)
        .fold(off, |it, tenth| step(&it, false, &Outcome::Done, at(100).plus_ms(tenth * 100)));
    assert!(end.ended_at.is_some(), "it ends without what Anthropic reports");
    assert!(end.done_at(Work::Erase) >= end.dead_at && end.dead_at.is_some());
}

#[test]
fn a_key_is_erased_only_when_it_was_seen_dead() {
    let it = run(of_key(true), true, 30);
    assert!(it.is_done(Work::SwitchOff) && !it.is_done(Work::Erase));
    let it = run(of_key(true), true, 70);
    assert!(it.dead_at.is_some() && it.is_done(Work::Erase) && it.ended_at.is_some());
}

#[test]
fn a_key_whose_value_is_not_here_is_switched_off_all_the_same() {
    let it = run(of_key(false), true, 5);
    assert!(it.ended_at.is_some() && it.dead_at.is_none());
    assert!(!it.tasks.contains_key(&Work::Erase));
}

#[test]
fn a_virtual_key_is_cut_and_reported() {
    let it = run(of_virtual_key(), true, 2);
    assert!(it.ended_at.is_some());
    assert_eq!(it.tasks.keys().copied().collect::<Vec<_>>(), [Work::Cut, Work::Report]);
    assert!(it.switched_off_by_hand("ada", "how?", NOON).is_err());
}

#[test]
fn what_is_stuck_waits_for_a_person_and_is_tried_again() {
    let it = of_key(true).settled(Work::Cut, &Outcome::Done, NOON);
    assert!(it.resumed().is_err());
    let it = it.intended(Work::SwitchOff, NOON);
    let stuck = it.settled(Work::SwitchOff, &Outcome::Refused("several".to_owned()), NOON);
    assert!(decide(&stuck, true, at(600)).contains(&Effect::Ask(Work::SwitchOff)));
    assert_eq!(alarms(&stuck, NOON), [Alarm::Trouble { work: Work::SwitchOff }]);
    let again = stuck.resumed().unwrap();
    assert_eq!(decide(&again, true, NOON)[0], Effect::Intend(Work::SwitchOff));
}

#[test]
fn clocks_say_whose_turn_it_is() {
    let names = |can_ask| -> Vec<(Who, &str, u64)> {
        let all = deadlines(&of_key(true), can_ask);
        all.into_iter().map(|it| (it.who, it.clock.name, it.clock.limit_ms / 1_000)).collect()
    };
    assert_eq!(
        names(true),
        [
            (Who::Chamberlain, "contained", 900),
            (Who::Chamberlain, "no call leaves", 1),
            (Who::Chamberlain, "switched off at Anthropic", 10),
            (Who::Chamberlain, "exposure reported", 60),
            (Who::Chamberlain, "usage at Anthropic stored", 60),
        ]
    );
    assert_eq!(names(false)[0].0, Who::Operator);
    assert_eq!(names(false)[2], (Who::Operator, "switched off at Anthropic", 300));
    let it = of_key(true);
    assert_eq!(alarms(&it, at(449)), []);
    assert_eq!(alarms(&it, at(450)), [Alarm::Clock { percent: 50 }]);
    assert_eq!(alarms(&it, at(900)).len(), 3);
    let told = it.sounded(Alarm::Clock { percent: 50 });
    assert_eq!(alarms(&told, at(460)), []);
    let it = run(of_key(true), true, 5);
    assert_eq!(alarms(&it, at(5_000)).len(), 2, "contained; but not seen dead");
    assert_eq!(deadlines(&it, true).last().unwrap().clock.name, "seen dead");
}

/// What the world does to one effect.
#[derive(Clone, Copy, Debug)]
enum Luck {
    Done,
    Failed,
    Refused,
    /// The process dies before the result is on record.
    Dies,
    /// Anthropic still takes the key.
    Works,
    Silence,
    Resumes,
}

fn luck() -> impl Strategy<Value = Luck> {
    prop_oneof![
        Just(Luck::Done),
        Just(Luck::Done),
        Just(Luck::Failed),
        Just(Luck::Refused),
        Just(Luck::Dies),
        Just(Luck::Works),
        Just(Luck::Silence),
        Just(Luck::Resumes),
    ]
}

proptest! {
    #[test]
    fn whatever_happens_the_order_holds_and_there_is_an_end(
        lucks in proptest::collection::vec((luck(), any::<bool>(), 0i64..40), 1..120),
        has_value in any::<bool>(),
    ) {
        let mut it = of_key(has_value);
        let mut now = NOON;
        for (luck, can_ask, pause) in lucks {
            now = now.plus_ms(pause * 1_000);
            let effects = decide(&it, can_ask, now);
            for effect in &effects {
                let (cut, off) = (it.is_done(Work::Cut), it.is_done(Work::SwitchOff));
                match effect {
                    Effect::Perform(work) => {
                        prop_assert!(it.tasks[work].intent.is_some(), "no intent of {}", work);
                        prop_assert!(*work == Work::Cut || cut);
                        prop_assert!(*work != Work::Erase || it.dead_at.is_some() || !has_value);
                    }
                    Effect::Look => prop_assert!(off && has_value),
                    Effect::End => {
                        prop_assert!(cut && off && it.is_done(Work::Report));
                        prop_assert!(!has_value || it.dead_at.is_some() && it.is_done(Work::Erase));
                    }
                    _ => {}
                }
            }
            let acts = |effect: &Effect| !matches!(effect, Effect::Ask(_) | Effect::Wait(_));
            let Some(effect) = effects.into_iter().find(acts) else {
                it = if let Luck::Resumes = luck { it.resumed().unwrap_or(it) } else { it };
                continue;
            };
            let why = String::new();
            it = match (effect, luck) {
                (_, Luck::Dies) => it,
                (Effect::Perform(Work::Cut), _) => it.settled(Work::Cut, &Outcome::Done, now),
                (Effect::Perform(work), Luck::Failed) => it.settled(work, &Outcome::Failed(why), now),
                (Effect::Perform(work), Luck::Refused) => it.settled(work, &Outcome::Refused(why), now),
                (Effect::Look, Luck::Works) => it.looked(&ProbeAnswer::Works, now),
                (Effect::Look, Luck::Silence) => it.looked(&ProbeAnswer::Inconclusive(why), now),
                _ => step(&it, can_ask, &Outcome::Done, now),
            };
            let json = serde_json::to_string(&it).unwrap();
            prop_assert_eq!(&serde_json::from_str::<Containment>(&json).unwrap(), &it);
        }
        // From wherever it stands, a world that does well and one word of a person lead to the end.
        it = it.resumed().unwrap_or(it);
        for tenth in 0..2_000 {
            it = step(&it, true, &Outcome::Done, now.plus_ms(tenth * 100));
        }
        prop_assert!(it.ended_at.is_some());
    }
}

//! The machine, tried in every order in which things can happen.
//!
//! A small world is put around the rules: two executors that may both be at work, die at any point
//! and hear nothing of what they did; Anthropic, which does what it is asked with or without
//! answering; calls; and a person who hands in good and bad keys, changes her mind, and switches
//! the old key off by hand. Time has no absolute value in it: moments are kept as distances from
//! now, and distances that no rule tells apart are one. So the world has finitely many states, and
//! all of them are visited.

use std::collections::HashMap;
use std::rc::Rc;

use super::*;
use crate::id::{RotationId, UpstreamKeyId};
use crate::time::Timestamp;

/// Moments further back than this are as good as this.
const PAST_MAX: i64 = -4;
const OLD: usize = 0;
/// The old key, and two that are handed in.
const KEYS: usize = 3;

/// Numbers as small as the rules allow, in ticks.
const TERMS: Terms = Terms {
    soak_ms: 3,
    soak_successes: 2,
    drain_ms_max: 1_000,
    death_answers: 3,
    death_ms: 1,
    death_alert_ms: 1_000,
    death_incident_ms: 1_000,
    approval_ms: 1_000,
    tries_max: 3,
    retry_ms: 1,
    retry_ms_max: 1,
};

/// A rule that is broken on purpose, to see that the checker notices.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Broken {
    Nothing,
    /// A key is put into use that nobody has tried.
    NoProbe,
    /// The old key is switched off while calls are on their way with it.
    NoDrain,
    /// The old key is switched off as soon as the new one is said to be in use.
    NoWatch,
    /// Results are written whatever was written meanwhile.
    NoCompare,
    /// A way back is taken although the old key may be switched off.
    BackTooLate,
    /// A second rotation may begin at any time.
    TwoAtOnce,
    /// A key that was asked about and found wanting is erased with the old one still to come.
    EraseOld,
    /// A step that was tried in vain has no way on.
    NoResume,
}

/// What an executor has read and is about to do, or has done and is about to write down.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Held {
    effect: Effect,
    outcome: Option<Outcome>,
    answer: Option<ProbeAnswer>,
    /// Nothing was written since it read.
    is_fresh: bool,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct World {
    rotation: Rc<Rotation>,
    /// The key in use by the store, and by what the gateway reads.
    stored: usize,
    published: usize,
    /// At Anthropic.
    alive: [bool; KEYS],
    /// In the vault.
    kept: [bool; KEYS],
    in_flight_old: bool,
    given: usize,
    executors: [Option<Held>; 2],
    violation: Option<&'static str>,
}

fn key(place: usize) -> UpstreamKeyId {
    UpstreamKeyId::new(["old", "one", "two"][place])
}

fn place_of(id: &UpstreamKeyId) -> usize {
    (0..KEYS).find(|place| key(*place) == *id).unwrap()
}

const NOW: Timestamp = Timestamp::from_ms(0);

impl World {
    fn new() -> World {
        let ordered = Ordered { by: "ada".into(), at: NOW, reason: String::new() };
        let id = RotationId::new("rot");
        let mut rotation = Rotation::order(id, Kind::Planned, None, key(OLD), 0, ordered);
        rotation.terms = TERMS;
        rotation.approvals_needed = 1;
        rotation.version = 0;
        World {
            rotation: Rc::new(rotation),
            stored: OLD,
            published: OLD,
            alive: [true, true, false],
            kept: [true, false, false],
            in_flight_old: false,
            given: 0,
            executors: [None, None],
            violation: None,
        }
    }

    fn new_place(&self) -> Option<usize> {
        self.rotation.new.as_ref().map(|new| place_of(&new.id))
    }

    fn facts(&self, broken: Broken) -> Facts {
        let idle = !self.in_flight_old || broken == Broken::NoDrain;
        Facts {
            generation: 0,
            serving: Some(key(self.published)),
            in_flight_old: Some(u64::from(!idle)),
            told: true,
            hindrances: Vec::new(),
            backup: Some(Backup { at: NOW, is_verified: true }),
            changed_at: NOW,
            can_back_up: true,
            can_drill: true,
            can_deactivate: true,
            new: Traffic::default(),
        }
    }

    fn decided(&self, broken: Broken) -> Vec<Effect> {
        let mut effects = decide(&self.rotation, &self.facts(broken), NOW);
        let main = &self.rotation.main;
        let at_rest = main.intent.is_none() && self.rotation.exit.is_none();
        match broken {
            Broken::NoProbe if at_rest && main.stage == Stage::Sealed => {
                effects = vec![Effect::Intend(Track::Main, Step::Promote)];
            }
            Broken::NoWatch if at_rest && main.stage == Stage::ServingNew => {
                effects = vec![Effect::Intend(Track::Main, Step::Deactivate)];
            }
            Broken::EraseOld if at_rest && main.stage == Stage::Probed => {
                effects = vec![Effect::Intend(Track::Main, Step::Archive)];
            }
            _ => {}
        }
        effects
    }

    /// Writes the rotation down, unless somebody else has written since it was read.
    fn write(&mut self, who: Option<usize>, broken: Broken, after: Rotation) -> bool {
        let held = who.and_then(|who| self.executors[who].as_ref());
        if held.is_some_and(|held| !held.is_fresh) && broken != Broken::NoCompare {
            return false;
        }
        self.rotation = Rc::new(normal(after));
        for held in self.executors.iter_mut().flatten() {
            held.is_fresh = false;
        }
        self.check_order();
        true
    }

    /// What must hold in every state.
    fn check(&mut self) {
        // It is the same whichever of the two it is.
        if self.executors[0].is_none() {
            self.executors.swap(0, 1);
        }
        if self.violation.is_some() {
            return;
        }
        let usable = |key: usize| self.alive[key] && self.kept[key];
        if !usable(self.published) {
            self.violation = Some("no usable key is in use");
        }
        let end = self.rotation.main.stage;
        match end {
            Stage::Done if self.alive[OLD] => self.violation = Some("done, and the old key lives"),
            Stage::Done if Some(self.stored) != self.new_place() => {
                self.violation = Some("done, and the new key is not in use");
            }
            Stage::Aborted | Stage::RolledBack if self.stored != OLD || !usable(OLD) => {
                self.violation = Some("gone back, and the old key is not in use");
            }
            _ => {}
        }
    }

    /// What must hold in every record.
    fn check_order(&mut self) {
        let rotation = &self.rotation;
        let place = |stage| rotation.history.iter().position(|(reached, _)| *reached == stage);
        let before = |first, then| {
            place(then).is_none() || place(first).is_some_and(|first| Some(first) < place(then))
        };
        let in_order = before(Stage::Probed, Stage::ServingNew)
            && before(Stage::Soaking, Stage::OldInactive)
            && before(Stage::OldProvenDead, Stage::Archived);
        if !in_order {
            self.violation = Some("a stage came before what has to come before it");
        }
    }

    fn successors(&self, broken: Broken) -> Vec<World> {
        let mut all = Vec::new();
        if self.violation.is_some() {
            return all;
        }
        let mut push = |mut world: World| {
            if world != *self {
                world.check();
                all.push(world);
            }
        };
        for who in 0..2 {
            match &self.executors[who] {
                None => self.read(who, broken).into_iter().for_each(&mut push),
                Some(held) => {
                    self.act(who, held, broken).into_iter().for_each(&mut push);
                }
            }
        }
        self.person(broken).into_iter().for_each(&mut push);
        self.outside().into_iter().for_each(&mut push);
        all
    }

    /// An executor reads and decides. The second is only ever a double of the first.
    fn read(&self, who: usize, broken: Broken) -> Vec<World> {
        if (who == 1) == self.executors[0].is_none() {
            return Vec::new();
        }
        let idle = |effect: &Effect| matches!(effect, Effect::Ask(..) | Effect::Wait(..));
        let effects = self.decided(broken).into_iter().filter(|effect| !idle(effect));
        effects
            .map(|effect| {
                let mut world = self.clone();
                world.executors[who] =
                    Some(Held { effect, outcome: None, answer: None, is_fresh: true });
                world
            })
            .collect()
    }

    fn act(&self, who: usize, held: &Held, broken: Broken) -> Vec<World> {
        let rotation = &self.rotation;
        let write = |after: Rotation| {
            let mut world = self.clone();
            world.write(Some(who), broken, after);
            world.executors[who] = None;
            vec![world]
        };
        match (&held.effect, &held.outcome, &held.answer) {
            (Effect::Perform(track, _), Some(outcome), _) => {
                write(rotation.settled(*track, outcome, NOW))
            }
            (Effect::LookAtNew, _, Some(answer)) => write(rotation.looked_at_new(answer, NOW)),
            (Effect::LookAtOld, _, Some(answer)) => write(rotation.looked_at_old(answer, NOW)),
            (Effect::Intend(track, step), ..) => write(rotation.intended(*track, *step, NOW)),
            (Effect::Enter(track, stage), ..) => write(rotation.entered(*track, *stage, NOW)),
            (Effect::Discard(why), ..) => write(rotation.discarded(why)),
            (Effect::TurnBack(why), ..) => write(rotation.turned_back(why)),
            (Effect::Sound(alarm), ..) => write(rotation.sounded(*alarm)),
            (Effect::Perform(track, step), None, _) => self.perform(who, *track, *step, broken),
            (Effect::LookAtNew, ..) => self.look(who, self.new_place()),
            (Effect::LookAtOld, ..) => self.look(who, Some(OLD)),
            (Effect::Ask(..) | Effect::Wait(..), ..) => Vec::new(),
        }
    }

    fn look(&self, who: usize, at: Option<usize>) -> Vec<World> {
        let Some(at) = at else { return Vec::new() };
        let truth = if self.alive[at] { ProbeAnswer::Works } else { ProbeAnswer::Rejected };
        let answers = [truth, ProbeAnswer::Inconclusive(String::new())];
        answers
            .into_iter()
            .map(|answer| {
                let mut world = self.clone();
                if let Some(held) = &mut world.executors[who] {
                    held.answer = Some(answer);
                }
                world
            })
            .collect()
    }

    /// Does a step. What is done in the store is done together with its result, if nobody wrote
    /// meanwhile; what is done outside may be done with or without an answer.
    fn perform(&self, who: usize, track: Track, step: Step, broken: Broken) -> Vec<World> {
        let mut all = Vec::new();
        let failed = Outcome::Failed(String::new());
        let mut end = |world: &World, outcome: Outcome| {
            let mut world = world.clone();
            if let Some(held) = &mut world.executors[who] {
                held.outcome = Some(outcome);
            }
            all.push(world);
        };
        match step {
            Step::Promote | Step::Restore | Step::Discard | Step::Archive | Step::Cut => {
                let mut world = self.clone();
                let settled = self.rotation.settled(track, &Outcome::Done, NOW);
                let new = self.new_place();
                if world.write(Some(who), broken, settled) {
                    match (step, new) {
                        (Step::Promote, Some(new)) => world.stored = new,
                        (Step::Restore, _) => world.stored = OLD,
                        (Step::Discard, Some(new)) => world.kept[new] = false,
                        (Step::Archive, _) => world.kept[OLD] = false,
                        _ => {}
                    }
                }
                world.executors[who] = None;
                all.push(world);
            }
            Step::Probe => {
                let alive = self.new_place().is_some_and(|new| self.alive[new]);
                let refused = Outcome::Refused(String::new());
                end(self, if alive { Outcome::Done } else { refused });
                end(self, failed);
            }
            Step::Verify => {
                let new = self.new_place();
                if Some(self.published) == new && new.is_some_and(|new| self.alive[new]) {
                    end(self, Outcome::Done);
                }
                end(self, failed);
            }
            Step::Deactivate => {
                let mut done = self.clone();
                if self.alive[OLD] {
                    done.alive[OLD] = false;
                    if self.in_flight_old {
                        done.violation = Some("calls were cut by switching the old key off");
                    }
                    let new = self.new_place();
                    if Some(self.published) != new
                        || self.rotation.reached(Stage::Soaking).is_none()
                    {
                        done.violation = Some("switched off before the new key was proven");
                    }
                }
                end(&done, Outcome::Done);
                end(&done, failed.clone());
                end(self, failed);
            }
            Step::Backup | Step::WriteSinks | Step::Record | Step::BackupAgain => {
                end(self, Outcome::Done);
                end(self, failed);
            }
        }
        all
    }

    fn person(&self, broken: Broken) -> Vec<World> {
        let mut all = Vec::new();
        let mut say = |after: Result<Rotation, NotAllowed>, change: &dyn Fn(&mut World)| {
            if let Ok(after) = after {
                let mut world = self.clone();
                world.write(None, broken, after);
                change(&mut world);
                all.push(world);
            }
        };
        let rotation = &self.rotation;
        // The first key is good, the second is not, or the other way round.
        for first in [1, 2] {
            let next = match self.given {
                0 => first,
                _ if self.kept[1] || rotation.refused.contains(&"1".to_owned()) => 2,
                _ => 1,
            };
            if self.given < 2 && !self.kept[next] {
                let new = NewKey { id: key(next), fingerprint: next.to_string() };
                say(rotation.given(new, NOW), &|world| {
                    world.given += 1;
                    world.kept[next] = true;
                });
            }
        }
        for to in [Stage::Aborted, Stage::RolledBack] {
            let exit = Exit { to, by: String::new(), reason: String::new() };
            let mut asked = rotation.asked_out(exit.clone());
            let promoted = rotation.may_serve_new() && !rotation.has_ended();
            if broken == Broken::BackTooLate && to == Stage::RolledBack && promoted {
                let mut after = (**rotation).clone();
                after.exit = Some(exit);
                asked = Ok(after);
            }
            say(asked, &|_| {});
        }
        let bob = Approval { by: "bob".into(), at: NOW, means: Means::Command };
        say(rotation.approved(bob, NOW), &|_| {});
        if broken != Broken::NoResume {
            say(rotation.resumed(), &|_| {});
        }
        // Whoever switches it off in the console says so.
        let by_hand =
            Attested { what: What::OldInactive, by: String::new(), at: NOW, note: String::new() };
        if rotation.attested.is_empty() && !self.in_flight_old {
            say(rotation.vouched(by_hand), &|world| world.alive[OLD] = false);
        }
        // Somebody else begins another rotation of the same key.
        let begun = may_begin([&**rotation], Kind::Planned, None, &key(OLD));
        let begins = begun.is_ok() || broken == Broken::TwoAtOnce;
        if begins && !rotation.has_ended() {
            let mut world = self.clone();
            world.violation = Some("two rotations on one key");
            all.push(world);
        }
        all
    }

    /// Calls, publication, death of the process, and time.
    fn outside(&self) -> Vec<World> {
        let mut all = Vec::new();
        let mut change = |change: &dyn Fn(&mut World)| {
            let mut world = self.clone();
            change(&mut world);
            all.push(world);
        };
        if self.published == OLD && self.rotation.main.stage >= Stage::SinksWritten {
            change(&|world| world.in_flight_old = true);
        }
        change(&|world| world.in_flight_old = false);
        // Approvals run out at any time.
        if !self.rotation.approvals.is_empty() {
            change(&|world| Rc::make_mut(&mut world.rotation).approvals.clear());
        }
        change(&|world| world.published = world.stored);
        change(&|world| {
            world.executors = [None, None];
            world.published = world.stored;
            world.in_flight_old = false;
        });
        change(&|world| {
            let mut rotation = (*world.rotation).clone();
            shift(&mut rotation);
            world.rotation = Rc::new(normal(rotation));
        });
        all
    }
}

/// One tick later.
fn shift(rotation: &mut Rotation) {
    let back = |at: &mut Timestamp| *at = Timestamp::from_ms((at.ms() - 1).max(PAST_MAX));
    back(&mut rotation.ordered.at);
    back(&mut rotation.main.since);
    rotation.main.not_before.iter_mut().for_each(back);
    rotation.looked_at.iter_mut().for_each(back);
    rotation.death.first.iter_mut().for_each(back);
    rotation.death.last.iter_mut().for_each(back);
}

/// Without what no rule looks at.
fn normal(mut rotation: Rotation) -> Rotation {
    rotation.version = 0;
    rotation.probes = rotation.probes.min(2);
    rotation.death.refusals = rotation.death.refusals.min(3);
    rotation.not_looked_at();
    rotation
}

impl Rotation {
    fn not_looked_at(&mut self) {
        // It is asked whether, and in which order, and not when.
        self.history.iter_mut().for_each(|(_, at)| *at = NOW);
        let mut seen = Vec::new();
        self.history.retain(|(stage, _)| {
            !seen.contains(stage) && {
                seen.push(*stage);
                true
            }
        });
        self.ordered.at = NOW;
        if self.may_serve_new() {
            self.approvals.clear();
        }
        self.begun.sort();
        if let Some(exit) = &mut self.exit {
            exit.reason.clear();
            exit.by.clear();
        }
        if let Some(stuck) = &mut self.main.stuck {
            stuck.clear();
        }
        if let Some(intent) = &mut self.main.intent {
            intent.at = NOW;
        }
        if self.main.stage != Stage::Soaking && self.main.stage != Stage::OldInactive {
            self.looked_at = None;
            self.main.since = NOW;
        }
        self.main.not_before = self.main.not_before.filter(|at| *at > NOW);
        if self.main.stage == Stage::OldProvenDead {
            self.death = Death::default();
        }
        self.attested.iter_mut().for_each(|attested| attested.at = NOW);
    }
}

/// What came of visiting every state.
struct Visited {
    states: usize,
    violation: Option<&'static str>,
    /// States from which no end can be reached.
    dead_ends: usize,
}

fn visit(broken: Broken) -> Visited {
    let mut known: HashMap<Rc<World>, usize> = HashMap::new();
    let first = Rc::new(World::new());
    known.insert(first.clone(), 0);
    let mut queue = vec![first];
    let mut edges: Vec<(u32, u32)> = Vec::new();
    let mut ends = Vec::new();
    let mut parents = vec![0];
    let mut at = 0;
    while at < queue.len() {
        assert!(at < 2_000_000, "too many states to visit");
        let world = queue[at].clone();
        if world.violation.is_some() {
            tell(&queue, &parents, at);
            return Visited { states: queue.len(), violation: world.violation, dead_ends: 0 };
        }
        if world.rotation.has_ended() {
            ends.push(at);
        }
        for next in world.successors(broken) {
            let place = match known.get(&next) {
                Some(place) => *place,
                None => {
                    let (next, place) = (Rc::new(next), queue.len());
                    known.insert(next.clone(), place);
                    queue.push(next);
                    parents.push(at);
                    place
                }
            };
            edges.push((u32::try_from(place).unwrap(), u32::try_from(at).unwrap()));
        }
        at += 1;
    }
    let dead_ends = queue.len() - reached_from(&ends, queue.len(), &edges);
    Visited { states: queue.len(), violation: None, dead_ends }
}

/// Prints how a state came about.
fn tell(queue: &[Rc<World>], parents: &[usize], mut at: usize) {
    let mut path = vec![at];
    while at != 0 {
        at = parents[at];
        path.push(at);
    }
    for place in path.into_iter().rev() {
        let World { rotation, stored, published, alive, kept, executors, .. } = &*queue[place];
        let Lane { stage, intent, stuck, .. } = &rotation.main;
        let exit = rotation.exit.as_ref().map(|exit| exit.to);
        println!(
            "{stage} {intent:?} stuck={} exit={exit:?} stored={stored} published={published} \
             alive={alive:?} kept={kept:?} {executors:?}",
            stuck.is_some()
        );
    }
}

/// How many states lead to one of `ends`; an edge is given from its end to its beginning.
fn reached_from(ends: &[usize], states: usize, edges: &[(u32, u32)]) -> usize {
    let mut from: Vec<Vec<u32>> = vec![Vec::new(); states];
    for (to, at) in edges {
        from[*to as usize].push(*at);
    }
    let mut seen = vec![false; states];
    let mut queue: Vec<usize> = ends.to_vec();
    ends.iter().for_each(|end| seen[*end] = true);
    let mut count = ends.len();
    while let Some(at) = queue.pop() {
        for before in &from[at] {
            let before = *before as usize;
            if !seen[before] {
                seen[before] = true;
                count += 1;
                queue.push(before);
            }
        }
    }
    count
}

#[test]
fn no_order_of_things_breaks_a_promise() {
    let visited = visit(Broken::Nothing);
    println!("{} states", visited.states);
    assert_eq!(visited.violation, None);
    assert_eq!(visited.dead_ends, 0, "every state has a way to an end");
    assert!(visited.states >= 100_000, "{} states are too few to say much", visited.states);
}

#[test]
fn every_broken_rule_is_noticed() {
    for (broken, violation) in [
        (Broken::NoProbe, "a stage came before what has to come before it"),
        (Broken::NoDrain, "calls were cut by switching the old key off"),
        (Broken::NoWatch, "switched off before the new key was proven"),
        (Broken::NoCompare, "gone back, and the old key is not in use"),
        (Broken::BackTooLate, "gone back, and the old key is not in use"),
        (Broken::TwoAtOnce, "two rotations on one key"),
        (Broken::EraseOld, "a stage came before what has to come before it"),
    ] {
        let visited = visit(broken);
        println!("{broken:?}: {:?} in {} states", visited.violation, visited.states);
        assert_eq!(visited.violation, Some(violation), "{broken:?}");
    }
    assert!(visit(Broken::NoResume).dead_ends > 0, "a machine that gives up for good is noticed");
}

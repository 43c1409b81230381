//! Whose turn it is: work that takes a processor for itself, as reading a large body does, shared
//! evenly among the virtual keys that want it.
//!
//! There are so many places. A key takes no more than half of them, and of those who wait the key
//! that has the fewest goes first, and among equals the one whose last turn was longest ago: who
//! brings a thousand pieces of work keeps nobody else waiting for more than one of them. Within a
//! key it is first come, first served. It starts nothing and knows no time.

use std::collections::VecDeque;

use crate::id::VirtualKeyId;
use crate::quick::QuickMap;

/// Places, and who waits for one.
#[derive(Debug)]
pub struct Turns {
    places: usize,
    taken: usize,
    /// Turns given so far.
    given: u64,
    lines: QuickMap<VirtualKeyId, Line>,
}

#[derive(Default, Debug)]
struct Line {
    taken: usize,
    /// Which turn its last one was.
    last: u64,
    waiting: VecDeque<u64>,
}

impl Turns {
    /// So many places, at least one.
    pub fn new(places: usize) -> Turns {
        Turns { places: places.max(1), taken: 0, given: 0, lines: QuickMap::default() }
    }

    /// Places that one key may take.
    fn share(&self) -> usize {
        (self.places / 2).max(1)
    }

    /// Waits at the end of the key's line. Whoever asks brings a number that nobody else has.
    pub fn join(&mut self, key: &VirtualKeyId, number: u64) {
        self.lines.entry(key.clone()).or_default().waiting.push_back(number);
    }

    /// Gives a place to whoever is next, if there is one free; it must be [ended](Turns::end).
    pub fn call_next(&mut self) -> Option<u64> {
        let share = self.share();
        let is_free = self.taken < self.places;
        let may = |line: &&mut Line| is_free && !line.waiting.is_empty() && line.taken < share;
        let line =
            self.lines.values_mut().filter(may).min_by_key(|line| (line.taken, line.last))?;
        let number = line.waiting.pop_front()?;
        self.given += 1;
        self.taken += 1;
        line.taken += 1;
        line.last = self.given;
        Some(number)
    }

    /// Waits no longer. False when that one has its place already, and must end it.
    pub fn leave(&mut self, key: &VirtualKeyId, number: u64) -> bool {
        let Some(line) = self.lines.get_mut(key) else { return false };
        let waited = line.waiting.len();
        line.waiting.retain(|waiting| *waiting != number);
        let left = line.waiting.len() < waited;
        self.forget(key);
        left
    }

    /// Gives back a place of that key.
    pub fn end(&mut self, key: &VirtualKeyId) {
        let Some(line) = self.lines.get_mut(key).filter(|line| line.taken > 0) else { return };
        line.taken -= 1;
        self.taken -= 1;
        self.forget(key);
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.lines.values().map(|line| line.waiting.len()).sum()
    }

    /// Places that are taken.
    pub fn taken(&self) -> usize {
        self.taken
    }

    /// Nothing is kept of a key that has nothing and wants nothing.
    fn forget(&mut self, key: &VirtualKeyId) {
        if self.lines.get(key).is_some_and(|line| line.taken == 0 && line.waiting.is_empty()) {
            self.lines.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(name: u8) -> VirtualKeyId {
        VirtualKeyId::new(format!("key{name}"))
    }

    #[test]
    fn one_that_wants_much_keeps_nobody_waiting() {
        let mut turns = Turns::new(2);
        let (greedy, modest) = (key(0), key(1));
        (0..1_000).for_each(|number| turns.join(&greedy, number));
        assert_eq!(
            (turns.call_next(), turns.call_next()),
            (Some(0), None),
            "half of the places, no more"
        );
        turns.join(&modest, 5_000);
        turns.join(&modest, 5_001);
        assert_eq!(turns.call_next(), Some(5_000));
        turns.end(&greedy);
        assert_eq!(turns.call_next(), Some(1), "the other has its share");
        turns.end(&modest);
        assert_eq!(turns.call_next(), Some(5_001));
    }

    #[test]
    fn with_one_place_they_take_turns() {
        let mut turns = Turns::new(1);
        for name in 0..3 {
            (0..3).for_each(|number| turns.join(&key(name), u64::from(name) * 10 + number));
        }
        let mut order = Vec::new();
        while let Some(number) = turns.call_next() {
            order.push(number);
            turns.end(&key(u8::try_from(number / 10).unwrap()));
        }
        let whose: Vec<_> = order.iter().map(|number| number / 10).collect();
        assert_eq!(order.len(), 9);
        for round in whose.chunks(3) {
            let mut round = round.to_vec();
            round.sort_unstable();
            assert_eq!(round, [0, 1, 2], "{whose:?}");
        }
        assert!(turns.lines.is_empty());
    }

    #[test]
    fn whoever_leaves_takes_nothing_along() {
        let mut turns = Turns::new(1);
        turns.join(&key(0), 1);
        turns.join(&key(0), 2);
        assert_eq!(turns.call_next(), Some(1));
        assert!(turns.leave(&key(0), 2));
        assert!(!turns.leave(&key(0), 1), "it has its place");
        turns.end(&key(0));
        assert_eq!((turns.call_next(), turns.taken(), turns.waiting()), (None, 0, 0));
        assert!(turns.lines.is_empty());
    }

    proptest! {
        /// Whoever comes and goes, in any order: no more places are taken than there are, by all or
        /// by one, none stays free while somebody may have it, and all are free in the end.
        #[test]
        fn places_are_kept_and_given(
            places in 1usize..6,
            steps in prop::collection::vec((0u8..3, 0u8..4, any::<prop::sample::Index>()), 0..200),
        ) {
            let mut turns = Turns::new(places);
            let (mut waiting, mut seated) = (Vec::new(), Vec::new());
            for (number, (step, name, which)) in (0u64..).zip(steps) {
                match step {
                    0 => {
                        turns.join(&key(name), number);
                        waiting.push((number, name));
                    }
                    1 if !seated.is_empty() => {
                        let (_, name): (u64, u8) = seated.swap_remove(which.index(seated.len()));
                        turns.end(&key(name));
                    }
                    2 if !waiting.is_empty() => {
                        let (number, name) = waiting.remove(which.index(waiting.len()));
                        prop_assert!(turns.leave(&key(name), number));
                    }
                    _ => {}
                }
                while let Some(next) = turns.call_next() {
                    let at = waiting.iter().position(|(number, _)| *number == next).unwrap();
                    let (number, name) = waiting.remove(at);
                    prop_assert!(waiting.iter().all(|it| it.1 != name || it.0 > number));
                    seated.push((number, name));
                }
                let of = |name| seated.iter().filter(|it| it.1 == name).count();
                let share = (places / 2).max(1);
                prop_assert!(seated.len() <= places && (0..4).all(|name| of(name) <= share));
                prop_assert!(
                    seated.len() == places || waiting.iter().all(|it| of(it.1) == share)
                );
                prop_assert_eq!((turns.taken(), turns.waiting()), (seated.len(), waiting.len()));
            }
            for (_, name) in seated.drain(..) {
                turns.end(&key(name));
            }
            for (number, name) in waiting {
                turns.leave(&key(name), number);
            }
            prop_assert!(turns.lines.is_empty() && turns.taken() == 0);
        }
    }
}

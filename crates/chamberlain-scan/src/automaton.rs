//! Finds anchors in text that comes in pieces: one look at a table for each byte, one number of
//! state between pieces. The classic automaton of Aho and Corasick, built for our few words; made
//! here because it must say how much of a word the text may have begun, which is what is held back.

use std::collections::VecDeque;

/// A place in the automaton.
pub(crate) type State = u16;

/// The state before any text.
pub(crate) const ROOT: State = 0;

/// The automaton.
pub(crate) struct Automaton {
    /// What each byte is to it: all bytes of no word are one.
    classes: [u8; 256],
    /// How far apart the rows of `next` are.
    stride: usize,
    next: Vec<State>,
    /// How many bytes of a word each state has seen.
    depths: Vec<u8>,
    /// The words that end in each state, by number.
    ends: Vec<Vec<u16>>,
}

const NONE: State = State::MAX;

impl Automaton {
    /// For these words.
    pub(crate) fn new(words: &[Vec<u8>]) -> Automaton {
        let (classes, stride) = classes(words);
        let mut trie =
            Trie { stride, next: vec![NONE; stride], depths: vec![0], ends: vec![vec![]] };
        for (number, word) in words.iter().enumerate() {
            trie.add(word, number as u16, &classes);
        }
        trie.link();
        Automaton { classes, stride, next: trie.next, depths: trie.depths, ends: trie.ends }
    }

    /// The state after one more byte.
    #[inline]
    pub(crate) fn step(&self, state: State, byte: u8) -> State {
        self.next[usize::from(state) * self.stride + usize::from(self.classes[usize::from(byte)])]
    }

    /// How many of the last bytes may be the beginning of a word.
    pub(crate) fn depth(&self, state: State) -> usize {
        usize::from(self.depths[usize::from(state)])
    }

    /// The words that end in this state.
    pub(crate) fn ends(&self, state: State) -> &[u16] {
        &self.ends[usize::from(state)]
    }

    /// Reads until a word ends; returns how many bytes were read.
    #[inline]
    pub(crate) fn run(&self, state: &mut State, bytes: &[u8]) -> Option<usize> {
        let mut now = *state;
        for (at, byte) in bytes.iter().enumerate() {
            now = self.step(now, *byte);
            if !self.ends[usize::from(now)].is_empty() {
                *state = now;
                return Some(at + 1);
            }
        }
        *state = now;
        None
    }
}

/// Numbers the bytes that are in words; all others are 0.
fn classes(words: &[Vec<u8>]) -> ([u8; 256], usize) {
    let mut classes = [0u8; 256];
    let mut count = 1;
    for byte in words.iter().flatten() {
        let class = &mut classes[usize::from(*byte)];
        if *class == 0 {
            *class = count;
            count += 1;
        }
    }
    (classes, usize::from(count))
}

struct Trie {
    stride: usize,
    next: Vec<State>,
    depths: Vec<u8>,
    ends: Vec<Vec<u16>>,
}

impl Trie {
    fn add(&mut self, word: &[u8], number: u16, classes: &[u8; 256]) {
        let mut state = ROOT;
        for byte in word {
            let edge = usize::from(state) * self.stride + usize::from(classes[usize::from(*byte)]);
            if self.next[edge] == NONE {
                let depth = self.depths[usize::from(state)] + 1;
                self.next[edge] = self.depths.len() as State;
                self.depths.push(depth);
                self.ends.push(Vec::new());
                self.next.resize(self.next.len() + self.stride, NONE);
            }
            state = self.next[edge];
        }
        self.ends[usize::from(state)].push(number);
    }

    /// Where no word goes on, the longest other word that may have begun does.
    fn link(&mut self) {
        let mut fall = vec![ROOT; self.depths.len()];
        let mut queue = VecDeque::from([ROOT]);
        while let Some(state) = queue.pop_front() {
            for class in 0..self.stride {
                let edge = usize::from(state) * self.stride + class;
                let back = usize::from(fall[usize::from(state)]) * self.stride + class;
                let fallback = if state == ROOT { ROOT } else { self.next[back] };
                if self.next[edge] == NONE {
                    self.next[edge] = fallback;
                } else {
                    let target = self.next[edge];
                    fall[usize::from(target)] = fallback;
                    let more = self.ends[usize::from(fallback)].clone();
                    self.ends[usize::from(target)].extend(more);
                    queue.push_back(target);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_found_wherever_it_ends() {
        let words = ["he", "she", "his", "hers", "sk-ant-"].map(|word| word.as_bytes().to_vec());
        let automaton = Automaton::new(&words);
        let text = b"ushers use sk-ant-sk-ant- this";
        let mut state = ROOT;
        let mut found = Vec::new();
        for (at, byte) in text.iter().enumerate() {
            state = automaton.step(state, *byte);
            let ends = automaton.ends(state).iter();
            found.extend(ends.map(|number| (at + 1, words[usize::from(*number)].as_slice())));
        }
        let mut wanted = Vec::new();
        for end in 1..=text.len() {
            for word in &words {
                if text[..end].ends_with(word) {
                    wanted.push((end, word.as_slice()));
                }
            }
        }
        found.sort();
        wanted.sort();
        assert_eq!(found, wanted);
    }

    #[test]
    fn it_knows_how_much_of_a_word_has_begun() {
        let automaton = Automaton::new(&[b"sk-ant-".to_vec(), b"api03".to_vec()]);
        for (text, depth) in [("", 0), ("x", 0), ("sk", 2), ("sk-a", 4), ("ask-an", 5), ("api", 3)]
        {
            let mut state = ROOT;
            automaton.run(&mut state, text.as_bytes());
            assert_eq!(automaton.depth(state), depth, "{text}");
        }
    }
}

//! The scanner: finds anchors, and asks the detector of each whether a secret stands there.

use std::fmt;
use std::sync::Arc;

use aho_corasick::packed;

use crate::automaton::{Automaton, ROOT};
use crate::found::Found;
use crate::judge::{Hit, Verdict, Window};
use crate::rule::Rule;
use crate::rules::{Detector, Rules};
use crate::{anthropic, virtual_key};

/// Below this many bytes the automaton is done before the vector search has begun.
const SHORT: usize = 64;

/// What is asked of a scan.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Options {}

/// Finds secrets. Never changes once it is made, and is cheap to clone and to share.
#[derive(Clone)]
pub struct Scanner(pub(crate) Arc<Engine>);

/// What stands behind an anchor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Lead {
    /// One of Anthropic's, as it is; the first of its rules.
    Anthropic(usize),
    VirtualKey(usize),
    Shape(usize),
    Custom(usize),
}

pub(crate) struct Engine {
    rules: Rules,
    /// What the words of the automaton lead to, by number.
    leads: Vec<Vec<Lead>>,
    words: Vec<Vec<u8>>,
    pub(crate) automaton: Automaton,
    vector: Option<packed::Searcher>,
}

impl Scanner {
    /// Goes by these rules.
    pub fn new(rules: Rules) -> Scanner {
        let mut words: Vec<Vec<u8>> = Vec::new();
        let mut leads: Vec<Vec<Lead>> = Vec::new();
        let mut add = |word: &[u8], lead: Lead| match words.iter().position(|w| w == word) {
            Some(at) if leads[at].contains(&lead) => {}
            Some(at) => leads[at].push(lead),
            None => {
                words.push(word.to_vec());
                leads.push(vec![lead]);
            }
        };
        let mut anthropic = None;
        for (number, (_, detector)) in rules.list.iter().enumerate() {
            match detector {
                Detector::Anthropic => {
                    let first = *anthropic.get_or_insert(number);
                    add(anthropic::PREFIX, Lead::Anthropic(first));
                }
                Detector::VirtualKey => add(virtual_key::PREFIX, Lead::VirtualKey(number)),
                Detector::Shape(shape) => {
                    shape.anchors().for_each(|anchor| add(anchor, Lead::Shape(number)));
                }
                Detector::Custom(custom) => {
                    custom.anchors.iter().for_each(|anchor| add(anchor, Lead::Custom(number)));
                }
            }
        }
        let automaton = Automaton::new(&words);
        let vector = packed::Searcher::new(&words);
        Scanner(Arc::new(Engine { rules, leads, words, automaton, vector }))
    }

    /// The rules it goes by.
    pub fn rules(&self) -> &Rules {
        &self.0.rules
    }

    /// Tells `found` every secret in `haystack`, in the order in which they end.
    pub fn scan(&self, haystack: &[u8], _options: &Options, found: &mut impl FnMut(Found)) {
        let engine = &*self.0;
        let window = Window { bytes: haystack, ended: true };
        let mut from = 0;
        while let Some((start, words)) = engine.next(haystack, from) {
            from = start + 1;
            for word in words {
                if let Verdict::Hit(hit) = engine.judge(word, window, start) {
                    from = from.max(hit.end);
                    found(engine.found(hit, 0));
                }
            }
        }
    }

    /// The secrets in `haystack`.
    pub fn find(&self, haystack: &[u8]) -> Vec<Found> {
        let mut all = Vec::new();
        self.scan(haystack, &Options::default(), &mut |found| all.push(found));
        all
    }
}

impl fmt::Debug for Scanner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Scanner").field(&self.0.rules).finish()
    }
}

impl Engine {
    /// The next anchor at `from` or later: where it begins, and the words that it may be.
    fn next(&self, haystack: &[u8], from: usize) -> Option<(usize, Vec<usize>)> {
        match &self.vector {
            Some(vector) if haystack.len() - from >= SHORT => {
                let span = aho_corasick::Span { start: from, end: haystack.len() };
                let found = vector.find_in(haystack, span)?;
                Some((found.start(), vec![found.pattern().as_usize()]))
            }
            _ => {
                let mut state = ROOT;
                let read = self.automaton.run(&mut state, &haystack[from..])?;
                let words = self.automaton.ends(state);
                let longest =
                    words.iter().map(|word| self.words[usize::from(*word)].len()).max()?;
                Some((from + read - longest, vec![usize::from(words[0])]))
            }
        }
    }

    /// How long a word is.
    pub(crate) fn word_length(&self, word: usize) -> usize {
        self.words[word].len()
    }

    /// Judges the text at the anchor `word`, which begins at `start`.
    pub(crate) fn judge(&self, word: usize, window: Window<'_>, start: usize) -> Verdict {
        let mut more = None;
        for lead in &self.leads[word] {
            match self.follow(*lead, window, start) {
                Verdict::No => {}
                Verdict::More { least } => more = Some(more.unwrap_or(least).min(least)),
                hit @ Verdict::Hit(_) => return hit,
            }
        }
        more.map_or(Verdict::No, |least| Verdict::More { least })
    }

    fn follow(&self, lead: Lead, window: Window<'_>, start: usize) -> Verdict {
        match lead {
            Lead::Anthropic(first) => anthropic::judge_plain(window, start, first),
            Lead::VirtualKey(rule) => virtual_key::judge_plain(window, start, rule),
            Lead::Shape(rule) | Lead::Custom(rule) => match &self.rules.list[rule].1 {
                Detector::Shape(shape) => shape.judge(window, start, rule),
                Detector::Custom(custom) => custom.judge(window, start, rule),
                Detector::Anthropic | Detector::VirtualKey => Verdict::No,
            },
        }
    }

    /// A hit as people get it; `base` is where its window begins.
    pub(crate) fn found(&self, hit: Hit, base: usize) -> Found {
        let rule: Arc<Rule> = Arc::clone(&self.rules.list[hit.rule].0);
        let range = base + hit.start..base + hit.end;
        Found { rule, range, secret: hit.secret, via: hit.via, confidence: hit.confidence }
    }
}

#[cfg(test)]
mod tests;

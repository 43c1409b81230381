//! Scans text that comes in pieces and says how much of it may go on.
//!
//! While nothing in the text begins like a key, everything may go on but the last few bytes if they
//! could begin one: seven at most. From an anchor on everything is held back until it is known what
//! it is. Nothing is kept but the last bytes, and what is held back.

use crate::automaton::{ROOT, State};
use crate::custom::BEFORE;
use crate::found::Found;
use crate::gates::is_key_char;
use crate::judge::{Verdict, Window};
use crate::scanner::Scanner;

/// What is held back for one anchor at most, in bytes; what is longer is judged as if it ended.
pub const HELD_MAX: usize = 8192;

/// What a piece brought.
#[derive(Debug, Default)]
pub struct Progress {
    /// What was found, by its place in the whole stream.
    pub found: Vec<Found>,
    /// How many bytes from the beginning of the stream may go on. Never falls.
    pub safe: usize,
}

/// Scans one text that comes in pieces, cut anywhere.
#[derive(Debug)]
pub struct StreamScanner {
    scanner: Scanner,
    state: State,
    /// Bytes that came.
    seen: usize,
    safe: usize,
    /// The last bytes before `held`, or the last that came.
    context: Vec<u8>,
    /// What waits for a decision, with what stood before it; empty when nothing does.
    held: Vec<u8>,
    waiting: Option<Waiting>,
}

/// An anchor that is not decided.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    word: usize,
    /// Where the anchor begins, in `held`.
    start: usize,
    /// So many bytes more, or one that is no key character, before it is worth asking again.
    least: usize,
}

impl StreamScanner {
    /// At the beginning of a text.
    pub fn new(scanner: &Scanner) -> StreamScanner {
        StreamScanner {
            scanner: scanner.clone(),
            state: ROOT,
            seen: 0,
            safe: 0,
            context: Vec::new(),
            held: Vec::new(),
            waiting: None,
        }
    }

    /// Takes the next piece.
    pub fn push(&mut self, piece: &[u8]) -> Progress {
        let mut progress = Progress::default();
        if self.waiting.is_none() {
            self.held.append(&mut self.context);
        }
        self.seen += piece.len();
        let from = self.held.len();
        self.held.extend_from_slice(piece);
        if self.still_waits(piece) {
            progress.safe = self.safe;
            return progress;
        }
        self.read(from, false, &mut progress.found);
        progress.safe = self.safe;
        progress
    }

    /// Whether the anchor that waits cannot be decided with this piece either.
    fn still_waits(&mut self, piece: &[u8]) -> bool {
        let Some(waiting) = &mut self.waiting else { return false };
        waiting.least = waiting.least.saturating_sub(piece.len());
        waiting.least > 0 && piece.iter().all(|byte| is_key_char(*byte))
    }

    /// The text ends here: all that is held back is judged as it is, and may go on.
    pub fn finish(&mut self) -> Progress {
        let mut progress = Progress::default();
        if self.waiting.is_none() {
            self.held.append(&mut self.context);
        }
        self.read(self.held.len(), true, &mut progress.found);
        self.safe = self.seen;
        self.held.clear();
        self.context.clear();
        self.state = ROOT;
        progress.safe = self.safe;
        progress
    }

    /// Reads `held` from `from` on, or from where it waits.
    fn read(&mut self, from: usize, ended: bool, found: &mut Vec<Found>) {
        let engine = std::sync::Arc::clone(&self.scanner.0);
        let base = self.seen - self.held.len();
        let mut from = from;
        loop {
            let (word, start) = match self.waiting.take() {
                Some(waiting) => {
                    from = waiting.start + engine.word_length(waiting.word);
                    (waiting.word, waiting.start)
                }
                None => {
                    let Some(read) = engine.automaton.run(&mut self.state, &self.held[from..])
                    else {
                        break;
                    };
                    from += read;
                    let word = usize::from(engine.automaton.ends(self.state)[0]);
                    (word, from - engine.word_length(word))
                }
            };
            let ended = ended || self.held.len() - start >= HELD_MAX;
            match engine.judge(word, Window { bytes: &self.held, ended }, start) {
                Verdict::No => {}
                Verdict::Hit(hit) => {
                    from = from.max(hit.end);
                    self.state = ROOT;
                    found.push(engine.found(hit, base));
                }
                Verdict::More { least } => {
                    self.waiting = Some(Waiting { word, start, least });
                    self.safe = self.safe.max(base + start);
                    self.forget(start);
                    return;
                }
            }
        }
        self.safe = self.safe.max(self.seen - engine.automaton.depth(self.state));
        let keep = self.held.len().saturating_sub(BEFORE);
        self.context.extend_from_slice(&self.held[keep..]);
        self.held.clear();
    }

    /// Drops what lies too far before the anchor that waits.
    fn forget(&mut self, start: usize) {
        let drop = start.saturating_sub(BEFORE);
        self.held.drain(..drop);
        if let Some(waiting) = &mut self.waiting {
            waiting.start -= drop;
        }
    }
}

#[cfg(test)]
mod tests;

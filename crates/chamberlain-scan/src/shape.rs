//! Tokens of other providers: a prefix that is theirs alone, then parts of exact alphabets and
//! lengths. A table of such shapes lies in `pack.rs`.

use crate::found::Via;
use crate::gates::looks_random;
use crate::judge::{Hit, Verdict, Window};
use crate::rule::{Confidence, Family, Rule, Severity};
use crate::secret::Secret;

/// The characters that a part is made of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Class {
    Digit,
    /// Hexadecimal, small letters.
    Hex,
    /// Capital letters and digits.
    Upper,
    Alpha,
    Alnum,
    /// Letters, digits, `-`, `_`.
    Word,
    /// Base64 of either alphabet, with its padding.
    Base64,
    /// What a routable token has: [`Class::Word`] and dots.
    Dotted,
}

impl Class {
    fn has(self, byte: u8) -> bool {
        match self {
            Class::Digit => byte.is_ascii_digit(),
            Class::Hex => byte.is_ascii_digit() || matches!(byte, b'a'..=b'f'),
            Class::Upper => byte.is_ascii_digit() || byte.is_ascii_uppercase(),
            Class::Alpha => byte.is_ascii_alphabetic(),
            Class::Alnum => byte.is_ascii_alphanumeric(),
            Class::Word => byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'),
            Class::Base64 => {
                byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=' | b'-' | b'_')
            }
            Class::Dotted => Class::Word.has(byte) || byte == b'.',
        }
    }

    /// Of how many equally likely characters a random text of that length looks at least.
    fn ways(self, length: usize) -> usize {
        match self {
            Class::Digit => 2.min(length / 4),
            Class::Hex => 5.min(length / 4),
            _ => 11.min(length / 3),
        }
    }
}

/// A piece of a token.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Part {
    /// Exactly this.
    Is(&'static str),
    /// From so many to so many characters of a class, as many as there are.
    Run(Class, usize, usize),
    /// A run that must look random.
    Secret(Class, usize, usize),
}

/// The exact shape of one kind of token.
#[derive(Debug)]
pub(crate) struct Shape {
    pub id: &'static str,
    pub title: &'static str,
    pub provider: &'static str,
    pub family: Family,
    pub severity: Severity,
    /// What it may begin with.
    pub prefixes: &'static [&'static str],
    pub parts: &'static [Part],
    pub confidence: Confidence,
}

/// An anchor is no longer, so that no stream holds back more than seven characters for its sake.
pub(crate) const ANCHOR_MAX: usize = 8;

impl Shape {
    pub(crate) fn rule(&self) -> Rule {
        Rule {
            id: self.id.into(),
            title: self.title.into(),
            provider: self.provider.into(),
            family: self.family,
            severity: self.severity,
            how: format!(
                "{}, then characters and lengths as documented",
                self.prefixes.join(" or ")
            )
            .into(),
            open: self.prefixes.iter().map(|prefix| prefix.len()).min().unwrap_or(0),
        }
    }

    /// The beginnings of its prefixes, which are searched for.
    pub(crate) fn anchors(&self) -> impl Iterator<Item = &'static [u8]> {
        self.prefixes.iter().map(|prefix| &prefix.as_bytes()[..prefix.len().min(ANCHOR_MAX)])
    }

    /// Judges the text at an anchor that begins at `start`.
    pub(crate) fn judge(&self, window: Window<'_>, start: usize, rule: usize) -> Verdict {
        if !begins_alone(&window.bytes[..start]) {
            return Verdict::No;
        }
        let rest = &window.bytes[start..];
        let mut wait = None;
        for prefix in self.prefixes.iter().map(|prefix| prefix.as_bytes()) {
            if rest.starts_with(prefix) {
                return self.parts(window, start, start + prefix.len(), rule);
            }
            if !window.ended && prefix.starts_with(rest) {
                wait = Some(Verdict::More { least: prefix.len() - rest.len() });
            }
        }
        wait.unwrap_or(Verdict::No)
    }

    fn parts(&self, window: Window<'_>, start: usize, body: usize, rule: usize) -> Verdict {
        let mut at = body;
        let mut last = None;
        for part in self.parts {
            let rest = &window.bytes[at..];
            let (length, random) = match *part {
                Part::Is(text) if rest.starts_with(text.as_bytes()) => (text.len(), None),
                Part::Is(text) if !window.ended && text.as_bytes().starts_with(rest) => {
                    return Verdict::More { least: 1 };
                }
                Part::Is(_) => return Verdict::No,
                Part::Run(class, min, max) | Part::Secret(class, min, max) => {
                    let run = rest.iter().take(max + 1).take_while(|byte| class.has(**byte));
                    let length = run.count();
                    if length == rest.len() && length <= max && !window.ended {
                        return Verdict::More { least: (min.max(length + 1)) - length };
                    }
                    if length < min || length > max {
                        return Verdict::No;
                    }
                    last = Some(class);
                    (length, matches!(part, Part::Secret(..)).then_some(class))
                }
            };
            let text = &rest[..length];
            if random.is_some_and(|class| !looks_random(text, class.ways(length))) {
                return Verdict::No;
            }
            at += length;
        }
        // A word that goes on is another word.
        let goes_on = window.bytes.get(at).is_some_and(|byte| byte.is_ascii_alphanumeric());
        if goes_on && last != Some(Class::Base64) {
            return Verdict::No;
        }
        let secret = Secret::new(&window.bytes[start..at]);
        let (via, confidence) = (Via::PLAIN, self.confidence);
        Verdict::Hit(Hit { rule, start, end: at, secret, via, confidence })
    }
}

/// Whether what comes before does not run into the token: a letter or digit does, unless it ends an
/// escape, as the `n` of `\n` and the digits of `%3D`.
pub(crate) fn begins_alone(before: &[u8]) -> bool {
    let Some(last) = before.last() else { return true };
    if !last.is_ascii_alphanumeric() {
        return true;
    }
    let ends = |length: usize, start: &[u8]| {
        before.len() >= length && before[before.len() - length..].starts_with(start)
    };
    let hex = |count: usize| {
        before.len() >= count && before[before.len() - count..].iter().all(u8::is_ascii_hexdigit)
    };
    (b"nrtbfv0aenu".contains(last) && ends(2, b"\\"))
        || hex(2) && (ends(3, b"%") || ends(3, b"=") || ends(4, b"\\x"))
        || hex(4) && ends(6, b"\\u")
        || *last == b'm' && ansi(before)
}

/// Whether `before` ends with an instruction to a terminal, `ESC [ 1 ; 32 m`.
fn ansi(before: &[u8]) -> bool {
    let codes = before[..before.len() - 1].iter().rev();
    let skipped = codes.take_while(|byte| byte.is_ascii_digit() || **byte == b';').count();
    before[..before.len() - 1 - skipped].ends_with(b"[")
}

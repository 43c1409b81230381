//! Anthropic's credentials: `sk-ant-`, a kind (`api03`), `-`, a body.
//!
//! Bodies of API and admin keys have 95 characters. How long those of the other kinds are is not
//! documented, so all that follows counts, from forty characters on. What speaks for a real key
//! beyond that, the form 86 + `-` + 6 + `AA`, raises the confidence and is never asked for.

use crate::chars::{Chars, Pull};
use crate::found::Via;
use crate::gates::{is_key_char, looks_random};
use crate::judge::{Hit, Verdict, Window};
use crate::rule::{Confidence, Family, Rule, Severity};
use crate::secret::Secret;

/// What all of them begin with.
pub(crate) const PREFIX: &[u8] = b"sk-ant-";

/// The body of an API key or an admin key.
const BODY: usize = 95;
/// The least of any other kind.
const BODY_MIN: usize = 40;
/// The most that is taken for one.
const BODY_MAX: usize = 512;
/// Letters and digits of a kind.
const KIND_MAX: usize = 8 + 2;
const LONGEST: usize = PREFIX.len() + KIND_MAX + 1 + BODY_MAX;

/// The kinds, in the order of [`rules`]; the last is all others.
const KINDS: [&[u8]; 5] = [b"api", b"admin", b"oat", b"ort", b"sid"];

/// Their rules.
pub(crate) fn rules() -> [Rule; 6] {
    let rule = |id: &'static str, title: &'static str, open, severity, how: &'static str| Rule {
        id: id.into(),
        title: title.into(),
        provider: "Anthropic".into(),
        family: Family::Anthropic,
        severity,
        how: how.into(),
        open,
    };
    const FIXED: &str = "sk-ant-, kind and 95 characters that look random, in any near-miss form";
    const OPEN: &str = "sk-ant-, kind and at least 40 characters that look random";
    [
        rule("anthropic-api-key", "Anthropic API key", 13, Severity::Critical, FIXED),
        rule("anthropic-admin-key", "Anthropic admin key", 15, Severity::Critical, FIXED),
        rule("anthropic-oauth-token", "Anthropic OAuth access token", 13, Severity::High, OPEN),
        rule("anthropic-refresh-token", "Anthropic OAuth refresh token", 13, Severity::High, OPEN),
        rule("anthropic-session-key", "claude.ai session key", 13, Severity::High, OPEN),
        rule("anthropic-other", "Anthropic credential of another kind", 7, Severity::High, OPEN),
    ]
}

/// A credential as it is read, character by character.
struct Reading {
    text: [u8; LONGEST],
    length: usize,
    /// Where the body begins, once the kind has been read.
    body: usize,
    kind: usize,
}

impl Drop for Reading {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.text[..self.length]);
    }
}

/// Judges the text at an anchor: `chars` read what follows [`PREFIX`], which begins at `start`.
pub(crate) fn judge(start: usize, mut chars: Chars<'_>, first_rule: usize) -> Verdict {
    if let Some(verdict) = refuse_early(chars) {
        return verdict;
    }
    let mut reading = Reading { text: [0; LONGEST], length: PREFIX.len(), body: 0, kind: 0 };
    reading.text[..PREFIX.len()].copy_from_slice(PREFIX);
    let mut end = chars.at;
    loop {
        if reading.length - reading.body == BODY && reading.body > 0 && reading.is_fixed() {
            break;
        }
        let mut ahead = chars;
        match ahead.pull() {
            Pull::More => return Verdict::More { least: reading.wanting() },
            Pull::Char(byte) if reading.length < LONGEST && reading.take(byte) => {
                chars = ahead;
                end = chars.at;
            }
            Pull::Char(_) | Pull::End => break,
        }
    }
    reading.verdict(start, end, chars.via, first_rule)
}

/// A prefix that no kind follows is told apart without reading on.
fn refuse_early(chars: Chars<'_>) -> Option<Verdict> {
    let first = *chars.window.bytes.get(chars.at)?;
    let starts_kind = first.is_ascii_lowercase() || b"%\\&=".contains(&first);
    (!starts_kind).then_some(Verdict::No)
}

impl Reading {
    /// Takes the next character, if it can belong.
    fn take(&mut self, byte: u8) -> bool {
        let kind = &self.text[PREFIX.len()..self.length];
        let fits = if self.body > 0 {
            is_key_char(byte)
        } else {
            let letters = kind.iter().take_while(|byte| byte.is_ascii_lowercase()).count();
            match byte {
                b'a'..=b'z' => letters == kind.len() && letters < 8,
                b'0'..=b'9' => letters >= 2 && kind.len() - letters < 2,
                b'-' => kind.len() == letters + 2,
                _ => false,
            }
        };
        if !fits {
            return false;
        }
        self.text[self.length] = byte;
        self.length += 1;
        if self.body == 0 && byte == b'-' {
            self.body = self.length;
            let letters = &self.text[PREFIX.len()..self.length - 3];
            self.kind = KINDS.iter().position(|kind| *kind == letters).unwrap_or(KINDS.len());
        }
        true
    }

    fn is_fixed(&self) -> bool {
        self.kind < 2
    }

    /// How many more characters it takes at least to say anything.
    fn wanting(&self) -> usize {
        let least = if self.is_fixed() { BODY } else { BODY_MAX };
        if self.body == 0 { 1 } else { (least + self.body).saturating_sub(self.length).max(1) }
    }

    fn verdict(&self, start: usize, end: usize, via: Via, first_rule: usize) -> Verdict {
        let body = &self.text[self.body..self.length];
        let (least, ways) = if self.is_fixed() { (BODY, 16) } else { (BODY_MIN, 11) };
        if self.body == 0 || body.len() < least || !looks_random(body, ways) {
            return Verdict::No;
        }
        let secret = Secret::new(&self.text[..self.length]);
        let confidence = confidence(body, self.kind == KINDS.len());
        Verdict::Hit(Hit { rule: first_rule + self.kind, start, end, secret, via, confidence })
    }
}

fn confidence(body: &[u8], is_other: bool) -> Confidence {
    match () {
        () if body.len() == BODY && body[86] == b'-' && body.ends_with(b"AA") => Confidence::High,
        () if is_other => Confidence::Low,
        () => Confidence::Medium,
    }
}

/// Judges an anchor `sk-ant-` that stands there as it is.
pub(crate) fn judge_plain(window: Window<'_>, start: usize, first_rule: usize) -> Verdict {
    judge(start, Chars::new(window, start + PREFIX.len()), first_rule)
}

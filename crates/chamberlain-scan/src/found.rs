//! What a scan finds.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use crate::rule::{Confidence, Rule};
use crate::secret::Secret;

/// A step between the bytes that were read and the secret that was meant.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Step {
    /// Base64, with either alphabet.
    Base64,
    /// Two hexadecimal digits a byte.
    Hex,
    /// `%2D`, as in URLs.
    Percent,
    /// `\u002d` or `\x2d`, as in JSON and in program text.
    Escape,
    /// `&#45;`, as in HTML and XML.
    Entity,
    /// `=2D`, as in mail.
    QuotedPrintable,
    /// Two bytes a character.
    Utf16,
    /// Broken over lines.
    Wrapped,
    /// Put together from pieces, as in `"sk-" + "…"`.
    Split,
}

const STEPS: [(Step, &str); 9] = [
    (Step::Base64, "base64"),
    (Step::Hex, "hex"),
    (Step::Percent, "percent"),
    (Step::Escape, "escape"),
    (Step::Entity, "entity"),
    (Step::QuotedPrintable, "quoted-printable"),
    (Step::Utf16, "utf-16"),
    (Step::Wrapped, "wrapped"),
    (Step::Split, "split"),
];

impl Step {
    /// The name that reports use.
    pub fn name(self) -> &'static str {
        STEPS[self as usize].1
    }
}

/// All steps of one finding; none when the secret stands there as it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Via(u16);

impl Via {
    /// The secret stands there as it is.
    pub const PLAIN: Via = Via(0);

    /// Whether the secret stands there as it is.
    pub fn is_plain(self) -> bool {
        self == Via::PLAIN
    }

    /// The steps, in the order of [`Step`].
    pub fn steps(self) -> impl Iterator<Item = Step> {
        STEPS.iter().map(|(step, _)| *step).filter(move |step| self.has(*step))
    }

    /// Whether one of the steps is this.
    pub fn has(self, step: Step) -> bool {
        self.0 & (1 << step as u16) != 0
    }

    pub(crate) fn add(&mut self, step: Step) {
        self.0 |= 1 << step as u16;
    }
}

impl From<Step> for Via {
    fn from(step: Step) -> Via {
        Via(1 << step as u16)
    }
}

/// `plain`, or the names of the steps with commas between them.
impl fmt::Display for Via {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_plain() {
            return f.write_str("plain");
        }
        for (at, step) in self.steps().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            write!(f, "{comma}{}", step.name())?;
        }
        Ok(())
    }
}

/// A secret that was found. Prints no secret.
#[derive(Clone, Debug)]
pub struct Found {
    /// The rule that found it.
    pub rule: Arc<Rule>,
    /// Where it stands: bytes of the haystack, or of the stream from its beginning. Covers all that
    /// wrote the secret, escapes and breaks included.
    pub range: Range<usize>,
    /// The secret as it was meant.
    pub secret: Secret,
    /// What lies between the bytes and the secret.
    pub via: Via,
    /// How sure it is.
    pub confidence: Confidence,
}

impl Found {
    /// What people may see of the secret.
    pub fn masked(&self) -> String {
        self.secret.masked(self.rule.open)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_named_in_their_order() {
        assert!(STEPS.iter().enumerate().all(|(at, (step, _))| *step as usize == at));
        let mut via = Via::PLAIN;
        assert_eq!(via.to_string(), "plain");
        via.add(Step::Wrapped);
        via.add(Step::Base64);
        assert_eq!(via.to_string(), "base64,wrapped");
        assert!(via.has(Step::Base64) && !via.has(Step::Hex));
    }
}

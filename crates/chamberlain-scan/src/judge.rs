//! What a detector is asked, and what it answers: an anchor stands here; is it a secret?

use crate::found::Via;
use crate::rule::Confidence;
use crate::secret::Secret;

/// What is known of the text around an anchor.
#[derive(Clone, Copy)]
pub(crate) struct Window<'a> {
    pub bytes: &'a [u8],
    /// Whether nothing follows.
    pub ended: bool,
}

/// The answer.
pub(crate) enum Verdict {
    /// It is nothing.
    No,
    /// It is a secret.
    Hit(Hit),
    /// Nobody can say before there is more text: this many bytes, or one that is no key character.
    More { least: usize },
}

/// A secret in a window.
pub(crate) struct Hit {
    /// The rule, by its place in the list.
    pub rule: usize,
    pub start: usize,
    pub end: usize,
    pub secret: Secret,
    pub via: Via,
    pub confidence: Confidence,
}

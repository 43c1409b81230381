//! Rules of the one who scans: words that a secret's text must hold, a regular expression around
//! them, and what does not count.

use std::borrow::Cow;

use regex_automata::Input;
use regex_automata::meta::Regex;
use regex_automata::util::syntax;

use crate::found::Via;
use crate::gates::entropy;
use crate::judge::{Hit, Verdict, Window};
use crate::rule::{Confidence, Family, Rule, Severity};
use crate::secret::Secret;

/// What a compiled expression may take, in bytes.
const EXPRESSION_MAX: usize = 1 << 20;
/// Longer words find nothing more.
const ANCHOR_MAX: usize = 32;
/// Shorter words stand everywhere.
const ANCHOR_MIN: usize = 3;
/// So many rules of one's own.
pub(crate) const RULES_MAX: usize = 500;
/// How far before its word a match may begin.
pub(crate) const BEFORE: usize = 64;
/// The longest match, unless the rule says otherwise.
const LONGEST: usize = 256;
const LONGEST_MAX: usize = 4096;

/// A rule of one's own, as a configuration has it.
#[derive(Clone, Debug)]
pub struct CustomRule {
    /// Its name: small letters, digits and `-`.
    pub id: String,
    /// What it finds, for people.
    pub title: String,
    /// How bad it is in strange hands.
    pub severity: Severity,
    /// Words of 3 to 32 bytes of ASCII, one of which is in every match, within 64 bytes of its
    /// beginning. The expression is only tried around them.
    pub anchors: Vec<String>,
    /// The expression, in the syntax of Rust's `regex`. Its first group is the secret; without a
    /// group all of it is.
    pub regex: String,
    /// The longest match in bytes; 256 if not said, 4096 at most. A stream holds back no more than
    /// this from an anchor on.
    pub longest: Option<usize>,
    /// Bits of Shannon's entropy a character that the secret must have.
    pub min_entropy: Option<f64>,
    /// Expressions; a secret that one of them matches is none.
    pub allow: Vec<String>,
}

/// Why a rule of one's own cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("rule {rule:?}: {problem}")]
pub struct CustomError {
    /// The rule's name.
    pub rule: String,
    /// What is wrong, and what to do.
    pub problem: String,
}

/// A rule of one's own, ready for use.
pub(crate) struct Custom {
    pub rule: Rule,
    pub anchors: Vec<Vec<u8>>,
    regex: Regex,
    longest: usize,
    min_entropy: f64,
    allow: Vec<Regex>,
}

impl Custom {
    pub(crate) fn new(rule: CustomRule) -> Result<Custom, CustomError> {
        let id = rule.id.clone();
        Custom::compile(rule).map_err(|problem| CustomError { rule: id, problem })
    }

    fn compile(rule: CustomRule) -> Result<Custom, String> {
        let is_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if rule.id.is_empty() || !rule.id.bytes().all(is_name) {
            return Err("an id is made of small letters, digits and -".to_owned());
        }
        let longest = rule.longest.unwrap_or(LONGEST);
        if !(1..=LONGEST_MAX).contains(&longest) {
            return Err(format!("longest must be 1 to {LONGEST_MAX}"));
        }
        let fits = |word: &String| {
            (ANCHOR_MIN..=ANCHOR_MAX).contains(&word.len())
                && word.bytes().all(|b| b.is_ascii_graphic())
        };
        if rule.anchors.is_empty() || !rule.anchors.iter().all(fits) {
            return Err(format!(
                "anchors must be one or more words of {ANCHOR_MIN} to {ANCHOR_MAX} visible ASCII \
                 characters; the expression is only tried around them"
            ));
        }
        Ok(Custom {
            regex: expression(&rule.regex)?,
            allow: rule.allow.iter().map(|text| expression(text)).collect::<Result<_, _>>()?,
            anchors: rule.anchors.iter().map(|word| word.as_bytes().to_vec()).collect(),
            longest,
            min_entropy: rule.min_entropy.unwrap_or(0.0),
            rule: Rule {
                how: format!("{}, with {}", rule.regex, rule.anchors.join(" or ")).into(),
                id: rule.id.into(),
                title: rule.title.into(),
                provider: Cow::Borrowed("own rule"),
                family: Family::Own,
                severity: rule.severity,
                open: 0,
            },
        })
    }

    /// Judges the text around an anchor at `start`.
    pub(crate) fn judge(&self, window: Window<'_>, start: usize, rule: usize) -> Verdict {
        let end = (start + self.longest).min(window.bytes.len());
        if !window.ended && start + self.longest > window.bytes.len() {
            return Verdict::More { least: start + self.longest - window.bytes.len() };
        }
        let mut from = start.saturating_sub(BEFORE);
        while let Some((range, secret)) = self.next_match(window.bytes, from, end) {
            if range.start > start {
                break;
            }
            if range.end > start && self.counts(&window.bytes[secret.clone()]) {
                return Verdict::Hit(Hit {
                    rule,
                    start: secret.start,
                    end: secret.end,
                    secret: Secret::new(&window.bytes[secret]),
                    via: Via::PLAIN,
                    confidence: Confidence::Medium,
                });
            }
            from = range.end.max(from + 1);
        }
        Verdict::No
    }

    /// The next match, and the secret in it.
    fn next_match(
        &self,
        bytes: &[u8],
        from: usize,
        end: usize,
    ) -> Option<(std::ops::Range<usize>, std::ops::Range<usize>)> {
        if from > end {
            return None;
        }
        let mut groups = self.regex.create_captures();
        self.regex.search_captures(&Input::new(bytes).range(from..end), &mut groups);
        let whole = groups.get_match()?.range();
        let secret = groups.get_group(1).map_or(whole.clone(), |span| span.range());
        Some((whole, secret))
    }

    fn counts(&self, secret: &[u8]) -> bool {
        !secret.is_empty()
            && entropy(secret) >= self.min_entropy
            && !self.allow.iter().any(|allowed| allowed.is_match(secret))
    }
}

fn expression(text: &str) -> Result<Regex, String> {
    Regex::builder()
        .configure(Regex::config().utf8_empty(false).nfa_size_limit(Some(EXPRESSION_MAX)))
        .syntax(syntax::Config::new().utf8(false))
        .build(text)
        .map_err(|error| match error.syntax_error() {
            Some(syntax) => format!("the expression {text:?} cannot be read: {syntax}"),
            None => format!("the expression {text:?} cannot be used: {error}"),
        })
}

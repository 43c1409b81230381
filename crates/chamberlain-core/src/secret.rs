//! A secret on its way from one room to the next, and texts that may have one in them.

use std::borrow::Cow;
use std::fmt;

use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::admission::key::PREFIX as VIRTUAL_KEY;
use crate::id::VirtualKeyId;

/// What every credential that Anthropic hands out begins with.
const ANTHROPIC_KEY: &str = "sk-ant-";

/// A run of key characters shorter than this cannot be a whole key: prose may name a prefix.
const SECRET_CHARS_MIN: usize = 20;

/// A text that must not be seen: it prints as `[secret]`, cannot be serialized or cloned, and is
/// overwritten with zeros when dropped.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Secret(String);

impl Secret {
    /// Takes the text over; the caller's copy, if any, is the caller's to wipe.
    pub fn new(text: String) -> Secret {
        Secret(text)
    }

    /// The text itself. Each place that calls this is listed in the tidy test.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// Whether a credential that a client offers is one of Anthropic's own (an API key, an admin key,
/// an access token). Such a one is refused, never forwarded and never kept.
pub fn looks_like_anthropic_key(text: &str) -> bool {
    let text = text.trim_start();
    // Clients also send what a header held, `Bearer sk-ant-…`.
    let bare = match text.split_once(' ') {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("bearer") => rest.trim_start(),
        _ => text,
    };
    bare.get(..ANTHROPIC_KEY.len()).is_some_and(|start| start.eq_ignore_ascii_case(ANTHROPIC_KEY))
}

/// `text` without the secret part of anything in it that has the shape of an Anthropic key
/// (`sk-ant-…`) or of a virtual key (`chm_<public id>_…`). Costs no allocation when there is none.
pub fn redact(text: &str) -> Cow<'_, str> {
    if !may_hold_key(text) {
        return Cow::Borrowed(text);
    }
    let mut clean = String::new();
    let mut rest = text;
    while let Some((before, kept, after)) = next_secret(rest) {
        clean.push_str(before);
        clean.push_str(kept);
        clean.push_str("[redacted]");
        rest = after;
    }
    if clean.is_empty() {
        return Cow::Borrowed(text);
    }
    clean.push_str(rest);
    Cow::Owned(clean)
}

/// False when nothing in `text` begins as a key does. Asked for every text of every record.
fn may_hold_key(text: &str) -> bool {
    let begins = |prefix: &str, four: &[u8]| prefix.as_bytes().starts_with(four);
    text.as_bytes().windows(4).any(|four| begins(ANTHROPIC_KEY, four) || begins(VIRTUAL_KEY, four))
}

/// Splits at the first secret: what comes before it, its part that may be shown, what comes after.
fn next_secret(text: &str) -> Option<(&str, &str, &str)> {
    let mut from = 0;
    loop {
        let start = [ANTHROPIC_KEY, VIRTUAL_KEY]
            .iter()
            .filter_map(|prefix| text[from..].find(prefix))
            .min()
            .map(|at| from + at)?;
        let found = &text[start..];
        let length = found
            .bytes()
            .take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
            .count();
        let shown = shown_chars(&found[..length]);
        if length - shown >= SECRET_CHARS_MIN {
            return Some((&text[..start], &found[..shown], &found[length..]));
        }
        // Both prefixes are four bytes of ASCII or more, so this stays on a character.
        from = start + VIRTUAL_KEY.len();
    }
}

/// How much of something key-shaped is not secret: the prefix, and a virtual key's public id.
fn shown_chars(key: &str) -> usize {
    if key.starts_with(ANTHROPIC_KEY) {
        return ANTHROPIC_KEY.len();
    }
    match key[VIRTUAL_KEY.len()..].split_once('_') {
        Some((id, _)) if VirtualKeyId::is_well_formed(id) => VIRTUAL_KEY.len() + id.len() + 1,
        _ => VIRTUAL_KEY.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn real_key() -> String {
        format!("sk-ant-{}-{}AA", "api03", "Ab3_-".repeat(18))
    }

    #[test]
    fn anthropic_keys_are_recognised() {
        for offered in [real_key(), format!("  {}", real_key()), format!("bearer {}", real_key())] {
            assert!(looks_like_anthropic_key(&offered), "one of three was missed");
        }
        assert!(looks_like_anthropic_key("SK-ANT-x"));
        for other in ["", "sk-", "sk-an", "sk-proj-1", "chm_a_b", "my sk-ant-", "é-ant-xx"] {
            assert!(!looks_like_anthropic_key(other), "{other}");
        }
    }

    #[test]
    fn secrets_are_cut_out_of_texts() {
        let minted = crate::admission::key::mint([7; 16], [9; 43]);
        let text = format!("a {} b \"{}\" c", real_key(), minted.text.expose());
        let expected = format!("a sk-ant-[redacted] b \"chm_{}_[redacted]\" c", minted.id);
        assert_eq!(redact(&text), expected);
        // Anything else of ours, such as a master key, is all secret.
        let master = format!("chm_master_{}", "aB3_-".repeat(8));
        assert_eq!(redact(&master), "chm_[redacted]");
    }

    #[test]
    fn prose_about_keys_stays() {
        for text in [
            "a key begins with sk-ant- or chm_",
            "admin keys (sk-ant-admin01-) are refused",
            "sk-ant-api03-R2D...igAA",
            "chm_0123456789abcdef is frozen",
            "chm_é sk-ant-é",
            "",
        ] {
            assert_eq!(redact(text), text);
            assert!(matches!(redact(text), Cow::Borrowed(_)));
        }
    }

    #[test]
    fn a_secret_prints_nothing() {
        let secret = Secret::new(real_key());
        assert_eq!(format!("{secret:?} {:#?}", Some(&secret)), "[secret] Some(\n    [secret],\n)");
    }
}

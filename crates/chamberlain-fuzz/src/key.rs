//! Virtual keys: what is taken for one has exactly the form of one, and another text is another
//! key.

use std::str;

use chamberlain_core::admission::key::{PREFIX, PresentedKey, mint};
use chamberlain_scan::{Rules, Scanner};

pub(crate) fn holds(bytes: &[u8]) {
    if let Ok(text) = str::from_utf8(bytes) {
        taken(text);
        // Kept bytes must not look like a key themselves, so they may leave its beginning out.
        taken(&format!("{PREFIX}{text}"));
    }
    minted(bytes);
}

fn taken(text: &str) {
    let Some(presented) = PresentedKey::parse(text) else { return };
    let secret = &text[text.len() - 43..];
    assert_eq!(format!("{PREFIX}{}_{secret}", presented.id), text, "it has no second spelling");
    assert!(text.is_ascii() && !text.contains(char::is_whitespace));
    let id = presented.id.as_str();
    assert!(PresentedKey::parse(&text[1..]).is_none() && PresentedKey::parse(id).is_none());
}

/// A key that is made is read as itself, and none that differs from it in a character is.
fn minted(bytes: &[u8]) {
    let byte = |at: usize| bytes.get(at).copied().unwrap_or_default();
    let key = mint(std::array::from_fn(byte), std::array::from_fn(|at| byte(16 + at)));
    let text = key.text.expose();
    scanned(text);
    let same = PresentedKey::parse(text).expect("what is made has the form");
    assert_eq!((&same.id, same.secret_hash), (&key.id, key.secret_hash));
    let at = usize::from(byte(59)) % text.len();
    let mut other = text.as_bytes().to_vec();
    other[at] = byte(60);
    let Some(other) = str::from_utf8(&other).ok().filter(|other| *other != text) else { return };
    if let Some(other) = PresentedKey::parse(other) {
        assert!(other.id != key.id || other.secret_hash != key.secret_hash);
    }
}

/// The scanner, which knows the form for itself, takes what is made for a key.
fn scanned(text: &str) {
    let found = Scanner::new(Rules::anthropic()).find(text.as_bytes());
    let [found] = found.as_slice() else { panic!("{} were found in a key", found.len()) };
    assert_eq!((found.rule.id.as_ref(), found.range.clone()), ("chamberlain-virtual-key", 0..64));
}

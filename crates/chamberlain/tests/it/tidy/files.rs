//! What must not be committed.

use std::fs;

use super::repository::{files, none, read, root};

/// A run of key characters after the prefix that is this long could be a whole key.
const KEY_CHARS_MIN: usize = 40;

/// Every file that is text.
fn texts() -> Vec<(String, String)> {
    let read = |path: String| {
        let text = String::from_utf8(fs::read(root().join(&path)).ok()?).ok()?;
        Some((path, text))
    };
    files().into_iter().filter_map(read).collect()
}

#[test]
fn nothing_is_shaped_like_a_key() {
    let mut found = Vec::new();
    for (path, text) in texts() {
        // Written apart, so that this file does not speak of itself.
        for prefix in [concat!("sk-", "ant-"), concat!("chm", "_")] {
            for (at, _) in text.match_indices(prefix) {
                let rest = text[at + prefix.len()..].bytes();
                let run = rest.take_while(|b| b.is_ascii_alphanumeric() || b"-_".contains(b));
                if run.count() >= KEY_CHARS_MIN {
                    let line = text[..at].lines().count().max(1);
                    found.push(format!("{path}:{line}"));
                }
            }
        }
    }
    none(found, "texts in the shape of a key; make test keys at run time");
}

#[test]
fn no_machine_is_named() {
    let mut found = Vec::new();
    for (path, text) in texts() {
        for place in [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/")] {
            for (at, _) in text.match_indices(place) {
                let before = text[..at].chars().next_back();
                if !before.is_some_and(|c| c.is_alphanumeric() || c == '.' || c == '_') {
                    let line = text[..at].lines().count().max(1);
                    found.push(format!("{path}:{line} ({place})"));
                }
            }
        }
    }
    none(found, "paths of one machine");
}

#[test]
fn packages_come_from_wherever_the_machine_says() {
    let mut found = Vec::new();
    let forbidden: [(&str, &[&str]); 4] = [
        (".cargo/config.toml", &["[source", "[registr"]),
        ("tests/e2e/typescript/package-lock.json", &["\"resolved\""]),
        ("tests/e2e/typescript/.npmrc", &["//"]),
        ("tests/e2e/python/requirements.txt", &["://", "--index", "--extra", "--trusted"]),
    ];
    for (path, words) in forbidden {
        let text = read(path);
        found.extend(words.iter().filter(|w| text.contains(**w)).map(|w| format!("{path}: {w}")));
    }
    let public = "registry+https://github.com/rust-lang/crates.io-index";
    let sources = read("Cargo.lock");
    let sources = sources.lines().filter_map(|line| line.strip_prefix("source = "));
    let other = sources.filter(|source| source.trim_matches('"') != public);
    found.extend(other.map(|source| format!("Cargo.lock: {source}")));
    none(found, "a place that packages are fetched from is written down");
}

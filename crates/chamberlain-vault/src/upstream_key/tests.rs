use proptest::prelude::*;

use super::*;
use crate::testing::{Seeded, credential, leaks, secret};

fn refusal(text: &str) -> ShapeError {
    UpstreamKey::check(&secret(text)).expect_err("not a key")
}

#[test]
fn a_key_is_taken_without_the_space_around_it() {
    let key = credential("api03", &Seeded::new(1));
    for typed in [key.clone(), format!("  {key}\n"), format!("{key}\r\n"), format!("\t{key} ")] {
        assert_eq!(UpstreamKey::check(&secret(&typed)).unwrap().expose(), key);
    }
    // No promise is made about kinds and lengths to come.
    assert!(UpstreamKey::check(&secret(&credential("api99", &Seeded::new(2)))).is_ok());
    assert!(UpstreamKey::check(&secret("sk-ant-a-fake")).is_ok());
}

#[test]
fn each_mistake_is_named() {
    let entropy = Seeded::new(3);
    let key = credential("api03", &entropy);
    let minted = chamberlain_core::admission::key::mint([1; 16], [2; 43]);
    for (typed, expected) in [
        ("".to_owned(), ShapeError::Empty),
        (" \n".to_owned(), ShapeError::Empty),
        (credential("admin01", &entropy), ShapeError::Admin),
        (credential("oat01", &entropy), ShapeError::AccessToken),
        (credential("ort01", &entropy), ShapeError::SessionToken),
        (credential("sid01", &entropy), ShapeError::SessionToken),
        (credential("cc", &entropy), ShapeError::SessionToken),
        (credential("si", &entropy), ShapeError::SessionToken),
        (minted.text.expose().to_owned(), ShapeError::Virtual),
        (format!("ANTHROPIC_API_KEY={key}"), ShapeError::Assignment),
        (format!("export ANTHROPIC_API_KEY=\"{key}\""), ShapeError::Assignment),
        (format!("\"{key}\""), ShapeError::Quoted),
        (format!("'{key}'"), ShapeError::Quoted),
        (format!("x-api-key: {key}"), ShapeError::Header),
        (format!("Bearer {key}"), ShapeError::Header),
        (key.replacen("sk-ant", "sk-proj", 1), ShapeError::NotAnthropic),
        (key[1..].to_owned(), ShapeError::NotAnthropic),
        (key.to_uppercase(), ShapeError::NotAnthropic),
        (format!("{}\n{}", &key[..50], &key[50..]), ShapeError::Broken),
        (format!("{}…", &key[..50]), ShapeError::Character { place: 51 }),
        (format!("{}\0", &key[..50]), ShapeError::Character { place: 51 }),
        (key[..LENGTH_MIN - 1].to_owned(), ShapeError::Short { length: LENGTH_MIN - 1 }),
        ("sk-ant-".to_owned(), ShapeError::Short { length: 7 }),
        (key.repeat(10), ShapeError::Long { length: 1080 }),
        (key[..107].to_owned(), ShapeError::Cut { length: 107 }),
        (key[..60].to_owned(), ShapeError::Cut { length: 60 }),
        (key.repeat(2), ShapeError::Overlong { length: 216 }),
        (format!("{key}n"), ShapeError::Overlong { length: 109 }),
    ] {
        assert_eq!(refusal(&typed), expected);
    }
}

proptest! {
    #[test]
    fn no_refusal_repeats_what_was_given(text in "\\PC{8,60}", kind in "[a-z]{2,8}", at in 0usize..100) {
        let key = credential(&kind, &Seeded::new(at as u64));
        let mut typed = key.clone();
        typed.insert_str(at, &text);
        if let Err(error) = UpstreamKey::check(&secret(&typed)) {
            let printed = format!("{error} {error:?}");
            prop_assert!(!leaks(&printed, &key) && !printed.contains(&text), "{}", printed);
        }
    }

    #[test]
    fn a_hint_shows_no_more_than_seven_characters(
        kind in "(api03|a|toolongforakind|[A-Z]{3}|)",
        secret in "[A-Za-z0-9_]{0,100}",
    ) {
        let key = format!("sk-ant-{kind}-{secret}");
        let shown = hint(&key);
        let all = &key["sk-ant-".len()..];
        let (first, last) = shown["sk-ant-".len()..].split_once("...").unwrap();
        let first = first.strip_prefix(&format!("{kind}-")).unwrap_or(first);
        prop_assert!(first.len() <= 3 && last.len() <= 4, "{}", shown);
        prop_assert!(all.len() >= 30 || (first.is_empty() && last.is_empty()), "{}", shown);
        prop_assert!(last.is_empty() || key.ends_with(last));
    }
}

#[test]
fn a_hint_looks_like_the_console_s() {
    let key = format!("sk-ant-{}-R2D{}igAA", "api03", "x".repeat(88));
    let key = UpstreamKey::check(&secret(&key)).unwrap();
    assert_eq!(key.hint(), "sk-ant-api03-R2D...igAA");
    assert_eq!(format!("{key:?} {key:#?}"), "[upstream key] [upstream key]");
    for odd in ["", "sk-ant-", "sk-ant-api03-short", "something else", "éééé"] {
        assert_eq!(hint(odd), "sk-ant-...");
    }
    assert_eq!(hint(&"é".repeat(40)), "sk-ant-...");
}

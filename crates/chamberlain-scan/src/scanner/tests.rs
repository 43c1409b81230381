use super::*;
use crate::rule::Confidence;
use crate::testing::{KEY_CHARS, Random, random_form, real_form, virtual_key};

fn scanner() -> Scanner {
    Scanner::new(Rules::builtin())
}

/// The rule, the place and the secret of each that is found.
fn seen(scanner: &Scanner, text: &[u8]) -> Vec<(String, std::ops::Range<usize>, String)> {
    let all = scanner.find(text);
    let secret = |found: &Found| String::from_utf8_lossy(found.secret.expose()).into_owned();
    all.iter()
        .map(|found| (found.rule.id.to_string(), found.range.clone(), secret(found)))
        .collect()
}

#[test]
fn every_kind_of_anthropics_is_found_in_both_forms() {
    let scanner = scanner();
    let mut random = Random::new(1);
    for (kind, rule) in [
        ("api03", "anthropic-api-key"),
        ("api04", "anthropic-api-key"),
        ("admin01", "anthropic-admin-key"),
        ("oat01", "anthropic-oauth-token"),
        ("ort01", "anthropic-refresh-token"),
        ("sid01", "anthropic-session-key"),
        ("sid02", "anthropic-session-key"),
        ("xyz09", "anthropic-other"),
    ] {
        for key in [real_form(&mut random, kind), random_form(&mut random, kind)] {
            let text = format!("x = \"{key}\"\n");
            let wanted = vec![(rule.to_owned(), 5..5 + key.len(), key.clone())];
            assert_eq!(seen(&scanner, text.as_bytes()), wanted);
        }
    }
    let real = real_form(&mut random, "api03");
    assert_eq!(scanner.find(real.as_bytes())[0].confidence, Confidence::High);
    let other = random_form(&mut random, "api03");
    assert_eq!(scanner.find(other.as_bytes())[0].confidence, Confidence::Medium);
}

/// Requirement S018: what its expression matches in a random text is found, whatever surrounds it.
#[test]
fn a_thousand_keys_of_the_documented_form_are_all_found() {
    let scanner = scanner();
    let mut random = Random::new(18);
    for _ in 0..1_000 {
        let key = random_form(&mut random, "api03");
        let found = scanner.find(format!("key: {key}").as_bytes());
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].secret.expose(), key.as_bytes());
    }
}

#[test]
fn any_neighbour_leaves_a_key_what_it_is() {
    let scanner = scanner();
    let mut random = Random::new(2);
    for byte in 0..=255u8 {
        let key = real_form(&mut random, "api03");
        let text = [&[byte], key.as_bytes(), &[byte]].concat();
        let found = seen(&scanner, &text);
        assert_eq!(found, [("anthropic-api-key".to_owned(), 1..109, key)], "beside {byte:#x}");
    }
    for before in [r"\n", r"\t", "KEY", "%3D", "%22", r"\u003d", "_", "\u{1b}[32m", "risk-"] {
        let key = real_form(&mut random, "api03");
        assert_eq!(seen(&scanner, format!("{before}{key}").as_bytes())[0].2, key, "{before}");
    }
}

#[test]
fn what_is_no_key_is_not_reported() {
    let scanner = scanner();
    let mut random = Random::new(3);
    let alphabet = String::from_utf8(KEY_CHARS.to_vec()).unwrap();
    for body in [
        "A".repeat(95),
        "x".repeat(95),
        alphabet.repeat(2)[..95].to_owned(),
        random.of(KEY_CHARS, 94),
        "YOUR_KEY_HERE_".repeat(7)[..95].to_owned(),
        String::new(),
        "...".to_owned(),
    ] {
        let text = format!("ANTHROPIC_API_KEY=sk-ant-api03-{body}\n");
        assert!(scanner.find(text.as_bytes()).is_empty(), "{body}");
    }
    for text in [
        concat!("risk-", "ant-colony-optimisation-of-the-travelling-salesman-problem-with-ants"),
        "sk-ant-sk-ant-sk-ant-",
        "keys begin with sk-ant-api03- or chm_",
    ] {
        assert!(scanner.find(text.as_bytes()).is_empty(), "{text}");
    }
}

#[test]
fn a_virtual_key_is_known_by_its_checksum() {
    let scanner = scanner();
    let mut random = Random::new(4);
    let key = virtual_key(&mut random);
    let found = scanner.find(format!("X{key}Y").as_bytes());
    assert_eq!((found[0].range.clone(), found[0].confidence), (1..65, Confidence::High));
    assert_eq!(found[0].masked(), format!("{}...", &key[..21]));
    for at in 4..key.len() {
        let mut other = key.clone().into_bytes();
        other[at] = if other[at] == b'a' { b'b' } else { b'a' };
        assert!(scanner.find(&other).is_empty(), "changed at {at}");
    }
}

#[test]
fn a_short_and_a_long_text_are_searched_alike() {
    let scanner = scanner();
    let mut random = Random::new(5);
    for length in 0..200 {
        let key = real_form(&mut random, "oat01");
        let text = format!("{}{key} {key}", " ".repeat(length));
        assert_eq!(scanner.find(text.as_bytes()).len(), 2, "after {length}");
    }
}

//! Walls inside the code that no manifest can make.

use std::collections::BTreeSet;

use super::repository::{code, files_ending, none, read};

/// What core's code never says: it would let time, files or waiting in.
const UNKNOWN_TO_CORE: [&str; 9] = [
    "async fn",
    "async move",
    "SystemTime",
    "Instant",
    "std::fs",
    "std::env",
    "std::thread",
    "TcpStream",
    "UnixStream",
];

/// The files that look inside a [`Secret`](chamberlain_core::secret::Secret), and why each must.
const EXPOSES: [(&str, &str); 13] = [
    ("crates/chamberlain-bench/src/bare.rs", "the key that it measures with is told to the load"),
    ("crates/chamberlain-fuzz/src/key.rs", "a key that was made is read again"),
    ("crates/chamberlain-control/src/wire.rs", "a key travels through the socket to its sealing"),
    ("crates/chamberlain-gateway/src/tls.rs", "the key of our certificate is handed to TLS"),
    ("crates/chamberlain-vault/src/admin_key.rs", "the shape of a new admin key is judged"),
    ("crates/chamberlain-vault/src/backup.rs", "identities that read backups are parsed"),
    ("crates/chamberlain-vault/src/master.rs", "master keys are read and turned into root keys"),
    ("crates/chamberlain-vault/src/parcel.rs", "a virtual key is delivered to a sink"),
    ("crates/chamberlain-vault/src/upstream_key.rs", "the shape of a new key is judged"),
    ("crates/chamberlain-vault/src/vault.rs", "keys are sealed and fingerprinted"),
    ("crates/chamberlain/src/cli/virtual_key.rs", "a new virtual key is shown, once"),
    ("crates/chamberlain/src/serve/master.rs", "a new master key is written to its file"),
    ("crates/chamberlain/src/serve/first.rs", "the first virtual key is shown, once"),
];

/// The files that read an opened upstream key, and why each must.
const READS_OPENED_KEYS: [(&str, &str); 5] = [
    ("crates/chamberlain-control/src/admin_api/mod.rs", "the admin key goes to the Admin API"),
    ("crates/chamberlain-control/src/prober.rs", "a probe leaves with the key that it is about"),
    (
        "crates/chamberlain-control/src/commander/at_anthropic.rs",
        "a key is tried with something free, before, while and after it is in use",
    ),
    ("crates/chamberlain-gateway/src/keys.rs", "a keyring is a source of header values"),
    ("crates/chamberlain-vault/src/parcel.rs", "a key is lent to a sink"),
];

/// The files that take a key out of a parcel, and why each must.
const READS_PARCELS: [(&str, &str); 7] = [
    ("crates/chamberlain-control/src/sink/command.rs", "a program reads it from its stdin"),
    ("crates/chamberlain-control/src/sink/env_file.rs", "it is put into its line"),
    ("crates/chamberlain-control/src/sink/follow_up.rs", "it is kept out of what programs print"),
    ("crates/chamberlain-control/src/sink/gitlab.rs", "it is put into a variable"),
    ("crates/chamberlain-control/src/sink/kubernetes.rs", "it is put into a manifest"),
    ("crates/chamberlain-control/src/sink/mod.rs", "it is looked at whether it fits"),
    ("crates/chamberlain-vault/src/sealed_box.rs", "it is sealed for GitHub"),
];

/// Words that say nothing about what a thing is for.
const BANNED: [&str; 5] = ["util", "utils", "manager", "helper", "helpers"];

pub(super) fn is_test(path: &str) -> bool {
    path.ends_with("tests.rs") || path.contains("/tests/") || path.ends_with("testing.rs")
}

/// Code up to the tests inside the file.
pub(super) fn shipped(path: &str) -> String {
    let code = code(path);
    code.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default().to_owned()
}

#[test]
fn core_knows_no_clock_no_file_and_no_waiting() {
    let mut found = Vec::new();
    for path in files_ending(".rs") {
        if !path.starts_with("crates/chamberlain-core/src/") {
            continue;
        }
        let code = code(&path);
        let said = UNKNOWN_TO_CORE.iter().filter(|word| contains_word(&code, word));
        found.extend(said.map(|word| format!("{path}: {word}")));
    }
    none(found, "core is pure");
}

#[test]
fn secrets_are_looked_at_in_few_places() {
    // A permit is exposed too, to upstream; that is another verb.
    let looks = |line: &str| line.contains(".expose()") && !line.contains("permit.expose()");
    let found = shipped_files_with(looks, "crates/chamberlain-core/src/secret.rs");
    assert_eq!(found, listed(&EXPOSES), "left: the code, right: the list with its reasons");
}

#[test]
fn opened_keys_become_headers_in_few_places() {
    let reads = |line: &str| line.contains(".expose_header_value()");
    let found = shipped_files_with(reads, "crates/chamberlain-vault/src/keyring.rs");
    assert_eq!(found, listed(&READS_OPENED_KEYS), "left: the code, right: the list");
}

#[test]
fn parcels_are_opened_in_few_places() {
    let reads = |line: &str| line.contains(".expose_to_sink()");
    let found = shipped_files_with(reads, "crates/chamberlain-vault/src/parcel.rs");
    assert_eq!(found, listed(&READS_PARCELS), "left: the code, right: the list");
}

fn listed(list: &[(&str, &str)]) -> BTreeSet<String> {
    list.iter().map(|(path, _)| (*path).to_owned()).collect()
}

/// The files whose shipped code has such a line, but for the one that defines it.
fn shipped_files_with(is_such: impl Fn(&str) -> bool, definition: &str) -> BTreeSet<String> {
    let files = files_ending(".rs").into_iter();
    files
        .filter(|path| !is_test(path) && path != definition)
        .filter(|path| shipped(path).lines().any(&is_such))
        .collect()
}

#[test]
fn names_say_what_things_are_for() {
    let mut found = Vec::new();
    for path in files_ending(".rs") {
        let stem = path.rsplit('/').next().unwrap_or_default().trim_end_matches(".rs").to_owned();
        let code = code(&path);
        let names = code.lines().filter_map(defined).map(str::to_owned);
        for name in names.chain([stem]) {
            if words(&name).iter().any(|word| BANNED.contains(&word.as_str())) {
                found.push(format!("{path}: {name}"));
            }
        }
    }
    none(found, "names with a word that says nothing");
}

#[test]
fn no_test_file_is_forgotten() {
    let mut forgotten = Vec::new();
    for path in files_ending(".rs") {
        let Some((folder, file)) = path.rsplit_once('/') else { continue };
        let stem = file.trim_end_matches(".rs");
        if !folder.contains("/tests/") || file == "main.rs" {
            continue;
        }
        let inside_it = folder.ends_with("/it");
        let parent = if inside_it { format!("{folder}/main.rs") } else { format!("{folder}.rs") };
        let declared = read(&parent).lines().any(|line| {
            line.trim_start_matches("pub(super) ").trim_start_matches("pub(crate) ").trim()
                == format!("mod {stem};")
        });
        if !declared {
            forgotten.push(format!("{path} (not in {parent})"));
        }
    }
    none(forgotten, "test files that no test binary contains");
}

#[test]
fn every_file_says_what_it_is_for() {
    let silent = files_ending(".rs").into_iter().filter(|path| {
        let is_tests_of_another = path.ends_with("/tests.rs");
        !is_tests_of_another && !read(path).starts_with("//!")
    });
    none(silent.collect(), "files without a //! head");
}

/// The name that a line defines.
fn defined(line: &str) -> Option<&str> {
    const KINDS: [&str; 6] = ["struct ", "enum ", "trait ", "mod ", "fn ", "type "];
    let line = line.trim_start();
    let line = match line.strip_prefix("pub") {
        Some(rest) if rest.starts_with('(') => rest.split_once(')')?.1.trim_start(),
        Some(rest) => rest.trim_start(),
        None => line,
    };
    let line = line.strip_prefix("const ").unwrap_or(line);
    let line = line.strip_prefix("async ").unwrap_or(line);
    let rest = KINDS.iter().find_map(|kind| line.strip_prefix(kind))?;
    let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
    Some(&rest[..end])
}

/// The words of a name in either style, in lower case.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    for c in name.chars() {
        if c == '_' || c.is_uppercase() {
            words.push(String::new());
        }
        if c != '_' {
            words.last_mut().expect("begins with one").extend(c.to_lowercase());
        }
    }
    words
}

fn contains_word(text: &str, word: &str) -> bool {
    let is_part = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    text.match_indices(word).any(|(at, _)| {
        let (before, after) = (&text[..at], &text[at + word.len()..]);
        !is_part(before.chars().next_back()) && !is_part(after.chars().next())
    })
}

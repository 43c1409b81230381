//! What the fuzzer kept is run again by ordinary tests: once as it was kept, and once with every
//! file cut short at each of a few places.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::path::{Path, PathBuf};

use chamberlain_fuzz::{TARGETS, run};

fn kept(target: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn replay(target: &str) {
    let files = kept(target);
    assert!(!files.is_empty(), "nothing is kept for {target}");
    for file in files {
        let bytes = fs::read(&file).unwrap();
        for part in 1..=8 {
            let cut = &bytes[..bytes.len() * part / 8];
            let held = std::panic::catch_unwind(|| run(target, cut));
            assert!(held.is_ok(), "{}: {part} of 8 parts", file.display());
        }
    }
}

#[test]
fn audit() {
    replay("audit");
}

#[test]
fn config() {
    replay("config");
}

#[test]
fn key() {
    replay("key");
}

#[test]
fn request() {
    replay("request");
}

#[test]
fn stream() {
    replay("stream");
}

#[test]
fn every_target_has_its_fuzzer_and_its_test() {
    let fuzzers = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/fuzz_targets");
    for (name, _) in TARGETS {
        assert!(fuzzers.join(format!("{name}.rs")).is_file(), "{name} has no fuzzer");
        let this = include_str!("replay.rs");
        assert!(this.contains(&format!("replay(\"{name}\")")), "{name} is not replayed");
    }
}

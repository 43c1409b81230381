//! The documents speak of what is there.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use super::repository::{code_spans, files_ending, none, read, root, rows};

/// Requirements are numbered S001 to this.
const REQUIREMENTS: usize = 228;

/// What stands in place of a test's name.
const NOT_BUILT: &str = "not yet built";
const NOT_TESTED: &str = "not yet tested";

/// A test by file and name, as documents write it: `crates/x/src/y.rs::name`.
fn test_names(text: &str) -> Vec<(&str, &str)> {
    let is_test_file = |path: &str| [".rs", ".py", ".js"].iter().any(|end| path.ends_with(end));
    let spans = code_spans(text).into_iter();
    spans.filter_map(|span| span.split_once("::")).filter(|(path, _)| is_test_file(path)).collect()
}

/// Whether the file has a test of that name.
fn exists(path: &str, name: &str) -> bool {
    if !root().join(path).is_file() {
        return false;
    }
    let text = read(path);
    match path.rsplit('.').next() {
        Some("py") => text.contains(&format!("def {name}(")) && name.starts_with("test_"),
        Some("js") => {
            [format!("(\"{name}\""), format!("('{name}'")].iter().any(|w| text.contains(w))
        }
        _ => is_rust_test(&text, name),
    }
}

fn is_rust_test(text: &str, name: &str) -> bool {
    let lines: Vec<&str> = text.lines().map(str::trim_start).collect();
    let starts = [format!("fn {name}("), format!("async fn {name}(")];
    (0..lines.len()).filter(|at| starts.iter().any(|start| lines[*at].starts_with(start))).any(
        |at| {
            let above = lines[..at].iter().rev();
            let mut above =
                above.take_while(|line| line.starts_with("#[") || line.starts_with("//"));
            above.any(|line| line.starts_with("#[test]") || line.starts_with("#[tokio::test"))
        },
    )
}

#[test]
fn every_test_that_is_named_exists() {
    let mut missing = Vec::new();
    for document in files_ending(".md") {
        for (path, name) in test_names(&read(&document)) {
            if !exists(path, name) {
                missing.push(format!("{document}: {path}::{name}"));
            }
        }
    }
    none(missing, "tests that documents name and nobody wrote");
}

#[test]
fn every_invariant_is_held_by_a_test() {
    let rows = rows("ARCHITECTURE.md", "What must always be true");
    let ids: Vec<&str> = rows.iter().map(|row| row[0].as_str()).collect();
    let wanted: Vec<String> = (1..=11).map(|number| format!("I{number}")).collect();
    assert_eq!(ids, wanted, "left: ARCHITECTURE.md");
    let untested = rows.iter().filter(|row| test_names(&row[2]).is_empty());
    none(untested.map(|row| row[0].clone()).collect(), "invariants without a test");
}

#[test]
fn every_requirement_is_traced_once() {
    let rows = rows("docs/traceability.md", "Requirements");
    let ids: Vec<&str> = rows.iter().map(|row| row[0].as_str()).collect();
    let wanted: Vec<String> = (1..=REQUIREMENTS).map(|number| format!("S{number:03}")).collect();
    assert_eq!(ids, wanted, "left: docs/traceability.md");
    none(unclear(&rows), "requirements without a test and without a word why");
}

#[test]
fn every_reading_that_is_built_is_traced() {
    let rows = rows("docs/traceability.md", "Readings");
    let mut seen = BTreeMap::new();
    for row in &rows {
        let number = row[0].strip_prefix('I').and_then(|number| number.parse::<u32>().ok());
        assert!(number.is_some_and(|n| (1..=76).contains(&n)), "{} is no reading", row[0]);
        assert!(seen.insert(row[0].clone(), ()).is_none(), "{} is there twice", row[0]);
    }
    none(unclear(&rows), "readings without a test and without a word why");
}

/// Rows whose last cell names no test, and does not say what is missing either.
fn unclear(rows: &[Vec<String>]) -> Vec<String> {
    let says = |cell: &str| {
        !test_names(cell).is_empty()
            || cell.strip_prefix(NOT_BUILT).is_some_and(|topic| topic.len() > 3)
            || cell.starts_with(NOT_TESTED)
    };
    let rows = rows.iter().filter(|row| row.len() != 3 || !says(&row[2]));
    rows.map(|row| row.join(" | ")).collect()
}

#[test]
fn every_link_leads_somewhere() {
    let mut broken = Vec::new();
    for document in files_ending(".md") {
        let text = read(&document);
        let folder = root().join(&document);
        let folder = folder.parent().expect("a file lies in a folder");
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let path = link.split('#').next().unwrap_or_default();
            let outside = path.contains("://") || path.starts_with("mailto:") || path.is_empty();
            if !outside && !folder.join(path).exists() {
                broken.push(format!("{document}: {link}"));
            }
        }
    }
    none(broken, "links to nothing");
}

#[test]
fn every_source_file_that_is_named_exists() {
    let mut missing = Vec::new();
    for document in files_ending(".md") {
        let text = read(&document);
        let paths = code_spans(&text).into_iter().filter(|span| {
            let below = ["crates/", "docs/", "tests/", "migrations/", "xtask/"];
            below.iter().any(|folder| span.starts_with(folder))
                && !span.contains(['*', '<', ' ', '{', ':'])
        });
        let gone = paths.filter(|path| !root().join(path).exists());
        missing.extend(gone.map(|path| format!("{document}: {path}")));
    }
    none(missing, "files that documents name and nobody made");
}

/// What is marked as code in the documents, but for lines that speak of what is not yet built.
fn spoken_of() -> BTreeSet<String> {
    let texts: Vec<String> = files_ending(".md").iter().map(|document| read(document)).collect();
    let lines = texts.iter().flat_map(|text| text.lines());
    let built = lines.filter(|line| !line.contains(NOT_BUILT));
    built.flat_map(code_spans).map(str::to_owned).collect()
}

/// What OpenTelemetry calls like settings of ours; see docs/tracing.md.
const ATTRIBUTES: [&str; 2] = ["server.address", "server.port"];

/// Whether the binary takes these words.
fn succeeds(words: &[&str]) -> bool {
    let mut binary = Command::new(env!("CARGO_BIN_EXE_chamberlain"));
    binary.args(words).env_clear().output().is_ok_and(|output| output.status.success())
}

#[test]
fn every_command_that_is_named_exists() {
    let is_word = |word: &&str| word.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
    let spans = spoken_of();
    let commands: BTreeSet<Vec<&str>> = spans
        .iter()
        .filter_map(|span| span.strip_prefix("chamberlain "))
        .map(|words| words.split(' ').take_while(is_word).take_while(|w| !w.starts_with('-')))
        .map(Iterator::collect)
        .collect();
    let help = |words: &[&str]| succeeds(&[&["help"], words].concat());
    let unknown = commands.iter().filter(|words| !help(words)).map(|words| words.join(" "));
    none(unknown.collect(), "commands that documents name and the binary does not know");
}

#[test]
fn every_setting_that_is_named_exists() {
    let tables = [
        "backup.",
        "server.",
        "queue.",
        "upstream.",
        "retry.",
        "breaker.",
        "retention.",
        "checkpoint.",
        "tracing.",
    ];
    let spans = spoken_of();
    let named = spans.iter().filter(|span| {
        let is_key = |b: u8| b.is_ascii_lowercase() || matches!(b, b'_' | b'.');
        tables.iter().any(|table| span.starts_with(table))
            && span.bytes().all(is_key)
            && !span.ends_with(".rs")
            && !ATTRIBUTES.contains(&span.as_str())
    });
    let unknown = named.filter(|key| !succeeds(&["config", "explain", key])).cloned();
    none(unknown.collect(), "settings that documents name and the binary does not know");
}

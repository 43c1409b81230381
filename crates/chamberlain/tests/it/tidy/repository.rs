//! The repository as files and texts.

use std::fs;
use std::path::{Path, PathBuf};

/// Folders that are made and never committed.
const MADE: [&str; 8] = [
    ".git",
    "target",
    "node_modules",
    ".venv",
    "__pycache__",
    ".pytest_cache",
    "artifacts",
    "coverage",
];

/// The repository's root.
pub(super) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.join("../..").canonicalize().expect("this crate lies two folders below the root")
}

/// The text of a file, by its path from the root.
pub(crate) fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// All files, by their paths from the root, in order.
pub(super) fn files() -> Vec<String> {
    let root = root();
    let mut found = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.is_dir() && !path.is_symlink() {
                if !MADE.contains(&name.as_str()) {
                    folders.push(path);
                }
            } else if name != ".git" {
                let path = path.strip_prefix(&root).expect("it was found below the root");
                found.push(path.to_string_lossy().into_owned());
            }
        }
    }
    found.sort();
    found
}

/// The files whose names end so.
pub(super) fn files_ending(end: &str) -> Vec<String> {
    files().into_iter().filter(|path| path.ends_with(end)).collect()
}

/// The Rust code of a file, without its comments: whole lines only, which is how we write them.
pub(super) fn code(path: &str) -> String {
    let is_code = |line: &&str| !line.trim_start().starts_with("//");
    read(path).lines().filter(is_code).collect::<Vec<_>>().join("\n")
}

/// The rows of the tables under a heading, as trimmed cells, without the tables' own headings.
pub(crate) fn rows(document: &str, heading: &str) -> Vec<Vec<String>> {
    let text = read(document);
    let mut lines = text.lines().skip_while(|line| line.strip_prefix("## ") != Some(heading));
    assert!(lines.next().is_some(), "{document} has no heading {heading:?}");
    let lines: Vec<&str> = lines.take_while(|line| !line.starts_with("## ")).collect();
    let is_rule = |line: &str| line.starts_with("|-") || line.starts_with("| -");
    let rows: Vec<_> = (0..lines.len())
        .filter(|at| lines[*at].starts_with('|') && !is_rule(lines[*at]))
        .filter(|at| !lines.get(at + 1).is_some_and(|next| is_rule(next)))
        .map(|at| lines[at].trim_matches('|').split('|').map(|c| c.trim().to_owned()).collect())
        .collect();
    assert!(!rows.is_empty(), "{document} has no table under {heading:?}");
    rows
}

/// What stands between backticks.
pub(crate) fn code_spans(text: &str) -> Vec<&str> {
    text.lines().flat_map(|line| line.split('`').skip(1).step_by(2)).collect()
}

/// Panics with everything that was found, if anything was.
pub(super) fn none(found: Vec<String>, what: &str) {
    assert!(found.is_empty(), "{what}:\n  {}", found.join("\n  "));
}

//! docs/logging.md has every line that can be logged, and every line can be read without its code.

use std::collections::BTreeSet;

use super::repository::{code_spans, files_ending, none, rows};
use super::sources::{is_test, shipped};

const DOCUMENT: &str = "docs/logging.md";
const LEVELS: [&str; 5] = ["error", "warn", "info", "debug", "trace"];

/// One event in the code.
struct Event {
    path: String,
    level: &'static str,
    /// Its message as it is written; empty where it is no literal.
    message: String,
    fields: BTreeSet<String>,
}

impl Event {
    /// As its row in the document has it.
    fn row(&self) -> (String, String, String, BTreeSet<String>) {
        let room = self.path.split('/').nth(1).unwrap_or_default();
        let room = room.strip_prefix("chamberlain-").unwrap_or(room).to_owned();
        (room, self.level.to_owned(), self.message.clone(), self.fields.clone())
    }
}

/// Every event of the crates.
fn events() -> Vec<Event> {
    let mut found = Vec::new();
    for path in files_ending(".rs") {
        if !path.starts_with("crates/") || !path.contains("/src/") || is_test(&path) {
            continue;
        }
        let code = shipped(&path);
        for level in LEVELS {
            let macro_name = format!("tracing::{level}!(");
            for (at, _) in code.match_indices(&macro_name) {
                found.push(event(&path, level, &code[at + macro_name.len()..]));
            }
        }
    }
    assert!(found.len() > 40, "the events were not found");
    found
}

fn event(path: &str, level: &'static str, rest: &str) -> Event {
    let mut event =
        Event { path: path.to_owned(), level, message: String::new(), fields: BTreeSet::new() };
    for argument in arguments(rest) {
        if let Some(text) = argument.strip_prefix('"') {
            event.message = joined(text.strip_suffix('"').unwrap_or(text));
        } else if !argument.starts_with("target:") {
            let name = argument.split_once(" = ").map_or(argument.as_str(), |(name, _)| name);
            let name = name.trim_start_matches(['%', '?']);
            event.fields.insert(name.rsplit('.').next().unwrap_or_default().to_owned());
        }
    }
    event
}

/// What stands between commas, up to the closing parenthesis.
fn arguments(text: &str) -> Vec<String> {
    let (mut found, mut now) = (Vec::new(), String::new());
    let (mut depth, mut quoted, mut escaped) = (0, false, false);
    for c in text.chars() {
        match c {
            '"' if !escaped => quoted = !quoted,
            '(' | '[' | '{' if !quoted => depth += 1,
            ')' if !quoted && depth == 0 => break,
            ')' | ']' | '}' if !quoted => depth -= 1,
            ',' if !quoted && depth == 0 => {
                found.push(std::mem::take(&mut now));
                continue;
            }
            _ => {}
        }
        escaped = quoted && c == '\\' && !escaped;
        now.push(c);
    }
    found.push(now);
    found.into_iter().map(|one| one.trim().to_owned()).filter(|one| !one.is_empty()).collect()
}

/// A literal over several lines as one.
fn joined(literal: &str) -> String {
    let mut parts = literal.split("\\\n").enumerate();
    parts.by_ref().map(|(at, part)| if at == 0 { part } else { part.trim_start() }).collect()
}

#[test]
fn every_message_can_be_read_alone() {
    let bad = events().into_iter().filter(|event| {
        let words = event.message.split_whitespace().count();
        words < 3 || event.message.contains('{')
    });
    let bad = bad.map(|event| format!("{} ({}): {:?}", event.path, event.level, event.message));
    none(bad.collect(), "messages that are no sentence, or have values inside");
}

#[test]
fn every_event_is_documented_as_it_is() {
    let documented: BTreeSet<_> = rows(DOCUMENT, "Events")
        .into_iter()
        .map(|row| {
            assert_eq!(row.len(), 4, "{row:?}");
            let fields = code_spans(&row[3]).into_iter().map(str::to_owned).collect();
            (row[0].clone(), row[1].clone(), row[2].clone(), fields)
        })
        .collect();
    let written: BTreeSet<_> = events().iter().map(Event::row).collect();
    let row = |(room, level, message, fields): &(String, String, String, BTreeSet<String>)| {
        let fields: Vec<String> = fields.iter().map(|field| format!("`{field}`")).collect();
        format!("| {room} | {level} | {message} | {} |", fields.join(", "))
    };
    none(documented.difference(&written).map(row).collect(), "documented, and not in the code");
    none(written.difference(&documented).map(row).collect(), "in the code, and not documented");
}

#[test]
fn every_field_is_explained_once() {
    let explained = rows(DOCUMENT, "Fields");
    let names: Vec<String> =
        explained.iter().flat_map(|row| code_spans(&row[0])).map(str::to_owned).collect();
    let known: BTreeSet<String> = names.iter().cloned().collect();
    assert_eq!(known.len(), names.len(), "a field is explained twice");
    let used: BTreeSet<String> = events().into_iter().flat_map(|event| event.fields).collect();
    assert_eq!(known, used, "left: {DOCUMENT}, right: the code");
}

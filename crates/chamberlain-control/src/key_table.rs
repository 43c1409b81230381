//! A table of keys as people keep one: comma-separated values, a table in Markdown, or a list in
//! YAML, with the columns of a password manager's page. It has everything about keys but the keys.
//!
//! A cell that looks like a key is refused: a table with values in it should not exist.

use chamberlain_core::keys::yaml::{self, Value};
use chamberlain_core::secret;

use crate::error::CommandError;

/// A row.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Row {
    /// The line it stands in, from 1.
    pub line: usize,
    /// The key's name.
    pub name: String,
    /// The environment, in any case or short form.
    pub environment: Option<String>,
    /// `Active`, `Revoked` and so on.
    pub status: Option<String>,
    /// The day it was made.
    pub created: Option<String>,
    /// The day of its last rotation.
    pub last_rotated: Option<String>,
    /// The day that somebody wrote for the next one.
    pub next_rotation: Option<String>,
    /// The team.
    pub team: Option<String>,
    /// The purpose.
    pub purpose: Option<String>,
    /// Its id at Anthropic.
    pub anthropic_id: Option<String>,
    /// When it expires.
    pub expires: Option<String>,
    /// Why it is kept as it is.
    pub rationale: Option<String>,
}

/// Most rows of a table.
const ROWS_MAX: usize = 10_000;

/// Reads a table in whichever of the three forms it is written.
///
/// # Errors
/// What is wrong with which line.
pub fn read(text: &str) -> Result<Vec<Row>, CommandError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    for (number, line) in text.lines().enumerate() {
        if secret::redact(line) != line {
            let problem = format!("line {}: there is a key in this table", number + 1);
            return Err(CommandError::usage(problem).hint(
                "take it out and revoke it: it stood in a file. Values are given one at a time: \
                 chamberlain key add",
            ));
        }
    }
    let first = text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#'));
    let rows = match first {
        None => return Err(CommandError::usage("the table is empty")),
        Some(line) if line.starts_with('|') => markdown(text)?,
        Some(line) if line.starts_with("- ") || line.ends_with(':') || line == "-" => {
            of_yaml(text)?
        }
        Some(_) => comma_separated(text)?,
    };
    match rows.len() {
        0 => Err(CommandError::usage("there is no key in this table")),
        1..=ROWS_MAX => Ok(rows),
        many => Err(CommandError::usage(format!("{many} rows are more than {ROWS_MAX}"))),
    }
}

fn wrong(line: usize, what: impl std::fmt::Display) -> CommandError {
    CommandError::usage(format!("line {line}: {what}"))
}

/// Puts a cell into its place. A column that is not known is passed over.
fn put(row: &mut Row, heading: &str, cell: &str) {
    let cell = cell.trim().trim_matches('`');
    let plain: String = heading
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|c| c.to_ascii_lowercase())
        .collect();
    if cell.is_empty() || cell == "—" || cell == "-" {
        return;
    }
    let place = match plain.as_str() {
        "name" | "keyname" | "key" => {
            row.name = cell.to_owned();
            return;
        }
        "environment" | "env" => &mut row.environment,
        "status" | "state" => &mut row.status,
        "created" | "createddate" | "createdon" => &mut row.created,
        "lastrotated" | "lastrotatedon" => &mut row.last_rotated,
        "nextrotation" | "nextrotationon" => &mut row.next_rotation,
        "team" | "owner" => &mut row.team,
        "purpose" => &mut row.purpose,
        "anthropicid" | "apikeyid" => &mut row.anthropic_id,
        "expires" | "expiresat" | "expiry" => &mut row.expires,
        "rationale" => &mut row.rationale,
        _ => return,
    };
    *place = Some(cell.to_owned());
}

fn rows_of(lines: impl Iterator<Item = (usize, Vec<String>)>) -> Result<Vec<Row>, CommandError> {
    let mut headings: Option<Vec<String>> = None;
    let mut rows = Vec::new();
    for (line, cells) in lines {
        let Some(headings) = &headings else {
            let mut row = Row::default();
            cells.iter().for_each(|heading| put(&mut row, heading, "x"));
            if row.name.is_empty() {
                return Err(wrong(line, "the first line names the columns, and none is `name`"));
            }
            headings = Some(cells);
            continue;
        };
        if cells.len() != headings.len() {
            let what = format!("{} columns, and the table has {}", cells.len(), headings.len());
            return Err(wrong(line, what));
        }
        let mut row = Row { line, ..Row::default() };
        headings.iter().zip(&cells).for_each(|(heading, cell)| put(&mut row, heading, cell));
        if row.name.is_empty() {
            return Err(wrong(line, "a key without a name"));
        }
        rows.push(row);
    }
    Ok(rows)
}

fn markdown(text: &str) -> Result<Vec<Row>, CommandError> {
    let is_rule = |cells: &[String]| {
        cells.iter().all(|cell| !cell.is_empty() && cell.chars().all(|c| matches!(c, '-' | ':')))
    };
    let rows = text.lines().enumerate().filter_map(|(number, line)| {
        let inside = line.trim().strip_prefix('|')?.trim_end().strip_suffix('|')?;
        let cells: Vec<String> = inside.split('|').map(|cell| cell.trim().to_owned()).collect();
        (!is_rule(&cells)).then_some((number + 1, cells))
    });
    rows_of(rows)
}

fn comma_separated(text: &str) -> Result<Vec<Row>, CommandError> {
    let mut lines = Vec::new();
    for (number, line) in text.lines().enumerate() {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        lines.push((number + 1, fields(line).map_err(|what| wrong(number + 1, what))?));
    }
    rows_of(lines.into_iter())
}

/// The fields of a line; one in quotes may hold commas, and a doubled quote is one.
fn fields(line: &str) -> Result<Vec<String>, &'static str> {
    let (mut found, mut field, mut quoted) = (Vec::new(), String::new(), false);
    let mut chars = line.trim_end_matches('\r').chars().peekable();
    while let Some(char) = chars.next() {
        match char {
            '"' if quoted && chars.peek() == Some(&'"') => {
                field.push('"');
                chars.next();
            }
            '"' if quoted => quoted = false,
            '"' if field.trim().is_empty() => {
                field.clear();
                quoted = true;
            }
            ',' if !quoted => found.push(std::mem::take(&mut field)),
            char => field.push(char),
        }
    }
    if quoted {
        return Err("a quote that does not end on its line");
    }
    found.push(field);
    Ok(found)
}

fn of_yaml(text: &str) -> Result<Vec<Row>, CommandError> {
    let entries =
        yaml::entries(text).map_err(|mistake| CommandError::usage(mistake.to_string()))?;
    let mut rows: Vec<(Vec<String>, Row)> = Vec::new();
    for entry in entries {
        let Value::Scalar(scalar) = entry.value else { continue };
        let Some((heading, above)) = entry.path.split_last() else { continue };
        if !above.last().is_some_and(|step| step.starts_with('[')) {
            continue;
        }
        if rows.last().is_none_or(|(path, _)| path != above) {
            rows.push((above.to_vec(), Row { line: entry.line, ..Row::default() }));
        }
        if let Some((_, row)) = rows.last_mut() {
            put(row, heading, &scalar.text);
        }
    }
    if let Some((_, row)) = rows.iter().find(|(_, row)| row.name.is_empty()) {
        return Err(wrong(row.line, "a key without a name"));
    }
    Ok(rows.into_iter().map(|(_, row)| row).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEED: &str = "\
| Key Name | Environment | Created Date | Last Rotated | Next Rotation | Status |
|----------|-------------|--------------|--------------|---------------|--------|
| agentic-base-prod-translation-2025-12-08 | Production | 2025-12-08 | 2025-12-08 | 2026-06-06 | Active |
| agentic-base-prod-translation-2025-06-08 | Production | 2025-06-08 | 2025-06-08 | 2025-12-04 | Revoked |
";

    #[test]
    fn one_table_is_the_same_in_three_forms() {
        let markdown = read(SEED).unwrap();
        assert_eq!(markdown.len(), 2);
        let first = &markdown[0];
        assert_eq!(first.name, "agentic-base-prod-translation-2025-12-08");
        assert_eq!((first.line, first.status.as_deref()), (3, Some("Active")));
        assert_eq!(first.next_rotation.as_deref(), Some("2026-06-06"));
        let csv = "name,environment,created,last_rotated,next_rotation,status,odd\n\
            agentic-base-prod-translation-2025-12-08,Production,2025-12-08,2025-12-08,2026-06-06,Active,\"a, b\"\n";
        let yaml = "keys:\n  - name: agentic-base-prod-translation-2025-12-08\n    environment: Production\n    \
            created: 2025-12-08\n    last_rotated: \"2025-12-08\"\n    next_rotation: 2026-06-06\n    status: Active\n";
        for text in [csv, yaml] {
            let mut row = read(text).unwrap().remove(0);
            row.line = 3;
            assert_eq!(row, *first, "{text}");
        }
    }

    #[test]
    fn mistakes_have_their_lines() {
        let value = format!("name\na\nsk-ant-{}-{}\n", "api03", "x".repeat(30));
        for (text, begins) in [
            ("", "the table is empty"),
            ("colour,size\nred,1\n", "line 1: the first line names"),
            ("name,team\na\n", "line 2: 1 columns"),
            ("name,team\n\"a,b\n", "line 2: a quote"),
            ("name,team\n,b\n", "line 2: a key without"),
            ("- environment: x\n", "line 1: a key without"),
            (value.as_str(), "line 3: there is a key"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.message.starts_with(begins), "{text:?}: {}", error.message);
        }
    }
}

//! The one place that writes: data to stdout, everything else to stderr.
//!
//! Whoever reads may leave early (`chamberlain calls | head`): a closed pipe ends the command
//! quietly. What came from a client is shown without control characters, so a model's name cannot
//! drive the terminal.

use std::borrow::Cow;
use std::io::{self, IsTerminal, Write};

use serde::Serialize;

use crate::failure::Failure;

/// Where and how a command writes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Out {
    /// Data as JSON.
    pub(crate) json: bool,
    /// A person looks at stdout.
    pub(crate) terminal: bool,
}

impl Out {
    /// Looks at the real stdout.
    pub(crate) fn new(json: bool) -> Out {
        Out { json, terminal: io::stdout().is_terminal() }
    }

    /// Writes a line of data.
    pub(crate) fn line(&self, text: &str) -> Result<(), Failure> {
        self.raw(text)?;
        self.raw("\n")
    }

    /// Writes data as it is.
    pub(crate) fn raw(&self, text: &str) -> Result<(), Failure> {
        let mut stdout = io::stdout().lock();
        let written = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
        written.map_err(|error| match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::silent(0),
            _ => Failure::failed(format!("stdout: {error}")),
        })
    }

    /// Writes a value as one line of JSON.
    pub(crate) fn value(&self, value: &impl Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string(value)
            .map_err(|error| Failure::failed(format!("the reply cannot be shown: {error}")))?;
        self.line(&text)
    }

    /// Writes rows: a table for people, tab-separated values for programs.
    pub(crate) fn table(&self, headings: &[&str], rows: Vec<Vec<String>>) -> Result<(), Failure> {
        if !self.terminal {
            self.line(&headings.join("\t"))?;
            for row in rows {
                let cells: Vec<_> = row.iter().map(|cell| clean(cell)).collect();
                self.line(&cells.join("\t"))?;
            }
            return Ok(());
        }
        let mut table = comfy_table::Table::new();
        table.load_style(comfy_table::presets::NOTHING);
        table.set_content_arrangement(comfy_table::ContentArrangement::Disabled);
        let numeric = |column: usize| rows.iter().all(|row| is_amount(&row[column]));
        let right: Vec<usize> = (0..headings.len()).filter(|column| numeric(*column)).collect();
        table.set_header(headings.iter().map(|heading| heading.to_uppercase()));
        for row in &rows {
            table.add_row(row.iter().map(|cell| clean(cell).into_owned()));
        }
        for column in right {
            if let Some(column) = table.column_mut(column) {
                column.set_cell_alignment(comfy_table::CellAlignment::Right);
            }
        }
        let text: String = table
            .lines()
            .map(|line| format!("{}\n", line.strip_prefix(' ').unwrap_or(&line).trim_end()))
            .collect();
        self.raw(&text)
    }

    /// Writes names and values under one another.
    pub(crate) fn facts(&self, facts: &[(&str, String)]) -> Result<(), Failure> {
        let width = facts.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        for (name, value) in facts {
            let value = clean(value);
            if self.terminal {
                self.line(format!("{name:width$}  {value}").trim_end())?;
            } else {
                self.line(&format!("{name}\t{value}"))?;
            }
        }
        Ok(())
    }

    /// Says something to the person at stderr. Nobody there is no failure.
    pub(crate) fn hint(&self, text: &str) {
        let _ = writeln!(io::stderr().lock(), "{text}");
    }

    /// Says why the command failed, in the form that was asked for.
    pub(crate) fn failure(&self, failure: &Failure) {
        if failure.message.is_empty() {
            return;
        }
        let text = match self.json {
            true => serde_json::json!({ "error": failure }).to_string(),
            false => failure.to_string(),
        };
        self.hint(&text);
    }
}

/// Whether a cell is a number, an amount of money, a share, or unknown.
fn is_amount(cell: &str) -> bool {
    let bare = cell.trim_start_matches(['$', '-']).trim_end_matches('%');
    cell == "—" || bare.parse::<f64>().is_ok()
}

/// The text without control characters, which could move the cursor or change the clipboard.
pub(crate) fn clean(text: &str) -> Cow<'_, str> {
    let bad = |c: char| {
        c.is_control()
            || ('\u{202a}'..='\u{202e}').contains(&c)
            || ('\u{2066}'..='\u{2069}').contains(&c)
    };
    if !text.contains(bad) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.replace(bad, "\u{fffd}"))
}

/// One field of a line of comma-separated values. What a spreadsheet would take for a formula gets
/// an apostrophe.
pub(crate) fn csv_field(text: &str) -> String {
    let text = clean(text);
    let formula = text.starts_with(['=', '+', '-', '@']) && text.parse::<f64>().is_err();
    let text = if formula { format!("'{text}") } else { text.into_owned() };
    match text.contains([',', '"', ';']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text,
    }
}

/// What is known, or a dash.
pub(crate) fn or_dash<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| "—".to_owned(), |value| value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_drive_the_terminal() {
        assert_eq!(clean("a\u{1b}[2Jb"), "a\u{fffd}[2Jb");
        assert_eq!(clean("a\u{202e}b"), "a\u{fffd}b");
        assert!(matches!(clean("größe"), Cow::Borrowed(_)));
    }

    #[test]
    fn a_field_is_no_formula_and_stays_one_field() {
        assert_eq!(csv_field("=1+1"), "'=1+1");
        assert_eq!(csv_field("-0.5"), "-0.5");
        assert_eq!(csv_field("a,\"b\""), "\"a,\"\"b\"\"\"");
    }
}

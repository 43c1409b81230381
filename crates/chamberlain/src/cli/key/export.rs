//! The inventory as a table for other tools: everything about keys but the keys.

use chamberlain_control::reply::UpstreamKey;
use clap::ValueEnum;

use super::show::{environment, state};
use crate::failure::Failure;
use crate::out::{Out, csv_field};

/// In which form.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(super) enum Format {
    /// Comma-separated values, for spreadsheets
    Csv,
    /// One JSON document
    Json,
    /// A list in YAML
    Yaml,
}

/// The columns: the first six are those of the table that people keep by hand.
const COLUMNS: [&str; 19] = [
    "name",
    "environment",
    "created",
    "last_rotated",
    "next_rotation",
    "status",
    "team",
    "purpose",
    "created_for",
    "expires",
    "workspace",
    "anthropic_id",
    "anthropic_status",
    "principal",
    "hint",
    "fingerprint",
    "last_used",
    "calls",
    "cost_usd",
];

/// Writes all keys.
pub(super) fn write(out: &Out, format: Format, keys: &[UpstreamKey]) -> Result<(), Failure> {
    match format {
        Format::Csv => {
            out.line(&COLUMNS.join(","))?;
            for key in keys {
                let cells: Vec<String> = cells(key).iter().map(|cell| csv_field(cell)).collect();
                out.line(&cells.join(","))?;
            }
            Ok(())
        }
        Format::Json => out.value(&keys),
        Format::Yaml => keys.iter().try_for_each(|key| {
            let cells = cells(key);
            let mut lines = COLUMNS.iter().zip(&cells).filter(|(_, cell)| !cell.is_empty());
            let mut lead = "- ";
            lines.try_for_each(|(name, cell)| {
                let line = format!("{lead}{name}: {}", yaml(cell));
                lead = "  ";
                out.line(&line)
            })
        }),
    }
}

fn cells(key: &UpstreamKey) -> [String; 19] {
    fn text<T: ToString>(value: Option<T>) -> String {
        value.map(|value| value.to_string()).unwrap_or_default()
    }
    let created = key.created_on.map_or_else(|| key.created_at.0.utc_date(), |day| day.to_string());
    [
        key.name.clone(),
        environment(key),
        created,
        text(key.last_rotated_on),
        text(key.next_rotation_on),
        state(key.state).to_owned(),
        text(key.team.as_ref()),
        text(key.purpose.as_ref()),
        text(key.created_for.map(|reason| reason.word())),
        text(key.expires_at),
        text(key.workspace_name.as_ref().or(key.workspace.as_ref())),
        text(key.anthropic_id.as_ref()),
        text(key.anthropic_status.as_ref()),
        text(key.principal.as_ref()),
        key.hint.clone(),
        key.fingerprint.clone(),
        text(key.last_used_at),
        text(key.calls),
        text(key.cost),
    ]
}

/// A scalar that every YAML reader takes for this text, and our own as well.
fn yaml(text: &str) -> String {
    let text: String = text.chars().filter(|char| !matches!(char, '"' | '\\')).collect();
    format!("\"{}\"", crate::out::clean(&text))
}

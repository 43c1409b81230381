//! What was measured as tables, in Markdown, which is also what a terminal shows.

use std::fmt::Write;

use anyhow::Context;

use crate::results::{MOCK, NGINX, Over, Results};

/// Every phase as a table: a row a candidate, a column a metric.
pub(crate) fn tables(results: &Results) -> String {
    let phases = results.phases().into_iter();
    phases.map(|phase| table(results, phase)).collect::<Vec<_>>().join("\n")
}

fn table(results: &Results, phase: &str) -> String {
    let names = results.names(phase);
    let mut columns: Vec<Column> = Vec::new();
    for name in &names {
        columns.push(Column { name, kind: Kind::Itself });
        if is_compared(name) {
            columns.push(Column { name, kind: Kind::Times });
        }
        if is_added(name) {
            columns.push(Column { name, kind: Kind::Added });
        }
    }
    let mut text = format!("### {}\n\n|  |", capital(phase));
    for column in &columns {
        let _ = write!(text, " {} |", column.heading());
    }
    let _ = write!(text, "\n|---|{}\n", "--:|".repeat(columns.len()));
    for candidate in results.candidates(phase) {
        let cells: Vec<String> =
            columns.iter().map(|column| column.cell(results, phase, candidate)).collect();
        let _ = writeln!(text, "| {candidate} | {} |", cells.join(" | "));
    }
    text
}

struct Column<'a> {
    name: &'a str,
    kind: Kind,
}

#[derive(Clone, Copy)]
enum Kind {
    Itself,
    /// How many times nginx's.
    Times,
    /// More than the mock's.
    Added,
}

impl Column<'_> {
    fn heading(&self) -> String {
        match self.kind {
            Kind::Itself => self.name.to_owned(),
            Kind::Times => "times nginx".to_owned(),
            Kind::Added => format!("added {}", self.name),
        }
    }

    fn cell(&self, results: &Results, phase: &str, candidate: &str) -> String {
        let over = match self.kind {
            Kind::Itself => results.of(phase, self.name, candidate),
            Kind::Times if candidate == MOCK => None,
            Kind::Times => results.times(phase, self.name, candidate, NGINX),
            Kind::Added if candidate == MOCK => None,
            Kind::Added => results.added(phase, self.name, candidate, MOCK),
        };
        over.map_or_else(|| "–".to_owned(), shown)
    }
}

fn is_compared(name: &str) -> bool {
    name.starts_with("CPU")
}

fn is_added(name: &str) -> bool {
    name.starts_with('p') && name.ends_with("µs")
}

/// The median, and the least and the most of all rounds.
pub(crate) fn shown(over: Over) -> String {
    let Over { median, least, most } = over;
    if least == most {
        return number(median);
    }
    format!("{} ({}…{})", number(median), number(least), number(most))
}

/// Three digits that count; thousands apart.
pub(crate) fn number(value: f64) -> String {
    let decimals = match value.abs() {
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        _ => 2,
    };
    let plain = format!("{value:.decimals$}");
    let (sign, digits) = match plain.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", plain.as_str()),
    };
    let (whole, rest) = digits.split_at(digits.find('.').unwrap_or(digits.len()));
    let mut apart = String::new();
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at) % 3 == 0 {
            apart.push(',');
        }
        apart.push(digit);
    }
    format!("{sign}{apart}{rest}")
}

/// Where tables stand in a document.
const BEGIN: &str = "<!-- cargo xtask bench writes from here -->";
const END: &str = "<!-- to here -->";

/// The document with `tables` between its two marks.
pub(crate) fn inserted(document: &str, tables: &str) -> anyhow::Result<String> {
    let begin = document.find(BEGIN).context("the document has no mark where tables begin")?;
    let begin = begin + BEGIN.len();
    let length = document[begin..].find(END).context("the document has no mark where they end")?;
    let (before, after) = (&document[..begin], &document[begin + length..]);
    Ok(format!("{before}\n\n{}\n\n{after}", tables.trim()))
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_readable() {
        for (value, wanted) in [
            (1_234_567.8, "1,234,568"),
            (999.6, "1,000"),
            (12.34, "12.3"),
            (1.234, "1.23"),
            (-4_321.0, "-4,321"),
            (-0.5, "-0.50"),
        ] {
            assert_eq!(number(value), wanted);
        }
    }

    #[test]
    fn a_table_tells_what_is_added_and_how_many_times_nginx_it_is() {
        let mut results = Results::default();
        for (name, cpu, p50) in [(MOCK, 10.0, 100.0), (NGINX, 20.0, 150.0), ("bare", 30.0, 180.0)] {
            results.push("throughput", "CPU µs/request", name, cpu);
            results.push("throughput", "p50 µs", name, p50);
        }
        let wanted = "\
### Throughput

|  | CPU µs/request | times nginx | p50 µs | added p50 µs |
|---|--:|--:|--:|--:|
| mock | 10.0 | – | 100 | – |
| nginx | 20.0 | 1.00 | 150 | 50.0 |
| bare | 30.0 | 1.50 | 180 | 80.0 |
";
        assert_eq!(tables(&results), wanted);
    }

    #[test]
    fn tables_replace_what_stood_between_the_marks() {
        let document = format!("before\n{BEGIN}\nold\n{END}\nafter\n");
        let once = inserted(&document, "new\n").unwrap();
        assert_eq!(once, format!("before\n{BEGIN}\n\nnew\n\n{END}\nafter\n"));
        assert_eq!(inserted(&once, "new\n").unwrap(), once);
        assert!(inserted("no marks", "new").is_err());
    }
}

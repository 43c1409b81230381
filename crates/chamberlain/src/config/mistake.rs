//! A mistake in the configuration, shown so that it can be mended without looking anything up:
//! the place, the line itself, what is wrong, and what to write.

use std::fmt;
use std::ops::Range;

use chamberlain_core::secret::redact;

/// Where something is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// In a file.
    File {
        /// Its path as it was given.
        path: String,
        /// Line, from 1.
        line: usize,
        /// Column in characters, from 1.
        column: usize,
        /// The line itself.
        text: String,
        /// Characters the caret underlines.
        width: usize,
    },
    /// In an environment variable.
    Variable(String),
    /// In a flag of the command line.
    Flag(String),
}

impl Place {
    /// The place of `span` in `text`, which was read from `path`.
    pub(crate) fn in_file(path: &str, text: &str, span: Range<usize>) -> Place {
        let start = floor(text, span.start);
        let end = floor(text, span.end.max(start));
        let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
        let line_end = text[start..].find('\n').map_or(text.len(), |at| start + at);
        Place::File {
            path: path.to_owned(),
            line: text[..line_start].matches('\n').count() + 1,
            column: text[line_start..start].chars().count() + 1,
            // Somebody may have pasted a key into the file: it is not repeated here.
            text: redact(text[line_start..line_end].trim_end_matches('\r')).into_owned(),
            width: text[start..end.min(line_end)].chars().count().max(1),
        }
    }
}

fn floor(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::File { path, line, column, .. } => write!(f, "{path}:{line}:{column}"),
            Place::Variable(name) => write!(f, "{name}"),
            Place::Flag(name) => write!(f, "{name}"),
        }
    }
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Gravity {
    /// The configuration cannot be used.
    Error,
    /// It can be used; somebody should look.
    Warning,
}

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mistake {
    /// How bad.
    pub(crate) gravity: Gravity,
    /// Where.
    pub(crate) place: Option<Place>,
    /// What is wrong.
    pub(crate) what: String,
    /// What to do.
    pub(crate) fix: String,
}

impl Mistake {
    /// An error at `place`.
    pub(crate) fn error(
        place: Option<Place>,
        what: impl Into<String>,
        fix: impl Into<String>,
    ) -> Mistake {
        Mistake { gravity: Gravity::Error, place, what: what.into(), fix: fix.into() }
    }

    /// A warning at `place`.
    pub(crate) fn warning(
        place: Option<Place>,
        what: impl Into<String>,
        fix: impl Into<String>,
    ) -> Mistake {
        Mistake { gravity: Gravity::Warning, ..Mistake::error(place, what, fix) }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.gravity {
            Gravity::Error => "error: ",
            Gravity::Warning => "warning: ",
        })?;
        if let Some(place) = &self.place {
            write!(f, "{place}: ")?;
        }
        writeln!(f, "{}", redact(&self.what))?;
        if let Some(Place::File { line, column, text, width, .. }) = &self.place {
            let number = line.to_string();
            let gutter = " ".repeat(number.len());
            // Tabs stay tabs, so the caret stands under its word.
            let indent: String =
                text.chars().take(column - 1).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
            writeln!(f, "  {number} | {text}")?;
            writeln!(f, "  {gutter} | {indent}{}", "^".repeat(*width))?;
        }
        write!(f, "  fix: {}", redact(&self.fix))
    }
}

/// Everything that is wrong, in the order of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mistakes(pub(crate) Vec<Mistake>);

impl Mistakes {
    /// True when nothing stops the configuration from being used.
    pub(crate) fn usable(&self) -> bool {
        self.0.iter().all(|mistake| mistake.gravity != Gravity::Error)
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, mistake) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n\n")?;
            }
            write!(f, "{mistake}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Mistakes {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_line_and_a_column_of_characters() {
        let text = "a = 1\nüb = \"x\"\n";
        let at = text.find('"').unwrap();
        let place = Place::in_file("c.toml", text, at..at + 3);
        assert_eq!(place.to_string(), "c.toml:2:6");
        let shown = Mistake::error(Some(place), "wrong", "write y").to_string();
        assert_eq!(
            shown,
            "error: c.toml:2:6: wrong\n  2 | üb = \"x\"\n    |      ^^^\n  fix: write y"
        );
    }

    #[test]
    fn a_span_beyond_the_end_is_the_end() {
        let place = Place::in_file("c.toml", "a = ", 90..99);
        assert_eq!(place.to_string(), "c.toml:1:5");
    }
}

//! As much of YAML as a rotation policy or a table of keys is written in: mappings in block form
//! whose values are scalars on one line, lists of such mappings, and comments.
//!
//! Every scalar is known with its place, so that one can be replaced and everything else stays byte
//! for byte. What is not understood (tabs, anchors, values over several lines in quotes) is refused
//! with its line, never guessed at; block scalars and collections in brackets are passed over.

use std::ops::Range;

/// Why a text is not understood.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct YamlMistake {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong there.
    pub what: String,
}

/// A value on one line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Scalar {
    /// What it says, without quotes.
    pub text: String,
    /// Where it is written, quotes included, in bytes.
    pub span: Range<usize>,
}

/// What stands behind a key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Value {
    /// A value on one line.
    Scalar(Scalar),
    /// Something below it, or nothing.
    Below,
    /// A block scalar or a collection in brackets: passed over.
    Other,
}

/// A key with its value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// The line, from 1.
    pub line: usize,
    /// The keys that lead to it, its own last. An item of a list is `[0]`, `[1]` and so on.
    pub path: Vec<String>,
    /// Its value.
    pub value: Value,
}

/// One level that is open while lines are read.
struct Level {
    indent: usize,
    step: String,
    /// Keys that this level has already.
    keys: Vec<String>,
    items: usize,
}

/// Every key of a text, in order.
///
/// # Errors
/// What is not understood first.
pub fn entries(text: &str) -> Result<Vec<Entry>, YamlMistake> {
    let mut reader = Reader { found: Vec::new(), levels: vec![level(0)], skip_below: None };
    let mut start = 0;
    for (number, line) in text.split_inclusive('\n').enumerate() {
        let content = line.trim_end_matches(['\n', '\r']);
        reader
            .line(content, start)
            .map_err(|what| YamlMistake { line: number + 1, what })?
            .into_iter()
            .for_each(|(path, value)| {
                reader.found.push(Entry { line: number + 1, path, value });
            });
        start += line.len();
    }
    Ok(reader.found)
}

fn level(indent: usize) -> Level {
    Level { indent, step: String::new(), keys: Vec::new(), items: 0 }
}

struct Reader {
    found: Vec<Entry>,
    levels: Vec<Level>,
    /// Lines indented deeper than this belong to a block scalar.
    skip_below: Option<usize>,
}

impl Reader {
    /// Reads one line that begins at byte `start`.
    fn line(&mut self, line: &str, start: usize) -> Result<Option<(Vec<String>, Value)>, String> {
        let indent = line.len() - line.trim_start_matches(' ').len();
        let rest = &line[indent..];
        if rest.is_empty() || self.skip_below.is_some_and(|below| indent > below) {
            return Ok(None);
        }
        if rest.starts_with('\t') {
            return Err("a tab in front; YAML is indented by spaces".to_owned());
        }
        if rest.starts_with('#') || rest == "---" || rest == "..." || rest.starts_with('%') {
            return Ok(None);
        }
        self.skip_below = None;
        let (mut indent, mut rest) = (indent, rest);
        while let Some(after) = rest.strip_prefix("- ").or((rest == "-").then_some("")) {
            self.item(indent)?;
            let spaces = after.len() - after.trim_start_matches(' ').len();
            let width = rest.len() - after.len() + spaces;
            (indent, rest) = (indent + width, &after[spaces..]);
        }
        if rest.is_empty() || rest.starts_with('#') {
            return Ok(None);
        }
        let Some((key, value)) = split_key(rest)? else {
            // A bare item of a list.
            return match self.levels.last() {
                Some(level) if level.indent < indent && level.step.starts_with('[') => Ok(None),
                _ => Err("neither `key: value` nor an item of a list".to_owned()),
            };
        };
        let place = start + line.len() - value.len();
        let path = self.key(indent, &key)?;
        let value = self.value(value, place, indent)?;
        Ok(Some((path, value)))
    }

    /// An item of a list begins.
    fn item(&mut self, indent: usize) -> Result<(), String> {
        self.close(indent, true)?;
        let last = self.levels.last_mut().expect("the first level is never closed");
        last.step = format!("[{}]", last.items);
        last.items += 1;
        Ok(())
    }

    /// A key begins: gives the way to it.
    fn key(&mut self, indent: usize, key: &str) -> Result<Vec<String>, String> {
        self.close(indent, false)?;
        let last = self.levels.last_mut().expect("the first level is never closed");
        if last.keys.iter().any(|known| known == key) {
            return Err(format!("{key:?} stands here twice"));
        }
        last.keys.push(key.to_owned());
        last.step = key.to_owned();
        Ok(self.levels.iter().map(|level| level.step.clone()).collect())
    }

    /// Closes what is indented deeper, and opens a level for what is deeper than the last.
    fn close(&mut self, indent: usize, is_item: bool) -> Result<(), String> {
        while self.levels.len() > 1 && self.levels.last().is_some_and(|last| last.indent > indent) {
            self.levels.pop();
        }
        let last = self.levels.last().expect("the first level is never closed");
        // `key:` and below it, not deeper, `- item`.
        let list_of_key = is_item
            && last.indent == indent
            && !last.step.starts_with('[')
            && !last.step.is_empty();
        match indent.cmp(&last.indent) {
            std::cmp::Ordering::Less => Err("indented less than what it belongs to".to_owned()),
            std::cmp::Ordering::Equal if !list_of_key => {
                // A key after a list that was not indented belongs to the mapping around it.
                if !is_item && last.step.starts_with('[') && self.levels.len() > 1 {
                    self.levels.pop();
                }
                Ok(())
            }
            _ if last.step.is_empty() => {
                Err("indented, and nothing above it to belong to".to_owned())
            }
            _ => {
                self.levels.push(level(indent));
                Ok(())
            }
        }
    }

    fn value(&mut self, value: &str, place: usize, indent: usize) -> Result<Value, String> {
        let lead = value.len() - value.trim_start_matches(' ').len();
        let (value, place) = (&value[lead..], place + lead);
        match value.bytes().next() {
            None | Some(b'#') => Ok(Value::Below),
            Some(b'|' | b'>') => {
                self.skip_below = Some(indent);
                Ok(Value::Other)
            }
            Some(b'{' | b'[') => {
                // On one line, or over lines that are indented deeper.
                self.skip_below = Some(indent);
                Ok(Value::Other)
            }
            Some(b'&' | b'*' | b'!' | b'@' | b'`' | b'%') => {
                Err("anchors, aliases and tags are not understood here".to_owned())
            }
            Some(quote @ (b'"' | b'\'')) => quoted(value, char::from(quote), place),
            Some(_) => Ok(plain(value, place)),
        }
    }
}

/// Splits `key: value`; the value keeps the space in front of it. `None` when there is no key.
fn split_key(text: &str) -> Result<Option<(String, &str)>, String> {
    if let Some(quote) = text.chars().next().filter(|char| matches!(char, '"' | '\'')) {
        let Some(end) = text[1..].find(quote) else {
            return Err("a text in quotes that does not end on its line".to_owned());
        };
        let (key, rest) = (&text[1..=end], &text[end + 2..]);
        return Ok(rest.strip_prefix(':').map(|value| (key.to_owned(), value)));
    }
    let ends = |at: usize| matches!(text.as_bytes().get(at + 1), None | Some(b' '));
    let colon = text.match_indices(':').map(|(at, _)| at).find(|at| ends(*at));
    let comment = text.find(" #").unwrap_or(text.len());
    Ok(colon
        .filter(|at| *at < comment)
        .map(|at| (text[..at].trim_end().to_owned(), &text[at + 1..])))
}

fn quoted(value: &str, quote: char, place: usize) -> Result<Value, String> {
    let inside = &value[1..];
    let end = inside.find(quote).ok_or("a text in quotes that does not end on its line")?;
    let text = &inside[..end];
    let after = inside[end + 1..].trim_start();
    if after.starts_with(quote) || text.contains('\\') {
        return Err("quotes and backslashes inside of quotes are not understood here".to_owned());
    }
    if !after.is_empty() && !after.starts_with('#') {
        return Err("something stands behind the closing quote".to_owned());
    }
    let span = place..place + end + 2;
    Ok(Value::Scalar(Scalar { text: text.to_owned(), span }))
}

fn plain(value: &str, place: usize) -> Value {
    let end = value.find(" #").unwrap_or(value.len());
    let text = value[..end].trim_end();
    Value::Scalar(Scalar { text: text.to_owned(), span: place..place + text.len() })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn flat(text: &str) -> Vec<(String, String)> {
        let found = entries(text).unwrap().into_iter();
        found
            .filter_map(|entry| match entry.value {
                Value::Scalar(scalar) => Some((entry.path.join("."), scalar.text)),
                _ => None,
            })
            .collect()
    }

    #[test]
    fn mappings_lists_and_comments_are_read() {
        let text = "\
# head
version: 1
secrets:
  anthropic_api_key:   # ours
    interval_days: 180
    last_rotated: \"2025-12-08\"  # ← Update this
    why: 'because: it is'
    notes: |
      last_rotated: \"1999-01-01\"
        deeper
    tags: [a, b]
  list:
  - name: a
    x: 1
  -   name: b
  - bare
after: it
";
        let expected = [
            ("version", "1"),
            ("secrets.anthropic_api_key.interval_days", "180"),
            ("secrets.anthropic_api_key.last_rotated", "2025-12-08"),
            ("secrets.anthropic_api_key.why", "because: it is"),
            ("secrets.list.[0].name", "a"),
            ("secrets.list.[0].x", "1"),
            ("secrets.list.[1].name", "b"),
            ("after", "it"),
        ];
        assert_eq!(flat(text), expected.map(|(path, text)| (path.to_owned(), text.to_owned())));
        for entry in entries(text).unwrap() {
            if let Value::Scalar(scalar) = entry.value {
                assert!(text[scalar.span].contains(&scalar.text));
            }
        }
    }

    #[test]
    fn a_list_at_the_top_is_read() {
        let text = "- name: a\n  day: 2026-01-02\n- name: b\n";
        let expected = [("[0].name", "a"), ("[0].day", "2026-01-02"), ("[1].name", "b")];
        assert_eq!(flat(text), expected.map(|(path, text)| (path.to_owned(), text.to_owned())));
    }

    #[test]
    fn what_is_not_understood_is_refused_with_its_line() {
        for (text, line) in [
            ("a:\n\tb: 1\n", 2),
            ("a: 1\na: 2\n", 2),
            ("a: \"open\n", 1),
            ("a: *b\n", 1),
            ("a: 'it''s'\n", 1),
            ("a: \"x\\n\"\n", 1),
            ("a: \"x\" y\n", 1),
            ("just words\n", 1),
            ("  a: 1\n", 1),
        ] {
            let mistake = entries(text).unwrap_err();
            assert_eq!(mistake.line, line, "{text:?}: {mistake}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic_and_every_place_is_true(text in "([a-c:\\-#\"' \\[|]|\n|é|  ){0,80}") {
            if let Ok(found) = entries(&text) {
                for entry in found {
                    if let Value::Scalar(scalar) = entry.value {
                        prop_assert!(text[scalar.span].contains(&scalar.text));
                    }
                }
            }
        }
    }
}

//! One `NAME=value` line in the text of an env file.
//!
//! Everything but the value stays as it is, byte for byte: other lines, comments, order, line ends,
//! `export`, quotes. The name is matched whole, so `OTHER_NAME=` is another variable. Where the
//! programs that read such files would not agree on which line counts, nothing is changed: each
//! case is refused by its line.

use std::ops::Range;

use zeroize::Zeroizing;

/// Why the text of an env file was not changed. Lines are counted from 1.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum EnvTextError {
    /// The name is assigned more than once.
    #[error(
        "{name} is assigned on lines {first} and {second}; programs differ in which one counts"
    )]
    Twice {
        /// The name.
        name: String,
        /// The first line.
        first: usize,
        /// The second.
        second: usize,
    },
    /// The assignment may lie inside a value that goes over several lines.
    #[error(
        "line {line} assigns {name}, and line {opened} begins something that may go on over it; \
         programs differ in whether it is an assignment"
    )]
    Inside {
        /// The name.
        name: String,
        /// Its line.
        line: usize,
        /// The line that may not have ended.
        opened: usize,
    },
    /// The present value goes over several lines, or something stands behind its quotes.
    #[error("the present value on line {line} is no single quoted or bare word")]
    Odd {
        /// Its line.
        line: usize,
    },
    /// It is no text.
    #[error("there is a zero byte in it, so it is no text file")]
    NoText,
    /// The new value has a character that would need quotes.
    #[error("the value has a character that not every program reads back")]
    Value,
}

/// Where a value stands.
struct Found {
    line: usize,
    value: Range<usize>,
}

/// One line, without its end.
struct Line<'a> {
    number: usize,
    start: usize,
    text: &'a [u8],
}

fn lines(text: &[u8]) -> impl Iterator<Item = Line<'_>> {
    let mut start = 0;
    text.split(|byte| *byte == b'\n').enumerate().map(move |(at, raw)| {
        let line = Line { number: at + 1, start, text: raw.strip_suffix(b"\r").unwrap_or(raw) };
        start += raw.len() + 1;
        line
    })
}

fn is_space(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

fn skip_space(text: &[u8]) -> usize {
    text.iter().take_while(|byte| is_space(**byte)).count()
}

/// The name that a line assigns, and where what follows the equals sign begins.
fn assignment<'a>(line: &Line<'a>) -> Option<(&'a [u8], usize)> {
    let mut at = if line.number == 1 && line.text.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
    at += skip_space(&line.text[at..]);
    if let Some(rest) = line.text[at..].strip_prefix(b"export")
        && skip_space(rest) > 0
    {
        at += b"export".len() + skip_space(rest);
    }
    let is_name = |byte: &&u8| byte.is_ascii_alphanumeric() || **byte == b'_';
    let length = line.text[at..].iter().take_while(is_name).count();
    let name = &line.text[at..at + length];
    at += length;
    at += skip_space(&line.text[at..]);
    (length > 0 && line.text.get(at) == Some(&b'=')).then_some((name, at + 1))
}

/// The quote with which the text at `at` begins.
fn quote_at(line: &Line<'_>, at: usize) -> Option<u8> {
    line.text.get(at).copied().filter(|byte| b"'\"`".contains(byte))
}

/// Where, from `at` on, the quote ends; a backslash hides the one after it in double quotes.
fn closing(text: &[u8], at: usize, quote: u8) -> Option<usize> {
    let mut hidden = false;
    for (place, byte) in text.iter().enumerate().skip(at) {
        match byte {
            _ if hidden => hidden = false,
            b'\\' if quote == b'"' => hidden = true,
            byte if *byte == quote => return Some(place),
            _ => {}
        }
    }
    None
}

/// The value's place in its line, without quotes and without a comment behind it.
fn value(line: &Line<'_>, after: usize) -> Option<Range<usize>> {
    let start = after + skip_space(&line.text[after..]);
    if let Some(quote) = quote_at(line, start) {
        let end = closing(line.text, start + 1, quote)?;
        let rest = &line.text[end + 1..];
        let space = skip_space(rest);
        let ends = space == rest.len() || space > 0 && rest[space] == b'#';
        return ends.then_some(start + 1..end);
    }
    let rest = &line.text[start..];
    // Right behind the equals sign it is a comment to some programs, and the value to others.
    if rest.first() == Some(&b'#') {
        return None;
    }
    let comment = (1..rest.len()).find(|at| rest[*at] == b'#' && is_space(rest[at - 1]));
    let mut end = comment.unwrap_or(rest.len());
    while end > 0 && is_space(rest[end - 1]) {
        end -= 1;
    }
    Some(start..start + end)
}

/// The line that begins something which may go on over line `number`: a quote that a later line
/// ends, or a backslash at the end of the line before.
fn opened_before(text: &[u8], number: usize) -> Option<usize> {
    let all: Vec<Line<'_>> = lines(text).collect();
    let before = &all[..number - 1];
    if let Some(last) = before.last() {
        let backslashes = last.text.iter().rev().take_while(|byte| **byte == b'\\').count();
        if backslashes % 2 == 1 && !last.text.trim_ascii_start().starts_with(b"#") {
            return Some(last.number);
        }
    }
    before.iter().find_map(|line| {
        let (_, after) = assignment(line)?;
        let start = after + skip_space(&line.text[after..]);
        let quote = quote_at(line, start)?;
        if closing(line.text, start + 1, quote).is_some() {
            return None;
        }
        let ends = all[line.number..].iter().find(|later| closing(later.text, 0, quote).is_some());
        ends.is_some_and(|later| later.number >= number).then_some(line.number)
    })
}

fn find(text: &[u8], name: &str) -> Result<Option<Found>, EnvTextError> {
    if text.contains(&0) {
        return Err(EnvTextError::NoText);
    }
    let mut found: Option<Found> = None;
    for line in lines(text) {
        let Some((_, after)) = assignment(&line).filter(|(named, _)| *named == name.as_bytes())
        else {
            continue;
        };
        if let Some(first) = &found {
            let (first, second) = (first.line, line.number);
            return Err(EnvTextError::Twice { name: name.to_owned(), first, second });
        }
        if let Some(opened) = opened_before(text, line.number) {
            let line = line.number;
            return Err(EnvTextError::Inside { name: name.to_owned(), line, opened });
        }
        let value = value(&line, after).ok_or(EnvTextError::Odd { line: line.number })?;
        let value = line.start + value.start..line.start + value.end;
        found = Some(Found { line: line.number, value });
    }
    Ok(found)
}

/// The value of `name`; `None` where it is not assigned.
///
/// # Errors
/// When it cannot be told which line counts.
pub fn value_of<'a>(text: &'a [u8], name: &str) -> Result<Option<&'a [u8]>, EnvTextError> {
    Ok(find(text, name)?.map(|found| &text[found.value]))
}

/// The text with `value` as the value of `name`. Where no line assigns it, one is added at the end.
///
/// # Errors
/// When it cannot be told which line counts, or the value would need quotes.
pub fn replace(text: &[u8], name: &str, value: &[u8]) -> Result<Zeroizing<Vec<u8>>, EnvTextError> {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.~:@+/=".contains(byte);
    if value.is_empty() || !value.iter().all(plain) {
        return Err(EnvTextError::Value);
    }
    let found = find(text, name)?;
    // Room for all of it at once: a buffer that grows leaves copies behind.
    let mut out = Zeroizing::new(Vec::with_capacity(text.len() + name.len() + value.len() + 3));
    match found {
        Some(Found { value: old, .. }) => {
            out.extend_from_slice(&text[..old.start]);
            out.extend_from_slice(value);
            out.extend_from_slice(&text[old.end..]);
        }
        None => {
            out.extend_from_slice(text);
            if !text.is_empty() && !text.ends_with(b"\n") {
                out.push(b'\n');
            }
            out.extend_from_slice(name.as_bytes());
            out.push(b'=');
            out.extend_from_slice(value);
            out.push(b'\n');
        }
    }
    // A line that was added may lie inside something that the file begins and does not end.
    match find(&out, name)? {
        Some(found) if &out[found.value.clone()] == value => Ok(out),
        Some(found) => Err(EnvTextError::Odd { line: found.line }),
        None => Err(EnvTextError::Odd { line: lines(&out).count() }),
    }
}

#[cfg(test)]
mod tests;

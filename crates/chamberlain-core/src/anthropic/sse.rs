//! An event stream, read as it comes: bytes split anywhere in, whole events out.
//!
//! After WHATWG's rules: lines end with LF, CR or CRLF, a byte order mark may come first, lines that
//! begin with a colon are comments, several `data` lines are one text, an event ends with an empty
//! line, and an event that the stream breaks off in is none. What is kept between two pushes is
//! bounded: an event that is too long is reported as such, and the next one is read again.

use std::fmt;

/// One event. The bytes are borrowed from the push that completed it where possible.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Event<'a> {
    /// The `event` field; empty when there is none.
    pub name: &'a [u8],
    /// The `data` fields, joined with LF; empty when the event is `cut`.
    pub data: &'a [u8],
    /// Length of the data, also when it is cut.
    pub data_bytes: usize,
    /// True when the data was longer than the reader keeps.
    pub cut: bool,
}

/// A field's name, its colon and the space after it are not longer than this, if we care for it.
const FIELD_BYTES_MAX: usize = 16;
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Reads one event stream.
pub struct Sse {
    event_bytes_max: usize,
    /// The beginning of a line whose end has not come yet, as far as it is kept.
    line: Vec<u8>,
    /// Its whole length.
    line_bytes: usize,
    /// True when the last byte was a CR: a LF now belongs to it.
    after_cr: bool,
    /// True until the first line has been read.
    at_start: bool,
    name: Vec<u8>,
    data: Data,
}

/// The data of the event that is being read.
#[derive(Default)]
struct Data {
    /// What was kept over a push.
    kept: Vec<u8>,
    /// Length of all of it.
    bytes: usize,
    /// Lines of it.
    lines: usize,
    cut: bool,
}

impl fmt::Debug for Sse {
    /// What passes through is the client's own, so none of it is shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sse")
            .field("event_bytes_max", &self.event_bytes_max)
            .finish_non_exhaustive()
    }
}

impl Sse {
    /// A reader that keeps at most `event_bytes_max` bytes of an event's data.
    pub fn new(event_bytes_max: usize) -> Sse {
        Sse {
            event_bytes_max,
            line: Vec::new(),
            line_bytes: 0,
            after_cr: false,
            at_start: true,
            name: Vec::new(),
            data: Data::default(),
        }
    }

    /// Takes the next bytes, split anywhere, and hands each event that they complete to `each`.
    pub fn push(&mut self, bytes: &[u8], mut each: impl FnMut(Event<'_>)) {
        // The only line of data so far, while it still stands in `bytes`.
        let mut borrowed: Option<&[u8]> = None;
        let mut rest = bytes;
        while !rest.is_empty() {
            if std::mem::take(&mut self.after_cr) && rest[0] == b'\n' {
                rest = &rest[1..];
                continue;
            }
            let Some(end) = rest.iter().position(|&byte| byte == b'\n' || byte == b'\r') else {
                self.keep_line(rest);
                break;
            };
            let (part, after) = (&rest[..end], &rest[end + 1..]);
            self.after_cr = rest[end] == b'\r';
            rest = after;
            if self.line_bytes == 0 {
                self.line(part, part.len(), Some(part), &mut borrowed, &mut each);
            } else {
                self.keep_line(part);
                let (line, bytes) = (std::mem::take(&mut self.line), self.line_bytes);
                self.line(&line, bytes, None, &mut borrowed, &mut each);
                self.line = line;
                self.line.clear();
                self.line_bytes = 0;
            }
        }
        if let Some(data) = borrowed {
            self.data.kept.extend_from_slice(data);
        }
    }

    fn keep_line(&mut self, part: &[u8]) {
        let room = (self.event_bytes_max + FIELD_BYTES_MAX).saturating_sub(self.line.len());
        self.line.extend_from_slice(&part[..part.len().min(room)]);
        self.line_bytes += part.len();
    }

    /// Takes one line of `bytes` bytes. `line` is as much of it as was kept; `lasting` is the same
    /// line when it lives as long as the push.
    fn line<'a>(
        &mut self,
        line: &[u8],
        bytes: usize,
        lasting: Option<&'a [u8]>,
        borrowed: &mut Option<&'a [u8]>,
        each: &mut impl FnMut(Event<'_>),
    ) {
        let mark = if std::mem::take(&mut self.at_start) && line.starts_with(BYTE_ORDER_MARK) {
            BYTE_ORDER_MARK.len()
        } else {
            0
        };
        let line = &line[mark..];
        if line.is_empty() {
            self.dispatch(borrowed.take(), each);
            return;
        }
        let colon = line.iter().position(|&byte| byte == b':').unwrap_or(line.len());
        let field = &line[..colon];
        let mut from = (colon + 1).min(line.len());
        from += usize::from(line.get(from) == Some(&b' '));
        match field {
            b"event" => {
                self.name.clear();
                let name = &line[from..];
                self.name.extend_from_slice(&name[..name.len().min(self.event_bytes_max)]);
            }
            b"data" => {
                let lasting = lasting.map(|line| &line[mark + from..]);
                let value_bytes = bytes - mark - from;
                self.data_line(&line[from..], value_bytes, lasting, borrowed);
            }
            _ => {}
        }
    }

    fn data_line<'a>(
        &mut self,
        value: &[u8],
        value_bytes: usize,
        lasting: Option<&'a [u8]>,
        borrowed: &mut Option<&'a [u8]>,
    ) {
        let data = &mut self.data;
        data.lines += 1;
        data.bytes += value_bytes + usize::from(data.lines > 1);
        if data.bytes > self.event_bytes_max {
            data.cut = true;
        }
        if data.cut {
            data.kept = Vec::new();
            *borrowed = None;
        } else if data.lines == 1 && lasting.is_some() {
            *borrowed = lasting;
        } else {
            if let Some(first) = borrowed.take() {
                data.kept.extend_from_slice(first);
            }
            if data.lines > 1 {
                data.kept.push(b'\n');
            }
            data.kept.extend_from_slice(value);
        }
    }

    fn dispatch(&mut self, borrowed: Option<&[u8]>, each: &mut impl FnMut(Event<'_>)) {
        if self.data.lines > 0 {
            each(Event {
                name: &self.name,
                data: borrowed.unwrap_or(&self.data.kept),
                data_bytes: self.data.bytes,
                cut: self.data.cut,
            });
        }
        self.name.clear();
        self.data.kept.clear();
        self.data = Data { kept: std::mem::take(&mut self.data.kept), ..Data::default() };
    }
}

#[cfg(test)]
mod tests;

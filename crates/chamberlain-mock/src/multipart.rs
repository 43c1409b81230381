//! Reads a `multipart/form-data` body: its parts by name, without copying what is in them.

use std::io::BufRead as _;

use bytes::Bytes;
use http::{HeaderMap, header};

use crate::error::ApiError;

/// One field of a form.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) name: String,
    /// `None` for a field that is not a file.
    pub(crate) filename: Option<String>,
    pub(crate) content_type: Option<String>,
    pub(crate) data: Bytes,
}

/// The parts of a body, in order.
///
/// # Errors
/// 400, when the content type names no boundary or the body does not keep to it.
pub(crate) fn parts(headers: &HeaderMap, body: &Bytes) -> Result<Vec<Part>, ApiError> {
    let boundary = boundary(headers).ok_or_else(|| {
        ApiError::invalid("content-type: must be multipart/form-data with a boundary")
    })?;
    let first = format!("--{boundary}");
    let next = format!("\r\n--{boundary}");
    let malformed = || ApiError::invalid("The request body is not a valid multipart form");
    let mut at = match body.starts_with(first.as_bytes()) {
        true => first.len(),
        false => find(body, next.as_bytes(), 0).ok_or_else(malformed)? + next.len(),
    };
    let mut parts = Vec::new();
    while !body[at..].starts_with(b"--") {
        let head = after_line(body, at).ok_or_else(malformed)?;
        let blank = find(body, b"\r\n\r\n", head.saturating_sub(2)).ok_or_else(malformed)?;
        // What is in a part may be empty: then its end begins with the line that ends its head.
        let end = find(body, next.as_bytes(), blank + 2).ok_or_else(malformed)?;
        let head = std::str::from_utf8(&body[head.min(blank)..blank]).map_err(|_| malformed())?;
        parts.push(part(head, body.slice((blank + 4).min(end)..end)).ok_or_else(malformed)?);
        at = end + next.len();
    }
    Ok(parts)
}

/// Where the line that `at` stands in is over.
fn after_line(body: &[u8], at: usize) -> Option<usize> {
    let end = find(body, b"\r\n", at)?;
    body[at..end].iter().all(|byte| matches!(byte, b' ' | b'\t')).then_some(end + 2)
}

fn part(head: &str, data: Bytes) -> Option<Part> {
    let field = |wanted: &str| {
        head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.trim().eq_ignore_ascii_case(wanted).then(|| value.trim())
        })
    };
    let disposition = field("content-disposition")?;
    Some(Part {
        name: parameter(disposition, "name")?,
        filename: parameter(disposition, "filename"),
        content_type: field("content-type").map(str::to_owned),
        data,
    })
}

fn boundary(headers: &HeaderMap) -> Option<String> {
    let content_type = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    let is_form = content_type.trim_start().to_ascii_lowercase().starts_with("multipart/form-data");
    parameter(content_type, "boundary").filter(|boundary| is_form && !boundary.is_empty())
}

/// A parameter of a header value, with or without quotes.
fn parameter(value: &str, wanted: &str) -> Option<String> {
    let mut rest = value.split_once(';')?.1;
    loop {
        let (name, after) = rest.split_once('=')?;
        let (text, after) = match after.trim_start().strip_prefix('"') {
            Some(quoted) => unquote(quoted)?,
            None => match after.split_once(';') {
                Some((text, after)) => (text.trim().to_owned(), after),
                None => (after.trim().to_owned(), ""),
            },
        };
        if name.trim_start_matches(';').trim().eq_ignore_ascii_case(wanted) {
            return Some(text);
        }
        rest = after;
    }
}

/// The text up to the closing quote, and what comes after it.
fn unquote(quoted: &str) -> Option<(String, &str)> {
    let mut text = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((text, &quoted[at + 1..])),
            '\\' => text.push(chars.next()?.1),
            _ => text.push(c),
        }
    }
    None
}

/// Where `needle` begins at or after `from`. Files are hundreds of megabytes: what skips over
/// them is the library's own search for one byte.
fn find(body: &[u8], needle: &[u8], from: usize) -> Option<usize> {
    let (first, rest) = needle.split_first()?;
    let mut left = body.get(from..)?;
    loop {
        left.skip_until(*first).ok().filter(|skipped| *skipped > 0)?;
        let at = body.len() - left.len() - 1;
        if body[at] != *first {
            return None;
        }
        if left.starts_with(rest) {
            return Some(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn read(content_type: &'static str, body: &str) -> Result<Vec<Part>, ApiError> {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        parts(&headers, &Bytes::copy_from_slice(body.as_bytes()))
    }

    const FORM: &str = "multipart/form-data; boundary=\"x y\"";

    #[test]
    fn parts_are_read_by_name_and_byte_for_byte() {
        let body = "--x y\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a \\\"b\\\"; \
                    c.txt\"\r\nContent-Type: text/plain\r\n\r\none\r\n--x\r\n\r\ntwo\r\n--x y\r\n\
                    content-disposition: form-data; name=expires_in_seconds\r\n\r\n\r\n--x y--\r\n";
        let parts = read(FORM, body).unwrap();
        assert_eq!(parts[0].filename.as_deref(), Some("a \"b\"; c.txt"));
        assert_eq!(parts[0].content_type.as_deref(), Some("text/plain"));
        assert_eq!(parts[0].data, "one\r\n--x\r\n\r\ntwo");
        assert_eq!((parts[1].name.as_str(), &parts[1].filename), ("expires_in_seconds", &None));
        assert!(parts[1].data.is_empty());
    }

    #[test]
    fn what_is_no_form_is_refused() {
        let whole = "--x y\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\none\r\n--x y--";
        assert_eq!(read(FORM, whole).unwrap().len(), 1);
        for cut in 0..whole.len() - 1 {
            assert!(read(FORM, &whole[..cut]).is_err(), "{cut}");
        }
        assert!(read("multipart/form-data", whole).is_err());
        assert!(read("application/json; boundary=\"x y\"", whole).is_err());
        assert!(read(FORM, "--x y--").unwrap().is_empty());
    }
}

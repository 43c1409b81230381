//! Reading stored records: their head for the verifier, all of it for people.

use serde::Deserialize;
use serde_json::Value;

use crate::audit::merkle::{self, Hash};
use crate::time::Timestamp;

/// The head of stored bytes, read by its fixed places. Texts are as they stand in the JSON, in
/// quotes and escaped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Head<'a> {
    /// The index that the record claims.
    pub seq: u64,
    /// The leaf hash of the record that it was written after.
    pub prev: Hash,
    /// When.
    pub at: Timestamp,
    /// Who, as written.
    pub actor: &'a [u8],
    /// What, as written.
    pub kind: &'a [u8],
    /// About what, as written.
    pub subject: &'a [u8],
}

impl<'a> Head<'a> {
    /// Reads the head; `None` when these are not the bytes of a record.
    pub fn read(bytes: &'a [u8]) -> Option<Head<'a>> {
        let rest = bytes.strip_prefix(b"{\"v\":1,\"seq\":")?;
        let (seq, rest) = number(rest)?;
        let rest = rest.strip_prefix(b",\"prev\":\"")?;
        let prev = merkle::from_hex(rest.get(..64)?)?;
        let rest = rest[64..].strip_prefix(b"\",\"at\":")?;
        let (at, rest) = number(rest)?;
        let (actor, rest) = string(rest.strip_prefix(b",\"actor\":")?)?;
        let (kind, rest) = string(rest.strip_prefix(b",\"kind\":")?)?;
        let (subject, rest) = string(rest.strip_prefix(b",\"subject\":")?)?;
        rest.starts_with(b",\"facts\":{").then_some(Head {
            seq: u64::try_from(seq).ok()?,
            prev,
            at: Timestamp::from_ms(i64::try_from(at).ok()?),
            actor,
            kind,
            subject,
        })
    }
}

/// A whole decimal number in its only spelling, and the bytes after it.
fn number(bytes: &[u8]) -> Option<(i128, &[u8])> {
    let (negative, digits) = match bytes.strip_prefix(b"-") {
        Some(digits) => (true, digits),
        None => (false, bytes),
    };
    let count = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, rest) = digits.split_at(count);
    if count == 0 || count > 20 || (digits[0] == b'0' && (count > 1 || negative)) {
        return None;
    }
    let value = digits.iter().fold(0i128, |sum, digit| sum * 10 + i128::from(digit - b'0'));
    Some((if negative { -value } else { value }, rest))
}

/// A JSON string with its quotes, and the bytes after it.
fn string(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    if bytes.first() != Some(&b'"') {
        return None;
    }
    let mut at = 1;
    loop {
        match bytes.get(at)? {
            b'"' => return Some(bytes.split_at(at + 1)),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// A stored record read as JSON, for showing. Verifying never goes through this.
#[derive(Clone, PartialEq, Debug, Deserialize)]
pub struct Record {
    /// Index in the log.
    pub seq: u64,
    /// Leaf hash of the record before, hexadecimal.
    pub prev: String,
    /// When.
    pub at: Timestamp,
    /// Who.
    pub actor: String,
    /// What.
    pub kind: String,
    /// About what.
    pub subject: String,
    /// The facts.
    pub facts: serde_json::Map<String, Value>,
}

impl Record {
    /// Reads stored bytes.
    ///
    /// # Errors
    /// When they are not a record, with the reason.
    pub fn read(bytes: &[u8]) -> Result<Record, serde_json::Error> {
        serde_json::from_slice(bytes)
    }
}

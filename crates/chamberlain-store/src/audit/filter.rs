//! Finding records of the audit log by what they are about.
//!
//! Records of calls are in no list: their call's row points at them, and whoever asks for them by
//! kind or time reads the log.

use std::ops::ControlFlow;

use chamberlain_core::audit::canonical;
use chamberlain_core::audit::record::Head;
use chamberlain_core::time::Timestamp;
use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};

use super::blocks::{Block, block_of};
use super::{Listing, StoredRecord};
use crate::fault::StoreFault;
use crate::words::count_column;

/// Which records of the audit log to read.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct AuditFilter {
    /// From this number on.
    pub from: u64,
    /// Up to, but not including, this number.
    pub to: Option<u64>,
    /// Not before.
    pub since: Option<Timestamp>,
    /// Before.
    pub until: Option<Timestamp>,
    /// Exactly this kind, or every kind under it when it ends with a dot (`budget.`).
    pub kind: Option<String>,
    /// Exactly this subject. Records of a call are found through the call instead.
    pub subject: Option<String>,
}

impl AuditFilter {
    /// True when all that match are in the list.
    pub(super) fn is_listed(&self) -> bool {
        let kind = self.kind.as_deref();
        self.subject.is_some() || kind.is_some_and(|kind| !kind.starts_with("call."))
    }

    /// Whether a record matches, its subject and its number from above left aside.
    pub(super) fn matches(&self, record: &StoredRecord<'_>) -> bool {
        if record.seq < self.from {
            return false;
        }
        if self.since.is_none() && self.until.is_none() && self.kind.is_none() {
            return true;
        }
        let Some(head) = Head::read(record.bytes) else { return false };
        self.since.is_none_or(|since| head.at >= since)
            && self.until.is_none_or(|until| head.at < until)
            && self.kind.as_deref().is_none_or(|kind| is_kind(head.kind, kind))
    }

    /// The condition on the list, and its values.
    fn conditions(&self) -> (String, Vec<Value>) {
        let (mut sql, mut values) = (String::from("seq >= ?1"), Vec::new());
        values.push(Value::Integer(count_column(self.from)));
        let mut add = |condition: &str, value: Value| {
            values.push(value);
            sql.push_str(&format!(" AND {condition} ?{}", values.len()));
        };
        if let Some(to) = self.to {
            add("seq <", Value::Integer(count_column(to)));
        }
        if let Some(kind) = &self.kind {
            match kind.strip_suffix('.') {
                None => add("kind =", Value::Text(kind.clone())),
                // A family of kinds is a range of texts: the character after the dot is the slash.
                Some(family) => {
                    add("kind >=", Value::Text(kind.clone()));
                    add("kind <", Value::Text(format!("{family}/")));
                }
            }
        }
        if let Some(subject) = &self.subject {
            add("subject =", Value::Text(subject.clone()));
        }
        (sql, values)
    }
}

/// Whether a kind, as it is written in a record, is the one asked for or one of its family.
fn is_kind(written: &[u8], asked: &str) -> bool {
    let mut text = Vec::new();
    canonical::text(&mut text, asked);
    if asked.ends_with('.') {
        text.pop();
        return written.starts_with(&text);
    }
    written == text
}

/// Hands those that match and are in the list to `each`.
pub(super) fn listed(
    connection: &Connection,
    filter: &AuditFilter,
    mut each: impl FnMut(StoredRecord<'_>) -> ControlFlow<()>,
) -> Result<(), StoreFault> {
    let (conditions, values) = filter.conditions();
    let mut query = connection.prepare(&format!(
        "SELECT seq, kind, subject FROM audit_finder WHERE {conditions} ORDER BY seq"
    ))?;
    let mut rows = query.query(params_from_iter(values))?;
    let mut block: Option<Block> = None;
    while let Some(row) = rows.next()? {
        let seq: u64 = row.get(0)?;
        if block.as_ref().is_none_or(|block| block.record(seq).is_none()) {
            block = block_of(connection, seq)?;
        }
        let found = block.as_ref().and_then(|block| block.record(seq)).ok_or_else(|| {
            StoreFault::Damaged(format!("audit record {seq} is listed and is not there"))
        })?;
        let text = |column| row.get_ref(column)?.as_str().map_err(rusqlite::Error::from);
        let listed = Listing { kind: text(1)?, subject: text(2)? };
        let record =
            StoredRecord { seq, bytes: found.bytes, leaf: found.leaf, listed: Some(listed) };
        if filter.matches(&record) && each(record).is_break() {
            break;
        }
    }
    Ok(())
}

//! The list by which records are found, read along with the log.

use rusqlite::{Rows, Statement};

use super::blocks::Found;
use super::{Listing, StoredRecord};
use crate::fault::StoreFault;

/// The list, in the order of the log.
pub(super) struct Listings<'a> {
    rows: Rows<'a>,
    next: Option<Listed>,
}

struct Listed {
    seq: u64,
    kind: String,
    subject: String,
}

impl<'a> Listings<'a> {
    /// All of it from a number on.
    pub(super) const SELECT: &'static str =
        "SELECT seq, kind, subject FROM audit_finder WHERE seq >= ?1 ORDER BY seq";

    pub(super) fn select(
        statement: &'a mut Statement<'_>,
        from: u64,
    ) -> Result<Listings<'a>, StoreFault> {
        let mut listings = Listings { rows: statement.query([from])?, next: None };
        listings.advance()?;
        Ok(listings)
    }

    /// A record with what the list says of it. Records are to come in order.
    pub(super) fn with<'b>(&'b mut self, found: Found<'b>) -> Result<StoredRecord<'b>, StoreFault> {
        while self.next.as_ref().is_some_and(|next| next.seq < found.seq) {
            self.advance()?;
        }
        let listed = self.next.as_ref().filter(|next| next.seq == found.seq);
        Ok(StoredRecord {
            seq: found.seq,
            bytes: found.bytes,
            leaf: found.leaf,
            listed: listed.map(|listed| Listing { kind: &listed.kind, subject: &listed.subject }),
        })
    }

    fn advance(&mut self) -> Result<(), StoreFault> {
        self.next = match self.rows.next()? {
            None => None,
            Some(row) => {
                // Text that is no text was not written here; the verifier finds it by what it is
                // not.
                let text = |column| -> rusqlite::Result<String> {
                    Ok(row.get_ref(column)?.as_str().unwrap_or_default().to_owned())
                };
                Some(Listed { seq: row.get(0)?, kind: text(1)?, subject: text(2)? })
            }
        };
        Ok(())
    }
}

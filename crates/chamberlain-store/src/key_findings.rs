//! What a person should look at about keys: one row for as long as it lasts, so that nobody is told
//! of the same thing twice.

use std::collections::HashMap;

use chamberlain_core::keys::finding::Finding;
use chamberlain_core::time::Timestamp;
use rusqlite::{Connection, Row, params};

use crate::change::Change;
use crate::fault::StoreFault;
use crate::store::Store;
use crate::words::{from_json, json};

/// A finding, and since when it is one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyFinding {
    /// What.
    pub finding: Finding,
    /// Since when.
    pub since: Timestamp,
}

impl Store {
    /// Every finding that lasts, by kind and subject.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn key_findings(&self) -> Result<Vec<KeyFinding>, StoreFault> {
        self.read(read)
    }
}

impl Change<'_> {
    /// Every finding that lasts, as this change sees them.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn key_findings(&self) -> Result<Vec<KeyFinding>, StoreFault> {
        read(self.connection)
    }

    /// Puts `findings` in the place of all there were; those that were there before keep their
    /// since. Gives those that are new.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn replace_key_findings(
        &mut self,
        findings: &[Finding],
    ) -> Result<Vec<Finding>, StoreFault> {
        let before = read(self.connection)?;
        let since: HashMap<_, _> =
            before.iter().map(|old| (old.finding.identity(), old.since)).collect();
        self.connection.prepare_cached("DELETE FROM key_findings")?.execute([])?;
        let mut insert = self.connection.prepare_cached(
            "INSERT INTO key_findings (kind, subject, finding, since) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (kind, subject) DO NOTHING",
        )?;
        let mut new = Vec::new();
        for finding in findings {
            let at = since.get(&finding.identity());
            let (kind, subject) = finding.identity();
            let text = json(finding)?;
            let at_ms = at.copied().unwrap_or(self.now()).ms();
            let put = insert.execute(params![kind.word(), subject, text, at_ms])?;
            if at.is_none() && put == 1 {
                new.push(finding.clone());
            }
        }
        Ok(new)
    }
}

fn read(connection: &Connection) -> Result<Vec<KeyFinding>, StoreFault> {
    let sql = "SELECT finding, since FROM key_findings ORDER BY kind, subject";
    let mut query = connection.prepare_cached(sql)?;
    let row = |row: &Row<'_>| {
        Ok(KeyFinding { finding: from_json(row, 0)?, since: Timestamp::from_ms(row.get(1)?) })
    };
    let rows = query.query_map([], row)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

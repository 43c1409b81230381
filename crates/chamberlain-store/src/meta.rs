//! Small things with a name: sealed blobs, the node's id, settings, marks of the store itself.

use rusqlite::{Connection, OptionalExtension, params};

use crate::change::Change;
use crate::fault::StoreFault;
use crate::store::Store;

/// The value under a name.
pub(crate) fn get(connection: &Connection, name: &str) -> Result<Option<Vec<u8>>, StoreFault> {
    Ok(connection
        .prepare_cached("SELECT value FROM meta WHERE name = ?1")?
        .query_row([name], |row| row.get(0))
        .optional()?)
}

/// Sets the value under a name.
pub(crate) fn put(connection: &Connection, name: &str, value: &[u8]) -> Result<(), StoreFault> {
    connection
        .prepare_cached(
            "INSERT INTO meta (name, value) VALUES (?1, ?2)
             ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        )?
        .execute(params![name, value])?;
    Ok(())
}

impl Store {
    /// The value under a name.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn meta(&self, name: &str) -> Result<Option<Vec<u8>>, StoreFault> {
        self.read(|connection| get(connection, name))
    }
}

impl Change<'_> {
    /// The value under a name, as this change sees it.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn meta(&self, name: &str) -> Result<Option<Vec<u8>>, StoreFault> {
        get(self.connection, name)
    }

    /// Sets the value under a name: a sealed blob, a setting. Names that begin with `store.` or
    /// `rollups.` are the store's own.
    ///
    /// # Errors
    /// When the name is the store's own, or the store cannot be written.
    pub fn put_meta(&mut self, name: &str, value: &[u8]) -> Result<(), StoreFault> {
        if name.starts_with("store.") || name.starts_with("rollups.") {
            return Err(StoreFault::Conflict(format!("{name} is a name of the store's own")));
        }
        put(self.connection, name, value)
    }
}

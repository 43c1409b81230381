//! Credentials for anything but calls (the key of the Admin API), sealed. This room cannot open
//! them, and a look at one does not carry what is sealed.

use chamberlain_core::time::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};

use crate::change::Change;
use crate::fault::StoreFault;
use crate::store::Store;

/// A credential without what is sealed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Credential {
    /// What it is for, and its only name: `admin`.
    pub name: String,
    /// A keyed hash: equal credentials have equal fingerprints.
    pub fingerprint: String,
    /// Beginning and end of it, for people.
    pub hint: String,
    /// When it was put in.
    pub created_at: Timestamp,
}

impl Store {
    /// The credential of that name.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn credential(&self, name: &str) -> Result<Option<Credential>, StoreFault> {
        self.read(|connection| read(connection, name))
    }

    /// What is sealed of the credential of that name.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn sealed_credential(&self, name: &str) -> Result<Option<Vec<u8>>, StoreFault> {
        self.read(|connection| {
            Ok(connection
                .prepare_cached("SELECT sealed FROM credentials WHERE name = ?1")?
                .query_row([name], |row| row.get(0))
                .optional()?)
        })
    }
}

impl Change<'_> {
    /// Puts a credential in the place of the one of its name, whose bytes are overwritten.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn put_credential(
        &mut self,
        credential: &Credential,
        sealed: &[u8],
    ) -> Result<(), StoreFault> {
        self.remove_credential(&credential.name)?;
        self.connection
            .prepare_cached(
                "INSERT INTO credentials (name, sealed, fingerprint, hint, created_at)
                 VALUES (?1, ?2, ?3, ?4, ?5)",
            )?
            .execute(params![
                credential.name,
                sealed,
                credential.fingerprint,
                credential.hint,
                credential.created_at.ms(),
            ])?;
        Ok(())
    }

    /// Erases the credential of that name; false when there is none.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn remove_credential(&mut self, name: &str) -> Result<bool, StoreFault> {
        self.connection.execute_batch("PRAGMA secure_delete = ON")?;
        let removed = self
            .connection
            .prepare_cached("DELETE FROM credentials WHERE name = ?1")?
            .execute([name]);
        self.connection.execute_batch("PRAGMA secure_delete = OFF")?;
        Ok(removed? == 1)
    }
}

fn read(connection: &Connection, name: &str) -> Result<Option<Credential>, StoreFault> {
    let sql = "SELECT name, fingerprint, hint, created_at FROM credentials WHERE name = ?1";
    Ok(connection
        .prepare_cached(sql)?
        .query_row([name], |row| {
            Ok(Credential {
                name: row.get(0)?,
                fingerprint: row.get(1)?,
                hint: row.get(2)?,
                created_at: Timestamp::from_ms(row.get(3)?),
            })
        })
        .optional()?)
}

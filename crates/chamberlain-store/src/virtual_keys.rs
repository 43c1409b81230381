//! Virtual keys. Revoked ones stay, so that whoever uses one is told so; their names are free
//! again. A virtual key carries no secret, only the hash of one.

use chamberlain_core::admission::key::{KeyState, VirtualKey};
use chamberlain_core::id::{EnvironmentName, VirtualKeyId};
use chamberlain_core::time::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::change::Change;
use crate::fault::StoreFault;
use crate::store::Store;
use crate::words::{from_json, from_json_or_null, json, read_word, word};

const COLUMNS: &str = "id, name, environment, secret_hash, policy, budgets, limits, operation, \
                       expires_at, state, pause, test_mode, created_at";

const INSERT: &str = "
    INSERT INTO virtual_keys (id, name, environment, secret_hash, policy, budgets, limits,
                              operation, expires_at, state, pause, test_mode, created_at)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)";

const UPDATE: &str = "
    UPDATE virtual_keys SET name = ?2, policy = ?3, budgets = ?4, limits = ?5, operation = ?6,
                            expires_at = ?7, state = ?8, pause = ?9, test_mode = ?10
    WHERE id = ?1 AND state <> 'revoked'";

impl Store {
    /// Every virtual key, revoked ones included, the newest first.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn virtual_keys(&self) -> Result<Vec<VirtualKey>, StoreFault> {
        self.read(|connection| {
            let sql = format!("SELECT {COLUMNS} FROM virtual_keys ORDER BY created_at DESC, id");
            let mut query = connection.prepare_cached(&sql)?;
            let rows = query.query_map([], virtual_key)?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// When a virtual key was last used; `None` when it never was, or longer ago than calls are
    /// kept.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn virtual_key_last_used(
        &self,
        id: &VirtualKeyId,
    ) -> Result<Option<Timestamp>, StoreFault> {
        self.read(|connection| {
            let at: Option<i64> = connection
                .prepare_cached("SELECT max(at) FROM calls WHERE virtual_key = ?1")?
                .query_row([id.as_str()], |row| row.get(0))?;
            Ok(at.map(Timestamp::from_ms))
        })
    }
}

impl Change<'_> {
    /// One virtual key, as this change sees it.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn virtual_key(&self, id: &VirtualKeyId) -> Result<Option<VirtualKey>, StoreFault> {
        find(self.connection, id)
    }

    /// Adds a virtual key.
    ///
    /// # Errors
    /// When its name is taken by a key in use, or its id by any.
    pub fn insert_virtual_key(&mut self, key: &VirtualKey) -> Result<(), StoreFault> {
        let inserted = self.connection.prepare_cached(INSERT)?.execute(params![
            key.id.as_str(),
            key.name,
            key.environment.as_str(),
            key.secret_hash,
            json(&key.policy)?,
            json(&key.budgets)?,
            json(&key.limits)?,
            key.operation,
            key.expires_at.map(Timestamp::ms),
            word(key.state),
            key.pause.as_ref().map(json).transpose()?,
            key.test_mode,
            key.created_at.ms(),
        ]);
        inserted.map_err(|error| taken(error.into(), key))?;
        Ok(())
    }

    /// Writes a virtual key back. Its id, environment, secret and age stay what they were; a
    /// revoked key stays revoked.
    ///
    /// # Errors
    /// When there is no such key, it was revoked before, or its new name is taken.
    pub fn save_virtual_key(&mut self, key: &VirtualKey) -> Result<(), StoreFault> {
        let updated = self.connection.prepare_cached(UPDATE)?.execute(params![
            key.id.as_str(),
            key.name,
            json(&key.policy)?,
            json(&key.budgets)?,
            json(&key.limits)?,
            key.operation,
            key.expires_at.map(Timestamp::ms),
            word(key.state),
            key.pause.as_ref().map(json).transpose()?,
            key.test_mode,
        ]);
        match updated.map_err(|error| taken(error.into(), key))? {
            1 => Ok(()),
            _ => Err(match self.virtual_key(&key.id)? {
                Some(VirtualKey { state: KeyState::Revoked, name, .. }) => StoreFault::Conflict(
                    format!("the virtual key {name:?} is revoked for good; create a new one"),
                ),
                _ => StoreFault::Missing(format!("virtual key {}", key.id)),
            }),
        }
    }
}

fn find(connection: &Connection, id: &VirtualKeyId) -> Result<Option<VirtualKey>, StoreFault> {
    let sql = format!("SELECT {COLUMNS} FROM virtual_keys WHERE id = ?1");
    let mut query = connection.prepare_cached(&sql)?;
    Ok(query.query_row([id.as_str()], virtual_key).optional()?)
}

fn taken(fault: StoreFault, key: &VirtualKey) -> StoreFault {
    match fault {
        StoreFault::Conflict(_) => StoreFault::Conflict(format!(
            "a virtual key named {:?} is in use already; choose another name, or revoke that one",
            key.name
        )),
        other => other,
    }
}

fn virtual_key(row: &Row<'_>) -> rusqlite::Result<VirtualKey> {
    Ok(VirtualKey {
        id: VirtualKeyId::new(row.get::<_, String>(0)?),
        name: row.get(1)?,
        environment: EnvironmentName::new(row.get::<_, String>(2)?),
        secret_hash: row.get(3)?,
        policy: from_json(row, 4)?,
        budgets: from_json(row, 5)?,
        limits: from_json(row, 6)?,
        operation: row.get(7)?,
        expires_at: row.get::<_, Option<i64>>(8)?.map(Timestamp::from_ms),
        state: read_word(row, 9)?,
        pause: from_json_or_null(row, 10)?,
        test_mode: row.get(11)?,
        created_at: Timestamp::from_ms(row.get(12)?),
    })
}

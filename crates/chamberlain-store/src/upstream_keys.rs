//! Upstream keys, sealed. This room cannot open them; a list of them does not even carry what is
//! sealed. One key is current per environment, and one is shared by those that have none. A key may
//! be listed before its value is given, and stays listed when its value is gone.

use chamberlain_core::id::{EnvironmentName, UpstreamKeyId};
use chamberlain_core::keys::profile::Profile;
use chamberlain_core::time::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::change::Change;
use crate::fault::StoreFault;
use crate::store::Store;
use crate::words::{Word, from_json, json, read_word, word};

const COLUMNS: &str = "id, name, environment, state, fingerprint, hint, created_at, removed_at, \
                       last_used_at, profile";

const INSERT: &str = "
    INSERT INTO upstream_keys (id, name, environment, state, sealed, fingerprint, hint, created_at,
                               removed_at, profile)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";

/// Where an upstream key stands.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum UpstreamKeyState {
    /// Known by name; its value was never given.
    Listed,
    /// Sealed, not yet in use.
    Staged,
    /// In use.
    Current,
    /// Superseded; kept for calls that began with it.
    Previous,
    /// Removed; what was sealed is erased.
    Revoked,
}

impl UpstreamKeyState {
    /// The same, out of use.
    #[must_use]
    pub fn shelved(self) -> UpstreamKeyState {
        match self {
            UpstreamKeyState::Current | UpstreamKeyState::Previous => UpstreamKeyState::Staged,
            other => other,
        }
    }
}

impl Word for UpstreamKeyState {
    const WORDS: &'static [(UpstreamKeyState, &'static str)] = &[
        (UpstreamKeyState::Listed, "listed"),
        (UpstreamKeyState::Staged, "staged"),
        (UpstreamKeyState::Current, "current"),
        (UpstreamKeyState::Previous, "previous"),
        (UpstreamKeyState::Revoked, "revoked"),
    ];
}

/// An upstream key without what is sealed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UpstreamKey {
    /// Its id.
    pub id: UpstreamKeyId,
    /// Its name, unique among keys that are not revoked.
    pub name: String,
    /// The environment it is for; `None` for the shared one.
    pub environment: Option<EnvironmentName>,
    /// Where it stands.
    pub state: UpstreamKeyState,
    /// A keyed hash: equal keys have equal fingerprints. Empty while its value was never given.
    pub fingerprint: String,
    /// Beginning and end of it, for people. Empty while its value was never given.
    pub hint: String,
    /// When it was added.
    pub created_at: Timestamp,
    /// When it was removed.
    pub removed_at: Option<Timestamp>,
    /// When a call last left with it, to the minute.
    pub last_used_at: Option<Timestamp>,
    /// What else is known of it.
    pub profile: Profile,
}

impl Store {
    /// Every upstream key, revoked ones included, the newest first.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn upstream_keys(&self) -> Result<Vec<UpstreamKey>, StoreFault> {
        self.read(|connection| {
            let sql = format!("SELECT {COLUMNS} FROM upstream_keys ORDER BY created_at DESC, id");
            let mut query = connection.prepare_cached(&sql)?;
            let rows = query.query_map([], upstream_key)?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// The sealed bytes of a key; `None` when there is no such key or it was revoked.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn sealed_upstream_key(&self, id: &UpstreamKeyId) -> Result<Option<Vec<u8>>, StoreFault> {
        self.read(|connection| sealed(connection, id))
    }
}

impl Change<'_> {
    /// One upstream key, as this change sees it.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn upstream_key(&self, id: &UpstreamKeyId) -> Result<Option<UpstreamKey>, StoreFault> {
        let sql = format!("SELECT {COLUMNS} FROM upstream_keys WHERE id = ?1");
        let mut query = self.connection.prepare_cached(&sql)?;
        Ok(query.query_row([id.as_str()], upstream_key).optional()?)
    }

    /// The sealed bytes of a key, as this change sees them.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn sealed_upstream_key(&self, id: &UpstreamKeyId) -> Result<Option<Vec<u8>>, StoreFault> {
        sealed(self.connection, id)
    }

    /// Adds a sealed key. A current one supersedes the current one of its environment.
    ///
    /// # Errors
    /// When the name or the key itself is held already.
    pub fn insert_upstream_key(
        &mut self,
        key: &UpstreamKey,
        sealed: &[u8],
    ) -> Result<(), StoreFault> {
        self.refuse_doubles(key)?;
        if key.state == UpstreamKeyState::Current {
            self.supersede(key.environment.as_ref())?;
        }
        self.write_upstream_key(key, Some(sealed))
    }

    /// Adds a key without a value: one that is only listed, or one of the past.
    ///
    /// # Errors
    /// When it is in another state, or its name is held already.
    pub fn list_upstream_key(&mut self, key: &UpstreamKey) -> Result<(), StoreFault> {
        match key.state {
            UpstreamKeyState::Listed => self.refuse_doubles(key)?,
            UpstreamKeyState::Revoked => {}
            _ => return Err(StoreFault::Mistake("a key in use needs its value".to_owned())),
        }
        self.write_upstream_key(key, None)
    }

    fn write_upstream_key(
        &self,
        key: &UpstreamKey,
        sealed: Option<&[u8]>,
    ) -> Result<(), StoreFault> {
        self.connection.prepare_cached(INSERT)?.execute(params![
            key.id.as_str(),
            key.name,
            key.environment.as_ref().map(|name| name.as_str()),
            word(key.state),
            sealed,
            key.fingerprint,
            key.hint,
            key.created_at.ms(),
            key.removed_at.map(Timestamp::ms),
            json(&key.profile)?,
        ])?;
        Ok(())
    }

    /// Gives a listed key its value: it becomes what `key` says, under the same id.
    ///
    /// # Errors
    /// When it is not a listed key, or the value is held already.
    pub fn fill_upstream_key(
        &mut self,
        key: &UpstreamKey,
        sealed: &[u8],
    ) -> Result<(), StoreFault> {
        let before = self.living(&key.id)?;
        if before.state != UpstreamKeyState::Listed {
            let problem = format!("upstream key {} has its value already", key.id);
            return Err(StoreFault::Conflict(problem));
        }
        self.connection
            .prepare_cached("DELETE FROM upstream_keys WHERE id = ?1 AND state = 'listed'")?
            .execute([key.id.as_str()])?;
        self.insert_upstream_key(key, sealed)
    }

    /// Writes what else is known of a key, removed ones included.
    ///
    /// # Errors
    /// When there is no such key.
    pub fn set_upstream_profile(
        &mut self,
        id: &UpstreamKeyId,
        profile: &Profile,
    ) -> Result<(), StoreFault> {
        let changed = self
            .connection
            .prepare_cached("UPDATE upstream_keys SET profile = ?2 WHERE id = ?1")?
            .execute(params![id.as_str(), json(profile)?])?;
        if changed == 1 {
            return Ok(());
        }
        Err(StoreFault::Missing(format!("upstream key {id}")))
    }

    /// Gives a key another name.
    ///
    /// # Errors
    /// When there is no such key, it is removed, or the name is held already.
    pub fn rename_upstream_key(
        &mut self,
        id: &UpstreamKeyId,
        name: &str,
    ) -> Result<(), StoreFault> {
        let key = self.living(id)?;
        let held: Option<String> = self
            .connection
            .prepare_cached(
                "SELECT id FROM upstream_keys WHERE state <> 'revoked' AND name = ?1 AND id <> ?2",
            )?
            .query_row(params![name, key.id.as_str()], |row| row.get(0))
            .optional()?;
        if let Some(other) = held {
            let problem = format!("upstream key {other} is named {name:?}; choose another name");
            return Err(StoreFault::Conflict(problem));
        }
        self.connection
            .prepare_cached("UPDATE upstream_keys SET name = ?2 WHERE id = ?1")?
            .execute(params![id.as_str(), name])?;
        Ok(())
    }

    /// Makes a staged or previous key the current one of its environment.
    ///
    /// # Errors
    /// When there is no such key, it is revoked or contained, or its value was never given.
    pub fn promote_upstream_key(&mut self, id: &UpstreamKeyId) -> Result<(), StoreFault> {
        let key = self.living(id)?;
        if self.is_contained(id)? {
            let problem = format!("{:?} was contained and is not put into use again", key.name);
            return Err(StoreFault::Conflict(problem));
        }
        if key.state == UpstreamKeyState::Listed {
            let problem = format!("the value of {:?} was never given", key.name);
            return Err(StoreFault::Conflict(problem));
        }
        if key.state != UpstreamKeyState::Current {
            self.supersede(key.environment.as_ref())?;
            self.connection
                .prepare_cached("UPDATE upstream_keys SET state = 'current' WHERE id = ?1")?
                .execute([id.as_str()])?;
        }
        Ok(())
    }

    /// Removes a key: what is sealed is erased, the rest stays for the record.
    ///
    /// # Errors
    /// When there is no such key, or it is revoked already.
    pub fn revoke_upstream_key(&mut self, id: &UpstreamKeyId) -> Result<(), StoreFault> {
        self.living(id)?;
        // The bytes are overwritten in the file, not only unlinked.
        self.connection.execute_batch("PRAGMA secure_delete = ON")?;
        let removed = self
            .connection
            .prepare_cached(
                "UPDATE upstream_keys SET state = 'revoked', sealed = NULL, removed_at = ?2
                 WHERE id = ?1",
            )?
            .execute(params![id.as_str(), self.now().ms()]);
        self.connection.execute_batch("PRAGMA secure_delete = OFF")?;
        removed?;
        Ok(())
    }

    fn living(&self, id: &UpstreamKeyId) -> Result<UpstreamKey, StoreFault> {
        match self.upstream_key(id)? {
            None => Err(StoreFault::Missing(format!("upstream key {id}"))),
            Some(key) if key.state == UpstreamKeyState::Revoked => {
                Err(StoreFault::Conflict(format!("the upstream key {:?} is removed", key.name)))
            }
            Some(key) => Ok(key),
        }
    }

    fn refuse_doubles(&self, key: &UpstreamKey) -> Result<(), StoreFault> {
        let held: Option<(String, bool)> = self
            .connection
            .prepare_cached(
                "SELECT name, fingerprint = ?2 AND fingerprint <> '' FROM upstream_keys
                 WHERE state <> 'revoked'
                   AND (name = ?1 OR (fingerprint = ?2 AND fingerprint <> ''))
                 ORDER BY fingerprint = ?2 DESC LIMIT 1",
            )?
            .query_row(params![key.name, key.fingerprint], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        match held {
            None => Ok(()),
            Some((name, true)) => Err(StoreFault::Conflict(format!(
                "this very key is held already, under the name {name:?}"
            ))),
            Some((name, false)) => Err(StoreFault::Conflict(format!(
                "an upstream key named {name:?} is held already; choose another name"
            ))),
        }
    }

    fn supersede(&self, environment: Option<&EnvironmentName>) -> Result<(), StoreFault> {
        self.connection
            .prepare_cached(
                "UPDATE upstream_keys SET state = 'previous'
                 WHERE state = 'current' AND environment IS ?1",
            )?
            .execute([environment.map(|name| name.as_str())])?;
        Ok(())
    }
}

fn sealed(connection: &Connection, id: &UpstreamKeyId) -> Result<Option<Vec<u8>>, StoreFault> {
    let found = connection
        .prepare_cached("SELECT sealed FROM upstream_keys WHERE id = ?1")?
        .query_row([id.as_str()], |row| row.get::<_, Option<Vec<u8>>>(0))
        .optional()?;
    Ok(found.flatten())
}

fn upstream_key(row: &Row<'_>) -> rusqlite::Result<UpstreamKey> {
    let moment = |ms: Option<i64>| ms.map(Timestamp::from_ms);
    Ok(UpstreamKey {
        id: UpstreamKeyId::new(row.get::<_, String>(0)?),
        name: row.get(1)?,
        environment: row.get::<_, Option<String>>(2)?.map(EnvironmentName::new),
        state: read_word(row, 3)?,
        fingerprint: row.get(4)?,
        hint: row.get(5)?,
        created_at: Timestamp::from_ms(row.get(6)?),
        removed_at: moment(row.get(7)?),
        last_used_at: moment(row.get(8)?),
        profile: from_json(row, 9)?,
    })
}

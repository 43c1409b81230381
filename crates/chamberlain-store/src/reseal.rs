//! Everything that is sealed, read whole and written whole under another master key, in one step with
//! the vault's header: no reader ever finds a header and a seal that do not belong together.

use chamberlain_core::id::UpstreamKeyId;
use rusqlite::params;

use crate::change::Change;
use crate::fault::StoreFault;
use crate::meta;
use crate::store::Store;

/// Where something sealed is kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SealedPlace {
    /// An upstream key.
    UpstreamKey(UpstreamKeyId),
    /// A credential for anything but calls, by its name.
    Credential(String),
}

const ALL: &str = "
    SELECT 'key', id, sealed FROM upstream_keys WHERE sealed IS NOT NULL
    UNION ALL
    SELECT 'credential', name, sealed FROM credentials";

impl Store {
    /// Everything that is sealed, but for what the vault's header holds.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn all_sealed(&self) -> Result<Vec<(SealedPlace, Vec<u8>)>, StoreFault> {
        self.read(|connection| {
            let mut query = connection.prepare_cached(ALL)?;
            let rows = query.query_map([], |row| {
                let name: String = row.get(1)?;
                let place = match row.get::<_, String>(0)?.as_str() {
                    "key" => SealedPlace::UpstreamKey(UpstreamKeyId::new(name)),
                    _ => SealedPlace::Credential(name),
                };
                Ok((place, row.get(2)?))
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }
}

impl Change<'_> {
    /// Replaces the vault's header, kept under `name`, and everything that is sealed, by the same
    /// under another master key. What was there is overwritten in the file.
    ///
    /// # Errors
    /// When something sealed is missing among `sealed`, or is not there any more.
    pub fn reseal_all(
        &mut self,
        name: &str,
        header: &[u8],
        sealed: &[(SealedPlace, Vec<u8>)],
    ) -> Result<(), StoreFault> {
        let count = format!("SELECT count(*) FROM ({ALL})");
        let there: u64 = self.connection.query_row(&count, [], |row| row.get(0))?;
        if there != sealed.len() as u64 {
            let problem = format!("{there} things are sealed, and {} would be", sealed.len());
            return Err(StoreFault::Mistake(problem));
        }
        self.connection.execute_batch("PRAGMA secure_delete = ON")?;
        let written = self.write_all(name, header, sealed);
        self.connection.execute_batch("PRAGMA secure_delete = OFF")?;
        written
    }

    fn write_all(
        &self,
        name: &str,
        header: &[u8],
        sealed: &[(SealedPlace, Vec<u8>)],
    ) -> Result<(), StoreFault> {
        let mut of_key = self.connection.prepare_cached(
            "UPDATE upstream_keys SET sealed = ?2 WHERE id = ?1 AND sealed IS NOT NULL",
        )?;
        let mut of_credential =
            self.connection.prepare_cached("UPDATE credentials SET sealed = ?2 WHERE name = ?1")?;
        for (place, bytes) in sealed {
            let changed = match place {
                SealedPlace::UpstreamKey(id) => of_key.execute(params![id.as_str(), bytes])?,
                SealedPlace::Credential(name) => of_credential.execute(params![name, bytes])?,
            };
            if changed != 1 {
                return Err(StoreFault::Missing(format!("what was sealed as {place:?}")));
            }
        }
        meta::put(self.connection, name, header)
    }
}

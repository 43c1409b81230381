//! What commands have put over the configuration of the organization and of environments. Virtual
//! keys have no overrides: all of their settings come from commands.

use chamberlain_core::ledger::account::Scope;
use chamberlain_core::overrides::Overrides;
use rusqlite::{OptionalExtension, Row, params};

use crate::balances::{scope_columns, scope_from};
use crate::change::Change;
use crate::fault::StoreFault;
use crate::store::Store;
use crate::words::{from_json, json, unreadable};

impl Store {
    /// The overrides of every scope that has some.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn overrides(&self) -> Result<Vec<(Scope, Overrides)>, StoreFault> {
        self.read(|connection| {
            let mut query = connection.prepare_cached(
                "SELECT scope_kind, scope_id, overrides FROM scope_settings ORDER BY 1, 2",
            )?;
            let rows = query.query_map([], |row| Ok((scope(row)?, from_json(row, 2)?)))?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }
}

impl Change<'_> {
    /// The overrides of a scope, as this change sees them.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn overrides(&self, scope: &Scope) -> Result<Overrides, StoreFault> {
        let (kind, id) = scope_columns(scope);
        let found = self
            .connection
            .prepare_cached(
                "SELECT overrides FROM scope_settings WHERE scope_kind = ?1 AND scope_id = ?2",
            )?
            .query_row([kind, id], |row| from_json(row, 0))
            .optional()?;
        Ok(found.unwrap_or_default())
    }

    /// Writes the overrides of a scope.
    ///
    /// # Errors
    /// When the scope is a virtual key, or the store cannot be written.
    pub fn save_overrides(
        &mut self,
        scope: &Scope,
        overrides: &Overrides,
    ) -> Result<(), StoreFault> {
        if let Scope::VirtualKey(_) = scope {
            return Err(StoreFault::Conflict(format!("{scope} has settings, not overrides")));
        }
        let (kind, id) = scope_columns(scope);
        self.connection
            .prepare_cached(
                "INSERT INTO scope_settings (scope_kind, scope_id, overrides) VALUES (?1, ?2, ?3)
                 ON CONFLICT (scope_kind, scope_id) DO UPDATE SET overrides = excluded.overrides",
            )?
            .execute(params![kind, id, json(overrides)?])?;
        Ok(())
    }
}

fn scope(row: &Row<'_>) -> rusqlite::Result<Scope> {
    let kind: String = row.get(0)?;
    scope_from(&kind, row.get(1)?).ok_or_else(|| unreadable(row, 0))
}

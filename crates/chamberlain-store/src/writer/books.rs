//! The balances that are being charged, kept in memory by the writer and written back once a
//! transaction. After a rollback the writer forgets all of it and reads the store again.

use std::sync::Arc;

use chamberlain_core::audit::record;
use chamberlain_core::ledger::account::{AccountId, Balance};
use chamberlain_core::quick::QuickMap;
use rusqlite::{Connection, OptionalExtension};

use crate::balances;
use crate::fault::StoreFault;

/// Beyond this many balances in memory all are dropped; the living ones come back when needed.
const ROWS_MAX: usize = 50_000;

/// A list of balances that calls are charged to.
pub(crate) struct AccountSet {
    /// Its number in `account_sets`.
    pub(crate) id: i64,
    /// Places in [`Books::rows`].
    rows: Vec<usize>,
}

/// The same by its names.
pub(crate) struct NamedSet {
    pub(crate) set: Arc<AccountSet>,
    /// How the audit log names its accounts; see [`record::accounts`].
    pub(crate) audited: Vec<u8>,
}

struct Held {
    id: i64,
    balance: Balance,
    dirty: bool,
}

/// Balances in memory.
#[derive(Default)]
pub(crate) struct Books {
    rows: Vec<Held>,
    dirty: Vec<usize>,
    by_account: QuickMap<AccountId, usize>,
    by_id: QuickMap<i64, usize>,
    sets: QuickMap<Vec<AccountId>, Arc<NamedSet>>,
    sets_by_id: QuickMap<i64, Arc<AccountSet>>,
}

impl Books {
    /// The set of these accounts, made when it is new.
    pub(crate) fn set_of(
        &mut self,
        connection: &Connection,
        accounts: &[AccountId],
    ) -> Result<Arc<NamedSet>, StoreFault> {
        if let Some(set) = self.sets.get(accounts) {
            return Ok(Arc::clone(set));
        }
        let mut rows = Vec::with_capacity(accounts.len());
        for account in accounts {
            let row = self.row_of(connection, account)?;
            // A list that names an account twice charges it once.
            if !rows.contains(&row) {
                rows.push(row);
            }
        }
        let ids: Vec<i64> = rows.iter().map(|row| self.rows[*row].id).collect();
        let set = Arc::new(AccountSet { id: set_id(connection, &ids)?, rows });
        self.sets_by_id.insert(set.id, Arc::clone(&set));
        let named = Arc::new(NamedSet { set, audited: record::accounts(accounts) });
        self.sets.insert(accounts.to_vec(), Arc::clone(&named));
        Ok(named)
    }

    /// The set with this number.
    pub(crate) fn set(
        &mut self,
        connection: &Connection,
        id: i64,
    ) -> Result<Arc<AccountSet>, StoreFault> {
        if let Some(set) = self.sets_by_id.get(&id) {
            return Ok(Arc::clone(set));
        }
        let ids: String = connection
            .prepare_cached("SELECT balances FROM account_sets WHERE id = ?1")?
            .query_row([id], |row| row.get(0))?;
        let ids: Vec<i64> = serde_json::from_str(&ids)
            .map_err(|error| StoreFault::Damaged(format!("account set {id}: {error}")))?;
        let rows =
            ids.iter().map(|id| self.row_by_id(connection, *id)).collect::<Result<_, _>>()?;
        let set = Arc::new(AccountSet { id, rows });
        self.sets_by_id.insert(id, Arc::clone(&set));
        Ok(set)
    }

    /// Changes every balance of a set. Nothing is changed when one of them would leave its range.
    pub(crate) fn change(
        &mut self,
        set: &AccountSet,
        change: impl Fn(&mut Balance) -> Option<()>,
    ) -> Result<(), StoreFault> {
        let mut changed = Vec::with_capacity(set.rows.len());
        for row in &set.rows {
            let mut balance = self.rows[*row].balance;
            change(&mut balance).ok_or_else(|| StoreFault::OutOfRange("a balance".into()))?;
            changed.push(balance);
        }
        for (row, balance) in set.rows.iter().zip(changed) {
            self.put(*row, balance);
        }
        Ok(())
    }

    /// The balance of one account.
    pub(crate) fn balance(
        &mut self,
        connection: &Connection,
        account: &AccountId,
    ) -> Result<Balance, StoreFault> {
        let row = self.row_of(connection, account)?;
        Ok(self.rows[row].balance)
    }

    /// The number of an account's row.
    pub(crate) fn id(
        &mut self,
        connection: &Connection,
        account: &AccountId,
    ) -> Result<i64, StoreFault> {
        let row = self.row_of(connection, account)?;
        Ok(self.rows[row].id)
    }

    /// Replaces the balance of one account.
    pub(crate) fn replace(
        &mut self,
        connection: &Connection,
        account: &AccountId,
        balance: Balance,
    ) -> Result<(), StoreFault> {
        let row = self.row_of(connection, account)?;
        self.put(row, balance);
        Ok(())
    }

    /// Writes every changed balance into the open transaction.
    pub(crate) fn flush(&mut self, connection: &Connection) -> Result<(), StoreFault> {
        for row in self.dirty.drain(..) {
            let held = &mut self.rows[row];
            balances::save(connection, held.id, &held.balance)?;
            held.dirty = false;
        }
        Ok(())
    }

    /// Makes room. Only between transactions, when nothing is unwritten.
    pub(crate) fn trim(&mut self) {
        if self.rows.len() > ROWS_MAX {
            *self = Books::default();
        }
    }

    fn put(&mut self, row: usize, balance: Balance) {
        let held = &mut self.rows[row];
        held.balance = balance;
        if !held.dirty {
            held.dirty = true;
            self.dirty.push(row);
        }
    }

    fn row_of(
        &mut self,
        connection: &Connection,
        account: &AccountId,
    ) -> Result<usize, StoreFault> {
        if let Some(row) = self.by_account.get(account) {
            return Ok(*row);
        }
        let (id, balance) = balances::find_or_make(connection, account)?;
        Ok(self.keep(id, account.clone(), balance))
    }

    fn row_by_id(&mut self, connection: &Connection, id: i64) -> Result<usize, StoreFault> {
        if let Some(row) = self.by_id.get(&id) {
            return Ok(*row);
        }
        let held = balances::by_id(connection, id)?;
        Ok(self.keep(held.id, held.account, held.balance))
    }

    /// Remembers a balance; one that is in memory already may be newer than the store's.
    fn keep(&mut self, id: i64, account: AccountId, balance: Balance) -> usize {
        let (rows, by_id) = (&mut self.rows, &mut self.by_id);
        let row = *by_id.entry(id).or_insert_with(|| {
            rows.push(Held { id, balance, dirty: false });
            rows.len() - 1
        });
        self.by_account.insert(account, row);
        row
    }
}

fn set_id(connection: &Connection, balances: &[i64]) -> Result<i64, StoreFault> {
    let text = serde_json::to_string(balances)
        .map_err(|error| StoreFault::Mistake(format!("account set: {error}")))?;
    let found = connection
        .prepare_cached("SELECT id FROM account_sets WHERE balances = ?1")?
        .query_row([&text], |row| row.get(0))
        .optional()?;
    if let Some(id) = found {
        return Ok(id);
    }
    connection
        .prepare_cached("INSERT INTO account_sets (balances) VALUES (?1)")?
        .execute([&text])?;
    Ok(connection.last_insert_rowid())
}

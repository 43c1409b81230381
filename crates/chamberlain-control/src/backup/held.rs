//! What is held back after a restore, until somebody who knows says otherwise.
//!
//! What happened after the backup is not in it. A virtual key may have been revoked since, so every
//! one that was in use is frozen. An upstream key may have been deactivated since, so each stays
//! closed until upstream takes it. Money was spent since, nobody here knows how much, so every
//! budget with a limit is charged in full.

use std::collections::HashMap;

use chamberlain_core::admission::key::{KeyState, VirtualKey};
use chamberlain_core::audit::record::Principal;
use chamberlain_core::backup::manifest::Manifest;
use chamberlain_core::id::{UpstreamKeyId, VirtualKeyId};
use chamberlain_core::ledger::account::{AccountId, Balance};
use chamberlain_core::money::Money;
use chamberlain_core::time::{Calendar, Timestamp, WindowKind};
use chamberlain_store::{Facts, Store, UpstreamKeyState};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::error::CommandError;
use crate::fault::from_store;
use crate::house::House;
use crate::scope;
use crate::settings::Settings;

/// The name under which the store keeps it.
pub const HELD: &str = "restore.held";

/// What is held back.
#[derive(Clone, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Held {
    /// When the backup was put back.
    pub restored_at: Timestamp,
    /// When the backup was made, RFC 3339.
    pub made_at: String,
    /// How many audit records it had.
    pub records: u64,
    /// Virtual keys that were in use and are frozen.
    pub virtual_keys: Vec<VirtualKeyId>,
    /// Upstream keys that are closed until upstream takes them.
    pub upstream_keys: Vec<UpstreamKeyId>,
    /// Budgets that are charged in full.
    pub spending: Vec<HeldSpending>,
}

/// A budget that is charged for what may have been spent unseen.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct HeldSpending {
    /// Which.
    pub account: AccountId,
    /// What it is charged.
    pub amount: Money,
}

impl Held {
    /// Reads it; nothing is held where nothing was put back.
    ///
    /// # Errors
    /// When it cannot be read. Then everything is to be taken for held.
    pub fn read(store: &Store) -> Result<Held, CommandError> {
        let Some(bytes) = store.meta(HELD).map_err(from_store)? else { return Ok(Held::default()) };
        serde_json::from_slice(&bytes).map_err(|error| {
            CommandError::unavailable(format!(
                "what is held after a restore is unreadable: {error}"
            ))
        })
    }

    /// As the store keeps it.
    ///
    /// # Errors
    /// Never with what is in here; the reason is for completeness.
    pub fn bytes(&self) -> Result<Vec<u8>, CommandError> {
        serde_json::to_vec(self)
            .map_err(|error| CommandError::failed(format!("what is held: {error}")))
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.virtual_keys.is_empty() && self.upstream_keys.is_empty() && self.spending.is_empty()
    }
}

/// What to hold back of a house that was just put back; `earlier` is what was held in it already.
pub fn decide(
    house: &House,
    settings: &Settings,
    balances: &HashMap<AccountId, Balance>,
    calendar: &Calendar,
    earlier: Held,
    manifest: &Manifest,
    now: Timestamp,
) -> Held {
    let in_use = house.virtual_keys.iter().filter(|key| {
        key.state == KeyState::Active
            || (key.state == KeyState::Frozen && earlier.virtual_keys.contains(&key.id))
    });
    // Staged ones too: they would be opened when they come into use.
    let valued = |state| {
        use UpstreamKeyState::{Current, Previous, Staged};
        matches!(state, Current | Previous | Staged)
    };
    let valued = house.upstream_keys.iter().filter(|key| valued(key.state));
    let mut spending = earlier.spending;
    spending.retain(|held| held.account.window.end > now);
    for of in scope::all(house, settings) {
        for kind in WindowKind::ALL {
            let Some(limit) = house.budgets(&of, settings).limit(kind) else { continue };
            let account = AccountId { scope: of.clone(), window: calendar.window(kind, now) };
            let used = balances.get(&account).map(Balance::used).unwrap_or_default();
            let amount = limit.saturating_sub(used);
            if amount.is_zero() {
                continue;
            }
            match spending.iter_mut().find(|held| held.account == account) {
                // Both are charged, and both may be taken back.
                Some(held) => {
                    held.amount = held.amount.checked_add(amount).unwrap_or(held.amount);
                }
                None => spending.push(HeldSpending { account, amount }),
            }
        }
    }
    Held {
        restored_at: now,
        made_at: manifest.made_at.clone(),
        records: manifest.audit.records,
        virtual_keys: in_use.map(|key| key.id.clone()).collect(),
        upstream_keys: valued.map(|key| key.id.clone()).collect(),
        spending,
    }
}

/// Holds it back, in one transaction with the record that a backup was put back by `actor`.
///
/// # Errors
/// When it cannot be written.
pub fn hold(
    store: &Store,
    actor: Principal,
    settings: &Settings,
    calendar: &Calendar,
    manifest: &Manifest,
    now: Timestamp,
) -> Result<Held, CommandError> {
    let house = House::read(store)?;
    let balances = store.balances(now).map_err(from_store)?.into_iter().collect();
    let earlier = Held::read(store)?;
    let charged = earlier.spending.clone();
    let held = decide(&house, settings, &balances, calendar, earlier, manifest, now);
    let bytes = held.bytes()?;
    let frozen: Vec<VirtualKey> = house
        .virtual_keys
        .iter()
        .filter(|key| held.virtual_keys.contains(&key.id))
        .map(|key| VirtualKey { state: KeyState::Frozen, ..key.clone() })
        .collect();
    let facts = Facts {
        reason: None,
        before: Some(json!({ "made_at": held.made_at, "records": held.records })),
        after: Some(json!({
            "virtual_keys_frozen": held.virtual_keys,
            "upstream_keys_closed": held.upstream_keys,
            "budgets_charged": held.spending.len(),
        })),
    };
    let charges = charges(&held, &charged);
    store
        .change(actor, move |change| {
            for key in &frozen {
                change.save_virtual_key(key)?;
            }
            for HeldSpending { account, amount } in &charges {
                change.charge_unseen(account, *amount)?;
            }
            change.put_meta(HELD, &bytes)?;
            change.audit("backup.restored", "backup", &facts).map(drop)
        })
        .map_err(from_store)?;
    Ok(held)
}

/// What is to be charged on top of what was held, and so charged, already.
fn charges(held: &Held, charged: &[HeldSpending]) -> Vec<HeldSpending> {
    let before = |account: &AccountId| {
        let found = charged.iter().find(|earlier| earlier.account == *account);
        found.map(|earlier| earlier.amount).unwrap_or_default()
    };
    let more = held.spending.iter().map(|one| HeldSpending {
        account: one.account.clone(),
        amount: one.amount.saturating_sub(before(&one.account)),
    });
    more.filter(|one| !one.amount.is_zero()).collect()
}

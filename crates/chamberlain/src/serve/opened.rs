//! The data folder, opened: the store, and the vault that the store's header belongs to.

use std::sync::Arc;

use chamberlain_control::rekey::VAULT_HEADER;
use chamberlain_core::audit::record::Principal;
use chamberlain_core::time::{Clock, Entropy};
use chamberlain_store::{Facts, OpenOptions, Store, StoreFault};
use chamberlain_vault::vault::{Vault, VaultError, VaultHeader};
use serde_json::json;

use super::master;
use crate::data_dir::DataDir;
use crate::failure::{Failure, exit};
use crate::rekey;

/// An opened data folder. Whoever holds it is the only one.
pub(crate) struct Opened {
    pub(crate) store: Store,
    pub(crate) vault: Arc<Vault>,
}

/// Opens store and vault, making both when they are missing.
pub(crate) fn open(
    data: &DataDir,
    clock: Arc<dyn Clock>,
    entropy: &dyn Entropy,
) -> Result<Opened, Failure> {
    let boot_id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let boot_id = boot_id.trim().to_owned();
    refuse_lost_store(data)?;
    let options = OpenOptions { clock, boot_id, read_only: false, bytes_max: None };
    let store = Store::open(&data.store(), options).map_err(|fault| of_store(&fault))?;
    let vault = Arc::new(open_vault(data, &store, entropy)?);
    Ok(Opened { store, vault })
}

/// A folder that was used before but whose store is gone is not begun anew: with empty books every
/// budget would be whole again, and no virtual key known.
fn refuse_lost_store(data: &DataDir) -> Result<(), Failure> {
    let store = data.store();
    let empty = std::fs::metadata(&store).map_or(true, |found| found.len() == 0);
    if !empty || !data.master_key().exists() || !data.store_lock().exists() {
        return Ok(());
    }
    let message = format!(
        "{} is missing or empty, although this folder was used before: its master.key is there",
        store.display()
    );
    Err(Failure::new(exit::UNAVAILABLE, message).hint(
        "restore it from the last backup; to begin anew, with no keys and no books, name another \
         folder with --data",
    ))
}

fn open_vault(data: &DataDir, store: &Store, entropy: &dyn Entropy) -> Result<Vault, Failure> {
    let stored = store.meta(VAULT_HEADER).map_err(|fault| of_store(&fault))?;
    let Some(stored) = stored else { return make_vault(data, store, entropy) };
    let header: VaultHeader = serde_json::from_slice(&stored).map_err(|error| {
        Failure::new(exit::UNAVAILABLE, format!("the vault's header cannot be read: {error}"))
            .hint("restore the data folder from a backup")
    })?;
    let master = match master::find(data, Some(header.wants_passphrase()), entropy) {
        Ok(master) => master,
        // Where the change of a master key was cut short its file may not have its name yet.
        Err(failure) => return rekey::finish(data, &header)?.ok_or(failure),
    };
    match Vault::open(&master, &header) {
        Err(wrong @ VaultError::WrongKey { .. }) if !master::is_given() => {
            rekey::finish(data, &header)?.ok_or_else(|| of_vault(&wrong))
        }
        opened => opened.map_err(|error| of_vault(&error)),
    }
}

fn make_vault(data: &DataDir, store: &Store, entropy: &dyn Entropy) -> Result<Vault, Failure> {
    let master = master::find(data, None, entropy)?;
    let (vault, header) = Vault::create(&master, entropy).map_err(|error| of_vault(&error))?;
    let bytes = serde_json::to_vec(&header)
        .map_err(|error| Failure::failed(format!("the vault's header: {error}")))?;
    let facts = Facts {
        after: Some(json!({ "vault": header.id(), "passphrase": header.wants_passphrase() })),
        ..Facts::default()
    };
    store
        .change(Principal::Chamberlain, move |change| {
            change.put_meta(VAULT_HEADER, &bytes)?;
            change.audit("vault.create", "vault", &facts)?;
            Ok(())
        })
        .map_err(|fault| of_store(&fault))?;
    Ok(vault)
}

/// A fault of the store, as the end of a command.
pub(crate) fn of_store(fault: &StoreFault) -> Failure {
    let code = match fault {
        StoreFault::Locked { .. } => exit::CONFLICT,
        _ => exit::UNAVAILABLE,
    };
    Failure::new(code, fault.to_string())
}

fn of_vault(error: &VaultError) -> Failure {
    Failure::new(exit::UNAVAILABLE, error.to_string())
}

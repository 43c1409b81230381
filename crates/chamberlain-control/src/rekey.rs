//! A new master key: everything sealed is wrapped anew, tried, and only then written, in one
//! transaction with the vault's header and an audit record. Whoever opens the store finds all of it
//! under the old master key or all of it under the new one.
//!
//! The secrets stay as they are, and so do the seed that signs checkpoints and the key of
//! fingerprints: what was signed and compared before can be verified and compared after.

use chamberlain_core::audit::record::Principal;
use chamberlain_core::time::Entropy;
use chamberlain_store::{Facts, SealedPlace, Store};
use chamberlain_vault::keyring::UpstreamSecret;
use chamberlain_vault::master::Master;
use chamberlain_vault::seal::Sealed;
use chamberlain_vault::vault::{Vault, VaultError, VaultHeader};
use serde_json::json;

use crate::error::CommandError;
use crate::fault::from_store;

/// The name under which the store keeps the vault's header.
pub const VAULT_HEADER: &str = "vault.header";

/// The credential of the Admin API, the only one there is.
const ADMIN: &str = "admin";

/// What was wrapped anew.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rekeyed {
    /// Upstream keys.
    pub upstream_keys: usize,
    /// Credentials for anything but calls.
    pub credentials: usize,
    /// Whether a passphrase opens the vault now.
    pub passphrase: bool,
}

/// Changes the master key of the house in `store`, which `vault` has opened, to `master`.
///
/// # Errors
/// When `master` opens it already, something sealed does not open, or the store cannot be written;
/// nothing has changed then.
pub fn rekey(
    store: &Store,
    mut vault: Vault,
    master: &Master,
    entropy: &dyn Entropy,
    actor: Principal,
) -> Result<Rekeyed, CommandError> {
    let before = header(store)?;
    if Vault::open(master, &before).is_ok() {
        return Err(CommandError::conflict("this is the master key that the vault has already")
            .hint("nothing is to be done; for another one, name another file or passphrase"));
    }
    let begun = vault.begin_rewrapping(master, entropy).map_err(refused)?;
    let sealed = store.all_sealed().map_err(from_store)?;
    let rewrapped = sealed
        .iter()
        .map(|(place, bytes)| Ok((place.clone(), rewrapped(&vault, place, bytes, entropy)?)))
        .collect::<Result<Vec<_>, CommandError>>()?;
    let prints = |vault: &Vault, all: &[(SealedPlace, Vec<u8>)]| -> Result<Vec<_>, CommandError> {
        all.iter()
            .map(|(place, bytes)| Ok(open(vault, place, bytes)?.fingerprint().clone()))
            .collect()
    };
    let expected = prints(&vault, &sealed)?;
    let after = vault.finish_rewrapping(&begun);
    // Tried before it is written, with what a start will have: the new master key and the header.
    let tried = Vault::open(master, &after).map_err(refused)?;
    if prints(&tried, &rewrapped)? != expected {
        return Err(CommandError::failed("what was wrapped anew is not what it was before")
            .hint("nothing was changed; please report this"));
    }
    let done = Rekeyed {
        upstream_keys: count(&rewrapped, |place| matches!(place, SealedPlace::UpstreamKey(_))),
        credentials: count(&rewrapped, |place| matches!(place, SealedPlace::Credential(_))),
        passphrase: after.wants_passphrase(),
    };
    write(store, actor, &before, &after, rewrapped, done)?;
    Ok(done)
}

fn write(
    store: &Store,
    actor: Principal,
    before: &VaultHeader,
    after: &VaultHeader,
    rewrapped: Vec<(SealedPlace, Vec<u8>)>,
    done: Rekeyed,
) -> Result<(), CommandError> {
    let bytes = serde_json::to_vec(after)
        .map_err(|error| CommandError::failed(format!("the vault's header: {error}")))?;
    let facts = Facts {
        before: Some(json!({ "passphrase": before.wants_passphrase() })),
        after: Some(json!({
            "passphrase": done.passphrase,
            "upstream_keys": done.upstream_keys,
            "credentials": done.credentials,
        })),
        ..Facts::default()
    };
    let change = store.change(actor, move |change| {
        change.reseal_all(VAULT_HEADER, &bytes, &rewrapped)?;
        change.audit("vault.rekeyed", "vault", &facts)?;
        Ok(())
    });
    change.map_err(from_store)
}

/// The header of the vault.
fn header(store: &Store) -> Result<VaultHeader, CommandError> {
    let stored = store.meta(VAULT_HEADER).map_err(from_store)?;
    let stored = stored.ok_or_else(|| CommandError::not_found("there is no vault yet"))?;
    serde_json::from_slice(&stored).map_err(|error| {
        CommandError::unavailable(format!("the vault's header cannot be read: {error}"))
    })
}

fn rewrapped(
    vault: &Vault,
    place: &SealedPlace,
    bytes: &[u8],
    entropy: &dyn Entropy,
) -> Result<Vec<u8>, CommandError> {
    let sealed = sealed(place, bytes)?;
    let rewrapped = match place {
        SealedPlace::UpstreamKey(id) => vault.rewrap_upstream_key(id, &sealed, entropy),
        SealedPlace::Credential(name) => {
            of_admin(name)?;
            vault.rewrap_admin_key(&sealed, entropy)
        }
    };
    let rewrapped = rewrapped.map_err(|error| closed(place, &error))?;
    Ok(rewrapped.unwrap_or(sealed).as_bytes().to_vec())
}

fn open(vault: &Vault, place: &SealedPlace, bytes: &[u8]) -> Result<UpstreamSecret, CommandError> {
    let sealed = sealed(place, bytes)?;
    let opened = match place {
        SealedPlace::UpstreamKey(id) => vault.open_upstream_key(id, &sealed),
        SealedPlace::Credential(name) => {
            of_admin(name)?;
            vault.open_admin_key(&sealed)
        }
    };
    opened.map_err(|error| closed(place, &error))
}

fn sealed(place: &SealedPlace, bytes: &[u8]) -> Result<Sealed, CommandError> {
    Sealed::from_bytes(bytes.to_vec()).map_err(|error| closed(place, &error))
}

/// What this version does not know it cannot wrap, and it must not be left behind.
fn of_admin(name: &str) -> Result<(), CommandError> {
    if name == ADMIN {
        return Ok(());
    }
    let problem = format!("the credential {name:?} is of a kind that this version does not know");
    Err(CommandError::unavailable(problem).hint("use the version that sealed it"))
}

/// One seal that does not open would be lost with the old master key.
fn closed(place: &SealedPlace, error: &dyn std::error::Error) -> CommandError {
    let (what, mend) = match place {
        SealedPlace::UpstreamKey(id) => {
            (format!("upstream key {id}"), format!("chamberlain key remove {id}"))
        }
        SealedPlace::Credential(name) => {
            (format!("the {name} key"), "chamberlain key admin remove".to_owned())
        }
    };
    CommandError::unavailable(format!("{what} does not open: {error}")).hint(format!(
        "nothing was changed; remove it ({mend}) and begin again, or restore a backup"
    ))
}

fn refused(error: VaultError) -> CommandError {
    CommandError::unavailable(error.to_string())
}

fn count(all: &[(SealedPlace, Vec<u8>)], is: impl Fn(&SealedPlace) -> bool) -> usize {
    all.iter().filter(|(place, _)| is(place)).count()
}

#[cfg(test)]
mod tests;

//! The files of a change of the master key. What opens the vault is decided by one transaction of the
//! store; the new key lies on the disk before it, and the old one is set aside, never deleted, after
//! it. Cut short anywhere, the next start opens the vault with the key that belongs to the store, and
//! does what was left to do.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chamberlain_control::rekey::{self, Rekeyed};
use chamberlain_core::time::{Clock, Entropy};
use chamberlain_vault::master::Master;
use chamberlain_vault::vault::{Vault, VaultHeader};

use crate::data_dir::DataDir;
use crate::failure::{Failure, exit};
use crate::serve::opened::{self, Opened, of_store};
use crate::serve::{hardening, master, offline};
use crate::world::{SystemClock, SystemEntropy};

/// What is to open the vault from now on.
#[derive(Clone, Debug)]
pub(crate) enum Next {
    /// A key that is made now, in the file in the data folder.
    Kept,
    /// The key in this file, which is made where there is none.
    File(PathBuf),
    /// The passphrase in this file.
    PassphraseFile(PathBuf),
    /// A passphrase that is asked for.
    Passphrase,
}

/// What was done.
pub(crate) struct Changed {
    pub(crate) rekeyed: Rekeyed,
    /// Where the key of before lies now, where it was kept in the data folder.
    pub(crate) set_aside: Option<PathBuf>,
}

/// Changes the master key of a house that nobody serves.
pub(crate) fn change(data: &DataDir, next: &Next) -> Result<Changed, Failure> {
    hardening::no_core_dumps()
        .map_err(|error| Failure::failed(format!("core dumps cannot be switched off: {error}")))?;
    if !data.store().exists() {
        let message = format!("there is no vault in {}", data.path().display());
        return Err(Failure::new(exit::NOT_FOUND, message));
    }
    let Opened { store, vault } = opened::open(data, Arc::new(SystemClock), &SystemEntropy)?;
    let kept = data.master_key();
    let was_kept = !master::is_given() && kept.exists();
    let new = find(data, next, was_kept, &SystemEntropy)?;
    let vault = Arc::into_inner(vault).ok_or_else(|| Failure::failed("the vault is in use"))?;
    let rekeyed = rekey::rekey(&store, vault, &new, &SystemEntropy, offline::caller())?;
    let set_aside = match (was_kept, next) {
        (true, Next::Kept) => Some(install(data)?),
        (true, _) => {
            let aside = aside(data);
            fs::rename(&kept, &aside).map_err(|error| Failure::file(&kept, &error))?;
            sync(data.path())?;
            Some(aside)
        }
        (false, _) => None,
    };
    // Held until the files are in their places: nobody else opened the store meanwhile.
    store.close().map_err(|fault| of_store(&fault))?;
    Ok(Changed { rekeyed, set_aside })
}

/// Gets the new master key, on the disk before anything is sealed under it.
fn find(
    data: &DataDir,
    next: &Next,
    was_kept: bool,
    entropy: &dyn Entropy,
) -> Result<Master, Failure> {
    let refused = |error: chamberlain_vault::master::MasterError| Failure::usage(error.to_string());
    match next {
        Next::Kept if !was_kept => Err(Failure::usage(
            "the master key is not kept in the data folder, so no new one is made there",
        )
        .hint(
            "name a file with --new-key-file (it is made if it is not there), or --new-passphrase",
        )),
        Next::Kept => {
            let path = data.next_master_key();
            // Of a change that ended before anything was sealed under it: the vault opened without.
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(Failure::file(&path, &error));
                }
                _ => {}
            }
            made(&path, entropy)
        }
        Next::File(path) if *path == data.master_key() => {
            Err(Failure::usage(format!("{} holds the present master key", path.display())).hint(
                "without --new-key-file a new one is made there, and the old one is set aside",
            ))
        }
        Next::File(path) if path.exists() => Master::from_file(path).map_err(refused),
        Next::File(path) => made(path, entropy),
        Next::PassphraseFile(path) => master::from_passphrase_file(path),
        Next::Passphrase => master::ask_for_new(),
    }
}

fn made(path: &Path, entropy: &dyn Entropy) -> Result<Master, Failure> {
    master::make(path, entropy)?;
    sync(path.parent().unwrap_or(Path::new(".")))?;
    Master::from_file(path).map_err(|error| Failure::failed(error.to_string()))
}

/// Does what was left to do when a change of the master key was cut short after its transaction: the
/// new key gets its name. `None` where no new key lies there, or it does not open the vault either.
pub(crate) fn finish(data: &DataDir, header: &VaultHeader) -> Result<Option<Vault>, Failure> {
    let Ok(new) = Master::from_file(&data.next_master_key()) else { return Ok(None) };
    let Ok(vault) = Vault::open(&new, header) else { return Ok(None) };
    install(data)?;
    tracing::warn!("a change of the master key that was cut short is finished");
    Ok(Some(vault))
}

/// Gives the new key the name of the old one, which keeps another. There is a key under the name at
/// every moment.
fn install(data: &DataDir) -> Result<PathBuf, Failure> {
    let (kept, next, aside) = (data.master_key(), data.next_master_key(), aside(data));
    match fs::hard_link(&kept, &aside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(Failure::file(&aside, &error));
        }
        _ => {}
    }
    sync(data.path())?;
    fs::rename(&next, &kept).map_err(|error| Failure::file(&next, &error))?;
    sync(data.path())?;
    Ok(aside)
}

/// Where the old key goes: backups of before open with it alone.
fn aside(data: &DataDir) -> PathBuf {
    let now = SystemClock.now().to_rfc3339().replace([':', '-'], "");
    data.path().join(format!("master.key.until-{now}"))
}

/// Makes sure that a folder's names survive a loss of power.
fn sync(folder: &Path) -> Result<(), Failure> {
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(|error| Failure::file(folder, &error))
}

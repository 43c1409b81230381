//! Putting a backup back: opened, checked, held, and only then given the name of the store.
//!
//! All of it is prepared in a folder of its own inside the data folder. The store gets its name last,
//! by one rename; a crash before that leaves a folder whose store is missing, which no start takes
//! for a new one. What was there before is set aside, never deleted.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chamberlain_control::backup::held::{self, Held};
use chamberlain_control::backup::open::{self, Opening, Unpacked};
use chamberlain_control::backup::{BackupFault, BackupFaultKind, folder};
use chamberlain_control::checkpoint;
use chamberlain_control::rekey::VAULT_HEADER;
use chamberlain_control::settings::Settings;
use chamberlain_core::audit::checkpoint::Checkpoint;
use chamberlain_core::audit::proof;
use chamberlain_core::backup::manifest::Manifest;
use chamberlain_core::backup::stale;
use chamberlain_core::secret::Secret;
use chamberlain_core::time::{Calendar, Clock, Timestamp};
use chamberlain_store::{OpenOptions as StoreOptions, Store, snapshot};
use chamberlain_vault::backup::Identities;
use chamberlain_vault::vault::{Vault, VaultError, VaultHeader};

use crate::data_dir::DataDir;
use crate::failure::{Failure, exit};
use crate::serve::opened::of_store;
use crate::serve::{hardening, master, offline};
use crate::world::SystemClock;

/// The folder in which a restore is prepared.
const SCRATCH: &str = "restoring";

/// What belongs to the store and is set aside with it, the store itself first.
const STORE_FILES: [&str; 5] = [
    "chamberlain.db",
    "chamberlain.db-wal",
    "chamberlain.db-shm",
    "chamberlain.db.intake-0",
    "chamberlain.db.intake-1",
];

/// What to open and with what.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    /// The backup, `-` for standard input.
    pub(crate) file: PathBuf,
    /// A file with age identities; `None` when the backup was decrypted before.
    pub(crate) identity: Option<PathBuf>,
    /// The master key's file, where it was named.
    pub(crate) master_key: Option<PathBuf>,
}

/// A backup that was opened, checked, and belongs to the vault of the master key.
pub(crate) struct Checked {
    /// What it says of itself.
    pub(crate) manifest: Manifest,
    unpacked: Unpacked,
    vault: Vault,
    /// Where the master key was read, where that was a file.
    master_file: Option<PathBuf>,
    /// Goes away with this.
    scratch: Scratch,
}

/// Opens a backup in a folder of its own under `beside`, and checks everything in it. `kept` is where
/// the master key may lie.
pub(crate) fn check(source: &Source, beside: &Path, kept: &Path) -> Result<Checked, Failure> {
    hardening::no_core_dumps()
        .map_err(|error| Failure::failed(format!("core dumps cannot be switched off: {error}")))?;
    let scratch = Scratch::make(&beside.join(SCRATCH))?;
    let identities = source.identity.as_deref().map(identities).transpose()?;
    let opening = match &identities {
        Some(identities) => Opening::Age(identities),
        None => Opening::Decrypted,
    };
    let unpacked = open::unpack(&source.file, &opening, &scratch.0)?;
    let header = snapshot::meta_of(&unpacked.store, VAULT_HEADER)
        .map_err(BackupFault::corrupt)?
        .ok_or_else(|| BackupFault::corrupt("it has no vault"))?;
    let header: VaultHeader = serde_json::from_slice(&header)
        .map_err(|error| BackupFault::corrupt(format!("its vault: {error}")))?;
    let named = source.master_key.as_deref();
    let (master, master_file) = master::of_backup(named, kept, header.wants_passphrase())?;
    let vault = Vault::open(&master, &header).map_err(|error| of_vault(&error))?;
    open::check(&unpacked, &vault)?;
    let manifest = unpacked.claimed.clone();
    Ok(Checked { manifest, unpacked, vault, master_file, scratch })
}

fn of_vault(error: &VaultError) -> Failure {
    let code = match error {
        VaultError::Damaged | VaultError::Seal(_) => exit::PROBLEM,
        VaultError::Unsupported(_) => exit::UNAVAILABLE,
        _ => exit::FORBIDDEN,
    };
    Failure::new(code, error.to_string())
}

/// Reads an identity file, which nobody else may read.
fn identities(path: &Path) -> Result<Identities, Failure> {
    use std::os::unix::fs::MetadataExt;
    let of_file = |error: io::Error| Failure::from(BackupFault::file(path, &error));
    let mode = fs::metadata(path).map_err(of_file)?.mode();
    if mode & 0o077 != 0 {
        let message = format!("others can read the identity file {}", path.display());
        return Err(
            Failure::new(exit::UNAVAILABLE, message).hint(format!("chmod 600 {}", path.display()))
        );
    }
    let text = Secret::new(fs::read_to_string(path).map_err(of_file)?);
    Identities::parse(&text).map_err(|error| Failure::usage(format!("{}: {error}", path.display())))
}

/// Why the backup is too old to be put back, if it is. `folders` are where newer ones may lie.
pub(crate) fn refuse_stale(
    checked: &Checked,
    file: &Path,
    folders: &[&Path],
    now: Timestamp,
) -> Result<(), Failure> {
    let manifest = &checked.manifest;
    let mut beside = Vec::new();
    for place in folders.iter().copied().chain(file.parent()) {
        // A folder that cannot be listed has none that could be put back instead.
        let found = folder::list(place, Some(&manifest.vault)).unwrap_or_default();
        beside.extend(found.into_iter().map(|found| found.name));
    }
    let made_at = Timestamp::from_rfc3339(&manifest.made_at)
        .map_err(|error| BackupFault::corrupt(format!("its manifest has no moment: {error}")))?;
    match stale::is_stale(made_at, manifest.audit.records, &beside, now) {
        None => Ok(()),
        Some(reason) => {
            let fault =
                BackupFault::new(BackupFaultKind::Stale, format!("the backup is old: {reason}"));
            Err(fault
                .hint("put the newest one back; if this one is what you mean, add --accept-stale")
                .into())
        }
    }
}

/// What was put back.
pub(crate) struct Restored {
    /// What is held back.
    pub(crate) held: Held,
    /// Where what was there before is kept.
    pub(crate) aside: Option<PathBuf>,
    /// How many audit records are known to be lost, by a head that was kept elsewhere.
    pub(crate) lost: u64,
}

/// Puts a checked backup into the data folder. `heads` are signed heads of the audit log that were
/// kept elsewhere.
pub(crate) fn put_back(
    checked: &Checked,
    data: &DataDir,
    replace: bool,
    heads: &[String],
    settings: &Settings,
) -> Result<Restored, Failure> {
    let _lock = Lock::take(data)?;
    let used = STORE_FILES.iter().any(|name| data.path().join(name).exists());
    if used && !replace {
        let message = format!("there is a store in {} already", data.path().display());
        return Err(Failure::new(exit::CONFLICT, message).hint(
            "name an empty folder with --data, or add --replace: what is there is set aside",
        ));
    }
    let (held, lost) = prepare(checked, heads, settings)?;
    let of_file = |path: &Path| {
        let path = path.to_owned();
        move |error: io::Error| Failure::file(&path, &error)
    };
    let aside = used.then(|| aside(data)).transpose()?;
    if let Some(file) = &checked.master_file {
        install_master_key(file, data)?;
    }
    let store = data.store();
    fs::rename(&checked.unpacked.store, &store).map_err(of_file(&store))?;
    let synced = File::open(data.path()).and_then(|folder| folder.sync_all());
    synced.map_err(of_file(data.path()))?;
    Ok(Restored { held, aside, lost })
}

/// Makes the unpacked store one that may be opened: nobody knows what happened after it was copied.
fn prepare(
    checked: &Checked,
    heads: &[String],
    settings: &Settings,
) -> Result<(Held, u64), Failure> {
    let path = &checked.unpacked.store;
    snapshot::mark_interrupted(path).map_err(|fault| of_store(&fault))?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let (boot_id, now) = ("restore".to_owned(), clock.now());
    let options = StoreOptions { clock, boot_id, read_only: false, bytes_max: None };
    let store = Store::open(path, options).map_err(|fault| of_store(&fault))?;
    let lost = compare_heads(checked, &store, heads)?;
    let calendar = Calendar::named(&settings.timezone).map_err(Failure::usage)?;
    let actor = offline::caller();
    let held = held::hold(&store, actor, settings, &calendar, &checked.manifest, now)?;
    store.close().map_err(|fault| of_store(&fault))?;
    drop(store);
    let log = checked.scratch.0.join("chamberlain.db-wal");
    if fs::metadata(&log).is_ok_and(|found| found.len() > 0) {
        return Err(Failure::failed("the restored store could not be closed; try again"));
    }
    Ok((held, lost))
}

/// Holds the audit log against heads that were kept elsewhere; gives how many records are missing.
fn compare_heads(checked: &Checked, store: &Store, heads: &[String]) -> Result<u64, Failure> {
    let signer = checkpoint::signer(&checked.vault).map_err(Failure::failed)?;
    let records = checked.manifest.audit.records;
    let mut lost = 0;
    for note in heads {
        let head = Checkpoint::open(note, std::slice::from_ref(&signer)).map_err(|error| {
            let message = format!("a signed head that was kept elsewhere: {error}");
            Failure::from(BackupFault::new(BackupFaultKind::Foreign, message))
        })?;
        if head.size > records {
            lost = lost.max(head.size - records);
            continue;
        }
        let (size, root) = store.audit_head().map_err(|fault| of_store(&fault))?;
        let path = store.audit_consistency(head.size, size).map_err(|fault| of_store(&fault))?;
        if !proof::is_consistent(head.size, size, &head.root, &root, &path) {
            return Err(BackupFault::corrupt(format!(
                "its audit log is not the one whose first {} records were signed and kept elsewhere",
                head.size
            ))
            .into());
        }
    }
    Ok(lost)
}

/// Sets aside what is there, the store first.
fn aside(data: &DataDir) -> Result<PathBuf, Failure> {
    let moment: String = SystemClock.now().to_rfc3339().chars().filter(|c| *c != ':').collect();
    let aside = data.path().join(format!("before-restore-{moment}"));
    let of = |error: io::Error| Failure::file(&aside, &error);
    DirBuilder::new().mode(0o700).create(&aside).map_err(of)?;
    for name in STORE_FILES {
        match fs::rename(data.path().join(name), aside.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(of(error)),
            _ => {}
        }
    }
    Ok(aside)
}

/// Puts the master key where a start looks for it.
fn install_master_key(from: &Path, data: &DataDir) -> Result<(), Failure> {
    let to = data.master_key();
    if from == to {
        return Ok(());
    }
    let bytes =
        zeroize::Zeroizing::new(fs::read(from).map_err(|error| Failure::file(from, &error))?);
    let of = |error: io::Error| Failure::file(&to, &error);
    if to.exists() {
        return match fs::read(&to).map(zeroize::Zeroizing::new).map_err(of)? == bytes {
            true => Ok(()),
            false => Err(Failure::new(
                exit::CONFLICT,
                format!("there is another master key at {}", to.display()),
            )
            .hint("move it away, and keep it: it may be all that opens another backup")),
        };
    }
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o600).open(&to).map_err(of)?;
    file.write_all(&bytes).and_then(|()| file.sync_all()).map_err(of)
}

/// The folder in which a restore is prepared, emptied before and after.
struct Scratch(PathBuf);

impl Scratch {
    fn make(path: &Path) -> Result<Scratch, Failure> {
        match fs::remove_dir_all(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(Failure::file(path, &error));
            }
            _ => {}
        }
        let made = DirBuilder::new().mode(0o700).create(path);
        made.map_err(|error| Failure::file(path, &error))?;
        Ok(Scratch(path.to_owned()))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What is left is emptied by the next one.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Held so that nobody opens the store meanwhile.
struct Lock(File);

impl Lock {
    fn take(data: &DataDir) -> Result<Lock, Failure> {
        let path = data.store_lock();
        let mut options = OpenOptions::new();
        let opened =
            options.read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
        let file = opened.map_err(|error| Failure::file(&path, &error))?;
        match file.try_lock() {
            Ok(()) => Ok(Lock(file)),
            Err(fs::TryLockError::WouldBlock) => {
                let message = format!("a server or a command works on {}", data.path().display());
                Err(Failure::new(exit::CONFLICT, message).hint("stop it first"))
            }
            Err(fs::TryLockError::Error(error)) => Err(Failure::file(&path, &error)),
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        let _ = self.0.unlock();
    }
}

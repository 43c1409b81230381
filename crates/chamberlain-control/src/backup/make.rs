//! Making a backup file: a copy of the store, its signed manifest, both in one archive, encrypted,
//! under its name only when it is whole and on the disk.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use chamberlain_core::audit::merkle::to_hex;
use chamberlain_core::backup::manifest::{self, Counts, FileFacts, LogFacts, Manifest};
use chamberlain_core::backup::name::{BackupName, Encryption};
use chamberlain_core::time::Timestamp;
use chamberlain_store::Store;
use chamberlain_store::snapshot::SnapshotFacts;
use chamberlain_vault::backup::Recipients;
use chamberlain_vault::vault::Vault;

use super::openpgp::Encrypting as Gpg;
use super::{BackupFault, archive, folder};
use crate::checkpoint;

/// The folder, in the data folder, in which a backup is put together. In the clear it is never
/// anywhere else, and it is gone when the backup is made.
const SCRATCH: &str = "backup-in-the-making";

/// What the name of an unfinished backup ends with.
const PART_SUFFIX: &str = ".part";

/// Who can read a backup.
#[derive(Clone, Debug)]
pub enum Readers {
    /// Age recipients.
    Age(Recipients),
    /// Files with OpenPGP public keys.
    OpenPgp(Vec<PathBuf>),
}

impl Readers {
    fn encryption(&self) -> Encryption {
        match self {
            Readers::Age(_) => Encryption::Age,
            Readers::OpenPgp(_) => Encryption::OpenPgp,
        }
    }
}

/// Where a backup goes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Destination {
    /// Into this folder, under the name that says what it is.
    Folder(PathBuf),
    /// Into this file, which must not be there yet.
    File(PathBuf),
}

/// Everything a backup is made of.
pub struct Making<'a> {
    /// The store.
    pub store: &'a Store,
    /// The vault, which signs.
    pub vault: &'a Vault,
    /// The data folder.
    pub data: &'a Path,
    /// The version of this program.
    pub version: &'a str,
    /// The generation of the published view.
    pub generation: u64,
    /// The present moment.
    pub now: Timestamp,
}

/// A backup that was made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Made {
    /// Where it lies.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// Its SHA-256, as it was read back.
    pub sha256: String,
    /// What is in it.
    pub manifest: Manifest,
}

/// Makes a backup.
///
/// # Errors
/// When it could not be made; nothing is left under its name then.
pub fn make(making: &Making<'_>, readers: &Readers, to: &Destination) -> Result<Made, BackupFault> {
    let scratch = Scratch::make(making.data)?;
    let copy = scratch.path.join(manifest::STORE);
    let facts = making.store.snapshot(&copy);
    let facts = facts.map_err(|fault| BackupFault::failed(format!("the store: {fault}")))?;
    let manifest = describe(making, &facts, &copy)?;
    let signer = checkpoint::signer(making.vault).map_err(BackupFault::failed)?;
    let note = manifest.sign(&signer, |text| making.vault.sign(text));
    let note = note.map_err(|error| BackupFault::failed(error.to_string()))?;
    let path = match to {
        Destination::File(path) => path.clone(),
        Destination::Folder(folder) => {
            let (records, encryption) = (facts.records, readers.encryption());
            let name = BackupName::new(making.vault.id(), making.now, records, encryption);
            folder.join(name.to_string())
        }
    };
    let part = Part::make(&path)?;
    let (file, home) = (part.open()?, scratch.path.join("gnupg"));
    encrypt(readers, file, &home, |out| {
        let mtime_s = making.now.ms().unsigned_abs() / 1_000;
        let bytes = note.len() as u64;
        archive::write(out, manifest::MANIFEST, bytes, mtime_s, &mut note.as_bytes())?;
        let mut copy = BufReader::new(File::open(&copy)?);
        archive::write(out, manifest::STORE, manifest.store.bytes, mtime_s, &mut copy)?;
        archive::end(out)
    })?;
    let (bytes, sha256) = part.finish()?;
    Ok(Made { path, bytes, sha256, manifest })
}

fn describe(
    making: &Making<'_>,
    facts: &SnapshotFacts,
    copy: &Path,
) -> Result<Manifest, BackupFault> {
    let read = |error: io::Error| BackupFault::file(copy, &error);
    Ok(Manifest {
        format: manifest::FORMAT,
        made_at: making.now.to_rfc3339(),
        made_by: making.version.to_owned(),
        vault: making.vault.id().to_owned(),
        generation: making.generation,
        schema: facts.schema,
        store: FileFacts {
            name: manifest::STORE.to_owned(),
            bytes: fs::metadata(copy).map_err(read)?.len(),
            sha256: folder::sum_of(copy).map_err(read)?,
        },
        audit: log_facts(facts),
        counts: counts(facts),
    })
}

/// What a manifest says of the audit log in a store.
pub(super) fn log_facts(facts: &SnapshotFacts) -> LogFacts {
    let text = |note: &Vec<u8>| String::from_utf8_lossy(note).into_owned();
    LogFacts {
        records: facts.records,
        root: to_hex(&facts.root),
        checkpoint: facts.checkpoint.as_ref().map(text),
    }
}

/// What a manifest counts in a store.
pub(super) fn counts(facts: &SnapshotFacts) -> Counts {
    let SnapshotFacts { upstream_keys, virtual_keys, calls, balances, .. } = *facts;
    Counts { upstream_keys, virtual_keys, calls, balances }
}

fn encrypt(
    readers: &Readers,
    file: File,
    home: &Path,
    content: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<(), BackupFault> {
    let failed = |error: io::Error| BackupFault::failed(format!("the backup: {error}"));
    match readers {
        Readers::Age(recipients) => {
            let out = BufWriter::with_capacity(1 << 20, file);
            let mut out = recipients.encrypt(out).map_err(failed)?;
            content(&mut out).and_then(|()| out.finish()?.flush()).map_err(failed)
        }
        Readers::OpenPgp(keys) => {
            let mut out = BufWriter::with_capacity(1 << 20, Gpg::start(keys, file, home)?);
            let written = content(&mut out).and_then(|()| out.flush());
            let (gpg, _) = out.into_parts();
            // What gpg says is better than that nobody read what was written.
            gpg.finish()?;
            written.map_err(failed)
        }
    }
}

/// The folder in which a backup is put together.
struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// Makes it, after what a killed process left there.
    fn make(data: &Path) -> Result<Scratch, BackupFault> {
        let path = data.join(SCRATCH);
        match fs::remove_dir_all(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(BackupFault::file(&path, &error));
            }
            _ => {}
        }
        let made = DirBuilder::new().mode(0o700).create(&path);
        made.map_err(|error| BackupFault::file(&path, &error))?;
        Ok(Scratch { path })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            tracing::warn!(%error, "the folder in which a backup was made was left to the next one");
        }
    }
}

/// A backup under a name that is nobody's yet.
struct Part {
    path: PathBuf,
    part: PathBuf,
}

impl Part {
    fn make(path: &Path) -> Result<Part, BackupFault> {
        if path.exists() {
            let message = format!("{} exists already", path.display());
            return Err(BackupFault::failed(message).hint("name another file with --to"));
        }
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
        made.map_err(|error| BackupFault::file(folder, &error))?;
        let mut part = path.as_os_str().to_owned();
        part.push(PART_SUFFIX);
        Ok(Part { path: path.to_owned(), part: PathBuf::from(part) })
    }

    fn open(&self) -> Result<File, BackupFault> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        options.open(&self.part).map_err(|error| BackupFault::file(&self.part, &error))
    }

    /// Has it on the disk, reads it back, and gives it its name. Gives its size and sum.
    fn finish(&self) -> Result<(u64, String), BackupFault> {
        let done = (|| {
            File::open(&self.part)?.sync_all()?;
            let sum = folder::sum_of(&self.part)?;
            let bytes = fs::metadata(&self.part)?.len();
            let name = self.path.file_name().unwrap_or_default().to_string_lossy();
            let mut options = OpenOptions::new();
            options.write(true).create(true).truncate(true).mode(0o600);
            let mut beside = options.open(folder::sum_path(&self.path))?;
            beside.write_all(format!("{sum}  {name}\n").as_bytes())?;
            beside.sync_all()?;
            fs::rename(&self.part, &self.path)?;
            let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
            match File::open(folder.unwrap_or(Path::new(".")))?.sync_all() {
                // Some file systems cannot sync a folder, and need not.
                Err(error) if error.kind() != io::ErrorKind::InvalidInput => Err(error),
                _ => Ok((bytes, sum)),
            }
        })();
        done.map_err(|error| BackupFault::file(&self.path, &error))
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // After it got its name there is nothing here.
        let _ = fs::remove_file(&self.part);
    }
}

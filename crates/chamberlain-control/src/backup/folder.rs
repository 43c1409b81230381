//! A folder of backups: what lies there, and what is let go of.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use chamberlain_core::backup::name::BackupName;
use sha2::{Digest, Sha256};

use super::{BackupFault, hex};

/// What the name of the file with a backup's SHA-256 ends with.
pub const SUM_SUFFIX: &str = ".sha256";

/// A backup that lies in a folder.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Found {
    /// Its name.
    pub name: BackupName,
    /// Where it is.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
}

/// The backups in a folder, the newest first; those of one vault where that is named. A folder that
/// is not there has none.
///
/// # Errors
/// When it cannot be read.
pub fn list(folder: &Path, vault: Option<&str>) -> Result<Vec<Found>, BackupFault> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        read => read.map_err(|error| BackupFault::file(folder, &error))?,
    };
    let mut found: Vec<Found> = entries
        .flatten()
        .filter_map(|entry| {
            let name: BackupName = entry.file_name().to_str()?.parse().ok()?;
            let facts = entry.metadata().ok().filter(fs::Metadata::is_file)?;
            Some(Found { name, path: entry.path(), bytes: facts.len() })
        })
        .filter(|found| vault.is_none_or(|vault| vault.starts_with(&found.name.vault)))
        .collect();
    found.sort_by_key(|found| std::cmp::Reverse((found.name.made_at, found.name.records)));
    Ok(found)
}

/// The SHA-256 of a file.
///
/// # Errors
/// When it cannot be read.
pub fn sum_of(path: &Path) -> io::Result<String> {
    let (mut file, mut hasher) = (File::open(path)?, Sha256::new());
    let mut bytes = vec![0; 1 << 20];
    loop {
        match file.read(&mut bytes)? {
            0 => return Ok(hex(&hasher.finalize())),
            count => hasher.update(&bytes[..count]),
        }
    }
}

/// Where a backup's SHA-256 is kept: beside it, as `sha256sum` writes it.
pub fn sum_path(backup: &Path) -> PathBuf {
    let mut name = backup.as_os_str().to_owned();
    name.push(SUM_SUFFIX);
    PathBuf::from(name)
}

/// Whether a backup is what was written, by the sum beside it; `None` when there is no sum. Needs no
/// key, and proves nothing against somebody who changed both.
///
/// # Errors
/// When the backup cannot be read.
pub fn is_as_written(backup: &Path) -> Result<Option<bool>, BackupFault> {
    let Ok(text) = fs::read_to_string(sum_path(backup)) else { return Ok(None) };
    let Some(wanted) = text.split_whitespace().next() else { return Ok(None) };
    let found = sum_of(backup).map_err(|error| BackupFault::file(backup, &error))?;
    Ok(Some(found == wanted))
}

/// Deletes a backup and its sum.
///
/// # Errors
/// When it cannot be deleted.
pub fn delete(backup: &Path) -> Result<(), BackupFault> {
    fs::remove_file(backup).map_err(|error| BackupFault::file(backup, &error))?;
    match fs::remove_file(sum_path(backup)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(BackupFault::file(&sum_path(backup), &error))
        }
        _ => Ok(()),
    }
}

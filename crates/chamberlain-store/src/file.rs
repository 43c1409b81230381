//! The store's files: made so that only their owner can read them, held by one process, opened
//! with the settings that durability rests on.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use crate::fault::StoreFault;
use crate::intake;

/// Marks a file as a store of Chamberlain (`CHMB`).
const APPLICATION_ID: i32 = 0x4348_4d42;

/// How long to wait for a foreign program that writes or checkpoints, milliseconds.
const BUSY_MS: u64 = 2_000;

/// The write-ahead log is cut to this after a checkpoint, bytes.
const WAL_BYTES_KEPT: i64 = 64 * 1024 * 1024;

/// Up to this size a store that was not closed properly is checked when it is opened, bytes.
const CHECKED_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Statements kept prepared per connection.
const STATEMENTS_KEPT: usize = 128;

/// Held for as long as this process has the store open for writing. The system lets it go when the
/// process dies, however it dies.
#[derive(Debug)]
pub(crate) struct Hold {
    file: File,
}

impl Hold {
    /// Takes the store at `path`.
    pub(crate) fn take(path: &Path) -> Result<Hold, StoreFault> {
        let beside = beside(path, ".lock");
        let file = private(&beside)?;
        match file.try_lock() {
            Ok(()) => Ok(Hold { file }),
            Err(fs::TryLockError::WouldBlock) => Err(StoreFault::Locked { path: path.to_owned() }),
            Err(fs::TryLockError::Error(error)) => Err(unusable(&beside, &error)),
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        // Closing the file is not enough where a child process has just been forked off: until it
        // runs its program it has the file open as well.
        if let Err(error) = self.file.unlock() {
            tracing::warn!(%error, "the store's lock was left to the system");
        }
    }
}

/// Which file is open, whatever its name points at later.
#[derive(Debug)]
pub(crate) struct Identity {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl Identity {
    /// The file at `path` as it is now.
    pub(crate) fn of(path: &Path) -> Result<Identity, StoreFault> {
        let metadata = fs::metadata(path).map_err(|error| unusable(path, &error))?;
        Ok(Identity { path: path.to_owned(), device: metadata.dev(), inode: metadata.ino() })
    }

    /// Whether the file still has its name. Writing into one that was deleted would seem to work.
    pub(crate) fn check(&self) -> Result<(), StoreFault> {
        let here = fs::metadata(&self.path)
            .is_ok_and(|found| (found.dev(), found.ino()) == (self.device, self.inode));
        if here {
            return Ok(());
        }
        Err(StoreFault::Io(format!(
            "{} was moved, replaced or deleted while it was in use; put it back, or restart",
            self.path.display()
        )))
    }
}

/// Opens the store for writing, making it when it is missing.
pub(crate) fn open_for_writing(path: &Path) -> Result<Connection, StoreFault> {
    private(path)?;
    for suffix in ["-wal", "-shm", intake::SUFFIXES[0], intake::SUFFIXES[1]] {
        let beside = beside(path, suffix);
        if beside.exists() {
            check_mode(&beside)?;
        }
    }
    // SQLite gives its `-wal` and `-shm` the mode of the database.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)
        .map_err(|error| StoreFault::from_sqlite(error, path))?;
    set_up_writer(&connection, path).map_err(|fault| match fault {
        StoreFault::Locked { .. } => StoreFault::Locked { path: path.to_owned() },
        other => other,
    })?;
    Ok(connection)
}

fn set_up_writer(connection: &Connection, path: &Path) -> Result<(), StoreFault> {
    connection.busy_timeout(Duration::from_millis(BUSY_MS))?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
    mark(connection, path)?;
    let mode: String =
        connection.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0))?;
    if mode != "wal" {
        return Err(StoreFault::Io(format!(
            "{} lies on a file system without shared memory (write-ahead logging answered \
             {mode:?}); put the data folder on a local disk",
            path.display()
        )));
    }
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.pragma_update(None, "fullfsync", true)?;
    connection.pragma_update(None, "checkpoint_fullfsync", true)?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update(None, "cell_size_check", true)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    // In KiB. Calls are written at the right edge of every tree, so little is worth keeping.
    connection.pragma_update(None, "cache_size", -8_192)?;
    // A thread of its own checkpoints, so that no call waits for it.
    let _: i64 =
        connection.pragma_update_and_check(None, "wal_autocheckpoint", 0, |row| row.get(0))?;
    let _: i64 =
        connection.pragma_update_and_check(None, "journal_size_limit", WAL_BYTES_KEPT, |row| {
            row.get(0)
        })?;
    Ok(())
}

/// Marks a new file as ours; refuses one that is somebody else's.
fn mark(connection: &Connection, path: &Path) -> Result<(), StoreFault> {
    let found: i32 = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let objects: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    match (found, objects) {
        (APPLICATION_ID, _) => Ok(()),
        (0, 0) => Ok(connection.pragma_update(None, "application_id", APPLICATION_ID)?),
        _ => Err(StoreFault::Damaged(format!("{} is another program's file", path.display()))),
    }
}

/// Opens the store for moving its write-ahead log.
pub(crate) fn open_for_checkpoints(path: &Path) -> Result<Connection, StoreFault> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.pragma_update(None, "checkpoint_fullfsync", true)?;
    Ok(connection)
}

/// Opens the store for reading.
pub(crate) fn open_for_reading(path: &Path) -> Result<Connection, StoreFault> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)
        .map_err(|error| StoreFault::from_sqlite(error, path))?;
    connection.busy_timeout(Duration::from_millis(BUSY_MS))?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
    connection.pragma_update(None, "query_only", true)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    let found: i32 = connection
        .pragma_query_value(None, "application_id", |row| row.get(0))
        .map_err(|error| StoreFault::from_sqlite(error, path))?;
    if found != APPLICATION_ID {
        let problem = format!("{} is not a store of Chamberlain", path.display());
        return Err(StoreFault::Damaged(problem));
    }
    Ok(connection)
}

/// Looks for damage, when the store is small enough for that to be quick.
pub(crate) fn check_for_damage(connection: &Connection, path: &Path) -> Result<(), StoreFault> {
    let bytes = fs::metadata(path).map_or(0, |metadata| metadata.len());
    if bytes > CHECKED_BYTES_MAX {
        return Ok(());
    }
    let answer: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if answer == "ok" { Ok(()) } else { Err(StoreFault::Damaged(answer)) }
}

/// The path of a file that stands beside the store.
pub(crate) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Opens a file for its owner alone, making it when it is missing.
pub(crate) fn private(path: &Path) -> Result<File, StoreFault> {
    let mut options = fs::OpenOptions::new();
    options.read(true).write(true).create_new(true).mode(0o600);
    match options.open(path) {
        Ok(file) => {
            // The umask can only take bits away; say exactly what is meant, and make the new name
            // as durable as what will be written into it.
            file.set_permissions(Permissions::from_mode(0o600))
                .and_then(|()| sync_folder(path))
                .map_err(|error| unusable(path, &error))?;
            Ok(file)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            check_mode(path)?;
            options.create_new(false).open(path).map_err(|error| unusable(path, &error))
        }
        Err(error) => Err(unusable(path, &error)),
    }
}

fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    match File::open(folder.unwrap_or(Path::new(".")))?.sync_all() {
        // Some file systems cannot sync a folder, and need not.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
        other => other,
    }
}

fn check_mode(path: &Path) -> Result<(), StoreFault> {
    let mode =
        fs::metadata(path).map_err(|error| unusable(path, &error))?.permissions().mode() & 0o777;
    if mode & 0o077 == 0 {
        return Ok(());
    }
    Err(StoreFault::Permission {
        path: path.to_owned(),
        problem: format!("mode {mode:o} lets others at it; run: chmod 600 {}", path.display()),
    })
}

pub(crate) fn unusable(path: &Path, error: &io::Error) -> StoreFault {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreFault::DiskFull,
        io::ErrorKind::ReadOnlyFilesystem => {
            StoreFault::ReadOnly(format!("{} is on a read-only file system", path.display()))
        }
        io::ErrorKind::PermissionDenied => StoreFault::Permission {
            path: path.to_owned(),
            problem: "it belongs to somebody else; run as its owner, or change the owner".into(),
        },
        io::ErrorKind::NotFound => StoreFault::Io(format!(
            "the folder of {} does not exist; make it, or choose another with --data",
            path.display()
        )),
        _ => StoreFault::Io(format!("{}: {error}", path.display())),
    }
}

//! A file's place: its folder, held open, and its name in it.
//!
//! Whoever could put a file or a link there could have a key delivered to a file of their own. So
//! folders that others can write to are refused, everything is done below the folder that was
//! looked at, and links are refused by what they lead to. A replacement is whole or not at all: the
//! new file has no name until it is on the disk, and takes the old one's name in one step.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use chamberlain_core::sink::fault::{Again, Effect, SinkFault};
use rustix::fs::{AtFlags, CWD, FileType, FlockOperation, Gid, Mode, OFlags, Stat, Uid};
use rustix::io::Errno;
use zeroize::Zeroizing;

/// A larger file is no env file and no manifest.
const BYTES_MAX: u64 = 1 << 20;

/// What a file is given to be known by while it is made.
const UNFINISHED: &str = ".chamberlain-new";

/// A file's place.
pub(super) struct Place {
    folder: OwnedFd,
    name: String,
    path: PathBuf,
}

/// A file as it was found.
pub(super) struct Found {
    /// What is in it.
    pub(super) text: Zeroizing<Vec<u8>>,
    /// Whose it is.
    pub(super) owner: (Uid, Gid),
    /// Its mode, permissions only.
    pub(super) mode: u32,
    stamp: Stamp,
}

/// What tells a file from the one that was there before.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    size: i64,
    modified: (i64, u64),
    changed: (i64, u64),
}

impl Stamp {
    fn of(stat: &Stat) -> Stamp {
        Stamp {
            inode: stat.st_ino,
            size: stat.st_size,
            modified: (stat.st_mtime, stat.st_mtime_nsec),
            changed: (stat.st_ctime, stat.st_ctime_nsec),
        }
    }
}

impl Found {
    /// What shows later whether it is still this file.
    pub(super) fn mark(&self) -> String {
        let Stamp { inode, modified: (s, ns), .. } = self.stamp;
        format!("inode {inode}, modified {s}.{ns:09}")
    }
}

impl Place {
    /// Looks at the folder. `names_owner` says that a file made here gets an owner that is
    /// configured, so that it does not matter whose file somebody else put there.
    pub(super) fn open(path: &str, names_owner: bool) -> Result<Place, SinkFault> {
        let whole = Path::new(path);
        let (Some(parent), Some(name)) = (whole.parent(), whole.file_name()) else {
            return Err(refused(whole, "is not a file's path", "write the file's whole path"));
        };
        let parent = parent.canonicalize().map_err(|error| {
            refused(parent, &format!("cannot be used: {error}"), "make the folder first")
        })?;
        for folder in parent.ancestors() {
            safe_folder(folder, folder == parent, names_owner)?;
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let folder = rustix::fs::openat(CWD, &parent, flags, Mode::empty())
            .map_err(|error| failed(&parent, "cannot be opened", error))?;
        let name = name.to_string_lossy().into_owned();
        Ok(Place { folder, path: parent.join(&name), name })
    }

    /// Keeps others of us out of the folder until the place is dropped.
    pub(super) fn lock(&self, within: Duration) -> Result<(), SinkFault> {
        let until = Instant::now() + within;
        loop {
            match rustix::fs::flock(&self.folder, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => break,
                Err(Errno::WOULDBLOCK) if Instant::now() < until => {
                    std::thread::sleep(Duration::from_millis(20));
                }
                Err(Errno::WOULDBLOCK) => {
                    let what = format!("somebody else is writing beside {}", self.path.display());
                    return Err(SinkFault::passing(what, "it is tried again later"));
                }
                Err(error) => return Err(failed(&self.path, "cannot be locked", error)),
            }
        }
        // What a killed process may have left: the file it was about to name.
        match rustix::fs::unlinkat(&self.folder, self.unfinished(), AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(failed(&self.path, "has an unfinished file beside it", error)),
        }
    }

    fn unfinished(&self) -> String {
        format!("{}{UNFINISHED}", self.name)
    }

    /// The file; `None` where there is none.
    pub(super) fn read(&self) -> Result<Option<Found>, SinkFault> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = match rustix::fs::openat(&self.folder, &self.name, flags, Mode::empty()) {
            Ok(file) => file,
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::LOOP) => {
                let to = std::fs::read_link(&self.path).unwrap_or_default();
                return Err(refused(
                    &self.path,
                    &format!("is a link to {}", to.display()),
                    "name the file itself: a link would be replaced by a file",
                ));
            }
            Err(error) => return Err(failed(&self.path, "cannot be read", error)),
        };
        let stat = self.stat_of(&file)?;
        // Room for all of it at once: a buffer that grows leaves copies behind.
        let mut text = Zeroizing::new(Vec::with_capacity(stat.st_size as usize + 1));
        let read = File::from(file).take(BYTES_MAX + 1).read_to_end(&mut text);
        read.map_err(|error| failed(&self.path, "cannot be read", error))?;
        let owner = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
        Ok(Some(Found { text, owner, mode: stat.st_mode & 0o7777, stamp: Stamp::of(&stat) }))
    }

    /// Looks at the open file, whether it is one that may be replaced.
    fn stat_of(&self, file: &OwnedFd) -> Result<Stat, SinkFault> {
        let stat = rustix::fs::fstat(file)
            .map_err(|error| failed(&self.path, "cannot be looked at", error))?;
        let odd = |what: &str, hint: &str| Err(refused(&self.path, what, hint));
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return odd("is not a file", "write the path of a file");
        }
        if stat.st_nlink > 1 {
            return odd(
                "has another name elsewhere (a hard link), which would keep the old key",
                "remove the other name, or replace it by a link to this file",
            );
        }
        if u64::try_from(stat.st_size).is_ok_and(|size| size > BYTES_MAX) {
            return odd("is larger than 1 MiB", "a key's file has a few lines; check the path");
        }
        Ok(stat)
    }

    /// Makes a file without a name, to see that it could be done, and lets it go.
    pub(super) fn try_to_make(&self, owner: (Uid, Gid)) -> Result<(), SinkFault> {
        let (file, is_named) = self.make()?;
        let owned = self.give(&file, owner);
        if is_named {
            self.forget();
        }
        owned
    }

    /// Puts `text` in the place of `seen`: mode 0600, that owner, on the disk before it is there.
    pub(super) fn replace(
        &self,
        text: &[u8],
        owner: (Uid, Gid),
        seen: Option<&Found>,
    ) -> Result<Found, SinkFault> {
        let (file, is_named) = self.make()?;
        let written = self.fill(&file, text, owner).and_then(|()| self.name(&file, is_named));
        if let Err(fault) = written.and_then(|()| self.unchanged(seen)) {
            self.forget();
            return Err(fault);
        }
        let unfinished = self.unfinished();
        if let Err(error) =
            rustix::fs::renameat(&self.folder, &unfinished, &self.folder, &self.name)
        {
            self.forget();
            return Err(failed(&self.path, "cannot be replaced", error));
        }
        // It is there now; whether it still is after a power loss is what this makes sure of.
        rustix::fs::fsync(&self.folder)
            .map_err(|error| failed(&self.path, "may not survive a power loss", error))
            .map_err(|fault| fault.with(Effect::Done))?;
        self.read()?.ok_or_else(|| {
            let what = format!("{} went away as soon as it was written", self.path.display());
            SinkFault::passing(what, "see who else writes there").with(Effect::Unknown)
        })
    }

    /// A new file that is its maker's alone: without a name where the file system can do that.
    fn make(&self) -> Result<(OwnedFd, bool), SinkFault> {
        let mode = Mode::RUSR | Mode::WUSR;
        let nameless = OFlags::WRONLY | OFlags::TMPFILE | OFlags::CLOEXEC;
        match rustix::fs::openat(&self.folder, ".", nameless, mode) {
            Ok(file) => return Ok((file, false)),
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL | Errno::NOENT) => {}
            Err(error) => return Err(failed(&self.path, "cannot be written beside", error)),
        }
        let named =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat(&self.folder, self.unfinished(), named, mode)
            .map(|file| (file, true))
            .map_err(|error| failed(&self.path, "cannot be written beside", error))
    }

    fn give(&self, file: &OwnedFd, (uid, gid): (Uid, Gid)) -> Result<(), SinkFault> {
        rustix::fs::fchown(file, Some(uid), Some(gid)).map_err(|error| {
            SinkFault::refused(
                format!(
                    "{} cannot be given to uid {} and gid {}: {error}",
                    self.path.display(),
                    uid.as_raw(),
                    gid.as_raw()
                ),
                "run Chamberlain as the owner of the file, or let a command sink of root's do it",
            )
        })
    }

    fn fill(&self, file: &OwnedFd, text: &[u8], owner: (Uid, Gid)) -> Result<(), SinkFault> {
        // The owner before the key: until then nobody else can open it.
        self.give(file, owner)?;
        rustix::fs::fchmod(file, Mode::RUSR | Mode::WUSR)
            .map_err(|error| failed(&self.path, "cannot be closed to others", error))?;
        let handle = file.try_clone().map_err(|error| failed(&self.path, "is odd", error))?;
        let mut handle = File::from(handle);
        handle
            .write_all(text)
            .and_then(|()| handle.sync_all())
            .map_err(|error| failed(&self.path, "cannot be written", error))
    }

    /// Gives a nameless file the name under which it waits for its place.
    fn name(&self, file: &OwnedFd, is_named: bool) -> Result<(), SinkFault> {
        if is_named {
            return Ok(());
        }
        let open = format!("/proc/self/fd/{}", file.as_raw_fd());
        let follow = AtFlags::SYMLINK_FOLLOW;
        rustix::fs::linkat(CWD, open, &self.folder, self.unfinished(), follow)
            .map_err(|error| failed(&self.path, "cannot be written beside", error))
    }

    /// Whether what is there is what was seen.
    fn unchanged(&self, seen: Option<&Found>) -> Result<(), SinkFault> {
        let now = match rustix::fs::statat(&self.folder, &self.name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Some(Stamp::of(&stat)),
            Err(Errno::NOENT) => None,
            Err(error) => return Err(failed(&self.path, "cannot be looked at", error)),
        };
        if now == seen.map(|found| found.stamp) {
            return Ok(());
        }
        let what = format!("{} was changed while the key was being put in", self.path.display());
        Err(SinkFault::passing(what, "it is tried again with what is there now"))
    }

    /// Removes what was not finished. The next holder of the lock does it too.
    fn forget(&self) {
        let _ = rustix::fs::unlinkat(&self.folder, self.unfinished(), AtFlags::empty());
    }
}

/// Whether nobody but root, us and the folder's owner can put files in it.
fn safe_folder(folder: &Path, is_last: bool, names_owner: bool) -> Result<(), SinkFault> {
    let found =
        std::fs::metadata(folder).map_err(|error| failed(folder, "cannot be looked at", error))?;
    let (mode, is_sticky) = (found.mode() & 0o777, found.mode() & 0o1000 != 0);
    if mode & 0o002 != 0 && (is_last || !is_sticky) {
        return Err(refused(
            folder,
            &format!("can be written to by everybody (mode {mode:o})"),
            &format!("chmod o-w {}", folder.display()),
        ));
    }
    if is_last && mode & 0o020 != 0 && !names_owner {
        return Err(refused(
            folder,
            &format!(
                "can be written to by its group (mode {mode:o}), so the file's owner proves nothing"
            ),
            &format!(
                "chmod g-w {}, or say in the sink who shall own the file (`owner`)",
                folder.display()
            ),
        ));
    }
    Ok(())
}

fn refused(path: &Path, what: &str, hint: &str) -> SinkFault {
    SinkFault::refused(format!("{} {what}", path.display()), hint)
}

fn failed(path: &Path, what: &str, error: impl Into<io::Error>) -> SinkFault {
    let error = error.into();
    let message = format!("{} {what}: {error}", path.display());
    let (again, hint) = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            (Again::Later, "make room on the disk; the old file stands as it was")
        }
        io::ErrorKind::ReadOnlyFilesystem => {
            (Again::Never, "mount it writable, or let a command sink put the key there")
        }
        io::ErrorKind::PermissionDenied => {
            (Again::Never, "run Chamberlain as somebody who may, or give it the right")
        }
        _ => (Again::Later, "mend what it says; the old file stands as it was"),
    };
    SinkFault { effect: Effect::Nothing, again, message, hint: hint.to_owned() }
}

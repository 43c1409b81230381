//! The data folder: made for its owner alone, never used when others could read it, and never by
//! two processes at once (the store's own hold sees to that).

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use crate::failure::{Failure, exit};

/// A data folder that may be used.
#[derive(Clone, Debug)]
pub(crate) struct DataDir {
    path: PathBuf,
}

impl DataDir {
    /// Makes the folder when it is missing (0700), and looks whether it is safe to use.
    pub(crate) fn prepare(path: &Path) -> Result<DataDir, Failure> {
        if let Err(error) = DirBuilder::new().recursive(true).mode(0o700).create(path)
            && error.kind() != io::ErrorKind::AlreadyExists
        {
            return Err(Failure::file(path, &error)
                .hint("name a folder that you may write to with --data DIR or CHAMBERLAIN_DATA"));
        }
        DataDir::open(path)
    }

    /// Takes a folder that is there already.
    pub(crate) fn open(path: &Path) -> Result<DataDir, Failure> {
        let found = fs::metadata(path).map_err(|error| {
            Failure::new(exit::UNAVAILABLE, format!("{}: {error}", path.display()))
                .hint("`chamberlain up` makes it; or name another with --data or CHAMBERLAIN_DATA")
        })?;
        if !found.is_dir() {
            return Err(Failure::usage(format!("{} is not a folder", path.display())));
        }
        let mode = found.mode() & 0o777;
        if mode & 0o077 != 0 {
            let message = format!("others can look into {} (mode {mode:o})", path.display());
            return Err(Failure::new(exit::UNAVAILABLE, message)
                .hint(format!("chmod 700 {}", path.display())));
        }
        // Root could use it too, but would leave files in it that its owner cannot open.
        let owner = found.uid();
        if owner != rustix::process::geteuid().as_raw() {
            let message = format!("{} belongs to another user (uid {owner})", path.display());
            return Err(Failure::new(exit::UNAVAILABLE, message).hint(format!(
                "run as that user (`sudo -u '#{owner}' chamberlain …`); root may ask a server that \
                 runs, but not use the folder itself"
            )));
        }
        Ok(DataDir { path: path.to_owned() })
    }

    /// Takes a folder that was used before: a command that only looks must not begin a house, or a
    /// mistyped folder would look like an empty one.
    pub(crate) fn used(path: &Path) -> Result<DataDir, Failure> {
        let data = DataDir::open(path)?;
        if !data.store().exists() && !data.store_lock().exists() {
            let message = format!("nothing of Chamberlain's is in {}", path.display());
            return Err(Failure::new(exit::UNAVAILABLE, message).hint(
                "`chamberlain up` begins there; or name another with --data or CHAMBERLAIN_DATA",
            ));
        }
        Ok(data)
    }

    /// The folder.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The store's file.
    pub(crate) fn store(&self) -> PathBuf {
        self.path.join("chamberlain.db")
    }

    /// The file by whose lock the store is held. It stays when nobody holds it.
    pub(crate) fn store_lock(&self) -> PathBuf {
        self.path.join("chamberlain.db.lock")
    }

    /// The master key's file, where nobody brings the key from elsewhere.
    pub(crate) fn master_key(&self) -> PathBuf {
        self.path.join("master.key")
    }

    /// The file of the master key that is about to take the place of the one there is.
    pub(crate) fn next_master_key(&self) -> PathBuf {
        self.path.join("master.key.new")
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_new_folder_is_its_owners_alone() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("a/b");
        DataDir::prepare(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_folder_that_others_can_read_is_refused_with_the_mend() {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o750)).unwrap();
        let failure = DataDir::prepare(folder.path()).unwrap_err();
        assert_eq!(failure.code, exit::UNAVAILABLE);
        assert!(failure.hint.unwrap().starts_with("chmod 700 "));
    }

    #[test]
    fn a_folder_that_was_never_used_is_not_begun_by_looking() {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
        assert_eq!(DataDir::used(folder.path()).unwrap_err().code, exit::UNAVAILABLE);
        fs::write(folder.path().join("chamberlain.db"), "").unwrap();
        DataDir::used(folder.path()).unwrap();
    }
}

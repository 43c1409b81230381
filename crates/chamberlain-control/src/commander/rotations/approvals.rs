//! Approvals: by command, or by a file of the approver's own.
//!
//! Commands come from the owner of the data folder and from root only. Everybody else approves with
//! a file: it belongs to them, nobody else may write it, and it says
//! `approve rotation <id>` on a line of its own. Who approves is who the kernel says owns the file.

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use chamberlain_core::audit::record::Principal;
use chamberlain_core::rotation::{Approval, Means};

use super::Commander;
use crate::command::RotationApprove;
use crate::error::CommandError;
use crate::reply;

/// Nobody needs more to say yes.
const FILE_BYTES_MAX: u64 = 16 * 1024;

/// A symbolic link is not followed, and a pipe not waited for: `O_NOFOLLOW | O_NONBLOCK`.
const OPEN_FLAGS: i32 = 0o400_000 | 0o4_000;

impl Commander {
    pub(in crate::commander) fn rotation_approve(
        &self,
        actor: &Principal,
        asked: &RotationApprove,
    ) -> Result<reply::Rotation, CommandError> {
        self.said(actor, asked.rotation.as_deref(), "approved", |rotation, now| {
            let (by, means) = match (&asked.file, &asked.break_glass) {
                (Some(_), Some(_)) => {
                    return Err(CommandError::usage("a file, or breaking the glass: not both"));
                }
                (None, None) => (actor.to_string(), Means::Command),
                (None, Some(reason)) => {
                    (actor.to_string(), Means::BrokenGlass { reason: reason.clone() })
                }
                (Some(path), None) => {
                    let owner = owner_of(path, rotation.id.as_str(), now.ms())?;
                    let path = path.display().to_string();
                    (owner, Means::File { path })
                }
            };
            let detail = match &means {
                Means::Command => by.clone(),
                Means::File { path } => format!("{by}, by {path}"),
                Means::BrokenGlass { reason } => format!("{by} broke the glass: {reason}"),
            };
            Ok((rotation.approved(Approval { by, at: now, means }, now)?, detail))
        })
    }
}

/// Who approves with that file.
fn owner_of(path: &Path, rotation: &str, now_ms: i64) -> Result<String, CommandError> {
    let refuse = |why: String| {
        CommandError::usage(format!("{}: {why}", path.display())).hint(format!(
            "the approver writes the line `approve rotation {rotation}` into a file of their own \
             that nobody else may write (mode 0644), at most four hours before"
        ))
    };
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(OPEN_FLAGS);
    let file = options.open(path).map_err(|error| refuse(error.to_string()))?;
    let meta = file.metadata().map_err(|error| refuse(error.to_string()))?;
    if !meta.is_file() {
        return Err(refuse("not a plain file".to_owned()));
    }
    if meta.mode() & 0o022 != 0 {
        return Err(refuse("others than its owner may write it".to_owned()));
    }
    if now_ms - meta.mtime() * 1_000 > 4 * 3_600_000 {
        return Err(refuse("older than four hours".to_owned()));
    }
    let line = format!("approve rotation {rotation}");
    match says(file, &line) {
        Ok(true) => Ok(format!("person:uid:{}", meta.uid())),
        Ok(false) => Err(refuse(format!("no line says `{line}`"))),
        Err(error) => Err(refuse(error.to_string())),
    }
}

fn says(file: File, line: &str) -> std::io::Result<bool> {
    let mut text = String::new();
    file.take(FILE_BYTES_MAX).read_to_string(&mut text)?;
    Ok(text.lines().any(|found| found.trim() == line))
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn a_file_approves_for_its_owner_only_when_it_is_plainly_theirs() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("yes");
        let now_ms = || {
            let now = fs::metadata(&path).unwrap().mtime();
            now * 1_000
        };
        fs::write(&path, "checked with the team\napprove rotation rot_1\n").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        let owner = fs::metadata(&path).unwrap().uid();
        assert_eq!(owner_of(&path, "rot_1", now_ms()).unwrap(), format!("person:uid:{owner}"));
        assert!(owner_of(&path, "rot_2", now_ms()).is_err(), "another rotation");
        let late = now_ms() + 4 * 3_600_000 + 1_000;
        assert!(owner_of(&path, "rot_1", late).is_err(), "too old");
        let link = folder.path().join("link");
        symlink(&path, &link).unwrap();
        assert!(owner_of(&link, "rot_1", now_ms()).is_err(), "a link");
        assert!(owner_of(folder.path(), "rot_1", now_ms()).is_err(), "a folder");
        fs::set_permissions(&path, Permissions::from_mode(0o664)).unwrap();
        assert!(owner_of(&path, "rot_1", now_ms()).is_err(), "others may write it");
    }
}

//! Encrypting to OpenPGP keys, by the machine's own `gpg`: whoever wants OpenPGP has it, and its
//! many ciphers stay out of this house (docs/decisions has the reasons).
//!
//! The keys are files with public keys. Nothing of the user's own keyring is read or changed: `gpg`
//! works in an empty home of its own.

use std::fs::{DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::BackupFault;

/// A backup being encrypted by `gpg`.
pub(super) struct Encrypting {
    child: Child,
}

impl Encrypting {
    /// Starts `gpg`, which writes into `out`. `home` is a folder for it alone, which is made.
    pub(super) fn start(
        keys: &[PathBuf],
        out: File,
        home: &Path,
    ) -> Result<Encrypting, BackupFault> {
        let made = DirBuilder::new().mode(0o700).create(home);
        made.map_err(|error| BackupFault::file(home, &error))?;
        let mut gpg = Command::new("gpg");
        gpg.args([
            "--batch",
            "--quiet",
            "--no-options",
            "--no-autostart",
            "--trust-model",
            "always",
        ])
        .args(["--compress-algo", "none", "--homedir"])
        .arg(home)
        .arg("--encrypt");
        for key in keys {
            gpg.arg("--recipient-file").arg(key);
        }
        let started = gpg.stdin(Stdio::piped()).stdout(out).stderr(Stdio::piped()).spawn();
        let child = started.map_err(|error| {
            BackupFault::failed(format!(
                "gpg, which encrypts to OpenPGP keys, does not run: {error}"
            ))
            .hint("install gnupg, or name age recipients instead (backup.recipients)")
        })?;
        Ok(Encrypting { child })
    }

    /// Waits until `gpg` has written everything.
    pub(super) fn finish(mut self) -> Result<(), BackupFault> {
        drop(self.child.stdin.take());
        let ended = self.child.wait_with_output();
        let ended = ended.map_err(|error| BackupFault::failed(format!("gpg: {error}")))?;
        if ended.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&ended.stderr);
        let said = said.lines().next_back().unwrap_or("it says nothing").trim().to_owned();
        Err(BackupFault::failed(format!("gpg did not encrypt: {said}"))
            .hint("each file of backup.openpgp_keys holds one public key that can encrypt"))
    }
}

impl Write for Encrypting {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.child.stdin {
            Some(stdin) => stdin.write(bytes),
            None => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

//! Opening a backup: decrypted into a folder of its own, and everything in it held against its
//! manifest, and the manifest against the vault whose master key the operator has.
//!
//! Nothing of it is used before all of it was checked.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use chamberlain_core::audit::note::NoteError;
use chamberlain_core::backup::manifest::{self, Manifest, ManifestError};
use chamberlain_core::id::UpstreamKeyId;
use chamberlain_store::snapshot::{self, SnapshotFacts};
use chamberlain_vault::backup::{Identities, MAGIC, OpenError};
use chamberlain_vault::seal::Sealed;
use chamberlain_vault::vault::Vault;

use super::{BackupFault, BackupFaultKind, archive, folder, make};
use crate::checkpoint;

/// A manifest is a page; more than this is something else.
const MANIFEST_BYTES_MAX: u64 = 1 << 20;

/// How a backup is decrypted.
pub enum Opening<'a> {
    /// With these identities.
    Age(&'a Identities),
    /// It was decrypted before, by `gpg` or `age`: it is the archive itself.
    Decrypted,
}

/// A backup whose files lie unpacked in a folder, not yet believed.
#[derive(Clone, Debug)]
pub struct Unpacked {
    /// The signed manifest.
    pub note: String,
    /// What it claims.
    pub claimed: Manifest,
    /// The store.
    pub store: PathBuf,
}

/// Decrypts and unpacks the backup at `path` (`-` is standard input) into `into`.
///
/// # Errors
/// [`BackupFault`], telling what is missing, damaged, or not for these identities.
pub fn unpack(path: &Path, opening: &Opening<'_>, into: &Path) -> Result<Unpacked, BackupFault> {
    if path == Path::new("-") {
        return unpack_from(BufReader::new(io::stdin().lock()), opening, into);
    }
    // A changed byte among the recipients would look like a wrong identity.
    if folder::is_as_written(path)? == Some(false) {
        return Err(BackupFault::corrupt("its SHA-256 is not the one written beside it"));
    }
    let file = File::open(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            let message = format!("there is no backup at {}", path.display());
            BackupFault::new(BackupFaultKind::Missing, message).hint("chamberlain backup list")
        }
        _ => BackupFault::file(path, &error),
    })?;
    unpack_from(BufReader::with_capacity(1 << 20, file), opening, into)
}

fn unpack_from(
    mut from: impl BufRead,
    opening: &Opening<'_>,
    into: &Path,
) -> Result<Unpacked, BackupFault> {
    let begins = from.fill_buf().map_err(|error| of_open(error.into()))?;
    let is_age = begins.starts_with(MAGIC);
    match opening {
        Opening::Decrypted if is_age => Err(BackupFault::failed("the backup is still encrypted")
            .hint("leave --decrypted out, and name the identity with --identity")),
        Opening::Decrypted => read(from, into),
        Opening::Age(_) if begins.first().is_some_and(|byte| byte & 0x80 != 0) => {
            Err(BackupFault::failed("the backup is encrypted to OpenPGP keys").hint(
                "gpg --decrypt FILE | chamberlain backup restore - --decrypted; the same with verify",
            ))
        }
        Opening::Age(identities) => {
            read(identities.decrypt(from).map_err(of_open)?, into)
        }
    }
}

/// Reads the archive to its very end.
fn read(mut from: impl Read, into: &Path) -> Result<Unpacked, BackupFault> {
    let of = |error: io::Error| of_open(error.into());
    let bytes = archive::next(&mut from, manifest::MANIFEST).map_err(of)?;
    if bytes > MANIFEST_BYTES_MAX {
        return Err(BackupFault::corrupt("its manifest is no manifest"));
    }
    let mut note = Vec::new();
    archive::content(&mut from, bytes, &mut note).map_err(of)?;
    let note =
        String::from_utf8(note).map_err(|_| BackupFault::corrupt("its manifest is no text"))?;
    let claimed = Manifest::unverified(&note).map_err(of_manifest)?;
    let bytes = archive::next(&mut from, manifest::STORE).map_err(of)?;
    let store = into.join(manifest::STORE);
    let mut options = OpenOptions::new();
    let opened = options.write(true).create_new(true).mode(0o600).open(&store);
    let mut out = opened.map_err(|error| BackupFault::file(&store, &error))?;
    archive::content(&mut from, bytes, &mut out).map_err(of)?;
    archive::finish(&mut from).map_err(of)?;
    out.sync_all().map_err(|error| BackupFault::file(&store, &error))?;
    let sum = folder::sum_of(&store).map_err(|error| BackupFault::file(&store, &error))?;
    if bytes != claimed.store.bytes || sum != claimed.store.sha256 {
        return Err(BackupFault::corrupt("the store in it is not the one its manifest speaks of"));
    }
    Ok(Unpacked { note, claimed, store })
}

/// Holds an unpacked backup against the vault that the master key opened: who signed it, whether
/// the store is whole and has what is claimed, and whether every key in it opens.
///
/// # Errors
/// [`BackupFault`], telling damage from a backup of another house.
pub fn check(unpacked: &Unpacked, vault: &Vault) -> Result<SnapshotFacts, BackupFault> {
    let signer = checkpoint::signer(vault).map_err(BackupFault::failed)?;
    if unpacked.claimed.vault != vault.id() {
        let message = format!(
            "the backup is of vault {}, and the master key of vault {}",
            unpacked.claimed.vault,
            vault.id()
        );
        return Err(BackupFault::new(BackupFaultKind::Foreign, message)
            .hint("take a backup of this house, or the master key of that one"));
    }
    let manifest = Manifest::open(&unpacked.note, &signer).map_err(of_manifest)?;
    let damaged = |fault: chamberlain_store::StoreFault| BackupFault::corrupt(fault);
    snapshot::check_integrity(&unpacked.store).map_err(damaged)?;
    let facts = snapshot::inspect(&unpacked.store).map_err(|fault| match fault {
        chamberlain_store::StoreFault::NewerSchema { .. } => BackupFault::failed(fault.to_string()),
        other => damaged(other),
    })?;
    let same = make::log_facts(&facts) == manifest.audit && make::counts(&facts) == manifest.counts;
    if !same || facts.schema != manifest.schema {
        return Err(BackupFault::corrupt("it does not hold as much as its manifest says"));
    }
    every_key_opens(&unpacked.store, vault)?;
    Ok(facts)
}

fn every_key_opens(store: &Path, vault: &Vault) -> Result<(), BackupFault> {
    for key in snapshot::sealed_keys(store).map_err(BackupFault::corrupt)? {
        let wrong = |what: String| BackupFault::corrupt(format!("upstream key {}: {what}", key.id));
        let sealed = Sealed::from_bytes(key.sealed).map_err(|error| wrong(error.to_string()))?;
        let id = UpstreamKeyId::new(key.id.clone());
        let opened = vault.open_upstream_key(&id, &sealed);
        let opened = opened.map_err(|error| wrong(error.to_string()))?;
        if opened.fingerprint().as_str() != key.fingerprint {
            return Err(wrong("it is another key than its fingerprint says".to_owned()));
        }
    }
    Ok(())
}

fn of_open(error: OpenError) -> BackupFault {
    match error {
        OpenError::WrongIdentity => BackupFault::new(
            BackupFaultKind::WrongKey,
            "none of the identities can read this backup",
        )
        .hint(
            "name the identity of one of its recipients with --identity; if you are sure \
                     that it is one, the backup's head is damaged",
        ),
        OpenError::Damaged(what) => BackupFault::corrupt(what),
        OpenError::Unreadable(error) => BackupFault::failed(format!("the backup: {error}")),
    }
}

fn of_manifest(error: ManifestError) -> BackupFault {
    match error {
        ManifestError::Format(_) => BackupFault::failed(error.to_string()),
        ManifestError::Signature(NoteError::Untrusted { .. }) => {
            BackupFault::new(BackupFaultKind::Foreign, error.to_string())
                .hint("whoever made it does not have the key of this house: do not put it back")
        }
        ManifestError::Signature(_) | ManifestError::Unreadable(_) => BackupFault::corrupt(error),
    }
}

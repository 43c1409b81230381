//! Signed heads of the audit log: who signs them, and the file they are also kept in.
//!
//! A checkpoint that lies beside the log proves little: whoever rolls back the one can roll back
//! the other. The anchor file is meant for another machine (a mounted share, an append-only log).

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use chamberlain_core::audit::checkpoint::Checkpoint;
use chamberlain_core::audit::note::VerifierKey;
use chamberlain_vault::vault::Vault;
use sha2::{Digest, Sha256};

/// More than the longest note.
const TAIL_BYTES: u64 = 16 * 1024;

/// The key that this vault's checkpoints are signed with. Its name, which is also the log's origin,
/// follows from the key, so two installations never share one.
///
/// # Errors
/// Never with a key the vault made; the reason is for completeness.
pub fn signer(vault: &Vault) -> Result<VerifierKey, String> {
    let public = vault.audit_public_key();
    let digest = Sha256::digest(public);
    let id: String = digest[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    VerifierKey::new(&format!("chamberlain/{id}"), &public).map_err(|error| error.to_string())
}

/// Takes a text apart into signed notes: one, or many with blank lines between them, as the anchor
/// file has them.
pub fn notes(text: &str) -> Vec<String> {
    let mut notes = Vec::new();
    let mut body = None;
    for part in text.split("\n\n") {
        let part = part.trim_matches('\n');
        match body.take() {
            None if part.is_empty() => {}
            None => body = Some(part),
            Some(body) => notes.push(format!("{body}\n\n{part}\n")),
        }
    }
    // What has no signatures is no note; whoever reads it says so.
    notes.extend(body.map(|body| format!("{body}\n")));
    notes
}

/// Appends to the anchor file every checkpoint that it does not have yet. `checkpoints` are sizes
/// and notes, the smallest first.
///
/// # Errors
/// When the file cannot be read or written.
pub fn anchor(path: &Path, checkpoints: &[(u64, String)]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let mut file = options.read(true).append(true).create(true).mode(0o600).open(path)?;
    let anchored = last_size(&mut file)?;
    let mut missing = String::new();
    for (size, note) in checkpoints {
        if anchored.is_none_or(|anchored| *size > anchored) {
            missing.push_str(note);
            missing.push('\n');
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    file.write_all(missing.as_bytes())?;
    file.sync_data()
}

/// The size that the last checkpoint in the file speaks of.
fn last_size(file: &mut File) -> io::Result<Option<u64>> {
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
    let mut tail = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut tail)?;
    let tail = String::from_utf8_lossy(&tail);
    let size = |part: &str| Some(Checkpoint::from_text(&format!("{}\n", part.trim()))?.size);
    Ok(tail.split("\n\n").filter_map(size).last())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(size: u64) -> String {
        let checkpoint = Checkpoint { origin: "chamberlain/x".into(), size, root: [7; 32] };
        format!("{}\n\u{2014} chamberlain/x c2lnbmF0dXJl\n", checkpoint.text())
    }

    #[test]
    fn the_anchor_file_gets_what_it_does_not_have() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("anchors");
        let upto = |last: u64| (1..=last).map(|size| (size, note(size))).collect::<Vec<_>>();
        anchor(&path, &upto(3)).unwrap();
        anchor(&path, &upto(3)).unwrap();
        anchor(&path, &upto(200)).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let expected: Vec<String> = upto(200).into_iter().map(|(_, note)| note).collect();
        assert_eq!(notes(&text), expected);
    }

    #[test]
    fn a_file_with_something_else_in_it_is_added_to() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("anchors");
        std::fs::write(&path, "heads of our log\n\n").unwrap();
        anchor(&path, &[(5, note(5))]).unwrap();
        anchor(&path, &[(5, note(5)), (6, note(6))]).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text, format!("heads of our log\n\n{}\n{}\n", note(5), note(6)));
    }

    #[test]
    fn one_note_is_one_note() {
        assert_eq!(notes(&note(4)), [note(4)]);
        assert_eq!(notes(""), Vec::<String>::new());
        assert_eq!(notes("rubbish"), ["rubbish\n"]);
    }
}

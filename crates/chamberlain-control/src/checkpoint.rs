//! Signed heads of the audit log: who signs them, and the file they are also kept in.
//!
//! A checkpoint that lies beside the log proves little: whoever rolls back the one can roll back
//! the other. The anchor file is meant for another machine (a mounted share, an append-only log).

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

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

/// The signed heads in an anchor file's text, in their order. What else is in it is passed over.
pub fn anchored(text: &str) -> Vec<String> {
    let parts: Vec<&str> = text.split("\n\n").map(|part| part.trim_matches('\n')).collect();
    let is_head = |part: &str| Checkpoint::from_text(&format!("{part}\n")).is_some();
    let pairs = parts.windows(2).filter(|pair| is_head(pair[0]));
    pairs.map(|pair| format!("{}\n\n{}\n", pair[0], pair[1])).collect()
}

/// The text of an anchor file, nothing when there is none yet.
///
/// # Errors
/// When it is there and cannot be read, naming it.
pub fn read_anchors(path: &Path) -> io::Result<String> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(named(path, &error)),
    }
}

/// The anchor file, open at its end.
pub struct Anchor {
    path: PathBuf,
    file: File,
    size: Option<u64>,
    last: Option<String>,
}

impl Anchor {
    /// Opens the file, making it when it is missing.
    ///
    /// # Errors
    /// When that is not possible, naming the file.
    pub fn open(path: &Path) -> io::Result<Anchor> {
        let mut options = OpenOptions::new();
        options.read(true).append(true).create(true).mode(0o600);
        let opened = options.open(path).and_then(|mut file| Ok((tail(&mut file)?, file)));
        let (tail, file) = opened.map_err(|error| named(path, &error))?;
        let (size, last) = (last_size(&tail), anchored(&tail).pop());
        Ok(Anchor { path: path.to_owned(), file, size, last })
    }

    /// The last signed head in the file as it was opened.
    pub fn last(&self) -> Option<&str> {
        self.last.as_deref()
    }

    /// The size that the last checkpoint in the file speaks of.
    pub fn size(&self) -> Option<u64> {
        self.size
    }

    /// Appends checkpoints, sizes and notes, durably.
    ///
    /// # Errors
    /// When the file cannot be written, naming it.
    pub fn append<'a>(
        &mut self,
        checkpoints: impl Iterator<Item = (u64, &'a [u8])>,
    ) -> io::Result<()> {
        let (mut bytes, mut size) = (Vec::new(), self.size);
        for (over, note) in checkpoints {
            bytes.extend_from_slice(note);
            bytes.push(b'\n');
            size = Some(over);
        }
        let written = self.file.write_all(&bytes).and_then(|()| self.file.sync_data());
        written.map_err(|error| named(&self.path, &error))?;
        self.size = size;
        Ok(())
    }
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// The end of the file, long enough for the last note.
fn tail(file: &mut File) -> io::Result<String> {
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
    let mut tail = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut tail)?;
    Ok(String::from_utf8_lossy(&tail).into_owned())
}

/// The size that the last checkpoint in a text speaks of.
fn last_size(text: &str) -> Option<u64> {
    let size = |part: &str| Some(Checkpoint::from_text(&format!("{}\n", part.trim()))?.size);
    text.split("\n\n").filter_map(size).last()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(size: u64) -> String {
        let checkpoint = Checkpoint { origin: "chamberlain/x".into(), size, root: [7; 32] };
        format!("{}\n\u{2014} chamberlain/x c2lnbmF0dXJl\n", checkpoint.text())
    }

    fn append(path: &Path, sizes: std::ops::RangeInclusive<u64>) {
        let notes: Vec<(u64, String)> = sizes.map(|size| (size, note(size))).collect();
        let mut anchor = Anchor::open(path).unwrap();
        anchor.append(notes.iter().map(|(size, note)| (*size, note.as_bytes()))).unwrap();
        assert_eq!(anchor.size(), notes.last().map(|(size, _)| *size));
    }

    #[test]
    fn the_anchor_file_knows_where_it_ends() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("anchors");
        assert_eq!(Anchor::open(&path).unwrap().size(), None);
        append(&path, 1..=3);
        assert_eq!(Anchor::open(&path).unwrap().size(), Some(3));
        append(&path, 4..=200);
        assert_eq!(Anchor::open(&path).unwrap().size(), Some(200));
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(notes(&text), (1..=200).map(note).collect::<Vec<_>>());
    }

    #[test]
    fn a_file_with_something_else_in_it_is_added_to() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("anchors");
        std::fs::write(&path, "heads of our log\n\n").unwrap();
        append(&path, 5..=6);
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text, format!("heads of our log\n\n{}\n{}\n", note(5), note(6)));
        assert_eq!(anchored(&text), [note(5), note(6)]);
        assert_eq!(Anchor::open(&path).unwrap().last(), Some(note(6).as_str()));
        let gone = Anchor::open(&folder.path().join("no/such/folder")).err().unwrap();
        assert!(gone.to_string().contains("no/such/folder"), "{gone}");
    }

    #[test]
    fn one_note_is_one_note() {
        assert_eq!(notes(&note(4)), [note(4)]);
        assert_eq!(notes(""), Vec::<String>::new());
        assert_eq!(notes("rubbish"), ["rubbish\n"]);
    }
}

//! The intake: what calls hand over is appended here at once, and moved into the tables a moment
//! later, many at a time.
//!
//! One plain append is all that a call waits for. It survives the death of the process as the
//! tables would, and costs a small part of a transaction. What a start finds here and not yet in
//! the tables it moves there before anything else. Nothing here is for readers, and nothing is
//! kept here for long: there are two files, and one is emptied when all of it is in the tables.
//!
//! A file is a row of frames: length of the content, number of its first entry, number of
//! entries, check, content. The check is the beginning of the SHA-256 of all the rest, so a frame
//! that was cut short or damaged is none. A content is the entries one after another, each with its
//! length, packed as `pack.rs` says.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use chamberlain_core::record::{Intent, Notice, Settlement};
use sha2::{Digest, Sha256};

use self::pack::Pack;
use crate::fault::StoreFault;
use crate::file;

mod pack;

/// What the names of the two files end with.
pub(crate) const SUFFIXES: [&str; 2] = [".intake-0", ".intake-1"];

/// From this size on the other file is used as soon as it is free, bytes.
const FILE_BYTES: u64 = 4 * 1024 * 1024;

/// Length, first number, count, check.
const HEAD_BYTES: usize = 4 + 8 + 4 + CHECK_BYTES;
const CHECK_BYTES: usize = 16;

/// Kinds of entries.
const INTENT: u8 = 1;
const SETTLEMENT: u8 = 2;
const NOTICE: u8 = 3;

/// What is written to see whether anything can be.
const PROBE_BYTES: usize = 16 * 1024;

/// What is written here.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Entry<'a> {
    Intent(&'a Intent),
    Settlement(&'a Settlement),
    Notice(&'a Notice),
}

/// What a start finds here.
#[derive(Debug)]
pub(crate) enum Found {
    Intent(Arc<Intent>),
    Settlement(Arc<Settlement>),
    Notice(Box<Notice>),
}

/// Entries that wait to be written together.
#[derive(Debug)]
pub(crate) struct Frame {
    /// Room for the head, then the content.
    bytes: Vec<u8>,
    count: u32,
}

impl Default for Frame {
    fn default() -> Frame {
        Frame { bytes: vec![0; HEAD_BYTES], count: 0 }
    }
}

impl Frame {
    /// Adds an entry to the end.
    pub(crate) fn push(&mut self, entry: Entry<'_>) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 4]);
        match entry {
            Entry::Intent(intent) => {
                self.bytes.push(INTENT);
                intent.pack(&mut self.bytes);
            }
            Entry::Settlement(settlement) => {
                self.bytes.push(SETTLEMENT);
                settlement.pack(&mut self.bytes);
            }
            Entry::Notice(notice) => {
                self.bytes.push(NOTICE);
                notice.pack(&mut self.bytes);
            }
        }
        let length = u32::try_from(self.bytes.len() - start - 4).unwrap_or(u32::MAX);
        self.bytes[start..start + 4].copy_from_slice(&length.to_le_bytes());
        self.count += 1;
    }

    /// True when there is nothing to write.
    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// How many entries there are.
    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    /// Makes it empty and keeps its memory.
    pub(crate) fn clear(&mut self) {
        self.bytes.truncate(HEAD_BYTES);
        self.count = 0;
    }

    /// The bytes to be written, where the first entry has the number `first`.
    fn seal(&mut self, first: u64) -> &[u8] {
        let length = u32::try_from(self.bytes.len() - HEAD_BYTES).unwrap_or(u32::MAX);
        let (head, content) = self.bytes.split_at_mut(HEAD_BYTES);
        let (fields, check) = head.split_at_mut(HEAD_BYTES - CHECK_BYTES);
        fields[..4].copy_from_slice(&length.to_le_bytes());
        fields[4..12].copy_from_slice(&first.to_le_bytes());
        fields[12..].copy_from_slice(&self.count.to_le_bytes());
        check.copy_from_slice(&check_of(fields, content));
        &self.bytes
    }
}

fn check_of(fields: &[u8], content: &[u8]) -> [u8; CHECK_BYTES] {
    let mut hasher = Sha256::new();
    hasher.update(fields);
    hasher.update(content);
    let hash: [u8; 32] = hasher.finalize().into();
    *hash.first_chunk().expect("a hash is longer than its beginning")
}

/// One of the two files.
#[derive(Debug)]
struct Half {
    file: File,
    /// Where the next frame goes, bytes.
    end: u64,
    /// The number after its last entry.
    next: u64,
}

/// The two files, open for writing.
#[derive(Debug)]
pub(crate) struct Intake {
    halves: [Half; 2],
    current: usize,
}

impl Intake {
    /// Opens the files and empties them: whatever they held must be in the tables, durably.
    pub(crate) fn open(path: &Path) -> Result<Intake, StoreFault> {
        let open = |suffix| {
            let path = file::beside(path, suffix);
            let file = file::private(&path)?;
            // On the disk, too: after a power loss numbers are given anew, and two of them in a row
            // must not bring back what the first one took.
            file.set_len(0)
                .and_then(|()| file.sync_all())
                .map_err(|error| file::unusable(&path, &error))?;
            Ok::<_, StoreFault>(Half { file, end: 0, next: 0 })
        };
        Ok(Intake { halves: [open(SUFFIXES[0])?, open(SUFFIXES[1])?], current: 0 })
    }

    /// Appends a frame whose first entry has the number `first`. Everything below `moved` is in
    /// the tables.
    ///
    /// # Errors
    /// When it cannot be written; nothing of it counts then.
    pub(crate) fn append(
        &mut self,
        frame: &mut Frame,
        first: u64,
        moved: u64,
    ) -> Result<(), StoreFault> {
        self.turn(moved);
        let half = &mut self.halves[self.current];
        let bytes = frame.seal(first);
        half.file.write_all_at(bytes, half.end).map_err(|error| fault(&error))?;
        half.end += bytes.len() as u64;
        half.next = first + u64::from(frame.count);
        Ok(())
    }

    /// An intake on a disk without room.
    #[cfg(test)]
    pub(crate) fn full() -> Intake {
        let full = || File::options().write(true).open("/dev/full").expect("a device of Linux");
        let half = || Half { file: full(), end: 0, next: 0 };
        Intake { halves: [half(), half()], current: 0 }
    }

    /// Sees whether a frame could be appended, by appending one of blanks without an entry.
    pub(crate) fn probe(&mut self) -> Result<(), StoreFault> {
        let half = &mut self.halves[self.current];
        let mut frame = Frame::default();
        frame.bytes.resize(HEAD_BYTES + PROBE_BYTES, b' ');
        half.file.write_all_at(frame.seal(half.next), half.end).map_err(|error| fault(&error))
    }

    /// Goes on in the other file when this one is long enough and the other one is free.
    fn turn(&mut self, moved: u64) {
        let other = 1 - self.current;
        if self.halves[self.current].end < FILE_BYTES || self.halves[other].next > moved {
            return;
        }
        match self.halves[other].file.set_len(0) {
            Ok(()) => {
                self.halves[other].end = 0;
                self.current = other;
            }
            Err(error) => tracing::warn!(%error, "a file of the intake could not be emptied"),
        }
    }
}

fn fault(error: &io::Error) -> StoreFault {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreFault::DiskFull,
        _ => StoreFault::Io(format!("the intake: {error}")),
    }
}

/// Reads, in order, what the last run of the store at `path` handed over and did not move into
/// the tables: the entries from number `next` on without a gap. After a gap nothing counts: what
/// follows was decided with what is missing.
///
/// # Errors
/// When a file cannot be read, or an entry is of another version of Chamberlain.
pub(crate) fn left_over(path: &Path, next: u64) -> Result<Vec<Found>, StoreFault> {
    let files = [contents(path, SUFFIXES[0])?, contents(path, SUFFIXES[1])?];
    let mut frames: Vec<_> = files.iter().flat_map(|bytes| frames_of(bytes)).collect();
    frames.sort_by_key(|frame| frame.first);
    let (mut found, mut next) = (Vec::new(), next);
    for Whole { first, count, mut content } in frames {
        for number in first..first + u64::from(count) {
            if number > next {
                tracing::warn!(entries = number - next, "a part of the intake is missing");
                return Ok(found);
            }
            let entry = entry(&mut content).ok_or_else(unreadable)?;
            if number == next {
                found.push(read(entry).ok_or_else(unreadable)?);
                next += 1;
            }
        }
    }
    Ok(found)
}

/// The bytes of a file, none when it is not there.
fn contents(path: &Path, suffix: &str) -> Result<Vec<u8>, StoreFault> {
    let path = file::beside(path, suffix);
    match fs::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        read => read.map_err(|error| file::unusable(&path, &error)),
    }
}

fn unreadable() -> StoreFault {
    StoreFault::Damaged(
        "the intake holds an entry that this version cannot read; start the version that wrote it \
         once"
            .to_owned(),
    )
}

/// Takes the bytes of the next entry of a content.
fn entry<'a>(content: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = u32::unpack(content)? as usize;
    let (entry, rest) = content.split_at_checked(length)?;
    *content = rest;
    Some(entry)
}

fn read(mut entry: &[u8]) -> Option<Found> {
    let from = &mut entry;
    let found = match u8::unpack(from)? {
        INTENT => Found::Intent(Pack::unpack(from)?),
        SETTLEMENT => Found::Settlement(Pack::unpack(from)?),
        NOTICE => Found::Notice(Pack::unpack(from)?),
        _ => return None,
    };
    from.is_empty().then_some(found)
}

/// A frame that was found whole.
struct Whole<'a> {
    first: u64,
    count: u32,
    content: &'a [u8],
}

/// The whole frames that a file begins with.
fn frames_of(mut bytes: &[u8]) -> Vec<Whole<'_>> {
    let mut frames = Vec::new();
    while let Some(frame) = frame(&mut bytes) {
        frames.push(frame);
    }
    frames
}

/// Takes the next frame, if it is whole.
fn frame<'a>(bytes: &mut &'a [u8]) -> Option<Whole<'a>> {
    let fields = bytes.get(..HEAD_BYTES - CHECK_BYTES)?;
    let (length, first, count) = (u32::unpack(bytes)?, u64::unpack(bytes)?, u32::unpack(bytes)?);
    let (check, rest) = bytes.split_first_chunk()?;
    let (content, rest) = rest.split_at_checked(length as usize)?;
    *bytes = rest;
    (check_of(fields, content) == *check).then_some(Whole { first, count, content })
}

#[cfg(test)]
mod tests;

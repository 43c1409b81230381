//! What is encrypted: a tar archive of two files, the manifest and the store, so that `tar x` unpacks
//! it on a machine that has nothing of ours.
//!
//! The reader takes exactly what the writer writes, and nothing else that tar knows: no other names,
//! no folders, no links, nothing behind the end.

use std::io::{self, Read, Write};

const BLOCK: usize = 512;

/// The most that fits into eleven octal digits.
const OCTAL_MAX: u64 = 0o777_7777_7777;

/// Begins a file of that name and size; `mtime_s` is in seconds since 1970.
fn header(name: &str, bytes: u64, mtime_s: u64) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    let mut put = |at: usize, text: &[u8]| block[at..at + text.len()].copy_from_slice(text);
    put(0, name.as_bytes());
    put(100, b"0000600\0");
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    match bytes {
        0..=OCTAL_MAX => put(124, format!("{bytes:011o}\0").as_bytes()),
        // As GNU tar writes what is larger: the highest bit, and the number in bytes.
        _ => {
            put(124, &[0x80, 0, 0, 0]);
            put(128, &bytes.to_be_bytes());
        }
    }
    put(136, format!("{:011o}\0", mtime_s.min(OCTAL_MAX)).as_bytes());
    put(148, b"        ");
    put(156, b"0");
    put(257, b"ustar\x0000");
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

fn padding(bytes: u64) -> usize {
    // Less than a block.
    (BLOCK - (bytes % BLOCK as u64) as usize) % BLOCK
}

/// Writes one file into an archive.
///
/// # Errors
/// When it cannot be read or written, or `from` has not `bytes`.
pub fn write(
    out: &mut (impl Write + ?Sized),
    name: &str,
    bytes: u64,
    mtime_s: u64,
    from: &mut impl Read,
) -> io::Result<()> {
    out.write_all(&header(name, bytes, mtime_s))?;
    let copied = io::copy(&mut from.take(bytes), out)?;
    if copied != bytes {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "a file became shorter"));
    }
    out.write_all(&[0; BLOCK][..padding(bytes)])
}

/// Ends an archive.
///
/// # Errors
/// When it cannot be written.
pub fn end(out: &mut (impl Write + ?Sized)) -> io::Result<()> {
    out.write_all(&[0; 2 * BLOCK])
}

/// Reads the head of the next file, which must be of that name, and gives its size.
///
/// # Errors
/// When something else stands there ([`io::ErrorKind::InvalidData`]), or it cannot be read.
pub fn next(from: &mut impl Read, name: &str) -> io::Result<u64> {
    let mut found = [0; BLOCK];
    from.read_exact(&mut found)?;
    let number = |field: &[u8]| match field[0] {
        0x80 => field.last_chunk().map(|bytes| u64::from_be_bytes(*bytes)),
        _ => std::str::from_utf8(&field[..11])
            .ok()
            .and_then(|text| u64::from_str_radix(text, 8).ok()),
    };
    let (bytes, mtime_s) = (number(&found[124..136]), number(&found[136..148]));
    match (bytes, mtime_s) {
        (Some(bytes), Some(mtime_s)) if header(name, bytes, mtime_s) == found => Ok(bytes),
        _ => Err(invalid(format!("{name} does not stand where it should"))),
    }
}

/// Copies the content of a file of `bytes`, and takes the filling behind it.
///
/// # Errors
/// When it is cut short, the filling is none, or it cannot be read or written.
pub fn content(from: &mut impl Read, bytes: u64, to: &mut impl Write) -> io::Result<()> {
    let copied = io::copy(&mut from.take(bytes), to)?;
    if copied != bytes {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it ends too early"));
    }
    zeros(from, padding(bytes))
}

/// Takes the end of an archive. Nothing may come after it.
///
/// # Errors
/// When something else stands there, or it cannot be read.
pub fn finish(from: &mut impl Read) -> io::Result<()> {
    zeros(from, 2 * BLOCK)?;
    match from.read(&mut [0])? {
        0 => Ok(()),
        _ => Err(invalid("something stands behind its end".to_owned())),
    }
}

fn zeros(from: &mut impl Read, count: usize) -> io::Result<()> {
    let mut found = [0; 2 * BLOCK];
    from.read_exact(&mut found[..count])?;
    match found.iter().all(|byte| *byte == 0) {
        true => Ok(()),
        false => Err(invalid("its filling is none".to_owned())),
    }
}

fn invalid(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive() -> Vec<u8> {
        let mut out = Vec::new();
        write(&mut out, "one", 3, 1_763_960_000, &mut &b"abc"[..]).unwrap();
        write(&mut out, "two", 512, 0, &mut &[7; 512][..]).unwrap();
        end(&mut out).unwrap();
        out
    }

    fn read(mut from: &[u8]) -> io::Result<(Vec<u8>, Vec<u8>)> {
        let (mut one, mut two) = (Vec::new(), Vec::new());
        let bytes = next(&mut from, "one")?;
        content(&mut from, bytes, &mut one)?;
        let bytes = next(&mut from, "two")?;
        content(&mut from, bytes, &mut two)?;
        finish(&mut from)?;
        Ok((one, two))
    }

    #[test]
    fn what_was_written_is_read_and_nothing_else() {
        let whole = archive();
        assert_eq!(read(&whole).unwrap(), (b"abc".to_vec(), vec![7; 512]));
        for cut in 0..whole.len() {
            assert!(read(&whole[..cut]).is_err(), "cut at {cut}");
        }
        assert!(read(&[&whole[..], &[0]].concat()).is_err());
        // All but the contents and the times, which the manifest and nothing answers for.
        let free = |at: usize| (512..515).contains(&at) || (1536..2048).contains(&at);
        let time = |at: usize| [0, 1024].iter().any(|head| (head + 136..head + 156).contains(&at));
        for at in (0..whole.len()).filter(|at| !free(*at) && !time(*at)) {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            assert!(read(&changed).is_err(), "byte {at}");
        }
    }

    #[test]
    fn stock_tar_reads_it() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.tar"), archive()).unwrap();
        let tar = |words: &[&str]| {
            let mut tar = std::process::Command::new("tar");
            tar.current_dir(folder.path()).args(words).output().unwrap()
        };
        let listed = tar(&["tf", "a.tar"]);
        assert_eq!(String::from_utf8_lossy(&listed.stdout), "one\ntwo\n");
        assert!(tar(&["xf", "a.tar"]).status.success());
        assert_eq!(std::fs::read(folder.path().join("one")).unwrap(), b"abc");
    }

    #[test]
    fn large_files_have_their_size() {
        for bytes in [OCTAL_MAX, OCTAL_MAX + 1, 1 << 40] {
            let head = header("one", bytes, 0);
            assert_eq!(next(&mut &head[..], "one").unwrap(), bytes);
        }
    }
}

//! The master key: what an operator gives so that the vault opens.
//!
//! It comes as 256 random bits in a file, an environment value or a systemd credential, or as a
//! passphrase that Argon2id turns into as many. All file access of the vault is here, and all of it
//! is reading.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use argon2::{Algorithm, Argon2, Block, Params, Version};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use chamberlain_core::secret::Secret;
use chamberlain_core::time::Entropy;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

use crate::derive::Key;

/// What a master key in its own text form begins with.
const PREFIX: &str = "chm_master_";

/// A master key file is one line; anything longer is another file.
const FILE_BYTES_MAX: usize = 4096;

/// Passphrases shorter than this are refused.
pub const PASSPHRASE_CHARS_MIN: usize = 12;

/// The master key or passphrase, as given.
pub struct Master(Given);

enum Given {
    Key(Key),
    Passphrase(Secret),
}

impl fmt::Debug for Master {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[master key]")
    }
}

/// Why no master key was got. None of these says anything of what was given.
#[derive(Debug, thiserror::Error)]
pub enum MasterError {
    /// Not one of the forms of a master key.
    #[error(
        "this is not a master key: give the text that began with chm_master_, or 256 random bits as \
         64 hexadecimal digits or 44 base64 characters (openssl rand -base64 32)"
    )]
    Form,
    /// The same byte over and over.
    #[error(
        "this master key is not random (all its bytes are the same); make one with openssl rand -base64 32"
    )]
    NotRandom,
    /// The passphrase is too short.
    #[error(
        "the passphrase has fewer than {PASSPHRASE_CHARS_MIN} characters; five random words are a good one"
    )]
    ShortPassphrase,
    /// There is no such file.
    #[error("there is no master key file at {}; restore it from your backup, or point to where it is", .0.display())]
    NoFile(PathBuf),
    /// The path is not a plain file.
    #[error("{} is not a plain file", .0.display())]
    NotAFile(PathBuf),
    /// Others may read the file.
    #[error(
        "others can read the master key file {} (mode {mode:o}): run chmod 600 {0}, and if anyone \
         may have read it, change the master key (chamberlain vault rekey)", path.display()
    )]
    Readable {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file cannot be read.
    #[error("the master key file {} cannot be read: {reason}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        reason: std::io::Error,
    },
    /// The settings of Argon2id are out of bounds, or it got no memory.
    #[error("the passphrase cannot be turned into a key: {0}")]
    Passphrase(&'static str),
}

impl Master {
    /// Makes a new master key from randomness: the text to be kept in a file of mode 0600. Read it
    /// with [`Master::from_text`].
    pub fn generate(entropy: &dyn Entropy) -> Secret {
        let mut key = Key::default();
        entropy.fill(&mut key[..]);
        // Encoded straight into one buffer, so that no piece of it stays behind.
        let mut text = Zeroizing::new(vec![0; PREFIX.len() + 43]);
        text[..PREFIX.len()].copy_from_slice(PREFIX.as_bytes());
        let written = URL_SAFE_NO_PAD.encode_slice(&key[..], &mut text[PREFIX.len()..]);
        debug_assert_eq!(written, Ok(43));
        let text = String::from_utf8(std::mem::take(&mut *text));
        Secret::new(text.expect("base64 is ASCII"))
    }

    /// Reads a master key in its text form, such as the value of an environment variable. Space
    /// around it does not matter.
    ///
    /// # Errors
    /// When it is not one of the forms, or plainly not random.
    pub fn from_text(text: &Secret) -> Result<Master, MasterError> {
        let key = decode(text.expose().trim()).ok_or(MasterError::Form)?;
        if key.iter().all(|byte| *byte == key[0]) {
            return Err(MasterError::NotRandom);
        }
        Ok(Master(Given::Key(key)))
    }

    /// Takes a passphrase. The line end that a prompt or file leaves does not count; every other
    /// character, spaces too, does.
    ///
    /// # Errors
    /// When it is too short.
    pub fn from_passphrase(text: &Secret) -> Result<Master, MasterError> {
        let text = text.expose().trim_end_matches(['\r', '\n']);
        if text.trim().chars().count() < PASSPHRASE_CHARS_MIN {
            return Err(MasterError::ShortPassphrase);
        }
        Ok(Master(Given::Passphrase(Secret::new(text.to_owned()))))
    }

    /// Reads a master key file, which nobody but its owner may read.
    ///
    /// # Errors
    /// When it is missing, readable for others, or not a master key.
    pub fn from_file(path: &Path) -> Result<Master, MasterError> {
        Master::from_text(&read(path, 0o077)?)
    }

    /// Reads a systemd credential (a file under `$CREDENTIALS_DIRECTORY`). Systemd may hand it over
    /// through an access list, which shows as a readable group, so only the world is shut out here.
    ///
    /// # Errors
    /// As [`Master::from_file`].
    pub fn from_credential(path: &Path) -> Result<Master, MasterError> {
        Master::from_text(&read(path, 0o007)?)
    }

    /// Whether this is a passphrase.
    pub(crate) fn is_passphrase(&self) -> bool {
        matches!(self.0, Given::Passphrase(_))
    }

    /// Settings for making a new root key from this: a salt, where it is a passphrase.
    pub(crate) fn new_stretch(&self, entropy: &dyn Entropy) -> Option<Stretch> {
        self.is_passphrase().then(|| {
            let mut salt = [0; 16];
            entropy.fill(&mut salt);
            Stretch { salt: STANDARD.encode(salt), ..Stretch::default() }
        })
    }

    /// The root key. `None` when a passphrase needs settings that are not there, or the reverse.
    pub(crate) fn root(&self, stretch: Option<&Stretch>) -> Option<Result<Key, MasterError>> {
        match (&self.0, stretch) {
            (Given::Key(key), None) => Some(Ok(key.clone())),
            (Given::Passphrase(text), Some(stretch)) => Some(stretch.apply(text)),
            _ => None,
        }
    }
}

/// How a passphrase is turned into a key (Argon2id), kept in the clear beside what it protects.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stretch {
    /// Sixteen random bytes, base64.
    pub salt: String,
    /// Memory in KiB.
    pub memory_kib: u32,
    /// Passes over the memory.
    pub passes: u32,
    /// Lanes.
    pub lanes: u32,
}

impl Default for Stretch {
    /// The second choice of RFC 9106, for machines that have other work to do: 64 MiB, 3 passes.
    fn default() -> Stretch {
        Stretch { salt: String::new(), memory_kib: 64 * 1024, passes: 3, lanes: 4 }
    }
}

impl Stretch {
    fn apply(&self, passphrase: &Secret) -> Result<Key, MasterError> {
        // Stored settings are not trusted to be reasonable: they decide over time and memory.
        if self.memory_kib > 1024 * 1024 || self.passes > 16 || self.lanes > 16 {
            return Err(MasterError::Passphrase("its stored settings ask for too much work"));
        }
        let salt = STANDARD
            .decode(&self.salt)
            .map_err(|_| MasterError::Passphrase("its stored salt cannot be read"))?;
        let params = Params::new(self.memory_kib, self.passes, self.lanes, Some(32))
            .map_err(|_| MasterError::Passphrase("its stored settings are not valid"))?;
        let mut blocks = vec![Block::default(); params.block_count()];
        let mut key = Key::default();
        let done = Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into_with_memory(
                passphrase.expose().as_bytes(),
                &salt,
                &mut key[..],
                &mut blocks[..],
            );
        blocks.zeroize();
        done.map_err(|_| MasterError::Passphrase("its stored settings are not valid"))?;
        Ok(key)
    }
}

fn decode(text: &str) -> Option<Key> {
    let mut buffer = Zeroizing::new([0; 33]);
    let length = match text.strip_prefix(PREFIX) {
        Some(own) => URL_SAFE_NO_PAD.decode_slice(own, &mut buffer[..]).ok()?,
        None if text.len() == 64 => return decode_hex(text),
        None => STANDARD.decode_slice(text, &mut buffer[..]).ok()?,
    };
    let mut key = Key::default();
    key.copy_from_slice(buffer[..length].get(..32).filter(|_| length == 32)?);
    Some(key)
}

fn decode_hex(text: &str) -> Option<Key> {
    let mut key = Key::default();
    for (byte, pair) in key.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let digit = |place: usize| char::from(pair[place]).to_digit(16);
        *byte = u8::try_from(digit(0)? * 16 + digit(1)?).ok()?;
    }
    Some(key)
}

/// Reads a small file unless its mode has one of the bits of `closed`.
fn read(path: &Path, closed: u32) -> Result<Secret, MasterError> {
    let unreadable = |reason: std::io::Error| match reason.kind() {
        std::io::ErrorKind::NotFound => MasterError::NoFile(path.to_owned()),
        _ => MasterError::Unreadable { path: path.to_owned(), reason },
    };
    // A pipe at this place would block opening it for ever.
    if !std::fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(MasterError::NotAFile(path.to_owned()));
    }
    let mut file = File::open(path).map_err(unreadable)?;
    // Of the open file, not of whatever has the name by now.
    let mode = file.metadata().map_err(unreadable)?.permissions().mode() & 0o7777;
    if mode & closed != 0 {
        return Err(MasterError::Readable { path: path.to_owned(), mode });
    }
    let mut buffer = Zeroizing::new([0; FILE_BYTES_MAX]);
    let mut length = 0;
    loop {
        match file.read(&mut buffer[length..]).map_err(unreadable)? {
            0 => break,
            read => length += read,
        }
    }
    let text = std::str::from_utf8(&buffer[..length]).map_err(|_| MasterError::Form)?;
    Ok(Secret::new(text.to_owned()))
}

#[cfg(test)]
mod tests;

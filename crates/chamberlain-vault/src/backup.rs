//! Encrypting backups to age recipients, and opening them again.
//!
//! A *recipient* is public (`age1…`) and may stand in a configuration; whoever holds the *identity*
//! that belongs to it (`AGE-SECRET-KEY-1…`) can read what was encrypted to it. The format is age's
//! own (age-encryption.org/v1), so that stock `age` opens a backup on a machine that has nothing of
//! ours. Each chunk of 64 KiB is authenticated before a byte of it is handed on; who encrypted it is
//! said by the manifest inside, not here.

use std::fmt;
use std::io::{self, BufRead, Read, Write};

use age::x25519;
use chamberlain_core::secret::Secret;

/// What an age file begins with.
pub const MAGIC: &[u8] = b"age-encryption.org/v1";

/// Who can read a backup.
#[derive(Clone)]
pub struct Recipients(Vec<x25519::Recipient>);

impl fmt::Debug for Recipients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(ToString::to_string)).finish()
    }
}

/// Why something is no recipient or identity. Says nothing of what was given.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RecipientError {
    /// There is none.
    #[error("a backup needs somebody who can read it: name a recipient (age1…)")]
    None,
    /// Not of the form.
    #[error(
        "this is not an age recipient; it is the line that age-keygen prints after \"Public key:\" \
         and begins with age1"
    )]
    Recipient,
    /// An identity was given where a recipient belongs.
    #[error(
        "this is an age identity, which reads backups, and a recipient was asked for; take the line \
         after \"public key:\", and make a new identity if anybody may have seen this one"
    )]
    IdentityGiven,
    /// Not of the form.
    #[error(
        "this is not an age identity file; age-keygen makes one, with a line that begins with \
         AGE-SECRET-KEY-1"
    )]
    Identity,
}

impl Recipients {
    /// Reads recipients.
    ///
    /// # Errors
    /// When there is none, or one is not of the form.
    pub fn parse<T: AsRef<str>>(texts: &[T]) -> Result<Recipients, RecipientError> {
        let one = |text: &T| {
            let text = text.as_ref().trim();
            if text.to_ascii_uppercase().starts_with("AGE-SECRET-KEY-") {
                return Err(RecipientError::IdentityGiven);
            }
            text.parse().map_err(|_| RecipientError::Recipient)
        };
        let parsed = texts.iter().map(one).collect::<Result<Vec<_>, _>>()?;
        if parsed.is_empty() { Err(RecipientError::None) } else { Ok(Recipients(parsed)) }
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Never: there is always one.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Encrypts what is written, into `out`. It is whole only after [`Encrypting::finish`].
    ///
    /// # Errors
    /// When `out` cannot be written.
    pub fn encrypt<W: Write>(&self, out: W) -> io::Result<Encrypting<W>> {
        let recipients = self.0.iter().map(|recipient| recipient as &dyn age::Recipient);
        let encryptor = age::Encryptor::with_recipients(recipients).map_err(io::Error::other)?;
        Ok(Encrypting(encryptor.wrap_output(out)?))
    }
}

/// A backup being encrypted.
pub struct Encrypting<W: Write>(age::stream::StreamWriter<W>);

impl<W: Write> Encrypting<W> {
    /// Writes the last chunk and gives back what was written into.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn finish(self) -> io::Result<W> {
        self.0.finish()
    }
}

impl<W: Write> Write for Encrypting<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// What reads backups. Wiped when it is dropped.
pub struct Identities(Vec<x25519::Identity>);

impl fmt::Debug for Identities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{} identities]", self.0.len())
    }
}

impl Identities {
    /// Makes a new identity: the text of its file, with the recipient that belongs to it in a comment
    /// as `age-keygen` writes it, and that recipient.
    pub fn generate() -> (Secret, String) {
        use age::secrecy::ExposeSecret;

        let identity = x25519::Identity::generate();
        let recipient = identity.to_public().to_string();
        let secret = identity.to_string();
        let text = format!("# public key: {recipient}\n{}\n", secret.expose_secret());
        (Secret::new(text), recipient)
    }

    /// Reads an identity file: one identity a line; what begins with `#` is a comment.
    ///
    /// # Errors
    /// When a line is something else, or there is none.
    pub fn parse(text: &Secret) -> Result<Identities, RecipientError> {
        let lines = text.expose().lines().map(str::trim);
        let identities = lines
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .map(|line| line.parse().map_err(|_| RecipientError::Identity))
            .collect::<Result<Vec<_>, _>>()?;
        if identities.is_empty() {
            return Err(RecipientError::Identity);
        }
        Ok(Identities(identities))
    }

    /// Who could read what is encrypted for this one.
    pub fn recipients(&self) -> Vec<String> {
        self.0.iter().map(|identity| identity.to_public().to_string()).collect()
    }

    /// Opens an age file. What is read from the answer is authentic, chunk by chunk; that it is
    /// whole is known when its end was reached.
    ///
    /// # Errors
    /// [`OpenError`]
    pub fn decrypt<R: BufRead>(&self, from: R) -> Result<impl Read + use<R>, OpenError> {
        let decryptor = age::Decryptor::new_buffered(from).map_err(of_age)?;
        let identities = self.0.iter().map(|identity| identity as &dyn age::Identity);
        decryptor.decrypt(identities).map_err(of_age)
    }
}

/// Why a backup does not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It was encrypted for others.
    #[error("none of the identities given can read it")]
    WrongIdentity,
    /// It was changed or cut.
    #[error("its encrypted part is damaged: {0}")]
    Damaged(String),
    /// It cannot be read.
    #[error("it cannot be read: {0}")]
    Unreadable(io::Error),
}

fn of_age(error: age::DecryptError) -> OpenError {
    match error {
        age::DecryptError::NoMatchingKeys => OpenError::WrongIdentity,
        age::DecryptError::Io(error) => OpenError::from(error),
        other => OpenError::Damaged(other.to_string()),
    }
}

impl From<io::Error> for OpenError {
    /// What reading a damaged or cut file gives, told from what a broken disk gives.
    fn from(error: io::Error) -> OpenError {
        match error.kind() {
            io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
                OpenError::Damaged(error.to_string())
            }
            _ => OpenError::Unreadable(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encrypted(recipients: &[String], content: &[u8]) -> Vec<u8> {
        let recipients = Recipients::parse(recipients).unwrap();
        let mut out = recipients.encrypt(Vec::new()).unwrap();
        out.write_all(content).unwrap();
        out.finish().unwrap()
    }

    fn opened(identity: &Secret, file: &[u8]) -> Result<Vec<u8>, OpenError> {
        let mut content = Vec::new();
        let mut reader = Identities::parse(identity).unwrap().decrypt(file)?;
        reader.read_to_end(&mut content)?;
        Ok(content)
    }

    #[test]
    fn each_recipient_reads_it_and_nobody_else() {
        let ((one, first), (two, second)) = (Identities::generate(), Identities::generate());
        let (other, _) = Identities::generate();
        let content = vec![7; 200_000];
        let file = encrypted(&[first, second], &content);
        assert!(file.starts_with(MAGIC));
        assert_eq!(opened(&one, &file).unwrap(), content);
        assert_eq!(opened(&two, &file).unwrap(), content);
        assert!(matches!(opened(&other, &file), Err(OpenError::WrongIdentity)));
    }

    #[test]
    fn no_changed_and_no_missing_byte_goes_unnoticed() {
        let (identity, recipient) = Identities::generate();
        let file = encrypted(&[recipient], b"everything that is kept");
        for place in 0..file.len() {
            for bit in 0..8 {
                let mut changed = file.clone();
                changed[place] ^= 1 << bit;
                assert!(opened(&identity, &changed).is_err(), "bit {bit} of byte {place}");
            }
            assert!(opened(&identity, &file[..place]).is_err(), "cut at {place}");
        }
        assert!(opened(&identity, &[&file[..], b"x"].concat()).is_err(), "something behind it");
    }

    #[test]
    fn what_is_given_is_told_apart() {
        let (identity, recipient) = Identities::generate();
        let line = identity.expose().lines().last().unwrap();
        let none: [&str; 0] = [];
        assert_eq!(Recipients::parse(&none).unwrap_err(), RecipientError::None);
        assert_eq!(Recipients::parse(&["age1xyz"]).unwrap_err(), RecipientError::Recipient);
        assert_eq!(Recipients::parse(&[line]).unwrap_err(), RecipientError::IdentityGiven);
        assert_eq!(
            Identities::parse(&identity).unwrap().recipients(),
            std::slice::from_ref(&recipient)
        );
        assert!(Identities::parse(&Secret::new(recipient)).is_err());
        assert!(Identities::parse(&Secret::new("# nothing\n".to_owned())).is_err());
    }

    #[test]
    fn nothing_is_printed() {
        let (identity, _) = Identities::generate();
        let line = identity.expose().lines().last().unwrap().to_owned();
        let printed = format!("{identity:?} {:?}", Identities::parse(&identity).unwrap());
        assert!(!printed.contains(&line[20..]), "{printed}");
    }
}

//! Signed notes as C2SP `signed-note` defines them, with Ed25519: a text, a blank line, and one
//! line for each signature, `— <key name> base64(key id || signature)`.
//!
//! Any tool that reads Go's `sumdb/note` reads these. The private key stays with the caller, who
//! hands in a function that signs.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ed25519_dalek::{Signature, VerifyingKey};
use sha2::{Digest, Sha256};

/// The signature type of plain Ed25519 notes.
const ED25519: u8 = 1;

/// More signature lines than this are refused unread.
const SIGNATURES_MAX: usize = 100;

/// A public key under a name, in the form `name+id+base64(type || key)`.
#[derive(Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    id: [u8; 4],
    key: VerifyingKey,
}

/// Why a text is not a key for verifying notes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum KeyError {
    /// The name is empty or has a space or a plus sign.
    #[error("a key's name must not be empty, nor have a space or a plus sign in it")]
    Name,
    /// Not of the form `name+id+key`.
    #[error("a verifier key has the form name+8 hexadecimal digits+base64; this has not")]
    Form,
    /// The part after the id is not an Ed25519 key.
    #[error("the verifier key does not hold an Ed25519 public key")]
    NotEd25519,
    /// The id does not belong to the name and key: a digit was changed or lost.
    #[error("the verifier key's id does not belong to its name and key; copy it again, whole")]
    Id,
}

impl VerifierKey {
    /// Names an Ed25519 public key.
    ///
    /// # Errors
    /// When the name cannot be a key's name, or the bytes are not a key.
    pub fn new(name: &str, public_key: &[u8; 32]) -> Result<VerifierKey, KeyError> {
        if name.is_empty() || name.chars().any(|char| char.is_whitespace() || char == '+') {
            return Err(KeyError::Name);
        }
        let key = VerifyingKey::from_bytes(public_key).map_err(|_| KeyError::NotEd25519)?;
        let mut hasher = Sha256::new();
        hasher.update(name);
        hasher.update([b'\n', ED25519]);
        hasher.update(public_key);
        let digest: [u8; 32] = hasher.finalize().into();
        let id = [digest[0], digest[1], digest[2], digest[3]];
        Ok(VerifierKey { name: name.to_owned(), id, key })
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    fn is_named_in(&self, line: &SignatureLine<'_>) -> bool {
        self.name == line.name && self.id == line.id
    }

    fn verifies(&self, text: &str, signature: &[u8]) -> bool {
        Signature::from_slice(signature)
            .is_ok_and(|signature| self.key.verify_strict(text.as_bytes(), &signature).is_ok())
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut typed = [ED25519; 33];
        typed[1..].copy_from_slice(self.key.as_bytes());
        let id = u32::from_be_bytes(self.id);
        write!(f, "{}+{id:08x}+{}", self.name, BASE64.encode(typed))
    }
}

impl fmt::Debug for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl FromStr for VerifierKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<VerifierKey, KeyError> {
        let (name, rest) = text.split_once('+').ok_or(KeyError::Form)?;
        let (id, key) = rest.split_once('+').ok_or(KeyError::Form)?;
        let bytes = BASE64.decode(key).map_err(|_| KeyError::Form)?;
        let (_, key) = bytes
            .split_first()
            .filter(|(kind, _)| **kind == ED25519)
            .ok_or(KeyError::NotEd25519)?;
        let key = VerifierKey::new(name, key.try_into().map_err(|_| KeyError::NotEd25519)?)?;
        let expected = format!("{:08x}", u32::from_be_bytes(key.id));
        if id.len() == 8 && id == expected { Ok(key) } else { Err(KeyError::Id) }
    }
}

/// Why a note was not made or not believed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NoteError {
    /// Not a signed note.
    #[error("this is not a signed note: {0}")]
    Malformed(&'static str),
    /// None of its signatures is by a trusted key.
    #[error("the note is signed by {signers}, which is no key trusted here")]
    Untrusted {
        /// Names and ids of the keys it claims.
        signers: String,
    },
    /// A signature that claims to be by a trusted key is not.
    #[error("the note's signature does not verify under the trusted key {0}")]
    Forged(String),
}

/// Signs `text`, which must end with a newline, and returns the note. `sign` makes an Ed25519
/// signature with the private half of `key`.
///
/// # Errors
/// When the text cannot be the text of a note, or when what `sign` made does not verify under
/// `key`: a note that nobody could verify is not let out.
pub fn sign(
    text: &str,
    key: &VerifierKey,
    sign: impl FnOnce(&[u8]) -> [u8; 64],
) -> Result<String, NoteError> {
    check_characters(text)?;
    if !text.ends_with('\n') {
        return Err(NoteError::Malformed("its text does not end with a newline"));
    }
    let signature = sign(text.as_bytes());
    if !key.verifies(text, &signature) {
        return Err(NoteError::Forged(key.name.clone()));
    }
    let signature = BASE64.encode([&key.id[..], &signature].concat());
    Ok(format!("{text}\n— {} {signature}\n", key.name))
}

/// A note whose signature was verified.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Opened<'a> {
    /// The text, with its last newline.
    pub text: &'a str,
    /// The trusted key that signed it.
    pub key: &'a VerifierKey,
}

/// Reads a note signed by at least one of `trusted`. Signatures by other keys are passed over;
/// one that claims a trusted key and does not verify spoils the note.
///
/// # Errors
/// When it is no note, when no trusted key signed it, or when a signature is forged.
pub fn open<'a>(note: &'a str, trusted: &'a [VerifierKey]) -> Result<Opened<'a>, NoteError> {
    let (text, lines) = take_apart(note)?;
    let mut by = None;
    for line in &lines {
        let Some(key) = trusted.iter().find(|key| key.is_named_in(line)) else { continue };
        if !key.verifies(text, &line.signature) {
            return Err(NoteError::Forged(key.name.clone()));
        }
        by = Some(key);
    }
    let Some(key) = by else {
        let signers: Vec<String> = lines
            .iter()
            .map(|line| format!("{}+{:08x}", line.name, u32::from_be_bytes(line.id)))
            .collect();
        return Err(NoteError::Untrusted { signers: signers.join(", ") });
    };
    Ok(Opened { text, key })
}

/// The text of a note, whoever signed it: for telling what it claims, never for believing it.
pub fn unverified_text(note: &str) -> Option<&str> {
    take_apart(note).ok().map(|(text, _)| text)
}

struct SignatureLine<'a> {
    name: &'a str,
    id: [u8; 4],
    signature: Vec<u8>,
}

fn take_apart(note: &str) -> Result<(&str, Vec<SignatureLine<'_>>), NoteError> {
    check_characters(note)?;
    let split = note.rfind("\n\n").ok_or(NoteError::Malformed("it has no signature"))?;
    let (text, signatures) = (&note[..=split], &note[split + 2..]);
    let signatures =
        signatures.strip_suffix('\n').ok_or(NoteError::Malformed("its last line is not whole"))?;
    if signatures.split('\n').count() > SIGNATURES_MAX {
        return Err(NoteError::Malformed("it has more than 100 signatures"));
    }
    let lines: Option<Vec<SignatureLine<'_>>> =
        signatures.split('\n').map(signature_line).collect();
    Ok((text, lines.ok_or(NoteError::Malformed("one of its signature lines cannot be read"))?))
}

fn signature_line(line: &str) -> Option<SignatureLine<'_>> {
    let (name, signature) = line.strip_prefix("— ")?.split_once(' ')?;
    let bytes = BASE64.decode(signature).ok()?;
    let (id, signature) = bytes.split_first_chunk::<4>()?;
    let named = !name.is_empty() && !name.chars().any(|char| char.is_whitespace() || char == '+');
    (named && !signature.is_empty()).then(|| SignatureLine {
        name,
        id: *id,
        signature: signature.to_vec(),
    })
}

fn check_characters(text: &str) -> Result<(), NoteError> {
    match text.bytes().any(|byte| byte < 0x20 && byte != b'\n') {
        true => Err(NoteError::Malformed("it has control characters in it")),
        false => Ok(()),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use ed25519_dalek::{Signer, SigningKey};

    use super::*;

    // The key and note of the tests of Go's golang.org/x/mod/sumdb/note.
    const PETER: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    const PETER_SEED: &str = "gQoUAtUUbI2E8kQzMPVAgOv5juF9nHT2JS/F1ccoMXM=";
    const ENOCH: &str = "EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop";
    const TEXT: &str = "If you think cryptography is the answer to your problem,\n\
                        then you don't know what your problem is.\n";
    const PETER_LINE: &str = "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1\
                              FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";
    const ENOCH_LINE: &str = "— EnochRoot rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5n2tiOHp+vAF\
                              1aGrQ5ovTG01oOTGwnWLox33WWd1RvMc+QQ=\n";

    /// A key pair of a name, from one byte.
    pub(in crate::audit) fn pair(name: &str, seed: u8) -> (VerifierKey, SigningKey) {
        let private = SigningKey::from_bytes(&[seed; 32]);
        (VerifierKey::new(name, private.verifying_key().as_bytes()).unwrap(), private)
    }

    fn key(text: &str) -> VerifierKey {
        text.parse().unwrap()
    }

    #[test]
    fn signing_gives_the_published_note() {
        let seed: [u8; 32] = BASE64.decode(PETER_SEED).unwrap().try_into().unwrap();
        let private = SigningKey::from_bytes(&seed);
        let public = VerifierKey::new("PeterNeumann", private.verifying_key().as_bytes()).unwrap();
        assert_eq!(public.to_string(), PETER);
        let note = sign(TEXT, &public, |text| private.sign(text).to_bytes()).unwrap();
        assert_eq!(note, format!("{TEXT}\n{PETER_LINE}"));
    }

    #[test]
    fn the_published_notes_open() {
        let both = format!("{TEXT}\n{PETER_LINE}{ENOCH_LINE}");
        for trusted in [PETER, ENOCH] {
            let keys = [key(trusted)];
            let opened = open(&both, &keys).unwrap();
            assert_eq!((opened.text, opened.key), (TEXT, &keys[0]));
        }
        let error = open(&both, &[]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the note is signed by PeterNeumann+c74f20a3, EnochRoot+af0cfe78, \
             which is no key trusted here"
        );
    }

    #[test]
    fn the_published_mangled_keys_are_refused() {
        let whole = PETER.len();
        for start in 0..whole {
            for end in start..whole + 1 {
                let part = &PETER[start..end];
                assert_eq!(part.parse::<VerifierKey>().is_ok(), part == PETER, "{part}");
            }
        }
        for place in 0..whole {
            let mut bytes = PETER.as_bytes().to_vec();
            bytes[place] += 1;
            let mangled = String::from_utf8(bytes).unwrap();
            assert!(mangled.parse::<VerifierKey>().is_err(), "{mangled}");
        }
        let long = "PeterNeumann+cc469956+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TWBADKEY==";
        let kind = "PeterNeumann+173116ae+ZRpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
        assert!(long.parse::<VerifierKey>().is_err());
        assert_eq!(kind.parse::<VerifierKey>(), Err(KeyError::NotEd25519));
        assert_eq!(VerifierKey::new("a b", &[0; 32]), Err(KeyError::Name));
    }

    #[test]
    fn the_published_bad_notes_are_refused() {
        let keys = [key(PETER)];
        let bad_name = PETER_LINE.replace("PeterNeumann", "Bad Name");
        for note in [
            TEXT.to_owned(),
            format!("{TEXT}\n"),
            format!("{TEXT}\n{}", PETER_LINE.trim_end()),
            format!("\x01{TEXT}\n{PETER_LINE}"),
            format!("{TEXT}\n{bad_name}"),
            format!("{TEXT}\n{PETER_LINE}Unexpected line.\n"),
            format!("{TEXT}\n{}", PETER_LINE.repeat(101)),
        ] {
            assert!(matches!(open(&note, &keys), Err(NoteError::Malformed(_))), "{note}");
        }
        let forged = format!("{TEXT}\n{}", PETER_LINE.replace("Bx", "By").replace("wJn", "wJm"));
        assert_eq!(open(&forged, &keys), Err(NoteError::Forged("PeterNeumann".into())));
        // A forged signature spoils the note although another one holds.
        let (other, private) = pair("other", 3);
        let held = sign(TEXT, &other, |text| private.sign(text).to_bytes()).unwrap();
        let both = format!("{held}{}", &forged[TEXT.len() + 1..]);
        assert!(open(&held, &[other.clone(), keys[0].clone()]).is_ok());
        assert!(open(&both, &[other, keys[0].clone()]).is_err());
    }

    #[test]
    fn a_note_that_would_not_open_is_not_made() {
        let (public, private) = pair("log", 1);
        let (_, stranger) = pair("log", 2);
        let with = |private: &SigningKey, text: &str| {
            sign(text, &public, |text| private.sign(text).to_bytes())
        };
        assert!(with(&private, "a\n").is_ok());
        assert_eq!(with(&stranger, "a\n"), Err(NoteError::Forged("log".into())));
        assert!(matches!(with(&private, "a"), Err(NoteError::Malformed(_))));
        assert!(matches!(with(&private, "a\r\n"), Err(NoteError::Malformed(_))));
    }
}

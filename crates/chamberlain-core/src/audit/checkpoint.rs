//! Checkpoints: the size and root of the log at a moment, as C2SP `tlog-checkpoint` writes them in
//! a signed note. Whoever keeps one elsewhere holds the log to it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::merkle::Hash;
use super::note::{self, NoteError, VerifierKey};

/// The state of a log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Checkpoint {
    /// Which log: the name of the key that signs it.
    pub origin: String,
    /// The number of records.
    pub size: u64,
    /// The root over them.
    pub root: Hash,
}

/// Why a checkpoint is not believed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The note around it is not good.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// The text is not the text of a checkpoint.
    #[error("the signed text is not a checkpoint (origin, size and root, each on its own line)")]
    Text,
    /// A trusted key signed it, but for another log.
    #[error("the checkpoint is of the log {origin:?}, but is signed by the key of {key:?}")]
    Origin {
        /// The log it speaks of.
        origin: String,
        /// The log whose key signed it.
        key: String,
    },
}

impl Checkpoint {
    /// The text that is signed.
    pub fn text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, BASE64.encode(self.root))
    }

    /// Reads the text of a note. Extension lines, which this house never writes, are passed over.
    pub fn from_text(text: &str) -> Option<Checkpoint> {
        let mut lines = text.strip_suffix('\n')?.split('\n');
        let (origin, size, root) = (lines.next()?, lines.next()?, lines.next()?);
        if origin.is_empty() || lines.any(str::is_empty) {
            return None;
        }
        let digits = size.bytes().all(|byte| byte.is_ascii_digit());
        if !digits || (size.len() > 1 && size.starts_with('0')) {
            return None;
        }
        let root = BASE64.decode(root).ok()?.try_into().ok()?;
        Some(Checkpoint { origin: origin.to_owned(), size: size.parse().ok()?, root })
    }

    /// Signs the checkpoint. The key's name is the origin; `sign` makes an Ed25519 signature with
    /// the private half of `key`.
    ///
    /// # Errors
    /// When the key has another name than the origin, or is not the one that signs.
    pub fn sign(
        &self,
        key: &VerifierKey,
        sign: impl FnOnce(&[u8]) -> [u8; 64],
    ) -> Result<String, CheckpointError> {
        self.is_of(key)?;
        Ok(note::sign(&self.text(), key, sign)?)
    }

    /// Reads a checkpoint that one of `trusted` signed for its own log.
    ///
    /// # Errors
    /// When the note is not good, when it is no checkpoint, or when it is of another log.
    pub fn open(signed: &str, trusted: &[VerifierKey]) -> Result<Checkpoint, CheckpointError> {
        let opened = note::open(signed, trusted)?;
        let checkpoint = Checkpoint::from_text(opened.text).ok_or(CheckpointError::Text)?;
        checkpoint.is_of(opened.key)?;
        Ok(checkpoint)
    }

    /// What a note claims, whoever signed it: for saying where a bad one is, never for believing.
    pub fn unverified(signed: &str) -> Option<Checkpoint> {
        note::unverified_text(signed).and_then(Checkpoint::from_text)
    }

    fn is_of(&self, key: &VerifierKey) -> Result<(), CheckpointError> {
        if self.origin == key.name() {
            return Ok(());
        }
        let (origin, key) = (self.origin.clone(), key.name().to_owned());
        Err(CheckpointError::Origin { origin, key })
    }
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::Signer;
    use proptest::prelude::*;

    use super::super::note::tests::pair;
    use super::*;

    fn a_checkpoint() -> Checkpoint {
        let root = BASE64.decode("CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=").unwrap();
        let root = root.try_into().unwrap();
        Checkpoint { origin: "example.com/behind-the-sofa".into(), size: 20_852_163, root }
    }

    #[test]
    fn the_text_is_that_of_the_specification() {
        let text = "example.com/behind-the-sofa\n20852163\n\
                    CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";
        assert_eq!(a_checkpoint().text(), text);
        assert_eq!(Checkpoint::from_text(text), Some(a_checkpoint()));
        assert_eq!(Checkpoint::from_text(&format!("{text}more\n")), Some(a_checkpoint()));
    }

    #[test]
    fn other_texts_are_refused() {
        let text = a_checkpoint().text();
        for (from, to) in [
            ("20852163", "020852163"),
            ("20852163", "+20852163"),
            ("20852163", ""),
            ("20852163", "99999999999999999999"),
            ("2I=\n", "2I=\n\n"),
            ("2I=\n", "2I="),
            ("2I=", "2I"),
            ("CsUY", "CsU"),
            ("example.com/behind-the-sofa", ""),
        ] {
            assert_eq!(Checkpoint::from_text(&text.replace(from, to)), None, "{to:?}");
        }
    }

    #[test]
    fn a_key_speaks_for_its_own_log_only() {
        let (key, private) = pair("example.com/behind-the-sofa", 1);
        let (other, other_private) = pair("example.com/other", 2);
        let signed = a_checkpoint().sign(&key, |text| private.sign(text).to_bytes()).unwrap();
        assert_eq!(Checkpoint::open(&signed, std::slice::from_ref(&key)), Ok(a_checkpoint()));
        let sign = |text: &[u8]| other_private.sign(text).to_bytes();
        assert!(matches!(a_checkpoint().sign(&other, sign), Err(CheckpointError::Origin { .. })));
        let foreign = note::sign(&a_checkpoint().text(), &other, sign).unwrap();
        assert!(matches!(
            Checkpoint::open(&foreign, &[key, other]),
            Err(CheckpointError::Origin { .. })
        ));
        assert_eq!(Checkpoint::unverified(&foreign), Some(a_checkpoint()));
    }

    proptest! {
        #[test]
        fn no_changed_byte_goes_unnoticed(place in any::<prop::sample::Index>(), flip in 1u8..128) {
            let (key, private) = pair("example.com/behind-the-sofa", 1);
            let signed = a_checkpoint().sign(&key, |text| private.sign(text).to_bytes()).unwrap();
            let mut bytes = signed.into_bytes();
            let place = place.index(bytes.len());
            bytes[place] ^= flip;
            if let Ok(changed) = String::from_utf8(bytes) {
                prop_assert!(Checkpoint::open(&changed, &[key]).is_err(), "{}", changed);
            }
        }
    }
}

//! One record with the proof that it is in the log, as C2SP `tlog-proof` writes it.
//!
//! The file needs nothing beside the log's public key: the record itself travels in the `extra`
//! line. That line is not trusted; it is the record because it hashes to the proved leaf.

use std::fmt::{self, Write};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::checkpoint::{Checkpoint, CheckpointError};
use super::merkle::{Hash, leaf_hash};
use super::note::VerifierKey;
use super::proof;

const FIRST_LINE: &str = "c2sp.org/tlog-proof@v1";

/// A record, its place, the hashes up to the root, and the signed checkpoint with that root. Its
/// text form (`Display`) is the content of a `.tlog-proof` file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TlogProof {
    /// The bytes of the record, as stored.
    pub record: Vec<u8>,
    /// Its index in the log.
    pub index: u64,
    /// From the leaf's sibling up to the root's child.
    pub hashes: Vec<Hash>,
    /// The signed checkpoint.
    pub checkpoint: String,
}

/// Why a proof does not prove.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TlogProofError {
    /// Not a proof, or one without the record in it.
    #[error("this is not a proof of one record: {0}")]
    Form(&'static str),
    /// The checkpoint in it is not good.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The record is not the one at that place of that log.
    #[error("the record is not number {index} of the log that the checkpoint speaks of")]
    NotIncluded {
        /// The index claimed.
        index: u64,
    },
}

impl TlogProof {
    /// Reads the text of a `.tlog-proof` file.
    ///
    /// # Errors
    /// When it is not one.
    pub fn read(text: &str) -> Result<TlogProof, TlogProofError> {
        let (proof, checkpoint) =
            text.split_once("\n\n").ok_or(TlogProofError::Form("it has no checkpoint"))?;
        let mut lines = proof.split('\n');
        if lines.next() != Some(FIRST_LINE) {
            return Err(TlogProofError::Form("it does not begin with c2sp.org/tlog-proof@v1"));
        }
        let record = lines
            .next()
            .and_then(|line| line.strip_prefix("extra "))
            .and_then(|extra| BASE64.decode(extra).ok())
            .ok_or(TlogProofError::Form("its second line does not hold the record"))?;
        let index = lines
            .next()
            .and_then(|line| line.strip_prefix("index "))
            .filter(|digits| *digits == "0" || !digits.starts_with(['0', '+']))
            .and_then(|digits| digits.parse().ok())
            .ok_or(TlogProofError::Form("its third line does not hold the index"))?;
        let hashes = lines
            .map(|line| BASE64.decode(line).ok().and_then(|hash| hash.try_into().ok()))
            .collect::<Option<Vec<Hash>>>()
            .ok_or(TlogProofError::Form("one of its hashes cannot be read"))?;
        Ok(TlogProof { record, index, hashes, checkpoint: checkpoint.to_owned() })
    }

    /// Checks everything: the checkpoint's signature, and that the record is at its place.
    ///
    /// # Errors
    /// With what does not hold.
    pub fn verify(&self, trusted: &[VerifierKey]) -> Result<Checkpoint, TlogProofError> {
        let checkpoint = Checkpoint::open(&self.checkpoint, trusted)?;
        let leaf = leaf_hash(&self.record);
        let included =
            proof::includes(self.index, checkpoint.size, &leaf, &self.hashes, &checkpoint.root);
        if included {
            Ok(checkpoint)
        } else {
            Err(TlogProofError::NotIncluded { index: self.index })
        }
    }
}

impl fmt::Display for TlogProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{FIRST_LINE}")?;
        writeln!(f, "extra {}", BASE64.encode(&self.record))?;
        writeln!(f, "index {}", self.index)?;
        for hash in &self.hashes {
            writeln!(f, "{}", BASE64.encode(hash))?;
        }
        f.write_char('\n')?;
        f.write_str(&self.checkpoint)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use ed25519_dalek::Signer;

    use super::super::log::Log;
    use super::super::merkle::tests::naive_root;
    use super::super::note::tests::pair;
    use super::super::record::{self, tests::an_intent};
    use super::*;

    fn proofs(size: u64) -> (VerifierKey, Vec<TlogProof>) {
        let (key, private) = pair("chamberlain.example/audit", 1);
        let mut log = Log::default();
        let mut records = Vec::new();
        let mut leaves = Vec::new();
        for _ in 0..size {
            let mut bytes = Vec::new();
            record::intent(&mut bytes, &log.place(), &an_intent());
            leaves.push(log.append(&bytes));
            records.push(bytes);
        }
        let root = log.root();
        let checkpoint = Checkpoint { origin: key.name().to_owned(), size, root };
        let checkpoint = checkpoint.sign(&key, |text| private.sign(text).to_bytes()).unwrap();
        let prove = |(index, record): (usize, Vec<u8>)| {
            let hashes = proof::inclusion::<Infallible>(index as u64, size, |node| {
                let first = (node.index << node.level) as usize;
                Ok(naive_root(&leaves[first..first + (1 << node.level)]))
            });
            let (hashes, checkpoint) = (hashes.unwrap(), checkpoint.clone());
            TlogProof { record, index: index as u64, hashes, checkpoint }
        };
        (key, records.into_iter().enumerate().map(prove).collect())
    }

    #[test]
    fn each_record_proves_itself_through_its_text() {
        for size in 1..20 {
            let (key, proofs) = proofs(size);
            for proof in proofs {
                let read = TlogProof::read(&proof.to_string()).unwrap();
                assert_eq!(read, proof);
                assert_eq!(read.verify(std::slice::from_ref(&key)).unwrap().size, size);
            }
        }
    }

    #[test]
    fn a_proof_with_a_changed_character_does_not_prove() {
        let (key, proofs) = proofs(6);
        let keys = [key];
        let text = proofs[4].to_string();
        for (place, char) in text.char_indices() {
            let other = if char == 'A' { "B" } else { "A" };
            let changed = [&text[..place], other, &text[place + char.len_utf8()..]].concat();
            let verified = TlogProof::read(&changed).and_then(|proof| proof.verify(&keys));
            assert!(verified.is_err(), "at {place}: {changed}");
        }
        for length in 0..text.len() {
            let Some(cut) = text.get(..length) else { continue };
            let verified = TlogProof::read(cut).and_then(|proof| proof.verify(&keys));
            assert!(verified.is_err(), "{cut}");
        }
    }

    #[test]
    fn another_record_or_place_is_not_proved() {
        let (key, proofs) = proofs(6);
        let keys = [key];
        let mut moved = proofs[2].clone();
        moved.index = 3;
        assert_eq!(moved.verify(&keys), Err(TlogProofError::NotIncluded { index: 3 }));
        let mut other = proofs[2].clone();
        other.record.clone_from(&proofs[3].record);
        assert!(other.verify(&keys).is_err());
        let (stranger, _) = pair("chamberlain.example/audit", 9);
        assert!(matches!(
            proofs[2].verify(&[stranger]),
            Err(TlogProofError::Checkpoint(CheckpointError::Note(_)))
        ));
    }
}

//! The audit verifier: any change of a sound log is found, and no bytes make it panic.

use std::sync::LazyLock;

use chamberlain_core::audit::checkpoint::Checkpoint;
use chamberlain_core::audit::log::Log;
use chamberlain_core::audit::merkle::{Frontier, Hash, leaf_hash};
use chamberlain_core::audit::note::{VerifierKey, open};
use chamberlain_core::audit::record::notice;
use chamberlain_core::audit::tlog_proof::TlogProof;
use chamberlain_core::audit::verify::{Columns, Report, StoredRecord, Verifier};
use chamberlain_core::record::{Notice, Severity};
use chamberlain_core::time::Timestamp;
use ed25519_dalek::{Signer, SigningKey};

const ORIGIN: &str = "chamberlain.example/audit";
const RECORDS: i64 = 12;

#[derive(Clone, PartialEq)]
struct Row {
    seq: u64,
    at: Timestamp,
    bytes: Vec<u8>,
    leaf: Hash,
}

struct Sound {
    key: VerifierKey,
    rows: Vec<Row>,
    /// Over all of it, kept elsewhere.
    checkpoint: String,
}

static SOUND: LazyLock<Sound> = LazyLock::new(sound);

fn sound() -> Sound {
    let mut log = Log::resume(Frontier::default(), [0; 32]);
    let mut rows = Vec::new();
    for number in 0..RECORDS {
        let place = log.place();
        let at = Timestamp::from_ms(1_795_435_200_000 + number);
        let mut bytes = Vec::new();
        notice(&mut bytes, &place, &told(at, number));
        let leaf = log.append(&bytes);
        rows.push(Row { seq: place.seq, at, bytes, leaf });
    }
    let private = SigningKey::from_bytes(&[7; 32]);
    let key = VerifierKey::new(ORIGIN, private.verifying_key().as_bytes()).expect("a good name");
    let whole = Checkpoint { origin: ORIGIN.into(), size: log.size(), root: log.root() };
    let signed = whole.sign(&key, |text| private.sign(text).to_bytes());
    Sound { checkpoint: signed.expect("its own key"), key, rows }
}

fn told(at: Timestamp, number: i64) -> Notice {
    Notice {
        at,
        kind: "call.refused".to_owned(),
        severity: Severity::Info,
        subject: format!("k{number}"),
        message: "a call was refused".to_owned(),
        facts: serde_json::Map::new(),
        notify: false,
    }
}

pub(crate) fn holds(bytes: &[u8]) {
    let sound = &*SOUND;
    let mut rows = sound.rows.clone();
    falsify(&mut rows, bytes);
    let report = verify(sound, &rows, &[]);
    let is_sound = report.integrity.is_none() && report.completeness.is_none();
    assert_eq!(is_sound, rows == sound.rows, "{report:?}");
    unreadable(sound, bytes);
}

/// Takes `bytes` as orders, four at a time: what to do, to which record, and with what.
fn falsify(rows: &mut Vec<Row>, bytes: &[u8]) {
    for order in bytes.chunks_exact(4) {
        if rows.is_empty() {
            return;
        }
        let at = usize::from(order[1]) % rows.len();
        let (place, value) = (usize::from(order[2]), order[3]);
        match order[0] % 9 {
            0 => edit(&mut rows[at], place, value),
            // By somebody who knows how the leaf is made.
            1 => {
                edit(&mut rows[at], place, value);
                rows[at].leaf = leaf_hash(&rows[at].bytes);
            }
            2 => rows[at].leaf[place % 32] ^= value,
            3 => drop(rows.remove(at)),
            4 => {
                let other = place % rows.len();
                rows.swap(at, other);
            }
            5 => rows.truncate(at),
            6 => rows.insert(at, rows[place % rows.len()].clone()),
            7 => rows[at].seq ^= u64::from(value),
            _ => rows[at].at = rows[at].at.plus_ms(i64::from(value)),
        }
    }
}

fn edit(row: &mut Row, place: usize, value: u8) {
    let place = place % row.bytes.len();
    row.bytes[place] ^= value;
}

fn verify(sound: &Sound, rows: &[Row], notes: &[&str]) -> Report {
    let mut verifier = Verifier::new(vec![sound.key.clone()], 0);
    verifier.checkpoint(&sound.checkpoint);
    notes.iter().for_each(|note| verifier.checkpoint(note));
    for row in rows {
        let columns = Columns { at: Some(row.at), ..Columns::default() };
        let bytes = Some(&row.bytes[..]);
        verifier.record(StoredRecord { seq: row.seq, bytes, leaf: row.leaf, columns });
    }
    verifier.finish()
}

/// Bytes that are no record, checkpoint or proof are none, quietly.
fn unreadable(sound: &Sound, bytes: &[u8]) {
    let leaf = leaf_hash(bytes);
    let record = StoredRecord { seq: 0, bytes: Some(bytes), leaf, columns: Columns::default() };
    let mut verifier = Verifier::new(vec![sound.key.clone()], 0);
    verifier.record(record);
    drop(verifier.finish());
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let trusted = [sound.key.clone()];
    assert!(text == sound.checkpoint || open(text, &trusted).is_err(), "a signature was forged");
    let report = verify(sound, &sound.rows, &[text]);
    assert!(text == sound.checkpoint || report.integrity.is_some(), "a bad checkpoint passed");
    if let Ok(proof) = TlogProof::read(text) {
        assert!(proof.verify(&trusted).is_err(), "a proof was forged");
    }
}

//! A sound log is found sound, and each way of falsifying one is found at its index: a thousand
//! random falsifications of each kind.

use ed25519_dalek::{Signer, SigningKey};

use super::super::log::Log;
use super::super::note::tests::pair;
use super::super::record::tests::{a_settlement, an_intent};
use super::super::record::{self, Place, Record};
use super::*;

const RECORDS: u64 = 40;
const ROUNDS: u64 = 1000;
const ORIGIN: &str = "chamberlain.example/audit";

#[derive(Clone)]
struct Row {
    seq: u64,
    at: Timestamp,
    bytes: Vec<u8>,
    leaf: Hash,
}

#[derive(Clone)]
struct Stored {
    rows: Vec<Row>,
    /// Stored under a size.
    checkpoints: Vec<(u64, String)>,
}

struct World {
    key: VerifierKey,
    private: SigningKey,
    sound: Stored,
    dice: u64,
}

impl World {
    fn new(seed: u64) -> World {
        let (key, private) = pair(ORIGIN, 1);
        let sound = Stored { rows: Vec::new(), checkpoints: Vec::new() };
        let mut world = World { key, private, sound, dice: seed };
        let mut stored = world.sound.clone();
        world.grow(&mut stored, RECORDS);
        world.sound = stored;
        world
    }

    /// SplitMix64: the same falsifications on every run.
    fn below(&mut self, bound: u64) -> u64 {
        self.dice = self.dice.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.dice;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ mixed >> 31) % bound
    }

    fn record(&mut self, place: &Place) -> Row {
        let at = Timestamp::from_ms(1_763_888_400_000 + self.below(1_000_000) as i64);
        let mut bytes = Vec::new();
        if self.below(2) == 0 {
            record::intent(&mut bytes, place, &crate::record::Intent { at, ..an_intent() });
        } else {
            let duration_ms = self.below(1 << 60);
            let settled = crate::record::Settlement { at, duration_ms, ..a_settlement() };
            record::settlement(&mut bytes, place, &settled);
        }
        Row { seq: place.seq, at, leaf: leaf_hash(&bytes), bytes }
    }

    /// Adds records as the writer does, with a checkpoint every seven.
    fn grow(&mut self, stored: &mut Stored, until: u64) {
        let mut log = log_of(&stored.rows);
        while log.size() < until {
            let row = self.record(&log.place());
            assert_eq!(log.append(&row.bytes), row.leaf);
            stored.rows.push(row);
            if log.size().is_multiple_of(7) {
                stored.checkpoints.push((log.size(), self.sign(&log)));
            }
        }
    }

    fn sign(&self, log: &Log) -> String {
        let (size, root) = (log.size(), log.root());
        let checkpoint = Checkpoint { origin: ORIGIN.into(), size, root };
        checkpoint.sign(&self.key, |text| self.private.sign(text).to_bytes()).unwrap()
    }

    fn verify(&self, stored: &Stored, elsewhere: &[&str]) -> Report {
        let mut verifier = Verifier::new(vec![self.key.clone()], 0);
        elsewhere.iter().for_each(|note| verifier.checkpoint(note));
        let mut checkpoints = stored.checkpoints.iter().peekable();
        for row in &stored.rows {
            while let Some((_, note)) = checkpoints.next_if(|(size, _)| *size <= verifier.size()) {
                verifier.checkpoint(note);
            }
            let columns = Columns { at: Some(row.at), ..Columns::default() };
            let bytes = Some(&row.bytes[..]);
            verifier.record(StoredRecord { seq: row.seq, bytes, leaf: row.leaf, columns });
        }
        checkpoints.for_each(|(_, note)| verifier.checkpoint(note));
        verifier.finish()
    }

    /// Falsifies a thousand times; `falsify` returns the index that must be named.
    fn finds(&mut self, mut falsify: impl FnMut(&mut World, &mut Stored) -> u64) {
        for round in 0..ROUNDS {
            let mut stored = self.sound.clone();
            let index = falsify(self, &mut stored);
            let report = self.verify(&stored, &[]);
            let named = report.integrity.as_ref().map(|finding| finding.index);
            assert_eq!(named, Some(index), "round {round}: {report:?}");
        }
    }

    /// The same for what is missing, given one checkpoint from elsewhere over the sound log.
    fn misses(&mut self, mut falsify: impl FnMut(&mut World, &mut Stored) -> u64) {
        let elsewhere = self.sign(&log_of(&self.sound.rows));
        for round in 0..ROUNDS {
            let mut stored = self.sound.clone();
            let index = falsify(self, &mut stored);
            let report = self.verify(&stored, &[&elsewhere]);
            let named = report.completeness.as_ref().map(|finding| finding.index);
            assert_eq!(named, Some(index), "round {round}: {report:?}");
        }
    }
}

fn log_of(rows: &[Row]) -> Log {
    let mut log = Log::default();
    rows.iter().for_each(|row| {
        log.append(&row.bytes);
    });
    log
}

/// Stores what is there under 0, 1, 2…
fn renumber(stored: &mut Stored) {
    for (index, row) in stored.rows.iter_mut().enumerate() {
        row.seq = index as u64;
    }
}

/// Where the facts begin: what stands before is checked in other ways.
fn facts_at(row: &Row) -> usize {
    let place = row.bytes.windows(9).position(|part| part == b"\"facts\":{");
    place.expect("every record has facts") + 9
}

#[test]
fn a_sound_log_is_sound() {
    let world = World::new(1);
    let elsewhere = world.sign(&log_of(&world.sound.rows));
    let report = world.verify(&world.sound, &[&elsewhere]);
    assert!(report.is_sound(), "{report:?}");
    let root = to_hex(&log_of(&world.sound.rows).root());
    let expected = Report {
        records: RECORDS,
        pruned: 0,
        root: Some(root),
        checkpoints: RECORDS / 7 + 1,
        anchored: RECORDS,
        unanchored_most: 7,
        integrity: None,
        completeness: None,
        faults: 0,
    };
    assert_eq!(report, expected);
    let empty = world.verify(&Stored { rows: Vec::new(), checkpoints: Vec::new() }, &[]);
    assert!(empty.is_sound() && empty.records == 0);
}

#[test]
fn an_edit_is_found() {
    World::new(2).finds(|world, stored| {
        let index = world.below(RECORDS);
        let row = &mut stored.rows[index as usize];
        let place = world.below(row.bytes.len() as u64) as usize;
        row.bytes[place] ^= 1 + world.below(255) as u8;
        index
    });
}

#[test]
fn an_edit_of_the_stored_hash_is_found() {
    World::new(3).finds(|world, stored| {
        let index = world.below(RECORDS);
        stored.rows[index as usize].leaf[world.below(32) as usize] ^= 1 + world.below(255) as u8;
        index
    });
}

#[test]
fn an_edit_with_its_hash_made_anew_is_found() {
    World::new(4).finds(|world, stored| {
        // The last records are vouched for by no checkpoint and no successor.
        let index = world.below(RECORDS - 1);
        let row = &mut stored.rows[index as usize];
        let start = facts_at(row) as u64;
        let place = start + world.below(row.bytes.len() as u64 - start);
        row.bytes[place as usize] ^= 1;
        row.leaf = leaf_hash(&row.bytes);
        index
    });
}

#[test]
fn a_forged_record_in_place_of_another_is_found() {
    World::new(5).finds(|world, stored| {
        let index = world.below(RECORDS - 1);
        // With any predecessor and any index, or the right ones.
        let right = Head::read(&stored.rows[index as usize].bytes).unwrap();
        let prev = if world.below(2) == 0 { right.prev } else { [world.below(256) as u8; 32] };
        let seq = if world.below(2) == 0 { index } else { world.below(RECORDS) };
        let row = world.record(&Place { seq, prev });
        stored.rows[index as usize] = Row { seq: index, ..row };
        index
    });
}

#[test]
fn a_forged_last_record_is_found() {
    let mut world = World::new(22);
    let sound = world.sound.clone();
    let last = RECORDS - 1;
    // It claims an index that is past, after the right predecessor.
    let prev = sound.rows[last as usize - 1].leaf;
    let row = world.record(&Place { seq: last - 1, prev });
    let mut stored = sound.clone();
    stored.rows[last as usize] = Row { seq: last, ..row };
    let moved = Fault::Moved { stored: last, claimed: last - 1 };
    let report = world.verify(&stored, &[]);
    assert_eq!(report.integrity, Some(Finding { index: last, fault: moved }));
    // It was put right behind a signed record, after none that exists.
    let mut stored = sound;
    stored.rows.truncate(35);
    let row = world.record(&Place { seq: 35, prev: [7; 32] });
    stored.rows.push(row);
    let report = world.verify(&stored, &[]);
    assert_eq!(report.integrity, Some(Finding { index: 35, fault: Fault::Misplaced }));
}

#[test]
fn a_changed_time_is_found() {
    World::new(6).finds(|world, stored| {
        let index = world.below(RECORDS - 1);
        let row = &mut stored.rows[index as usize];
        let later = row.at.plus_ms(1 + world.below(60_000) as i64);
        let text = String::from_utf8(row.bytes.clone()).unwrap();
        let (from, to) = (format!("\"at\":{},", row.at.ms()), format!("\"at\":{},", later.ms()));
        match world.below(4) {
            // In the record, in the column, in both, and in both with the hash made anew.
            0 => row.bytes = text.replace(&from, &to).into_bytes(),
            1 => row.at = later,
            2 => (row.bytes, row.at) = (text.replace(&from, &to).into_bytes(), later),
            _ => {
                (row.bytes, row.at) = (text.replace(&from, &to).into_bytes(), later);
                row.leaf = leaf_hash(&row.bytes);
            }
        }
        index
    });
}

#[test]
fn a_deletion_is_found() {
    World::new(7).misses(|world, stored| {
        let index = world.below(RECORDS - 1);
        let count = 1 + world.below(3.min(RECORDS - 1 - index));
        stored.rows.drain(index as usize..(index + count) as usize);
        index
    });
    World::new(8).finds(|world, stored| {
        let index = world.below(RECORDS - 1);
        let count = 1 + world.below(3.min(RECORDS - 1 - index));
        stored.rows.drain(index as usize..(index + count) as usize);
        renumber(stored);
        index
    });
}

#[test]
fn a_checkpoint_inside_a_gap_is_no_fault_of_its_own() {
    let world = World::new(23);
    let mut stored = world.sound.clone();
    stored.rows.drain(5..30);
    let mut verifier = Verifier::new(vec![world.key.clone()], 0);
    stored.checkpoints.iter().for_each(|(_, note)| verifier.checkpoint(note));
    for row in &stored.rows {
        let (bytes, columns) = (Some(&row.bytes[..]), Columns::default());
        verifier.record(StoredRecord { seq: row.seq, bytes, leaf: row.leaf, columns });
    }
    let report = verifier.finish();
    let gap = Finding { index: 5, fault: Fault::Gap { count: 25 } };
    assert_eq!((report.completeness, report.integrity, report.faults), (Some(gap), None, 1));
}

#[test]
fn an_insertion_is_found() {
    World::new(9).finds(|world, stored| {
        let index = world.below(RECORDS);
        let right = Head::read(&stored.rows[index as usize].bytes).unwrap().prev;
        // With the right predecessor, or with none that exists.
        let prev = if world.below(2) == 0 { right } else { [7; 32] };
        let row = world.record(&Place { seq: index, prev });
        stored.rows.insert(index as usize, row);
        renumber(stored);
        index
    });
}

#[test]
fn a_record_put_in_once_more_is_found() {
    World::new(10).finds(|world, stored| {
        let from = world.below(RECORDS);
        let to = world.below(RECORDS + 1);
        let row = stored.rows[from as usize].clone();
        stored.rows.insert(to as usize, row);
        renumber(stored);
        // A copy right behind the first is the same log as one right before it.
        if to == from + 1 { from } else { to }
    });
}

#[test]
fn another_order_is_found() {
    World::new(11).finds(|world, stored| {
        let (one, other) = (world.below(RECORDS), world.below(RECORDS - 1));
        let other = if other >= one { other + 1 } else { other };
        stored.rows.swap(one as usize, other as usize);
        renumber(stored);
        one.min(other)
    });
    // The same with nothing but the contents moved: the hashes stay where they were.
    World::new(12).finds(|world, stored| {
        let (one, other) = (world.below(RECORDS), world.below(RECORDS - 1));
        let other = if other >= one { other + 1 } else { other };
        stored.rows.swap(one as usize, other as usize);
        let (a, b) = (stored.rows[one as usize].leaf, stored.rows[other as usize].leaf);
        (stored.rows[one as usize].leaf, stored.rows[other as usize].leaf) = (b, a);
        renumber(stored);
        one.min(other)
    });
}

#[test]
fn a_cut_tail_is_missed() {
    World::new(13).misses(|world, stored| {
        let keep = world.below(RECORDS);
        stored.rows.truncate(keep as usize);
        // Whoever cuts the records cuts the stored checkpoints too.
        stored.checkpoints.retain(|(size, _)| *size <= keep);
        keep
    });
}

#[test]
fn a_cut_tail_is_missed_by_a_checkpoint_left_behind() {
    let mut world = World::new(14);
    let stored = world.sound.clone();
    let keep = world.below(RECORDS / 7 * 7) as usize;
    let stored = Stored { rows: stored.rows[..keep].to_vec(), ..stored };
    let report = world.verify(&stored, &[]);
    let missing = Finding { index: keep as u64, fault: Fault::CutShort { size: RECORDS / 7 * 7 } };
    assert_eq!((report.completeness, report.integrity), (Some(missing), None));
}

#[test]
fn a_rollback_that_grew_on_is_found() {
    let mut world = World::new(15);
    let elsewhere = world.sign(&log_of(&world.sound.rows));
    for _ in 0..ROUNDS {
        let mut stored = world.sound.clone();
        let backup = world.below(RECORDS);
        stored.rows.truncate(backup as usize);
        stored.checkpoints.retain(|(size, _)| *size <= backup);
        let until = backup + world.below(2 * RECORDS);
        world.grow(&mut stored, until);
        let report = world.verify(&stored, &[&elsewhere]);
        if until < RECORDS {
            let cut = Finding { index: until, fault: Fault::CutShort { size: RECORDS } };
            assert_eq!(report.completeness, Some(cut));
        } else {
            // The log itself vouches for its new records; the checkpoint tells them apart.
            let last = until.min(RECORDS - 1) / 7 * 7;
            let rewritten = Finding { index: last, fault: Fault::Rewritten { size: RECORDS } };
            assert_eq!(report.integrity, Some(rewritten));
        }
    }
}

#[test]
fn a_log_written_anew_is_found_by_the_next_checkpoint() {
    let mut world = World::new(16);
    for _ in 0..ROUNDS {
        let mut stored = world.sound.clone();
        let index = world.below(RECORDS / 7 * 7);
        stored.rows.truncate(index as usize);
        world.grow(&mut stored, RECORDS);
        stored.checkpoints = world.sound.checkpoints.clone();
        let report = world.verify(&stored, &[]);
        let (from, size) = (index / 7 * 7, index / 7 * 7 + 7);
        let rewritten = Finding { index: from, fault: Fault::Rewritten { size } };
        assert_eq!((report.integrity, report.anchored), (Some(rewritten), from));
    }
}

#[test]
fn a_checkpoint_signed_with_another_key_is_found() {
    let (foreign, foreign_private) = pair(ORIGIN, 66);
    World::new(17).finds(|world, stored| {
        let which = world.below(stored.checkpoints.len() as u64) as usize;
        let (size, note) = &mut stored.checkpoints[which];
        let checkpoint = Checkpoint::unverified(note).unwrap();
        let sign = |text: &[u8]| foreign_private.sign(text).to_bytes();
        let resigned = checkpoint.sign(&foreign, sign).unwrap();
        // Honestly under its own name and id, or under the trusted key's id.
        let id_of = |note: &str| note.rsplit_once(' ').unwrap().1[..5].to_owned();
        let honest = world.below(2) == 0;
        let (own, trusted) = (id_of(&resigned), id_of(note));
        *note = if honest { resigned } else { resigned.replace(&own, &trusted) };
        *size
    });
}

#[test]
fn a_checkpoint_in_the_wrong_place_or_unreadable_is_found() {
    let mut world = World::new(18);
    let mut stored = world.sound.clone();
    stored.checkpoints[0].0 = 10;
    let report = world.verify(&stored, &[]);
    let late = Finding { index: 7, fault: Fault::LateCheckpoint { size: 7 } };
    assert_eq!(report.integrity, Some(late));
    stored.checkpoints[0] = (3, "nothing\n".into());
    let report = world.verify(&stored, &[]);
    assert_eq!(report.integrity.unwrap().index, 3);
    // Of another log, by a trusted key.
    let (other, private) = pair("other", 4);
    let checkpoint = Checkpoint { origin: "other".into(), size: 7, root: [0; 32] };
    let signed = checkpoint.sign(&other, |text| private.sign(text).to_bytes()).unwrap();
    world.sound.checkpoints[0] = (7, signed);
    let report = world.verify(&world.sound.clone(), &[]);
    assert_eq!(report.integrity.unwrap().fault, Fault::ForeignCheckpoint { size: 7 });
}

#[test]
fn every_column_must_say_what_the_record_says() {
    let world = World::new(19);
    let row = &world.sound.rows[0];
    let read = Record::read(&row.bytes).unwrap();
    let right = Columns {
        prev: Some([0; 32]),
        at: Some(read.at),
        actor: Some(&read.actor),
        kind: Some(&read.kind),
        subject: Some(&read.subject),
    };
    let integrity = |columns| {
        let mut verifier = Verifier::new(Vec::new(), 0);
        let bytes = Some(&row.bytes[..]);
        verifier.record(StoredRecord { seq: 0, bytes, leaf: row.leaf, columns });
        verifier.finish().integrity.map(|finding| finding.fault)
    };
    assert_eq!(integrity(right), None);
    for (column, columns) in [
        ("prev", Columns { prev: Some([1; 32]), ..right }),
        ("at", Columns { at: Some(read.at.plus_ms(1)), ..right }),
        ("actor", Columns { actor: Some("person:alice"), ..right }),
        ("kind", Columns { kind: Some("call.intend"), ..right }),
        ("subject", Columns { subject: Some(""), ..right }),
    ] {
        assert_eq!(integrity(columns), Some(Fault::Column { column }));
    }
}

#[test]
fn a_pruned_log_still_verifies() {
    let world = World::new(20);
    let prune = |keep_from: u64, pruned_below: u64| {
        let mut verifier = Verifier::new(vec![world.key.clone()], pruned_below);
        world.sound.checkpoints.iter().for_each(|(_, note)| verifier.checkpoint(note));
        for row in &world.sound.rows {
            let bytes = (row.seq >= keep_from).then_some(&row.bytes[..]);
            let columns = Columns::default();
            verifier.record(StoredRecord { seq: row.seq, bytes, leaf: row.leaf, columns });
        }
        verifier.finish()
    };
    let report = prune(20, 20);
    assert!(report.is_sound(), "{report:?}");
    assert_eq!((report.pruned, report.checkpoints), (20, RECORDS / 7));
    let report = prune(20, 15);
    assert_eq!(report.integrity, Some(Finding { index: 15, fault: Fault::Pruned }));
}

#[test]
fn records_out_of_order_are_found() {
    let world = World::new(21);
    let mut verifier = Verifier::new(Vec::new(), 0);
    for index in [0, 1, 1, 2] {
        let row: &Row = &world.sound.rows[index];
        let (bytes, columns) = (Some(&row.bytes[..]), Columns::default());
        verifier.record(StoredRecord { seq: row.seq, bytes, leaf: row.leaf, columns });
    }
    let report = verifier.finish();
    assert_eq!(report.integrity, Some(Finding { index: 1, fault: Fault::OutOfOrder }));
    assert_eq!((report.faults, report.records), (1, 3));
}

#[test]
fn a_report_is_readable() {
    let fault = Fault::Moved { stored: 8, claimed: 7 };
    assert_eq!(
        fault.to_string(),
        "records were moved, inserted or renumbered: index 8 holds record 7"
    );
    let json = serde_json::to_string(&Finding { index: 7, fault }).unwrap();
    assert_eq!(json, r#"{"index":7,"fault":"moved","stored":8,"claimed":7}"#);
}

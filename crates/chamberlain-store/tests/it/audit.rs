//! The audit log as it is stored: sound as written, provable, and every falsification found.

use chamberlain_core::audit::checkpoint::Checkpoint;
use chamberlain_core::audit::merkle::{Frontier, leaf_hash};
use chamberlain_core::audit::note::VerifierKey;
use chamberlain_core::audit::proof;
use chamberlain_core::audit::record::Record;
use chamberlain_core::audit::verify::Fault;
use chamberlain_core::record::{Certainty, Severity};
use chamberlain_store::{AuditFilter, Store, StoredCheckpoint};
use ed25519_dalek::{Signer, SigningKey};
use rusqlite::Connection;

use crate::support::*;

const ORIGIN: &str = "chamberlain.test/audit";

fn pair(seed: u8) -> (VerifierKey, SigningKey) {
    let private = SigningKey::from_bytes(&[seed; 32]);
    let public = private.verifying_key().to_bytes();
    (VerifierKey::new(ORIGIN, &public).unwrap(), private)
}

/// Signs the head of the log and keeps it in the store; gives the note.
fn sign(store: &Store, seed: u8) -> String {
    let (key, private) = pair(seed);
    let (size, root) = store.audit_head().unwrap();
    let head = Checkpoint { origin: ORIGIN.into(), size, root };
    let note = head.sign(&key, |text| private.sign(text).to_bytes()).unwrap();
    let stored = StoredCheckpoint { size, at: now(), note: note.clone().into_bytes() };
    store.insert_checkpoint(stored).unwrap();
    note
}

/// Forty records with a checkpoint in the middle and one at the end.
fn grow(store: &Store) -> String {
    for half in 0..2 {
        for _ in 0..9 {
            let call = intent("alpha", usd(1));
            intend(store, &call);
            store.settle(settlement(&call, usd(1), Certainty::Settled));
        }
        store.note(notice("call.refused", Severity::Info));
        store.note(notice("budget.threshold", Severity::High));
        settle_down(store);
        if half == 0 {
            sign(store, 1);
        }
    }
    sign(store, 1)
}

#[test]
fn what_was_written_verifies_over_restarts_and_refusals() {
    let house = House::new();
    let store = house.open();
    grow(&store);
    let (key, _) = pair(1);
    let lost = intent("alpha", usd(3));
    intend(&store, &lost);
    store.lease(vec![lease(&lost.accounts[0], usd(9), usd(99))]).blocking_recv().unwrap().unwrap();
    let house = house.killed(store);
    let store = house.try_open("boot-2").unwrap();
    store.settle(settlement(&lost, usd(1), Certainty::Settled));
    settle_down(&store);
    let report = verified(&store, &[key], &[]);
    assert!(report.is_sound(), "{report:?}");
    assert_eq!((report.checkpoints, report.anchored), (2, 40));
    assert_eq!(store.audit_head().unwrap().0, report.records);
}

#[test]
fn every_record_is_proven_also_across_stored_subtrees() {
    let house = House::new();
    let store = house.open();
    let mut frontier = Frontier::default();
    let mut roots = vec![frontier.root()];
    for _ in 0..900 {
        store.note(notice("call.refused", Severity::Info));
    }
    settle_down(&store);
    let mut leaves = Vec::new();
    store
        .audit_each(0, |record| {
            leaves.push(leaf_hash(record.bytes));
            frontier.append(leaf_hash(record.bytes));
            roots.push(frontier.root());
            std::ops::ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!(store.audit_head().unwrap(), (900, frontier.root()));
    for size in [1, 255, 256, 257, 512, 700, 900] {
        for seq in [0, 1, 254, 255, 256, 511, 600, size - 1] {
            let hashes = store.audit_inclusion(seq, size);
            if seq >= size {
                assert!(hashes.is_err());
                continue;
            }
            let (leaf, root) = (&leaves[seq as usize], &roots[size as usize]);
            assert!(proof::includes(seq, size, leaf, &hashes.unwrap(), root), "{seq} of {size}");
        }
        let hashes = store.audit_consistency(size, 900).unwrap();
        let (old, new) = (&roots[size as usize], &roots[900]);
        assert!(proof::is_consistent(size, 900, old, new, &hashes), "{size}");
    }
    // A start reads the edge of the tree back.
    drop(store);
    let store = house.open();
    assert_eq!(store.audit_head().unwrap().0, 901, "the start is on record");
    assert!(verified(&store, &[], &[]).is_sound());
}

/// Falsifies the stored log of forty records with a second connection; gives the first fault that
/// the verifier finds.
fn falsified(falsify: impl FnOnce(&Connection)) -> (u64, Fault) {
    let house = House::new();
    let store = house.open();
    let note = grow(&store);
    falsify(&house.sql());
    let (key, _) = pair(1);
    let report = verified(&store, &[key], &[note]);
    let finding = report.integrity.or(report.completeness).expect("nothing was found");
    (finding.index, finding.fault)
}

fn run(sql: &str) -> impl FnOnce(&Connection) {
    move |connection| {
        let changed = connection.execute_batch(sql);
        changed.unwrap();
    }
}

/// A record of the log as somebody falsifies it.
#[derive(Clone, Debug)]
struct Stored {
    seq: u64,
    bytes: Vec<u8>,
    leaf: [u8; 32],
}

impl Stored {
    /// Changes the bytes and gives them the hash that belongs to them.
    fn rewrite(&mut self) {
        let text = std::str::from_utf8(&self.bytes).unwrap();
        let text = text.replace("alpha", "omega").replace("Something", "Nothing");
        self.bytes = text.into_bytes();
        self.leaf = leaf_hash(&self.bytes);
    }
}

/// Takes the log apart.
fn stored(connection: &Connection) -> Vec<Stored> {
    let mut query =
        connection.prepare("SELECT first, heads, bytes FROM audit_blocks ORDER BY first").unwrap();
    let mut rows = query.query([]).unwrap();
    let mut records = Vec::new();
    while let Some(row) = rows.next().unwrap() {
        let (heads, bytes): (Vec<u8>, Vec<u8>) = (row.get(1).unwrap(), row.get(2).unwrap());
        let mut rest = &bytes[..];
        for (seq, head) in (row.get(0).unwrap()..).zip(heads.as_chunks::<36>().0) {
            let (length, leaf) = head.split_first_chunk().unwrap();
            let (bytes, later) = rest.split_at(u32::from_be_bytes(*length) as usize);
            rest = later;
            records.push(Stored { seq, bytes: bytes.to_vec(), leaf: leaf.try_into().unwrap() });
        }
    }
    records
}

/// Puts a log together, in blocks of ten.
fn store(connection: &Connection, records: &[Stored]) {
    connection.execute("DELETE FROM audit_blocks", []).unwrap();
    for block in records.chunk_by(|one, next| next.seq == one.seq + 1 && next.seq % 10 > 0) {
        let head = |record: &Stored| {
            let length = record.bytes.len() as u32;
            [&length.to_be_bytes()[..], &record.leaf].concat()
        };
        let heads: Vec<u8> = block.iter().flat_map(head).collect();
        let bytes: Vec<u8> = block.iter().flat_map(|record| record.bytes.clone()).collect();
        connection
            .execute(
                "INSERT INTO audit_blocks (first, heads, bytes) VALUES (?1, ?2, ?3)",
                rusqlite::params![block[0].seq, heads, bytes],
            )
            .unwrap();
    }
}

/// Changes the log record by record.
fn edit(change: impl FnOnce(&mut Vec<Stored>)) -> impl FnOnce(&Connection) {
    move |connection| {
        let mut records = stored(connection);
        change(&mut records);
        store(connection, &records);
    }
}

/// Gives every record from `from` on a number that is `by` higher.
fn renumber(records: &mut [Stored], by: i64) {
    records.iter_mut().for_each(|record| record.seq = record.seq.strict_add_signed(by));
}

#[test]
fn every_falsification_is_found_at_its_place() {
    let bytes = edit(|log| log[4].bytes[80] ^= 1);
    assert_eq!(falsified(bytes), (4, Fault::Changed));
    let leaf = edit(|log| log[4].leaf = [0; 32]);
    assert_eq!(falsified(leaf), (4, Fault::Changed));
    assert_eq!(falsified(edit(|log| log[4].rewrite())), (4, Fault::Replaced));
    let gone = edit(|log| drop(log.remove(4)));
    assert_eq!(falsified(gone), (4, Fault::Gap { count: 1 }));
    let closed = edit(|log| {
        log.remove(4);
        renumber(&mut log[4..], -1);
    });
    assert_eq!(falsified(closed).0, 4, "removed, and the rest renumbered");
    let swapped = edit(|log| {
        log.swap(4, 6);
        (log[4].seq, log[6].seq) = (4, 6);
    });
    assert_eq!(falsified(swapped).0, 4);
    let inserted = edit(|log| {
        renumber(&mut log[4..], 1);
        let twin = Stored { seq: 4, ..log[2].clone() };
        log.insert(4, twin);
    });
    assert_eq!(falsified(inserted).0, 4);
    let cut = "DELETE FROM checkpoints WHERE size > 30";
    let cut = |sql: &Connection| (edit(|log| log.truncate(30))(sql), run(cut)(sql)).1;
    assert_eq!(falsified(cut), (30, Fault::CutShort { size: 40 }));
    let (index, fault) = falsified(edit(|log| log[39].rewrite()));
    assert_eq!(fault, Fault::Rewritten { size: 40 }, "the last record has no next one");
    assert!(index >= 20, "the first half is vouched for");
}

#[test]
fn a_list_that_would_hide_a_record_is_found() {
    let lists = [
        ("UPDATE audit_finder SET kind = 'call.settled' WHERE seq = 18", 18, "kind"),
        ("UPDATE audit_finder SET kind = CAST(x'ff' AS TEXT) WHERE seq = 18", 18, "kind"),
        ("UPDATE audit_finder SET subject = 'staging' WHERE seq = 18", 18, "subject"),
        ("UPDATE audit_finder SET seq = 17 WHERE seq = 18", 17, "kind"),
        ("DELETE FROM audit_finder WHERE seq = 18", 18, "kind"),
        ("INSERT INTO audit_finder VALUES (4, 'budget.changed', 'alpha')", 4, "kind"),
    ];
    for (sql, seq, column) in lists {
        assert_eq!(falsified(run(sql)), (seq, Fault::Column { column }), "{sql}");
    }
}

/// What can be done to a block that holds the records `first` to `last`: gives what to do, and the
/// record at which it must be found.
type Damage = fn(&mut Dice, first: u64, last: u64, heads: &mut Vec<u8>, bytes: &mut Vec<u8>) -> u64;

struct Dice(u64);

impl Dice {
    /// SplitMix64: the same damage on every run.
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ mixed >> 31) % bound as u64) as usize
    }
}

/// The record of a block whose bytes hold the byte at `place`.
fn owner(first: u64, heads: &[u8], place: usize) -> u64 {
    let mut end = 0;
    let before = heads.as_chunks::<36>().0.iter().take_while(|head| {
        end += u32::from_be_bytes(head[..4].try_into().unwrap()) as usize;
        end <= place
    });
    first + before.count() as u64
}

const DAMAGES: [(&str, Damage); 7] = [
    ("a byte of the records is another", |dice, first, _, heads, bytes| {
        let place = dice.below(bytes.len());
        bytes[place] ^= 1 << dice.below(8);
        owner(first, heads, place)
    }),
    ("a byte of the heads is another", |dice, first, _, heads, _| {
        let place = dice.below(heads.len());
        heads[place] ^= 1 << dice.below(8);
        first + place as u64 / 36
    }),
    ("a byte of the records is gone", |dice, first, _, heads, bytes| {
        // One of two equal neighbours is the same as the other; take the first of a row.
        let mut place = dice.below(bytes.len());
        while place > 0 && bytes[place - 1] == bytes[place] {
            place -= 1;
        }
        bytes.remove(place);
        owner(first, heads, place)
    }),
    ("something is put behind the records", |dice, _, last, _, bytes| {
        bytes.extend(std::iter::repeat_n(b'x', 1 + dice.below(600)));
        last
    }),
    ("the records are cut", |dice, first, _, heads, bytes| {
        let place = dice.below(bytes.len());
        bytes.truncate(place);
        owner(first, heads, place)
    }),
    ("the heads are cut inside of one", |dice, first, last, heads, _| {
        let kept = dice.below((last - first + 1) as usize);
        heads.truncate(36 * kept + 1 + dice.below(35));
        first + kept as u64
    }),
    ("a record lends the next one bytes", |dice, first, last, heads, _| {
        let place = dice.below((last - first) as usize);
        let by = 1 + dice.below(60) as u32;
        for (head, less) in [(place, true), (place + 1, false)] {
            let length: &mut [u8] = &mut heads[36 * head..36 * head + 4];
            let old = u32::from_be_bytes((&*length).try_into().unwrap());
            let new = if less { old - by } else { old + by };
            length.copy_from_slice(&new.to_be_bytes());
        }
        first + place as u64
    }),
];

/// A thousand of each kind, on a log of several blocks.
#[test]
fn damage_to_a_block_is_found_at_its_record() {
    let house = House::new();
    let store = house.open();
    for _ in 0..8 {
        let call = intent("alpha", usd(1));
        intend(&store, &call);
        store.settle(settlement(&call, usd(1), Certainty::Settled));
        store.note(notice("call.refused", Severity::Info));
    }
    settle_down(&store);
    let sql = house.sql();
    sql.pragma_update(None, "synchronous", "OFF").unwrap();
    edit(|log| assert_eq!(log.len(), 24))(&sql);
    let (firsts, size) = ([0, 10, 20], 24);
    assert!(verified(&store, &[], &[]).is_sound());
    let mut dice = Dice(7);
    for (name, damage) in DAMAGES {
        for round in 0..1_000 {
            let place = dice.below(firsts.len());
            let first = firsts[place];
            let last = firsts.get(place + 1).unwrap_or(&size) - 1;
            let row = "SELECT heads, bytes FROM audit_blocks WHERE first = ?1";
            let sound: (Vec<u8>, Vec<u8>) =
                sql.query_row(row, [first], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
            let (mut heads, mut bytes) = sound.clone();
            let index = damage(&mut dice, first, last, &mut heads, &mut bytes);
            let put = "UPDATE audit_blocks SET heads = ?2, bytes = ?3 WHERE first = ?1";
            sql.execute(put, rusqlite::params![first, heads, bytes]).unwrap();
            let report = verified(&store, &[], &[]);
            let named = report.integrity.as_ref().map(|finding| finding.index);
            assert_eq!(named, Some(index), "{name}, round {round}: {report:?}");
            sql.execute(put, rusqlite::params![first, sound.0, sound.1]).unwrap();
        }
    }
    assert!(verified(&store, &[], &[]).is_sound());
}

#[test]
fn blocks_that_are_moved_or_gone_are_found() {
    let in_tens = |change: &'static str| {
        move |sql: &Connection| {
            edit(|_| ())(sql);
            run(change)(sql);
        }
    };
    let gone = in_tens("DELETE FROM audit_blocks WHERE first = 20");
    assert_eq!(falsified(gone), (20, Fault::Gap { count: 10 }));
    let hidden = in_tens("UPDATE audit_blocks SET first = -first WHERE first = 20");
    assert_eq!(falsified(hidden), (20, Fault::Gap { count: 10 }));
    let later = in_tens("UPDATE audit_blocks SET first = 21 WHERE first = 20");
    let (index, fault) = falsified(later);
    assert!(matches!((index, &fault), (20 | 21, Fault::Moved { .. })), "{index}: {fault}");
    let earlier = in_tens("UPDATE audit_blocks SET first = 19 WHERE first = 20");
    assert_eq!(falsified(earlier), (19, Fault::OutOfOrder));
    let swapped = "UPDATE audit_blocks SET first = -1 WHERE first = 10;
                   UPDATE audit_blocks SET first = 10 WHERE first = 20;
                   UPDATE audit_blocks SET first = 20 WHERE first = -1";
    assert_eq!(falsified(in_tens(swapped)).0, 10);
    let twice = "INSERT INTO audit_blocks SELECT first + 5, heads, bytes FROM audit_blocks
                 WHERE first = 20";
    assert_eq!(falsified(in_tens(twice)).0, 25);
    let nothing = "INSERT INTO audit_blocks VALUES (40, x'', x'')";
    assert_eq!(falsified(in_tens(nothing)), (40, Fault::Changed));
}

#[test]
fn a_checkpoint_signed_by_somebody_else_is_found() {
    let house = House::new();
    let store = house.open();
    grow(&store);
    store.note(notice("call.refused", Severity::Info));
    settle_down(&store);
    sign(&store, 2);
    let report = verified(&store, &[pair(1).0], &[]);
    assert_eq!(report.integrity.unwrap().fault, Fault::ForeignCheckpoint { size: 41 });
}

#[test]
fn an_old_backup_is_found_by_a_checkpoint_kept_elsewhere() {
    let house = House::new();
    let store = house.open();
    grow(&store);
    let backup = house.killed(store);
    let store = house.open();
    let note = grow(&store);
    drop(store);
    let store = backup.open();
    let report = verified(&store, &[pair(1).0], &[note]);
    let fault = report.completeness.unwrap().fault;
    assert!(matches!(fault, Fault::CutShort { .. }), "{fault}");
}

#[test]
fn records_are_found_by_number_time_kind_and_subject() {
    let house = House::new();
    let store = house.open();
    grow(&store);
    let found = |filter: AuditFilter| {
        let mut found = Vec::new();
        store
            .audit_matching(&filter, |record| {
                found.push(record.seq);
                std::ops::ControlFlow::Continue(())
            })
            .unwrap();
        found
    };
    let all = AuditFilter::default;
    assert_eq!(found(all()).len(), 40);
    assert_eq!(found(AuditFilter { from: 3, to: Some(6), ..all() }), [3, 4, 5]);
    let kind = |kind: &str| AuditFilter { kind: Some(kind.into()), ..all() };
    assert_eq!(found(kind("budget.threshold")), [19, 39]);
    assert_eq!(found(kind("budget.")), [19, 39]);
    assert_eq!(found(kind("budget")), [0; 0]);
    assert_eq!(found(kind("call.")).len(), 38, "records of calls and refusals");
    assert_eq!(found(kind("call.intent")).len(), 18);
    let late = AuditFilter { from: 19, to: Some(39), ..kind("budget.threshold") };
    assert_eq!(found(late), [19]);
    let subject = AuditFilter { subject: Some("production".into()), ..kind("call.") };
    assert_eq!(found(subject), [18, 38]);
    let later = AuditFilter { since: Some(now().plus_ms(1)), ..all() };
    assert_eq!(found(later).len(), 18, "settlements are later");
    let record = store.audit_record(19).unwrap().unwrap();
    assert_eq!(Record::read(&record).unwrap().kind, "budget.threshold");
    assert_eq!(store.audit_record(40).unwrap(), None);
}

#[test]
fn the_last_change_of_an_operator_is_found_and_calls_are_none() {
    let house = House::new();
    let store = house.open();
    assert_eq!(store.last_change_seq().unwrap(), None);
    store.note(notice("call.refused", Severity::Info));
    store.note(notice("upstream_key.added", Severity::Info));
    store.note(notice("budgetary.matter", Severity::Info));
    intend(&store, &intent("alpha", usd(1)));
    settle_down(&store);
    assert_eq!(store.last_change_seq().unwrap(), Some(1));
}

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

/// Changes the bytes of a record and gives them the hash that belongs to them.
fn rewrite(connection: &Connection, seq: u64) {
    let bytes: Vec<u8> = connection
        .query_row("SELECT bytes FROM audit WHERE seq = ?1", [seq], |row| row.get(0))
        .unwrap();
    let text = String::from_utf8(bytes).unwrap();
    let text = text.replace("alpha", "omega").replace("Something", "Nothing");
    connection
        .execute(
            "UPDATE audit SET bytes = ?2, leaf = ?3 WHERE seq = ?1",
            rusqlite::params![seq, text.as_bytes(), leaf_hash(text.as_bytes())],
        )
        .unwrap();
}

#[test]
fn every_falsification_is_found_at_its_place() {
    let bytes = "UPDATE audit
         SET bytes = CAST(replace(CAST(bytes AS TEXT), 'alpha', 'omega') AS BLOB) WHERE seq = 4";
    let leaf = "UPDATE audit SET leaf = zeroblob(32) WHERE seq = 4";
    let short = "UPDATE audit SET leaf = x'00' WHERE seq = 4";
    for sql in [bytes, leaf, short] {
        assert_eq!(falsified(run(sql)), (4, Fault::Changed), "{sql}");
    }
    assert_eq!(falsified(|sql| rewrite(sql, 4)), (4, Fault::Replaced));
    let gone = "DELETE FROM audit WHERE seq = 4";
    assert_eq!(falsified(run(gone)), (4, Fault::Gap { count: 1 }));
    let closed = "DELETE FROM audit WHERE seq = 4;
                  UPDATE audit SET seq = -seq WHERE seq > 4;
                  UPDATE audit SET seq = -seq - 1 WHERE seq < -4";
    assert_eq!(falsified(run(closed)).0, 4, "removed, and the rest renumbered");
    let swapped = "UPDATE audit SET seq = -1 WHERE seq = 4; UPDATE audit SET seq = 4 WHERE seq = 6;
                   UPDATE audit SET seq = 6 WHERE seq = -1";
    assert_eq!(falsified(run(swapped)).0, 4);
    let inserted = "UPDATE audit SET seq = -seq WHERE seq >= 4;
                    UPDATE audit SET seq = -seq + 1 WHERE seq <= -4;
                    INSERT INTO audit SELECT 4, at, kind, subject, bytes, leaf FROM audit WHERE seq = 2";
    assert_eq!(falsified(run(inserted)).0, 4);
    let columns = [
        ("at = at + 1", 4, "at"),
        ("kind = 'call.settled'", 4, "kind"),
        ("subject = 'staging'", 18, "subject"),
        ("subject = NULL", 18, "subject"),
        ("kind = CAST(x'ff' AS TEXT)", 18, "kind"),
    ];
    for (set, seq, column) in columns {
        let sql = format!("UPDATE audit SET {set} WHERE seq = {seq}");
        assert_eq!(falsified(run(&sql)), (seq, Fault::Column { column }), "{sql}");
    }
    let cut = "DELETE FROM audit WHERE seq >= 30; DELETE FROM checkpoints WHERE size > 30";
    assert_eq!(falsified(run(cut)), (30, Fault::CutShort { size: 40 }));
    let (index, fault) = falsified(|sql| rewrite(sql, 39));
    assert_eq!(fault, Fault::Rewritten { size: 40 }, "the last record has no next one");
    assert!(index >= 20, "the first half is vouched for");
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
    let subject = AuditFilter { subject: Some("production".into()), ..kind("call.") };
    assert_eq!(found(subject), [18, 38]);
    let later = AuditFilter { since: Some(now().plus_ms(1)), ..all() };
    assert_eq!(found(later).len(), 18, "settlements are later");
    let record = store.audit_record(19).unwrap().unwrap();
    assert_eq!(Record::read(&record).unwrap().kind, "budget.threshold");
    assert_eq!(store.audit_record(40).unwrap(), None);
}

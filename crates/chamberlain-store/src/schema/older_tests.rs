//! Stores that an earlier version left behind: opened, they say what they said.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use chamberlain_core::audit::log::Log;
use chamberlain_core::audit::merkle::Hash;
use chamberlain_core::audit::record;
use chamberlain_core::audit::verify::{Fault, Report, Verifier};
use chamberlain_core::id::CallId;
use chamberlain_core::record::{Notice, Severity};
use chamberlain_core::time::Clock;

use super::*;
use crate::audit::STORED_LEVEL_MIN;
use crate::{AuditFilter, OpenOptions, Store};

/// How many steps there were before audit records were kept in blocks.
fn before_blocks() -> usize {
    STEPS.iter().position(|step| step.name.ends_with("_audit_blocks")).unwrap()
}

const RECORDS: u64 = 700;

#[derive(Debug)]
struct Still;

impl Clock for Still {
    fn now(&self) -> Timestamp {
        Timestamp::from_ms(1_795_424_400_000)
    }
}

fn notice(number: u64) -> Notice {
    Notice {
        at: Timestamp::from_ms(5),
        kind: if number.is_multiple_of(50) { "budget.threshold" } else { "call.refused" }.into(),
        severity: Severity::Info,
        subject: format!("subject {}", number % 7),
        message: "m".repeat(number as usize % 90),
        facts: serde_json::Map::new(),
        notify: false,
    }
}

/// Writes a log as versions before the blocks did, and two calls; gives its root and the calls.
fn written_before_blocks(path: &Path) -> (Hash, [CallId; 2]) {
    drop(crate::file::private(path).unwrap());
    let mut connection = crate::file::open_for_writing(path).unwrap();
    migrate_to(&mut connection, &STEPS[..before_blocks()], Still.now()).unwrap();
    let mut log = Log::default();
    connection.execute_batch("BEGIN").unwrap();
    for number in 0..RECORDS {
        let (place, mut bytes, mut nodes) = (log.place(), Vec::new(), Vec::new());
        let notice = notice(number);
        record::notice(&mut bytes, &place, &notice);
        let leaf = log.append_with(&bytes, |node, hash| nodes.push((node, *hash)));
        let row = params![number, notice.at.ms(), notice.kind, notice.subject, bytes, leaf];
        connection.execute("INSERT INTO audit VALUES (?1, ?2, ?3, ?4, ?5, ?6)", row).unwrap();
        for (node, hash) in nodes.into_iter().filter(|(node, _)| node.level >= STORED_LEVEL_MIN) {
            let row = params![node.level, node.index, hash];
            connection.execute("INSERT INTO audit_nodes VALUES (?1, ?2, ?3)", row).unwrap();
        }
    }
    let calls = [3, 4].map(|at| CallId::mint(Timestamp::from_ms(at), [at as u8; 10]));
    connection.execute("INSERT INTO account_sets VALUES (1, '[]')", []).unwrap();
    for (place, call) in calls.iter().enumerate() {
        let row = params![place + 1, call.to_bytes(), 3 + place as u64, place as u64, 600 + place];
        connection
            .execute(
                "INSERT INTO calls (seq, id, at, virtual_key, environment, route, model, max_tokens,
                     stream, source, reserved, account_set, intent_seq, closed_seq, closed_at,
                     outcome, certainty, cost)
                 VALUES (?1, ?2, ?3, 'k', 'e', 'messages', 'm', 1, 0, '10.0.0.1', 9, 1, ?4, ?5, 9,
                     'completed', 'settled', 8)",
                row,
            )
            .unwrap();
    }
    connection.execute_batch("COMMIT").unwrap();
    (log.root(), calls)
}

fn open(path: &Path) -> Store {
    let options = OpenOptions {
        clock: Arc::new(Still),
        boot_id: "boot".into(),
        read_only: false,
        bytes_max: None,
    };
    Store::open(path, options).unwrap()
}

fn verified(store: &Store) -> Report {
    let mut verifier = Verifier::new(Vec::new(), 0);
    let each = |record: crate::StoredRecord<'_>, hash| {
        verifier.hashed(record.found(), hash);
        ControlFlow::Continue(())
    };
    store.audit_hashed(each).unwrap();
    verifier.finish()
}

#[test]
fn a_log_of_single_records_is_put_in_blocks_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chamberlain.db");
    let (root, calls) = written_before_blocks(&path);
    let store = open(&path);
    assert_eq!(store.audit_head().unwrap(), (RECORDS, root));
    let report = verified(&store);
    assert!(report.is_sound() && report.records == RECORDS, "{report:?}");
    let path = store.audit_inclusion(299, RECORDS).unwrap();
    assert!(path.len() > 5);
    let mut found = Vec::new();
    let kind = AuditFilter { kind: Some("budget.".into()), ..AuditFilter::default() };
    let each = |record: crate::StoredRecord<'_>| {
        found.push(record.seq);
        ControlFlow::Continue(())
    };
    store.audit_matching(&kind, each).unwrap();
    assert_eq!(found, (0..RECORDS).step_by(50).collect::<Vec<_>>());
    for (place, call) in calls.into_iter().enumerate() {
        let row = store.call(call).unwrap().unwrap();
        assert_eq!(
            (row.id, row.seq, row.end.unwrap().seq),
            (call, place as u64 + 1, 600 + place as u64)
        );
    }
    store.note(notice(RECORDS));
    assert_eq!(store.audit_head().unwrap().0, RECORDS + 1);
    assert!(verified(&store).is_sound(), "it goes on");
}

#[test]
fn what_somebody_did_to_single_records_is_found_in_blocks() {
    let falsifications = [
        ("DELETE FROM audit WHERE seq = 300", Fault::Gap { count: 1 }),
        ("UPDATE audit SET bytes = CAST(bytes || x'20' AS BLOB) WHERE seq = 300", Fault::Changed),
        ("UPDATE audit SET leaf = x'00' WHERE seq = 300", Fault::Changed),
        ("UPDATE audit SET kind = 'a' WHERE seq = 300", Fault::Column { column: "kind" }),
    ];
    for (sql, fault) in falsifications {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("chamberlain.db");
        written_before_blocks(&path);
        let connection = crate::file::open_for_writing(&path).unwrap();
        connection.execute_batch(sql).unwrap();
        drop(connection);
        let report = verified(&open(&path));
        let found = report.integrity.or(report.completeness).unwrap();
        assert_eq!((found.index, found.fault), (300, fault), "{sql}");
    }
}

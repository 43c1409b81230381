//! The audit log: verified, proved, exported, signed.

use chamberlain_core::audit::tlog_proof::TlogProof;

use super::*;
use crate::command::{AuditCheckpoint, AuditExport, AuditProve, AuditVerify};
use crate::jobs;

fn busy(keys: usize) -> World {
    let world = World::new();
    for number in 0..keys {
        world.ask(create(&format!("key {number}"))).unwrap();
    }
    world
}

#[test]
fn a_log_kept_properly_verifies() {
    let world = busy(20);
    let head = world.ask(AuditCheckpoint {}).unwrap();
    assert_eq!(head.size, 20);
    let again = world.ask(AuditCheckpoint {}).unwrap();
    assert_eq!(again, head, "nothing is new, so nothing is signed");
    world.ask(create("one more")).unwrap();
    let verified = world.ask(AuditVerify { checkpoint: Some(head.note.clone()) }).unwrap();
    assert!(verified.ok && verified.external, "{:?}", verified.problems);
    assert_eq!((verified.records, verified.last_checkpoint), (21, Some(20)));
    assert!(verified.signer.starts_with("chamberlain/"));
}

#[test]
fn a_log_from_before_a_checkpoint_kept_elsewhere_does_not() {
    let world = busy(5);
    // The checkpoint of the same vault's log, longer than this one.
    let head = {
        let signer = world.commander.signer().unwrap();
        let head = chamberlain_core::audit::checkpoint::Checkpoint {
            origin: signer.name().to_owned(),
            size: 9,
            root: [3; 32],
        };
        head.sign(&signer, |text| world.commander.vault.sign(text)).unwrap()
    };
    let verified = world.ask(AuditVerify { checkpoint: Some(head) }).unwrap();
    assert!(!verified.ok);
    assert!(verified.problems[0].problem.contains("cut or rolled back"), "{:?}", verified.problems);
    for rubbish in ["", "rubbish"] {
        let asked = AuditVerify { checkpoint: Some(rubbish.to_owned()) };
        assert!(!world.ask(asked).unwrap().ok, "{rubbish:?}");
    }
    assert!(world.verifies());
}

#[test]
fn a_log_that_grows_and_is_signed_meanwhile_verifies() {
    let world = busy(60);
    let over = std::sync::atomic::AtomicBool::new(false);
    let proofs: Vec<_> = std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0.. {
                if over.load(std::sync::atomic::Ordering::Relaxed) {
                    return;
                }
                world.ask(create(&format!("meanwhile {number}"))).unwrap();
                world.ask(AuditCheckpoint {}).unwrap();
            }
        });
        let proofs = (0..25).map(|_| world.ask(AuditVerify::default()).unwrap()).collect();
        over.store(true, std::sync::atomic::Ordering::Relaxed);
        proofs
    });
    for proof in proofs {
        assert!(proof.ok, "{:?} of {} records", proof.problems, proof.records);
        assert!(proof.last_checkpoint <= Some(proof.records), "{proof:?}");
    }
}

#[test]
fn a_record_is_proved_to_somebody_offline() {
    let world = busy(7);
    world.ask(AuditCheckpoint {}).unwrap();
    world.ask(create("after the head")).unwrap();
    for seq in [0, 3, 6, 7] {
        let proof = world.ask(AuditProve { seq }).unwrap();
        assert_eq!(proof.size, if seq < 7 { 7 } else { 11 });
        let read = TlogProof::read(&proof.text).unwrap();
        read.verify(&[world.commander.signer().unwrap()]).unwrap();
        assert_eq!(Record::read(&read.record).unwrap().seq, seq);
        assert_eq!(world.last_record().kind, "audit.proved");
    }
    assert_eq!(world.refused(AuditProve { seq: 99 }), ErrorCode::NotFound);
}

#[test]
fn an_export_is_whole_and_on_record() {
    let world = busy(10);
    let page = world.ask(AuditExport { from: 2, to: None, limit: Some(5) }).unwrap();
    assert_eq!((page.records.len(), page.next), (5, Some(7)));
    assert_eq!(page.records[0].record.as_ref().unwrap()["kind"], "virtual_key.created");
    let record = world.last_record();
    assert_eq!(record.kind, "audit.exported");
    assert_eq!(record.facts["after"], json!({ "from": 2, "to": 10, "records": 5 }));
    let rest = world.ask(AuditExport { from: 7, to: Some(10), limit: None }).unwrap();
    assert_eq!((rest.records.len(), rest.next), (3, None));
    let none = world.ask(AuditExport { from: 99, to: None, limit: None }).unwrap();
    assert_eq!((none.records.len(), none.next), (0, None));
}

#[test]
fn the_job_signs_and_anchors() {
    let anchors = tempfile::tempdir().unwrap();
    let path = anchors.path().join("heads");
    let mut settings = Settings::default();
    settings.checkpoint.anchor_file = Some(path.clone());
    let world = World::with(settings);
    let job = jobs::all(&world.commander).remove(0);
    job.run(world.clock.now()).unwrap();
    assert!(world.commander.last_checkpoint().unwrap().is_none(), "there is nothing to sign");
    world.ask(create("a")).unwrap();
    job.run(world.clock.now()).unwrap();
    assert_eq!(world.commander.last_checkpoint().unwrap().unwrap().size, 1);
    world.ask(create("b")).unwrap();
    job.run(world.clock.now()).unwrap();
    assert_eq!(world.commander.last_checkpoint().unwrap().unwrap().size, 1, "it is too soon");
    world.clock.turn(60_000);
    job.run(world.clock.now()).unwrap();
    let notes = crate::checkpoint::notes(&std::fs::read_to_string(&path).unwrap());
    assert_eq!(notes.len(), 2);
    let verified = world.ask(AuditVerify { checkpoint: Some(notes.join("\n")) }).unwrap();
    assert!(verified.ok && verified.external, "{:?}", verified.problems);
}

#[test]
fn an_anchor_file_tells_of_a_log_that_was_rolled_back() {
    let anchors = tempfile::tempdir().unwrap();
    let path = anchors.path().join("heads");
    let mut settings = Settings::default();
    settings.checkpoint.anchor_file = Some(path.clone());
    let world = World::with(settings);
    world.ask(create("a")).unwrap();
    let job = jobs::all(&world.commander).remove(0);
    job.run(world.clock.now()).unwrap();
    let verified = world.ask(AuditVerify { checkpoint: None }).unwrap();
    assert!(verified.ok && verified.external, "the anchor file is read without being named");

    // The file knows of nine records, the log of fewer: as after going back to an older copy.
    let signer = world.commander.signer().unwrap();
    let head = chamberlain_core::audit::checkpoint::Checkpoint {
        origin: signer.name().to_owned(),
        size: 9,
        root: [3; 32],
    };
    let note = head.sign(&signer, |text| world.commander.vault.sign(text)).unwrap();
    let before = std::fs::read_to_string(&path).unwrap() + &note + "\n";
    std::fs::write(&path, &before).unwrap();
    let verified = world.ask(AuditVerify { checkpoint: None }).unwrap();
    assert!(verified.problems[0].problem.contains("cut or rolled back"), "{:?}", verified.problems);
    for number in 0..20 {
        world.ask(create(&format!("key {number}"))).unwrap();
    }
    world.clock.turn(60_000);
    let refused = jobs::all(&world.commander).remove(0).run(world.clock.now()).unwrap_err();
    assert!(refused.contains("did not grow"), "{refused}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), before, "no head is added to those");
}

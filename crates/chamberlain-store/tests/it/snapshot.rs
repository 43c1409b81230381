//! Copies made while the store is written, and what becomes of them.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use chamberlain_core::id::UpstreamKeyId;
use chamberlain_core::ledger::account::Balance;
use chamberlain_core::money::Money;
use chamberlain_core::record::Certainty;
use chamberlain_store::snapshot::{self, inspect, mark_interrupted};
use chamberlain_store::{Facts, UpstreamKey, UpstreamKeyState};

use crate::support::*;

#[test]
fn a_copy_has_what_was_promised_and_the_rest_counts_as_spent() {
    let house = House::new();
    let store = house.open();
    let account = accounts("alpha", now()).remove(0);
    store.lease(vec![lease(&account, usd(100), usd(500))]).blocking_recv().unwrap().unwrap();
    let done = intent("alpha", usd(30));
    intend(&store, &done);
    store.settle(settlement(&done, usd(20), Certainty::Settled));
    intend(&store, &intent("alpha", usd(5)));
    let restored = House::new();
    let facts = store.snapshot(&restored.path()).unwrap();
    assert_eq!(facts, inspect(&restored.path()).unwrap());
    assert_eq!((facts.records, facts.calls, facts.root), (4, 2, store.audit_head().unwrap().1));
    snapshot::check_integrity(&restored.path()).unwrap();
    // Spent after the copy: nobody who has the copy alone can know.
    store.settle(settlement(&intent("alpha", usd(1)), usd(1), Certainty::Settled));
    mark_interrupted(&restored.path()).unwrap();
    let names: Vec<_> = std::fs::read_dir(restored.folder.path()).unwrap().collect();
    assert_eq!(names.len(), 1, "one file, no log beside it");
    // The same machine, the same boot.
    let store = restored.open();
    let expected =
        Balance { settled: usd(20), unsettled: usd(80), reserved: Money::ZERO, granted: usd(100) };
    assert_eq!(balance(&store, &account), expected);
}

#[test]
fn a_copy_made_under_load_is_whole() {
    let house = House::new();
    let store = house.open();
    let (stop, promised) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !stop.load(Ordering::SeqCst) {
                    std::thread::sleep(std::time::Duration::from_millis(2));
                    let one = intent("alpha", usd(1));
                    intend(&store, &one);
                    promised.fetch_add(1, Ordering::SeqCst);
                    store.settle(settlement(&one, usd(1), Certainty::Settled));
                }
            });
        }
        for _ in 0..3 {
            let copy = House::new();
            let before = promised.load(Ordering::SeqCst);
            let facts = store.snapshot(&copy.path()).unwrap();
            assert!(facts.calls >= before, "{} of {before}", facts.calls);
            snapshot::check_integrity(&copy.path()).unwrap();
            mark_interrupted(&copy.path()).unwrap();
            let report = verified(&copy.open(), &[], &[]);
            assert_eq!(report.faults, 0, "{report:?}");
        }
        stop.store(true, Ordering::SeqCst);
    });
    assert!(promised.load(Ordering::SeqCst) > 0);
}

#[test]
fn what_was_erased_is_not_in_a_copy() {
    const SEALED: &[u8] = b"the sealed bytes of a key that was removed";
    let house = House::new();
    let store = house.open();
    let id = UpstreamKeyId::mint([7; 16]);
    let key = UpstreamKey {
        id: id.clone(),
        name: "main".into(),
        environment: None,
        state: UpstreamKeyState::Current,
        fingerprint: "00ff".into(),
        hint: "hint".into(),
        created_at: now(),
        removed_at: None,
        last_used_at: None,
        profile: Default::default(),
    };
    let audited = |kind: &'static str| {
        move |change: &mut chamberlain_store::Change<'_>| {
            change.audit(kind, "upstream_key", &Facts::default()).map(drop)
        }
    };
    let added = audited("upstream_key.added");
    store
        .change(actor(), move |change| {
            change.insert_upstream_key(&key, SEALED)?;
            added(change)
        })
        .unwrap();
    let holds = |house: &House| {
        let bytes = std::fs::read(house.path()).unwrap();
        bytes.windows(SEALED.len()).any(|window| window == SEALED)
    };
    let (before, after) = (House::new(), House::new());
    store.snapshot(&before.path()).unwrap();
    assert!(holds(&before), "sealed keys travel sealed");
    let removed = audited("upstream_key.removed");
    store
        .change(actor(), move |change| {
            change.revoke_upstream_key(&id)?;
            removed(change)
        })
        .unwrap();
    store.snapshot(&after.path()).unwrap();
    assert!(!holds(&after));
}

#[test]
fn what_may_have_been_spent_unseen_is_charged_until_a_person_says() {
    let house = House::new();
    let store = house.open();
    let account = accounts("alpha", now()).remove(0);
    let of = account.clone();
    let audit = |change: &mut chamberlain_store::Change<'_>| {
        change.audit("backup.test", "backup", &Facts::default()).map(drop)
    };
    store
        .change(actor(), move |change| {
            change.charge_unseen(&of, usd(40))?;
            audit(change)
        })
        .unwrap();
    let held = Balance {
        unsettled: usd(40),
        granted: usd(40),
        settled: Money::ZERO,
        reserved: Money::ZERO,
    };
    assert_eq!(balance(&store, &account), held);
    let of = account.clone();
    let too_much = store.change(actor(), move |change| {
        change.settle_unseen(&of, usd(41), usd(1))?;
        audit(change)
    });
    assert!(too_much.is_err());
    assert_eq!(balance(&store, &account), held);
    let of = account.clone();
    store
        .change(actor(), move |change| {
            change.settle_unseen(&of, usd(40), usd(3))?;
            audit(change)
        })
        .unwrap();
    let after = balance(&store, &account);
    assert_eq!((after.settled, after.unsettled), (usd(3), Money::ZERO));
}

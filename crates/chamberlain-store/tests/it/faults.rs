//! Full disks, damaged files, files of others: each gets a clear answer and loses nothing.

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use chamberlain_core::ledger::account::Balance;
use chamberlain_core::money::Money;
use chamberlain_core::record::{Certainty, Severity};
use chamberlain_core::time::Clock;
use chamberlain_store::{Facts, OpenOptions, Store, StoreFault};

use crate::support::*;

/// Records calls until the disk is full for anything; gives the last one that got through.
fn fill_up(store: &Store) -> chamberlain_core::record::Intent {
    store.set_bytes_max(Some(1));
    let mut last = None;
    loop {
        let next = intent("alpha", usd(1));
        match store.intend(next.clone()).blocking_recv().unwrap() {
            Ok(()) => last = Some(next),
            Err(fault) => {
                assert_eq!(fault, StoreFault::DiskFull);
                break;
            }
        }
    }
    // Smaller records may still fit: notices are written until one does not.
    while !is_stuck(store) {}
    last.expect("one got through before the disk was full")
}

/// Queues a notice; true when it was tried in vain, and will be as long as the disk is full.
fn is_stuck(store: &Store) -> bool {
    let tries = |store: &Store| store.health().failure.map_or(0, |failure| failure.tries);
    let before = tries(store);
    store.note(notice("security.real_key_offered", Severity::High));
    loop {
        std::thread::yield_now();
        match store.health() {
            health if health.queued == 0 => return false,
            _ if tries(store) >= before + 2 => return true,
            _ => {}
        }
    }
}

#[test]
fn on_a_full_disk_calls_are_refused_and_what_is_owed_is_written_later() {
    let house = House::new();
    let store = house.open();
    let last = fill_up(&store);
    let account = &last.accounts[0];
    let before = balance(&store, account);
    let answer = store.intend(intent("alpha", usd(1))).blocking_recv().unwrap();
    assert_eq!(answer, Err(StoreFault::Failing(Box::new(StoreFault::DiskFull))));
    let lease = store.lease(vec![lease(account, usd(1), usd(9))]).blocking_recv().unwrap();
    assert_eq!(lease, Err(StoreFault::Failing(Box::new(StoreFault::DiskFull))));
    store.settle(settlement(&last, Money::ZERO, Certainty::Settled));
    let failure = store.health().failure.unwrap();
    assert_eq!((failure.fault, failure.refused), (StoreFault::DiskFull, 2));
    assert_eq!(balance(&store, account), before, "nothing of it is visible");

    store.set_bytes_max(None);
    while store.health().failure.is_some() {
        std::thread::yield_now();
    }
    settle_down(&store);
    let after = balance(&store, account);
    assert_eq!(after, Balance { reserved: before.reserved.checked_sub(usd(1)).unwrap(), ..before });
    let kinds = kinds(&store);
    let tail = ["store.recovered", "security.real_key_offered", "call.settled"];
    assert_eq!(kinds[kinds.len() - 3..], tail);
}

#[test]
fn a_store_that_is_closed_on_a_full_disk_says_so() {
    let house = House::new();
    let store = house.open();
    let last = fill_up(&store);
    store.settle(settlement(&last, Money::ZERO, Certainty::Settled));
    // Pages set free by rolled back calls may be enough for the end; what matters is that the
    // answer is true.
    let closed = store.close();
    drop(store);
    let store = house.open();
    let reserved = balance(&store, &last.accounts[0]).reserved;
    assert_eq!(reserved, Money::ZERO, "nothing stays reserved, however it was closed: {closed:?}");
}

#[test]
fn a_damaged_file_is_named() {
    let house = House::new();
    let store = house.open();
    for _ in 0..200 {
        intend(&store, &intent("alpha", usd(1)));
    }
    store.close().unwrap();
    drop(store);
    let bytes = std::fs::read(house.path()).unwrap();
    let mut damaged = bytes.clone();
    damaged[4096..8192].fill(0xa5);
    for damaged in [damaged, b"not a database at all, but long enough to look".repeat(100)] {
        std::fs::write(house.path(), damaged).unwrap();
        let fault = house.try_open(BOOT).unwrap_err();
        assert!(matches!(fault, StoreFault::Damaged(_)), "{fault}");
        assert!(fault.to_string().contains("restore the last backup"), "{fault}");
    }
}

#[test]
fn a_killed_store_is_checked_for_damage() {
    let house = House::new();
    let store = house.open();
    intend(&store, &intent("alpha", usd(1)));
    let house = house.killed(store);
    // A page that nothing reads when the store is opened: only a check finds the damage.
    let sql = house.sql();
    let page: u64 = sql
        .query_row("SELECT rootpage FROM sqlite_schema WHERE name = 'checkpoints'", [], |row| {
            row.get(0)
        })
        .unwrap();
    drop(sql);
    let mut bytes = std::fs::read(house.path()).unwrap();
    let start = (page as usize - 1) * 4096;
    bytes[start..start + 4096].fill(0xa5);
    std::fs::write(house.path(), bytes).unwrap();
    let fault = house.try_open(BOOT).unwrap_err();
    assert!(matches!(fault, StoreFault::Damaged(_)), "{fault}");
}

#[test]
fn a_file_that_is_taken_away_is_noticed_and_may_come_back() {
    let house = House::new();
    let store = house.open();
    let first = intent("alpha", usd(1));
    intend(&store, &first);
    let away = house.folder.path().join("away.db");
    std::fs::rename(house.path(), &away).unwrap();
    house.set_clock(NOW + 1_000);
    let fault = store.intend(intent("alpha", usd(1))).blocking_recv().unwrap().unwrap_err();
    assert!(fault.to_string().contains("moved, replaced or deleted"), "{fault}");
    store.settle(settlement(&first, usd(1), Certainty::Settled));
    std::fs::rename(&away, house.path()).unwrap();
    while store.health().failure.is_some() {
        std::thread::yield_now();
    }
    settle_down(&store);
    assert_eq!(balance(&store, &first.accounts[0]).settled, usd(1));
}

/// A clock that fails once it is asked after the end of the world.
struct BrokenClock(std::sync::atomic::AtomicBool);

impl Clock for BrokenClock {
    fn now(&self) -> chamberlain_core::time::Timestamp {
        assert!(!self.0.load(std::sync::atomic::Ordering::SeqCst), "the clock is broken");
        now()
    }
}

#[test]
fn nobody_waits_for_a_writer_that_is_gone() {
    let house = House::new();
    let clock = Arc::new(BrokenClock(false.into()));
    let shared = Arc::clone(&clock) as Arc<dyn Clock>;
    let options =
        OpenOptions { clock: shared, boot_id: BOOT.into(), read_only: false, bytes_max: None };
    let store = Store::open(&house.path(), options).unwrap();
    clock.0.store(true, std::sync::atomic::Ordering::SeqCst);
    let waiting = store.intend(intent("alpha", usd(1))).blocking_recv();
    assert!(!matches!(waiting, Ok(Ok(()))), "{waiting:?}");
    let refused = loop {
        // Until the writer has fallen all the way, an intent may still reach its queue.
        if let Ok(answer) = store.intend(intent("alpha", usd(1))).blocking_recv() {
            break answer;
        }
    };
    assert_eq!(refused, Err(StoreFault::Closed));
    assert_eq!(store.close(), Err(StoreFault::Closed));
}

#[test]
fn a_store_that_is_not_there_is_not_read() {
    let house = House::new();
    let clock = Arc::clone(&house.clock) as Arc<dyn Clock>;
    let options = OpenOptions { clock, boot_id: BOOT.into(), read_only: true, bytes_max: None };
    let fault = Store::open(&house.path(), options).unwrap_err();
    assert!(matches!(fault, StoreFault::Missing(_)), "{fault}");
    assert!(!house.path().exists());
}

#[test]
fn somebody_elses_database_is_left_alone() {
    let house = House::new();
    house.sql().execute_batch("CREATE TABLE recipes (cake TEXT)").unwrap();
    std::fs::set_permissions(house.path(), PermissionsExt::from_mode(0o600)).unwrap();
    let fault = house.try_open(BOOT).unwrap_err();
    assert!(fault.to_string().contains("another program's file"), "{fault}");
}

#[test]
fn only_one_process_has_the_store() {
    let house = House::new();
    let store = house.open();
    let fault = house.try_open(BOOT).unwrap_err();
    assert_eq!(fault, StoreFault::Locked { path: house.path() });
    drop(store);
    house.open();
}

#[test]
fn the_files_are_for_their_owner_alone() {
    let house = House::new();
    let store = house.open();
    intend(&store, &intent("alpha", usd(1)));
    let modes = modes(house.folder.path());
    let expected =
        ["chamberlain.db", "chamberlain.db-shm", "chamberlain.db-wal", "chamberlain.db.lock"];
    let expected: Vec<_> = expected.iter().map(|name| (name.to_string(), 0o600)).collect();
    assert_eq!(modes, expected);
}

#[test]
fn a_file_open_to_others_is_refused_with_the_cure() {
    let house = House::new();
    drop(house.open());
    std::fs::set_permissions(house.path(), PermissionsExt::from_mode(0o640)).unwrap();
    let fault = house.try_open(BOOT).unwrap_err();
    assert!(fault.to_string().contains("chmod 600"), "{fault}");
}

#[test]
fn a_missing_folder_is_named() {
    let house = House::new();
    let clock = Arc::clone(&house.clock) as Arc<dyn Clock>;
    let path = house.folder.path().join("nowhere").join("chamberlain.db");
    let options = OpenOptions { clock, boot_id: BOOT.into(), read_only: false, bytes_max: None };
    let fault = Store::open(&path, options).unwrap_err();
    assert!(fault.to_string().contains("--data"), "{fault}");
}

#[test]
fn a_reader_beside_the_writer_sees_what_is_committed_and_cannot_write() {
    let house = House::new();
    let store = house.open();
    let first = intent("alpha", usd(7));
    intend(&store, &first);
    let clock = Arc::clone(&house.clock) as Arc<dyn Clock>;
    let options = OpenOptions { clock, boot_id: BOOT.into(), read_only: true, bytes_max: None };
    let reader = Store::open(&house.path(), options).unwrap();
    assert_eq!(balance(&reader, &first.accounts[0]).reserved, usd(7));
    let answer = reader.intend(intent("alpha", usd(1))).blocking_recv().unwrap();
    assert!(matches!(answer, Err(StoreFault::ReadOnly(_))), "{answer:?}");
}

#[test]
fn a_change_without_a_record_is_undone() {
    let house = House::new();
    let store = house.open();
    let silent = store.change(actor(), |change| change.put_meta("node.id", b"1"));
    assert_eq!(silent, Err(StoreFault::NoRecord { actor: "person:ada".into() }));
    assert_eq!(store.meta("node.id").unwrap(), None);
    let spoken = store.change(actor(), |change| {
        change.put_meta("node.id", b"2")?;
        change.audit("node.named", "2", &Facts::default())
    });
    assert_eq!(spoken, Ok(0));
    assert_eq!(store.meta("node.id").unwrap().unwrap(), b"2");
}

#[test]
fn a_change_that_fails_or_panics_is_undone_and_harms_nothing_else() {
    let house = House::new();
    let store = house.open();
    let first = intent("alpha", usd(7));
    let answer = store.intend(first.clone());
    let failed = store.change(actor(), |change| -> Result<(), StoreFault> {
        change.put_meta("node.id", b"1")?;
        change.audit("node.named", "1", &Facts::default())?;
        Err(StoreFault::Conflict("on second thoughts".into()))
    });
    assert_eq!(failed, Err(StoreFault::Conflict("on second thoughts".into())));
    let panicked = store.change(actor(), |change| -> Result<(), StoreFault> {
        change.audit("node.named", "1", &Facts::default())?;
        panic!("no");
    });
    assert!(matches!(panicked, Err(StoreFault::Mistake(_))), "{panicked:?}");
    answer.blocking_recv().unwrap().unwrap();
    store.settle(settlement(&first, usd(1), Certainty::Settled));
    settle_down(&store);
    assert_eq!(store.meta("node.id").unwrap(), None);
    assert_eq!(kinds(&store), ["call.intent", "call.settled"]);
    assert_eq!(balance(&store, &first.accounts[0]).settled, usd(1));
}

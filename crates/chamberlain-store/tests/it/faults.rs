//! Full disks, damaged files, files of others: each gets a clear answer and loses nothing.

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use chamberlain_core::ledger::account::Balance;
use chamberlain_core::money::Money;
use chamberlain_core::record::{Certainty, Intent, Severity};
use chamberlain_core::time::Clock;
use chamberlain_store::{CallFilter, Facts, OpenOptions, Store, StoreFault};

use crate::support::*;

/// Records calls until the disk is full for anything; gives those that got through. The tables do
/// not have the last of them: the intake does.
fn fill_up(store: &Store) -> Vec<Intent> {
    store.set_bytes_max(Some(1));
    let mut recorded = Vec::new();
    loop {
        let next = intent("alpha", usd(1));
        match store.intend(next.clone()).blocking_recv().unwrap() {
            Ok(()) => recorded.push(next),
            Err(fault) => {
                assert_eq!(fault, StoreFault::Failing(Box::new(StoreFault::DiskFull)));
                break;
            }
        }
    }
    // Smaller records may still fit: notices are written until one does not.
    while !is_stuck(store) {}
    assert!(!recorded.is_empty(), "one got through before the disk was full");
    recorded
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
    let recorded = fill_up(&store);
    let last = recorded.last().unwrap();
    let account = &last.accounts[0];
    let (before, refused) = (balance(&store, account), refused(&store));
    let answer = store.intend(intent("alpha", usd(1))).blocking_recv().unwrap();
    assert_eq!(answer, Err(StoreFault::Failing(Box::new(StoreFault::DiskFull))));
    let lease = store.lease(vec![lease(account, usd(1), usd(9))]).blocking_recv().unwrap();
    assert_eq!(lease, Err(StoreFault::Failing(Box::new(StoreFault::DiskFull))));
    store.settle(settlement(last, Money::ZERO, Certainty::Settled));
    let failure = store.health().failure.unwrap();
    assert_eq!((failure.fault, failure.refused), (StoreFault::DiskFull, refused + 2));
    assert_eq!(balance(&store, account), before, "nothing of it is visible");

    store.set_bytes_max(None);
    while store.health().failure.is_some() {
        std::thread::yield_now();
    }
    settle_down(&store);
    let reserved = usd(i64::try_from(recorded.len()).unwrap() - 1);
    assert_eq!(balance(&store, account), Balance { reserved, ..before }, "nothing is lost");
    let kinds = kinds(&store);
    let recovered = kinds.iter().position(|kind| kind == "store.recovered").unwrap();
    let later: Vec<_> = kinds[recovered + 1..].iter().map(String::as_str).collect();
    assert!(later.contains(&"call.intent"), "the intake had more than the tables");
    assert_eq!(later[later.len() - 2..], ["security.real_key_offered", "call.settled"]);
}

fn refused(store: &Store) -> u64 {
    store.health().failure.map_or(0, |failure| failure.refused)
}

#[test]
fn a_store_that_is_closed_on_a_full_disk_says_so() {
    let house = House::new();
    let store = house.open();
    let recorded = fill_up(&store);
    let last = recorded.last().unwrap();
    store.settle(settlement(last, Money::ZERO, Certainty::Settled));
    // Pages set free by rolled back calls may be enough for the end; what matters is that the
    // answer is true.
    let closed = store.close();
    drop(store);
    let store = house.open();
    let reserved = balance(&store, &last.accounts[0]).reserved;
    assert_eq!(reserved, Money::ZERO, "nothing stays reserved, however it was closed: {closed:?}");
    assert_eq!(
        store.calls(&CallFilter::default()).unwrap().len(),
        recorded.len(),
        "nothing is lost"
    );
}

#[test]
fn what_only_the_intake_has_is_there_after_a_kill() {
    let house = House::new();
    let store = house.open();
    let recorded = fill_up(&store);
    let house = house.copied();
    let copy = house.open();
    let filter = CallFilter::default();
    let rows = copy.calls(&filter).unwrap();
    assert_eq!(rows.len(), recorded.len());
    let charged = usd(i64::try_from(recorded.len()).unwrap());
    let found = balance(&copy, &recorded[0].accounts[0]);
    assert_eq!((found.unsettled, found.reserved), (charged, Money::ZERO));
    assert!(verified(&copy, &[], &[]).is_sound());
    // What was taken in once is not taken in again.
    let house = house.killed(copy);
    let again = house.open();
    assert_eq!(again.calls(&filter).unwrap().len(), recorded.len());
    assert_eq!(balance(&again, &recorded[0].accounts[0]).unsettled, charged);
    drop(store);
}

#[test]
fn an_intake_without_its_store_is_nobodys() {
    let house = House::new();
    let store = house.open();
    fill_up(&store);
    let house = house.copied();
    for name in ["chamberlain.db", "chamberlain.db-wal"] {
        std::fs::remove_file(house.folder.path().join(name)).unwrap();
    }
    let store = house.open();
    assert_eq!(kinds(&store), [""; 0]);
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
    let fault = loop {
        // Until the writer has looked, the intake still takes them.
        if let Err(fault) = store.intend(intent("alpha", usd(1))).blocking_recv().unwrap() {
            break fault;
        }
    };
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
    let waiting = store.lease(Vec::new()).blocking_recv();
    assert!(!matches!(waiting, Ok(Ok(_))), "{waiting:?}");
    let mut recorded = 0;
    let refused = loop {
        // Until the writer has fallen all the way, an intent may still reach its queue.
        match store.intend(intent("alpha", usd(1))).blocking_recv() {
            Ok(Ok(())) => recorded += 1,
            Ok(Err(fault)) => break fault,
            Err(_) => {}
        }
    };
    assert_eq!(refused, StoreFault::Closed);
    assert_eq!(store.close(), Err(StoreFault::Closed));
    drop(store);
    let store = house.open();
    let rows = store.calls(&CallFilter::default()).unwrap();
    assert_eq!(rows.len(), recorded, "what was said to be on record is");
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
    let expected = ["", "-shm", "-wal", ".intake-0", ".intake-1", ".lock"];
    let expected: Vec<_> =
        expected.iter().map(|suffix| (format!("chamberlain.db{suffix}"), 0o600)).collect();
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
    settle_down(&store);
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

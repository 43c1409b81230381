//! A process that is killed in the middle of its work has lost nothing that it was promised.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use chamberlain_core::id::CallId;
use chamberlain_core::money::Money;
use chamberlain_core::record::Certainty;
use chamberlain_store::{CallFilter, OpenOptions, Store};

use crate::support::*;

const FOLDER: &str = "CHAMBERLAIN_TEST_KILLED_STORE";

fn open(folder: &std::path::Path) -> Store {
    let clock = House::new().clock;
    let options = OpenOptions { clock, boot_id: BOOT.into(), read_only: false, bytes_max: None };
    Store::open(&folder.join("chamberlain.db"), options).unwrap()
}

/// Run as a process of its own by the test below: records calls until it is killed.
#[test]
#[ignore = "runs until it is killed"]
fn victim() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let store = open(folder.as_ref());
    loop {
        let calls: Vec<_> = (0..7).map(|_| intent_of_process(&store)).collect();
        for (call, answer) in calls {
            answer.blocking_recv().unwrap().unwrap();
            println!("promised {}", call.call);
            store.settle(settlement(&call, usd(1), Certainty::Settled));
        }
    }
}

/// An intent whose id no other process of this test mints.
fn intent_of_process(
    store: &Store,
) -> (chamberlain_core::record::Intent, chamberlain_store::Recording) {
    let mut call = intent("alpha", usd(2));
    let mut bytes = call.call.to_bytes();
    bytes[6..10].copy_from_slice(&std::process::id().to_be_bytes());
    call.call = CallId::from_bytes(bytes);
    let answer = store.intend(call.clone());
    (call, answer)
}

#[test]
fn whatever_was_promised_is_there_after_a_kill() {
    let house = House::new();
    let mut promised = BTreeSet::new();
    for round in 1..=6 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "kill::victim", "--nocapture"])
            .env(FOLDER, house.folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let ids = lines
            .map_while(Result::ok)
            .filter_map(|line| line.strip_prefix("promised ").and_then(CallId::parse));
        // The first of them are only read; then the process is killed while it writes on.
        let mut ids = ids.peekable();
        promised.extend(ids.by_ref().take(round * 97));
        child.kill().unwrap();
        child.wait().unwrap();
        promised.extend(ids);

        let store = open(house.folder.path());
        let rows = store.calls(&CallFilter::default()).unwrap();
        let there: BTreeSet<CallId> = rows.iter().map(|row| row.id).collect();
        assert!(promised.is_subset(&there), "a promised call is missing");
        let charged: Money = rows
            .iter()
            .map(|row| row.end.as_ref().expect("none is open after a start").cost)
            .fold(Money::ZERO, |sum, cost| sum.checked_add(cost).unwrap());
        for account in accounts("alpha", now()) {
            let balance = balance(&store, &account);
            assert_eq!((balance.reserved, balance.spent()), (Money::ZERO, charged));
        }
        let report = verified(&store, &[], &[]);
        assert!(report.is_sound(), "{report:?}");
        std::mem::drop(store);
    }
    assert!(promised.len() >= 97 * 21);
}

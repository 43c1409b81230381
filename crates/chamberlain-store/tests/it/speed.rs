//! How fast the store is. Not part of the ordinary run, because a figure is no verdict:
//!
//! ```text
//! cargo test --release -p chamberlain-store --test it -- --ignored --nocapture speed
//! ```

use std::time::{Duration, Instant};

use chamberlain_core::record::Certainty;

use crate::support::*;

fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    sorted[(sorted.len() - 1) * percent / 100]
}

/// How long this thread has been on a core: on a busy machine the wall clock tells nothing.
fn on_core() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
}

#[test]
#[ignore = "a measurement"]
fn many_calls_at_once() {
    const CALLS: usize = 100_000;
    const IN_FLIGHT: usize = 1_000;
    let house = House::new();
    let store = house.open();
    let keys: Vec<String> = (0..20).map(|n| format!("key{n}")).collect();
    let calls: Vec<_> = (0..CALLS).map(|n| intent(&keys[n % keys.len()], usd(1))).collect();
    let begun = Instant::now();
    let mut waits = Vec::with_capacity(CALLS);
    for wave in calls.chunks(IN_FLIGHT) {
        let answers: Vec<_> =
            wave.iter().map(|call| (Instant::now(), store.intend(call.clone()))).collect();
        for (asked, answer) in answers {
            answer.blocking_recv().unwrap().unwrap();
            waits.push(asked.elapsed());
        }
        wave.iter().for_each(|call| store.settle(settlement(call, usd(1), Certainty::Settled)));
    }
    settle_down(&store);
    let took = begun.elapsed();
    waits.sort_unstable();
    let rate = (2 * CALLS) as f64 / took.as_secs_f64();
    println!(
        "{rate:.0} records/s; intend p50 {:?}, p99 {:?}",
        percentile(&waits, 50),
        percentile(&waits, 99)
    );
    let bytes: u64 = modes(house.folder.path())
        .iter()
        .map(|(name, _)| house.folder.path().join(name).metadata().unwrap().len())
        .sum();
    println!("{} bytes per call, write-ahead log included", bytes / CALLS as u64);
}

/// For callgrind, which counts the instructions of each thread: transactions of as many calls as
/// `WAVE` says (32), `CALLS` of them (3,200), of twenty keys. The difference between two counts of
/// calls is what a call costs.
#[test]
#[ignore = "a measurement"]
fn the_work_of_a_call() {
    let number = |name: &str, otherwise: usize| {
        std::env::var(name).map_or(otherwise, |text| text.parse().unwrap())
    };
    let (count, wave) = (number("CALLS", 3_200), number("WAVE", 32));
    let house = House::new();
    let store = house.open();
    let keys: Vec<String> = (0..20).map(|n| format!("0123456789ab{n:04}")).collect();
    let calls: Vec<_> = (0..count)
        .map(|n| {
            let at = now().plus_ms(n as i64 / 4);
            intent_at(&keys[n * 7 % keys.len()], usd(1), at)
        })
        .collect();
    for wave in calls.chunks(wave) {
        for answer in wave.iter().map(|call| store.intend(call.clone())).collect::<Vec<_>>() {
            answer.blocking_recv().unwrap().unwrap();
        }
        wave.iter().for_each(|call| store.settle(settlement(call, usd(1), Certainty::Settled)));
        // A reader waits for the transaction.
        store.meta("nothing").unwrap();
    }
}

#[test]
#[ignore = "a measurement"]
fn one_call_after_the_other() {
    let house = House::new();
    let store = house.open();
    let mut waits = Vec::new();
    for _ in 0..5_000 {
        let call = intent("alpha", usd(1));
        let asked = Instant::now();
        store.intend(call.clone()).blocking_recv().unwrap().unwrap();
        waits.push(asked.elapsed());
        store.settle(settlement(&call, usd(1), Certainty::Settled));
        std::thread::sleep(Duration::from_micros(500));
    }
    waits.sort_unstable();
    println!("intend p50 {:?}, p99 {:?}", percentile(&waits, 50), percentile(&waits, 99));
}

#[test]
#[ignore = "a measurement"]
fn reading_the_audit_log() {
    let house = House::new();
    let store = house.open();
    let calls: Vec<_> = (0..100_000).map(|_| intent("alpha", usd(1))).collect();
    for call in &calls {
        drop(store.intend(call.clone()));
        store.settle(settlement(call, usd(1), Certainty::Settled));
    }
    settle_down(&store);
    for _ in 0..3 {
        let (begun, began) = (Instant::now(), on_core());
        let report = verified(&store, &[], &[]);
        let rate = |took: Duration| report.records as f64 / took.as_secs_f64();
        assert!(report.is_sound());
        let (wall, core) = (begun.elapsed(), on_core() - began);
        println!("{:.0} records/s verified; {:.0} on a core of its own", rate(wall), rate(core));
    }
    let begun = Instant::now();
    for seq in (0..200_000).step_by(1_009) {
        store.audit_inclusion(seq, 200_000).unwrap();
    }
    println!("{:?} for a proof", begun.elapsed() / 199);
    let begun = Instant::now();
    let added = store.roll_up().unwrap();
    println!("{added} calls rolled up in {:?}", begun.elapsed());
}

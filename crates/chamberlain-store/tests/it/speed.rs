//! How fast the store is. Not part of the ordinary run, because a figure is no verdict:
//!
//! ```text
//! cargo test --release -p chamberlain-store --test it -- --ignored --nocapture speed
//! ```

use std::time::{Duration, Instant};

use chamberlain_core::audit::merkle::leaf_hash;
use chamberlain_core::record::Certainty;

use crate::support::*;

fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    sorted[(sorted.len() - 1) * percent / 100]
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
        let begun = Instant::now();
        let (mut count, mut bytes, mut last) = (0u64, 0, [0; 32]);
        store
            .audit_each(0, |record| {
                last = leaf_hash(record.bytes);
                count += 1;
                bytes += record.bytes.len();
                std::ops::ControlFlow::Continue(())
            })
            .unwrap();
        let rate = count as f64 / begun.elapsed().as_secs_f64();
        println!(
            "{rate:.0} records/s read and hashed, {} bytes each ({last:?})",
            bytes as u64 / count
        );
    }
}

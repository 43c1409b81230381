//! Single pieces, each alone on one core: reading prompts, metering streams, checking the audit
//! log, simulating.
//!
//! Time is what the kernel counts for this thread, so other work on the machine matters less.
//! The audit log is the one that this run wrote; it is checked by `chamberlain audit verify`,
//! whose reading of the store counts, too.

use std::fs;
use std::hint::black_box;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use chamberlain_core::anthropic::meter::Meter;
use chamberlain_core::anthropic::request::{InspectLimits, inspect};

use crate::candidate::{self, House};
use crate::phases::{MB, large_prompt};
use crate::plan::Plan;
use crate::results::Results;
use crate::upstream::stream_bytes;

const PHASE: &str = "single pieces, on one core";
const METRIC: &str = "a second";
/// As deep as the product reads unless it is told otherwise.
const DEPTH_MAX: usize = 128;
const EVENTS: u64 = 20_000;
/// Upstream's bytes come in pieces about as large as this.
const PIECE_BYTES: usize = 16 * 1024;
const SEED: u64 = 7;

/// Measures each of them `plan.rounds` times.
pub(crate) fn pieces(plan: &Plan, house: &House, results: &mut Results) -> anyhow::Result<()> {
    for megabytes in [1, 20] {
        for (kind, body) in
            [("image", large_prompt(megabytes * MB)), ("text", text_prompt(megabytes * MB))]
        {
            let name = format!("MB of a {megabytes} MB prompt inspected, {kind}");
            for _ in 0..plan.rounds {
                let rate = a_second(plan.pieces, || {
                    let facts = inspect(black_box(&body), InspectLimits { depth_max: DEPTH_MAX });
                    black_box(facts).map_err(|error| anyhow::anyhow!("{error:?}"))?;
                    Ok(body.len() as f64 / MB as f64)
                })?;
                results.push(PHASE, METRIC, &name, rate);
            }
        }
    }
    let stream = stream_bytes(EVENTS);
    for _ in 0..plan.rounds {
        let rate = a_second(plan.pieces, || {
            let mut meter = Meter::for_stream();
            stream.chunks(PIECE_BYTES).for_each(|piece| meter.push(black_box(piece)));
            ensure!(meter.finish().is_final, "the stream was not read to its end");
            Ok(EVENTS as f64)
        })?;
        results.push(PHASE, METRIC, "events metered", rate);
        let rate = a_second(plan.pieces, || {
            let summary = chamberlain_sim::run(SEED, 2_000);
            black_box(summary).map_err(|violation| anyhow::anyhow!("{violation}"))?;
            Ok(2_000.0)
        })?;
        results.push(PHASE, METRIC, "steps simulated, audited after each", rate);
    }
    let begun = Instant::now();
    let verified = candidate::ask(house, &["audit", "verify"])?;
    let records = verified["records"].as_f64().context("how many records were verified")?;
    let rate = records / begun.elapsed().as_secs_f64();
    results.push(PHASE, METRIC, "audit records verified, by the command", rate);
    Ok(())
}

/// How many of what `work` returns are done in a second of this thread.
fn a_second(time: Duration, mut work: impl FnMut() -> anyhow::Result<f64>) -> anyhow::Result<f64> {
    work()?;
    let (begun, mut done) = (on_core(), 0.0);
    loop {
        done += work()?;
        let took = on_core().saturating_sub(begun);
        if took >= time {
            return Ok(done / took.as_secs_f64());
        }
    }
}

/// How long this thread has been on a core.
fn on_core() -> Duration {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds = text.split(' ').next().and_then(|number| number.parse().ok());
    Duration::from_nanos(nanoseconds.unwrap_or_default())
}

/// A long conversation, as agents send it: many turns of text with what JSON must escape.
fn text_prompt(bytes: usize) -> Vec<u8> {
    let turn = "{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"Look at this:\\n\
                fn main() {\\n    println!(\\\"hello\\\");\\n}\\nand say what it does. It is one \
                of many files, and each of them is about as long as this one is here.\"}]},\
                {\"role\":\"assistant\",\"content\":\"It prints one line and ends. There is \
                nothing else in it that would be worth a word; shall I look at the next?\"},";
    let mut text =
        format!("{{\"model\":\"{}\",\"max_tokens\":256,\"messages\":[", crate::upstream::MODEL);
    while text.len() < bytes {
        text.push_str(turn);
    }
    text.push_str("{\"role\":\"user\",\"content\":\"And now?\"}]}");
    text.into_bytes()
}

//! The measurements with plain calls: throughput, latency at fixed rates, large prompts.
//!
//! Every round measures all candidates, in turn from the first to the last and from the last to
//! the first, so that what changes on the machine falls on all of them.

use std::time::{Duration, Instant};

use crate::candidate::{self, Candidate};
use crate::load;
use crate::plan::Plan;
use crate::process;
use crate::results::{MOCK, Results};
use crate::samples::Samples;
use crate::upstream::MODEL;
use crate::wire::Connection;

const CONNECTIONS: usize = 64;
const RATES: [u32; 2] = [500, 1_000];
pub(crate) const MB: usize = 1_000_000;

/// A small prompt: about a kilobyte of body.
pub(crate) fn small_prompt(stream: bool, max_tokens: u64) -> Vec<u8> {
    prompt(900, stream, max_tokens)
}

fn prompt(text_bytes: usize, stream: bool, max_tokens: u64) -> Vec<u8> {
    let sentence = "Translate the following paragraph into German and keep its tone. ";
    let text: String = sentence.chars().cycle().take(text_bytes).collect();
    let streaming = if stream { ",\"stream\":true" } else { "" };
    format!(
        "{{\"model\":\"{MODEL}\",\"max_tokens\":{max_tokens}{streaming},\
         \"system\":\"You are a careful translator.\",\
         \"messages\":[{{\"role\":\"user\",\"content\":\"{text}\"}}]}}"
    )
    .into_bytes()
}

/// A prompt of about `bytes` that is an image for the most part, as bodies of that size are.
pub(crate) fn large_prompt(bytes: usize) -> Vec<u8> {
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let text: String = "The words of a long document. ".chars().cycle().take(100_000).collect();
    let image: String = alphabet.chars().cycle().take((bytes - 100_000) / 4 * 4).collect();
    format!(
        "{{\"model\":\"{MODEL}\",\"max_tokens\":256,\"messages\":[{{\"role\":\"user\",\"content\":[\
         {{\"type\":\"image\",\"source\":{{\"type\":\"base64\",\"media_type\":\"image/png\",\
         \"data\":\"{image}\"}}}},{{\"type\":\"text\",\"text\":\"{text}\"}}]}}]}}"
    )
    .into_bytes()
}

/// All candidates, in the order of that round.
pub(crate) fn in_turn(candidates: &[Candidate], round: u32) -> Vec<&Candidate> {
    let mut order: Vec<&Candidate> = candidates.iter().collect();
    if round % 2 == 1 {
        order.reverse();
    }
    order
}

/// Requests a second and CPU a request, 64 connections that never pause. Every answered call must
/// be on record in the end.
pub(crate) fn throughput(
    plan: &Plan,
    candidates: &[Candidate],
    results: &mut Results,
) -> anyhow::Result<()> {
    let body = small_prompt(false, 256);
    let phase = "throughput, 64 connections";
    for round in 0..plan.rounds {
        for candidate in in_turn(candidates, round) {
            let request = candidate.request("", &body);
            let recorded = candidate.house.as_ref().map(candidate::on_record).transpose()?;
            let before = process::cpu_seconds_at_rest(candidate.pid());
            let closed = load::closed(
                candidate.address,
                &request,
                CONNECTIONS,
                plan.throughput / 4,
                plan.throughput,
            )?;
            let cpu = process::cpu_seconds_at_rest(candidate.pid()) - before;
            if let Some((house, recorded)) = candidate.house.as_ref().zip(recorded) {
                candidate::until_on_record(house, recorded + closed.answers)?;
            }
            let name = &candidate.name;
            results.push(phase, "requests/s", name, closed.per_second);
            results.push(phase, "CPU µs/request", name, cpu * 1e6 / closed.answers as f64);
        }
    }
    Ok(())
}

/// Latency at fixed rates, without coordinated omission.
pub(crate) fn latency(
    plan: &Plan,
    candidates: &[Candidate],
    results: &mut Results,
) -> anyhow::Result<()> {
    let body = small_prompt(false, 256);
    for rate in RATES {
        let phase = format!("latency at {rate} requests/s");
        for round in 0..plan.rounds {
            for candidate in in_turn(candidates, round) {
                let request = candidate.request("", &body);
                let mut seen = load::open(candidate.address, &request, rate, plan.latency)?;
                percentiles(results, &phase, &candidate.name, &mut seen.latency);
                if candidate.name == MOCK {
                    let lag = seen.lag.percentile_us(990);
                    results.push(&phase, "generator late by, p99 µs", MOCK, lag);
                }
            }
        }
    }
    Ok(())
}

fn percentiles(results: &mut Results, phase: &str, candidate: &str, seen: &mut Samples) {
    for (name, of_thousand) in [("p50 µs", 500), ("p99 µs", 990), ("p99.9 µs", 999)] {
        results.push(phase, name, candidate, seen.percentile_us(of_thousand));
    }
}

/// Prompts of 1 MB and 20 MB, one after the other on one connection.
pub(crate) fn bodies(
    plan: &Plan,
    candidates: &[Candidate],
    results: &mut Results,
) -> anyhow::Result<()> {
    for megabytes in [1, 20] {
        let phase = format!("prompts of {megabytes} MB, one at a time");
        let body = large_prompt(megabytes * MB);
        for round in 0..plan.rounds {
            for candidate in in_turn(candidates, round) {
                let request = candidate.request("", &body);
                let mut connection = Connection::open(candidate.address)?;
                connection.ask(&request)?;
                let before = process::cpu_seconds_at_rest(candidate.pid());
                let mut seen = Samples::default();
                let until = Instant::now() + plan.bodies;
                while Instant::now() < until || seen.len() < 3 {
                    let sent = Instant::now();
                    connection.ask(&request)?;
                    seen.push(sent.elapsed());
                }
                let cpu = process::cpu_seconds_at_rest(candidate.pid()) - before;
                let name = &candidate.name;
                results.push(&phase, "p50 µs", name, seen.percentile_us(500));
                results.push(&phase, "p99 µs", name, seen.percentile_us(990));
                results.push(&phase, "CPU µs/request", name, cpu * 1e6 / seen.len() as f64);
            }
        }
    }
    Ok(())
}

/// A short load on everybody, so that nothing is measured for the first time.
pub(crate) fn warm_up(candidates: &[Candidate]) -> anyhow::Result<()> {
    let body = small_prompt(false, 256);
    for candidate in candidates {
        let request = candidate.request("", &body);
        let time = Duration::from_millis(300);
        load::closed(candidate.address, &request, CONNECTIONS, Duration::ZERO, time)?;
    }
    Ok(())
}

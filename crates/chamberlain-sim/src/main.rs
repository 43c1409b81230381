//! The soak: many seeds, many steps, on all cores. `cargo xtask sim --seeds 1000 --steps 10000`.

use std::io::Write;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use anyhow::{Context, bail};

/// What was asked for.
struct Soak {
    first: u64,
    seeds: u64,
    steps: u64,
}

fn main() -> ExitCode {
    match soak() {
        Ok(text) => {
            say(&text);
            ExitCode::SUCCESS
        }
        Err(error) => {
            say(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn soak() -> anyhow::Result<String> {
    let soak = asked()?;
    let begun = Instant::now();
    let next = AtomicU64::new(soak.first);
    let (sent, failed) = (AtomicU64::new(0), AtomicBool::new(false));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let worker = || {
        while !failed.load(Ordering::Relaxed) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= soak.first + soak.seeds {
                break;
            }
            let summary = chamberlain_sim::run(seed, soak.steps)
                .inspect_err(|_| failed.store(true, Ordering::Relaxed))?;
            sent.fetch_add(summary.sent, Ordering::Relaxed);
        }
        anyhow::Ok(())
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(worker)).collect();
        let mut ends = workers.into_iter().map(|worker| {
            worker.join().unwrap_or_else(|_| bail!("a history ended in a panic; see above"))
        });
        ends.try_for_each(|end| end)
    })?;
    let seconds = begun.elapsed().as_secs_f64();
    let steps = soak.seeds * soak.steps;
    Ok(format!(
        "{} seeds, {steps} steps, {} calls sent, no violation; {seconds:.1} s, {:.0} steps/s",
        soak.seeds,
        sent.into_inner(),
        steps as f64 / seconds
    ))
}

fn asked() -> anyhow::Result<Soak> {
    let mut soak = Soak { first: 0, seeds: 1_000, steps: 10_000 };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let place = match word.as_str() {
            "--first-seed" => &mut soak.first,
            "--seeds" => &mut soak.seeds,
            "--steps" => &mut soak.steps,
            _ => bail!("usage: [--seeds N] [--steps M] [--first-seed S]"),
        };
        let number = words.next().unwrap_or_default();
        *place = number.parse().with_context(|| format!("{word} takes a number"))?;
    }
    Ok(soak)
}

/// A closed pipe is nobody's fault.
fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

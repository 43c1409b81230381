//! What a process and its children use, as the kernel counts it (`/proc`).

use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// The kernel tells times to user space in hundredths of a second, on every Linux there is.
const TICKS_PER_SECOND: f64 = 100.0;
/// How often it is looked whether a process has come to rest, and how long at most.
const REST_LOOK: Duration = Duration::from_millis(120);
const REST_WAIT_MAX: Duration = Duration::from_secs(6);

/// Memory of a tree of processes, in KiB.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Memory {
    /// Resident pages; pages that processes share are counted in each.
    pub(crate) rss_kib: u64,
    /// The same, each shared page divided among those who share it. `None` where the kernel does
    /// not say.
    pub(crate) pss_kib: Option<u64>,
}

/// A process and all below it.
pub(crate) fn tree(root: u32) -> Vec<u32> {
    let parents: Vec<(u32, u32)> = pids().filter_map(|pid| Some((pid, stat(pid)?.0))).collect();
    let mut found = vec![root];
    let mut at = 0;
    while let Some(parent) = found.get(at).copied() {
        found.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(pid, _)| *pid));
        at += 1;
    }
    found
}

/// CPU time of a tree of processes so far, user and system, in seconds.
pub(crate) fn cpu_seconds(root: u32) -> f64 {
    let ticks: u64 = tree(root).into_iter().filter_map(stat).map(|(_, ticks)| ticks).sum();
    ticks as f64 / TICKS_PER_SECOND
}

/// Waits until the tree does next to nothing, so that work it put off is counted, too; then its
/// CPU time.
pub(crate) fn cpu_seconds_at_rest(root: u32) -> f64 {
    let until = Instant::now() + REST_WAIT_MAX;
    let mut before = cpu_seconds(root);
    loop {
        sleep(REST_LOOK);
        let now = cpu_seconds(root);
        if now - before < 1.5 / TICKS_PER_SECOND || Instant::now() > until {
            return now;
        }
        before = now;
    }
}

/// Memory of a tree of processes.
pub(crate) fn memory(root: u32) -> Memory {
    let mut sum = Memory { rss_kib: 0, pss_kib: Some(0) };
    for pid in tree(root) {
        let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        sum.rss_kib += field(&status, "VmRSS:").unwrap_or_default();
        sum.pss_kib = sum.pss_kib.zip(field(&rollup, "Pss:")).map(|(sum, more)| sum + more);
    }
    sum
}

/// CPU seconds of the whole machine: at work, and altogether.
pub(crate) fn machine_cpu() -> (f64, f64) {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let line = text.lines().next().unwrap_or_default();
    let numbers: Vec<f64> =
        line.split_whitespace().skip(1).filter_map(|word| word.parse().ok()).collect();
    // user, nice, system, idle, iowait, irq, softirq, steal; guests are in user already.
    let total: f64 = numbers.iter().take(8).sum();
    let idle: f64 = numbers.iter().skip(3).take(2).sum();
    ((total - idle) / TICKS_PER_SECOND, total / TICKS_PER_SECOND)
}

fn pids() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// Parent and CPU ticks.
fn stat(pid: u32) -> Option<(u32, u64)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name stands in parentheses and may hold anything, so what counts comes after the last.
    let mut words = text.rsplit_once(") ")?.1.split(' ');
    let parent = words.nth(1)?.parse().ok()?;
    let user: u64 = words.nth(9)?.parse().ok()?;
    let system: u64 = words.next()?.parse().ok()?;
    Some((parent, user + system))
}

fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_process_is_seen() {
        let me = std::process::id();
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let tree = tree(me);
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(tree.starts_with(&[me]) && tree.contains(&child.id()), "{tree:?}");

        let before = cpu_seconds(me);
        let mut sum = 0_u64;
        while cpu_seconds(me) < before + 0.05 {
            sum = (0..100_000).fold(sum, |sum: u64, more| sum.wrapping_mul(31).wrapping_add(more));
        }
        assert!(std::hint::black_box(sum) != 1);
        assert!(memory(me).rss_kib > 100);
        let (busy, total) = machine_cpu();
        assert!(0.0 < busy && busy < total, "{busy} of {total}");
    }
}

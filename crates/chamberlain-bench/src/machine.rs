//! On what it was measured, and how quiet it was there.

use std::fs;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use serde_json::{Value, json};

use crate::process;

/// A machine whose CPUs are busier than this with other work measures mostly that work.
pub(crate) const NOISE_MAX: f64 = 0.08;

/// The machine, as it tells itself.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    pub(crate) cores: usize,
    pub(crate) cpu: String,
    pub(crate) memory_gib: u64,
    pub(crate) kernel: String,
    /// Of the last minute, before anything was measured.
    pub(crate) load_average: String,
    /// Share of all CPU time that others used just before, from 0 to 1.
    pub(crate) noise_before: f64,
}

impl Machine {
    /// Looks, for two seconds.
    pub(crate) fn look() -> Machine {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let field = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
            line.split_once(':').map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
        };
        let memory = field(&read("/proc/meminfo"), "MemTotal");
        let kib: u64 = memory.split(' ').next().and_then(|n| n.parse().ok()).unwrap_or_default();
        let (busy, total) = process::machine_cpu();
        sleep(Duration::from_secs(2));
        let (busy_after, total_after) = process::machine_cpu();
        Machine {
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            cpu: field(&read("/proc/cpuinfo"), "model name"),
            memory_gib: kib.div_ceil(1 << 20),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            load_average: read("/proc/loadavg").split(' ').next().unwrap_or_default().to_owned(),
            noise_before: (busy_after - busy) / (total_after - total).max(0.01),
        }
    }

    /// Whether others leave it alone.
    pub(crate) fn is_quiet(&self) -> bool {
        self.noise_before <= NOISE_MAX
    }

    /// One line for people.
    pub(crate) fn line(&self) -> String {
        format!(
            "{} cores ({}), {} GiB, Linux {}; load average {}, other work {:.0} % of the CPUs \
             just before",
            self.cores,
            self.cpu,
            self.memory_gib,
            self.kernel,
            self.load_average,
            self.noise_before * 100.0
        )
    }

    /// For programs.
    pub(crate) fn to_json(&self) -> Value {
        json!({
            "cores": self.cores, "cpu": self.cpu, "memory_gib": self.memory_gib,
            "kernel": self.kernel, "load_average": self.load_average,
            "noise_before": self.noise_before,
        })
    }
}

/// What a command says, in one line; nothing when it cannot be run.
pub(crate) fn told_by(command: &mut Command) -> String {
    let Ok(done) = command.output() else { return String::new() };
    let text = [done.stdout, done.stderr].concat();
    String::from_utf8_lossy(&text).lines().next().unwrap_or_default().trim().to_owned()
}

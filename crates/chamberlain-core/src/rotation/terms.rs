//! How long, how often, how many: the numbers a rotation goes by. Units are in the names.

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// The numbers of one rotation, fixed when it is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Terms {
    /// The new key is watched at least this long.
    pub soak_ms: u64,
    /// It must have served at least this many calls, probes included.
    pub soak_successes: u64,
    /// After this long with calls still in flight on the old key a person is asked.
    pub drain_ms_max: u64,
    /// The old key counts as dead after this many refusals …
    pub death_answers: u32,
    /// … that lie at least this far apart, first to last.
    pub death_ms: u64,
    /// Not proven dead after so long: people are alerted.
    pub death_alert_ms: u64,
    /// Not proven dead after so long: it is an incident.
    pub death_incident_ms: u64,
    /// For so long an approval counts.
    pub approval_ms: u64,
    /// So often a step is tried.
    pub tries_max: u32,
    /// The pause after the first try that failed; it doubles each time …
    pub retry_ms: u64,
    /// … up to this.
    pub retry_ms_max: u64,
}

const MINUTE_MS: u64 = 60_000;

impl Default for Terms {
    fn default() -> Terms {
        Terms {
            soak_ms: 15 * MINUTE_MS,
            soak_successes: 20,
            drain_ms_max: 10 * MINUTE_MS,
            death_answers: 3,
            death_ms: MINUTE_MS,
            death_alert_ms: 5 * MINUTE_MS,
            death_incident_ms: 15 * MINUTE_MS,
            approval_ms: 4 * 60 * MINUTE_MS,
            tries_max: 5,
            retry_ms: 1_000,
            retry_ms_max: MINUTE_MS,
        }
    }
}

impl Terms {
    /// The pause after so many tries that failed, milliseconds.
    pub fn pause_ms(&self, tries: u32) -> u64 {
        let doubled = 1u64.checked_shl(tries.saturating_sub(1)).unwrap_or(u64::MAX);
        self.retry_ms.saturating_mul(doubled).min(self.retry_ms_max)
    }
}

/// When a planned rotation may touch anything: from `start` on, and before `end`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct MaintenanceWindow {
    /// First moment inside.
    pub start: Timestamp,
    /// First moment after.
    pub end: Timestamp,
}

impl MaintenanceWindow {
    /// Whether `now` is inside.
    pub fn is_open(&self, now: Timestamp) -> bool {
        self.start <= now && now < self.end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_minute() {
        let terms = Terms::default();
        assert_eq!(
            [1, 2, 3, 4, 7, 99].map(|tries| terms.pause_ms(tries)),
            [1_000, 2_000, 4_000, 8_000, 60_000, 60_000]
        );
    }
}

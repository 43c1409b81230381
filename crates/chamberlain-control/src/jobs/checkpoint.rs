//! Signs the audit log's head: after a while with new records, or after many of them.

use std::sync::Arc;
use std::time::Duration;

use chamberlain_core::time::Timestamp;
use parking_lot::Mutex;

use super::driver::Job;
use crate::commander::Commander;
use crate::settings::CheckpointSettings;

/// A signed head: how many records, and when.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Signed {
    size: u64,
    at: Timestamp,
}

/// Whether to sign a log of `size` records now. With new records it is signed at the latest after
/// the interval or the count; a first time at once.
fn is_due(size: u64, last: Option<Signed>, settings: &CheckpointSettings, now: Timestamp) -> bool {
    let Some(last) = last else { return size > 0 };
    let new = size.saturating_sub(last.size);
    // A clock that was set back must not keep the log from being signed.
    let waited = now < last.at || now.ms_since(last.at) >= settings.interval_s * 1_000;
    new > 0 && (new >= settings.records || waited)
}

/// The job.
pub(super) struct Checkpoint {
    commander: Arc<Commander>,
    last: Mutex<Option<Signed>>,
    anchored: Mutex<Option<u64>>,
}

impl Checkpoint {
    pub(super) fn new(commander: Arc<Commander>) -> Checkpoint {
        Checkpoint { commander, last: Mutex::default(), anchored: Mutex::default() }
    }

    fn sign(&self, settings: &CheckpointSettings, now: Timestamp) -> Result<(), String> {
        let mut last = self.last.lock();
        if last.is_none() {
            let stored = self.commander.last_checkpoint().map_err(|error| error.to_string())?;
            *last = stored.map(|stored| Signed { size: stored.size, at: stored.at });
        }
        let size = self.commander.audit_size().map_err(|error| error.to_string())?;
        if is_due(size, *last, settings, now) {
            let signed = self.commander.checkpoint_now().map_err(|error| error.to_string())?;
            *last = Some(Signed { size: signed.size, at: now });
        }
        Ok(())
    }
}

impl Job for Checkpoint {
    fn name(&self) -> &'static str {
        "checkpoint"
    }

    fn period(&self) -> Duration {
        Duration::from_secs(1)
    }

    fn run(&self, now: Timestamp) -> Result<(), String> {
        let settings = self.commander.settings().checkpoint;
        self.sign(&settings, now)?;
        let signed = self.last.lock().map(|signed| signed.size);
        let mut anchored = self.anchored.lock();
        if let Some(path) = settings.anchor_file.filter(|_| *anchored != signed) {
            self.commander.anchor(&path)?;
            *anchored = signed;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_is_signed_in_time_and_only_for_news() {
        let settings = CheckpointSettings::default();
        let last = Some(Signed { size: 100, at: Timestamp::from_ms(1_000_000) });
        let due = |size, ms: i64| is_due(size, last, &settings, Timestamp::from_ms(1_000_000 + ms));
        assert!(!due(100, 3_600_000), "nothing is new");
        assert!(!due(101, 59_999));
        assert!(due(101, 60_000));
        assert!(!due(1_099, 1));
        assert!(due(1_100, 1));
        assert!(due(101, -1), "the clock was set back");
        assert!(is_due(1, None, &settings, Timestamp::from_ms(0)));
        assert!(!is_due(0, None, &settings, Timestamp::from_ms(0)));
    }
}

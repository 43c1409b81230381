//! Every ten minutes: lays the inventory of upstream keys beside what Anthropic lists.

use std::sync::Arc;
use std::time::Duration;

use chamberlain_core::time::Timestamp;

use super::driver::Job;
use crate::commander::Commander;

/// The job.
pub(super) struct CompareKeys(pub(super) Arc<Commander>);

impl Job for CompareKeys {
    fn name(&self) -> &'static str {
        super::COMPARE_KEYS
    }

    fn period(&self) -> Duration {
        Duration::from_secs(600)
    }

    fn run(&self, _now: Timestamp) -> Result<(), String> {
        self.0.sync_keys_now().map_err(|error| error.to_string())
    }
}

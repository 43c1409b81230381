//! Twice a second: goes on with rotations. Every ten minutes: reminds people of those that are due.

use std::sync::Arc;
use std::time::Duration;

use chamberlain_core::time::Timestamp;

use super::driver::Job;
use crate::commander::Commander;

/// The job that goes on with rotations.
pub(super) struct Rotate(pub(super) Arc<Commander>);

impl Job for Rotate {
    fn name(&self) -> &'static str {
        "rotate"
    }

    fn period(&self) -> Duration {
        Duration::from_millis(500)
    }

    fn run(&self, _now: Timestamp) -> Result<(), String> {
        self.0.rotate_all().map_err(|error| error.to_string())
    }
}

/// The job that reminds.
pub(super) struct Remind(pub(super) Arc<Commander>);

impl Job for Remind {
    fn name(&self) -> &'static str {
        "remind"
    }

    fn period(&self) -> Duration {
        Duration::from_secs(600)
    }

    fn run(&self, _now: Timestamp) -> Result<(), String> {
        self.0.remind().map_err(|error| error.to_string())
    }
}

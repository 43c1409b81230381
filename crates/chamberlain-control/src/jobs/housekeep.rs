//! Hourly: sums up calls by the hour, then lets go of what is kept no longer.

use std::sync::Arc;
use std::time::Duration;

use chamberlain_core::time::Timestamp;

use super::driver::Job;
use crate::commander::Commander;

/// The job.
pub(super) struct Housekeep(pub(super) Arc<Commander>);

impl Job for Housekeep {
    fn name(&self) -> &'static str {
        "housekeep"
    }

    fn period(&self) -> Duration {
        Duration::from_secs(3_600)
    }

    fn run(&self, now: Timestamp) -> Result<(), String> {
        self.0.housekeep(now).map_err(|error| error.to_string())
    }
}

//! Four times a second: goes on with containments.

use std::sync::Arc;
use std::time::Duration;

use chamberlain_core::time::Timestamp;

use super::driver::Job;
use crate::commander::Commander;

/// The job that goes on with containments.
pub(super) struct Contain(pub(super) Arc<Commander>);

impl Job for Contain {
    fn name(&self) -> &'static str {
        "contain"
    }

    fn period(&self) -> Duration {
        Duration::from_millis(250)
    }

    fn run(&self, _now: Timestamp) -> Result<(), String> {
        self.0.pursue_all().map_err(|error| error.to_string())
    }
}

//! Twice a second: goes on with rotations. Every ten minutes: reminds people of those that are due.

use std::sync::Arc;
use std::time::Duration;

use chamberlain_core::rotation::Kind;
use chamberlain_core::time::Timestamp;

use super::driver::Job;
use crate::commander::Commander;

/// The job that goes on with rotations of one kind. A backup that takes a minute keeps no emergency
/// waiting.
pub(super) struct Rotate(pub(super) Arc<Commander>, pub(super) Kind);

impl Job for Rotate {
    fn name(&self) -> &'static str {
        match self.1 {
            Kind::Planned => "rotate",
            Kind::Emergency => "rotate_in_emergencies",
        }
    }

    fn period(&self) -> Duration {
        Duration::from_millis(500)
    }

    fn run(&self, _now: Timestamp) -> Result<(), String> {
        self.0.rotate_all(self.1).map_err(|error| error.to_string())
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

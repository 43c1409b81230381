//! Makes a backup when one is due, and says so when it could not for too long; asks upstream about
//! keys that are closed after a restore.

use std::sync::Arc;
use std::time::Duration;

use chamberlain_core::time::Timestamp;

use super::driver::Job;
use crate::commander::Commander;

/// The job that makes backups.
pub(super) struct Backup(pub(super) Arc<Commander>);

impl Job for Backup {
    fn name(&self) -> &'static str {
        "backup"
    }

    fn period(&self) -> Duration {
        Duration::from_secs(10)
    }

    fn run(&self, now: Timestamp) -> Result<(), String> {
        let made = self.0.back_up_when_due(now).map_err(|error| error.to_string());
        let told = self.0.tell_backup_trouble(now).map_err(|error| error.to_string());
        made.and(told)
    }
}

/// The job that drills restores.
pub(super) struct Drill(pub(super) Arc<Commander>);

impl Job for Drill {
    fn name(&self) -> &'static str {
        "drill"
    }

    fn period(&self) -> Duration {
        Duration::from_secs(600)
    }

    fn run(&self, now: Timestamp) -> Result<(), String> {
        self.0.drill_when_due(now).map_err(|error| error.to_string())
    }
}

/// The job that asks upstream about keys.
pub(super) struct Recheck(pub(super) Arc<Commander>);

impl Job for Recheck {
    fn name(&self) -> &'static str {
        "recheck"
    }

    fn period(&self) -> Duration {
        Duration::from_secs(30)
    }

    fn run(&self, _now: Timestamp) -> Result<(), String> {
        self.0.recheck_closed().map_err(|error| error.to_string())
    }
}

//! What is done without being asked: on a clock, or when somebody says "look now".

use std::sync::Arc;
use std::time::Duration;

use chamberlain_core::rotation::Kind;
use chamberlain_core::time::Timestamp;

use crate::commander::Commander;
use driver::Job;

pub mod driver;
pub mod exceed;

mod backup;
mod checkpoint;
mod compare_keys;
mod contain;
mod housekeep;
mod rotate;

/// The name of the job that pauses what used up its budget; kicked by notices.
pub const EXCEED: &str = "exceed";

/// The name of the job that compares the inventory with Anthropic's list.
pub const COMPARE_KEYS: &str = "compare_keys";

/// Every job.
pub fn all(commander: &Arc<Commander>) -> Vec<Arc<dyn Job>> {
    vec![
        Arc::new(checkpoint::Checkpoint::new(commander.clone())),
        Arc::new(backup::Backup(commander.clone())),
        Arc::new(backup::Drill(commander.clone())),
        Arc::new(backup::Recheck(commander.clone())),
        Arc::new(compare_keys::CompareKeys(commander.clone())),
        Arc::new(housekeep::Housekeep(commander.clone())),
        Arc::new(Exceed(commander.clone())),
        Arc::new(contain::Contain(commander.clone())),
        Arc::new(Publish(commander.clone())),
        Arc::new(rotate::Rotate(commander.clone(), Kind::Planned)),
        Arc::new(rotate::Rotate(commander.clone(), Kind::Emergency)),
        Arc::new(rotate::Remind(commander.clone())),
    ]
}

/// Publishes changes that could not be published at once.
struct Publish(Arc<Commander>);

impl Job for Publish {
    fn name(&self) -> &'static str {
        "publish"
    }

    fn period(&self) -> Duration {
        Duration::from_secs(5)
    }

    fn run(&self, _now: Timestamp) -> Result<(), String> {
        self.0.publish_overdue().map_err(|error| error.to_string())
    }
}

/// Pauses environments whose budget is used up.
struct Exceed(Arc<Commander>);

impl Job for Exceed {
    fn name(&self) -> &'static str {
        EXCEED
    }

    fn period(&self) -> Duration {
        Duration::from_secs(60)
    }

    fn run(&self, now: Timestamp) -> Result<(), String> {
        self.0.pause_used_up(now).map_err(|error| error.to_string())
    }
}

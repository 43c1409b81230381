//! How Chamberlain is.

use std::fs;

use chamberlain_core::audit::merkle::to_hex;
use chamberlain_core::ledger::account::Scope;
use chamberlain_core::time::{Calendar, Timestamp};
use chamberlain_store::UpstreamKey;

use super::{Commander, audit, from_store};
use crate::error::CommandError;
use crate::house::House;
use crate::reply::{AuditStatus, EnvironmentStatus, Status, StoreStatus};
use crate::settings::{EnvironmentSettings, Settings};
use crate::{inventory, scope, view};

/// More waiting effects than this are not counted.
const WAITING_MAX: usize = 10_000;

impl Commander {
    pub(super) fn status(&self) -> Result<Status, CommandError> {
        let (house, ruling, now) = (self.house()?, self.settings.read().clone(), self.now());
        let settings = &ruling.settings;
        let live = self.live.get();
        let (size, root) = self.store.audit_head().map_err(from_store)?;
        let last = self.last_checkpoint()?;
        let organization = house.pause(&Scope::Organization, now);
        let mut budgets = self.budget_lines(&scope::all(&house, settings), false)?;
        budgets.retain(|line| line.limit.is_some());
        Ok(Status {
            at: now.into(),
            version: self.version.clone(),
            data: self.data.display().to_string(),
            running: live.map(|live| live.running()),
            generation: live.map(|_| self.publisher.generation()),
            pause: organization.as_ref().map(view::pause),
            environments: settings
                .environments
                .iter()
                .map(|environment| environment_status(environment, &house, &ruling.calendar, now))
                .collect(),
            store: self.store_status(),
            audit: AuditStatus {
                size,
                root: to_hex(&root),
                last_checkpoint: last.as_ref().map(audit::shown).transpose()?,
            },
            budgets,
            backup: self.backup_status()?,
            jobs: live.map(|live| live.jobs()).unwrap_or_default(),
        })
    }

    pub(super) fn store_status(&self) -> StoreStatus {
        let failure = self.store.health().failure;
        let far = Timestamp::from_ms(i64::MAX);
        let waiting = self.store.effects_due(far, WAITING_MAX);
        let problem = failure
            .map(|failure| format!("since {}: {}", failure.since, failure.fault))
            .or_else(|| waiting.as_ref().err().map(ToString::to_string));
        StoreStatus {
            ok: problem.is_none(),
            problem,
            bytes: self.bytes_on_disk(),
            outbox: waiting.map_or(0, |effects| effects.len() as u64),
        }
    }

    fn bytes_on_disk(&self) -> Option<u64> {
        let files = fs::read_dir(&self.data).ok()?;
        Some(files.flatten().filter_map(|file| file.metadata().ok()).map(|file| file.len()).sum())
    }
}

fn environment_status(
    environment: &EnvironmentSettings,
    house: &House,
    calendar: &Calendar,
    now: Timestamp,
) -> EnvironmentStatus {
    let key = house.upstream_key_of(&environment.name);
    let pause = house.pause(&Scope::Environment(environment.name.clone()), now);
    EnvironmentStatus {
        name: environment.name.to_string(),
        upstream_key: key.map(|key| key.id.to_string()),
        virtual_keys: house.virtual_keys_of(&environment.name).count() as u64,
        pause: pause.as_ref().map(view::pause),
        rotation_interval_days: environment.rotation_interval_days,
        rotation_due: key.map(|key| rotation_due(key, environment, calendar).into()),
    }
}

/// When an upstream key is to be replaced in an environment it serves: the beginning of that day.
pub(super) fn rotation_due(
    key: &UpstreamKey,
    environment: &EnvironmentSettings,
    calendar: &Calendar,
) -> Timestamp {
    let days = environment.rotation_interval_days;
    calendar.start_of(inventory::next_rotation(key, days, calendar).on)
}

/// Environments with the upstream key they leave with and the day it is due.
pub(super) fn rotations<'a>(
    house: &'a House,
    settings: &'a Settings,
    calendar: &'a Calendar,
) -> impl Iterator<Item = (&'a EnvironmentSettings, &'a UpstreamKey, Timestamp)> {
    settings.environments.iter().filter_map(|environment| {
        let key = house.upstream_key_of(&environment.name)?;
        Some((environment, key, rotation_due(key, environment, calendar)))
    })
}

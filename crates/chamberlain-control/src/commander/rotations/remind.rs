//! Reminding people of keys that are to be replaced, and how many days are left.

use chamberlain_core::audit::record::Principal;
use chamberlain_core::keys::schedule::{days_left, next_rotation};
use chamberlain_core::record::Notice;
use chamberlain_core::rotation::{Reminder, reminder};
use chamberlain_core::time::Date;
use chamberlain_store::{Facts, NOTIFY, StoreFault, UpstreamKey};
use serde_json::{Map, json};

use super::{Commander, from_store};
use crate::commander::status;
use crate::error::CommandError;
use crate::reply::{RotationDue, RotationStatus};
use crate::settings::EnvironmentSettings;

impl Commander {
    pub(in crate::commander) fn rotation_status(&self) -> Result<RotationStatus, CommandError> {
        let open = self.store.open_rotations().map_err(from_store)?;
        let today = self.today();
        let mut keys: Vec<RotationDue> = self
            .due_keys()?
            .into_iter()
            .map(|(environment, row, on)| RotationDue {
                rotation: open.iter().find(|it| it.old == row.id).map(|it| it.id.to_string()),
                key: row.id.to_string(),
                name: row.name,
                environment,
                on,
                days_left: days_left(on, today),
            })
            .collect();
        keys.sort_by_key(|due| (due.days_left, due.environment.clone()));
        Ok(RotationStatus { keys })
    }

    /// Every environment with the key it leaves with, and the day on which that is due.
    fn due_keys(&self) -> Result<Vec<(String, UpstreamKey, Date)>, CommandError> {
        let (house, ruling) = (self.house()?, self.settings.read().clone());
        let due = |environment: &EnvironmentSettings, row: &UpstreamKey| {
            let date = |at| ruling.calendar.date(at);
            let since = row.profile.last_rotated_on.or(row.profile.created_on);
            let expires = row.profile.expiry().map(date);
            let since = since.unwrap_or_else(|| date(row.created_at));
            next_rotation(since, environment.rotation_interval_days, expires).on
        };
        Ok(status::rotations(&house, &ruling.settings, &ruling.calendar)
            .map(|(environment, row, _)| {
                (environment.name.to_string(), row.clone(), due(environment, row))
            })
            .collect())
    }

    /// Gives the reminders that are due and were not given; one for each key, the most urgent.
    ///
    /// # Errors
    /// When one could not be written down; it is given at the next run.
    pub fn remind(&self) -> Result<(), CommandError> {
        let today = self.today();
        let mut due = self.due_keys()?;
        due.sort_by_key(|(_, _, on)| *on);
        let mut seen = Vec::new();
        for (environment, row, on) in due {
            if seen.contains(&row.id) {
                continue;
            }
            seen.push(row.id.clone());
            let given = self.store.reminded(&row.id, on).map_err(from_store)?;
            if let Some(reminder) = reminder(on, given, today) {
                self.give_reminder(&environment, row, on, reminder)?;
            }
        }
        Ok(())
    }

    fn give_reminder(
        &self,
        environment: &str,
        row: UpstreamKey,
        on: Date,
        reminder: Reminder,
    ) -> Result<(), CommandError> {
        let Reminder { day, severity } = reminder;
        let when = match day {
            ..0 => format!("is to be replaced on {on}, in {} days", -day),
            0 => "is to be replaced today".to_owned(),
            late => format!("was to be replaced on {on}, {late} days ago"),
        };
        let message = format!(
            "The upstream key {:?} of {environment} {when}. Begin with: chamberlain rotation \
             start {}",
            row.name, row.id
        );
        let mut about = Map::new();
        about.insert("upstream_key".to_owned(), json!(row.id));
        about.insert("environment".to_owned(), json!(environment));
        about.insert("due".to_owned(), json!(on));
        about.insert("day".to_owned(), json!(day));
        let _changing = self.changing.lock();
        let work = move |change: &mut chamberlain_store::Change<'_>| {
            let after = Some(serde_json::Value::Object(about.clone()));
            let facts = Facts { reason: None, before: None, after };
            let cause = change.remind(&row.id, on, day, &facts)?;
            let notice = Notice {
                at: change.now(),
                kind: "rotation.reminder".to_owned(),
                severity,
                subject: format!("upstream key {}", row.id),
                message,
                facts: about,
                notify: true,
            };
            let payload = serde_json::to_value(&notice)
                .map_err(|error| StoreFault::Mistake(format!("a notice as JSON: {error}")))?;
            change.effect(cause, NOTIFY, &payload).map(drop)
        };
        self.store.change(Principal::Chamberlain, work).map_err(from_store)
    }
}

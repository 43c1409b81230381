//! Reading the configuration again, with before and after on record.

use std::sync::Arc;

use chamberlain_core::audit::record::Principal;
use chamberlain_store::{Change, Facts};
use serde_json::{Map, Value};

use super::{Commander, Ruling};
use crate::error::CommandError;
use crate::reply::{Reloaded, SettingChange};

impl Commander {
    pub(super) fn config_reload(&self, actor: &Principal) -> Result<Reloaded, CommandError> {
        let reload = self.reload.get().ok_or_else(|| {
            CommandError::unavailable("no server runs, so there is nothing to reload")
                .hint("the configuration is read at every start")
        })?;
        let settings = reload()?;
        let changing = self.changing.lock();
        let before = self.settings.read().clone();
        if settings.timezone != before.settings.timezone {
            return Err(CommandError::conflict(format!(
                "the time zone cannot change from {} to {} while calls are counted in its days",
                before.settings.timezone, settings.timezone
            ))
            .hint("restart Chamberlain, best at a moment when both zones have the same day"));
        }
        let changes = changes(&before.settings.facts(), &settings.facts());
        if changes.is_empty() {
            let generation = self.publisher.generation();
            return Ok(Reloaded { changed: false, changes, generation });
        }
        let facts = Facts {
            reason: None,
            before: Some(side(&changes, |change| &change.before)),
            after: Some(side(&changes, |change| &change.after)),
        };
        let ruling = Arc::new(Ruling::new(settings)?);
        let record = move |change: &mut Change<'_>| {
            change.audit("config.reloaded", "configuration", &facts).map(drop)
        };
        self.store.change(actor.clone(), record).map_err(super::from_store)?;
        *self.settings.write() = ruling;
        let generation = self.publish().map_err(|error| super::not_in_force(&error))?;
        drop(changing);
        Ok(Reloaded { changed: true, changes, generation })
    }
}

fn changes(before: &Map<String, Value>, after: &Map<String, Value>) -> Vec<SettingChange> {
    let names: std::collections::BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let value = |of: &Map<String, Value>, name: &String| of.get(name).cloned().unwrap_or_default();
    names
        .into_iter()
        .map(|name| SettingChange {
            setting: name.clone(),
            before: value(before, name),
            after: value(after, name),
        })
        .filter(|change| change.before != change.after)
        .collect()
}

fn side(changes: &[SettingChange], of: impl Fn(&SettingChange) -> &Value) -> Value {
    changes.iter().map(|change| (change.setting.clone(), of(change).clone())).collect()
}

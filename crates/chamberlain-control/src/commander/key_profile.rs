//! Says more about an upstream key, and gives it another name.

use chamberlain_core::audit::record::Principal;
use chamberlain_core::keys::profile::{CreatedFor, Exemption, Profile};
use chamberlain_core::time::Calendar;
use chamberlain_store::{Change, Facts, UpstreamKey, UpstreamKeyState};
use serde_json::json;

use super::{Commander, from_store, keys};
use crate::admin_api::KeyUpdate;
use crate::command::{KeyAbout, KeyAnnotate, KeyRename};
use crate::error::CommandError;
use crate::virtual_key::Ground;
use crate::{inventory, reply, scope, virtual_key};

impl Commander {
    pub(super) fn key_annotate(
        &self,
        actor: &Principal,
        asked: KeyAnnotate,
    ) -> Result<reply::UpstreamKey, CommandError> {
        let id = self.change(actor, |ground| {
            let row = scope::upstream_key(&asked.key, ground.house)?;
            let profile = annotated(&row.profile, &asked.about, ground.calendar)?;
            if profile == row.profile {
                return Err(CommandError::usage("that says nothing new about the key")
                    .hint("chamberlain key annotate --help has what can be said"));
            }
            check_anthropic_id(row, &profile, ground)?;
            let (id, facts) = (row.id.clone(), changed(row, &profile));
            Ok(move |change: &mut Change<'_>| {
                change.set_upstream_profile(&id, &profile)?;
                change.audit("upstream_key.annotated", &keys::subject(&id), &facts)?;
                Ok(id)
            })
        })?;
        self.shown(&id)
    }

    pub(super) fn key_rename(
        &self,
        actor: &Principal,
        asked: &KeyRename,
    ) -> Result<reply::UpstreamKey, CommandError> {
        let (row, name) = self.name_for(asked)?;
        if asked.at_anthropic {
            self.rename_at_anthropic(actor, &row, &name)?;
        }
        let id = self.change(actor, |ground| {
            let row = scope::upstream_key(row.id.as_str(), ground.house)?;
            let (id, name) = (row.id.clone(), name.clone());
            let facts = Facts {
                before: Some(json!({ "name": row.name })),
                after: Some(json!({ "name": name, "at_anthropic": asked.at_anthropic })),
                ..Facts::default()
            };
            Ok(move |change: &mut Change<'_>| {
                change.rename_upstream_key(&id, &name)?;
                change.audit("upstream_key.renamed", &keys::subject(&id), &facts)?;
                Ok(id)
            })
        })?;
        self.shown(&id)
    }

    /// Checks everything before anything is changed, here or there.
    fn name_for(&self, asked: &KeyRename) -> Result<(UpstreamKey, String), CommandError> {
        let (house, ruling) = (self.house()?, self.settings.read().clone());
        let (settings, calendar, now) = (&ruling.settings, &ruling.calendar, self.now());
        let ground = Ground { house: &house, settings, calendar, now };
        let row = scope::upstream_key(&asked.key, &house)?;
        if row.state == UpstreamKeyState::Revoked {
            return Err(CommandError::conflict(format!("upstream key {} is removed", row.id)));
        }
        let environment = row.environment.as_ref().map(|name| name.as_str());
        let name = match asked.name.trim() {
            "" => inventory::suggested_name(environment, &row.profile, ground, calendar.date(now)),
            given => virtual_key::name(given)?,
        };
        inventory::check_name(&name, row.environment.as_ref(), settings)?;
        let other = |other: &&UpstreamKey| {
            other.id != row.id && other.name == name && other.state != UpstreamKeyState::Revoked
        };
        if let Some(other) = house.upstream_keys.iter().find(other) {
            let problem = format!("upstream key {} is called {name:?}", other.id);
            return Err(CommandError::conflict(problem).hint("choose another name"));
        }
        Ok((row.clone(), name))
    }

    /// Intent, effect, result: each on record.
    fn rename_at_anthropic(
        &self,
        actor: &Principal,
        row: &UpstreamKey,
        name: &str,
    ) -> Result<(), CommandError> {
        let id = row.profile.anthropic_id.clone().ok_or_else(|| {
            let problem = format!("it is not known which key {:?} is at Anthropic", row.name);
            CommandError::conflict(problem).hint(
                "chamberlain key sync finds out, or chamberlain key annotate --anthropic-id ID",
            )
        })?;
        // Without an admin key nothing is begun.
        if !self.has_admin_key()? {
            self.with_admin_api(|_| Ok(()))?;
        }
        let record = |kind: &'static str, after: serde_json::Value| {
            let (subject, facts) =
                (keys::subject(&row.id), Facts { after: Some(after), ..Facts::default() });
            let done = self.store.change(actor.clone(), move |change| {
                change.audit(kind, &subject, &facts).map(drop)
            });
            done.map_err(from_store)
        };
        record("upstream_key.rename_begun", json!({ "anthropic_id": id, "name": name }))?;
        let update = KeyUpdate { name: Some(name.to_owned()), status: None };
        let renamed = self.with_admin_api(|api| api.update_key(&id, &update));
        if let Err(error) = renamed {
            record("upstream_key.rename_failed", json!({ "error": error.message }))?;
            return Err(error);
        }
        Ok(())
    }
}

/// Two keys here are never the same key there.
fn check_anthropic_id(
    row: &UpstreamKey,
    profile: &Profile,
    ground: Ground<'_>,
) -> Result<(), CommandError> {
    let Some(id) = &profile.anthropic_id else { return Ok(()) };
    let other = |other: &&UpstreamKey| {
        other.id != row.id && other.profile.anthropic_id.as_ref() == Some(id)
    };
    match ground.house.upstream_keys.iter().find(other) {
        None => Ok(()),
        Some(other) => {
            Err(CommandError::conflict(format!("{id} is {:?} ({}) already", other.name, other.id)))
        }
    }
}

fn changed(row: &UpstreamKey, profile: &Profile) -> Facts {
    Facts {
        before: serde_json::to_value(&row.profile).ok(),
        after: serde_json::to_value(profile).ok(),
        ..Facts::default()
    }
}

/// A profile with what was said put in.
///
/// # Errors
/// When something of it cannot be.
pub(super) fn annotated(
    before: &Profile,
    about: &KeyAbout,
    calendar: &Calendar,
) -> Result<Profile, CommandError> {
    let mut profile = before.clone();
    let text = |what: &str, given: &Option<String>, kept: &mut Option<String>| {
        if given.is_some() {
            *kept = inventory::text(what, given.as_deref())?;
        }
        Ok::<(), CommandError>(())
    };
    text("project", &about.project, &mut profile.project)?;
    text("team", &about.team, &mut profile.team)?;
    text("purpose", &about.purpose, &mut profile.purpose)?;
    text("rationale", &about.rationale, &mut profile.rationale)?;
    text("anthropic id", &about.anthropic_id, &mut profile.anthropic_id)?;
    if about.anthropic_id.is_some() && profile.anthropic_id != before.anthropic_id {
        if profile.anthropic_id.as_deref().is_some_and(|id| !id.starts_with("apikey_")) {
            return Err(CommandError::usage("an id of a key at Anthropic begins with apikey_"));
        }
        profile.seen = None;
    }
    if let Some(word) = about.created_for.as_deref().filter(|word| !word.is_empty()) {
        let words: Vec<&str> = CreatedFor::WORDS.iter().map(|(_, word)| *word).collect();
        let read = CreatedFor::read(word).ok_or_else(|| {
            CommandError::usage(format!("{word:?} is no reason for a key"))
                .hint(format!("one of {}", words.join(", ")))
        })?;
        profile.created_for = Some(read);
    }
    if about.created_on.is_some() {
        profile.created_on = inventory::day("created", about.created_on.as_deref())?;
    }
    if about.last_rotated_on.is_some() {
        profile.last_rotated_on = inventory::day("last rotated", about.last_rotated_on.as_deref())?;
    }
    if about.expires.is_some() {
        profile.expires_at = inventory::moment("expires", about.expires.as_deref(), calendar)?;
    }
    if about.exempt_until.is_some() {
        profile.exemption = exemption(about)?;
    }
    Ok(profile)
}

fn exemption(about: &KeyAbout) -> Result<Option<Exemption>, CommandError> {
    let Some(until) = inventory::day("exempt until", about.exempt_until.as_deref())? else {
        return Ok(None);
    };
    let reason = inventory::text("reason", about.exempt_reason.as_deref())?;
    let reason = reason.ok_or_else(|| {
        CommandError::usage("say why it may rest: the reason is put on record")
            .hint("--reason \"used by the nightly build only\"")
    })?;
    Ok(Some(Exemption { reason, until }))
}

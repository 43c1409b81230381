//! Takes over a table of keys: checked whole, then written in one step, or not at all. A key of the
//! table that nobody gave a value for is listed, and waits for `chamberlain key add`; a revoked one
//! is kept for the record.

use chamberlain_core::audit::record::Principal;
use chamberlain_core::id::{EnvironmentName, UpstreamKeyId};
use chamberlain_core::keys::name;
use chamberlain_core::keys::profile::Profile;
use chamberlain_core::keys::schedule;
use chamberlain_store::{Change, Facts, StoreFault, UpstreamKey, UpstreamKeyState};
use serde_json::json;

use super::key_profile::annotated;
use super::{Commander, keys};
use crate::command::{KeyAbout, KeyImport};
use crate::error::CommandError;
use crate::key_table::{self, Row};
use crate::reply::{ImportLine, KeyImported};
use crate::virtual_key::{self, Ground};
use crate::{inventory, scope};

/// What is to be written for a row.
enum Step {
    Nothing,
    Update(UpstreamKeyId, Box<Profile>),
    Insert(Box<UpstreamKey>),
}

impl Commander {
    pub(super) fn key_import(
        &self,
        actor: &Principal,
        asked: &KeyImport,
    ) -> Result<KeyImported, CommandError> {
        let rows = key_table::read(&asked.table)?;
        let _changing = self.changing.lock();
        let (house, ruling, now) = (self.house()?, self.settings.read().clone(), self.now());
        let (settings, calendar) = (&ruling.settings, &ruling.calendar);
        let ground = Ground { house: &house, settings, calendar, now };
        let mut planned = Vec::new();
        for (at, row) in rows.iter().enumerate() {
            if let Some(twin) = rows[..at].iter().find(|twin| twin.name == row.name) {
                let problem =
                    format!("line {}: {:?} stands in line {} too", row.line, row.name, twin.line);
                return Err(CommandError::conflict(problem));
            }
            let step = self.step(row, ground).map_err(|error| CommandError {
                message: format!("line {}: {}", row.line, error.message),
                ..error
            })?;
            planned.push(step);
        }
        let lines = planned.iter().map(|(line, _)| line.clone()).collect();
        let is_nothing = planned.iter().all(|(_, step)| matches!(step, Step::Nothing));
        if !asked.dry_run && !is_nothing {
            let file = asked.file.clone();
            let work = move |change: &mut Change<'_>| write(change, planned, &file);
            self.store.change(actor.clone(), work).map_err(super::from_store)?;
        }
        Ok(KeyImported { dry_run: asked.dry_run, rows: lines })
    }

    fn step(&self, row: &Row, ground: Ground<'_>) -> Result<(ImportLine, Step), CommandError> {
        let about = KeyAbout {
            team: row.team.clone(),
            purpose: row.purpose.clone(),
            rationale: row.rationale.clone(),
            created_on: row.created.clone(),
            last_rotated_on: row.last_rotated.clone(),
            expires: row.expires.clone(),
            anthropic_id: row.anthropic_id.clone(),
            ..KeyAbout::default()
        };
        let name = virtual_key::name(&row.name)?;
        let environment =
            row.environment.as_deref().map(|word| environment(word, ground)).transpose()?;
        let environment = environment.flatten();
        inventory::check_name(&name, environment.as_ref(), ground.settings)?;
        let state = state(row.status.as_deref())?;
        let known = ground.house.upstream_keys.iter().find(|key| {
            key.name == name
                && (key.state == UpstreamKeyState::Revoked) == (state == UpstreamKeyState::Revoked)
        });
        let (done, step, key) = match known {
            Some(key) => {
                let profile = annotated(&key.profile, &about, ground.calendar)?;
                let after = UpstreamKey { profile: profile.clone(), ..key.clone() };
                match profile == key.profile {
                    true => ("unchanged", Step::Nothing, after),
                    false => ("updated", Step::Update(key.id.clone(), Box::new(profile)), after),
                }
            }
            None => {
                let mut random = [0; 16];
                self.entropy.fill(&mut random);
                let key = UpstreamKey {
                    id: UpstreamKeyId::mint(random),
                    name: name.clone(),
                    environment,
                    state,
                    fingerprint: String::new(),
                    hint: String::new(),
                    created_at: ground.now,
                    removed_at: (state == UpstreamKeyState::Revoked).then_some(ground.now),
                    last_used_at: None,
                    profile: annotated(&Profile::default(), &about, ground.calendar)?,
                };
                let done = if state == UpstreamKeyState::Revoked { "recorded" } else { "listed" };
                (done, Step::Insert(Box::new(key.clone())), key)
            }
        };
        let warnings = warnings(row, &key, ground)?;
        let line = ImportLine { line: row.line as u64, name, done: done.to_owned(), warnings };
        Ok((line, step))
    }
}

/// The environment that a word of a table means; `None` for a key shared by all.
fn environment(word: &str, ground: Ground<'_>) -> Result<Option<EnvironmentName>, CommandError> {
    let word = word.trim().to_ascii_lowercase();
    if matches!(word.as_str(), "shared" | "(shared)" | "all") {
        return Ok(None);
    }
    let names = ground.settings.environments.iter().map(|environment| &environment.name);
    let meant = names.clone().find(|name| {
        name.as_str() == word || name::words_for(name.as_str()).contains(&word.as_str())
    });
    match meant {
        Some(name) => Ok(Some(name.clone())),
        None => scope::environment(&word, ground.settings).map(|found| Some(found.name.clone())),
    }
}

fn state(status: Option<&str>) -> Result<UpstreamKeyState, CommandError> {
    let word = status.unwrap_or("active").trim().to_ascii_lowercase();
    match word.as_str() {
        "active" | "current" | "staged" | "previous" | "listed" | "standby" | "inactive" => {
            Ok(UpstreamKeyState::Listed)
        }
        "revoked" | "removed" | "deleted" | "archived" | "expired" => Ok(UpstreamKeyState::Revoked),
        _ => Err(CommandError::usage(format!("{word:?} is no status"))
            .hint("Active, Revoked, Archived or Expired")),
    }
}

/// Where the table and what is derived do not agree.
fn warnings(row: &Row, key: &UpstreamKey, ground: Ground<'_>) -> Result<Vec<String>, CommandError> {
    let mut found = Vec::new();
    let days = inventory::interval_days(key, ground.house, ground.settings);
    let derived = inventory::next_rotation(key, days, ground.calendar);
    if let Some(stored) = inventory::day("next rotation", row.next_rotation.as_deref())?
        && stored != derived.on
    {
        found.push(format!(
            "next rotation: the table says {stored}; it follows that it is {}",
            derived.on
        ));
    }
    let known: Vec<&str> =
        ground.settings.environments.iter().map(|environment| environment.name.as_str()).collect();
    let environment = key.environment.as_ref().map(|name| name.as_str());
    match name::parse(&key.name, &known) {
        Err(mistake) => found.push(format!("its name: {mistake}")),
        Ok(read) => {
            let conflicts =
                read.conflicts(environment, key.profile.purpose.as_deref(), key.profile.created_on);
            found.extend(conflicts.iter().map(ToString::to_string));
        }
    }
    let late = schedule::days_left(derived.on, ground.calendar.date(ground.now));
    if key.state != UpstreamKeyState::Revoked && late < 0 {
        found.push(format!("its rotation is {} days overdue", -late));
    }
    Ok(found)
}

fn write(
    change: &mut Change<'_>,
    planned: Vec<(ImportLine, Step)>,
    file: &str,
) -> Result<(), StoreFault> {
    for (line, step) in planned {
        let origin =
            |profile: &Profile| json!({ "profile": profile, "line": line.line, "file": file });
        match step {
            Step::Nothing => {}
            Step::Update(id, profile) => {
                change.set_upstream_profile(&id, &profile)?;
                let facts = Facts { after: Some(origin(&profile)), ..Facts::default() };
                change.audit("upstream_key.imported", &keys::subject(&id), &facts)?;
            }
            Step::Insert(key) => {
                change.list_upstream_key(&key)?;
                let mut after = origin(&key.profile);
                after["name"] = json!(key.name);
                after["environment"] = json!(key.environment);
                after["state"] = json!(line.done);
                let facts = Facts { after: Some(after), ..Facts::default() };
                change.audit("upstream_key.imported", &keys::subject(&key.id), &facts)?;
            }
        }
    }
    Ok(())
}

//! The inventory as the house has it: upstream keys in the form that core compares with Anthropic's
//! list, and the days that follow from what is kept.

use chamberlain_core::id::EnvironmentName;
use chamberlain_core::keys::name;
use chamberlain_core::keys::profile::Profile;
use chamberlain_core::keys::reconcile::{OwnKey, Places, Stands};
use chamberlain_core::keys::schedule::{self, NextRotation};
use chamberlain_core::time::{Calendar, Date, Timestamp};
use chamberlain_store::{UpstreamKey, UpstreamKeyState};

use crate::error::CommandError;
use crate::house::House;
use crate::settings::Settings;
use crate::virtual_key::Ground;

/// Days between rotations where no environment says.
const INTERVAL_DAYS: u32 = 180;

/// Longest text of a profile, in characters.
const TEXT_CHARS_MAX: usize = 500;

/// The environments whose calls leave with a key now.
pub fn serves(key: &UpstreamKey, house: &House, settings: &Settings) -> Vec<EnvironmentName> {
    let names = settings.environments.iter().map(|environment| &environment.name);
    let is_it = |name: &&EnvironmentName| {
        house.upstream_key_of(name).is_some_and(|current| current.id == key.id)
    };
    names.filter(is_it).cloned().collect()
}

/// Days between rotations of a key: of its environment, or the least of those it serves.
pub fn interval_days(key: &UpstreamKey, house: &House, settings: &Settings) -> u32 {
    let mut of: Vec<EnvironmentName> = serves(key, house, settings);
    of.extend(key.environment.clone());
    let days = of
        .iter()
        .filter_map(|name| settings.environment(name.as_str()))
        .map(|environment| environment.rotation_interval_days);
    days.min().unwrap_or(INTERVAL_DAYS)
}

/// The day a key took over: what was said, else when it was made, else when it was put in.
pub fn last_rotated(key: &UpstreamKey, calendar: &Calendar) -> Date {
    let Profile { last_rotated_on, created_on, .. } = &key.profile;
    last_rotated_on.or(*created_on).unwrap_or_else(|| calendar.date(key.created_at))
}

/// When a key is to be replaced.
pub fn next_rotation(key: &UpstreamKey, interval_days: u32, calendar: &Calendar) -> NextRotation {
    let expires_on = key.profile.expiry().map(|at| calendar.date(at));
    schedule::next_rotation(last_rotated(key, calendar), interval_days, expires_on)
}

/// Every upstream key as core compares it.
pub fn own_keys(house: &House, settings: &Settings) -> Vec<OwnKey> {
    let own = |key: &UpstreamKey| OwnKey {
        id: key.id.to_string(),
        name: key.name.clone(),
        environment: key.environment.clone(),
        stands: match key.state {
            UpstreamKeyState::Listed => Stands::Listed,
            UpstreamKeyState::Staged => Stands::Staged,
            UpstreamKeyState::Current | UpstreamKeyState::Previous => Stands::InUse,
            UpstreamKeyState::Revoked => Stands::Removed,
        },
        hint: key.hint.clone(),
        profile: key.profile.clone(),
        added_at: key.created_at,
        last_used_at: key.last_used_at,
        serves: serves(key, house, settings),
        interval_days: interval_days(key, house, settings),
    };
    house.upstream_keys.iter().map(own).collect()
}

/// What keys are measured by.
pub fn places(settings: &Settings) -> Places {
    let wanted = settings
        .environments
        .iter()
        .filter_map(|environment| Some((environment.name.clone(), environment.workspace.clone()?)));
    Places {
        workspaces: wanted.collect(),
        environments: settings.environments.iter().map(|found| found.name.clone()).collect(),
    }
}

/// A name by the convention that no key in use has.
pub fn suggested_name(
    environment: Option<&str>,
    profile: &Profile,
    ground: Ground<'_>,
    today: Date,
) -> String {
    let taken = |name: &str| {
        let in_use = |key: &&UpstreamKey| key.state != UpstreamKeyState::Revoked;
        ground.house.upstream_keys.iter().filter(in_use).any(|key| key.name == name)
    };
    let project = profile.project.as_deref().or(ground.settings.inventory.project.as_deref());
    let date = profile.created_on.unwrap_or(today);
    name::suggest(project, environment.unwrap_or("shared"), profile.purpose.as_deref(), date, taken)
}

/// Refuses a name that says another environment than the one the key is for: one of the two is a
/// mistake, and the wrong one would put a key where it does not belong.
///
/// # Errors
/// When they contradict.
pub fn check_name(
    name: &str,
    environment: Option<&EnvironmentName>,
    settings: &Settings,
) -> Result<(), CommandError> {
    let known: Vec<&str> = settings.environments.iter().map(|found| found.name.as_str()).collect();
    let (Ok(read), Some(environment)) = (name::parse(name, &known), environment) else {
        return Ok(());
    };
    if read.environment == environment.as_str() {
        return Ok(());
    }
    let said = read.environment;
    Err(CommandError::conflict(format!(
        "the name {name:?} says {said}, and the key is to be put into {environment}"
    ))
    .hint(format!(
        "a key serves one environment: add it with --environment {said}, or make one for \
         {environment} in the Claude Console"
    )))
}

/// A text of a profile: one line that people can read, without a secret in it.
///
/// # Errors
/// When it is not.
pub fn text(what: &str, given: Option<&str>) -> Result<Option<String>, CommandError> {
    let Some(text) = given.map(str::trim).filter(|text| !text.is_empty()) else { return Ok(None) };
    if text.chars().count() > TEXT_CHARS_MAX || text.chars().any(char::is_control) {
        let problem = format!("{what}: at most {TEXT_CHARS_MAX} characters on one line");
        return Err(CommandError::usage(problem));
    }
    if chamberlain_core::secret::redact(text) != text {
        return Err(CommandError::usage(format!("{what}: there is a key in it"))
            .hint("keys are given at the prompt or on stdin; if it was a real one, revoke it"));
    }
    Ok(Some(text.to_owned()))
}

/// A day, `2026-11-23`.
///
/// # Errors
/// When it is none.
pub fn day(what: &str, given: Option<&str>) -> Result<Option<Date>, CommandError> {
    let Some(text) = given.map(str::trim).filter(|text| !text.is_empty()) else { return Ok(None) };
    Date::parse(text).map(Some).ok_or_else(|| {
        CommandError::usage(format!("{what}: {text:?} is no day; write it as 2026-11-23"))
    })
}

/// A moment or a day; a day means its end, in the calendar.
///
/// # Errors
/// When it is neither.
pub fn moment(
    what: &str,
    given: Option<&str>,
    calendar: &Calendar,
) -> Result<Option<Timestamp>, CommandError> {
    let Some(text) = given.map(str::trim).filter(|text| !text.is_empty()) else { return Ok(None) };
    if let Some(date) = Date::parse(text) {
        return Ok(Some(calendar.start_of(date.plus_days(1)).plus_ms(-1)));
    }
    Timestamp::from_rfc3339(text).map(Some).map_err(|_| {
        let problem = format!("{what}: {text:?} is no moment; write 2026-11-23 or RFC 3339");
        CommandError::usage(problem)
    })
}

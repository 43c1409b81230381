//! Scopes and keys as people name them.

use chamberlain_core::admission::key::{KeyState, PREFIX, VirtualKey};
use chamberlain_core::id::{EnvironmentName, VirtualKeyId};
use chamberlain_core::ledger::account::Scope;
use chamberlain_store::{UpstreamKey, UpstreamKeyState};

use crate::error::CommandError;
use crate::house::House;
use crate::reply::{ScopeKind, ScopeName};
use crate::settings::{EnvironmentSettings, Settings};

/// Finds the scope that `text` names: `organization`, an environment, or a virtual key by id or
/// name. `environment:ci` and `virtual:ci` say which of two is meant.
///
/// # Errors
/// When there is none, or more than one.
pub fn scope(text: &str, house: &House, settings: &Settings) -> Result<Scope, CommandError> {
    if let Some(name) = text.strip_prefix("environment:") {
        return environment(name, settings).map(|found| Scope::Environment(found.name.clone()));
    }
    if let Some(key) = text.strip_prefix("virtual:") {
        return virtual_key(key, house).map(|found| Scope::VirtualKey(found.id.clone()));
    }
    let named = settings.environment(text).map(|found| Scope::Environment(found.name.clone()));
    let key = virtual_key(text, house);
    match (text, named, key) {
        ("organization", None, Err(_)) => Ok(Scope::Organization),
        (_, Some(scope), Err(_)) => Ok(scope),
        (_, None, Ok(key)) => Ok(Scope::VirtualKey(key.id.clone())),
        (_, None, Err(error)) if error.code == crate::error::ErrorCode::Conflict => Err(error),
        (_, None, Err(_)) => {
            let shown = public_id(text);
            Err(CommandError::not_found(format!("no environment and no virtual key is {shown:?}"))
                .hint(format!(
                    "name one of organization, {}, or a virtual key (chamberlain virtual list)",
                    names(settings)
                )))
        }
        (_, _, Ok(_)) => Err(CommandError::conflict(format!(
            "{text:?} is a virtual key and something else as well"
        ))
        .hint(format!("write environment:{text} or virtual:{text}"))),
    }
}

/// Finds an environment.
///
/// # Errors
/// When there is none of that name.
pub fn environment<'a>(
    name: &str,
    settings: &'a Settings,
) -> Result<&'a EnvironmentSettings, CommandError> {
    settings.environment(name).ok_or_else(|| {
        CommandError::not_found(format!("there is no environment {name:?}"))
            .hint(format!("there are {}; more are made in chamberlain.toml", names(settings)))
    })
}

/// Finds a virtual key by id or name. A name means the key in use, or else the only revoked one.
///
/// # Errors
/// When there is none, or a name means several revoked ones.
pub fn virtual_key<'a>(text: &str, house: &'a House) -> Result<&'a VirtualKey, CommandError> {
    // Whoever finds a key in a log pastes it whole: what counts is the id in it.
    let text = public_id(text);
    let id = |key: &&VirtualKey| key.id.as_str() == text;
    if let Some(key) = house.virtual_keys.iter().find(id) {
        return Ok(key);
    }
    let named = || house.virtual_keys.iter().filter(|key| key.name == text);
    if let Some(key) = named().find(|key| key.state != KeyState::Revoked) {
        return Ok(key);
    }
    let mut revoked = named();
    match (revoked.next(), revoked.next()) {
        (Some(key), None) => Ok(key),
        (Some(_), Some(_)) => {
            Err(CommandError::conflict(format!("several revoked virtual keys were {text:?}"))
                .hint("name it by its id (chamberlain virtual list --all)"))
        }
        (None, _) => Err(CommandError::not_found(format!("there is no virtual key {text:?}"))
            .hint("chamberlain virtual list shows them")),
    }
}

/// The id in a whole virtual key, `chm_<id>_<secret>`; any other text as it is.
fn public_id(text: &str) -> &str {
    let inside = text.trim().strip_prefix(PREFIX).and_then(|rest| rest.split_once('_'));
    match inside {
        Some((id, _)) if VirtualKeyId::is_well_formed(id) => id,
        _ => text,
    }
}

/// Finds an upstream key by id or name, the one in use before removed ones.
///
/// # Errors
/// When there is none.
pub fn upstream_key<'a>(text: &str, house: &'a House) -> Result<&'a UpstreamKey, CommandError> {
    let named = |key: &&UpstreamKey| key.id.as_str() == text || key.name == text;
    let removed = |key: &&UpstreamKey| key.state == UpstreamKeyState::Revoked;
    let mut found: Vec<_> = house.upstream_keys.iter().filter(named).collect();
    found.sort_by_key(|key| (removed(key), std::cmp::Reverse(key.created_at)));
    found.first().copied().ok_or_else(|| {
        CommandError::not_found("there is no such upstream key")
            .hint("chamberlain key list shows them")
    })
}

/// What people call a scope.
pub fn name(scope: &Scope, house: &House) -> ScopeName {
    let (kind, id, name) = match scope {
        Scope::Organization => (ScopeKind::Organization, "organization", None),
        Scope::Environment(environment) => (ScopeKind::Environment, environment.as_str(), None),
        Scope::VirtualKey(id) => {
            let name = house.virtual_key(id).map(|key| key.name.as_str());
            (ScopeKind::VirtualKey, id.as_str(), name)
        }
    };
    ScopeName { kind, id: id.to_owned(), name: name.unwrap_or(id).to_owned() }
}

/// What audit records about a scope are filed under.
pub fn subject(scope: &Scope) -> String {
    match scope {
        Scope::Organization => "organization".to_owned(),
        Scope::Environment(name) => format!("environment:{name}"),
        Scope::VirtualKey(id) => format!("virtual_key:{id}"),
    }
}

/// How a scope is named in a command.
pub fn text(scope: &Scope) -> String {
    match scope {
        Scope::Organization => "organization".to_owned(),
        Scope::Environment(name) => name.to_string(),
        Scope::VirtualKey(id) => id.to_string(),
    }
}

/// The scopes of the whole house in the order people read them: widest first, environments as
/// configured, revoked keys left out.
pub fn all(house: &House, settings: &Settings) -> Vec<Scope> {
    let mut scopes = vec![Scope::Organization];
    let environment = |name: &EnvironmentName| Scope::Environment(name.clone());
    scopes.extend(settings.environments.iter().map(|found| environment(&found.name)));
    let in_use = house.virtual_keys.iter().filter(|key| key.state != KeyState::Revoked);
    scopes.extend(in_use.map(|key| Scope::VirtualKey(key.id.clone())));
    scopes
}

fn names(settings: &Settings) -> String {
    let names: Vec<&str> =
        settings.environments.iter().map(|environment| environment.name.as_str()).collect();
    names.join(", ")
}

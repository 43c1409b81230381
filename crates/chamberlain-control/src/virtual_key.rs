//! Virtual keys as commands make and change them: what is asked for is checked here, whole, before
//! anything is written.

use chamberlain_core::admission::key::{self, KeyState, MintedKey, VirtualKey};
use chamberlain_core::admission::policy::{self, Policy};
use chamberlain_core::money::Money;
use chamberlain_core::secret;
use chamberlain_core::snapshot::{Budgets, Limits};
use chamberlain_core::time::{Calendar, Entropy, Timestamp};

use crate::command::{VirtualCreate, VirtualUpdate};
use crate::error::CommandError;
use crate::house::House;
use crate::settings::Settings;
use crate::wire::Change;
use crate::{scope, when};

/// Longest name of a key or an operation, in characters.
const NAME_CHARS_MAX: usize = 100;

/// Longest reason, in characters.
const REASON_CHARS_MAX: usize = 1_000;

/// What a command is checked against.
#[derive(Clone, Copy)]
pub struct Ground<'a> {
    /// Keys and overrides.
    pub house: &'a House,
    /// The configuration.
    pub settings: &'a Settings,
    /// The calendar.
    pub calendar: &'a Calendar,
    /// Now.
    pub now: Timestamp,
}

/// Makes a virtual key. The text of it is in the second value, for once.
///
/// # Errors
/// When something about it is wrong; the message says what.
pub fn create(
    asked: &VirtualCreate,
    ground: Ground<'_>,
    entropy: &dyn Entropy,
) -> Result<(VirtualKey, MintedKey), CommandError> {
    let environment = scope::environment(&asked.environment, ground.settings)?;
    let (mut id, mut secret) = ([0; 16], [0; 43]);
    entropy.fill(&mut id);
    entropy.fill(&mut secret);
    let minted = key::mint(id, secret);
    let made = VirtualKey {
        id: minted.id.clone(),
        name: name(&asked.name)?,
        environment: environment.name.clone(),
        secret_hash: minted.secret_hash,
        policy: Policy {
            models_allow: asked.models.clone(),
            models_deny: asked.models_deny.clone(),
            operations_allow: asked.operations.clone(),
            operations_deny: Vec::new(),
            capabilities_deny: asked.capabilities_deny.clone(),
            capabilities_allow: None,
            max_tokens: asked.max_tokens,
            networks_allow: asked.cidrs.clone(),
            on_shortage: asked.on_shortage,
        },
        budgets: Budgets { daily: asked.daily, monthly: asked.monthly },
        limits: Limits {
            requests_per_minute: asked.rpm,
            input_tokens_per_minute: asked.input_tpm,
            output_tokens_per_minute: asked.output_tpm,
            concurrency: asked.concurrency,
        },
        operation: asked.operation.clone(),
        expires_at: asked
            .expires
            .as_deref()
            .map(|text| when::ahead(text, ground.now, ground.calendar))
            .transpose()?,
        state: KeyState::Active,
        pause: None,
        test_mode: asked.test_mode,
        created_at: ground.now,
    };
    check(&made, ground)?;
    Ok((made, minted))
}

/// Changes a virtual key.
///
/// # Errors
/// When something about it would be wrong, or it is revoked.
pub fn update(
    key: &VirtualKey,
    asked: VirtualUpdate,
    ground: Ground<'_>,
) -> Result<VirtualKey, CommandError> {
    if key.state == KeyState::Revoked {
        return Err(CommandError::conflict(format!("virtual key {} is revoked", key.id))
            .hint("make a new one (chamberlain virtual create)"));
    }
    let mut changed = key.clone();
    if let Some(new) = asked.name {
        changed.name = name(&new)?;
    }
    put(&mut changed.budgets.daily, asked.daily);
    put(&mut changed.budgets.monthly, asked.monthly);
    put(&mut changed.limits.requests_per_minute, asked.rpm);
    put(&mut changed.limits.input_tokens_per_minute, asked.input_tpm);
    put(&mut changed.limits.output_tokens_per_minute, asked.output_tpm);
    put(&mut changed.limits.concurrency, asked.concurrency);
    put(&mut changed.operation, asked.operation);
    put(&mut changed.policy.max_tokens, asked.max_tokens);
    let policy = &mut changed.policy;
    replace(&mut policy.models_allow, asked.models);
    replace(&mut policy.models_deny, asked.models_deny);
    replace(&mut policy.operations_allow, asked.operations);
    replace(&mut policy.capabilities_deny, asked.capabilities_deny);
    replace(&mut policy.networks_allow, asked.cidrs);
    policy.on_shortage = asked.on_shortage.unwrap_or(policy.on_shortage);
    match asked.expires {
        Change::Keep => {}
        Change::Default | Change::Off => changed.expires_at = None,
        Change::Set(text) => {
            changed.expires_at = Some(when::ahead(&text, ground.now, ground.calendar)?);
        }
    }
    check(&changed, ground)?;
    Ok(changed)
}

/// A virtual key has no configuration beneath it, so `default` means none as well.
pub fn put<T>(value: &mut Option<T>, change: Change<T>) {
    match change {
        Change::Keep => {}
        Change::Default | Change::Off => *value = None,
        Change::Set(new) => *value = Some(new),
    }
}

fn replace<T>(list: &mut Vec<T>, new: Option<Vec<T>>) {
    if let Some(new) = new {
        *list = new;
    }
}

/// A name that people can read and type, and that is not a secret pasted by mistake.
///
/// # Errors
/// When it is not.
pub fn name(text: &str) -> Result<String, CommandError> {
    let name = text.trim();
    let readable = |char: char| !char.is_control();
    if name.is_empty() || !name.chars().all(readable) || name.chars().count() > NAME_CHARS_MAX {
        return Err(CommandError::usage(format!(
            "a name has 1 to {NAME_CHARS_MAX} characters and no line breaks"
        )));
    }
    if secret::redact(name) != name {
        return Err(CommandError::usage("this name holds a key; names are shown to everybody")
            .hint("give it a name, and if that was a real key, revoke it"));
    }
    Ok(name.to_owned())
}

/// A reason that people can read, without a secret pasted into it.
///
/// # Errors
/// When there is none, or it is too long.
pub fn reason(text: &str) -> Result<String, CommandError> {
    let reason = secret::redact(text.trim()).into_owned();
    match reason.chars().count() {
        0 => Err(CommandError::usage("say why: the reason is put on record")),
        1..=REASON_CHARS_MAX => Ok(reason),
        _ => {
            Err(CommandError::usage(format!("a reason has at most {REASON_CHARS_MAX} characters")))
        }
    }
}

/// Refuses limits that would refuse every call, and amounts below nothing.
///
/// # Errors
/// When one is.
pub fn terms(budgets: &Budgets, limits: &Limits) -> Result<(), CommandError> {
    for (what, amount) in [("daily", budgets.daily), ("monthly", budgets.monthly)] {
        if amount.is_some_and(Money::is_negative) {
            return Err(CommandError::usage(format!("the {what} budget is below nothing")));
        }
    }
    let limits = [
        ("requests per minute", limits.requests_per_minute),
        ("input tokens per minute", limits.input_tokens_per_minute),
        ("output tokens per minute", limits.output_tokens_per_minute),
        ("calls in flight", limits.concurrency),
    ];
    match limits.iter().find(|(_, limit)| *limit == Some(0)) {
        None => Ok(()),
        Some((what, _)) => {
            Err(CommandError::usage(format!("a limit of 0 {what} would refuse every call"))
                .hint("to stop calls, freeze the key or pause the scope"))
        }
    }
}

fn check(key: &VirtualKey, ground: Ground<'_>) -> Result<(), CommandError> {
    check_name(key, ground)?;
    terms(&key.budgets, &key.limits)?;
    check_models(&key.policy, ground.settings)?;
    if key.policy.max_tokens == Some(0) {
        return Err(CommandError::usage("a max_tokens of 0 would refuse every call"));
    }
    let operations = key.policy.operations_allow.iter().chain(&key.operation);
    for operation in operations {
        name(operation).map_err(|error| CommandError::usage(format!("operation: {error}")))?;
    }
    match &key.operation {
        Some(bound)
            if !key.policy.operations_allow.is_empty()
                && !key.policy.operations_allow.contains(bound) =>
        {
            Err(CommandError::usage(format!(
                "the key is bound to {bound:?}, which its own list of operations does not allow"
            )))
        }
        _ => Ok(()),
    }
}

/// Names are how people point at things, so no two things in use share one.
fn check_name(key: &VirtualKey, ground: Ground<'_>) -> Result<(), CommandError> {
    let name = key.name.as_str();
    if name == "organization" || ground.settings.environment(name).is_some() {
        return Err(CommandError::conflict(format!("{name:?} already names a scope"))
            .hint("choose a name that says who uses the key"));
    }
    let other = |other: &&VirtualKey| {
        other.id != key.id
            && other.state != KeyState::Revoked
            && (other.name == name || other.id.as_str() == name)
    };
    match ground.house.virtual_keys.iter().find(other) {
        None => Ok(()),
        Some(other) => {
            Err(CommandError::conflict(format!("virtual key {} is called {name:?}", other.id))
                .hint("choose another name, or revoke that key first"))
        }
    }
}

fn check_models(policy: &Policy, settings: &Settings) -> Result<(), CommandError> {
    for glob in policy.models_allow.iter().chain(&policy.models_deny) {
        let named = settings.prices.models().iter().any(|model| {
            let mut names = std::iter::once(&model.id).chain(&model.aliases);
            names.any(|name| policy::matches(glob, name))
        });
        if !named {
            return Err(CommandError::usage(format!("no priced model matches {glob:?}"))
                .hint("chamberlain prices lists them"));
        }
    }
    Ok(())
}

/// Freezes, thaws or revokes a key; an error when that is no change, or too late.
///
/// # Errors
/// When the key is revoked, or already in that state.
pub fn with_state(key: &VirtualKey, state: KeyState) -> Result<VirtualKey, CommandError> {
    let word = |state| match state {
        KeyState::Active => "active",
        KeyState::Frozen => "frozen",
        KeyState::Revoked => "revoked",
    };
    let (id, name) = (&key.id, &key.name);
    match key.state {
        same if same == state => Err(CommandError::conflict(format!(
            "virtual key {id} ({name}) is already {}",
            word(same)
        ))),
        KeyState::Revoked => {
            Err(CommandError::conflict(format!("virtual key {id} ({name}) is revoked, for good"))
                .hint("make a new one (chamberlain virtual create)"))
        }
        _ => Ok(VirtualKey { state, ..key.clone() }),
    }
}

#[cfg(test)]
mod tests;

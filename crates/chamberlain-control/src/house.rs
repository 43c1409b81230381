//! The house as it stands: what the configuration says, and what commands have put over it.

use std::collections::{BTreeSet, HashMap};

use chamberlain_core::admission::key::{KeyState, VirtualKey};
use chamberlain_core::containment::Subject;
use chamberlain_core::id::{EnvironmentName, UpstreamKeyId, VirtualKeyId};
use chamberlain_core::ledger::account::Scope;
use chamberlain_core::overrides::{Override, Overrides};
use chamberlain_core::snapshot::{Budgets, Limits, Pause};
use chamberlain_core::time::Timestamp;
use chamberlain_store::{Store, UpstreamKey, UpstreamKeyState};

use crate::backup::held::Held;
use crate::error::CommandError;
use crate::fault::from_store;
use crate::settings::Settings;
use crate::wire::Change;

/// Puts a change over what commands have set before.
pub fn put<T>(set: &mut Option<Override<T>>, change: Change<T>) {
    match change {
        Change::Keep => {}
        Change::Default => *set = None,
        Change::Off => *set = Some(Override::Off),
        Change::Set(value) => *set = Some(Override::Set(value)),
    }
}

/// What the store knows of keys and overrides, read in one go.
#[derive(Clone, Default, PartialEq, Debug)]
pub struct House {
    /// All virtual keys, revoked ones included.
    pub virtual_keys: Vec<VirtualKey>,
    /// All upstream keys, removed ones included.
    pub upstream_keys: Vec<UpstreamKey>,
    /// What commands put over the configuration.
    pub overrides: HashMap<Scope, Overrides>,
    /// Upstream keys of a backup that was put back, closed until upstream takes them.
    pub closed: Vec<UpstreamKeyId>,
    /// Upstream keys that were contained.
    pub contained: Vec<UpstreamKeyId>,
}

impl House {
    /// Reads it.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn read(store: &Store) -> Result<House, CommandError> {
        Ok(House {
            virtual_keys: store.virtual_keys().map_err(from_store)?,
            upstream_keys: store.upstream_keys().map_err(from_store)?,
            overrides: store.overrides().map_err(from_store)?.into_iter().collect(),
            closed: Held::read(store)?.upstream_keys,
            contained: store.contained_upstream_keys().map_err(from_store)?,
        })
    }

    /// The house without keys that are cut off and that the store may not have as such yet.
    #[must_use]
    pub fn without(mut self, cut_off: &BTreeSet<Subject>) -> House {
        for subject in cut_off {
            match subject {
                Subject::UpstreamKey(id) => {
                    let rows = self.upstream_keys.iter_mut().filter(|row| row.id == *id);
                    rows.for_each(|row| row.state = row.state.shelved());
                    self.contained.push(id.clone());
                }
                Subject::VirtualKey(id) => {
                    let keys = self.virtual_keys.iter_mut().filter(|key| key.id == *id);
                    keys.for_each(|key| key.state = KeyState::Revoked);
                }
            }
        }
        self
    }

    /// What commands put over the configuration of that scope.
    pub fn overrides(&self, scope: &Scope) -> Overrides {
        self.overrides.get(scope).cloned().unwrap_or_default()
    }

    /// The virtual key with that id.
    pub fn virtual_key(&self, id: &VirtualKeyId) -> Option<&VirtualKey> {
        self.virtual_keys.iter().find(|key| key.id == *id)
    }

    /// The upstream key that calls of an environment leave with: its own, or the shared one.
    pub fn upstream_key_of(&self, environment: &EnvironmentName) -> Option<&UpstreamKey> {
        let current = |owner: Option<&EnvironmentName>| {
            self.upstream_keys.iter().find(|key| {
                key.state == UpstreamKeyState::Current && key.environment.as_ref() == owner
            })
        };
        current(Some(environment)).or_else(|| current(None))
    }

    /// Whether an environment leaves with no key because the one it had was contained.
    pub fn lost_its_key(&self, environment: &EnvironmentName) -> bool {
        let is_its_own =
            |key: &&UpstreamKey| key.environment.as_ref().is_none_or(|owner| owner == environment);
        self.upstream_key_of(environment).is_none()
            && self
                .upstream_keys
                .iter()
                .filter(is_its_own)
                .any(|key| self.contained.contains(&key.id))
    }

    /// Virtual keys of an environment that are not revoked.
    pub fn virtual_keys_of<'a>(
        &'a self,
        environment: &'a EnvironmentName,
    ) -> impl Iterator<Item = &'a VirtualKey> {
        self.virtual_keys
            .iter()
            .filter(move |key| key.environment == *environment && key.state != KeyState::Revoked)
    }

    /// The budgets in force for a scope; a scope that is gone has none.
    pub fn budgets(&self, scope: &Scope, settings: &Settings) -> Budgets {
        match scope {
            Scope::Organization => self.overrides(scope).budgets(settings.organization),
            Scope::Environment(name) => settings
                .environment(name.as_str())
                .map(|environment| self.overrides(scope).budgets(environment.budgets))
                .unwrap_or_default(),
            Scope::VirtualKey(id) => {
                self.virtual_key(id).map(|key| key.budgets).unwrap_or_default()
            }
        }
    }

    /// The limits in force for a scope; the organization has none.
    pub fn limits(&self, scope: &Scope, settings: &Settings) -> Limits {
        match scope {
            Scope::Organization => Limits::default(),
            Scope::Environment(name) => settings
                .environment(name.as_str())
                .map(|environment| self.overrides(scope).limits(environment.limits))
                .unwrap_or_default(),
            Scope::VirtualKey(id) => self.virtual_key(id).map(|key| key.limits).unwrap_or_default(),
        }
    }

    /// The pause of a scope that holds at `now`.
    pub fn pause(&self, scope: &Scope, now: Timestamp) -> Option<Pause> {
        let pause = match scope {
            Scope::VirtualKey(id) => self.virtual_key(id).and_then(|key| key.pause.clone()),
            _ => self.overrides(scope).pause,
        };
        pause.filter(|pause| pause.holds(now))
    }
}

#[cfg(test)]
mod tests {
    use chamberlain_core::money::Money;

    use super::*;

    #[test]
    fn a_command_wins_over_the_configuration() {
        let configured =
            Budgets { daily: Some(Money::from_usd(100)), monthly: Some(Money::from_usd(3_000)) };
        let mut overrides = Overrides::default();
        assert_eq!(overrides.budgets(configured), configured);
        put(&mut overrides.daily, Change::Set(Money::from_usd(40)));
        put(&mut overrides.monthly, Change::Off);
        let changed = overrides.budgets(configured);
        assert_eq!(changed, Budgets { daily: Some(Money::from_usd(40)), monthly: None });
        put(&mut overrides.monthly, Change::Default);
        put(&mut overrides.daily, Change::Keep);
        let back = overrides.budgets(configured);
        assert_eq!((back.daily, back.monthly), (changed.daily, configured.monthly));
    }
}

//! The house as it stands: what the configuration says, and what commands have put over it.

use std::collections::HashMap;

use chamberlain_core::admission::key::{KeyState, VirtualKey};
use chamberlain_core::id::{EnvironmentName, UpstreamKeyId, VirtualKeyId};
use chamberlain_core::ledger::account::Scope;
use chamberlain_core::money::Money;
use chamberlain_core::snapshot::{Budgets, Limits, Pause};
use chamberlain_core::time::{Timestamp, WindowKind};
use serde::{Deserialize, Serialize};

use crate::reply::UpstreamKeyState;
use crate::settings::Settings;
use crate::wire::Change;

/// A value that a command put over the configuration's.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Override<T> {
    /// None, whatever the configuration says.
    Off,
    /// This.
    Set(T),
}

impl<T: Copy> Override<T> {
    /// What is in force: the override, or else what is configured.
    fn over(this: Option<Override<T>>, configured: Option<T>) -> Option<T> {
        match this {
            None => configured,
            Some(Override::Off) => None,
            Some(Override::Set(value)) => Some(value),
        }
    }

    /// Puts a change on top.
    pub fn change(this: &mut Option<Override<T>>, change: Change<T>) {
        match change {
            Change::Keep => {}
            Change::Default => *this = None,
            Change::Off => *this = Some(Override::Off),
            Change::Set(value) => *this = Some(Override::Set(value)),
        }
    }
}

/// The budget that was used up when a scope was paused for it. Whoever resumes the scope is not
/// contradicted until another limit or another window is used up.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Exceeded {
    /// Day or month.
    pub window: WindowKind,
    /// When the window began.
    pub start: Timestamp,
    /// The limit.
    pub limit: Money,
}

/// Everything commands have put over the configuration of one scope.
#[derive(Clone, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct Overrides {
    /// Budget per day.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub daily: Option<Override<Money>>,
    /// Budget per month.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub monthly: Option<Override<Money>>,
    /// Requests in any minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_per_minute: Option<Override<u64>>,
    /// Input tokens in any minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_tokens_per_minute: Option<Override<u64>>,
    /// Output tokens in any minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_tokens_per_minute: Option<Override<u64>>,
    /// Calls in flight.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<Override<u64>>,
    /// Its pause.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pause: Option<Pause>,
    /// The budgets it was last paused for, one of each kind.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exceeded: Vec<Exceeded>,
}

impl Overrides {
    /// The budgets in force over those configured.
    pub fn budgets(&self, configured: Budgets) -> Budgets {
        Budgets {
            daily: Override::over(self.daily, configured.daily),
            monthly: Override::over(self.monthly, configured.monthly),
        }
    }

    /// The limits in force over those configured.
    pub fn limits(&self, configured: Limits) -> Limits {
        Limits {
            requests_per_minute: Override::over(
                self.requests_per_minute,
                configured.requests_per_minute,
            ),
            input_tokens_per_minute: Override::over(
                self.input_tokens_per_minute,
                configured.input_tokens_per_minute,
            ),
            output_tokens_per_minute: Override::over(
                self.output_tokens_per_minute,
                configured.output_tokens_per_minute,
            ),
            concurrency: Override::over(self.concurrency, configured.concurrency),
        }
    }

    /// Whether a command set the budget of that window.
    pub fn sets_budget(&self, window: WindowKind) -> bool {
        match window {
            WindowKind::Daily => self.daily.is_some(),
            WindowKind::Monthly => self.monthly.is_some(),
        }
    }
}

/// An upstream key as the store keeps it, without what is sealed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UpstreamKeyRow {
    /// Its id.
    pub id: UpstreamKeyId,
    /// Its name.
    pub name: String,
    /// The environment it is for; `None` for the shared one.
    pub environment: Option<EnvironmentName>,
    /// Where it stands.
    pub state: UpstreamKeyState,
    /// Beginning and end of it.
    pub hint: String,
    /// Keyed hash of it.
    pub fingerprint: String,
    /// When it was added.
    pub created_at: Timestamp,
    /// When it was removed.
    pub removed_at: Option<Timestamp>,
}

/// What the store knows of keys and overrides, read in one go.
#[derive(Clone, Default, PartialEq, Debug)]
pub struct House {
    /// All virtual keys, revoked ones included.
    pub virtual_keys: Vec<VirtualKey>,
    /// All upstream keys, removed ones included.
    pub upstream_keys: Vec<UpstreamKeyRow>,
    /// What commands put over the configuration.
    pub overrides: HashMap<Scope, Overrides>,
}

impl House {
    /// What commands put over the configuration of that scope.
    pub fn overrides(&self, scope: &Scope) -> Overrides {
        self.overrides.get(scope).cloned().unwrap_or_default()
    }

    /// The virtual key with that id.
    pub fn virtual_key(&self, id: &VirtualKeyId) -> Option<&VirtualKey> {
        self.virtual_keys.iter().find(|key| key.id == *id)
    }

    /// The upstream key that calls of an environment leave with: its own, or the shared one.
    pub fn upstream_key_of(&self, environment: &EnvironmentName) -> Option<&UpstreamKeyRow> {
        let current = |owner: Option<&EnvironmentName>| {
            self.upstream_keys.iter().find(|key| {
                key.state == UpstreamKeyState::Current && key.environment.as_ref() == owner
            })
        };
        current(Some(environment)).or_else(|| current(None))
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
    use super::*;

    #[test]
    fn a_command_wins_over_the_configuration() {
        let configured =
            Budgets { daily: Some(Money::from_usd(100)), monthly: Some(Money::from_usd(3_000)) };
        let mut overrides = Overrides::default();
        assert_eq!(overrides.budgets(configured), configured);
        Override::change(&mut overrides.daily, Change::Set(Money::from_usd(40)));
        Override::change(&mut overrides.monthly, Change::Off);
        let changed = overrides.budgets(configured);
        assert_eq!(changed, Budgets { daily: Some(Money::from_usd(40)), monthly: None });
        Override::change(&mut overrides.monthly, Change::Default);
        Override::change(&mut overrides.daily, Change::Keep);
        let back = overrides.budgets(configured);
        assert_eq!((back.daily, back.monthly), (changed.daily, configured.monthly));
    }

    #[test]
    fn overrides_are_kept_as_json() {
        let overrides = Overrides {
            daily: Some(Override::Set(Money::from_usd(40))),
            concurrency: Some(Override::Off),
            exceeded: vec![Exceeded {
                window: WindowKind::Daily,
                start: Timestamp::from_ms(5),
                limit: Money::from_usd(40),
            }],
            ..Overrides::default()
        };
        let text = serde_json::to_string(&overrides).unwrap();
        assert_eq!(
            text,
            r#"{"daily":{"set":"40.00"},"concurrency":"off","exceeded":[{"window":"daily","start":5,"limit":"40.00"}]}"#
        );
        assert_eq!(serde_json::from_str::<Overrides>(&text).unwrap(), overrides);
        assert_eq!(serde_json::from_str::<Overrides>("{}").unwrap(), Overrides::default());
    }
}

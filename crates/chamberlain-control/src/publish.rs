//! What the gateway sees: the house as one immutable value, published whole.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use chamberlain_core::id::UpstreamKeyId;
use chamberlain_core::ledger::account::Scope;
use chamberlain_core::snapshot::{Environment, Organization, Snapshot};
use chamberlain_core::time::Calendar;
use chamberlain_store::UpstreamKeyState;
use parking_lot::Mutex;

use crate::house::House;
use crate::settings::{EnvironmentSettings, Settings};

/// Puts settings, overrides and keys together.
pub fn compose(
    house: &House,
    settings: &Settings,
    calendar: Calendar,
    generation: u64,
) -> Snapshot {
    let organization = Scope::Organization;
    let environments = settings.environments.iter().map(|configured| {
        (configured.name.clone(), Arc::new(environment(house, settings, configured)))
    });
    let virtual_keys = house.virtual_keys.iter().map(|key| (key.id.clone(), Arc::new(key.clone())));
    Snapshot {
        generation,
        calendar,
        organization: Organization {
            budgets: house.budgets(&organization, settings),
            pause: house.overrides(&organization).pause,
        },
        environments: environments.collect(),
        virtual_keys: virtual_keys.collect::<HashMap<_, _>>(),
        prices: settings.prices.clone(),
        settings: settings.gateway.clone(),
    }
}

fn environment(
    house: &House,
    settings: &Settings,
    configured: &EnvironmentSettings,
) -> Environment {
    let scope = Scope::Environment(configured.name.clone());
    Environment {
        name: configured.name.clone(),
        policy: configured.policy.clone(),
        budgets: house.budgets(&scope, settings),
        pause_on_exceed: configured.pause_on_exceed,
        limits: house.limits(&scope, settings),
        upstream_key: house.upstream_key_of(&configured.name).map(|key| key.id.clone()),
        is_contained: house.lost_its_key(&configured.name),
        pause: house.overrides(&scope).pause,
    }
}

/// The upstream keys whose secrets must be at hand: those in use, and those that calls may have
/// begun with, but for those that are closed after a restore.
pub fn open_keys(house: &House) -> impl Iterator<Item = &UpstreamKeyId> {
    let open = |state| matches!(state, UpstreamKeyState::Current | UpstreamKeyState::Previous);
    let keys = house.upstream_keys.iter().filter(move |key| open(key.state)).map(|key| &key.id);
    keys.filter(|id| !house.closed.contains(id))
}

/// Publishes snapshots in order.
pub struct Publisher {
    published: Arc<ArcSwap<Snapshot>>,
    /// Held from reading the house to publishing it, so that what is read later is published
    /// later.
    order: Mutex<()>,
}

impl Publisher {
    /// A publisher that begins with `first`.
    pub fn new(first: Snapshot) -> Publisher {
        Publisher { published: Arc::new(ArcSwap::from_pointee(first)), order: Mutex::new(()) }
    }

    /// Where the gateway reads.
    pub fn published(&self) -> Arc<ArcSwap<Snapshot>> {
        self.published.clone()
    }

    /// The generation published last.
    pub fn generation(&self) -> u64 {
        self.published.load().generation
    }

    /// Publishes what `make` reads and puts together under the generation it is given. Nothing is
    /// published when that fails.
    ///
    /// # Errors
    /// The error of `make`.
    pub fn publish<E>(&self, make: impl FnOnce(u64) -> Result<Snapshot, E>) -> Result<u64, E> {
        let _order = self.order.lock();
        let generation = self.generation() + 1;
        let mut snapshot = make(generation)?;
        snapshot.generation = generation;
        self.published.store(Arc::new(snapshot));
        tracing::debug!(generation, "a new snapshot was published");
        Ok(generation)
    }
}

#[cfg(test)]
mod tests;

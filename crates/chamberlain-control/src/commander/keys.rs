//! Commands about upstream keys. A secret comes in, is sealed, and never comes out.

use chamberlain_core::audit::record::Principal;
use chamberlain_core::id::{EnvironmentName, UpstreamKeyId};
use chamberlain_core::keys::profile::Profile;
use chamberlain_store::{Change, Facts, StoreFault, UpstreamKey, UpstreamKeyState};
use chamberlain_vault::seal::Sealed;
use chamberlain_vault::upstream_key::UpstreamKey as VaultKey;

use super::{Commander, fact};
use crate::command::{KeyAdd, KeyList, KeyRemove, KeyShow};
use crate::error::CommandError;
use crate::house::House;
use crate::publish;
use crate::reply;
use crate::virtual_key::{self, Ground};
use crate::{scope, view};

impl Commander {
    pub(super) fn key_add(
        &self,
        actor: &Principal,
        asked: KeyAdd,
    ) -> Result<reply::UpstreamKey, CommandError> {
        let name = virtual_key::name(&asked.name)?;
        let secret = VaultKey::check(asked.secret.secret())
            .map_err(|wrong| CommandError::usage(wrong.to_string()))?;
        drop(asked.secret);
        let id = self.change(actor, |ground| {
            let row = self.new_row(name, asked.environment.as_deref(), &secret, ground)?;
            let sealed = self.vault.seal_upstream_key(&row.id, &secret, self.entropy.as_ref());
            Ok(adding(row, sealed, ground))
        })?;
        self.shown(&id)
    }

    fn new_row(
        &self,
        name: String,
        environment: Option<&str>,
        secret: &VaultKey,
        ground: Ground<'_>,
    ) -> Result<UpstreamKey, CommandError> {
        let environment = environment
            .map(|name| scope::environment(name, ground.settings))
            .transpose()?
            .map(|environment| environment.name.clone());
        let fingerprint = self.vault.fingerprint(secret).to_string();
        let kept = || {
            let rows = &ground.house.upstream_keys;
            rows.iter().filter(|row| row.state != UpstreamKeyState::Revoked)
        };
        if let Some(same) = kept().find(|row| row.fingerprint == fingerprint) {
            return Err(CommandError::conflict(format!(
                "this key is in the vault already, as {:?} ({})",
                same.name, same.id
            ))
            .hint("one key serves one environment; make another in the Claude Console"));
        }
        if kept().any(|row| row.name == name) {
            return Err(CommandError::conflict(format!("an upstream key is called {name:?}"))
                .hint("choose another name, or remove that key first"));
        }
        let mut random = [0; 16];
        self.entropy.fill(&mut random);
        Ok(UpstreamKey {
            id: UpstreamKeyId::mint(random),
            name,
            environment,
            state: UpstreamKeyState::Current,
            hint: secret.hint(),
            fingerprint,
            created_at: ground.now,
            removed_at: None,
            last_used_at: None,
            profile: Profile::default(),
        })
    }

    pub(super) fn key_list(&self, asked: &KeyList) -> Result<reply::UpstreamKeys, CommandError> {
        let (house, ruling) = (self.house()?, self.settings.read().clone());
        let mut rows: Vec<&UpstreamKey> = house
            .upstream_keys
            .iter()
            .filter(|row| asked.all || row.state != UpstreamKeyState::Revoked)
            .collect();
        rows.sort_by_key(|row| (std::cmp::Reverse(row.created_at), row.id.clone()));
        let show = |row: &UpstreamKey| view::upstream_key(row, &house, &ruling.settings);
        Ok(reply::UpstreamKeys { keys: rows.into_iter().map(show).collect() })
    }

    pub(super) fn key_show(&self, asked: &KeyShow) -> Result<reply::UpstreamKey, CommandError> {
        let house = self.house()?;
        let id = scope::upstream_key(&asked.key, &house)?.id.clone();
        self.shown(&id)
    }

    pub(super) fn key_remove(
        &self,
        actor: &Principal,
        asked: KeyRemove,
    ) -> Result<reply::UpstreamKey, CommandError> {
        let reason = asked.reason.as_deref().map(virtual_key::reason).transpose()?;
        let id = self.change(actor, |ground| {
            let row = scope::upstream_key(&asked.key, ground.house)?;
            if row.state == UpstreamKeyState::Revoked {
                return Err(CommandError::conflict(format!(
                    "upstream key {} is removed already",
                    row.id
                )));
            }
            let (id, now) = (row.id.clone(), ground.now);
            let after = UpstreamKey {
                state: UpstreamKeyState::Revoked,
                removed_at: Some(now),
                ..row.clone()
            };
            let facts = Facts { reason, before: shown(row, ground), after: shown(&after, ground) };
            Ok(move |change: &mut Change<'_>| {
                change.revoke_upstream_key(&id)?;
                change.audit("upstream_key.removed", &subject(&id), &facts)?;
                Ok(id)
            })
        })?;
        self.shown(&id)
    }

    fn shown(&self, id: &UpstreamKeyId) -> Result<reply::UpstreamKey, CommandError> {
        let (house, ruling) = (self.house()?, self.settings.read().clone());
        let row = scope::upstream_key(id.as_str(), &house)?;
        Ok(view::upstream_key(row, &house, &ruling.settings))
    }

    /// Brings the keyring in line with the house: opens what is missing, drops what is gone. One
    /// key that does not open keeps nobody from freezing another.
    pub(super) fn open_keys(&self, house: &House) {
        let wanted: Vec<&UpstreamKeyId> = publish::open_keys(house).collect();
        for row in &house.upstream_keys {
            if !wanted.contains(&&row.id) {
                self.keyring.remove(&row.id);
            }
        }
        for id in wanted {
            if self.keyring.get(id).is_some() {
                continue;
            }
            match self.open_key(id) {
                Ok(secret) => self.keyring.insert(id.clone(), secret),
                Err(error) => tracing::error!(
                    upstream_key = %id,
                    %error,
                    "an upstream key could not be opened; its calls are refused"
                ),
            }
        }
    }

    /// Opens one upstream key.
    pub(super) fn open_key(
        &self,
        id: &UpstreamKeyId,
    ) -> Result<chamberlain_vault::keyring::UpstreamSecret, CommandError> {
        let damaged = |what: String| {
            CommandError::unavailable(format!("upstream key {id} does not open: {what}"))
                .hint("remove it and add it again (chamberlain key remove, chamberlain key add)")
        };
        let sealed = self.store.sealed_upstream_key(id).map_err(super::from_store)?;
        let sealed = sealed.ok_or_else(|| damaged("it is not in the store".to_owned()))?;
        let sealed = Sealed::from_bytes(sealed).map_err(|error| damaged(error.to_string()))?;
        self.vault.open_upstream_key(id, &sealed).map_err(|error| damaged(error.to_string()))
    }
}

/// The work of adding a key and superseding the one before it.
fn adding(
    row: UpstreamKey,
    sealed: Sealed,
    ground: Ground<'_>,
) -> impl FnOnce(&mut Change<'_>) -> Result<UpstreamKeyId, StoreFault> + Send + use<> {
    let environment: Option<EnvironmentName> = row.environment.clone();
    let superseded: Vec<(UpstreamKeyId, Facts)> = ground
        .house
        .upstream_keys
        .iter()
        .filter(|old| old.state == UpstreamKeyState::Current && old.environment == environment)
        .map(|old| {
            let after = UpstreamKey { state: UpstreamKeyState::Previous, ..old.clone() };
            let facts =
                Facts { reason: None, before: shown(old, ground), after: shown(&after, ground) };
            (old.id.clone(), facts)
        })
        .collect();
    let facts = Facts { after: shown(&row, ground), ..Facts::default() };
    move |change| {
        change.insert_upstream_key(&row, sealed.as_bytes())?;
        for (old, facts) in &superseded {
            change.audit("upstream_key.superseded", &subject(old), facts)?;
        }
        change.audit("upstream_key.added", &subject(&row.id), &facts)?;
        Ok(row.id)
    }
}

fn shown(row: &UpstreamKey, ground: Ground<'_>) -> Option<serde_json::Value> {
    fact(&view::upstream_key(row, ground.house, ground.settings))
}

fn subject(id: &UpstreamKeyId) -> String {
    format!("upstream_key:{id}")
}

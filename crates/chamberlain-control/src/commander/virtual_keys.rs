//! Commands about virtual keys.

use chamberlain_core::admission::key::{KeyState, VirtualKey};
use chamberlain_core::audit::record::Principal;
use chamberlain_store::{Change, Facts, StoreFault};

use super::{Commander, fact, from_store};
use crate::command::{
    VirtualCreate, VirtualFreeze, VirtualList, VirtualRevoke, VirtualShow, VirtualUnfreeze,
    VirtualUpdate,
};
use crate::error::CommandError;
use crate::house::House;
use crate::reply::{VirtualCreated, VirtualKeys};
use crate::virtual_key::{self, Ground};
use crate::wire::SecretText;
use crate::{reply, scope, view};

impl Commander {
    pub(super) fn virtual_create(
        &self,
        actor: &Principal,
        asked: &VirtualCreate,
    ) -> Result<VirtualCreated, CommandError> {
        let mut minted = None;
        let key = self.change(actor, |ground| {
            let (key, secret) = virtual_key::create(asked, ground, self.entropy.as_ref())?;
            minted = Some(secret.text);
            let after = fact(&view::virtual_key(&key, ground.house, ground.now));
            Ok(move |change: &mut Change<'_>| {
                change.insert_virtual_key(&key)?;
                let facts = Facts { after, ..Facts::default() };
                change.audit("virtual_key.created", &subject(&key), &facts)?;
                Ok(key)
            })
        })?;
        let minted = minted.ok_or_else(|| CommandError::failed("the key was not made"))?;
        Ok(VirtualCreated {
            id: key.id.to_string(),
            key: SecretText::new(minted),
            name: key.name.clone(),
            environment: key.environment.to_string(),
            expires_at: key.expires_at.map(Into::into),
            test_mode: key.test_mode,
            virtual_key: view::virtual_key(&key, &self.house()?, self.now()),
        })
    }

    pub(super) fn virtual_list(&self, asked: &VirtualList) -> Result<VirtualKeys, CommandError> {
        let house = self.house()?;
        if let Some(environment) = &asked.environment {
            scope::environment(environment, &self.settings.read().settings)?;
        }
        let mut keys: Vec<&VirtualKey> = house
            .virtual_keys
            .iter()
            .filter(|key| asked.all || key.state != KeyState::Revoked)
            .filter(|key| {
                asked.environment.as_deref().is_none_or(|name| key.environment.as_str() == name)
            })
            .collect();
        keys.sort_by_key(|key| (std::cmp::Reverse(key.created_at), key.id.clone()));
        let keys = keys.into_iter().map(|key| self.seen(key, &house)).collect::<Result<_, _>>()?;
        Ok(VirtualKeys { keys })
    }

    pub(super) fn virtual_show(
        &self,
        asked: &VirtualShow,
    ) -> Result<reply::VirtualKey, CommandError> {
        let house = self.house()?;
        self.seen(scope::virtual_key(&asked.key, &house)?, &house)
    }

    /// A virtual key with the time of its last use.
    fn seen(&self, key: &VirtualKey, house: &House) -> Result<reply::VirtualKey, CommandError> {
        let last = self.store.virtual_key_last_used(&key.id).map_err(from_store)?;
        let view = view::virtual_key(key, house, self.now());
        Ok(reply::VirtualKey { last_used_at: last.map(Into::into), ..view })
    }

    pub(super) fn virtual_update(
        &self,
        actor: &Principal,
        asked: VirtualUpdate,
    ) -> Result<reply::VirtualKey, CommandError> {
        let named = asked.key.clone();
        self.change_virtual_key(actor, &named, "virtual_key.changed", None, |key, ground| {
            virtual_key::update(key, asked, ground)
        })
    }

    pub(super) fn virtual_freeze(
        &self,
        actor: &Principal,
        asked: VirtualFreeze,
    ) -> Result<reply::VirtualKey, CommandError> {
        let reason = virtual_key::reason(&asked.reason)?;
        self.change_virtual_key(actor, &asked.key, "virtual_key.frozen", Some(reason), |key, _| {
            virtual_key::with_state(key, KeyState::Frozen)
        })
    }

    pub(super) fn virtual_unfreeze(
        &self,
        actor: &Principal,
        asked: VirtualUnfreeze,
    ) -> Result<reply::VirtualKey, CommandError> {
        self.change_virtual_key(actor, &asked.key, "virtual_key.unfrozen", None, |key, _| {
            virtual_key::with_state(key, KeyState::Active)
        })
    }

    pub(super) fn virtual_revoke(
        &self,
        actor: &Principal,
        asked: VirtualRevoke,
    ) -> Result<reply::VirtualKey, CommandError> {
        let reason = asked.reason.as_deref().map(virtual_key::reason).transpose()?;
        self.change_virtual_key(actor, &asked.key, "virtual_key.revoked", reason, |key, _| {
            virtual_key::with_state(key, KeyState::Revoked)
        })
    }

    /// Changes one virtual key, with before and after on record.
    pub(super) fn change_virtual_key(
        &self,
        actor: &Principal,
        named: &str,
        kind: &'static str,
        reason: Option<String>,
        plan: impl FnOnce(&VirtualKey, Ground<'_>) -> Result<VirtualKey, CommandError>,
    ) -> Result<reply::VirtualKey, CommandError> {
        let key = self.change(actor, |ground| {
            let before = scope::virtual_key(named, ground.house)?;
            let after = plan(before, ground)?;
            Ok(saving(before.clone(), after, kind, reason, ground))
        })?;
        Ok(view::virtual_key(&key, &self.house()?, self.now()))
    }
}

/// The work of saving a changed key.
fn saving(
    before: VirtualKey,
    after: VirtualKey,
    kind: &'static str,
    reason: Option<String>,
    ground: Ground<'_>,
) -> impl FnOnce(&mut Change<'_>) -> Result<VirtualKey, StoreFault> + Send + use<> {
    let shown = |key: &VirtualKey, house: &House| fact(&view::virtual_key(key, house, ground.now));
    let facts =
        Facts { reason, before: shown(&before, ground.house), after: shown(&after, ground.house) };
    move |change| {
        change.save_virtual_key(&after)?;
        change.audit(kind, &subject(&after), &facts)?;
        Ok(after)
    }
}

fn subject(key: &VirtualKey) -> String {
    format!("virtual_key:{}", key.id)
}

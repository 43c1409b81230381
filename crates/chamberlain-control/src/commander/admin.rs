//! The key of Anthropic's Admin API: taken in, used, erased. It never comes out, and nothing on the
//! way of a call can reach it.

use chamberlain_core::audit::record::Principal;
use chamberlain_store::{Change, Credential, Facts};
use chamberlain_vault::admin_key::AdminKey;
use chamberlain_vault::keyring::UpstreamSecret;
use chamberlain_vault::seal::Sealed;
use serde_json::json;

use super::{Commander, from_store};
use crate::admin_api::{AdminApi, AdminFault, Organization};
use crate::command::{AdminKeyAdd, AdminKeyRemove};
use crate::error::CommandError;
use crate::reply;
use crate::virtual_key;

/// Under which name the store keeps it.
const NAME: &str = "admin";

/// What audit records about it are filed under.
const SUBJECT: &str = "admin_key";

impl Commander {
    pub(super) fn admin_key_add(
        &self,
        actor: &Principal,
        asked: AdminKeyAdd,
    ) -> Result<reply::AdminKey, CommandError> {
        let key = AdminKey::check(asked.secret.secret())
            .map_err(|wrong| CommandError::usage(wrong.to_string()))?;
        drop(asked.secret);
        let sealed = self.vault.seal_admin_key(&key, self.entropy.as_ref());
        let credential = Credential {
            name: NAME.to_owned(),
            fingerprint: self.vault.admin_fingerprint(&key).to_string(),
            hint: key.hint(),
            created_at: self.now(),
        };
        drop(key);
        let organization = match asked.unchecked {
            true => None,
            // Asked before anything is written: a key that does not work is not kept.
            false => {
                Some(self.ask_admin_api(&self.open_admin(&sealed)?, |api| api.organization())?)
            }
        };
        let before = self.store.credential(NAME).map_err(from_store)?;
        let shown = shown(&credential, organization.as_ref());
        let facts = Facts {
            before: before.map(|before| fact(&before)),
            after: Some(fact(&credential)),
            ..Facts::default()
        };
        self.put(actor, move |change| {
            change.put_credential(&credential, sealed.as_bytes())?;
            change.audit("admin_key.added", SUBJECT, &facts).map(drop)
        })?;
        Ok(shown)
    }

    pub(super) fn admin_key_show(&self) -> Result<reply::AdminKey, CommandError> {
        let found = self.store.credential(NAME).map_err(from_store)?;
        Ok(found.map(|credential| shown(&credential, None)).unwrap_or_default())
    }

    pub(super) fn admin_key_remove(
        &self,
        actor: &Principal,
        asked: AdminKeyRemove,
    ) -> Result<reply::AdminKey, CommandError> {
        let reason = asked.reason.as_deref().map(virtual_key::reason).transpose()?;
        let before = self.store.credential(NAME).map_err(from_store)?;
        let before = before.ok_or_else(|| CommandError::not_found("there is no admin key"))?;
        let facts = Facts { reason, before: Some(fact(&before)), after: None };
        self.put(actor, move |change| {
            change.remove_credential(NAME)?;
            change.audit("admin_key.removed", SUBJECT, &facts).map(drop)
        })?;
        Ok(reply::AdminKey::default())
    }

    /// A change that the gateway need not know of.
    fn put(
        &self,
        actor: &Principal,
        work: impl FnOnce(&mut Change<'_>) -> Result<(), chamberlain_store::StoreFault> + Send + 'static,
    ) -> Result<(), CommandError> {
        let _changing = self.changing.lock();
        self.store.change(actor.clone(), work).map_err(from_store)
    }

    /// Whether there is an admin key.
    pub fn has_admin_key(&self) -> Result<bool, CommandError> {
        Ok(self.store.credential(NAME).map_err(from_store)?.is_some())
    }

    /// Asks Anthropic's Admin API with the admin key that was put in. Blocks, for as long as
    /// [`crate::admin_api::REQUEST_MAX`] for each request.
    ///
    /// # Errors
    /// When there is no admin key, it does not open, or the answer is a fault.
    pub fn with_admin_api<T>(
        &self,
        ask: impl FnOnce(&AdminApi<'_>) -> Result<T, AdminFault>,
    ) -> Result<T, CommandError> {
        let sealed = self.store.sealed_credential(NAME).map_err(from_store)?;
        let sealed = sealed.ok_or_else(|| {
            CommandError::conflict("Anthropic's Admin API needs an admin key, and there is none")
                .hint("make one in the Claude Console (Settings, Admin keys), then chamberlain key admin add")
        })?;
        let sealed = Sealed::from_bytes(sealed).map_err(|error| damaged(&error))?;
        self.ask_admin_api(&self.open_admin(&sealed)?, ask)
    }

    fn ask_admin_api<T>(
        &self,
        key: &UpstreamSecret,
        ask: impl FnOnce(&AdminApi<'_>) -> Result<T, AdminFault>,
    ) -> Result<T, CommandError> {
        let base = self.settings.read().settings.upstream_url.clone();
        ask(&AdminApi::new(self.web.as_ref(), &base, key)).map_err(CommandError::from)
    }

    fn open_admin(&self, sealed: &Sealed) -> Result<UpstreamSecret, CommandError> {
        self.vault.open_admin_key(sealed).map_err(|error| damaged(&error))
    }
}

fn damaged(error: &dyn std::error::Error) -> CommandError {
    CommandError::unavailable(format!("the admin key does not open: {error}"))
        .hint("add it again (chamberlain key admin add)")
}

fn fact(credential: &Credential) -> serde_json::Value {
    json!({ "fingerprint": credential.fingerprint, "hint": credential.hint })
}

fn shown(credential: &Credential, organization: Option<&Organization>) -> reply::AdminKey {
    reply::AdminKey {
        present: true,
        hint: Some(credential.hint.clone()),
        fingerprint: Some(credential.fingerprint.clone()),
        created_at: Some(credential.created_at.into()),
        organization: organization.map(|organization| organization.id.clone()),
        organization_name: organization.map(|organization| organization.name.clone()),
    }
}

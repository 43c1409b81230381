//! Pausing and resuming scopes.

use chamberlain_core::admission::key::VirtualKey;
use chamberlain_core::audit::record::Principal;
use chamberlain_core::ledger::account::Scope;
use chamberlain_core::snapshot::Pause;
use chamberlain_core::time::Timestamp;
use chamberlain_store::{Change, Facts};

use super::{Commander, fact};
use crate::command::{self, Resume};
use crate::error::CommandError;
use crate::jobs::exceed::{self, UsedUp};
use crate::reply::Paused;
use crate::{scope, view, virtual_key, when};

impl Commander {
    pub(super) fn pause(
        &self,
        actor: &Principal,
        asked: command::Pause,
    ) -> Result<Paused, CommandError> {
        let reason = virtual_key::reason(&asked.reason)?;
        let ruling = self.settings.read().clone();
        let now = self.now();
        let until = asked
            .until
            .as_deref()
            .map(|text| when::ahead(text, now, &ruling.calendar))
            .transpose()?;
        let pause = Pause {
            since: now,
            until,
            by: actor.to_string(),
            reason: reason.clone(),
            ends_calls: asked.ends_calls,
        };
        self.set_pause(actor, &asked.scope, Some(pause), "scope.paused", Some(reason))
    }

    pub(super) fn resume(&self, actor: &Principal, asked: Resume) -> Result<Paused, CommandError> {
        let (house, ruling) = (self.house()?, self.settings.read().clone());
        let of = scope::scope(&asked.scope, &house, &ruling.settings)?;
        if house.pause(&of, self.now()).is_none() {
            return Err(CommandError::conflict(format!("the {of} is not paused")));
        }
        let reason = asked.reason.as_deref().map(virtual_key::reason).transpose()?;
        self.set_pause(actor, &asked.scope, None, "scope.resumed", reason)
    }

    fn set_pause(
        &self,
        actor: &Principal,
        named: &str,
        pause: Option<Pause>,
        kind: &'static str,
        reason: Option<String>,
    ) -> Result<Paused, CommandError> {
        let (house, ruling) = (self.house()?, self.settings.read().clone());
        let of = scope::scope(named, &house, &ruling.settings)?;
        if let Scope::VirtualKey(id) = &of {
            self.change_virtual_key(actor, id.as_str(), kind, reason, |key, _| {
                Ok(VirtualKey { pause, ..key.clone() })
            })?;
        } else {
            let of = of.clone();
            self.change(actor, move |ground| {
                let before = ground.house.overrides(&of);
                let mut after = before.clone();
                after.pause = pause;
                let facts = Facts { reason, before: fact(&before), after: fact(&after) };
                Ok(move |change: &mut Change<'_>| {
                    change.save_overrides(&of, &after)?;
                    change.audit(kind, &scope::subject(&of), &facts).map(drop)
                })
            })?;
        }
        self.paused(&of)
    }

    fn paused(&self, of: &Scope) -> Result<Paused, CommandError> {
        let house = self.house()?;
        let pause = house.pause(of, self.now()).as_ref().map(view::pause);
        Ok(Paused { scope: scope::name(of, &house), pause })
    }

    /// What to say about a scope whose terms changed while it is paused.
    pub(super) fn pause_notes(&self, of: &Scope) -> Result<Vec<String>, CommandError> {
        let pause = self.house()?.pause(of, self.now());
        Ok(pause
            .map(|pause| {
                format!(
                    "the {of} is still paused ({}); run: chamberlain resume {}",
                    pause.reason,
                    scope::text(of)
                )
            })
            .into_iter()
            .collect())
    }

    /// Pauses environments whose budget is used up, where they ask for it.
    ///
    /// # Errors
    /// When it could not be written down; what was noticed is kept for the next time.
    pub fn pause_used_up(&self, now: Timestamp) -> Result<(), CommandError> {
        let mut noticed = std::mem::take(&mut *self.used_up.lock());
        let done = self.pause_those(&noticed, now);
        if done.is_err() {
            self.used_up.lock().append(&mut noticed);
        }
        done
    }

    fn pause_those(&self, noticed: &[UsedUp], now: Timestamp) -> Result<(), CommandError> {
        let (house, ruling) = (self.house()?, self.settings.read().clone());
        let settings = &ruling.settings;
        let mut used_up = noticed.to_vec();
        used_up.extend(self.balances()?.iter().filter_map(|(account, balance)| {
            UsedUp::from_balance(account, balance, &house, settings)
        }));
        if exceed::decide(&used_up, &house, settings, now).is_empty() {
            return Ok(());
        }
        self.change(&Principal::Chamberlain, |ground| {
            // Decided again on what nobody changes meanwhile.
            let wanted = exceed::decide(&used_up, ground.house, ground.settings, now);
            let saved: Vec<_> = wanted
                .into_iter()
                .map(|pause| {
                    let of = Scope::Environment(pause.environment);
                    let before = ground.house.overrides(&of);
                    let facts = Facts {
                        reason: pause.overrides.pause.as_ref().map(|pause| pause.reason.clone()),
                        before: fact(&before),
                        after: fact(&pause.overrides),
                    };
                    (of, pause.overrides, facts)
                })
                .collect();
            Ok(move |change: &mut Change<'_>| {
                for (of, overrides, facts) in &saved {
                    change.save_overrides(of, overrides)?;
                    change.audit("scope.paused", &scope::subject(of), facts)?;
                }
                Ok(())
            })
        })
    }
}

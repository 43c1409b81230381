//! Containments: what people say about them. How one begins is in [`begin`], what Chamberlain does
//! by itself in [`run`] and [`work`].

mod begin;
mod run;
mod tell;
mod view;
mod work;

use chamberlain_core::audit::record::Principal;
use chamberlain_core::containment::{Containment, Work};
use chamberlain_core::time::Timestamp;
use chamberlain_store::{Change, StoreFault};
use serde::de::DeserializeOwned;

use super::{Commander, from_store};
use crate::command::{
    ContainmentList, ContainmentReport, ContainmentResume, ContainmentShow, ContainmentVouch,
};
use crate::error::CommandError;
use crate::{reply, virtual_key};

/// Under which name the report of calls is kept.
const EXPOSURE: &str = "exposure";

/// Under which name Anthropic's count is kept.
const USAGE: &str = "usage";

impl Commander {
    pub(super) fn containment_list(
        &self,
        asked: ContainmentList,
    ) -> Result<reply::Containments, CommandError> {
        let all = self.store.containments().map_err(from_store)?;
        let wanted = all.iter().filter(|it| asked.all || it.ended_at.is_none());
        let containments = wanted.map(|it| self.containment_view(it)).collect::<Result<_, _>>()?;
        Ok(reply::Containments { containments })
    }

    pub(super) fn containment_show(
        &self,
        asked: &ContainmentShow,
    ) -> Result<reply::Containment, CommandError> {
        let found = self.containment_named(asked.containment.as_deref(), |_| true)?;
        let mut shown = self.containment_view(&found)?;
        shown.timeline = self.containment_timeline(&found)?;
        Ok(shown)
    }

    pub(super) fn containment_report(
        &self,
        asked: &ContainmentReport,
    ) -> Result<reply::ContainmentReport, CommandError> {
        let found = self.containment_named(asked.containment.as_deref(), |_| true)?;
        Ok(reply::ContainmentReport {
            exposure: self.finding(&found, EXPOSURE)?,
            usage: self.finding(&found, USAGE)?,
            containment: self.containment_view(&found)?,
        })
    }

    fn finding<T: DeserializeOwned>(
        &self,
        containment: &Containment,
        kind: &str,
    ) -> Result<Option<T>, CommandError> {
        let found = self.store.containment_finding(&containment.id, kind).map_err(from_store)?;
        let read = found.map(|(_, finding)| serde_json::from_value(finding)).transpose();
        read.map_err(|error| CommandError::failed(format!("the {kind} on record: {error}")))
    }

    pub(super) fn containment_vouch(
        &self,
        actor: &Principal,
        asked: &ContainmentVouch,
    ) -> Result<reply::Containment, CommandError> {
        let note = virtual_key::reason(&asked.note)?;
        let waits = |it: &Containment| !it.is_done(Work::SwitchOff);
        let found = self.containment_named(asked.containment.as_deref(), waits)?;
        let after = found.switched_off_by_hand(&actor.to_string(), &note, self.now())?;
        self.save_containment(actor, &after, "vouched", note, |_| Ok(()))?;
        self.containment_view(&after)
    }

    pub(super) fn containment_resume(
        &self,
        actor: &Principal,
        asked: &ContainmentResume,
    ) -> Result<reply::Containment, CommandError> {
        let found =
            self.containment_named(asked.containment.as_deref(), |it| it.resumed().is_ok())?;
        let after = found.resumed()?;
        self.save_containment(actor, &after, "resumed", String::new(), |_| Ok(()))?;
        self.containment_view(&after)
    }

    /// Writes a containment down, with whatever belongs to it in one transaction.
    fn save_containment(
        &self,
        actor: &Principal,
        after: &Containment,
        kind: &'static str,
        detail: String,
        with: impl FnOnce(&mut Change<'_>) -> Result<(), StoreFault> + Send + 'static,
    ) -> Result<(), CommandError> {
        let after = after.clone();
        let work = move |change: &mut Change<'_>| {
            let seq = change.save_containment(&after, kind, &detail)?;
            with(change)?;
            tell::tell(change, seq, &after, kind, &detail)
        };
        self.store.change(actor.clone(), work).map_err(from_store)
    }

    /// The containment that is meant: by its id, by its key, or without either the newest that
    /// fits.
    fn containment_named(
        &self,
        named: Option<&str>,
        fits: impl Fn(&Containment) -> bool,
    ) -> Result<Containment, CommandError> {
        let all = self.store.containments().map_err(from_store)?;
        let none = |what: &str| {
            Err(CommandError::not_found(format!("there is no containment {what}"))
                .hint("chamberlain containment list --all shows them"))
        };
        let Some(named) = named else {
            return match all.into_iter().find(fits) {
                Some(newest) => Ok(newest),
                None => none("that this fits"),
            };
        };
        if let Some(found) = all.iter().find(|it| it.id.as_str() == named) {
            return Ok(found.clone());
        }
        let subject = self.to_contain(named, &self.house()?)?.subject();
        match all.into_iter().find(|it| it.subject == subject) {
            Some(found) => Ok(found),
            None => none(&format!("of {named:?}")),
        }
    }
}

/// Milliseconds from one moment to a later one.
fn since(from: Timestamp, to: Timestamp) -> u64 {
    to.ms_since(from)
}

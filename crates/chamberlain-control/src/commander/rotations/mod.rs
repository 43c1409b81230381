//! Rotations: what people say about them. What Chamberlain does by itself is in [`run`], what it
//! touches in [`steps`].

mod approvals;
mod begin;
mod remind;
mod run;
mod steps;
mod view;

use chamberlain_core::audit::record::Principal;
use chamberlain_core::rotation::{Attested, Exit, NewKey, NotAllowed, Rotation, Stage, may_begin};
use chamberlain_store::{Change, StoreFault, UpstreamKey, UpstreamKeyState};
use chamberlain_vault::upstream_key::UpstreamKey as VaultKey;

use super::{Commander, from_store};
use crate::command::{
    RotationAbort, RotationGiveKey, RotationList, RotationResume, RotationRollback, RotationShow,
    RotationVouch,
};
use crate::error::CommandError;
use crate::{reply, virtual_key};

/// Rotations that a list shows at most.
const LIST_MAX: u32 = 200;

impl From<NotAllowed> for CommandError {
    fn from(why: NotAllowed) -> CommandError {
        CommandError::conflict(why.0)
    }
}

impl Commander {
    pub(super) fn rotation_list(
        &self,
        asked: &RotationList,
    ) -> Result<reply::Rotations, CommandError> {
        let found = match asked.all {
            true => self.store.rotations(LIST_MAX),
            false => self.store.open_rotations(),
        };
        let shown = found.map_err(from_store)?.iter().map(|it| self.rotation_view(it)).collect();
        Ok(reply::Rotations { rotations: shown })
    }

    pub(super) fn rotation_show(
        &self,
        asked: &RotationShow,
    ) -> Result<reply::Rotation, CommandError> {
        let rotations = self.store.rotations(LIST_MAX).map_err(from_store)?;
        let found = match &asked.rotation {
            Some(id) => rotations.iter().find(|rotation| rotation.id.as_str() == id),
            None => rotations.first(),
        };
        let rotation = found.ok_or_else(|| {
            CommandError::not_found("there is no such rotation")
                .hint("chamberlain rotation list --all shows them")
        })?;
        let mut shown = self.rotation_view(rotation);
        shown.timeline = self.timeline(rotation)?;
        Ok(shown)
    }

    pub(super) fn rotation_give_key(
        &self,
        actor: &Principal,
        asked: RotationGiveKey,
    ) -> Result<reply::Rotation, CommandError> {
        let secret = VaultKey::check(asked.secret.secret())
            .map_err(|wrong| CommandError::usage(wrong.to_string()))?;
        drop(asked.secret);
        let waits = |rotation: &Rotation| rotation.main.stage == Stage::AwaitKey;
        let rotation = self.rotation_named(asked.rotation.as_deref(), waits)?;
        let _changing = self.changing.lock();
        let (house, now) = (self.house()?, self.now());
        let old = house.upstream_keys.iter().find(|row| row.id == rotation.old);
        let name = match (&asked.name, old) {
            (Some(name), _) => virtual_key::name(name)?,
            (None, old) => steps::name_after(old.map_or("key", |row| &row.name), &house, now),
        };
        let fingerprint = self.vault.fingerprint(&secret).to_string();
        let same = house.upstream_keys.iter().filter(|row| row.fingerprint == fingerprint);
        if let Some(same) = same.max_by_key(|row| row.state != UpstreamKeyState::Revoked) {
            return Err(self.known_already(same, &rotation));
        }
        let mut random = [0; 16];
        self.entropy.fill(&mut random);
        let row = UpstreamKey {
            id: chamberlain_core::id::UpstreamKeyId::mint(random),
            name,
            environment: rotation.seat.clone(),
            state: UpstreamKeyState::Staged,
            hint: secret.hint(),
            fingerprint: fingerprint.clone(),
            created_at: now,
            removed_at: None,
            last_used_at: None,
            profile: steps::profile_after(old, &rotation, self.today()),
        };
        let after = rotation.given(NewKey { id: row.id.clone(), fingerprint }, now)?;
        let sealed = self.vault.seal_upstream_key(&row.id, &secret, self.entropy.as_ref());
        drop(secret);
        let detail = format!("{} ({})", row.name, row.hint);
        let written = after.clone();
        self.write_down(actor, (&after, "given"), move |change| {
            change.insert_upstream_key(&row, sealed.as_bytes())?;
            change.save_rotation(&written, "given", &detail).map(drop)
        })?;
        Ok(self.rotation_view(&after))
    }

    fn known_already(&self, same: &UpstreamKey, rotation: &Rotation) -> CommandError {
        let what = match same.state {
            UpstreamKeyState::Revoked => "was removed here before and does not come back",
            _ if same.id == rotation.old => "is the very key that is to be replaced",
            _ => "is in the vault already",
        };
        CommandError::conflict(format!("this key {what}: {:?} ({})", same.name, same.id))
            .hint("make a new key in the Claude Console, and copy that")
    }

    pub(super) fn rotation_vouch(
        &self,
        actor: &Principal,
        asked: &RotationVouch,
    ) -> Result<reply::Rotation, CommandError> {
        let note = virtual_key::reason(&asked.note)?;
        self.said(actor, asked.rotation.as_deref(), "vouched", |rotation, now| {
            let detail = format!("{}: {note}", asked.what.word());
            let attested =
                Attested { what: asked.what, by: actor.to_string(), at: now, note: note.clone() };
            Ok((rotation.vouched(attested)?, detail))
        })
    }

    pub(super) fn rotation_abort(
        &self,
        actor: &Principal,
        asked: &RotationAbort,
    ) -> Result<reply::Rotation, CommandError> {
        self.way_out(actor, asked.rotation.as_deref(), Stage::Aborted, &asked.reason)
    }

    pub(super) fn rotation_rollback(
        &self,
        actor: &Principal,
        asked: &RotationRollback,
    ) -> Result<reply::Rotation, CommandError> {
        self.way_out(actor, asked.rotation.as_deref(), Stage::RolledBack, &asked.reason)
    }

    fn way_out(
        &self,
        actor: &Principal,
        named: Option<&str>,
        to: Stage,
        reason: &str,
    ) -> Result<reply::Rotation, CommandError> {
        let reason = virtual_key::reason(reason)?;
        self.said(actor, named, "exit_asked", |rotation, _| {
            let exit = Exit { to, by: actor.to_string(), reason: reason.clone() };
            Ok((rotation.asked_out(exit)?, format!("{to}: {reason}")))
        })
    }

    pub(super) fn rotation_resume(
        &self,
        actor: &Principal,
        asked: &RotationResume,
    ) -> Result<reply::Rotation, CommandError> {
        self.said(actor, asked.rotation.as_deref(), "resumed", |rotation, _| {
            Ok((rotation.resumed()?, String::new()))
        })
    }

    /// Writes down what a person said about a rotation.
    fn said(
        &self,
        actor: &Principal,
        named: Option<&str>,
        kind: &'static str,
        say: impl FnOnce(
            &Rotation,
            chamberlain_core::time::Timestamp,
        ) -> Result<(Rotation, String), CommandError>,
    ) -> Result<reply::Rotation, CommandError> {
        let rotation = self.rotation_named(named, |_| true)?;
        let (after, detail) = say(&rotation, self.now())?;
        self.save(actor, &after, kind, detail, |_| Ok(()))?;
        Ok(self.rotation_view(&after))
    }

    /// Writes a rotation down, with whatever belongs to it in one transaction.
    fn save(
        &self,
        actor: &Principal,
        after: &Rotation,
        kind: &'static str,
        detail: String,
        with: impl FnOnce(&mut Change<'_>) -> Result<(), StoreFault> + Send + 'static,
    ) -> Result<(), CommandError> {
        let _changing = self.changing.lock();
        let (meant, after) = (after, after.clone());
        let work = move |change: &mut Change<'_>| {
            let seq = change.save_rotation(&after, kind, &detail)?;
            with(change)?;
            view::tell(change, seq, &after, kind, &detail)
        };
        self.write_down(actor, (meant, kind), work)
    }

    /// Does a change that has a rotation in it.
    fn write_down(
        &self,
        actor: &Principal,
        (after, kind): (&Rotation, &'static str),
        work: impl FnOnce(&mut Change<'_>) -> Result<(), StoreFault> + Send + 'static,
    ) -> Result<(), CommandError> {
        let (id, stage) = (&after.id, after.main.stage.word());
        let cut = after.cut.as_ref().map(|lane| lane.stage.word());
        tracing::debug!(rotation = %id, kind, stage, cut, "a rotation is to be written down");
        self.store.change(actor.clone(), work).map_err(from_store)?;
        tracing::debug!(rotation = %id, kind, stage, cut, "a rotation was written down");
        Ok(())
    }

    /// The rotation that is meant: the one of that id, or the only one that has not ended.
    fn rotation_named(
        &self,
        named: Option<&str>,
        fits: impl Fn(&Rotation) -> bool,
    ) -> Result<Rotation, CommandError> {
        let open = self.store.open_rotations().map_err(from_store)?;
        if let Some(id) = named {
            let all = self.store.rotations(LIST_MAX).map_err(from_store)?;
            let found = open.into_iter().chain(all).find(|rotation| rotation.id.as_str() == id);
            return found.ok_or_else(|| {
                CommandError::not_found(format!("there is no rotation {id:?}"))
                    .hint("chamberlain rotation list --all shows them")
            });
        }
        let mut fitting: Vec<Rotation> = open.into_iter().filter(fits).collect();
        match (fitting.pop(), fitting.is_empty()) {
            (Some(only), true) => Ok(only),
            (Some(_), false) => Err(CommandError::usage("several rotations are under way")
                .hint("name one; chamberlain rotation list shows them")),
            (None, _) => Err(CommandError::not_found("no rotation is under way that this fits")
                .hint("chamberlain rotation list shows those that are")),
        }
    }
}

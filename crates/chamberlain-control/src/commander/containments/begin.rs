//! Beginning a containment: which key, the cut, and what is put on record.
//!
//! The cut is made before it is on record, in the memory of this process, so that a disk that takes
//! no writes hinders nobody from stopping a leak. It is the one thing here that is done in this
//! order; whoever typed the command is told when the record could not be written.

use chamberlain_core::admission::key::{KeyState, VirtualKey};
use chamberlain_core::audit::record::Principal;
use chamberlain_core::containment::{Containment, Declared, Reason, Subject, Work};
use chamberlain_core::id::{ContainmentId, EnvironmentName, UpstreamKeyId};
use chamberlain_core::rotation::Outcome;
use chamberlain_store::{Change, StoreFault, UpstreamKey, UpstreamKeyState};

use super::{Commander, from_store, tell};
use crate::command::Contain;
use crate::error::{CommandError, ErrorCode};
use crate::house::House;
use crate::{inventory, reply, scope, virtual_key};

/// A key that is to be contained.
pub(super) enum Key<'a> {
    Upstream(&'a UpstreamKey),
    Virtual(&'a VirtualKey),
}

impl Key<'_> {
    pub(super) fn subject(&self) -> Subject {
        match self {
            Key::Upstream(row) => Subject::UpstreamKey(row.id.clone()),
            Key::Virtual(key) => Subject::VirtualKey(key.id.clone()),
        }
    }
}

impl Commander {
    pub(in crate::commander) fn contain(
        &self,
        actor: &Principal,
        asked: Contain,
    ) -> Result<reply::Containment, CommandError> {
        let note = asked.note.as_deref().map(virtual_key::reason).transpose()?;
        let house = self.house()?;
        let key = self.to_contain(&asked.key, &house)?;
        let (containment, is_new) = self.contain_key(actor, &key, asked.reason, note)?;
        // Without a server nobody else goes on with it.
        if self.live.get().is_none() {
            self.pursue(&containment.id)?;
        }
        let current = self.store.containment_of(&containment.subject).map_err(from_store)?;
        let mut shown = self.containment_view(&current.unwrap_or(containment))?;
        shown.before = !is_new;
        Ok(shown)
    }

    /// Contains a key, unless it is contained: gives the containment, and whether it is new.
    pub(super) fn contain_key(
        &self,
        actor: &Principal,
        key: &Key<'_>,
        reason: Reason,
        note: Option<String>,
    ) -> Result<(Containment, bool), CommandError> {
        let subject = key.subject();
        if let Some(found) = self.store.containment_of(&subject).map_err(from_store)? {
            return Ok((found, false));
        }
        let in_flight = subject.upstream_key().zip(self.live.get());
        let in_flight = in_flight.map(|(id, live)| live.use_of(id).0);
        let served = self.served_by(key)?;
        self.cut_in_memory(&subject)?;
        let now = self.now();
        let declared = Declared {
            by: actor.to_string(),
            at: now,
            reason,
            note,
            served,
            in_flight,
            has_value: matches!(key, Key::Upstream(row) if has_value(row)),
        };
        let mut random = [0; 16];
        self.entropy.fill(&mut random);
        let containment = Containment::declare(ContainmentId::mint(random), subject, declared);
        match self.begin_containment(actor, &containment) {
            Ok(()) => {}
            // Somebody else was first.
            Err(error) if error.code == ErrorCode::Conflict => {
                let found = self.store.containment_of(&containment.subject).map_err(from_store)?;
                return found.map(|found| (found, false)).ok_or(error);
            }
            Err(error) => {
                return Err(CommandError::new(
                    error.code,
                    format!(
                        "no call leaves with this key from this moment on, but that could not be \
                         put on record ({error}), so a restart would let it in again; nothing was \
                         done at Anthropic"
                    ),
                )
                .hint(
                    "switch the key off in the Claude Console (Settings, API keys), see to the \
                     disk (chamberlain doctor), and type this again",
                ));
            }
        }
        tracing::warn!(
            containment = %containment.id,
            subject = %containment.subject,
            %reason,
            "a key was contained"
        );
        self.after_the_cut(&containment)?;
        Ok((containment, true))
    }

    /// Nothing leaves with the key from now on, whatever the store says.
    fn cut_in_memory(&self, subject: &Subject) -> Result<(), CommandError> {
        self.cut_off.lock().insert(subject.clone());
        self.publish().map(drop)
    }

    /// Publishes what the store says now, and puts on record that the cut is in force.
    fn after_the_cut(&self, containment: &Containment) -> Result<(), CommandError> {
        self.publish()?;
        self.cut_off.lock().remove(&containment.subject);
        let after = containment.settled(Work::Cut, &Outcome::Done, self.now());
        let detail = "no call leaves with it".to_owned();
        match self.save_containment(&Principal::Chamberlain, &after, "result", detail, |_| Ok(())) {
            // The job was quicker.
            Err(error) if error.code == ErrorCode::Conflict => Ok(()),
            done => done,
        }
    }

    fn begin_containment(
        &self,
        actor: &Principal,
        containment: &Containment,
    ) -> Result<(), CommandError> {
        let _changing = self.changing.lock();
        let it = containment.clone();
        let work = move |change: &mut Change<'_>| {
            let detail = match &it.declared.note {
                Some(note) => format!("{}: {note}", it.declared.reason),
                None => it.declared.reason.to_string(),
            };
            let seq = change.begin_containment(&it, &detail)?;
            cut(change, &it.subject)?;
            tell::tell(change, seq, &it, "begun", &detail)
        };
        self.store.change(actor.clone(), work).map_err(from_store)
    }

    /// The environments whose calls leave with a key now.
    fn served_by(&self, key: &Key<'_>) -> Result<Vec<EnvironmentName>, CommandError> {
        let (house, ruling) = (self.house()?, self.settings.read().clone());
        Ok(match key {
            Key::Upstream(row) => inventory::serves(row, &house, &ruling.settings),
            Key::Virtual(_) => Vec::new(),
        })
    }

    /// The key that people mean.
    pub(super) fn to_contain<'a>(
        &self,
        named: &str,
        house: &'a House,
    ) -> Result<Key<'a>, CommandError> {
        let ruling = self.settings.read().clone();
        let of_environment = |name: &str| -> Result<Key<'a>, CommandError> {
            let found = scope::environment(name, &ruling.settings)?;
            house.upstream_key_of(&found.name).map(Key::Upstream).ok_or_else(|| {
                CommandError::not_found(format!("{name} leaves with no upstream key now"))
                    .hint("chamberlain key list --all shows those it had")
            })
        };
        if let Some(name) = named.strip_prefix("environment:") {
            return of_environment(name);
        }
        if let Some(name) = named.strip_prefix("upstream:") {
            return scope::upstream_key(name, house).map(Key::Upstream);
        }
        if let Some(name) = named.strip_prefix("virtual:") {
            return scope::virtual_key(name, house).map(Key::Virtual);
        }
        let upstream = scope::upstream_key(named, house).ok().map(Key::Upstream);
        let virtual_key = match scope::virtual_key(named, house) {
            Ok(key) => Some(Key::Virtual(key)),
            Err(error) if error.code == ErrorCode::Conflict => return Err(error),
            Err(_) => None,
        };
        let environment = ruling.settings.environment(named).is_some();
        match (upstream, virtual_key, environment) {
            (Some(key), None, false) | (None, Some(key), false) => Ok(key),
            (None, None, true) => of_environment(named),
            (None, None, false) => Err(CommandError::not_found(
                "no upstream key, no virtual key and no environment is called that",
            )
            .hint("chamberlain key list --all and chamberlain virtual list --all show them")),
            _ => Err(CommandError::conflict(format!("{named:?} may mean several keys")).hint(
                format!(
                    "write upstream:{named}, virtual:{named} or environment:{named}, or a key's id"
                ),
            )),
        }
    }
}

fn has_value(row: &UpstreamKey) -> bool {
    !matches!(row.state, UpstreamKeyState::Listed | UpstreamKeyState::Revoked)
}

/// Takes the key out of use in the store.
fn cut(change: &mut Change<'_>, subject: &Subject) -> Result<(), StoreFault> {
    match subject {
        Subject::UpstreamKey(id) => shelve(change, id),
        Subject::VirtualKey(id) => match change.virtual_key(id)? {
            Some(key) if key.state != KeyState::Revoked => {
                change.save_virtual_key(&VirtualKey { state: KeyState::Revoked, ..key })
            }
            _ => Ok(()),
        },
    }
}

fn shelve(change: &mut Change<'_>, id: &UpstreamKeyId) -> Result<(), StoreFault> {
    match change.upstream_key(id)? {
        Some(row) if has_value(&row) => change.shelve_upstream_key(id),
        _ => Ok(()),
    }
}

//! Commands about upstream keys. A secret comes in, is sealed, and never comes out.

use std::collections::{BTreeMap, HashMap};

use chamberlain_core::audit::record::Principal;
use chamberlain_core::id::{EnvironmentName, UpstreamKeyId};
use chamberlain_core::keys::finding::FindingKind;
use chamberlain_core::keys::listed::{ListedKey, ListedStatus, Workspace};
use chamberlain_core::keys::name;
use chamberlain_core::keys::profile::{CreatedFor, Profile, Seen};
use chamberlain_core::keys::reconcile::{self, Measures, OwnKey, Stands};
use chamberlain_store::{
    Change, Facts, KeyFinding, KeyUsage, StoreFault, UpstreamKey, UpstreamKeyState,
};
use chamberlain_vault::seal::Sealed;
use chamberlain_vault::upstream_key::UpstreamKey as VaultKey;

use super::key_profile::annotated;
use super::{Commander, fact};
use crate::command::{KeyAbout, KeyAdd, KeyList, KeyRemove, KeyShow};
use crate::error::CommandError;
use crate::house::House;
use crate::virtual_key::{self, Ground};
use crate::{inventory, publish, reply, scope, view};

impl Commander {
    pub(super) fn key_add(
        &self,
        actor: &Principal,
        asked: KeyAdd,
    ) -> Result<reply::UpstreamKey, CommandError> {
        let secret = VaultKey::check(asked.secret.secret())
            .map_err(|wrong| CommandError::usage(wrong.to_string()))?;
        let KeyAdd { name, environment, secret: given, about, staged } = asked;
        drop(given);
        let wanted = Wanted { name, environment, about, staged };
        // Asked before anything is written, and before anybody is kept waiting by the lock.
        let found = self.at_anthropic(&secret.hint());
        let id = self.change(actor, |ground| {
            let row = self.new_row(&wanted, found.as_ref(), &secret, ground)?;
            let listed = listed_row(&row, ground).is_some();
            let sealed = self.vault.seal_upstream_key(&row.id, &secret, self.entropy.as_ref());
            Ok(adding(row, sealed, listed, ground))
        })?;
        if !wanted.staged
            && let Err(error) = self.update_rotation_policy(actor)
        {
            tracing::error!(%error, "a key took over, and the rotation policy's file is not up to date");
        }
        self.shown(&id)
    }

    /// The key at Anthropic that begins and ends like this, where there is one, and the workspaces.
    /// A key is taken in although Anthropic cannot be asked: the next comparison tells.
    fn at_anthropic(&self, hint: &str) -> Option<(ListedKey, Vec<Workspace>)> {
        if !self.has_admin_key().unwrap_or(false) {
            return None;
        }
        let asked = self.with_admin_api(|api| Ok((api.keys()?, api.workspaces()?)));
        match asked {
            Ok((keys, workspaces)) => {
                let mut alike = keys.into_iter().filter(|key| key.hint == hint);
                let first = alike.next()?;
                alike.next().is_none().then_some((first, workspaces))
            }
            Err(error) => {
                tracing::warn!(%error, "a key is taken in without asking Anthropic about it");
                None
            }
        }
    }

    fn new_row(
        &self,
        wanted: &Wanted,
        found: Option<&(ListedKey, Vec<Workspace>)>,
        secret: &VaultKey,
        ground: Ground<'_>,
    ) -> Result<UpstreamKey, CommandError> {
        let environment = wanted
            .environment
            .as_deref()
            .map(|name| scope::environment(name, ground.settings))
            .transpose()?
            .map(|environment| environment.name.clone());
        let fingerprint = self.vault.fingerprint(secret).to_string();
        refuse_double(&fingerprint, environment.as_ref(), ground)?;
        let state = match wanted.staged {
            true => UpstreamKeyState::Staged,
            false => UpstreamKeyState::Current,
        };
        let mut random = [0; 16];
        self.entropy.fill(&mut random);
        let mut row = UpstreamKey {
            id: UpstreamKeyId::mint(random),
            name: wanted.name.trim().to_owned(),
            environment,
            state,
            hint: secret.hint(),
            fingerprint,
            created_at: ground.now,
            removed_at: None,
            last_used_at: None,
            profile: Profile::default(),
        };
        if let Some(listed) = listed_row(&row, ground) {
            row.id = listed.id.clone();
            row.profile = listed.profile.clone();
            // What the table said stands unless something else is said now.
            row.environment = row.environment.or_else(|| listed.environment.clone());
        }
        row.profile = annotated(&row.profile, &wanted.about, ground.calendar)?;
        if let Some((listed, workspaces)) = found {
            check_listed(&row, listed, workspaces, ground)?;
            row.profile.anthropic_id = Some(listed.id.clone());
            row.profile.created_on = Some(ground.calendar.date(listed.created_at));
            row.profile.seen = Some(Seen { at: ground.now, key: listed.clone() });
        }
        complete(&mut row, found.map(|(listed, _)| listed), ground)?;
        Ok(row)
    }

    pub(super) fn key_list(&self, asked: &KeyList) -> Result<reply::UpstreamKeys, CommandError> {
        let (house, extras) = (self.house()?, self.extras()?);
        let mut rows: Vec<&UpstreamKey> = house
            .upstream_keys
            .iter()
            .filter(|row| asked.all || row.state != UpstreamKeyState::Revoked)
            .collect();
        rows.sort_by_key(|row| (std::cmp::Reverse(row.created_at), row.id.clone()));
        let keys = rows.into_iter().map(|row| self.with_extras(row, &house, &extras)).collect();
        let of_a_key = |found: &KeyFinding| {
            house.upstream_keys.iter().any(|row| row.id.as_str() == found.finding.subject)
        };
        let others = extras.findings.iter().filter(|found| !of_a_key(found)).map(shown_finding);
        Ok(reply::UpstreamKeys { keys, findings: others.collect() })
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

    pub(super) fn shown(&self, id: &UpstreamKeyId) -> Result<reply::UpstreamKey, CommandError> {
        let (house, extras) = (self.house()?, self.extras()?);
        let row = scope::upstream_key(id.as_str(), &house)?;
        Ok(self.with_extras(row, &house, &extras))
    }

    fn extras(&self) -> Result<Extras, CommandError> {
        Ok(Extras {
            usage: self.store.key_usage().map_err(super::from_store)?,
            findings: self.findings()?,
            workspaces: self.workspace_names()?,
        })
    }

    /// A key with what its calls cost and what was found about it.
    fn with_extras(&self, row: &UpstreamKey, house: &House, extras: &Extras) -> reply::UpstreamKey {
        let ruling = self.settings.read().clone();
        let view = view::upstream_key(row, house, &ruling.settings, &ruling.calendar);
        let usage = extras.usage.get(&row.id).copied().unwrap_or_default();
        let own = |found: &&KeyFinding| found.finding.subject == row.id.as_str();
        let name = |id: &String| extras.workspaces.get(id).cloned();
        reply::UpstreamKey {
            calls: Some(usage.calls),
            cost: Some(usage.cost),
            workspace_name: view.workspace.as_ref().and_then(name),
            findings: extras.findings.iter().filter(own).map(shown_finding).collect(),
            ..view
        }
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

/// What is looked up for showing keys.
struct Extras {
    usage: HashMap<UpstreamKeyId, KeyUsage>,
    findings: Vec<KeyFinding>,
    workspaces: BTreeMap<String, String>,
}

/// What was asked for, without the key.
struct Wanted {
    name: String,
    environment: Option<String>,
    about: KeyAbout,
    staged: bool,
}

fn shown_finding(found: &KeyFinding) -> reply::KeyFinding {
    let since = Some(found.since.into());
    reply::KeyFinding { since, ..found.finding.clone().into() }
}

fn in_use(ground: Ground<'_>) -> impl Iterator<Item = &UpstreamKey> {
    let rows = &ground.house.upstream_keys;
    rows.iter().filter(|row| row.state != UpstreamKeyState::Revoked)
}

/// The listed key of that name, which waits for its value.
fn listed_row<'a>(row: &UpstreamKey, ground: Ground<'a>) -> Option<&'a UpstreamKey> {
    let waits = |other: &&UpstreamKey| {
        other.state == UpstreamKeyState::Listed && !row.name.is_empty() && other.name == row.name
    };
    ground.house.upstream_keys.iter().find(waits)
}

/// The same key twice is never right: it was pasted again, or it is another environment's.
fn refuse_double(
    fingerprint: &str,
    environment: Option<&EnvironmentName>,
    ground: Ground<'_>,
) -> Result<(), CommandError> {
    let is_same = |row: &&UpstreamKey| row.fingerprint == fingerprint;
    let contained = |row: &&UpstreamKey| ground.house.contained.contains(&row.id);
    if let Some(same) = ground.house.upstream_keys.iter().filter(is_same).find(contained) {
        return Err(CommandError::conflict(format!(
            "this key was contained, as {:?} ({}): it is not taken in again",
            same.name, same.id
        ))
        .hint("make a new one in the Claude Console, https://platform.claude.com/settings/keys"));
    }
    let Some(same) = in_use(ground).find(|row| row.fingerprint == fingerprint) else {
        return Ok(());
    };
    let of = |environment: Option<&EnvironmentName>| {
        environment.map_or_else(|| "all environments".to_owned(), ToString::to_string)
    };
    let (theirs, ours) = (of(same.environment.as_ref()), of(environment));
    let error = CommandError::conflict(format!(
        "this key is in the vault already, as {:?} ({}) of {theirs}",
        same.name, same.id
    ));
    Err(match theirs == ours {
        true => error.hint("nothing is to be done; the key was pasted again"),
        false => error.hint(format!(
            "one key serves one environment: make another for {ours} in the Claude Console, \
             https://platform.claude.com/settings/keys"
        )),
    })
}

/// A key that Anthropic would refuse, or that belongs elsewhere, is not taken in.
fn check_listed(
    row: &UpstreamKey,
    listed: &ListedKey,
    workspaces: &[Workspace],
    ground: Ground<'_>,
) -> Result<(), CommandError> {
    if !matches!(listed.status, ListedStatus::Active | ListedStatus::Other(_)) {
        let word = listed.status.word();
        let problem =
            format!("this key ({:?}) is {word} at Anthropic: it makes no call", listed.name);
        return Err(CommandError::conflict(problem).hint(
            "make a new one in the Claude Console, https://platform.claude.com/settings/keys",
        ));
    }
    let own = OwnKey {
        id: row.id.to_string(),
        name: row.name.clone(),
        environment: row.environment.clone(),
        stands: Stands::InUse,
        hint: row.hint.clone(),
        profile: Profile { anthropic_id: Some(listed.id.clone()), ..Profile::default() },
        added_at: ground.now,
        last_used_at: None,
        serves: Vec::new(),
        interval_days: 1,
    };
    let places = inventory::places(ground.settings);
    let measures =
        Measures { places: &places, calendar: ground.calendar, now: ground.now, unused_days: 1 };
    let (own, theirs) = ([own], [listed.clone()]);
    let found = reconcile::listed_findings(&own, &theirs, workspaces, measures);
    match found.into_iter().find(|finding| finding.kind == FindingKind::Misplaced) {
        None => Ok(()),
        Some(misplaced) => Err(CommandError::conflict(format!(
            "this key is another environment's: it {}",
            misplaced.message.split_once(&format!("{:?} ", row.name)).map_or("", |(_, rest)| rest)
        ))
        .hint("make one in the right workspace: a key cannot be moved to another")),
    }
}

/// Gives a new row the name and the days that nobody gave it, and checks the name.
fn complete(
    row: &mut UpstreamKey,
    listed: Option<&ListedKey>,
    ground: Ground<'_>,
) -> Result<(), CommandError> {
    let today = ground.calendar.date(ground.now);
    if row.name.is_empty() {
        let known: Vec<&str> =
            ground.settings.environments.iter().map(|found| found.name.as_str()).collect();
        let environment = row.environment.as_ref().map(|name| name.as_str());
        let theirs = listed.map(|listed| listed.name.as_str());
        let theirs = theirs.filter(|theirs| name::parse(theirs, &known).is_ok());
        row.name = match theirs {
            Some(theirs) => theirs.to_owned(),
            None => inventory::suggested_name(environment, &row.profile, ground, today),
        };
    }
    row.name = virtual_key::name(&row.name)?;
    inventory::check_name(&row.name, row.environment.as_ref(), ground.settings)?;
    if in_use(ground).any(|other| other.name == row.name && other.id != row.id) {
        let problem = format!("an upstream key is called {:?}", row.name);
        return Err(CommandError::conflict(problem)
            .hint("choose another name, or remove that key first; without --name one is made"));
    }
    let before = in_use(ground).find(|other| {
        other.state == UpstreamKeyState::Current && other.environment == row.environment
    });
    row.profile.last_rotated_on = row.profile.last_rotated_on.or(Some(today));
    row.profile.created_for = row.profile.created_for.or(Some(match before {
        Some(_) => CreatedFor::ScheduledRotation,
        None if in_use(ground).any(|other| other.state == UpstreamKeyState::Current) => {
            CreatedFor::NewEnvironment
        }
        None => CreatedFor::InitialSetup,
    }));
    Ok(())
}

/// The work of adding a key and superseding the one before it.
fn adding(
    row: UpstreamKey,
    sealed: Sealed,
    is_listed: bool,
    ground: Ground<'_>,
) -> impl FnOnce(&mut Change<'_>) -> Result<UpstreamKeyId, StoreFault> + Send + use<> {
    let environment: Option<EnvironmentName> = row.environment.clone();
    let superseded: Vec<(UpstreamKeyId, Facts)> = ground
        .house
        .upstream_keys
        .iter()
        .filter(|old| {
            row.state == UpstreamKeyState::Current
                && old.state == UpstreamKeyState::Current
                && old.environment == environment
        })
        .map(|old| {
            let after = UpstreamKey { state: UpstreamKeyState::Previous, ..old.clone() };
            let facts =
                Facts { reason: None, before: shown(old, ground), after: shown(&after, ground) };
            (old.id.clone(), facts)
        })
        .collect();
    let facts = Facts { after: shown(&row, ground), ..Facts::default() };
    move |change| {
        match is_listed {
            true => change.fill_upstream_key(&row, sealed.as_bytes())?,
            false => change.insert_upstream_key(&row, sealed.as_bytes())?,
        }
        for (old, facts) in &superseded {
            change.audit("upstream_key.superseded", &subject(old), facts)?;
        }
        change.audit("upstream_key.added", &subject(&row.id), &facts)?;
        Ok(row.id)
    }
}

fn shown(row: &UpstreamKey, ground: Ground<'_>) -> Option<serde_json::Value> {
    fact(&view::upstream_key(row, ground.house, ground.settings, ground.calendar))
}

/// What audit records about a key are filed under.
pub(super) fn subject(id: &UpstreamKeyId) -> String {
    format!("upstream_key:{id}")
}

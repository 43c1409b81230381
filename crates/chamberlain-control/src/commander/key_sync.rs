//! The inventory laid beside what Anthropic lists: learns ids, workspaces and ends of keys, keeps
//! what does not fit as findings, and tells of each once.
//!
//! It looks and writes down; it switches nothing. When Anthropic cannot be asked, what was found
//! there before stays, and everything that can be seen without it is looked at all the same.

use std::collections::BTreeMap;

use chamberlain_core::audit::record::Principal;
use chamberlain_core::id::UpstreamKeyId;
use chamberlain_core::keys::finding::{Finding, FindingKind};
use chamberlain_core::keys::listed::{ListedKey, Member, Workspace};
use chamberlain_core::keys::profile::{Profile, Seen};
use chamberlain_core::keys::reconcile::{self, Measures, OwnKey};
use chamberlain_core::record::{Notice, Severity};
use chamberlain_core::time::Timestamp;
use chamberlain_store::{Change, Facts, KeyFinding, StoreFault};
use serde::{Deserialize, Serialize};
use serde_json::{Map, json};

use super::{Commander, from_store};
use crate::admin_api::AdminApi;
use crate::command::KeySync;
use crate::error::CommandError;
use crate::{inventory, reply};

/// Under which name the store keeps what a look at Anthropic found out about workspaces.
const META: &str = "keys.anthropic";

/// Members are listed of so many workspaces at the most.
const WORKSPACES_MAX: usize = 50;

/// What one look at Anthropic gave.
struct Look {
    keys: Vec<ListedKey>,
    workspaces: Vec<Workspace>,
    members: BTreeMap<String, Vec<Member>>,
}

/// What is kept of the last look.
#[derive(Clone, Default, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default)]
struct Kept {
    at: Option<Timestamp>,
    workspaces: Vec<Workspace>,
    members: BTreeMap<String, Vec<Member>>,
}

/// What is to be written.
struct Plan {
    profiles: Vec<(UpstreamKeyId, Profile)>,
    findings: Vec<Finding>,
    kept: Kept,
    members: Vec<Notice>,
    asked: bool,
    listed: usize,
    /// Write it down although nothing changed: a person asked, or a day has passed.
    always: bool,
}

impl Commander {
    pub(super) fn key_sync(
        &self,
        actor: &Principal,
        _: &KeySync,
    ) -> Result<reply::KeySync, CommandError> {
        self.sync_keys(actor, true)
    }

    /// Compares, and writes down what changed. The job's part of the same.
    ///
    /// # Errors
    /// When Anthropic cannot be asked or the store cannot be used. What can be seen without
    /// Anthropic is then written down all the same.
    pub fn sync_keys_now(&self) -> Result<(), CommandError> {
        self.sync_keys(&Principal::Chamberlain, false).map(drop)
    }

    fn sync_keys(&self, actor: &Principal, always: bool) -> Result<reply::KeySync, CommandError> {
        let looked = match self.has_admin_key()? {
            true => self.with_admin_api(look).map(Some),
            false => Ok(None),
        };
        let (look, failed) = match looked {
            Ok(look) => (look, None),
            Err(error) => (None, Some(error)),
        };
        let _changing = self.changing.lock();
        let (house, ruling, now) = (self.house()?, self.settings.read().clone(), self.now());
        let settings = &ruling.settings;
        let own = inventory::own_keys(&house, settings);
        let places = inventory::places(settings);
        let unused_days = settings.inventory.unused_days;
        let measures = Measures { places: &places, calendar: &ruling.calendar, now, unused_days };
        let kept = self.kept_look()?;
        let before = self.store.key_findings().map_err(from_store)?;
        let plan = plan(&own, look, measures, &kept, &before, always);
        let done = (plan.asked, plan.listed, plan.findings.clone());
        let new = self.store.change(actor.clone(), move |change| write(change, &plan));
        let new = match new {
            Ok(new) => new,
            // Nothing changed, so nothing was put on record.
            Err(StoreFault::NoRecord { .. }) => Vec::new(),
            Err(fault) => return Err(from_store(fault)),
        };
        if let Some(error) = failed {
            return Err(error);
        }
        let (asked, listed, findings) = done;
        Ok(reply::KeySync {
            asked_anthropic: asked,
            listed: listed as u64,
            new: new.len() as u64,
            findings: findings.into_iter().map(Into::into).collect(),
        })
    }

    /// Everything that lasts, by kind and subject.
    pub(super) fn findings(&self) -> Result<Vec<KeyFinding>, CommandError> {
        self.store.key_findings().map_err(from_store)
    }

    /// When Anthropic was asked last, with what is kept of it.
    fn kept_look(&self) -> Result<Kept, CommandError> {
        let bytes = self.store.meta(META).map_err(from_store)?;
        Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default())
    }

    /// The name of a workspace, where the last look had it.
    pub(super) fn workspace_names(&self) -> Result<BTreeMap<String, String>, CommandError> {
        let names = self.kept_look()?.workspaces.into_iter();
        Ok(names.map(|workspace| (workspace.id, workspace.name)).collect())
    }
}

/// Asks for everything that is compared.
fn look(api: &AdminApi<'_>) -> Result<Look, crate::admin_api::AdminFault> {
    let (keys, workspaces) = (api.keys()?, api.workspaces()?);
    let mut members = BTreeMap::new();
    let with_keys = |workspace: &&Workspace| {
        let is_in = |key: &ListedKey| key.workspace() == Some(workspace.id.as_str());
        workspace.archived_at.is_none() && workspace.name != "Default" && keys.iter().any(is_in)
    };
    for workspace in workspaces.iter().filter(with_keys).take(WORKSPACES_MAX) {
        members.insert(workspace.id.clone(), api.members(&workspace.id)?);
    }
    Ok(Look { keys, workspaces, members })
}

fn plan(
    own: &[OwnKey],
    look: Option<Look>,
    measures: Measures<'_>,
    kept: &Kept,
    before: &[KeyFinding],
    asked_for: bool,
) -> Plan {
    let now = measures.now;
    let mut findings = reconcile::own_findings(own, measures);
    let day_passed = kept.at.is_none_or(|at| now.ms_since(at) >= 86_400_000);
    let Some(look) = look else {
        // What was found at Anthropic is not gone because nobody could look.
        let old = before.iter().map(|old| &old.finding);
        findings.extend(old.filter(|old| old.kind.needs_anthropic()).cloned());
        return Plan {
            profiles: Vec::new(),
            findings,
            kept: kept.clone(),
            members: Vec::new(),
            asked: false,
            listed: 0,
            always: asked_for,
        };
    };
    let matches = reconcile::matches(own, &look.keys);
    let mut learned = own.to_vec();
    let mut profiles = Vec::new();
    for (ours, theirs) in matches.pairs {
        let (key, listed) = (&mut learned[ours], &look.keys[theirs]);
        let known = key.profile.seen.as_ref().is_some_and(|seen| seen.key == *listed);
        let profile = Profile {
            anthropic_id: Some(listed.id.clone()),
            created_on: Some(measures.calendar.date(listed.created_at)),
            seen: Some(Seen { at: now, key: listed.clone() }),
            ..key.profile.clone()
        };
        if !known || profile.anthropic_id != key.profile.anthropic_id {
            profiles.push((UpstreamKeyId::new(key.id.as_str()), profile.clone()));
        }
        key.profile = profile;
    }
    // Seen again with what was just learned.
    findings = reconcile::own_findings(&learned, measures);
    findings.extend(reconcile::listed_findings(&learned, &look.keys, &look.workspaces, measures));
    let members = member_notices(kept, &look, now);
    let listed = look.keys.len();
    Plan {
        profiles,
        findings,
        kept: Kept { at: Some(now), workspaces: look.workspaces, members: look.members },
        members,
        asked: true,
        listed,
        always: asked_for || day_passed,
    }
}

/// Who came and who went since the look before; a first look is the ground and no change.
fn member_notices(kept: &Kept, look: &Look, now: Timestamp) -> Vec<Notice> {
    let mut notices = Vec::new();
    for (id, after) in &look.members {
        let Some(before) = kept.members.get(id) else { continue };
        let (came, went) = reconcile::member_changes(before, after);
        if came.is_empty() && went.is_empty() {
            continue;
        }
        let named = look.workspaces.iter().find(|workspace| workspace.id == *id);
        let name = named.map_or(id.as_str(), |workspace| workspace.name.as_str());
        let list = |members: &[Member]| {
            let texts =
                members.iter().map(|member| format!("{} ({})", member.user_id, member.role));
            texts.collect::<Vec<_>>().join(", ")
        };
        let none = |text: String| if text.is_empty() { "nobody".to_owned() } else { text };
        let mut facts = Map::new();
        facts.insert("came".into(), json!(came));
        facts.insert("went".into(), json!(went));
        notices.push(Notice {
            at: now,
            kind: format!("key.{}", FindingKind::Members.word()),
            severity: Severity::Warning,
            subject: id.clone(),
            message: format!(
                "members of workspace {name:?}: new {}; gone {}",
                none(list(&came)),
                none(list(&went))
            ),
            facts,
            notify: true,
        });
    }
    notices
}

/// Writes the plan; gives the findings that are new. Without a change nothing is put on record.
fn write(change: &mut Change<'_>, plan: &Plan) -> Result<Vec<Finding>, StoreFault> {
    let before = change.key_findings()?;
    let new = change.replace_key_findings(&plan.findings)?;
    let gone: Vec<&Finding> = before
        .iter()
        .map(|old| &old.finding)
        .filter(|old| !plan.findings.iter().any(|now| now.identity() == old.identity()))
        .collect();
    for (id, profile) in &plan.profiles {
        change.set_upstream_profile(id, profile)?;
    }
    let is_change = !new.is_empty()
        || !gone.is_empty()
        || !plan.profiles.is_empty()
        || !plan.members.is_empty();
    if !is_change && !plan.always {
        return Ok(new);
    }
    let kept = serde_json::to_vec(&plan.kept)
        .map_err(|error| StoreFault::Mistake(format!("as JSON: {error}")))?;
    change.put_meta(META, &kept)?;
    let identity = |finding: &Finding| format!("{} {}", finding.kind.word(), finding.subject);
    let facts = Facts {
        after: Some(json!({
            "asked_anthropic": plan.asked,
            "keys_listed": plan.listed,
            "learned_of": plan.profiles.iter().map(|(id, _)| id.to_string()).collect::<Vec<_>>(),
            "members": plan.kept.members,
            "findings_new": new.iter().map(identity).collect::<Vec<_>>(),
            "findings_gone": gone.into_iter().map(identity).collect::<Vec<_>>(),
            "findings": plan.findings.len(),
        })),
        ..Facts::default()
    };
    change.audit("keys.compared", "keys", &facts)?;
    for finding in &new {
        change.notice(&notice_of(finding, change.now()))?;
    }
    for notice in &plan.members {
        change.notice(notice)?;
    }
    Ok(new)
}

fn notice_of(finding: &Finding, at: Timestamp) -> Notice {
    let mut facts = Map::new();
    facts.insert("advice".into(), json!(finding.advice));
    facts.insert("name".into(), json!(finding.name));
    Notice {
        at,
        kind: format!("key.{}", finding.kind.word()),
        severity: finding.severity,
        subject: finding.subject.clone(),
        message: finding.message.clone(),
        facts,
        notify: finding.severity >= Severity::Warning,
    }
}

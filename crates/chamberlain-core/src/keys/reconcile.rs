//! The inventory laid beside what Anthropic lists: which of our keys is which of theirs, and what
//! does not fit.
//!
//! A key is known by its id at Anthropic once that was learned; until then by its hint, and only
//! where one key here and one key there have it. A guess is never made: two that look alike are a
//! finding.

use std::collections::{BTreeMap, BTreeSet};

use super::finding::{Finding, FindingKind};
use super::listed::{KeyScope, ListedKey, ListedStatus, Member, Workspace};
use super::name;
use super::profile::Profile;
use super::schedule::{self, Because};
use crate::id::EnvironmentName;
use crate::record::Severity;
use crate::time::{Calendar, Date, Timestamp};

/// Where a key stands in the inventory, as far as findings care.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stands {
    /// Known by name; its value was never given.
    Listed,
    /// Sealed, not in use.
    Staged,
    /// In use, or kept for calls that began with it.
    InUse,
    /// Removed; without its value.
    Removed,
}

/// A key of ours.
#[derive(Clone, PartialEq, Debug)]
pub struct OwnKey {
    /// Its id here.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its environment; `None` for the shared one.
    pub environment: Option<EnvironmentName>,
    /// Where it stands.
    pub stands: Stands,
    /// Its beginning and end.
    pub hint: String,
    /// What else is known of it.
    pub profile: Profile,
    /// When it was put in.
    pub added_at: Timestamp,
    /// When a call last left with it.
    pub last_used_at: Option<Timestamp>,
    /// The environments whose calls leave with it.
    pub serves: Vec<EnvironmentName>,
    /// Days between rotations where it serves; the least, where it serves several.
    pub interval_days: u32,
}

/// What an environment's keys are measured by.
#[derive(Clone, Default, PartialEq, Debug)]
pub struct Places {
    /// The workspace of an environment, by id or by name, where one was configured.
    pub workspaces: BTreeMap<EnvironmentName, String>,
    /// Every environment.
    pub environments: Vec<EnvironmentName>,
}

/// What is measured against.
#[derive(Clone, Copy, Debug)]
pub struct Measures<'a> {
    /// Environments and workspaces.
    pub places: &'a Places,
    /// The calendar that days are counted in.
    pub calendar: &'a Calendar,
    /// Now.
    pub now: Timestamp,
    /// A key that no call left with for so many days is unused.
    pub unused_days: u32,
}

/// Warned of an end this many days before.
const EXPIRING_DAYS: i64 = schedule::BEFORE_EXPIRY_DAYS;

/// Which key of theirs each of ours is: indexes into both lists.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Matches {
    /// Ours, and theirs.
    pub pairs: Vec<(usize, usize)>,
    /// Ours that may be several of theirs.
    pub ambiguous: Vec<(usize, Vec<usize>)>,
}

/// Finds out which of ours is which of theirs.
pub fn matches(own: &[OwnKey], listed: &[ListedKey]) -> Matches {
    let mut found = Matches::default();
    let mut taken: BTreeSet<usize> = BTreeSet::new();
    let known = |key: &OwnKey| {
        let id = key.profile.anthropic_id.as_deref()?;
        listed.iter().position(|listed| listed.id == id)
    };
    for (ours, key) in own.iter().enumerate() {
        if let Some(theirs) = known(key).filter(|theirs| taken.insert(*theirs)) {
            found.pairs.push((ours, theirs));
        }
    }
    let looks_like = |key: &OwnKey, listed: &ListedKey| same_hint(&key.hint, &listed.hint);
    let unknown = |key: &OwnKey| key.profile.anthropic_id.is_none() && !key.hint.is_empty();
    for (ours, key) in own.iter().enumerate().filter(|(_, key)| unknown(key)) {
        let free = |(theirs, other): &(usize, &ListedKey)| {
            !taken.contains(theirs) && looks_like(key, other)
        };
        let candidates: Vec<usize> =
            listed.iter().enumerate().filter(free).map(|(theirs, _)| theirs).collect();
        let twins = own.iter().filter(|other| unknown(other) && same_hint(&other.hint, &key.hint));
        match (candidates.as_slice(), twins.count()) {
            ([], _) => {}
            ([theirs], 1) => {
                taken.insert(*theirs);
                found.pairs.push((ours, *theirs));
            }
            _ => found.ambiguous.push((ours, candidates)),
        }
    }
    found.pairs.sort_unstable();
    found
}

/// Whether two hints may be of one key. They are not unique; one without characters of its key
/// says nothing.
fn same_hint(ours: &str, theirs: &str) -> bool {
    let ends = |hint: &str| {
        let (begin, end) = hint.split_once("...").or_else(|| hint.split_once('…'))?;
        (end.len() >= 4).then(|| (begin.to_owned(), end.to_owned()))
    };
    match (ends(ours), ends(theirs)) {
        (Some(ours), Some(theirs)) => {
            (ours.0.starts_with(&theirs.0) || theirs.0.starts_with(&ours.0))
                && (ours.1.ends_with(&theirs.1) || theirs.1.ends_with(&ours.1))
        }
        _ => false,
    }
}

/// What can be seen without asking Anthropic.
pub fn own_findings(own: &[OwnKey], measures: Measures<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for key in own {
        if key.stands == Stands::Removed {
            continue;
        }
        found.extend(misnamed(key, measures));
        found.extend(ending(key, measures));
        found.extend(unused(key, measures));
        found.extend(shared(key));
    }
    found
}

/// What can only be seen beside Anthropic's list.
pub fn listed_findings(
    own: &[OwnKey],
    listed: &[ListedKey],
    workspaces: &[Workspace],
    measures: Measures<'_>,
) -> Vec<Finding> {
    let matches = matches(own, listed);
    let mut found = Vec::new();
    for (ours, theirs) in &matches.pairs {
        let (ours, theirs) = (&own[*ours], &listed[*theirs]);
        found.extend(status(ours, theirs));
        found.extend(reach(ours, theirs, workspaces, measures));
        found.extend(renamed(ours, theirs));
    }
    for (ours, candidates) in &matches.ambiguous {
        found.push(ambiguous(&own[*ours], candidates.iter().map(|at| &listed[*at])));
    }
    let paired = |at: usize| matches.pairs.iter().any(|(ours, _)| *ours == at);
    let lost = own.iter().enumerate().filter(|(at, key)| {
        let unsure = matches.ambiguous.iter().any(|(ours, _)| ours == at);
        !paired(*at) && !unsure && matches!(key.stands, Stands::InUse | Stands::Staged)
    });
    found.extend(lost.map(|(_, key)| missing(key)));
    let met: BTreeSet<usize> = matches
        .pairs
        .iter()
        .map(|(_, theirs)| *theirs)
        .chain(matches.ambiguous.iter().flat_map(|(_, candidates)| candidates.iter().copied()))
        .collect();
    let shadows = listed.iter().enumerate().filter(|(at, key)| {
        !met.contains(at) && matches!(key.status, ListedStatus::Active | ListedStatus::Other(_))
    });
    found.extend(shadows.map(|(_, key)| shadow(key, workspaces)));
    found
}

/// Who came to a workspace and who went, between two looks.
pub fn member_changes(before: &[Member], after: &[Member]) -> (Vec<Member>, Vec<Member>) {
    let (old, new): (BTreeSet<_>, BTreeSet<_>) = (before.iter().collect(), after.iter().collect());
    let came = new.difference(&old).map(|member| (*member).clone()).collect();
    let went = old.difference(&new).map(|member| (*member).clone()).collect();
    (came, went)
}

fn finding(
    key: &OwnKey,
    kind: FindingKind,
    severity: Severity,
    message: String,
    advice: impl Into<String>,
) -> Finding {
    Finding {
        kind,
        subject: key.id.clone(),
        name: key.name.clone(),
        severity,
        message,
        advice: advice.into(),
    }
}

fn misnamed(key: &OwnKey, measures: Measures<'_>) -> Option<Finding> {
    let environments: Vec<&str> =
        measures.places.environments.iter().map(EnvironmentName::as_str).collect();
    let environment = key.environment.as_ref().map(EnvironmentName::as_str);
    let what = match name::parse(&key.name, &environments) {
        Err(mistake) => mistake.to_string(),
        Ok(read) => {
            let Profile { purpose, created_on, .. } = &key.profile;
            let conflicts = read.conflicts(environment, purpose.as_deref(), *created_on);
            conflicts.first()?.to_string()
        }
    };
    let date = key.profile.created_on.unwrap_or_else(|| measures.calendar.date(key.added_at));
    let suggested = name::suggest(
        key.profile.project.as_deref(),
        environment.unwrap_or("shared"),
        key.profile.purpose.as_deref(),
        date,
        |_| false,
    );
    let advice = format!("chamberlain key rename {} {suggested}", key.id);
    let message = format!("the name of {:?}: {what}", key.name);
    Some(finding(key, FindingKind::Misnamed, Severity::Info, message, advice))
}

fn ending(key: &OwnKey, measures: Measures<'_>) -> Option<Finding> {
    let at = key.profile.expiry()?;
    let on = measures.calendar.date(at);
    let today = measures.calendar.date(measures.now);
    if at <= measures.now {
        let message = format!("{:?} expired at {at}: Anthropic refuses it", key.name);
        let severity = match key.stands {
            Stands::InUse => Severity::Critical,
            _ => Severity::Warning,
        };
        return Some(finding(key, FindingKind::Expired, severity, message, REPLACE));
    }
    if today.days_until(on) <= EXPIRING_DAYS {
        let message = format!("{:?} expires at {at}", key.name);
        return Some(finding(key, FindingKind::Expiring, Severity::High, message, REPLACE));
    }
    let next =
        schedule::next_rotation(last_rotated(key, measures.calendar), key.interval_days, Some(on));
    (next.because == Because::Expiry).then(|| {
        let message = format!(
            "{:?} expires on {on}, before the {} days of its environment are over; it is to be \
             replaced by {}",
            key.name, key.interval_days, next.on
        );
        let advice = "nothing yet; make its successor without an expiry, or with a longer one";
        finding(key, FindingKind::ExpiresEarly, Severity::Info, message, advice)
    })
}

/// The day a key took over: what was said, else when it was made, else when it was put in.
pub fn last_rotated(key: &OwnKey, calendar: &Calendar) -> Date {
    let Profile { last_rotated_on, created_on, .. } = &key.profile;
    last_rotated_on.or(*created_on).unwrap_or_else(|| calendar.date(key.added_at))
}

fn unused(key: &OwnKey, measures: Measures<'_>) -> Option<Finding> {
    if !matches!(key.stands, Stands::InUse | Stands::Staged) {
        return None;
    }
    let today = measures.calendar.date(measures.now);
    if key.profile.exemption.as_ref().is_some_and(|exemption| today <= exemption.until) {
        return None;
    }
    let since = key.last_used_at.unwrap_or(key.added_at);
    let days = measures.now.ms_since(since) / 86_400_000;
    (days >= u64::from(measures.unused_days)).then(|| {
        let message = match key.last_used_at {
            Some(at) => format!("no call has left with {:?} since {}", key.name, at.utc_date()),
            None => format!("no call has ever left with {:?}, in {days} days", key.name),
        };
        let advice = "if nobody needs it, chamberlain key remove, and switch it off at Anthropic; \
                      else say why it rests: chamberlain key annotate KEY --exempt-until DAY \
                      --reason WHY";
        finding(key, FindingKind::Unused, Severity::Warning, message, advice)
    })
}

fn shared(key: &OwnKey) -> Option<Finding> {
    (key.serves.len() > 1).then(|| {
        let names: Vec<&str> = key.serves.iter().map(EnvironmentName::as_str).collect();
        let message =
            format!("{:?} serves {}: one leak stops them all", key.name, names.join(", "));
        let advice = "give each a key of its own: chamberlain key add --environment NAME";
        finding(key, FindingKind::Shared, Severity::Info, message, advice)
    })
}

const REPLACE: &str = "make a new key in the Claude Console, then chamberlain key add";

fn status(ours: &OwnKey, theirs: &ListedKey) -> Option<Finding> {
    let (name, word) = (&ours.name, theirs.status.word());
    let in_use = ours.stands == Stands::InUse;
    match (&theirs.status, ours.stands) {
        (ListedStatus::Active, Stands::Removed) => {
            let message = format!("{name:?} was removed here and is still active at Anthropic");
            let advice = format!("switch it off in the Claude Console: {}", theirs.name);
            Some(finding(ours, FindingKind::StillAlive, Severity::High, message, advice))
        }
        (_, Stands::Removed) | (ListedStatus::Active, _) => None,
        (ListedStatus::Expired, _) => {
            let severity = if in_use { Severity::Critical } else { Severity::Warning };
            let message = format!("{name:?} is expired at Anthropic");
            Some(finding(ours, FindingKind::Expired, severity, message, REPLACE))
        }
        (ListedStatus::Inactive | ListedStatus::Archived, _) => {
            let severity = if in_use { Severity::Critical } else { Severity::Warning };
            let message = format!("{name:?} is {word} at Anthropic: its calls are refused there");
            let advice = "find out who switched it off and why before anything else; a leaked key \
                          is switched off by Anthropic";
            Some(finding(ours, FindingKind::Inactive, severity, message, advice))
        }
        (ListedStatus::Other(_), _) => {
            let message = format!("{name:?} is {word:?} at Anthropic, which is not known here");
            let advice = "look at it in the Claude Console";
            Some(finding(ours, FindingKind::Inactive, Severity::Warning, message, advice))
        }
    }
}

fn reach(
    ours: &OwnKey,
    theirs: &ListedKey,
    workspaces: &[Workspace],
    measures: Measures<'_>,
) -> Option<Finding> {
    if ours.stands == Stands::Removed {
        return None;
    }
    if theirs.scope == KeyScope::Organization {
        let message = format!("{:?} reaches every workspace of the organization", ours.name);
        let advice = "make a key inside the environment's own workspace and rotate to it";
        let kind = FindingKind::OrganizationWide;
        return Some(finding(ours, kind, Severity::High, message, advice));
    }
    let workspace = theirs.workspace().map(|id| {
        let named = workspaces.iter().find(|workspace| workspace.id == id);
        (id, named.map_or(id, |workspace| workspace.name.as_str()))
    });
    let environment = ours.environment.as_ref()?;
    let what = match (measures.places.workspaces.get(environment), workspace) {
        (Some(wanted), Some((id, name))) if wanted == id || wanted == name => return None,
        (Some(wanted), None) if wanted == "default" => return None,
        (Some(wanted), Some((_, name))) => {
            format!("is in workspace {name:?}; {environment} has {wanted:?}")
        }
        (Some(wanted), None) => {
            format!("is in the default workspace; {environment} has {wanted:?}")
        }
        (None, Some((_, name))) => {
            let other = named_after_another(name, environment, &measures.places.environments)?;
            format!(
                "belongs to {environment} and is in workspace {name:?}, which is named after {other}"
            )
        }
        (None, None) => return None,
    };
    let message = format!("{:?} {what}", ours.name);
    let advice = "make a key in the right workspace and rotate to it: a key cannot be moved";
    Some(finding(ours, FindingKind::Misplaced, Severity::High, message, advice))
}

/// The environment that a workspace's name has a word for, when it has none for this one.
fn named_after_another<'a>(
    workspace: &str,
    environment: &EnvironmentName,
    all: &'a [EnvironmentName],
) -> Option<&'a EnvironmentName> {
    let lower = workspace.to_ascii_lowercase();
    let words: Vec<&str> = lower.split(|char: char| !char.is_ascii_alphanumeric()).collect();
    let says = |environment: &EnvironmentName| {
        let named = name::words_for(environment.as_str());
        named.iter().any(|word| {
            let word: Vec<&str> = word.split('-').collect();
            words.windows(word.len()).any(|window| window == word)
        })
    };
    if says(environment) {
        return None;
    }
    all.iter().find(|other| *other != environment && says(other))
}

fn renamed(ours: &OwnKey, theirs: &ListedKey) -> Option<Finding> {
    if ours.stands == Stands::Removed || ours.name == theirs.name {
        return None;
    }
    let message = format!("{:?} is called {:?} at Anthropic", ours.name, theirs.name);
    let advice =
        format!("chamberlain key rename {} NAME --at-anthropic gives both one name", ours.id);
    Some(finding(ours, FindingKind::Misnamed, Severity::Info, message, advice))
}

fn ambiguous<'a>(ours: &OwnKey, theirs: impl Iterator<Item = &'a ListedKey>) -> Finding {
    let names: Vec<String> = theirs.map(|key| format!("{} ({})", key.name, key.id)).collect();
    let message = format!(
        "{:?} may be any of these at Anthropic, which begin and end alike: {}",
        ours.name,
        names.join(", ")
    );
    let advice = format!("say which: chamberlain key annotate {} --anthropic-id ID", ours.id);
    finding(ours, FindingKind::Ambiguous, Severity::Warning, message, advice)
}

fn missing(ours: &OwnKey) -> Finding {
    let message = match &ours.profile.anthropic_id {
        Some(id) => format!("{:?} ({id}) is not listed at Anthropic any more", ours.name),
        None => format!("no key at Anthropic begins and ends as {:?} does", ours.name),
    };
    let advice = "it may belong to another organization than the admin key; or it was deleted: \
                  chamberlain key verify says whether it works";
    finding(ours, FindingKind::Missing, Severity::Warning, message, advice)
}

fn shadow(theirs: &ListedKey, workspaces: &[Workspace]) -> Finding {
    let place = match &theirs.scope {
        KeyScope::Workspace { id } => {
            let named = workspaces.iter().find(|workspace| workspace.id == *id);
            format!("in workspace {:?}", named.map_or(id, |workspace| &workspace.name))
        }
        KeyScope::DefaultWorkspace => "in the default workspace".to_owned(),
        KeyScope::Organization => "of the whole organization".to_owned(),
        KeyScope::Unknown => "somewhere".to_owned(),
    };
    Finding {
        kind: FindingKind::Shadow,
        subject: theirs.id.clone(),
        name: theirs.name.clone(),
        severity: Severity::Warning,
        message: format!(
            "{:?} ({}, made {}) works at Anthropic, {place}, and is not in the inventory",
            theirs.name,
            theirs.hint,
            theirs.created_at.utc_date()
        ),
        advice: "whoever holds it spends past every budget: chamberlain key add it, or switch it \
                 off in the Claude Console"
            .to_owned(),
    }
}

#[cfg(test)]
mod tests;

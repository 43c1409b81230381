//! From what the house knows to what people are shown.

use std::collections::{BTreeMap, HashMap};

use chamberlain_core::admission::key::{KeyState, VirtualKey};
use chamberlain_core::keys::listed::{KeyScope, ListedKey};
use chamberlain_core::ledger::account::{AccountId, Balance, Scope};
use chamberlain_core::overrides::Overrides;
use chamberlain_core::sink::settings::SinkSettings;
use chamberlain_core::snapshot::Pause;
use chamberlain_core::time::{Calendar, Timestamp, WindowKind};
use chamberlain_store::{DeliveryState, NamedKey, SinkRow, UpstreamKey, UpstreamKeyState};

use crate::house::House;
use crate::inventory;
use crate::reply::{self, BudgetLine, LimitLine, PauseLine};
use crate::scope;
use crate::settings::Settings;

/// The balances of accounts, by account.
pub type Balances = HashMap<AccountId, Balance>;

/// A virtual key.
pub fn virtual_key(key: &VirtualKey, house: &House, now: Timestamp) -> reply::VirtualKey {
    let own = key.pause.as_ref().filter(|pause| pause.holds(now));
    let above = [Scope::Organization, Scope::Environment(key.environment.clone())];
    let paused = own.is_some() || above.iter().any(|scope| house.pause(scope, now).is_some());
    let expired = key.expires_at.is_some_and(|at| at <= now);
    reply::VirtualKey {
        id: key.id.to_string(),
        name: key.name.clone(),
        environment: key.environment.to_string(),
        state: key.state,
        usable: key.state == KeyState::Active && !expired && !paused,
        created_at: key.created_at.into(),
        expires_at: key.expires_at.map(Into::into),
        last_used_at: None,
        test_mode: key.test_mode,
        operation: key.operation.clone(),
        policy: key.policy.clone(),
        budgets: key.budgets,
        limits: key.limits,
        pause: own.map(pause),
    }
}

/// An upstream key, without its secret; calls, cost and findings are for whoever has them to add.
pub fn upstream_key(
    key: &UpstreamKey,
    house: &House,
    settings: &Settings,
    calendar: &Calendar,
) -> reply::UpstreamKey {
    let serves = inventory::serves(key, house, settings);
    let interval_days = inventory::interval_days(key, house, settings);
    let next = inventory::next_rotation(key, interval_days, calendar);
    let next = Some(next).filter(|_| key.state != UpstreamKeyState::Revoked);
    let profile = &key.profile;
    let seen = profile.seen.as_ref();
    let listed = seen.map(|seen| &seen.key);
    reply::UpstreamKey {
        id: key.id.to_string(),
        name: key.name.clone(),
        environment: key.environment.as_ref().map(ToString::to_string),
        state: match key.state {
            UpstreamKeyState::Revoked => reply::UpstreamKeyState::Revoked,
            _ if house.contained.contains(&key.id) => reply::UpstreamKeyState::Contained,
            UpstreamKeyState::Listed => reply::UpstreamKeyState::Listed,
            UpstreamKeyState::Staged => reply::UpstreamKeyState::Staged,
            UpstreamKeyState::Current => reply::UpstreamKeyState::Current,
            UpstreamKeyState::Previous => reply::UpstreamKeyState::Previous,
        },
        hint: key.hint.clone(),
        fingerprint: key.fingerprint.clone(),
        created_at: key.created_at.into(),
        removed_at: key.removed_at.map(Into::into),
        last_used_at: key.last_used_at.map(Into::into),
        serves: serves.iter().map(ToString::to_string).collect(),
        project: profile.project.clone(),
        team: profile.team.clone(),
        purpose: profile.purpose.clone(),
        created_for: profile.created_for,
        rationale: profile.rationale.clone(),
        created_on: profile.created_on,
        last_rotated_on: Some(inventory::last_rotated(key, calendar)),
        next_rotation_on: next.map(|next| next.on),
        next_rotation_because: next.map(|next| next.because),
        expires_at: profile.expiry().map(Into::into),
        anthropic_id: profile.anthropic_id.clone(),
        anthropic_name: listed.map(|listed| listed.name.clone()),
        anthropic_status: listed.map(|listed| listed.status.word().to_owned()),
        workspace: listed.and_then(workspace),
        workspace_name: None,
        principal: listed
            .and_then(|listed| listed.principal.as_ref())
            .map(|principal| principal.id().to_owned()),
        seen_at: seen.map(|seen| seen.at.into()),
        exempt_until: profile.exemption.as_ref().map(|exemption| exemption.until),
        calls: None,
        cost: None,
        findings: Vec::new(),
    }
}

fn workspace(listed: &ListedKey) -> Option<String> {
    match &listed.scope {
        KeyScope::Workspace { id } => Some(id.clone()),
        KeyScope::DefaultWorkspace => Some("default".to_owned()),
        KeyScope::Organization => Some("organization".to_owned()),
        KeyScope::Unknown => None,
    }
}

/// A pause.
pub fn pause(pause: &Pause) -> PauseLine {
    PauseLine {
        since: pause.since.into(),
        until: pause.until.map(Into::into),
        by: pause.by.clone(),
        reason: pause.reason.clone(),
        ends_calls: pause.ends_calls,
    }
}

/// The moment whose windows budgets are counted in: now, or later after the clock was ahead. A
/// window that has ended is not opened again, so the newest one of `accounts` is in force.
pub fn counted_at<'a>(
    accounts: impl IntoIterator<Item = &'a AccountId>,
    now: Timestamp,
) -> Timestamp {
    accounts.into_iter().map(|account| account.window.start).fold(now, Timestamp::max)
}

/// The budgets of a scope, day and month.
pub fn budgets(
    of: &Scope,
    house: &House,
    settings: &Settings,
    balances: &Balances,
    calendar: &Calendar,
    now: Timestamp,
) -> Vec<BudgetLine> {
    let line = |kind: WindowKind| {
        let window = calendar.window(kind, now);
        let account = AccountId { scope: of.clone(), window };
        let balance = balances.get(&account).copied().unwrap_or_default();
        let limit = house.budgets(of, settings).limit(kind);
        BudgetLine {
            scope: scope::name(of, house),
            window: kind,
            window_start: window.start.into(),
            window_end: window.end.into(),
            limit,
            source: source(of, house, settings, &format!("budgets.{}", kind.name()), |overrides| {
                overrides.sets_budget(kind)
            }),
            settled: balance.settled,
            unsettled: balance.unsettled,
            reserved: balance.reserved,
            left: limit.map(|limit| limit.saturating_sub(balance.used())),
            spent_basis_points: limit.and_then(|limit| balance.spent().basis_points_of(limit)),
        }
    };
    WindowKind::ALL.into_iter().map(line).collect()
}

/// The limits of a scope.
pub fn limits(of: &Scope, house: &House, settings: &Settings) -> LimitLine {
    type Sets = fn(&Overrides) -> bool;
    let names: [(&str, Sets); 4] = [
        ("requests_per_minute", |overrides| overrides.requests_per_minute.is_some()),
        ("input_tokens_per_minute", |overrides| overrides.input_tokens_per_minute.is_some()),
        ("output_tokens_per_minute", |overrides| overrides.output_tokens_per_minute.is_some()),
        ("concurrency", |overrides| overrides.concurrency.is_some()),
    ];
    let sources = names.into_iter().map(|(name, sets)| {
        (name.to_owned(), source(of, house, settings, &format!("limits.{name}"), sets))
    });
    LimitLine {
        scope: scope::name(of, house),
        limits: house.limits(of, settings),
        sources: sources.collect::<BTreeMap<_, _>>(),
    }
}

fn source(
    of: &Scope,
    house: &House,
    settings: &Settings,
    setting: &str,
    sets: impl Fn(&Overrides) -> bool,
) -> String {
    let path = match of {
        // Everything about a virtual key is set by commands.
        Scope::VirtualKey(_) => return "command".to_owned(),
        _ if sets(&house.overrides(of)) => return "command".to_owned(),
        Scope::Organization => format!("organization.{setting}"),
        Scope::Environment(name) => format!("environments.{name}.{setting}"),
    };
    settings.sources.of(&path).to_owned()
}

/// A sink: as it is configured, and what is on record of it.
pub fn sink(
    name: &str,
    configured: Option<&SinkSettings>,
    row: Option<&SinkRow>,
    house: &House,
) -> reply::SinkLine {
    let place = configured.map(|sink| sink.target.place());
    let place = place.or_else(|| row.map(|row| row.place.clone())).unwrap_or_default();
    let held = row.and_then(|row| row.held.as_ref());
    reply::SinkLine {
        name: name.to_owned(),
        kind: configured.map(|sink| sink.target.kind().to_owned()),
        environment: configured.map(|sink| sink.environment.to_string()),
        holds: held
            .filter(|_| row.is_some_and(|row| row.place == place))
            .map(|held| named(&held.key, house)),
        holds_since: held.map(|held| held.at.into()),
        last: row.map(|row| reply::DeliveryLine {
            key: named(&row.tried, house),
            state: match row.state {
                DeliveryState::Begun => reply::DeliveryState::Begun,
                DeliveryState::Delivered => reply::DeliveryState::Delivered,
                DeliveryState::Failed => reply::DeliveryState::Failed,
            },
            effect: row.effect,
            error: row.error.clone(),
            begun_at: row.begun_at.into(),
            ended_at: row.ended_at.map(Into::into),
        }),
        place,
    }
}

fn named(key: &NamedKey, house: &House) -> reply::NamedKey {
    let upstream = house.upstream_keys.iter().find(|row| row.id.as_str() == key.key);
    let virtual_key = house.virtual_keys.iter().find(|row| row.id.as_str() == key.key);
    let name = upstream.map(|row| &row.name).or(virtual_key.map(|row| &row.name));
    reply::NamedKey {
        key: key.key.clone(),
        name: name.cloned(),
        stands_for: key.stands_for.clone(),
        in_use: upstream.is_some_and(|row| row.state != UpstreamKeyState::Revoked)
            || virtual_key.is_some_and(|row| row.state == KeyState::Active),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_clock_that_was_ahead_the_newest_window_is_in_force() {
        let (calendar, now) = (Calendar::utc(), Timestamp::from_ms(1_763_888_400_000));
        let account = |at| AccountId {
            scope: Scope::Organization,
            window: calendar.window(WindowKind::Daily, at),
        };
        let (today, ahead) = (account(now), account(now.plus_ms(2 * 86_400_000)));
        assert_eq!(counted_at([&today], now), now);
        assert_eq!(counted_at([&today, &ahead], now), ahead.window.start);
        assert_eq!(counted_at([], now), now);
    }
}

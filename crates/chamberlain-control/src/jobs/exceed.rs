//! Pauses environments whose budget is used up, where they ask for it.
//!
//! The budget itself is hard: nothing can be spent over it whether or not this job ever runs. A
//! pause only makes it plain to everybody, and stops what would still fit.

use chamberlain_core::id::EnvironmentName;
use chamberlain_core::ledger::account::{AccountId, Balance, Scope};
use chamberlain_core::money::Money;
use chamberlain_core::overrides::{Exceeded, Overrides};
use chamberlain_core::record::Notice;
use chamberlain_core::snapshot::Pause;
use chamberlain_core::time::{Timestamp, Window};

use crate::house::House;
use crate::settings::Settings;

/// Who pauses, in the audit log and to clients.
const BY: &str = "chamberlain";

/// A budget that is used up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UsedUp {
    /// Whose, in which window.
    pub account: AccountId,
    /// Its limit.
    pub limit: Money,
}

impl UsedUp {
    /// Reads it out of a notice; `None` when the notice is about something else.
    pub fn from_notice(notice: &Notice) -> Option<UsedUp> {
        if notice.kind != "budget.threshold" {
            return None;
        }
        let fact = |name: &str| notice.facts.get(name).cloned();
        let percent = fact("threshold_percent")?.as_u64()?;
        let account = serde_json::from_value(fact("account")?).ok()?;
        let limit = serde_json::from_value(fact("limit")?).ok()?;
        (percent >= 100).then_some(UsedUp { account, limit })
    }

    /// Reads it out of the books.
    pub fn from_balance(
        account: &AccountId,
        balance: &Balance,
        house: &House,
        settings: &Settings,
    ) -> Option<UsedUp> {
        let limit = house.budgets(&account.scope, settings).limit(account.window.kind)?;
        (balance.spent() >= limit).then(|| UsedUp { account: account.clone(), limit })
    }
}

/// An environment to pause.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PauseWanted {
    /// Which.
    pub environment: EnvironmentName,
    /// Its overrides with the pause.
    pub overrides: Overrides,
}

/// Which environments to pause for budgets that are used up.
///
/// Not those that do not ask for it, that were paused for the same budget before (somebody may
/// have resumed them since), whose limit is another by now, or whose window is over.
pub fn decide(
    used_up: &[UsedUp],
    house: &House,
    settings: &Settings,
    now: Timestamp,
) -> Vec<PauseWanted> {
    let mut wanted: Vec<PauseWanted> = Vec::new();
    for UsedUp { account, limit } in used_up {
        let Scope::Environment(name) = &account.scope else { continue };
        let asks = settings.environment(name.as_str()).is_some_and(|found| found.pause_on_exceed);
        let in_force = house.budgets(&account.scope, settings).limit(account.window.kind);
        if !asks || in_force != Some(*limit) || now >= account.window.end {
            continue;
        }
        let place = wanted.iter().position(|pause| pause.environment == *name);
        let mut overrides = match place {
            Some(place) => wanted[place].overrides.clone(),
            None => house.overrides(&account.scope),
        };
        if !pause(&mut overrides, account.window, *limit, now) {
            continue;
        }
        let paused = PauseWanted { environment: name.clone(), overrides };
        match place {
            Some(place) => wanted[place] = paused,
            None => wanted.push(paused),
        }
    }
    wanted
}

/// Adds the pause and remembers its cause; false when it was paused for that before.
fn pause(overrides: &mut Overrides, window: Window, limit: Money, now: Timestamp) -> bool {
    let exceeded = Exceeded { window: window.kind, start: window.start, limit };
    if overrides.exceeded.contains(&exceeded) {
        return false;
    }
    // A pause that lasts as long, or that waits for a person, stays.
    let outlasts =
        |pause: &Pause| pause.holds(now) && pause.until.is_none_or(|until| until >= window.end);
    if !overrides.pause.as_ref().is_some_and(outlasts) {
        overrides.pause = Some(Pause {
            since: now,
            until: Some(window.end),
            by: BY.to_owned(),
            reason: format!("its {} budget of {limit} is used up", window.kind.name()),
            ends_calls: false,
        });
    }
    overrides.exceeded.retain(|earlier| earlier.window != window.kind);
    overrides.exceeded.push(exceeded);
    true
}

#[cfg(test)]
mod tests;

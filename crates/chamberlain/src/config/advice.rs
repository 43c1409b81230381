//! What deserves a look although it can be used.

use std::net::ToSocketAddrs;

use chamberlain_control::settings::CAPABILITIES_DENIED;
use chamberlain_core::ledger::price::{Lifecycle, Model, PriceBook};
use chamberlain_core::time::Timestamp;

use super::mistake::Mistake;
use super::settings::Config;
use super::suggest;
use super::typed::Typed;

const NOTICE_DAYS: u64 = 60;

/// Adds a warning for everything strange.
pub(super) fn look_at(config: &Config, typed: &Typed, now: Timestamp, mistakes: &mut Vec<Mistake>) {
    exposure(config, typed, mistakes);
    for environment in &config.settings.environments {
        let prefix = format!("environments.{}", environment.name);
        let allow = format!("{prefix}.policy.models_allow");
        for pattern in &environment.policy.models_allow {
            if let Some((what, fix)) = model_advice(&config.settings.prices, pattern, now) {
                mistakes.push(Mistake::warning(typed.place(&allow), what, fix));
            }
        }
        let budgets = environment.budgets;
        if let (Some(daily), Some(monthly)) = (budgets.daily, budgets.monthly)
            && daily > monthly
        {
            mistakes.push(Mistake::warning(
                typed
                    .place(&format!("{prefix}.budgets.monthly"))
                    .or_else(|| typed.place(&format!("{prefix}.budgets.daily"))),
                format!("{}: the daily budget is above the monthly one", environment.name),
                "raise `monthly` or lower `daily`; the smaller one wins",
            ));
        }
        let deny = format!("{prefix}.policy.capabilities_deny");
        let freed: Vec<String> = CAPABILITIES_DENIED
            .iter()
            .filter(|capability| !environment.policy.capabilities_deny.contains(capability))
            .filter(|capability| {
                let allowed = environment.policy.capabilities_allow.as_ref();
                allowed.is_none_or(|list| list.contains(capability))
            })
            .filter_map(|capability| serde_json::to_value(capability).ok())
            .filter_map(|name| name.as_str().map(str::to_owned))
            .collect();
        if !freed.is_empty() {
            mistakes.push(Mistake::warning(
                typed.place(&deny),
                format!("{}: {} no longer denied", environment.name, is_or_are(&freed)),
                "add them to `capabilities_deny`, unless all keys of the environment belong to \
                 one tenant and its cost is watched",
            ));
        }
    }
}

fn is_or_are(names: &[String]) -> String {
    match names {
        [one] => format!("`{one}` is"),
        many => format!("`{}` are", many.join("`, `")),
    }
}

fn exposure(config: &Config, typed: &Typed, mistakes: &mut Vec<Mistake>) {
    let plain = config.tls.is_none().then_some(("server.listen", &config.listen));
    for (path, address) in plain.into_iter().chain([("server.console", &config.console)]) {
        let open = address
            .to_socket_addrs()
            .is_ok_and(|mut found| found.any(|address| !address.ip().is_loopback()));
        if open {
            mistakes.push(Mistake::warning(
                typed.place(path),
                format!("`{path}` = {address} can be reached from the network, without TLS"),
                match path {
                    "server.listen" => {
                        "name `server.tls.cert` and `server.tls.key`, put a TLS proxy in front of \
                         it, or listen on 127.0.0.1"
                    }
                    _ => "put a TLS proxy in front of it, or listen on 127.0.0.1",
                },
            ));
        }
    }
}

/// What is strange about a model that is named for allowing.
fn model_advice(prices: &PriceBook, pattern: &str, now: Timestamp) -> Option<(String, String)> {
    if pattern.contains('*') {
        let (prefix, _) = pattern.split_once('*')?;
        let known = prices.models().iter().any(|model| model.id.starts_with(prefix));
        return (!known).then(|| {
            (
                format!("no known model matches {pattern:?}"),
                "run `chamberlain prices` for the models there are".to_owned(),
            )
        });
    }
    let Some(model) = prices.model(pattern) else {
        let near = suggest::nearest(pattern, prices.models().iter().map(|model| model.id.as_str()));
        let fix = near.map_or_else(
            || "run `chamberlain prices` for the models there are".to_owned(),
            |near| format!("did you mean {near:?}?"),
        );
        return Some((format!("the model {pattern:?} is not in the price book"), fix));
    };
    let retires = prices.retires_at(model)?;
    let successor = successor(prices, model, now)
        .map_or_else(String::new, |successor| format!("; its successor is {successor:?}"));
    if retires <= now {
        return Some((
            format!("the model {pattern:?} was retired on {}", retires.utc_date()),
            format!("remove it{successor}"),
        ));
    }
    let days = retires.ms_since(now).div_ceil(86_400_000);
    (days <= NOTICE_DAYS).then(|| {
        (
            format!("the model {pattern:?} retires on {} (in {days} days)", retires.utc_date()),
            format!("allow a successor beside it before then{successor}"),
        )
    })
}

/// The newest active model of the same family (`opus`, `sonnet`, …).
pub(crate) fn successor<'a>(
    prices: &'a PriceBook,
    model: &Model,
    now: Timestamp,
) -> Option<&'a str> {
    let family = |id: &str| {
        id.split('-')
            .find(|part| !part.is_empty() && *part != "claude" && part.parse::<u32>().is_err())
            .map(str::to_owned)
    };
    let wanted = family(&model.id)?;
    prices
        .models()
        .iter()
        .find(|other| {
            other.id != model.id
                && family(&other.id).as_deref() == Some(&wanted)
                && prices.lifecycle(other, now) == Lifecycle::Active
        })
        .map(|other| other.id.as_str())
}

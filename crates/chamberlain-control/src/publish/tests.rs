use std::convert::Infallible;

use chamberlain_core::id::EnvironmentName;
use chamberlain_core::money::Money;
use chamberlain_core::overrides::{Override, Overrides};
use chamberlain_core::snapshot::Pause;
use chamberlain_core::time::Timestamp;
use chamberlain_store::UpstreamKey;

use super::*;

fn key(id: &str, environment: Option<&str>, state: UpstreamKeyState) -> UpstreamKey {
    UpstreamKey {
        id: UpstreamKeyId::new(id),
        name: id.to_owned(),
        environment: environment.map(EnvironmentName::new),
        state,
        hint: String::new(),
        fingerprint: String::new(),
        created_at: Timestamp::from_ms(0),
        removed_at: None,
        last_used_at: None,
        profile: chamberlain_core::keys::profile::Profile::default(),
    }
}

fn composed(house: &House) -> Snapshot {
    compose(house, &Settings::default(), Calendar::utc(), 1)
}

#[test]
fn the_house_with_nothing_configured() {
    let snapshot = composed(&House::default());
    let of = |name: &str| snapshot.environments[&EnvironmentName::new(name)].clone();
    let terms = |name: &str| {
        let environment = of(name);
        let Some(daily) = environment.budgets.daily else { panic!("no daily budget") };
        let Some(monthly) = environment.budgets.monthly else { panic!("no monthly budget") };
        (daily.to_display(), monthly.to_display(), environment.limits.requests_per_minute)
    };
    assert_eq!(terms("production"), ("$100.00".to_owned(), "$3000.00".to_owned(), Some(20)));
    assert_eq!(terms("staging"), ("$10.00".to_owned(), "$300.00".to_owned(), Some(5)));
    assert_eq!(terms("development"), ("$5.00".to_owned(), "$150.00".to_owned(), Some(2)));
    assert_eq!(snapshot.environments.len(), 3);
    assert_eq!(of("production").upstream_key, None);
    assert_eq!(of("production").policy.models_allow, Vec::<String>::new());
    assert_eq!(of("staging").policy.capabilities_deny, crate::settings::CAPABILITIES_DENIED);
}

#[test]
fn an_environment_leaves_with_its_own_key_or_the_shared_one() {
    let upstream_keys = vec![
        key("uk_old", None, UpstreamKeyState::Previous),
        key("uk_shared", None, UpstreamKeyState::Current),
        key("uk_staged", Some("production"), UpstreamKeyState::Staged),
        key("uk_staging", Some("staging"), UpstreamKeyState::Current),
        key("uk_gone", Some("development"), UpstreamKeyState::Revoked),
    ];
    let house = House { upstream_keys, ..House::default() };
    let snapshot = composed(&house);
    let of = |name: &str| {
        snapshot.environments[&EnvironmentName::new(name)].upstream_key.clone().unwrap()
    };
    assert_eq!(of("production").as_str(), "uk_shared");
    assert_eq!(of("staging").as_str(), "uk_staging");
    assert_eq!(of("development").as_str(), "uk_shared");
    let open: Vec<&str> = open_keys(&house).map(UpstreamKeyId::as_str).collect();
    assert_eq!(open, ["uk_old", "uk_shared", "uk_staging"]);
}

#[test]
fn overrides_and_pauses_are_published() {
    let mut house = House::default();
    let pause = Pause {
        since: Timestamp::from_ms(1),
        until: None,
        by: "a".into(),
        reason: "b".into(),
        ends_calls: false,
    };
    house.overrides.insert(
        Scope::Environment(EnvironmentName::new("staging")),
        Overrides {
            daily: Some(Override::Set(Money::from_usd(7))),
            requests_per_minute: Some(Override::Off),
            pause: Some(pause.clone()),
            ..Overrides::default()
        },
    );
    house.overrides.insert(
        Scope::Organization,
        Overrides { monthly: Some(Override::Set(Money::from_usd(9))), ..Overrides::default() },
    );
    let snapshot = composed(&house);
    let staging = &snapshot.environments[&EnvironmentName::new("staging")];
    assert_eq!(staging.budgets.daily, Some(Money::from_usd(7)));
    assert_eq!(staging.budgets.monthly, Some(Money::from_usd(300)));
    assert_eq!(staging.limits.requests_per_minute, None);
    assert_eq!(staging.pause, Some(pause));
    assert_eq!(snapshot.organization.budgets.monthly, Some(Money::from_usd(9)));
    let production = &snapshot.environments[&EnvironmentName::new("production")];
    assert_eq!((production.pause.clone(), production.limits.requests_per_minute), (None, Some(20)));
}

#[test]
fn generations_only_grow_and_a_failure_publishes_nothing() {
    let publisher = Publisher::new(composed(&House::default()));
    let view = publisher.published();
    assert_eq!(publisher.publish(|_| Err::<Snapshot, _>("unreadable")), Err("unreadable"));
    assert_eq!(view.load().generation, 1);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..50 {
                    let before = view.load().generation;
                    let published = publisher.publish(|generation| {
                        let settings = Settings::default();
                        let house = House::default();
                        Ok::<_, Infallible>(compose(&house, &settings, Calendar::utc(), generation))
                    });
                    assert!(published.unwrap() > before);
                    assert!(view.load().generation >= published.unwrap());
                }
            });
        }
    });
    assert_eq!(view.load().generation, 401);
}

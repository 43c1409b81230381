use chamberlain_core::record::Severity;
use chamberlain_core::time::{Calendar, WindowKind};
use serde_json::json;

use super::*;

const NOON: Timestamp = Timestamp::from_ms(1_795_435_200_000);

fn scope(name: &str) -> Scope {
    Scope::Environment(EnvironmentName::new(name))
}

fn used_up(name: &str, kind: WindowKind, usd: i64) -> UsedUp {
    let window = Calendar::utc().window(kind, NOON);
    let account = AccountId { scope: scope(name), window };
    UsedUp { account, limit: Money::from_usd(usd) }
}

fn decided(used: &[UsedUp], house: &House, now: Timestamp) -> Vec<PauseWanted> {
    decide(used, house, &Settings::default(), now)
}

/// The house after what was decided is done.
fn after(mut house: House, wanted: Vec<PauseWanted>) -> House {
    for pause in wanted {
        house.overrides.insert(Scope::Environment(pause.environment), pause.overrides);
    }
    house
}

#[test]
fn the_environment_is_paused_until_the_window_ends() {
    let daily = used_up("production", WindowKind::Daily, 100);
    let wanted = decided(std::slice::from_ref(&daily), &House::default(), NOON);
    let pause = wanted[0].overrides.pause.clone().unwrap();
    assert_eq!(wanted[0].environment.as_str(), "production");
    assert_eq!(pause.until, Some(daily.account.window.end));
    assert_eq!(pause.reason, "its daily budget of $100.00 is used up");
    assert!(pause.holds(daily.account.window.end.plus_ms(-1)));
    assert!(!pause.holds(daily.account.window.end));
}

#[test]
fn a_month_outlasts_a_day_whichever_comes_first() {
    let daily = used_up("production", WindowKind::Daily, 100);
    let monthly = used_up("production", WindowKind::Monthly, 3_000);
    for both in [[daily.clone(), monthly.clone()], [monthly.clone(), daily]] {
        let wanted = decided(&both, &House::default(), NOON);
        assert_eq!(wanted.len(), 1);
        let pause = wanted[0].overrides.pause.clone().unwrap();
        assert_eq!(pause.until, Some(monthly.account.window.end));
        assert!(decided(&both, &after(House::default(), wanted), NOON).is_empty());
    }
}

#[test]
fn who_resumes_is_not_contradicted_until_something_changes() {
    let daily = used_up("production", WindowKind::Daily, 100);
    let wanted = decided(std::slice::from_ref(&daily), &House::default(), NOON);
    let mut house = after(House::default(), wanted);
    house.overrides.get_mut(&scope("production")).unwrap().pause = None;
    assert!(decided(std::slice::from_ref(&daily), &house, NOON).is_empty());

    // The same limit tomorrow, and another limit today, are news.
    let day = 24 * 3_600_000;
    let window = Calendar::utc().window(WindowKind::Daily, NOON.plus_ms(day));
    let account = AccountId { window, ..daily.account.clone() };
    let tomorrow = UsedUp { account, limit: daily.limit };
    assert_eq!(decided(&[tomorrow], &house, NOON.plus_ms(day)).len(), 1);
    let overrides = house.overrides.get_mut(&scope("production")).unwrap();
    overrides.daily = Some(chamberlain_core::overrides::Override::Set(Money::from_usd(120)));
    assert!(decided(&[daily], &house, NOON).is_empty(), "the limit in force is another");
    assert_eq!(decided(&[used_up("production", WindowKind::Daily, 120)], &house, NOON).len(), 1);
}

#[test]
fn nobody_else_is_paused() {
    let window = Calendar::utc().window(WindowKind::Daily, NOON);
    let organization = UsedUp {
        account: AccountId { scope: Scope::Organization, window },
        limit: Money::from_usd(1),
    };
    let of_staging = used_up("staging", WindowKind::Daily, 10);
    let unknown = used_up("gone", WindowKind::Daily, 10);
    let house = House::default();
    assert!(decided(&[organization, of_staging, unknown], &house, NOON).is_empty());
    let daily = used_up("production", WindowKind::Daily, 100);
    let too_late = daily.account.window.end;
    assert!(decided(&[daily], &house, too_late).is_empty());
}

#[test]
fn a_persons_pause_stays() {
    let mut house = House::default();
    let pause = Pause {
        since: NOON,
        until: None,
        by: "ada".into(),
        reason: "audit".into(),
        ends_calls: false,
    };
    let overrides = Overrides { pause: Some(pause.clone()), ..Overrides::default() };
    house.overrides.insert(scope("production"), overrides);
    let wanted = decided(&[used_up("production", WindowKind::Daily, 100)], &house, NOON);
    assert_eq!(wanted[0].overrides.pause, Some(pause));
}

#[test]
fn it_is_read_from_notices_and_from_the_books() {
    let expected = used_up("production", WindowKind::Daily, 100);
    let notice = |kind: &str, percent: u32| Notice {
        at: NOON,
        kind: kind.to_owned(),
        severity: Severity::High,
        subject: String::new(),
        message: String::new(),
        facts: json!({
            "account": expected.account,
            "limit": expected.limit,
            "spent": expected.limit,
            "threshold_percent": percent,
        })
        .as_object()
        .unwrap()
        .clone(),
        notify: true,
    };
    let read = UsedUp::from_notice(&notice("budget.threshold", 100));
    assert_eq!(read.as_ref(), Some(&expected));
    assert_eq!(UsedUp::from_notice(&notice("budget.threshold", 90)), None);
    assert_eq!(UsedUp::from_notice(&notice("call.refused", 100)), None);

    let (house, settings) = (House::default(), Settings::default());
    let of = |settled: i64, unsettled: i64| {
        let balance = Balance {
            settled: Money::from_usd(settled),
            unsettled: Money::from_usd(unsettled),
            ..Balance::default()
        };
        UsedUp::from_balance(&expected.account, &balance, &house, &settings)
    };
    assert_eq!(of(60, 40), Some(expected.clone()));
    assert_eq!(of(60, 39), None);
}

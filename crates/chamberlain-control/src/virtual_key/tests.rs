use chamberlain_core::admission::key::PresentedKey;

use super::*;
use crate::error::ErrorCode;
use crate::testing::{Dice, NOON};

static DICE: Dice = Dice::new();

fn asked(name: &str) -> VirtualCreate {
    VirtualCreate {
        name: name.to_owned(),
        environment: "staging".to_owned(),
        ..VirtualCreate::default()
    }
}

fn made(asked: &VirtualCreate, house: &House) -> Result<(VirtualKey, MintedKey), CommandError> {
    let (settings, calendar) = (Settings::default(), Calendar::utc());
    create(asked, Ground { house, settings: &settings, calendar: &calendar, now: NOON }, &DICE)
}

fn changed(key: &VirtualKey, asked: VirtualUpdate) -> Result<VirtualKey, CommandError> {
    let (settings, calendar, house) = (Settings::default(), Calendar::utc(), House::default());
    update(
        key,
        asked,
        Ground { house: &house, settings: &settings, calendar: &calendar, now: NOON },
    )
}

fn house_of(key: VirtualKey) -> House {
    House { virtual_keys: vec![key], ..House::default() }
}

#[test]
fn a_key_is_made_as_asked() {
    let asked = VirtualCreate {
        daily: Some(Money::from_usd(5)),
        rpm: Some(3),
        models: vec!["claude-sonnet-*".to_owned()],
        operations: vec!["document_translation".to_owned()],
        operation: Some("document_translation".to_owned()),
        cidrs: vec!["10.0.1.0/24".parse().unwrap()],
        expires: Some("30d".to_owned()),
        max_tokens: Some(4_096),
        ..asked(" ci ")
    };
    let (key, minted) = made(&asked, &House::default()).unwrap();
    assert_eq!((key.name.as_str(), key.environment.as_str()), ("ci", "staging"));
    assert_eq!(key.budgets, Budgets { daily: Some(Money::from_usd(5)), monthly: None });
    assert_eq!(key.limits.requests_per_minute, Some(3));
    assert_eq!(key.expires_at, Some(NOON.plus_ms(30 * 86_400_000)));
    assert_eq!((key.policy.max_tokens, key.state), (Some(4_096), KeyState::Active));
    let presented = PresentedKey::parse(minted.text.expose()).unwrap();
    assert_eq!(presented.id, key.id);
    assert!(presented.opens(&key));
}

#[test]
fn what_makes_no_sense_is_refused() {
    let model = |glob: &str| VirtualCreate { models: vec![glob.to_owned()], ..asked("a") };
    let wrong = [
        (VirtualCreate { environment: "prod".to_owned(), ..asked("a") }, ErrorCode::NotFound),
        (asked("  "), ErrorCode::Usage),
        (asked("a\nb"), ErrorCode::Usage),
        (asked(&"x".repeat(101)), ErrorCode::Usage),
        (asked(&crate::testing::real_key('Q')), ErrorCode::Usage),
        (asked("production"), ErrorCode::Conflict),
        (asked("organization"), ErrorCode::Conflict),
        (model("gpt-*"), ErrorCode::Usage),
        (model("claude-sonet-*"), ErrorCode::Usage),
        (VirtualCreate { rpm: Some(0), ..asked("a") }, ErrorCode::Usage),
        (VirtualCreate { max_tokens: Some(0), ..asked("a") }, ErrorCode::Usage),
        (VirtualCreate { daily: Some(Money::from_usd(-1)), ..asked("a") }, ErrorCode::Usage),
        (VirtualCreate { expires: Some("2020-01-01".to_owned()), ..asked("a") }, ErrorCode::Usage),
        (
            VirtualCreate {
                operations: vec!["a".to_owned()],
                operation: Some("b".to_owned()),
                ..asked("a")
            },
            ErrorCode::Usage,
        ),
    ];
    for (asked, code) in wrong {
        let error = made(&asked, &House::default()).unwrap_err();
        assert_eq!(error.code, code, "{asked:?}: {error}");
        assert!(!error.message.contains("QQQQ"), "{error}");
    }
}

#[test]
fn no_two_keys_in_use_share_a_name() {
    let (key, _) = made(&asked("ci"), &House::default()).unwrap();
    let mut house = house_of(key);
    assert_eq!(made(&asked("ci"), &house).unwrap_err().code, ErrorCode::Conflict);
    house.virtual_keys[0].state = KeyState::Revoked;
    made(&asked("ci"), &house).unwrap();
}

#[test]
fn an_update_changes_what_it_names_and_nothing_else() {
    let (key, _) = made(
        &VirtualCreate { rpm: Some(3), expires: Some("30d".to_owned()), ..asked("ci") },
        &House::default(),
    )
    .unwrap();
    let update = VirtualUpdate {
        key: "ci".to_owned(),
        name: Some("nightly".to_owned()),
        daily: Change::Set(Money::from_usd(2)),
        expires: Change::Off,
        models: Some(vec!["claude-*".to_owned()]),
        ..VirtualUpdate::default()
    };
    let after = changed(&key, update).unwrap();
    let mut expected = key.clone();
    expected.name = "nightly".to_owned();
    expected.budgets.daily = Some(Money::from_usd(2));
    expected.expires_at = None;
    expected.policy.models_allow = vec!["claude-*".to_owned()];
    assert_eq!(after, expected);
    let back = VirtualUpdate { daily: Change::Default, rpm: Change::Off, ..Default::default() };
    let back = changed(&after, back).unwrap();
    assert_eq!((back.budgets.daily, back.limits.requests_per_minute), (None, None));
}

#[test]
fn states_go_one_way() {
    let (active, _) = made(&asked("ci"), &House::default()).unwrap();
    let frozen = with_state(&active, KeyState::Frozen).unwrap();
    let revoked = with_state(&frozen, KeyState::Revoked).unwrap();
    assert_eq!(with_state(&frozen, KeyState::Active).unwrap(), active);
    for (key, state) in [
        (&active, KeyState::Active),
        (&frozen, KeyState::Frozen),
        (&revoked, KeyState::Revoked),
        (&revoked, KeyState::Active),
        (&revoked, KeyState::Frozen),
    ] {
        assert_eq!(with_state(key, state).unwrap_err().code, ErrorCode::Conflict);
    }
    assert_eq!(changed(&revoked, VirtualUpdate::default()).unwrap_err().code, ErrorCode::Conflict);
}

//! What changes something: on record with before and after, published at once.

use chamberlain_core::admission::key::KeyState;
use chamberlain_core::admission::policy::OnShortage;
use chamberlain_core::ledger::account::Scope;
use chamberlain_core::money::Money;
use chamberlain_core::record::Severity;
use chamberlain_core::time::WindowKind;

use super::*;
use crate::command::{
    BudgetSet, ConfigReload, KeyList, KeyRemove, KeyShow, LimitSet, Pause, Resume, VirtualCreate,
    VirtualFreeze, VirtualList, VirtualRevoke, VirtualShow, VirtualUnfreeze, VirtualUpdate,
};
use crate::reply::UpstreamKeyState;
use crate::wire::Change;

#[test]
fn a_virtual_key_from_birth_to_end() {
    let world = World::new();
    let made = world.ask(create("ci")).unwrap();
    let presented = PresentedKey::parse(made.key.secret().expose()).unwrap();
    let id = VirtualKeyId::new(made.id.as_str());
    let published = |world: &World| world.published().virtual_keys[&id].clone();
    assert!(presented.opens(&published(&world)));
    assert_eq!(world.last_record().kind, "virtual_key.created");

    let frozen = VirtualFreeze { key: "ci".to_owned(), reason: "seen in a log".to_owned() };
    let shown = world.ask(frozen).unwrap();
    assert!(!shown.usable);
    assert_eq!(published(&world).state, KeyState::Frozen);
    let record = world.last_record();
    assert_eq!((record.actor.as_str(), record.kind.as_str()), ("person:ada", "virtual_key.frozen"));
    assert_eq!(record.subject, format!("virtual_key:{id}"));
    assert_eq!(record.facts["before"]["state"], "active");
    assert_eq!(record.facts["after"]["state"], "frozen");
    assert_eq!(record.facts["reason"], "seen in a log");

    world.ask(VirtualUnfreeze { key: made.id.clone() }).unwrap();
    assert_eq!(published(&world).state, KeyState::Active);
    let update = VirtualUpdate {
        key: "ci".to_owned(),
        name: Some("nightly".to_owned()),
        daily: Change::Set(Money::from_usd(2)),
        ..VirtualUpdate::default()
    };
    world.ask(update).unwrap();
    assert_eq!(published(&world).budgets.daily, Some(Money::from_usd(2)));
    world.ask(VirtualRevoke { key: "nightly".to_owned(), reason: None }).unwrap();
    assert_eq!(published(&world).state, KeyState::Revoked);
    assert_eq!(world.refused(VirtualUnfreeze { key: made.id.clone() }), ErrorCode::Conflict);
    assert_eq!(
        world.refused(VirtualUpdate { key: made.id, ..Default::default() }),
        ErrorCode::Conflict
    );

    assert!(world.ask(VirtualList::default()).unwrap().keys.is_empty());
    let all = VirtualList { all: true, environment: Some("staging".to_owned()) };
    assert_eq!(world.ask(all).unwrap().keys.len(), 1);
    world.ask(create("nightly")).unwrap();
    assert!(world.verifies());
}

#[test]
fn what_a_key_does_for_want_of_money_is_refuse_unless_asked_and_always_on_record() {
    let world = World::new();
    let id = VirtualKeyId::new(world.ask(create("ci")).unwrap().id);
    let published = |world: &World| world.published().virtual_keys[&id].policy.on_shortage;
    assert_eq!(published(&world), OnShortage::Refuse);
    let mut was = "refuse";
    for (asked, is) in [(OnShortage::Cut, "cut"), (OnShortage::Refuse, "refuse")] {
        let update = |on_shortage, max_tokens| VirtualUpdate {
            key: "ci".to_owned(),
            on_shortage,
            max_tokens,
            ..VirtualUpdate::default()
        };
        world.ask(update(Some(asked), Change::Keep)).unwrap();
        assert_eq!(published(&world), asked);
        let record = world.last_record();
        assert_eq!(
            (record.actor.as_str(), record.kind.as_str()),
            ("person:ada", "virtual_key.changed")
        );
        // The preset is not written.
        let said = |when: &str| record.facts[when]["policy"].get("on_shortage").cloned();
        let [before, after] = ["before", "after"].map(|when| said(when).unwrap_or("refuse".into()));
        assert_eq!((before, after), (was.into(), is.into()), "{record:?}");
        was = is;
        // Another change leaves it as it is.
        world.ask(update(None, Change::Set(50))).unwrap();
        assert_eq!(published(&world), asked);
        world.ask(update(None, Change::Off)).unwrap();
    }
    let asked = VirtualCreate { on_shortage: OnShortage::Cut, ..create("short") };
    let short = VirtualKeyId::new(world.ask(asked).unwrap().id);
    assert_eq!(world.published().virtual_keys[&short].policy.on_shortage, OnShortage::Cut);
    assert_eq!(world.last_record().facts["after"]["policy"]["on_shortage"], "cut");
}

#[test]
fn everything_is_there_after_a_restart() {
    let world = World::new();
    let made = world.ask(create("ci")).unwrap();
    world.ask(key_add("main", None, &real_key('K'))).unwrap();
    world
        .ask(BudgetSet {
            scope: "staging".to_owned(),
            daily: Change::Set(Money::from_usd(7)),
            monthly: Change::Off,
        })
        .unwrap();
    let before = world.published();
    let world = world.restarted();
    let after = world.published();
    assert_eq!(after.environments, before.environments);
    assert_eq!(after.virtual_keys[&VirtualKeyId::new(made.id)].name, "ci");
    assert_eq!(world.keyring.len(), 1);
}

#[test]
fn upstream_keys_are_sealed_opened_superseded_and_erased() {
    let world = World::new();
    let (first, second) = (real_key('K'), real_key('L'));
    let one = world.ask(key_add("one", None, &first)).unwrap();
    assert_eq!(one.serves, ["production", "staging", "development"]);
    let id = chamberlain_core::id::UpstreamKeyId::new(one.id.as_str());
    assert_eq!(world.keyring.get(&id).unwrap().expose_header_value(), first.as_bytes());

    let two = world.ask(key_add("two", None, &second)).unwrap();
    let one = world.ask(KeyShow { key: one.id }).unwrap();
    assert_eq!((one.state, one.serves.len()), (UpstreamKeyState::Previous, 0));
    let production = &world.published().environments[&EnvironmentName::new("production")];
    assert_eq!(production.upstream_key.as_ref().unwrap().as_str(), two.id);
    assert_eq!(world.keyring.len(), 2, "calls may have begun with the earlier one");

    world.ask(KeyRemove { key: "one".to_owned(), reason: None }).unwrap();
    assert!(world.keyring.get(&id).is_none());
    assert_eq!(world.refused(KeyRemove { key: one.id, reason: None }), ErrorCode::Conflict);
    world.ask(KeyRemove { key: "two".to_owned(), reason: Some("leaked".to_owned()) }).unwrap();
    assert!(world.keyring.is_empty());
    let production = &world.published().environments[&EnvironmentName::new("production")];
    assert_eq!(production.upstream_key, None);
    assert!(world.ask(KeyList::default()).unwrap().keys.is_empty());
    let kinds: Vec<String> = world.records().into_iter().map(|record| record.kind).collect();
    let expected = ["added", "superseded", "added", "removed", "removed"];
    assert_eq!(kinds, expected.map(|verb| format!("upstream_key.{verb}")));
}

#[test]
fn what_is_not_a_new_key_is_not_taken() {
    let world = World::new();
    let key = real_key('K');
    world.ask(key_add("one", None, &key)).unwrap();
    for (asked, code) in [
        (key_add("two", None, &key), ErrorCode::Conflict),
        (key_add("one", None, &real_key('L')), ErrorCode::Conflict),
        (key_add("two", Some("prod"), &real_key('L')), ErrorCode::NotFound),
        (key_add("two", None, "chm_0123456789abcdef_x"), ErrorCode::Usage),
        (key_add("two", None, ""), ErrorCode::Usage),
        (
            key_add("a-staging-b-2026-11-23", Some("production"), &real_key('L')),
            ErrorCode::Conflict,
        ),
    ] {
        assert_eq!(world.refused(asked), code);
    }
    assert_eq!(world.keyring.len(), 1);
}

#[test]
fn no_reply_and_no_record_carries_a_secret() {
    let world = World::new();
    let upstream = real_key('K');
    world.ask(key_add("main", Some("production"), &upstream)).unwrap();
    let made = world.ask(create("ci")).unwrap();
    let virtual_secret = made.key.secret().expose()[21..].to_owned();
    let commands: Vec<Command> = Command::NAMES
        .iter()
        .filter_map(|name| serde_json::from_value(json!({ "command": name })).ok())
        .chain([
            KeyShow { key: "main".to_owned() }.into(),
            VirtualShow { key: "ci".to_owned() }.into(),
            VirtualFreeze { key: "ci".to_owned(), reason: format!("found {upstream}") }.into(),
            key_add("again", None, &upstream).into(),
            key_add(&upstream, None, &real_key('L')).into(),
            create(&upstream).into(),
            KeyShow { key: upstream.clone() }.into(),
            KeyRemove { key: "main".to_owned(), reason: Some(upstream.clone()) }.into(),
        ])
        .collect();
    assert!(commands.len() > 20, "few commands go without fields");
    for command in commands {
        let name = command.name();
        let text = match world.commander.execute(&ada(), command) {
            Ok(reply) => reply.to_string(),
            Err(error) => serde_json::to_string(&error).unwrap(),
        };
        for secret in [&upstream[13..60], &virtual_secret] {
            assert!(!text.contains(secret), "{name}: {text}");
        }
    }
    for record in world.records() {
        let text = format!("{record:?}");
        assert!(!text.contains(&upstream[13..60]) && !text.contains(&virtual_secret), "{text}");
    }
    let files = std::fs::read_dir(world.folder.path()).unwrap();
    for file in files {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        for secret in [upstream.as_bytes(), virtual_secret.as_bytes()] {
            assert!(!bytes.windows(secret.len()).any(|window| window == secret));
        }
    }
    assert!(world.verifies());
}

#[test]
fn budgets_are_overridden_with_before_and_after() {
    let world = World::new();
    let set = |scope: &str, daily, monthly| BudgetSet { scope: scope.to_owned(), daily, monthly };
    let lines = world.ask(set("staging", Change::Set(Money::from_usd(7)), Change::Off)).unwrap();
    let line = |kind| lines.budgets.iter().find(|line| line.window == kind).unwrap().clone();
    assert_eq!(line(WindowKind::Daily).limit, Some(Money::from_usd(7)));
    assert_eq!(line(WindowKind::Daily).source, "command");
    assert_eq!((line(WindowKind::Monthly).limit, line(WindowKind::Monthly).left), (None, None));
    let record = world.last_record();
    assert_eq!(
        (record.kind.as_str(), record.subject.as_str()),
        ("budget.changed", "environment:staging")
    );
    assert_eq!(record.facts["before"], json!({}));
    assert_eq!(record.facts["after"], json!({ "daily": { "set": "7.00" }, "monthly": "off" }));
    let staging =
        |world: &World| world.published().environments[&EnvironmentName::new("staging")].budgets;
    assert_eq!((staging(&world).daily, staging(&world).monthly), (Some(Money::from_usd(7)), None));

    let lines = world.ask(set("staging", Change::Default, Change::Keep)).unwrap();
    assert_eq!(lines.budgets[0].limit, Some(Money::from_usd(10)));
    assert_eq!(lines.budgets[0].source, "default");
    world.ask(set("organization", Change::Keep, Change::Set(Money::from_usd(900)))).unwrap();
    assert_eq!(world.published().organization.budgets.monthly, Some(Money::from_usd(900)));
    world.ask(create("ci")).unwrap();
    world.ask(set("virtual:ci", Change::Set(Money::from_usd(1)), Change::Keep)).unwrap();
    let key = world.ask(VirtualShow { key: "ci".to_owned() }).unwrap();
    assert_eq!(key.budgets.daily, Some(Money::from_usd(1)));

    assert_eq!(world.refused(set("staging", Change::Keep, Change::Keep)), ErrorCode::Usage);
    assert_eq!(world.refused(set("nobody", Change::Off, Change::Keep)), ErrorCode::NotFound);
    let negative = Change::Set(Money::from_usd(-1));
    assert_eq!(world.refused(set("staging", negative, Change::Keep)), ErrorCode::Usage);
    assert_eq!(world.refused(set("ci", negative, Change::Keep)), ErrorCode::Usage);
    assert!(world.verifies());
}

#[test]
fn limits_are_overridden_likewise() {
    let world = World::new();
    let set = |scope: &str, rpm| LimitSet { scope: scope.to_owned(), rpm, ..LimitSet::default() };
    let line = &world.ask(set("production", Change::Set(50))).unwrap().limits[0];
    assert_eq!(line.limits.requests_per_minute, Some(50));
    assert_eq!(line.sources["requests_per_minute"], "command");
    assert_eq!(line.sources["concurrency"], "default");
    let production = |world: &World| {
        let environment = &world.published().environments[&EnvironmentName::new("production")];
        environment.limits.requests_per_minute
    };
    assert_eq!(production(&world), Some(50));
    world.ask(set("production", Change::Off)).unwrap();
    assert_eq!(production(&world), None);
    world.ask(set("production", Change::Default)).unwrap();
    assert_eq!(production(&world), Some(20));
    assert_eq!(world.refused(set("organization", Change::Set(5))), ErrorCode::Usage);
    assert_eq!(world.refused(set("production", Change::Set(0))), ErrorCode::Usage);
    assert_eq!(world.refused(set("production", Change::Keep)), ErrorCode::Usage);
}

#[test]
fn scopes_are_paused_and_resumed_by_somebody() {
    let world = World::new();
    world.ask(create("ci")).unwrap();
    for scope in ["organization", "staging", "ci"] {
        let pause = Pause {
            scope: scope.to_owned(),
            reason: "maintenance".to_owned(),
            until: Some("2h".to_owned()),
            ends_calls: scope == "staging",
        };
        let paused = world.ask(pause).unwrap().pause.unwrap();
        assert_eq!((paused.by.as_str(), paused.reason.as_str()), ("person:ada", "maintenance"));
        assert_eq!(paused.until.unwrap().0, NOON.plus_ms(7_200_000));
        assert_eq!(paused.ends_calls, scope == "staging");
        let record = world.last_record();
        assert_eq!((record.actor.as_str(), record.kind.as_str()), ("person:ada", "scope.paused"));
        let ends_calls = record.facts["after"]["pause"].get("ends_calls").cloned();
        assert_eq!(ends_calls.unwrap_or_default() == json!(true), scope == "staging", "{record:?}");
        assert!(!world.ask(VirtualShow { key: "ci".to_owned() }).unwrap().usable);
        let resume = || Resume { scope: scope.to_owned(), reason: None };
        assert_eq!(world.ask(resume()).unwrap().pause, None);
        assert_eq!(world.last_record().kind, "scope.resumed");
        assert_eq!(world.refused(resume()), ErrorCode::Conflict);
        assert!(world.ask(VirtualShow { key: "ci".to_owned() }).unwrap().usable);
    }
    let bad = Pause {
        scope: "staging".to_owned(),
        reason: " ".to_owned(),
        until: None,
        ends_calls: false,
    };
    assert_eq!(world.refused(bad), ErrorCode::Usage);
}

#[test]
fn a_used_up_budget_pauses_until_somebody_resumes() {
    let world = World::new();
    let window = Calendar::utc().window(WindowKind::Daily, NOON);
    let scope = Scope::Environment(EnvironmentName::new("production"));
    let notice = Notice {
        at: NOON,
        kind: "budget.threshold".to_owned(),
        severity: Severity::High,
        subject: "environment production".to_owned(),
        message: "spent".to_owned(),
        facts: json!({
            "account": AccountId { scope, window },
            "limit": Money::from_usd(100),
            "threshold_percent": 100,
        })
        .as_object()
        .unwrap()
        .clone(),
        notify: true,
    };
    let production = |world: &World| {
        world.published().environments[&EnvironmentName::new("production")].pause.clone()
    };
    assert!(world.commander.on_notice(&notice));
    world.commander.pause_used_up(NOON).unwrap();
    assert_eq!(production(&world).unwrap().until, Some(window.end));
    let record = world.last_record();
    assert_eq!((record.actor.as_str(), record.kind.as_str()), ("chamberlain", "scope.paused"));

    let set = BudgetSet {
        scope: "production".to_owned(),
        daily: Change::Set(Money::from_usd(200)),
        monthly: Change::Keep,
    };
    let notes = world.ask(set).unwrap().notes;
    assert!(notes[0].contains("chamberlain resume production"), "{notes:?}");
    world.ask(Resume { scope: "production".to_owned(), reason: None }).unwrap();
    assert!(world.commander.on_notice(&notice));
    let records = world.records().len();
    world.commander.pause_used_up(NOON).unwrap();
    assert_eq!(production(&world), None, "a person's word holds");
    assert_eq!(world.records().len(), records);
}

#[test]
fn every_change_publishes_a_new_generation() {
    let world = World::new();
    let first = world.published().generation;
    world.ask(create("a")).unwrap();
    world.ask(create("b")).unwrap();
    assert_eq!(world.published().generation, first + 2);
    world.ask(VirtualList::default()).unwrap();
    assert_eq!(world.refused(create("a")), ErrorCode::Conflict);
    assert_eq!(world.published().generation, first + 2);
}

#[test]
fn many_change_at_once_and_nothing_is_lost() {
    let world = World::new();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let world = &world;
            scope.spawn(move || {
                for number in 0..5 {
                    world.ask(create(&format!("{thread}-{number}"))).unwrap();
                }
            });
        }
    });
    assert_eq!(world.published().virtual_keys.len(), 40);
    assert_eq!(world.records().len(), 40);
    assert!(world.verifies());
}

#[test]
fn the_configuration_is_reloaded_with_before_and_after() {
    let world = World::new();
    assert_eq!(world.refused(ConfigReload {}), ErrorCode::Unavailable);
    let next = Arc::new(Mutex::new(Settings::default()));
    let read = next.clone();
    world.commander.attach_reload(Box::new(move || Ok(read.lock().clone())));
    let same = world.ask(ConfigReload {}).unwrap();
    assert!(!same.changed && same.changes.is_empty());

    next.lock().environments[0].budgets.daily = Some(Money::from_usd(80));
    let reloaded = world.ask(ConfigReload {}).unwrap();
    assert_eq!(reloaded.changes.len(), 1);
    assert_eq!(reloaded.changes[0].setting, "environments.production.budgets.daily");
    let record = world.last_record();
    assert_eq!(record.kind, "config.reloaded");
    assert_eq!(
        record.facts["before"],
        json!({ "environments.production.budgets.daily": "100.00" })
    );
    assert_eq!(record.facts["after"], json!({ "environments.production.budgets.daily": "80.00" }));
    let production = &world.published().environments[&EnvironmentName::new("production")];
    assert_eq!(production.budgets.daily, Some(Money::from_usd(80)));

    next.lock().timezone = "Europe/Zurich".to_owned();
    assert_eq!(world.refused(ConfigReload {}), ErrorCode::Conflict);
}

//! The inventory without Anthropic: names, days, tables, the rotation policy's file, findings.

use chamberlain_core::keys::finding::FindingKind;
use chamberlain_core::time::Date;

use super::*;
use crate::command::{
    KeyAbout, KeyAnnotate, KeyImport, KeyList, KeyPolicy, KeyRename, KeyShow, KeySync,
};
use crate::reply::{UpstreamKey, UpstreamKeyState};

const SEED: &str = "\
| Key Name | Environment | Created Date | Last Rotated | Next Rotation | Status |
|----------|-------------|--------------|--------------|---------------|--------|
| agentic-base-prod-translation-2025-12-08 | Production | 2025-12-08 | 2025-12-08 | 2026-06-06 | Active |
| agentic-base-staging-testing-2025-12-08 | Staging | 2025-12-08 | 2025-12-08 | 2026-06-06 | Active |
| agentic-base-prod-translation-2025-06-08 | Production | 2025-06-08 | 2025-06-08 | 2025-12-04 | Revoked |
";

fn day(text: &str) -> Option<Date> {
    Some(Date::parse(text).unwrap())
}

fn import(table: &str, dry_run: bool) -> KeyImport {
    KeyImport { table: table.to_owned(), file: "keys.md".to_owned(), dry_run }
}

fn about(about: KeyAbout, key: &str) -> KeyAnnotate {
    KeyAnnotate { key: key.to_owned(), about }
}

fn show(world: &World, key: &str) -> UpstreamKey {
    world.ask(KeyShow { key: key.to_owned() }).unwrap()
}

fn kinds(world: &World) -> Vec<FindingKind> {
    let found = world.ask(KeySync {}).unwrap();
    assert!(!found.asked_anthropic);
    found.findings.iter().map(|finding| finding.kind).collect()
}

#[test]
fn the_seeds_table_is_taken_over_whole() {
    let world = World::new();
    let done = world.ask(import(SEED, true)).unwrap();
    assert!(world.records().is_empty(), "a dry run does nothing");
    assert_eq!(world.ask(import(SEED, false)).unwrap().rows, done.rows);
    let words: Vec<&str> = done.rows.iter().map(|row| row.done.as_str()).collect();
    assert_eq!(words, ["listed", "listed", "recorded"]);
    let wrong_day = "next rotation: the table says 2025-12-04; it follows that it is 2025-12-05";
    assert_eq!(done.rows[2].warnings, [wrong_day]);
    assert_eq!(done.rows[0].warnings, ["its rotation is 170 days overdue"]);

    let all = world.ask(KeyList { all: true }).unwrap().keys;
    assert_eq!(all.len(), 3);
    let first = show(&world, "agentic-base-prod-translation-2025-12-08");
    assert_eq!(
        (first.state, first.environment.as_deref()),
        (UpstreamKeyState::Listed, Some("production"))
    );
    assert_eq!(
        (first.last_rotated_on, first.next_rotation_on),
        (day("2025-12-08"), day("2026-06-06"))
    );
    let past = show(&world, "agentic-base-prod-translation-2025-06-08");
    assert_eq!((past.state, past.fingerprint.as_str()), (UpstreamKeyState::Revoked, ""));
    assert_eq!(past.next_rotation_on, None);
    assert!(world.published().environments.values().all(|found| found.upstream_key.is_none()));

    let again = world.ask(import(SEED, false)).unwrap();
    assert!(again.rows.iter().all(|row| row.done == "unchanged"), "{:?}", again.rows);
}

#[test]
fn a_listed_key_gets_its_value_under_its_id() {
    let world = World::new();
    world.ask(import(SEED, false)).unwrap();
    let name = "agentic-base-prod-translation-2025-12-08";
    let before = show(&world, name);
    let added = world.ask(key_add(name, None, &real_key('K'))).unwrap();
    assert_eq!((&added.id, added.state), (&before.id, UpstreamKeyState::Current));
    assert_eq!(added.environment.as_deref(), Some("production"), "as the table says");
    assert_eq!(added.last_rotated_on, day("2025-12-08"));
    assert_eq!(world.keyring.len(), 1);
    assert_eq!(world.refused(key_add(name, None, &real_key('L'))), ErrorCode::Conflict);
}

#[test]
fn a_table_with_a_mistake_changes_nothing() {
    let world = World::new();
    let with = |line: &str| format!("name,environment,created,status\n{line}\n");
    for (line, code, says) in [
        ("a,nowhere,2026-01-02,Active", ErrorCode::NotFound, "line 2: "),
        ("a,prod,2.1.2026,Active", ErrorCode::Usage, "line 2: created: "),
        ("a,prod,2026-01-02,lost", ErrorCode::Usage, "line 2: \"lost\""),
        ("x-dev-y-2026-01-02,prod,2026-01-02,Active", ErrorCode::Conflict, "line 2: the name"),
        ("a,prod,,\na,prod,,", ErrorCode::Conflict, "line 3: \"a\" stands in line 2"),
    ] {
        let error = world.ask(import(&with(line), false)).unwrap_err();
        assert_eq!(error.code, code, "{error}");
        assert!(error.message.starts_with(says), "{error}");
    }
    assert!(world.records().is_empty());
}

#[test]
fn names_are_made_checked_and_changed() {
    let mut settings = Settings::default();
    settings.inventory.project = Some("agentic-base".to_owned());
    let world = World::with(settings);
    let purpose = KeyAbout { purpose: Some("translation".into()), ..KeyAbout::default() };
    let asked = crate::command::KeyAdd {
        about: purpose,
        ..key_add("", Some("production"), &real_key('K'))
    };
    let made = world.ask(asked).unwrap();
    assert_eq!(made.name, "agentic-base-prod-translation-2026-11-23");
    assert_eq!(made.created_for, Some(chamberlain_core::keys::profile::CreatedFor::InitialSetup));
    assert_eq!(kinds(&world), []);
    let to =
        |name: &str| KeyRename { key: made.id.clone(), name: name.into(), at_anthropic: false };
    assert_eq!(world.refused(to("a-staging-b-2026-11-23")), ErrorCode::Conflict);
    assert_eq!(world.ask(to("my-key")).unwrap().name, "my-key");
    assert_eq!(kinds(&world), [FindingKind::Misnamed]);
    assert_eq!(world.ask(to("")).unwrap().name, "agentic-base-prod-translation-2026-11-23");
    let there = KeyRename { at_anthropic: true, ..to("agentic-base-prod-x-2026-11-23") };
    assert_eq!(world.refused(there), ErrorCode::Conflict, "it is not known which key it is there");
    assert!(world.verifies());
}

#[test]
fn the_next_rotation_is_never_typed() {
    let world = World::new();
    world.ask(key_add("main", Some("production"), &real_key('K'))).unwrap();
    assert_eq!(show(&world, "main").next_rotation_on, day("2027-05-22"));
    let last = KeyAbout { last_rotated_on: Some("2026-11-01".into()), ..KeyAbout::default() };
    assert_eq!(world.ask(about(last, "main")).unwrap().next_rotation_on, day("2027-04-30"));
    let ends = KeyAbout { expires: Some("2027-01-31".into()), ..KeyAbout::default() };
    let ends = world.ask(about(ends, "main")).unwrap();
    assert_eq!(ends.next_rotation_on, day("2027-01-17"), "two weeks before");
    assert_eq!(kinds(&world), [FindingKind::Misnamed, FindingKind::ExpiresEarly]);
    let never = KeyAbout { expires: Some(String::new()), ..KeyAbout::default() };
    assert_eq!(world.ask(about(never.clone(), "main")).unwrap().expires_at, None);
    assert_eq!(world.refused(about(never, "main")), ErrorCode::Usage, "it says nothing new");
    let secret = KeyAbout { team: Some(real_key('L')), ..KeyAbout::default() };
    assert_eq!(world.refused(about(secret, "main")), ErrorCode::Usage);
}

#[test]
fn a_key_at_rest_is_told_of_once_and_may_be_exempt() {
    let world = World::new();
    world.ask(key_add("a-prod-b-2026-11-23", Some("production"), &real_key('K'))).unwrap();
    assert_eq!(kinds(&world), []);
    world.clock.turn(31 * 86_400_000);
    let waiting = |world: &World| world.ask(crate::command::Status {}).unwrap().store.outbox;
    let before = waiting(&world);
    assert_eq!(kinds(&world), [FindingKind::Unused]);
    assert_eq!(waiting(&world), before + 1, "people are told");
    assert_eq!(kinds(&world), [FindingKind::Unused]);
    assert_eq!(waiting(&world), before + 1, "once");
    let records = world.records().len();
    world.commander.sync_keys_now().unwrap();
    assert_eq!(world.records().len(), records, "a job without news leaves no record");
    let mut exempt = KeyAbout { exempt_until: Some("2027-06-01".into()), ..KeyAbout::default() };
    assert_eq!(
        world.refused(about(exempt.clone(), "a-prod-b-2026-11-23")),
        ErrorCode::Usage,
        "why?"
    );
    exempt.exempt_reason = Some("the nightly build's".into());
    world.ask(about(exempt, "a-prod-b-2026-11-23")).unwrap();
    assert_eq!(kinds(&world), []);
}

#[test]
fn the_policys_dates_are_kept_and_nothing_else_changes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secrets-rotation-policy.yaml");
    let text = "# ours\nanthropic_api_key: # here\n  interval_days: 180\n  last_rotated: '2025-12-08'\n\
        \n  next_rotation: \"2026-06-06\" # derived\nother:\n  last_rotated: 2020-01-01\n";
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o640)).unwrap();
    let mut settings = Settings::default();
    settings.inventory.rotation_policy = Some(path.clone());
    let world = World::with(settings);
    let policy = |update| KeyPolicy { file: None, update };
    let read = world.ask(policy(true)).unwrap();
    assert!(!read.changed, "there is no key yet");
    assert_eq!(read.secrets[0].environment.as_deref(), Some("production"));
    world.ask(key_add("main", Some("production"), &real_key('K'))).unwrap();
    let expected = text.replace("2025-12-08", "2026-11-23").replace("2026-06-06", "2027-05-22");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), expected, "a key took over");
    let mode = std::os::unix::fs::PermissionsExt::mode(&path.metadata().unwrap().permissions());
    assert_eq!(mode & 0o777, 0o640);
    assert_eq!(folder.path().read_dir().unwrap().count(), 1, "nothing is left beside it");
    assert!(!world.ask(policy(true)).unwrap().changed);

    std::fs::write(&path, "a:\n  interval_days: often\n").unwrap();
    let error = world.ask(policy(false)).unwrap_err();
    assert!(error.message.contains("secrets-rotation-policy.yaml:2: interval_days"), "{error}");
}

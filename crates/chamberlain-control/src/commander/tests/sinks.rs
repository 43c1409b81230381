//! Deliveries, with what goes on record of them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use chamberlain_core::sink::fault::{Effect, Standing};
use chamberlain_core::sink::settings::SinkSettings;
use chamberlain_core::sink::written::WrittenSink;

use super::*;
use crate::command::{
    KeyAdd, KeyRemove, SinkCheck, SinkDeliver, SinkForget, SinkList, VirtualFreeze,
};
use crate::reply::{DeliveryState, SinkDelivered, SinkLine};
use crate::wire::SecretText;

fn sink(name: &str, written: serde_json::Value) -> SinkSettings {
    let written: WrittenSink = serde_json::from_value(written).unwrap();
    written.resolve(name).unwrap()
}

/// A world with an env file for production and one for development.
struct Place {
    world: World,
    files: tempfile::TempDir,
}

impl Place {
    fn new() -> Place {
        Place::with(Vec::new())
    }

    fn with(more: Vec<SinkSettings>) -> Place {
        let files = tempfile::tempdir().unwrap();
        fs::set_permissions(files.path(), fs::Permissions::from_mode(0o700)).unwrap();
        let file = |name: &str, environment: &str| {
            sink(
                name,
                json!({ "kind": "env_file", "environment": environment, "variable": "KEY",
                        "path": files.path().join(name).to_str().unwrap() }),
            )
        };
        let mut sinks = vec![file("app", "production"), file("dev", "development")];
        sinks.extend(more);
        let world = World::with(Settings { sinks, ..Settings::default() });
        let add = |name: &str, environment: &str, letter| -> KeyAdd {
            key_add(name, Some(environment), &real_key(letter))
        };
        world.ask(add("main", "production", 'a')).unwrap();
        world.ask(add("other", "staging", 'b')).unwrap();
        world.ask(add("local", "development", 'c')).unwrap();
        Place { world, files }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }

    fn deliver(&self, sink: &str, key: Option<&str>) -> Result<SinkDelivered, CommandError> {
        self.world.ask(deliver(sink, key))
    }

    fn line(&self, name: &str) -> SinkLine {
        let sinks = self.world.ask(SinkList {}).unwrap().sinks;
        sinks.into_iter().find(|sink| sink.name == name).unwrap()
    }

    fn kinds(&self) -> Vec<String> {
        let records = self.world.records();
        let kinds = records.into_iter().map(|record| record.kind);
        kinds.filter(|kind| kind.starts_with("sink.")).collect()
    }
}

fn deliver(sink: &str, key: Option<&str>) -> SinkDeliver {
    SinkDeliver {
        sink: sink.to_owned(),
        key: key.map(str::to_owned),
        virtual_key: None,
        force_reason: None,
    }
}

#[test]
fn a_delivery_is_intended_done_and_on_record() {
    let place = Place::new();
    let delivered = place.deliver("app", None).unwrap();
    assert!(!delivered.was_there);
    let held = delivered.sink.holds.unwrap();
    assert_eq!((held.name.as_deref(), held.in_use), (Some("main"), true));
    let text = fs::read_to_string(place.path("app")).unwrap();
    assert_eq!(text, format!("KEY={}\n", real_key('a')));
    assert_eq!(place.kinds(), ["sink.delivery_begun", "sink.delivered"]);
    assert!(place.deliver("app", Some("main")).unwrap().was_there);
    let checked = place.world.ask(SinkCheck { sink: Some("app".to_owned()) }).unwrap();
    assert_eq!(checked.sinks[0].standing, Some(Standing::Holds));
    // No record has the key.
    let records = place.world.records();
    assert!(records.iter().all(|record| !format!("{record:?}").contains("aaaaaaaa")));
    assert!(place.world.verifies());
}

#[test]
fn a_key_of_another_environment_is_delivered_nowhere() {
    let place = Place::new();
    let mut asked = deliver("app", Some("other"));
    assert_eq!(place.world.refused(asked), ErrorCode::Conflict);
    asked = deliver("app", Some("other"));
    asked.force_reason = Some("I want to".to_owned());
    assert_eq!(place.world.refused(asked), ErrorCode::Conflict);
    assert!(!place.path("app").exists());
    assert_eq!(place.world.refused(deliver("none", None)), ErrorCode::NotFound);
    assert_eq!(place.world.refused(deliver("app", Some("none"))), ErrorCode::NotFound);
}

#[test]
fn development_gets_an_upstream_key_only_by_force_and_on_record() {
    let place = Place::new();
    assert_eq!(place.world.refused(deliver("dev", None)), ErrorCode::Conflict);
    assert!(!place.path("dev").exists());
    let forced =
        SinkDeliver { force_reason: Some("no network".to_owned()), ..deliver("dev", None) };
    place.world.ask(forced).unwrap();
    let records = place.world.records();
    let intent = records.iter().find(|record| record.kind == "sink.delivery_begun").unwrap();
    assert!(format!("{intent:?}").contains("no network"));
}

#[test]
fn a_virtual_key_is_delivered_when_it_works_and_is_the_sinks_own() {
    let place = Place::new();
    let with = |text: &str| SinkDeliver {
        virtual_key: Some(SecretText::new(Secret::new(text.to_owned()))),
        ..deliver("dev", None)
    };
    let mut asked = create("laptop");
    asked.environment = "development".to_owned();
    let made = place.world.ask(asked).unwrap();
    let key = made.key.secret().expose().to_owned();
    assert_eq!(place.world.refused(with(&format!("{key}\n"))), ErrorCode::Usage);
    place.world.ask(with(&key)).unwrap();
    assert_eq!(fs::read_to_string(place.path("dev")).unwrap(), format!("KEY={key}\n"));
    let held = place.line("dev").holds.unwrap();
    assert_eq!((held.name.as_deref(), held.key.as_str()), (Some("laptop"), made.id.as_str()));
    // Not another environment's, not one with another secret, not one that is stopped.
    let foreign = place.world.ask(create("ci")).unwrap().key;
    assert_eq!(place.world.refused(with(foreign.secret().expose())), ErrorCode::Conflict);
    let last = if key.ends_with('A') { 'B' } else { 'A' };
    let wrong = format!("{}{last}", &key[..key.len() - 1]);
    assert_eq!(place.world.refused(with(&wrong)), ErrorCode::NotFound);
    assert_eq!(place.world.refused(with(&real_key('d'))), ErrorCode::Usage);
    let freeze = VirtualFreeze { key: made.id, reason: "lost".to_owned() };
    place.world.ask(freeze).unwrap();
    assert_eq!(place.world.refused(with(&key)), ErrorCode::Conflict);
    assert!(!place.line("dev").holds.unwrap().in_use);
}

#[test]
fn a_failure_is_on_record_with_what_it_left_behind_and_blocks_nothing() {
    let place = Place::new();
    place.deliver("app", None).unwrap();
    place.world.ask(key_add("next", Some("production"), &real_key('e'))).unwrap();
    fs::set_permissions(place.files.path(), fs::Permissions::from_mode(0o707)).unwrap();
    let error = place.deliver("app", None).unwrap_err();
    assert!(error.message.contains("the sink is as it was"), "{error}");
    let line = place.line("app");
    let last = line.last.unwrap();
    assert_eq!((last.state, last.effect), (DeliveryState::Failed, Some(Effect::Nothing)));
    assert_eq!(last.key.name.as_deref(), Some("next"));
    assert_eq!(line.holds.unwrap().name.as_deref(), Some("main"), "it still has the old key");
    assert_eq!(place.kinds().last().unwrap(), "sink.delivery_failed");
    // The key it holds is removed all the same.
    let remove = KeyRemove { key: "main".to_owned(), reason: None };
    place.world.ask(remove).unwrap();
    assert!(!place.line("app").holds.unwrap().in_use);
    let doctor = place.world.ask(crate::command::Doctor {}).unwrap();
    let check = doctor.checks.iter().find(|check| check.name == "sinks").unwrap();
    assert!(check.message.contains("app: the last delivery failed"), "{}", check.message);
    assert_eq!(place.world.refused(deliver("app", Some("main"))), ErrorCode::Conflict);
    fs::set_permissions(place.files.path(), fs::Permissions::from_mode(0o700)).unwrap();
    place.deliver("app", Some("next")).unwrap();
}

#[test]
fn a_sink_that_hangs_keeps_nobody_from_stopping_a_key() {
    let folder = tempfile::tempdir().unwrap();
    let (begun, go) = (folder.path().join("begun"), folder.path().join("go"));
    let program = folder.path().join("slow");
    let text = format!(
        "#!/bin/sh\ntouch {}\nwhile ! test -e {}; do sleep 0.02; done\n",
        begun.display(),
        go.display()
    );
    fs::write(&program, text).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o700)).unwrap();
    let slow = sink(
        "slow",
        json!({ "kind": "command", "environment": "production",
                "command": [program.to_str().unwrap()] }),
    );
    let place = Place::with(vec![slow]);
    std::thread::scope(|scope| {
        let delivery = scope.spawn(|| place.deliver("slow", None).map(drop));
        while !begun.exists() {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        assert_eq!(place.line("slow").last.unwrap().state, DeliveryState::Begun);
        assert_eq!(place.world.refused(deliver("slow", None)), ErrorCode::Conflict);
        let remove = KeyRemove { key: "main".to_owned(), reason: Some("leaked".to_owned()) };
        place.world.ask(remove).unwrap();
        assert!(place.world.keyring.is_empty() || place.world.keyring.len() == 2);
        fs::write(&go, "").unwrap();
        delivery.join().unwrap().unwrap();
    });
    let line = place.line("slow");
    assert_eq!(line.last.unwrap().state, DeliveryState::Delivered);
    assert!(!line.holds.unwrap().in_use);
}

#[test]
fn what_did_not_end_is_seen_after_a_restart_and_is_done_again() {
    let place = Place::new();
    let store = place.world.commander.store.clone();
    // What a process that is killed right after its intent leaves.
    store
        .change(ada(), |change| {
            let key = chamberlain_store::NamedKey { key: "uk_x".into(), stands_for: "x".into() };
            change.begin_delivery("app", "elsewhere", &key)?;
            change.audit("sink.delivery_begun", "sink:app", &Default::default()).map(drop)
        })
        .unwrap();
    drop(store);
    let Place { world, files } = place;
    let place = Place { world: world.restarted(), files };
    assert_eq!(place.line("app").last.unwrap().state, DeliveryState::Begun);
    let doctor = place.world.ask(crate::command::Doctor {}).unwrap();
    assert!(doctor.checks.iter().any(|check| check.message.contains("did not end")));
    place.deliver("app", None).unwrap();
    assert_eq!(place.line("app").last.unwrap().state, DeliveryState::Delivered);
}

#[test]
fn what_is_forgotten_is_on_record() {
    let place = Place::new();
    let forget = || SinkForget { sink: "app".to_owned(), reason: Some("moved".to_owned()) };
    assert_eq!(place.world.refused(forget()), ErrorCode::NotFound);
    place.deliver("app", None).unwrap();
    assert!(place.world.ask(forget()).unwrap().holds.is_some());
    assert!(place.line("app").holds.is_none());
    assert_eq!(place.kinds().last().unwrap(), "sink.forgotten");
    assert!(place.path("app").exists());
}

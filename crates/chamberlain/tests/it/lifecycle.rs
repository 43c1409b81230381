//! Starting, serving, reloading, stopping.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, SystemTime};

use rustix::process::Signal;
use serde_json::Value;

use crate::house::{Answer, Ended, Place, Server, http, message, try_message};

/// Waits for something that another process does.
fn until(what: &str, mut done: impl FnMut() -> bool) {
    let begun = SystemTime::now();
    while !done() {
        assert!(begun.elapsed().unwrap() < Duration::from_secs(60), "{what} did not happen");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn with_nothing_configured_a_call_goes_through_and_is_on_record() {
    let place = Place::new();
    let server = place.up();
    assert_eq!(server.text("upstream"), "mock");
    assert_eq!(server.text("data"), place.data().display().to_string());
    let (gateway, key) = (server.text("gateway"), server.text("virtual_key"));
    let answer = message(&gateway, &key);
    assert_eq!(answer.status, 200, "{answer:?}");
    let answer: Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(answer["type"], "message");

    until("the settlement", || place.run("calls --json").json()["calls"][0]["cost"].is_string());
    let calls = place.run("calls --json").json();
    assert_eq!(calls["calls"].as_array().unwrap().len(), 1);
    assert_eq!(calls["calls"][0]["virtual_key_name"], "first");
    let cost = calls["calls"][0]["cost"].as_str().unwrap().to_owned();
    let today = place.run("cost today").ok();
    assert_eq!(today.trim(), "0.00", "a plain number and nothing else; the mock costs nothing");
    let today = place.run("cost today --json").json();
    assert_eq!((&today["mock_cost"], &today["mock_calls"]), (&cost.clone().into(), &1.into()));
    let top = place.run("cost top --by model").ok();
    assert!(top.contains("mock cost") || top.split('\t').count() > 7, "{top}");
    let csv = place.run("calls --csv").ok();
    assert_eq!(csv.lines().count(), 2);
    assert!(csv.contains(&cost), "{csv}");
    assert_eq!(place.run("status --json").json()["running"]["mock"], true);
    assert_eq!(message(&gateway, "chm_0123456789abcdef_x").status, 401);
}

#[test]
fn health_is_told_and_nothing_else() {
    let place = Place::new();
    let server = place.up();
    let console = server.text("console");
    let get = |path: &str| http(&console, &format!("GET {path}"), "");
    assert_eq!(get("/healthz").status, 200);
    assert_eq!(get("/readyz").status, 200);
    let page = get("/");
    assert_eq!(page.status, 200);
    assert!(page.body.contains(env!("CARGO_PKG_VERSION")), "{page:?}");
    assert_eq!(get("/api/v1/keys").status, 404);
}

#[test]
fn everything_kept_is_its_owners_alone() {
    let place = Place::new();
    let server = place.up();
    assert_eq!(message(&server.text("gateway"), &server.text("virtual_key")).status, 200);
    assert_eq!(std::fs::metadata(place.data()).unwrap().mode() & 0o777, 0o700);
    for entry in std::fs::read_dir(place.data()).unwrap() {
        let path = entry.unwrap().path();
        let mode = std::fs::symlink_metadata(&path).unwrap().mode() & 0o777;
        assert_eq!(mode & 0o077, 0, "{} has mode {mode:o}", path.display());
    }
}

#[test]
fn commands_without_a_server_wait_for_one_another() {
    let place = Place::new();
    place.run("virtual create --name first --environment staging").ok();
    let make = |name: usize| {
        let line = format!("virtual create --name n{name} --environment staging --json");
        place.command(&line).stdout(std::process::Stdio::null()).spawn().unwrap()
    };
    let mut children: Vec<_> = (0..6).map(make).collect();
    assert!(children.iter_mut().all(|child| child.wait().unwrap().success()));
    let keys = place.run("virtual list --json").json();
    assert_eq!(keys["keys"].as_array().unwrap().len(), 7);
}

#[test]
fn a_folder_that_others_can_enter_is_refused() {
    let place = Place::new();
    std::fs::create_dir(place.data()).unwrap();
    std::fs::set_permissions(place.data(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let started = place.run("up --listen 127.0.0.1:0 --console 127.0.0.1:0");
    assert_ne!(started.code, Some(0));
    assert!(started.stderr.contains("chmod 700"), "{}", started.stderr);
}

#[test]
fn two_never_share_a_folder() {
    let place = Place::new();
    let first = place.up();
    let second = place.run("up --listen 127.0.0.1:0 --console 127.0.0.1:0 --json");
    assert!(matches!(second.code, Some(6 | 7)), "{second:#?}");
    assert_eq!(second.stdout, "");
    assert_eq!(message(&first.text("gateway"), &first.text("virtual_key")).status, 200);
}

#[test]
fn an_address_in_use_is_said_plainly() {
    let place = Place::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let started = place.run(&format!("up --listen {address} --console 127.0.0.1:0"));
    assert!(!matches!(started.code, Some(0) | None), "{started:#?}");
    assert!(started.stderr.contains(&address), "{}", started.stderr);
    assert!(started.stderr.contains("hint:"), "{}", started.stderr);
}

#[test]
fn it_ends_when_asked_and_starts_again_where_it_was() {
    let place = Place::new();
    let server = place.up();
    let key = server.text("virtual_key");
    assert_eq!(message(&server.text("gateway"), &key).status, 200);
    let (status, log) = server.stop();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(!log.contains(&key), "the virtual key is in the log");

    // The same commands work on what is left.
    assert_eq!(place.run("calls --json").json()["calls"].as_array().unwrap().len(), 1);
    assert_eq!(place.run("status --json").json()["running"], Value::Null);
    assert_eq!(place.run("audit verify --json").json()["ok"], true);
    let made = place.run("virtual create --name two --environment staging --json").json();

    let server = place.up();
    assert_eq!(server.ready["virtual_key"], Value::Null, "shown once");
    let gateway = server.text("gateway");
    assert_eq!(message(&gateway, &key).status, 200, "the first key still works");
    assert_eq!(message(&gateway, made["key"].as_str().unwrap()).status, 200);
}

/// Starts a call that asks the mock for `scenario`, and waits until it is in flight.
fn in_flight(
    place: &Place,
    server: &Server,
    scenario: &str,
) -> std::thread::JoinHandle<std::io::Result<Answer>> {
    let (gateway, key) = (server.text("gateway"), server.text("virtual_key"));
    let text = format!("[[mock: {scenario}]]");
    let call = std::thread::spawn(move || try_message(&gateway, &key, &text));
    until("the call", || place.run("status --json").json()["running"]["in_flight"] == 1);
    call
}

#[test]
fn a_call_in_flight_is_answered_before_the_end() {
    let place = Place::new();
    let server = place.up();
    let call = in_flight(&place, &server, "slow_headers ms=1500");
    let (status, log) = server.stop();
    assert_eq!(status.code(), Some(0), "{log}");
    assert_eq!(call.join().unwrap().unwrap().status, 200);
    let calls = place.run("calls --json").json();
    assert_eq!(calls["calls"][0]["outcome"], "completed");
}

#[test]
fn a_second_signal_ends_at_once_and_the_call_stays_charged() {
    let place = Place::new();
    let server = place.up();
    let call = in_flight(&place, &server, "hang");
    server.signal(Signal::TERM);
    until("the drain", || http(&server.text("console"), "GET /readyz", "").status == 503);
    let (status, _) = server.stop();
    assert_eq!(status.code(), Some(130));
    assert!(call.join().unwrap().is_err(), "a hanging call was answered");
    let calls = place.run("calls --json").json();
    let call = &calls["calls"][0];
    assert_eq!(call["certainty"], "unsettled");
    assert_eq!(call["cost"], call["reserved"], "a crash refunds nothing");
}

#[test]
fn a_kill_leaves_nothing_that_stops_the_next_start() {
    let place = Place::new();
    let mut server = place.up();
    let key = server.text("virtual_key");
    assert_eq!(message(&server.text("gateway"), &key).status, 200);
    server.kill();
    let server = place.up();
    assert_eq!(message(&server.text("gateway"), &key).status, 200);
    assert_eq!(place.run("audit verify --json").json()["ok"], true);
}

#[test]
fn an_upstream_without_a_key_is_a_mistake() {
    let place = Place::new();
    let line = "up --listen 127.0.0.1:0 --console 127.0.0.1:0 --upstream http://127.0.0.1:9";
    let started = place.run(line);
    assert!(!matches!(started.code, Some(0) | None), "{started:#?}");
    assert!(started.stderr.contains("ANTHROPIC_API_KEY"), "{}", started.stderr);
}

#[test]
fn what_is_no_anthropic_key_is_refused_and_not_repeated() {
    let place = Place::new();
    let started = place
        .command("up --listen 127.0.0.1:0 --console 127.0.0.1:0")
        .env("ANTHROPIC_API_KEY", "hunter2-hunter2-hunter2-hunter2-hunter2-hunter2")
        .output()
        .unwrap();
    let started = Ended::new(started);
    assert!(!matches!(started.code, Some(0) | None), "{started:#?}");
    assert!(started.stderr.contains("ANTHROPIC_API_KEY"), "{}", started.stderr);
    assert!(!started.stderr.contains("hunter2"), "{}", started.stderr);
}

/// A text with the shape of an Anthropic key.
fn key_shaped() -> String {
    let nanos = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos();
    format!("sk-ant-api03-{nanos:0>92}-AA")
}

#[test]
fn a_key_from_the_environment_is_sealed_once_and_used_from_then_on() {
    let place = Place::new();
    let mock = place.serve("mock --listen 127.0.0.1:0 --json");
    let secret = key_shaped();
    let line = format!(
        "up --listen 127.0.0.1:0 --console 127.0.0.1:0 --json --upstream {}",
        mock.text("url")
    );
    let server = Server::start(place.command(&line).env("ANTHROPIC_API_KEY", &secret));
    assert_eq!(server.text("upstream"), mock.text("url"));
    let key = server.text("virtual_key");
    assert_eq!(message(&server.text("gateway"), &key).status, 200);
    let journal = http(&mock.text("url"), "GET /mock/journal", "");
    assert!(journal.body.contains("claude-haiku-5-5"), "{journal:?}");
    let (_, log) = server.stop();
    assert!(!log.contains(&secret), "the key is in the log");

    // Given again, it is the same key; not given, it is still there.
    let server = Server::start(place.command(&line).env("ANTHROPIC_API_KEY", &secret));
    let keys = place.run("key list --json").json();
    assert_eq!(keys["keys"].as_array().unwrap().len(), 1, "{keys}");
    let doctor = place.run("doctor").stdout;
    assert!(doctor.contains("serves production, staging, development"), "{doctor}");
    assert!(doctor.contains("can be reached"), "{doctor}");
    server.stop();
    let server = place.serve(&line);
    assert_eq!(message(&server.text("gateway"), &key).status, 200);
    server.stop();
    for entry in std::fs::read_dir(place.data()).unwrap() {
        let path = entry.unwrap().path();
        let Ok(bytes) = std::fs::read(&path) else { continue };
        let found = bytes.windows(secret.len()).any(|part| part == secret.as_bytes());
        assert!(!found, "the key is in {}", path.display());
    }
}

#[test]
fn a_key_comes_in_through_stdin_only() {
    use std::io::Write;
    let place = Place::new();
    let secret = key_shaped();
    let mut child = place
        .command("key add --name main --environment staging --json")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(format!("{secret}\n").as_bytes()).unwrap();
    let added = Ended::new(child.wait_with_output().unwrap());
    assert!(!added.stdout.contains(&secret) && !added.stderr.contains(&secret));
    let added = added.json();
    assert_eq!(
        (added["name"].as_str(), added["environment"].as_str()),
        (Some("main"), Some("staging"))
    );
    let again = place.run("key add --name other");
    assert_eq!(again.code, Some(2), "no key was given: {again:#?}");
}

#[test]
fn a_reload_takes_what_is_right_and_keeps_what_was_otherwise() {
    let place = Place::new();
    let path = place.configure("version = 1\n");
    let server = place.up();
    let daily = |place: &Place| {
        let lines = place.run("budget list staging --json").json();
        let lines = lines["budgets"].as_array().unwrap().clone();
        let line = lines.into_iter().find(|line| line["window"] == "daily").unwrap();
        line["limit"].as_str().unwrap().to_owned()
    };
    assert_eq!(daily(&place), "10.00");
    std::fs::write(&path, "version = 1\n[environments.staging]\nbudgets.daily = \"12.50 USD\"\n")
        .unwrap();
    server.signal(Signal::HUP);
    until("the reload", || daily(&place) == "12.50");
    std::fs::write(&path, "version = 1\n[environments.staging]\nbudgets.daily = 13\n").unwrap();
    server.signal(Signal::HUP);
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(daily(&place), "12.50", "a broken file was taken");
    assert_eq!(message(&server.text("gateway"), &server.text("virtual_key")).status, 200);
    let records = place.run("audit export").ok();
    let reload = records.lines().find(|line| line.contains("config") && line.contains("12.50"));
    let reload = reload.unwrap_or_else(|| panic!("the reload is not on record: {records}"));
    assert!(reload.contains("10.00"), "the value before is missing: {reload}");
}

#[test]
fn what_was_named_wrongly_has_its_exit_code() {
    let place = Place::new();
    let _server = place.up();
    assert_eq!(place.run("virtual show nobody").code, Some(5));
    assert_eq!(place.run("virtual create --name first --environment staging").code, Some(6));
    let unknown = place.run("virtual create --name x --environment nowhere --json");
    assert!(matches!(unknown.code, Some(2 | 5)), "{unknown:#?}");
    let error: Value = serde_json::from_str(&unknown.stderr).unwrap();
    assert!(error["error"]["message"].as_str().unwrap().contains("nowhere"));
}

#[test]
fn a_frozen_key_and_a_paused_scope_take_no_calls() {
    let place = Place::new();
    let server = place.up();
    let (gateway, key) = (server.text("gateway"), server.text("virtual_key"));
    place.run("freeze first --reason test").ok();
    assert_ne!(message(&gateway, &key).status, 200);
    place.run("virtual unfreeze first").ok();
    assert_eq!(message(&gateway, &key).status, 200);
    // Whoever found the key in a log has the whole of it, not its name.
    let frozen = place.run(&format!("freeze {key} --reason leaked --json")).ok();
    assert!(frozen.contains("\"frozen\"") && !frozen.contains(&key), "{frozen}");
    place.run("virtual unfreeze first").ok();
    place.run("pause development --reason test").ok();
    assert_eq!(message(&gateway, &key).status, 503);
    place.run("resume development").ok();
    assert_eq!(message(&gateway, &key).status, 200);
}

#[test]
fn a_used_folder_without_its_store_is_not_begun_anew() {
    let place = Place::new();
    assert_eq!(place.up().stop().0.code(), Some(0));
    let file = place.data().join("chamberlain.db");
    for lose in [|path: &Path| std::fs::write(path, ""), |path: &Path| std::fs::remove_file(path)] {
        lose(&file).unwrap();
        let started = place.run("up --listen 127.0.0.1:0 --console 127.0.0.1:0");
        assert_eq!(started.code, Some(7), "{started:#?}");
        assert!(started.stderr.contains("restore it from the last backup"), "{}", started.stderr);
        assert_eq!(place.run("virtual create --name a --environment staging").code, Some(7));
        assert_eq!(place.run("doctor --offline").code, Some(3));
    }
    assert!(!file.exists());
}

#[test]
fn what_is_printed_can_be_pasted() {
    let place = Place::new();
    let mut child = place
        .command("up --listen 127.0.0.1:0 --console 127.0.0.1:0")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut page = String::new();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    while !page.ends_with("Ctrl-C ends it.\n") {
        assert_ne!(lines.read_line(&mut page).unwrap(), 0, "{page}");
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let python = page.split("(pip install anthropic):\n").nth(1).unwrap();
    let first = python.lines().find(|line| !line.is_empty()).unwrap();
    assert_eq!(first, "import anthropic", "indented, Python would refuse it");
}

#[test]
fn the_doctor_finds_what_is_wrong() {
    let place = Place::new();
    let _server = place.up();
    let doctor = place.run("doctor --json");
    let found: Value = serde_json::from_str(&doctor.stdout).unwrap();
    let checks = found["checks"].as_array().unwrap();
    let problems: Vec<_> = checks.iter().filter(|check| check["state"] == "problem").collect();
    assert!(problems.is_empty(), "{problems:#?}");
    let state = |name: &str| {
        let check = checks.iter().find(|check| check["name"] == name);
        check.unwrap_or_else(|| panic!("{name} was not looked at: {checks:#?}"))["state"].clone()
    };
    assert_eq!(state("core dumps"), "ok");
    assert_eq!(state("upstream reachable"), "warning", "the mock is no upstream");
    let file = place.data().join("chamberlain.db");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let doctor = place.run("doctor --json");
    assert_eq!(doctor.code, Some(3), "{doctor:#?}");
    assert!(doctor.stdout.contains("others can read"), "{}", doctor.stdout);
}

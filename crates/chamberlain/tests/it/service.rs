//! As a service: what systemd is told, and what people who watch are shown.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::os::unix::net::UnixDatagram;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;

use crate::house::{Place, Server};
use crate::tidy::repository::{code_spans, read, rows};

#[test]
fn systemd_is_told_of_the_start_and_of_the_end() {
    let place = Place::new();
    let socket = UnixDatagram::bind(place.path("notify")).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let told = || {
        let mut buffer = [0; 256];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..length]).trim().to_owned()
    };
    let mut command = place.command("up --listen 127.0.0.1:0 --console 127.0.0.1:0 --json");
    let server = Server::start(command.env("NOTIFY_SOCKET", place.path("notify")));
    assert_eq!(told(), "READY=1");
    let (status, _) = server.stop();
    assert!(status.success());
    assert_eq!(told(), "STOPPING=1");
}

#[test]
fn status_is_watched() {
    let place = Place::new();
    let server = place.up();
    let mut command = place.command("status --watch=1 --json");
    let mut watching = command.stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(watching.stdout.take().unwrap()).lines();
    let shown: Vec<Value> =
        lines.take(2).map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect();
    watching.kill().unwrap();
    watching.wait().unwrap();
    assert_eq!(shown.len(), 2);
    for status in shown {
        assert_eq!(status["running"]["gateway"], server.ready["gateway"]);
    }
    place.run("status --ready").ok();
    let refused = place.run("status --watch=0");
    assert_eq!(refused.code, Some(2), "{refused:?}");
    server.stop();
    let ended = place.run("status --ready --json");
    assert_eq!(ended.code, Some(7), "{ended:?}");
    assert!(ended.stderr.contains("no server runs"), "{ended:?}");
}

/// Words that begin like a metric of ours.
fn metrics_in(text: &str) -> BTreeSet<String> {
    let is_word = |character: char| character.is_ascii_alphanumeric() || character == '_';
    text.split(|character| !is_word(character))
        .filter(|word| word.starts_with("chamberlain_"))
        .map(|word| word.trim_end_matches("_bucket").to_owned())
        .collect()
}

#[test]
fn the_dashboard_and_the_alerts_ask_for_metrics_that_there_are() {
    let known: BTreeSet<String> = rows("docs/metrics.md", "Metrics")
        .iter()
        .map(|row| code_spans(&row[0])[0].to_owned())
        .collect();
    for path in ["packaging/grafana/chamberlain.json", "packaging/prometheus/chamberlain.rules.yml"]
    {
        let asked = metrics_in(&read(path));
        assert!(asked.len() > 5, "{path} asks for {asked:?}");
        let unknown: Vec<_> = asked.difference(&known).collect();
        assert!(unknown.is_empty(), "{path} asks for {unknown:?}");
    }
}

#[test]
fn the_dashboard_has_a_place_and_a_description_for_each_panel() {
    let board: Value = serde_json::from_str(&read("packaging/grafana/chamberlain.json")).unwrap();
    let panels = board["panels"].as_array().unwrap();
    let mut ids = BTreeSet::new();
    for panel in panels {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{panel} has another's id");
        let place = &panel["gridPos"];
        let right = place["x"].as_u64().unwrap() + place["w"].as_u64().unwrap();
        assert!(right <= 24, "{panel} is wider than the board");
        if panel["type"] != "row" {
            assert!(panel["description"].as_str().is_some_and(|text| !text.is_empty()), "{panel}");
        }
    }
}

#[test]
fn a_folder_is_begun_by_a_change_that_says_so_and_never_by_a_look() {
    let place = Place::new();
    place.configure("version = 1\n");
    let looked = place.run("status");
    assert_eq!(looked.code, Some(7), "{looked:?}");
    assert!(looked.stderr.contains("nothing of Chamberlain's is in"), "{looked:?}");
    assert!(!place.data().join("chamberlain.db").exists());
    let create = "virtual create --name ci --environment staging --daily 2";
    let first = place.run(create);
    assert!(first.stderr.contains("Chamberlain begins there"), "{first:?}");
    first.ok();
    let second = place.run(&create.replace("ci", "two"));
    assert!(!second.stderr.contains("begins there"), "{second:?}");
    second.ok();
}

//! The command line itself: help, exit codes, pipes.

use std::process::Stdio;

use crate::house::{Place, http};

#[test]
fn help_is_data_and_a_mistake_is_not() {
    let place = Place::new();
    assert!(place.run("--help").ok().contains("Examples:"));
    assert!(place.run("help virtual create").ok().contains("--input-tpm"));
    assert!(place.run("help exit-codes").ok().contains("130"));
    let wrong = place.run("virtuel list");
    assert_eq!((wrong.code, wrong.stdout.as_str()), (Some(2), ""));
    assert!(wrong.stderr.contains("'virtual'"), "{}", wrong.stderr);
}

#[test]
fn a_mistake_is_json_when_json_was_asked_for() {
    let place = Place::new();
    for line in ["virtuel list --json", "limit set staging --rpm 0 --json", "--json pause staging"]
    {
        let wrong = place.run(line);
        assert_eq!((wrong.code, wrong.stdout.as_str()), (Some(2), ""), "{line}");
        let error: serde_json::Value = serde_json::from_str(&wrong.stderr).unwrap();
        assert_eq!(error["error"]["exit_code"], 2, "{line}");
    }
}

#[test]
fn a_key_on_the_command_line_is_not_repeated() {
    let place = Place::new();
    let key = format!("sk-ant-{}-{}", "api03", "k".repeat(95));
    for line in [format!("key add {key}"), format!("key add --name a --key={key} --json")] {
        let wrong = place.run(&line);
        assert_eq!(wrong.code, Some(2), "{wrong:#?}");
        assert!(!wrong.stderr.contains("kkkkkkkk"), "{}", wrong.stderr);
        assert!(wrong.stderr.contains("revoke the key"), "{}", wrong.stderr);
    }
}

#[test]
fn a_network_is_read_as_the_configuration_reads_it() {
    let place = Place::new();
    let wrong = place.run("virtual create --name a --environment staging --cidr 10.0.0.1/8");
    assert_eq!(wrong.code, Some(2));
    assert!(wrong.stderr.contains("10.0.0.0/8"), "{}", wrong.stderr);
    assert!(!place.data().exists(), "nothing was done");
}

#[test]
fn nobody_reading_is_no_failure() {
    let place = Place::new();
    let mut child = place
        .command("completions bash")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let ended = child.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&ended.stderr), "");
}

#[test]
fn completions_and_man_pages_come_for_every_command() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        assert!(place.run(&format!("completions {shell}")).ok().contains("estimate"), "{shell}");
    }
    place.run("man --out pages").ok();
    for page in ["chamberlain.1", "chamberlain-virtual-create.1", "chamberlain.toml.5"] {
        let text = std::fs::read_to_string(place.path("pages").join(page)).unwrap();
        assert!(text.contains(".TH"), "{page}");
    }
}

#[test]
fn the_mock_answers_and_ends_when_asked() {
    let place = Place::new();
    let mock = place.serve("mock --listen 127.0.0.1:0 --json");
    let answer = http(
        &mock.text("url"),
        "GET /v1/models\nx-api-key: any\nanthropic-version: 2023-06-01",
        "",
    );
    assert_eq!(answer.status, 200, "{answer:?}");
    let (status, _) = mock.stop();
    assert_eq!(status.code(), Some(0));
}

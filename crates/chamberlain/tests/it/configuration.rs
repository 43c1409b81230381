//! The configuration as an operator meets it.

use std::os::unix::fs::PermissionsExt;

use crate::house::Place;

#[test]
fn what_init_writes_passes_its_check_and_is_not_overwritten() {
    let place = Place::new();
    let written = place.data().join("chamberlain.toml");
    assert_eq!(place.run("init").ok(), format!("{}\n", written.display()));
    let checked = place.run("config check").ok();
    assert!(checked.contains("retires on 2026-11-30") || checked.contains("retired"), "{checked}");
    let again = place.run("init");
    assert_eq!(again.code, Some(6));
    assert!(again.stderr.contains("exists already"), "{}", again.stderr);
}

#[test]
fn every_mistake_is_told_with_its_line_and_nothing_starts() {
    let place = Place::new();
    place.configure("version = 1\n[server]\nlistn = \"x\"\nconsole = \"8788\"\n");
    let checked = place.run("config check");
    assert_eq!(checked.code, Some(3));
    for told in ["chamberlain.toml:3:1:", "did you mean `listen`?", "chamberlain.toml:4:11:"] {
        assert!(checked.stdout.contains(told), "{told}: {}", checked.stdout);
    }
    let json: serde_json::Value =
        serde_json::from_str(&place.run("config check --json").stdout).unwrap();
    assert_eq!(
        (json["ok"].as_bool(), json["mistakes"][0]["line"].as_u64()),
        (Some(false), Some(3))
    );
    let started = place.run("up");
    assert_eq!(started.code, Some(2), "{started:#?}");
    assert!(!place.data().join("chamberlain.db").exists(), "a store was made");
}

#[test]
fn a_key_is_explained_with_its_value_and_source() {
    let place = Place::new();
    place.configure("version = 1\n[queue]\nwait_max = \"2s\"\n");
    let explain = |line: &str, variable: Option<&str>| {
        let mut command = place.command(line);
        if let Some(value) = variable {
            command.env("CHAMBERLAIN_QUEUE__WAIT_MAX", value);
        }
        crate::house::Ended::new(command.output().unwrap()).json()
    };
    let line = "config explain queue.wait_max --json";
    let explained = explain(line, None);
    assert_eq!(explained["value"], "\"2s\"");
    assert!(explained["source"].as_str().unwrap().ends_with("/chamberlain.toml:3:12"));
    let explained = explain(line, Some("3s"));
    assert_eq!(explained["source"], "environment CHAMBERLAIN_QUEUE__WAIT_MAX");
    let all = explain("config explain --json", None);
    assert!(all["keys"].as_array().unwrap().len() > 60);
    let slip = place.run("config explain queue.wait_mx");
    assert_eq!(slip.code, Some(5));
    assert!(slip.stderr.contains("did you mean queue.wait_max?"), "{}", slip.stderr);
}

#[test]
fn a_file_that_everybody_may_change_is_refused() {
    let place = Place::new();
    let path = place.configure("version = 1\n");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).unwrap();
    let checked = place.run("config check");
    assert_eq!(checked.code, Some(2));
    assert!(checked.stderr.contains("chmod o-w"), "{}", checked.stderr);
}

#[test]
fn a_key_pasted_into_the_file_is_not_repeated() {
    let place = Place::new();
    let secret = format!("sk-ant-api03-{}", "Zq7".repeat(31));
    place.configure(&format!("version = 1\nupstream.key = \"{secret}\"\n"));
    let checked = place.run("config check");
    assert_eq!(checked.code, Some(3));
    assert!(checked.stdout.contains("unknown key `upstream.key`"), "{}", checked.stdout);
    assert!(!checked.stdout.contains(&secret[20..]), "{}", checked.stdout);
}

#[test]
fn a_file_in_the_working_folder_is_not_taken_unasked() {
    let place = Place::new();
    place.write("chamberlain.toml", "version = 1\nupstream.url = \"http://elsewhere.example\"\n");
    let line = "config explain upstream.url --json";
    assert_eq!(place.run(line).json()["source"], "default");
    let named = format!("{line} --config chamberlain.toml");
    assert_eq!(place.run(&named).json()["source"], "file chamberlain.toml:2:16");
}

//! Sinks that start programs, and what follows a delivery.

use super::*;

fn command(program: &str, timeout: &str) -> Value {
    json!({ "kind": "command", "environment": "production", "command": [program, "one"],
            "timeout": timeout, "pass_environment": ["HOME"] })
}

#[test]
fn a_program_gets_the_key_by_stdin_and_nothing_else_of_ours() {
    let ground = Ground::new();
    let (got, seen) = (ground.path("got"), ground.path("seen"));
    let text = format!("cat > {}; (echo \"$@\"; env) > {}", got.display(), seen.display());
    let sink = sink(command(&ground.program("put", &text), "5s"));
    sink.check().unwrap();
    sink.deliver(&ground.parcel()).unwrap();
    assert_eq!(fs::read_to_string(&got).unwrap(), ground.text());
    let seen = fs::read_to_string(&seen).unwrap();
    assert!(seen.starts_with("one\n") && !seen.contains(ground.text()), "{seen}");
    let mut names: Vec<&str> =
        seen.lines().skip(1).filter_map(|line| line.split('=').next()).collect();
    names.sort_unstable();
    // The shell adds PWD and its like by itself.
    names.retain(|name| !["PWD", "OLDPWD", "SHLVL", "_"].contains(name));
    assert_eq!(names, ["CHAMBERLAIN_KEY_ID", "CHAMBERLAIN_SINK", "HOME", "LANG", "PATH"]);
    assert!(matches!(sink.verify(&ground.parcel(), None), Ok(Standing::Unknown(_))));
}

#[test]
fn a_program_that_fails_is_told_without_the_key() {
    let ground = Ground::new();
    let text = "k=$(cat); echo \"bad value $k for $CHAMBERLAIN_SINK\" >&2; exit 7";
    let fault = sink(command(&ground.program("put", text), "5s")).deliver(&ground.parcel());
    let fault = fault.unwrap_err();
    assert_eq!(fault.effect, Effect::Unknown);
    assert!(fault.message.contains("ended with 7: bad value [secret] for app"), "{fault}");
}

#[test]
fn at_the_limit_the_whole_group_is_killed() {
    let ground = Ground::new();
    let alive = ground.path("alive");
    // A child of the program that would write later, if it lived.
    let text = format!("(sleep 1; echo > {}) & sleep 60", alive.display());
    let fault = sink(command(&ground.program("put", &text), "300ms")).deliver(&ground.parcel());
    let fault = fault.unwrap_err();
    assert_eq!((fault.effect, fault.again), (Effect::Unknown, Again::Later));
    assert!(fault.message.contains("did not end within 300 ms"), "{fault}");
    std::thread::sleep(Duration::from_millis(1_500));
    assert!(!alive.exists(), "a child outlived the limit");
}

#[test]
fn a_program_that_does_not_read_or_talks_without_end_holds_nobody() {
    let ground = Ground::new();
    let silent = ground.program("silent", "exit 0");
    sink(command(&silent, "5s")).deliver(&ground.parcel()).unwrap();
    let talks = ground.program("talks", "cat >/dev/null; head -c 5000000 /dev/zero | tr '\\0' x");
    sink(command(&talks, "20s")).deliver(&ground.parcel()).unwrap();
    // What it leaves running with its output open is not waited for.
    let leaves = ground.program("leaves", "sleep 3 & exit 0");
    sink(command(&leaves, "2s")).deliver(&ground.parcel()).unwrap();
}

#[test]
fn a_program_that_others_can_change_is_not_run() {
    let ground = Ground::new();
    let program = ground.program("put", "exit 0");
    fs::set_permissions(&program, Permissions::from_mode(0o702)).unwrap();
    let fault = sink(command(&program, "5s")).deliver(&ground.parcel()).unwrap_err();
    assert!(fault.hint.starts_with("chmod o-w"), "{fault}");
    fs::set_permissions(&program, Permissions::from_mode(0o600)).unwrap();
    assert!(sink(command(&program, "5s")).check().is_err());
    let none = ground.path("none").to_str().unwrap().to_owned();
    assert_eq!(sink(command(&none, "5s")).check().unwrap_err().again, Again::Never);
}

/// A program that reads its environment when it is made, and keeps it when it is restarted.
struct Container {
    ground: Ground,
}

impl Container {
    fn new() -> Container {
        let ground = Ground::new();
        fs::write(ground.path(".env"), "KEY=old\n").unwrap();
        fs::write(ground.path("created-with"), "old").unwrap();
        Container { ground }
    }

    fn sink(&self, recreate: &str) -> Box<dyn Sink> {
        let folder = self.ground.folder.path().display();
        let recreate =
            self.ground.program("recreate", &recreate.replace("DIR", &folder.to_string()));
        let health = format!("printf %s \"$(cat {folder}/created-with)\" | sha256sum");
        let health = self.ground.program("health", &health);
        sink(json!({
            "kind": "env_file", "environment": "production", "variable": "KEY",
            "path": self.ground.path(".env").to_str().unwrap(), "recreate": [recreate],
            "health": [health], "health_shows": "sha256", "health_timeout": "1s",
        }))
    }
}

#[test]
fn a_program_that_was_only_restarted_is_found_to_use_the_old_key() {
    let container = Container::new();
    let sink = container.sink("exit 0");
    sink.check().unwrap();
    let fault = sink.deliver(&container.ground.parcel()).unwrap_err();
    // The key is in the file, and is not in use.
    assert_eq!(fault.effect, Effect::Done);
    assert!(fault.message.contains("with another key"), "{fault}");
    assert!(fault.hint.contains("--force-recreate"), "{}", fault.hint);
    assert!(matches!(sink.verify(&container.ground.parcel(), None), Ok(Standing::Differs(_))));
}

#[test]
fn a_program_that_was_made_anew_proves_the_new_key() {
    let container = Container::new();
    let sink = container.sink("sed -n 's/^KEY=//p' DIR/.env | tr -d '\\n' > DIR/created-with");
    sink.deliver(&container.ground.parcel()).unwrap();
    assert_eq!(sink.verify(&container.ground.parcel(), None), Ok(Standing::Holds));
}

#[test]
fn a_recreate_that_cannot_run_is_refused_before_the_file_changes() {
    let container = Container::new();
    let sink = container.sink("exit 0");
    fs::remove_file(container.ground.path("recreate")).unwrap();
    let fault = sink.deliver(&container.ground.parcel()).unwrap_err();
    assert_eq!(fault.effect, Effect::Nothing, "{fault}");
    assert_eq!(fs::read_to_string(container.ground.path(".env")).unwrap(), "KEY=old\n");
    assert!(sink.check().is_err());
}

#[test]
fn a_manifest_is_given_to_the_program_that_applies_it() {
    let ground = Ground::new();
    let got = ground.path("got");
    let apply = ground.program("apply", &format!("cat > {}", got.display()));
    let sink = sink(json!({ "kind": "kubernetes", "environment": "production",
        "secret": "anthropic", "variable": "KEY", "command": [apply] }));
    sink.deliver(&ground.parcel()).unwrap();
    let manifest = fs::read_to_string(&got).unwrap();
    assert!(manifest.starts_with("apiVersion: v1\nkind: Secret\n"), "{manifest}");
    assert!(manifest.contains(ground.key.id.as_str()));
}

use super::*;

fn read(json: serde_json::Value) -> Result<SinkSettings, String> {
    let written: WrittenSink = serde_json::from_value(json).map_err(|error| error.to_string())?;
    written.resolve("app").map_err(|wrong| wrong.to_string())
}

fn with(mut base: serde_json::Value, more: serde_json::Value) -> serde_json::Value {
    let more = more.as_object().unwrap().clone();
    base.as_object_mut().unwrap().extend(more);
    base
}

fn env_file() -> serde_json::Value {
    serde_json::json!({
        "kind": "env_file", "environment": "production",
        "path": "/opt/app/.env.local", "variable": "ANTHROPIC_API_KEY",
    })
}

#[test]
fn the_five_kinds_are_read() {
    let token = "/etc/chamberlain/token";
    let all = [
        env_file(),
        serde_json::json!({ "kind": "command", "environment": "staging", "command": ["/bin/cat"] }),
        serde_json::json!({
            "kind": "github", "environment": "staging", "repository": "a/b",
            "secret": "ANTHROPIC_API_KEY_STAGING", "token_file": token,
        }),
        serde_json::json!({
            "kind": "gitlab", "environment": "staging", "project": "a/b",
            "variable": "ANTHROPIC_API_KEY_STAGING", "token_file": token,
        }),
        serde_json::json!({
            "kind": "kubernetes", "environment": "production", "secret": "anthropic",
            "variable": "ANTHROPIC_API_KEY", "path": "/etc/manifests/anthropic.yaml",
        }),
    ];
    let places = [
        "/opt/app/.env.local#ANTHROPIC_API_KEY",
        "/bin/cat",
        "https://api.github.com/a/b#ANTHROPIC_API_KEY_STAGING",
        "https://gitlab.com/api/v4/a/b for *#ANTHROPIC_API_KEY_STAGING",
        "/etc/manifests/anthropic.yaml (default/anthropic#ANTHROPIC_API_KEY)",
    ];
    for (written, place) in all.into_iter().zip(places) {
        let kind = written["kind"].as_str().unwrap().to_owned();
        let sink = read(written).unwrap();
        assert_eq!((sink.target.kind(), sink.target.place().as_str()), (kind.as_str(), place));
        assert_eq!((sink.takes, sink.timeout_ms), (Takes::Any, 30_000));
    }
}

#[test]
fn development_takes_virtual_keys_unless_somebody_writes_otherwise() {
    let takes = |more| read(with(env_file(), more)).unwrap().takes;
    assert_eq!(takes(serde_json::json!({ "environment": "development" })), Takes::Virtual);
    let any = serde_json::json!({ "environment": "development", "takes": "any" });
    assert_eq!(takes(any), Takes::Any);
    assert_eq!(takes(serde_json::json!({ "takes": "virtual" })), Takes::Virtual);
}

#[test]
fn what_is_wrong_is_said_with_its_word() {
    for (more, word) in [
        (serde_json::json!({ "path": "relative" }), "`path`"),
        (serde_json::json!({ "variable": "A-B" }), "`variable`"),
        (serde_json::json!({ "repository": "a/b" }), "`repository`: it means nothing"),
        (serde_json::json!({ "secret": "A" }), "`secret`: it means nothing"),
        (serde_json::json!({ "owner": "app" }), "`owner`"),
        (serde_json::json!({ "timeout": "30" }), "`timeout`"),
        (serde_json::json!({ "timeout": "11m" }), "`timeout`"),
        (serde_json::json!({ "recreate": ["docker"] }), "`recreate`"),
        (serde_json::json!({ "recreate": [] }), "`recreate`"),
        (
            serde_json::json!({ "recreate": ["/usr/bin/docker", "compose", "restart", "bot"] }),
            "--force-recreate",
        ),
        (serde_json::json!({ "health_shows": "sha256" }), "`health`: it is missing"),
        (
            serde_json::json!({ "recreate": ["/bin/x"], "pass_environment": ["CHAMBERLAIN_KEY"] }),
            "`pass_environment`",
        ),
        (serde_json::json!({ "vairable": "A" }), "unknown field `vairable`"),
        (serde_json::json!({ "kind": "envfile" }), "unknown variant `envfile`"),
    ] {
        let told = read(with(env_file(), more)).unwrap_err();
        assert!(told.contains(word), "{word}: {told}");
    }
    let key = format!("sk-ant-{}-{}AA", "api03", "a".repeat(93));
    let told = read(with(env_file(), serde_json::json!({ "recreate": ["/bin/x", key] })));
    assert!(told.unwrap_err().contains("others can see a command line"));
}

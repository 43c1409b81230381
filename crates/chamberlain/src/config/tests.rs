use super::*;
use chamberlain_control::settings::Settings;

fn now() -> Timestamp {
    Timestamp::from_rfc3339("2026-11-23T12:00:00Z").unwrap()
}

fn file(text: &str) -> Sources {
    Sources { file: Some(("c.toml".to_owned(), text.to_owned())), ..Sources::default() }
}

fn mistakes(text: &str) -> String {
    match load(&file(text), now()) {
        Ok(loaded) => loaded.warnings.to_string(),
        Err(mistakes) => mistakes.to_string(),
    }
}

fn settings_text(settings: &Settings) -> String {
    let sources = chamberlain_control::settings::Sources::default();
    format!("{:#?}", Settings { sources, ..settings.clone() })
}

#[test]
fn nothing_configured_is_the_house() {
    let loaded = load(&Sources::default(), now()).unwrap();
    assert_eq!(settings_text(&loaded.config.settings), settings_text(&Settings::default()));
    assert_eq!(loaded.warnings, Mistakes::default());
}

#[test]
fn all_mistakes_are_told_at_once_with_line_and_fix() {
    let told = mistakes(
        "version = 1\nlogg = \"info\"\n\n[server]\nlistn = \"127.0.0.1:1\"\nstop_grace = 30\n\
         workers = true\n\n[environments.production]\nbudgets.daily = 25.5\n\
         policy.networks_allow = [\"10.0.1.7/24\"]\npolicy.capabilities_deny = [\"image\"]\n\
         max_tokens = 3\n\n[retry]\ninitial_delay = \"20s\"\n",
    );
    insta::assert_snapshot!(told);
}

#[test]
fn broken_toml_is_shown_where_it_breaks() {
    insta::assert_snapshot!(mistakes("version = 1\n[server\nlisten = \"127.0.0.1:1\n"));
}

#[test]
fn a_key_written_twice_is_a_mistake() {
    let told =
        mistakes("version = 1\n[server]\nlisten = \"127.0.0.1:1\"\nlisten = \"127.0.0.1:2\"\n");
    assert!(told.starts_with("error: c.toml:4:1: duplicate key"), "{told}");
}

#[test]
fn the_version_is_asked_for() {
    assert!(mistakes("[server]\n").contains("the format version is missing"));
    let told = mistakes("version = 2\n");
    assert!(told.contains("version 2 of the format is not known"), "{told}");
    assert_eq!(told.matches("error:").count(), 1, "{told}");
}

#[test]
fn flag_beats_variable_beats_file_beats_preset() {
    let path = "server.listen";
    let mut sources = Sources::default();
    let listen = |sources: &Sources| load(sources, now()).unwrap().config.listen;
    assert_eq!(listen(&sources), "127.0.0.1:8787");
    sources.file =
        Some(("c.toml".to_owned(), "version = 1\nserver.listen = \"127.0.0.1:1\"".to_owned()));
    assert_eq!(listen(&sources), "127.0.0.1:1");
    sources.variables = vec![("CHAMBERLAIN_SERVER__LISTEN".to_owned(), "127.0.0.1:2".to_owned())];
    assert_eq!(listen(&sources), "127.0.0.1:2");
    sources.flags = vec![("--listen", path, "127.0.0.1:3".to_owned())];
    assert_eq!(listen(&sources), "127.0.0.1:3");
}

#[test]
fn every_key_has_a_variable_that_means_something() {
    let house = load(&Sources::default(), now()).unwrap();
    for key in keys::KEYS {
        if ["version", "prices", "sinks"].contains(&key.path) {
            continue;
        }
        let path = key.path.replace('*', "production");
        let table = format!("x = {}", key.example);
        let table = toml::de::DeTable::parse(&table).unwrap();
        let value = key.kind.read_toml(table.get_ref().get("x").unwrap().get_ref()).unwrap();
        let text = match value.to_toml(key.kind) {
            list if list.starts_with('[') => list.replace(['[', ']', '"', ' '], ""),
            word => word.trim_matches('"').to_owned(),
        };
        // The preset of production is the example for flags that are set there.
        let text =
            if key.path == "environments.*.pause_on_exceed" { "false".to_owned() } else { text };
        let variables = vec![(keys::variable_of(&path), text)];
        // Those of TLS mean something only beside a certificate and its key.
        let both = ["cert", "key"].map(|leaf| {
            (format!("CHAMBERLAIN_SERVER__TLS__{}", leaf.to_uppercase()), "/t".to_owned())
        });
        // A folder for backups means something only beside somebody who can read them.
        let reader = keys::find("backup.recipients").unwrap().example.replace(['[', ']', '"'], "");
        let reader = ("CHAMBERLAIN_BACKUP__RECIPIENTS".to_owned(), reader);
        let beside = match path.as_str() {
            "backup.folder" => vec![reader],
            _ if path.starts_with("server.tls.") => both.to_vec(),
            _ => Vec::new(),
        };
        let base = Sources { variables: beside.clone(), ..Sources::default() };
        let house = if beside.is_empty() { &house } else { &load(&base, now()).unwrap() };
        let variables = beside.into_iter().chain(variables).collect();
        let sources = Sources { variables, ..Sources::default() };
        let loaded = load(&sources, now()).unwrap_or_else(|m| panic!("{path}: {m}"));
        let (was, is) = (format!("{:?}", house.config), format!("{:?}", loaded.config));
        let strip = |text: String| text.split("sources: Sources").next().unwrap().to_owned();
        assert_ne!(strip(was), strip(is), "{path} changes nothing");
    }
}

#[test]
fn a_variable_with_a_slip_is_told_and_foreign_ones_are_let_be() {
    let sources = |name: &str| Sources {
        variables: vec![(name.to_owned(), "127.0.0.1:2".to_owned())],
        ..Sources::default()
    };
    let told = load(&sources("CHAMBERLAIN_SERVER__LISTN"), now()).unwrap_err().to_string();
    assert!(told.contains("did you mean CHAMBERLAIN_SERVER__LISTEN?"), "{told}");
    for foreign in ["CHAMBERLAIN_SERVICE_HOST", "CHAMBERLAIN_VERSION"] {
        assert!(load(&sources(foreign), now()).is_ok(), "{foreign}");
    }
}

#[test]
fn a_new_environment_begins_with_the_smallest_allowances() {
    let loaded =
        load(&file("version = 1\n[environments.pre-prod]\nlimits.concurrency = 3\n"), now())
            .unwrap();
    let environment = loaded.config.settings.environment("pre-prod").unwrap();
    let development = loaded.config.settings.environment("development").unwrap();
    assert_eq!(environment.budgets, development.budgets);
    assert_eq!(environment.limits.concurrency, Some(3));
    let told = mistakes("version = 1\n[environments.Production]\n");
    assert!(told.contains("\"Production\" cannot name an environment"), "{told}");
}

#[test]
fn an_environment_that_may_be_a_slip_is_asked_about() {
    let told = |name: &str| mistakes(&format!("version = 1\n[environments.{name}.budgets]\n"));
    let slip = told("prodution");
    assert!(slip.starts_with("warning: c.toml:2:15: \"prodution\" is an environment"), "{slip}");
    assert!(slip.contains("did you mean \"production\"?"), "{slip}");
    assert_eq!(told("production-eu"), "");
    let text = "version = 1\n[environments.prodution]\nbudgets.daily = \"1 USD\"\n";
    let loaded = load(&file(text), now()).unwrap();
    assert!(loaded.config.settings.environment("prodution").is_some(), "it may be meant");
}

#[test]
fn a_pinned_model_that_retires_is_a_warning_with_its_successor() {
    let text = "version = 1\n[environments.production]\n\
                policy.models_allow = [\"claude-sonnet-4-5-20250929\", \"claude-sonet-5-5\"]\n";
    insta::assert_snapshot!(mistakes(text));
}

#[test]
fn own_prices_are_read_and_their_mistakes_shown() {
    let row = |input: &str| {
        format!(
            "version = 1\n[[prices]]\nid = \"claude-next-1\"\ninput = {input}\noutput = \"9\"\n\
             cache_write_5m = \"1\"\ncache_write_1h = \"1\"\ncache_read = \"1\"\n"
        )
    };
    let loaded = load(&file(&row("\"4.5\"")), now()).unwrap();
    assert!(loaded.config.settings.prices.model("claude-next-1").is_some());
    let told = mistakes(&row("4.5"));
    assert!(told.starts_with("error: c.toml:4:9: `prices`"), "{told}");
}

#[test]
fn the_sample_passes_its_own_check() {
    let text = sample::text(now());
    let loaded = load(&file(&text), now()).unwrap();
    // Only what the sample says itself: the pinned model retires.
    let warnings = loaded.warnings.to_string();
    assert_eq!(loaded.warnings.0.len(), 1, "{warnings}");
    assert!(warnings.contains("retires on 2026-11-30"), "{warnings}");
    for key in keys::KEYS.iter().filter(|key| !key.path.contains('*')) {
        let leaf = key.path.rsplit('.').next().unwrap();
        assert!(text.contains(leaf), "{} is missing", key.path);
    }
    assert!(text.lines().all(|line| line.len() <= 160), "a line is too long");
}

#[test]
fn what_the_sample_comments_out_is_what_holds_anyway() {
    let text = sample::text(now());
    let uncommented: String = text
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(rest) if rest.contains(" = ") && !rest.contains("models_allow = [\"") => rest,
            _ => line,
        })
        .take_while(|line| !line.starts_with("# Own prices"))
        .filter(|line| !line.starts_with("data = \"\""))
        .flat_map(|line| [line, "\n"])
        .collect();
    let bare = load(&file(&text), now()).unwrap().config.settings;
    let full = load(&file(&uncommented), now()).unwrap_or_else(|m| panic!("{m}")).config.settings;
    assert_eq!(settings_text(&bare), settings_text(&full));
}

#[test]
fn a_reload_says_what_waits_for_a_restart() {
    let of = |text: &str| load(&file(text), now()).unwrap().config;
    let before = of("version = 1\n");
    let after = of("version = 1\nserver.listen = \"127.0.0.1:1\"\nqueue.calls_max = 7\n");
    assert_eq!(before.waiting_for_restart(&after), ["server.listen"]);
    assert_eq!(before.waiting_for_restart(&before), [""; 0]);
}

#[test]
fn sinks_are_read_and_their_mistakes_shown() {
    let sink = |rest: &str| {
        format!(
            "version = 1\n[sinks.app]\nkind = \"env_file\"\nenvironment = \"production\"\n\
             variable = \"KEY\"\npath = \"/opt/app/.env\"\n{rest}"
        )
    };
    let loaded = load(&file(&sink("timeout = \"5s\"\n")), now()).unwrap();
    let [found] = loaded.config.settings.sinks.as_slice() else { panic!("not one") };
    assert_eq!((found.name.as_str(), found.timeout_ms), ("app", 5_000));
    for (rest, place, what) in [
        ("repository = \"a/b\"\n", "c.toml:7:14", "`repository`: it means nothing"),
        ("timeuot = \"5s\"\n", "c.toml:7:1", "unknown field `timeuot`"),
        (
            "recreate = [\"/usr/bin/docker\", \"restart\", \"bot\"]\n",
            "c.toml:7:12",
            "a restarted container keeps the environment",
        ),
    ] {
        let told = mistakes(&sink(rest));
        assert!(told.contains(place) && told.contains(what), "{told}");
    }
    let told = mistakes(&sink("").replace("production", "prod"));
    assert!(told.contains("there is no such environment"), "{told}");
    let told = mistakes("version = 1\nsinks = 3\n");
    assert!(told.contains("expected [sinks.NAME] tables"), "{told}");
}

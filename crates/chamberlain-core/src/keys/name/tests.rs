use proptest::prelude::*;

use super::*;

const HOUSE: [&str; 3] = ["production", "staging", "development"];

fn day(text: &str) -> Date {
    Date::parse(text).unwrap()
}

#[test]
fn the_three_sample_names_are_read() {
    for (name, environment, purpose) in [
        ("agentic-base-prod-translation-2025-12-08", "production", "translation"),
        ("agentic-base-staging-testing-2025-12-08", "staging", "testing"),
        ("agentic-base-dev-local-2025-12-08", "development", "local"),
    ] {
        let read = parse(name, &HOUSE).unwrap();
        assert_eq!(
            (read.project.as_str(), read.environment.as_str(), read.purpose.as_str(), read.date),
            ("agentic-base", environment, purpose, day("2025-12-08"))
        );
        assert_eq!(read.to_string(), name);
    }
}

#[test]
fn the_bad_names_are_told_what_they_lack() {
    let mistake = |name| parse(name, &HOUSE).unwrap_err();
    for name in ["my-key", "test", "api-key-1", "", "2025-12-08"] {
        assert_eq!(mistake(name), NameMistake::NoDate, "{name}");
    }
    assert_eq!(mistake("a-prod-b-2025-02-30"), NameMistake::BadDate("2025-02-30".to_owned()));
    assert_eq!(mistake("prod-b-2025-12-08"), NameMistake::NoProject);
    assert_eq!(mistake("a-prod-2025-12-08"), NameMistake::NoPurpose);
    assert_eq!(
        mistake("a-live-b-2025-12-08"),
        NameMistake::NoEnvironment("prod, staging, dev".to_owned())
    );
    assert_eq!(mistake("A-prod-b-2025-12-08"), NameMistake::Character('A'));
    assert_eq!(mistake("a_b-prod-c-2025-12-08"), NameMistake::Character('_'));
    for name in ["a--prod-b-2025-12-08", "-a-prod-b-2025-12-08", "a-prod-b--2025-12-08"] {
        assert_eq!(mistake(name), NameMistake::Character('-'), "{name}");
    }
}

#[test]
fn an_environment_of_ones_own_is_found_whole() {
    let read = parse("shop-eu-prod-search-2026-01-02", &["eu-prod", "eu"]).unwrap();
    assert_eq!((read.environment.as_str(), read.purpose.as_str()), ("eu-prod", "search"));
    // A project may be called like an environment, and so may a purpose.
    let read = parse("dev-tools-prod-test-runs-2026-01-02", &HOUSE).unwrap();
    assert_eq!((read.project.as_str(), read.environment.as_str()), ("dev-tools", "production"));
    assert_eq!(read.purpose, "test-runs");
}

#[test]
fn a_name_is_compared_with_what_is_stored() {
    let read = parse("agentic-base-prod-translation-2025-12-08", &HOUSE).unwrap();
    let made = Some(day("2025-12-08"));
    assert_eq!(read.conflicts(Some("production"), Some("Translation"), made), []);
    assert_eq!(read.conflicts(None, None, None), []);
    let conflicts = read.conflicts(Some("staging"), Some("search"), Some(day("2025-12-09")));
    let texts: Vec<String> = conflicts.iter().map(ToString::to_string).collect();
    assert_eq!(
        texts,
        [
            "its name says production and it belongs to staging",
            "its name says it is for translation and it is kept as for search",
            "its name says 2025-12-08 and it was made on 2025-12-09",
        ]
    );
}

#[test]
fn what_is_suggested_is_free() {
    let taken = ["a-prod-b-2026-11-24", "a-prod-b-2-2026-11-24"];
    let suggested = suggest(Some("a"), "production", Some("b"), day("2026-11-24"), |name| {
        taken.contains(&name)
    });
    assert_eq!(suggested, "a-prod-b-3-2026-11-24");
    assert_eq!(
        suggest(None, "staging", None, day("2026-11-24"), |_| false),
        "project-staging-general-2026-11-24"
    );
}

proptest! {
    /// Whatever people call their project and purpose, the suggested name is read back as what it
    /// was made from.
    #[test]
    fn a_suggestion_is_a_name(
        project in "\\PC{0,40}",
        purpose in "\\PC{0,40}",
        environment in prop::sample::select(vec!["production", "staging", "development", "eu-prod", "qa"]),
        days in -20_000_i64..20_000,
    ) {
        let date = day("2026-11-24").plus_days(days);
        let name = suggest(Some(&project), environment, Some(&purpose), date, |_| false);
        let environments = ["production", "staging", "development", "eu-prod", "qa"];
        let read = parse(&name, &environments);
        prop_assert!(read.is_ok(), "{} is no name: {:?}", name, read);
        let read = read.unwrap();
        prop_assert_eq!(read.to_string(), name);
        prop_assert_eq!(read.date, date);
    }

    /// No text makes it panic, and what it reads it writes again.
    #[test]
    fn any_text_is_a_name_or_a_mistake(text in "[a-z0-9-]{0,60}|\\PC{0,30}|[a-z-]{1,20}-(prod|dev)-[a-z]{1,9}-2026-[01][0-9]-[0-3][0-9]") {
        if let Ok(read) = parse(&text, &HOUSE) {
            prop_assert_eq!(read.to_string(), text);
        }
    }
}

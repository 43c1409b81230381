use super::*;

#[test]
fn the_grammar_holds_together() {
    grammar().debug_assert();
}

fn parse(line: &str) -> Result<Cli, clap::Error> {
    let words = std::iter::once("chamberlain").chain(line.split(' '));
    let matches = grammar().try_get_matches_from(words)?;
    Cli::from_arg_matches(&matches)
}

#[test]
fn a_virtual_key_is_made_with_the_flags_that_are_promised() {
    let line = "virtual create --name n --environment e --daily 1 --monthly 25.00 --rpm 1 \
                --input-tpm 2 --output-tpm 3 --concurrency 4 --model claude-haiku-* --model x \
                --operation a --operation b --cidr 10.0.0.0/8 --expires 30d --test-mode \
                --data d --json";
    let cli = parse(line).unwrap();
    assert!(cli.globals.json);
    assert_eq!(cli.globals.data, Some(PathBuf::from("d")));
}

#[test]
fn every_command_takes_data_and_json() {
    fn walk(command: &clap::Command, path: &str) {
        for verb in command.get_subcommands() {
            let path = format!("{path} {}", verb.get_name());
            let has = |name: &str| verb.get_arguments().any(|arg| arg.get_long() == Some(name));
            assert!(has("data") && has("json"), "{path}");
            walk(verb, &path);
        }
    }
    let mut command = grammar();
    command.build();
    walk(&command, "chamberlain");
}

#[test]
fn every_noun_begins_its_help_with_examples() {
    for noun in grammar().get_subcommands_mut() {
        if noun.get_name() == "help" {
            continue;
        }
        let name = noun.get_name().to_owned();
        let help = noun.render_long_help().to_string();
        let examples = help.find("Examples:").unwrap_or_else(|| panic!("{name} has none"));
        assert!(examples < help.find("Usage:").unwrap(), "{name}");
    }
}

#[test]
fn a_key_is_never_an_argument() {
    let error = parse("key add --name n sk-something").unwrap_err();
    assert_eq!(error.kind(), clap::error::ErrorKind::UnknownArgument);
}

#[test]
fn a_slip_is_answered_with_what_was_meant() {
    let error = parse("virtuel list").unwrap_err().to_string();
    assert!(error.contains("'virtual'"), "{error}");
    for bad in ["budget set x --daily 1e3", "virtual create --name n --environment e --rpm 0"] {
        assert!(parse(bad).is_err(), "{bad}");
    }
}

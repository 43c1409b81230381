use super::*;

fn read(text: &str) -> Result<Command, serde_json::Error> {
    serde_json::from_str(text)
}

#[test]
fn a_command_is_tagged_by_its_name() {
    let command = read(
        r#"{"command":"virtual.create","name":"ci","environment":"staging","daily":"5",
            "rpm":3,"cidrs":["10.0.1.0/24"],"expires":"30d"}"#,
    )
    .unwrap();
    assert_eq!((command.name(), command.changes()), ("virtual.create", true));
    let Command::VirtualCreate(create) = command else { panic!("another command") };
    assert_eq!((create.name.as_str(), create.daily), ("ci", Some(Money::from_usd(5))));
    assert_eq!((create.rpm, create.monthly), (Some(3), None));
}

#[test]
fn what_is_not_known_is_refused() {
    for text in [
        r#"{"command":"virtual.delete","key":"ci"}"#,
        r#"{"command":"virtual.freeze","key":"ci","reason":"r","resaon":"r"}"#,
        r#"{"command":"status","verbose":true}"#,
        r#"{"command":"write_off","call":"x","cost":1.5,"reason":"r"}"#,
        r#"{"command":"virtual.freeze","key":"ci"}"#,
        r#"{}"#,
        r#"[]"#,
    ] {
        assert!(read(text).is_err(), "{text}");
    }
}

#[test]
fn bare_commands_need_only_their_name() {
    for name in ["status", "doctor", "audit.checkpoint", "budget.list", "cost.today"] {
        let command = read(&format!(r#"{{"command":"{name}"}}"#)).unwrap();
        assert_eq!(command.name(), name);
        assert!(Command::NAMES.contains(&name));
    }
}

#[test]
fn a_command_survives_the_wire_without_printing_its_secret() {
    let command: Command = KeyAdd {
        name: "main".to_owned(),
        environment: None,
        secret: SecretText::new(chamberlain_core::secret::Secret::new("planted".to_owned())),
        about: KeyAbout::default(),
        staged: false,
    }
    .into();
    assert!(!format!("{command:?}").contains("planted"));
    let Command::KeyAdd(back) = read(&serde_json::to_string(&command).unwrap()).unwrap() else {
        panic!("another command")
    };
    assert_eq!(back.secret.secret().expose(), "planted");
    let update: Command = VirtualUpdate {
        key: "ci".to_owned(),
        rpm: Change::Off,
        daily: Change::Set(Money::from_usd(2)),
        ..VirtualUpdate::default()
    }
    .into();
    let Command::VirtualUpdate(back) = read(&serde_json::to_string(&update).unwrap()).unwrap()
    else {
        panic!("another command")
    };
    assert_eq!((back.rpm, back.daily), (Change::Off, Change::Set(Money::from_usd(2))));
    assert!(back.monthly.is_keep() && back.models.is_none());
}

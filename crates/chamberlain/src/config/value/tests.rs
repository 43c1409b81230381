use super::*;

#[test]
fn durations_and_sizes_need_their_unit() {
    let duration = Kind::Duration(0, u64::MAX);
    assert_eq!(duration.read_text("1h30m"), Ok(Value::Number(5_400_000)));
    assert_eq!(duration.read_text("250ms"), Ok(Value::Number(250)));
    for bad in ["", "30", "s", "1x", "-1s", "1.5s", "99999999999999d"] {
        assert!(duration.read_text(bad).is_err(), "{bad:?} was taken");
    }
    let size = Kind::Size(0, u64::MAX);
    assert_eq!(size.read_text("32MiB"), Ok(Value::Number(32 << 20)));
    assert!(size.read_text("32M").is_err());
}

#[test]
fn what_is_shown_can_be_read_back() {
    for (kind, text) in [
        (Kind::Duration(0, u64::MAX), "90s"),
        (Kind::Size(0, u64::MAX), "33554432B"),
        (Kind::OptionalMoney, "25.5 USD"),
        (Kind::OptionalMoney, "off"),
        (Kind::OptionalCount, "off"),
        (Kind::Networks, "10.0.1.0/24,192.168.1.100/32"),
        (Kind::Capabilities, "images,web_search"),
        (Kind::Capabilities, "all"),
        (Kind::Percents, "75,90,100"),
        (Kind::Flag, "true"),
    ] {
        let value = kind.read_text(text).unwrap();
        let shown = format!("x = {}", value.to_toml(kind));
        let table = toml::de::DeTable::parse(&shown).unwrap();
        let back = table.get_ref().get("x").unwrap();
        assert_eq!(kind.read_toml(back.get_ref()), Ok(value), "{shown}");
    }
}

#[test]
fn a_mistake_says_what_to_write() {
    let fix = |kind: Kind, text: &str| kind.read_text(text).unwrap_err().fix;
    assert_eq!(fix(Kind::Networks, "10.0.1.7/24"), "write \"10.0.1.0/24\"");
    assert_eq!(fix(Kind::Networks, "10.0.1.7"), "write \"10.0.1.7/32\"");
    assert_eq!(fix(Kind::Address, "8787"), "write \"127.0.0.1:8787\"");
    assert_eq!(fix(Kind::OptionalMoney, "25"), "write \"25.00 USD\"");
    assert_eq!(fix(Kind::Capabilities, "web-search"), "did you mean \"web_search\"?");
    assert_eq!(fix(Kind::Duration(1_000, 2_000), "5s"), "write at most \"2s\"");
}

#[test]
fn an_upstream_address_carries_no_path_and_no_password() {
    assert!(Kind::Url.read_text("https://user:word@example.org").is_err());
    assert!(Kind::Url.read_text("https://example.org/v1").is_err());
    assert!(Kind::Url.read_text("ftp://example.org").is_err());
    assert_eq!(
        Kind::Url.read_text("http://127.0.0.1:9000/"),
        Ok(Value::Text("http://127.0.0.1:9000".to_owned()))
    );
}

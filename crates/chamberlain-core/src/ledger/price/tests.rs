use super::*;

fn at(day: &str) -> Timestamp {
    Timestamp::from_rfc3339(&format!("{day}T00:00:00Z")).unwrap()
}

fn query(day: &str) -> PriceQuery {
    PriceQuery { at: at(day), speed: Speed::Standard, us_only: false, prompt_tokens: 0 }
}

fn pico(pico: u64) -> UsdPerMtok {
    UsdPerMtok::from_pico_per_token(pico)
}

fn own(id: &str, input: &str) -> PriceOverride {
    let json = serde_json::json!({
        "id": id, "input": input, "output": "20",
        "cache_write_5m": "5", "cache_write_1h": "8", "cache_read": "0.2",
    });
    serde_json::from_value(json).unwrap()
}

#[test]
fn a_price_is_whole_picodollars_a_token() {
    assert_eq!("0.005".parse(), Ok(pico(5_000)));
    assert_eq!("12.5".parse(), Ok(pico(12_500_000)));
    assert_eq!("0.00001".parse(), Ok(pico(10)));
    assert_eq!("1000000".parse(), Ok(pico(1_000_000_000_000)));
    assert_eq!(pico(125_000).to_string(), "0.125");
    assert_eq!(pico(15_000_000).to_string(), "15.00");
}

#[test]
fn what_is_not_an_exact_price_is_refused() {
    for text in ["", ".5", "5.", "-1", "+1", "1e3", "1,5", "NaN", "five", " 1"] {
        assert!(matches!(text.parse::<UsdPerMtok>(), Err(RateError::NotDecimal(_))), "{text:?}");
    }
    assert!(matches!("0.000001".parse::<UsdPerMtok>(), Err(RateError::TooFine(_))));
    for text in ["0", "0.0", "1000000.00001", "99999999999999999999999"] {
        assert!(matches!(text.parse::<UsdPerMtok>(), Err(RateError::OutOfRange(_))), "{text:?}");
    }
    assert!(serde_json::from_str::<UsdPerMtok>("0.1").is_err(), "a float was taken");
}

#[test]
fn the_builtin_book_reads_and_agrees_with_its_own_statuses() {
    let text = include_str!("../prices.json");
    let book = PriceBook::read(text).unwrap();
    let file: serde_json::Value = serde_json::from_str(text).unwrap();
    let models = file["models"].as_array().unwrap();
    assert_eq!(book.models().len(), models.len());
    let now = at(book.as_of());
    for entry in models {
        let model = book.model(entry["id"].as_str().unwrap()).unwrap();
        let lifecycle = serde_json::to_value(book.lifecycle(model, now)).unwrap();
        assert_eq!(lifecycle, entry["status"], "{}", model.id);
    }
    assert_eq!(book.web_search(), "0.01".parse().unwrap());
    assert_eq!(book.digest().len(), 64);
}

#[test]
fn newest_first_and_found_by_every_name() {
    let book = PriceBook::builtin();
    assert_eq!(book.models()[0].id, "claude-fable-5-2");
    let released: Vec<_> = book.models().iter().map(|model| model.released.clone()).collect();
    assert!(released.windows(2).all(|pair| pair[0] >= pair[1]));
    assert_eq!(book.model("claude-haiku-4-5").unwrap().id, "claude-haiku-4-5-20251001");
    assert!(book.model("claude-haiku").is_none());
    assert!(book.model("").is_none());
}

#[test]
fn sonnet_5_5_cache_reads_became_cheaper_on_a_day() {
    let book = PriceBook::builtin();
    let read = |moment: &str| {
        let moment = Timestamp::from_rfc3339(moment).unwrap();
        let query = PriceQuery { at: moment, ..query("2026-11-23") };
        book.rates("claude-sonnet-5-5", query).map(|rates| rates.cache_read)
    };
    assert_eq!(read("2026-10-06T23:59:59.999Z"), Ok(200_000));
    assert_eq!(read("2026-10-07T00:00:00Z"), Ok(100_000));
    let before = read("2026-09-27T23:59:59Z");
    assert_eq!(before, Err(Unpriced::NoPriceInForce("claude-sonnet-5-5".into())));
}

#[test]
fn an_old_long_context_price_ended_on_a_day() {
    let book = PriceBook::builtin();
    let input = |day, prompt_tokens| {
        let query = PriceQuery { prompt_tokens, ..query(day) };
        book.rates("claude-sonnet-4-6", query).unwrap().input
    };
    assert_eq!(input("2026-03-12", 200_000), 3_000_000);
    assert_eq!(input("2026-03-12", 200_001), 6_000_000);
    assert_eq!(input("2026-03-13", 200_001), 3_000_000);
}

#[test]
fn haiku_5_5_costs_five_times_more_above_a_hundred_thousand() {
    let book = PriceBook::builtin();
    let rates = |prompt_tokens| {
        book.rates("claude-haiku-5-5", PriceQuery { prompt_tokens, ..query("2026-11-23") }).unwrap()
    };
    let short = rates(100_000);
    assert_eq!(short.zip(short, |rate, _| rate * 5), rates(100_001));
    assert_eq!((short.input, short.output), (100_000, 500_000));
}

#[test]
fn us_only_is_exactly_one_point_one() {
    let book = PriceBook::builtin();
    for line in book.in_force(at("2026-11-23")) {
        let query = PriceQuery { us_only: true, ..query("2026-11-23") };
        let us = book.rates(&line.model.id, query).unwrap();
        assert_eq!(us.zip(us, |rate, _| rate * 10), line.standard.zip(us, |rate, _| rate * 11));
    }
}

#[test]
fn fast_mode_has_its_own_prices_and_ends() {
    let book = PriceBook::builtin();
    let fast = |model, day| book.rates(model, PriceQuery { speed: Speed::Fast, ..query(day) });
    assert_eq!(fast("claude-opus-5-5", "2026-11-23").unwrap().output, 40_000_000);
    assert_eq!(fast("claude-opus-4-8", "2026-11-29").unwrap().output, 50_000_000);
    let gone = Err(Unpriced::NoFastPrice("claude-opus-4-8".into()));
    assert_eq!(fast("claude-opus-4-8", "2026-11-30"), gone);
    assert!(fast("claude-sonnet-5-5", "2026-11-23").is_err());
}

#[test]
fn a_model_retires_at_midnight_utc() {
    let book = PriceBook::builtin();
    let model = book.model("claude-sonnet-4-5").unwrap();
    let lifecycle = |moment| book.lifecycle(model, Timestamp::from_rfc3339(moment).unwrap());
    assert_eq!(lifecycle("2026-09-29T23:59:59Z"), Lifecycle::Active);
    assert_eq!(lifecycle("2026-11-29T23:59:59.999Z"), Lifecycle::Deprecated);
    assert_eq!(lifecycle("2026-11-30T00:00:00Z"), Lifecycle::Retired);
    assert_eq!(
        book.lifecycle(book.model("claude-mythos-5").unwrap(), at("2026-11-23")),
        Lifecycle::Active
    );
}

#[test]
fn the_dearest_rates_are_no_lower_than_any_served_model() {
    let book = PriceBook::builtin();
    let dearest = book.dearest_rates(query("2026-11-23")).unwrap();
    assert_eq!(dearest.output, 50_000_000, "Fable 5, not the retired Opus 4.1");
    assert_eq!(dearest.cache_read, 1_000_000);
}

#[test]
fn an_own_row_holds_from_its_day() {
    let rows = vec![PriceOverride {
        effective_from: Some("2026-12-01".into()),
        ..own("claude-opus-5-5", "7")
    }];
    let book = PriceBook::builtin().with_overrides(rows).unwrap();
    assert_eq!(book.rates("claude-opus-5-5", query("2026-11-30")).unwrap().input, 4_000_000);
    assert_eq!(book.rates("claude-opus-5-5", query("2026-12-01")).unwrap().input, 7_000_000);
    let fast = PriceQuery { speed: Speed::Fast, ..query("2026-12-01") };
    assert!(book.rates("claude-opus-5-5", fast).is_err(), "nobody said what fast costs then");
    assert_ne!(book.digest(), PriceBook::builtin().digest());
}

#[test]
fn an_own_row_without_a_day_replaces_all_and_a_new_model_is_served() {
    let book = PriceBook::builtin()
        .with_overrides(vec![
            own("claude-sonnet-5-5", "9"),
            PriceOverride { aliases: vec!["claude-next".into()], ..own("claude-next-1", "3") },
        ])
        .unwrap();
    assert_eq!(book.rates("claude-sonnet-5-5", query("2026-10-01")).unwrap().input, 9_000_000);
    let next = book.model("claude-next").unwrap();
    assert_eq!((next.id.as_str(), next.context_window), ("claude-next-1", 1_000_000));
    assert_eq!(book.lifecycle(next, at("2026-11-23")), Lifecycle::Active);
    assert_eq!(book.rates("claude-next", query("2026-11-23")).unwrap().input, 3_000_000);
}

#[test]
fn the_order_of_own_rows_does_not_matter() {
    let early = own("claude-opus-5", "6");
    let late =
        PriceOverride { effective_from: Some("2026-12-01".into()), ..own("claude-opus-5", "7") };
    let one = PriceBook::builtin().with_overrides(vec![early.clone(), late.clone()]).unwrap();
    let two = PriceBook::builtin().with_overrides(vec![late, early]).unwrap();
    assert_eq!(one.digest(), two.digest());
    for book in [one, two] {
        assert_eq!(book.rates("claude-opus-5", query("2026-11-23")).unwrap().input, 6_000_000);
        assert_eq!(book.rates("claude-opus-5", query("2026-12-01")).unwrap().input, 7_000_000);
    }
}

#[test]
fn own_rows_that_cannot_be_right_are_refused() {
    let refused = |row: PriceOverride| PriceBook::builtin().with_overrides(vec![row]).unwrap_err();
    let haiku = refused(own("claude-haiku-5-5", "0.2"));
    assert!(matches!(haiku, PriceError::LongContextMissing { above: 100_000, .. }), "{haiku}");
    let date = PriceOverride { effective_from: Some("1.12.2026".into()), ..own("claude-x", "1") };
    assert!(matches!(refused(date), PriceError::Date { .. }));
    let alias = PriceOverride { aliases: vec!["claude-opus-5".into()], ..own("claude-x", "1") };
    assert!(matches!(refused(alias), PriceError::AliasTaken { .. }));
    let window = PriceOverride { context_window: Some(200_000), ..own("claude-opus-5", "1") };
    assert!(matches!(refused(window), PriceError::Shrinks { known: 1_000_000, .. }));
    assert!(matches!(refused(own("claude *", "1")), PriceError::Id(_)));
    let twice = vec![own("claude-haiku-4-5", "1"), own("claude-haiku-4-5-20251001", "2")];
    let twice = PriceBook::builtin().with_overrides(twice).unwrap_err();
    assert!(matches!(twice, PriceError::Twice { .. }));
}

#[test]
fn an_unknown_field_in_an_own_row_is_refused() {
    let mut json = serde_json::to_value(own("claude-x", "1")).unwrap();
    json["cache_writes"] = "1".into();
    assert!(serde_json::from_value::<PriceOverride>(json).is_err());
}

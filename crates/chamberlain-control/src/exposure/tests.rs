use chamberlain_core::id::{CallId, EnvironmentName, UpstreamKeyId, VirtualKeyId};
use chamberlain_core::record::{Outcome, Route};
use chamberlain_store::CallEnd;

use super::*;

const NOON: Timestamp = Timestamp::from_ms(1_795_435_200_000);

fn call(n: u8, minutes: i64, model: &str, source: [u8; 4], cents: Option<i64>) -> CallRow {
    let at = NOON.plus_ms(minutes * 60_000);
    let end = cents.map(|cents| CallEnd {
        seq: u64::from(n),
        at,
        outcome: Some(Outcome::Completed),
        certainty: Certainty::Settled,
        cost: Money::from_pico(i128::from(cents) * 10_000_000_000),
        served_model: Some(model.to_owned()),
        tokens: Tokens { input: 100, output: 10, ..Tokens::default() },
        status: Some(200),
        upstream_request_id: None,
        stop_reason: None,
        attempts: Some(1),
        first_byte_ms: None,
        duration_ms: None,
    });
    CallRow {
        seq: u64::from(n),
        id: CallId::mint(at, [n; 10]),
        at,
        virtual_key: VirtualKeyId::new("k1"),
        environment: EnvironmentName::new("production"),
        upstream_key: Some(UpstreamKeyId::new("uk_1")),
        route: Route::Messages,
        operation: None,
        model: model.to_owned(),
        max_tokens: 100,
        stream: false,
        source: source.into(),
        reserved: Money::from_usd(1),
        intent_seq: u64::from(n),
        end,
    }
}

fn hour(model: &str, input: u64, output: u64) -> UsedHour {
    let tokens = Tokens { input, output, ..Tokens::default() };
    UsedHour { at: NOON, model: model.to_owned(), tokens, web_searches: 0 }
}

fn tally() -> Tally {
    let mut tally = Tally::default();
    tally.add(&call(1, 0, "opus", [10, 0, 0, 1], Some(50)), "ci (k1)");
    tally.add(&call(2, 61, "haiku", [10, 0, 0, 1], Some(5)), "ci (k1)");
    tally.add(&call(3, 62, "haiku", [192, 0, 2, 7], None), "ci (k1)");
    tally
}

#[test]
fn every_call_is_in_every_list_once() {
    let report = tally().report(NOON, NOON.plus_ms(7_200_000), Vec::new());
    for shares in [
        &report.models,
        &report.sources,
        &report.virtual_keys,
        &report.upstream_keys,
        &report.operations,
        &report.outcomes,
        &report.hours,
    ] {
        assert_eq!(shares.iter().map(|share| share.calls).sum::<u64>(), 3);
        let cost = shares.iter().fold(Money::ZERO, |all, share| sum(all, share.cost));
        assert_eq!(cost, report.all.cost);
    }
    assert_eq!((report.all.calls, report.all.open), (3, 1));
    // An open call counts with what is set aside for it, so that nothing looks free.
    assert_eq!(report.all.cost.to_decimal(), "1.55");
    assert_eq!(report.all.first, Some(NOON.into()));
    assert_eq!(report.all.last, Some(NOON.plus_ms(62 * 60_000).into()));
    assert_eq!(report.sources[0].name, "192.0.2.7", "the dearest first");
    assert_eq!(report.hours.len(), 2);
}

#[test]
fn what_anthropic_counts_beyond_our_record_is_found_by_category() {
    let tally = tally();
    let same = tally.beside(&[hour("opus", 100, 10), hour("haiku", 100, 10)], NOON, NOON);
    assert_eq!((same.beyond, same.models.len()), (0, 2));
    // Less input does not make up for more output, and an unknown model is use past us.
    let more = tally.beside(&[hour("opus", 0, 15), hour("sonnet", 1_000, 1)], NOON, NOON);
    assert_eq!(more.beyond, 5 + 1_001);
    assert_eq!((more.models[0].model.as_str(), more.models[0].beyond), ("sonnet", 1_001));
    let haiku = more.models.iter().find(|counted| counted.model == "haiku").unwrap();
    assert_eq!((haiku.beyond, haiku.here.output), (0, 10), "they are late, not we");
}

#[test]
fn a_flood_of_sources_stays_short_and_loses_nothing() {
    let mut tally = Tally::default();
    for n in 0..200u8 {
        tally.add(&call(n, 0, "opus", [10, 0, 0, n], Some(1)), "ci");
    }
    let report = tally.report(NOON, NOON, Vec::new());
    assert_eq!(report.sources.len(), SHARES_MAX);
    let last = report.sources.last().unwrap();
    assert_eq!((last.name.as_str(), last.calls), (OTHERS, 151));
}

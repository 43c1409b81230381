//! One test per row of the table.

use chamberlain_core::usage::Usage;

use super::*;

const MODEL: &str = "claude-haiku-4-5-20251001";

fn reserved() -> Money {
    Money::from_usd(1)
}

fn judged(seen: Seen, gone: Option<Gone>, free: bool) -> Verdict {
    judged_with(seen, gone, free, false)
}

fn judged_with(seen: Seen, gone: Option<Gone>, free: bool, samples_again: bool) -> Verdict {
    let prices = PriceBook::builtin();
    let bill = Bill { free, samples_again, ..bill(&prices) };
    judge(&End { gone, ..End::new(seen, 200) }, &bill)
}

fn bill(prices: &PriceBook) -> Bill<'_> {
    Bill {
        free: false,
        reserved: reserved(),
        at: Timestamp::from_rfc3339("2026-11-23T12:00:00Z").unwrap(),
        requested_model: MODEL,
        max_tokens: 1_000,
        samples_again: false,
        short: false,
        works_later: false,
        assume_us_geo: false,
        prices,
    }
}

fn row(seen: Seen, gone: Option<Gone>) -> (Outcome, Certainty, Money) {
    let verdict = judged(seen, gone, false);
    (verdict.outcome, verdict.certainty, verdict.cost)
}

/// Haiku 4.5: one dollar a million in, five out; this usage costs 0.0011 dollars.
fn metered(is_final: bool) -> Metered {
    let totals = Tokens { input: 100, output: 200, ..NO_TOKENS };
    Metered {
        usage: Some(Usage { totals, ..Usage::default() }),
        is_final,
        served_model: Some(MODEL.to_owned()),
        ..Metered::default()
    }
}

fn answered(metered: Metered, whole: bool) -> Seen {
    Seen::Answered { metered: Box::new(metered), whole }
}

const EXACT: Money = Money::from_pico(1_100_000_000);

#[test]
fn a_batch_that_was_taken_stays_charged_until_its_results_tell() {
    let taken = (Outcome::Completed, Certainty::Unsettled, reserved());
    assert_eq!(row(Seen::Accepted, None), taken);
    assert_eq!(judged(Seen::Accepted, None, false).concern, None);
    let left = (Outcome::ClientLeft, Certainty::Unsettled, reserved());
    assert_eq!(row(Seen::Accepted, Some(Gone::Left)), left);
}

#[test]
fn a_batch_whose_submission_failed_may_have_been_taken() {
    let prices = PriceBook::builtin();
    let bill = Bill { works_later: true, ..bill(&prices) };
    let charged = |status| {
        let verdict = judge(&End::new(Seen::Refused { status, by_api: true }, status), &bill);
        (verdict.certainty, verdict.cost)
    };
    for status in [500, 502, 504] {
        assert_eq!(charged(status), (Certainty::Unsettled, reserved()), "{status}");
    }
    for status in [400, 413, 429, 503, 529] {
        assert_eq!(charged(status), (Certainty::Settled, Money::ZERO), "{status}");
    }
}

#[test]
fn final_usage_is_charged_exactly() {
    let verdict = judged(answered(metered(true), true), None, false);
    assert_eq!((verdict.outcome, verdict.cost), (Outcome::Completed, EXACT));
    assert_eq!(verdict.certainty, Certainty::Settled);
    assert_eq!(verdict.counted.map(|tokens| (tokens.input, tokens.output)), Some((100, 200)));
    assert_eq!(verdict.concern, None);
}

#[test]
fn final_usage_counts_even_when_the_end_was_not_seen() {
    let cut = row(answered(metered(true), false), None);
    assert_eq!(cut, (Outcome::Cut, Certainty::Settled, EXACT));
}

#[test]
fn what_broke_off_is_estimated_from_above() {
    let verdict = judged(answered(metered(false), false), None, false);
    assert_eq!((verdict.outcome, verdict.certainty), (Outcome::Cut, Certainty::Estimated));
    assert!(verdict.cost >= EXACT && verdict.cost <= reserved(), "{:?}", verdict.cost);
}

#[test]
fn what_may_have_sampled_again_is_not_estimated() {
    let verdict = judged_with(answered(metered(false), false), None, false, true);
    assert_eq!((verdict.certainty, verdict.cost), (Certainty::Unsettled, reserved()));
    let verdict = judged_with(answered(metered(true), true), None, false, true);
    assert_eq!((verdict.certainty, verdict.cost), (Certainty::Settled, EXACT));
}

#[test]
fn a_stream_that_was_to_be_ended_in_time_and_ended_before_is_reckoned_by_its_bytes() {
    let prices = PriceBook::builtin();
    let judged = |metered: Metered, reserved| {
        let bill = Bill { short: true, reserved, ..bill(&prices) };
        let left = End { gone: Some(Gone::Left), ..End::new(answered(metered, false), 200) };
        let verdict = judge(&left, &bill);
        assert_eq!(verdict.outcome, Outcome::ClientLeft);
        (verdict.certainty, verdict.cost)
    };
    let seen = Metered { delivered_chars: 300, blocks: 1, ..metered(false) };
    // 100 in; 300 bytes, 64 for the block and 1,024 that may have been on their way out.
    let spent = Money::from_pico(100_000_000 + (300 + 64 + 1_024) * 5_000_000);
    assert_eq!(judged(seen.clone(), reserved()), (Certainty::Estimated, spent));
    assert_eq!(judged(seen.clone(), spent), (Certainty::Unsettled, spent), "it was used up");
    for unseen in [
        Metered { thinking_seen: true, ..seen.clone() },
        Metered { lost: true, ..seen.clone() },
        Metered { served_model: Some("claude-nobody-knows".to_owned()), ..seen.clone() },
        Metered::default(),
    ] {
        assert_eq!(judged(unseen, reserved()), (Certainty::Unsettled, reserved()));
    }
    assert_eq!(judged(metered(true), reserved()), (Certainty::Settled, EXACT));
}

#[test]
fn an_answer_that_broke_off_before_any_usage_stays_charged() {
    let row = row(answered(Metered::default(), false), None);
    assert_eq!(row, (Outcome::Cut, Certainty::Unsettled, reserved()));
}

#[test]
fn an_error_event_before_any_work_costs_nothing() {
    let early = Metered { error_type: Some("overloaded_error".to_owned()), ..Metered::default() };
    let row_of = |whole| row(answered(early.clone(), whole), None);
    let nothing = (Outcome::UpstreamFailed, Certainty::Settled, Money::ZERO);
    assert_eq!((row_of(true), row_of(false)), (nothing, nothing));
}

#[test]
fn an_error_event_in_the_middle_is_estimated() {
    let error_type = Some("overloaded_error".to_owned());
    let late = Metered { error_type, ..metered(false) };
    let (outcome, certainty, cost) = row(answered(late, true), None);
    assert_eq!((outcome, certainty), (Outcome::Cut, Certainty::Estimated));
    assert!(cost >= EXACT);
}

#[test]
fn a_whole_answer_without_usage_is_never_free() {
    let verdict = judged(answered(Metered::default(), true), None, false);
    assert_eq!((verdict.outcome, verdict.cost), (Outcome::Completed, reserved()));
    assert_eq!(verdict.certainty, Certainty::Unsettled);
    assert_eq!(verdict.concern, Some(Concern::Unmetered));
}

#[test]
fn a_model_without_a_price_charges_the_reservation() {
    let served_model = Some("claude-nobody-knows".to_owned());
    let verdict = judged(answered(Metered { served_model, ..metered(true) }, true), None, false);
    assert_eq!((verdict.cost, verdict.certainty), (reserved(), Certainty::Estimated));
    assert_eq!(verdict.concern, Some(Concern::Unpriced));
}

#[test]
fn refusals_of_upstream_cost_nothing() {
    for status in [301, 400, 401, 404, 413, 429] {
        let row = row(Seen::Refused { status, by_api: false }, None);
        assert_eq!(row, (Outcome::UpstreamRefused, Certainty::Settled, Money::ZERO), "{status}");
    }
    for (status, by_api) in [(500, true), (504, true), (529, true), (503, false), (529, false)] {
        let row = row(Seen::Refused { status, by_api }, None);
        assert_eq!(row, (Outcome::UpstreamFailed, Certainty::Settled, Money::ZERO), "{status}");
    }
}

#[test]
fn a_redirect_to_the_answer_says_that_there_is_one() {
    let row = row(Seen::Refused { status: 303, by_api: false }, None);
    assert_eq!(row, (Outcome::UpstreamFailed, Certainty::Unsettled, reserved()));
}

#[test]
fn an_error_page_of_something_in_between_says_nothing() {
    for status in [500, 502, 504, 520, 524] {
        let row = row(Seen::Refused { status, by_api: false }, None);
        assert_eq!(row, (Outcome::UpstreamFailed, Certainty::Unsettled, reserved()), "{status}");
    }
}

#[test]
fn what_was_not_sent_costs_nothing_and_what_may_have_been_stays_charged() {
    let not_sent = (Outcome::NotSent, Certainty::Settled, Money::ZERO);
    let gone = [None, Some(Gone::Left), Some(Gone::Recalled)];
    assert_eq!(gone.map(|gone| row(Seen::NotSent, gone)), [not_sent; 3]);
    let silent = row(Seen::Silent, None);
    assert_eq!(silent, (Outcome::UpstreamFailed, Certainty::Unsettled, reserved()));
    let forsaken = row(Seen::Forsaken, None);
    assert_eq!(forsaken, (Outcome::OurFault, Certainty::Unsettled, reserved()));
    let verdict = judged(Seen::Silent, None, false);
    assert_eq!(verdict.counted, None, "rate limits keep what was counted at admission");
}

#[test]
fn a_client_that_left_pays_what_was_learned() {
    let drained = row(answered(metered(true), true), Some(Gone::Left));
    assert_eq!(drained, (Outcome::ClientLeft, Certainty::Settled, EXACT));
    let (outcome, certainty, _) = row(answered(metered(false), false), Some(Gone::Left));
    assert_eq!((outcome, certainty), (Outcome::ClientLeft, Certainty::Estimated));
    let silent = row(Seen::Silent, Some(Gone::Left));
    assert_eq!(silent, (Outcome::ClientLeft, Certainty::Unsettled, reserved()));
}

#[test]
fn an_answer_that_was_taken_back_is_cut_and_pays_what_was_learned() {
    let recalled = Some(Gone::Recalled);
    let drained = row(answered(metered(true), true), recalled);
    assert_eq!(drained, (Outcome::Cut, Certainty::Settled, EXACT));
    let (outcome, certainty, _) = row(answered(metered(false), false), recalled);
    assert_eq!((outcome, certainty), (Outcome::Cut, Certainty::Estimated));
    let silent = row(Seen::Silent, recalled);
    assert_eq!(silent, (Outcome::Cut, Certainty::Unsettled, reserved()));
    let refused = row(Seen::Refused { status: 529, by_api: true }, recalled);
    assert_eq!(refused, (Outcome::UpstreamFailed, Certainty::Settled, Money::ZERO));
}

#[test]
fn free_routes_cost_nothing_whatever_happens() {
    for seen in [
        Seen::Silent,
        Seen::Forsaken,
        Seen::Refused { status: 502, by_api: false },
        answered(Metered::default(), true),
        answered(Metered::default(), false),
    ] {
        let verdict = judged(seen.clone(), None, true);
        assert_eq!(
            (verdict.cost, verdict.certainty),
            (Money::ZERO, Certainty::Settled),
            "{seen:?}"
        );
        assert_eq!(verdict.concern, None);
    }
}

#[test]
fn an_error_after_work_whose_usage_was_not_readable_is_not_free() {
    let error_type = Some("api_error".to_owned());
    let worked = [
        Metered { delivered_chars: 1, ..Metered::default() },
        Metered { thinking_seen: true, ..Metered::default() },
        Metered { message_id: Some("msg_1".to_owned()), ..Metered::default() },
        Metered { served_model: Some(MODEL.to_owned()), ..Metered::default() },
    ];
    for metered in worked {
        let metered = Metered { error_type: error_type.clone(), ..metered };
        let (_, certainty, cost) = row(answered(metered.clone(), true), None);
        assert_eq!((certainty, cost), (Certainty::Unsettled, reserved()), "{metered:?}");
    }
}

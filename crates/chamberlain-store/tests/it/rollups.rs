//! Sums before and after roll-up and pruning, and write-offs in between.

use chamberlain_core::ledger::account::Balance;
use chamberlain_core::money::Money;
use chamberlain_core::record::{Certainty, Intent, Outcome};
use chamberlain_core::time::{Calendar, Timestamp, Window, WindowKind};
use chamberlain_store::{CallFilter, CostBy, CostFilter, CostSum, Store, StoreFault, WrittenOff};

use crate::support::*;

const HOUR: i64 = 3_600_000;

/// What budgets were charged.
fn spent(sum: CostSum) -> Money {
    sum.cost.checked_add(sum.mock_cost).unwrap()
}

/// Calls over four days, two keys, two models, some unsettled, some open, some
/// answered by the mock.
fn busy(store: &Store) -> Vec<Intent> {
    let mut calls = Vec::new();
    for n in 0..96i64 {
        let key = if n % 3 == 0 { "alpha" } else { "beta" };
        let at = now().plus_ms(n * HOUR + n * 37_000);
        let mut call = intent_at(key, usd(9), at);
        call.operation = (n % 2 == 0).then(|| "translation".to_owned());
        if n % 7 == 3 {
            call.upstream_key = None;
        }
        intend(store, &call);
        let mut end =
            settlement(&call, Money::from_pico(i128::from(n) * 1_234_567_891), Certainty::Settled);
        if n % 5 == 0 {
            end.served_model = Some("claude-opus-5".into());
            end.outcome = Outcome::Cut;
            end.certainty = Certainty::Estimated;
        }
        match n % 16 {
            7 => store.settle(settlement(&call, usd(9), Certainty::Unsettled)),
            15 => {}
            _ => store.settle(end),
        }
        calls.push(call);
    }
    settle_down(store);
    calls
}

/// Everything that can be asked of costs, over spans that cut hours, days and months.
fn every_sum(store: &Store) -> Vec<String> {
    let spans = [
        (0, 96 * HOUR),
        (-HOUR, 200 * HOUR),
        (17_000, 17_001),
        (5 * HOUR + 100_000, 5 * HOUR + 200_000),
        (HOUR / 2, 50 * HOUR + HOUR / 2),
        (24 * HOUR, 48 * HOUR),
    ];
    let mut sums = Vec::new();
    for (from, to) in spans {
        let mut filter = CostFilter::span(now().plus_ms(from), now().plus_ms(to));
        sums.push(format!("{from}..{to}: {:?}", store.cost(&filter).unwrap()));
        for by in [CostBy::VirtualKey, CostBy::Environment, CostBy::Model, CostBy::Operation] {
            sums.push(format!("{from}..{to} {by:?}: {:?}", store.cost_by(by, &filter).unwrap()));
        }
        filter.model = Some("claude-opus-5".into());
        sums.push(format!("{from}..{to} opus: {:?}", store.cost(&filter).unwrap()));
    }
    sums
}

/// Calls and cost of every upstream key, added up from the calls themselves.
fn usage_by_hand(store: &Store) -> Vec<(String, u64, Money)> {
    let filter = CallFilter { open: Some(false), ..CallFilter::default() };
    let mut sums = std::collections::BTreeMap::new();
    for call in store.calls(&filter).unwrap() {
        let Some(key) = &call.upstream_key else { continue };
        let cost = call.end.unwrap().cost;
        let sum: &mut (u64, Money) = sums.entry(key.to_string()).or_default();
        *sum = (sum.0 + 1, sum.1.checked_add(cost).unwrap());
    }
    sums.into_iter().map(|(key, (calls, cost))| (key, calls, cost)).collect()
}

fn usage(store: &Store) -> Vec<(String, u64, Money)> {
    let sums = store.key_usage().unwrap().into_iter();
    let mut sums: Vec<_> = sums.map(|(key, sum)| (key.to_string(), sum.calls, sum.cost)).collect();
    sums.sort();
    sums
}

#[test]
fn what_each_upstream_key_came_to_is_known_however_far_the_roll_up_has_come() {
    let house = House::new();
    let store = house.open();
    let calls = busy(&store);
    let by_hand = usage_by_hand(&store);
    assert!(!by_hand.is_empty() && by_hand.iter().all(|(_, calls, _)| *calls > 10));
    assert_eq!(usage(&store), by_hand);
    store.roll_up().unwrap();
    assert_eq!(usage(&store), by_hand);
    for call in [7, 23] {
        let lost = calls[call].call;
        store
            .change(actor(), move |change| change.write_off(lost, usd(2), "seen in the Console"))
            .unwrap();
    }
    let by_hand = usage_by_hand(&store);
    assert_eq!(usage(&store), by_hand, "a write-off moves both");
    store.prune(now().plus_ms(48 * HOUR)).unwrap();
    assert_eq!(usage(&store), by_hand, "and a pruned call stays counted");
}

#[test]
fn no_sum_changes_however_far_the_roll_up_has_come() {
    let house = House::new();
    let store = house.open();
    busy(&store);
    let single = every_sum(&store);
    let calls = store.call_sum(&CallFilter { open: Some(false), ..CallFilter::default() }).unwrap();
    let all = CostFilter::span(now(), now().plus_ms(1_000 * HOUR));
    assert_eq!(
        (spent(store.cost(&all).unwrap()), store.cost(&all).unwrap().calls),
        (calls.cost, calls.calls - store.cost(&all).unwrap().mock_calls)
    );
    assert_eq!(store.roll_up().unwrap(), calls.calls);
    assert_eq!(every_sum(&store), single);
    assert_eq!(store.roll_up().unwrap(), 0, "nothing is added twice");
    assert_eq!(every_sum(&store), single);
    // And on top of it, calls that are not rolled up yet.
    busy(&store);
    let half = every_sum(&store);
    store.roll_up().unwrap();
    assert_eq!(every_sum(&store), half);
}

#[test]
fn what_the_mock_answered_is_told_apart_however_far_the_roll_up_has_come() {
    let house = House::new();
    let store = house.open();
    let end = |key: &str, upstream: bool, cost, certainty| {
        let mut call = intent(key, usd(9));
        if !upstream {
            call.upstream_key = None;
        }
        intend(&store, &call);
        store.settle(settlement(&call, cost, certainty));
        call.call
    };
    end("alpha", true, usd(1), Certainty::Estimated);
    end("alpha", false, usd(5), Certainty::Estimated);
    let lost = end("beta", false, usd(9), Certainty::Unsettled);
    settle_down(&store);
    let all = CostFilter::span(now(), now().plus_ms(HOUR));
    for (looked, mock) in [usd(14), usd(14), usd(7)].into_iter().enumerate() {
        let sum = store.cost(&all).unwrap();
        assert_eq!((sum.calls, sum.cost, sum.tokens.input), (1, usd(1), 100));
        assert_eq!((sum.estimated, sum.unsettled), (usd(1), Money::ZERO));
        assert_eq!((sum.mock_calls, sum.mock_cost), (2, mock));
        let keys = store.cost_by(CostBy::VirtualKey, &all).unwrap();
        let lines = keys.iter().map(|(key, sum)| (key.as_str(), sum.cost, sum.mock_cost));
        let of_beta = mock.checked_sub(usd(5)).unwrap();
        let expected = [("alpha", usd(1), usd(5)), ("beta", Money::ZERO, of_beta)];
        assert!(lines.eq(expected), "what costs money comes first: {keys:?}");
        match looked {
            0 => assert_eq!(store.roll_up(), Ok(3)),
            1 => {
                let off = store.change(actor(), move |change| change.write_off(lost, usd(2), "it"));
                assert_eq!(off, Ok(WrittenOff { was: usd(9), let_go: usd(9) }));
            }
            _ => {}
        }
    }
}

#[test]
fn sums_of_whole_hours_survive_pruning() {
    let house = House::new();
    let store = house.open();
    let calls = busy(&store);
    let span = |from, to| CostFilter::span(now().plus_ms(from), now().plus_ms(to));
    let sums = |store: &Store| {
        [span(0, 96 * HOUR), span(24 * HOUR, 48 * HOUR), span(90 * HOUR, 95 * HOUR + 1_000)].map(
            |filter| (store.cost(&filter).unwrap(), store.cost_by(CostBy::Model, &filter).unwrap()),
        )
    };
    let before = sums(&store);
    let cut = now().plus_ms(48 * HOUR);
    let old = calls.iter().filter(|call| call.at < cut).count() as u64;
    let kept = (0..96).filter(|n| calls[*n].at < cut && matches!(n % 16, 7 | 15)).count() as u64;
    assert_eq!(store.prune(cut).unwrap(), old - kept);
    assert_eq!(sums(&store), before);
    assert_eq!(store.prune(cut).unwrap(), 0);
    let left = store.calls(&CallFilter { until: Some(cut), ..CallFilter::default() }).unwrap();
    assert_eq!(left.len() as u64, kept, "open and unsettled calls stay");
    assert_eq!(kinds(&store).iter().filter(|kind| *kind == "calls.pruned").count(), 1);
    // A span that cuts a pruned hour counts the hour whole rather than not at all.
    let cutting = store.cost(&span(10, HOUR - 10)).unwrap();
    assert_eq!(cutting, store.cost(&span(0, HOUR)).unwrap());
}

#[test]
fn the_balances_of_a_window_are_the_costs_of_its_span() {
    let house = House::new();
    let store = house.open();
    let calls = busy(&store);
    store.roll_up().unwrap();
    let Window { start, end, .. } = Calendar::utc().window(WindowKind::Daily, calls[30].at);
    let account = accounts("alpha", calls[30].at).remove(0);
    let sum = store.cost(&CostFilter::span(start, end)).unwrap();
    let balance = balance(&store, &account);
    assert_eq!(balance.spent(), spent(sum), "budgets are charged for what the mock answers too");
    assert_eq!(balance.unsettled, sum.unsettled);
}

#[test]
fn a_write_off_moves_money_and_sums_alike() {
    for rolled_up in [false, true] {
        let house = House::new();
        let store = house.open();
        let calls = busy(&store);
        if rolled_up {
            store.roll_up().unwrap();
        }
        let lost = calls[7].clone();
        let all = CostFilter::span(now(), now().plus_ms(1_000 * HOUR));
        let before = store.cost(&all).unwrap();
        let call = lost.call;
        let charged = store
            .change(actor(), move |change| change.write_off(call, usd(2), "seen in the console"));
        assert_eq!(charged, Ok(WrittenOff { was: usd(9), let_go: usd(9) }));
        let after = store.cost(&all).unwrap();
        assert_eq!(after.cost, before.cost.checked_sub(usd(7)).unwrap());
        assert_eq!(after.unsettled, before.unsettled.checked_sub(usd(9)).unwrap());
        assert_eq!((after.calls, after.tokens), (before.calls, before.tokens));
        let row = store.call(call).unwrap().unwrap().end.unwrap();
        assert_eq!((row.certainty, row.cost), (Certainty::Settled, usd(2)));
        let again = store.change(actor(), move |change| change.write_off(call, usd(2), "again"));
        assert!(matches!(again, Err(StoreFault::Conflict(_))), "{again:?}");
        let Window { start, end, .. } = lost.accounts[0].window;
        let day = store.cost(&CostFilter::span(start, end)).unwrap();
        assert_eq!(balance(&store, &lost.accounts[0]).spent(), spent(day));
        store.roll_up().unwrap();
        assert_eq!(store.cost(&all).unwrap(), after);
    }
}

#[test]
fn a_lost_lease_is_written_off_but_never_the_money_of_a_call() {
    let house = House::new();
    let store = house.open();
    let lost = intent("alpha", usd(5));
    let account = lost.accounts[0].clone();
    store.lease(vec![lease(&account, usd(30), usd(500))]).blocking_recv().unwrap().unwrap();
    intend(&store, &lost);
    let house = house.killed(store);
    let store = house.try_open("boot-2").unwrap();
    assert_eq!(balance(&store, &account).unsettled, usd(30));
    let of = account.clone();
    let too_much = store.change(actor(), move |change| change.write_off_lease(&of, usd(26), "no"));
    assert!(matches!(too_much, Err(StoreFault::Conflict(_))), "{too_much:?}");
    let of = account.clone();
    let rest = store.change(actor(), move |change| change.write_off_lease(&of, usd(25), "idle"));
    assert_eq!(rest, Ok(usd(5)));
    let expected = Balance { unsettled: usd(5), granted: usd(30), ..Balance::default() };
    assert_eq!(balance(&store, &account), expected);
}

#[test]
fn only_unsettled_calls_are_written_off() {
    let house = House::new();
    let store = house.open();
    let open = intent("alpha", usd(5));
    intend(&store, &open);
    for (call, cost) in [(open.call, usd(1)), (call_id(Timestamp::from_ms(1)), usd(1))] {
        let answer = store.change(actor(), move |change| change.write_off(call, cost, "no"));
        assert!(answer.is_err(), "{answer:?}");
    }
    assert_eq!(balance(&store, &open.accounts[0]).reserved, usd(5));
}

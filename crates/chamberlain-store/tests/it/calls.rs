//! Calls as they are listed and summed up.

use chamberlain_core::money::Money;
use chamberlain_core::record::{Certainty, Intent, Outcome};
use chamberlain_store::{CallFilter, CallOrder, Store};

use crate::support::*;

/// Five calls: 1 to 4 dollars closed in reverse order, the last one open.
fn five(store: &Store) -> Vec<Intent> {
    let calls: Vec<_> = (1..=5)
        .map(|n| intent_at(if n < 3 { "alpha" } else { "beta" }, usd(10), now().plus_ms(n * 1_000)))
        .collect();
    calls.iter().for_each(|call| intend(store, call));
    for (place, call) in calls.iter().enumerate().take(4).rev() {
        let mut end = settlement(call, usd(place as i64 + 1), Certainty::Settled);
        if place == 0 {
            end.outcome = Outcome::Cut;
            end.certainty = Certainty::Estimated;
            end.served_model = Some("claude-opus-5".into());
        }
        store.settle(end);
    }
    settle_down(store);
    calls
}

#[test]
fn a_call_is_read_back_as_it_was_recorded() {
    let house = House::new();
    let store = house.open();
    let calls = five(&store);
    let open = store.call(calls[4].call).unwrap().unwrap();
    assert_eq!((open.id, open.at, open.end), (calls[4].call, calls[4].at, None));
    assert_eq!((open.reserved, open.source), (usd(10), calls[4].source));
    let closed = store.call(calls[0].call).unwrap().unwrap();
    let end = closed.end.unwrap();
    assert_eq!((end.cost, end.certainty), (usd(1), Certainty::Estimated));
    assert_eq!((end.outcome, end.tokens.input), (Some(Outcome::Cut), 100));
    assert_eq!(store.call(call_id(now())).unwrap(), None);
}

#[test]
fn calls_are_filtered_ordered_and_paged() {
    let house = House::new();
    let store = house.open();
    let calls = five(&store);
    let listed = |filter: CallFilter| -> Vec<usize> {
        let place = |id| calls.iter().position(|call| call.call == id).unwrap() + 1;
        store.calls(&filter).unwrap().into_iter().map(|row| place(row.id)).collect()
    };
    let all = CallFilter::default;
    assert_eq!(listed(all()), [5, 4, 3, 2, 1]);
    assert_eq!(listed(CallFilter { order: CallOrder::OldestFirst, ..all() }), [1, 2, 3, 4, 5]);
    assert_eq!(listed(CallFilter { order: CallOrder::Closing, ..all() }), [4, 3, 2, 1]);
    let dearest = CallFilter { order: CallOrder::DearestFirst, limit: Some(2), ..all() };
    assert_eq!(listed(dearest), [4, 3]);
    let since = Some(calls[1].at);
    let until = Some(calls[3].at);
    assert_eq!(listed(CallFilter { since, until, ..all() }), [3, 2]);
    let key = Some(calls[0].virtual_key.clone());
    assert_eq!(listed(CallFilter { virtual_key: key, ..all() }), [2, 1]);
    let model = Some("claude-opus-5".to_owned());
    assert_eq!(listed(CallFilter { model, ..all() }), [1]);
    assert_eq!(listed(CallFilter { outcome: Some(Outcome::Cut), ..all() }), [1]);
    assert_eq!(listed(CallFilter { open: Some(true), ..all() }), [5]);
    assert_eq!(listed(CallFilter { cost_min: Some(usd(3)), ..all() }), [4, 3]);
    let page = CallFilter { after: Some(4), limit: Some(2), ..all() };
    assert_eq!(listed(page), [3, 2]);
}

#[test]
fn followers_see_calls_in_the_order_of_closing() {
    let house = House::new();
    let store = house.open();
    let calls = five(&store);
    let follow = |after| {
        let filter = CallFilter { order: CallOrder::Closing, after, ..CallFilter::default() };
        store.calls(&filter).unwrap()
    };
    let seen = follow(None).last().unwrap().end.as_ref().unwrap().seq;
    assert_eq!(follow(Some(seen)), []);
    store.settle(settlement(&calls[4], usd(5), Certainty::Settled));
    settle_down(&store);
    assert_eq!(follow(Some(seen)).len(), 1);
}

#[test]
fn sums_are_exact_beyond_64_bits() {
    let house = House::new();
    let store = house.open();
    let most = Money::from_pico(i128::from(i64::MAX));
    let calls: Vec<_> = (0..3).map(|_| intent("alpha", most)).collect();
    for call in &calls {
        intend(&store, call);
        store.settle(settlement(call, most, Certainty::Settled));
    }
    settle_down(&store);
    let sum = store.call_sum(&CallFilter::default()).unwrap();
    assert_eq!(sum.cost, Money::from_pico(i128::from(i64::MAX) * 3));
    assert_eq!(sum.cost, balance(&store, &calls[0].accounts[0]).settled);
    assert_eq!((sum.calls, sum.tokens.input), (3, 300));
}

/// Many calls of one transaction are written by one statement: each keeps its own values.
#[test]
fn calls_written_together_are_read_back_one_by_one() {
    let house = House::new();
    let store = house.open();
    let calls: Vec<Intent> = (0..150)
        .map(|n| Intent {
            max_tokens: n,
            operation: n.is_multiple_of(2).then(|| format!("operation {n}")),
            ..intent_at(&format!("key{}", n % 7), usd(9), now().plus_ms(n as i64 / 3))
        })
        .collect();
    let end = |n: usize| settlement(&calls[n], usd(n as i64 % 9), Certainty::Settled);
    let matches = |ended: &dyn Fn(usize) -> bool| {
        let filter = CallFilter { order: CallOrder::OldestFirst, ..CallFilter::default() };
        let rows = store.calls(&filter).unwrap();
        assert_eq!(rows.len(), calls.len());
        for (n, (row, call)) in rows.iter().zip(&calls).enumerate() {
            assert_eq!((row.id, row.seq, row.max_tokens), (call.call, n as u64 + 1, n as u64));
            assert_eq!((&row.virtual_key, &row.operation), (&call.virtual_key, &call.operation));
            let cost = row.end.as_ref().map(|end| end.cost);
            assert_eq!(cost, ended(n).then_some(usd(n as i64 % 9)), "{n}");
            assert_eq!(store.call(call.call).unwrap().as_ref(), Some(row));
        }
    };
    // Nobody waits, so all of it comes in few transactions.
    calls.iter().for_each(|call| drop(store.intend(call.clone())));
    (0..150).filter(|n| n % 3 == 0).for_each(|n| store.settle(end(n)));
    matches(&|n| n % 3 == 0);
    (0..150).filter(|n| n % 3 > 0).for_each(|n| store.settle(end(n)));
    matches(&|_| true);
}

#[test]
fn an_intent_that_comes_again_is_on_record_once() {
    let house = House::new();
    let store = house.open();
    let calls: Vec<Intent> = (0..40).map(|_| intent("alpha", usd(1))).collect();
    let twice = |which: &Intent| {
        drop(store.intend(which.clone()));
        store.settle(settlement(which, usd(1), Certainty::Settled));
    };
    // In the transaction of its end, in a later one, and after a start.
    calls.iter().chain(&calls[3..5]).for_each(twice);
    settle_down(&store);
    twice(&calls[7]);
    settle_down(&store);
    drop(store);
    let store = house.open();
    drop(store.intend(calls[9].clone()));
    settle_down(&store);
    assert_eq!(store.calls(&CallFilter::default()).unwrap().len(), 40);
    let kinds = kinds(&store);
    assert_eq!(kinds.iter().filter(|kind| *kind == "call.intent").count(), 40);
}

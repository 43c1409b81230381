//! A batch stays charged in full until its cost is learned, and is trued up once.

use chamberlain_core::id::{EnvironmentName, VirtualKeyId};
use chamberlain_core::money::Money;
use chamberlain_core::record::{Certainty, TrueUp};
use chamberlain_core::resource::{Resource, ResourceId, ResourceKind};
use chamberlain_core::time::Window;
use chamberlain_core::usage::Tokens;
use chamberlain_store::{CostFilter, Store};
use serde_json::{Value, json};

use crate::support::*;

fn about(state: &str) -> serde_json::Map<String, Value> {
    serde_json::Map::from_iter([("state".to_owned(), json!(state))])
}

fn batch(id: &str) -> Resource {
    Resource {
        kind: ResourceKind::Batch,
        id: ResourceId::parse(id).unwrap(),
        virtual_key: VirtualKeyId::new("alpha"),
        environment: EnvironmentName::new("production"),
        upstream_key: None,
        created: now(),
        expires: None,
        about: about("open"),
    }
}

fn open_ids(store: &Store) -> Vec<String> {
    store.open_batches().unwrap().iter().map(|it| it.id.to_string()).collect()
}

fn true_up(call: chamberlain_core::id::CallId, cost: Money) -> TrueUp {
    TrueUp {
        call,
        at: now().plus_ms(1_000),
        cost,
        tokens: Tokens { input: 7, output: 3, ..Tokens::default() },
        served_model: Some("claude-haiku-5-5".to_owned()),
        batch: ResourceId::parse("msgbatch_1").unwrap(),
        about: about("settled"),
    }
}

#[test]
fn a_batch_is_trued_up_once_in_the_books_and_the_sums_of_its_day() {
    for rolled_up in [false, true] {
        let house = House::new();
        let store = house.open();
        let submitted = intent("alpha", usd(9));
        intend(&store, &submitted);
        store.settle(settlement(&submitted, usd(9), Certainty::Unsettled));
        store.bind(batch("msgbatch_1")).blocking_recv().unwrap().unwrap();
        assert_eq!(open_ids(&store), ["msgbatch_1"]);
        if rolled_up {
            store.roll_up().unwrap();
        }
        let found = true_up(submitted.call, usd(2));
        let told = store.true_up(found.clone()).blocking_recv().unwrap().unwrap().unwrap();
        assert_eq!((told.was, told.let_go, &told.accounts), (usd(9), usd(9), &submitted.accounts));
        settle_down(&store);
        assert!(open_ids(&store).is_empty());
        for account in &submitted.accounts {
            let balance = balance(&store, account);
            assert_eq!((balance.settled, balance.unsettled), (usd(2), Money::ZERO));
        }
        let row = store.call(submitted.call).unwrap().unwrap().end.unwrap();
        assert_eq!((row.certainty, row.cost, row.tokens.output), (Certainty::Settled, usd(2), 3));
        assert_eq!(row.served_model.as_deref(), Some("claude-haiku-5-5"));
        assert_eq!(kinds(&store).iter().filter(|kind| *kind == "call.trued_up").count(), 1);

        let again = store.true_up(found).blocking_recv().unwrap().unwrap();
        assert_eq!(again, None, "its cost is known");
        assert_eq!(kinds(&store).iter().filter(|kind| *kind == "call.trued_up").count(), 1);
        assert_eq!(balance(&store, &submitted.accounts[0]).settled, usd(2));
        let Window { start, end, .. } = submitted.accounts[0].window;
        let day = store.cost(&CostFilter::span(start, end)).unwrap();
        assert_eq!((day.cost, day.tokens.output), (usd(2), 3));
        store.roll_up().unwrap();
        assert_eq!(store.cost(&CostFilter::span(start, end)).unwrap(), day);
    }
}

#[test]
fn a_batch_whose_call_was_lost_in_a_kill_is_found_and_trued_up() {
    let house = House::new();
    let store = house.open();
    let submitted = intent("alpha", usd(9));
    intend(&store, &submitted);
    store.bind(batch("msgbatch_1")).blocking_recv().unwrap().unwrap();
    let too_early = store.true_up(true_up(submitted.call, usd(2))).blocking_recv().unwrap();
    assert!(too_early.is_err(), "the call has not ended: {too_early:?}");
    let house = house.killed(store);
    let store = house.open();
    assert_eq!(balance(&store, &submitted.accounts[0]).unsettled, usd(9));
    assert_eq!(open_ids(&store), ["msgbatch_1"]);
    let found = true_up(submitted.call, usd(2));
    assert!(store.true_up(found).blocking_recv().unwrap().unwrap().is_some());
    let house = house.killed(store);
    let store = house.open();
    assert_eq!(balance(&store, &submitted.accounts[0]).settled, usd(2));
    assert!(open_ids(&store).is_empty());
}

#[test]
fn a_batch_lost_with_power_frees_nothing_when_it_is_trued_up() {
    let house = House::new();
    let store = house.open();
    let submitted = intent("alpha", usd(9));
    let account = &submitted.accounts[0];
    store.lease(vec![lease(account, usd(20), usd(500))]).blocking_recv().unwrap().unwrap();
    intend(&store, &submitted);
    store.bind(batch("msgbatch_1")).blocking_recv().unwrap().unwrap();
    // From here on the disk keeps nothing: the call's end, and whatever was made after it.
    let house = house.killed(store);
    let store = house.try_open("boot-2").unwrap();
    assert_eq!(balance(&store, account).spent(), usd(20));
    let found = true_up(submitted.call, usd(2));
    let told = store.true_up(found).blocking_recv().unwrap().unwrap().unwrap();
    assert_eq!((told.was, told.let_go), (usd(9), usd(2)));
    let balance = balance(&store, account);
    assert_eq!((balance.settled, balance.unsettled), (usd(2), usd(18)), "20 stay charged");
    assert!(open_ids(&store).is_empty());
}

#[test]
fn what_a_person_wrote_off_is_not_trued_up() {
    let house = House::new();
    let store = house.open();
    let submitted = intent("alpha", usd(9));
    intend(&store, &submitted);
    store.settle(settlement(&submitted, usd(9), Certainty::Unsettled));
    store.bind(batch("msgbatch_1")).blocking_recv().unwrap().unwrap();
    let call = submitted.call;
    store.change(actor(), move |change| change.write_off(call, usd(5), "seen")).unwrap();
    let told = store.true_up(true_up(call, usd(2))).blocking_recv().unwrap().unwrap();
    assert_eq!(told, None);
    assert_eq!(balance(&store, &submitted.accounts[0]).settled, usd(5));
    assert!(open_ids(&store).is_empty(), "nobody looks at it again");
}

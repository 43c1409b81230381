//! What is left after a proper end, a kill, and a power loss.

use chamberlain_core::id::CallId;
use chamberlain_core::ledger::account::Balance;
use chamberlain_core::money::Money;
use chamberlain_core::record::Certainty;
use chamberlain_store::WrittenOff;

use crate::support::*;

/// A store in which 100 dollars are leased, 20 spent and 5 reserved by a call in flight.
fn busy(house: &House) -> chamberlain_store::Store {
    let store = house.open();
    let account = accounts("alpha", now()).remove(0);
    store.lease(vec![lease(&account, usd(100), usd(500))]).blocking_recv().unwrap().unwrap();
    let done = intent("alpha", usd(30));
    intend(&store, &done);
    store.settle(settlement(&done, usd(20), Certainty::Settled));
    intend(&store, &intent("alpha", usd(5)));
    store
}

fn organization_today(store: &chamberlain_store::Store) -> Balance {
    balance(store, &accounts("alpha", now())[0])
}

#[test]
fn a_proper_end_gives_leases_back_and_charges_calls_in_flight() {
    let house = House::new();
    let store = busy(&house);
    store.close().unwrap();
    store.close().unwrap();
    assert!(store.intend(intent("alpha", usd(1))).blocking_recv().unwrap().is_err());
    drop(store);
    let store = house.try_open("another boot").unwrap();
    let expected =
        Balance { settled: usd(20), unsettled: usd(5), reserved: Money::ZERO, granted: usd(25) };
    assert_eq!(organization_today(&store), expected);
}

#[test]
fn a_killed_process_loses_nothing_and_gives_its_leases_back() {
    let house = House::new();
    let store = busy(&house);
    let house = house.killed(store);
    let store = house.open();
    let expected =
        Balance { settled: usd(20), unsettled: usd(5), reserved: Money::ZERO, granted: usd(25) };
    assert_eq!(organization_today(&store), expected);
    let kinds = kinds(&store);
    assert_eq!(kinds[kinds.len() - 2..], ["call.unsettled", "store.opened"]);
}

#[test]
fn after_a_power_loss_the_rest_of_a_lease_counts_as_spent() {
    for boot_id in ["boot-2", ""] {
        let house = House::new();
        let store = busy(&house);
        let house = house.killed(store);
        let store = house.try_open(boot_id).unwrap();
        let expected = Balance {
            settled: usd(20),
            unsettled: usd(80),
            reserved: Money::ZERO,
            granted: usd(100),
        };
        assert_eq!(organization_today(&store), expected);
        assert!(kinds(&store).contains(&"lease.lost".into()));
        assert_eq!(store.effects_due(now(), 9).unwrap().len(), 1, "people are told");
    }
}

#[test]
fn a_clock_set_forward_over_a_power_loss_frees_nothing() {
    let house = House::new();
    let store = busy(&house);
    let house = house.killed(store);
    house.set_clock(NOW + 3 * 86_400_000);
    let store = house.try_open("boot-2").unwrap();
    assert_eq!(organization_today(&store).unsettled, usd(80));
}

#[test]
fn a_power_loss_leaves_windows_alone_that_had_ended() {
    let house = House::new();
    let store = busy(&house);
    let tomorrow = now().plus_ms(86_400_000);
    house.set_clock(tomorrow.ms());
    intend(&store, &intent_at("alpha", usd(1), tomorrow));
    let house = house.killed(store);
    let store = house.try_open("boot-2").unwrap();
    assert_eq!(organization_today(&store).unsettled, usd(5), "only the call in flight");
}

#[test]
fn a_start_is_a_start_however_often_it_is_tried() {
    let house = House::new();
    let store = busy(&house);
    let house = house.killed(store);
    let store = house.try_open("boot-2").unwrap();
    let once = organization_today(&store);
    let house = house.killed(store);
    let store = house.try_open("boot-3").unwrap();
    assert_eq!(organization_today(&store), once);
}

#[test]
fn a_late_settlement_of_a_call_given_up_changes_no_money() {
    let house = House::new();
    let store = house.open();
    let late = intent("alpha", usd(5));
    intend(&store, &late);
    let house = house.killed(store);
    let store = house.open();
    let before = organization_today(&store);
    store.settle(settlement(&late, usd(1), Certainty::Settled));
    settle_down(&store);
    assert_eq!(organization_today(&store), before);
}

/// Writes the only unsettled call of a store off at `cost`; gives what was said and is spent then.
fn written_off(store: &chamberlain_store::Store, call: CallId, cost: Money) -> (WrittenOff, Money) {
    let done = store.change(actor(), move |change| change.write_off(call, cost, "the console"));
    (done.unwrap(), organization_today(store).spent())
}

#[test]
fn a_call_lost_with_power_frees_nothing_when_it_is_written_off() {
    let house = House::new();
    let store = house.open();
    let account = accounts("alpha", now()).remove(0);
    let first = intent("alpha", usd(10));
    intend(&store, &first);
    store.lease(vec![lease(&account, usd(20), usd(500))]).blocking_recv().unwrap().unwrap();
    // From here on the disk keeps nothing: the call ends at 1 dollar, and with what it let go a
    // call for 15 dollars is made.
    let house = house.killed(store);
    let store = house.try_open("boot-2").unwrap();
    assert_eq!(organization_today(&store).spent(), usd(20));
    let (done, spent) = written_off(&store, first.call, usd(1));
    assert_eq!(done, WrittenOff { was: usd(10), let_go: usd(1) });
    assert_eq!(spent, usd(20), "16 were billed; nobody can know that it was not 20");
    let expected = Balance { settled: usd(1), unsettled: usd(19), ..organization_today(&store) };
    assert_eq!(organization_today(&store), expected);
    let freed = store.change(actor(), move |change| change.write_off_lease(&account, usd(4), "r"));
    assert_eq!(freed, Ok(usd(15)), "a person who knows more frees it by name");
}

#[test]
fn a_call_lost_with_its_process_is_written_off_whole() {
    let house = House::new();
    let store = house.open();
    let lost = intent("alpha", usd(10));
    intend(&store, &lost);
    let house = house.killed(store);
    let store = house.open();
    let (done, spent) = written_off(&store, lost.call, usd(1));
    assert_eq!((done, spent), (WrittenOff { was: usd(10), let_go: usd(10) }, usd(1)));
}

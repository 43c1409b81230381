//! Intents, settlements, leases and notices while nothing goes wrong around them.

use chamberlain_core::ledger::account::{Balance, Grant};
use chamberlain_core::money::Money;
use chamberlain_core::record::{Certainty, Severity};
use chamberlain_store::StoreFault;

use crate::support::*;

#[test]
fn a_call_reserves_and_then_pays_in_every_account() {
    let house = House::new();
    let store = house.open();
    let intent = intent("alpha", usd(10));
    intend(&store, &intent);
    for account in &intent.accounts {
        let expected = Balance { reserved: usd(10), ..Balance::default() };
        assert_eq!(balance(&store, account), expected, "{account}");
    }
    store.settle(settlement(&intent, usd(3), Certainty::Settled));
    settle_down(&store);
    for account in &intent.accounts {
        let expected = Balance { settled: usd(3), ..Balance::default() };
        assert_eq!(balance(&store, account), expected, "{account}");
    }
    assert_eq!(kinds(&store), ["call.intent", "call.settled"]);
}

#[test]
fn an_unsettled_call_stays_charged_at_its_reservation() {
    let house = House::new();
    let store = house.open();
    let intent = intent("alpha", usd(10));
    intend(&store, &intent);
    store.settle(settlement(&intent, usd(3), Certainty::Unsettled));
    settle_down(&store);
    let balance = balance(&store, &intent.accounts[0]);
    assert_eq!(balance, Balance { unsettled: usd(10), ..Balance::default() });
}

#[test]
fn a_call_settles_once() {
    let house = House::new();
    let store = house.open();
    let intent = intent("alpha", usd(10));
    intend(&store, &intent);
    store.settle(settlement(&intent, usd(3), Certainty::Settled));
    store.settle(settlement(&intent, usd(4), Certainty::Settled));
    let stranger = crate::support::intent("beta", usd(5));
    store.settle(settlement(&stranger, usd(5), Certainty::Settled));
    settle_down(&store);
    let balance = balance(&store, &intent.accounts[0]);
    assert_eq!(balance, Balance { settled: usd(3), ..Balance::default() });
    let refused = "call.settlement_refused";
    assert_eq!(kinds(&store), ["call.intent", "call.settled", refused, refused]);
    assert_eq!(store.effects_due(now().plus_ms(60_000), 9).unwrap().len(), 2, "people are told");
}

#[test]
fn a_second_intent_for_a_call_is_refused_and_reserves_nothing() {
    let house = House::new();
    let store = house.open();
    let intent = intent("alpha", usd(10));
    intend(&store, &intent);
    let again = store.intend(intent.clone()).blocking_recv().unwrap();
    assert!(matches!(again, Err(StoreFault::Conflict(_))), "{again:?}");
    assert_eq!(balance(&store, &intent.accounts[0]).reserved, usd(10));
    assert_eq!(kinds(&store), ["call.intent"]);
}

#[test]
fn the_reservation_of_the_intent_counts_and_not_the_one_claimed_later() {
    let house = House::new();
    let store = house.open();
    let intent = intent("alpha", usd(10));
    intend(&store, &intent);
    let mut end = settlement(&intent, usd(3), Certainty::Settled);
    end.reserved = usd(90);
    end.accounts.clear();
    store.settle(end);
    settle_down(&store);
    let balance = balance(&store, &intent.accounts[0]);
    assert_eq!(balance, Balance { settled: usd(3), ..Balance::default() });
}

#[test]
fn an_amount_beyond_a_column_is_refused_before_it_is_reserved() {
    let house = House::new();
    let store = house.open();
    for reserved in [Money::from_pico(i128::from(i64::MAX) + 1), Money::from_pico(-1)] {
        let answer = store.intend(intent("alpha", reserved)).blocking_recv().unwrap();
        assert!(matches!(answer, Err(StoreFault::OutOfRange(_))), "{answer:?}");
    }
    assert_eq!(kinds(&store), [""; 0]);
}

#[test]
fn a_lease_rises_to_what_is_wanted_and_never_falls() {
    let house = House::new();
    let store = house.open();
    let account = accounts("alpha", now()).remove(0);
    let ask = |granted| {
        store.lease(vec![lease(&account, granted, usd(100))]).blocking_recv().unwrap().unwrap()
    };
    assert_eq!(ask(usd(20)), [Grant { account: account.clone(), granted: usd(20) }]);
    assert_eq!(ask(usd(5))[0].granted, usd(20));
    assert_eq!(ask(usd(100))[0].granted, usd(100));
    assert_eq!(balance(&store, &account).granted, usd(100));
    assert_eq!(kinds(&store), ["lease.granted", "lease.granted"]);
}

#[test]
fn no_lease_goes_above_the_limit_and_none_is_half_granted() {
    let house = House::new();
    let store = house.open();
    let accounts = accounts("alpha", now());
    let wanted = vec![
        lease(&accounts[0], usd(10), usd(100)),
        lease(&accounts[1], Money::from_pico(usd(100).pico() + 1), usd(100)),
    ];
    let answer = store.lease(wanted).blocking_recv().unwrap();
    assert!(matches!(answer, Err(StoreFault::AboveLimit { .. })), "{answer:?}");
    assert_eq!(balance(&store, &accounts[0]).granted, Money::ZERO);
    assert_eq!(kinds(&store), [""; 0]);
}

#[test]
fn a_lease_covers_what_is_used_or_is_refused() {
    let house = House::new();
    let store = house.open();
    let intent = intent("alpha", usd(30));
    intend(&store, &intent);
    let account = &intent.accounts[0];
    let ask = |granted, limit| store.lease(vec![lease(account, granted, limit)]);
    let granted = ask(usd(10), usd(100)).blocking_recv().unwrap().unwrap();
    assert_eq!(granted[0].granted, usd(30));
    // The limit was lowered below what is leased: nothing rises, nothing falls.
    let kept = ask(usd(10), usd(20)).blocking_recv().unwrap().unwrap();
    assert_eq!(kept[0].granted, usd(30));
    let refused = ask(usd(31), usd(20)).blocking_recv().unwrap();
    assert!(matches!(refused, Err(StoreFault::AboveLimit { .. })), "{refused:?}");
}

#[test]
fn urgent_notices_reach_the_outbox_with_their_record() {
    let house = House::new();
    let store = house.open();
    store.note(notice("call.refused", Severity::Info));
    store.note(notice("security.real_key_offered", Severity::High));
    let mut threshold = notice("budget.threshold", Severity::Warning);
    threshold.notify = true;
    store.note(threshold);
    settle_down(&store);
    let effects = store.effects_due(now(), 10).unwrap();
    let mut causes: Vec<_> = effects.iter().map(|effect| effect.cause_seq).collect();
    causes.sort_unstable();
    assert_eq!(causes, [1, 2]);
    assert_eq!(kinds(&store).len(), 3);
}

#[test]
fn a_flood_of_notices_is_counted() {
    let house = House::new();
    let store = house.open();
    // The writer is kept busy while the flood comes in.
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let (begun, begins) = std::sync::mpsc::channel::<()>();
    let busy = {
        let store = store.clone();
        std::thread::spawn(move || {
            store.change(actor(), move |change| {
                begun.send(()).unwrap();
                wait.recv().unwrap();
                change.audit("test.done", "flood", &chamberlain_store::Facts::default())?;
                Ok(())
            })
        })
    };
    begins.recv().unwrap();
    for _ in 0..20_000 {
        store.note(notice("call.refused", Severity::Info));
    }
    for _ in 0..3 {
        store.note(notice("security.real_key_offered", Severity::High));
    }
    go.send(()).unwrap();
    busy.join().unwrap().unwrap();
    settle_down(&store);
    let kinds = kinds(&store);
    let count = |kind: &str| kinds.iter().filter(|found| *found == kind).count();
    assert!(count("call.refused") < 20_000, "{} were kept", count("call.refused"));
    assert_eq!(count("security.real_key_offered"), 3, "urgent ones have room of their own");
    assert_eq!(count("notices.suppressed"), 1);
}

#[test]
fn the_record_has_the_order_of_the_queue() {
    let house = House::new();
    let store = house.open();
    let intents: Vec<_> = (0..500).map(|_| intent("alpha", usd(1))).collect();
    let mut answers = Vec::new();
    for intent in &intents {
        answers.push(store.intend(intent.clone()));
        store.settle(settlement(intent, usd(1), Certainty::Settled));
    }
    for answer in answers {
        answer.blocking_recv().unwrap().unwrap();
    }
    settle_down(&store);
    let mut subjects = Vec::new();
    store
        .audit_each(0, |record| {
            let read = chamberlain_core::audit::record::Record::read(record.bytes).unwrap();
            subjects.push(read.subject);
            std::ops::ControlFlow::Continue(())
        })
        .unwrap();
    let expected: Vec<_> = intents
        .iter()
        .flat_map(|intent| [intent.call.to_string(), intent.call.to_string()])
        .collect();
    assert_eq!(subjects, expected);
    assert_eq!(balance(&store, &intents[0].accounts[0]).settled, usd(500));
}

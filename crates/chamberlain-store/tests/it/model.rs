//! Whatever happens in whatever order, with however many restarts: the books say what an
//! independent, much simpler set of books says.

use std::collections::BTreeMap;

use chamberlain_core::ledger::account::{AccountId, Balance};
use chamberlain_core::money::Money;
use chamberlain_core::record::{Certainty, Intent};
use proptest::prelude::*;

use crate::support::*;

const LIMIT: i64 = 1_000;

#[derive(Clone, Debug)]
enum Step {
    Intend { key: u8, dollars: i64 },
    Settle { call: usize, percent: i128, certainty: u8 },
    SettleAgain { call: usize },
    Lease { account: usize, dollars: i64 },
    Kill { power_lost: bool },
    Close,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..3u8, 0..40i64).prop_map(|(key, dollars)| Step::Intend { key, dollars }),
        5 => (any::<usize>(), 0..150i128, 0..3u8)
            .prop_map(|(call, percent, certainty)| Step::Settle { call, percent, certainty }),
        1 => any::<usize>().prop_map(|call| Step::SettleAgain { call }),
        3 => (0..6usize, 0..2 * LIMIT)
            .prop_map(|(account, dollars)| Step::Lease { account, dollars }),
        1 => any::<bool>().prop_map(|power_lost| Step::Kill { power_lost }),
        1 => Just(Step::Close),
    ]
}

#[derive(Default)]
struct Model {
    books: BTreeMap<AccountId, Balance>,
    open: Vec<Intent>,
    ended: Vec<Intent>,
}

fn plus(left: Money, right: Money) -> Money {
    left.checked_add(right).unwrap()
}

fn minus(left: Money, right: Money) -> Money {
    left.checked_sub(right).unwrap()
}

impl Model {
    fn intend(&mut self, intent: Intent) {
        for account in &intent.accounts {
            let balance = self.books.entry(account.clone()).or_default();
            balance.reserved = plus(balance.reserved, intent.reserved);
        }
        self.open.push(intent);
    }

    fn end(&mut self, intent: Intent, cost: Money, unsettled: bool) {
        for account in &intent.accounts {
            let balance = self.books.get_mut(account).unwrap();
            balance.reserved = minus(balance.reserved, intent.reserved);
            let column = if unsettled { &mut balance.unsettled } else { &mut balance.settled };
            *column = plus(*column, cost);
        }
        self.ended.push(intent);
    }

    /// True when the lease may be granted.
    fn lease(&mut self, account: &AccountId, granted: Money) -> bool {
        let balance = self.books.entry(account.clone()).or_default();
        let wanted = granted.max(balance.used());
        if wanted > balance.granted && wanted > usd(LIMIT) {
            return false;
        }
        balance.granted = balance.granted.max(wanted);
        true
    }

    fn restart(&mut self, power_lost: bool) {
        for intent in std::mem::take(&mut self.open) {
            let reserved = intent.reserved;
            self.end(intent, reserved, true);
        }
        for balance in self.books.values_mut() {
            if power_lost {
                let rest = balance.granted.saturating_sub(balance.used());
                balance.unsettled = plus(balance.unsettled, rest);
            } else {
                balance.granted = balance.granted.min(balance.used());
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn the_books_are_those_of_a_simpler_book_keeper(steps in prop::collection::vec(step(), 1..60)) {
        let mut house = House::new();
        let mut store = house.open();
        let mut boot = 1;
        let mut model = Model::default();
        let keys = ["alpha", "beta", "gamma"];
        for step in steps {
            match step {
                Step::Intend { key, dollars } => {
                    let intent = intent(keys[usize::from(key)], usd(dollars));
                    intend(&store, &intent);
                    model.intend(intent);
                }
                Step::Settle { call, percent, certainty } if !model.open.is_empty() => {
                    let intent = model.open.remove(call % model.open.len());
                    let cost = Money::from_pico(intent.reserved.pico() * percent / 100);
                    let (certainty, cost) = match certainty {
                        0 => (Certainty::Settled, cost),
                        1 => (Certainty::Estimated, cost),
                        _ => (Certainty::Unsettled, cost.max(intent.reserved)),
                    };
                    store.settle(settlement(&intent, cost, certainty));
                    model.end(intent, cost, certainty == Certainty::Unsettled);
                }
                Step::SettleAgain { call } if !model.ended.is_empty() => {
                    let intent = &model.ended[call % model.ended.len()];
                    store.settle(settlement(intent, usd(7), Certainty::Settled));
                }
                Step::Lease { account, dollars } => {
                    let account = &accounts("alpha", now())[account];
                    let wanted = vec![lease(account, usd(dollars), usd(LIMIT))];
                    let granted = store.lease(wanted).blocking_recv().unwrap();
                    prop_assert_eq!(granted.is_ok(), model.lease(account, usd(dollars)));
                }
                Step::Kill { power_lost } => {
                    boot += i32::from(power_lost);
                    house = house.killed(store);
                    store = house.try_open(&format!("boot-{boot}")).unwrap();
                    model.restart(power_lost);
                }
                Step::Close => {
                    store.close().unwrap();
                    drop(store);
                    store = house.try_open(&format!("boot-{boot}")).unwrap();
                    model.restart(false);
                }
                Step::Settle { .. } | Step::SettleAgain { .. } => {}
            }
        }
        settle_down(&store);
        let mut found: BTreeMap<_, _> = store.balances(now()).unwrap().into_iter().collect();
        model.books.retain(|_, balance| *balance != Balance::default());
        found.retain(|_, balance| *balance != Balance::default());
        prop_assert_eq!(found, model.books);
        prop_assert!(verified(&store, &[], &[]).is_sound());
    }
}

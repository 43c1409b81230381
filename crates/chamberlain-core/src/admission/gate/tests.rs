use proptest::prelude::*;

use super::*;
use crate::id::{EnvironmentName, VirtualKeyId};

const NOW: Timestamp = Timestamp::from_ms(1_763_900_000_000);

fn bound(usd: i64) -> Bound {
    Bound {
        cost: Money::from_usd(usd),
        prompt_tokens: 100,
        input_tokens: 100,
        output_tokens: 50,
        cost_per_output_token: Money::from_pico(Money::from_usd(usd).pico() / 100),
        refinable: false,
        least_to_cut: None,
    }
}

fn terms(environment: Limits, key: Limits, daily: Option<i64>) -> Vec<Terms> {
    let budgets = Budgets { daily: daily.map(Money::from_usd), monthly: None };
    vec![
        Terms {
            scope: Scope::Organization,
            budgets: Budgets::default(),
            limits: Limits::default(),
        },
        Terms {
            scope: Scope::Environment(EnvironmentName::new("production")),
            budgets,
            limits: environment,
        },
        Terms {
            scope: Scope::VirtualKey(VirtualKeyId::mint([1; 16])),
            budgets: Budgets::default(),
            limits: key,
        },
    ]
}

fn rpm(limit: u64) -> Limits {
    Limits { requests_per_minute: Some(limit), ..Limits::default() }
}

fn gate() -> Gate {
    Gate::new(Vec::new(), vec![75, 90, 100], NOW)
}

fn ask(gate: &mut Gate, terms: &[Terms], bound: Option<Bound>, now: Timestamp) -> Admission {
    let calendar = Calendar::utc();
    loop {
        let answer = gate.admit(&AdmissionRequest {
            call: CallId::mint(now, [0; 10]),
            now,
            calendar: &calendar,
            terms,
            bound,
            estimated_input_tokens: 100,
            max_tokens: Some(50),
        });
        let Admission::Lease(wanted) = answer else { return answer };
        let grants: Vec<_> = wanted
            .into_iter()
            .map(|lease| Grant { account: lease.account, granted: lease.granted })
            .collect();
        gate.grant(&grants);
    }
}

fn admitted(answer: Admission) -> Reservation {
    match answer {
        Admission::Admitted(reservation) => reservation,
        other => panic!("not admitted: {other:?}"),
    }
}

const NOTHING: Ending =
    Ending { cost: Money::ZERO, unsettled: false, input_tokens: Some(0), output_tokens: Some(0) };

#[test]
fn the_21st_request_of_a_minute_waits() {
    let mut gate = gate();
    let terms = terms(rpm(20), Limits::default(), None);
    for request in 0..20 {
        let now = NOW.plus_ms(request);
        let reservation = admitted(ask(&mut gate, &terms, Some(bound(1)), now));
        gate.settle(reservation, NOTHING, now);
    }
    let Admission::Wait(wait) = ask(&mut gate, &terms, Some(bound(1)), NOW.plus_ms(30)) else {
        panic!("the 21st passed");
    };
    let until = wait.until.unwrap();
    assert!(until.ms_since(NOW) >= 60_000);
    let _held = admitted(ask(&mut gate, &terms, Some(bound(1)), until));
}

#[test]
fn a_keys_own_limit_counts_alone() {
    let mut gate = gate();
    let own = terms(rpm(1), rpm(3), None);
    for _ in 0..3 {
        let reservation = admitted(ask(&mut gate, &own, Some(bound(1)), NOW));
        gate.settle(reservation, NOTHING, NOW);
    }
    assert!(matches!(ask(&mut gate, &own, Some(bound(1)), NOW), Admission::Wait(_)));
    let shared = terms(rpm(1), Limits::default(), None);
    let _held = admitted(ask(&mut gate, &shared, Some(bound(1)), NOW));
}

#[test]
fn a_free_call_counts_as_a_request_and_costs_nothing() {
    let mut gate = gate();
    let terms = terms(rpm(1), Limits::default(), Some(0));
    let reservation = admitted(ask(&mut gate, &terms, None, NOW));
    assert_eq!((reservation.cost, reservation.accounts.len()), (Money::ZERO, 0));
    gate.settle(reservation, NOTHING, NOW);
    assert!(matches!(ask(&mut gate, &terms, None, NOW), Admission::Wait(_)));
}

#[test]
fn a_refusal_consumes_nothing() {
    let mut gate = gate();
    let terms = terms(rpm(1), Limits::default(), Some(1));
    assert!(matches!(ask(&mut gate, &terms, Some(bound(2)), NOW), Admission::Refused(_)));
    assert_eq!(gate.in_flight(), 0);
    let _held = admitted(ask(&mut gate, &terms, Some(bound(1)), NOW));
}

#[test]
fn a_refusal_says_what_would_fit() {
    let mut gate = gate();
    let terms = terms(Limits::default(), Limits::default(), Some(1));
    // Two dollars, a fiftieth of which for each of 50 output tokens: one dollar buys nothing
    // less than the prompt, so lowering by half of the output is what fits.
    let dear = Bound { cost_per_output_token: Money::from_pico(40_000_000_000), ..bound(2) };
    let Admission::Refused(Refusal::Budget { left, max_tokens_that_fits, .. }) =
        ask(&mut gate, &terms, Some(dear), NOW)
    else {
        panic!("it passed");
    };
    assert_eq!((left, max_tokens_that_fits), (Money::from_usd(1), Some(25)));
}

#[test]
fn concurrency_is_given_back() {
    let mut gate = gate();
    let one = Limits { concurrency: Some(1), ..Limits::default() };
    let terms = terms(Limits::default(), one, None);
    let first = admitted(ask(&mut gate, &terms, Some(bound(1)), NOW));
    let Admission::Wait(wait) = ask(&mut gate, &terms, Some(bound(1)), NOW) else {
        panic!("two in flight");
    };
    assert_eq!(wait.until, None);
    gate.settle(first, NOTHING, NOW);
    let _held = admitted(ask(&mut gate, &terms, Some(bound(1)), NOW));
}

#[test]
fn output_is_counted_at_max_tokens_and_corrected() {
    let mut gate = gate();
    let limits = Limits { output_tokens_per_minute: Some(60), ..Limits::default() };
    let terms = terms(Limits::default(), limits, None);
    let first = admitted(ask(&mut gate, &terms, Some(bound(1)), NOW));
    assert!(matches!(ask(&mut gate, &terms, Some(bound(1)), NOW), Admission::Wait(_)));
    gate.settle(first, Ending { output_tokens: Some(10), ..NOTHING }, NOW);
    let _held = admitted(ask(&mut gate, &terms, Some(bound(1)), NOW));
}

#[test]
fn another_attempt_is_another_request() {
    let mut gate = gate();
    let terms = terms(rpm(2), Limits::default(), None);
    let reservation = admitted(ask(&mut gate, &terms, Some(bound(1)), NOW));
    assert_eq!(gate.count_attempt(&reservation, NOW), Ok(()));
    assert!(gate.count_attempt(&reservation, NOW).is_err());
    gate.settle(reservation, NOTHING, NOW);
}

#[test]
fn an_exhausted_budget_is_reported_when_it_refuses() {
    let mut gate = gate();
    let terms = terms(Limits::default(), Limits::default(), Some(100));
    let reservation = admitted(ask(&mut gate, &terms, Some(bound(99)), NOW));
    let spent = Ending { cost: Money::from_usd(99), ..NOTHING };
    let events = gate.settle(reservation, spent, NOW);
    assert_eq!(events.iter().map(|event| event.threshold_percent).collect::<Vec<_>>(), [90]);
    assert!(matches!(ask(&mut gate, &terms, Some(bound(2)), NOW), Admission::Refused(_)));
    assert_eq!(gate.take_events().len(), 1);
    assert_eq!(gate.take_events().len(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    /// A thousand clients on any budget: reserved and spent never exceed it, and when all calls
    /// have ended nothing is reserved and as many were served as the money allows.
    #[test]
    fn a_budget_serves_exactly_what_fits(limit in 1i64..200, order in any::<u64>()) {
        let mut gate = gate();
        let terms = terms(Limits::default(), Limits::default(), Some(limit));
        let (mut in_flight, mut served, mut seed) = (Vec::new(), 0, order);
        for _ in 0..1_000 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            match ask(&mut gate, &terms, Some(bound(1)), NOW) {
                Admission::Admitted(reservation) => in_flight.push(reservation),
                Admission::Wait(_) | Admission::Refused(_) => {}
                Admission::Lease(_) => unreachable!("leases are granted in ask"),
            }
            let used: i128 = gate.balances(NOW).iter()
                .filter(|(id, _)| matches!(id.scope, Scope::Environment(_)))
                .map(|(_, balance)| balance.used().pico())
                .max().unwrap_or_default();
            prop_assert!(used <= Money::from_usd(limit).pico());
            if seed >> 62 == 0 && let Some(reservation) = in_flight.pop() {
                gate.settle(reservation, Ending { cost: Money::from_usd(1), ..NOTHING }, NOW);
                served += 1;
            }
        }
        for reservation in in_flight {
            gate.settle(reservation, Ending { cost: Money::from_usd(1), ..NOTHING }, NOW);
            served += 1;
        }
        prop_assert_eq!(served, limit);
        prop_assert!(gate.balances(NOW).iter().all(|(_, balance)| balance.reserved.is_zero()));
        prop_assert_eq!(gate.in_flight(), 0);
    }
}

#[test]
fn a_refusal_says_when_the_prompt_alone_is_too_dear() {
    let mut gate = gate();
    let terms = terms(Limits::default(), Limits::default(), Some(1));
    // Two dollars, of which fifty tokens of output are one cent.
    let dear = Bound { cost_per_output_token: Money::from_pico(200_000_000), ..bound(2) };
    let Admission::Refused(Refusal::Budget { max_tokens_that_fits, prompt, .. }) =
        ask(&mut gate, &terms, Some(dear), NOW)
    else {
        panic!("it passed");
    };
    assert_eq!((max_tokens_that_fits, prompt), (None, Some("1.99".parse().unwrap())));
}

/// Asks to be admitted with what is left; leases are granted.
fn ask_short(gate: &mut Gate, terms: &[Terms], bound: Bound) -> Admission {
    let calendar = Calendar::utc();
    loop {
        let answer = gate.admit_short(&AdmissionRequest {
            call: CallId::mint(NOW, [0; 10]),
            now: NOW,
            calendar: &calendar,
            terms,
            bound: Some(bound),
            estimated_input_tokens: 100,
            max_tokens: Some(50),
        });
        let Admission::Lease(wanted) = answer else { return answer };
        let grant = |lease: LeaseWanted| Grant { account: lease.account, granted: lease.granted };
        gate.grant(&wanted.into_iter().map(grant).collect::<Vec<_>>());
    }
}

#[test]
fn a_call_that_may_be_cut_takes_what_is_left_and_never_more() {
    let mut gate = gate();
    let terms = terms(Limits::default(), Limits::default(), Some(3));
    let least = |usd| Some(Money::from_usd(usd));
    let fits = Bound { least_to_cut: least(1), ..bound(2) };
    let whole = admitted(ask_short(&mut gate, &terms, fits));
    assert_eq!((whole.cost, whole.short), (Money::from_usd(2), false));
    let short = admitted(ask_short(&mut gate, &terms, fits));
    assert_eq!((short.cost, short.short), (Money::from_usd(1), true));
    let nothing_left = ask_short(&mut gate, &terms, fits);
    assert!(matches!(nothing_left, Admission::Wait(_)), "{nothing_left:?}");
    let unlimited = terms_without_budget();
    let call = admitted(ask_short(&mut gate, &unlimited, fits));
    assert_eq!((call.cost, call.short), (Money::from_usd(2), false));
}

fn terms_without_budget() -> Vec<Terms> {
    terms(Limits::default(), Limits::default(), None)
}

#[test]
fn what_cannot_be_followed_as_it_streams_is_never_admitted_short() {
    let mut gate = gate();
    let terms = terms(Limits::default(), Limits::default(), Some(1));
    let refused = ask_short(&mut gate, &terms, bound(2));
    assert!(matches!(refused, Admission::Refused(Refusal::Budget { .. })), "{refused:?}");
    let too_much = Bound { least_to_cut: Some(Money::from_usd(2)), ..bound(3) };
    let refused = ask_short(&mut gate, &terms, too_much);
    assert!(matches!(refused, Admission::Refused(Refusal::Budget { .. })), "{refused:?}");
}

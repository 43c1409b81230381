use proptest::prelude::*;

use super::*;

const NOW: Timestamp = Timestamp::from_ms(1_763_900_000_000);

fn usd(usd: i64) -> Money {
    Money::from_usd(usd)
}

fn book_with(limit: i64) -> (Book, Vec<Line>) {
    let mut book = Book::new(Vec::new(), vec![75, 90, 100], NOW);
    let budgets = Budgets { daily: Some(usd(limit)), monthly: None };
    let lines = book.lines(&Scope::Organization, &budgets, &Calendar::utc(), NOW).to_vec();
    (book, lines)
}

fn grant_all(book: &mut Book, wanted: &[LeaseWanted]) {
    let grants: Vec<_> = wanted
        .iter()
        .map(|lease| Grant { account: lease.account.clone(), granted: lease.granted })
        .collect();
    book.grant(&grants);
}

/// Reserves, granting what is asked for; false when it does not fit.
fn take(book: &mut Book, lines: &[Line], cost: Money) -> bool {
    for _ in 0..2 {
        match book.fit(lines, cost) {
            Fit::Fits => {
                book.reserve(lines, cost);
                return true;
            }
            Fit::NeedsLeases(wanted) => grant_all(book, &wanted),
            Fit::WhenReleased(_) | Fit::Never(_) => return false,
        }
    }
    panic!("what was asked for was leased and is not enough");
}

fn accounts(lines: &[Line]) -> Vec<AccountId> {
    lines.iter().map(|line| line.account.clone()).collect()
}

#[test]
fn nothing_is_reserved_before_its_lease_is_durable() {
    let (mut book, lines) = book_with(100);
    let Fit::NeedsLeases(wanted) = book.fit(&lines, usd(10)) else { panic!("no lease asked") };
    assert_eq!(wanted[0].granted, usd(11), "the need and one step of a hundredth");
    assert!(matches!(book.fit(&lines, usd(10)), Fit::NeedsLeases(_)), "asking grants nothing");
    grant_all(&mut book, &wanted);
    assert_eq!(book.fit(&lines, usd(10)), Fit::Fits);
}

#[test]
fn a_call_written_off_gives_money_back() {
    let (mut book, lines) = book_with(100);
    assert!(take(&mut book, &lines, usd(90)));
    book.settle(&accounts(&lines), usd(90), usd(90), true);
    assert!(!take(&mut book, &lines, usd(20)));
    book.write_off(&accounts(&lines), usd(90), usd(1));
    let (_, balance) = book.balances(NOW).remove(0);
    assert_eq!((balance.settled, balance.unsettled), (usd(1), usd(0)));
    assert!(take(&mut book, &lines, usd(99)));
    assert!(!take(&mut book, &lines, Money::from_pico(1)));
}

#[test]
fn the_last_cent_is_usable() {
    let (mut book, lines) = book_with(100);
    assert!(take(&mut book, &lines, usd(100)));
    assert!(!take(&mut book, &lines, Money::from_pico(1)));
}

#[test]
fn money_held_by_calls_in_flight_is_worth_waiting_for_but_spent_money_is_not() {
    let (mut book, lines) = book_with(100);
    assert!(take(&mut book, &lines, usd(80)));
    assert!(matches!(book.fit(&lines, usd(30)), Fit::WhenReleased(_)));
    book.settle(&accounts(&lines), usd(80), usd(71), false);
    let Fit::Never(shortfall) = book.fit(&lines, usd(30)) else { panic!("it cannot fit") };
    assert_eq!((shortfall.left, shortfall.reserved), (usd(29), Money::ZERO));
}

#[test]
fn each_threshold_is_reported_once_at_or_above_it() {
    let (mut book, lines) = book_with(100);
    let accounts = accounts(&lines);
    let mut percents = Vec::new();
    for _ in 0..20 {
        assert!(take(&mut book, &lines, usd(5)));
        let events = book.settle(&accounts, usd(5), usd(5), false);
        percents.extend(events.iter().map(|event| (event.spent, event.threshold_percent)));
    }
    assert_eq!(percents, [(usd(75), 75), (usd(90), 90), (usd(100), 100)]);
}

#[test]
fn a_refusal_at_the_end_of_a_budget_is_its_end() {
    let (mut book, lines) = book_with(100);
    assert!(take(&mut book, &lines, usd(99)));
    book.settle(&accounts(&lines), usd(99), usd(99), false);
    let Fit::Never(shortfall) = book.fit(&lines, usd(2)) else { panic!("it cannot fit") };
    assert_eq!(book.refused(&shortfall).map(|event| event.threshold_percent), Some(100));
    assert_eq!(book.refused(&shortfall), None, "reported once");
}

#[test]
fn thresholds_passed_before_a_restart_are_not_news() {
    let (_, lines) = book_with(100);
    let balance = Balance { settled: usd(80), granted: usd(80), ..Balance::default() };
    let mut book = Book::new(vec![(lines[0].account.clone(), balance)], vec![75, 90, 100], NOW);
    assert!(take(&mut book, &lines, usd(1)));
    assert_eq!(book.settle(&accounts(&lines), usd(1), usd(1), false), []);
}

#[test]
fn a_clock_that_steps_back_does_not_reopen_an_ended_window() {
    let (mut book, lines) = book_with(100);
    let budgets = Budgets { daily: Some(usd(100)), monthly: None };
    let back = NOW.plus_ms(-40 * 86_400_000);
    let again = book.lines(&Scope::Organization, &budgets, &Calendar::utc(), back);
    assert_eq!(again.to_vec(), lines);
}

#[test]
fn a_clock_that_steps_back_after_a_start_does_not_open_a_day_that_was_not_remembered() {
    // Started today with nothing spent yet: nothing says so but the moment of the start.
    let mut book = Book::new(Vec::new(), vec![75, 90, 100], NOW);
    let budgets = Budgets { daily: Some(usd(100)), monthly: None };
    let back = NOW.plus_ms(-2 * 86_400_000);
    let [daily, _] = book.lines(&Scope::Organization, &budgets, &Calendar::utc(), back);
    assert!(daily.account.window.end > NOW, "yesterday was opened again");
}

#[test]
fn a_start_behind_its_last_day_goes_on_with_that_day() {
    // The clock was set back while nothing ran: what is remembered says how far it had been.
    let (_, lines) = book_with(100);
    let balance = Balance { settled: usd(80), granted: usd(80), ..Balance::default() };
    let remembered = vec![(lines[0].account.clone(), balance)];
    let back = NOW.plus_ms(-2 * 86_400_000);
    let mut book = Book::new(remembered, vec![75, 90, 100], back);
    let budgets = Budgets { daily: Some(usd(100)), monthly: None };
    let [daily, _] = book.lines(&Scope::Organization, &budgets, &Calendar::utc(), back);
    assert_eq!(daily, lines[0], "an earlier day was opened as if nothing had been spent in it");
    assert!(!take(&mut book, std::slice::from_ref(&daily), usd(21)));
    assert!(take(&mut book, &[daily], usd(20)));
}

#[test]
fn not_a_cent_above_the_limit_is_set_aside_nor_leased() {
    let cent = Money::from_pico(10_000_000_000);
    let (mut book, lines) = book_with(100);
    let above = sum(usd(100), cent);
    assert!(matches!(book.fit(&lines, above), Fit::Never(_)), "a lease could not help");
    // A limit that was lowered: the lease reaches above it, so the limit alone stands in the way.
    assert!(take(&mut book, &lines, usd(100)));
    book.settle(&accounts(&lines), usd(100), usd(50), false);
    let budgets = Budgets { daily: Some(usd(60)), monthly: None };
    let lowered = book.lines(&Scope::Organization, &budgets, &Calendar::utc(), NOW);
    assert!(matches!(book.fit(&lowered, sum(usd(10), cent)), Fit::Never(_)));
    assert_eq!(book.fit(&lowered, usd(10)), Fit::Fits);
}

#[test]
fn an_account_is_kept_while_a_call_of_its_window_is_in_flight() {
    let (mut book, lines) = book_with(100);
    assert!(take(&mut book, &lines, usd(10)));
    let budgets = Budgets { daily: Some(usd(100)), monthly: None };
    let tomorrow = NOW.plus_ms(86_400_000);
    let next = book.lines(&Scope::Organization, &budgets, &Calendar::utc(), tomorrow).to_vec();
    assert!(take(&mut book, &next, usd(100)), "the new day has its own money");
    book.settle(&accounts(&lines), usd(10), usd(4), false);
    assert!(book.accounts[&lines[0].account].balance.reserved.is_zero());
}

proptest! {
    /// Whatever order calls come and end in, nothing is above the grant and no grant above the
    /// limit; and with no call in flight nothing is reserved.
    #[test]
    fn used_never_exceeds_granted_nor_granted_the_limit(
        steps in proptest::collection::vec((1i64..40, 0i64..=100, any::<bool>(), 0usize..6), 1..200),
    ) {
        let (mut book, lines) = book_with(100);
        let accounts = accounts(&lines);
        let mut in_flight: Vec<Money> = Vec::new();
        let mut charged = Money::ZERO;
        for (cost, used_percent, unsettled, end) in steps {
            if take(&mut book, &lines, usd(cost)) {
                in_flight.push(usd(cost));
            }
            for _ in 0..end.min(in_flight.len()) {
                let reserved = in_flight.remove(0);
                let actual = Money::from_pico(reserved.pico() * i128::from(used_percent) / 100);
                let actual = if unsettled { reserved } else { actual };
                charged = sum(charged, actual);
                book.settle(&accounts, reserved, actual, unsettled);
            }
            let balance = book.accounts[&lines[0].account].balance;
            prop_assert!(balance.used() <= balance.granted);
            prop_assert!(balance.granted <= usd(100));
            prop_assert_eq!(balance.spent(), charged);
        }
        for reserved in in_flight {
            book.settle(&accounts, reserved, Money::ZERO, false);
        }
        prop_assert_eq!(book.accounts[&lines[0].account].balance.reserved, Money::ZERO);
    }
}

#[test]
fn windows_that_have_ended_are_forgotten_unless_a_call_is_still_charged_to_them() {
    const DAY_MS: i64 = 86_400_000;
    let (mut book, lines) = book_with(100);
    assert!(take(&mut book, &lines, usd(7)));
    let budgets = Budgets { daily: Some(usd(100)), monthly: None };
    for day in 1..100 {
        for key in ["a", "b", "c"] {
            let scope = Scope::VirtualKey(crate::id::VirtualKeyId::new(key));
            let now = NOW.plus_ms(day * DAY_MS);
            let lines = book.lines(&scope, &budgets, &Calendar::utc(), now).to_vec();
            assert!(take(&mut book, &lines, usd(1)));
            book.settle(&accounts(&lines), usd(1), usd(1), false);
        }
        // Three keys, two windows each, and the two of the first call, which is still in flight.
        assert!(book.accounts.len() <= 8, "{} on day {day}", book.accounts.len());
        assert_eq!(book.accounts[&lines[0].account].balance.reserved, usd(7));
    }
    book.settle(&accounts(&lines), usd(7), usd(3), false);
    assert_eq!(book.accounts[&lines[0].account].balance.spent(), usd(3));
}

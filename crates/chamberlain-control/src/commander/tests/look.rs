//! What only looks.

use chamberlain_core::id::{CallId, UpstreamKeyId};
use chamberlain_core::ledger::account::Scope;
use chamberlain_core::money::Money;
use chamberlain_core::record::{Certainty, Intent, Outcome, Route, Settlement};
use chamberlain_core::rotation::Traffic;
use chamberlain_core::time::WindowKind;
use chamberlain_core::usage::Tokens;

use super::*;
use crate::command::{
    BudgetList, CallsList, CostMonth, CostToday, CostTop, Doctor, LimitList, Status, WriteOff,
};
use crate::reply::{CheckState, ScopeKind};
use crate::wire::CostBy;

impl World {
    /// Puts a call on record, ended unless `outcome` is `None`.
    fn call(
        &self,
        number: u8,
        key: &str,
        operation: Option<&str>,
        cost: Money,
        end: Option<(Outcome, Certainty)>,
    ) -> CallId {
        self.call_to(Some("uk_1"), number, key, operation, cost, end)
    }

    /// The same for a call to this upstream, `None` for the mock.
    fn call_to(
        &self,
        upstream: Option<&str>,
        number: u8,
        key: &str,
        operation: Option<&str>,
        cost: Money,
        end: Option<(Outcome, Certainty)>,
    ) -> CallId {
        let now = self.clock.now();
        let call = CallId::mint(now, [number; 10]);
        let scope = Scope::VirtualKey(VirtualKeyId::new(key));
        let scopes =
            [Scope::Organization, Scope::Environment(EnvironmentName::new("staging")), scope];
        let accounts: Vec<AccountId> = scopes
            .into_iter()
            .flat_map(|scope| {
                WindowKind::ALL.map(|kind| AccountId {
                    scope: scope.clone(),
                    window: Calendar::utc().window(kind, now),
                })
            })
            .collect();
        let reserved = Money::from_usd(1);
        let store = &self.commander.store;
        let intent = Intent {
            call,
            at: now,
            virtual_key: VirtualKeyId::new(key),
            environment: EnvironmentName::new("staging"),
            upstream_key: upstream.map(UpstreamKeyId::new),
            route: Route::Messages,
            operation: operation.map(str::to_owned),
            model: "claude-sonnet-4-5".to_owned(),
            max_tokens: 100,
            stream: false,
            source: "127.0.0.1".parse().unwrap(),
            reserved,
            accounts: accounts.clone(),
            resource: None,
        };
        store.intend(intent).blocking_recv().unwrap().unwrap();
        if let Some((outcome, certainty)) = end {
            store.settle(Settlement {
                call,
                at: now.plus_ms(250),
                outcome,
                certainty,
                cost,
                reserved,
                accounts,
                served_model: Some("claude-sonnet-4-5-20250929".to_owned()),
                tokens: Tokens { input: 10, output: 5, ..Tokens::default() },
                usage: None,
                status: 200,
                upstream_request_id: None,
                stop_reason: Some("end_turn".to_owned()),
                attempts: 1,
                first_byte_ms: Some(100),
                duration_ms: 250,
            });
        }
        call
    }

    /// Waits until everything handed over is written: a change queues behind it.
    fn written(&self) {
        self.ask(crate::command::AuditExport::default()).unwrap();
    }
}

/// A gateway that says it has calls in flight and $1.23 settled in staging.
struct Gateway {
    in_flight: u64,
    reserved: Money,
    written_off: Mutex<Vec<(Vec<AccountId>, Money, Money)>>,
}

impl Default for Gateway {
    fn default() -> Gateway {
        Gateway { in_flight: 3, reserved: Money::ZERO, written_off: Mutex::default() }
    }
}

impl Live for Gateway {
    fn running(&self) -> Running {
        Running { in_flight: self.in_flight, ..Running::default() }
    }

    fn balances(&self) -> Vec<(AccountId, Balance)> {
        let scope = Scope::Environment(EnvironmentName::new("staging"));
        let window = Calendar::utc().window(WindowKind::Daily, NOON);
        let (settled, reserved) = (cents(123), self.reserved);
        let balance = Balance { settled, reserved, ..Balance::default() };
        vec![(AccountId { scope, window }, balance)]
    }

    fn jobs(&self) -> Vec<JobLine> {
        Vec::new()
    }

    fn use_of(&self, _key: &UpstreamKeyId) -> (u64, Traffic) {
        (0, Traffic::default())
    }

    fn written_off(&self, accounts: &[AccountId], charged: Money, cost: Money) {
        self.written_off.lock().push((accounts.to_vec(), charged, cost));
    }
}

const WELL: Option<(Outcome, Certainty)> = Some((Outcome::Completed, Certainty::Settled));
const LOST: Option<(Outcome, Certainty)> = Some((Outcome::Cut, Certainty::Unsettled));

fn cents(cents: i128) -> Money {
    Money::from_pico(cents * 10_000_000_000)
}

#[test]
fn calls_are_listed_and_filtered() {
    let world = World::new();
    let key = world.ask(create("ci")).unwrap().id;
    let mut calls = Vec::new();
    for number in 0..5 {
        world.clock.turn(1_000);
        let end = if number == 4 { None } else { WELL };
        calls.push(world.call(number, &key, Some("briefing"), cents(2), end).to_string());
    }
    world.written();
    let ids = |asked: CallsList| {
        let reply = world.ask(asked).unwrap();
        (reply.calls.into_iter().map(|call| call.id).collect::<Vec<_>>(), reply.has_more)
    };
    let newest: Vec<String> = calls.iter().rev().cloned().collect();
    assert_eq!(ids(CallsList::default()), (newest.clone(), false));
    let two = CallsList { limit: Some(2), ..CallsList::default() };
    assert_eq!(ids(two.clone()), (newest[..2].to_vec(), true));
    let older = CallsList { before: Some(newest[1].clone()), ..two.clone() };
    assert_eq!(ids(older), (newest[2..4].to_vec(), true));
    let newer = CallsList { after: Some(calls[2].clone()), ..CallsList::default() };
    assert_eq!(ids(newer), (calls[3..].to_vec(), false));
    let flying = CallsList { outcome: Some("in_flight".to_owned()), ..CallsList::default() };
    assert_eq!(ids(flying), (calls[4..].to_vec(), false));
    let named = CallsList { virtual_key: Some("ci".to_owned()), ..CallsList::default() };
    assert_eq!(ids(named).0.len(), 5);
    let recent = CallsList { since: Some("2s".to_owned()), ..CallsList::default() };
    assert_eq!(ids(recent).0.len(), 3);
    let elsewhere = CallsList { environment: Some("production".into()), ..CallsList::default() };
    assert_eq!(ids(elsewhere).0.len(), 0);
    let of = |model: &str| CallsList { model: Some(model.to_owned()), ..CallsList::default() };
    assert_eq!(ids(of("claude-sonnet-4-5-20250929")).0.len(), 4);
    assert_eq!(ids(of("claude-opus-5-5")).0.len(), 0, "known, and not called");
    let nowhere = CallsList { environment: Some("nope".into()), ..CallsList::default() };
    for (unknown, named) in [(nowhere, "\"nope\""), (of("claude-nope"), "\"claude-nope\"")] {
        let error = world.ask(unknown).unwrap_err();
        assert_eq!(error.code, ErrorCode::NotFound);
        assert!(error.message.contains(named) && error.hint.is_some(), "{error:?}");
    }

    let call = &world.ask(two).unwrap().calls[1];
    assert_eq!((call.cost, call.status), (Some(cents(2)), Some(200)));
    assert_eq!(call.virtual_key_name.as_deref(), Some("ci"));
    assert_eq!((call.tokens.input, call.duration_ms), (10, Some(250)));
    for wrong in [
        CallsList { limit: Some(0), ..CallsList::default() },
        CallsList { limit: Some(1_001), ..CallsList::default() },
        CallsList { outcome: Some("fine".into()), ..CallsList::default() },
        CallsList { certainty: Some("sure".into()), ..CallsList::default() },
        CallsList { since: Some("once".into()), ..CallsList::default() },
        CallsList { after: Some("call_1".into()), ..CallsList::default() },
        CallsList {
            after: Some(calls[0].clone()),
            before: Some(calls[1].clone()),
            ..CallsList::default()
        },
    ] {
        assert_eq!(world.refused(wrong), ErrorCode::Usage);
    }
}

#[test]
fn costs_are_added_up_by_whatever_is_asked() {
    let world = World::new();
    let (one, two) = (world.ask(create("one")).unwrap().id, world.ask(create("two")).unwrap().id);
    world.call(1, &one, Some("a"), cents(30), WELL);
    world.call(2, &one, Some("b"), cents(100), LOST);
    world.call(3, &two, Some("b"), cents(50), WELL);
    world.call(4, &two, None, cents(0), None);
    world.written();
    let today = world.ask(CostToday::default()).unwrap();
    assert_eq!((today.cost, today.calls), (cents(180), 3));
    assert_eq!(today.unsettled, cents(100));
    assert_eq!((today.tokens.input, today.tokens.output), (30, 15));
    assert_eq!(today.by_environment[0].name, "staging");
    assert_eq!(today.by_environment[0].share_basis_points, Some(10_000));
    assert_eq!(today.by_model[0].id, "claude-sonnet-4-5-20250929");
    assert_eq!(
        (today.from.0.to_rfc3339(), today.to.0.to_rfc3339()),
        ("2026-11-23T00:00:00.000Z".to_owned(), "2026-11-24T00:00:00.000Z".to_owned())
    );

    let lines = |by| {
        let top = world.ask(CostTop { by, ..CostTop::default() }).unwrap();
        let line = |line: crate::reply::CostLine| (line.name, line.cost, line.calls);
        top.lines.into_iter().map(line).collect::<Vec<_>>()
    };
    let expected = |lines: &[(&str, i128, u64)]| {
        let line =
            |(name, cost, calls): &(&str, i128, u64)| ((*name).to_owned(), cents(*cost), *calls);
        lines.iter().map(line).collect::<Vec<_>>()
    };
    let keys = lines(CostBy::VirtualKey);
    assert_eq!(keys.len(), 2);
    assert!(keys.contains(&("one".to_owned(), cents(130), 2)));
    assert_eq!(lines(CostBy::Operation), expected(&[("b", 150, 2), ("a", 30, 1)]));
    assert_eq!(lines(CostBy::Environment), expected(&[("staging", 180, 3)]));

    let elsewhere = CostMonth { environment: Some("production".to_owned()) };
    assert_eq!(world.ask(elsewhere).unwrap().cost, Money::ZERO);
    // Summing up by the hour changes no sum.
    let before = world.ask(CostMonth::default()).unwrap();
    world.commander.housekeep(world.clock.now()).unwrap();
    assert_eq!(world.ask(CostMonth::default()).unwrap(), before);
    world.clock.turn(24 * 3_600_000);
    assert_eq!(world.ask(CostToday::default()).unwrap().cost, Money::ZERO);
    assert_eq!(world.ask(CostMonth::default()).unwrap().cost, cents(180));
}

#[test]
fn what_the_mock_answered_is_told_apart_and_added_to_nothing() {
    let world = World::new();
    let (ci, app) = (world.ask(create("ci")).unwrap().id, world.ask(create("app")).unwrap().id);
    world.call(1, &app, None, cents(30), WELL);
    world.call_to(None, 2, &ci, None, cents(500), WELL);
    world.call(3, &app, None, cents(2), Some((Outcome::Cut, Certainty::Estimated)));
    world.written();
    let today = world.ask(CostToday::default()).unwrap();
    assert_eq!((today.cost, today.calls, today.estimated), (cents(32), 2, cents(2)));
    assert_eq!((today.mock_cost, today.mock_calls), (cents(500), 1));
    assert_eq!(today.by_environment[0].share_basis_points, Some(10_000));
    let top = world.ask(CostTop { by: CostBy::VirtualKey, ..CostTop::default() }).unwrap();
    assert_eq!(top.cost, cents(32));
    let line = |line: &crate::reply::CostLine| (line.name.clone(), line.cost, line.mock_cost);
    let expected = [("app", cents(32), cents(0)), ("ci", cents(0), cents(500))];
    assert!(top.lines.iter().map(line).eq(expected.map(|(n, a, b)| (n.to_owned(), a, b))));
    let calls = world.ask(CallsList::default()).unwrap().calls;
    let marks: Vec<bool> = calls.iter().rev().map(|call| call.mock).collect();
    assert_eq!(marks, [false, true, false]);
}

#[test]
fn a_budget_shows_what_is_spent_and_left() {
    let world = World::new();
    let key = world.ask(create("ci")).unwrap().id;
    world.call(1, &key, None, cents(150), WELL);
    world.call(2, &key, None, cents(100), LOST);
    world.call(3, &key, None, cents(0), None);
    world.written();
    let staging = BudgetList { scope: Some("staging".to_owned()) };
    let line = world.ask(staging).unwrap().budgets.remove(0);
    assert_eq!((line.settled, line.unsettled), (cents(150), cents(100)));
    assert_eq!((line.reserved, line.left), (cents(100), Some(cents(650))));
    assert_eq!((line.limit, line.spent_basis_points), (Some(cents(1_000)), Some(2_500)));
    let all = world.ask(BudgetList::default()).unwrap().budgets;
    assert_eq!(all[0].scope.kind, ScopeKind::Organization);
    assert!(all.iter().any(|line| line.scope.name == "ci" && line.limit.is_none()));
    assert_eq!(world.ask(LimitList::default()).unwrap().limits.len(), 3);
}

#[test]
fn an_unsettled_call_is_given_its_true_cost() {
    let world = World::new();
    let key = world.ask(create("ci")).unwrap().id;
    let lost = world.call(1, &key, None, cents(100), LOST).to_string();
    let well = world.call(2, &key, None, cents(1), WELL).to_string();
    world.written();
    let off = |call: &str, cost| WriteOff {
        call: call.to_owned(),
        cost,
        reason: "the console says so".to_owned(),
    };
    assert_eq!(world.refused(off(&well, cents(0))), ErrorCode::Conflict);
    assert_eq!(world.refused(off(&lost, cents(101))), ErrorCode::Usage);
    assert_eq!(world.refused(off(&lost, Money::from_usd(-1))), ErrorCode::Usage);
    assert_eq!(
        world.refused(off("call_00000000000000000000000000000000", cents(0))),
        ErrorCode::NotFound
    );
    let gateway = Arc::new(Gateway::default());
    world.commander.attach_live(gateway.clone());
    let done = world.ask(off(&lost, cents(4))).unwrap();
    let told = gateway.written_off.lock().pop().unwrap();
    assert_eq!((told.0.len(), told.1, told.2), (6, cents(100), cents(4)));
    assert_eq!((done.was, done.now), (cents(100), cents(4)));
    assert_eq!(world.refused(off(&lost, cents(4))), ErrorCode::Conflict);
    assert_eq!(world.ask(CostToday::default()).unwrap().cost, cents(5));
    assert!(world.verifies());
}

#[test]
fn the_status_says_how_it_stands() {
    let world = World::new();
    world.ask(create("ci")).unwrap();
    world.ask(key_add("main", Some("production"), &real_key('K'))).unwrap();
    let status = world.ask(Status {}).unwrap();
    assert!(status.store.ok && status.running.is_none() && status.generation.is_none());
    assert_eq!(status.audit.size, 2);
    let [production, staging, _] = &status.environments[..] else { panic!("three environments") };
    assert!(production.upstream_key.is_some() && staging.upstream_key.is_none());
    assert_eq!(staging.virtual_keys, 1);
    let due = production.rotation_due.unwrap().0;
    assert_eq!(due.to_rfc3339(), "2027-05-22T00:00:00.000Z", "the beginning of the day");
    assert_eq!(status.budgets.len(), 6);

    world.commander.attach_live(Arc::new(Gateway::default()));
    let status = world.ask(Status {}).unwrap();
    assert_eq!(status.running.unwrap().in_flight, 3);
    assert_eq!(status.generation, Some(world.published().generation));
    let settled: Vec<Money> = status.budgets.iter().map(|line| line.settled).collect();
    assert!(settled.contains(&cents(123)), "the gateway knows newer figures");
}

#[test]
fn the_doctor_names_what_is_wrong() {
    let world = World::new();
    let state = |world: &World, name: &str| {
        let doctor = world.ask(Doctor {}).unwrap();
        doctor.checks.into_iter().find(|check| check.name == name).unwrap().state
    };
    for name in ["data folder", "store", "vault", "clock", "outbox", "budgets", "rotation"] {
        assert_eq!(state(&world, name), CheckState::Ok, "{name}");
    }
    assert_eq!(state(&world, "upstream keys"), CheckState::Warning);
    world.ask(key_add("main", None, &real_key('K'))).unwrap();
    assert_eq!(state(&world, "upstream keys"), CheckState::Ok);
    assert_eq!(state(&world, "audit log"), CheckState::Warning);
    world.ask(crate::command::AuditCheckpoint {}).unwrap();
    assert_eq!(state(&world, "audit log"), CheckState::Ok);
    world.clock.turn(170 * 86_400_000);
    assert_eq!(state(&world, "rotation"), CheckState::Warning);
    world.clock.turn(-200 * 86_400_000);
    assert_eq!(state(&world, "clock"), CheckState::Warning);
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(world.folder.path(), mode).unwrap();
    let doctor = world.ask(Doctor {}).unwrap();
    assert_eq!(doctor.state, CheckState::Problem);
    assert_eq!(doctor.checks[0].name, "data folder");
}

#[test]
fn the_doctor_finds_money_that_no_call_holds() {
    for (in_flight, reserved, wanted) in [
        (0, Money::ZERO, CheckState::Ok),
        (1, cents(5), CheckState::Ok),
        (0, cents(5), CheckState::Problem),
    ] {
        let world = World::new();
        let gateway = Gateway { in_flight, reserved, ..Gateway::default() };
        world.commander.attach_live(Arc::new(gateway));
        let doctor = world.ask(Doctor {}).unwrap();
        let check = doctor.checks.into_iter().find(|check| check.name == "reservations").unwrap();
        assert_eq!(check.state, wanted, "{}", check.message);
    }
}

//! A life in which the dice choose what happens next.

use chamberlain_core::id::CallId;
use chamberlain_core::money::Money;
use chamberlain_core::snapshot::{Budgets, Limits};
use chamberlain_core::time::{Calendar, Timestamp, WindowKind};

use crate::auditor::Verdict;
use crate::calls::part;
use crate::dice::Dice;
use crate::node::{Ask, Stage};
use crate::upstream::{Bill, ROWS, Row};
use crate::world::{KEYS, World};

/// The last minutes of a month, so that a day and a month end early in every history.
const BEGIN: Timestamp = Timestamp::from_ms(1_764_546_000_000);

const SECOND_MS: i64 = 1_000;
const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;

/// A cent.
const CENT: i128 = 10_000_000_000;

/// A world and its dice.
#[derive(Debug)]
pub(crate) struct Chance {
    dice: Dice,
    pub(crate) world: World,
}

impl Chance {
    /// The world of a seed: half of them have one node, the others two or three.
    pub(crate) fn new(seed: u64) -> Chance {
        let mut dice = Dice::new(seed);
        let zurich = dice.once_in(2).then(|| Calendar::named("Europe/Zurich").ok()).flatten();
        let now = BEGIN.plus_ms(dice.below(7_200_000).cast_signed());
        let nodes = if dice.once_in(2) { 1 } else { 2 + dice.place(2) };
        let mut world = World::new(nodes, now, zurich.unwrap_or_else(Calendar::utc));
        for node in 0..nodes {
            if nodes > 1 {
                world.nodes[node].skew_ms = dice.below(4_000).cast_signed() - 2_000;
            }
        }
        let mut chance = Chance { dice, world };
        for scope in 0..chance.world.terms.len() {
            chance.world.terms[scope].limits = chance.rates();
            chance.change_budgets(scope);
        }
        (0..nodes).for_each(|node| chance.world.publish(node));
        chance
    }

    /// Does one thing that the dice choose, and has it audited.
    pub(crate) fn step(&mut self) -> Verdict {
        let node = self.dice.place(self.world.nodes.len());
        match self.dice.below(1_000) {
            0..240 => self.arrive(node),
            240..430 => self.commit(node),
            430..640 => self.hear(),
            640..760 => self.send(node),
            760..880 => self.end(node),
            880..900 => self.leave(node),
            900..912 => self.fail(node),
            912..930 => self.batch_goes_on(node),
            930..942 => self.write_off(node),
            942..980 => self.move_clock(),
            980..986 => self.change_some_budgets(),
            986..991 => {
                self.world.publish(node);
                Ok(())
            }
            991..995 => self.kill(node),
            995..998 => self.lose_power(),
            _ => self.declare_dead(node),
        }?;
        self.world.audit()
    }

    fn arrive(&mut self, node: usize) -> Verdict {
        let mut entropy = [0; 10];
        entropy[..8].copy_from_slice(&self.dice.number().to_be_bytes());
        let call = CallId::mint(self.world.now, entropy);
        let cents = match self.dice.below(20) {
            0 => 2_000,
            1..6 => 300,
            _ => 40,
        };
        let pico = i128::from(1 + self.dice.below(cents)) * CENT + i128::from(self.dice.below(99));
        let bound = (!self.dice.once_in(30)).then_some(Money::from_pico(pico));
        let key = self.dice.place(KEYS);
        self.world.ask(node, Ask { call, key, bound, tries: 0 })
    }

    fn commit(&mut self, node: usize) -> Verdict {
        if self.dice.once_in(20) {
            let place = self.dice.place(self.world.late.len());
            return self.world.commit_late(place);
        }
        let count = 1 + self.dice.place(self.world.nodes[node].queue.len());
        let lost = self.world.nodes.len() > 1 && self.dice.once_in(12);
        self.world.commit(node, count, lost)
    }

    fn hear(&mut self) -> Verdict {
        let place = self.dice.place(self.world.replies.len());
        let twice = self.world.nodes.len() > 1 && self.dice.once_in(12);
        self.world.hear(place, twice)
    }

    fn send(&mut self, node: usize) -> Verdict {
        let is_such = |stage| stage == Stage::Recorded;
        let Some(call) = self.some_call(node, is_such) else { return Ok(()) };
        let row = self.some_row();
        let bound = self.world.nodes[node].calls.get(&call).map(|going| going.reservation.cost);
        let bound = bound.unwrap_or_default();
        let billed = match row.bill {
            Bill::Nothing => Money::ZERO,
            Bill::Something if self.dice.once_in(4) => bound,
            Bill::Something => part(bound, self.dice.below(1_001)),
        };
        self.world.send(node, call, billed, row)
    }

    fn some_row(&mut self) -> &'static Row {
        let mut left = self.dice.below(ROWS.iter().map(|row| row.parts).sum());
        for row in &ROWS {
            if left < row.parts {
                return row;
            }
            left -= row.parts;
        }
        &ROWS[0]
    }

    fn end(&mut self, node: usize) -> Verdict {
        let is_such = |stage| matches!(stage, Stage::Sent { .. });
        let Some(call) = self.some_call(node, is_such) else { return Ok(()) };
        let Some((billed, bound, _)) = self.world.nodes[node].sent(call) else { return Ok(()) };
        let over = part(bound.saturating_sub(billed), self.dice.below(1_001));
        self.world.end(node, call, over)
    }

    fn leave(&mut self, node: usize) -> Verdict {
        let Some(call) = self.some_call(node, |_| true) else { return Ok(()) };
        let drained = self.dice.once_in(2);
        self.world.leave(node, call, drained)
    }

    fn fail(&mut self, node: usize) -> Verdict {
        let count = 1 + self.dice.place(self.world.nodes[node].queue.len());
        self.world.fail(node, count)
    }

    fn batch_goes_on(&mut self, node: usize) -> Verdict {
        let place = self.dice.place(self.world.batches.len());
        let Some((call, (bound, ended))) = self.world.batches.iter().nth(place) else {
            return Ok(());
        };
        let (call, bound, ended) = (*call, *bound, *ended);
        if ended {
            return self.world.collect(node, call);
        }
        let billed = self.world.bills.get(&call).copied().unwrap_or_default();
        let cost = part(bound.saturating_sub(billed), self.dice.below(1_001));
        let ends = self.dice.once_in(2);
        self.world.batch_goes_on(call, cost, ends)
    }

    fn write_off(&mut self, node: usize) -> Verdict {
        let unsettled = self.world.to_write_off();
        let Some((call, charged)) = unsettled.get(self.dice.place(unsettled.len())).copied() else {
            return Ok(());
        };
        let billed = self.world.bills.get(&call).copied().unwrap_or_default();
        let over = part(charged.saturating_sub(billed), self.dice.below(1_001));
        let cost =
            if self.dice.once_in(2) { billed } else { billed.checked_add(over).unwrap_or(billed) };
        self.world.write_off(node, call, cost)
    }

    fn move_clock(&mut self) -> Verdict {
        let ms = self.some_time();
        self.world.move_clock(ms);
        Ok(())
    }

    fn some_time(&mut self) -> i64 {
        let some = |dice: &mut Dice, ms: i64| dice.below(ms.cast_unsigned()).cast_signed();
        let dice = &mut self.dice;
        match dice.below(100) {
            0..60 => some(dice, 20 * SECOND_MS),
            60..68 => some(dice, HOUR_MS),
            68..74 => -some(dice, 2 * HOUR_MS),
            74..76 => -some(dice, 2 * DAY_MS),
            76..92 => self.around_end_of(WindowKind::Daily),
            92..95 => self.around_end_of(WindowKind::Monthly),
            95..99 => some(dice, DAY_MS),
            _ => some(dice, 40 * DAY_MS) - 20 * DAY_MS,
        }
    }

    /// To a moment within a second of the window's end, on either side.
    fn around_end_of(&mut self, kind: WindowKind) -> i64 {
        let end = self.world.calendar.window(kind, self.world.now).end;
        end.ms() - self.world.now.ms() + self.dice.below(2_000).cast_signed() - SECOND_MS
    }

    fn change_some_budgets(&mut self) -> Verdict {
        let scope = self.dice.place(self.world.terms.len());
        self.change_budgets(scope);
        Ok(())
    }

    /// Gives a scope new budgets; wide scopes get larger ones.
    fn change_budgets(&mut self, scope: usize) {
        let wide = if scope < 3 { 3 } else { 1 };
        let daily = self.some_limit(4 * wide, 40 * wide);
        let monthly = self.some_limit(40 * wide, 400 * wide);
        self.world.change_budgets(scope, Budgets { daily, monthly });
    }

    fn some_limit(&mut self, from_usd: u64, more_usd: u64) -> Option<Money> {
        if self.dice.once_in(4) {
            return None;
        }
        let usd = from_usd + self.dice.below(more_usd);
        Some(Money::from_usd(usd.cast_signed()))
    }

    fn rates(&mut self) -> Limits {
        Limits {
            requests_per_minute: self.dice.once_in(8).then(|| 5 + self.dice.below(60)),
            concurrency: self.dice.once_in(6).then(|| 1 + self.dice.below(8)),
            ..Limits::default()
        }
    }

    fn kill(&mut self, node: usize) -> Verdict {
        let sleep_ms = self.sleep();
        self.world.kill(node, sleep_ms)
    }

    fn declare_dead(&mut self, node: usize) -> Verdict {
        match self.world.nodes.len() {
            1 => Ok(()),
            _ => self.world.declare_dead(node),
        }
    }

    fn lose_power(&mut self) -> Verdict {
        let unsynced = self.world.journal.unsynced();
        let kept = if self.dice.once_in(2) { 0 } else { self.dice.place(unsynced + 1) };
        let sleep_ms = self.sleep();
        self.world.lose_power(kept, sleep_ms)
    }

    /// Between death and the next start the clock may be set as well.
    fn sleep(&mut self) -> i64 {
        if self.dice.once_in(3) { self.some_time() } else { 0 }
    }

    fn some_call(&mut self, node: usize, is_such: impl Fn(Stage) -> bool) -> Option<CallId> {
        let calls = self.world.nodes[node].calls.iter();
        let such = calls.filter(|(_, going)| is_such(going.stage));
        let such: Vec<CallId> = such.map(|(call, _)| *call).collect();
        such.get(self.dice.place(such.len())).copied()
    }
}

//! Everything that happens to a node from outside: the disk, the clock, people, death.

use chamberlain_core::money::Money;
use chamberlain_core::snapshot::Budgets;
use chamberlain_core::time::WindowKind;

use crate::auditor::Verdict;
use crate::calls::part;
use crate::history::Event;
use crate::journal::{Answer, Item};
use crate::world::World;

const SECOND_MS: i64 = 1_000;
const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;

impl World {
    /// The journal commits a prefix of its queue.
    pub(crate) fn commit(&mut self) -> Verdict {
        let count = 1 + self.dice.place(self.journal.queued());
        let answered = self.journal.commit(count, self.now).map_err(|damage| damage.to_string())?;
        self.history.add(Event::Committed { items: answered.len() });
        for (item, answer) in &answered {
            if let (Item::WriteOff { call, cost }, Answer::WrittenOff { let_go, accounts }) =
                (item, answer)
            {
                self.auditor.write_off_recorded(*call, *let_go, *cost, accounts);
            }
        }
        let awaited = answered
            .into_iter()
            .filter(|(item, _)| !matches!(item, Item::Settlement { .. } | Item::Recovery(_)));
        self.node.replies.extend(awaited);
        Ok(())
    }

    /// A transaction fails.
    pub(crate) fn fail(&mut self) -> Verdict {
        let items = 1 + self.dice.place(self.journal.queued());
        let refused = self.journal.fail(items);
        self.history.add(Event::Failed { items, refused: refused.len() });
        self.node.replies.extend(refused.into_iter().map(|item| (item, Answer::Refused)));
        Ok(())
    }

    /// A person gives an unsettled call its true cost.
    pub(crate) fn ask_write_off(&mut self) -> Verdict {
        let unsettled = &self.journal.committed.unsettled;
        let place = self.dice.place(unsettled.len());
        let Some((call, share)) = unsettled.iter().nth(place) else { return Ok(()) };
        let billed = self.bills.get(call).copied().unwrap_or_default();
        let over = part(share.amount.saturating_sub(billed), self.dice.below(1_001));
        let cost = billed.checked_add(over).unwrap_or(share.amount);
        let call = *call;
        self.history.add(Event::WriteOffAsked { call, cost });
        self.hand_over(Item::WriteOff { call, cost });
        Ok(())
    }

    /// Time goes on, or the clock is set.
    pub(crate) fn move_clock(&mut self) -> Verdict {
        let some = |world: &mut World, ms: i64| world.dice.below(ms.cast_unsigned()).cast_signed();
        let ms = match self.dice.below(100) {
            0..70 => some(self, 20 * SECOND_MS),
            70..80 => some(self, HOUR_MS),
            80..87 => -some(self, 2 * HOUR_MS),
            87..90 => -some(self, 2 * DAY_MS),
            90..94 => self.around_end_of(WindowKind::Daily),
            94..96 => self.around_end_of(WindowKind::Monthly),
            96..99 => some(self, DAY_MS),
            _ => some(self, 40 * DAY_MS) - 20 * DAY_MS,
        };
        self.now = self.now.plus_ms(ms);
        self.history.add(Event::Clock { ms });
        Ok(())
    }

    /// To a moment within a second of the window's end, on either side.
    fn around_end_of(&mut self, kind: WindowKind) -> i64 {
        let end = self.calendar.window(kind, self.now).end;
        end.ms() - self.now.ms() + self.dice.below(2_000).cast_signed() - SECOND_MS
    }

    /// A person changes what a scope may spend.
    pub(crate) fn change_some_budgets(&mut self) -> Verdict {
        let scope = self.dice.place(self.terms.len());
        self.change_budgets(scope);
        Ok(())
    }

    /// Gives a scope new budgets; wide scopes get larger ones.
    pub(crate) fn change_budgets(&mut self, scope: usize) {
        let wide = if scope < 3 { 3 } else { 1 };
        let daily = self.some_limit(4 * wide, 40 * wide);
        let monthly = self.some_limit(40 * wide, 400 * wide);
        self.terms[scope].budgets = Budgets { daily, monthly };
        self.history.add(Event::Limit { scope, daily, monthly });
    }

    fn some_limit(&mut self, from_usd: u64, more_usd: u64) -> Option<Money> {
        if self.dice.once_in(4) {
            return None;
        }
        let usd = from_usd + self.dice.below(more_usd);
        Some(Money::from_usd(usd.cast_signed()))
    }

    /// The process is killed and started again.
    pub(crate) fn kill(&mut self) -> Verdict {
        self.history.add(Event::Killed);
        self.sleep()?;
        self.journal.kill(self.now).map_err(|damage| damage.to_string())?;
        self.auditor.restarted(&self.journal.committed, &[])?;
        self.restart();
        Ok(())
    }

    /// The machine loses power and is started again.
    pub(crate) fn lose_power(&mut self) -> Verdict {
        let unsynced = self.journal.unsynced();
        let kept = if self.dice.once_in(2) { 0 } else { self.dice.place(unsynced + 1) };
        self.sleep()?;
        let lost = self.journal.lose_power(kept, self.now).map_err(|damage| damage.to_string())?;
        self.history.add(Event::PowerLost { kept, lost: lost.len() });
        self.auditor.restarted(&self.journal.committed, &lost)?;
        self.restart();
        Ok(())
    }

    /// Between death and the next start the clock may be set as well.
    fn sleep(&mut self) -> Verdict {
        if self.dice.once_in(3) { self.move_clock() } else { Ok(()) }
    }
}

//! Everything that happens to nodes from outside: the disk, the wire, people, death.

use chamberlain_core::id::CallId;
use chamberlain_core::money::Money;
use chamberlain_core::snapshot::Budgets;

use crate::auditor::Verdict;
use crate::history::Event;
use crate::journal::{Answer, Item};
use crate::node::Life;
use crate::world::World;

impl World {
    /// The journal commits a prefix of a node's queue. When the answers are lost, the node sends all
    /// of it again.
    pub(crate) fn commit(&mut self, node: usize, count: usize, lost: bool) -> Verdict {
        self.moved = node;
        let life = self.nodes[node].life;
        let items = self.nodes[node].take(count);
        self.history.add(Event::Committed { node, items: items.len(), lost });
        let answered = self.write(life, items.clone())?;
        if lost {
            // A person who got no answer looks before asking again.
            let again = items.into_iter().filter(|item| !matches!(item, Item::WriteOff { .. }));
            self.nodes[node].send_again(again.collect());
        } else {
            let awaited = answered.into_iter().filter(|(item, answer)| {
                matches!(answer, Answer::Fenced) || !matches!(item, Item::Settlement { .. })
            });
            self.replies.extend(awaited.map(|(item, answer)| (life, item, answer)));
        }
        Ok(())
    }

    /// Something of a life that is over reaches the journal after all.
    pub(crate) fn commit_late(&mut self, place: usize) -> Verdict {
        if place >= self.late.len() {
            return Ok(());
        }
        let (life, item) = self.late.remove(place);
        self.history.add(Event::Committed { node: life.node, items: 1, lost: true });
        self.write(life, vec![item]).map(drop)
    }

    /// Writes items in one transaction and tells the auditor what is on record. Gives what whoever
    /// wrote them is told; the owner of a call that is written off hears of it apart.
    fn write(&mut self, life: Life, items: Vec<Item>) -> Result<Vec<(Item, Answer)>, String> {
        let answered = self.journal.commit(items, life, self.now);
        let answered = answered.map_err(|damage| damage.to_string())?;
        let mut rest = Vec::with_capacity(answered.len());
        for (item, answer) in answered {
            match (&item, &answer) {
                (Item::Intent(intent), Answer::Done) => {
                    self.auditor.recorded(intent.call);
                    rest.push((item, answer));
                }
                (Item::WriteOff { call, cost }, Answer::WrittenOff { let_go, accounts, owner }) => {
                    let owner = *owner;
                    self.auditor.write_off_recorded(*call, owner, (*let_go, *cost), accounts);
                    self.replies.push((owner, item, answer));
                }
                _ => rest.push((item, answer)),
            }
        }
        Ok(rest)
    }

    /// A transaction fails.
    pub(crate) fn fail(&mut self, node: usize, count: usize) -> Verdict {
        self.moved = node;
        let items = count.min(self.nodes[node].queue.len());
        let refused = self.nodes[node].fail(count);
        self.history.add(Event::Failed { node, items, refused: refused.len() });
        let life = self.nodes[node].life;
        self.replies.extend(refused.into_iter().map(|item| (life, item, Answer::Refused)));
        Ok(())
    }

    /// Unsettled calls that nobody works on any more: a person must know that before saying what
    /// they cost.
    pub(crate) fn to_write_off(&self) -> Vec<(CallId, Money)> {
        let unsettled = self.journal.committed.unsettled.iter();
        let is_over = |call: &CallId| {
            !self.batches.contains_key(call)
                && !self.nodes.iter().any(|node| node.calls.contains_key(call))
        };
        unsettled
            .filter(|(call, _)| is_over(call))
            .map(|(call, share)| (*call, share.amount))
            .collect()
    }

    /// Somebody gives an unsettled call its true cost.
    pub(crate) fn write_off(&mut self, node: usize, call: CallId, cost: Money) -> Verdict {
        self.moved = node;
        self.history.add(Event::WriteOffAsked { call, cost });
        self.hand_over(node, Item::WriteOff { call, cost });
        Ok(())
    }

    /// The collector has read what a batch cost and trues it up.
    pub(crate) fn collect(&mut self, node: usize, call: CallId) -> Verdict {
        self.batches.remove(&call);
        let cost = self.bills.get(&call).copied().unwrap_or_default();
        self.write_off(node, call, cost)
    }

    /// Time goes on, or the clock is set.
    pub(crate) fn move_clock(&mut self, ms: i64) {
        self.now = self.now.plus_ms(ms);
        self.history.add(Event::Clock { ms });
    }

    /// Gives a scope new budgets; nodes hear of it later.
    pub(crate) fn change_budgets(&mut self, scope: usize, budgets: Budgets) {
        self.terms[scope].budgets = budgets;
        let Budgets { daily, monthly } = budgets;
        self.history.add(Event::Limit { scope, daily, monthly });
    }

    /// A node hears what is in force.
    pub(crate) fn publish(&mut self, node: usize) {
        self.nodes[node].terms = self.terms.clone();
        self.history.add(Event::Published { node });
    }

    /// A node dies and starts again. `sleep_ms` is how far the clock is set in between.
    pub(crate) fn kill(&mut self, node: usize, sleep_ms: i64) -> Verdict {
        self.history.add(Event::Killed { node });
        self.over(node, sleep_ms)
    }

    /// A node is declared dead while it lives: its leases are given back, and it goes on until it
    /// hears of it.
    pub(crate) fn declare_dead(&mut self, node: usize) -> Verdict {
        self.history.add(Event::DeclaredDead { node });
        self.begin(node)
    }

    /// A node hears that it was declared dead.
    pub(crate) fn fenced(&mut self, node: usize) -> Verdict {
        self.history.add(Event::Fenced { node });
        self.over(node, 0)
    }

    fn over(&mut self, node: usize, sleep_ms: i64) -> Verdict {
        self.moved = node;
        let life = self.nodes[node].life;
        if self.nodes.len() > 1 {
            // What is on the wire may still arrive.
            let sent = std::mem::take(&mut self.nodes[node].queue);
            self.late.extend(sent.into_iter().map(|item| (life, item)));
        }
        if sleep_ms != 0 {
            self.move_clock(sleep_ms);
        }
        self.begin(node)?;
        self.auditor.gone(life);
        self.start(node);
        Ok(())
    }

    fn begin(&mut self, node: usize) -> Verdict {
        let life = self.nodes[node].life;
        self.write(life, vec![Item::Begin { node }])?;
        self.auditor.begun(node, &self.journal.committed)
    }

    /// The journal's machine loses power. Where it is the only node's too, that starts again;
    /// several nodes go on until they hear of it.
    pub(crate) fn lose_power(&mut self, kept: usize, sleep_ms: i64) -> Verdict {
        let lost = self.journal.lose_power(kept).map_err(|damage| damage.to_string())?;
        self.history.add(Event::PowerLost { kept, lost: lost.len() });
        if sleep_ms != 0 {
            self.move_clock(sleep_ms);
        }
        self.write(self.nodes[0].life, vec![Item::PowerBack])?;
        self.auditor.lost(&lost);
        for node in 0..self.nodes.len() {
            self.auditor.begun(node, &self.journal.committed)?;
        }
        if self.nodes.len() == 1 {
            self.auditor.gone(self.nodes[0].life);
            self.start(0);
        }
        Ok(())
    }
}

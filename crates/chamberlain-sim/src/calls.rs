//! The way of a call: it asks, is put on record, leaves, ends. Whatever the gate does is handed to
//! the journal in the same step, as the gateway does under its lock.

use chamberlain_core::admission::gate::{Admission, AdmissionRequest, Ending, Terms};
use chamberlain_core::admission::refusal::Refusal;
use chamberlain_core::id::CallId;
use chamberlain_core::ledger::account::LeaseWanted;
use chamberlain_core::ledger::bound::Bound;
use chamberlain_core::money::Money;
use chamberlain_core::time::WindowKind;

use crate::auditor::Verdict;
use crate::history::Event;
use crate::journal::{Answer, Intent, Item};
use crate::node::{Ask, Going, Life, Stage};
use crate::upstream::{Charge, Row};
use crate::world::{World, shared};

/// A lease that was not enough is asked for once more; then the call is refused.
const TRIES_MAX: u32 = 3;

impl World {
    /// Asks a node's gate once; the answer decides what follows.
    pub(crate) fn ask(&mut self, node: usize, ask: Ask) -> Verdict {
        self.moved = node;
        let terms = self.terms_of(node, ask.key);
        let now = self.now_at(node);
        let admission = self.nodes[node].gate.admit(&AdmissionRequest {
            call: ask.call,
            now,
            calendar: &self.calendar,
            terms: &terms,
            bound: ask.bound.map(bound),
            estimated_input_tokens: 100,
            max_tokens: Some(100),
        });
        self.nodes[node].gate.take_events();
        match admission {
            Admission::Admitted(reservation) => {
                let (call, reserved) = (reservation.call, reservation.cost);
                self.history.add(Event::Admitted { node, call, bound: ask.bound });
                if reserved != ask.bound.unwrap_or_default() {
                    return Err(format!("I1: {call} holds {reserved:?}, not its bound"));
                }
                let accounts = shared(&reservation.accounts);
                let limits = if ask.bound.is_some() { limits(&terms) } else { Vec::new() };
                let life = self.nodes[node].life;
                self.auditor.admitted(life, call, reserved, &accounts, &limits)?;
                let intent = Intent { call, at: reservation.at, reserved, accounts };
                let stage = Stage::Recording { left: false };
                self.nodes[node].calls.insert(call, Going { reservation, stage });
                self.hand_over(node, Item::Intent(intent));
            }
            Admission::Wait(_) => self.history.add(Event::Waits { call: ask.call }),
            Admission::Lease(_) if ask.tries >= TRIES_MAX => {
                self.history.add(Event::Refused { call: ask.call, left: None });
            }
            Admission::Lease(wanted) => self.lease(node, ask, wanted),
            Admission::Refused(refusal) => {
                let left = match refusal {
                    Refusal::Budget { left, .. } => Some(left),
                    _ => None,
                };
                self.history.add(Event::Refused { call: ask.call, left });
            }
        }
        Ok(())
    }

    /// One request for each account at a time: whoever wants the same lease waits for the same.
    fn lease(&mut self, node: usize, ask: Ask, wanted: Vec<LeaseWanted>) {
        let ask = Ask { tries: ask.tries + 1, ..ask };
        let here = &mut self.nodes[node];
        let coming = wanted.iter().find_map(|lease| here.leasing.get(&lease.account));
        if let Some(ticket) = coming.copied() {
            here.asks.entry(ticket).or_default().push(ask);
            return;
        }
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        for lease in &wanted {
            here.leasing.insert(lease.account.clone(), ticket);
        }
        here.asks.insert(ticket, vec![ask]);
        self.history.add(Event::LeaseAsked { node, ticket, accounts: wanted.len() });
        self.auditor.leasing(&wanted);
        self.hand_over(node, Item::Lease { ticket, wanted });
    }

    /// A node hears one thing that the journal has said; the first is 0. What an earlier life asked
    /// for is none of its business.
    pub(crate) fn hear(&mut self, place: usize, twice: bool) -> Verdict {
        if place >= self.replies.len() {
            return Ok(());
        }
        let (life, item, answer) = self.replies.remove(place);
        self.moved = life.node;
        if self.nodes[life.node].life != life {
            return Ok(());
        }
        if twice && !matches!(item, Item::WriteOff { .. }) {
            self.replies.push((life, item.clone(), answer.clone()));
        }
        let node = life.node;
        match (item, answer) {
            (_, Answer::Fenced) => self.fenced(node),
            (Item::Intent(intent), answer) => self.intent_answered(node, intent.call, &answer),
            (Item::Lease { ticket, .. }, answer) => self.lease_answered(node, ticket, &answer),
            (Item::WriteOff { call, cost }, Answer::WrittenOff { let_go, accounts, .. }) => {
                self.history.add(Event::WrittenOff { call, let_go, cost });
                self.nodes[node].gate.write_off(&accounts, let_go, cost);
                self.auditor.written_off(call);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn intent_answered(&mut self, node: usize, call: CallId, answer: &Answer) -> Verdict {
        let Some(going) = self.nodes[node].calls.get_mut(&call) else { return Ok(()) };
        let Stage::Recording { left } = going.stage else { return Ok(()) };
        if matches!(answer, Answer::Refused) {
            self.history.add(Event::NotRecorded { call });
            return self.let_go(node, call, (Money::ZERO, false), false).map(drop);
        }
        self.history.add(Event::Recorded { call });
        if left {
            return self.settle(node, call, Money::ZERO, false);
        }
        going.stage = Stage::Recorded;
        Ok(())
    }

    fn lease_answered(&mut self, node: usize, ticket: u64, answer: &Answer) -> Verdict {
        let here = &mut self.nodes[node];
        here.leasing.retain(|_, coming| *coming != ticket);
        let asks = here.asks.remove(&ticket).unwrap_or_default();
        let Answer::Granted(grants) = answer else {
            self.history.add(Event::LeaseRefused { ticket });
            return Ok(());
        };
        here.gate.grant(grants);
        let granted = grants.iter().map(|grant| grant.granted).max().unwrap_or_default();
        self.history.add(Event::LeaseGranted { ticket, granted });
        asks.into_iter().try_for_each(|ask| self.ask(node, ask))
    }

    /// A call that is on record leaves; upstream takes it and bills it, or refuses it for nothing.
    pub(crate) fn send(
        &mut self,
        node: usize,
        call: CallId,
        billed: Money,
        row: &'static Row,
    ) -> Verdict {
        self.moved = node;
        let Some(going) = self.nodes[node].calls.get_mut(&call) else { return Ok(()) };
        going.stage = Stage::Sent { billed, row };
        let touched = going.reservation.accounts.clone();
        self.history.add(Event::Billed { call, cost: billed });
        self.bills.insert(call, billed);
        self.journal.committed.touched.extend(touched);
        self.auditor.billed(call, billed)
    }

    /// An answer ends as its row says. `over` is what an estimate is above the bill.
    pub(crate) fn end(&mut self, node: usize, call: CallId, over: Money) -> Verdict {
        self.moved = node;
        let Some((billed, bound, row)) = self.nodes[node].sent(call) else { return Ok(()) };
        match row.charge {
            Charge::Nothing => self.settle(node, call, Money::ZERO, false),
            Charge::Exactly => self.settle(node, call, billed, false),
            Charge::Estimate => {
                let estimate = billed.checked_add(over).unwrap_or(bound).min(bound);
                self.settle(node, call, estimate, false)
            }
            Charge::Bound => self.settle(node, call, bound, false),
            Charge::Unsettled => self.settle(node, call, bound, true),
            Charge::Batch => {
                self.batches.insert(call, (bound, false));
                self.settle(node, call, bound, true)
            }
        }
    }

    /// A client goes away. `drained` says whether the rest of an answer was read all the same.
    pub(crate) fn leave(&mut self, node: usize, call: CallId, drained: bool) -> Verdict {
        self.moved = node;
        self.history.add(Event::Left { call });
        let Some(going) = self.nodes[node].calls.get_mut(&call) else { return Ok(()) };
        match going.stage {
            Stage::Recording { .. } => {
                // Whether it is on record must be known before its end can be told.
                going.stage = Stage::Recording { left: true };
                Ok(())
            }
            Stage::Recorded => self.settle(node, call, Money::ZERO, false),
            Stage::Sent { row, .. } if drained || row.charge == Charge::Batch => {
                self.end(node, call, Money::ZERO)
            }
            Stage::Sent { .. } => {
                let bound = going.reservation.cost;
                self.settle(node, call, bound, true)
            }
        }
    }

    /// Upstream goes on with a batch and bills some of it, or ends it.
    pub(crate) fn batch_goes_on(&mut self, call: CallId, cost: Money, ends: bool) -> Verdict {
        let Some((_, ended)) = self.batches.get_mut(&call) else { return Ok(()) };
        *ended = ends;
        let bill = self.bills.entry(call).or_default();
        *bill = bill.checked_add(cost).unwrap_or(*bill);
        self.history.add(Event::Billed { call, cost });
        self.auditor.billed(call, cost)
    }

    /// Ends a call in the gate and hands its end to the journal.
    fn settle(&mut self, node: usize, call: CallId, cost: Money, unsettled: bool) -> Verdict {
        self.history.add(Event::Settled { call, cost, unsettled });
        let goes_on = self.batches.contains_key(&call);
        if self.let_go(node, call, (cost, unsettled), goes_on)? {
            let at = self.now_at(node);
            self.hand_over(node, Item::Settlement { call, at, cost, unsettled });
        }
        Ok(())
    }

    fn let_go(
        &mut self,
        node: usize,
        call: CallId,
        (cost, unsettled): (Money, bool),
        goes_on: bool,
    ) -> Result<bool, String> {
        let now = self.now_at(node);
        let here = &mut self.nodes[node];
        let Some(going) = here.calls.remove(&call) else { return Ok(false) };
        let ending = Ending { cost, unsettled, input_tokens: None, output_tokens: None };
        here.gate.settle(going.reservation, ending, now);
        self.auditor.settled(call, cost, goes_on)?;
        Ok(true)
    }

    /// Hands an item to the journal; one refused at once is answered like any other.
    pub(crate) fn hand_over(&mut self, node: usize, item: Item) {
        let here = &mut self.nodes[node];
        let life: Life = here.life;
        if let Some(item) = here.hand_over(item) {
            self.replies.push((life, item, Answer::Refused));
        }
    }
}

/// This many thousandths of an amount.
pub(crate) fn part(amount: Money, thousandths: u64) -> Money {
    Money::from_pico(amount.pico() * i128::from(thousandths) / 1_000)
}

fn bound(cost: Money) -> Bound {
    Bound {
        cost,
        prompt_tokens: 100,
        input_tokens: 100,
        output_tokens: 100,
        cost_per_output_token: part(cost, 1),
        refinable: false,
        least_to_cut: None,
    }
}

/// The limits of the accounts a call is charged to, in their order.
fn limits(terms: &[Terms]) -> Vec<Option<Money>> {
    let of = |terms: &Terms| WindowKind::ALL.map(|kind| terms.budgets.limit(kind));
    terms.iter().flat_map(of).collect()
}

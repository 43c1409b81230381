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
use crate::world::{Ask, Going, Stage, World, shared};

/// A cent.
const CENT: i128 = 10_000_000_000;

impl World {
    /// A client calls.
    pub(crate) fn arrive(&mut self) -> Verdict {
        let mut entropy = [0; 10];
        entropy[..8].copy_from_slice(&self.dice.number().to_be_bytes());
        let call = CallId::mint(self.now, entropy);
        let cents = if self.dice.once_in(20) { 2_000 } else { 300 };
        let pico = i128::from(1 + self.dice.below(cents)) * CENT + i128::from(self.dice.below(99));
        let bound = (!self.dice.once_in(30)).then_some(Money::from_pico(pico));
        let key = self.some_key();
        self.ask(Ask { call, key, bound })
    }

    /// Asks the gate once; the answer decides what follows.
    fn ask(&mut self, ask: Ask) -> Verdict {
        let terms = self.terms_of(ask.key);
        let admission = self.node.gate.admit(&AdmissionRequest {
            call: ask.call,
            now: self.now,
            calendar: &self.calendar,
            terms: &terms,
            bound: ask.bound.map(bound),
            estimated_input_tokens: 100,
            max_tokens: Some(100),
        });
        self.node.gate.take_events();
        match admission {
            Admission::Admitted(reservation) => {
                self.history.add(Event::Admitted { call: ask.call, bound: ask.bound });
                let accounts = shared(&reservation.accounts);
                let (call, reserved) = (reservation.call, reservation.cost);
                if reserved != ask.bound.unwrap_or_default() {
                    return Err(format!("{call} holds {reserved:?}, not its bound"));
                }
                let limits = if ask.bound.is_some() { limits(&terms) } else { Vec::new() };
                self.auditor.admitted(call, reserved, &accounts, &limits)?;
                let intent = Intent { call, at: reservation.at, reserved, accounts };
                let stage = Stage::Recording { left: false };
                self.node.calls.insert(call, Going { reservation, stage });
                self.hand_over(Item::Intent(intent));
            }
            Admission::Wait(_) => self.history.add(Event::Waits { call: ask.call }),
            Admission::Lease(wanted) => self.lease(ask, wanted),
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
    fn lease(&mut self, ask: Ask, wanted: Vec<LeaseWanted>) {
        let coming = wanted.iter().find_map(|lease| self.node.leasing.get(&lease.account));
        if let Some(ticket) = coming.copied() {
            self.node.asks.entry(ticket).or_default().push(ask);
            return;
        }
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.history.add(Event::LeaseAsked { ticket, accounts: wanted.len() });
        for lease in &wanted {
            self.node.leasing.insert(lease.account.clone(), ticket);
        }
        self.auditor.leasing(&wanted);
        self.node.asks.insert(ticket, vec![ask]);
        self.hand_over(Item::Lease { ticket, wanted });
    }

    /// The node hears one thing that the journal has said; in which order is chance.
    pub(crate) fn hear(&mut self) -> Verdict {
        let place = self.dice.place(self.node.replies.len());
        let Some((item, answer)) = self.node.replies.remove(place) else { return Ok(()) };
        match (item, answer) {
            (Item::Intent(intent), answer) => self.intent_answered(intent.call, &answer),
            (Item::Lease { ticket, wanted }, answer) => {
                self.lease_answered(ticket, &wanted, &answer)
            }
            (Item::WriteOff { call, cost }, Answer::WrittenOff { let_go, accounts }) => {
                self.history.add(Event::WrittenOff { call, let_go, cost });
                self.node.gate.write_off(&accounts, let_go, cost);
                self.auditor.written_off(call);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn intent_answered(&mut self, call: CallId, answer: &Answer) -> Verdict {
        let Some(going) = self.node.calls.get_mut(&call) else { return Ok(()) };
        if matches!(answer, Answer::Refused) {
            self.history.add(Event::NotRecorded { call });
            return self.let_go(call, Money::ZERO, false).map(drop);
        }
        self.history.add(Event::Recorded { call });
        if going.stage == (Stage::Recording { left: true }) {
            return self.settle(call, Money::ZERO, false);
        }
        going.stage = Stage::Recorded;
        Ok(())
    }

    fn lease_answered(&mut self, ticket: u64, wanted: &[LeaseWanted], answer: &Answer) -> Verdict {
        self.node.leasing.retain(|_, coming| *coming != ticket);
        let asks = self.node.asks.remove(&ticket).unwrap_or_default();
        let Answer::Granted(grants) = answer else {
            self.history.add(Event::LeaseRefused { ticket });
            return Ok(());
        };
        self.node.gate.grant(grants);
        let granted = grants.iter().map(|grant| grant.granted).max().unwrap_or_default();
        self.history.add(Event::LeaseGranted { ticket, granted });
        let covers = wanted.iter().zip(grants).all(|(lease, grant)| grant.granted >= lease.granted);
        if !covers {
            return Err(format!("less was granted than asked for: {wanted:?}, {grants:?}"));
        }
        asks.into_iter().try_for_each(|ask| self.ask(ask))
    }

    /// A call leaves; upstream takes it and bills it, or refuses it for nothing.
    pub(crate) fn send(&mut self) -> Verdict {
        let Some(call) = self.some_call(|stage| stage == Stage::Recorded) else { return Ok(()) };
        let Some(going) = self.node.calls.get_mut(&call) else { return Ok(()) };
        let bound = going.reservation.cost;
        let billed = match self.dice.below(10) {
            0 | 1 => Money::ZERO,
            2 | 3 => bound,
            _ => part(bound, self.dice.below(1_001)),
        };
        going.stage = Stage::Sent { billed };
        let touched = going.reservation.accounts.clone();
        self.history.add(Event::Billed { call, cost: billed });
        self.bills.insert(call, billed);
        self.journal.committed.touched.extend(touched);
        self.auditor.billed(call, billed, &self.journal.committed)
    }

    /// An answer ends, and what it cost is known, estimated from above, or not known.
    pub(crate) fn end(&mut self) -> Verdict {
        let Some(call) = self.some_call(|stage| matches!(stage, Stage::Sent { .. })) else {
            return Ok(());
        };
        let Some((billed, bound)) = self.sent(call) else { return Ok(()) };
        match self.dice.below(10) {
            0 => self.settle(call, bound, true),
            1 => {
                let over = bound.saturating_sub(billed);
                let over = part(over, self.dice.below(1_001));
                self.settle(call, billed.checked_add(over).unwrap_or(bound), false)
            }
            _ => self.settle(call, billed, false),
        }
    }

    /// A client goes away.
    pub(crate) fn leave(&mut self) -> Verdict {
        let Some(call) = self.some_call(|_| true) else { return Ok(()) };
        self.history.add(Event::Left { call });
        let Some(going) = self.node.calls.get_mut(&call) else { return Ok(()) };
        match going.stage {
            Stage::Recording { .. } => {
                // Whether it is on record must be known before its end can be told.
                going.stage = Stage::Recording { left: true };
                Ok(())
            }
            Stage::Recorded => self.settle(call, Money::ZERO, false),
            Stage::Sent { billed } => {
                let bound = going.reservation.cost;
                let drained = self.dice.once_in(2);
                self.settle(call, if drained { billed } else { bound }, !drained)
            }
        }
    }

    /// Ends a call in the gate and hands its end to the journal.
    fn settle(&mut self, call: CallId, cost: Money, unsettled: bool) -> Verdict {
        self.history.add(Event::Settled { call, cost, unsettled });
        if self.let_go(call, cost, unsettled)? {
            self.hand_over(Item::Settlement { call, at: self.now, cost, unsettled });
        }
        Ok(())
    }

    fn let_go(&mut self, call: CallId, cost: Money, unsettled: bool) -> Result<bool, String> {
        let Some(going) = self.node.calls.remove(&call) else { return Ok(false) };
        let ending = Ending { cost, unsettled, input_tokens: None, output_tokens: None };
        self.node.gate.settle(going.reservation, ending, self.now);
        self.auditor.settled(call, cost)?;
        Ok(true)
    }

    /// Hands an item to the journal; one refused at once is answered like any other.
    pub(crate) fn hand_over(&mut self, item: Item) {
        if let Some(item) = self.journal.hand_over(item) {
            self.node.replies.push_back((item, Answer::Refused));
        }
    }

    fn sent(&self, call: CallId) -> Option<(Money, Money)> {
        let going = self.node.calls.get(&call)?;
        match going.stage {
            Stage::Sent { billed } => Some((billed, going.reservation.cost)),
            _ => None,
        }
    }

    fn some_call(&mut self, is_such: impl Fn(Stage) -> bool) -> Option<CallId> {
        let such = self.node.calls.iter().filter(|(_, going)| is_such(going.stage));
        let such: Vec<CallId> = such.map(|(call, _)| *call).collect();
        such.get(self.dice.place(such.len())).copied()
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
    }
}

/// The limits of the accounts a call is charged to, in their order.
fn limits(terms: &[Terms]) -> Vec<Option<Money>> {
    let of = |terms: &Terms| WindowKind::ALL.map(|kind| terms.budgets.limit(kind));
    terms.iter().flat_map(of).collect()
}

//! One node, its journal, its clients, upstream and the weather, all moved by hand: each step is
//! chosen by the seed, and after each the auditor looks.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use chamberlain_core::admission::gate::{Gate, Reservation, Terms};
use chamberlain_core::id::{CallId, EnvironmentName, VirtualKeyId};
use chamberlain_core::ledger::account::{AccountId, Balance, Scope};
use chamberlain_core::money::Money;
use chamberlain_core::snapshot::{Budgets, Limits};
use chamberlain_core::time::{Calendar, Timestamp};

use crate::auditor::{Auditor, Verdict};
use crate::dice::Dice;
use crate::history::{Event, History};
use crate::journal::{Answer, Item, Journal};

/// The last minutes of a month, so that a day and a month end early in every history.
const BEGIN: Timestamp = Timestamp::from_ms(1_764_546_000_000);

const ENVIRONMENTS: usize = 2;
const KEYS: usize = 4;

/// What a call is, before it is admitted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ask {
    pub(crate) call: CallId,
    pub(crate) key: usize,
    /// `None` for a free call.
    pub(crate) bound: Option<Money>,
}

/// How far an admitted call has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stage {
    /// Its intent is with the journal.
    Recording { left: bool },
    /// It may leave.
    Recorded,
    /// It has left, and upstream has billed it.
    Sent { billed: Money },
}

/// An admitted call.
#[derive(Debug)]
pub(crate) struct Going {
    pub(crate) reservation: Reservation,
    pub(crate) stage: Stage,
}

/// What a node forgets when it dies.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) gate: Gate,
    pub(crate) calls: BTreeMap<CallId, Going>,
    /// Calls that wait for leases, by the number of the request.
    pub(crate) asks: BTreeMap<u64, Vec<Ask>>,
    /// Accounts whose lease is on its way.
    pub(crate) leasing: BTreeMap<AccountId, u64>,
    /// What the journal has said and nobody has heard.
    pub(crate) replies: VecDeque<(Item, Answer)>,
}

impl Node {
    /// A node over remembered balances.
    pub(crate) fn start(balances: Vec<(AccountId, Balance)>, now: Timestamp) -> Node {
        Node {
            gate: Gate::new(balances, vec![75, 90, 100], now),
            calls: BTreeMap::new(),
            asks: BTreeMap::new(),
            leasing: BTreeMap::new(),
            replies: VecDeque::new(),
        }
    }
}

/// The world.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) dice: Dice,
    pub(crate) now: Timestamp,
    pub(crate) calendar: Calendar,
    /// The organization, the environments, the virtual keys.
    pub(crate) terms: Vec<Terms>,
    pub(crate) node: Node,
    pub(crate) journal: Journal,
    pub(crate) auditor: Auditor,
    pub(crate) history: History,
    /// What upstream billed for each call it took.
    pub(crate) bills: BTreeMap<CallId, Money>,
    pub(crate) next_ticket: u64,
}

impl World {
    /// The world of a seed.
    pub(crate) fn new(seed: u64) -> World {
        let mut dice = Dice::new(seed);
        let zurich = dice.once_in(2).then(|| Calendar::named("Europe/Zurich").ok()).flatten();
        let now = BEGIN.plus_ms(dice.below(7_200_000).cast_signed());
        let mut world = World {
            now,
            calendar: zurich.unwrap_or_else(Calendar::utc),
            terms: Vec::new(),
            node: Node::start(Vec::new(), now),
            journal: Journal::default(),
            auditor: Auditor::default(),
            history: History::new(),
            bills: BTreeMap::new(),
            next_ticket: 0,
            dice,
        };
        let environment = |number| Scope::Environment(EnvironmentName::new(format!("e{number}")));
        let key = |number: usize| Scope::VirtualKey(VirtualKeyId::mint([number as u8; 16]));
        let scopes = std::iter::once(Scope::Organization)
            .chain((0..ENVIRONMENTS).map(environment))
            .chain((0..KEYS).map(key));
        for scope in scopes {
            let limits = world.rates();
            world.terms.push(Terms { scope, budgets: Budgets::default(), limits });
        }
        for scope in 0..world.terms.len() {
            world.change_budgets(scope);
        }
        world
    }

    /// Does one thing that the dice choose, and has it audited.
    pub(crate) fn step(&mut self) -> Verdict {
        match self.dice.below(1_000) {
            0..260 => self.arrive(),
            260..440 => self.commit(),
            440..640 => self.hear(),
            640..760 => self.send(),
            760..880 => self.end(),
            880..910 => self.leave(),
            910..925 => self.fail(),
            925..940 => self.ask_write_off(),
            940..985 => self.move_clock(),
            985..992 => self.change_some_budgets(),
            992..997 => self.kill(),
            _ => self.lose_power(),
        }?;
        self.audit()
    }

    /// The three scopes of a key's calls, widest first.
    pub(crate) fn terms_of(&self, key: usize) -> [Terms; 3] {
        let environment = 1 + key % ENVIRONMENTS;
        [0, environment, 1 + ENVIRONMENTS + key].map(|scope| self.terms[scope].clone())
    }

    /// One of the keys.
    pub(crate) fn some_key(&mut self) -> usize {
        self.dice.place(KEYS)
    }

    /// The node starts over what is on record.
    pub(crate) fn restart(&mut self) {
        let balances = self.journal.committed.balances.iter();
        let running = balances.filter(|(account, _)| account.window.end > self.now);
        let running = running.map(|(account, balance)| (account.clone(), *balance)).collect();
        self.node = Node::start(running, self.now);
        self.history.add(Event::Started);
    }

    fn audit(&mut self) -> Verdict {
        let touched = std::mem::take(&mut self.journal.committed.touched);
        self.auditor.record_holds(&self.journal.committed, &touched)?;
        let balances = self.node.gate.balances(self.now);
        let total = balances.iter().map(|(_, balance)| balance.used().pico()).sum();
        self.history.mix(Money::from_pico(total));
        self.auditor.gate_holds(&balances, self.node.gate.in_flight())
    }

    fn rates(&mut self) -> Limits {
        Limits {
            requests_per_minute: self.dice.once_in(6).then(|| 5 + self.dice.below(60)),
            concurrency: self.dice.once_in(6).then(|| 1 + self.dice.below(8)),
            ..Limits::default()
        }
    }
}

/// The accounts of a reservation, shared.
pub(crate) fn shared(accounts: &[AccountId]) -> Arc<[AccountId]> {
    accounts.into()
}

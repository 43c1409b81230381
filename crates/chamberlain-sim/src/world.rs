//! Nodes, their journal, their clients, upstream and the weather, all moved by hand: each step is
//! chosen by the seed or by a script, and after each the auditor looks.

use std::collections::BTreeMap;
use std::sync::Arc;

use chamberlain_core::admission::gate::Terms;
use chamberlain_core::id::{CallId, EnvironmentName, VirtualKeyId};
use chamberlain_core::ledger::account::{AccountId, Scope};
use chamberlain_core::money::Money;
use chamberlain_core::snapshot::{Budgets, Limits};
use chamberlain_core::time::{Calendar, Timestamp};

use crate::auditor::{Auditor, Verdict};
use crate::history::{Event, History};
use crate::journal::{Answer, Item, Journal};
use crate::node::{Life, Node};

const ENVIRONMENTS: usize = 2;
pub(crate) const KEYS: usize = 4;

/// Every gate is looked at once in so many steps; the one that was moved, after every step.
const LOOK_AT_ALL: u64 = 16;

/// The world.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) now: Timestamp,
    pub(crate) calendar: Calendar,
    /// What is in force: the organization, the environments, the virtual keys.
    pub(crate) terms: Vec<Terms>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) journal: Journal,
    /// What the journal has said and nobody has heard.
    pub(crate) replies: Vec<(Life, Item, Answer)>,
    /// What lives that are over had sent and the journal has not seen yet.
    pub(crate) late: Vec<(Life, Item)>,
    pub(crate) auditor: Auditor,
    pub(crate) history: History,
    /// What upstream billed for each call it took.
    pub(crate) bills: BTreeMap<CallId, Money>,
    /// Batches that upstream works on, or that are not trued up, with their bound; true once ended.
    pub(crate) batches: BTreeMap<CallId, (Money, bool)>,
    pub(crate) next_ticket: u64,
    /// The node that was moved last.
    pub(crate) moved: usize,
    steps: u64,
}

impl World {
    /// A world in which nobody has a budget yet.
    pub(crate) fn new(nodes: usize, now: Timestamp, calendar: Calendar) -> World {
        let environment = |number| Scope::Environment(EnvironmentName::new(format!("e{number}")));
        let key = |number: usize| Scope::VirtualKey(VirtualKeyId::mint([number as u8; 16]));
        let scopes = std::iter::once(Scope::Organization)
            .chain((0..ENVIRONMENTS).map(environment))
            .chain((0..KEYS).map(key));
        let terms: Vec<Terms> = scopes
            .map(|scope| Terms { scope, budgets: Budgets::default(), limits: Limits::default() })
            .collect();
        let life = |node| Life { node, number: 0 };
        let node = |node| Node::start(life(node), Vec::new(), terms.clone(), now, 0);
        World {
            now,
            calendar,
            nodes: (0..nodes).map(node).collect(),
            terms,
            journal: Journal::new(nodes),
            replies: Vec::new(),
            late: Vec::new(),
            auditor: Auditor::new(nodes),
            history: History::new(),
            bills: BTreeMap::new(),
            batches: BTreeMap::new(),
            next_ticket: 0,
            moved: 0,
            steps: 0,
        }
    }

    /// The three scopes of a key's calls, widest first, as a node knows them.
    pub(crate) fn terms_of(&self, node: usize, key: usize) -> [Terms; 3] {
        let environment = 1 + key % ENVIRONMENTS;
        let terms = &self.nodes[node].terms;
        [0, environment, 1 + ENVIRONMENTS + key].map(|scope| terms[scope].clone())
    }

    /// The time by a node's clock.
    pub(crate) fn now_at(&self, node: usize) -> Timestamp {
        self.now.plus_ms(self.nodes[node].skew_ms)
    }

    /// A node starts over what is on record of it.
    pub(crate) fn start(&mut self, node: usize) {
        let now = self.now_at(node);
        let record = &self.journal.committed;
        let running = record.balances.iter().filter(|(account, _)| account.window.end > now);
        let own = running.map(|(account, parts)| (account.clone(), parts[node])).collect();
        let life = Life { node, number: record.lives[node] };
        let skew_ms = self.nodes[node].skew_ms;
        self.nodes[node] = Node::start(life, own, self.terms.clone(), now, skew_ms);
        self.history.add(Event::Started { node, life: life.number });
    }

    /// Holds everything that was touched against the auditor's books.
    pub(crate) fn audit(&mut self) -> Verdict {
        self.steps += 1;
        let mut touched = std::mem::take(&mut self.journal.committed.touched);
        touched.sort_unstable();
        touched.dedup();
        self.auditor.record_holds(&self.journal.committed, &touched)?;
        let all = self.steps.is_multiple_of(LOOK_AT_ALL);
        let nodes = if all { 0..self.nodes.len() } else { self.moved..self.moved + 1 };
        for node in nodes {
            let now = self.now_at(node);
            let Node { life, gate, calls, .. } = &self.nodes[node];
            let balances = gate.balances(now);
            let total = balances.iter().map(|(_, balance)| balance.used().pico()).sum();
            self.history.mix(Money::from_pico(total));
            self.auditor.gate_holds(*life, &balances, gate.in_flight(), calls.len())?;
        }
        Ok(())
    }
}

/// The accounts of a reservation, shared.
pub(crate) fn shared(accounts: &[AccountId]) -> Arc<[AccountId]> {
    accounts.into()
}

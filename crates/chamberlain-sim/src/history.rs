//! What has happened: a running hash of everything, and the last events in full.

use std::collections::VecDeque;
use std::fmt;
use std::hash::{Hash, Hasher};

use chamberlain_core::id::CallId;
use chamberlain_core::money::Money;

/// Events that are kept to be told when something is wrong.
const KEPT: usize = 60;

/// One thing that happened.
#[derive(Clone, Hash, Debug)]
pub(crate) enum Event {
    Started { node: usize, life: u32 },
    Clock { ms: i64 },
    Limit { scope: usize, daily: Option<Money>, monthly: Option<Money> },
    Published { node: usize },
    Admitted { node: usize, call: CallId, bound: Option<Money> },
    Waits { call: CallId },
    Refused { call: CallId, left: Option<Money> },
    LeaseAsked { node: usize, ticket: u64, accounts: usize },
    LeaseGranted { ticket: u64, granted: Money },
    LeaseRefused { ticket: u64 },
    Committed { node: usize, items: usize, lost: bool },
    Failed { node: usize, items: usize, refused: usize },
    Recorded { call: CallId },
    NotRecorded { call: CallId },
    Billed { call: CallId, cost: Money },
    Left { call: CallId },
    Settled { call: CallId, cost: Money, unsettled: bool },
    WriteOffAsked { call: CallId, cost: Money },
    WrittenOff { call: CallId, let_go: Money, cost: Money },
    Killed { node: usize },
    DeclaredDead { node: usize },
    Fenced { node: usize },
    PowerLost { kept: usize, lost: usize },
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let money = |money: &Option<Money>| money.map_or("none".into(), |money| money.to_string());
        match self {
            Event::Started { node, life } => write!(f, "n{node} starts its life {life}"),
            Event::Clock { ms } => write!(f, "the clock moves by {ms} ms"),
            Event::Limit { scope, daily, monthly } => write!(
                f,
                "scope {scope} may spend {} a day, {} a month",
                money(daily),
                money(monthly)
            ),
            Event::Published { node } => write!(f, "n{node} hears what is in force"),
            Event::Admitted { node, call, bound } => {
                write!(f, "n{node} admits {call}, sets aside {}", money(bound))
            }
            Event::Waits { call } => write!(f, "{call} must wait"),
            Event::Refused { call, left } => write!(f, "{call} is refused, left {}", money(left)),
            Event::LeaseAsked { node, ticket, accounts } => {
                write!(f, "n{node} asks for lease {ticket} of {accounts} accounts")
            }
            Event::LeaseGranted { ticket, granted } => {
                write!(f, "lease {ticket} is granted, up to {granted}")
            }
            Event::LeaseRefused { ticket } => write!(f, "lease {ticket} is refused"),
            Event::Committed { node, items, lost } => {
                let lost = if *lost { "; the answers are lost" } else { "" };
                write!(f, "{items} of n{node} are committed{lost}")
            }
            Event::Failed { node, items, refused } => {
                write!(f, "a transaction over {items} of n{node} fails, {refused} are refused")
            }
            Event::Recorded { call } => write!(f, "{call} is on record"),
            Event::NotRecorded { call } => write!(f, "{call} is not on record and not made"),
            Event::Billed { call, cost } => write!(f, "upstream bills {cost} for {call}"),
            Event::Left { call } => write!(f, "the client of {call} goes away"),
            Event::Settled { call, cost, unsettled } => {
                let how = if *unsettled { ", unsettled" } else { "" };
                write!(f, "{call} ends and is charged {cost}{how}")
            }
            Event::WriteOffAsked { call, cost } => write!(f, "{call} is said to have cost {cost}"),
            Event::WrittenOff { call, let_go, cost } => {
                write!(f, "{call} is charged {cost}, {let_go} is no longer unsettled")
            }
            Event::Killed { node } => write!(f, "n{node} is killed"),
            Event::DeclaredDead { node } => write!(f, "n{node} is declared dead and is not"),
            Event::Fenced { node } => write!(f, "n{node} learns that it was declared dead"),
            Event::PowerLost { kept, lost } => write!(
                f,
                "the journal loses power; {kept} transactions were on the disk, {lost} intents are \
                 lost"
            ),
        }
    }
}

/// The history of one world.
#[derive(Debug)]
pub(crate) struct History {
    hash: Fnv,
    last: VecDeque<Event>,
    count: u64,
}

impl History {
    pub(crate) fn new() -> History {
        History { hash: Fnv(0xcbf2_9ce4_8422_2325), last: VecDeque::with_capacity(KEPT), count: 0 }
    }

    /// Adds an event.
    pub(crate) fn add(&mut self, event: Event) {
        event.hash(&mut self.hash);
        self.count += 1;
        if self.last.len() == KEPT {
            self.last.pop_front();
        }
        self.last.push_back(event);
    }

    /// Adds a number that must be the same in every telling.
    pub(crate) fn mix(&mut self, money: Money) {
        money.hash(&mut self.hash);
    }

    /// The same for the same history.
    pub(crate) fn hash(&self) -> u64 {
        self.hash.0
    }

    /// Events so far.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// The events since there were `count`, as far as they are kept.
    pub(crate) fn since(&self, count: u64) -> impl Iterator<Item = &Event> {
        let new = usize::try_from(self.count - count).unwrap_or(KEPT);
        self.last.iter().skip(self.last.len().saturating_sub(new))
    }
}

impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.last.iter().try_for_each(|event| writeln!(f, "  {event}"))
    }
}

/// FNV-1a over 64-bit words: not for enemies, only for comparing two tellings.
#[derive(Debug)]
struct Fnv(u64);

impl Hasher for Fnv {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.0 = (self.0 ^ u64::from_le_bytes(word)).wrapping_mul(0x0000_0100_0000_01b3);
            self.0 ^= self.0 >> 29;
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

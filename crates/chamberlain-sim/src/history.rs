//! What has happened: a running hash of everything, and the last events in full.

use std::collections::VecDeque;
use std::fmt;

use chamberlain_core::id::CallId;
use chamberlain_core::money::Money;

/// Events that are kept to be told when something is wrong.
const KEPT: usize = 48;

/// One thing that happened.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    Started,
    Clock { ms: i64 },
    Limit { scope: usize, daily: Option<Money>, monthly: Option<Money> },
    Admitted { call: CallId, bound: Option<Money> },
    Waits { call: CallId },
    Refused { call: CallId, left: Option<Money> },
    LeaseAsked { ticket: u64, accounts: usize },
    LeaseGranted { ticket: u64, granted: Money },
    LeaseRefused { ticket: u64 },
    Committed { items: usize },
    Failed { items: usize, refused: usize },
    Recorded { call: CallId },
    NotRecorded { call: CallId },
    Billed { call: CallId, cost: Money },
    Left { call: CallId },
    Settled { call: CallId, cost: Money, unsettled: bool },
    WriteOffAsked { call: CallId, cost: Money },
    WrittenOff { call: CallId, let_go: Money, cost: Money },
    Killed,
    PowerLost { kept: usize, lost: usize },
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
        event.feed(&mut self.hash);
        self.count += 1;
        if self.last.len() == KEPT {
            self.last.pop_front();
        }
        self.last.push_back(event);
    }

    /// Adds a number that must be the same in every telling.
    pub(crate) fn mix(&mut self, money: Money) {
        self.hash.money(money);
    }

    /// The same for the same history.
    pub(crate) fn hash(&self) -> u64 {
        self.hash.0
    }

    /// Events so far.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }
}

impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for event in &self.last {
            writeln!(f, "  {event:?}")?;
        }
        Ok(())
    }
}

impl Event {
    fn feed(&self, hash: &mut Fnv) {
        match self {
            Event::Started => hash.word(1),
            Event::Clock { ms } => hash.words(2, ms.cast_unsigned()),
            Event::Limit { scope, daily, monthly } => {
                hash.words(3, *scope as u64);
                hash.maybe(*daily);
                hash.maybe(*monthly);
            }
            Event::Admitted { call, bound } => hash.call(4, *call, *bound),
            Event::Waits { call } => hash.call(5, *call, None),
            Event::Refused { call, left } => hash.call(6, *call, *left),
            Event::LeaseAsked { ticket, accounts } => {
                hash.words(7, *ticket);
                hash.word(*accounts as u64);
            }
            Event::LeaseGranted { ticket, granted } => {
                hash.words(8, *ticket);
                hash.money(*granted);
            }
            Event::LeaseRefused { ticket } => hash.words(9, *ticket),
            Event::Committed { items } => hash.words(10, *items as u64),
            Event::Failed { items, refused } => hash.words(11, (*items * 4096 + *refused) as u64),
            Event::Recorded { call } => hash.call(12, *call, None),
            Event::NotRecorded { call } => hash.call(13, *call, None),
            Event::Billed { call, cost } => hash.call(14, *call, Some(*cost)),
            Event::Left { call } => hash.call(15, *call, None),
            Event::Settled { call, cost, unsettled } => {
                hash.call(16, *call, Some(*cost));
                hash.word(u64::from(*unsettled));
            }
            Event::WriteOffAsked { call, cost } => hash.call(17, *call, Some(*cost)),
            Event::WrittenOff { call, let_go, cost } => {
                hash.call(18, *call, Some(*let_go));
                hash.money(*cost);
            }
            Event::Killed => hash.word(19),
            Event::PowerLost { kept, lost } => hash.words(20, (*kept * 4096 + *lost) as u64),
        }
    }
}

/// FNV-1a over 64-bit words: not for enemies, only for comparing two tellings.
#[derive(Debug)]
struct Fnv(u64);

impl Fnv {
    fn word(&mut self, word: u64) {
        for half in [word & 0xffff_ffff, word >> 32] {
            self.0 = (self.0 ^ half).wrapping_mul(0x0000_0100_0000_01b3);
            self.0 ^= self.0 >> 29;
        }
    }

    fn words(&mut self, first: u64, second: u64) {
        self.word(first);
        self.word(second);
    }

    fn money(&mut self, money: Money) {
        let pico = money.pico().cast_unsigned();
        self.words(pico as u64, (pico >> 64) as u64);
    }

    fn maybe(&mut self, money: Option<Money>) {
        self.word(u64::from(money.is_some()));
        self.money(money.unwrap_or_default());
    }

    fn call(&mut self, kind: u64, call: CallId, money: Option<Money>) {
        let id = u128::from_be_bytes(call.to_bytes());
        self.word(kind);
        self.words(id as u64, (id >> 64) as u64);
        self.maybe(money);
    }
}

//! The auditor: simpler books of what upstream really billed, held against the gates and the
//! record after every step.
//!
//! It is told what happens to each call and adds up by itself. It never asks the ledger what
//! something costs, what is left or what may pass.

use std::collections::BTreeMap;
use std::sync::Arc;

use chamberlain_core::id::CallId;
use chamberlain_core::ledger::account::{AccountId, Balance, LeaseWanted};
use chamberlain_core::money::Money;

use crate::journal::Intent;
use crate::node::Life;
use crate::record::{Record, minus, plus};

/// What must always be true and is not.
pub(crate) type Verdict = Result<(), String>;

/// One account, as the auditor sees it.
#[derive(Clone, Default, Debug)]
struct Sheet {
    /// What upstream billed.
    billed: Money,
    /// Each node's part.
    parts: Vec<Part>,
    /// The highest limit that a call was admitted or a lease asked under.
    highest: Money,
    /// True once a call was admitted without a limit.
    unlimited: bool,
    /// Bounds of calls that a power loss took off the record where no lease is counted as spent
    /// in their place: in accounts without a limit. Nothing is promised about them.
    forgotten: Money,
}

/// What one node has of an account.
#[derive(Clone, Copy, Default, Debug)]
struct Part {
    /// Charged in this life and before it.
    charged: Money,
    /// Held by calls in flight.
    held: Money,
}

/// A call in flight, or a batch that upstream still works on.
#[derive(Debug)]
struct Flight {
    life: Life,
    bound: Money,
    billed: Money,
    accounts: Arc<[AccountId]>,
    on_record: bool,
    settled: bool,
}

/// A write-off that is on record and that the owner's gate has not heard of.
#[derive(Debug)]
struct WriteOff {
    call: CallId,
    node: usize,
    let_go: Money,
    cost: Money,
    accounts: Arc<[AccountId]>,
}

/// The auditor.
#[derive(Debug)]
pub(crate) struct Auditor {
    sheets: BTreeMap<AccountId, Sheet>,
    flights: BTreeMap<CallId, Flight>,
    /// Accounts without a limit of calls that a power loss may still take off the record.
    unlimited: BTreeMap<CallId, Vec<AccountId>>,
    write_offs: Vec<WriteOff>,
    /// The life that each node is in, by the record.
    lives: Vec<u32>,
    in_flight: Vec<usize>,
}

impl Auditor {
    /// An auditor of so many nodes.
    pub(crate) fn new(nodes: usize) -> Auditor {
        Auditor {
            sheets: BTreeMap::new(),
            flights: BTreeMap::new(),
            unlimited: BTreeMap::new(),
            write_offs: Vec::new(),
            lives: vec![0; nodes],
            in_flight: vec![0; nodes],
        }
    }

    /// True until the node was declared dead or began anew.
    pub(crate) fn is_current(&self, life: Life) -> bool {
        self.lives[life.node] == life.number
    }

    /// A call was admitted by a node under these limits, one for each account.
    pub(crate) fn admitted(
        &mut self,
        life: Life,
        call: CallId,
        bound: Money,
        accounts: &Arc<[AccountId]>,
        limits: &[Option<Money>],
    ) -> Verdict {
        ensure(accounts.len() == limits.len(), || {
            format!("{call} is set aside in {} accounts, not {}", accounts.len(), limits.len())
        })?;
        let current = self.is_current(life);
        let mut unlimited = Vec::new();
        for (account, limit) in accounts.iter().zip(limits).filter(|_| current) {
            let sheet = self.sheet(account);
            let part = &mut sheet.parts[life.node];
            part.held = plus(part.held, bound);
            let used = plus(part.charged, part.held);
            match limit {
                Some(limit) => {
                    sheet.highest = sheet.highest.max(*limit);
                    ensure(used <= *limit, || {
                        format!("I1: {call} was admitted: {account} uses {used:?} of {limit:?}")
                    })?;
                }
                None => {
                    sheet.unlimited = true;
                    unlimited.push(account.clone());
                }
            }
        }
        if !unlimited.is_empty() {
            self.unlimited.insert(call, unlimited);
        }
        self.in_flight[life.node] += usize::from(current);
        let accounts = Arc::clone(accounts);
        let (billed, on_record, settled) = (Money::ZERO, false, false);
        let flight = Flight { life, bound, billed, accounts, on_record, settled };
        self.flights.insert(call, flight);
        Ok(())
    }

    /// The journal committed a call's intent.
    pub(crate) fn recorded(&mut self, call: CallId) {
        if let Some(flight) = self.flights.get_mut(&call) {
            flight.on_record = true;
        }
    }

    /// Upstream billed a call, or some of a batch.
    pub(crate) fn billed(&mut self, call: CallId, cost: Money) -> Verdict {
        let Some(flight) = self.flights.get_mut(&call) else {
            return Err(format!("I2: {call} was billed {cost:?} and was never admitted"));
        };
        ensure(flight.on_record, || {
            format!("I2: {call} was billed {cost:?} and its intent was not on record")
        })?;
        flight.billed = plus(flight.billed, cost);
        let (billed, bound) = (flight.billed, flight.bound);
        ensure(billed <= bound, || format!("I1: {call} was billed {billed:?}, bound {bound:?}"))?;
        let accounts = Arc::clone(&flight.accounts);
        for account in accounts.iter() {
            let sheet = self.sheet(account);
            sheet.billed = plus(sheet.billed, cost);
        }
        Ok(())
    }

    /// A call was charged and let go. One that never came on record is charged nothing; one that
    /// goes on is a batch, which is billed after its end here.
    pub(crate) fn settled(&mut self, call: CallId, cost: Money, goes_on: bool) -> Verdict {
        let Some(flight) = self.flights.get_mut(&call).filter(|flight| !flight.settled) else {
            return Err(format!("{call} was settled and is not in flight"));
        };
        flight.settled = true;
        let Flight { life, bound, billed, .. } = *flight;
        let accounts = Arc::clone(&flight.accounts);
        if !goes_on {
            self.flights.remove(&call);
        }
        ensure(billed <= cost && cost <= bound, || {
            format!("I1: {call} was billed {billed:?}, charged {cost:?}, bound {bound:?}")
        })?;
        if !self.is_current(life) {
            return Ok(());
        }
        self.in_flight[life.node] -= 1;
        for account in accounts.iter() {
            let part = &mut self.sheet(account).parts[life.node];
            part.held = minus(part.held, bound).ok_or("more is let go than was held")?;
            part.charged = plus(part.charged, cost);
        }
        Ok(())
    }

    /// Leases were asked for.
    pub(crate) fn leasing(&mut self, wanted: &[LeaseWanted]) {
        for lease in wanted {
            let sheet = self.sheet(&lease.account);
            sheet.highest = sheet.highest.max(lease.limit);
        }
    }

    /// It is on record that a call got its true cost.
    pub(crate) fn write_off_recorded(
        &mut self,
        call: CallId,
        owner: Life,
        (let_go, cost): (Money, Money),
        accounts: &Arc<[AccountId]>,
    ) {
        let (node, accounts) = (owner.node, Arc::clone(accounts));
        self.write_offs.push(WriteOff { call, node, let_go, cost, accounts });
    }

    /// The owner's gate was told of a write-off.
    pub(crate) fn written_off(&mut self, call: CallId) {
        self.take_off(|write_off| write_off.call == call);
    }

    fn take_off(&mut self, is_such: impl Fn(&WriteOff) -> bool) {
        let (told, untold) =
            std::mem::take(&mut self.write_offs).into_iter().partition::<Vec<_>, _>(is_such);
        self.write_offs = untold;
        for WriteOff { node, let_go, cost, accounts, .. } in told {
            for account in accounts.iter() {
                let part = &mut self.sheet(account).parts[node];
                part.charged = plus(part.charged.saturating_sub(let_go), cost);
            }
        }
    }

    /// By the record a node begins a new life. What an earlier life still does changes no sheet; what
    /// it still sends is billed.
    pub(crate) fn begun(&mut self, node: usize, record: &Record) -> Verdict {
        ensure(record.open.values().all(|share| share.node != node), || {
            "a start left calls open on record".to_owned()
        })?;
        self.take_off(|write_off| write_off.node == node);
        for flight in self.flights.values() {
            let ended = flight.settled || flight.life.node != node || !flight.on_record;
            if ended || self.lives[node] != flight.life.number {
                continue;
            }
            // Its whole bound is charged now.
            for account in flight.accounts.iter() {
                let sheet = self.sheets.get_mut(account).ok_or("a flight without a sheet")?;
                let part = &mut sheet.parts[node];
                part.charged = plus(part.charged, flight.bound);
            }
        }
        self.lives[node] = record.lives[node];
        self.in_flight[node] = 0;
        for (account, sheet) in &mut self.sheets {
            let (spent, forgotten) = (record.spent(account, node), sheet.forgotten);
            let charged = sheet.parts[node].charged;
            ensure(plus(spent, forgotten) >= charged, || {
                format!(
                    "I3: a crash refunded {account}: {charged:?} was charged, now {spent:?} \
                     ({forgotten:?} without a lease forgotten)"
                )
            })?;
            sheet.parts[node] = Part { charged: spent, held: Money::ZERO };
        }
        let touched: Vec<AccountId> = self.sheets.keys().cloned().collect();
        self.record_holds(record, &touched)
    }

    /// A life is over: nothing of it is sent any more.
    pub(crate) fn gone(&mut self, life: Life) {
        self.flights.retain(|_, flight| flight.life != life || flight.settled);
    }

    /// The journal lost power, and these intents with it. A recovery follows, which is synced: what
    /// is on record then stays there.
    pub(crate) fn lost(&mut self, lost: &[Intent]) {
        let unlimited = std::mem::take(&mut self.unlimited);
        for intent in lost {
            for account in unlimited.get(&intent.call).into_iter().flatten() {
                let sheet = self.sheet(account);
                sheet.forgotten = plus(sheet.forgotten, intent.reserved);
            }
        }
    }

    /// Holds these accounts of the record against the truth.
    pub(crate) fn record_holds(&self, record: &Record, accounts: &[AccountId]) -> Verdict {
        for account in accounts {
            let Some(sheet) = self.sheets.get(account) else {
                return Err(format!("I2: {account} is on record and nobody was admitted to it"));
            };
            let used = record.used(account);
            let Sheet { billed, highest, forgotten, .. } = sheet;
            ensure(*billed <= plus(used, *forgotten), || {
                format!("I1: {account} was billed {billed:?}; on record are {used:?}")
            })?;
            ensure(sheet.unlimited || used <= *highest, || {
                format!("I1: on record {account} uses {used:?}; its limit was {highest:?} at most")
            })?;
        }
        Ok(())
    }

    /// Holds a gate's balances against the auditor's own, and what it counts in flight against the
    /// number of calls that the node has: a call that was dropped unsettled is in the gate alone.
    pub(crate) fn gate_holds(
        &self,
        life: Life,
        balances: &[(AccountId, Balance)],
        in_flight: usize,
        calls: usize,
    ) -> Verdict {
        ensure(in_flight == calls, || {
            format!("I4: the gate counts {in_flight} in flight, its node has {calls}")
        })?;
        if !self.is_current(life) {
            return Ok(());
        }
        let counted = self.in_flight[life.node];
        ensure(in_flight == counted, || {
            format!("the gate counts {in_flight} in flight, not {counted}")
        })?;
        for (account, balance) in balances {
            let parts = self.sheets.get(account).map(|sheet| sheet.parts[life.node]);
            let Part { charged, held } = parts.unwrap_or_default();
            let (reserved, spent) = (balance.reserved, balance.spent());
            ensure(in_flight > 0 || reserved.is_zero(), || {
                format!("I4: no call is in flight and {account} holds {reserved:?}")
            })?;
            ensure(reserved == held, || {
                format!("I4: {account} holds {reserved:?}; calls in flight hold {held:?}")
            })?;
            ensure(spent == charged, || {
                format!("I1: {account} has spent {spent:?}; it was charged {charged:?}")
            })?;
        }
        Ok(())
    }

    fn sheet(&mut self, account: &AccountId) -> &mut Sheet {
        let parts = vec![Part::default(); self.lives.len()];
        self.sheets.entry(account.clone()).or_insert_with(|| Sheet { parts, ..Sheet::default() })
    }
}

fn ensure(holds: bool, why: impl FnOnce() -> String) -> Verdict {
    if holds { Ok(()) } else { Err(why()) }
}

//! The auditor: simpler books of what upstream really billed, held against the gate and the
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
use crate::record::{Record, minus, plus};

/// What must always be true and is not.
pub(crate) type Verdict = Result<(), String>;

/// One account, as the auditor sees it.
#[derive(Clone, Default, Debug)]
struct Sheet {
    /// What upstream billed.
    billed: Money,
    /// What was charged in this run and before it.
    charged: Money,
    /// What calls in flight hold.
    held: Money,
    /// The highest limit that a call was admitted or a lease asked under.
    highest: Money,
    /// True once a call was admitted without a limit.
    unlimited: bool,
    /// Bounds of calls that a power loss took off the record where no lease is counted as spent
    /// in their place: in accounts without a limit. Nothing is promised about them.
    forgotten: Money,
}

/// A call in flight.
#[derive(Debug)]
struct Flight {
    bound: Money,
    billed: Money,
    accounts: Arc<[AccountId]>,
}

/// A write-off that is on record and that the gate has not heard of.
#[derive(Debug)]
struct WriteOff {
    call: CallId,
    let_go: Money,
    cost: Money,
    accounts: Arc<[AccountId]>,
}

/// The auditor.
#[derive(Default, Debug)]
pub(crate) struct Auditor {
    sheets: BTreeMap<AccountId, Sheet>,
    flights: BTreeMap<CallId, Flight>,
    /// Accounts without a limit of calls that a power loss may still take off the record.
    unlimited: BTreeMap<CallId, Vec<AccountId>>,
    write_offs: Vec<WriteOff>,
}

impl Auditor {
    /// A call was admitted under these limits, one for each account.
    pub(crate) fn admitted(
        &mut self,
        call: CallId,
        bound: Money,
        accounts: &Arc<[AccountId]>,
        limits: &[Option<Money>],
    ) -> Verdict {
        ensure(accounts.len() == limits.len(), || {
            format!("{call} is set aside in {} accounts, not {}", accounts.len(), limits.len())
        })?;
        let mut unlimited = Vec::new();
        for (account, limit) in accounts.iter().zip(limits) {
            let sheet = self.sheets.entry(account.clone()).or_default();
            sheet.held = plus(sheet.held, bound);
            let used = plus(sheet.charged, sheet.held);
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
        let accounts = Arc::clone(accounts);
        self.flights.insert(call, Flight { bound, billed: Money::ZERO, accounts });
        Ok(())
    }

    /// Upstream billed a call.
    pub(crate) fn billed(&mut self, call: CallId, cost: Money, record: &Record) -> Verdict {
        ensure(record.open.contains_key(&call), || {
            format!("I2: {call} was billed {cost:?} and is not open on record")
        })?;
        let Some(flight) = self.flights.get_mut(&call) else {
            return Err(format!("I2: {call} was billed {cost:?} and was never admitted"));
        };
        flight.billed = plus(flight.billed, cost);
        for account in flight.accounts.iter() {
            let sheet = self.sheets.entry(account.clone()).or_default();
            sheet.billed = plus(sheet.billed, cost);
        }
        Ok(())
    }

    /// A call was charged and let go. One that never came on record is charged nothing.
    pub(crate) fn settled(&mut self, call: CallId, cost: Money) -> Verdict {
        let Some(flight) = self.flights.remove(&call) else {
            return Err(format!("{call} was settled and is not in flight"));
        };
        let Flight { bound, billed, accounts, .. } = flight;
        ensure(billed <= cost && cost <= bound, || {
            format!("I1: {call} was billed {billed:?}, charged {cost:?}, bound {bound:?}")
        })?;
        for account in accounts.iter() {
            let sheet = self.sheets.entry(account.clone()).or_default();
            sheet.held = minus(sheet.held, bound).ok_or("more is let go than was held")?;
            sheet.charged = plus(sheet.charged, cost);
        }
        Ok(())
    }

    /// Leases were asked for.
    pub(crate) fn leasing(&mut self, wanted: &[LeaseWanted]) {
        for lease in wanted {
            let sheet = self.sheets.entry(lease.account.clone()).or_default();
            sheet.highest = sheet.highest.max(lease.limit);
        }
    }

    /// It is on record that a person gave a call its true cost.
    pub(crate) fn write_off_recorded(
        &mut self,
        call: CallId,
        let_go: Money,
        cost: Money,
        accounts: &Arc<[AccountId]>,
    ) {
        let accounts = Arc::clone(accounts);
        self.write_offs.push(WriteOff { call, let_go, cost, accounts });
    }

    /// The gate was told of a write-off.
    pub(crate) fn written_off(&mut self, call: CallId) {
        let (told, untold) = std::mem::take(&mut self.write_offs)
            .into_iter()
            .partition::<Vec<_>, _>(|write_off| write_off.call == call);
        self.write_offs = untold;
        told.iter().for_each(|write_off| self.take_off(write_off));
    }

    fn take_off(&mut self, write_off: &WriteOff) {
        for account in write_off.accounts.iter() {
            let sheet = self.sheets.entry(account.clone()).or_default();
            sheet.charged = plus(sheet.charged.saturating_sub(write_off.let_go), write_off.cost);
        }
    }

    /// The process died and started again, after a power loss with what that took.
    pub(crate) fn restarted(&mut self, record: &Record, lost: &[Intent]) -> Verdict {
        ensure(record.open.is_empty(), || "a start left calls open on record".to_owned())?;
        self.flights.clear();
        let write_offs = std::mem::take(&mut self.write_offs);
        write_offs.iter().for_each(|write_off| self.take_off(write_off));
        self.lost(lost);
        // A recovery is synced: what is on record now stays there.
        self.unlimited.clear();
        for (account, sheet) in &mut self.sheets {
            let spent = record.balances.get(account).map(Balance::spent).unwrap_or_default();
            ensure(plus(spent, sheet.forgotten) >= sheet.charged, || {
                let Sheet { charged, forgotten, .. } = sheet;
                format!(
                    "I3: a crash refunded {account}: {charged:?} was charged, now {spent:?} \
                     ({forgotten:?} without a lease forgotten)"
                )
            })?;
            sheet.charged = spent;
            sheet.held = Money::ZERO;
        }
        let touched: Vec<AccountId> = self.sheets.keys().cloned().collect();
        self.record_holds(record, &touched)
    }

    fn lost(&mut self, lost: &[Intent]) {
        for intent in lost {
            for account in self.unlimited.get(&intent.call).into_iter().flatten() {
                let sheet = self.sheets.entry(account.clone()).or_default();
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
            let used = record.balances.get(account).map(Balance::used).unwrap_or_default();
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

    /// Holds the gate's balances against the auditor's own.
    pub(crate) fn gate_holds(
        &self,
        balances: &[(AccountId, Balance)],
        in_flight: usize,
    ) -> Verdict {
        ensure(in_flight == self.flights.len(), || {
            format!("the gate counts {in_flight} in flight, not {}", self.flights.len())
        })?;
        let nobody = Sheet::default();
        for (account, balance) in balances {
            let sheet = self.sheets.get(account).unwrap_or(&nobody);
            let (reserved, spent) = (balance.reserved, balance.spent());
            ensure(in_flight > 0 || reserved.is_zero(), || {
                format!("I4: no call is in flight and {account} holds {reserved:?}")
            })?;
            ensure(reserved == sheet.held, || {
                format!("{account} holds {reserved:?}; calls in flight hold {:?}", sheet.held)
            })?;
            ensure(spent == sheet.charged, || {
                format!("{account} has spent {spent:?}; it was charged {:?}", sheet.charged)
            })?;
        }
        Ok(())
    }
}

fn ensure(holds: bool, why: impl FnOnce() -> String) -> Verdict {
    if holds { Ok(()) } else { Err(why()) }
}

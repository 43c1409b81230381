//! Unsettled money and how a person ends it: nothing else ever does.

use chamberlain_core::id::CallId;
use chamberlain_core::ledger::account::AccountId;
use chamberlain_core::money::Money;
use rusqlite::{OptionalExtension, params};
use serde_json::json;

use crate::change::{Change, Facts};
use crate::fault::StoreFault;
use crate::rollups;
use crate::words::money_column;

/// What became of an unsettled call that got its true cost.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WrittenOff {
    /// What it was charged before.
    pub was: Money,
    /// What is no longer unsettled in its accounts. For a call that was lost with power this is
    /// not more than its cost: the rest stays, as the rest of a lease does.
    pub let_go: Money,
}

/// An unsettled call, as far as a write-off needs it.
struct Unsettled {
    seq: i64,
    set: i64,
    charged: Money,
    power_lost: bool,
}

impl Change<'_> {
    /// Gives an unsettled call its true cost, on record: what it was charged is let go and the
    /// cost charged instead.
    ///
    /// Of a call that a power loss left without an end, the settlement may have been lost. Then
    /// what it had let go was free, and calls that were lost as well may have spent it. Its write-off
    /// frees nothing: what it was charged beyond its cost stays unsettled, apart from all calls.
    ///
    /// # Errors
    /// When there is no such call, it is not unsettled, or the cost is out of range.
    pub fn write_off(
        &mut self,
        call: CallId,
        cost: Money,
        reason: &str,
    ) -> Result<WrittenOff, StoreFault> {
        let column = money_column("a cost", cost)?;
        let Unsettled { seq, set, charged, power_lost } = self.unsettled(call)?;
        let let_go = if power_lost { charged.min(cost) } else { charged };
        rollups::write_off(self.connection, seq, column)?;
        self.connection
            .prepare_cached("UPDATE calls SET certainty = 'settled', cost = ?2 WHERE seq = ?1")?
            .execute(params![seq, column])?;
        let set = self.state.books.set(self.connection, set)?;
        self.state.books.change(&set, |balance| {
            let rest = balance.unsettled.checked_sub(let_go)?;
            balance.unsettled = Some(rest).filter(|rest| !rest.is_negative())?;
            balance.settled = balance.settled.checked_add(cost)?;
            Some(())
        })?;
        let facts = Facts {
            reason: Some(reason.to_owned()),
            before: Some(json!({ "certainty": "unsettled", "cost": charged })),
            after: Some(json!({
                "certainty": "settled",
                "cost": cost,
                "kept_for_lost_calls": charged.saturating_sub(let_go),
            })),
        };
        self.audit("call.written_off", &call.to_string(), &facts)?;
        Ok(WrittenOff { was: charged, let_go })
    }

    fn unsettled(&self, call: CallId) -> Result<Unsettled, StoreFault> {
        let found = self
            .connection
            .prepare_cached(
                "SELECT certainty IS 'unsettled', seq, account_set, cost, power_lost FROM calls
                 WHERE id = ?1",
            )?
            .query_row([call.to_bytes()], |row| {
                if !row.get(0)? {
                    return Ok(None);
                }
                let charged = Money::from_pico(i128::from(row.get::<_, i64>(3)?));
                let (seq, set, power_lost) = (row.get(1)?, row.get(2)?, row.get(4)?);
                Ok(Some(Unsettled { seq, set, charged, power_lost }))
            })
            .optional()?;
        match found {
            None => Err(StoreFault::Missing(format!("call {call}"))),
            Some(Some(unsettled)) => Ok(unsettled),
            Some(None) => {
                let problem = format!("{call} is not unsettled; only such calls are written off");
                Err(StoreFault::Conflict(problem))
            }
        }
    }

    /// Lets go of unsettled money that no call stands for: the rest of a lease that a power loss
    /// had counted as spent. On record. Gives what is unsettled afterwards.
    ///
    /// # Errors
    /// When less is unsettled in that account apart from its calls.
    pub fn write_off_lease(
        &mut self,
        account: &AccountId,
        amount: Money,
        reason: &str,
    ) -> Result<Money, StoreFault> {
        let mut balance = self.state.books.balance(self.connection, account)?;
        let before = balance.unsettled;
        let id = self.state.books.id(self.connection, account)?;
        let of_calls = self.unsettled_of_calls(id)?;
        let of_leases = before.saturating_sub(of_calls);
        if amount.is_negative() || amount > of_leases {
            return Err(StoreFault::Conflict(format!(
                "{account} has {before} unsettled, {of_calls} of it for calls (write those off one \
                 by one); {amount} is more than the rest"
            )));
        }
        balance.unsettled = before.saturating_sub(amount);
        self.state.books.replace(self.connection, account, balance)?;
        let facts = Facts {
            reason: Some(reason.to_owned()),
            before: Some(json!({ "unsettled": before })),
            after: Some(json!({ "unsettled": balance.unsettled })),
        };
        self.audit("lease.written_off", &account.to_string(), &facts)?;
        Ok(balance.unsettled)
    }

    fn unsettled_of_calls(&self, balance: i64) -> Result<Money, StoreFault> {
        let pico: i64 = self
            .connection
            .prepare_cached(
                "SELECT ifnull(sum(cost), 0) FROM calls
                 WHERE certainty = 'unsettled' AND EXISTS (
                     SELECT 1 FROM account_sets, json_each(account_sets.balances)
                     WHERE account_sets.id = calls.account_set AND json_each.value = ?1)",
            )?
            .query_row([balance], |row| row.get(0))?;
        Ok(Money::from_pico(i128::from(pico)))
    }
}

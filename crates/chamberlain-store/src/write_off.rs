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

impl Change<'_> {
    /// Gives an unsettled call its true cost, on record: what it was charged is let go and the
    /// cost charged instead. Gives what it was charged before.
    ///
    /// # Errors
    /// When there is no such call, it is not unsettled, or the cost is out of range.
    pub fn write_off(
        &mut self,
        call: CallId,
        cost: Money,
        reason: &str,
    ) -> Result<Money, StoreFault> {
        let column = money_column("a cost", cost)?;
        let found: Option<(i64, i64, Option<i64>, bool)> = self
            .connection
            .prepare_cached(
                "SELECT seq, account_set, cost, certainty IS 'unsettled' FROM calls WHERE id = ?1",
            )?
            .query_row([call.to_bytes()], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
            })
            .optional()?;
        let (seq, set, charged) = match found {
            None => return Err(StoreFault::Missing(format!("call {call}"))),
            Some((seq, set, Some(charged), true)) => (seq, set, charged),
            Some(_) => {
                let problem = format!("{call} is not unsettled; only such calls are written off");
                return Err(StoreFault::Conflict(problem));
            }
        };
        let charged = Money::from_pico(i128::from(charged));
        rollups::write_off(self.connection, seq, column)?;
        self.connection
            .prepare_cached("UPDATE calls SET certainty = 'settled', cost = ?2 WHERE seq = ?1")?
            .execute(params![seq, column])?;
        let set = self.state.books.set(self.connection, set)?;
        self.state.books.change(&set, |balance| {
            let rest = balance.unsettled.checked_sub(charged)?;
            balance.unsettled = Some(rest).filter(|rest| !rest.is_negative())?;
            balance.settled = balance.settled.checked_add(cost)?;
            Some(())
        })?;
        let facts = Facts {
            reason: Some(reason.to_owned()),
            before: Some(json!({ "certainty": "unsettled", "cost": charged })),
            after: Some(json!({ "certainty": "settled", "cost": cost })),
        };
        self.audit("call.written_off", &call.to_string(), &facts)?;
        Ok(charged)
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

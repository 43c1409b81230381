//! Unsettled money and how it ends: a person writes it off, or the true cost is learned. No timer
//! ever lets it go.

use std::sync::Arc;

use chamberlain_core::audit::record::{self, Principal};
use chamberlain_core::id::CallId;
use chamberlain_core::ledger::account::AccountId;
use chamberlain_core::money::Money;
use chamberlain_core::record::{TrueUp, TruedUp};
use chamberlain_core::resource::ResourceKind;
use chamberlain_core::usage::Tokens;
use rusqlite::{Connection, OptionalExtension, params};
use serde_json::json;
use tokio::sync::oneshot;

use crate::change::{Change, Facts};
use crate::fault::StoreFault;
use crate::store::Store;
use crate::words::{self, count_column, money_column, word};
use crate::writer::books::AccountSet;
use crate::writer::calls::Trouble;
use crate::writer::queue::Item;
use crate::writer::state::State;
use crate::{balances, rollups};

const LEARN: &str = "
    UPDATE calls SET certainty = 'settled', cost = ?2, served_model = ifnull(?3, served_model)
    WHERE seq = ?1";

const LEARN_TOKENS: &str = "
    UPDATE calls SET tokens_input = ?2, tokens_write_5m = ?3, tokens_write_1h = ?4,
        tokens_read = ?5, tokens_output = ?6
    WHERE seq = ?1";

/// What a call did cost, learned after its end.
pub(crate) struct Truth<'a> {
    pub(crate) cost: Money,
    /// What it used; `None` leaves what is known.
    pub(crate) tokens: Option<Tokens>,
    /// What served it; `None` leaves what is known.
    pub(crate) served_model: Option<&'a str>,
}

/// What became of it.
pub(crate) enum Learned {
    /// There is no such call.
    Unknown,
    /// Its cost was known already; nothing was changed.
    Before,
    /// It is charged from now on.
    Now { written_off: WrittenOff, set: Arc<AccountSet> },
}

impl State {
    /// Gives an unsettled call its true cost: what it was charged is let go and the cost charged
    /// instead, in the books and in the sums of the hour in which it was made.
    ///
    /// Of a call that a power loss left without an end, the settlement may have been lost. Then
    /// what it had let go was free, and calls that were lost as well may have spent it. This frees
    /// nothing of it: what it was charged beyond its cost stays unsettled, apart from all calls.
    pub(crate) fn learn(
        &mut self,
        connection: &Connection,
        call: CallId,
        truth: &Truth<'_>,
    ) -> Result<Learned, StoreFault> {
        let column = money_column("a cost", truth.cost)?;
        self.rows.flush(connection)?;
        let found = connection
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
        let Unsettled { seq, set, charged, power_lost } = match found {
            None => return Ok(Learned::Unknown),
            Some(None) => return Ok(Learned::Before),
            Some(Some(unsettled)) => unsettled,
        };
        let let_go = if power_lost { charged.min(truth.cost) } else { charged };
        let is_rolled_up = rollups::take_unsettled(connection, seq)?;
        connection.prepare_cached(LEARN)?.execute(params![seq, column, truth.served_model])?;
        if let Some(tokens) = truth.tokens {
            connection.prepare_cached(LEARN_TOKENS)?.execute(params![
                seq,
                count_column(tokens.input),
                count_column(tokens.cache_write_5m),
                count_column(tokens.cache_write_1h),
                count_column(tokens.cache_read),
                count_column(tokens.output),
            ])?;
        }
        if is_rolled_up {
            rollups::add_one(connection, seq)?;
        }
        let set = self.books.set(connection, set)?;
        self.books.change(&set, |balance| {
            let rest = balance.unsettled.checked_sub(let_go)?;
            balance.unsettled = Some(rest).filter(|rest| !rest.is_negative())?;
            balance.settled = balance.settled.checked_add(truth.cost)?;
            Some(())
        })?;
        Ok(Learned::Now { written_off: WrittenOff { was: charged, let_go }, set })
    }

    /// Trues up a call to its cost and remembers its batch anew, on record, in one step. `None`
    /// when its cost was known already; the batch is remembered anew all the same.
    pub(crate) fn true_up(
        &mut self,
        connection: &Connection,
        found: &TrueUp,
    ) -> Result<Option<TruedUp>, Trouble> {
        if self.open.contains_key(&found.call) {
            let problem = format!("{} has not ended yet", found.call);
            return Err(Trouble::Refused(StoreFault::Conflict(problem)));
        }
        money_column("a cost", found.cost).map_err(Trouble::Refused)?;
        let about = words::json(&found.about).map_err(Trouble::Refused)?;
        let truth = Truth {
            cost: found.cost,
            tokens: Some(found.tokens),
            served_model: found.served_model.as_deref(),
        };
        let learned = self.learn(connection, found.call, &truth)?;
        connection
            .prepare_cached("UPDATE resources SET about = ?3 WHERE kind = ?1 AND id = ?2")?
            .execute(params![word(ResourceKind::Batch), found.batch.as_str(), about])?;
        let Learned::Now { written_off, set } = learned else { return Ok(None) };
        let WrittenOff { was, let_go } = written_off;
        let before = json!({ "certainty": "unsettled", "cost": was });
        let after = json!({
            "batch": found.batch,
            "certainty": "settled",
            "cost": found.cost,
            "kept_for_lost_calls": was.saturating_sub(let_go),
            "served_model": found.served_model,
            "tokens": found.tokens,
        });
        let change = record::Change {
            at: found.at,
            actor: &Principal::Chamberlain,
            kind: "call.trued_up",
            subject: &found.call.to_string(),
            reason: None,
            before: Some(&before),
            after: Some(&after),
        };
        self.log.change(connection, &change)?;
        let accounts = balances::accounts_of(connection, set.id)?;
        Ok(Some(TruedUp { was, let_go, accounts }))
    }
}

impl Store {
    /// Trues up a call to its cost, see [`TrueUp`]. The answer is `None` when its cost was known
    /// already. When it is `Ok`, it survives a power loss.
    pub fn true_up(&self, found: TrueUp) -> oneshot::Receiver<Result<Option<TruedUp>, StoreFault>> {
        let (answer, answered) = oneshot::channel();
        self.push(Item::TrueUp(Box::new(found), answer));
        answered
    }
}

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
    /// For a call that was lost with power see [`WrittenOff::let_go`].
    ///
    /// # Errors
    /// When there is no such call, it is not unsettled, or the cost is out of range.
    pub fn write_off(
        &mut self,
        call: CallId,
        cost: Money,
        reason: &str,
    ) -> Result<WrittenOff, StoreFault> {
        let truth = Truth { cost, tokens: None, served_model: None };
        let written_off = match self.state.learn(self.connection, call, &truth)? {
            Learned::Unknown => return Err(StoreFault::Missing(format!("call {call}"))),
            Learned::Now { written_off, .. } => written_off,
            Learned::Before => {
                let problem = format!("{call} is not unsettled; only such calls are written off");
                return Err(StoreFault::Conflict(problem));
            }
        };
        let WrittenOff { was: charged, let_go } = written_off;
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

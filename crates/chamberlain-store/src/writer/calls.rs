//! The data plane's writes: intents, settlements, leases, notices.
//!
//! Each runs inside the writer's transaction. What is refused is refused before its first write;
//! a fault after that undoes the whole transaction.

use std::sync::Arc;

use chamberlain_core::audit::record;
use chamberlain_core::id::CallId;
use chamberlain_core::ledger::account::{Balance, Grant, LeaseWanted};
use chamberlain_core::money::Money;
use chamberlain_core::record::{Certainty, Intent, Notice, Settlement, Severity};
use chamberlain_core::time::Timestamp;
use rusqlite::{Connection, params};
use serde_json::json;

use super::state::{OpenCall, State};
use crate::fault::StoreFault;
use crate::outbox;
use crate::words::money_column;

const CLOSE_LOST_CALL: &str = "
    UPDATE calls SET closed_seq = ?2, closed_at = ?3, certainty = 'unsettled', cost = reserved,
        power_lost = ?4
    WHERE seq = ?1 AND closed_seq IS NULL";

const NOTE_USE: &str = "UPDATE upstream_keys SET last_used_at = ?2 WHERE id = ?1";

/// What a fault means for the transaction it happened in.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// The request was refused and changed nothing; the others go on.
    Refused(StoreFault),
    /// The transaction cannot be trusted any more.
    Broken(StoreFault),
}

impl Trouble {
    /// What went wrong, whatever it means for the transaction.
    pub(crate) fn into_fault(self) -> StoreFault {
        match self {
            Trouble::Refused(fault) | Trouble::Broken(fault) => fault,
        }
    }
}

impl From<StoreFault> for Trouble {
    fn from(fault: StoreFault) -> Trouble {
        Trouble::Broken(fault)
    }
}

impl From<rusqlite::Error> for Trouble {
    fn from(error: rusqlite::Error) -> Trouble {
        Trouble::Broken(error.into())
    }
}

impl State {
    /// Records an intent: the reservations, the audit record, and the call's row, which is written
    /// with the end of the call or at the end of the transaction, whichever comes first.
    pub(crate) fn intend(
        &mut self,
        connection: &Connection,
        intent: &Arc<Intent>,
    ) -> Result<(), Trouble> {
        let reserved = money_column("a reservation", intent.reserved).map_err(Trouble::Refused)?;
        if self.is_known(connection, intent.call)? {
            let problem = format!("{} has an intent already", intent.call);
            return Err(Trouble::Refused(StoreFault::Conflict(problem)));
        }
        let named = self.books.set_of(connection, &intent.accounts)?;
        let (set, seq) = (&named.set, self.next_call());
        let intent_seq = self.log.next();
        self.books.change(set, |balance| {
            balance.reserved = balance.reserved.checked_add(intent.reserved)?;
            Some(())
        })?;
        self.log.append(connection, intent.at, "call.intent", None, |out, place| {
            record::intent_with(out, place, intent, &named.audited);
        })?;
        let open = OpenCall { seq, reserved, set: set.id };
        self.open.insert(intent.call, open);
        self.rows.begin(open, Arc::clone(intent), intent_seq);
        self.last_id = self.last_id.max(intent.call);
        if let Some(key) = &intent.upstream_key
            && self.is_new_use(key, intent.at)
        {
            connection.prepare_cached(NOTE_USE)?.execute(params![key.as_str(), intent.at.ms()])?;
        }
        Ok(())
    }

    /// Records how a call ended: closes its row, lets its reservation go, charges its cost. A
    /// call that is unknown or closed changes no money; that it was tried is put on record.
    pub(crate) fn settle(
        &mut self,
        connection: &Connection,
        settlement: &Arc<Settlement>,
    ) -> Result<(), Trouble> {
        let Some(open) = self.open.get(&settlement.call).copied() else {
            return self.refuse_settlement(connection, settlement);
        };
        let settlement = &trusted(settlement, open);
        let unsettled = settlement.certainty == Certainty::Unsettled;
        let set = self.books.set(connection, open.set)?;
        let closed_seq = self.log.next();
        self.rows.end(connection, open, closed_seq, Arc::clone(settlement))?;
        let reserved = Money::from_pico(i128::from(open.reserved));
        self.books.change(&set, |balance| {
            release(balance, reserved)?;
            charge(balance, settlement.cost, unsettled)
        })?;
        self.log.append(connection, settlement.at, "call.settled", None, |out, place| {
            record::settlement(out, place, settlement);
        })?;
        self.open.remove(&settlement.call);
        Ok(())
    }

    /// Closes a call that nobody will settle any more: its reservation stays charged. After a power
    /// loss it may have been settled, and the record of that is lost.
    pub(crate) fn give_up(
        &mut self,
        connection: &Connection,
        call: CallId,
        power_lost: bool,
        now: Timestamp,
    ) -> Result<(), Trouble> {
        self.rows.flush(connection)?;
        let Some(open) = self.open.remove(&call) else { return Ok(()) };
        let reserved = Money::from_pico(i128::from(open.reserved));
        let notice = Notice {
            at: now,
            kind: "call.unsettled".into(),
            severity: Severity::Warning,
            subject: call.to_string(),
            message: format!("How this call ended is unknown; {reserved} stays charged."),
            facts: facts(json!({ "cost": reserved })),
            notify: false,
        };
        let written = self.log.note(connection, &notice)?;
        connection.prepare_cached(CLOSE_LOST_CALL)?.execute(params![
            open.seq,
            written.seq,
            now.ms(),
            power_lost
        ])?;
        let set = self.books.set(connection, open.set)?;
        self.books.change(&set, |balance| {
            release(balance, reserved)?;
            charge(balance, reserved, true)
        })?;
        Ok(())
    }

    /// Raises leases, all or none. A lease never falls, and never rises above the limit.
    pub(crate) fn lease(
        &mut self,
        connection: &Connection,
        wanted: &[LeaseWanted],
        now: Timestamp,
    ) -> Result<Vec<Grant>, Trouble> {
        let mut grants = Vec::with_capacity(wanted.len());
        for lease in wanted {
            let balance = self.books.balance(connection, &lease.account)?;
            // The store is one node's alone.
            let Some(granted) = lease.decide(&balance, Money::ZERO) else {
                return Err(Trouble::Refused(StoreFault::AboveLimit {
                    account: lease.account.to_string(),
                    limit: lease.limit.to_string(),
                    wanted: lease.granted.max(balance.used()).to_string(),
                }));
            };
            grants.push(Grant { account: lease.account.clone(), granted });
        }
        for (grant, lease) in grants.iter().zip(wanted) {
            let before = self.books.balance(connection, &grant.account)?;
            let after = Balance { granted: grant.granted.max(before.granted), ..before };
            if after == before {
                continue;
            }
            self.books.replace(connection, &grant.account, after)?;
            let notice = Notice {
                at: now,
                kind: "lease.granted".into(),
                severity: Severity::Info,
                subject: grant.account.to_string(),
                message: format!("{} of {} may be spent.", grant.granted, lease.limit),
                facts: facts(json!({
                    "before": before.granted,
                    "after": grant.granted,
                    "limit": lease.limit,
                })),
                notify: false,
            };
            self.log.note(connection, &notice)?;
        }
        Ok(grants)
    }

    /// Records a notice; what is urgent or asks for it goes to the outbox as well.
    pub(crate) fn note(&mut self, connection: &Connection, notice: &Notice) -> Result<(), Trouble> {
        let written = self.log.note(connection, notice)?;
        if notice.notify || notice.severity >= Severity::High {
            outbox::insert_notice(connection, &written, notice)?;
        }
        Ok(())
    }

    /// Whether there was ever an intent of this call.
    fn is_known(&self, connection: &Connection, call: CallId) -> Result<bool, StoreFault> {
        // Ids grow with time, so most calls that begin need no look.
        if call > self.last_id {
            return Ok(false);
        }
        if self.open.contains_key(&call) || self.rows.has_ended(call) {
            return Ok(true);
        }
        let mut query = connection.prepare_cached("SELECT 1 FROM calls WHERE id = ?1")?;
        Ok(query.exists([call.to_bytes()])?)
    }

    fn refuse_settlement(
        &mut self,
        connection: &Connection,
        settlement: &Settlement,
    ) -> Result<(), Trouble> {
        let closed = self.is_known(connection, settlement.call)?;
        let reason = if closed { "it is closed already" } else { "it has no intent" };
        tracing::error!(call = %settlement.call, reason, "a settlement was refused");
        self.note(
            connection,
            &Notice {
                at: settlement.at,
                kind: "call.settlement_refused".into(),
                severity: Severity::High,
                subject: settlement.call.to_string(),
                message: format!(
                    "A settlement of {} for this call was refused and changed nothing: {reason}. \
                     Compare the call with Anthropic's usage report.",
                    settlement.cost
                ),
                facts: facts(json!({ "cost": settlement.cost, "reason": reason })),
                notify: false,
            },
        )
    }
}

/// The settlement as far as it can be believed: what is charged is never below nothing, and an
/// unknown outcome is never charged below its reservation.
fn trusted(settlement: &Arc<Settlement>, open: OpenCall) -> Arc<Settlement> {
    let reserved = Money::from_pico(i128::from(open.reserved));
    let mut trusted = Arc::clone(settlement);
    if settlement.reserved != reserved {
        tracing::error!(
            call = %settlement.call,
            claimed_usd = %settlement.reserved.to_decimal(),
            reserved_usd = %reserved.to_decimal(),
            "a settlement claims another reservation than its intent; the intent counts"
        );
        Arc::make_mut(&mut trusted).reserved = reserved;
    }
    if settlement.cost.is_negative() {
        let (call, cost_usd) = (settlement.call, settlement.cost.to_decimal());
        tracing::error!(%call, cost_usd, "a settlement has a cost below nothing; its reservation counts");
        Arc::make_mut(&mut trusted).certainty = Certainty::Unsettled;
    }
    if trusted.certainty == Certainty::Unsettled && trusted.cost < reserved {
        Arc::make_mut(&mut trusted).cost = reserved;
    }
    trusted
}

/// Lets a reservation go; `None` when less is reserved, which would mean that it was let go twice.
fn release(balance: &mut Balance, reserved: Money) -> Option<()> {
    balance.reserved = balance.reserved.checked_sub(reserved).filter(|rest| !rest.is_negative())?;
    Some(())
}

fn charge(balance: &mut Balance, cost: Money, unsettled: bool) -> Option<()> {
    let column = if unsettled { &mut balance.unsettled } else { &mut balance.settled };
    *column = column.checked_add(cost)?;
    Some(())
}

/// The members of a JSON object.
pub(crate) fn facts(value: serde_json::Value) -> serde_json::Map<String, serde_json::Value> {
    match value {
        serde_json::Value::Object(members) => members,
        _ => serde_json::Map::new(),
    }
}

//! Calls as they are read back.

use std::fmt::Write as _;
use std::ops::ControlFlow;

use chamberlain_core::id::{CallId, EnvironmentName, UpstreamKeyId, VirtualKeyId};
use chamberlain_core::ledger::account::AccountId;
use chamberlain_core::money::Money;
use chamberlain_core::record::{Certainty, Outcome, Route};
use chamberlain_core::source::Source;
use chamberlain_core::time::Timestamp;
use chamberlain_core::usage::Tokens;
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row, params_from_iter};
use serde::Serialize;

use crate::balances;
use crate::fault::StoreFault;
use crate::store::Store;
use crate::words::{count_column, read_word, read_word_or_null, unreadable, word};

const COLUMNS: &str = "seq, id, at, virtual_key, environment, upstream_key, route, operation, \
     model, max_tokens, stream, source, reserved, intent_seq, closed_seq, closed_at, outcome, \
     certainty, cost, served_model, tokens_input, tokens_write_5m, tokens_write_1h, tokens_read, \
     tokens_output, status, upstream_request_id, stop_reason, attempts, first_byte_ms, duration_ms";

/// A call on record.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct CallRow {
    /// Its place in the order of intents, for paging.
    pub seq: u64,
    /// The call.
    pub id: CallId,
    /// When it was admitted.
    pub at: Timestamp,
    /// Who called.
    pub virtual_key: VirtualKeyId,
    /// In which environment.
    pub environment: EnvironmentName,
    /// The upstream key it left with; `None` for the mock.
    pub upstream_key: Option<UpstreamKeyId>,
    /// Which route.
    pub route: Route,
    /// What it was for.
    pub operation: Option<String>,
    /// The model asked for.
    pub model: String,
    /// `max_tokens` of the request.
    pub max_tokens: u64,
    /// Whether the answer was a stream.
    pub stream: bool,
    /// Where the client was.
    pub source: Source,
    /// Money set aside.
    pub reserved: Money,
    /// Its `call.intent` in the audit log.
    pub intent_seq: u64,
    /// How it ended; `None` while it is open.
    pub end: Option<CallEnd>,
}

/// How a call on record ended.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct CallEnd {
    /// The record that closed it in the audit log.
    pub seq: u64,
    /// When.
    pub at: Timestamp,
    /// How; `None` when nobody saw it.
    pub outcome: Option<Outcome>,
    /// How sure the cost is.
    pub certainty: Certainty,
    /// What is charged.
    pub cost: Money,
    /// The model that served it.
    pub served_model: Option<String>,
    /// Summed tokens over everything billed.
    pub tokens: Tokens,
    /// The status given to the client.
    pub status: Option<u16>,
    /// Upstream's `request-id`.
    pub upstream_request_id: Option<String>,
    /// `stop_reason` of the answer.
    pub stop_reason: Option<String>,
    /// Times the call was sent upstream.
    pub attempts: Option<u32>,
    /// From admission to the first byte of the answer, milliseconds.
    pub first_byte_ms: Option<u64>,
    /// From admission to the end, milliseconds.
    pub duration_ms: Option<u64>,
}

/// In which order calls are listed.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub enum CallOrder {
    /// The last admitted first; [`CallFilter::after`] goes on with earlier ones.
    #[default]
    NewestFirst,
    /// The first admitted first; [`CallFilter::after`] goes on with later ones.
    OldestFirst,
    /// In the order of closing, open calls left out; [`CallFilter::after`] is a closing record.
    Closing,
    /// The dearest first. [`CallFilter::after`] does not apply.
    DearestFirst,
}

/// Which calls to list. Everything that is set must hold.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct CallFilter {
    /// Admitted not before.
    pub since: Option<Timestamp>,
    /// Admitted before.
    pub until: Option<Timestamp>,
    /// Of this virtual key.
    pub virtual_key: Option<VirtualKeyId>,
    /// That left with this upstream key.
    pub upstream_key: Option<UpstreamKeyId>,
    /// In this environment.
    pub environment: Option<EnvironmentName>,
    /// Asked for or served by this model.
    pub model: Option<String>,
    /// For this operation.
    pub operation: Option<String>,
    /// Ended like this.
    pub outcome: Option<Outcome>,
    /// With a cost as sure as this.
    pub certainty: Option<Certainty>,
    /// Still open (true) or closed (false).
    pub open: Option<bool>,
    /// Charged at least this.
    pub cost_min: Option<Money>,
    /// In which order.
    pub order: CallOrder,
    /// After this [`CallRow::seq`] ([`CallEnd::seq`] in the order of closing).
    pub after: Option<u64>,
    /// How many at the most; `None` for all.
    pub limit: Option<usize>,
}

/// What a set of calls comes to.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug, Serialize)]
pub struct CallSum {
    /// How many.
    pub calls: u64,
    /// Charged for them, closed ones only.
    pub cost: Money,
    /// Their tokens.
    pub tokens: Tokens,
}

impl Store {
    /// One call.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn call(&self, id: CallId) -> Result<Option<CallRow>, StoreFault> {
        self.read(|connection| {
            let sql = format!("SELECT {COLUMNS} FROM calls WHERE id = ?1");
            let mut query = connection.prepare_cached(&sql)?;
            Ok(query.query_row([id.to_bytes()], call).optional()?)
        })
    }

    /// The accounts that a call is charged to; none when there is no such call.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn call_accounts(&self, id: CallId) -> Result<Vec<AccountId>, StoreFault> {
        self.read(|connection| {
            let set: Option<i64> = connection
                .prepare_cached("SELECT account_set FROM calls WHERE id = ?1")?
                .query_row([id.to_bytes()], |row| row.get(0))
                .optional()?;
            set.map_or(Ok(Vec::new()), |set| balances::accounts_of(connection, set))
        })
    }

    /// The calls that match.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn calls(&self, filter: &CallFilter) -> Result<Vec<CallRow>, StoreFault> {
        let mut calls = Vec::new();
        self.calls_each(filter, |call| {
            calls.push(call);
            ControlFlow::Continue(())
        })?;
        Ok(calls)
    }

    /// Hands the calls that match to `each` until it breaks off. Memory does not grow with them.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn calls_each(
        &self,
        filter: &CallFilter,
        mut each: impl FnMut(CallRow) -> ControlFlow<()>,
    ) -> Result<(), StoreFault> {
        self.read(|connection| {
            let (mut sql, mut values) = (format!("SELECT {COLUMNS} FROM calls"), Vec::new());
            filter.write_where(&mut sql, &mut values)?;
            filter.write_order(&mut sql, &mut values);
            let mut query = connection.prepare(&sql)?;
            let mut rows = query.query(params_from_iter(values))?;
            while let Some(row) = rows.next()? {
                if each(call(row)?).is_break() {
                    break;
                }
            }
            Ok(())
        })
    }

    /// What the calls that match come to; order, `after` and `limit` do not apply.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn call_sum(&self, filter: &CallFilter) -> Result<CallSum, StoreFault> {
        let filter = CallFilter { after: None, ..filter.clone() };
        self.read(|connection| {
            let (mut sql, mut values) = (format!("SELECT {SUMS} FROM calls"), Vec::new());
            filter.write_where(&mut sql, &mut values)?;
            sum(connection, &sql, values)
        })
    }
}

/// Sums over calls or rollups. A cost is summed in two halves, because SQLite's sums end at 64
/// bits.
const SUMS: &str = "count(*), ifnull(sum(cost / 1000000), 0), \
     ifnull(sum(cost % 1000000), 0), ifnull(sum(tokens_input), 0), \
     ifnull(sum(tokens_write_5m), 0), ifnull(sum(tokens_write_1h), 0), \
     ifnull(sum(tokens_read), 0), ifnull(sum(tokens_output), 0)";

fn sum(connection: &Connection, sql: &str, values: Vec<Value>) -> Result<CallSum, StoreFault> {
    Ok(connection.query_row(sql, params_from_iter(values), |row| read_sum(row, 0))?)
}

/// Reads what [`SUMS`] selects, from column `first` on.
fn read_sum(row: &Row<'_>, first: usize) -> rusqlite::Result<CallSum> {
    let (high, low): (i64, i64) = (row.get(first + 1)?, row.get(first + 2)?);
    Ok(CallSum {
        calls: row.get(first)?,
        cost: Money::from_pico(i128::from(high) * 1_000_000 + i128::from(low)),
        tokens: tokens(row, first + 3)?,
    })
}

impl CallFilter {
    fn write_where(&self, sql: &mut String, values: &mut Vec<Value>) -> Result<(), StoreFault> {
        let mut joint = " WHERE ";
        // The question mark of a condition is given its number.
        let mut add = |condition: &str, value: Option<Value>| {
            sql.push_str(joint);
            joint = " AND ";
            values.extend(value);
            sql.push_str(&condition.replace('?', &format!("?{}", values.len())));
        };
        let text = |text: &str| Some(Value::Text(text.to_owned()));
        if let Some(since) = self.since {
            add("at >= ?", Some(Value::Integer(since.ms())));
        }
        if let Some(until) = self.until {
            add("at < ?", Some(Value::Integer(until.ms())));
        }
        if let Some(key) = &self.virtual_key {
            add("virtual_key = ?", text(key.as_str()));
        }
        if let Some(key) = &self.upstream_key {
            add("upstream_key = ?", text(key.as_str()));
        }
        if let Some(environment) = &self.environment {
            add("environment = ?", text(environment.as_str()));
        }
        if let Some(model) = &self.model {
            add("ifnull(served_model, model) = ?", text(model));
        }
        if let Some(operation) = &self.operation {
            add("operation = ?", text(operation));
        }
        if let Some(outcome) = self.outcome {
            add("outcome = ?", text(word(outcome)));
        }
        match self.certainty {
            // As a literal, so that the index of such calls applies.
            Some(Certainty::Unsettled) => add("certainty = 'unsettled'", None),
            Some(certainty) => add("certainty = ?", text(word(certainty))),
            None => {}
        }
        match self.open {
            Some(true) => add("closed_seq IS NULL", None),
            Some(false) => add("closed_seq IS NOT NULL", None),
            None => {}
        }
        if let Some(cost) = self.cost_min {
            let pico = i64::try_from(cost.pico())
                .map_err(|_| StoreFault::OutOfRange(format!("a cost of {cost}")))?;
            add("cost >= ?", Some(Value::Integer(pico)));
        }
        if self.order == CallOrder::Closing {
            add("closed_seq IS NOT NULL", None);
        }
        if let Some(after) = self.after {
            let after = Some(Value::Integer(count_column(after)));
            match self.order {
                CallOrder::NewestFirst => {
                    add("(at, seq) < (SELECT at, seq FROM calls WHERE seq = ?)", after);
                }
                CallOrder::OldestFirst => {
                    add("(at, seq) > (SELECT at, seq FROM calls WHERE seq = ?)", after);
                }
                CallOrder::Closing => add("closed_seq > ?", after),
                CallOrder::DearestFirst => {}
            }
        }
        Ok(())
    }

    fn write_order(&self, sql: &mut String, values: &mut Vec<Value>) {
        sql.push_str(match self.order {
            CallOrder::NewestFirst => " ORDER BY at DESC, seq DESC",
            CallOrder::OldestFirst => " ORDER BY at, seq",
            CallOrder::Closing => " ORDER BY closed_seq",
            CallOrder::DearestFirst => " ORDER BY cost DESC, seq",
        });
        if let Some(limit) = self.limit {
            values.push(Value::Integer(count_column(limit as u64)));
            let _ = write!(sql, " LIMIT ?{}", values.len());
        }
    }
}

fn call(row: &Row<'_>) -> rusqlite::Result<CallRow> {
    Ok(CallRow {
        seq: row.get(0)?,
        id: CallId::from_bytes(row.get(1)?),
        at: Timestamp::from_ms(row.get(2)?),
        virtual_key: VirtualKeyId::new(row.get::<_, String>(3)?),
        environment: EnvironmentName::new(row.get::<_, String>(4)?),
        upstream_key: row.get::<_, Option<String>>(5)?.map(UpstreamKeyId::new),
        route: read_word(row, 6)?,
        operation: row.get(7)?,
        model: row.get(8)?,
        max_tokens: row.get(9)?,
        stream: row.get(10)?,
        source: row.get_ref(11)?.as_str()?.parse().map_err(|_| unreadable(row, 11))?,
        reserved: money(row, 12)?,
        intent_seq: row.get(13)?,
        end: row.get::<_, Option<u64>>(14)?.map(|seq| call_end(row, seq)).transpose()?,
    })
}

fn call_end(row: &Row<'_>, seq: u64) -> rusqlite::Result<CallEnd> {
    Ok(CallEnd {
        seq,
        at: Timestamp::from_ms(row.get(15)?),
        outcome: read_word_or_null(row, 16)?,
        certainty: read_word(row, 17)?,
        cost: money(row, 18)?,
        served_model: row.get(19)?,
        tokens: tokens(row, 20)?,
        status: row.get(25)?,
        upstream_request_id: row.get(26)?,
        stop_reason: row.get(27)?,
        attempts: row.get(28)?,
        first_byte_ms: row.get(29)?,
        duration_ms: row.get(30)?,
    })
}

fn tokens(row: &Row<'_>, first: usize) -> rusqlite::Result<Tokens> {
    Ok(Tokens {
        input: row.get(first)?,
        cache_write_5m: row.get(first + 1)?,
        cache_write_1h: row.get(first + 2)?,
        cache_read: row.get(first + 3)?,
        output: row.get(first + 4)?,
    })
}

fn money(row: &Row<'_>, column: usize) -> rusqlite::Result<Money> {
    Ok(Money::from_pico(i128::from(row.get::<_, i64>(column)?)))
}

//! The rows of calls: gathered while a transaction is made, written many at a time.
//!
//! A statement for each row costs as much as the row. A call that ends in the transaction of its
//! intent gets its row once, with its end.

use std::fmt::Write as _;
use std::sync::{Arc, LazyLock};

use chamberlain_core::id::CallId;
use chamberlain_core::quick::QuickMap;
use chamberlain_core::record::{Intent, Settlement};
use rusqlite::{Connection, Statement, ToSql};

use super::state::OpenCall;
use crate::fault::StoreFault;
use crate::words::{count_column, money_column, word};

/// Rows that one statement writes.
const TOGETHER: usize = 16;

/// From so many ended calls on their rows are written before the end of the transaction.
const ENDED_MAX: usize = 16 * TOGETHER;

const COLUMNS: &str = "seq, id, at, virtual_key, environment, upstream_key, route, operation, \
     model, max_tokens, stream, source, reserved, account_set, intent_seq, closed_seq, closed_at, \
     outcome, certainty, cost, served_model, tokens_input, tokens_write_5m, tokens_write_1h, \
     tokens_read, tokens_output, status, upstream_request_id, stop_reason, attempts, \
     first_byte_ms, duration_ms";

/// How many [`COLUMNS`] are, and how many of them an intent fills.
const COUNT: usize = 32;
const OF_INTENT: usize = 15;

static INSERT: LazyLock<String> = LazyLock::new(|| insert(1));
static INSERT_MANY: LazyLock<String> = LazyLock::new(|| insert(TOGETHER));

const CLOSE: &str = "
    UPDATE calls SET closed_seq = ?2, closed_at = ?3, outcome = ?4, certainty = ?5, cost = ?6,
        served_model = ?7, tokens_input = ?8, tokens_write_5m = ?9, tokens_write_1h = ?10,
        tokens_read = ?11, tokens_output = ?12, status = ?13, upstream_request_id = ?14,
        stop_reason = ?15, attempts = ?16, first_byte_ms = ?17, duration_ms = ?18
    WHERE seq = ?1 AND closed_seq IS NULL";

/// An open call whose row is not written yet.
#[derive(Debug)]
struct Fresh {
    open: OpenCall,
    intent: Arc<Intent>,
    /// Its `call.intent` in the audit log.
    intent_seq: u64,
}

/// How a call ended: the record that closed it, and what it says.
type End = (u64, Arc<Settlement>);

/// Rows that are not written yet; none between two transactions.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    fresh: QuickMap<CallId, Fresh>,
    ended: Vec<(Fresh, End)>,
}

impl Rows {
    /// Adds the row of a call that begins.
    pub(crate) fn begin(&mut self, open: OpenCall, intent: Arc<Intent>, intent_seq: u64) {
        self.fresh.insert(intent.call, Fresh { open, intent, intent_seq });
    }

    /// Adds the end of a call, or writes it where the row is written already.
    pub(crate) fn end(
        &mut self,
        connection: &Connection,
        open: OpenCall,
        closed_seq: u64,
        settlement: Arc<Settlement>,
    ) -> Result<(), StoreFault> {
        let Some(fresh) = self.fresh.remove(&settlement.call) else {
            return close(connection, open.seq, closed_seq, &settlement);
        };
        self.ended.push((fresh, (closed_seq, settlement)));
        if self.ended.len() >= ENDED_MAX {
            let rows = self.ended.drain(..).map(|(fresh, end)| (fresh, Some(end)));
            return write(connection, rows.collect());
        }
        Ok(())
    }

    /// Whether a call that has ended is among them.
    pub(crate) fn has_ended(&self, call: CallId) -> bool {
        self.ended.iter().any(|(fresh, _)| fresh.intent.call == call)
    }

    /// Writes all of them into the open transaction.
    pub(crate) fn flush(&mut self, connection: &Connection) -> Result<(), StoreFault> {
        if self.fresh.is_empty() && self.ended.is_empty() {
            return Ok(());
        }
        let ended = self.ended.drain(..).map(|(fresh, end)| (fresh, Some(end)));
        let open = self.fresh.drain().map(|(_, fresh)| (fresh, None));
        write(connection, ended.chain(open).collect())
    }
}

/// The statement that writes so many rows.
fn insert(rows: usize) -> String {
    let mut sql = format!("INSERT INTO calls ({COLUMNS}) VALUES ");
    for row in 0..rows {
        let first = row * COUNT + 1;
        sql.push_str(if row > 0 { ", (" } else { "(" });
        for place in first..first + COUNT {
            let comma = if place > first { ", " } else { "" };
            // Writing into a text cannot fail.
            let _ = write!(sql, "{comma}?{place}");
        }
        sql.push(')');
    }
    sql
}

fn write(connection: &Connection, mut rows: Vec<(Fresh, Option<End>)>) -> Result<(), StoreFault> {
    rows.sort_unstable_by_key(|(fresh, _)| fresh.open.seq);
    let (many, rest) = rows.as_chunks::<TOGETHER>();
    if !many.is_empty() {
        let mut insert = connection.prepare_cached(&INSERT_MANY)?;
        for rows in many {
            for (place, (fresh, end)) in rows.iter().enumerate() {
                bind_row(&mut insert, place * COUNT + 1, fresh, end.as_ref())?;
            }
            insert.raw_execute()?;
        }
    }
    if !rest.is_empty() {
        let mut insert = connection.prepare_cached(&INSERT)?;
        for (fresh, end) in rest {
            bind_row(&mut insert, 1, fresh, end.as_ref())?;
            insert.raw_execute()?;
        }
    }
    Ok(())
}

fn bind_row(
    statement: &mut Statement<'_>,
    first: usize,
    fresh: &Fresh,
    end: Option<&End>,
) -> Result<(), StoreFault> {
    bind_intent(statement, first, fresh)?;
    let first = first + OF_INTENT;
    match end {
        Some((closed_seq, settlement)) => bind_end(statement, first, *closed_seq, settlement),
        None => bind_no_end(statement, first),
    }
}

/// Binds what an intent says, from the parameter `first` on.
fn bind_intent(
    statement: &mut Statement<'_>,
    first: usize,
    fresh: &Fresh,
) -> Result<(), StoreFault> {
    let Fresh { open, intent, intent_seq } = fresh;
    let source = intent.source.to_string();
    bind(
        statement,
        first,
        &[
            &open.seq,
            &intent.call.to_bytes(),
            &intent.at.ms(),
            &intent.virtual_key.as_str(),
            &intent.environment.as_str(),
            &intent.upstream_key.as_ref().map(|id| id.as_str()),
            &word(intent.route),
            &intent.operation,
            &intent.model,
            &count_column(intent.max_tokens),
            &intent.stream,
            &source,
            &open.reserved,
            &open.set,
            intent_seq,
        ],
    )
}

/// Binds what a settlement says, from the parameter `first` on.
fn bind_end(
    statement: &mut Statement<'_>,
    first: usize,
    closed_seq: u64,
    settlement: &Settlement,
) -> Result<(), StoreFault> {
    let tokens = &settlement.tokens;
    bind(
        statement,
        first,
        &[
            &closed_seq,
            &settlement.at.ms(),
            &word(settlement.outcome),
            &word(settlement.certainty),
            // No call costs nine million dollars; if one says so, balances and audit stay exact.
            &money_column("a cost", settlement.cost).unwrap_or(i64::MAX),
            &settlement.served_model,
            &count_column(tokens.input),
            &count_column(tokens.cache_write_5m),
            &count_column(tokens.cache_write_1h),
            &count_column(tokens.cache_read),
            &count_column(tokens.output),
            &settlement.status,
            &settlement.upstream_request_id,
            &settlement.stop_reason,
            &settlement.attempts,
            &settlement.first_byte_ms.map(count_column),
            &count_column(settlement.duration_ms),
        ],
    )
}

/// Binds that there is no end yet, from the parameter `first` on.
fn bind_no_end(statement: &mut Statement<'_>, first: usize) -> Result<(), StoreFault> {
    let (none, zero): (&dyn ToSql, &dyn ToSql) = (&None::<i64>, &0i64);
    bind(statement, first, &[none; 6])?;
    bind(statement, first + 6, &[zero; 5])?;
    bind(statement, first + 11, &[none; 6])
}

fn bind(
    statement: &mut Statement<'_>,
    first: usize,
    values: &[&dyn ToSql],
) -> Result<(), StoreFault> {
    for (place, value) in (first..).zip(values) {
        statement.raw_bind_parameter(place, value)?;
    }
    Ok(())
}

fn close(
    connection: &Connection,
    seq: i64,
    closed_seq: u64,
    settlement: &Settlement,
) -> Result<(), StoreFault> {
    let mut update = connection.prepare_cached(CLOSE)?;
    bind(&mut update, 1, &[&seq])?;
    bind_end(&mut update, 2, closed_seq, settlement)?;
    if update.raw_execute()? == 1 {
        return Ok(());
    }
    let problem = format!("{} is open in memory and not in the store", settlement.call);
    Err(StoreFault::Damaged(problem))
}

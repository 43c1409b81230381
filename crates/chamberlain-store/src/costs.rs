//! What calls have cost: exact sums over any span, by whatever people ask for.
//!
//! Whole hours come from the rollups; calls closed since the last roll-up and the parts of hours
//! at both ends come from the calls themselves.

use chamberlain_core::id::{EnvironmentName, VirtualKeyId};
use chamberlain_core::money::Money;
use chamberlain_core::time::Timestamp;
use chamberlain_core::usage::Tokens;
use rusqlite::types::Value;
use rusqlite::{Connection, Row, params_from_iter};

use crate::fault::StoreFault;
use crate::rollups::Marks;
use crate::store::Store;

const HOUR_MS: i64 = 3_600_000;

// The indexes are named because each arm has a small range on one of them and a large one on the
// other, which the planner cannot know.
/// Every closed call of the span `?1` to `?4`, summed up or single. `?5` is the mark of the
/// rollups; whole hours lie from `?2` to `?3`.
const SPAN: &str = "
    SELECT virtual_key, environment, model, operation, certainty, mock, calls, cost, tokens_input,
           tokens_write_5m, tokens_write_1h, tokens_read, tokens_output
    FROM rollups WHERE hour >= ?2 AND hour < ?3
    UNION ALL
    SELECT virtual_key, environment, ifnull(served_model, model), ifnull(operation, ''),
           certainty, upstream_key IS NULL, 1, cost, tokens_input, tokens_write_5m,
           tokens_write_1h, tokens_read, tokens_output
    FROM calls INDEXED BY calls_by_closing WHERE closed_seq >= ?5 AND at >= ?1 AND at < ?4
    UNION ALL
    SELECT virtual_key, environment, ifnull(served_model, model), ifnull(operation, ''),
           certainty, upstream_key IS NULL, 1, cost, tokens_input, tokens_write_5m,
           tokens_write_1h, tokens_read, tokens_output
    FROM calls INDEXED BY calls_by_time WHERE at >= ?1 AND at < min(?2, ?4) AND closed_seq < ?5
    UNION ALL
    SELECT virtual_key, environment, ifnull(served_model, model), ifnull(operation, ''),
           certainty, upstream_key IS NULL, 1, cost, tokens_input, tokens_write_5m,
           tokens_write_1h, tokens_read, tokens_output
    FROM calls INDEXED BY calls_by_time WHERE at >= max(?2, ?3) AND at < ?4 AND closed_seq < ?5";

/// Sums. A cost is summed in two halves, because SQLite's sums end at 64 bits.
const SUMS: &str = "
    ifnull(sum(calls) FILTER (WHERE NOT mock), 0),
    ifnull(sum(cost / 1000000) FILTER (WHERE NOT mock), 0),
    ifnull(sum(cost % 1000000) FILTER (WHERE NOT mock), 0),
    ifnull(sum(cost / 1000000) FILTER (WHERE NOT mock AND certainty = 'unsettled'), 0),
    ifnull(sum(cost % 1000000) FILTER (WHERE NOT mock AND certainty = 'unsettled'), 0),
    ifnull(sum(cost / 1000000) FILTER (WHERE NOT mock AND certainty = 'estimated'), 0),
    ifnull(sum(cost % 1000000) FILTER (WHERE NOT mock AND certainty = 'estimated'), 0),
    ifnull(sum(tokens_input) FILTER (WHERE NOT mock), 0),
    ifnull(sum(tokens_write_5m) FILTER (WHERE NOT mock), 0),
    ifnull(sum(tokens_write_1h) FILTER (WHERE NOT mock), 0),
    ifnull(sum(tokens_read) FILTER (WHERE NOT mock), 0),
    ifnull(sum(tokens_output) FILTER (WHERE NOT mock), 0),
    ifnull(sum(calls) FILTER (WHERE mock), 0),
    ifnull(sum(cost / 1000000) FILTER (WHERE mock), 0),
    ifnull(sum(cost % 1000000) FILTER (WHERE mock), 0)";

/// Of which calls to sum up the cost.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CostFilter {
    /// Admitted not before. Where calls are pruned already, the hour counts whole.
    pub since: Timestamp,
    /// Admitted before. Where calls are pruned already, the hour counts whole.
    pub until: Timestamp,
    /// Of this virtual key.
    pub virtual_key: Option<VirtualKeyId>,
    /// In this environment.
    pub environment: Option<EnvironmentName>,
    /// Served by this model.
    pub model: Option<String>,
    /// For this operation.
    pub operation: Option<String>,
}

impl CostFilter {
    /// All calls of a span.
    pub fn span(since: Timestamp, until: Timestamp) -> CostFilter {
        CostFilter {
            since,
            until,
            virtual_key: None,
            environment: None,
            model: None,
            operation: None,
        }
    }
}

/// By what to group costs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CostBy {
    /// By virtual key, by its id.
    VirtualKey,
    /// By environment.
    Environment,
    /// By served model.
    Model,
    /// By operation; empty for calls without one.
    Operation,
}

/// What calls have cost. What the mock answered costs nobody anything and is told apart.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct CostSum {
    /// Calls that ended, without those that the mock answered.
    pub calls: u64,
    /// Charged for them.
    pub cost: Money,
    /// Of it, for calls whose outcome is unknown.
    pub unsettled: Money,
    /// Of it, estimated.
    pub estimated: Money,
    /// Their tokens.
    pub tokens: Tokens,
    /// Calls that the mock answered.
    pub mock_calls: u64,
    /// What they would have cost: it was charged to budgets, and nobody bills it.
    pub mock_cost: Money,
}

impl Store {
    /// What the calls that match have cost.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn cost(&self, filter: &CostFilter) -> Result<CostSum, StoreFault> {
        self.read(|connection| {
            let (conditions, values) = filter.write(connection)?;
            let sql = format!("SELECT {SUMS} FROM ({SPAN}) {conditions}");
            let mut query = connection.prepare_cached(&sql)?;
            Ok(query.query_row(params_from_iter(values), |row| sum(row, 0))?)
        })
    }

    /// What the calls that match have cost, grouped, the dearest first.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn cost_by(
        &self,
        by: CostBy,
        filter: &CostFilter,
    ) -> Result<Vec<(String, CostSum)>, StoreFault> {
        let column = match by {
            CostBy::VirtualKey => "virtual_key",
            CostBy::Environment => "environment",
            CostBy::Model => "model",
            CostBy::Operation => "operation",
        };
        self.read(|connection| {
            let (conditions, values) = filter.write(connection)?;
            let sql =
                format!("SELECT {column}, {SUMS} FROM ({SPAN}) {conditions} GROUP BY {column}");
            let mut query = connection.prepare_cached(&sql)?;
            let rows =
                query.query_map(params_from_iter(values), |row| Ok((row.get(0)?, sum(row, 1)?)))?;
            let mut groups: Vec<(String, CostSum)> = rows.collect::<Result<_, _>>()?;
            groups.sort_by(|(name, sum), (other, more)| {
                let money = |sum: &CostSum| (sum.cost, sum.mock_cost);
                money(more).cmp(&money(sum)).then_with(|| name.cmp(other))
            });
            Ok(groups)
        })
    }
}

impl CostFilter {
    /// The conditions on [`SPAN`], and all values.
    fn write(&self, connection: &Connection) -> Result<(String, Vec<Value>), StoreFault> {
        let marks = Marks::read(connection)?;
        let (mut since, mut until) = (self.since.ms(), self.until.ms());
        if since < marks.pruned_to {
            since = floor(since);
        }
        if until < marks.pruned_to {
            until = ceil(until);
        }
        let span = [since, ceil(since), floor(until), until, marks.to];
        let mut values: Vec<Value> = span.into_iter().map(Value::Integer).collect();
        let columns = [
            ("virtual_key", self.virtual_key.as_ref().map(|id| id.as_str())),
            ("environment", self.environment.as_ref().map(|name| name.as_str())),
            ("model", self.model.as_deref()),
            ("operation", self.operation.as_deref()),
        ];
        let mut conditions = String::from("WHERE true");
        for (column, value) in columns {
            if let Some(value) = value {
                values.push(Value::Text(value.to_owned()));
                conditions.push_str(&format!(" AND {column} = ?{}", values.len()));
            }
        }
        Ok((conditions, values))
    }
}

/// The beginning of the hour.
fn floor(ms: i64) -> i64 {
    ms - ms.rem_euclid(HOUR_MS)
}

/// The beginning of the next hour, unless it is one already.
fn ceil(ms: i64) -> i64 {
    match ms.rem_euclid(HOUR_MS) {
        0 => ms,
        rest => (ms - rest).saturating_add(HOUR_MS),
    }
}

fn sum(row: &Row<'_>, first: usize) -> rusqlite::Result<CostSum> {
    let money = |column: usize| -> rusqlite::Result<Money> {
        let (high, low): (i64, i64) = (row.get(first + column)?, row.get(first + column + 1)?);
        Ok(Money::from_pico(i128::from(high) * 1_000_000 + i128::from(low)))
    };
    Ok(CostSum {
        calls: row.get(first)?,
        cost: money(1)?,
        unsettled: money(3)?,
        estimated: money(5)?,
        tokens: Tokens {
            input: row.get(first + 7)?,
            cache_write_5m: row.get(first + 8)?,
            cache_write_1h: row.get(first + 9)?,
            cache_read: row.get(first + 10)?,
            output: row.get(first + 11)?,
        },
        mock_calls: row.get(first + 12)?,
        mock_cost: money(13)?,
    })
}

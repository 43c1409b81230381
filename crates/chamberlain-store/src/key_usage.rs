//! What the calls of each upstream key have cost: from the days that are summed up, and from calls
//! that closed since.

use std::collections::HashMap;

use chamberlain_core::id::UpstreamKeyId;
use chamberlain_core::money::Money;

use crate::fault::StoreFault;
use crate::rollups::Marks;
use crate::store::Store;

/// A cost is summed in two halves, because SQLite's sums end at 64 bits.
const ALL: &str = "
    SELECT upstream_key, sum(calls), sum(cost / 1000000), sum(cost % 1000000) FROM (
        SELECT upstream_key, calls, cost FROM key_usage
        UNION ALL
        SELECT upstream_key, 1, cost FROM calls INDEXED BY calls_by_closing
        WHERE closed_seq >= ?1 AND upstream_key IS NOT NULL
    ) GROUP BY upstream_key";

/// What a key's calls have come to.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct KeyUsage {
    /// Calls that ended.
    pub calls: u64,
    /// Charged for them.
    pub cost: Money,
}

impl Store {
    /// What the calls of every upstream key have cost that ever had one, removed keys included.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn key_usage(&self) -> Result<HashMap<UpstreamKeyId, KeyUsage>, StoreFault> {
        self.read(|connection| {
            let mark = Marks::read(connection)?.to;
            let mut query = connection.prepare_cached(ALL)?;
            let rows = query.query_map([mark], |row| {
                let (high, low): (i64, i64) = (row.get(2)?, row.get(3)?);
                let cost = Money::from_pico(i128::from(high) * 1_000_000 + i128::from(low));
                let id = UpstreamKeyId::new(row.get::<_, String>(0)?);
                Ok((id, KeyUsage { calls: row.get(1)?, cost }))
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }
}

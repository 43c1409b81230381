//! Listing batches, with what is known of their cost.

use chamberlain_core::id::CallId;
use chamberlain_core::resource::Resource;
use serde::Deserialize;
use serde_json::Value;

use super::calls::limit;
use super::{Commander, from_store};
use crate::command::BatchesList;
use crate::error::CommandError;
use crate::house::House;
use crate::reply::{Batch, Batches};

const LIMIT_DEFAULT: u32 = 50;
const LIMIT_MAX: u32 = 1_000;

/// What upstream last said of a batch.
#[derive(Deserialize)]
struct Seen {
    processing_status: String,
}

impl Commander {
    pub(super) fn batches_list(&self, asked: &BatchesList) -> Result<Batches, CommandError> {
        let house = self.house()?;
        let limit = limit(asked.limit, LIMIT_DEFAULT, LIMIT_MAX)?;
        let found = self.store.batches(asked.open, limit).map_err(from_store)?;
        let batches = found.into_iter().map(|batch| self.batch(batch, &house));
        Ok(Batches { batches: batches.collect::<Result<_, _>>()? })
    }

    fn batch(&self, batch: Resource, house: &House) -> Result<Batch, CommandError> {
        let text = |name: &str| batch.about.get(name).and_then(Value::as_str);
        let call = text("call").unwrap_or_default().to_owned();
        // The ledger has the last word on what is charged: a person may have written it off.
        let row = match CallId::parse(&call) {
            Some(id) => self.store.call(id).map_err(from_store)?,
            None => None,
        };
        let seen = text("seen").and_then(|seen| serde_json::from_str::<Seen>(seen).ok());
        let reserved = batch.about.get("reserved").cloned();
        Ok(Batch {
            at: batch.created.into(),
            virtual_key_name: house.virtual_key(&batch.virtual_key).map(|key| key.name.clone()),
            virtual_key: batch.virtual_key.to_string(),
            environment: batch.environment.to_string(),
            state: text("state").unwrap_or("unknown").to_owned(),
            processing_status: seen.map(|seen| seen.processing_status),
            items: batch.about.get("items").and_then(Value::as_u64).unwrap_or(0),
            reserved: reserved.and_then(|money| serde_json::from_value(money).ok()),
            cost: row.and_then(|row| row.end).map(|end| end.cost),
            problem: text("problem").map(str::to_owned),
            id: batch.id.to_string(),
            call,
        })
    }
}

//! Listing calls, and giving an unsettled one its true cost.

use chamberlain_core::audit::record::Principal;
use chamberlain_core::id::{CallId, EnvironmentName};
use chamberlain_core::record::{Certainty, Outcome};
use chamberlain_store::{CallFilter, CallOrder, CallRow, Change};
use serde::de::DeserializeOwned;

use super::{Commander, from_store};
use crate::command::{CallsList, WriteOff};
use crate::error::CommandError;
use crate::house::House;
use crate::reply::{Call, Calls, WrittenOff};
use crate::settings::Settings;
use crate::{scope, virtual_key, when};

const LIMIT_DEFAULT: u32 = 50;
const LIMIT_MAX: u32 = 1_000;

impl Commander {
    pub(super) fn calls_list(&self, asked: &CallsList) -> Result<Calls, CommandError> {
        let house = self.house()?;
        let limit = limit(asked.limit, LIMIT_DEFAULT, LIMIT_MAX)?;
        // One more than asked tells whether there are more.
        let filter = CallFilter { limit: Some(limit + 1), ..self.call_filter(asked, &house)? };
        let mut rows = self.store.calls(&filter).map_err(from_store)?;
        let has_more = rows.len() > limit;
        rows.truncate(limit);
        let calls = rows.into_iter().map(|row| call(row, &house)).collect();
        Ok(Calls { calls, has_more })
    }

    fn call_filter(&self, asked: &CallsList, house: &House) -> Result<CallFilter, CommandError> {
        let (ruling, now) = (self.settings.read().clone(), self.now());
        let moment = |text: &Option<String>| {
            text.as_deref().map(|text| when::behind(text, now, &ruling.calendar)).transpose()
        };
        let key = asked.virtual_key.as_deref();
        let key = key.map(|text| scope::virtual_key(text, house)).transpose()?;
        let (outcome, open) = match asked.outcome.as_deref() {
            None => (None, None),
            Some("in_flight") => (None, Some(true)),
            Some(text) => (Some(word::<Outcome>("outcome", text)?), None),
        };
        let certainty = asked.certainty.as_deref();
        let certainty = certainty.map(|text| word::<Certainty>("certainty", text)).transpose()?;
        self.names_something(asked, &ruling.settings)?;
        let (order, after) = match (&asked.after, &asked.before) {
            (None, None) => (CallOrder::NewestFirst, None),
            (Some(after), None) => (CallOrder::OldestFirst, Some(self.call_seq(after)?)),
            (None, Some(before)) => (CallOrder::NewestFirst, Some(self.call_seq(before)?)),
            (Some(_), Some(_)) => {
                return Err(CommandError::usage("`after` and `before` exclude each other"));
            }
        };
        Ok(CallFilter {
            since: moment(&asked.since)?,
            until: moment(&asked.until)?,
            virtual_key: key.map(|key| key.id.clone()),
            environment: asked.environment.as_deref().map(EnvironmentName::new),
            model: asked.model.clone(),
            operation: asked.operation.clone(),
            outcome,
            certainty,
            open,
            order,
            after,
            ..CallFilter::default()
        })
    }

    /// Refuses an environment or a model that is not known now and that no call on record has: a
    /// mistyped one would look like one without calls.
    fn names_something(&self, asked: &CallsList, settings: &Settings) -> Result<(), CommandError> {
        let is_on_record = |filter: CallFilter| {
            let found = self.store.calls(&CallFilter { limit: Some(1), ..filter });
            found.map(|calls| !calls.is_empty()).map_err(from_store)
        };
        if let Some(name) = &asked.environment {
            let environment = Some(EnvironmentName::new(name.as_str()));
            if settings.environment(name).is_none()
                && !is_on_record(CallFilter { environment, ..CallFilter::default() })?
            {
                scope::environment(name, settings)?;
            }
        }
        if let Some(model) = &asked.model
            && settings.prices.model(model).is_none()
            && !is_on_record(CallFilter { model: Some(model.clone()), ..CallFilter::default() })?
        {
            let problem = format!("there is no model {model:?}, and no call on record has it");
            return Err(CommandError::not_found(problem)
                .hint("chamberlain prices lists the models that are known"));
        }
        Ok(())
    }

    /// The place of a call in the order of intents.
    fn call_seq(&self, text: &str) -> Result<u64, CommandError> {
        Ok(self.call_row(text)?.seq)
    }

    /// The call of that id.
    pub(super) fn call_row(&self, text: &str) -> Result<CallRow, CommandError> {
        let id = CallId::parse(text)
            .ok_or_else(|| CommandError::usage(format!("{text:?} is not the id of a call")))?;
        let row = self.store.call(id).map_err(from_store)?;
        row.ok_or_else(|| {
            CommandError::not_found(format!("there is no call {text}"))
                .hint("chamberlain calls lists them; old ones are pruned")
        })
    }
}

impl Commander {
    pub(super) fn write_off(
        &self,
        actor: &Principal,
        asked: WriteOff,
    ) -> Result<WrittenOff, CommandError> {
        let reason = virtual_key::reason(&asked.reason)?;
        let row = self.call_row(&asked.call)?;
        if asked.cost.is_negative() || asked.cost > row.reserved {
            return Err(CommandError::usage(format!(
                "a cost of {} is not within nothing and what was set aside ({})",
                asked.cost, row.reserved
            )));
        }
        let (call, now) = (row.id, asked.cost);
        let work = move |change: &mut Change<'_>| change.write_off(call, now, &reason);
        let done = self.store.change(actor.clone(), work).map_err(from_store)?;
        let chamberlain_store::WrittenOff { was, let_go } = done;
        if let Some(live) = self.live.get() {
            let accounts = self.store.call_accounts(call).map_err(from_store)?;
            live.written_off(&accounts, let_go, now);
        }
        let kept = was.saturating_sub(let_go);
        Ok(WrittenOff { call: call.to_string(), was, now, kept })
    }
}

/// How many lines to give.
pub(super) fn limit(asked: Option<u32>, default: u32, max: u32) -> Result<usize, CommandError> {
    match asked.unwrap_or(default) {
        limit if (1..=max).contains(&limit) => Ok(limit as usize),
        limit => Err(CommandError::usage(format!("a limit of {limit} is not within 1 to {max}"))),
    }
}

/// One of a closed list of words.
fn word<T: DeserializeOwned>(what: &str, text: &str) -> Result<T, CommandError> {
    serde_json::from_value(text.into()).map_err(|error| {
        let known = error.to_string();
        let known = known.split_once("expected ").map_or("", |(_, known)| known);
        CommandError::usage(format!("{text:?} is not an {what}")).hint(format!("write {known}"))
    })
}

fn call(row: CallRow, house: &House) -> Call {
    let name = house.virtual_key(&row.virtual_key).map(|key| key.name.clone());
    let end = row.end;
    let ended = |part: fn(&chamberlain_store::CallEnd) -> Option<u64>| end.as_ref().and_then(part);
    Call {
        id: row.id.to_string(),
        at: row.at.into(),
        ended_at: end.as_ref().map(|end| end.at.into()),
        virtual_key: row.virtual_key.to_string(),
        virtual_key_name: name,
        environment: row.environment.to_string(),
        route: row.route,
        operation: row.operation,
        model: row.model,
        stream: row.stream,
        outcome: end.as_ref().and_then(|end| end.outcome),
        certainty: end.as_ref().map(|end| end.certainty),
        status: end.as_ref().and_then(|end| end.status),
        tokens: end.as_ref().map(|end| end.tokens).unwrap_or_default(),
        reserved: row.reserved,
        cost: end.as_ref().map(|end| end.cost),
        attempts: end.as_ref().and_then(|end| end.attempts),
        first_byte_ms: ended(|end| end.first_byte_ms),
        duration_ms: ended(|end| end.duration_ms),
        source: row.source.to_string(),
        mock: row.upstream_key.is_none(),
        upstream_key: row.upstream_key.map(|id| id.to_string()),
        served_model: end.as_ref().and_then(|end| end.served_model.clone()),
        stop_reason: end.as_ref().and_then(|end| end.stop_reason.clone()),
        upstream_request_id: end.and_then(|end| end.upstream_request_id),
    }
}

//! The items of a batch: taken in, and answered when they are due.

use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

use http::HeaderMap;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::ITEMS_MAX;
use crate::compose::compose;
use crate::containers::furnish;
use crate::credential::Presented;
use crate::error::ApiError;
use crate::journal::{Bill, Later};
use crate::json::text;
use crate::mock::State;
use crate::request::{Version, read_directives};
use crate::scenario::Scenario;
use crate::{prompt, validate};

/// One item.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) custom_id: String,
    params: Value,
    scenario: Result<Scenario, String>,
    /// After so long it is answered; `None` for one that hangs until its batch expires.
    pub(super) due_ms: Option<u64>,
    pub(super) result: Option<Value>,
}

/// Takes in the items of a body. Only their frame is looked at; the real API, too, looks at
/// `params` later.
pub(super) fn items(
    body: &Value,
    delay: Duration,
    headers: &HeaderMap,
) -> Result<Vec<Item>, ApiError> {
    let Some(requests) = body.get("requests").and_then(Value::as_array) else {
        return Err(ApiError::invalid("requests: Field required"));
    };
    if requests.is_empty() || requests.len() > ITEMS_MAX {
        let range = format!("requests: List should have 1 to {ITEMS_MAX} items");
        return Err(ApiError::invalid(range));
    }
    if let Some(extra) = body.as_object().and_then(|body| body.keys().find(|k| *k != "requests")) {
        return Err(ApiError::invalid(format!("{extra}: Extra inputs are not permitted")));
    }
    let presented = Presented::new(headers);
    let mut seen = HashSet::new();
    let take = |(at, request): (usize, &Value)| {
        let custom_id = text(request, "custom_id").unwrap_or_default();
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        if custom_id.is_empty() || custom_id.len() > 64 || !custom_id.bytes().all(plain) {
            return Err(ApiError::invalid(format!(
                "requests.{at}.custom_id: String should match pattern '^[a-zA-Z0-9_-]{{1,64}}$'"
            )));
        }
        if !seen.insert(custom_id.to_owned()) {
            return Err(ApiError::invalid(format!(
                "requests.{at}.custom_id: custom_id must be unique; {custom_id:?} is not"
            )));
        }
        let Some(params) = request.get("params").filter(|params| params.is_object()) else {
            return Err(ApiError::invalid(format!("requests.{at}.params: Field required")));
        };
        let mut scenario = Scenario::default();
        let read = read_directives(params, &mut scenario, |text| presented.scrub(text));
        let after = u64::try_from((delay + scenario.slow_headers).as_millis()).unwrap_or(u64::MAX);
        let due_ms = scenario.silence.is_none().then_some(after);
        let scenario = read.map(|()| scenario);
        let (custom_id, params) = (custom_id.to_owned(), params.clone());
        Ok(Item { custom_id, params, scenario, due_ms, result: None })
    };
    requests.iter().enumerate().map(take).collect()
}

impl Item {
    /// How it ended.
    pub(super) fn kind(&self) -> Option<&str> {
        text(self.result.as_ref()?, "type")
    }

    /// Answers it, and writes down what it is billed.
    pub(super) fn answer(
        &mut self,
        state: &State,
        version: Version,
        betas: &BTreeSet<String>,
        later: &Later,
    ) {
        let ids = state.ids.unique();
        self.result = Some(match self.message(state, version, betas) {
            Ok((message, bill)) => {
                if let Some(bill) = bill {
                    later.note(|entry| entry.batch_billed.push(bill));
                }
                json!({ "type": "succeeded", "message": message })
            }
            Err(error) => {
                let body: Value =
                    serde_json::from_slice(&error.body(&ids.id("req_", 0))).unwrap_or_default();
                json!({ "type": "errored", "error": body })
            }
        });
    }

    fn message(
        &self,
        state: &State,
        version: Version,
        betas: &BTreeSet<String>,
    ) -> Result<(Value, Option<Bill>), ApiError> {
        let mut scenario = self.scenario.clone().map_err(ApiError::invalid)?;
        for (field, forbidden) in [
            ("stream", self.params.get("stream") == Some(&json!(true))),
            ("speed", self.params.get("speed") == Some(&json!("fast"))),
            ("max_tokens", self.params.get("max_tokens") == Some(&json!(0))),
            ("fallbacks", self.params.get("fallbacks").is_some_and(|value| !value.is_null())),
            ("thread", self.params.get("thread").is_some_and(|value| !value.is_null())),
        ] {
            if forbidden {
                return Err(ApiError::invalid(format!("{field}: not supported in batches")));
            }
        }
        let strict_fields = state.config.strict_fields;
        let context = validate::Context { version, betas, strict_fields };
        let request = validate::message(self.params.clone(), &context)?;
        let container = state.containers.named(&request.body)?;
        let measured = prompt::measure(request.model.id, &request.body);
        state.scenarios.apply(&mut scenario);
        if let Some(failure) = &scenario.failure {
            return Err(failure.clone());
        }
        scenario.tier.get_or_insert_with(|| "batch".to_owned());
        let honoured = state.config.honour_cache_minimum;
        let least = if honoured { request.model.least_cacheable } else { 0 };
        let counts = state.cache.charge(&measured, least, Instant::now());
        let mut composed = compose(&request, &scenario, counts, betas, &state.ids.unique());
        furnish(state, &mut composed.reply, container);
        let message = serde_json::to_value(composed.reply.whole()).unwrap_or_default();
        Ok((message, composed.whole))
    }
}

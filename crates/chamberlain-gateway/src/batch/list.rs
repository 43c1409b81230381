//! `GET /v1/messages/batches`: one's own batches, from our own record, as the collector or the
//! client saw each last. Upstream is not asked: its list is the whole workspace's.

use std::sync::Arc;

use bytes::Bytes;
use chamberlain_core::admission::refusal::Refusal;
use chamberlain_core::anthropic::meter::Metered;
use chamberlain_core::anthropic::request::MalformedRequest;
use chamberlain_core::batch::rewritten;
use chamberlain_core::resource::{
    PageFrom, Resource, ResourceId, ResourceKind, ResourceList, ResourcePage,
};
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response};
use serde::Serialize;
use serde_json::value::RawValue;

use super::link::results_url;
use super::object::SEEN;
use crate::decide::Decided;
use crate::ending::{End, Seen};
use crate::forward::Recorded;
use crate::gateway::Inner;
use crate::headers::{CALL, REQUEST_ID, call_value};
use crate::refuse::{Stop, own_request_id};
use crate::stream::AnswerBody;

const LIMIT_PRESET: usize = 20;
const LIMIT_MAX: usize = 1_000;

#[derive(Serialize)]
struct List<'a> {
    data: Vec<Box<RawValue>>,
    has_more: bool,
    first_id: Option<&'a ResourceId>,
    last_id: Option<&'a ResourceId>,
}

impl Inner {
    /// Answers with a page of the caller's own batches.
    pub(super) async fn list_batches(
        self: Arc<Self>,
        recorded: Recorded,
    ) -> Result<Response<AnswerBody>, Stop> {
        let Recorded { decided, permit, own_limit } = recorded;
        let list = match self.listed_batches(&decided).await {
            Ok(list) => list,
            Err(stop) => {
                permit.settle(End::new(Seen::NotSent, stop.answer().status));
                return Err(stop);
            }
        };
        let mut response = Response::new(AnswerBody::whole(Bytes::from(body(&list, &decided))));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let call = decided.call.id;
        if let Ok(request_id) = HeaderValue::try_from(own_request_id(call)) {
            headers.insert(REQUEST_ID, request_id);
        }
        headers.extend(own_limit);
        headers.insert(CALL, call_value(call));
        let seen = Seen::Answered { metered: Box::new(Metered::default()), whole: true };
        permit.settle(End::new(seen, 200));
        Ok(response)
    }

    async fn listed_batches(&self, decided: &Decided) -> Result<ResourceList, Stop> {
        let (from, count) = wanted(decided.head.uri.query().unwrap_or_default())?;
        let virtual_key = decided.call.key.id.clone();
        let (kind, now) = (ResourceKind::Batch, self.now());
        let page = ResourcePage { virtual_key, kind, now, from, count };
        let listed = self.journal.resources_of(page).await.map_err(|fault| {
            tracing::error!(call = %decided.call.id, error = %fault, "a list of batches could not be read");
            Refusal::NotOnRecord
        })?;
        let stale = "there is no such batch of this virtual key; start again from the first page";
        Ok(listed.ok_or_else(|| wrong("after_id, before_id", stale))?)
    }
}

fn body(list: &ResourceList, decided: &Decided) -> Vec<u8> {
    let (first, last) = (list.resources.first(), list.resources.last());
    let written = serde_json::to_vec(&List {
        data: list.resources.iter().filter_map(|batch| object(batch, decided)).collect(),
        has_more: list.has_more,
        first_id: first.map(|batch| &batch.id),
        last_id: last.map(|batch| &batch.id),
    });
    written.expect("texts and JSON that was read before always serialize")
}

/// The batch as it was seen last.
fn object(batch: &Resource, decided: &Decided) -> Option<Box<RawValue>> {
    let seen = batch.about.get(SEEN)?.as_str()?;
    let url = results_url(&decided.call, &decided.head, batch.id.as_str());
    let here = String::from_utf8(rewritten(seen.as_bytes(), &url).ok()?).ok()?;
    RawValue::from_string(here).ok()
}

fn wrong(field: &str, reason: &str) -> Refusal {
    Refusal::Malformed(MalformedRequest::Field {
        field: field.to_owned(),
        reason: reason.to_owned(),
    })
}

/// Reads the query. A parameter that is not known is refused: whoever filters by it would take the
/// answer for filtered.
fn wanted(query: &str) -> Result<(PageFrom, usize), Refusal> {
    let (mut limit, mut from) = (None, None);
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        // Nothing that is encoded could be an id or a number.
        let id = |text| {
            ResourceId::parse(text).ok_or_else(|| wrong(name, "it is not the id of a batch"))
        };
        let place = match name {
            "beta" => continue,
            "limit" => {
                let number = value.parse().ok().filter(|n| (1..=LIMIT_MAX).contains(n));
                let number = number.ok_or_else(|| wrong("limit", "send 1 to 1000"))?;
                if limit.replace(number).is_some() {
                    return Err(wrong("limit", "send it once"));
                }
                continue;
            }
            "after_id" => PageFrom::After(id(value)?),
            "before_id" => PageFrom::Before(id(value)?),
            _ => {
                let reason = "this parameter is not known; send after_id or before_id, and limit";
                return Err(wrong(name, reason));
            }
        };
        if from.replace(place).is_some() {
            return Err(wrong(name, "after_id and before_id exclude each other"));
        }
    }
    Ok((from.unwrap_or(PageFrom::Newest), limit.unwrap_or(LIMIT_PRESET)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_read_and_what_is_not_known_is_refused() {
        let id = |text| ResourceId::parse(text).unwrap();
        assert_eq!(wanted(""), Ok((PageFrom::Newest, 20)));
        assert_eq!(wanted("beta=true&limit=1000"), Ok((PageFrom::Newest, 1_000)));
        assert_eq!(wanted("after_id=b_1&limit=2"), Ok((PageFrom::After(id("b_1")), 2)));
        assert_eq!(wanted("before_id=b_1"), Ok((PageFrom::Before(id("b_1")), 20)));
        for query in [
            "limit=0",
            "limit=1001",
            "limit=1&limit=2",
            "after_id=",
            "after_id=a&before_id=b",
            "status=ended",
        ] {
            assert!(wanted(query).is_err(), "{query}");
        }
    }
}

//! `GET /v1/messages/batches`: one's own batches, from our own record, as the collector or the
//! client saw each last. Upstream is not asked: its list is the whole workspace's.

use std::sync::Arc;

use chamberlain_core::admission::refusal::Refusal;
use chamberlain_core::batch::rewritten;
use chamberlain_core::resource::{PageFrom, Resource, ResourceId, ResourceKind, ResourceList};
use http::Response;
use serde::Serialize;
use serde_json::value::RawValue;

use super::link::results_url;
use super::object::SEEN;
use crate::decide::Decided;
use crate::forward::Recorded;
use crate::gateway::Inner;
use crate::listed::{Paging, answer_with, parameters, wrong};
use crate::refuse::Stop;
use crate::stream::AnswerBody;

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
        let list = self.listed_batches(&recorded.decided).await;
        answer_with(recorded, list)
    }

    async fn listed_batches(&self, decided: &Decided) -> Result<Vec<u8>, Refusal> {
        let wanted = wanted(decided.head.uri.query().unwrap_or_default())?;
        let list = self.page(&decided.call, ResourceKind::Batch, wanted).await?;
        Ok(body(&list, decided))
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

/// Reads the query.
fn wanted(query: &str) -> Result<(PageFrom, usize), Refusal> {
    let mut paging = Paging::default();
    for (name, value) in parameters(query) {
        if !paging.take(name, value)? {
            let reason = "this parameter is not known; send after_id or before_id, and limit";
            return Err(wrong(name, reason));
        }
    }
    Ok(paging.page())
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

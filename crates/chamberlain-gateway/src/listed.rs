//! Listed: look-ups and lists of what virtual keys own, from our own record. Upstream is not asked:
//! its lists are the whole workspace's.
//!
//! A list's parameter that is not known is refused: whoever filters by it would take the answer for
//! filtered.

use bytes::Bytes;
use chamberlain_core::admission::refusal::Refusal;
use chamberlain_core::anthropic::request::MalformedRequest;
use chamberlain_core::resource::{
    PageFrom, Resource, ResourceId, ResourceKind, ResourceList, ResourcePage,
};
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response};

use crate::ending::{End, Seen};
use crate::forward::Recorded;
use crate::gateway::Inner;
use crate::headers::{CALL, REQUEST_ID, WARNING, call_value};
use crate::identify::Call;
use crate::refuse::{Stop, own_request_id};
use crate::stream::AnswerBody;

const LIMIT_PRESET: usize = 20;
const LIMIT_MAX: usize = 1_000;

/// What a query says of the page that is wanted.
#[derive(Default)]
pub(crate) struct Paging {
    limit: Option<usize>,
    from: Option<PageFrom>,
}

impl Paging {
    /// Takes in a parameter that all lists have; false for any other. Nothing that is encoded could
    /// be an id or a number, so nothing is decoded.
    pub(crate) fn take(&mut self, name: &str, value: &str) -> Result<bool, Refusal> {
        match name {
            // Older SDKs and Claude Code put it behind every path.
            "beta" => {}
            "limit" => {
                let number = value.parse().ok().filter(|n| (1..=LIMIT_MAX).contains(n));
                let number = number.ok_or_else(|| wrong("limit", "send 1 to 1000"))?;
                if self.limit.replace(number).is_some() {
                    return Err(wrong("limit", "send it once"));
                }
            }
            "after_id" => self.begin(name, PageFrom::After(listed_id(name, value)?))?,
            "before_id" => self.begin(name, PageFrom::Before(listed_id(name, value)?))?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Takes in where the page begins.
    pub(crate) fn begin(&mut self, name: &str, from: PageFrom) -> Result<(), Refusal> {
        match self.from.replace(from) {
            None => Ok(()),
            Some(_) => Err(wrong(name, "a page begins at one place; send one such parameter")),
        }
    }

    /// True when nothing was said.
    pub(crate) fn is_empty(&self) -> bool {
        self.limit.is_none() && self.from.is_none()
    }

    /// Where the page begins, and how long it is.
    pub(crate) fn page(self) -> (PageFrom, usize) {
        (self.from.unwrap_or(PageFrom::Newest), self.limit.unwrap_or(LIMIT_PRESET))
    }
}

/// The parameters of a query, as they were sent.
pub(crate) fn parameters(query: &str) -> impl Iterator<Item = (&str, &str)> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

/// The id that a parameter names.
pub(crate) fn listed_id(name: &str, value: &str) -> Result<ResourceId, Refusal> {
    ResourceId::parse(value).ok_or_else(|| wrong(name, "it is not the id of what is listed"))
}

pub(crate) fn wrong(field: &str, reason: &str) -> Refusal {
    Refusal::Malformed(MalformedRequest::Field {
        field: field.to_owned(),
        reason: reason.to_owned(),
    })
}

impl Inner {
    /// Looks resources up, whoever they belong to, each in its place.
    pub(crate) async fn look_up(
        &self,
        call: &Call,
        wanted: Vec<(ResourceKind, ResourceId)>,
    ) -> Result<Vec<Option<Resource>>, Refusal> {
        self.journal.resources(wanted).await.map_err(|fault| {
            tracing::error!(call = %call.id, error = %fault, "whose a resource is could not be read");
            Refusal::NotOnRecord
        })
    }

    /// A page of the caller's own.
    pub(crate) async fn page(
        &self,
        call: &Call,
        kind: ResourceKind,
        (from, count): (PageFrom, usize),
    ) -> Result<ResourceList, Refusal> {
        let (virtual_key, now) = (call.key.id.clone(), self.now());
        let page = ResourcePage { virtual_key, kind, now, from, count };
        let listed = self.journal.resources_of(page).await.map_err(|fault| {
            tracing::error!(call = %call.id, error = %fault, "a list could not be read");
            Refusal::NotOnRecord
        })?;
        listed.ok_or_else(|| {
            let stale = "it begins at something that is not yours, or not any more; start again \
                         from the first page";
            wrong("page, after_id, before_id", stale)
        })
    }
}

/// Answers a call with a list, and settles it.
pub(crate) fn answer_with(
    recorded: Recorded,
    list: Result<Vec<u8>, Refusal>,
) -> Result<Response<AnswerBody>, Stop> {
    let Recorded { decided, permit, own_limit, .. } = recorded;
    let list = match list {
        Ok(list) => list,
        Err(refusal) => {
            permit.settle(End::new(Seen::NotSent, refusal.answer().status));
            return Err(refusal.into());
        }
    };
    let mut response = Response::new(AnswerBody::whole(Bytes::from(list)));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let call = decided.call.id;
    if let Ok(request_id) = HeaderValue::try_from(own_request_id(call)) {
        headers.insert(REQUEST_ID, request_id);
    }
    headers.extend(own_limit);
    headers.insert(CALL, call_value(call));
    for warning in decided.warnings {
        headers.append(WARNING, warning);
    }
    permit.settle(End::new(Seen::answered(), 200));
    Ok(response)
}

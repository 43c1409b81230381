//! `GET /v1/files`: one's own files, from our own record. Upstream is not asked: its list is the
//! whole workspace's.
//!
//! Both of Anthropic's list styles are spoken: `page`, `limit` and `ids` to `{data, next_page}`,
//! and with the header of the beta time `after_id`, `before_id` and `limit` to
//! `{data, has_more, first_id, last_id}`. A parameter that is neither is refused: whoever filters
//! by something we do not know would take the answer for filtered.

use std::cmp::Reverse;
use std::sync::Arc;

use bytes::Bytes;
use chamberlain_core::admission::refusal::Refusal;
use chamberlain_core::anthropic::meter::Metered;
use chamberlain_core::anthropic::request::MalformedRequest;
use chamberlain_core::resource::{
    PageFrom, Resource, ResourceId, ResourceKind, ResourceList, ResourcePage,
};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Response};
use serde::Serialize;
use serde_json::value::RawValue;

use super::upload::METADATA;
use crate::ending::{End, Seen};
use crate::forward::Recorded;
use crate::gateway::Inner;
use crate::headers::{BETA, CALL, REQUEST_ID, WARNING, call_value};
use crate::identify::Call;
use crate::refuse::{Stop, own_request_id};
use crate::stream::AnswerBody;

/// The beta under which files were first; its lists look like those of models.
const OLD_BETA: &str = "files-api-2025-04-14";
const LIMIT_PRESET: usize = 20;
const LIMIT_MAX: usize = 1_000;
const IDS_MAX: usize = 100;
/// What a page's name begins with; the id of its last file follows.
const PAGE_PREFIX: &str = "page_";

/// What is asked for.
#[derive(PartialEq, Eq, Debug)]
enum Wanted {
    Page { from: PageFrom, limit: usize },
    Named(Vec<ResourceId>),
}

#[derive(Serialize)]
struct NewList<'a> {
    data: Vec<&'a RawValue>,
    next_page: Option<String>,
}

/// `next_page` too, because the newest SDKs read nothing else, whatever header they are told to
/// send.
#[derive(Serialize)]
struct OldList<'a> {
    data: Vec<&'a RawValue>,
    has_more: bool,
    first_id: Option<&'a ResourceId>,
    last_id: Option<&'a ResourceId>,
    next_page: Option<String>,
}

impl Inner {
    /// Answers with a page of the caller's own files.
    pub(super) async fn list_files(
        self: Arc<Self>,
        recorded: Recorded,
    ) -> Result<Response<AnswerBody>, Stop> {
        let Recorded { decided, permit, own_limit } = recorded;
        let listed = async {
            let wanted = wanted(decided.head.uri.query().unwrap_or_default())?;
            self.listed(&decided.call, wanted).await
        };
        let list = match listed.await {
            Ok(list) => list,
            Err(stop) => {
                permit.settle(End::new(Seen::NotSent, stop.answer().status));
                return Err(stop);
            }
        };
        let body = body(&list, is_old(&decided.head.headers));
        let mut response = Response::new(AnswerBody::whole(Bytes::from(body)));
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
        let seen = Seen::Answered { metered: Box::new(Metered::default()), whole: true };
        permit.settle(End::new(seen, 200));
        Ok(response)
    }

    async fn listed(&self, call: &Call, wanted: Wanted) -> Result<ResourceList, Stop> {
        let now = self.now();
        match wanted {
            Wanted::Named(ids) => {
                let mut resources = self.own_files(call, ids).await?;
                resources.retain(|file| !file.is_expired(now));
                resources.sort_by_key(|file| Reverse((file.created, file.id.clone())));
                Ok(ResourceList { resources, has_more: false })
            }
            Wanted::Page { from, limit } => {
                let virtual_key = call.key.id.clone();
                let kind = ResourceKind::File;
                let page = ResourcePage { virtual_key, kind, now, from, count: limit };
                let listed = self.journal.resources_of(page).await.map_err(|fault| {
                    tracing::error!(call = %call.id, error = %fault, "a list of files could not be read");
                    Refusal::NotOnRecord
                })?;
                let stale = "it begins at a file that is not yours, or not any more; start again \
                             from the first page";
                Ok(listed.ok_or_else(|| wrong("page", stale))?)
            }
        }
    }
}

fn is_old(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(&BETA).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).any(|flag| flag.trim() == OLD_BETA)
}

fn body(list: &ResourceList, is_old: bool) -> Vec<u8> {
    let data = list.resources.iter().filter_map(metadata).collect();
    let (first, last) = (list.resources.first(), list.resources.last());
    let more = last.filter(|_| list.has_more);
    let next_page = more.map(|file| format!("{PAGE_PREFIX}{}", file.id));
    let written = if is_old {
        serde_json::to_vec(&OldList {
            data,
            has_more: list.has_more,
            first_id: first.map(|file| &file.id),
            last_id: last.map(|file| &file.id),
            next_page,
        })
    } else {
        serde_json::to_vec(&NewList { data, next_page })
    };
    written.expect("texts and JSON that was read before always serialize")
}

/// The file's object as upstream gave it.
fn metadata(file: &Resource) -> Option<&RawValue> {
    let text = file.about.get(METADATA)?.as_str()?;
    serde_json::from_str(text).ok()
}

fn wrong(field: &str, reason: &str) -> Refusal {
    Refusal::Malformed(MalformedRequest::Field {
        field: field.to_owned(),
        reason: reason.to_owned(),
    })
}

/// Reads the query.
fn wanted(query: &str) -> Result<Wanted, Refusal> {
    let (mut limit, mut from, mut ids, mut named) = (None, None, Vec::new(), false);
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let name = name.replace("%5B%5D", "[]").replace("%5b%5d", "[]");
        // Nothing that is encoded could be an id or a number.
        let id = |text: &str| {
            ResourceId::parse(text).ok_or_else(|| wrong(&name, "it is not the id of a file"))
        };
        let place = match name.as_str() {
            // Older SDKs and Claude Code put it behind every path.
            "beta" => continue,
            "ids" | "ids[]" => {
                named = true;
                ids.extend(ResourceId::parse(value).filter(|id| !ids.contains(id)));
                if ids.len() > IDS_MAX {
                    return Err(wrong("ids", "name at most 100 files"));
                }
                continue;
            }
            "limit" => {
                let number = value.parse().ok().filter(|n| (1..=LIMIT_MAX).contains(n));
                let number = number.ok_or_else(|| wrong("limit", "send 1 to 1000"))?;
                if limit.replace(number).is_some() {
                    return Err(wrong("limit", "send it once"));
                }
                continue;
            }
            "page" => PageFrom::After(id(value.strip_prefix(PAGE_PREFIX).unwrap_or(""))?),
            "after_id" => PageFrom::After(id(value)?),
            "before_id" => PageFrom::Before(id(value)?),
            _ => {
                let reason = "this parameter is not known here; send page, after_id or \
                              before_id, and limit, or ids";
                return Err(wrong(&name, reason));
            }
        };
        if from.replace(place).is_some() {
            return Err(wrong(&name, "page, after_id and before_id exclude each other"));
        }
    }
    match (named, limit, from) {
        (true, None, None) => Ok(Wanted::Named(ids)),
        (true, ..) => Err(wrong("ids", "it excludes limit, page, after_id and before_id")),
        (false, limit, from) => Ok(Wanted::Page {
            from: from.unwrap_or(PageFrom::Newest),
            limit: limit.unwrap_or(LIMIT_PRESET),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> ResourceId {
        ResourceId::parse(text).unwrap()
    }

    #[test]
    fn both_styles_are_read() {
        let page = |from, limit| Ok(Wanted::Page { from, limit });
        assert_eq!(wanted(""), page(PageFrom::Newest, 20));
        assert_eq!(wanted("beta=true&limit=1000"), page(PageFrom::Newest, 1_000));
        assert_eq!(wanted("page=page_file_1&limit=2"), page(PageFrom::After(id("file_1")), 2));
        assert_eq!(wanted("after_id=file_1"), page(PageFrom::After(id("file_1")), 20));
        assert_eq!(wanted("limit=3&before_id=file_1"), page(PageFrom::Before(id("file_1")), 3));
        let named = Ok(Wanted::Named(vec![id("a"), id("b"), id("c")]));
        assert_eq!(wanted("ids%5B%5D=a&ids[]=b&ids=c&ids=%20"), named);
        assert_eq!(wanted("ids="), Ok(Wanted::Named(Vec::new())), "never the whole list");
    }

    #[test]
    fn what_is_not_known_or_contradicts_itself_is_refused() {
        for query in [
            "scope_id=sesn_1",
            "lim%69t=2",
            "limit=0",
            "limit=1001",
            "limit=-1",
            "limit=2&limit=3",
            "page=file_1",
            "page=page_..%2f",
            "after_id=",
            "after_id=a&before_id=b",
            "page=page_a&after_id=a",
            "ids=a&limit=2",
            "ids[]=a&page=page_a",
        ] {
            let refused = wanted(query);
            assert!(matches!(refused, Err(Refusal::Malformed(_))), "{query}: {refused:?}");
        }
        assert!(wanted(&"ids=a&".repeat(101)).is_ok(), "one file, named often");
        let many: String = (0..101).map(|n| format!("ids={n}&")).collect();
        assert!(wanted(&many).is_err());
    }
}

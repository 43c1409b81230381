//! `GET /v1/files`: one's own files, from our own record. Upstream is not asked: its list is the
//! whole workspace's.
//!
//! Both of Anthropic's list styles are spoken: `page`, `limit` and `ids` to `{data, next_page}`,
//! and with the header of the beta time `after_id`, `before_id` and `limit` to
//! `{data, has_more, first_id, last_id}`. A parameter that is neither is refused: whoever filters
//! by something we do not know would take the answer for filtered.

use std::cmp::Reverse;
use std::sync::Arc;

use chamberlain_core::admission::refusal::Refusal;
use chamberlain_core::resource::{PageFrom, Resource, ResourceId, ResourceKind, ResourceList};
use http::{HeaderMap, Response};
use serde::Serialize;
use serde_json::value::RawValue;

use super::upload::METADATA;
use crate::forward::Recorded;
use crate::gateway::Inner;
use crate::headers::BETA;
use crate::identify::Call;
use crate::listed::{Paging, answer_with, listed_id, parameters, wrong};
use crate::refuse::Stop;
use crate::stream::AnswerBody;

/// The beta under which files were first; its lists look like those of models.
const OLD_BETA: &str = "files-api-2025-04-14";
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
        let list = self.listed_files(&recorded).await;
        answer_with(recorded, list)
    }

    async fn listed_files(&self, recorded: &Recorded) -> Result<Vec<u8>, Refusal> {
        let head = &recorded.decided.head;
        let wanted = wanted(head.uri.query().unwrap_or_default())?;
        let list = self.listed(&recorded.decided.call, wanted).await?;
        Ok(body(&list, is_old(&head.headers)))
    }

    async fn listed(&self, call: &Call, wanted: Wanted) -> Result<ResourceList, Refusal> {
        match wanted {
            Wanted::Named(ids) => {
                let now = self.now();
                let mut resources = self.own_files(call, ids).await?;
                resources.retain(|file| !file.is_expired(now));
                resources.sort_by_key(|file| Reverse((file.created, file.id.clone())));
                Ok(ResourceList { resources, has_more: false })
            }
            Wanted::Page { from, limit } => {
                self.page(call, ResourceKind::File, (from, limit)).await
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

/// Reads the query.
fn wanted(query: &str) -> Result<Wanted, Refusal> {
    let (mut paging, mut ids, mut named) = (Paging::default(), Vec::new(), false);
    for (name, value) in parameters(query) {
        let name = name.replace("%5B%5D", "[]").replace("%5b%5d", "[]");
        match name.as_str() {
            "ids" | "ids[]" => {
                named = true;
                ids.extend(ResourceId::parse(value).filter(|id| !ids.contains(id)));
                if ids.len() > IDS_MAX {
                    return Err(wrong("ids", "name at most 100 files"));
                }
            }
            "page" => {
                let last = value.strip_prefix(PAGE_PREFIX).unwrap_or_default();
                paging.begin(&name, PageFrom::After(listed_id(&name, last)?))?;
            }
            name if paging.take(name, value)? => {}
            name => {
                let reason = "this parameter is not known here; send page, after_id or \
                              before_id, and limit, or ids";
                return Err(wrong(name, reason));
            }
        }
    }
    match (named, paging.is_empty()) {
        (true, true) => Ok(Wanted::Named(ids)),
        (true, false) => Err(wrong("ids", "it excludes limit, page, after_id and before_id")),
        (false, _) => {
            let (from, limit) = paging.page();
            Ok(Wanted::Page { from, limit })
        }
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

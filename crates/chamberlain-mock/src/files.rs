//! `/v1/files`: a shelf of files that belongs to the workspace, as the real one does. Whoever has
//! any of the mock's keys sees them all: keeping tenants apart is the work of what is tested.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::request::Parts;
use http::{Method, StatusCode};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::error::ApiError;
use crate::failure::TOO_LARGE;
use crate::ids::IdSource;
use crate::intake::Received;
use crate::messages::Content;
use crate::mock::State;
use crate::multipart::{self, Part};
use crate::query;
use crate::request::blocks_of;
use crate::scenario::Scenario;
use crate::validate::betas;

/// The header of the time when files were a beta. With it, lists and objects look as they did.
const BETA: &str = "files-api-2025-04-14";
/// Room for what surrounds a file in a form.
const FORM_BYTES_MAX: u64 = 64 * 1024;
const EXPIRES_IN_S: std::ops::RangeInclusive<i64> = 3_600..=7_776_000;
const IDS_MAX: usize = 100;

/// One file.
#[derive(Clone, Debug)]
struct File {
    id: String,
    filename: String,
    mime_type: String,
    created_at: Timestamp,
    expires_at: Option<Timestamp>,
    downloadable: bool,
    content: Bytes,
}

/// All files of the mock's one workspace, oldest first.
#[derive(Default, Debug)]
pub(crate) struct Files {
    kept: Mutex<Vec<File>>,
}

/// What a path under `/v1/files` names.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place<'a> {
    All,
    One(&'a str),
    ContentOf(&'a str),
}

impl<'a> Place<'a> {
    /// The place of a path; `None` for what is not about files.
    pub(crate) fn of(path: &'a str) -> Option<Place<'a>> {
        let rest = path.strip_prefix("/v1/files")?;
        if rest.is_empty() {
            return Some(Place::All);
        }
        let id = rest.strip_prefix('/')?;
        let (place, id) = match id.strip_suffix("/content") {
            Some(id) => (Place::ContentOf(id), id),
            None => (Place::One(id), id),
        };
        (!id.is_empty() && !id.contains('/')).then_some(place)
    }
}

/// The largest body that a path takes.
pub(crate) fn body_bytes_max(state: &State, path: &str) -> u64 {
    match Place::of(path) {
        Some(Place::All) => state.config.file_bytes_max.saturating_add(FORM_BYTES_MAX),
        _ => state.config.body_bytes_max,
    }
}

/// A request about files.
pub(crate) struct FileCall<'a> {
    pub(crate) state: &'a State,
    pub(crate) parts: &'a Parts,
    pub(crate) received: &'a Received,
    pub(crate) scenario: &'a mut Scenario,
    pub(crate) ids: IdSource,
}

impl FileCall<'_> {
    /// Answers it.
    ///
    /// # Errors
    /// What the API would refuse, or was asked to by header.
    pub(crate) fn answer(self, place: Place<'_>) -> Result<Content, ApiError> {
        self.state.scenarios.apply(self.scenario);
        if let Some(failure) = &self.scenario.failure {
            return Err(failure.clone());
        }
        if self.scenario.silence.is_some() {
            return Ok(Content::Empty);
        }
        let was_beta = betas(&self.parts.headers).contains(BETA);
        let files = &self.state.files;
        match (&self.parts.method, place) {
            (&Method::POST, Place::All) => Ok(shown(&self.upload()?, was_beta)),
            (&Method::GET, Place::All) => {
                let now = Timestamp::now();
                let kept: Vec<File> = files
                    .lock()
                    .iter()
                    .rev()
                    .filter(|file| !file.is_expired(now))
                    .cloned()
                    .collect();
                let query = query::pairs(self.parts.uri.query());
                let page = if was_beta { old_page } else { page };
                Ok(Content::Json(crate::json::bytes(&page(&kept, &query)?)))
            }
            (&Method::GET, Place::One(id)) => Ok(shown(&files.find(id)?, was_beta)),
            (&Method::GET, Place::ContentOf(id)) => files.find(id)?.content(),
            (&Method::DELETE, Place::One(id)) => {
                files.delete(id)?;
                let gone = json!({ "id": id, "type": "file_deleted" });
                Ok(Content::Json(crate::json::bytes(&gone)))
            }
            _ => Err(ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed")),
        }
    }

    fn upload(&self) -> Result<File, ApiError> {
        if self.received.too_large {
            return Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, TOO_LARGE));
        }
        let form = multipart::parts(&self.parts.headers, &self.received.bytes)?;
        let named = |name: &str| form.iter().find(|part| part.name == name);
        let file = named("file").ok_or_else(|| ApiError::invalid("file: Field required"))?;
        if file.data.len() as u64 > self.state.config.file_bytes_max {
            return Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, TOO_LARGE));
        }
        let created_at = Timestamp::now();
        let expires_at = named("expires_in_seconds").map(|part| expiry(part, created_at));
        let file = File {
            id: self.ids.id("file_", 0),
            filename: filename(file),
            mime_type: mime_type(file),
            created_at,
            expires_at: expires_at.transpose()?,
            downloadable: self.scenario.downloadable,
            content: file.data.clone(),
        };
        self.state.files.lock().push(file.clone());
        Ok(file)
    }
}

impl Files {
    fn lock(&self) -> MutexGuard<'_, Vec<File>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, id: &str) -> Result<File, ApiError> {
        let found = self.lock().iter().find(|file| file.id == id).cloned();
        found.ok_or_else(|| not_found(id))
    }

    fn delete(&self, id: &str) -> Result<(), ApiError> {
        let mut kept = self.lock();
        let at = kept.iter().position(|file| file.id == id).ok_or_else(|| not_found(id))?;
        kept.remove(at);
        Ok(())
    }

    /// Keeps a file that a tool made, which may be downloaded.
    pub(crate) fn keep_made(&self, id: &str) {
        self.lock().push(File {
            id: id.to_owned(),
            filename: "result.txt".to_owned(),
            mime_type: "text/plain".to_owned(),
            created_at: Timestamp::now(),
            expires_at: None,
            downloadable: true,
            content: Bytes::from_static(b"Made in a container.\n"),
        });
    }

    /// Forgets them all.
    pub(crate) fn clear(&self) {
        self.lock().clear();
    }

    /// Whether everything that a message reads from a file is there.
    ///
    /// # Errors
    /// 404.
    pub(crate) fn check(&self, body: &Value) -> Result<(), ApiError> {
        let mut named = BTreeSet::new();
        for message in crate::json::list(body, "messages") {
            for block in blocks_of(message.get("content")) {
                collect(block, &mut named);
            }
        }
        named.into_iter().try_for_each(|id| self.find(id)?.is_there())
    }
}

impl File {
    fn is_expired(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|expiry| expiry <= now)
    }

    fn is_there(&self) -> Result<(), ApiError> {
        if self.is_expired(Timestamp::now()) {
            let gone = ApiError::not_found(format!("File has expired: {}", self.id));
            return Err(gone.with_code("file_expired"));
        }
        Ok(())
    }

    fn content(self) -> Result<Content, ApiError> {
        self.is_there()?;
        if !self.downloadable {
            let refused = format!("File is not downloadable: {}", self.id);
            return Err(ApiError::invalid(refused).with_code("file_not_downloadable"));
        }
        Ok(Content::File { mime_type: self.mime_type, content: self.content })
    }

    fn json(&self, was_beta: bool) -> Value {
        let time = |at: Timestamp| format!("{at:.6}");
        let mut shown = json!({
            "id": self.id,
            "type": "file",
            "filename": self.filename,
            "mime_type": self.mime_type,
            "size_bytes": self.content.len(),
            "created_at": time(self.created_at),
            "downloadable": self.downloadable,
        });
        if !was_beta || self.expires_at.is_some() {
            shown["expires_at"] = json!(self.expires_at.map(time));
        }
        shown
    }
}

fn shown(file: &File, was_beta: bool) -> Content {
    Content::Json(crate::json::bytes(&file.json(was_beta)))
}

fn not_found(id: &str) -> ApiError {
    ApiError::not_found(format!("File not found: {id}"))
}

/// The file ids in one block: its source, what is put in a container, and what is inside it.
fn collect<'a>(block: &'a Value, named: &mut BTreeSet<&'a str>) {
    let source = block.get("source").unwrap_or(block);
    named.extend(crate::json::text(source, "file_id"));
    for inner in blocks_of(block.get("content")) {
        collect(inner, named);
    }
}

fn expiry(part: &Part, created_at: Timestamp) -> Result<Timestamp, ApiError> {
    let seconds = std::str::from_utf8(&part.data).ok().and_then(|text| text.trim().parse().ok());
    let seconds = seconds.filter(|seconds| EXPIRES_IN_S.contains(seconds));
    let at = seconds.and_then(|s| created_at.checked_add(SignedDuration::from_secs(s)).ok());
    at.ok_or_else(|| ApiError::invalid("expires_in_seconds: must be from 3600 to 7776000"))
}

/// Only the last component of a path is kept.
fn filename(part: &Part) -> String {
    let given = part.filename.as_deref().unwrap_or_default();
    let last = given.rsplit(['/', '\\']).next().unwrap_or_default();
    if last.is_empty() { "unnamed".to_owned() } else { last.to_owned() }
}

fn mime_type(part: &Part) -> String {
    part.content_type.clone().unwrap_or_else(|| "application/octet-stream".to_owned())
}

type Query = [(String, String)];

fn limit(query: &Query) -> Result<usize, ApiError> {
    let Some((_, value)) = query.iter().find(|(key, _)| key == "limit") else { return Ok(20) };
    let limit = value.parse().ok().filter(|limit| (1..=1_000).contains(limit));
    limit.ok_or_else(|| ApiError::invalid("limit: must be a whole number from 1 to 1000"))
}

fn given<'a>(query: &'a Query, name: &str) -> Option<&'a str> {
    query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}

/// `page` and `limit`, or `ids`: `{data, next_page}`, newest first.
fn page(files: &[File], query: &Query) -> Result<Value, ApiError> {
    let ids: BTreeSet<&str> = query
        .iter()
        .filter(|(key, _)| matches!(key.as_str(), "ids" | "ids[]"))
        .map(|(_, id)| id.as_str())
        .collect();
    if !ids.is_empty() {
        if given(query, "page").or(given(query, "limit")).is_some() {
            return Err(ApiError::invalid("ids: excludes page and limit"));
        }
        if ids.len() > IDS_MAX {
            return Err(ApiError::invalid(format!("ids: at most {IDS_MAX} entries")));
        }
        let named = files.iter().filter(|file| ids.contains(file.id.as_str()));
        let data: Vec<Value> = named.map(|file| file.json(false)).collect();
        return Ok(json!({ "data": data, "next_page": null }));
    }
    let start = match given(query, "page") {
        None => 0,
        Some(cursor) => {
            let last = cursor.strip_prefix("page_");
            let at = last.and_then(|last| files.iter().position(|file| file.id == last));
            at.ok_or_else(|| ApiError::invalid("page: this cursor is not known"))? + 1
        }
    };
    let end = (start + limit(query)?).min(files.len());
    let data: Vec<Value> = files[start..end].iter().map(|file| file.json(false)).collect();
    let next = files[start..end].last().filter(|_| end < files.len());
    Ok(json!({ "data": data, "next_page": next.map(|file| format!("page_{}", file.id)) }))
}

/// `after_id`, `before_id` and `limit`: `{data, has_more, first_id, last_id}`, newest first.
fn old_page(files: &[File], query: &Query) -> Result<Value, ApiError> {
    let limit = limit(query)?;
    let place = |id: &str| {
        let known = files.iter().position(|file| file.id == id);
        known.ok_or_else(|| ApiError::invalid(format!("no file {id:?} in this list")))
    };
    let (start, end, has_more) = match (given(query, "after_id"), given(query, "before_id")) {
        (Some(_), Some(_)) => {
            return Err(ApiError::invalid("after_id and before_id exclude each other"));
        }
        (None, Some(id)) => {
            let end = place(id)?;
            let start = end.saturating_sub(limit);
            (start, end, start > 0)
        }
        (after, None) => {
            let start = after.map(place).transpose()?.map_or(0, |at| at + 1);
            let end = (start + limit).min(files.len());
            (start, end, end < files.len())
        }
    };
    let data: Vec<Value> = files[start..end].iter().map(|file| file.json(true)).collect();
    Ok(json!({
        "first_id": data.first().map(|file| file["id"].clone()),
        "last_id": data.last().map(|file| file["id"].clone()),
        "has_more": has_more,
        "data": data,
    }))
}

//! Anthropic's Admin API, as far as the inventory and rotations need it: keys are listed, looked
//! at, renamed and switched; workspaces and their members are listed; what was used with a key is
//! reported. No key can be made there, and none can be read.
//!
//! Every request has a time limit and is sent once: whoever wants it tried again says so, with its
//! own record. What comes back is judged: an answer that is not the API's, is about another key, or
//! says that nothing changed is a fault of its own kind, not a success.

mod fault;
mod read;
mod usage;

#[cfg(test)]
mod tests;

use std::time::Duration;

use bytes::Bytes;
use chamberlain_core::keys::listed::{ListedKey, ListedStatus, Member, Workspace};
use chamberlain_vault::keyring::UpstreamSecret;
use http::header::{CONTENT_TYPE, RETRY_AFTER, USER_AGENT};
use http::{HeaderValue, Method, Request, Response};
use serde_json::{Value, json};

pub use fault::AdminFault;
pub use usage::UsedHour;

use crate::web::{Web, WebFault};

/// The version of the API that is spoken. It tells apart a key of the default workspace and one of
/// the whole organization, which the older one does not.
const VERSION: &str = "2026-10-21";

/// How long one request may take.
pub const REQUEST_MAX: Duration = Duration::from_secs(10);

/// Entries of a page.
const PAGE: usize = 500;

/// More pages than this are no list.
const PAGES_MAX: usize = 200;

/// What is to become of a key at Anthropic. What is absent stays.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct KeyUpdate {
    /// Its name in the Console.
    pub name: Option<String>,
    /// How it stands: active, inactive (reversible) or archived (for good).
    pub status: Option<ListedStatus>,
}

/// Whose admin key it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Organization {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
}

/// The Admin API of one organization.
pub struct AdminApi<'a> {
    web: &'a dyn Web,
    /// `https://api.anthropic.com`, without a slash at its end.
    base: &'a str,
    key: &'a UpstreamSecret,
}

impl std::fmt::Debug for AdminApi<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AdminApi").field("base", &self.base).finish_non_exhaustive()
    }
}

impl<'a> AdminApi<'a> {
    /// The Admin API at `base`, opened with `key`.
    pub fn new(web: &'a dyn Web, base: &'a str, key: &'a UpstreamSecret) -> AdminApi<'a> {
        AdminApi { web, base: base.trim_end_matches('/'), key }
    }

    /// Whose admin key this is.
    ///
    /// # Errors
    /// See [`AdminFault`].
    pub fn organization(&self) -> Result<Organization, AdminFault> {
        let found = self.get("me", "")?;
        let text = |name: &str| {
            let value = found.get(name).and_then(Value::as_str);
            value.map(str::to_owned).ok_or_else(|| lying(format!("the organization has no {name}")))
        };
        Ok(Organization { id: text("id")?, name: text("name")? })
    }

    /// Every key of the organization, archived ones included.
    ///
    /// # Errors
    /// See [`AdminFault`].
    pub fn keys(&self) -> Result<Vec<ListedKey>, AdminFault> {
        self.all("api_keys", "", read::key)
    }

    /// One key.
    ///
    /// # Errors
    /// See [`AdminFault`].
    pub fn key(&self, id: &str) -> Result<ListedKey, AdminFault> {
        let found = read::key(&self.get(&format!("api_keys/{}", step(id)?), "")?).map_err(lying)?;
        self.same(id, found)
    }

    /// Changes a key. The answer is compared with what was asked for: `Ok` means that Anthropic
    /// says the key is now as it should be. When it takes effect for calls is for a probe to say.
    ///
    /// # Errors
    /// See [`AdminFault`]. After [`AdminFault::Lost`] nobody knows whether it was changed.
    pub fn update_key(&self, id: &str, update: &KeyUpdate) -> Result<ListedKey, AdminFault> {
        let mut body = json!({});
        if let Some(name) = &update.name {
            body["name"] = json!(name);
        }
        if let Some(status) = &update.status {
            body["status"] = json!(status.word());
        }
        let path = format!("api_keys/{}", step(id)?);
        let answer = self.send(Method::POST, &path, "", Some(&body))?;
        let changed = self.same(id, read::key(&answer).map_err(lying)?)?;
        let differs = |what: &str, is: &str, asked: &str| {
            Err(lying(format!("{what} of {id} is {is:?} and was to become {asked:?}")))
        };
        match (&update.name, &update.status) {
            (Some(name), _) if *name != changed.name => differs("the name", &changed.name, name),
            (_, Some(status)) if *status != changed.status => {
                differs("the status", changed.status.word(), status.word())
            }
            _ => Ok(changed),
        }
    }

    /// Every workspace, the default one and archived ones included.
    ///
    /// # Errors
    /// See [`AdminFault`].
    pub fn workspaces(&self) -> Result<Vec<Workspace>, AdminFault> {
        self.all("workspaces", "&include_default=true&include_archived=true", read::workspace)
    }

    /// Who may act in a workspace.
    ///
    /// # Errors
    /// See [`AdminFault`].
    pub fn members(&self, workspace: &str) -> Result<Vec<Member>, AdminFault> {
        let path = format!("workspaces/{}/members", step(workspace)?);
        self.all(&path, "", read::member)
    }

    fn same(&self, id: &str, found: ListedKey) -> Result<ListedKey, AdminFault> {
        if found.id == id {
            return Ok(found);
        }
        Err(lying(format!("it was asked about {id} and answered about {}", found.id)))
    }

    /// Walks a list to its end.
    fn all<T>(
        &self,
        path: &str,
        filter: &str,
        read: fn(&Value) -> Result<T, String>,
    ) -> Result<Vec<T>, AdminFault> {
        let (mut found, mut after) = (Vec::new(), None::<String>);
        for _ in 0..PAGES_MAX {
            let from = after.as_deref().map(|id| step(id).map(|id| format!("&after_id={id}")));
            let from = from.transpose()?.unwrap_or_default();
            let page = self.get(path, &format!("limit={PAGE}{filter}{from}"))?;
            let data = page.get("data").and_then(Value::as_array);
            let data = data.ok_or_else(|| lying(format!("{path}: a page without a list")))?;
            for entry in data {
                found.push(read(entry).map_err(lying)?);
            }
            match page.get("has_more").and_then(Value::as_bool) {
                Some(false) => return Ok(found),
                Some(true) => {}
                None => {
                    return Err(lying(format!("{path}: a page that does not say if it is all")));
                }
            }
            let last = page.get("last_id").and_then(Value::as_str).map(str::to_owned);
            if last.is_none() || last == after || data.is_empty() {
                return Err(lying(format!("{path}: a list that does not go on and does not end")));
            }
            after = last;
        }
        Err(lying(format!("{path}: a list of more than {PAGES_MAX} pages")))
    }

    fn get(&self, path: &str, query: &str) -> Result<Value, AdminFault> {
        self.send(Method::GET, path, query, None)
    }

    fn send(
        &self,
        method: Method,
        path: &str,
        query: &str,
        body: Option<&Value>,
    ) -> Result<Value, AdminFault> {
        let mark = if query.is_empty() { "" } else { "?" };
        let uri = format!("{}/v1/organizations/{path}{mark}{query}", self.base);
        let mut credential = HeaderValue::from_bytes(self.key.expose_header_value())
            .map_err(|_| AdminFault::NotSent("the admin key is no header value".to_owned()))?;
        credential.set_sensitive(true);
        let mut request = Request::builder()
            .method(method)
            .uri(uri)
            .header("x-api-key", credential)
            .header("anthropic-version", VERSION)
            .header(USER_AGENT, concat!("chamberlain/", env!("CARGO_PKG_VERSION")));
        if body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let body = body.map(|body| Bytes::from(body.to_string())).unwrap_or_default();
        let request = request
            .body(body)
            .map_err(|error| AdminFault::NotSent(format!("{}: {error}", self.base)))?;
        let answer = self.web.send(request, REQUEST_MAX).map_err(|fault| match fault {
            WebFault::NotSent(why) => AdminFault::NotSent(why),
            WebFault::Lost(why) => AdminFault::Lost(why),
        })?;
        judge(&answer)
    }
}

/// The body of a success, or the fault that a status tells of.
fn judge(answer: &Response<Bytes>) -> Result<Value, AdminFault> {
    let status = answer.status().as_u16();
    let body = serde_json::from_slice::<Value>(answer.body());
    if status == 200 {
        return body.map_err(|_| lying("its answer is no JSON: something else answers there"));
    }
    let message = read::error(body.as_ref().ok());
    Err(match status {
        401 => AdminFault::Unauthorized(message),
        403 => AdminFault::Forbidden(message),
        404 => AdminFault::NotFound(message),
        429 => {
            let wait = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
            AdminFault::RateLimited { retry_after_s: wait.and_then(|text| text.parse().ok()) }
        }
        300..=399 => lying(format!("it leads elsewhere (status {status})")),
        500..=599 => AdminFault::Broken { status, message },
        _ => AdminFault::Refused { status, message },
    })
}

/// An id as a step of a path: whatever it is, it does not lead to another path.
fn step(id: &str) -> Result<&str, AdminFault> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    match !id.is_empty() && id.len() <= 128 && id.bytes().all(plain) {
        true => Ok(id),
        false => Err(lying("an id with characters that no id has")),
    }
}

fn lying(what: impl Into<String>) -> AdminFault {
    AdminFault::Lying(what.into())
}

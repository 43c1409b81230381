//! Containers in which code was run. They belong to the workspace, as the real ones do: whoever has
//! any of the mock's keys works on in any of them, so whatever keeps tenants apart is really tested.
//! Nothing runs in them.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde_json::Value;

use crate::error::ApiError;
use crate::json::{given, text};
use crate::mock::State;
use crate::reply::Reply;

/// How long after the mock's start its containers expire.
const LIFETIME: SignedDuration = SignedDuration::from_hours(24 * 30);

/// A container as an answer shows it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(crate) struct Container {
    pub(crate) id: String,
    pub(crate) expires_at: String,
}

/// All containers of the mock's one workspace.
#[derive(Debug)]
pub(crate) struct Containers {
    kept: Mutex<BTreeSet<String>>,
    /// The same for all, so that equal requests can get equal bytes.
    expires_at: String,
}

impl Default for Containers {
    fn default() -> Containers {
        let now = Timestamp::now();
        let expiry = now.checked_add(LIFETIME).unwrap_or(now);
        Containers { kept: Mutex::default(), expires_at: format!("{expiry:.6}") }
    }
}

impl Containers {
    /// The container that a request names, by a string or by `id`.
    ///
    /// # Errors
    /// 404 for one that does not exist.
    pub(crate) fn named(&self, body: &Value) -> Result<Option<Container>, ApiError> {
        let Some(container) = given(body, "container") else { return Ok(None) };
        let Some(id) = container.as_str().or_else(|| text(container, "id")) else {
            return Ok(None);
        };
        if !self.lock().contains(id) {
            return Err(ApiError::not_found(format!("Container not found: {id}")));
        }
        Ok(Some(self.shown(id.to_owned())))
    }

    /// A container of that id.
    pub(crate) fn shown(&self, id: String) -> Container {
        Container { id, expires_at: self.expires_at.clone() }
    }

    /// Keeps it from now on.
    pub(crate) fn keep(&self, container: &Container) {
        self.lock().insert(container.id.clone());
    }

    /// Forgets them all.
    pub(crate) fn clear(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Puts an answer into the container that was named, or into a new one where code ran, and keeps
/// that and the files that the code made.
pub(crate) fn furnish(state: &State, reply: &mut Reply, named: Option<Container>) {
    let new = || state.containers.shown(reply.id.replacen("msg_", "container_", 1));
    reply.container = named.or_else(|| reply.ran_code().then(new));
    if let Some(container) = &reply.container {
        state.containers.keep(container);
    }
    for id in reply.files_made() {
        state.files.keep_made(id);
    }
}

//! What Anthropic is asked and told about one upstream key: whether it takes it, by something free,
//! and that it is to be switched off. For rotations and containments alike.

use std::time::Duration;

use bytes::Bytes;
use chamberlain_core::id::UpstreamKeyId;
use chamberlain_core::keys::listed::{ListedKey, ListedStatus};
use chamberlain_core::rotation::{Outcome, ProbeAnswer};
use chamberlain_store::UpstreamKey;
use chamberlain_vault::keyring::UpstreamSecret;
use http::{HeaderValue, Request};

use super::Commander;
use crate::admin_api::KeyUpdate;

/// How long a free request may take.
const PROBE_MAX: Duration = Duration::from_secs(10);

impl Commander {
    /// Asks Anthropic for something free with a key.
    pub(super) fn probe(&self, secret: &UpstreamSecret) -> ProbeAnswer {
        let Some(live) = self.live.get() else {
            return ProbeAnswer::Inconclusive("the server does not run".to_owned());
        };
        let base = live.running().upstream;
        let unknown = |why: String| ProbeAnswer::Inconclusive(why);
        let Ok(mut credential) = HeaderValue::from_bytes(secret.expose_header_value()) else {
            return unknown("the key is no header value".to_owned());
        };
        credential.set_sensitive(true);
        let request = Request::get(format!("{}/v1/models?limit=1", base.trim_end_matches('/')))
            .header("x-api-key", credential)
            .header("anthropic-version", "2023-06-01")
            .header("user-agent", concat!("chamberlain/", env!("CARGO_PKG_VERSION")))
            .body(Bytes::new());
        let request = match request {
            Ok(request) => request,
            Err(error) => return unknown(error.to_string()),
        };
        match self.web.send(request, PROBE_MAX) {
            Err(fault) => unknown(fault.to_string()),
            Ok(answer) if answer.status().is_success() => ProbeAnswer::Works,
            Ok(answer) if answer.status() == 401 && is_authentication(answer.body()) => {
                ProbeAnswer::Rejected
            }
            Ok(answer) => unknown(format!("status {}", answer.status().as_u16())),
        }
    }

    /// The same with a key that is in the vault, in use or not.
    pub(super) fn probe_key(&self, id: &UpstreamKeyId) -> ProbeAnswer {
        match self.open_key(id) {
            Ok(secret) => self.probe(&secret),
            Err(error) => ProbeAnswer::Inconclusive(error.to_string()),
        }
    }

    /// Sets how a key stands at Anthropic.
    ///
    /// # Errors
    /// `Failed` when it is worth trying again, `Refused` when a person has to see to it.
    pub(super) fn set_at_anthropic(
        &self,
        key: &UpstreamKeyId,
        status: ListedStatus,
    ) -> Result<(), Outcome> {
        let id = self.id_at_anthropic(key)?;
        let update = KeyUpdate { status: Some(status), ..KeyUpdate::default() };
        let asked = self.with_admin_api(|api| Ok(api.update_key(&id, &update).map(drop)));
        asked.map_err(|error| Outcome::Failed(error.to_string()))?.map_err(|fault| {
            let why = format!("{fault}; {}", fault.advice());
            if fault.may_pass() { Outcome::Failed(why) } else { Outcome::Refused(why) }
        })
    }

    /// The id that a key has at Anthropic: as it is known, or by its hint.
    ///
    /// # Errors
    /// As [`Commander::set_at_anthropic`].
    pub(super) fn id_at_anthropic(&self, key: &UpstreamKeyId) -> Result<String, Outcome> {
        let house = self.house().map_err(|error| Outcome::Failed(error.to_string()))?;
        let row = house.upstream_keys.iter().find(|row| row.id == *key);
        let row = row.ok_or_else(|| Outcome::Refused("the key is not known here".to_owned()))?;
        if let Some(id) = at_anthropic(row) {
            return Ok(id);
        }
        let listed = self.with_admin_api(|api| api.keys());
        let listed = listed.map_err(|error| Outcome::Failed(error.to_string()))?;
        only_one(&listed, &row.hint).map_err(Outcome::Refused)
    }
}

/// A key's id at Anthropic, as far as it is known.
fn at_anthropic(row: &UpstreamKey) -> Option<String> {
    let seen = row.profile.seen.as_ref().map(|seen| seen.key.id.clone());
    row.profile.anthropic_id.clone().or(seen)
}

/// The only key at Anthropic with that hint. Hints are not unique, and the wrong key is not to be
/// switched off.
fn only_one(listed: &[ListedKey], hint: &str) -> Result<String, String> {
    let mut found = listed.iter().filter(|key| key.hint == hint);
    match (found.next(), found.next()) {
        (Some(key), None) => Ok(key.id.clone()),
        (None, _) => Err(format!("no key at Anthropic shows as {hint}; switch it off by hand")),
        (Some(_), Some(_)) => {
            Err(format!("several keys at Anthropic show as {hint}; switch it off by hand"))
        }
    }
}

fn is_authentication(body: &[u8]) -> bool {
    let body: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    body["error"]["type"] == "authentication_error"
}

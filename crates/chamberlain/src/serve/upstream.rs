//! Where calls go: Anthropic (or the URL that was named) once there is a key, the built-in mock
//! until then.

use std::sync::Arc;

use axum::http::Uri;
use chamberlain_control::command::{KeyAdd, KeyList};
use chamberlain_control::door::{self, Inside};
use chamberlain_control::reply::UpstreamKeyState;
use chamberlain_control::wire::SecretText;
use chamberlain_core::secret::Secret;
use chamberlain_gateway::Upstream;
use chamberlain_vault::upstream_key::UpstreamKey;
use chamberlain_vault::vault::Vault;

use crate::config::settings::Config;
use crate::failure::Failure;

/// The variable that official SDKs and tools read, too.
const VARIABLE: &str = "ANTHROPIC_API_KEY";

/// Seals the key in the environment, unless it is sealed already.
pub(super) fn take_key(inside: &Inside, vault: &Arc<Vault>) -> Result<(), Failure> {
    let Some(text) = std::env::var(VARIABLE).ok().filter(|text| !text.trim().is_empty()) else {
        return Ok(());
    };
    let secret = Secret::new(text);
    let key = UpstreamKey::check(&secret).map_err(|error| {
        Failure::usage(format!("{VARIABLE}: {error}"))
            .hint(format!("mend it, or unset {VARIABLE} to start without"))
    })?;
    let fingerprint = vault.fingerprint(&key);
    let known = door::ask(inside, KeyList { all: true })?;
    let known = known.keys.iter().filter(|known| known.fingerprint == fingerprint.as_str());
    match known.max_by_key(|known| known.state != UpstreamKeyState::Revoked) {
        None => {}
        // Somebody removed it for a reason; a variable that was forgotten must not bring it back.
        Some(known) if known.state == UpstreamKeyState::Revoked => {
            return Err(Failure::usage(format!(
                "{VARIABLE} holds the key {:?} ({}), which was removed here",
                known.name, known.hint
            ))
            .hint(format!(
                "unset {VARIABLE}, or put the new key in it; `chamberlain key add` brings a \
                 removed key back on purpose"
            )));
        }
        Some(_) => return Ok(()),
    }
    let name = format!("from-environment-{}", fingerprint.as_str().get(..8).unwrap_or_default());
    door::ask(inside, KeyAdd { name, environment: None, secret: SecretText::new(secret) })?;
    Ok(())
}

/// Decides where calls go. `mock` is the address of the built-in one.
pub(super) fn choose(inside: &Inside, config: &Config, mock: &str) -> Result<Upstream, Failure> {
    let keys = door::ask(inside, KeyList::default())?.keys;
    let has_key = keys.iter().any(|key| key.state == UpstreamKeyState::Current);
    if !has_key && config.upstream_is_written {
        return Err(Failure::usage(format!(
            "calls are to go to {}, and there is no key for it",
            config.upstream_url
        ))
        .hint(format!(
            "set {VARIABLE}, or `chamberlain key add --name main`; without an upstream URL the \
             built-in mock answers"
        )));
    }
    let base: &str = if has_key { &config.upstream_url } else { mock };
    let base: Uri = base
        .parse()
        .map_err(|error| Failure::usage(format!("the upstream URL {base:?}: {error}")))?;
    Ok(Upstream { base, is_mock: !has_key })
}

//! Where calls go: Anthropic (or the URL that was named) once there is a key, the built-in mock
//! until then.

use std::sync::Arc;
use std::time::Duration;

use axum::http::Uri;
use chamberlain_control::command::{ContainmentList, KeyAbout, KeyAdd, KeyList};
use chamberlain_control::commander::Prober;
use chamberlain_control::door::{self, Inside};
use chamberlain_control::reply::UpstreamKeyState;
use chamberlain_control::wire::SecretText;
use chamberlain_core::secret::Secret;
use chamberlain_gateway::{Upstream, probe};
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
    let secret = SecretText::new(secret);
    let (environment, about) = (None, KeyAbout::default());
    door::ask(inside, KeyAdd { name, environment, secret, about, staged: false })?;
    Ok(())
}

/// Decides where calls go. `mock` is the address of the built-in one.
pub(super) fn choose(inside: &Inside, config: &Config, mock: &str) -> Result<Upstream, Failure> {
    let keys = door::ask(inside, KeyList::default())?.keys;
    // A house whose key was contained waits for the next one; the mock never answers in its place.
    let contained = door::ask(inside, ContainmentList { all: true })?.containments;
    let has_key = keys.iter().any(|key| key.state == UpstreamKeyState::Current)
        || contained.iter().any(|containment| containment.kind == "upstream_key");
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
    if has_key && !config.allow_plain_http && is_plain_and_far(&base) {
        return Err(Failure::usage(format!(
            "{base} is another machine without TLS: the upstream key would travel in the clear"
        ))
        .hint("write https://, or allow it with upstream.allow_plain_http = true"));
    }
    Ok(Upstream { base, is_mock: !has_key })
}

/// How long upstream may take to say whether it takes a key.
const PROBE_MAX: Duration = Duration::from_secs(15);

/// Asks upstream about keys, in a thread of its own: it may be asked from anywhere.
pub(super) fn prober(base: Uri) -> Prober {
    Box::new(move |secret| {
        std::thread::scope(|scope| {
            let asking = scope.spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                let runtime = runtime.map_err(|error| format!("no runtime: {error}"))?;
                runtime.block_on(probe::key_status(&base, secret, PROBE_MAX))
            });
            asking.join().unwrap_or_else(|_| Err("asking failed in an unknown way".to_owned()))
        })
    })
}

/// Whether calls would leave this machine without TLS.
fn is_plain_and_far(base: &Uri) -> bool {
    let host = base.host().unwrap_or_default().trim_matches(['[', ']']);
    let near = host == "localhost"
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    base.scheme_str() == Some("http") && !near
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_leaves_this_machine_under_tls_only() {
        for near in ["http://127.0.0.1:9000", "http://localhost", "http://[::1]:9000"] {
            assert!(!is_plain_and_far(&near.parse().unwrap()), "{near}");
        }
        for far in
            ["http://10.0.0.7:9000", "http://api.anthropic.com", "http://127.0.0.1.evil.example"]
        {
            assert!(is_plain_and_far(&far.parse().unwrap()), "{far}");
        }
        assert!(!is_plain_and_far(&"https://api.anthropic.com".parse().unwrap()));
    }
}

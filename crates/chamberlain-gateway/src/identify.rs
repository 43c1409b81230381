//! Identify: which virtual key calls, and from where.
//!
//! Nothing is said about a key before its secret was right. A real Anthropic key that a client
//! offers is refused, reported and forgotten; it is never forwarded and never kept.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, LazyLock};

use chamberlain_core::admission::key::{KeyState, PREFIX, PresentedKey, VirtualKey};
use chamberlain_core::admission::policy::Policy;
use chamberlain_core::admission::refusal::Refusal;
use chamberlain_core::id::{CallId, EnvironmentName, VirtualKeyId};
use chamberlain_core::snapshot::{Budgets, Environment, GatewaySettings, Limits, Snapshot};
use chamberlain_core::source::Source;
use chamberlain_core::time::Timestamp;
use http::header::AUTHORIZATION;
use http::request::Parts;
use http::{HeaderMap, HeaderValue};
use ipnet::IpNet;

use crate::headers::{API_KEY, FORWARDED_FOR};
use crate::notice::Witness;
use crate::refuse::{Fault, Stop};
use crate::stopwatch::Stopwatch;
use crate::trace::TraceParent;

/// What every Anthropic credential begins with.
const REAL_PREFIX: &str = "sk-ant-";

/// A request as it came in.
pub(crate) struct Arrival {
    pub(crate) id: CallId,
    pub(crate) at: Timestamp,
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) head: Parts,
    pub(crate) peer: Source,
}

/// A call whose caller is known. One snapshot serves it from here to its end.
#[derive(Clone)]
pub(crate) struct Call {
    pub(crate) id: CallId,
    pub(crate) at: Timestamp,
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) key: Arc<VirtualKey>,
    pub(crate) environment: Arc<Environment>,
    pub(crate) source: Source,
    pub(crate) watch: Stopwatch,
    /// The trace that its client says it belongs to.
    pub(crate) trace: Option<TraceParent>,
}

/// A call of a known caller, and the head of its request.
pub(crate) struct Identified {
    pub(crate) call: Call,
    pub(crate) head: Parts,
}

/// Finds out who calls.
pub(crate) fn identify(arrival: Arrival, witness: &mut Witness) -> Result<Identified, Stop> {
    let Arrival { id, at, snapshot, head, peer } = arrival;
    let watch = witness.watch;
    let source = source(peer, &head.headers, &snapshot.settings);
    witness.source = source;
    let text = credential(&head.headers, witness)?;
    let presented = PresentedKey::parse(text).ok_or(Refusal::UnknownKey)?;
    let key = open(&presented, &snapshot, witness)?;
    witness.environment = Some(key.environment.clone());
    match key.state {
        KeyState::Active => {}
        stopped => return Err(Refusal::KeyStopped(stopped).into()),
    }
    if let Some(expiry) = key.expires_at.filter(|expiry| *expiry <= at) {
        return Err(Refusal::KeyExpired { at: expiry }.into());
    }
    let environment = snapshot
        .environments
        .get(&key.environment)
        .cloned()
        .ok_or_else(|| Fault::NoEnvironment(key.environment.clone()))?;
    let trace = TraceParent::of(&head.headers);
    Ok(Identified { call: Call { id, at, snapshot, key, environment, source, watch, trace }, head })
}

/// The key that was presented, if its secret is right. A key that does not exist takes as long
/// to refuse as one with a wrong secret.
fn open(
    presented: &PresentedKey,
    snapshot: &Snapshot,
    witness: &mut Witness,
) -> Result<Arc<VirtualKey>, Refusal> {
    witness.offered = Some(presented.id.clone());
    let found = snapshot.virtual_keys.get(&presented.id);
    let opened = presented.opens(found.map_or(&NOBODY, Arc::as_ref));
    let key = found.filter(|_| opened).ok_or(Refusal::UnknownKey)?;
    witness.key = Some(key.id.clone());
    Ok(key.clone())
}

/// Compared with when there is no such key.
static NOBODY: LazyLock<VirtualKey> = LazyLock::new(|| VirtualKey {
    id: VirtualKeyId::new(""),
    name: String::new(),
    environment: EnvironmentName::new(""),
    secret_hash: [0; 32],
    policy: Policy::default(),
    budgets: Budgets::default(),
    limits: Limits::default(),
    operation: None,
    expires_at: None,
    state: KeyState::Revoked,
    pause: None,
    test_mode: false,
    created_at: Timestamp::default(),
});

/// The one credential of a request: from `x-api-key`, from `Authorization: Bearer`, or the same
/// one in both.
fn credential<'a>(headers: &'a HeaderMap, witness: &mut Witness) -> Result<&'a str, Refusal> {
    for value in headers.get_all(API_KEY).iter().chain(headers.get_all(AUTHORIZATION)) {
        if let Some(kind) = real_key(value) {
            witness.real_key_kind = Some(kind);
            return Err(Refusal::RealKeyOffered);
        }
    }
    let mut found: Option<&str> = None;
    let mut differ = false;
    let keys = headers.get_all(API_KEY).iter().map(api_key);
    let bearers = headers.get_all(AUTHORIZATION).iter().map(bearer);
    for text in keys.chain(bearers) {
        match text {
            Some("") => {}
            Some(text) => {
                differ |= found.is_some_and(|found| found != text);
                found = Some(text);
            }
            None => differ = true,
        }
    }
    match (found, differ) {
        (Some(_), true) => Err(Refusal::CredentialsDiffer),
        (None, true) => Err(Refusal::UnknownKey),
        (None, false) => Err(Refusal::NoCredential),
        (Some(text), false) => Ok(text),
    }
}

fn api_key(value: &HeaderValue) -> Option<&str> {
    value.to_str().ok().map(str::trim)
}

/// The token of a bearer credential; `None` for any other scheme, which is not one of ours.
fn bearer(value: &HeaderValue) -> Option<&str> {
    let text = value.to_str().ok()?.trim();
    let (scheme, token) = text.split_once(' ').unwrap_or((text, ""));
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Whether a text that is put on record has a key in it, real or virtual. Clients put keys in the
/// strangest places.
pub(crate) fn carries_key(text: &str) -> bool {
    text.contains(REAL_PREFIX) || text.contains(PREFIX)
}

/// What kind of real key a header carries, from the key's public prefix alone (`sk-ant-api03`).
fn real_key(value: &HeaderValue) -> Option<String> {
    let bytes = value.as_bytes();
    let at =
        bytes.windows(REAL_PREFIX.len()).position(|window| window == REAL_PREFIX.as_bytes())?;
    let rest = &bytes[at + REAL_PREFIX.len()..];
    let length = rest.iter().take_while(|byte| byte.is_ascii_alphanumeric()).count();
    let is_kind = (2..=8).contains(&length) && rest.get(length) == Some(&b'-');
    let kind = if is_kind { &rest[..length] } else { b"..." };
    Some(format!("{REAL_PREFIX}{}", String::from_utf8_lossy(kind)))
}

/// Where the client is: the peer, or, when the peer is a trusted proxy, the right-most entry of
/// `x-forwarded-for` that is not itself one. What a trusted proxy wrote but cannot be read as an
/// address counts as `0.0.0.0`, which no allowed network but the whole internet contains.
fn source(peer: Source, headers: &HeaderMap, settings: &GatewaySettings) -> Source {
    let is_trusted = |address| trusts(&settings.trusted_proxies, address);
    let is_proxy = match peer.address() {
        Some(address) => is_trusted(address),
        None => settings.unix_socket_is_proxy,
    };
    let mut source = peer.address().map_or(Source::Local, Source::Address);
    if !is_proxy {
        return source;
    }
    let lines: Vec<_> = headers.get_all(FORWARDED_FOR).iter().collect();
    let entries = lines.iter().rev().flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','));
    for entry in entries {
        let Some(address) = address(entry) else {
            return Source::Address(Ipv4Addr::UNSPECIFIED.into());
        };
        source = Source::Address(address);
        if !is_trusted(address) {
            break;
        }
    }
    source
}

/// Whether an address is one of a trusted proxy.
pub(crate) fn trusts(proxies: &[IpNet], address: IpAddr) -> bool {
    proxies.iter().any(|net| net.contains(&address))
}

/// An address with or without port and brackets.
fn address(entry: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(entry).ok()?.trim();
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse::<IpAddr>().ok();
    let address = address.or_else(|| Some(text.parse::<SocketAddr>().ok()?.ip()));
    address.map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests;

//! Addresses: where to listen, where to send, and networks.

use std::net::ToSocketAddrs;

use ipnet::IpNet;

use super::{Kind, Value, Wrong, wrong};

pub(super) fn read_address(text: &str) -> Result<Value, Wrong> {
    let expects = Kind::Address.expects();
    if text.to_socket_addrs().is_ok_and(|mut found| found.next().is_some()) {
        return Ok(Value::Text(text.to_owned()));
    }
    let fix = match text.parse::<u16>() {
        Ok(port) => format!("write \"127.0.0.1:{port}\""),
        Err(_) if text.parse::<std::net::Ipv4Addr>().is_ok() => format!("write \"{text}:8787\""),
        Err(_) => format!("write {expects}"),
    };
    wrong(format!("{text:?} is not {expects}"), fix)
}

pub(super) fn read_url(text: &str) -> Result<Value, Wrong> {
    let bad = |what: &str| wrong(format!("{text:?} {what}"), Kind::Url.instead());
    let Some(rest) = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")) else {
        return bad("does not begin with http:// or https://");
    };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    if rest.contains('@') {
        return bad("must not carry a user or password");
    }
    if rest.contains(['/', '?', '#']) {
        return bad("must be without a path: clients bring it");
    }
    let parsed = text.parse::<axum::http::Uri>().ok();
    match parsed.and_then(|uri| uri.host().map(|host| !host.is_empty())) {
        Some(true) => Ok(Value::Text(text.trim_end_matches('/').to_owned())),
        _ => bad("is not a web address"),
    }
}

/// Reads a network like `10.0.1.0/24`, without bits beyond its prefix.
pub(crate) fn read_network(text: &str) -> Result<IpNet, Wrong> {
    if let Ok(address) = text.parse::<std::net::IpAddr>() {
        let fix = format!("write \"{}\"", IpNet::from(address));
        return wrong(format!("{text:?} is an address, not a network"), fix);
    }
    match text.parse::<IpNet>() {
        Ok(network) if network.trunc() == network => Ok(network),
        Ok(network) => wrong(
            format!("{text:?} has bits set beyond its prefix"),
            format!("write \"{}\"", network.trunc()),
        ),
        Err(_) => wrong(format!("{text:?} is not a network"), Kind::Networks.instead()),
    }
}

//! Where a call comes from: an address, or a program on this machine that has none.

use std::fmt;
use std::net::{AddrParseError, IpAddr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What a source without an address is called on record.
const LOCAL: &str = "local";

/// Where a call comes from.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Source {
    /// The address of the client, or the one that a trusted proxy forwarded.
    Address(IpAddr),
    /// A program on this machine, through the Unix socket. It is in no network.
    Local,
}

impl Source {
    /// The address, an IPv4 one as such: a dual-stack socket shows it as `::ffff:a.b.c.d`.
    pub fn address(self) -> Option<IpAddr> {
        match self {
            Source::Address(address) => Some(address.to_canonical()),
            Source::Local => None,
        }
    }
}

impl From<IpAddr> for Source {
    fn from(address: IpAddr) -> Source {
        Source::Address(address)
    }
}

impl From<[u8; 4]> for Source {
    fn from(octets: [u8; 4]) -> Source {
        Source::Address(octets.into())
    }
}

impl FromStr for Source {
    type Err = AddrParseError;

    fn from_str(text: &str) -> Result<Source, AddrParseError> {
        if text == LOCAL { Ok(Source::Local) } else { text.parse().map(Source::Address) }
    }
}

impl TryFrom<String> for Source {
    type Error = AddrParseError;

    fn try_from(text: String) -> Result<Source, AddrParseError> {
        text.parse()
    }
}

impl From<Source> for String {
    fn from(source: Source) -> String {
        source.to_string()
    }
}

impl fmt::Display for Source {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Address(address) => address.fmt(out),
            Source::Local => out.write_str(LOCAL),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_written_as_it_is_read() {
        for text in ["10.0.1.7", "2001:db8::7", "local"] {
            let source: Source = text.parse().unwrap();
            assert_eq!(source.to_string(), text);
            let json = serde_json::to_string(&source).unwrap();
            assert_eq!(json, format!("{text:?}"));
            assert_eq!(serde_json::from_str::<Source>(&json).unwrap(), source);
        }
        assert!("locale".parse::<Source>().is_err());
        assert_eq!(Source::Local.address(), None);
    }
}

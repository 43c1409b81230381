//! How values on the command line are read.

use std::str::FromStr;

use chamberlain_control::wire::Change;
use chamberlain_core::anthropic::request::Capability;
use chamberlain_core::money::Money;
use ipnet::IpNet;

use crate::config::value;

/// Reads `25`, `25.00`, `$25` or `25.00 USD`.
pub(super) fn money(text: &str) -> Result<Money, String> {
    text.parse::<Money>().map_err(|error| error.to_string())
}

/// Reads a capability by name.
pub(super) fn capability(text: &str) -> Result<Capability, String> {
    value::read_capability(text).map_err(|wrong| format!("{}; {}", wrong.what, wrong.fix))
}

/// Reads a network like `10.0.1.0/24`.
pub(super) fn network(text: &str) -> Result<IpNet, String> {
    value::read_network(text).map_err(|wrong| format!("{}; {}", wrong.what, wrong.fix))
}

/// Reads a whole number above zero.
pub(super) fn count(text: &str) -> Result<u64, String> {
    match text.parse::<u64>() {
        Ok(0) | Err(_) => Err("expected a whole number above zero".to_owned()),
        Ok(number) => Ok(number),
    }
}

fn change<T>(text: &str, read: impl Fn(&str) -> Result<T, String>) -> Result<Change<T>, String> {
    match text {
        "off" | "none" => Ok(Change::Off),
        "default" => Ok(Change::Default),
        _ => {
            read(text).map(Change::Set).map_err(|error| format!("{error}, \"off\" or \"default\""))
        }
    }
}

/// Reads an amount, `off` or `default`.
pub(super) fn money_change(text: &str) -> Result<Change<Money>, String> {
    change(text, money)
}

/// Reads a whole number, `off` or `default`.
pub(super) fn count_change(text: &str) -> Result<Change<u64>, String> {
    change(text, count)
}

/// Reads a text, `off` or `default`.
pub(super) fn text_change(text: &str) -> Result<Change<String>, String> {
    change(text, |text| String::from_str(text).map_err(|error| error.to_string()))
}

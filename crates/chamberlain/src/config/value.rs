//! What a configuration value can be, and how it is read from a file or from the environment.
//!
//! A [`Kind`] is the whole knowledge about a shape: what it accepts, how it is written, and what
//! to tell somebody who wrote something else. It refuses to guess units.

use std::ops::Range;

use chamberlain_core::anthropic::request::Capability;
use chamberlain_core::ledger::price::PriceOverride;
use chamberlain_core::money::Money;
use chamberlain_core::sink::settings::SinkSettings;
use chamberlain_core::sink::written::WrittenSink;
use chamberlain_core::time::Calendar;
use ipnet::IpNet;
use toml::Spanned;
use toml::de::{DeValue, ValueDeserializer};

use super::suggest;
pub(crate) use address::read_network;
use address::{read_address, read_url};
use units::{DAY_MS, SIZE_UNITS, TIME_UNITS, size_text, with_unit, within};

mod address;
mod units;

pub(crate) use units::duration_text;

/// Longest name, in bytes.
const NAME_BYTES_MAX: usize = 200;

/// The shape of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The format version; only 1 exists.
    Version,
    /// A path to a folder.
    Folder,
    /// A path to a file, or `"off"`.
    OptionalFile,
    /// A name that people gave something elsewhere, or `"off"`.
    OptionalName,
    /// Own price rows.
    Prices,
    /// Where keys are delivered to.
    Sinks,
    /// Whole days, within bounds.
    Days(u64, u64),
    /// One word out of a few.
    OneOf(&'static [&'static str]),
    /// `true` or `false`.
    Flag,
    /// A whole number within bounds.
    Count(u64, u64),
    /// A whole number above zero, or `"off"`.
    OptionalCount,
    /// A length of time with its unit, in milliseconds, within bounds.
    Duration(u64, u64),
    /// A size with its unit, in bytes, within bounds.
    Size(u64, u64),
    /// An amount with its currency, or `"off"`.
    OptionalMoney,
    /// `HOST:PORT`.
    Address,
    /// `http://…` or `https://…` without path, query or password.
    Url,
    /// The same, or `"off"`.
    OptionalUrl,
    /// Networks in CIDR form.
    Networks,
    /// Model ids, with `*` as a wildcard.
    Globs,
    /// Names of operations.
    Names,
    /// Capabilities by name, or `"all"`.
    Capabilities,
    /// Ascending whole percents between 1 and 100.
    Percents,
    /// An IANA time zone.
    Zone,
}

/// A value that was read.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    /// `"off"` or `"all"`: no restriction of that kind; or nothing written.
    Nothing,
    /// Text of any kind.
    Text(String),
    /// True or false.
    Flag(bool),
    /// A number: count, milliseconds or bytes.
    Number(u64),
    /// Money.
    Money(Money),
    /// Networks.
    Networks(Vec<IpNet>),
    /// Several texts.
    Texts(Vec<String>),
    /// Capabilities.
    Capabilities(Vec<Capability>),
    /// Several numbers.
    Numbers(Vec<u32>),
    /// Own price rows.
    Prices(Vec<PriceOverride>),
    /// Where keys are delivered to.
    Sinks(Vec<SinkSettings>),
}

/// Why a value was not taken: what is wrong, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wrong {
    /// What is wrong.
    pub(crate) what: String,
    /// What to write instead.
    pub(crate) fix: String,
}

fn wrong<T>(what: impl Into<String>, fix: impl Into<String>) -> Result<T, Wrong> {
    Err(Wrong { what: what.into(), fix: fix.into() })
}

impl Kind {
    /// What is expected, as the end of the sentence "expected …".
    pub(crate) fn expects(self) -> String {
        match self {
            Kind::Version => "the number 1".to_owned(),
            Kind::Folder => "a path in quotes".to_owned(),
            Kind::OptionalFile => "a path in quotes, or \"off\"".to_owned(),
            Kind::OptionalName => "a name in quotes, or \"off\"".to_owned(),
            Kind::Prices => "[[prices]] tables".to_owned(),
            Kind::Sinks => "[sinks.NAME] tables".to_owned(),
            Kind::Days(..) => "whole days like \"90d\"".to_owned(),
            Kind::OneOf(words) => format!("one of {}", quoted(words)),
            Kind::Flag => "true or false".to_owned(),
            Kind::Count(min, max) => format!("a whole number from {min} to {max}"),
            Kind::OptionalCount => "a whole number above zero, or \"off\"".to_owned(),
            Kind::Duration(..) => "a duration like \"30s\", \"5m\" or \"1h30m\"".to_owned(),
            Kind::Size(..) => "a size like \"32MiB\" or \"512KiB\"".to_owned(),
            Kind::OptionalMoney => "an amount like \"25.00 USD\", or \"off\"".to_owned(),
            Kind::Address => "an address and port like \"127.0.0.1:8787\"".to_owned(),
            Kind::Url => "an address like \"https://api.anthropic.com\"".to_owned(),
            Kind::OptionalUrl => {
                "an address like \"https://claude.example.com\", or \"off\"".to_owned()
            }
            Kind::Networks => "a list of networks like [\"10.0.1.0/24\"]".to_owned(),
            Kind::Globs => "a list of model ids like [\"claude-haiku-*\"]".to_owned(),
            Kind::Names => "a list of names like [\"executive_summary\"]".to_owned(),
            Kind::Capabilities => "a list of capabilities like [\"images\", \"tools\"]".to_owned(),
            Kind::Percents => "a list of rising percents like [75, 90, 100]".to_owned(),
            Kind::Zone => "a time zone like \"UTC\" or \"Europe/Zurich\"".to_owned(),
        }
    }

    /// Reads a TOML value. Price rows are read by [`read_price_row`].
    pub(crate) fn read_toml(self, value: &DeValue<'_>) -> Result<Value, Wrong> {
        match (self, value) {
            (Kind::Prices, DeValue::Array(items)) if items.is_empty() => {
                Ok(Value::Prices(Vec::new()))
            }
            (Kind::Sinks, DeValue::Table(tables)) if tables.is_empty() => {
                Ok(Value::Sinks(Vec::new()))
            }
            (_, DeValue::String(text)) if !self.is_list() => self.read_word(text),
            (Kind::Capabilities, DeValue::String(text)) => self.read_text(text),
            (Kind::Flag, DeValue::Boolean(flag)) => Ok(Value::Flag(*flag)),
            (Kind::Version | Kind::Count(..) | Kind::OptionalCount, DeValue::Integer(number)) => {
                let digits = if number.radix() == 10 { number.as_str() } else { "" };
                self.read_number(&digits.replace('_', ""))
            }
            (Kind::OptionalMoney, DeValue::Integer(number)) => wrong(
                "money is written with its currency, as text",
                format!("write \"{}.00 USD\"", number.as_str()),
            ),
            (Kind::OptionalMoney, DeValue::Float(number)) => wrong(
                "money is written with its currency, as text (a float is not exact)",
                match number.as_str().parse::<Money>() {
                    Ok(money) => format!("write \"{} USD\"", two_decimals(money)),
                    Err(_) => self.instead(),
                },
            ),
            (Kind::Days(..), DeValue::Integer(number)) => {
                wrong("a duration needs its unit", format!("write \"{}d\"", number.as_str()))
            }
            (Kind::Duration(..), DeValue::Integer(number)) => wrong(
                "a duration needs its unit",
                format!("write \"{}s\" if seconds were meant", number.as_str()),
            ),
            (Kind::Size(..), DeValue::Integer(number)) => wrong(
                "a size needs its unit",
                format!("write \"{}B\" if bytes were meant", number.as_str()),
            ),
            (_, DeValue::Array(items)) if self.is_list() => {
                let mut texts = Vec::with_capacity(items.len());
                for item in items.iter() {
                    texts.push(match (self, item.get_ref()) {
                        (Kind::Percents, DeValue::Integer(number)) => number.as_str().to_owned(),
                        (Kind::Percents, _) => return self.wrong_type("something else inside"),
                        (_, DeValue::String(text)) => text.to_string(),
                        (_, other) => {
                            return self.wrong_type(&format!("a list with {}", article(other)));
                        }
                    });
                }
                self.read_list(&texts)
            }
            (_, other) => self.wrong_type(article(other)),
        }
    }

    /// Reads a value from the environment or from the command line; lists are separated by commas.
    pub(crate) fn read_text(self, text: &str) -> Result<Value, Wrong> {
        match self {
            Kind::Capabilities if text == "all" => Ok(Value::Nothing),
            _ if self.is_list() => {
                let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
                self.read_list(&items.map(str::to_owned).collect::<Vec<_>>())
            }
            Kind::Flag => match text {
                "true" => Ok(Value::Flag(true)),
                "false" => Ok(Value::Flag(false)),
                _ => wrong(format!("{text:?} is neither true nor false"), "write true or false"),
            },
            Kind::Version | Kind::Count(..) => self.read_number(text),
            Kind::OptionalCount if text != "off" => self.read_number(text),
            _ => self.read_word(text),
        }
    }

    fn is_list(self) -> bool {
        matches!(
            self,
            Kind::Networks | Kind::Globs | Kind::Names | Kind::Capabilities | Kind::Percents
        )
    }

    fn wrong_type<T>(self, found: &str) -> Result<T, Wrong> {
        wrong(format!("expected {}, found {found}", self.expects()), self.instead())
    }

    fn instead(self) -> String {
        format!("write {}", self.expects())
    }

    fn read_number(self, digits: &str) -> Result<Value, Wrong> {
        let (min, max) = match self {
            Kind::Version => (1, 1),
            Kind::Count(min, max) => (min, max),
            _ => (1, i64::MAX as u64),
        };
        match digits.parse::<u64>() {
            Ok(number) if (min..=max).contains(&number) => Ok(Value::Number(number)),
            _ if self == Kind::Version => wrong(
                format!("version {digits} of the format is not known to this chamberlain"),
                "write version = 1",
            ),
            _ => wrong(format!("{digits:?} is not {}", self.expects()), self.instead()),
        }
    }

    /// Reads a text that is one value.
    fn read_word(self, text: &str) -> Result<Value, Wrong> {
        match self {
            Kind::OptionalCount
            | Kind::OptionalMoney
            | Kind::OptionalFile
            | Kind::OptionalName
            | Kind::OptionalUrl
                if text == "off" =>
            {
                Ok(Value::Nothing)
            }
            Kind::OptionalMoney => read_money(text),
            Kind::Duration(min, max) => {
                let number = with_unit(text, &TIME_UNITS, self)?;
                within(number, (min, max), text, duration_text)
            }
            Kind::Days(min, max) => {
                let ms = with_unit(text, &TIME_UNITS, self)?;
                if ms % DAY_MS != 0 {
                    return wrong(
                        format!("{text:?} is not a whole number of days"),
                        self.instead(),
                    );
                }
                within(ms / DAY_MS, (min, max), text, |days| format!("{days}d"))
            }
            Kind::Size(min, max) => {
                let number = with_unit(text, &SIZE_UNITS, self)?;
                within(number, (min, max), text, size_text)
            }
            Kind::OneOf(words) => {
                if words.contains(&text) {
                    return Ok(Value::Text(text.to_owned()));
                }
                let fix = suggest::nearest(text, words.iter().copied())
                    .map_or_else(|| self.instead(), |word| format!("did you mean {word:?}?"));
                wrong(format!("{text:?} is not {}", self.expects()), fix)
            }
            Kind::Address => read_address(text),
            Kind::Url | Kind::OptionalUrl => read_url(text),
            Kind::OptionalName
                if text.len() > NAME_BYTES_MAX || text.contains(char::is_control) =>
            {
                self.wrong_type("a text that is no name")
            }
            Kind::Folder | Kind::OptionalFile | Kind::OptionalName if !text.is_empty() => {
                Ok(Value::Text(text.to_owned()))
            }
            Kind::Zone => match Calendar::named(text) {
                Ok(_) => Ok(Value::Text(text.to_owned())),
                Err(_) => wrong(format!("{text:?} is not a time zone"), self.instead()),
            },
            _ => self.wrong_type(&format!("the text {text:?}")),
        }
    }

    fn read_list(self, items: &[String]) -> Result<Value, Wrong> {
        match self {
            Kind::Networks => {
                let read = items.iter().map(|item| read_network(item));
                read.collect::<Result<Vec<_>, _>>().map(Value::Networks)
            }
            Kind::Capabilities => {
                let read = items.iter().map(|item| read_capability(item));
                read.collect::<Result<Vec<_>, _>>().map(Value::Capabilities)
            }
            Kind::Percents => {
                let numbers: Option<Vec<u32>> =
                    items.iter().map(|item| item.parse::<u32>().ok()).collect();
                match numbers {
                    Some(numbers)
                        if numbers.iter().all(|n| (1..=100).contains(n))
                            && numbers.is_sorted_by(|a, b| a < b) =>
                    {
                        Ok(Value::Numbers(numbers))
                    }
                    _ => wrong(format!("expected {}", self.expects()), self.instead()),
                }
            }
            _ => {
                let bad = items.iter().find(|item| {
                    item.is_empty()
                        || item.len() > 128
                        || item.bytes().any(|b| !b.is_ascii_graphic() || b == b'"')
                });
                match bad {
                    Some(item) => wrong(format!("{item:?} cannot be a name"), self.instead()),
                    None => Ok(Value::Texts(items.to_vec())),
                }
            }
        }
    }
}

impl Value {
    /// The value as it is written in the file. `kind` decides the unit of a number.
    pub(crate) fn to_toml(&self, kind: Kind) -> String {
        match (self, kind) {
            (Value::Nothing, Kind::Capabilities) => "\"all\"".to_owned(),
            (Value::Nothing, Kind::Folder) => "\"\"".to_owned(),
            (Value::Nothing, _) => "\"off\"".to_owned(),
            (Value::Text(text), _) => format!("{text:?}"),
            (Value::Flag(flag), _) => flag.to_string(),
            (Value::Number(number), Kind::Duration(..)) => format!("{:?}", duration_text(*number)),
            (Value::Number(number), Kind::Days(..)) => format!("\"{number}d\""),
            (Value::Number(number), Kind::Size(..)) => format!("{:?}", size_text(*number)),
            (Value::Number(number), _) => number.to_string(),
            (Value::Money(money), _) => format!("\"{} USD\"", two_decimals(*money)),
            (Value::Networks(list), _) => format!("{:?}", texts(list)),
            (Value::Texts(list), _) => format!("{list:?}"),
            (Value::Capabilities(list), _) => {
                format!("{:?}", list.iter().map(capability_name).collect::<Vec<_>>())
            }
            (Value::Numbers(list), _) => format!("{list:?}"),
            (Value::Prices(rows), _) => {
                let ids: Vec<_> = rows.iter().map(|row| row.id.as_str()).collect();
                format!("{ids:?}")
            }
            (Value::Sinks(sinks), _) if sinks.is_empty() => "{}".to_owned(),
            (Value::Sinks(sinks), _) => {
                let names: Vec<_> = sinks.iter().map(|sink| sink.name.as_str()).collect();
                format!("{names:?}")
            }
        }
    }
}

/// Reads one `[[prices]]` table.
pub(crate) fn read_price_row(
    row: &Spanned<DeValue<'_>>,
) -> Result<PriceOverride, (Range<usize>, Wrong)> {
    use serde::Deserialize;
    let read = PriceOverride::deserialize(ValueDeserializer::from(row.clone()));
    read.map_err(|error| {
        let wrong = Wrong {
            what: error.message().trim().replace('\n', ", "),
            fix: "write quoted US dollars per million tokens, like input = \"3.00\"".to_owned(),
        };
        (error.span().unwrap_or_else(|| row.span()), wrong)
    })
}

/// Reads one `[sinks.NAME]` table.
pub(crate) fn read_sink(
    name: &str,
    table: &Spanned<DeValue<'_>>,
) -> Result<SinkSettings, (Range<usize>, Wrong)> {
    use serde::Deserialize;
    let read = WrittenSink::deserialize(ValueDeserializer::from(table.clone()));
    let written = read.map_err(|error| {
        let what = error.message().trim().replace('\n', ", ");
        let fix = "docs/sinks.md has every word of every kind of sink".to_owned();
        (error.span().unwrap_or_else(|| table.span()), Wrong { what, fix })
    })?;
    written.resolve(name).map_err(|wrong| {
        let inside = table.get_ref().as_table().and_then(|table| table.get(wrong.word));
        let span = inside.map_or_else(|| table.span(), Spanned::span);
        let fix = format!("mend `{}`; docs/sinks.md says what it takes", wrong.word);
        (span, Wrong { what: wrong.to_string(), fix })
    })
}

fn texts<T: ToString>(list: &[T]) -> Vec<String> {
    list.iter().map(T::to_string).collect()
}

fn two_decimals(money: Money) -> String {
    let text = money.to_decimal();
    match text.split_once('.') {
        None => format!("{text}.00"),
        Some((_, fraction)) if fraction.len() < 2 => format!("{text}0"),
        Some(_) => text,
    }
}

fn article(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "text",
        DeValue::Integer(_) => "a number",
        DeValue::Float(_) => "a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

fn quoted(words: &[&str]) -> String {
    words.iter().map(|word| format!("{word:?}")).collect::<Vec<_>>().join(", ")
}

fn read_money(text: &str) -> Result<Value, Wrong> {
    let money = match text.parse::<Money>() {
        Ok(money) => money,
        Err(error) => return wrong(error.to_string(), "write an amount like \"25.00 USD\""),
    };
    if !text.ends_with("USD") {
        let fix = format!("write \"{} USD\"", two_decimals(money));
        return wrong(format!("{text:?} does not say its currency"), fix);
    }
    Ok(Value::Money(money))
}

/// Reads a capability by its name.
pub(crate) fn read_capability(text: &str) -> Result<Capability, Wrong> {
    use serde::Deserialize;
    use serde::de::IntoDeserializer;
    use serde::de::value::{Error, StrDeserializer};
    let deserializer: StrDeserializer<'_, Error> = text.into_deserializer();
    Capability::deserialize(deserializer).or_else(|error| {
        // serde lists every variant between back quotes; that list cannot go stale.
        let message = error.to_string();
        let names: Vec<&str> = message.split('`').skip(3).step_by(2).collect();
        let fix = match suggest::nearest(text, names.iter().copied()) {
            Some(name) => format!("did you mean {name:?}?"),
            None => format!("known capabilities: {}", names.join(", ")),
        };
        wrong(format!("{text:?} is not a capability"), fix)
    })
}

fn capability_name(capability: &Capability) -> String {
    match serde_json::to_value(capability) {
        Ok(serde_json::Value::String(name)) => name,
        _ => format!("{capability:?}"),
    }
}

#[cfg(test)]
mod tests;

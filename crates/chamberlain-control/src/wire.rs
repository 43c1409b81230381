//! Values with a form of their own on the wire: secrets, moments, and changes to a setting.

use std::fmt;

use chamberlain_core::admission::key::PresentedKey;
use chamberlain_core::secret::Secret;
use chamberlain_core::time::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A secret that must cross the socket: an upstream key on its way in, a new virtual key on its
/// one way out. It prints as `[secret]` and is wiped when dropped; serializing it is the only way
/// to see it, so it must never be put in anything but a command or a reply.
#[derive(Debug)]
pub struct SecretText(Secret);

impl SecretText {
    /// Wraps a secret for the wire.
    pub fn new(secret: Secret) -> SecretText {
        SecretText(secret)
    }

    /// The secret.
    pub fn secret(&self) -> &Secret {
        &self.0
    }

    /// The virtual key that it is, taken apart; `None` when it is none.
    pub fn presented(&self) -> Option<PresentedKey> {
        PresentedKey::parse(self.0.expose())
    }

    /// Takes the secret out.
    pub fn into_secret(self) -> Secret {
        self.0
    }
}

impl Serialize for SecretText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.expose())
    }
}

impl<'de> Deserialize<'de> for SecretText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<SecretText, D::Error> {
        String::deserialize(deserializer).map(|text| SecretText(Secret::new(text)))
    }
}

/// A moment, RFC 3339 in UTC on the wire.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Moment(pub Timestamp);

impl From<Timestamp> for Moment {
    fn from(timestamp: Timestamp) -> Moment {
        Moment(timestamp)
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0.to_rfc3339())
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Moment, D::Error> {
        let text = String::deserialize(deserializer)?;
        Timestamp::from_rfc3339(&text).map(Moment).map_err(serde::de::Error::custom)
    }
}

/// What to do with one setting: absent leaves it, `"default"` forgets what a command had set,
/// `"off"` means none at all, anything else is the new value.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub enum Change<T> {
    /// Leave it.
    #[default]
    Keep,
    /// Back to what the configuration says.
    Default,
    /// None, whatever the configuration says.
    Off,
    /// This.
    Set(T),
}

impl<T> Change<T> {
    /// True for [`Change::Keep`].
    pub fn is_keep(&self) -> bool {
        matches!(self, Change::Keep)
    }
}

impl<T: Serialize> Serialize for Change<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Change::Keep => serializer.serialize_none(),
            Change::Default => serializer.serialize_str("default"),
            Change::Off => serializer.serialize_str("off"),
            Change::Set(value) => value.serialize(serializer),
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Change<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Change<T>, D::Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "snake_case")]
        enum Word {
            Default,
            Off,
        }
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "expected a value, \"off\" or \"default\"")]
        enum Form<T> {
            Word(Word),
            Value(T),
            Nothing(()),
        }
        Ok(match Form::deserialize(deserializer)? {
            Form::Word(Word::Default) => Change::Default,
            Form::Word(Word::Off) => Change::Off,
            Form::Value(value) => Change::Set(value),
            Form::Nothing(()) => Change::Keep,
        })
    }
}

/// By what costs are added up.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CostBy {
    /// By virtual key.
    #[default]
    VirtualKey,
    /// By served model.
    Model,
    /// By environment.
    Environment,
    /// By operation.
    Operation,
}

#[cfg(test)]
mod tests {
    use super::*;
    use chamberlain_core::money::Money;

    #[test]
    fn a_change_has_four_forms() {
        for (change, text) in [
            (Change::Keep, "null"),
            (Change::Default, "\"default\""),
            (Change::Off, "\"off\""),
            (Change::Set(Money::from_usd(25)), "\"25.00\""),
        ] {
            assert_eq!(serde_json::to_string(&change).unwrap(), text);
            assert_eq!(serde_json::from_str::<Change<Money>>(text).unwrap(), change);
        }
        assert_eq!(serde_json::from_str::<Change<u64>>("20").unwrap(), Change::Set(20));
        assert!(serde_json::from_str::<Change<u64>>("\"of\"").is_err());
    }

    #[test]
    fn a_secret_is_seen_on_the_wire_only() {
        let text = SecretText::new(Secret::new("planted".to_owned()));
        assert_eq!(format!("{text:?}"), "SecretText([secret])");
        assert_eq!(serde_json::to_string(&text).unwrap(), "\"planted\"");
    }

    #[test]
    fn a_moment_is_rfc_3339() {
        let moment = Moment(Timestamp::from_rfc3339("2026-11-23T09:00:00.250Z").unwrap());
        let text = serde_json::to_string(&moment).unwrap();
        assert_eq!(text, "\"2026-11-23T09:00:00.250Z\"");
        assert_eq!(serde_json::from_str::<Moment>(&text).unwrap(), moment);
    }
}

//! From the body of `POST /v1/messages/batches` to its items, one at a time.
//!
//! Strict, because what is not read here cannot be bounded: a batch and an item have no fields but
//! those that are known, every item's `params` goes through the same reader as a message, and what
//! Anthropic does not take in batches is refused by name, with the item's place and `custom_id`.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::anthropic::request::{
    Capability, Fallbacks, InspectLimits, MalformedRequest, RequestFacts, Thread,
    inspect as inspect_message,
};
use crate::usage::Speed;

/// The most items a batch may have.
pub const ITEMS_MAX: u64 = 100_000;

/// The longest `custom_id`, in characters.
const CUSTOM_ID_CHARS_MAX: usize = 64;

/// One item of a batch.
#[derive(Debug)]
pub struct Item<'a> {
    /// Its place, from 0.
    pub index: u64,
    /// `custom_id`: 1 to 64 letters, digits, `_` and `-`.
    pub custom_id: &'a str,
    /// What its `params` say. [`Capability::Batches`] is among what it uses.
    pub facts: &'a RequestFacts,
}

/// Why a batch was refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum BadBatch<E> {
    /// It cannot be read.
    Malformed(MalformedRequest),
    /// Whoever was shown the item said no.
    Item {
        /// The item's place, from 0.
        index: u64,
        /// Its `custom_id`.
        custom_id: String,
        /// What was said.
        why: E,
    },
}

/// Reads the body, showing every item to `look`, and gives how many there are.
///
/// # Errors
/// [`BadBatch`]: the first thing that is wrong, or the first item that `look` refuses.
pub fn inspect<E>(
    body: &[u8],
    limits: InspectLimits,
    look: impl FnMut(&Item<'_>) -> Result<(), E>,
) -> Result<u64, BadBatch<E>> {
    let text = std::str::from_utf8(body).map_err(|error| {
        BadBatch::Malformed(MalformedRequest::NotUtf8 { offset: error.valid_up_to() })
    })?;
    let mut walk = Walk { look, limits, ids: HashSet::new(), items: 0, bad: None };
    let mut parser = serde_json::Deserializer::from_str(text);
    let read = Batch(&mut walk).deserialize(&mut parser).and_then(|()| parser.end());
    match (read, walk.bad) {
        (Ok(()), _) => Ok(walk.items),
        (Err(_), Some(bad)) => Err(bad),
        (Err(error), None) => {
            Err(BadBatch::Malformed(MalformedRequest::NotJson { reason: error.to_string() }))
        }
    }
}

fn field(field: impl Into<String>, reason: impl Into<String>) -> MalformedRequest {
    MalformedRequest::Field { field: field.into(), reason: reason.into() }
}

/// The reading of one batch.
struct Walk<'de, E, L> {
    look: L,
    limits: InspectLimits,
    ids: HashSet<Cow<'de, str>>,
    items: u64,
    /// Why the reading ended early.
    bad: Option<BadBatch<E>>,
}

impl<'de, E, L: FnMut(&Item<'_>) -> Result<(), E>> Walk<'de, E, L> {
    fn stop<T, D: serde::de::Error>(&mut self, bad: MalformedRequest) -> Result<T, D> {
        self.bad = Some(BadBatch::Malformed(bad));
        Err(D::custom("refused"))
    }

    /// Takes one item, when it has ended.
    fn item<D: serde::de::Error>(
        &mut self,
        custom_id: Option<Cow<'de, str>>,
        params: Option<&'de RawValue>,
    ) -> Result<(), D> {
        let index = self.items;
        let place = |name: &str| format!("requests.{index}.{name}");
        let Some(custom_id) = custom_id else {
            return self.stop(field(place("custom_id"), "it is required; give each item its own"));
        };
        if !is_custom_id(&custom_id) {
            let reason = "expected 1 to 64 letters, digits, '_' or '-'";
            return self.stop(field(place("custom_id"), reason));
        }
        let Some(params) = params else {
            let reason = format!("it is required (custom_id {custom_id:?})");
            return self.stop(field(place("params"), reason));
        };
        let mut facts = match self.read(params, index, &custom_id) {
            Ok(facts) => facts,
            Err(bad) => return self.stop(bad),
        };
        facts.capabilities.push(Capability::Batches);
        facts.capabilities.sort_unstable();
        let item = Item { index, custom_id: &custom_id, facts: &facts };
        if let Err(why) = (self.look)(&item) {
            self.bad = Some(BadBatch::Item { index, custom_id: custom_id.into_owned(), why });
            return Err(D::custom("refused"));
        }
        if self.ids.contains(&custom_id) {
            let reason = format!("{custom_id:?} is the custom_id of an item before it, too");
            return self.stop(field(place("custom_id"), reason));
        }
        self.ids.insert(custom_id);
        self.items += 1;
        Ok(())
    }

    /// The facts of one item's `params`.
    fn read(
        &self,
        params: &RawValue,
        index: u64,
        custom_id: &str,
    ) -> Result<RequestFacts, MalformedRequest> {
        let named = |bad| in_item(bad, index, custom_id);
        let facts = inspect_message(params.get().as_bytes(), self.limits).map_err(named)?;
        let refuse = |name: &str, reason: &str| Err(named(field(name, reason)));
        if facts.stream {
            return refuse("stream", "a batch has no streams; leave it out");
        }
        if facts.speed == Speed::Fast {
            return refuse("speed", "there is no fast mode in batches; leave it out");
        }
        if facts.max_tokens == Some(0) {
            return refuse(
                "max_tokens",
                "0 only warms a cache, which batches do not do; ask for 1",
            );
        }
        if facts.fallbacks != Fallbacks::None {
            return refuse("fallbacks", "there are none in batches; leave it out");
        }
        if facts.thread != Thread::None {
            return refuse("thread", "there are none in batches; send the messages themselves");
        }
        Ok(facts)
    }
}

fn is_custom_id(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    (1..=CUSTOM_ID_CHARS_MAX).contains(&text.len()) && text.bytes().all(plain)
}

/// The same, as it reads from outside the item.
fn in_item(bad: MalformedRequest, index: u64, custom_id: &str) -> MalformedRequest {
    let place = format!("requests.{index}.params");
    let whose = format!(" (custom_id {custom_id:?})");
    match bad {
        MalformedRequest::Field { field, reason } => {
            let field = if field == "the body" { place } else { format!("{place}.{field}") };
            MalformedRequest::Field { field, reason: reason + &whose }
        }
        MalformedRequest::DuplicateKey { path, key } => {
            let path = if path == "the top level" { place } else { format!("{place}.{path}") };
            MalformedRequest::DuplicateKey { path: path + &whose, key }
        }
        other => MalformedRequest::Field { field: place, reason: other.to_string() + &whose },
    }
}

/// The whole body.
struct Batch<'w, 'de, E, L>(&'w mut Walk<'de, E, L>);

/// `requests`.
struct Requests<'w, 'de, E, L>(&'w mut Walk<'de, E, L>);

/// One element of it.
struct OneItem<'w, 'de, E, L>(&'w mut Walk<'de, E, L>);

macro_rules! seed {
    ($name:ident) => {
        impl<'de, E, L: FnMut(&Item<'_>) -> Result<(), E>> DeserializeSeed<'de>
            for $name<'_, 'de, E, L>
        {
            type Value = ();

            fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
                deserializer.deserialize_any(self)
            }
        }
    };
}

seed!(Batch);
seed!(Requests);
seed!(OneItem);

impl<'de, E, L: FnMut(&Item<'_>) -> Result<(), E>> Visitor<'de> for Batch<'_, 'de, E, L> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with a list of requests")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let walk = self.0;
        let mut seen = false;
        while let Some(key) = members.next_key::<Cow<'de, str>>()? {
            if key != "requests" {
                return walk.stop(unknown(&key, "a batch has requests and nothing else"));
            }
            if seen {
                return walk.stop(twice("the top level".to_owned(), &key));
            }
            seen = true;
            members.next_value_seed(Requests(&mut *walk))?;
        }
        if walk.items == 0 {
            return walk.stop(field("requests", "it is required, with at least one item"));
        }
        Ok(())
    }
}

impl<'de, E, L: FnMut(&Item<'_>) -> Result<(), E>> Visitor<'de> for Requests<'_, 'de, E, L> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of requests")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        let walk = self.0;
        while elements.next_element_seed(OneItem(&mut *walk))?.is_some() {
            if walk.items > ITEMS_MAX {
                let reason = format!("a batch has at most {ITEMS_MAX} items; make two of it");
                return walk.stop(field("requests", reason));
            }
        }
        Ok(())
    }
}

impl<'de, E, L: FnMut(&Item<'_>) -> Result<(), E>> Visitor<'de> for OneItem<'_, 'de, E, L> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an item with custom_id and params")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let walk = self.0;
        let place = format!("requests.{}", walk.items);
        let (mut custom_id, mut params) = (None, None);
        while let Some(key) = members.next_key::<Cow<'de, str>>()? {
            let seen = match &*key {
                "custom_id" => {
                    custom_id.replace(members.next_value::<CustomId<'de>>()?.0).is_some()
                }
                "params" => params.replace(members.next_value::<&'de RawValue>()?).is_some(),
                other => {
                    let path = format!("{place}.{other}");
                    return walk.stop(unknown(&path, "an item has custom_id and params only"));
                }
            };
            if seen {
                return walk.stop(twice(place, &key));
            }
        }
        walk.item(custom_id, params)
    }
}

fn unknown(name: &str, reason: &str) -> MalformedRequest {
    field(crate::anthropic::json::quoted(name), reason)
}

fn twice(path: String, key: &str) -> MalformedRequest {
    MalformedRequest::DuplicateKey { path, key: key.to_owned() }
}

/// A `custom_id`, borrowed where it has no escapes.
struct CustomId<'de>(Cow<'de, str>);

impl<'de> serde::Deserialize<'de> for CustomId<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl<'de> Visitor<'de> for Text {
            type Value = Cow<'de, str>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a custom_id")
            }

            fn visit_borrowed_str<E: serde::de::Error>(
                self,
                text: &'de str,
            ) -> Result<Self::Value, E> {
                Ok(Cow::Borrowed(text))
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Cow::Owned(text.to_owned()))
            }
        }
        deserializer.deserialize_str(Text).map(CustomId)
    }
}

#[cfg(test)]
mod tests;

//! A strict reading of JSON: duplicate keys and excess depth are refused.
//!
//! Two parsers that disagree about one body are a way around policy: `{"max_tokens":1,
//! "max_tokens":128000}` is cheap to one and dear to the other. So a name may occur only once in
//! an object, however it is escaped, and nothing may follow the value. No tree is built: a
//! [`Listener`] is told of each value as it passes, and long texts are borrowed.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

/// The deepest nesting that can be asked for. It stays below the point where `serde_json` gives up
/// with words of its own.
pub const DEPTH_CEILING: usize = 126;

/// Up to this many keys in one object are compared one by one; beyond it they are sorted.
const FEW_KEYS: usize = 16;

/// Longest piece of a client's text that a message repeats, in characters.
const QUOTED_CHARS_MAX: usize = 80;

/// What stands at a place. Arrays and objects are told when they begin.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Value<'a> {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A whole number that is not negative.
    Whole(u64),
    /// Any other number.
    Number,
    /// A text, unescaped.
    Text(&'a str),
    /// An array begins.
    Array,
    /// An object begins.
    Object,
}

/// Why a [`Listener`] refuses a value: what it expected there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wrong(pub Cow<'static, str>);

/// Whoever wants to know what stands in a document.
pub trait Listener {
    /// Where in the document a value stands, as far as the listener cares.
    type Place: Copy;

    /// The place of the value under `key` of an object.
    fn member(&mut self, object: Self::Place, key: &str) -> Self::Place;

    /// The place of the next element of an array.
    fn element(&mut self, array: Self::Place) -> Self::Place;

    /// A value stands there.
    ///
    /// # Errors
    /// [`Wrong`], to end the reading.
    fn value(&mut self, place: Self::Place, value: Value<'_>) -> Result<(), Wrong>;

    /// The array or object there has ended; `value` says which of the two it was.
    ///
    /// # Errors
    /// [`Wrong`], to end the reading.
    fn close(&mut self, place: Self::Place, value: Value<'_>) -> Result<(), Wrong>;
}

/// Why a document was not read to its end. Paths are dotted (`messages.0.content`), and empty for
/// the document itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum JsonError {
    /// Not UTF-8.
    NotUtf8 {
        /// Offset of the first bad byte.
        offset: usize,
    },
    /// Not one JSON value.
    NotJson {
        /// What the parser says; it never repeats the document.
        reason: String,
    },
    /// A name twice in one object.
    DuplicateKey {
        /// Path of the object.
        path: String,
        /// The name.
        key: String,
    },
    /// Nested too deeply.
    TooDeep {
        /// The deepest nesting that would do.
        max: usize,
    },
    /// The listener refused a value.
    Wrong {
        /// Path of the value.
        path: String,
        /// What the listener said.
        reason: String,
    },
}

/// Reads one document, telling `listener` what stands where.
///
/// # Errors
/// [`JsonError`]: the first thing that is wrong with the document.
pub fn read<L: Listener>(
    document: &[u8],
    depth_max: usize,
    root: L::Place,
    listener: &mut L,
) -> Result<(), JsonError> {
    let text = std::str::from_utf8(document)
        .map_err(|error| JsonError::NotUtf8 { offset: error.valid_up_to() })?;
    let mut walk = Walk {
        listener,
        keys: Vec::new(),
        depth: 0,
        depth_max: depth_max.min(DEPTH_CEILING),
        stop: None,
        trail: Vec::new(),
    };
    let mut parser = serde_json::Deserializer::from_str(text);
    let read =
        Step { walk: &mut walk, place: root }.deserialize(&mut parser).and_then(|()| parser.end());
    match read {
        Ok(()) => Ok(()),
        Err(error) => Err(walk.explain(&error)),
    }
}

/// Why the walk ended early, before its path is known.
enum Stop {
    Duplicate(String),
    TooDeep,
    Wrong(Wrong),
}

struct Walk<'l, 'de, L> {
    listener: &'l mut L,
    /// The keys of all open objects, the innermost's last: one allocation for the whole document.
    keys: Vec<Cow<'de, str>>,
    depth: usize,
    depth_max: usize,
    stop: Option<Stop>,
    /// The path of what stopped the walk, innermost segment first; filled while it unwinds.
    trail: Vec<String>,
}

impl<L: Listener> Walk<'_, '_, L> {
    fn explain(self, error: &serde_json::Error) -> JsonError {
        let path = self.trail.iter().rev().map(String::as_str).collect::<Vec<_>>().join(".");
        match self.stop {
            None => JsonError::NotJson { reason: error.to_string() },
            Some(Stop::TooDeep) => JsonError::TooDeep { max: self.depth_max },
            Some(Stop::Duplicate(key)) => JsonError::DuplicateKey { path, key },
            Some(Stop::Wrong(Wrong(reason))) => {
                JsonError::Wrong { path, reason: reason.into_owned() }
            }
        }
    }

    fn stop<E: serde::de::Error>(&mut self, why: Stop) -> E {
        self.stop = Some(why);
        E::custom("refused")
    }

    fn tell<E: serde::de::Error>(&mut self, place: L::Place, value: Value<'_>) -> Result<(), E> {
        self.listener.value(place, value).map_err(|wrong| self.stop(Stop::Wrong(wrong)))
    }

    fn open<E: serde::de::Error>(&mut self, place: L::Place, value: Value<'_>) -> Result<(), E> {
        self.depth += 1;
        if self.depth > self.depth_max {
            return Err(self.stop(Stop::TooDeep));
        }
        self.tell(place, value)
    }

    fn close<E: serde::de::Error>(&mut self, place: L::Place, value: Value<'_>) -> Result<(), E> {
        self.depth -= 1;
        self.listener.close(place, value).map_err(|wrong| self.stop(Stop::Wrong(wrong)))
    }

    /// Notes how the walk got to where it stopped.
    fn mark(&mut self, segment: impl FnOnce(&Self) -> String) {
        if self.stop.is_some() {
            let segment = segment(self);
            self.trail.push(segment);
        }
    }

    /// The first key of the innermost object, which begins at `start`, that occurs twice. Called
    /// with each key while there are few, and once at the end when there are many.
    fn twice(&mut self, start: usize, ended: bool) -> Option<String> {
        let keys = &mut self.keys[start..];
        if ended {
            if keys.len() <= FEW_KEYS {
                return None;
            }
            keys.sort_unstable();
            return keys.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| quoted(&pair[0]));
        }
        let (last, before) = keys.split_last()?;
        (keys.len() <= FEW_KEYS && before.contains(last)).then(|| quoted(last))
    }
}

/// As much of a client's text as a message should repeat.
pub(crate) fn quoted(text: &str) -> String {
    match text.char_indices().nth(QUOTED_CHARS_MAX) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

/// One value of the walk: the seed that reads it, and the visitor that is told what it is.
struct Step<'w, 'l, 'de, L: Listener> {
    walk: &'w mut Walk<'l, 'de, L>,
    place: L::Place,
}

impl<'de, L: Listener> DeserializeSeed<'de> for Step<'_, '_, 'de, L> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, L: Listener> Visitor<'de> for Step<'_, '_, 'de, L> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        self.walk.tell(self.place, Value::Null)
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<(), E> {
        self.walk.tell(self.place, Value::Bool(value))
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<(), E> {
        self.walk.tell(self.place, Value::Whole(value))
    }

    fn visit_i64<E: serde::de::Error>(self, _: i64) -> Result<(), E> {
        self.walk.tell(self.place, Value::Number)
    }

    fn visit_f64<E: serde::de::Error>(self, _: f64) -> Result<(), E> {
        self.walk.tell(self.place, Value::Number)
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<(), E> {
        self.walk.tell(self.place, Value::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        let Step { walk, place } = self;
        walk.open(place, Value::Array)?;
        let mut index = 0_usize;
        loop {
            let inner = walk.listener.element(place);
            match elements.next_element_seed(Step { walk: &mut *walk, place: inner }) {
                Ok(Some(())) => index += 1,
                Ok(None) => break,
                Err(error) => {
                    walk.mark(|_| index.to_string());
                    return Err(error);
                }
            }
        }
        walk.close(place, Value::Array)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let Step { walk, place } = self;
        walk.open(place, Value::Object)?;
        let start = walk.keys.len();
        while let Some(key) = members.next_key_seed(Key)? {
            let inner = walk.listener.member(place, &key);
            walk.keys.push(key);
            if let Some(key) = walk.twice(start, false) {
                return Err(walk.stop(Stop::Duplicate(key)));
            }
            let here = walk.keys.len() - 1;
            if let Err(error) = members.next_value_seed(Step { walk: &mut *walk, place: inner }) {
                walk.mark(|walk| quoted(&walk.keys[here]));
                return Err(error);
            }
        }
        if let Some(key) = walk.twice(start, true) {
            return Err(walk.stop(Stop::Duplicate(key)));
        }
        walk.keys.truncate(start);
        walk.close(place, Value::Object)
    }
}

/// A key of an object: borrowed, or unescaped into a text of its own.
struct Key;

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Key {
    type Value = Cow<'de, str>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a key")
    }

    fn visit_borrowed_str<E: serde::de::Error>(self, key: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(key))
    }

    fn visit_str<E: serde::de::Error>(self, key: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(key.to_owned()))
    }
}

#[cfg(test)]
mod tests;

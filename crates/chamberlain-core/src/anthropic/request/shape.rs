//! The shapes that a field may have, and what is said when it has another.

use std::borrow::Cow;

use crate::anthropic::json::{Value, Wrong};
use crate::resource::ResourceId;
use crate::usage::Speed;

/// Longest name (of a model, a tool type, a region) that a request may have.
const NAME_BYTES_MAX: usize = 256;

pub(super) fn wrong<T>(expected: impl Into<Cow<'static, str>>) -> Result<T, Wrong> {
    Err(Wrong(expected.into()))
}

/// A whole number, or nothing.
pub(super) fn whole(value: Value<'_>) -> Result<Option<u64>, Wrong> {
    match value {
        Value::Whole(number) => Ok(Some(number)),
        Value::Null => Ok(None),
        _ => wrong("expected a whole number that is not negative"),
    }
}

/// A name, or nothing. Names are kept and put on record, so they may not be of any length.
pub(super) fn name(value: Value<'_>) -> Result<Option<String>, Wrong> {
    match text(value)? {
        Some(name) if name.len() > NAME_BYTES_MAX => {
            wrong(format!("expected a name of at most {NAME_BYTES_MAX} bytes"))
        }
        name => Ok(name.map(str::to_owned)),
    }
}

/// A text, or nothing.
pub(super) fn text(value: Value<'_>) -> Result<Option<&str>, Wrong> {
    match value {
        Value::Text(text) => Ok(Some(text)),
        Value::Null => Ok(None),
        _ => wrong("expected a string"),
    }
}

/// The id of something upstream keeps, or nothing.
pub(super) fn id(value: Value<'_>) -> Result<Option<ResourceId>, Wrong> {
    let Some(text) = text(value)? else { return Ok(None) };
    match ResourceId::parse(text) {
        Some(id) => Ok(Some(id)),
        None => wrong("expected an id of 1 to 128 letters, digits, \"_\" and \"-\""),
    }
}

/// A model's name, or nothing.
pub(super) fn model(value: Value<'_>) -> Result<Option<String>, Wrong> {
    match name(value)? {
        Some(name) if name.is_empty() => wrong("expected the name of a model, not an empty string"),
        name => Ok(name),
    }
}

pub(super) fn speed(value: Value<'_>) -> Result<Option<Speed>, Wrong> {
    match text(value)? {
        None => Ok(None),
        Some("standard") => Ok(Some(Speed::Standard)),
        Some("fast") => Ok(Some(Speed::Fast)),
        Some(_) => wrong("expected \"standard\" or \"fast\""),
    }
}

pub(super) fn object_or_null(value: Value<'_>) -> Result<(), Wrong> {
    match value {
        Value::Object | Value::Null => Ok(()),
        _ => wrong("expected an object"),
    }
}

pub(super) fn array_or_null(value: Value<'_>) -> Result<(), Wrong> {
    match value {
        Value::Array | Value::Null => Ok(()),
        _ => wrong("expected an array"),
    }
}

pub(super) fn object(value: Value<'_>) -> Result<(), Wrong> {
    match value {
        Value::Object => Ok(()),
        _ => wrong("expected an object"),
    }
}

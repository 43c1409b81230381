//! Writing JSON so that the same facts always give the same bytes.
//!
//! No spaces, members in ascending order of their names, integers only, and no allocation: two
//! records are written for every call. Refuses floats (written as text) and secrets: whatever has
//! the shape of an Anthropic key or a virtual key is cut short before it reaches the log.

use std::fmt::{self, Write};

use serde_json::Value;

use crate::money::{Money, PICO_PER_USD};
use crate::secret;

/// An object being written. Members must be added in ascending order.
#[derive(Debug)]
pub struct Object<'a> {
    out: &'a mut Vec<u8>,
    last: &'static str,
}

impl<'a> Object<'a> {
    /// Begins an object at the end of `out`.
    pub fn open(out: &'a mut Vec<u8>) -> Object<'a> {
        out.push(b'{');
        Object { out, last: "" }
    }

    /// Adds the name of the next member; the caller writes its value.
    pub fn member(&mut self, name: &'static str) -> &mut Vec<u8> {
        debug_assert!(self.last < name, "{name} after {}", self.last);
        if !self.last.is_empty() {
            self.out.push(b',');
        }
        self.last = name;
        plain(self.out, name);
        self.out.push(b':');
        self.out
    }

    /// Adds a text, or nothing.
    pub fn text(&mut self, name: &'static str, value: Option<&str>) {
        if let Some(value) = value {
            text(self.member(name), value);
        }
    }

    /// Adds a count, or nothing when it is zero.
    pub fn count(&mut self, name: &'static str, value: u64) {
        if value != 0 {
            unsigned(self.member(name), value);
        }
    }

    /// Adds an amount of money in dollars.
    pub fn money(&mut self, name: &'static str, value: Money) {
        money(self.member(name), value);
    }

    /// Ends the object.
    pub fn close(self) {
        self.out.push(b'}');
    }
}

/// Writes a text that may come from outside; see [`secret::redact`].
pub fn text(out: &mut Vec<u8>, text: &str) {
    let text = secret::redact(text);
    out.push(b'"');
    escape(out, &text);
    out.push(b'"');
}

/// Writes a text of our own that needs no escape.
pub fn plain(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    out.extend_from_slice(text.as_bytes());
    out.push(b'"');
}

/// Writes what `value` displays as a text.
pub fn display(out: &mut Vec<u8>, value: &dyn fmt::Display) {
    struct Escaped<'a>(&'a mut Vec<u8>);
    impl Write for Escaped<'_> {
        fn write_str(&mut self, part: &str) -> fmt::Result {
            escape(self.0, part);
            Ok(())
        }
    }
    out.push(b'"');
    // Writing into a vector cannot fail; a `Display` that fails on its own writes what it has.
    let _ = write!(Escaped(out), "{value}");
    out.push(b'"');
}

/// Writes an unsigned integer.
pub fn unsigned(out: &mut Vec<u8>, value: u64) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    let mut rest = value;
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// Writes an integer.
pub fn signed(out: &mut Vec<u8>, value: i64) {
    if value < 0 {
        out.push(b'-');
    }
    unsigned(out, value.unsigned_abs());
}

/// Writes money as [`Money::to_decimal`] does, without its allocations.
pub fn money(out: &mut Vec<u8>, value: Money) {
    const ONE: u128 = PICO_PER_USD.unsigned_abs();
    let magnitude = value.pico().unsigned_abs();
    out.push(b'"');
    if value.is_negative() {
        out.push(b'-');
    }
    match u64::try_from(magnitude / ONE) {
        Ok(whole) => unsigned(out, whole),
        Err(_) => escape(out, &(magnitude / ONE).to_string()),
    }
    let mut fraction = [b'0'; 12];
    let mut rest = (magnitude % ONE) as u64;
    for digit in fraction.iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    let used = fraction.iter().rposition(|digit| *digit != b'0').map_or(0, |last| last + 1);
    out.push(b'.');
    out.extend_from_slice(&fraction[..used.max(2)]);
    out.push(b'"');
}

/// Writes any JSON value: members sorted, floats as text.
pub fn value(out: &mut Vec<u8>, any: &Value) {
    match any {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(yes) => boolean(out, *yes),
        Value::Number(number) => match (number.as_u64(), number.as_i64()) {
            (Some(count), _) => unsigned(out, count),
            (None, Some(count)) => signed(out, count),
            (None, None) => display(out, number),
        },
        Value::String(value) => text(out, value),
        Value::Array(items) => {
            out.push(b'[');
            for (place, item) in items.iter().enumerate() {
                if place > 0 {
                    out.push(b',');
                }
                value(out, item);
            }
            out.push(b']');
        }
        Value::Object(members) => map(out, members),
    }
}

/// Writes a map with its members sorted.
pub fn map(out: &mut Vec<u8>, members: &serde_json::Map<String, Value>) {
    // Already sorted today; a feature of the JSON crate, switched on by anybody, would change that.
    let mut sorted: Vec<_> = members.iter().collect();
    sorted.sort_unstable_by_key(|(name, _)| name.as_str());
    out.push(b'{');
    for (place, (name, member)) in sorted.into_iter().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        text(out, name);
        out.push(b':');
        value(out, member);
    }
    out.push(b'}');
}

/// Writes `true` or `false`.
pub fn boolean(out: &mut Vec<u8>, yes: bool) {
    out.extend_from_slice(if yes { b"true" } else { b"false" });
}

fn escape(out: &mut Vec<u8>, text: &str) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut rest = text.as_bytes();
    while let Some(at) = special(rest) {
        out.extend_from_slice(&rest[..at]);
        match rest[at] {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            0x08 => out.extend_from_slice(b"\\b"),
            0x0c => out.extend_from_slice(b"\\f"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            byte => {
                out.extend_from_slice(b"\\u00");
                out.push(HEX[usize::from(byte >> 4)]);
                out.push(HEX[usize::from(byte & 15)]);
            }
        }
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
}

/// Where the first byte stands that cannot be in a text as it is. Looks at sixteen at once: hardly
/// any text has one.
fn special(bytes: &[u8]) -> Option<usize> {
    let is_special = |byte: &u8| *byte < 0x20 || *byte == b'"' || *byte == b'\\';
    let (blocks, rest) = bytes.as_chunks::<16>();
    let sound = |block: &&[u8; 16]| !block.iter().fold(false, |any, byte| any | is_special(byte));
    let before = 16 * blocks.iter().take_while(sound).count();
    let block = blocks.get(before / 16).map_or(rest, |block| block);
    block.iter().position(is_special).map(|at| before + at)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::btree_map(any::<String>(), inner, 0..6)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn a_value_is_written_as_the_json_crate_writes_it(any in any_value()) {
            prop_assert_eq!(written(|out| value(out, &any)), any.to_string());
        }

        #[test]
        fn money_is_written_as_it_prints(pico in any::<i128>()) {
            let amount = Money::from_pico(pico);
            let expected = format!("\"{}\"", amount.to_decimal());
            prop_assert_eq!(written(|out| money(out, amount)), expected);
        }

        #[test]
        fn small_money_is_written_as_it_prints(pico in -3_000_000_000_000i128..3_000_000_000_000) {
            let amount = Money::from_pico(pico / 1000 * 1000);
            let expected = format!("\"{}\"", amount.to_decimal());
            prop_assert_eq!(written(|out| money(out, amount)), expected);
        }
    }

    #[test]
    fn a_float_becomes_text() {
        assert_eq!(written(|out| value(out, &serde_json::json!([1.5, 1]))), r#"["1.5",1]"#);
    }

    #[test]
    fn a_key_does_not_get_in() {
        let key = format!("sk-ant-{}-{}", "api03", "x".repeat(95));
        let facts = serde_json::json!({ "text": format!("I got {key}!"), &key: 1 });
        let bytes = written(|out| value(out, &facts));
        assert!(!bytes.contains(&"x".repeat(8)), "{bytes}");
        assert!(bytes.contains("I got sk-ant-[redacted]!"), "{bytes}");
    }
}

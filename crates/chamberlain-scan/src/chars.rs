//! Reads the characters that were meant, one by one, through escapes: `%2D`, `\u002d`, `\x2d`,
//! `&#45;`, `=2D`. Decodes only as far as it is asked, so a text costs nothing where no key begins.

use crate::found::{Step, Via};
use crate::judge::Window;

/// The longest escape that is read, in bytes. A text that goes on could become one.
const ESCAPE_MAX: usize = 12;

/// One character of what was meant.
pub(crate) enum Pull {
    Char(u8),
    /// The text ends here.
    End,
    /// Nobody can say before there is more text.
    More,
}

/// Reads on from a place.
#[derive(Clone, Copy)]
pub(crate) struct Chars<'a> {
    pub window: Window<'a>,
    /// After the last character that was read.
    pub at: usize,
    pub via: Via,
}

impl<'a> Chars<'a> {
    pub(crate) fn new(window: Window<'a>, at: usize) -> Chars<'a> {
        Chars { window, at, via: Via::PLAIN }
    }

    /// The next character.
    pub(crate) fn pull(&mut self) -> Pull {
        let Some(&byte) = self.window.bytes.get(self.at) else {
            return if self.window.ended { Pull::End } else { Pull::More };
        };
        if !matches!(byte, b'%' | b'\\' | b'&' | b'=') {
            self.at += 1;
            return Pull::Char(byte);
        }
        let rest = &self.window.bytes[self.at..];
        if let Some(escape) = escape(rest) {
            self.at += escape.length;
            self.via.add(escape.step);
            return Pull::Char(escape.byte);
        }
        if !self.window.ended && rest.len() < ESCAPE_MAX && could_be_escape(rest) {
            return Pull::More;
        }
        self.at += 1;
        Pull::Char(byte)
    }
}

/// What wrote one byte.
pub(crate) struct Escape {
    pub byte: u8,
    pub length: usize,
    pub step: Step,
}

/// The escape that `bytes` begin with.
pub(crate) fn escape(bytes: &[u8]) -> Option<Escape> {
    match *bytes.first()? {
        b'%' => {
            let mut digits = 1;
            // `%252D` is `%2D`, escaped once more.
            while bytes[digits..].starts_with(b"25") && digits < 5 {
                digits += 2;
            }
            two_digits(bytes, digits, Step::Percent)
        }
        b'\\' => {
            let slashes = bytes.iter().take(4).take_while(|byte| **byte == b'\\').count();
            match bytes.get(slashes)? {
                b'u' if bytes[slashes + 1..].starts_with(b"00") => {
                    two_digits(bytes, slashes + 3, Step::Escape)
                }
                b'x' => two_digits(bytes, slashes + 1, Step::Escape),
                _ => None,
            }
        }
        b'=' => two_digits(bytes, 1, Step::QuotedPrintable),
        b'&' => entity(bytes),
        _ => None,
    }
}

fn two_digits(bytes: &[u8], at: usize, step: Step) -> Option<Escape> {
    let byte = hex_digit(*bytes.get(at)?)? << 4 | hex_digit(*bytes.get(at + 1)?)?;
    Some(Escape { byte, length: at + 2, step })
}

pub(crate) fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).map(|digit| digit as u8)
}

fn entity(bytes: &[u8]) -> Option<Escape> {
    let amp = if bytes.starts_with(b"&amp;") { 5 } else { 1 };
    if bytes.get(amp) != Some(&b'#') {
        return None;
    }
    let hex = matches!(bytes.get(amp + 1), Some(b'x' | b'X'));
    let (first, radix) = if hex { (amp + 2, 16) } else { (amp + 1, 10) };
    let mut value = 0u32;
    let digits = bytes[first..].iter().take(5);
    let digits = digits.map_while(|byte| char::from(*byte).to_digit(radix));
    let count = digits.inspect(|digit| value = value * radix + digit).count();
    let byte = u8::try_from(value).ok().filter(|_| count > 0)?;
    let semicolon = usize::from(bytes.get(first + count) == Some(&b';'));
    (semicolon == 1).then_some(Escape { byte, length: first + count + 1, step: Step::Entity })
}

/// Whether more bytes could make an escape of it.
fn could_be_escape(rest: &[u8]) -> bool {
    let hex = |bytes: &[u8]| bytes.iter().all(u8::is_ascii_hexdigit);
    match rest[0] {
        b'%' => hex(&rest[1..]),
        b'=' => rest.len() < 3 && hex(&rest[1..]),
        b'\\' => {
            let after = rest.iter().skip_while(|byte| **byte == b'\\');
            let after: Vec<u8> = after.copied().collect();
            after.is_empty()
                || matches!(after[0], b'u' | b'x') && after.len() < 5 && hex(&after[1..])
        }
        _ => {
            let inner = rest[1..].strip_prefix(b"amp;").unwrap_or(&rest[1..]);
            b"amp;".starts_with(inner)
                || inner[0] == b'#' && inner[1..].iter().all(u8::is_ascii_alphanumeric)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> String {
        let window = Window { bytes: text.as_bytes(), ended: true };
        let mut chars = Chars::new(window, 0);
        let mut read = String::new();
        while let Pull::Char(byte) = chars.pull() {
            read.push(char::from(byte));
        }
        read
    }

    #[test]
    fn every_escape_is_read() {
        for text in [
            "sk-ant",
            "sk%2Dant",
            "sk%2dant",
            "sk%252Dant",
            r"sk\u002dant",
            r"sk\x2dant",
            r"sk\\u002dant",
            "sk&#45;ant",
            "sk&#x2D;ant",
            "sk&amp;#45;ant",
            "sk=2Dant",
            r"\u0073k-ant",
        ] {
            assert_eq!(read(text), "sk-ant", "{text}");
        }
    }

    #[test]
    fn other_texts_stay() {
        for text in ["100%", "%zz", r"\n", r"\u12", "a&b", "&#;", "a=b", "=", "&#9999;", "\\"] {
            assert_eq!(read(text), text);
        }
    }
}

//! The results of a batch, line by line, with room for one line at a time.

use std::fmt;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::anthropic::meter::{Meter, Metered};

/// The results have a line that is longer than is read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a result is longer than {0} bytes")]
pub struct TooLong(pub usize);

/// One result.
#[derive(Clone, PartialEq, Debug)]
pub enum ResultLine {
    /// Answered, with what was read of the answer.
    Succeeded(Box<Metered>),
    /// Refused or failed; free.
    Errored,
    /// Not begun when the batch was canceled; free.
    Canceled,
    /// Not begun in time; free.
    Expired,
    /// It says something else.
    Unknown(String),
    /// Not a result.
    Unreadable,
}

#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(borrow)]
    result: ResultWire<'a>,
}

#[derive(Deserialize)]
struct ResultWire<'a> {
    r#type: String,
    #[serde(borrow, default)]
    message: Option<&'a RawValue>,
}

impl ResultLine {
    /// Reads one line.
    pub fn read(line: &[u8]) -> ResultLine {
        let Ok(Wire { result }) = serde_json::from_slice(line) else {
            return ResultLine::Unreadable;
        };
        match (result.r#type.as_str(), result.message) {
            ("succeeded", Some(message)) => {
                let mut meter = Meter::for_json(message.get().len());
                meter.push(message.get().as_bytes());
                ResultLine::Succeeded(Box::new(meter.finish()))
            }
            ("succeeded", None) => ResultLine::Unreadable,
            ("errored", _) => ResultLine::Errored,
            ("canceled", _) => ResultLine::Canceled,
            ("expired", _) => ResultLine::Expired,
            (other, _) => ResultLine::Unknown(crate::anthropic::json::quoted(other)),
        }
    }
}

/// Cuts a stream of bytes, split anywhere, into lines.
pub struct Lines {
    begun: Vec<u8>,
    line_bytes_max: usize,
}

impl fmt::Debug for Lines {
    /// What passes through is the client's own, so none of it is shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lines").field("begun_bytes", &self.begun.len()).finish()
    }
}

impl Lines {
    /// Lines of at most so many bytes.
    pub fn new(line_bytes_max: usize) -> Lines {
        Lines { begun: Vec::new(), line_bytes_max }
    }

    /// Takes the next bytes and gives every line that they end.
    ///
    /// # Errors
    /// [`TooLong`].
    pub fn push(&mut self, mut bytes: &[u8], mut line: impl FnMut(&[u8])) -> Result<(), TooLong> {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            let (rest, after) = (&bytes[..end], &bytes[end + 1..]);
            self.fits(rest)?;
            if self.begun.is_empty() {
                give(rest, &mut line);
            } else {
                self.begun.extend_from_slice(rest);
                give(&self.begun, &mut line);
                self.begun.clear();
            }
            bytes = after;
        }
        self.fits(bytes)?;
        self.begun.extend_from_slice(bytes);
        Ok(())
    }

    /// Gives the last line, when it was not ended.
    pub fn end(self, mut line: impl FnMut(&[u8])) {
        give(&self.begun, &mut line);
    }

    fn fits(&self, more: &[u8]) -> Result<(), TooLong> {
        let room = self.line_bytes_max - self.begun.len();
        if more.len() > room { Err(TooLong(self.line_bytes_max)) } else { Ok(()) }
    }
}

fn give(line: &[u8], to: &mut impl FnMut(&[u8])) {
    if !line.trim_ascii().is_empty() {
        to(line);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lines(pieces: &[&[u8]], max: usize) -> Result<Vec<String>, TooLong> {
        let mut found = Vec::new();
        let mut lines = Lines::new(max);
        for piece in pieces {
            lines.push(piece, |line| found.push(String::from_utf8(line.to_vec()).unwrap()))?;
        }
        lines.end(|line| found.push(String::from_utf8(line.to_vec()).unwrap()));
        Ok(found)
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_lines(cuts in proptest::collection::vec(0usize..30, 0..6)) {
            let text = b"one\ntwo\r\n\n \nthree\nfour";
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &text[pair[0]..pair[1]]).collect();
            let found = lines(&pieces, 5).unwrap();
            prop_assert_eq!(found, ["one", "two\r", "three", "four"]);
        }
    }

    #[test]
    fn a_line_has_its_limit() {
        assert!(lines(&[b"12345\n12345"], 5).is_ok());
        assert_eq!(lines(&[b"123", b"456\n"], 5), Err(TooLong(5)));
        assert_eq!(lines(&[b"123456"], 5), Err(TooLong(5)));
    }

    #[test]
    fn every_kind_of_result_is_told_apart() {
        let read = |text: &str| ResultLine::read(text.as_bytes());
        let of = |kind: &str| read(&format!(r#"{{"custom_id":"a","result":{{"type":"{kind}"}}}}"#));
        assert_eq!(of("errored"), ResultLine::Errored);
        assert_eq!(of("canceled"), ResultLine::Canceled);
        assert_eq!(of("expired"), ResultLine::Expired);
        assert_eq!(of("paused"), ResultLine::Unknown("paused".to_owned()));
        for bad in ["", "{", "[]", "{}", r#"{"result":{}}"#, r#"{"result":{"type":"succeeded"}}"#] {
            assert_eq!(read(bad), ResultLine::Unreadable, "{bad}");
        }
        let good = r#"{"custom_id":"a","result":{"type":"succeeded","message":{"id":"msg_1",
            "model":"claude-haiku-4-5","stop_reason":"end_turn",
            "usage":{"input_tokens":3,"output_tokens":5,"service_tier":"batch"}}}}"#;
        let ResultLine::Succeeded(metered) = read(good) else { panic!("{good}") };
        assert!(metered.is_final);
        assert_eq!(metered.usage.unwrap().totals.output, 5);
        assert_eq!(metered.served_model.as_deref(), Some("claude-haiku-4-5"));
    }
}

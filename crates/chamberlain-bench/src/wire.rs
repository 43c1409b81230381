//! The load generator's HTTP/1.1: requests as bytes made beforehand, answers read with as little
//! work as can be, so that the generator takes few of the CPUs that it measures on.
//!
//! It refuses what a proxy should not answer here: no length, anything after the end.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, bail, ensure};

/// Longest silence before a measurement is given up.
const SILENCE_MAX: Duration = Duration::from_secs(60);
const HEAD_BYTES_MAX: usize = 64 * 1024;
const BUFFER_BYTES: usize = 64 * 1024;

/// A request to `POST /v1/messages`, ready to be written. `more` are whole header lines.
pub(crate) fn request(address: SocketAddr, key: &str, more: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST /v1/messages HTTP/1.1\r\nhost: {address}\r\nx-api-key: {key}\r\n\
         anthropic-version: 2023-06-01\r\ncontent-type: application/json\r\n\
         accept: application/json\r\nuser-agent: chamberlain-bench\r\n{more}\
         content-length: {}\r\n\r\n",
        body.len()
    );
    let mut bytes = head.into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    Head,
    Sized(u64),
    /// In the line that says how long the next chunk is; true once its number has ended.
    ChunkLength(u64, bool),
    Chunk(u64),
    ChunkEnd,
    /// After the last chunk; how many bytes of the current line were seen.
    Trailer(usize),
    End,
}

/// Reads one answer from pieces of any size.
#[derive(Debug)]
pub(crate) struct AnswerReader {
    head: Vec<u8>,
    place: Place,
    /// The status, once the head was read.
    pub(crate) status: u16,
}

impl Default for AnswerReader {
    fn default() -> AnswerReader {
        AnswerReader { head: Vec::with_capacity(1024), place: Place::Head, status: 0 }
    }
}

impl AnswerReader {
    /// Ready for the next answer on the same connection.
    pub(crate) fn again(&mut self) {
        self.head.clear();
        self.place = Place::Head;
        self.status = 0;
    }

    /// Whether the answer was read to its end.
    pub(crate) fn is_at_end(&self) -> bool {
        self.place == Place::End
    }

    /// Takes the next bytes and hands on those of the body.
    ///
    /// # Errors
    /// When they are not an answer, or go on after its end.
    pub(crate) fn take(
        &mut self,
        mut bytes: &[u8],
        mut body: impl FnMut(&[u8]),
    ) -> anyhow::Result<()> {
        while !bytes.is_empty() {
            bytes = match self.place {
                Place::Head => self.take_head(bytes)?,
                Place::Sized(left) => {
                    let (now, rest) = split(bytes, left);
                    body(now);
                    self.place = after(left, now, Place::Sized, Place::End);
                    rest
                }
                Place::ChunkLength(length, ended) => self.take_length(bytes, length, ended)?,
                Place::Chunk(left) => {
                    let (now, rest) = split(bytes, left);
                    body(now);
                    self.place = after(left, now, Place::Chunk, Place::ChunkEnd);
                    rest
                }
                Place::ChunkEnd => {
                    if bytes[0] == b'\n' {
                        self.place = Place::ChunkLength(0, false);
                    }
                    &bytes[1..]
                }
                Place::Trailer(seen) => {
                    self.place = match bytes[0] {
                        b'\n' if seen == 0 => Place::End,
                        b'\n' => Place::Trailer(0),
                        b'\r' => Place::Trailer(seen),
                        _ => Place::Trailer(seen + 1),
                    };
                    &bytes[1..]
                }
                Place::End => bail!("{} bytes came after the end of an answer", bytes.len()),
            };
        }
        Ok(())
    }

    fn take_head<'a>(&mut self, bytes: &'a [u8]) -> anyhow::Result<&'a [u8]> {
        let before = self.head.len();
        self.head.extend_from_slice(bytes);
        let from = before.saturating_sub(3);
        let Some(at) = self.head[from..].windows(4).position(|four| four == b"\r\n\r\n") else {
            ensure!(self.head.len() <= HEAD_BYTES_MAX, "the head of an answer has no end");
            return Ok(&[]);
        };
        let end = from + at + 4;
        self.head.truncate(end);
        self.read_head()?;
        Ok(&bytes[end - before..])
    }

    fn read_head(&mut self) -> anyhow::Result<()> {
        let head = std::str::from_utf8(&self.head).context("the head of an answer")?;
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1));
        self.status = status.and_then(|text| text.parse().ok()).context("an answer's status")?;
        let headers = lines.filter_map(|line| line.split_once(':'));
        for (name, value) in headers {
            if name.eq_ignore_ascii_case("content-length") {
                let length: u64 = value.trim().parse().context("content-length")?;
                self.place = if length == 0 { Place::End } else { Place::Sized(length) };
                return Ok(());
            }
            if name.eq_ignore_ascii_case("transfer-encoding") {
                self.place = Place::ChunkLength(0, false);
                return Ok(());
            }
        }
        bail!("an answer without a length: {head}")
    }

    fn take_length<'a>(
        &mut self,
        bytes: &'a [u8],
        length: u64,
        ended: bool,
    ) -> anyhow::Result<&'a [u8]> {
        let digit = char::from(bytes[0]).to_digit(16);
        self.place = match (bytes[0], digit) {
            (b'\n', _) if length == 0 => Place::Trailer(0),
            (b'\n', _) => Place::Chunk(length),
            (_, Some(digit)) if !ended => {
                let length = length.checked_mul(16).context("a chunk's length")?;
                Place::ChunkLength(length + u64::from(digit), false)
            }
            _ => Place::ChunkLength(length, true),
        };
        Ok(&bytes[1..])
    }
}

fn split(bytes: &[u8], left: u64) -> (&[u8], &[u8]) {
    bytes.split_at(usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len()))
}

fn after(left: u64, now: &[u8], more: fn(u64) -> Place, done: Place) -> Place {
    match left - now.len() as u64 {
        0 => done,
        left => more(left),
    }
}

/// A connection whose thread waits for the answer: the most exact way to time one.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    reader: AnswerReader,
    buffer: Vec<u8>,
}

impl Connection {
    /// Connects.
    pub(crate) fn open(address: SocketAddr) -> anyhow::Result<Connection> {
        let stream = TcpStream::connect(address).with_context(|| format!("no {address}"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(SILENCE_MAX))?;
        stream.set_write_timeout(Some(SILENCE_MAX))?;
        Ok(Connection { stream, reader: AnswerReader::default(), buffer: vec![0; BUFFER_BYTES] })
    }

    /// Asks, and reads the answer to its end.
    ///
    /// # Errors
    /// When the answer is not 200: what was measured would be something else.
    pub(crate) fn ask(&mut self, request: &[u8]) -> anyhow::Result<()> {
        self.stream.write_all(request).context("sending")?;
        self.reader.again();
        let mut body = Vec::new();
        while !self.reader.is_at_end() {
            let read = self.stream.read(&mut self.buffer).context("reading an answer")?;
            ensure!(read > 0, "the connection ended before the answer");
            let bytes = &self.buffer[..read];
            self.reader.take(bytes, |piece| body.extend_from_slice(piece))?;
        }
        let status = self.reader.status;
        ensure!(status == 200, "answered {status}: {}", String::from_utf8_lossy(&body));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(answer: &str, piece: usize) -> anyhow::Result<(u16, String)> {
        let (mut reader, mut body) = (AnswerReader::default(), Vec::new());
        for bytes in answer.as_bytes().chunks(piece) {
            reader.take(bytes, |piece| body.extend_from_slice(piece))?;
        }
        ensure!(reader.is_at_end(), "no end");
        Ok((reader.status, String::from_utf8(body)?))
    }

    #[test]
    fn an_answer_is_the_same_in_any_pieces() {
        let sized = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
        let chunked = "HTTP/1.1 529 Busy\r\ntransfer-encoding: chunked\r\n\r\n\
                       a;x=1\r\n0123456789\r\n3\r\nabc\r\n0\r\nt: 1\r\n\r\n";
        for piece in 1..=chunked.len() {
            assert_eq!(read(sized, piece).unwrap(), (200, "hello".to_owned()), "{piece}");
            let (status, body) = read(chunked, piece).unwrap();
            assert_eq!((status, body.as_str()), (529, "0123456789abc"), "{piece}");
        }
    }

    #[test]
    fn what_is_no_whole_answer_is_refused() {
        for broken in [
            "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nhello",
            "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhell",
            "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello!",
            "nonsense\r\n\r\n",
        ] {
            assert!(read(broken, 1000).is_err(), "{broken}");
        }
    }
}

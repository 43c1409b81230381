//! The mock that everything is measured against: it answers as Anthropic's API does on
//! `POST /v1/messages`, from bytes made beforehand, and reads nothing of a prompt.
//!
//! The mock of the product (`chamberlain mock`) judges, counts and writes down every request; on
//! a few cores that work would be most of what is measured. This one refuses to be a mock for
//! tests: it checks nothing.
//!
//! A header `x-bench-stream: EVENTS GAP_US` asks for a stream of that many deltas with that time
//! between two of them. Each delta carries the time at which it was sent. `POST /end` ends all
//! streams in the order they tick.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep_until};

/// The model that every answer names.
pub(crate) const MODEL: &str = "claude-haiku-4-5-20251001";
/// What stands before the time in a delta, and how many digits the time has.
pub(crate) const STAMP: &[u8] = b"at ";
pub(crate) const STAMP_DIGITS: usize = 20;

const BUFFER_BYTES: usize = 256 * 1024;
/// As real answers carry them; far from any limit, so that nobody paces himself by them.
const HEADERS: &str = "request-id: req_011CVbenchbenchbenchbench\r\n\
    anthropic-organization-id: 00000000-0000-4000-8000-000000000001\r\n\
    anthropic-ratelimit-requests-limit: 90000000\r\n\
    anthropic-ratelimit-requests-remaining: 89999999\r\n\
    anthropic-ratelimit-requests-reset: 2099-01-01T00:00:00Z\r\n\
    anthropic-ratelimit-tokens-limit: 90000000000\r\n\
    anthropic-ratelimit-tokens-remaining: 89999999000\r\n\
    anthropic-ratelimit-tokens-reset: 2099-01-01T00:00:00Z\r\n\
    cf-cache-status: DYNAMIC\r\nserver: cloudflare\r\n";

/// Serves until the process is killed. Says its address as one JSON object on stdout.
pub(crate) fn run() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("no address")?;
        crate::say(&serde_json::json!({ "address": listener.local_addr()? }).to_string());
        let answers = Arc::new(Answers::new());
        loop {
            let (stream, _) = listener.accept().await?;
            let answers = answers.clone();
            tokio::spawn(async move {
                let _ = stream.set_nodelay(true);
                // A client that leaves is nobody's fault.
                let _ = serve(stream, &answers).await;
            });
        }
    })
}

struct Answers {
    json: Vec<u8>,
    stream_start: Vec<u8>,
    /// Raised when all streams are to end.
    ended: AtomicU64,
}

/// What a request asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Wanted {
    Json,
    Stream { events: u64, gap: Duration },
    End,
}

impl Answers {
    fn new() -> Answers {
        let text =
            "The quick brown fox jumps over the lazy dog and goes on to the next field. ".repeat(8);
        let body = format!(
            "{{\"id\":\"msg_01bench\",\"type\":\"message\",\"role\":\"assistant\",\
             \"model\":\"{MODEL}\",\"content\":[{{\"type\":\"text\",\"text\":\"{text}\"}}],\
             \"stop_reason\":\"end_turn\",\"stop_sequence\":null,\"usage\":{{\
             \"input_tokens\":250,\"cache_creation_input_tokens\":0,\
             \"cache_read_input_tokens\":0,\"cache_creation\":{{\
             \"ephemeral_5m_input_tokens\":0,\"ephemeral_1h_input_tokens\":0}},\
             \"output_tokens\":150,\"service_tier\":\"standard\"}}}}"
        );
        let json = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n{HEADERS}\
             content-length: {}\r\n\r\n{body}",
            body.len()
        );
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n\
             cache-control: no-cache\r\n{HEADERS}transfer-encoding: chunked\r\n\r\n"
        );
        let stream_start = [head.into_bytes(), chunk(begin_events().as_bytes())].concat();
        Answers { json: json.into_bytes(), stream_start, ended: AtomicU64::new(0) }
    }
}

/// The events that a stream begins with.
fn begin_events() -> String {
    event(
        "message_start",
        &format!(
            "{{\"type\":\"message_start\",\"message\":{{\"id\":\"msg_01bench\",\
                 \"type\":\"message\",\"role\":\"assistant\",\"model\":\"{MODEL}\",\
                 \"content\":[],\"stop_reason\":null,\"stop_sequence\":null,\"usage\":{{\
                 \"input_tokens\":250,\"cache_creation_input_tokens\":0,\
                 \"cache_read_input_tokens\":0,\"output_tokens\":1}}}}}}"
        ),
    ) + &event(
        "content_block_start",
        "{\"type\":\"content_block_start\",\"index\":0,\
             \"content_block\":{\"type\":\"text\",\"text\":\"\"}}",
    )
}

fn event(name: &str, data: &str) -> String {
    format!("event: {name}\ndata: {data}\n\n")
}

fn chunk(bytes: &[u8]) -> Vec<u8> {
    let mut chunk = format!("{:x}\r\n", bytes.len()).into_bytes();
    chunk.extend_from_slice(bytes);
    chunk.extend_from_slice(b"\r\n");
    chunk
}

/// A delta that says when it was sent.
fn delta_event() -> String {
    let now = nanoseconds();
    let data = format!(
        "{{\"type\":\"content_block_delta\",\"index\":0,\"delta\":\
         {{\"type\":\"text_delta\",\"text\":\"at {now:020} over the lazy dog \"}}}}"
    );
    event("content_block_delta", &data)
}

/// The events that a stream of so many deltas ends with.
fn end_events(deltas: u64) -> String {
    let usage = format!(
        "{{\"type\":\"message_delta\",\"delta\":{{\"stop_reason\":\"end_turn\",\
         \"stop_sequence\":null}},\"usage\":{{\"input_tokens\":250,\
         \"cache_creation_input_tokens\":0,\"cache_read_input_tokens\":0,\
         \"output_tokens\":{}}}}}",
        deltas * 8 + 1
    );
    event("content_block_stop", "{\"type\":\"content_block_stop\",\"index\":0}")
        + &event("message_delta", &usage)
        + &event("message_stop", "{\"type\":\"message_stop\"}")
}

/// A whole stream of `events` deltas, as its body's bytes.
pub(crate) fn stream_bytes(events: u64) -> Vec<u8> {
    let deltas = (0..events).map(|_| delta_event());
    let parts = std::iter::once(begin_events()).chain(deltas).chain([end_events(events)]);
    parts.collect::<String>().into_bytes()
}

/// The wall clock in nanoseconds: the generator reads the same one.
pub(crate) fn nanoseconds() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)
}

/// One connection: request after request, one at a time.
async fn serve(mut stream: TcpStream, answers: &Answers) -> anyhow::Result<()> {
    let mut buffer = vec![0; 4096];
    let mut filled = 0;
    loop {
        let (wanted, whole) = loop {
            if let Some(found) = head(&buffer[..filled])? {
                break found;
            }
            if filled == buffer.len() {
                buffer.resize(BUFFER_BYTES.max(filled * 2), 0);
            }
            let read = stream.read(&mut buffer[filled..]).await?;
            if read == 0 {
                return Ok(());
            }
            filled += read;
        };
        if whole > buffer.len() {
            buffer.resize(BUFFER_BYTES, 0);
        }
        let mut left = whole.saturating_sub(filled);
        while left > 0 {
            let end = buffer.len().min(left);
            let read = stream.read(&mut buffer[..end]).await?;
            anyhow::ensure!(read > 0, "the client left");
            left -= read;
        }
        filled = match whole < filled {
            true => {
                buffer.copy_within(whole..filled, 0);
                filled - whole
            }
            false => 0,
        };
        answer(&mut stream, wanted, answers).await?;
    }
}

async fn answer(stream: &mut TcpStream, wanted: Wanted, answers: &Answers) -> anyhow::Result<()> {
    match wanted {
        Wanted::Json => stream.write_all(&answers.json).await?,
        Wanted::Stream { events, gap } => {
            let ended = answers.ended.load(Ordering::Relaxed);
            stream.write_all(&answers.stream_start).await?;
            let mut due = Instant::now();
            let mut sent = 0;
            while sent < events && answers.ended.load(Ordering::Relaxed) == ended {
                due += gap;
                sleep_until(due).await;
                stream.write_all(&chunk(delta_event().as_bytes())).await?;
                sent += 1;
            }
            let end = [chunk(end_events(sent).as_bytes()), b"0\r\n\r\n".to_vec()].concat();
            stream.write_all(&end).await?;
        }
        Wanted::End => {
            answers.ended.fetch_add(1, Ordering::Relaxed);
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await?;
        }
    }
    Ok(())
}

/// What the request at the beginning of `bytes` wants and how long it is with its body, once its
/// head is whole.
fn head(bytes: &[u8]) -> anyhow::Result<Option<(Wanted, usize)>> {
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Ok(None);
    };
    let text = std::str::from_utf8(&bytes[..end])?;
    let mut lines = text.split("\r\n");
    let is_end = lines.next().is_some_and(|line| line.starts_with("POST /end "));
    let mut wanted = if is_end { Wanted::End } else { Wanted::Json };
    let mut length = 0;
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().context("content-length")?;
        } else if name.eq_ignore_ascii_case("x-bench-stream") {
            let (events, gap) = value.trim().split_once(' ').context("x-bench-stream")?;
            wanted = Wanted::Stream {
                events: events.parse()?,
                gap: Duration::from_micros(gap.parse()?),
            };
        }
    }
    Ok(Some((wanted, end + 4 + length)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_read_when_its_head_is_whole() {
        let plain = "POST /v1/messages HTTP/1.1\r\nContent-Length: 3\r\n\r\n{}\n";
        assert_eq!(head(&plain.as_bytes()[..20]).unwrap(), None);
        assert_eq!(head(plain.as_bytes()).unwrap(), Some((Wanted::Json, plain.len())));
        let stream = "POST /v1/messages HTTP/1.1\r\nx-bench-stream: 7 50000\r\n\r\n";
        let wanted = Wanted::Stream { events: 7, gap: Duration::from_millis(50) };
        assert_eq!(head(stream.as_bytes()).unwrap(), Some((wanted, stream.len())));
        let end = "POST /end HTTP/1.1\r\n\r\n";
        assert_eq!(head(end.as_bytes()).unwrap(), Some((Wanted::End, end.len())));
    }

    #[test]
    fn a_delta_carries_its_time() {
        let before = nanoseconds();
        let delta = delta_event().into_bytes();
        let at = delta.windows(STAMP.len()).position(|part| part == STAMP).unwrap();
        let digits = &delta[at + STAMP.len()..][..STAMP_DIGITS];
        let sent: u64 = std::str::from_utf8(digits).unwrap().parse().unwrap();
        assert!((before..=nanoseconds()).contains(&sent));
    }
}

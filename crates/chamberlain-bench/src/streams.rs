//! Open streams: what a proxy adds before the first byte and to each event, what an event costs
//! it, and what a stream weighs.
//!
//! All connections are opened first; then the streams begin one after the other, and when all of
//! them run, events are counted for a while. A delta carries the time at which the mock sent it,
//! so that its way is measured and not only how regularly deltas come.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::sleep_until;

use crate::candidate::{self, Candidate};
use crate::phases::{in_turn, small_prompt};
use crate::plan::Plan;
use crate::process::{self, Memory};
use crate::results::Results;
use crate::samples::Samples;
use crate::upstream::{STAMP, STAMP_DIGITS, nanoseconds};
use crate::wire::AnswerReader;

/// Streams open at once.
pub(crate) const COUNTS: [u32; 2] = [500, 2_000];
/// What is measured of them, beside the way of an event and the time between two.
pub(crate) const FIRST_BYTE: &str = "first byte";
pub(crate) const COST: &str = "cost";
/// Events a second on all streams together, so that many streams differ from few in their number
/// alone and leave the machine room to breathe.
const EVENTS_PER_SECOND: u32 = 10_000;
/// Streams that begin in a second.
const BEGIN_PER_SECOND: u32 = 500;
/// More deltas than any measurement waits for; the streams are ended by command.
const EVENTS_MAX: u64 = 20_000;
const BUFFER_BYTES: usize = 4 * 1024;
/// A data line of a delta is shorter than this.
const EVENT_BYTES_MAX: usize = 1_024;

const BEGINNING: u8 = 0;
const COUNTING: u8 = 1;
const OVER: u8 = 2;

/// What the streams of one measurement saw.
#[derive(Default)]
struct Seen {
    first_byte: Samples,
    gaps: Samples,
    ways: Samples,
    events: u64,
}

/// 500 and 2,000 open streams. `idle` is what everybody held before any load.
pub(crate) fn streams(
    plan: &Plan,
    mock: SocketAddr,
    candidates: &[Candidate],
    idle: &[(String, Memory)],
    results: &mut Results,
) -> anyhow::Result<()> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    for count in COUNTS {
        let gap = gap(count);
        let count = count / plan.streams_divisor;
        let phase = phase(count, gap);
        for round in 0..plan.stream_rounds {
            for candidate in in_turn(candidates, round) {
                let measured = runtime.block_on(measure(plan, mock, candidate, (count, gap)))?;
                let idle = idle.iter().find(|(name, _)| *name == candidate.name);
                keep(results, &phase, &candidate.name, measured, idle.map(|(_, idle)| *idle));
            }
        }
    }
    Ok(())
}

/// Time between two events of a stream, where there are so many.
pub(crate) fn gap(count: u32) -> Duration {
    Duration::from_secs(1) * count / EVENTS_PER_SECOND
}

/// What the measurement of that many streams is called.
pub(crate) fn phase(count: u32, gap: Duration) -> String {
    format!("{count} open streams, {:.0} events/s each", 1.0 / gap.as_secs_f64())
}

struct Measured {
    seen: Seen,
    cpu: f64,
    memory: Memory,
    count: u32,
}

fn keep(results: &mut Results, phase: &str, name: &str, measured: Measured, idle: Option<Memory>) {
    let Measured { mut seen, cpu, memory, count } = measured;
    let mut times = |what: &str, seen: &mut Samples| {
        let phase = format!("{phase}: {what}");
        results.push(&phase, "p50 µs", name, seen.percentile_us(500));
        results.push(&phase, "p99 µs", name, seen.percentile_us(990));
    };
    times(FIRST_BYTE, &mut seen.first_byte);
    times("the way of an event", &mut seen.ways);
    times("between two events", &mut seen.gaps);
    let phase = format!("{phase}: {COST}");
    let mut push = |metric: &str, value: f64| results.push(&phase, metric, name, value);
    push("CPU s/million events", cpu * 1e6 / seen.events as f64);
    let weight = |loaded: u64, idle: u64| loaded.saturating_sub(idle) as f64 / f64::from(count);
    if let Some(idle) = idle {
        push("KiB RSS/stream", weight(memory.rss_kib, idle.rss_kib));
        if let Some((loaded, idle)) = memory.pss_kib.zip(idle.pss_kib) {
            push("KiB PSS/stream", weight(loaded, idle));
        }
    }
}

async fn measure(
    plan: &Plan,
    mock: SocketAddr,
    candidate: &Candidate,
    (count, gap): (u32, Duration),
) -> anyhow::Result<Measured> {
    let state = Arc::new(AtomicU8::new(BEGINNING));
    let wanted = format!("x-bench-stream: {EVENTS_MAX} {}\r\n", gap.as_micros());
    let body = small_prompt(true, EVENTS_MAX * 10);
    let request: Arc<[u8]> = candidate.request(&wanted, &body).into();
    let mut connections = Vec::new();
    for _ in 0..count {
        let stream = TcpStream::connect(candidate.address).await.context("connecting")?;
        stream.set_nodelay(true)?;
        connections.push(stream);
    }
    let between = Duration::from_secs(1) / BEGIN_PER_SECOND;
    let begin = Instant::now() + Duration::from_millis(20);
    let tasks: Vec<_> = connections
        .into_iter()
        .zip(0..)
        .map(|(stream, number)| {
            let due = begin + between * number;
            tokio::spawn(one(stream, due, request.clone(), state.clone()))
        })
        .collect();
    sleep_until((begin + between * count + Duration::from_millis(300)).into()).await;
    let pid = candidate.pid();
    let before = process::cpu_seconds(pid);
    state.store(COUNTING, Ordering::Relaxed);
    tokio::time::sleep(plan.streams).await;
    state.store(OVER, Ordering::Relaxed);
    let cpu = process::cpu_seconds(pid) - before;
    let memory = process::memory(pid);
    let ended = tokio::task::spawn_blocking(move || candidate::end_streams(mock));
    ended.await??;
    let seen = all(tasks).await?;
    // The next one begins when this one's books are closed.
    tokio::task::spawn_blocking(move || process::cpu_seconds_at_rest(pid)).await?;
    Ok(Measured { seen, cpu, memory, count })
}

async fn all(tasks: Vec<JoinHandle<anyhow::Result<Seen>>>) -> anyhow::Result<Seen> {
    let mut sum = Seen::default();
    for task in tasks {
        let seen = task.await??;
        sum.first_byte.join(seen.first_byte);
        sum.gaps.join(seen.gaps);
        sum.ways.join(seen.ways);
        sum.events += seen.events;
    }
    Ok(sum)
}

/// One stream from its request to its end.
async fn one(
    mut stream: TcpStream,
    due: Instant,
    request: Arc<[u8]>,
    state: Arc<AtomicU8>,
) -> anyhow::Result<Seen> {
    sleep_until(due.into()).await;
    let sent = Instant::now();
    stream.write_all(&request).await.context("sending")?;
    let (mut reader, mut buffer) = (AnswerReader::default(), vec![0; BUFFER_BYTES]);
    let (mut seen, mut event) = (Seen::default(), Vec::with_capacity(EVENT_BYTES_MAX));
    let mut last: Option<Instant> = None;
    while !reader.is_at_end() {
        let read = stream.read(&mut buffer).await.context("reading a stream")?;
        ensure!(read > 0, "a stream broke off");
        let now = Instant::now();
        if seen.first_byte.len() == 0 {
            seen.first_byte.push(now - sent);
        }
        let clock = nanoseconds();
        let is_counting = state.load(Ordering::Relaxed) == COUNTING;
        reader.take(&buffer[..read], |piece| {
            for line in piece.split_inclusive(|byte| *byte == b'\n') {
                event.extend_from_slice(line);
                if !event.ends_with(b"\n") {
                    continue;
                }
                if let Some(at) = stamp(&event) {
                    if is_counting {
                        seen.events += 1;
                        seen.ways.push(Duration::from_nanos(clock.saturating_sub(at)));
                        if let Some(last) = last {
                            seen.gaps.push(now - last);
                        }
                    }
                    last = is_counting.then_some(now);
                }
                event.clear();
            }
        })?;
        ensure!(
            reader.status == 200 || reader.status == 0,
            "answered: {}",
            String::from_utf8_lossy(&buffer[..read])
        );
    }
    Ok(seen)
}

/// When the mock sent the delta that this line holds, if it holds one.
fn stamp(line: &[u8]) -> Option<u64> {
    if !line.starts_with(b"data: {\"type\":\"content_block_delta\"") {
        return None;
    }
    let at = line.windows(STAMP.len()).position(|part| part == STAMP)? + STAMP.len();
    std::str::from_utf8(line.get(at..at + STAMP_DIGITS)?).ok()?.parse().ok()
}

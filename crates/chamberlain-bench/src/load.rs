//! The two ways of asking: as fast as answers come (closed), and at a fixed rate (open).
//!
//! The open one is free of coordinated omission: each request has a time at which it is due, and
//! its latency counts from then, also when the request before it on its connection held it up.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::samples::Samples;
use crate::wire::{AnswerReader, Connection};

/// Threads that drive the closed load; it is as light as its proxies are heavy.
const CLOSED_THREADS: usize = 2;
const BUFFER_BYTES: usize = 16 * 1024;
/// Connections of the open load.
const OPEN_CONNECTIONS: u32 = 32;
/// The kernel wakes a sleeper up to this late; the rest is waited for awake.
const WAKE_EARLY: Duration = Duration::from_micros(120);

/// What a closed load did.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Closed {
    /// Answers in all.
    pub(crate) answers: u64,
    /// Answers a second, after the time to get warm.
    pub(crate) per_second: f64,
}

/// Asks on `connections` connections, each as soon as it was answered.
pub(crate) fn closed(
    address: SocketAddr,
    request: &[u8],
    connections: usize,
    warm: Duration,
    time: Duration,
) -> anyhow::Result<Closed> {
    let shared = Arc::new(Shared::default());
    let request: Arc<[u8]> = request.into();
    let threads: Vec<_> = (0..CLOSED_THREADS)
        .map(|thread| {
            let mine = (connections + CLOSED_THREADS - 1 - thread) / CLOSED_THREADS;
            let (shared, request) = (shared.clone(), request.clone());
            thread::spawn(move || closed_thread(address, &request, mine, &shared))
        })
        .collect();
    thread::sleep(warm);
    let (begun, before) = (Instant::now(), shared.answers.load(Ordering::Relaxed));
    thread::sleep(time);
    let after = shared.answers.load(Ordering::Relaxed);
    let per_second = (after - before) as f64 / begun.elapsed().as_secs_f64();
    shared.stop.store(true, Ordering::Relaxed);
    for thread in threads {
        thread.join().map_err(|_| anyhow::anyhow!("a thread of the load died"))??;
    }
    Ok(Closed { answers: shared.answers.load(Ordering::Relaxed), per_second })
}

#[derive(Default)]
struct Shared {
    answers: AtomicU64,
    stop: AtomicBool,
}

fn closed_thread(
    address: SocketAddr,
    request: &Arc<[u8]>,
    connections: usize,
    shared: &Arc<Shared>,
) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let tasks: Vec<_> = (0..connections)
            .map(|_| tokio::spawn(closed_connection(address, request.clone(), shared.clone())))
            .collect();
        for task in tasks {
            task.await??;
        }
        Ok(())
    })
}

async fn closed_connection(
    address: SocketAddr,
    request: Arc<[u8]>,
    shared: Arc<Shared>,
) -> anyhow::Result<()> {
    let mut stream = TcpStream::connect(address).await.context("connecting")?;
    stream.set_nodelay(true)?;
    let (mut reader, mut buffer) = (AnswerReader::default(), vec![0; BUFFER_BYTES]);
    while !shared.stop.load(Ordering::Relaxed) {
        stream.write_all(&request).await.context("sending")?;
        reader.again();
        while !reader.is_at_end() {
            let read = stream.read(&mut buffer).await.context("reading an answer")?;
            ensure!(read > 0, "the connection ended before the answer");
            let bytes = &buffer[..read];
            reader.take(bytes, |_| {})?;
            ensure!(reader.status == 200 || !reader.is_at_end(), "answered: {}", text(bytes));
        }
        shared.answers.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What an open load saw.
#[derive(Clone, Default, Debug)]
pub(crate) struct Open {
    /// From the time a request was due to the last byte of its answer.
    pub(crate) latency: Samples,
    /// How late the generator itself was in sending, not counting answers that held it up.
    pub(crate) lag: Samples,
}

/// Asks `per_second` times a second, evenly, for `time`, after a short while to get warm.
pub(crate) fn open(
    address: SocketAddr,
    request: &[u8],
    per_second: u32,
    time: Duration,
) -> anyhow::Result<Open> {
    let warm = Duration::from_millis(400);
    let begin = Instant::now() + Duration::from_millis(50);
    let count = u32::try_from((warm + time).as_millis())? * per_second / 1_000;
    let between = Duration::from_secs(1) / per_second;
    let mut sum = Open::default();
    thread::scope(|scope| {
        let threads: Vec<_> = (0..OPEN_CONNECTIONS)
            .map(|first| {
                let due = (first..count)
                    .step_by(OPEN_CONNECTIONS as usize)
                    .map(move |number| begin + between * number);
                scope.spawn(move || open_connection(address, request, due, begin + warm))
            })
            .collect();
        for thread in threads {
            let seen =
                thread.join().map_err(|_| anyhow::anyhow!("a thread of the load died"))??;
            sum.latency.join(seen.latency);
            sum.lag.join(seen.lag);
        }
        Ok(sum)
    })
}

fn open_connection(
    address: SocketAddr,
    request: &[u8],
    due: impl Iterator<Item = Instant>,
    counted_from: Instant,
) -> anyhow::Result<Open> {
    let mut connection = Connection::open(address)?;
    let mut seen = Open::default();
    for due in due {
        let free = Instant::now();
        wait_until(due);
        let sent = Instant::now();
        connection.ask(request)?;
        if due >= counted_from {
            seen.latency.push(due.elapsed());
            if free < due {
                seen.lag.push(sent - due);
            }
        }
    }
    Ok(seen)
}

/// Sleeps until shortly before, then waits awake: a sleep alone ends some 60 µs late.
fn wait_until(due: Instant) {
    let now = Instant::now();
    if let Some(sleep) = due.checked_duration_since(now + WAKE_EARLY) {
        thread::sleep(sleep);
    }
    while Instant::now() < due {
        std::hint::spin_loop();
    }
}

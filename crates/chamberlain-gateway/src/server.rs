//! Listening: HTTP/1.1 and HTTP/2, bounded in every direction, and a quiet end.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use crate::gateway::Inner;
use crate::patience::Patient;
use crate::recall;

/// Connections at once; more wait in the listener's queue.
const CONNECTIONS_MAX: usize = 16_384;
/// From connecting to the first whole request head.
const FIRST_HEAD_MAX: Duration = Duration::from_secs(30);
/// From one answer to the next whole request head. Longer than clients keep idle connections, so
/// that it is they who close them.
const NEXT_HEAD_MAX: Duration = Duration::from_secs(150);
const HEADERS_MAX: usize = 128;
const HEAD_BYTES_MAX: usize = 128 * 1024;
const STREAMS_MAX: u32 = 256;
const WINDOW_BYTES: u32 = 1024 * 1024;
const PING_EVERY: Duration = Duration::from_secs(30);
/// After the listener could not accept (no file handles left, mostly).
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// Takes connections until `stop` is cancelled; returns when every call is settled.
pub(crate) async fn serve(gateway: Arc<Inner>, listener: TcpListener, stop: CancellationToken) {
    let _recalling = AbortOnDropHandle::new(tokio::spawn(recall::watch(gateway.clone())));
    let connections = TaskTracker::new();
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let builder = builder();
    loop {
        let accepting = async {
            let place = room.clone().acquire_owned().await;
            (listener.accept().await, place)
        };
        let (accepted, place) = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            accepted = accepting => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                let (gateway, stop) = (gateway.clone(), stop.clone());
                let builder = builder.clone();
                connections.spawn(async move {
                    connection(gateway, builder, stream, peer, stop).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!("a connection could not be accepted: {error}");
                sleep(ACCEPT_AGAIN).await;
            }
        }
    }
    drop(listener);
    connections.close();
    connections.wait().await;
    gateway.calls.close();
    gateway.calls.wait().await;
}

fn builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(NEXT_HEAD_MAX)
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEAD_BYTES_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(u32::try_from(HEAD_BYTES_MAX).unwrap_or(u32::MAX))
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES * 4)
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_EVERY);
    builder
}

async fn connection(
    gateway: Arc<Inner>,
    builder: Builder<TokioExecutor>,
    stream: TcpStream,
    peer: SocketAddr,
    stop: CancellationToken,
) {
    // Small frames leave at once. A socket that cannot be told so still works.
    let _ = stream.set_nodelay(true);
    let spoke = Arc::new(AtomicBool::new(false));
    let service = service_fn(|request| {
        spoke.store(true, Ordering::Relaxed);
        let answer = gateway.clone().answer(request, peer.ip(), stop.is_cancelled());
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let idle_max = Duration::from_millis(gateway.snapshot.load().settings.idle_ms_max);
    let stream = TokioIo::new(Patient::new(stream, idle_max));
    let mut serving = std::pin::pin!(builder.serve_connection(stream, service));
    let mut silence = std::pin::pin!(sleep(FIRST_HEAD_MAX));
    let (mut stopping, mut listening) = (false, true);
    loop {
        tokio::select! {
            ended = serving.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(%peer, "a connection ended: {error}");
                }
                return;
            }
            () = stop.cancelled(), if !stopping => {
                stopping = true;
                serving.as_mut().graceful_shutdown();
            }
            () = silence.as_mut(), if listening => {
                if !spoke.load(Ordering::Relaxed) {
                    return;
                }
                listening = false;
            }
        }
    }
}

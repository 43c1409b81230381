//! Listening: HTTP/1.1 and HTTP/2, plain or under TLS, bounded in every direction, and a quiet
//! end.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use chamberlain_core::source::Source;
use futures_util::future::join_all;
use http::Request;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, interval_at, sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use crate::batch;
use crate::gateway::Inner;
use crate::identify::trusts;
use crate::listening::{Entrance, Incomer, Listening};
use crate::patience::Patient;
use crate::recall;
use crate::room::Room;
use crate::shake::shake;
use crate::stream::{AnswerBody, Truncated};
use crate::workers::Workers;

/// From connecting, or from the end of the TLS handshake, to the first whole request head.
const FIRST_HEAD_MAX: Duration = Duration::from_secs(30);
/// From one answer to the next whole request head. Longer than clients keep idle connections, so
/// that it is they who close them.
const NEXT_HEAD_MAX: Duration = Duration::from_secs(150);
/// How often is looked whether a connection does anything.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// As many as hyper has room for without asking for memory.
const HEADERS_MAX: usize = 100;
const HEAD_BYTES_MAX: usize = 128 * 1024;
const STREAMS_MAX: u32 = 256;
const WINDOW_BYTES: u32 = 1024 * 1024;
const FRAME_BYTES_MAX: u32 = 16 * 1024;
/// Bytes of one stream's answer that wait for its client to take them.
const SEND_BYTES_MAX: usize = 256 * 1024;
/// Streams that a client opened and reset before they were looked at; with more the connection
/// ends (rapid reset, CVE-2023-44487).
const RESETS_MAX: usize = 20;
/// Streams that we had to reset for what a client did; with more the connection ends.
const OWN_RESETS_MAX: usize = 256;
const PING_EVERY: Duration = Duration::from_secs(30);
/// After the listener could not accept (no file handles left, mostly).
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// Takes connections until `stop` is cancelled; returns when every call is settled.
pub(crate) async fn serve(gateway: Arc<Inner>, listening: Listening, stop: CancellationToken) {
    let workers = match Workers::start(gateway.workers) {
        Ok(workers) => workers,
        Err(error) => {
            tracing::error!(%error, "no threads for connections; they share those of everything else");
            Workers::none()
        }
    };
    let _recalling = AbortOnDropHandle::new(tokio::spawn(recall::watch(gateway.clone())));
    let _collecting = AbortOnDropHandle::new(tokio::spawn(batch::collect(gateway.clone())));
    let Listening { tcp, tls, unix, limits } = listening;
    let lobby = Lobby {
        room: Arc::new(Room::new(limits, gateway.connections_standing.clone())),
        gateway: gateway.clone(),
        builder: builder(),
        stop,
    };
    let connections = TaskTracker::new();
    let entrances = [Some(Entrance::Tcp(tcp, tls)), unix.map(Entrance::Unix)];
    let entrances = entrances.into_iter().flatten();
    join_all(entrances.map(|entrance| lobby.accept(entrance, &workers, &connections))).await;
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
        .max_frame_size(FRAME_BYTES_MAX)
        .max_send_buf_size(SEND_BYTES_MAX)
        .max_pending_accept_reset_streams(RESETS_MAX)
        .max_local_error_reset_streams(OWN_RESETS_MAX)
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_EVERY);
    builder
}

/// What every connection needs.
#[derive(Clone)]
struct Lobby {
    gateway: Arc<Inner>,
    builder: Builder<TokioExecutor>,
    room: Arc<Room>,
    stop: CancellationToken,
}

impl Lobby {
    async fn accept(&self, entrance: Entrance, workers: &Workers, connections: &TaskTracker) {
        loop {
            let accepting = async {
                let place = self.room.reserve().await;
                (entrance.accept().await, place)
            };
            let (accepted, place) = tokio::select! {
                biased;
                () = self.stop.cancelled() => return,
                accepted = accepting => accepted,
            };
            match accepted {
                Ok(incomer) => {
                    let Some(seat) = self.room.seat(place, self.counted(&incomer)) else {
                        self.gateway.metrics.count_turned_away("per_address");
                        continue;
                    };
                    let lobby = self.clone();
                    workers.carry(|carried| {
                        connections.track_future(async move {
                            lobby.connection(incomer).await;
                            drop((seat, carried));
                        })
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    sleep(ACCEPT_AGAIN).await;
                }
            }
        }
    }

    /// The address whose connections are counted; those of trusted proxies are many people's.
    fn counted(&self, incomer: &Incomer) -> Option<std::net::IpAddr> {
        let address = incomer.peer().address()?;
        let snapshot = self.gateway.snapshot.load();
        (!trusts(&snapshot.settings.trusted_proxies, address)).then_some(address)
    }

    async fn connection(&self, incomer: Incomer) {
        let peer = incomer.peer();
        let patience = Duration::from_millis(self.gateway.snapshot.load().settings.idle_ms_max);
        match incomer {
            Incomer::Unix(stream) => match UnixStream::from_std(stream) {
                Ok(stream) => self.speak(Patient::new(stream, patience), peer, false).await,
                Err(error) => not_carried(peer, &error),
            },
            Incomer::Tcp(stream, _, tls) => {
                let stream = match TcpStream::from_std(stream) {
                    Ok(stream) => stream,
                    Err(error) => return not_carried(peer, &error),
                };
                // Small frames leave at once. A socket that cannot be told so still works.
                let _ = stream.set_nodelay(true);
                let stream = Patient::new(stream, patience);
                let Some(tls) = tls else { return self.speak(stream, peer, false).await };
                let shaken = tokio::select! {
                    () = self.stop.cancelled() => return,
                    shaken = Box::pin(shake(tls.config(), stream)) => shaken,
                };
                match shaken {
                    Ok(stream) => Box::pin(self.speak(stream, peer, true)).await,
                    Err(reason) => {
                        tracing::debug!(%peer, error = ?reason, "a connection did not come about under TLS");
                        self.gateway.metrics.count_turned_away(reason.reason());
                    }
                }
            }
        }
    }

    /// Speaks HTTP on a connection until it ends.
    async fn speak<S>(&self, stream: S, peer: Source, is_tls: bool)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let work = Work::default();
        let service = service_fn(|mut request: Request<Incoming>| {
            let held = work.begin();
            if is_tls {
                batch::came_under_tls(&mut request);
            }
            // In a box, which is gone once the answer has begun: the connection keeps a place as
            // large as what is made here for as long as it stands.
            let answer =
                Box::pin(self.gateway.clone().answer(request, peer, self.stop.is_cancelled()));
            async move { Ok::<_, Infallible>(answer.await.map(|body| Held { body, _held: held })) }
        });
        let mut serving =
            std::pin::pin!(self.builder.serve_connection(TokioIo::new(stream), service));
        let mut looks = interval_at(Instant::now() + LOOK_EVERY, LOOK_EVERY);
        let mut idle = Idle::default();
        let mut stopping = false;
        loop {
            tokio::select! {
                ended = serving.as_mut() => {
                    if let Err(error) = ended {
                        tracing::debug!(%peer, %error, "a connection ended early");
                    }
                    return;
                }
                () = self.stop.cancelled(), if !stopping => {
                    stopping = true;
                    serving.as_mut().graceful_shutdown();
                }
                _ = looks.tick() => match idle.look(&work) {
                    Verdict::Stay => {}
                    Verdict::Ask => serving.as_mut().graceful_shutdown(),
                    Verdict::Leave => return,
                },
            }
        }
    }
}

fn not_carried(peer: Source, error: &std::io::Error) {
    tracing::warn!(%peer, %error, "a connection could not be carried and was closed");
}

/// What a connection works on: requests since it began, and how many are not yet answered whole.
#[derive(Default)]
struct Work {
    begun: AtomicUsize,
    held: Arc<()>,
}

impl Work {
    fn begin(&self) -> Arc<()> {
        self.begun.fetch_add(1, Ordering::Relaxed);
        self.held.clone()
    }
}

/// How long a connection has done nothing. Over HTTP/2 a client that only answers pings would
/// otherwise keep its connection for ever.
#[derive(Default)]
struct Idle {
    seen: usize,
    /// Looks in a row at which nothing was done.
    looks: u32,
}

#[derive(PartialEq, Eq, Debug)]
enum Verdict {
    Stay,
    /// Ask the client to end it.
    Ask,
    /// It was asked, or never said anything.
    Leave,
}

impl Idle {
    fn look(&mut self, work: &Work) -> Verdict {
        const LOOKS_MAX: u32 = (NEXT_HEAD_MAX.as_secs() / LOOK_EVERY.as_secs()) as u32;
        const _: () = assert!(FIRST_HEAD_MAX.as_secs() == LOOK_EVERY.as_secs());
        let begun = work.begun.load(Ordering::Relaxed);
        // One is the connection's own.
        let is_busy = begun != self.seen || Arc::strong_count(&work.held) > 1;
        self.seen = begun;
        self.looks = if is_busy { 0 } else { self.looks + 1 };
        match self.looks {
            0 => Verdict::Stay,
            _ if begun == 0 => Verdict::Leave,
            looks if looks < LOOKS_MAX => Verdict::Stay,
            LOOKS_MAX => Verdict::Ask,
            _ => Verdict::Leave,
        }
    }
}

/// An answer's body, for as long as it is not whole at its client.
struct Held {
    body: AnswerBody,
    _held: Arc<()>,
}

impl Body for Held {
    type Data = Bytes;
    type Error = Truncated;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Truncated>>> {
        Pin::new(&mut self.get_mut().body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_that_does_nothing_ends() {
        let (silent, mut idle) = (Work::default(), Idle::default());
        assert_eq!(idle.look(&silent), Verdict::Leave, "no head within the first time");

        let (work, mut idle) = (Work::default(), Idle::default());
        let held = work.begin();
        for _ in 0..20 {
            assert_eq!(idle.look(&work), Verdict::Stay, "an answer is on its way");
        }
        drop(held);
        let verdicts: Vec<_> = (0..6).map(|_| idle.look(&work)).collect();
        assert!(verdicts[..4].iter().all(|verdict| *verdict == Verdict::Stay));
        assert_eq!(verdicts[4..], [Verdict::Ask, Verdict::Leave]);
        drop(work.begin());
        assert_eq!(idle.look(&work), Verdict::Stay, "it did something again");
    }
}

//! The mock itself: its state, and how it is served.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};

use crate::admin::Organization;
use crate::batches::Batches;
use crate::cache::PromptCache;
use crate::config::MockConfig;
use crate::containers::Containers;
use crate::failure::Faults;
use crate::files::Files;
use crate::ids::Ids;
use crate::journal::Journal;
use crate::scenario::ScenarioCounts;
use crate::service;
use crate::socket::{Line, Socket};
use crate::threads::Threads;

/// How long open answers may go on after the shutdown was asked for.
const DRAIN: Duration = Duration::from_secs(2);
/// Streams on one HTTP/2 connection.
const STREAMS_MAX: u32 = 10_000;

/// Everything that lasts longer than a request.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) config: MockConfig,
    pub(crate) journal: Journal,
    pub(crate) cache: PromptCache,
    pub(crate) scenarios: ScenarioCounts,
    pub(crate) files: Files,
    pub(crate) containers: Containers,
    pub(crate) threads: Threads,
    pub(crate) ids: Ids,
    pub(crate) batches: Batches,
    pub(crate) faults: Faults,
    pub(crate) organization: Organization,
}

impl State {
    /// Forgets prompt caches, scenario counts, files, containers, batches, keys and failures to come.
    pub(crate) fn forget(&self) {
        self.cache.clear();
        self.files.clear();
        self.containers.clear();
        self.threads.clear();
        self.scenarios.clear();
        self.batches.clear();
        self.faults.clear();
        self.organization.clear();
    }

    /// Milliseconds since 1970 by the clock that can be let run ahead.
    pub(crate) fn now_ms(&self) -> u64 {
        self.batches.now_ms()
    }
}

/// A fake Anthropic API. Clones share everything.
#[derive(Clone, Debug)]
pub struct Mock {
    state: Arc<State>,
}

impl Mock {
    /// A mock that is not served yet.
    pub fn new(config: MockConfig) -> Mock {
        Mock {
            state: Arc::new(State {
                journal: Journal::new(config.journal, config.journal_entries_max),
                cache: PromptCache::default(),
                scenarios: ScenarioCounts::default(),
                files: Files::default(),
                containers: Containers::default(),
                threads: Threads::default(),
                ids: Ids::new(),
                batches: Batches::default(),
                faults: Faults::default(),
                organization: Organization::default(),
                config,
            }),
        }
    }

    /// What was asked and answered, items of batches that are due included.
    pub fn journal(&self) -> &Journal {
        self.state.work_on_batches();
        &self.state.journal
    }

    /// Lets time run ahead for batches.
    pub fn advance(&self, by: Duration) {
        self.state.batches.advance(u64::try_from(by.as_millis()).unwrap_or(u64::MAX));
    }

    /// Forgets prompt caches, scenario counts, files, containers and batches.
    pub fn forget(&self) {
        self.state.forget();
    }

    /// Serves `listener`, HTTP/1.1 and HTTP/2 with prior knowledge, until `shutdown` completes;
    /// then lets open answers end for at most two seconds.
    pub async fn serve(&self, listener: TcpListener, shutdown: impl Future<Output = ()>) {
        let graceful = GracefulShutdown::new();
        let mut connections = JoinSet::new();
        let mut shutdown = std::pin::pin!(shutdown);
        loop {
            tokio::select! {
                () = &mut shutdown => break,
                Some(_) = connections.join_next() => {}
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => {
                        connections.spawn(connection(Arc::clone(&self.state), stream, graceful.watcher()));
                    }
                    Err(error) => {
                        tracing::warn!(%error, "the mock could not accept a connection");
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                },
            }
        }
        drop(listener);
        let _ = tokio::time::timeout(DRAIN, graceful.shutdown()).await;
    }

    /// Serves a free port of the loopback interface in the background.
    ///
    /// # Errors
    /// When no port can be opened.
    pub async fn start(config: MockConfig) -> io::Result<RunningMock> {
        let listener = TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let mock = Mock::new(config);
        let (stop, stopped) = oneshot::channel::<()>();
        let served = mock.clone();
        let task = tokio::spawn(async move {
            served
                .serve(listener, async {
                    let _ = stopped.await;
                })
                .await;
        });
        Ok(RunningMock { mock, address, stop: Some(stop), task })
    }
}

async fn connection(
    state: Arc<State>,
    stream: TcpStream,
    watcher: hyper_util::server::graceful::Watcher,
) {
    // Without this, events that leave one by one would wait for acknowledgements.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection to the mock keeps Nagle's algorithm");
    }
    let line = Arc::new(Line::default());
    let socket = TokioIo::new(Socket::new(stream, Arc::clone(&line)));
    let service =
        service_fn(|request| service::answer(Arc::clone(&state), Arc::clone(&line), request));
    let mut builder = Builder::new(TokioExecutor::new());
    // The time limit for request heads would also close idle connections, under a client's feet.
    builder.http1().timer(TokioTimer::new()).header_read_timeout(None);
    builder.http2().timer(TokioTimer::new()).max_concurrent_streams(STREAMS_MAX);
    let connection = builder.serve_connection(socket, service).into_owned();
    if let Err(error) = watcher.watch(connection).await {
        tracing::debug!(%error, "a connection to the mock ended early");
    }
}

/// A mock that runs in the background. Dropping it stops it at once.
#[derive(Debug)]
pub struct RunningMock {
    mock: Mock,
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl RunningMock {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The base URL for clients, without a slash at its end.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The mock.
    pub fn mock(&self) -> &Mock {
        &self.mock
    }

    /// What was asked and answered.
    pub fn journal(&self) -> &Journal {
        self.mock.journal()
    }

    /// Stops it, letting open answers end for at most two seconds.
    pub async fn stop(mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        let _ = (&mut self.task).await;
    }
}

impl Drop for RunningMock {
    fn drop(&mut self) {
        self.task.abort();
    }
}

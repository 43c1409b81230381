//! `chamberlain up`: every room opened, joined and served, until a signal.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

use chamberlain_control::command::{AuditCheckpoint, Command, ConfigReload};
use chamberlain_control::commander::{Commander, CommanderParts, Driller};
use chamberlain_control::door::{Execute, Inside};
use chamberlain_control::jobs;
use chamberlain_control::jobs::driver::{Driver, Kicks};
use chamberlain_control::socket::Socket;
use chamberlain_core::audit::record::Principal;
use chamberlain_core::record::Notice;
use chamberlain_core::secret::Secret;
use chamberlain_core::time::{Clock, Entropy};
use chamberlain_gateway::{Gateway, GatewayParts, Listening, Tls, Upstream};
use chamberlain_mock::{Journaling, Mock, MockConfig, RunningMock};
use chamberlain_store::Store;
use chamberlain_vault::keyring::Keyring;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::console;
use super::first::{self, Ready};
use super::journal::{FirstCall, StoreJournal};
use super::listen::CallSocket;
use super::live::LiveGateway;
use super::metrics::Metrics;
use super::opened::{self, Opened, of_store};
use super::outside::Outside;
use super::signals::Signals;
use super::{clock_jump, hardening, listen, logs, name_of, readiness, systemd, tls, upstream};
use crate::cli::context::{Context, Flags};
use crate::config::Loaded;
use crate::config::settings::Config;
use crate::data_dir::DataDir;
use crate::failure::Failure;
use crate::world::{SystemClock, SystemEntropy};

/// Threads for jobs, the console, the operators' socket and the built-in mock.
const RUNTIME_THREADS: usize = 2;
/// How long the last spans may take to be sent.
const LAST_SPANS_MAX: Duration = Duration::from_secs(3);

/// Runs the server until it is told to stop.
pub(crate) fn run(context: &Context, flags: Flags, accept_clock: bool) -> Result<(), Failure> {
    hardening::no_core_dumps()
        .map_err(|error| Failure::failed(format!("core dumps cannot be switched off: {error}")))?;
    let loaded = context.load(flags.clone())?;
    let Config { log, log_format, log_calls, .. } = &loaded.config;
    logs::init(log, log_format, *log_calls);
    for warning in &loaded.warnings.0 {
        tracing::warn!(%warning, "something in the configuration deserves a look");
    }
    // For everything but calls, which the gateway's workers carry.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(RUNTIME_THREADS)
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("no runtime: {error}")))?;
    let served = runtime.block_on(async {
        Server::open(context, &loaded, flags, accept_clock).await?.serve().await
    });
    // What still runs has had its time; its reservations are charged at the next start.
    runtime.shutdown_timeout(Duration::from_millis(100));
    served
}

/// Everything that lives while the server runs.
struct Server<'a> {
    context: &'a Context,
    loaded: &'a Loaded,
    data: DataDir,
    store: Store,
    commander: Arc<Commander>,
    gateway: Gateway,
    upstream: Upstream,
    mock: RunningMock,
    entrances: Entrances,
    console: TcpListener,
    driver: Arc<Driver>,
    stop: CancellationToken,
    signals: Signals,
}

/// Where calls come in, and what is watched of it.
struct Entrances {
    tcp: TcpListener,
    tls: Option<Arc<Tls>>,
    /// What its files were when they were read.
    tls_stamp: tls::Stamp,
    /// Told to look at the files of TLS again.
    tls_kick: Arc<Notify>,
    unix: Option<(CallSocket, UnixListener)>,
}

impl Entrances {
    async fn open(config: &Config) -> Result<Entrances, Failure> {
        // Before they are read: what changes while they are read is seen as a change.
        let tls_stamp = config.tls.as_ref().map(tls::stamp).unwrap_or_default();
        let tls = config.tls.as_ref().map(tls::open).transpose()?;
        let unix = config.unix_socket.as_deref().map(CallSocket::bind).transpose()?;
        Ok(Entrances {
            tcp: listen::bind(&config.listen, "server.listen").await?,
            tls: tls.map(Arc::new),
            tls_stamp,
            tls_kick: Arc::default(),
            unix,
        })
    }

    fn url(&self) -> Result<String, Failure> {
        listen::url(&self.tcp, if self.tls.is_some() { "https" } else { "http" })
    }
}

impl<'a> Server<'a> {
    /// Opens everything. What can fail for a plain reason (an address, a folder) comes first.
    async fn open(
        context: &'a Context,
        loaded: &'a Loaded,
        flags: Flags,
        accept_clock: bool,
    ) -> Result<Server<'a>, Failure> {
        let config = &loaded.config;
        let signals = Signals::catch()
            .map_err(|error| Failure::failed(format!("signals cannot be caught: {error}")))?;
        let entrances = Entrances::open(config).await?;
        let console = listen::bind(&config.console, "server.console").await?;
        let data = DataDir::prepare(&context.data_of(loaded)?)?;
        let (clock, entropy) = world();
        let Opened { store, vault } = opened::open(&data, clock.clone(), &SystemEntropy)?;
        let mock = start_mock().await?;
        let keyring = Arc::new(Keyring::default());
        let commander = Arc::new(Commander::new(CommanderParts {
            store: store.clone(),
            vault: vault.clone(),
            keyring: keyring.clone(),
            settings: config.settings.clone(),
            clock: clock.clone(),
            entropy: entropy.clone(),
            data: data.path().to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            web: Arc::new(Outside),
        })?);
        let inside = inside(&commander);
        // It may ask the Admin API about the key, which blocks.
        tokio::task::block_in_place(|| upstream::take_key(&inside, &vault))?;
        let upstream = upstream::choose(&inside, config, &mock.url())?;
        if !upstream.is_mock {
            commander.attach_prober(upstream::prober(upstream.base.clone()));
        }
        commander.attach_driller(driller(data.path(), context.globals.config.clone()));
        let driver = Arc::new(Driver::new(clock.clone()));
        let kicks = drive(&driver, &commander);
        let gateway = Gateway::new(GatewayParts {
            workers: available_parallelism().map_or(1, usize::from),
            snapshot: commander.published(),
            journal: Arc::new(StoreJournal {
                store: store.clone(),
                on_notice: on_notice(&commander, kicks),
                first_call: FirstCall::new(context.out),
            }),
            keys: keyring,
            balances: clock_jump::balances(&store, clock.now(), accept_clock)?,
            clock,
            entropy,
            upstream: upstream.clone(),
            mock: mock.url().parse().ok(),
            thresholds_percent: config.settings.thresholds_percent.clone(),
        })
        .map_err(|fault| Failure::usage(fault.to_string()))?;
        gateway.take_up(store.open_batches().map_err(|fault| of_store(&fault))?);
        let stop = CancellationToken::new();
        commander.attach_reload(reload(context, loaded, flags, entrances.tls_kick.clone()));
        Ok(Server {
            context,
            loaded,
            data,
            store,
            commander,
            gateway,
            upstream,
            mock,
            entrances,
            console,
            driver,
            stop,
            signals,
        })
    }

    /// Serves until a signal, drains, and closes the books.
    async fn serve(mut self) -> Result<(), Failure> {
        let gateway_url = self.entrances.url()?;
        let console_url = listen::url(&self.console, "http")?;
        let upstream = self.upstream.base.to_string();
        let upstream = upstream.trim_end_matches('/');
        self.commander.attach_live(Arc::new(LiveGateway {
            gateway: self.gateway.clone(),
            driver: self.driver.clone(),
            clock: Arc::new(SystemClock),
            started: SystemClock.now(),
            gateway_url: gateway_url.clone(),
            console_url: console_url.clone(),
            upstream: upstream.to_owned(),
            is_mock: self.upstream.is_mock,
            stop: self.stop.clone(),
        }));
        let socket = Socket::bind(self.data.path())
            .map_err(|error| Failure::failed(format!("the command socket: {error}")))?;
        let first = first::make(&inside(&self.commander), &self.loaded.config)?;
        let first = first.map(|made| made.key.into_secret());

        let drained = CancellationToken::new();
        let beside = TaskTracker::new();
        let closing = CancellationToken::new();
        let Entrances { tcp, tls, tls_stamp, tls_kick, unix } = self.entrances;
        if let (Some(tls), Some(files)) = (&tls, &self.loaded.config.tls) {
            let watcher = tls::Watcher {
                tls: tls.clone(),
                files: files.clone(),
                store: self.store.clone(),
                clock: Arc::new(SystemClock),
                kick: tls_kick,
            };
            beside.spawn(watcher.watch(tls_stamp, closing.clone()));
        }
        let (_call_socket, unix) = unix.unzip();
        let listening = Listening { tcp, tls, unix, limits: self.loaded.config.connections };
        let (gateway, stop) = (self.gateway.clone(), self.stop.clone());
        let all_settled = drained.clone();
        beside.spawn(async move {
            gateway.serve(listening, stop).await;
            all_settled.cancel();
        });
        let readiness = readiness::of(&self.store, &self.stop);
        let metrics = Metrics::new(
            self.gateway.clone(),
            self.store.clone(),
            self.commander.published(),
            Arc::new(SystemClock),
        );
        let traces = Traces::begin(&self.gateway, &self.loaded.config, &closing)?;
        let hosts = self.loaded.config.console_hosts.clone();
        beside.spawn(console::serve(self.console, hosts, readiness, metrics, closing.clone()));
        let executor: Arc<dyn Execute> = self.commander.clone();
        let commands = closing.clone();
        beside.spawn(async move {
            if let Err(error) = socket.serve(executor, name_of, commands).await {
                tracing::error!(%error, "the command socket ended");
            }
        });
        Ready {
            gateway: &gateway_url,
            console: &console_url,
            data: &self.data.path().display().to_string(),
            upstream: (!self.upstream.is_mock).then_some(upstream),
            first: first.as_ref().map(|key: &Secret| key),
        }
        .show(&self.context.out)
        .map_err(|failure| match failure.code {
            // A command that nobody reads may end quietly; a server that does not serve may not.
            0 => Failure::failed("stdout was closed before it could be told where to call")
                .hint("keep stdout open, or send it to a file"),
            _ => failure,
        })?;
        drop(first);
        systemd::ready();

        let commander = self.commander.clone();
        self.signals.until_stop(|| reload_now(commander.clone())).await;
        tracing::info!("the server stops; calls in flight may end");
        systemd::stopping();
        self.stop.cancel();
        let grace = Duration::from_millis(self.loaded.config.stop_grace_ms);
        self.signals.drain(drained, grace).await;
        closing.cancel();
        traces.end().await;
        self.driver.stop().await;
        self.mock.stop().await;
        let (store, commander) = (self.store.clone(), self.commander.clone());
        let closed = tokio::task::spawn_blocking(move || {
            sign_head(&commander);
            store.close()
        })
        .await;
        closed
            .map_err(|error| Failure::failed(format!("closing the store: {error}")))?
            .map_err(|fault| of_store(&fault))
    }
}

/// What sends spans, while there is a collector.
struct Traces(Option<JoinHandle<()>>);

impl Traces {
    /// Begins to tell a collector of calls, where one is configured.
    fn begin(
        gateway: &Gateway,
        config: &Config,
        stop: &CancellationToken,
    ) -> Result<Self, Failure> {
        let Some(collector) = &config.traces else { return Ok(Traces(None)) };
        let bad = |reason: String| Failure::usage(format!("tracing.endpoint: {reason}"));
        let collector = collector.parse().map_err(|_| bad(format!("{collector:?} is no URL")))?;
        let exporting = gateway.export_traces(&collector, stop.clone());
        let exporting = exporting.map_err(|fault| bad(fault.to_string()))?;
        Ok(Traces(Some(tokio::spawn(exporting))))
    }

    /// Waits for the last ones, not for ever.
    async fn end(self) {
        if let Some(exporting) = self.0 {
            let _ = tokio::time::timeout(LAST_SPANS_MAX, exporting).await;
        }
    }
}

/// The mock that answers test-mode keys, and everybody while there is no upstream key.
async fn start_mock() -> Result<RunningMock, Failure> {
    let config = MockConfig { journal: Journaling::Off, ..MockConfig::default() };
    let started = Mock::start(config).await;
    started.map_err(|error| Failure::failed(format!("the built-in mock: {error}")))
}

fn world() -> (Arc<dyn Clock>, Arc<dyn Entropy>) {
    (Arc::new(SystemClock), Arc::new(SystemEntropy))
}

/// The commander, asked by Chamberlain itself.
fn inside(commander: &Arc<Commander>) -> Inside {
    Inside { actor: Principal::Chamberlain, executor: commander.clone() }
}

/// Drills restores in a process of its own, which puts on record what came of it.
fn driller(data: &Path, file: Option<PathBuf>) -> Driller {
    let data = data.to_owned();
    Box::new(move |backup, identity| {
        let program = std::env::current_exe().map_err(|error| error.to_string())?;
        let mut drill = std::process::Command::new(program);
        drill.args(["backup", "drill"]).arg(backup).arg("--identity").arg(identity);
        drill.arg("--data").arg(&data).stdin(std::process::Stdio::null());
        if let Some(file) = &file {
            drill.arg("--config").arg(file);
        }
        let ended = drill.output().map_err(|error| error.to_string())?;
        match ended.status.success() {
            true => Ok(()),
            false => {
                let said = [ended.stdout, ended.stderr].concat();
                let said = String::from_utf8_lossy(&said).trim().to_owned();
                Err(said.lines().next_back().unwrap_or("the drill failed").to_owned())
            }
        }
    })
}

/// Sets every job going.
fn drive(driver: &Driver, commander: &Arc<Commander>) -> Kicks {
    let kicks = Kicks::default();
    for job in jobs::all(commander) {
        driver.drive(job, &kicks);
    }
    kicks
}

fn on_notice(commander: &Arc<Commander>, kicks: Kicks) -> Box<dyn Fn(&Notice) + Send + Sync> {
    let commander = commander.clone();
    Box::new(move |notice| {
        if commander.on_notice(notice) {
            kicks.kick(jobs::EXCEED);
        }
    })
}

/// Reads the configuration again, from the same places as at the start.
fn reload(
    context: &Context,
    started: &Loaded,
    flags: Flags,
    tls_kick: Arc<Notify>,
) -> chamberlain_control::commander::Reload {
    let (context, started) = (context.clone(), started.config.clone());
    Box::new(move || {
        let loaded = context
            .load(flags.clone())
            .map_err(|failure| chamberlain_control::error::CommandError::usage(failure.message))?;
        for setting in started.waiting_for_restart(&loaded.config) {
            tracing::warn!(setting, "a changed setting waits for a restart");
        }
        tls_kick.notify_one();
        Ok(loaded.config.settings)
    })
}

/// Has the configuration read again, on a thread where that may block.
fn reload_now(commander: Arc<Commander>) {
    tokio::task::spawn_blocking(move || {
        match commander.execute(&Principal::Chamberlain, Command::ConfigReload(ConfigReload {})) {
            Ok(_) => tracing::info!("the configuration was read again"),
            Err(error) => tracing::error!(%error, "the configuration stays as it was"),
        }
    });
}

/// Signs the audit log as it stands, so that what came since the last checkpoint is covered.
fn sign_head(commander: &Commander) {
    let command = Command::AuditCheckpoint(AuditCheckpoint {});
    if let Err(error) = commander.execute(&Principal::Chamberlain, command) {
        tracing::error!(%error, "the audit log's head was not signed at the end");
    }
}

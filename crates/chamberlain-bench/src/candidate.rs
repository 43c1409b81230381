//! What is measured: the mock directly, nginx before it, Chamberlain bare, and Chamberlain with
//! everything on. Each is a real process; all of them stand before the same mock.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::wire::{Connection, request};

/// Longest wait for a process to be ready, and to end.
const PATIENCE: Duration = Duration::from_secs(20);

/// A child that is not left behind.
#[derive(Debug)]
pub(crate) struct Running(Child);

impl Running {
    pub(crate) fn start(command: &mut Command) -> anyhow::Result<Running> {
        Ok(Running(command.spawn().with_context(|| format!("cannot start {command:?}"))?))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }

    /// The JSON object that the child prints when it is ready; it may take several lines.
    fn ready(&mut self) -> anyhow::Result<Value> {
        let out = self.0.stdout.take().context("stdout was not asked for")?;
        let mut text = String::new();
        let mut lines = BufReader::new(out);
        loop {
            if lines.read_line(&mut text)? == 0 {
                bail!("a process ended before it was ready: {text:?}");
            }
            if let Ok(value) = serde_json::from_str(&text) {
                return Ok(value);
            }
        }
    }

    /// Asks the process to end and waits for it.
    pub(crate) fn stop(mut self) -> anyhow::Result<()> {
        let pid = Pid::from_child(&self.0);
        kill_process(pid, Signal::TERM)?;
        let until = Instant::now() + PATIENCE;
        while self.0.try_wait()?.is_none() {
            anyhow::ensure!(Instant::now() < until, "process {} does not end", self.pid());
            sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Ok(None) = self.0.try_wait() {
            // nginx's workers end with their master only when it is asked politely.
            let _ = kill_process(Pid::from_child(&self.0), Signal::TERM);
            let until = Instant::now() + Duration::from_secs(2);
            while matches!(self.0.try_wait(), Ok(None)) && Instant::now() < until {
                sleep(Duration::from_millis(10));
            }
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }
}

/// One of the rows.
#[derive(Debug)]
pub(crate) struct Candidate {
    pub(crate) name: String,
    pub(crate) address: SocketAddr,
    /// What it wants in `x-api-key`.
    pub(crate) key: String,
    pub(crate) process: Running,
    /// Where it keeps its record, if it keeps one.
    pub(crate) house: Option<House>,
}

/// A Chamberlain's binary and its data folder.
#[derive(Clone, Debug)]
pub(crate) struct House {
    pub(crate) binary: PathBuf,
    pub(crate) data: PathBuf,
}

impl Candidate {
    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// A request to it.
    pub(crate) fn request(&self, more: &str, body: &[u8]) -> Vec<u8> {
        request(self.address, &self.key, more, body)
    }
}

/// The mock: this program again.
pub(crate) fn mock() -> anyhow::Result<Candidate> {
    let mut process = Running::start(
        Command::new(std::env::current_exe()?).arg("upstream").stdout(Stdio::piped()),
    )?;
    let ready = process.ready()?;
    let address = ready["address"].as_str().context("the mock's address")?.parse()?;
    Ok(Candidate { name: "mock".into(), address, key: "any".into(), process, house: None })
}

/// The gateway alone: this program again.
pub(crate) fn bare(listen: SocketAddr, upstream: SocketAddr) -> anyhow::Result<Candidate> {
    let mut process = Running::start(
        Command::new(std::env::current_exe()?)
            .args(["bare", &listen.to_string(), &format!("http://{upstream}")])
            .stdout(Stdio::piped()),
    )?;
    let ready = process.ready()?;
    let address = ready["address"].as_str().context("bare's address")?.parse()?;
    let key = ready["key"].as_str().context("bare's key")?.to_owned();
    Ok(Candidate { name: "bare".into(), address, key, process, house: None })
}

/// nginx as a plain reverse proxy, as fast as its documentation makes it: one worker a core,
/// connections kept on both sides, nothing buffered. Its access log is on, as it is by default.
pub(crate) fn nginx(
    binary: &Path,
    listen: SocketAddr,
    upstream: SocketAddr,
    folder: &Path,
) -> anyhow::Result<Candidate> {
    fs::create_dir_all(folder)?;
    let place = folder.display();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|kind| format!("  {kind}_temp_path {place}/{kind};\n"))
        .collect();
    let text = format!(
        "user root;\nworker_processes {cores};\nworker_rlimit_nofile 65536;\n\
         pid {place}/pid;\nerror_log {place}/error.log;\ndaemon off;\n\
         events {{ worker_connections 16384; }}\n\
         http {{\n  access_log {place}/access.log combined;\n{temporary}\
         \x20 keepalive_requests 1000000000;\n  client_max_body_size 64m;\n\
         \x20 upstream mock {{\n    server {upstream};\n    keepalive 512;\n\
         \x20   keepalive_requests 1000000000;\n  }}\n\
         \x20 server {{\n    listen {listen};\n    location / {{\n\
         \x20     proxy_pass http://mock;\n      proxy_http_version 1.1;\n\
         \x20     proxy_set_header Connection \"\";\n      proxy_buffering off;\n\
         \x20     proxy_request_buffering off;\n      proxy_read_timeout 300s;\n    }}\n  }}\n}}\n"
    );
    let configuration = folder.join("nginx.conf");
    fs::write(&configuration, text)?;
    let log = folder.join("error.log");
    let process = Running::start(
        Command::new(binary)
            .args([Path::new("-p"), folder, Path::new("-e"), &log])
            .args([Path::new("-c"), &configuration])
            .stderr(fs::File::options().create(true).append(true).open(&log)?),
    )?;
    Ok(Candidate { name: "nginx".into(), address: listen, key: "any".into(), process, house: None })
}

/// Chamberlain as `chamberlain up` starts it, on a data folder that may be new. Ready when this
/// returns; its first virtual key, if there never was one before.
pub(crate) fn start_house(
    house: &House,
    listen: SocketAddr,
    upstream: SocketAddr,
    upstream_key: &str,
) -> anyhow::Result<(Running, SocketAddr, Option<String>)> {
    let log = house.data.with_extension("log");
    let mut process = Running::start(
        command(house)
            .args(["up", "--json", "--listen", &listen.to_string(), "--console", "127.0.0.1:0"])
            .args(["--upstream", &format!("http://{upstream}")])
            .env("ANTHROPIC_API_KEY", upstream_key)
            .stdout(Stdio::piped())
            .stderr(fs::File::options().create(true).append(true).open(&log)?),
    )?;
    let ready = process.ready().with_context(|| {
        format!("chamberlain up: {}", fs::read_to_string(&log).unwrap_or_default())
    })?;
    let gateway = ready["gateway"].as_str().context("the gateway's address")?;
    let address = gateway.trim_start_matches("http://").parse()?;
    Ok((process, address, ready["virtual_key"].as_str().map(str::to_owned)))
}

/// How many calls that Chamberlain has on record as ended.
pub(crate) fn on_record(house: &House) -> anyhow::Result<u64> {
    ask(house, &["cost", "month"])?["calls"].as_u64().context("no number of calls")
}

/// Refuses a run whose calls are not all on record in the end: then not everything was on.
pub(crate) fn until_on_record(house: &House, calls: u64) -> anyhow::Result<()> {
    let until = Instant::now() + PATIENCE;
    loop {
        let recorded = on_record(house)?;
        if recorded == calls {
            return Ok(());
        }
        let late = Instant::now() > until;
        anyhow::ensure!(!late, "{calls} calls should be on record, and {recorded} are");
        sleep(Duration::from_millis(200));
    }
}

/// Chamberlain with everything on: a virtual key with budgets a day and a month, its own limits
/// of requests, tokens and concurrency, all too wide to be reached, under an environment and an
/// organization with budgets of their own.
pub(crate) fn everything(
    name: &str,
    house: House,
    upstream: SocketAddr,
) -> anyhow::Result<Candidate> {
    let any: SocketAddr = ([127, 0, 0, 1], 0).into();
    let (process, address, _) = start_house(&house, any, upstream, &upstream_key()?)?;
    for scope in ["organization", "production"] {
        ask(&house, &["budget", "set", scope, "--daily", "80000000", "--monthly", "900000000"])?;
    }
    let made = ask(
        &house,
        &[
            "virtual create --name bench --environment production",
            "--daily 70000000 --monthly 800000000 --rpm 100000000",
            "--input-tpm 900000000000 --output-tpm 900000000000 --concurrency 100000",
        ]
        .join(" ")
        .split(' ')
        .collect::<Vec<_>>(),
    )?;
    let key = made["key"].as_str().with_context(|| format!("no virtual key in {made}"))?.to_owned();
    Ok(Candidate { name: name.to_owned(), address, key, process, house: Some(house) })
}

/// Runs a command of that Chamberlain; what it says as JSON.
pub(crate) fn ask(house: &House, words: &[&str]) -> anyhow::Result<Value> {
    let done = command(house).args(words).arg("--json").output()?;
    let error = String::from_utf8_lossy(&done.stderr);
    anyhow::ensure!(done.status.success(), "chamberlain {}: {error}", words.join(" "));
    Ok(serde_json::from_slice(&done.stdout)?)
}

/// The binary on its data folder, with nothing in the environment that would configure it.
fn command(house: &House) -> Command {
    let mut command = Command::new(&house.binary);
    let ours = |name: &str| name.starts_with("CHAMBERLAIN_") || name.starts_with("ANTHROPIC_");
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(ours) {
            command.env_remove(name);
        }
    }
    command.env("CHAMBERLAIN_DATA", &house.data);
    command
}

/// A text of the shape of an upstream key, made now and known to nobody.
pub(crate) fn upstream_key() -> anyhow::Result<String> {
    let mut random = [0; 46];
    getrandom::fill(&mut random).map_err(|error| anyhow::anyhow!("randomness: {error}"))?;
    let hex: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("{}{hex}0AA", concat!("sk-", "ant-api03-")))
}

/// An address that nobody listened on a moment ago.
pub(crate) fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// Waits until `candidate` answers `request`.
pub(crate) fn until_answered(address: SocketAddr, request: &[u8]) -> anyhow::Result<()> {
    let until = Instant::now() + PATIENCE;
    loop {
        match Connection::open(address).and_then(|mut connection| connection.ask(request)) {
            Ok(()) => return Ok(()),
            Err(error) if Instant::now() > until => return Err(error),
            Err(_) => sleep(Duration::from_millis(1)),
        }
    }
}

/// Ends all streams of the mock.
pub(crate) fn end_streams(mock: SocketAddr) -> anyhow::Result<()> {
    let mut stream = std::net::TcpStream::connect(mock)?;
    stream.write_all(b"POST /end HTTP/1.1\r\n\r\n")?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    anyhow::ensure!(line.contains(" 200 "), "the mock answered {line:?}");
    Ok(())
}

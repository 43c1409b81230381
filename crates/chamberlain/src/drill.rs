//! The restore drill: the newest backup is put back into a scratch folder by processes of its own,
//! started, called once in every environment, and destroyed. A backup that was never put back is a
//! hope.
//!
//! Nothing of it can reach Anthropic: the upstream keys are closed, as after every restore, the
//! upstream is an address where nobody listens, and the calls are test-mode, which the built-in mock
//! answers. The house that is drilled for is not touched.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use chamberlain_control::settings::Settings;
use serde::Serialize;
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::restore::Source;

/// Where nobody listens.
const NOWHERE: &str = "http://127.0.0.1:9";

/// The model that the calls are made with, which the mock has.
const MODEL: &str = "claude-haiku-5-5";

/// How long one answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(60);

/// What came of a drill.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(crate) struct Report {
    /// The backup.
    pub(crate) backup: String,
    /// Whether all of it worked.
    pub(crate) ok: bool,
    /// What did not.
    pub(crate) problem: Option<String>,
    /// What was done, and how long it took.
    pub(crate) steps: Vec<Step>,
}

/// One step of a drill.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(crate) struct Step {
    /// What was done.
    pub(crate) name: String,
    /// How long it took, milliseconds.
    pub(crate) ms: u64,
}

/// Drills the restore of a backup in a scratch folder under `beside`. `head` is a signed head of the
/// audit log that the backup must have grown from; `kept` is where the master key may lie.
///
/// # Errors
/// When there is no place to do it in. What fails of the restore itself is in the report.
pub(crate) fn drill(
    source: &Source,
    beside: &Path,
    kept: &Path,
    head: Option<&str>,
    settings: &Settings,
) -> Result<Report, Failure> {
    let scratch = Scratch::make(beside)?;
    let mut drill = Drill { scratch: &scratch.0, steps: Vec::new() };
    let done = drill.run(source, kept, head, settings);
    let steps = std::mem::take(&mut drill.steps);
    let backup = source.file.display().to_string();
    Ok(Report { backup, ok: done.is_ok(), problem: done.err(), steps })
}

struct Drill<'a> {
    scratch: &'a Path,
    steps: Vec<Step>,
}

impl Drill<'_> {
    fn run(
        &mut self,
        source: &Source,
        kept: &Path,
        head: Option<&str>,
        settings: &Settings,
    ) -> Result<(), String> {
        let names: Vec<String> =
            settings.environments.iter().map(|found| found.name.to_string()).collect();
        self.configure(&names)?;
        let restored = self.timed("put back", |drill| drill.restore(source, kept, head))?;
        let verified =
            self.timed("audit log verified", |drill| drill.json(&["audit", "verify", "--json"]))?;
        let (had, has) = (&restored["records"], &verified["records"]);
        if has.as_u64() < had.as_u64() {
            return Err(format!("the audit log has {has} records, and the backup said {had}"));
        }
        let keys = self.timed("test-mode keys made", |drill| drill.make_keys(&names))?;
        let mut server = self.timed("started", |drill| Server::start(drill))?;
        let called = self.timed("one call in each environment", |_| {
            keys.iter().try_for_each(|(name, key)| {
                server.call(key).map_err(|error| format!("a call in {name}: {error}"))
            })
        });
        let stopped = self.timed("stopped", |_| server.stop());
        called.and(stopped)
    }

    fn timed<T>(
        &mut self,
        name: &str,
        work: impl FnOnce(&mut Self) -> Result<T, String>,
    ) -> Result<T, String> {
        let begun = Instant::now();
        let done = work(self);
        let ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.steps.push(Step { name: name.to_owned(), ms });
        done.map_err(|error| format!("{name}: {error}"))
    }

    /// The environments there are, with nothing that could refuse a call of the drill.
    fn configure(&self, environments: &[String]) -> Result<(), String> {
        let mut text = String::from("version = 1\n");
        for name in environments {
            text.push_str(&format!("[environments.{name}]\npause_on_exceed = false\n"));
        }
        fs::write(self.configuration(), text).map_err(|error| error.to_string())
    }

    fn configuration(&self) -> PathBuf {
        self.scratch.join("drill.toml")
    }

    fn restore(&self, source: &Source, kept: &Path, head: Option<&str>) -> Result<Value, String> {
        let file = source.file.display().to_string();
        let mut words: Vec<String> =
            ["backup", "restore", &file, "--accept-stale", "--json"].map(str::to_owned).to_vec();
        match &source.identity {
            Some(identity) => words.extend(["--identity".into(), identity.display().to_string()]),
            None => words.push("--decrypted".into()),
        }
        let has_other = ["CHAMBERLAIN_MASTER_KEY", "CHAMBERLAIN_MASTER_KEY_FILE"]
            .iter()
            .any(|name| std::env::var_os(name).is_some());
        let master =
            source.master_key.clone().or((!has_other && kept.exists()).then(|| kept.to_owned()));
        if let Some(master) = master {
            words.extend(["--master-key".into(), master.display().to_string()]);
        }
        if let Some(head) = head {
            let path = self.scratch.join("head.note");
            fs::write(&path, head).map_err(|error| error.to_string())?;
            words.extend(["--checkpoint".into(), path.display().to_string()]);
        }
        self.json(&words)
    }

    fn make_keys(&self, environments: &[String]) -> Result<Vec<(String, String)>, String> {
        // What is held does not matter here, and a budget charged in full would pause things.
        let settle = ["backup", "settle", "--all", "--spent", "0", "--reason", "a drill"];
        // Nothing is charged where nothing has a limit.
        drop(self.output(&settle)?);
        for scope in environments.iter().map(String::as_str).chain(["organization"]) {
            drop(self.output(&["resume", scope])?);
        }
        let make = |name: &String| {
            let key = format!("restore-drill-{name}");
            let words = [
                "virtual",
                "create",
                "--name",
                &key,
                "--environment",
                name,
                "--test-mode",
                "--json",
            ];
            let made = self.json(&words)?;
            let key = made["key"].as_str().ok_or("no key was made")?;
            Ok((name.clone(), key.to_owned()))
        };
        environments.iter().map(make).collect()
    }

    /// Runs a command on the scratch folder and reads its JSON.
    fn json(&self, words: &[impl AsRef<OsStr>]) -> Result<Value, String> {
        let output = self.output(words)?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(format!("{}: {}", output.status, said.trim()));
        }
        serde_json::from_slice(&output.stdout).map_err(|error| error.to_string())
    }

    fn output(&self, words: &[impl AsRef<OsStr>]) -> Result<Output, String> {
        let mut command = self.command()?;
        command.args(words).output().map_err(|error| error.to_string())
    }

    /// This very program on the scratch folder, without what configures the house it is for.
    fn command(&self) -> Result<Command, String> {
        let program = std::env::current_exe().map_err(|error| error.to_string())?;
        let mut command = Command::new(program);
        let is_kept = |name: &str| {
            name.starts_with("CHAMBERLAIN_MASTER_KEY") || name == "CHAMBERLAIN_PASSPHRASE_FILE"
        };
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy();
            let configures = name.starts_with("CHAMBERLAIN_") && !is_kept(&name);
            if configures || name == "ANTHROPIC_API_KEY" || name == "NOTIFY_SOCKET" {
                command.env_remove(name.as_ref());
            }
        }
        command
            .env("CHAMBERLAIN_DATA", self.scratch)
            .env("CHAMBERLAIN_CONFIG", self.configuration())
            .stdin(Stdio::null());
        Ok(command)
    }
}

/// The server of a drill.
struct Server {
    child: Child,
    gateway: String,
}

impl Server {
    fn start(drill: &Drill<'_>) -> Result<Server, String> {
        let keys = drill.json(&["key", "list", "--json"])?;
        let has_key = keys["keys"]
            .as_array()
            .is_some_and(|keys| keys.iter().any(|key| key["state"] == "current"));
        let said = drill.scratch.join("up.log");
        let log = fs::File::create(&said).map_err(|error| error.to_string())?;
        let mut command = drill.command()?;
        command.args(["up", "--listen", "127.0.0.1:0", "--console", "127.0.0.1:0", "--json"]);
        if has_key {
            command.args(["--upstream", NOWHERE]);
        }
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .map_err(|error| error.to_string())?;
        let mut line = String::new();
        let read = child.stdout.as_mut().map(|out| BufReader::new(out).read_line(&mut line));
        let ready: Option<Value> = serde_json::from_str(&line).ok();
        let mut server = Server { child, gateway: String::new() };
        let gateway = ready.as_ref().and_then(|ready| ready["gateway"].as_str());
        match (read, gateway) {
            (Some(Ok(_)), Some(gateway)) => {
                server.gateway = gateway.trim_start_matches("http://").to_owned();
                Ok(server)
            }
            _ => {
                drop(server);
                let said = fs::read_to_string(&said).unwrap_or_default();
                Err(format!("the server did not say that it takes calls: {}", said.trim()))
            }
        }
    }

    fn call(&mut self, key: &str) -> Result<(), String> {
        let body = json!({
            "model": MODEL,
            "max_tokens": 1,
            "messages": [{ "role": "user", "content": "a restore drill" }],
        })
        .to_string();
        let request = format!(
            "POST /v1/messages HTTP/1.1\r\nhost: {}\r\nx-api-key: {key}\r\n\
             anthropic-version: 2023-06-01\r\ncontent-type: application/json\r\n\
             content-length: {}\r\nconnection: close\r\n\r\n{body}",
            self.gateway,
            body.len()
        );
        let answer = (|| {
            let mut stream = TcpStream::connect(&self.gateway)?;
            stream.set_read_timeout(Some(ANSWER_MAX))?;
            stream.write_all(request.as_bytes())?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer)
        })();
        let answer = answer.map_err(|error: std::io::Error| error.to_string())?;
        match answer.starts_with("HTTP/1.1 200") {
            true => Ok(()),
            false => Err(answer.lines().next().unwrap_or("no answer").to_owned()),
        }
    }

    fn stop(&mut self) -> Result<(), String> {
        let pid = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw);
        let pid = pid.ok_or("the server has no number")?;
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)
            .map_err(|error| error.to_string())?;
        let ended = self.child.wait().map_err(|error| error.to_string())?;
        if ended.success() { Ok(()) } else { Err(format!("the server ended with {ended}")) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Ended already, where all went well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The folder of a drill, destroyed afterwards.
struct Scratch(PathBuf);

impl Scratch {
    fn make(beside: &Path) -> Result<Scratch, Failure> {
        // Short, because the path of a socket in it must not be longer than the system takes.
        let path = beside.join(format!("drill-{}", std::process::id()));
        let made = DirBuilder::new().mode(0o700).create(&path);
        made.map_err(|error| Failure::file(&path, &error))?;
        Ok(Scratch(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            tracing::error!(%error, "the folder of a restore drill could not be destroyed");
        }
    }
}

//! A folder of its own and the binary in it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// A working folder with a data folder that is not there yet.
pub(crate) struct Place {
    folder: TempDir,
}

impl Place {
    pub(crate) fn new() -> Place {
        Place { folder: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.path("data")
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// Writes the configuration file of the data folder.
    pub(crate) fn configure(&self, text: &str) -> PathBuf {
        let mut folder = std::fs::DirBuilder::new();
        folder.recursive(true).mode(0o700).create(self.data()).unwrap();
        let path = self.data().join("chamberlain.toml");
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    /// The binary in this folder, with nothing of the environment that could configure it.
    pub(crate) fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_chamberlain"));
        command.args(line.split_whitespace());
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy().into_owned();
            let configures = ["CHAMBERLAIN_", "ANTHROPIC_", "XDG_", "CREDENTIALS_"];
            if configures.iter().any(|prefix| name.starts_with(prefix)) {
                command.env_remove(name);
            }
        }
        command
            .env("HOME", self.folder.path())
            .env("CHAMBERLAIN_DATA", self.data())
            .current_dir(self.folder.path())
            .stdin(Stdio::null());
        command
    }

    /// Runs a command to its end.
    pub(crate) fn run(&self, line: &str) -> Ended {
        Ended::new(self.command(line).output().unwrap())
    }

    /// Starts something that serves, and reads what it says when it is ready.
    pub(crate) fn serve(&self, line: &str) -> Server {
        Server::start(&mut self.command(line))
    }

    /// `up` on free ports.
    pub(crate) fn up(&self) -> Server {
        self.serve("up --listen 127.0.0.1:0 --console 127.0.0.1:0 --json")
    }
}

/// A command that has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    pub(crate) fn new(output: Output) -> Ended {
        Ended {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Everything it said, with the success it had.
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        assert_eq!(self.code, Some(0), "{self:#?}");
        self.stdout
    }

    /// Its data, which is JSON.
    #[track_caller]
    pub(crate) fn json(self) -> Value {
        let text = self.ok();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }
}

/// A process that serves. Dropping it kills it.
pub(crate) struct Server {
    child: Child,
    pub(crate) ready: Value,
}

impl Server {
    pub(crate) fn start(command: &mut Command) -> Server {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        if line.is_empty() {
            let ended = Ended::new(child.wait_with_output().unwrap());
            panic!("it did not start: {ended:#?}");
        }
        let ready = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
        Server { child, ready }
    }

    pub(crate) fn text(&self, name: &str) -> String {
        self.ready[name].as_str().unwrap_or_else(|| panic!("no {name}")).to_owned()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Asks it to end; gives what it logged.
    pub(crate) fn stop(mut self) -> (ExitStatus, String) {
        self.signal(Signal::TERM);
        let status = self.child.wait().unwrap();
        let mut log = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
        (status, log)
    }

    /// Ends it as a crash would.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// An answer: status and body.
#[derive(Debug, PartialEq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
}

/// One HTTP request, by hand.
pub(crate) fn http(base: &str, head: &str, body: &str) -> Answer {
    try_http(base, head, body).unwrap()
}

fn try_http(base: &str, head: &str, body: &str) -> std::io::Result<Answer> {
    let address = base.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    let length = body.len();
    let (first, headers) = head.split_once('\n').unwrap_or((head, ""));
    let headers: String = headers.lines().map(|line| format!("{line}\r\n")).collect();
    let request = format!(
        "{first} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\
         content-length: {length}\r\n{headers}\r\n{body}"
    );
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let cut = || std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(cut)?;
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Ok(Answer { status, body: body.to_owned() })
}

/// A small message to the cheapest model.
pub(crate) fn message(base: &str, key: &str) -> Answer {
    try_message(base, key, "Hi").unwrap()
}

/// A small message that says `text`; the connection may break.
pub(crate) fn try_message(base: &str, key: &str, text: &str) -> std::io::Result<Answer> {
    let head = format!(
        "POST /v1/messages\nx-api-key: {key}\nanthropic-version: 2023-06-01\n\
         content-type: application/json"
    );
    let body = serde_json::json!({
        "model": "claude-haiku-5-5",
        "max_tokens": 64,
        "messages": [{ "role": "user", "content": text }],
    });
    try_http(base, &head, &body.to_string())
}

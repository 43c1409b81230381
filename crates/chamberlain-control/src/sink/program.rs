//! Programs that sinks start: without a shell, in a process group of their own, with a clean
//! environment, what they are to read on standard input, and a time limit after which the whole
//! group is killed. What a program leaves running after a good end stays.
//!
//! A key never stands in their arguments or their environment, where others on the machine could
//! see it. What they print is kept only as far as it says why they failed, without the key.

use std::io::{self, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use chamberlain_core::secret::redact;
use chamberlain_core::sink::fault::{Again, Effect, SinkFault};
use chamberlain_core::sink::settings::Program;
use parking_lot::Mutex;
use rustix::process::{Pid, Signal};
use zeroize::Zeroizing;

/// How much of what a program prints is read; the rest is let go by.
const PRINTED_BYTES_MAX: usize = 4_096;

/// Of that, how much stands in a message.
const SAID_CHARS_MAX: usize = 300;

/// How often it is looked whether a program has ended.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// How often a program that is busy is tried to be started before.
const BUSY_TRIES: u32 = 20;

/// How long after its end the rest of what a program printed is waited for.
const PIPE_GRACE: Duration = Duration::from_millis(500);

/// Where programs are looked for by the programs that are started.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// How a program ended.
pub(super) struct Ended {
    /// What it printed on standard output, up to [`PRINTED_BYTES_MAX`].
    pub(super) printed: String,
}

/// What a program is started for.
pub(super) struct Errand<'a> {
    /// The program.
    pub(super) program: &'a Program,
    /// What it is for, for messages: `recreate`.
    pub(super) what: &'a str,
    /// The sink's name.
    pub(super) sink: &'a str,
    /// Which key it is about.
    pub(super) stands_for: &'a str,
    /// What it reads.
    pub(super) input: &'a [u8],
    /// What must not be repeated of what it prints.
    pub(super) secret: &'a [u8],
    /// How long it may take.
    pub(super) within: Duration,
}

impl Errand<'_> {
    /// Runs it to its end.
    ///
    /// # Errors
    /// When it cannot be started, does not end in time, or does not end with 0.
    pub(super) fn run(&self) -> Result<Ended, SinkFault> {
        let mut child = self.start()?;
        let outputs = [Output::of(child.stdout.take()), Output::of(child.stderr.take())];
        self.feed(&mut child);
        let status = self.wait(&mut child)?;
        let [printed, complained] = outputs.map(Output::taken);
        match status.success() {
            true => Ok(Ended { printed }),
            false if complained.is_empty() => Err(self.failed(status, &printed)),
            false => Err(self.failed(status, &complained)),
        }
    }

    fn start(&self) -> Result<Child, SinkFault> {
        let Some((program, arguments)) = self.program.command.split_first() else {
            return Err(SinkFault::refused(format!("`{}` is empty", self.what), "write a command"));
        };
        let mut command = Command::new(program);
        command.args(arguments).env_clear().current_dir("/").process_group(0);
        command.env("PATH", PATH).env("LANG", "C.UTF-8");
        command.env("CHAMBERLAIN_SINK", self.sink).env("CHAMBERLAIN_KEY_ID", self.stands_for);
        for name in &self.program.pass_environment {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self::spawn(&mut command).map_err(|error| {
            let message = format!("`{}` cannot be started: {program}: {error}", self.what);
            let (again, hint) = match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied => {
                    (Again::Never, "write the path of a program that Chamberlain may run")
                }
                _ => (Again::Later, "it is tried again later"),
            };
            SinkFault { effect: Effect::Nothing, again, message, hint: hint.to_owned() }
        })
    }

    /// Starts it; a program that is just being replaced is busy for a moment.
    fn spawn(command: &mut Command) -> io::Result<Child> {
        for _ in 0..BUSY_TRIES {
            match command.spawn() {
                Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy => {
                    std::thread::sleep(LOOK_EVERY);
                }
                other => return other,
            }
        }
        command.spawn()
    }

    /// Writes the input from a thread of its own: a program that does not read must not hold us.
    fn feed(&self, child: &mut Child) {
        let Some(mut stdin) = child.stdin.take() else { return };
        let input = Zeroizing::new(self.input.to_vec());
        std::thread::spawn(move || {
            // A program that ends without having read says by its end whether that is well.
            let _ = stdin.write_all(&input);
        });
    }

    fn wait(&self, child: &mut Child) -> Result<ExitStatus, SinkFault> {
        let until = Instant::now() + self.within;
        loop {
            match child.try_wait() {
                Ok(Some(status)) => return Ok(status),
                Ok(None) if Instant::now() < until => std::thread::sleep(LOOK_EVERY),
                Ok(None) => {
                    kill_group(child);
                    let (what, within) = (self.what, self.within.as_millis());
                    return Err(SinkFault {
                        effect: Effect::Unknown,
                        again: Again::Later,
                        message: format!("`{what}` did not end within {within} ms and was killed"),
                        hint: "see why it hangs, or give it more time (`timeout`)".to_owned(),
                    });
                }
                Err(error) => {
                    kill_group(child);
                    let message = format!("`{}` cannot be waited for: {error}", self.what);
                    let fault = SinkFault::passing(message, "it is tried again later");
                    return Err(fault.with(Effect::Unknown));
                }
            }
        }
    }

    fn failed(&self, status: ExitStatus, said: &str) -> SinkFault {
        let how = match (status.code(), status.signal()) {
            (Some(code), _) => format!("ended with {code}"),
            (None, Some(signal)) => format!("was ended by signal {signal}"),
            (None, None) => "ended oddly".to_owned(),
        };
        let said = self.without_secret(said);
        let said = if said.is_empty() { String::new() } else { format!(": {said}") };
        SinkFault {
            effect: Effect::Unknown,
            again: Again::Later,
            message: format!("`{}` {how}{said}", self.what),
            hint: "run it by hand with a value of your own, and see what it needs".to_owned(),
        }
    }

    /// The end of what it printed, on one line, without the key in it.
    fn without_secret(&self, said: &str) -> String {
        let secret = String::from_utf8_lossy(self.secret);
        let clean = match secret.is_empty() {
            true => said.to_owned(),
            false => said.replace(secret.as_ref(), "[secret]"),
        };
        let clean = redact(&clean);
        let words: Vec<&str> = clean.split_whitespace().collect();
        let line = words.join(" ");
        let skip = line.chars().count().saturating_sub(SAID_CHARS_MAX);
        line.chars().skip(skip).collect()
    }
}

/// Kills everything that the program started and that stayed in its group. Only before it was
/// waited for: afterwards the number could be another's.
fn kill_group(child: &mut Child) {
    if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        let _ = rustix::process::kill_process_group(group, Signal::KILL);
    }
    let _ = child.wait();
}

/// What a program prints, read as it comes on a thread of its own.
struct Output {
    last: Arc<Mutex<Zeroizing<Vec<u8>>>>,
    ended: Receiver<()>,
}

impl Output {
    fn of(pipe: Option<impl Read + Send + 'static>) -> Output {
        let (done, ended) = mpsc::channel();
        let last = Arc::new(Mutex::new(Zeroizing::new(Vec::with_capacity(2 * PRINTED_BYTES_MAX))));
        let kept = last.clone();
        std::thread::spawn(move || {
            let mut chunk = Zeroizing::new([0; PRINTED_BYTES_MAX]);
            let mut pipe = pipe;
            while let Some(Ok(count @ 1..)) = pipe.as_mut().map(|pipe| pipe.read(&mut chunk[..])) {
                let mut last = kept.lock();
                last.extend_from_slice(&chunk[..count]);
                let skip = last.len().saturating_sub(PRINTED_BYTES_MAX);
                last.drain(..skip);
            }
            let _ = done.send(());
        });
        Output { last, ended }
    }

    /// What was printed. The program has ended; what it left running may hold the pipe open, and is
    /// not waited for.
    fn taken(self) -> String {
        let _ = self.ended.recv_timeout(PIPE_GRACE);
        String::from_utf8_lossy(&self.last.lock()).into_owned()
    }
}

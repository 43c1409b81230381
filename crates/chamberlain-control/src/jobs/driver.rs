//! The one driver of all jobs: by period and by kick, one run of a job at a time, status visible.
//!
//! A job takes no input: a kick says "look now", not "this changed", so a restart, a tick and a
//! kick are one path. Nothing is retried inside a run; the next tick is the retry.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use chamberlain_core::time::{Clock, Timestamp};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::reply::JobLine;

/// Something done again and again. A run may be cut off by the end of the process at any point
/// and may happen twice.
pub trait Job: Send + Sync + 'static {
    /// Its name in the status and the log.
    fn name(&self) -> &'static str;

    /// The time between two runs.
    fn period(&self) -> Duration;

    /// Looks, decides, writes down, acts. Runs on a thread where it may block.
    ///
    /// # Errors
    /// Why it could not be done, for people. It is tried again at the next tick.
    fn run(&self, now: Timestamp) -> Result<(), String>;
}

#[derive(Clone, Debug, Default)]
struct Progress {
    running: bool,
    runs: u64,
    last_at: Option<Timestamp>,
    last_error: Option<String>,
}

struct Line {
    name: &'static str,
    kick: Arc<Notify>,
    progress: Arc<Mutex<Progress>>,
}

/// Runs jobs until it is stopped.
pub struct Driver {
    clock: Arc<dyn Clock>,
    lines: Mutex<Vec<Line>>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// Says "look now" to a job. Kicks while it runs add up to one more run.
#[derive(Clone, Default)]
pub struct Kicks(Arc<Mutex<HashMap<&'static str, Arc<Notify>>>>);

impl Kicks {
    /// Kicks the job of that name, if it is driven.
    pub fn kick(&self, job: &str) {
        if let Some(kick) = self.0.lock().get(job) {
            kick.notify_one();
        }
    }
}

impl Driver {
    /// A driver without jobs.
    pub fn new(clock: Arc<dyn Clock>) -> Driver {
        Driver {
            clock,
            lines: Mutex::default(),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        }
    }

    /// Drives `job` from now on, beginning with a run at once. Must be called inside a tokio
    /// runtime.
    pub fn drive(&self, job: Arc<dyn Job>, kicks: &Kicks) {
        let kick = Arc::new(Notify::new());
        let progress = Arc::new(Mutex::new(Progress::default()));
        kicks.0.lock().insert(job.name(), kick.clone());
        let line = Line { name: job.name(), kick: kick.clone(), progress: progress.clone() };
        self.lines.lock().push(line);
        let (clock, stop) = (self.clock.clone(), self.stop.clone());
        self.tasks.spawn(async move {
            loop {
                run(&job, &progress, clock.as_ref()).await;
                tokio::select! {
                    () = stop.cancelled() => break,
                    () = tokio::time::sleep(job.period()) => {}
                    () = kick.notified() => {}
                }
            }
        });
    }

    /// How the jobs stand.
    pub fn status(&self) -> Vec<JobLine> {
        let line = |line: &Line| {
            let progress = line.progress.lock().clone();
            JobLine {
                name: line.name.to_owned(),
                running: progress.running,
                runs: progress.runs,
                last_at: progress.last_at.map(Into::into),
                last_error: progress.last_error,
            }
        };
        self.lines.lock().iter().map(line).collect()
    }

    /// Kicks every job.
    pub fn kick_all(&self) {
        self.lines.lock().iter().for_each(|line| line.kick.notify_one());
    }

    /// Starts no more runs and waits for those at work.
    pub async fn stop(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

async fn run(job: &Arc<dyn Job>, progress: &Mutex<Progress>, clock: &dyn Clock) {
    progress.lock().running = true;
    let (worker, now) = (job.clone(), clock.now());
    let ended = tokio::task::spawn_blocking(move || worker.run(now)).await;
    let error = match ended {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(error),
        Err(_) => Some("it panicked; the log says where".to_owned()),
    };
    let mut progress = progress.lock();
    if let Some(error) = &error {
        // Said once when it begins, not at every tick while it lasts.
        if progress.last_error.as_ref() != Some(error) {
            tracing::warn!(job = job.name(), error, "a job failed; it is tried again");
        }
    }
    *progress = Progress {
        running: false,
        runs: progress.runs + 1,
        last_at: Some(clock.now()),
        last_error: error,
    };
}

#[cfg(test)]
mod tests;

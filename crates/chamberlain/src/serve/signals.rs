//! Signals: the first SIGTERM or SIGINT lets calls in flight end, a second one stops at once,
//! SIGHUP reads the configuration again.

use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Exit code after a second signal: what a shell gives a command that SIGINT ended.
const STOPPED_AT_ONCE: i32 = 130;

/// The signals that matter, caught from now on.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    /// Catches them. Must be called inside a tokio runtime.
    pub(crate) fn catch() -> std::io::Result<Signals> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for the signal to stop, calling `reload` for each SIGHUP in the meantime.
    pub(crate) async fn until_stop(&mut self, reload: impl Fn()) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                _ = self.hangup.recv() => reload(),
            }
        }
    }

    /// Waits until `drained`, at most `grace`. A second signal ends the process on the spot: what
    /// was in flight is charged as unsettled at the next start, as after a crash.
    pub(crate) async fn drain(&mut self, drained: CancellationToken, grace: Duration) {
        tokio::select! {
            () = drained.cancelled() => {}
            () = tokio::time::sleep(grace) => {
                tracing::warn!(grace_s = grace.as_secs(), "the server stops although calls are still in flight");
            }
            _ = self.terminate.recv() => std::process::exit(STOPPED_AT_ONCE),
            _ = self.interrupt.recv() => std::process::exit(STOPPED_AT_ONCE),
        }
    }
}

//! What systemd is told (`Type=notify`): that calls are taken, and that the end has begun. Where no
//! service manager listens, nobody is told and nothing is wrong.

use sd_notify::NotifyState;

/// Calls are taken from now on.
pub(super) fn ready() {
    tell(&[NotifyState::Ready]);
}

/// No new calls are taken; those in flight may end.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

fn tell(states: &[NotifyState]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "the service manager could not be told how the server is");
    }
}

//! Whether calls can be taken: what `/readyz` tells.
//!
//! Ready is who can put a call on record and is not about to stop. That an upstream key is left
//! alone by its breaker is no reason: calls of other keys pass, and those that do not are told so
//! in words that a program understands, which a load balancer's own error page is not.

use std::sync::Arc;

use chamberlain_store::{Health, Store};
use tokio_util::sync::CancellationToken;

use super::console::Readiness;

/// Asks the store and the server, each time.
pub(super) fn of(store: &Store, stop: &CancellationToken) -> Readiness {
    let (store, stop) = (store.clone(), stop.clone());
    Arc::new(move || judge(&store.health(), stop.is_cancelled()))
}

fn judge(health: &Health, is_stopping: bool) -> Result<(), String> {
    match &health.failure {
        Some(failure) => {
            let since = failure.since;
            Err(format!("the store cannot be written since {since}: {}", failure.fault))
        }
        None if is_stopping => Err("it is shutting down".to_owned()),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use chamberlain_core::time::Timestamp;
    use chamberlain_store::{Failure, StoreFault};

    use super::*;

    #[test]
    fn ready_is_who_can_write_and_does_not_stop() {
        let health = |failure| Health { failure, queued: 3, settlements_queued: 1 };
        let since = Timestamp::from_ms(1_795_000_000_000);
        let full = || Failure { since, fault: StoreFault::DiskFull, tries: 1, refused: 0 };
        assert_eq!(judge(&health(None), false), Ok(()));
        assert_eq!(judge(&health(None), true), Err("it is shutting down".to_owned()));
        for is_stopping in [false, true] {
            let told = judge(&health(Some(full())), is_stopping).unwrap_err();
            assert!(told.starts_with("the store cannot be written since 2026-"), "{told}");
            assert!(told.ends_with(&StoreFault::DiskFull.to_string()), "{told}");
        }
    }
}

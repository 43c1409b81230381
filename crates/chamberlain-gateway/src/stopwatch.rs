//! How long a call takes, and how much of it is ours.

use std::time::Duration;

use tokio::time::Instant;

/// Runs from the head of a request on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stopwatch {
    began: Instant,
    /// Time that others took: the client's body, waiting for a limit or for money, upstream.
    others: Duration,
}

impl Stopwatch {
    /// Starts now.
    pub(crate) fn start() -> Stopwatch {
        Stopwatch { began: Instant::now(), others: Duration::ZERO }
    }

    /// The same, where what was done since `since` was waiting for others.
    pub(crate) fn without(self, since: Instant) -> Stopwatch {
        Stopwatch { others: self.others + since.elapsed(), ..self }
    }

    /// Everything since the start.
    pub(crate) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// What we took ourselves of it.
    pub(crate) fn ours(&self) -> Duration {
        self.elapsed().saturating_sub(self.others)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_is_not_ours() {
        let (now, waited) = (Instant::now(), Duration::from_secs(40));
        let watch = Stopwatch { began: now - Duration::from_secs(45), others: Duration::ZERO };
        let watch = watch.without(now - waited);
        assert!(watch.others >= waited);
        let ours = watch.ours();
        assert!(ours > Duration::ZERO && ours <= watch.elapsed() - waited, "{ours:?}");
    }
}

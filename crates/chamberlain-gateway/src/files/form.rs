//! A form on its way upstream: its bytes pass from the client's connection to upstream's through
//! a place that holds one piece, so that an upload of any size takes the same little memory, and a
//! slow reader slows the writer down.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::refuse::Stop;

/// The client's side: what comes in. Dropped without a word, the client has left.
pub(super) struct Intake {
    pieces: mpsc::Sender<Piece>,
    progress: Arc<Progress>,
    done: bool,
}

impl Drop for Intake {
    /// Before the pieces end, so that whoever sees them end knows why.
    fn drop(&mut self) {
        self.progress.0.lock().abandoned |= !self.done;
    }
}

enum Piece {
    Data(Bytes),
    /// The form is whole.
    End,
}

/// How far a form has come.
pub(super) struct Progress(Mutex<Stage>);

struct Stage {
    /// When upstream took a piece last.
    taken_at: Instant,
    /// True once upstream was given all of it.
    whole: bool,
    /// Why it broke off on the client's side.
    broken: Option<Stop>,
    /// True when the client left before it was whole.
    abandoned: bool,
}

impl Progress {
    /// When upstream took a piece last.
    pub(super) fn taken_at(&self) -> Instant {
        self.0.lock().taken_at
    }

    /// True once upstream was given all of it.
    pub(super) fn is_whole(&self) -> bool {
        self.0.lock().whole
    }

    /// Why it broke off on the client's side, if it did.
    pub(super) fn broken(&self) -> Option<Stop> {
        self.0.lock().broken.clone()
    }

    /// True when the client left before it was whole.
    pub(super) fn is_abandoned(&self) -> bool {
        self.0.lock().abandoned
    }
}

/// The form that upstream is sent.
pub(crate) struct Form {
    pieces: mpsc::Receiver<Piece>,
    progress: Arc<Progress>,
    /// Bytes to come, where the client said how many.
    left_bytes: Option<u64>,
    over: bool,
}

/// The form did not come to its end; upstream's connection is broken off instead of ended.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the upload broke off on the client's side")]
pub(crate) struct BrokenOff;

/// Both ends of a form of `length` bytes, where the client said how many.
pub(super) fn form(length: Option<u64>) -> (Intake, Form) {
    let (sender, pieces) = mpsc::channel(1);
    let whole = length == Some(0);
    let stage = Stage { taken_at: Instant::now(), whole, broken: None, abandoned: false };
    let progress = Arc::new(Progress(Mutex::new(stage)));
    let form = Form { pieces, progress: progress.clone(), left_bytes: length, over: whole };
    (Intake { pieces: sender, progress, done: false }, form)
}

impl Intake {
    /// Hands a piece on; waits while upstream has not taken the last one. False when upstream
    /// takes no more.
    pub(super) async fn give(&mut self, data: Bytes) -> bool {
        let taken = self.pieces.send(Piece::Data(data)).await.is_ok();
        self.done |= !taken;
        taken
    }

    /// The form is whole.
    pub(super) async fn end(mut self) {
        // Upstream takes no more: then it has all of it, or has answered already.
        let _ = self.pieces.send(Piece::End).await;
        self.done = true;
    }

    /// The form breaks off, for this reason.
    pub(super) fn break_off(mut self, stop: Stop) {
        self.progress.0.lock().broken = Some(stop);
        self.done = true;
    }
}

impl Form {
    pub(super) fn progress(&self) -> Arc<Progress> {
        self.progress.clone()
    }

    fn take(&mut self, data: &Bytes) {
        if let Some(left) = &mut self.left_bytes {
            *left = left.saturating_sub(data.len() as u64);
        }
        self.over = self.left_bytes == Some(0);
        let mut stage = self.progress.0.lock();
        stage.taken_at = Instant::now();
        stage.whole |= self.over;
    }
}

impl Body for Form {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        if self.over {
            return Poll::Ready(None);
        }
        match ready!(self.pieces.poll_recv(cx)) {
            Some(Piece::Data(data)) => {
                self.take(&data);
                Poll::Ready(Some(Ok(Frame::data(data))))
            }
            Some(Piece::End) => {
                self.over = true;
                self.progress.0.lock().whole = true;
                Poll::Ready(None)
            }
            None => Poll::Ready(Some(Err(BrokenOff))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.over
    }

    fn size_hint(&self) -> SizeHint {
        match self.left_bytes {
            Some(left) => SizeHint::with_exact(left),
            None if self.over => SizeHint::with_exact(0),
            None => SizeHint::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn only_one_piece_waits_at_a_time() {
        let (mut intake, mut form) = form(None);
        assert!(intake.give(Bytes::from_static(b"one")).await);
        let mut second = Box::pin(intake.give(Bytes::from_static(b"two")));
        assert!(futures(&mut second).is_pending());
        let first = form.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(first, "one");
        assert!(second.await);
        assert!(!form.progress().is_whole());
        assert_eq!(form.frame().await.unwrap().unwrap().into_data().unwrap(), "two");
        intake.end().await;
        assert!(form.frame().await.is_none());
        assert!(form.progress().is_whole());
    }

    #[tokio::test]
    async fn a_form_that_breaks_off_is_never_ended() {
        let (intake, mut form) = form(None);
        drop(intake);
        assert!(form.frame().await.unwrap().is_err());
        assert!(!form.progress().is_whole() && form.progress().is_abandoned());
    }

    #[tokio::test]
    async fn a_form_of_known_length_is_whole_with_its_last_byte() {
        let (mut intake, mut form) = form(Some(3));
        assert_eq!(form.size_hint().exact(), Some(3));
        assert!(intake.give(Bytes::from_static(b"abc")).await);
        assert!(form.frame().await.unwrap().is_ok());
        assert!(form.is_end_stream() && form.progress().is_whole());
        intake.end().await;
        assert!(form.frame().await.is_none());
        assert!(!form.progress().is_abandoned());
    }

    fn futures<T>(future: &mut Pin<Box<impl Future<Output = T>>>) -> Poll<T> {
        future.as_mut().poll(&mut Context::from_waker(std::task::Waker::noop()))
    }
}

//! How an answer travels: whole or event by event, at its pace, to the end or not.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use http_body::{Body, Frame, SizeHint};

use crate::events::{self, Events};
use crate::journal::{Outcome, Ticket};
use crate::scenario::{Break, Point, Scenario};

/// In a longer silence, a `ping` is sent this often, as the real API does.
const PING_EVERY: Duration = Duration::from_secs(10);

/// What sets the pace of a delivery.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pace {
    /// Silence before each event but the first.
    pub(crate) gap: Duration,
    /// Bytes in one write; everything at once when `None`.
    pub(crate) split: Option<usize>,
    pub(crate) broken: Option<(Break, Point)>,
}

impl Pace {
    /// The pace of a stream.
    pub(crate) fn of_stream(scenario: &Scenario, gap: Duration) -> Pace {
        let gap = gap.max(scenario.slow_body);
        Pace { gap, split: scenario.split, broken: scenario.broken }
    }

    /// The pace of a JSON answer, which has no way to carry an `error` event.
    pub(crate) fn of_json(scenario: &Scenario) -> Pace {
        let broken = scenario.broken.filter(|(how, _)| *how != Break::ErrorEvent);
        Pace { gap: scenario.slow_body, split: scenario.split, broken }
    }

    fn is_plain(&self) -> bool {
        self.gap.is_zero() && self.split.is_none() && self.broken.is_none()
    }
}

type Pieces = Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>;

/// The body of an answer.
pub(crate) struct Answer {
    inner: Inner,
}

enum Inner {
    Whole { bytes: Option<Bytes>, ticket: Option<Ticket> },
    Pieces { pieces: Pieces, left: Option<u64> },
}

impl Answer {
    /// An answer in one piece.
    pub(crate) fn whole(bytes: impl Into<Bytes>, ticket: Option<Ticket>) -> Answer {
        let bytes = bytes.into();
        if bytes.is_empty() {
            if let Some(ticket) = ticket {
                ticket.end(Outcome::Delivered);
            }
            return Answer { inner: Inner::Whole { bytes: None, ticket: None } };
        }
        Answer { inner: Inner::Whole { bytes: Some(bytes), ticket } }
    }

    /// A JSON answer at this pace.
    pub(crate) fn paced(bytes: Bytes, pace: Pace, ticket: Ticket) -> Answer {
        if pace.is_plain() {
            return Answer::whole(bytes, Some(ticket));
        }
        let left = Some(bytes.len() as u64);
        let source = Source::Json { rest: Some(bytes), half_sent: false };
        Answer { inner: Inner::Pieces { pieces: Delivery::stream(source, pace, ticket), left } }
    }

    /// A stream of events at this pace. `error` is the JSON of the `error` event to break with.
    pub(crate) fn streamed(events: Events, pace: Pace, error: Vec<u8>, ticket: Ticket) -> Answer {
        let source = Source::Events { events: Box::new(events), error };
        let pieces = Delivery::stream(source, pace, ticket);
        Answer { inner: Inner::Pieces { pieces, left: None } }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match &mut self.inner {
            Inner::Whole { bytes, ticket } => {
                let Some(bytes) = bytes.take() else { return Poll::Ready(None) };
                if let Some(ticket) = ticket.take() {
                    ticket.end(Outcome::Delivered);
                }
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Inner::Pieces { pieces, left } => {
                let next = std::task::ready!(pieces.as_mut().poll_next(context));
                if let (Some(Ok(bytes)), Some(left)) = (&next, left) {
                    *left -= bytes.len() as u64;
                }
                Poll::Ready(next.map(|piece| piece.map(Frame::data)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.inner, Inner::Whole { bytes: None, .. })
    }

    fn size_hint(&self) -> SizeHint {
        match &self.inner {
            Inner::Whole { bytes, .. } => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Inner::Pieces { left: Some(left), .. } => SizeHint::with_exact(*left),
            Inner::Pieces { left: None, .. } => SizeHint::default(),
        }
    }
}

enum Source {
    Events { events: Box<Events>, error: Vec<u8> },
    Json { rest: Option<Bytes>, half_sent: bool },
}

/// A delivery on its way.
struct Delivery {
    source: Source,
    pace: Pace,
    /// Pieces of the present event that are still to be written.
    pieces: VecDeque<Bytes>,
    begun: bool,
    /// How much of the present gap is over.
    waited: Duration,
    /// `None` once the end is written down.
    ticket: Option<Ticket>,
}

impl Delivery {
    fn stream(source: Source, pace: Pace, ticket: Ticket) -> Pieces {
        let pieces = VecDeque::new();
        let waited = Duration::ZERO;
        let delivery =
            Delivery { source, pace, pieces, begun: false, waited, ticket: Some(ticket) };
        Box::pin(futures_util::stream::unfold(delivery, |mut delivery| async {
            delivery.next().await.map(|piece| (piece, delivery))
        }))
    }

    async fn next(&mut self) -> Option<io::Result<Bytes>> {
        if self.begun {
            // Yielding here makes the connection flush what it has: every event leaves at once.
            tokio::task::yield_now().await;
        }
        if let Some(piece) = self.pieces.pop_front() {
            return Some(Ok(self.given(piece)));
        }
        self.ticket.as_ref()?;
        if let Some((how, _)) = self.pace.broken.filter(|(_, point)| self.source.reached(*point)) {
            return self.break_off(how).await;
        }
        if self.begun && !self.pace.gap.is_zero() && self.wait().await {
            return Some(Ok(events::ping()));
        }
        self.begun = true;
        let Some(event) = self.source.next() else {
            self.end(Outcome::Delivered);
            return None;
        };
        if let (Source::Events { events, .. }, Some(ticket)) = (&self.source, &mut self.ticket) {
            ticket.output_sent(events.output());
        }
        let first = self.first_piece(event);
        Some(Ok(self.given(first)))
    }

    /// A body of known length is not asked for its end, so the end is written down with the last
    /// piece.
    fn given(&mut self, piece: Bytes) -> Bytes {
        if self.pieces.is_empty() && self.source.is_spent() {
            self.end(Outcome::Delivered);
        }
        piece
    }

    /// Waits out the gap; true when a `ping` is due in the middle of it.
    async fn wait(&mut self) -> bool {
        let left = self.pace.gap.saturating_sub(self.waited);
        if left > PING_EVERY && matches!(self.source, Source::Events { .. }) {
            tokio::time::sleep(PING_EVERY).await;
            self.waited += PING_EVERY;
            return true;
        }
        tokio::time::sleep(left).await;
        self.waited = Duration::ZERO;
        false
    }

    fn first_piece(&mut self, mut event: Bytes) -> Bytes {
        let Some(size) = self.pace.split else { return event };
        let first = event.split_to(size.min(event.len()));
        while !event.is_empty() {
            self.pieces.push_back(event.split_to(size.min(event.len())));
        }
        first
    }

    async fn break_off(&mut self, how: Break) -> Option<io::Result<Bytes>> {
        match (how, &self.source) {
            (Break::Stall, _) => std::future::pending().await,
            (Break::ErrorEvent, Source::Events { error, .. }) => {
                let event = events::error(error);
                self.end(Outcome::ErrorEvent);
                Some(Ok(event))
            }
            (Break::Truncate, Source::Events { .. }) => {
                self.end(Outcome::Cut);
                None
            }
            (Break::ErrorEvent | Break::Cut | Break::Truncate, _) => {
                // A moment for what was written to leave the machine.
                tokio::time::sleep(Duration::from_millis(5)).await;
                self.end(Outcome::Cut);
                Some(Err(io::Error::other("the mock cut this answer off, as it was asked to")))
            }
        }
    }

    fn end(&mut self, outcome: Outcome) {
        if let Some(ticket) = self.ticket.take() {
            ticket.end(outcome);
        }
    }
}

impl Source {
    fn reached(&self, point: Point) -> bool {
        match self {
            Source::Events { events, .. } => events.reached(point),
            Source::Json { half_sent, .. } => *half_sent || point == Point::Headers,
        }
    }

    /// True when the last byte of a body of known length was given out.
    fn is_spent(&self) -> bool {
        matches!(self, Source::Json { rest: None, .. })
    }

    /// The next event, or the next half of a JSON body.
    fn next(&mut self) -> Option<Bytes> {
        match self {
            Source::Events { events, .. } => events.next(),
            Source::Json { rest, half_sent } => {
                let mut bytes = rest.take()?;
                if *half_sent || bytes.len() < 2 {
                    return Some(bytes);
                }
                *half_sent = true;
                let half = bytes.split_to(bytes.len() / 2);
                *rest = Some(bytes);
                Some(half)
            }
        }
    }
}

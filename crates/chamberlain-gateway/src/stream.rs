//! Meter: the answer passes through untouched while its usage is read, and its end is settled.
//!
//! Truncation stays visible: when upstream breaks off, a stream gets an `error` event (if it
//! stands between two events) and then the connection is broken off too, never ended cleanly.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use chamberlain_core::admission::breaker::Health;
use chamberlain_core::anthropic::error::{ErrorType, error_event};
use chamberlain_core::anthropic::meter::{Meter, Metered};
use chamberlain_core::record::Route;
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use hyper::body::Incoming;
use parking_lot::Mutex;
use tokio::task::AbortHandle;
use tokio::time::{Instant, Sleep, sleep, sleep_until, timeout_at};

use crate::connect::Place;
use crate::decide::Destination;
use crate::ending::{End, Gone, Seen};
use crate::escort::{Escort, Held};
use crate::gateway::Inner;
use crate::headers::REQUEST_ID;
use crate::permit::{Permit, Tale};
use crate::recall::{Entry, parting};
use crate::refuse::{Stop, own_request_id};

/// Longest JSON answer that is read for its usage.
const JSON_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Longest error answer that is read for its type.
const ERROR_BYTES_MAX: usize = 256 * 1024;
/// So many bytes may follow the point where a stream's money may be used up, in search of the end
/// of an event.
const OVER_BYTES_MAX: usize = 16 * 1024;
/// Most bytes read of an answer whose client has left.
const DRAIN_BYTES_MAX: usize = 64 * 1024 * 1024;
/// A timer that fires so much too late tells that the process was stopped, or starved.
const STOOD_STILL: Duration = Duration::from_secs(1);
/// Before breaking off, so that what was passed on, and our last words, are on the wire first.
const LAST_WORDS: Duration = Duration::from_millis(50);
const REQUEST_ID_CHARS_MAX: usize = 128;

/// The answer broke off upstream.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the answer broke off upstream")]
pub(crate) struct Truncated;

/// The body of any answer of the gateway.
pub(crate) enum AnswerBody {
    /// Our own.
    Whole(Full<Bytes>),
    /// Upstream's.
    Metered(MeteredBody),
}

impl AnswerBody {
    pub(crate) fn whole(bytes: Bytes) -> AnswerBody {
        AnswerBody::Whole(Full::new(bytes))
    }

    pub(crate) fn metered(flow: Flow) -> AnswerBody {
        AnswerBody::Metered(MeteredBody::new(flow))
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = Truncated;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Truncated>>> {
        match self.get_mut() {
            AnswerBody::Whole(body) => {
                Pin::new(body).poll_frame(cx).map_err(|never| match never {})
            }
            AnswerBody::Metered(body) => body.poll(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            AnswerBody::Whole(body) => body.is_end_stream(),
            AnswerBody::Metered(body) => matches!(body.phase, Phase::Done),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            AnswerBody::Whole(body) => body.size_hint(),
            AnswerBody::Metered(body) => body.size_hint(),
        }
    }
}

/// An answer of upstream on its way to the client.
pub(crate) struct MeteredBody {
    phase: Phase,
    watch: Option<AbortHandle>,
}

enum Phase {
    Flowing(Arc<Watched>),
    /// The last words are on their way; then it breaks off.
    Breaking(Pin<Box<Sleep>>),
    Done,
}

/// An answer that can be taken away from its client: when its key is stopped, and when it does
/// not ask for the next piece. Over HTTP/2 such a client may keep its connection, and so the
/// answer and its money, for ever.
pub(crate) struct Watched {
    inside: Mutex<Inside>,
}

struct Inside {
    /// `None` once it was taken away.
    flow: Option<Box<Flow>>,
    /// When a piece was handed over that nothing was asked for after yet.
    handed_over: Option<Instant>,
    /// Who waits for the next piece.
    waker: Option<Waker>,
    /// The last words to a client whose answer was taken away, if it can be told.
    parting: Option<Bytes>,
}

impl Watched {
    fn poll(&self, cx: &mut Context<'_>) -> Poll<Next> {
        let mut inside = self.inside.lock();
        if let Some(flow) = inside.flow.take_if(|flow| flow.is_used_up()) {
            let message = "Chamberlain ended this answer before it was complete: the budget that \
                           it was admitted with may be used up (the virtual key asks for this \
                           with --on-shortage cut). Wait for the budget's window to end, or ask \
                           your operator to raise it.";
            inside.parting = flow.last_words(ErrorType::BillingError, message, Some("budget_cut"));
            drop(inside);
            flow.end(false, None);
            return Poll::Ready(Next::Cut);
        }
        let Some(flow) = &mut inside.flow else { return Poll::Ready(Next::Cut) };
        let next = flow.poll(cx);
        inside.handed_over = next.is_ready().then(Instant::now);
        if next.is_pending() && !inside.waker.as_ref().is_some_and(|it| it.will_wake(cx.waker())) {
            inside.waker = Some(cx.waker().clone());
        }
        next
    }

    /// Takes the answer away and reads it on, because its call was recalled. A stream whose last
    /// event was passed on is whole, and left alone.
    pub(crate) fn recall(&self, stop: &Stop) {
        let mut inside = self.inside.lock();
        let is_running = |flow: &mut Box<Flow>| !(flow.is_stream && flow.may_end());
        let Some(flow) = inside.flow.take_if(is_running) else { return };
        let words = parting(stop);
        inside.parting = flow.last_words(words.kind, &words.message, Some(words.code));
        let waker = inside.waker.take();
        drop(inside);
        if let Some(waker) = waker {
            waker.wake();
        }
        flow.gateway().note_recall(&flow.permit.tale().call, stop);
        drain_beside(flow, Gone::Recalled);
    }

    /// What a client whose answer ends before it is whole is told, if it can be told.
    fn last_words(&self) -> Option<Bytes> {
        let mut inside = self.inside.lock();
        match &inside.flow {
            Some(flow) => {
                let message = "The connection to Anthropic broke before the answer was complete.";
                let unbound = "What Anthropic handed out could not be put on record as yours, so \
                               the answer ends here. What was worked on is charged.";
                match flow.escort.as_ref().is_some_and(|escort| escort.has_failed()) {
                    true => flow.last_words(ErrorType::ApiError, unbound, Some("not_on_record")),
                    false => flow.last_words(ErrorType::ApiError, message, None),
                }
            }
            None => inside.parting.take(),
        }
    }

    fn see<T>(&self, see: impl FnOnce(&Flow) -> T) -> Option<T> {
        self.inside.lock().flow.as_deref().map(see)
    }

    fn take(&self) -> Option<Box<Flow>> {
        self.inside.lock().flow.take()
    }

    fn take_stuck(&self, limit: Duration) -> Option<Box<Flow>> {
        let mut inside = self.inside.lock();
        let is_stuck = inside.handed_over.is_some_and(|since| since.elapsed() >= limit);
        if is_stuck { inside.flow.take() } else { None }
    }
}

/// Takes the answer away when its client asks for nothing for `limit`, and reads it on.
async fn watch(watched: Weak<Watched>, limit: Duration) {
    loop {
        sleep(limit).await;
        let Some(watched) = watched.upgrade() else { return };
        if let Some(flow) = watched.take_stuck(limit) {
            return drain_beside(flow, Gone::Left);
        }
    }
}

fn drain_beside(flow: Box<Flow>, gone: Gone) {
    let gateway = flow.gateway().clone();
    // Nothing is to be learned from the rest of these.
    let drain_ms = match flow.passes_by {
        true => 0,
        false => flow.permit.tale().call.snapshot.settings.drain_ms_max,
    };
    gateway.aside(drain(*flow, Instant::now() + Duration::from_millis(drain_ms), gone));
}

impl MeteredBody {
    fn new(flow: Flow) -> MeteredBody {
        let recall = flow.entry.share();
        let inside =
            Inside { flow: Some(Box::new(flow)), handed_over: None, waker: None, parting: None };
        let watched = Arc::new(Watched { inside: Mutex::new(inside) });
        let mut body = MeteredBody { phase: Phase::Flowing(watched.clone()), watch: None };
        body.end_if_over();
        recall.answering(&watched);
        body
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Truncated>>> {
        let watched = match &mut self.phase {
            Phase::Flowing(watched) => watched,
            Phase::Breaking(pause) => {
                ready!(pause.as_mut().poll(cx));
                return Poll::Ready(Some(Err(Truncated)));
            }
            Phase::Done => return Poll::Ready(None),
        };
        match ready!(watched.poll(cx)) {
            Next::Frame(frame) => {
                self.end_if_over();
                self.watch();
                Poll::Ready(Some(Ok(frame)))
            }
            Next::End if watched.see(Flow::may_end) == Some(true) => {
                self.end(true);
                Poll::Ready(None)
            }
            Next::End | Next::Cut => {
                let words = watched.last_words();
                self.end(false);
                self.phase = Phase::Breaking(Box::pin(sleep(LAST_WORDS)));
                match words {
                    Some(words) => Poll::Ready(Some(Ok(Frame::data(words)))),
                    None => self.poll(cx),
                }
            }
        }
    }

    /// Has the answer watched as soon as there is more of it than one piece.
    fn watch(&mut self) {
        if let (Phase::Flowing(watched), None) = (&self.phase, &self.watch)
            && let Some(limit) = watched.see(|flow| flow.idle_max)
        {
            let watching = tokio::spawn(watch(Arc::downgrade(watched), limit));
            self.watch = Some(watching.abort_handle());
        }
    }

    /// Settles as soon as the last byte is there: whoever writes an answer of known length does
    /// not ask for what comes after it.
    fn end_if_over(&mut self) {
        if let Phase::Flowing(watched) = &self.phase
            && watched.see(|flow| flow.is_over() && flow.may_end()) == Some(true)
        {
            self.end(true);
        }
    }

    fn end(&mut self, whole: bool) {
        if let Phase::Flowing(watched) = std::mem::replace(&mut self.phase, Phase::Done)
            && let Some(flow) = watched.take()
        {
            flow.end(whole, None);
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.phase {
            Phase::Flowing(watched) => match watched.see(|flow| flow.left_bytes).flatten() {
                Some(left) => SizeHint::with_exact(left),
                None => SizeHint::default(),
            },
            Phase::Breaking(_) => SizeHint::default(),
            Phase::Done => SizeHint::with_exact(0),
        }
    }
}

impl Drop for MeteredBody {
    /// The client left. What it was sent before is paid for; the rest is read on to learn what
    /// it costs, or cancelled when nothing may be drained.
    fn drop(&mut self) {
        if let Some(watch) = &self.watch {
            watch.abort();
        }
        let phase = std::mem::replace(&mut self.phase, Phase::Done);
        let Phase::Flowing(watched) = phase else { return };
        let Some(flow) = watched.take() else { return };
        if flow.is_stream && flow.may_end() {
            flow.end(true, None);
            return;
        }
        drain_beside(flow, Gone::Left);
    }
}

/// Reads an answer that nobody takes on, for as long as allowed. Where the process stood still over
/// the deadline, what came meanwhile is read all the same: it is billed, and waits in the socket.
pub(crate) async fn drain(mut flow: Flow, mut deadline: Instant, gone: Gone) {
    let mut read = 0;
    let whole = loop {
        if flow.is_over() && flow.may_end() {
            break true;
        }
        if flow.is_used_up() {
            break false;
        }
        match timeout_at(deadline, poll_fn(|cx| flow.poll(cx))).await {
            Ok(Next::Frame(frame)) => read += frame.data_ref().map_or(0, Bytes::len),
            Ok(Next::End) => break flow.may_end(),
            Ok(Next::Cut) => break false,
            Err(_) if deadline.elapsed() > STOOD_STILL => deadline = Instant::now() + STOOD_STILL,
            Err(_) => break false,
        }
        if read > DRAIN_BYTES_MAX {
            break false;
        }
    };
    flow.end(whole, Some(gone));
}

/// The next thing an answer brings.
pub(crate) enum Next {
    Frame(Frame<Bytes>),
    End,
    Cut,
}

/// An answer as it comes from upstream, with the meter beside it and the permit it will settle.
pub(crate) struct Flow {
    body: Incoming,
    permit: Permit,
    entry: Entry,
    destination: Destination,
    _place: Place,
    meter: Option<Meter>,
    is_stream: bool,
    /// True for the content of a file and the results of a batch, which are not looked at whatever
    /// they say they are.
    passes_by: bool,
    status: u16,
    request_id: Option<String>,
    /// Bytes to come, where upstream said how many.
    left_bytes: Option<u64>,
    /// The last two bytes passed on.
    tail: [u8; 2],
    idle_max: Duration,
    idle: Pin<Box<Sleep>>,
    heard_at: Instant,
    /// Binds what the answer hands out; `None` for a plain one.
    escort: Option<Box<Escort>>,
    /// The answer's id is remembered.
    remembered: bool,
    /// Bytes passed on since the money may be used up.
    over_bytes: Option<usize>,
}

impl Flow {
    pub(crate) fn new(
        permit: Permit,
        entry: Entry,
        destination: Destination,
        place: Place,
        head: &http::response::Parts,
        body: Incoming,
    ) -> Flow {
        let succeeded = head.status.is_success();
        let route = permit.tale().subject.route;
        let passes_by = succeeded && matches!(route, Route::FileContent | Route::BatchResults);
        let is_stream = succeeded && !passes_by && is_event_stream(&head.headers);
        let readable = !passes_by && !head.headers.contains_key(CONTENT_ENCODING);
        let meter = readable.then(|| match (is_stream, succeeded) {
            (true, _) => Meter::for_stream(),
            (false, true) => Meter::for_json(JSON_BYTES_MAX),
            (false, false) => Meter::for_json(ERROR_BYTES_MAX),
        });
        let idle_ms = permit.tale().call.snapshot.settings.idle_ms_max;
        let idle_max = Duration::from_millis(idle_ms);
        let heard_at = Instant::now();
        let Tale { call, subject, .. } = permit.tale();
        let custody = subject.custody.clone().filter(|_| succeeded && readable);
        let gateway = permit.gateway();
        let escort =
            custody.map(|it| Box::new(Escort::new(gateway, call, &destination, it, is_stream)));
        Flow {
            body,
            permit,
            entry,
            destination,
            _place: place,
            meter,
            is_stream,
            passes_by,
            status: head.status.as_u16(),
            request_id: text(&head.headers, REQUEST_ID.as_str(), REQUEST_ID_CHARS_MAX),
            left_bytes: text(&head.headers, CONTENT_LENGTH.as_str(), 20)
                .and_then(|length| length.parse().ok()),
            tail: *b"\n\n",
            idle_max,
            idle: Box::pin(sleep_until(heard_at + idle_max)),
            heard_at,
            escort,
            remembered: false,
            over_bytes: None,
        }
    }

    pub(crate) fn gateway(&self) -> &Arc<Inner> {
        self.permit.gateway()
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Next> {
        let Some(mut escort) = self.escort.take() else {
            let next = self.poll_upstream(cx);
            if let Poll::Ready(Next::Frame(frame)) = &next {
                self.pass(frame);
            }
            return next;
        };
        let next = self.poll_escorted(&mut escort, cx);
        self.escort = Some(escort);
        next
    }

    /// What waits for its binding is passed on first; then upstream is asked for more.
    fn poll_escorted(&mut self, escort: &mut Escort, cx: &mut Context<'_>) -> Poll<Next> {
        loop {
            match ready!(escort.poll(cx)) {
                Some(Held::Frame(frame)) => {
                    self.pass(&frame);
                    return Poll::Ready(Next::Frame(frame));
                }
                Some(Held::End) => return Poll::Ready(Next::End),
                Some(Held::Cut) => return Poll::Ready(Next::Cut),
                None => {}
            }
            escort.take(match ready!(self.poll_upstream(cx)) {
                Next::Frame(frame) => Held::Frame(frame),
                Next::End => Held::End,
                Next::Cut => Held::Cut,
            });
        }
    }

    fn poll_upstream(&mut self, cx: &mut Context<'_>) -> Poll<Next> {
        match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(data) = frame.data_ref() {
                    self.read(data);
                }
                self.heard_at = Instant::now();
                Poll::Ready(Next::Frame(frame))
            }
            Poll::Ready(Some(Err(error))) => {
                let call = self.permit.tale().call.id;
                tracing::warn!(%call, %error, "an answer broke off upstream");
                Poll::Ready(Next::Cut)
            }
            Poll::Ready(None) => Poll::Ready(Next::End),
            Poll::Pending => self.poll_idle(cx),
        }
    }

    /// The timer is set once for many frames: when it rings it is set again if something was
    /// heard in the meantime.
    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<Next> {
        loop {
            ready!(self.idle.as_mut().poll(cx));
            let due = self.heard_at + self.idle_max;
            if Instant::now() >= due {
                let settings = self.permit.tale().call.snapshot.settings.breaker;
                self.gateway().report_health(&self.destination, settings, Health::Failure);
                return Poll::Ready(Next::Cut);
            }
            self.idle.as_mut().reset(due);
        }
    }

    fn read(&mut self, data: &[u8]) {
        if let Some(meter) = &mut self.meter {
            meter.push(data);
            if !self.remembered
                && let Some(id) = meter.message_id()
            {
                self.remembered = true;
                self.permit.gateway().messages.hear(id, &self.permit.tale().call.key.id);
            }
        }
        if let Some(left) = &mut self.left_bytes {
            *left = left.saturating_sub(data.len() as u64);
        }
        self.look_at_money(data);
    }

    /// Notes what the client gets.
    fn pass(&mut self, frame: &Frame<Bytes>) {
        match frame.data_ref().map_or(&[][..], |data| data) {
            [.., before, last] => self.tail = [*before, *last],
            [last] => self.tail = [self.tail[1], *last],
            [] => {}
        }
    }

    /// True when a stream that was admitted with what was left must end here: what is left may be
    /// used up. Between two events, where its client can be told; but not much later than that.
    fn is_used_up(&self) -> bool {
        let Some(over_bytes) = self.over_bytes else { return false };
        !self.may_end() && (self.tail == *b"\n\n" || over_bytes > OVER_BYTES_MAX)
    }

    /// Looks whether what is left may be used up, for a stream that was admitted with it.
    fn look_at_money(&mut self, data: &[u8]) {
        if let Some(over_bytes) = &mut self.over_bytes {
            *over_bytes = over_bytes.saturating_add(data.len());
        } else if self.is_stream && self.permit.is_short() {
            let used_up = match &self.meter {
                Some(meter) => meter.so_far().is_some_and(|it| self.permit.may_be_used_up(it)),
                None => true,
            };
            self.over_bytes = used_up.then_some(0);
        }
    }

    /// True when no byte is to come.
    fn is_over(&self) -> bool {
        let holds = self.escort.as_ref().is_some_and(|escort| escort.holds());
        !holds && (self.left_bytes == Some(0) || self.body.is_end_stream())
    }

    /// True when an end at this point is not a truncation.
    fn may_end(&self) -> bool {
        match &self.meter {
            Some(meter) if self.is_stream => meter.saw_end(),
            _ => self.left_bytes.is_none_or(|left| left == 0),
        }
    }

    /// What a client of a broken stream is told, if it can be told: in the middle of an event it
    /// would read our words as part of it.
    fn last_words(&self, kind: ErrorType, message: &str, code: Option<&str>) -> Option<Bytes> {
        if !self.is_stream || self.tail != *b"\n\n" {
            return None;
        }
        let own = || own_request_id(self.permit.tale().call.id);
        let request_id = self.request_id.clone().unwrap_or_else(own);
        Some(Bytes::from(error_event(kind, message, code, &request_id)))
    }

    fn end(self, whole: bool, gone: Option<Gone>) {
        let metered = self.meter.map(Meter::finish).unwrap_or_default();
        if let Some(id) = metered.message_id.as_deref().filter(|_| !self.remembered) {
            self.permit.gateway().messages.hear(id, &self.permit.tale().call.key.id);
        }
        let seen = seen(self.status, metered, whole);
        let upstream_request_id = self.request_id;
        let end = End { seen, gone, status: self.status, upstream_request_id };
        // The connection is let go before the money, so that a cancelled call is cancelled.
        drop(self.body);
        self.permit.settle(end);
    }
}

fn seen(status: u16, metered: Metered, whole: bool) -> Seen {
    if (200..300).contains(&status) {
        return Seen::Answered { metered: Box::new(metered), whole };
    }
    Seen::Refused { status, by_api: metered.error_type.is_some() }
}

fn is_event_stream(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).is_some_and(|value| {
        value.trim_start().to_ascii_lowercase().starts_with("text/event-stream")
    })
}

/// A header's text, if it has one of sensible length.
pub(crate) fn text(headers: &HeaderMap, name: &str, chars_max: usize) -> Option<String> {
    let text = headers.get(name)?.to_str().ok()?;
    (text.len() <= chars_max).then(|| text.to_owned())
}

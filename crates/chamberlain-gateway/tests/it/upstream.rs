//! A scripted upstream: it does what the next act says and remembers what it was sent.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::Frame;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

/// One request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Arrived {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// What to do with the next request.
pub(crate) enum Act {
    Answer(Answer),
    /// Never answer.
    Hang,
    /// Close the connection without a word.
    Hangup,
}

pub(crate) struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: AnswerBody,
    wait: Duration,
}

enum AnswerBody {
    Whole(Bytes),
    Pieces(mpsc::UnboundedReceiver<Piece>),
}

/// What a slow answer brings next. Dropping the sender ends it cleanly.
pub(crate) enum Piece {
    Data(Bytes),
    /// The connection breaks.
    Cut,
}

impl Answer {
    pub(crate) fn json(status: u16, body: impl Into<Bytes>) -> Answer {
        let headers = vec![
            ("content-type".to_owned(), "application/json".to_owned()),
            ("request-id".to_owned(), "req_upstream".to_owned()),
        ];
        let body = AnswerBody::Whole(body.into());
        Answer { status, headers, body, wait: Duration::ZERO }
    }

    /// An answer whose pieces come when the test sends them.
    pub(crate) fn pieces(content_type: &str) -> (mpsc::UnboundedSender<Piece>, Answer) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let mut answer = Answer::json(200, "");
        answer.headers[0].1 = content_type.to_owned();
        answer.body = AnswerBody::Pieces(receiver);
        (sender, answer)
    }

    /// A stream that comes in the pieces given.
    pub(crate) fn stream(pieces: impl IntoIterator<Item = Piece>) -> Answer {
        Answer::slow("text/event-stream; charset=utf-8", pieces)
    }

    /// An answer that comes in the pieces given, one after the other has been sent.
    pub(crate) fn slow(content_type: &str, pieces: impl IntoIterator<Item = Piece>) -> Answer {
        let (sender, answer) = Answer::pieces(content_type);
        let pieces: Vec<_> = pieces.into_iter().collect();
        tokio::spawn(async move {
            for piece in pieces {
                tokio::time::sleep(Duration::from_millis(20)).await;
                let _ = sender.send(piece);
            }
        });
        answer
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Answer {
        self.headers.retain(|(known, _)| known != name || name == "set-cookie");
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn after(mut self, wait: Duration) -> Answer {
        self.wait = wait;
        self
    }
}

type Default = Box<dyn Fn(&Arrived) -> Answer + Send + Sync>;

pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    acts: Mutex<VecDeque<Act>>,
    otherwise: Mutex<Default>,
    arrived: Mutex<Vec<Arrived>>,
    at_once: AtomicUsize,
    most_at_once: AtomicUsize,
    cancelled: AtomicUsize,
}

/// A message of Haiku 4.5: 100 tokens in, 200 out, 0.0011 dollars.
pub(crate) fn message() -> &'static str {
    concat!(
        r#"{"id":"msg_1","type":"message","role":"assistant","model":"claude-haiku-4-5-20251001","#,
        r#""content":[{"type":"text","text":"Grüße"}],"stop_reason":"end_turn","#,
        r#""stop_sequence":null,"usage":{"input_tokens":100,"output_tokens":200,"#,
        r#""cache_creation_input_tokens":0,"cache_read_input_tokens":0}}"#
    )
}

/// The same message as a stream, event by event.
pub(crate) fn events() -> Vec<&'static str> {
    vec![
        concat!(
            "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",",
            "\"type\":\"message\",\"role\":\"assistant\",\"model\":\"claude-haiku-4-5-20251001\",",
            "\"content\":[],\"stop_reason\":null,\"stop_sequence\":null,\"usage\":{",
            "\"input_tokens\":100,\"output_tokens\":1}}}\n\n"
        ),
        concat!(
            "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,",
            "\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n"
        ),
        "event: ping\ndata: {\"type\": \"ping\"}\n\n",
        concat!(
            "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,",
            "\"delta\":{\"type\":\"text_delta\",\"text\":\"Grüße\"}}\n\n"
        ),
        "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n",
        concat!(
            "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{",
            "\"stop_reason\":\"end_turn\",\"stop_sequence\":null},\"usage\":{",
            "\"output_tokens\":200}}\n\n"
        ),
        "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
    ]
}

pub(crate) fn data(text: &str) -> Piece {
    Piece::Data(Bytes::copy_from_slice(text.as_bytes()))
}

pub(crate) fn error(kind: &str) -> String {
    format!(r#"{{"type":"error","error":{{"type":"{kind}","message":"m"}},"request_id":"req_u"}}"#)
}

impl Upstream {
    pub(crate) async fn start() -> Arc<Upstream> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let upstream = Arc::new(Upstream {
            address: listener.local_addr().unwrap(),
            acts: Mutex::default(),
            otherwise: Mutex::new(Box::new(|arrived| {
                if arrived.target.contains("count_tokens") {
                    return Answer::json(200, r#"{"input_tokens":100}"#);
                }
                Answer::json(200, message())
            })),
            arrived: Mutex::default(),
            at_once: AtomicUsize::new(0),
            most_at_once: AtomicUsize::new(0),
            cancelled: AtomicUsize::new(0),
        });
        let serving = upstream.clone();
        tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { continue };
                let upstream = serving.clone();
                tokio::spawn(async move {
                    let service = service_fn(move |request| upstream.clone().answer(request));
                    let builder = auto::Builder::new(TokioExecutor::new());
                    let _ = builder.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        upstream
    }

    /// Adds an act; acts are used up in order, then the default answers.
    pub(crate) fn then(&self, act: Act) -> &Upstream {
        self.acts.lock().push_back(act);
        self
    }

    pub(crate) fn then_answer(&self, answer: Answer) -> &Upstream {
        self.then(Act::Answer(answer))
    }

    pub(crate) fn otherwise(&self, answer: impl Fn(&Arrived) -> Answer + Send + Sync + 'static) {
        *self.otherwise.lock() = Box::new(answer);
    }

    pub(crate) fn arrived(&self) -> Vec<Arrived> {
        self.arrived.lock().clone()
    }

    pub(crate) fn most_at_once(&self) -> usize {
        self.most_at_once.load(Ordering::SeqCst)
    }

    /// Answers that were given up before their end.
    pub(crate) fn cancelled(&self) -> usize {
        self.cancelled.load(Ordering::SeqCst)
    }

    async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
    ) -> Result<Response<Pieces>, Box<dyn std::error::Error + Send + Sync>> {
        let (head, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        let arrived = Arrived {
            method: head.method.to_string(),
            target: head.uri.path_and_query().unwrap().to_string(),
            headers: head.headers,
            body,
        };
        self.arrived.lock().push(arrived.clone());
        let busy = Busy::new(&self);
        let act = self.acts.lock().pop_front();
        let answer = match act {
            Some(Act::Answer(answer)) => answer,
            Some(Act::Hang) => std::future::pending().await,
            Some(Act::Hangup) => {
                busy.done();
                return Err("told to hang up".into());
            }
            None => (self.otherwise.lock())(&arrived),
        };
        tokio::time::sleep(answer.wait).await;
        let mut response = Response::builder().status(answer.status);
        for (name, value) in &answer.headers {
            response = response.header(name, value);
        }
        let body = match answer.body {
            AnswerBody::Whole(bytes) => Pieces::Whole(Some(bytes), busy),
            AnswerBody::Pieces(pieces) => Pieces::Some(pieces, busy),
        };
        Ok(response.body(body)?)
    }
}

/// A request being worked on.
pub(crate) struct Busy {
    upstream: Arc<Upstream>,
    done: bool,
}

impl Busy {
    fn new(upstream: &Arc<Upstream>) -> Busy {
        let now = upstream.at_once.fetch_add(1, Ordering::SeqCst) + 1;
        upstream.most_at_once.fetch_max(now, Ordering::SeqCst);
        Busy { upstream: upstream.clone(), done: false }
    }

    fn done(mut self) {
        self.done = true;
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.upstream.at_once.fetch_sub(1, Ordering::SeqCst);
        if !self.done {
            self.upstream.cancelled.fetch_add(1, Ordering::SeqCst);
        }
    }
}

pub(crate) enum Pieces {
    Whole(Option<Bytes>, Busy),
    Some(mpsc::UnboundedReceiver<Piece>, Busy),
}

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        match self.get_mut() {
            Pieces::Whole(bytes, busy) => {
                busy.done = true;
                Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes))))
            }
            Pieces::Some(pieces, busy) => match pieces.poll_recv(cx) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(Some(Piece::Data(bytes))) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
                Poll::Ready(Some(Piece::Cut)) => {
                    busy.done = true;
                    Poll::Ready(Some(Err(std::io::Error::other("told to cut"))))
                }
                Poll::Ready(None) => {
                    busy.done = true;
                    Poll::Ready(None)
                }
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Pieces::Whole(None, _))
    }

    fn size_hint(&self) -> http_body::SizeHint {
        match self {
            Pieces::Whole(bytes, _) => {
                http_body::SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64)
            }
            Pieces::Some(..) => http_body::SizeHint::default(),
        }
    }
}

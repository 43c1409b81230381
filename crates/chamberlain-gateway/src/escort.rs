//! Escort: what an answer hands out an id for is bound to its virtual key before the client sees
//! the id. The bytes pass untouched; only those that carry an id wait, for as long as a commit
//! takes.
//!
//! Plain calls have no escort and pay nothing for it. Where an id cannot be bound, or upstream gave
//! it to somebody else before, the answer breaks off before the bytes that carry it.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use chamberlain_core::anthropic::handed::{HandedOut, HandedOutReader, handed_out};
use chamberlain_core::anthropic::meter::Meter;
use chamberlain_core::anthropic::request::{Capability, RequestFacts, Thread, ThreadMemory};
use chamberlain_core::resource::{Binding, Resource, ResourceId, ResourceKind};
use http_body::Frame;
use serde_json::Map;

use crate::decide::Destination;
use crate::gateway::Inner;
use crate::identify::Call;

/// A JSON answer longer than this is passed on as it comes; its ids are nobody's.
const JSON_BYTES_MAX: usize = 32 * 1024 * 1024;

/// How long a message is remembered that a thread can go on from, milliseconds; upstream keeps
/// it for about five minutes.
const THREAD_MS: i64 = 3_600_000;

/// What the answer to a call may hand out, where it may.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Custody {
    /// What the next turn of the thread is bounded by; `None` without a thread.
    thread: Option<ThreadMemory>,
}

impl Custody {
    /// What is to be kept of an answer to this request; `None` when no id in it can be used.
    pub(crate) fn of(request: &RequestFacts) -> Option<Custody> {
        let in_thread = request.thread != Thread::None;
        // Web tools may run code in a container by themselves.
        let may_hand_out = in_thread
            || !request.server_tools.is_empty()
            || request.mcp
            || !request.unknown_fields.is_empty()
            || request.capabilities.contains(&Capability::CodeExecution);
        let thread = if in_thread { ThreadMemory::of(request) } else { None };
        may_hand_out.then_some(Custody { thread })
    }
}

/// Whether everything could be bound, once that is known.
type Bound = Pin<Box<dyn Future<Output = bool> + Send>>;

/// What waits to be passed on.
pub(crate) enum Held {
    Frame(Frame<Bytes>),
    End,
    Cut,
}

/// The escort of one answer.
pub(crate) struct Escort {
    binder: Binder,
    custody: Custody,
    reading: Reading,
    /// Counts the tokens of the thread.
    meter: Option<Meter>,
    message: Option<ResourceId>,
    held: VecDeque<Held>,
    binding: Option<Bound>,
    failed: bool,
}

enum Reading {
    Stream(Box<HandedOutReader>),
    Json { body: Vec<u8>, ended: bool },
}

/// Whose the ids become.
struct Binder {
    gateway: Arc<Inner>,
    call: Call,
    destination: Destination,
}

impl Escort {
    pub(crate) fn new(
        gateway: &Arc<Inner>,
        call: &Call,
        destination: &Destination,
        custody: Custody,
        is_stream: bool,
    ) -> Escort {
        let (reading, meter) = if is_stream {
            (Reading::Stream(Box::default()), Meter::for_stream())
        } else {
            (Reading::Json { body: Vec::new(), ended: false }, Meter::for_json(JSON_BYTES_MAX))
        };
        let (gateway, call, destination) = (gateway.clone(), call.clone(), destination.clone());
        Escort {
            meter: custody.thread.is_some().then_some(meter),
            binder: Binder { gateway, call, destination },
            custody,
            reading,
            message: None,
            held: VecDeque::new(),
            binding: None,
            failed: false,
        }
    }

    /// True while something waits that the client has not got.
    pub(crate) fn holds(&self) -> bool {
        self.binding.is_some() || self.held.iter().any(|held| matches!(held, Held::Frame(_)))
    }

    /// True when an id could not be bound.
    pub(crate) fn has_failed(&self) -> bool {
        self.failed
    }

    /// The next thing to pass on, once what it carries is bound; `None` when upstream is to be
    /// asked for more.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Held>> {
        if let Some(binding) = &mut self.binding {
            let bound = ready!(binding.as_mut().poll(cx));
            self.binding = None;
            self.failed |= !bound;
        }
        if self.failed {
            self.held.clear();
            return Poll::Ready(Some(Held::Cut));
        }
        let waits = matches!(&self.reading, Reading::Json { ended: false, .. });
        Poll::Ready(if waits { None } else { self.held.pop_front() })
    }

    /// Takes what upstream brings next.
    pub(crate) fn take(&mut self, held: Held) {
        let data = match &held {
            Held::Frame(frame) => frame.data_ref().cloned(),
            Held::End | Held::Cut => None,
        };
        let is_end = !matches!(held, Held::Frame(_));
        self.held.push_back(held);
        if let (Some(meter), Some(data)) = (&mut self.meter, &data) {
            meter.push(data);
        }
        match &mut self.reading {
            Reading::Stream(reader) => {
                let Some(data) = data else { return };
                let found = reader.push(&data);
                let stopped = reader.saw_stop();
                self.begin(found, stopped);
            }
            Reading::Json { ended: true, .. } => {}
            Reading::Json { body, ended } => {
                let data = data.unwrap_or_default();
                let too_long = body.len() + data.len() > JSON_BYTES_MAX;
                *ended = is_end || too_long;
                if too_long {
                    *body = Vec::new();
                } else {
                    body.extend_from_slice(&data);
                }
                if *ended {
                    let found = handed_out(&std::mem::take(body));
                    self.begin(found, true);
                }
            }
        }
    }

    /// Begins to bind what was handed out. The message of a thread is bound before its id is seen,
    /// and again at its end, when it is known how long the conversation is.
    fn begin(&mut self, found: Vec<HandedOut>, ended: bool) {
        let mut bind_turn = false;
        let mut resources = Vec::new();
        for handed in found {
            if handed.kind == ResourceKind::Message {
                self.message = Some(handed.id);
                bind_turn = true;
            } else {
                resources.push(self.binder.resource(handed));
            }
        }
        if ended && let (Some(meter), Some(memory)) = (self.meter.take(), &mut self.custody.thread)
        {
            let metered = meter.finish();
            if let Some(usage) = metered.usage.filter(|_| metered.is_final) {
                memory.count(&usage);
                bind_turn = true;
            }
        }
        if bind_turn && let (Some(id), Some(memory)) = (&self.message, &self.custody.thread) {
            resources.push(self.binder.turn(id.clone(), memory));
        }
        if !resources.is_empty() {
            self.binding = Some(self.binder.bind(resources, self.binding.take()));
        }
    }
}

impl Binder {
    fn resource(&self, handed: HandedOut) -> Resource {
        Resource {
            kind: handed.kind,
            id: handed.id,
            virtual_key: self.call.key.id.clone(),
            environment: self.call.environment.name.clone(),
            upstream_key: self.destination.key().cloned(),
            created: self.gateway.now(),
            expires: handed.expires,
            about: Map::new(),
        }
    }

    fn turn(&self, id: ResourceId, memory: &ThreadMemory) -> Resource {
        let expires = Some(self.gateway.now().plus_ms(THREAD_MS));
        let handed = HandedOut { kind: ResourceKind::Message, id, expires };
        Resource { about: memory.to_about(), ..self.resource(handed) }
    }

    /// Binds them all; true when each is on record as the caller's own. They are in the journal's
    /// queue when this returns.
    fn bind(&self, resources: Vec<Resource>, before: Option<Bound>) -> Bound {
        let journal = &self.gateway.journal;
        let answers: Vec<_> = resources.into_iter().map(|it| journal.bind(it)).collect();
        let call = self.call.id;
        Box::pin(async move {
            let mut bound = match before {
                Some(before) => before.await,
                None => true,
            };
            for answer in answers {
                match answer.await {
                    Ok(Binding::Bound) => {}
                    Ok(Binding::Taken) => {
                        tracing::error!(%call, "upstream handed out an id that is another key's");
                        bound = false;
                    }
                    Err(fault) => {
                        tracing::error!(%call, error = %fault, "what an answer handed out could not be bound");
                        bound = false;
                    }
                }
            }
            bound
        })
    }
}

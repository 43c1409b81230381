//! Traces: each model call as one span, in the words of OpenTelemetry's GenAI conventions, sent to
//! a collector. Off unless an operator names one.
//!
//! A call never waits for its span: the queue is bounded, and what does not fit is dropped and
//! counted. A span has names, ids and numbers; never a prompt, an answer or a secret.

mod export;
mod otlp;
mod parent;
mod span;

use std::future::Future;
use std::sync::Arc;

use http::Uri;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::gateway::{Gateway, Inner, StartFault};
pub(crate) use parent::{SpanId, TraceId, TraceParent};
pub(crate) use span::{Said, Span};

/// Spans that wait to be sent.
const QUEUE_MAX: usize = 2_048;

/// Where calls hand their spans in.
pub(crate) struct Tracer {
    queue: mpsc::Sender<Span>,
}

impl Gateway {
    /// Has each model call from now on sent as a span to the OpenTelemetry collector at
    /// `collector` (a base URL; `/v1/traces` is put behind it). The future does the sending: run it
    /// beside the gateway. After `stop` it sends what is left, once, and ends.
    ///
    /// # Errors
    /// [`StartFault`], when the URL or TLS cannot be used.
    pub fn export_traces(
        &self,
        collector: &Uri,
        stop: CancellationToken,
    ) -> Result<impl Future<Output = ()> + Send + 'static, StartFault> {
        let (queue, spans) = mpsc::channel(QUEUE_MAX);
        let inner = self.inner();
        let exporter = export::Exporter::new(collector, inner.metrics.spans.clone())?;
        // A second collector is not told anything: its queue ends here.
        let _ = inner.tracer.set(Tracer { queue });
        Ok(exporter.run(spans, stop))
    }
}

impl Inner {
    /// Hands in the span of a call that ended, if anybody wants it. A client that says it does not
    /// keep its trace is believed.
    pub(crate) fn trace(self: &Arc<Self>, said: Said<'_>) {
        let Some(tracer) = self.tracer.get() else { return };
        if !said.is_wanted() {
            return;
        }
        match tracer.queue.try_reserve() {
            Ok(place) => place.send(Span::new(self, &said)),
            Err(_) => self.metrics.spans.count_dropped("queue_full", 1),
        }
    }
}

//! The way of a call, verb by verb.

use std::sync::Arc;

use chamberlain_core::admission::refusal::Refusal;
use chamberlain_core::source::Source;
use http::request::Parts;
use http::{Request, Response};
use hyper::body::Incoming;

use crate::batch::is_about_batches;
use crate::bound::bounded;
use crate::decide::Decided;
use crate::files::is_about_files;
use crate::forward::Recorded;
use crate::gateway::Inner;
use crate::identify::{Arrival, identify};
use crate::notice::Witness;
use crate::refuse::{self, Stop};
use crate::stream::AnswerBody;
use crate::{admit::Admitted, body, framing, route};

impl Inner {
    /// Answers one request, whatever it is.
    pub(crate) async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
        peer: Source,
        draining: bool,
    ) -> Response<AnswerBody> {
        let now = self.now();
        let call = self.mint_call(now);
        let mut witness = Witness::new(call, now, peer);
        let (head, mut body) = request.into_parts();
        let expects = head.headers.contains_key(http::header::EXPECT);
        let (version, framed) = (head.version, framing::check(&head));
        let is_in_doubt = framed.is_err();
        let answered = match framed {
            Err(fault) => Err(fault.into()),
            Ok(()) if draining => Err(Refusal::Draining.into()),
            Ok(()) => self.clone().walk(head, &mut body, &mut witness).await,
        };
        match answered {
            Ok(response) => response,
            Err(stop) => {
                Box::pin(body::discard(&mut body, expects)).await;
                let answer = stop.answer();
                self.note_stop(&witness, &stop, &answer);
                let mut response = refuse::response(call, &answer);
                if is_in_doubt {
                    framing::close(version, response.headers_mut());
                }
                response
            }
        }
    }

    /// Identify, inspect, decide, bound, admit, record, forward. Metering and settling happen as
    /// the answer passes.
    async fn walk(
        self: Arc<Self>,
        head: Parts,
        body: &mut Incoming,
        witness: &mut Witness,
    ) -> Result<Response<AnswerBody>, Stop> {
        let found = route::find(&head);
        let route = match &found {
            Ok(spec) => match spec.route {
                Some(route) => Ok(route),
                None => return Ok(refuse::here(witness.call)),
            },
            Err(refusal) => Err(refusal.clone()),
        };
        let (id, at, peer) = (witness.call, witness.at, witness.source);
        let snapshot = self.snapshot.load_full();
        let identified = identify(Arrival { id, at, snapshot, head, peer }, witness)?;
        // Who may not come in is not told what is inside.
        let route = route?;
        let inspected = self.inspect(identified, route, body, witness).await?;
        let decided = self.decide(inspected)?;
        if is_about_files(route) {
            return Box::pin(self.call_files(decided, body, witness)).await;
        }
        if is_about_batches(route) {
            return Box::pin(self.call_batches(decided, witness)).await;
        }
        self.breaker_is_not_open(&decided)?;
        let bounded = bounded(decided)?;
        let admitted = self.admit(bounded).await?;
        let recorded = self.record(admitted).await?;
        witness.is_on_record = true;
        self.forward(recorded).await
    }

    /// Refuses early what the breaker would not let pass anyway, before anything is taken.
    pub(crate) fn breaker_is_not_open(&self, decided: &Decided) -> Result<(), Refusal> {
        let settings = decided.call.snapshot.settings.breaker;
        let now = self.now();
        match self.standings.closed_for_ms(&decided.destination, settings, now) {
            Some(retry_after_ms) => Err(Refusal::BreakerOpen { retry_after_ms }),
            None => Ok(()),
        }
    }

    /// Waits until the call's intent is on record.
    pub(crate) async fn record(&self, admitted: Admitted) -> Result<Recorded, Refusal> {
        let Admitted { decided, pending, own_limit } = admitted;
        let permit = pending.recorded().await?;
        Ok(Recorded { decided, permit, own_limit, deletes: None })
    }
}

//! The collector: looks at every batch whose cost is not known, and when it has ended reads its
//! results and trues its call up. It works for the books alone: whether the virtual key was frozen
//! or revoked meanwhile, or a client ever asks for the results, makes no difference to it.
//!
//! It never guesses. A batch whose results are gone, or cannot be priced to the last line, stays
//! charged at its reservation, and a person is told. Everything it does can be done again: the one
//! step that counts is a true-up, which the journal does once.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chamberlain_core::batch::{
    BatchObject, Bill, GIVEN_UP_AFTER_MS, GONE_ANSWERS_MAX, Lines, NoBill, Pace, ResultLine, Terms,
    next_look_ms,
};
use chamberlain_core::record::{Notice, Severity, TrueUp, TruedUp};
use chamberlain_core::resource::ResourceKind;
use futures_util::FutureExt;
use http::header::ACCEPT_ENCODING;
use http::{HeaderValue, Method, Request, Response};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use serde_json::{Map, json};
use tokio::sync::Semaphore;
use tokio::time::{sleep_until, timeout};

use super::object::STATE;
use super::open::OpenBatch;
use crate::connect::Place;
use crate::gateway::Inner;
use crate::headers::{API_KEY, VERSION};

/// Batches that are looked at at once.
const AT_ONCE: usize = 4;
/// Longest wait for the head of an answer, and for each further piece.
const ANSWER_MAX: Duration = Duration::from_secs(30);
const OBJECT_BYTES_MAX: usize = 64 * 1024;
/// The longest result that is read.
const LINE_BYTES_MAX: usize = 32 * 1024 * 1024;
/// So many incomplete sets of results are not due to a bad connection.
const INCOMPLETE_MAX: u32 = 5;
const ANTHROPIC_VERSION: HeaderValue = HeaderValue::from_static("2023-06-01");

/// What a look came to.
enum Look {
    /// It runs.
    Running,
    /// Its cost was learned, or known already.
    Known,
    /// Nothing was learned; perhaps next time.
    Failed(String),
    /// Upstream says that there is no such batch, or that it has no results.
    Gone(String),
    /// Nothing will be learned.
    Hopeless(String),
}

/// Looks at batches for as long as the gateway runs.
pub(crate) async fn run(gateway: Arc<Inner>) {
    let places = Arc::new(Semaphore::new(AT_ONCE));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        // Listening begins before looking, so that nothing is missed in between.
        let changed = gateway.batches.changed();
        let mut changed = std::pin::pin!(changed);
        changed.as_mut().enable();
        match gateway.batches.due() {
            Ok(batch) => {
                let gateway = gateway.clone();
                tokio::spawn(async move {
                    gateway.look_at(batch).await;
                    drop(place);
                });
            }
            Err(None) => changed.await,
            Err(Some(next)) => tokio::select! {
                () = changed => {}
                () = sleep_until(next) => {}
            },
        }
    }
}

impl Inner {
    /// Looks at a batch at once and returns when it was looked at, or may not be looked at yet.
    pub(super) async fn look_now(self: &Arc<Self>, id: &chamberlain_core::resource::ResourceId) {
        loop {
            let changed = self.batches.changed();
            let mut changed = std::pin::pin!(changed);
            changed.as_mut().enable();
            match self.batches.take(id) {
                None => return,
                Some(Ok(batch)) => {
                    // Beside, so that a client that leaves leaves nothing half done.
                    let gateway = self.clone();
                    let looking = tokio::spawn(async move { gateway.look_at(batch).await });
                    let _ = looking.await;
                    return;
                }
                Some(Err(())) => changed.await,
            }
        }
    }

    /// Looks at a batch. Whatever goes wrong, it is looked at again.
    async fn look_at(self: &Arc<Self>, batch: OpenBatch) {
        let id = batch.resource.id.clone();
        let looking = AssertUnwindSafe(self.look_and_conclude(batch)).catch_unwind();
        if looking.await.is_err() {
            tracing::error!(batch = %id, "a look at a batch went wrong in Chamberlain itself");
            self.batches.abandoned(&id);
        }
    }

    async fn look_and_conclude(self: &Arc<Self>, mut batch: OpenBatch) {
        let look = self.look(&mut batch).await;
        let least_ms = self.snapshot.load().settings.batch_look_ms_min;
        let age_ms = self.now().ms_since(batch.submitted_at);
        let id = batch.resource.id.clone();
        let problem = match look {
            Look::Known => return self.batches.close(&id),
            Look::Running => {
                (batch.failures, batch.gone) = (0, 0);
                None
            }
            Look::Failed(problem) => {
                batch.failures = batch.failures.saturating_add(1);
                batch.gone = 0;
                (age_ms >= GIVEN_UP_AFTER_MS).then_some(problem)
            }
            Look::Gone(problem) => {
                batch.failures = batch.failures.saturating_add(1);
                batch.gone += 1;
                (batch.gone >= GONE_ANSWERS_MAX || age_ms >= GIVEN_UP_AFTER_MS).then_some(problem)
            }
            Look::Hopeless(problem) => Some(problem),
        };
        if let Some(problem) = problem {
            match self.give_up(&batch, &problem).await {
                Ok(()) => return self.batches.close(&id),
                Err(fault) => {
                    tracing::error!(batch = %id, error = %fault, "that a batch is given up could not be put on record")
                }
            }
        }
        let pace = Pace { least_ms, age_ms, failures: batch.failures };
        let pause = Duration::from_millis(next_look_ms(pace, self.random()));
        self.batches.again(batch, pause);
    }

    async fn look(&self, batch: &mut OpenBatch) -> Look {
        let id = batch.resource.id.clone();
        let response = match self.get(batch, "").await {
            Ok(response) => response,
            Err(look) => return look,
        };
        let reading = Limited::new(response.0.into_body(), OBJECT_BYTES_MAX).collect();
        let Ok(Ok(read)) = timeout(ANSWER_MAX, reading).await else {
            return Look::Failed("its state could not be read".to_owned());
        };
        let bytes = read.to_bytes();
        let object = match BatchObject::read(&bytes) {
            Ok(object) if object.id == id.as_str() => object,
            _ => return Look::Failed("its state could not be read".to_owned()),
        };
        if !object.ended {
            self.remember(&batch.resource, &bytes).await;
            let seen = String::from_utf8_lossy(&bytes).into_owned();
            batch.resource.about.insert(super::object::SEEN.to_owned(), seen.into());
            return Look::Running;
        }
        let bill = match self.read_results(batch).await {
            Ok(bill) => bill,
            Err(look) => return look,
        };
        self.true_up(batch, bill, &bytes).await
    }

    /// Asks upstream about a batch, with the key that it was submitted with.
    async fn get(
        &self,
        batch: &OpenBatch,
        rest: &str,
    ) -> Result<(Response<Incoming>, Place), Look> {
        let failed = |what: &str| Look::Failed(what.to_owned());
        let (base, credential) = self
            .address(&self.destination_of(&batch.resource))
            .map_err(|_| failed("the upstream key it was submitted with is not open"))?;
        let target = format!("/v1/messages/batches/{}{rest}", batch.resource.id);
        let target = target.parse().map_err(|_| failed("its id makes no path"))?;
        let mut request = Request::new(Full::new(Bytes::new()));
        *request.method_mut() = Method::GET;
        *request.uri_mut() = base.join(&target).map_err(|_| failed("its id makes no path"))?;
        let headers = request.headers_mut();
        headers.insert(VERSION, ANTHROPIC_VERSION);
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        headers.insert(API_KEY, credential);
        let (sending, place) = self.connections.send(request);
        let response = match timeout(ANSWER_MAX, sending).await {
            Ok(Ok(response)) => response,
            Ok(Err(_)) => return Err(failed("upstream could not be reached")),
            Err(_) => return Err(failed("upstream did not answer in time")),
        };
        match response.status().as_u16() {
            200 => Ok((response, place)),
            404 => Err(Look::Gone("upstream has no such batch, or no results of it".to_owned())),
            status => Err(Look::Failed(format!("upstream answered {status}"))),
        }
    }

    /// Reads the results to their end, one line in memory at a time.
    async fn read_results(&self, batch: &mut OpenBatch) -> Result<Bill, Look> {
        let (response, _place) = self.get(batch, "/results").await?;
        let snapshot = self.snapshot.load_full();
        let terms = Terms {
            submitted_at: batch.submitted_at,
            assume_us_geo: snapshot.settings.assume_us_geo,
            prices: &snapshot.prices,
        };
        let mut body = response.into_body();
        let mut lines = Lines::new(LINE_BYTES_MAX);
        let mut bill = Ok(Bill::default());
        loop {
            let frame = match timeout(ANSWER_MAX, body.frame()).await {
                Ok(Some(Ok(frame))) => frame,
                Ok(None) => break,
                Ok(Some(Err(_))) | Err(_) => {
                    return Err(Look::Failed("its results broke off".to_owned()));
                }
            };
            let Some(data) = frame.data_ref() else { continue };
            let cut = lines.push(data, |line| add(&mut bill, line, terms));
            cut.map_err(|too_long| Look::Hopeless(too_long.to_string()))?;
        }
        lines.end(|line| add_last(&mut bill, line, terms));
        match bill.and_then(|bill| bill.whole(batch.items)) {
            Ok(bill) => Ok(bill),
            Err(no_bill) if no_bill.may_be_cut_off() && batch.incomplete < INCOMPLETE_MAX => {
                batch.incomplete += 1;
                Err(Look::Failed(no_bill.to_string()))
            }
            Err(no_bill) => Err(Look::Hopeless(no_bill.to_string())),
        }
    }

    /// Trues the call up, on record first and then in the books that calls are admitted by.
    async fn true_up(&self, batch: &OpenBatch, bill: Bill, seen: &[u8]) -> Look {
        let mut about = batch.resource.about.clone();
        about.insert(STATE.to_owned(), json!("settled"));
        about.insert(super::object::SEEN.to_owned(), json!(String::from_utf8_lossy(seen)));
        about.insert("cost".to_owned(), json!(bill.cost));
        let found = TrueUp {
            call: batch.call,
            at: self.now(),
            cost: bill.cost,
            tokens: bill.tokens,
            served_model: bill.served_model.clone(),
            batch: batch.resource.id.clone(),
            about,
        };
        match self.journal.true_up(found).await {
            Ok(Some(TruedUp { was, let_go, accounts })) => {
                self.hall.lock().gate.write_off(&accounts, let_go, bill.cost);
                self.changed.notify_waiters();
                self.metrics.count_learned(
                    &batch.resource.environment,
                    &bill,
                    &self.snapshot.load().prices,
                );
                tracing::info!(
                    batch = %batch.resource.id, call = %batch.call, cost_usd = %bill.cost.to_decimal(),
                    reserved_usd = %was.to_decimal(), "a batch was settled"
                );
                if bill.cost > was {
                    let by = bill.cost.saturating_sub(was).to_display();
                    let message = format!(
                        "{} cost {by} more than was set aside for its batch: its bound was wrong.",
                        batch.call
                    );
                    self.tell(batch, "ledger.overrun", Severity::Critical, message);
                }
                Look::Known
            }
            Ok(None) => Look::Known,
            Err(fault) => Look::Failed(fault.to_string()),
        }
    }

    /// Notes that nothing will be learned of a batch: it stays charged at its reservation.
    async fn give_up(
        &self,
        batch: &OpenBatch,
        problem: &str,
    ) -> Result<(), crate::journal::JournalFault> {
        let mut about = batch.resource.about.clone();
        about.insert(STATE.to_owned(), json!("given_up"));
        about.insert("problem".to_owned(), json!(problem));
        let id = batch.resource.id.clone();
        self.journal.describe(ResourceKind::Batch, id, about).await?;
        let message = format!(
            "What the batch {} cost cannot be learned: {problem}. Its whole reservation stays \
             charged. Look it up in the Anthropic Console, and give {} its true cost with \
             chamberlain write-off.",
            batch.resource.id, batch.call
        );
        self.tell(batch, "batch.given_up", Severity::High, message);
        Ok(())
    }

    fn tell(&self, batch: &OpenBatch, kind: &str, severity: Severity, message: String) {
        let mut facts = Map::new();
        facts.insert("batch".to_owned(), json!(batch.resource.id));
        facts.insert("call".to_owned(), json!(batch.call));
        facts.insert("virtual_key".to_owned(), json!(batch.resource.virtual_key));
        facts.insert("environment".to_owned(), json!(batch.resource.environment));
        self.note(Notice {
            at: self.now(),
            kind: kind.to_owned(),
            severity,
            subject: format!("virtual key {}", batch.resource.virtual_key),
            message,
            facts,
            notify: false,
        });
    }
}

fn add(bill: &mut Result<Bill, NoBill>, line: &[u8], terms: Terms<'_>) {
    if let Ok(sum) = bill
        && let Err(no_bill) = sum.add(ResultLine::read(line), terms)
    {
        *bill = Err(no_bill);
    }
}

/// The last line, when nothing ended it: what cannot be read of it was cut off.
fn add_last(bill: &mut Result<Bill, NoBill>, line: &[u8], terms: Terms<'_>) {
    if bill.is_ok() && ResultLine::read(line) == ResultLine::Unreadable {
        *bill = Err(NoBill::CutOff);
        return;
    }
    add(bill, line, terms);
}

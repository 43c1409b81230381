//! Admit: limits and budgets, all or nothing, under one short lock; and waiting, fairly and not
//! for long, when a call could pass a little later.
//!
//! Inside the lock nothing waits, and whatever the gate does is handed to the journal before the
//! lock is let go: an intent when it admits, a settlement when it lets go. So the order on record
//! is the order of the books, and a crash never shows more in use than there was.
//!
//! Calls of one virtual key wait in line, first come, first served; only the first in each line
//! asks. Whenever anything is let go, all who are first ask again.

use std::sync::Arc;
use std::time::Duration;

use chamberlain_core::admission::gate::{Admission, Gate, Reservation, Wait};
use chamberlain_core::admission::policy::OnShortage;
use chamberlain_core::admission::refusal::{LimitKind, Refusal};
use chamberlain_core::id::VirtualKeyId;
use chamberlain_core::ledger::account::{AccountId, Balance, Grant, LeaseWanted};
use chamberlain_core::quick::QuickMap;
use chamberlain_core::record::Route;
use chamberlain_core::time::Timestamp;
use http::HeaderMap;
use tokio::sync::{OwnedMutexGuard, watch};
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::bound::{Bounded, Pass, terms, tighten};
use crate::decide::{Decided, Destination};
use crate::gateway::Inner;
use crate::headers;
use crate::identify::Call;
use crate::permit::{Permit, Tale};
use crate::record::{Pending, Subject};

/// What the lock guards.
pub(crate) struct Hall {
    pub(crate) gate: Gate,
    lines: QuickMap<VirtualKeyId, Line>,
    waiting: usize,
    leasing: QuickMap<AccountId, Leasing>,
}

/// The calls of one key that wait.
#[derive(Default)]
struct Line {
    turn: Arc<tokio::sync::Mutex<()>>,
    waiting: usize,
}

/// Whether a lease on its way has come: nothing yet, granted, or not.
type Leasing = watch::Receiver<Option<bool>>;

impl Hall {
    pub(crate) fn new(
        balances: Vec<(AccountId, Balance)>,
        thresholds_percent: Vec<u32>,
        started: Timestamp,
    ) -> Hall {
        Hall {
            gate: Gate::new(balances, thresholds_percent, started),
            lines: QuickMap::default(),
            waiting: 0,
            leasing: QuickMap::default(),
        }
    }

    /// Calls that wait.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting
    }
}

/// A call that may pass once its intent is on record.
pub(crate) struct Admitted {
    pub(crate) decided: Box<Decided>,
    pub(crate) pending: Pending,
    /// What the call's own request limit has left, for response headers.
    pub(crate) own_limit: HeaderMap,
}

/// What the gate said.
enum Answer {
    Admitted(Pending),
    Wait(Wait),
    Refused(Refusal),
}

impl Inner {
    /// Asks until the call is admitted, refused, or has waited long enough.
    pub(crate) async fn admit(self: &Arc<Self>, mut bounded: Bounded) -> Result<Admitted, Refusal> {
        let holding_back = Instant::now();
        self.hold_back(&bounded.decided).await?;
        let call = &mut bounded.decided.call;
        call.watch = call.watch.without(holding_back);
        self.renew_terms(&mut bounded)?;
        // Whoever has just come does not overtake those of the same key who wait.
        let has_line = self.hall.lock().lines.contains_key(&bounded.decided.call.key.id);
        let told = if has_line { None } else { Some(self.ask_with_count(&mut bounded).await) };
        let pending = match told {
            Some(Answer::Admitted(pending)) => pending,
            Some(Answer::Refused(refusal)) => return Err(refusal),
            // Few wait; the others do not carry the room for it.
            Some(Answer::Wait(wait)) => Box::pin(self.wait(&mut bounded, Some(wait))).await?,
            None => Box::pin(self.wait(&mut bounded, None)).await?,
        };
        let own_limit = self.own_limit(&bounded);
        Ok(Admitted { decided: bounded.decided, pending, own_limit })
    }

    /// Waits in line until the gate admits the call or the time is up.
    async fn wait(
        self: &Arc<Self>,
        bounded: &mut Bounded,
        told: Option<Wait>,
    ) -> Result<Pending, Refusal> {
        let wait_ms = bounded.decided.call.snapshot.settings.wait_ms_max;
        let deadline = Instant::now() + Duration::from_millis(wait_ms);
        if let Some(wait) = told
            && (wait_ms == 0 || self.is_hopeless(&wait, deadline))
        {
            return Err(wait.refusal);
        }
        let place = self.join(bounded)?;
        let (watch, waiting) = (bounded.decided.call.watch, Instant::now());
        // Whoever's time is up before its turn came still asks once: the answer names the reason.
        let _turn = timeout_at(deadline, place.turn()).await;
        loop {
            // Listening begins before asking, so nothing that is let go in between is missed.
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            self.renew_terms(bounded)?;
            let in_time = Instant::now() < deadline;
            let wait = match self.ask_again(bounded, in_time).await {
                Answer::Admitted(pending) => {
                    bounded.decided.call.watch = watch.without(waiting);
                    return Ok(pending);
                }
                Answer::Refused(refusal) => return Err(refusal),
                Answer::Wait(wait) => wait,
            };
            if !in_time || self.is_hopeless(&wait, deadline) {
                return Err(wait.refusal);
            }
            let until = wait.until.map_or(deadline, |until| self.instant(until)).min(deadline);
            tokio::select! {
                () = changed => {}
                () = sleep_until(until) => {}
            }
        }
    }

    /// Takes up budgets and limits that were changed while the call waited, unless it was stopped.
    /// It stays bounded and priced by the prices it came in with.
    fn renew_terms(&self, bounded: &mut Bounded) -> Result<(), Refusal> {
        if let Some(fresh) = self.look_again(&bounded.decided.call)? {
            bounded.pass.terms = terms(&fresh);
        }
        Ok(())
    }

    /// Asks; counts the prompt first only while there is time for it.
    async fn ask_again(self: &Arc<Self>, bounded: &mut Bounded, in_time: bool) -> Answer {
        if in_time {
            self.ask_with_count(bounded).await
        } else {
            self.ask_with_leases(bounded).await
        }
    }

    /// Asks; when money is short, counts the prompt and asks again; when it is short all the same
    /// and the key wants that, asks for what is left.
    async fn ask_with_count(self: &Arc<Self>, bounded: &mut Bounded) -> Answer {
        let answer = self.ask_counting(bounded).await;
        let refusal = match &answer {
            Answer::Admitted(_) => return answer,
            Answer::Wait(wait) => &wait.refusal,
            Answer::Refused(refusal) => refusal,
        };
        let wants_cut = bounded.decided.call.key.policy.on_shortage == OnShortage::Cut;
        if bounded.pass.may_be_short || !wants_cut || !matches!(refusal, Refusal::Budget { .. }) {
            return answer;
        }
        bounded.pass.may_be_short = true;
        self.ask_with_leases(bounded).await
    }

    /// Asks; when money is short and counting the prompt could help, counts and asks again.
    async fn ask_counting(self: &Arc<Self>, bounded: &mut Bounded) -> Answer {
        let answer = self.ask_with_leases(bounded).await;
        let refusal = match &answer {
            Answer::Admitted(_) => return answer,
            Answer::Wait(wait) => &wait.refusal,
            Answer::Refused(refusal) => refusal,
        };
        if !crate::refine::could_help(bounded, refusal) {
            return answer;
        }
        let counting = Instant::now();
        let counted = Box::pin(self.count_prompt(bounded)).await;
        let call = &mut bounded.decided.call;
        call.watch = call.watch.without(counting);
        let Some(counted) = counted else { return answer };
        tighten(bounded, counted);
        self.ask_with_leases(bounded).await
    }

    /// Asks, and gets the leases the gate wants first. Others may have used a lease up before
    /// this call asks again; then the next one is asked for.
    async fn ask_with_leases(self: &Arc<Self>, bounded: &Bounded) -> Answer {
        loop {
            let mut leasing = match self.ask(bounded) {
                Ok(answer) => return answer,
                Err(leasing) => leasing,
            };
            let granted = leasing.wait_for(Option::is_some).await;
            if !granted.is_ok_and(|granted| *granted == Some(true)) {
                return Answer::Refused(Refusal::NotOnRecord);
            }
        }
    }

    /// Asks the gate once.
    ///
    /// # Errors
    /// The lease that must be durable first.
    fn ask(self: &Arc<Self>, bounded: &Bounded) -> Result<Answer, Leasing> {
        let Decided { call, subject, destination, .. } = &*bounded.decided;
        let now = self.now();
        let mut hall = self.hall.lock();
        let question = bounded.pass.question(call, now);
        let admission = match bounded.pass.may_be_short {
            true => hall.gate.admit_short(&question),
            false => hall.gate.admit(&question),
        };
        let events = hall.gate.take_events();
        let answer = match admission {
            Admission::Admitted(reservation) => {
                Ok(Answer::Admitted(self.intend(call, subject, destination, reservation)))
            }
            Admission::Wait(wait) => Ok(Answer::Wait(wait)),
            Admission::Lease(wanted) => Err(self.lease(&mut hall, wanted)),
            Admission::Refused(refusal) => Ok(Answer::Refused(refusal)),
        };
        drop(hall);
        self.note_budgets(events, now);
        answer
    }

    /// Hands the intent of an admitted call to the journal. The caller holds the lock.
    fn intend(
        self: &Arc<Self>,
        call: &Call,
        subject: &Arc<Subject>,
        destination: &Destination,
        reservation: Reservation,
    ) -> Pending {
        let intent = subject.intent(call, &reservation, destination);
        let acknowledgement = self.journal.intend(intent);
        let tale = Tale::new(call.clone(), subject.clone());
        Pending::new(Permit::new(self.clone(), reservation, tale), acknowledgement)
    }

    /// Admits a free request of our own. It counts against nobody, so the gate has no reason to
    /// say anything but yes.
    pub(crate) fn admit_aside(
        self: &Arc<Self>,
        call: &Call,
        subject: &Arc<Subject>,
        destination: &Destination,
    ) -> Option<Pending> {
        let pass = Pass::aside();
        let mut hall = self.hall.lock();
        match hall.gate.admit(&pass.question(call, self.now())) {
            Admission::Admitted(reservation) => {
                Some(self.intend(call, subject, destination, reservation))
            }
            Admission::Wait(_) | Admission::Lease(_) | Admission::Refused(_) => None,
        }
    }

    /// One request for each account at a time: whoever wants the same lease waits for the same
    /// answer. The answer is taken in beside, because the call that asked may be given up.
    fn lease(self: &Arc<Self>, hall: &mut Hall, wanted: Vec<LeaseWanted>) -> Leasing {
        // One whose task is gone without an answer is not on its way any more.
        let is_coming = |leasing: &&Leasing| leasing.has_changed().is_ok();
        let on_its_way =
            wanted.iter().find_map(|lease| hall.leasing.get(&lease.account).filter(is_coming));
        if let Some(leasing) = on_its_way {
            return leasing.clone();
        }
        let (told, leasing) = watch::channel(None);
        for lease in &wanted {
            hall.leasing.insert(lease.account.clone(), leasing.clone());
        }
        let granted = self.journal.lease(wanted.clone());
        let gateway = self.clone();
        self.aside(async move {
            let answer = granted.await;
            let mut hall = gateway.hall.lock();
            for lease in &wanted {
                hall.leasing.remove(&lease.account);
            }
            let enough = match &answer {
                Ok(grants) => {
                    hall.gate.grant(grants);
                    covers(grants, &wanted)
                }
                Err(_) => false,
            };
            drop(hall);
            match answer {
                Ok(_) if enough => {}
                Ok(_) => tracing::error!("less money was leased than was asked for"),
                Err(fault) => tracing::error!(error = %fault, "no money could be leased; calls that need it are refused"),
            }
            told.send_replace(Some(enough));
            gateway.changed.notify_waiters();
        });
        leasing
    }

    /// Joins the end of the key's line, if there is room for another call to wait.
    fn join(self: &Arc<Self>, bounded: &Bounded) -> Result<Place, Refusal> {
        let call = &bounded.decided.call;
        let mut hall = self.hall.lock();
        if hall.waiting >= call.snapshot.settings.waiting_calls_max {
            return Err(Refusal::QueueFull);
        }
        hall.waiting += 1;
        let line = hall.lines.entry(call.key.id.clone()).or_default();
        line.waiting += 1;
        let turn = line.turn.clone();
        Ok(Place { gateway: self.clone(), key: call.key.id.clone(), turn })
    }

    /// When upstream has said that nothing is left, waits until a little should be, so that the
    /// next answer is not a 429. Not longer than any wait.
    async fn hold_back(self: &Arc<Self>, decided: &Decided) -> Result<(), Refusal> {
        let settings = &decided.call.snapshot.settings;
        if decided.subject.route != Route::Messages {
            return Ok(());
        }
        let now = self.now();
        let hold_ms = self.standings.hold_ms(&decided.destination, &decided.subject.model, now);
        let hold_ms = hold_ms.min(settings.wait_ms_max);
        if hold_ms == 0 {
            return Ok(());
        }
        let _counted = {
            let mut hall = self.hall.lock();
            if hall.waiting >= settings.waiting_calls_max {
                return Err(Refusal::QueueFull);
            }
            hall.waiting += 1;
            Counted(self.clone())
        };
        tokio::time::sleep(Duration::from_millis(hold_ms)).await;
        Ok(())
    }

    /// The client's own request limit, where upstream's shared ones are not shown to it.
    fn own_limit(&self, bounded: &Bounded) -> HeaderMap {
        if bounded.decided.call.snapshot.settings.forward_rate_limit_headers {
            return HeaderMap::new();
        }
        let limit = self.hall.lock().gate.request_limit(&bounded.pass.terms, self.now());
        limit.map_or_else(HeaderMap::new, headers::request_limit)
    }

    /// True when only time can help, and not enough of it.
    pub(crate) fn is_hopeless(&self, wait: &Wait, deadline: Instant) -> bool {
        let only_time = matches!(wait.refusal, Refusal::Rate { kind: LimitKind::Requests, .. });
        only_time && wait.until.is_some_and(|until| self.instant(until) > deadline)
    }

    /// A moment of the clock as one of the timer.
    fn instant(&self, at: Timestamp) -> Instant {
        Instant::now() + Duration::from_millis(at.ms_since(self.now()))
    }
}

/// Whether everything that was asked for was granted. Asking on for what is not given would be
/// asking for ever.
fn covers(grants: &[Grant], wanted: &[LeaseWanted]) -> bool {
    wanted.iter().all(|lease| {
        grants.iter().any(|grant| grant.account == lease.account && grant.granted >= lease.granted)
    })
}

/// A place in the line of one key.
struct Place {
    gateway: Arc<Inner>,
    key: VirtualKeyId,
    turn: Arc<tokio::sync::Mutex<()>>,
}

impl Place {
    /// Waits until everybody before has gone.
    async fn turn(&self) -> OwnedMutexGuard<()> {
        self.turn.clone().lock_owned().await
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut hall = self.gateway.hall.lock();
        hall.waiting -= 1;
        let Some(line) = hall.lines.get_mut(&self.key) else { return };
        line.waiting -= 1;
        if line.waiting == 0 {
            hall.lines.remove(&self.key);
        }
    }
}

/// One more call that waits.
struct Counted(Arc<Inner>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.hall.lock().waiting -= 1;
    }
}

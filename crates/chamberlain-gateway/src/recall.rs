//! Recall: calls in flight whose virtual key was stopped, or whose upstream key was removed, are
//! ended within a second. Their clients get nothing more; upstream is read on to learn the cost.
//!
//! One task looks a few times a second whether something was published, and only then at the
//! calls. A call pays one entry in a table for it, and the pieces of its answer nothing. A pause
//! ends calls when whoever paused asked for that; otherwise it only refuses what comes after it,
//! as an expiry does.

use std::sync::{Arc, Weak};
use std::time::Duration;

use chamberlain_core::admission::key::{KeyState, VirtualKey};
use chamberlain_core::admission::refusal::{Answer, Refusal};
use chamberlain_core::anthropic::error::ErrorType;
use chamberlain_core::id::{CallId, UpstreamKeyId};
use chamberlain_core::ledger::account::Scope;
use chamberlain_core::quick::QuickMap;
use chamberlain_core::record::{Notice, Severity};
use chamberlain_core::snapshot::Snapshot;
use parking_lot::Mutex;
use serde_json::{Map, json};
use tokio::sync::Notify;
use tokio::time::{MissedTickBehavior, interval};

use crate::decide::Destination;
use crate::gateway::Inner;
use crate::identify::Call;
use crate::refuse::{Fault, Stop};
use crate::stream::Watched;
use crate::uses::Use;

/// How often is looked. Far below the second within which a call must be ended.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The calls in flight that can be recalled.
#[derive(Default)]
pub(crate) struct Recalls {
    calls: Mutex<QuickMap<CallId, Arc<Recall>>>,
}

/// How one call hears that it is recalled.
pub(crate) struct Recall {
    key: Arc<VirtualKey>,
    upstream_key: Option<UpstreamKeyId>,
    stage: Mutex<Stage>,
    told: Notify,
}

enum Stage {
    /// No answer has begun; whoever sends the call listens.
    Sending,
    Answering(Weak<Watched>),
    Recalled(Stop),
}

impl Recall {
    /// Waits until the call is recalled. One at a time may wait.
    pub(crate) async fn called(&self) -> Stop {
        loop {
            if let Stage::Recalled(stop) = &*self.stage.lock() {
                return stop.clone();
            }
            self.told.notified().await;
        }
    }

    /// From now on it is this answer that is taken back; at once, if the call was recalled.
    pub(crate) fn answering(&self, answer: &Arc<Watched>) {
        let recalled = {
            let mut stage = self.stage.lock();
            match &*stage {
                Stage::Recalled(stop) => Some(stop.clone()),
                _ => {
                    *stage = Stage::Answering(Arc::downgrade(answer));
                    None
                }
            }
        };
        if let Some(stop) = recalled {
            answer.recall(&stop);
        }
    }

    fn call_back(&self, stop: Stop) {
        let before = {
            let mut stage = self.stage.lock();
            if matches!(*stage, Stage::Recalled(_)) {
                return;
            }
            std::mem::replace(&mut *stage, Stage::Recalled(stop.clone()))
        };
        // No lock is held: what is taken back may end here, and leaves the table then.
        match before {
            Stage::Answering(answer) => {
                if let Some(answer) = answer.upgrade() {
                    answer.recall(&stop);
                }
            }
            Stage::Sending | Stage::Recalled(_) => self.told.notify_one(),
        }
    }
}

/// A call's entry in the table, for as long as something is to be read of it.
pub(crate) struct Entry {
    gateway: Arc<Inner>,
    call: CallId,
    recall: Arc<Recall>,
    _held: Option<Use>,
}

impl Entry {
    pub(crate) fn recall(&self) -> &Recall {
        &self.recall
    }

    pub(crate) fn share(&self) -> Arc<Recall> {
        self.recall.clone()
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.gateway.recalls.calls.lock().remove(&self.call);
    }
}

impl Inner {
    /// Enters a call. Whoever sends it must look again at its key *after* this: what is published
    /// before that look refuses the call, and what is published later finds it in the table.
    pub(crate) fn enter(
        self: &Arc<Self>,
        call: &Call,
        destination: &Destination,
        held: Option<Use>,
    ) -> Entry {
        let recall = Arc::new(Recall {
            key: call.key.clone(),
            upstream_key: destination.key().cloned(),
            stage: Mutex::new(Stage::Sending),
            told: Notify::new(),
        });
        self.recalls.calls.lock().insert(call.id, recall.clone());
        Entry { gateway: self.clone(), call: call.id, recall, _held: held }
    }

    /// Recalls every call that may not go on by what is published.
    fn recall_stopped(&self, snapshot: &Snapshot) {
        let stopped: Vec<(Arc<Recall>, Stop)> = {
            let calls = self.recalls.calls.lock();
            let stopped =
                |recall: &Arc<Recall>| Some((recall.clone(), self.stop(recall, snapshot)?));
            calls.values().filter_map(stopped).collect()
        };
        for (recall, stop) in stopped {
            recall.call_back(stop);
        }
    }

    /// Why a call may not go on, if so.
    fn stop(&self, recall: &Recall, snapshot: &Snapshot) -> Option<Stop> {
        match snapshot.virtual_keys.get(&recall.key.id).map(|key| key.state) {
            Some(KeyState::Active) => {}
            Some(stopped) => return Some(Refusal::KeyStopped(stopped).into()),
            None => return Some(Refusal::UnknownKey.into()),
        }
        if let Some(paused) = self.ended_by_pause(&recall.key, snapshot) {
            return Some(paused.into());
        }
        let removed = recall.upstream_key.as_ref().filter(|id| !self.keys.is_open(id))?;
        Some(Fault::KeyRemoved(removed.clone()).into())
    }

    /// The pause that ends the calls of a key, widest scope first.
    fn ended_by_pause(&self, key: &VirtualKey, snapshot: &Snapshot) -> Option<Refusal> {
        let now = self.now();
        let environment = snapshot.environments.get(&key.environment);
        let own = snapshot.virtual_keys.get(&key.id);
        let pauses = [
            (Scope::Organization, snapshot.organization.pause.as_ref()),
            (
                Scope::Environment(key.environment.clone()),
                environment.and_then(|environment| environment.pause.as_ref()),
            ),
            (Scope::VirtualKey(key.id.clone()), own.and_then(|key| key.pause.as_ref())),
        ];
        let (scope, pause) = pauses.into_iter().find_map(|(scope, pause)| {
            Some((scope, pause.filter(|pause| pause.ends_calls && pause.holds(now))?))
        })?;
        Some(Refusal::Paused { scope, reason: pause.reason.clone(), until: pause.until })
    }

    /// Puts on record that an answer was taken back.
    pub(crate) fn note_recall(&self, call: &Call, stop: &Stop) {
        let answer = stop.answer();
        tracing::info!(
            call = %call.id,
            virtual_key = %call.key.id,
            code = answer.code,
            "an answer was ended because its key was stopped"
        );
        let mut facts = Map::new();
        facts.insert("call".to_owned(), json!(call.id));
        facts.insert("virtual_key".to_owned(), json!(call.key.id));
        facts.insert("environment".to_owned(), json!(call.environment.name));
        facts.insert("code".to_owned(), json!(answer.code));
        self.note(Notice {
            at: self.now(),
            kind: "call.recalled".to_owned(),
            severity: Severity::Warning,
            subject: format!("virtual key {}", call.key.id),
            message: format!("The answer to {} was ended. {}", call.id, answer.message),
            facts,
            notify: false,
        });
    }
}

/// What the client of a stream that is taken back is told as its last event.
pub(crate) fn parting(stop: &Stop) -> Answer {
    let answer = stop.answer();
    // Whatever a new call would be told: this one's key was right, and is not allowed any more.
    let kind = match stop {
        Stop::Refused(Refusal::Paused { .. }) | Stop::Failed(_) => answer.kind,
        Stop::Refused(_) => ErrorType::PermissionError,
    };
    let message =
        format!("Chamberlain ended this answer before it was complete. {}", answer.message);
    Answer { kind, message, ..answer }
}

/// Looks at what is published, for as long as it is polled.
pub(crate) async fn watch(gateway: Arc<Inner>) {
    let mut looks = interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut seen = gateway.snapshot.load().generation;
    loop {
        looks.tick().await;
        let snapshot = gateway.snapshot.load();
        if snapshot.generation == seen {
            continue;
        }
        seen = snapshot.generation;
        gateway.recall_stopped(&snapshot);
        // Calls that wait look again too.
        gateway.changed.notify_waiters();
    }
}

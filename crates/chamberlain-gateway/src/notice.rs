//! What is told about a call besides intent and settlement: refusals, faults, thresholds.
//!
//! A notice carries facts, never a secret and never a prompt.

use chamberlain_core::admission::gate::BudgetEvent;
use chamberlain_core::admission::refusal::{Answer, Refusal};
use chamberlain_core::id::{CallId, EnvironmentName, VirtualKeyId};
use chamberlain_core::record::{Notice, Route, Severity};
use chamberlain_core::source::Source;
use chamberlain_core::time::Timestamp;
use serde_json::{Map, Value, json};

use crate::gateway::Inner;
use crate::log;
use crate::refuse::Stop;
use crate::stopwatch::Stopwatch;

/// What is known about a call so far, for telling why it stopped.
#[derive(Debug)]
pub(crate) struct Witness {
    pub(crate) call: CallId,
    pub(crate) at: Timestamp,
    pub(crate) source: Source,
    /// The public id that was offered, right or not.
    pub(crate) offered: Option<VirtualKeyId>,
    /// The key, once its secret was right.
    pub(crate) key: Option<VirtualKeyId>,
    pub(crate) environment: Option<EnvironmentName>,
    pub(crate) route: Option<Route>,
    pub(crate) model: Option<String>,
    /// The public prefix of a real key that was offered.
    pub(crate) real_key_kind: Option<String>,
    /// True once the call is on record: its settlement counts it then.
    pub(crate) is_on_record: bool,
    pub(crate) watch: Stopwatch,
}

impl Witness {
    pub(crate) fn new(call: CallId, at: Timestamp, peer: Source) -> Witness {
        Witness {
            call,
            at,
            source: peer,
            offered: None,
            key: None,
            environment: None,
            route: None,
            model: None,
            real_key_kind: None,
            is_on_record: false,
            watch: Stopwatch::start(),
        }
    }

    fn facts(&self, answer: &Answer) -> Map<String, Value> {
        let mut facts = Map::new();
        facts.insert("call".to_owned(), json!(self.call));
        facts.insert("source".to_owned(), json!(self.source));
        facts.insert("code".to_owned(), json!(answer.code));
        facts.insert("status".to_owned(), json!(answer.status));
        let optional = [
            ("offered", self.offered.as_ref().map(|id| json!(id))),
            ("virtual_key", self.key.as_ref().map(|id| json!(id))),
            ("environment", self.environment.as_ref().map(|name| json!(name))),
            ("route", self.route.map(|route| json!(route))),
            ("model", self.model.as_ref().map(|model| json!(model))),
            ("real_key_kind", self.real_key_kind.as_ref().map(|kind| json!(kind))),
        ];
        for (name, value) in optional {
            if let Some(value) = value {
                facts.insert(name.to_owned(), value);
            }
        }
        facts
    }

    fn subject(&self) -> String {
        match (&self.key, &self.offered) {
            (Some(key), _) => format!("virtual key {key}"),
            (None, Some(offered)) => format!("virtual key {offered}"),
            (None, None) => format!("source {}", self.source),
        }
    }
}

/// The name and urgency of a stop's notice.
fn class(stop: &Stop) -> (&'static str, Severity) {
    let refusal = match stop {
        Stop::Refused(refusal) => refusal,
        Stop::Failed(_) => return ("call.failed", Severity::Warning),
    };
    match refusal {
        Refusal::RealKeyOffered => ("security.real_key_offered", Severity::High),
        Refusal::NoCredential
        | Refusal::CredentialsDiffer
        | Refusal::UnknownKey
        | Refusal::KeyStopped(_)
        | Refusal::KeyExpired { .. } => ("auth.failed", Severity::Warning),
        Refusal::Source { .. }
        | Refusal::Model { .. }
        | Refusal::Operation { .. }
        | Refusal::Capability { .. } => ("call.refused", Severity::Warning),
        Refusal::NotOnRecord => ("call.refused", Severity::High),
        _ => ("call.refused", Severity::Info),
    }
}

impl Inner {
    /// Tells why a call was not made.
    pub(crate) fn note_stop(&self, witness: &Witness, stop: &Stop, answer: &Answer) {
        let (kind, severity) = class(stop);
        self.metrics.count_stop(witness, answer.code);
        log::stopped(witness, answer);
        if witness.key.is_none() {
            let Some(untold) = self.strangers.tell(severity >= Severity::High, witness.at) else {
                return;
            };
            if untold > 0 {
                self.note(untold_notice(untold, kind, witness.at));
            }
        }
        self.note(Notice {
            at: witness.at,
            kind: kind.to_owned(),
            severity,
            subject: witness.subject(),
            message: answer.message.clone(),
            facts: witness.facts(answer),
            notify: false,
        });
    }

    /// Tells that budgets crossed thresholds.
    pub(crate) fn note_budgets(&self, events: Vec<BudgetEvent>, at: Timestamp) {
        for event in events {
            self.note(budget_notice(&event, at));
        }
    }

    /// Puts a notice on record, and in the log when it is urgent.
    pub(crate) fn note(&self, notice: Notice) {
        if notice.severity >= Severity::High {
            let Notice { kind, subject, message, .. } = &notice;
            tracing::warn!(kind, subject, notice = message, "an urgent notice was put on record");
        }
        self.journal.note(notice);
    }
}

fn untold_notice(count: u64, kind: &str, at: Timestamp) -> Notice {
    let mut facts = Map::new();
    facts.insert("count".to_owned(), json!(count));
    facts.insert("kind".to_owned(), json!(kind));
    Notice {
        at,
        kind: "auth.flood".to_owned(),
        severity: Severity::Warning,
        subject: "callers without a key".to_owned(),
        message: format!(
            "{count} more callers without a right key were refused than are put on record in a \
             minute; they are in the log only."
        ),
        facts,
        notify: false,
    }
}

fn budget_notice(event: &BudgetEvent, at: Timestamp) -> Notice {
    let BudgetEvent { account, limit, spent, threshold_percent } = event;
    let mut facts = Map::new();
    facts.insert("account".to_owned(), json!(account));
    facts.insert("limit".to_owned(), json!(limit));
    facts.insert("spent".to_owned(), json!(spent));
    facts.insert("threshold_percent".to_owned(), json!(threshold_percent));
    let severity = if *threshold_percent >= 100 { Severity::High } else { Severity::Warning };
    Notice {
        at,
        kind: "budget.threshold".to_owned(),
        severity,
        subject: account.scope.to_string(),
        message: format!(
            "The {account} has reached {threshold_percent} %: {} of {} is spent.",
            spent.to_display(),
            limit.to_display()
        ),
        facts,
        notify: true,
    }
}

//! What people are told of a containment.

use chamberlain_core::containment::{Alarm, Containment, Work};
use chamberlain_core::record::{Notice, Severity};
use chamberlain_store::{Change, NOTIFY, StoreFault};
use serde_json::{Map, json};

/// Queues what people are to be told of, in the transaction of its cause.
pub(super) fn tell(
    change: &mut Change<'_>,
    cause: u64,
    containment: &Containment,
    kind: &str,
    detail: &str,
) -> Result<(), StoreFault> {
    let Some((severity, message)) = message(containment, kind, detail) else { return Ok(()) };
    let declared = &containment.declared;
    let mut facts = Map::new();
    facts.insert("containment".to_owned(), json!(containment.id));
    facts.insert("key".to_owned(), json!(containment.subject.to_string()));
    facts.insert("reason".to_owned(), json!(declared.reason));
    facts.insert("by".to_owned(), json!(declared.by));
    facts.insert("environments".to_owned(), json!(declared.served));
    let notice = Notice {
        at: change.now(),
        kind: format!("containment.{kind}"),
        severity,
        subject: containment.subject.to_string(),
        message,
        facts,
        notify: true,
    };
    let payload = serde_json::to_value(&notice)
        .map_err(|error| StoreFault::Mistake(format!("a notice as JSON: {error}")))?;
    change.effect(cause, NOTIFY, &payload).map(drop)
}

fn message(containment: &Containment, kind: &str, detail: &str) -> Option<(Severity, String)> {
    let Containment { id, subject, declared, .. } = containment;
    Some(match kind {
        "begun" => {
            let names: Vec<&str> = declared.served.iter().map(|name| name.as_str()).collect();
            let served = match names.is_empty() {
                true => String::new(),
                false => format!(" Calls of {} left with it.", names.join(", ")),
            };
            let message = format!(
                "{} contained {subject} ({detail}): no call leaves with it any more.{served} \
                 chamberlain containment show {id} says what is left to do.",
                declared.by
            );
            (Severity::Critical, message)
        }
        "alarm" | "refused" => {
            (Severity::High, format!("The containment of {subject} ({id}): {detail}."))
        }
        "result" if is_report(detail) => {
            (Severity::High, format!("The containment of {subject} ({id}): {detail}."))
        }
        "ended" => (Severity::Info, format!("The containment of {subject} ({id}) is complete.")),
        _ => return None,
    })
}

/// Whether a result is what people wait for.
fn is_report(detail: &str) -> bool {
    [Work::Report, Work::Usage, Work::SwitchOff]
        .iter()
        .any(|work| detail.split_once(':').is_some_and(|(word, _)| word == work.word()))
}

pub(super) fn alarm_text(containment: &Containment, alarm: Alarm) -> String {
    match alarm {
        Alarm::Clock { percent } => {
            format!("{percent} % of 15 min are used, and the key still works at Anthropic")
        }
        Alarm::Trouble { work } => {
            let task = containment.tasks.get(&work);
            let why = task.and_then(|task| task.failed.clone()).unwrap_or_default();
            format!("{work} does not work: {why}")
        }
        Alarm::StillAlive => "it was switched off and is not seen dead".to_owned(),
        Alarm::StillAliveIncident => {
            "it was switched off and still is not seen dead: treat it as an incident".to_owned()
        }
    }
}

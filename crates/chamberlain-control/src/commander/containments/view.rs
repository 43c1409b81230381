//! Containments as people are shown them, with what is left to them.

use chamberlain_core::containment::{
    Containment, Deadline, Reason, Subject, Task, Work, deadlines,
};
use chamberlain_core::id::UpstreamKeyId;
use chamberlain_core::time::Timestamp;
use chamberlain_store::UpstreamKey;

use super::{Commander, from_store, since};
use crate::error::CommandError;
use crate::house::House;
use crate::reply::{self, ContainmentClock, ContainmentLine, ContainmentWork, ServesNow};

impl Commander {
    pub(super) fn containment_view(
        &self,
        it: &Containment,
    ) -> Result<reply::Containment, CommandError> {
        let (house, now) = (self.house()?, self.now());
        let can_ask = self.has_admin_key()?;
        let row = it.subject.upstream_key().and_then(|id| row_of(id, &house));
        let serves_now = self.serves_now(it, &house);
        let declared = &it.declared;
        let (kind, key) = match &it.subject {
            Subject::UpstreamKey(id) => ("upstream_key", id.to_string()),
            Subject::VirtualKey(id) => ("virtual_key", id.to_string()),
        };
        Ok(reply::Containment {
            id: it.id.to_string(),
            kind: kind.to_owned(),
            name: name_of(it, &house),
            key,
            hint: row.map(|row| row.hint.clone()).filter(|hint| !hint.is_empty()),
            environment: environment_of(it, &house),
            reason: declared.reason,
            note: declared.note.clone(),
            by: declared.by.clone(),
            at: declared.at.into(),
            state: state(it).to_owned(),
            before: false,
            in_flight: declared.in_flight,
            work: it.tasks.iter().map(|(work, task)| work_view(it, *work, task, can_ask)).collect(),
            dead_at: it.dead_at.map(Into::into),
            ended_at: it.ended_at.map(Into::into),
            clocks: deadlines(it, can_ask).into_iter().map(|one| clock_view(one, now)).collect(),
            left_to_do: self.left_to_do(it, row, &serves_now, can_ask)?,
            serves_now,
            timeline: Vec::new(),
        })
    }

    pub(super) fn containment_timeline(
        &self,
        it: &Containment,
    ) -> Result<Vec<ContainmentLine>, CommandError> {
        let steps = self.store.containment_steps(&it.id).map_err(from_store)?;
        let line = |step: chamberlain_store::ContainmentStep| ContainmentLine {
            at: step.at.into(),
            actor: step.actor,
            kind: step.kind,
            detail: step.detail,
            audit_seq: step.audit_seq,
        };
        Ok(steps.into_iter().map(line).collect())
    }

    fn serves_now(&self, it: &Containment, house: &House) -> Vec<ServesNow> {
        let serves = |name: &chamberlain_core::id::EnvironmentName| ServesNow {
            environment: name.to_string(),
            key: house.upstream_key_of(name).map(|row| row.name.clone()),
        };
        it.declared.served.iter().map(serves).collect()
    }

    /// What is left to people, the most urgent first.
    fn left_to_do(
        &self,
        it: &Containment,
        row: Option<&UpstreamKey>,
        serves_now: &[ServesNow],
        can_ask: bool,
    ) -> Result<Vec<String>, CommandError> {
        let mut left = Vec::new();
        if let Some(task) = it.tasks.get(&Work::SwitchOff)
            && task.ended.is_none()
            && (!can_ask || task.is_stuck || task.tries > 0)
        {
            left.push(by_hand(it, row));
        }
        let refused: Vec<&str> = serves_now
            .iter()
            .filter(|one| one.key.is_none())
            .map(|one| one.environment.as_str())
            .collect();
        if !refused.is_empty() && it.subject.upstream_key().is_some() {
            left.push(self.replace(it, &refused)?);
        }
        if let Subject::VirtualKey(_) = it.subject
            && it.ended_at.is_none()
        {
            left.push(
                "give whoever needs one a new virtual key: chamberlain virtual create".to_owned(),
            );
        }
        left.extend(self.sinks_that_hold(it)?.into_iter().map(|name| {
            format!(
                "the sink {name} was given this key: once there is a new one, chamberlain sink \
                 deliver {name}"
            )
        }));
        left.push(format!("read what was done with it: chamberlain containment report {}", it.id));
        left.push(cause(it.declared.reason).to_owned());
        Ok(left)
    }

    /// How service comes back.
    fn replace(&self, it: &Containment, refused: &[&str]) -> Result<String, CommandError> {
        let open = self.store.open_rotations().map_err(from_store)?;
        let rotation = open.iter().find(|open| Some(&open.old) == it.subject.upstream_key());
        let how = match (rotation, it.ended_at) {
            (Some(rotation), _) => format!("chamberlain rotation give-key {}", rotation.id),
            (None, None) => format!(
                "chamberlain rotation start {} --emergency --reason {}, then chamberlain rotation \
                 give-key",
                it.subject.upstream_key().map_or("", UpstreamKeyId::as_str),
                it.declared.reason
            ),
            // Its value is gone, so that there is nothing left to rotate.
            (None, Some(_)) => format!("chamberlain key add --environment {}", refused[0]),
        };
        Ok(format!(
            "calls of {} are refused: make a new key in the Claude Console, in the same workspace, \
             and hand it in: {how}",
            refused.join(", ")
        ))
    }

    /// Sinks that are known to hold the key.
    fn sinks_that_hold(&self, it: &Containment) -> Result<Vec<String>, CommandError> {
        let id = match &it.subject {
            Subject::UpstreamKey(id) => id.as_str(),
            Subject::VirtualKey(id) => id.as_str(),
        };
        let sinks = self.store.sinks().map_err(from_store)?;
        let holds = |sink: &chamberlain_store::SinkRow| {
            sink.tried.key == id || sink.held.as_ref().is_some_and(|held| held.key.key == id)
        };
        Ok(sinks.into_iter().filter(holds).map(|sink| sink.name).collect())
    }
}

fn row_of<'a>(id: &UpstreamKeyId, house: &'a House) -> Option<&'a UpstreamKey> {
    house.upstream_keys.iter().find(|row| row.id == *id)
}

fn name_of(it: &Containment, house: &House) -> String {
    match &it.subject {
        Subject::UpstreamKey(id) => row_of(id, house).map(|row| row.name.clone()),
        Subject::VirtualKey(id) => house.virtual_key(id).map(|key| key.name.clone()),
    }
    .unwrap_or_default()
}

fn environment_of(it: &Containment, house: &House) -> Option<String> {
    match &it.subject {
        Subject::UpstreamKey(id) => {
            row_of(id, house).and_then(|row| row.environment.as_ref()).map(ToString::to_string)
        }
        Subject::VirtualKey(id) => house.virtual_key(id).map(|key| key.environment.to_string()),
    }
}

fn state(it: &Containment) -> &'static str {
    match (it.ended_at, it.is_done(Work::Cut), it.is_done(Work::SwitchOff)) {
        (Some(_), ..) => "done",
        (None, true, true) => "contained",
        (None, true, false) => "cut",
        (None, false, _) => "cutting",
    }
}

fn work_view(it: &Containment, work: Work, task: &Task, can_ask: bool) -> ContainmentWork {
    let at = task.ended.as_ref().map(|ended| ended.at);
    let waits = task.is_stuck || work.needs_anthropic() && !can_ask;
    let state = match (at, waits, &task.failed) {
        (Some(_), ..) => "done",
        (None, true, _) => "waits",
        (None, false, Some(_)) => "failed",
        (None, false, None) => "under_way",
    };
    ContainmentWork {
        work,
        state: state.to_owned(),
        at: at.map(Into::into),
        after_ms: at.map(|at| since(it.declared.at, at)),
        by_hand: task.ended.as_ref().and_then(|ended| ended.by_hand.clone()),
        failed: task.failed.clone(),
        tries: task.tries,
    }
}

fn clock_view(one: Deadline, now: Timestamp) -> ContainmentClock {
    let Deadline { who, clock } = one;
    let limit_ms = i64::try_from(clock.limit_ms).unwrap_or(i64::MAX);
    ContainmentClock {
        name: clock.name.to_owned(),
        who,
        began: clock.began.into(),
        due: clock.began.plus_ms(limit_ms).into(),
        ended: clock.ended.map(Into::into),
        ran_ms: since(clock.began, clock.ended.unwrap_or(now)),
    }
}

/// How a person switches the key off.
fn by_hand(it: &Containment, row: Option<&UpstreamKey>) -> String {
    let which = row.map_or(String::new(), |row| {
        let name = row.profile.seen.as_ref().map_or(&row.name, |seen| &seen.key.name);
        match row.hint.is_empty() {
            true => format!(" {name:?}"),
            false => format!(" {name:?} ({})", row.hint),
        }
    });
    format!(
        "switch it off at Anthropic: https://platform.claude.com/settings/keys, the key{which}, its \
         menu, Disable key (deleting it does as well, and cannot be undone). Then: chamberlain \
         containment vouch {} --note \"disabled in the Console\"",
        it.id
    )
}

/// What is to be seen to besides the key.
const fn cause(reason: Reason) -> &'static str {
    match reason {
        Reason::PublicRepository => {
            "find where it lay and since when (git log -S with the key's first characters, all \
             branches), look for other secrets in the same place, and take it out of the history \
             only after that"
        }
        Reason::ApplicationLogs => {
            "delete the lines from the logs, their archives and wherever they are shipped to, and \
             stop what wrote them"
        }
        Reason::ErrorOrTicket => {
            "delete it from the ticket or the error tracker, attachments and mails included, and \
             find who was notified of it"
        }
        Reason::UnauthorizedUse => {
            "lay the sources and hours of the report beside who was working then, and keep the \
             report: it is what shows when it began"
        }
        Reason::Offboarding => {
            "contain or replace whatever else that person knew: other keys, sinks, the Console's \
             members"
        }
        Reason::SuspectedCompromise => {
            "write down what made you suspect it, and what the report says for and against it"
        }
        Reason::SecurityNotice => {
            "answer whoever sent the notice, and ask where the key was seen and since when"
        }
    }
}

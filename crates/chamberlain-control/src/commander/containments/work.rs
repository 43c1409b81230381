//! The pieces of work of a containment, as they are done. Each may be done twice.

use std::ops::ControlFlow;

use chamberlain_core::containment::{Containment, Subject};
use chamberlain_core::id::ContainmentId;
use chamberlain_core::keys::listed::ListedStatus;
use chamberlain_core::rotation::Outcome;
use chamberlain_core::time::Timestamp;
use chamberlain_store::{CallFilter, Change, StoreFault, UpstreamKeyState};

use super::{Commander, EXPOSURE, USAGE, from_store};
use crate::error::CommandError;
use crate::exposure::{self, Tally};
use crate::house::House;

/// What is written with a result.
type With = Box<dyn FnOnce(&mut Change<'_>, &ContainmentId) -> Result<(), StoreFault> + Send>;

/// A piece of work that was done: in words, and what is to be written with that.
pub(super) struct Done {
    pub(super) detail: String,
    pub(super) with: With,
}

impl Done {
    pub(super) fn plain(detail: &str) -> Done {
        Done { detail: detail.to_owned(), with: Box::new(|_, _| Ok(())) }
    }
}

/// Erases a key's value, unless that was done.
pub(super) fn erase(containment: &Containment) -> Done {
    let subject = containment.subject.clone();
    let erase = move |change: &mut Change<'_>, _: &ContainmentId| {
        let Subject::UpstreamKey(id) = &subject else { return Ok(()) };
        match change.upstream_key(id)? {
            // The rotation that replaces it still has to see it dead, and erases it at its end.
            Some(_) if change.is_being_replaced(id)? => Ok(()),
            Some(row) if row.state != UpstreamKeyState::Revoked => change.revoke_upstream_key(id),
            _ => Ok(()),
        }
    };
    Done {
        detail: "its value is gone, or goes with the rotation that replaces it".to_owned(),
        with: Box::new(erase),
    }
}

impl Commander {
    /// Switches the key off at Anthropic.
    pub(super) fn switch_off(&self, containment: &Containment) -> Result<Done, Outcome> {
        match containment.subject.upstream_key() {
            Some(id) => self.set_at_anthropic(id, ListedStatus::Inactive)?,
            None => return Err(Outcome::Refused("Anthropic knows no virtual key".to_owned())),
        }
        Ok(Done::plain("inactive at Anthropic"))
    }

    /// Puts together what was done with the key by the calls on record.
    pub(super) fn put_together(&self, containment: &Containment) -> Result<Done, CommandError> {
        let since = window(containment);
        let tally = self.tally(containment, since)?;
        let unknown = self.unknown(containment);
        let report = tally.report(since, self.now(), unknown);
        let all = &report.all;
        let detail = format!(
            "{} calls since {since}, {} of them on their way, {}",
            all.calls, all.open, all.cost
        );
        let finding = serde_json::to_value(&report)
            .map_err(|error| CommandError::failed(format!("the report: {error}")))?;
        let with = move |change: &mut Change<'_>, id: &ContainmentId| {
            change.put_containment_finding(id, EXPOSURE, &finding)
        };
        Ok(Done { detail, with: Box::new(with) })
    }

    /// Asks Anthropic what it has counted of the key, and lays it beside our record.
    pub(super) fn count_at_anthropic(&self, containment: &Containment) -> Result<Done, Outcome> {
        let Some(id) = containment.subject.upstream_key() else {
            return Err(Outcome::Refused("Anthropic counts no virtual key".to_owned()));
        };
        let failed = |error: CommandError| Outcome::Failed(error.to_string());
        let there = self.id_at_anthropic(id)?;
        let (since, now) = (window(containment), self.now());
        let asked = self.with_admin_api(|api| Ok(api.usage(&there, since, now)));
        let hours = asked.map_err(failed)?.map_err(|fault| {
            let why = format!("{fault}; {}", fault.advice());
            if fault.may_pass() { Outcome::Failed(why) } else { Outcome::Refused(why) }
        })?;
        let tally = self.tally(containment, since).map_err(failed)?;
        let found = tally.beside(&hours, since, now);
        let detail = match found.beyond {
            0 => "Anthropic has counted nothing beyond our record".to_owned(),
            beyond => format!("Anthropic has counted {beyond} tokens beyond our record"),
        };
        let finding = serde_json::to_value(&found)
            .map_err(|error| Outcome::Failed(format!("the count: {error}")))?;
        let with = move |change: &mut Change<'_>, id: &ContainmentId| {
            change.put_containment_finding(id, USAGE, &finding)
        };
        Ok(Done { detail, with: Box::new(with) })
    }

    fn tally(&self, containment: &Containment, since: Timestamp) -> Result<Tally, CommandError> {
        let house = self.house()?;
        let mut filter = CallFilter { since: Some(since), ..CallFilter::default() };
        match &containment.subject {
            Subject::UpstreamKey(id) => filter.upstream_key = Some(id.clone()),
            Subject::VirtualKey(id) => filter.virtual_key = Some(id.clone()),
        }
        let mut tally = Tally::default();
        self.store
            .calls_each(&filter, |call| {
                tally.add(&call, &name_of(&call, &house));
                ControlFlow::Continue(())
            })
            .map_err(from_store)?;
        Ok(tally)
    }

    /// What the record of calls cannot say.
    fn unknown(&self, containment: &Containment) -> Vec<String> {
        let mut unknown = vec![
            "what stood in the calls and in the answers: Chamberlain keeps neither".to_owned(),
            "who sat behind an address: behind a proxy it is the one that the proxy said, if it is \
             trusted"
                .to_owned(),
        ];
        match containment.subject {
            Subject::VirtualKey(_) => unknown.push(
                "nothing else: a virtual key works through Chamberlain only, so every call with it \
                 is in this report"
                    .to_owned(),
            ),
            Subject::UpstreamKey(_) => unknown.insert(
                0,
                "calls that somebody made with the key past Chamberlain: only Anthropic's own \
                 count shows those, and the last minutes are not in it yet"
                    .to_owned(),
            ),
        }
        unknown
    }
}

/// From when on a report looks: full hours, so that both counts are of the same time.
fn window(containment: &Containment) -> Timestamp {
    const HOUR_MS: i64 = 3_600_000;
    let from = containment.declared.at.ms() - HOUR_MS * i64::try_from(exposure::HOURS).unwrap_or(0);
    Timestamp::from_ms(from - from.rem_euclid(HOUR_MS))
}

fn name_of(call: &chamberlain_store::CallRow, house: &House) -> String {
    match house.virtual_key(&call.virtual_key) {
        Some(key) => format!("{} ({})", key.name, key.id),
        None => call.virtual_key.to_string(),
    }
}

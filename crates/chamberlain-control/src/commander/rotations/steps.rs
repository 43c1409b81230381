//! The steps of a rotation, as they are done. Each may be done twice. What is done in the store is
//! done in one transaction with its result, so that it is done at most once and never for a plan
//! that somebody has changed meanwhile.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;

use chamberlain_core::audit::record::Principal;
use chamberlain_core::id::UpstreamKeyId;
use chamberlain_core::keys::listed::ListedStatus;
use chamberlain_core::keys::profile::{CreatedFor, Profile};
use chamberlain_core::rotation::{Kind, Outcome, ProbeAnswer, Rotation, Step, Track};
use chamberlain_core::sink::settings::Takes;
use chamberlain_core::time::{Date, Timestamp};
use chamberlain_store::{Change, StoreFault, UpstreamKey, UpstreamKeyState};

use super::Commander;
use crate::error::{CommandError, ErrorCode};
use crate::house::House;

impl Commander {
    /// Does a step whose intent is on record, and writes its result down.
    pub(super) fn perform_step(
        &self,
        rotation: &Rotation,
        track: Track,
        step: Step,
    ) -> Result<(), CommandError> {
        let mut made = None;
        let outcome = match step {
            Step::Promote | Step::Restore | Step::Discard | Step::Archive | Step::Cut => {
                match self.before_the_store(rotation, step) {
                    Ok(()) => return self.in_the_store(rotation, track, step),
                    Err(outcome) => outcome,
                }
            }
            Step::Probe => self.try_new(rotation),
            Step::Verify => self.verify(rotation)?,
            Step::WriteSinks => self.write_sinks(rotation, true),
            Step::Deactivate => self.deactivate(rotation),
            Step::Record => self.leave_its_traces(rotation),
            Step::Backup | Step::BackupAgain => match self.back_up_now() {
                Ok(path) => {
                    made = Some(path);
                    Outcome::Done
                }
                Err(error) => Outcome::Failed(error.to_string()),
            },
        };
        let detail = match (&outcome, made) {
            (Outcome::Done, Some(made)) => format!("{step}: {made}"),
            (Outcome::Done, None) => step.word().to_owned(),
            (Outcome::Failed(why) | Outcome::Refused(why), _) => format!("{step}: {why}"),
        };
        if !matches!(outcome, Outcome::Done) {
            tracing::warn!(rotation = %rotation.id, %step, error = detail, "a step of a rotation failed");
        }
        self.settle_step(rotation, track, &outcome, detail)
    }

    /// What has to be seen to before the store is changed.
    fn before_the_store(&self, rotation: &Rotation, step: Step) -> Result<(), Outcome> {
        if let (Step::Promote, Some(new)) = (step, &rotation.new) {
            self.refuse_contained(&new.id)?;
        }
        if step == Step::Restore {
            self.refuse_contained(&rotation.old)?;
        }
        match step {
            // Nobody goes back to a key that does not work. Where nothing can be learned, it worked
            // a while ago.
            Step::Restore => match self.probe_key(&rotation.old) {
                ProbeAnswer::Rejected => Err(Outcome::Refused(
                    "Anthropic answers 401 to the old key; switch it on again in the Claude \
                     Console, then chamberlain rotation resume"
                        .to_owned(),
                )),
                _ => Ok(()),
            },
            Step::Discard if rotation.may_have_written_sinks() => {
                match self.write_sinks(rotation, false) {
                    Outcome::Done => Ok(()),
                    failed => Err(failed),
                }
            }
            Step::Archive => self.archive_at_anthropic(rotation),
            _ => Ok(()),
        }
    }

    /// A contained key is put into use by nobody.
    fn refuse_contained(&self, id: &UpstreamKeyId) -> Result<(), Outcome> {
        let house = self.house().map_err(|error| Outcome::Failed(error.to_string()))?;
        match house.contained.contains(id) {
            true => Err(Outcome::Refused(format!("{id} was contained and stays out of use"))),
            false => Ok(()),
        }
    }

    /// Changes the store together with the result, and lets the gateway see it.
    fn in_the_store(
        &self,
        rotation: &Rotation,
        track: Track,
        step: Step,
    ) -> Result<(), CommandError> {
        let after = rotation.settled(track, &Outcome::Done, self.now());
        let old = rotation.old.clone();
        let new = rotation.new.as_ref().map(|new| new.id.clone());
        let work = move |change: &mut Change<'_>| -> Result<(), StoreFault> {
            match (step, new) {
                (Step::Promote, Some(new)) => change.promote_upstream_key(&new),
                (Step::Restore, _) => change.promote_upstream_key(&old),
                (Step::Discard, Some(new)) => erase(change, &new),
                (Step::Archive, _) => erase(change, &old),
                (Step::Cut, _) => change.shelve_upstream_key(&old),
                _ => Ok(()),
            }
        };
        let detail = step.word().to_owned();
        self.save(&Principal::Chamberlain, &after, "result", detail, work)?;
        if step == Step::Restore && rotation.may_have_written_sinks() {
            // The gateway comes first; who does not go through it is given the old key after.
            self.publish()?;
            if let Outcome::Failed(why) | Outcome::Refused(why) = self.write_sinks(rotation, false)
            {
                tracing::error!(rotation = %rotation.id, error = why, "a sink has not got the old key back");
            }
        }
        self.publish().map(drop)
    }

    pub(super) fn probe_new(&self, rotation: &Rotation) -> ProbeAnswer {
        match &rotation.new {
            Some(new) => self.probe_key(&new.id),
            None => ProbeAnswer::Inconclusive("there is no new key".to_owned()),
        }
    }

    fn try_new(&self, rotation: &Rotation) -> Outcome {
        match self.probe_new(rotation) {
            ProbeAnswer::Works => Outcome::Done,
            ProbeAnswer::Rejected => {
                Outcome::Refused("Anthropic answers 401 to the new key".to_owned())
            }
            ProbeAnswer::Inconclusive(why) => Outcome::Failed(why),
        }
    }

    /// Looks which key leaves: of every environment of the seat the key that is published, as it
    /// lies on the ring that the gateway takes it from; and whether Anthropic takes that very one.
    fn verify(&self, rotation: &Rotation) -> Result<Outcome, CommandError> {
        let Some(new) = &rotation.new else {
            return Ok(Outcome::Refused("there is no new key".to_owned()));
        };
        let published = self.publisher.published().load_full();
        for name in self.environments_of(rotation.seat.as_ref())? {
            let Some(environment) = published.environments.get(&name) else { continue };
            let leaving = environment.upstream_key.as_ref();
            let secret = leaving.and_then(|id| self.keyring.get(id));
            let Some(secret) = secret else {
                return Ok(Outcome::Failed(format!("{name} leaves with no open key")));
            };
            if secret.fingerprint().as_str() != new.fingerprint {
                return Ok(Outcome::Refused(format!(
                    "{name} leaves with the key {}, and the new one is {}",
                    secret.fingerprint(),
                    new.fingerprint
                )));
            }
            match self.probe(&secret) {
                ProbeAnswer::Works => {}
                ProbeAnswer::Rejected => {
                    return Ok(Outcome::Refused(format!("Anthropic answers 401 to {name}")));
                }
                ProbeAnswer::Inconclusive(why) => return Ok(Outcome::Failed(why)),
            }
        }
        Ok(Outcome::Done)
    }

    /// What can be known to be wrong before anything is touched.
    pub(super) fn hindrances(&self, rotation: &Rotation) -> Vec<String> {
        let mut wrong = Vec::new();
        for name in self.sinks_of(rotation) {
            let checked = self.sink(&name).map_err(|error| error.message).and_then(|(_, sink)| {
                sink.check().map_err(|fault| format!("{fault}; {}", fault.hint))
            });
            if let Err(why) = checked {
                wrong.push(format!("the sink {name}: {why}"));
            }
        }
        match self.probe_key(&rotation.old) {
            ProbeAnswer::Works => {}
            ProbeAnswer::Rejected => wrong.push(
                "Anthropic answers 401 to the old key: it is dead already, which is an emergency"
                    .to_owned(),
            ),
            ProbeAnswer::Inconclusive(why) => {
                wrong.push(format!("Anthropic cannot be asked: {why}"));
            }
        }
        wrong
    }

    /// Sinks that are given the key of this seat.
    fn sinks_of(&self, rotation: &Rotation) -> Vec<String> {
        let ruling = self.settings.read().clone();
        let names = self.environments_of(rotation.seat.as_ref()).unwrap_or_default();
        let fits = ruling
            .settings
            .sinks
            .iter()
            .filter(|sink| sink.takes == Takes::Any && names.contains(&sink.environment));
        fits.map(|sink| sink.name.clone()).collect()
    }

    /// Gives the sinks the new key, or the old one again.
    fn write_sinks(&self, rotation: &Rotation, with_new: bool) -> Outcome {
        let sinks = self.sinks_of(rotation);
        if sinks.is_empty() {
            return Outcome::Done;
        }
        let id = match (&rotation.new, with_new) {
            (Some(new), true) => &new.id,
            _ => &rotation.old,
        };
        for name in sinks {
            let delivered = self.deliver_upstream_key(&Principal::Chamberlain, &name, id);
            if let Err(error) = delivered {
                let why = format!("the sink {name}: {error}");
                return match error.code {
                    ErrorCode::Unavailable | ErrorCode::Failed | ErrorCode::Conflict => {
                        Outcome::Failed(why)
                    }
                    _ => Outcome::Refused(why),
                };
            }
        }
        Outcome::Done
    }

    /// Whether Chamberlain can switch keys off at Anthropic.
    pub(super) fn can_deactivate(&self) -> Result<bool, CommandError> {
        self.has_admin_key()
    }

    fn deactivate(&self, rotation: &Rotation) -> Outcome {
        match self.set_at_anthropic(&rotation.old, ListedStatus::Inactive) {
            Ok(()) => Outcome::Done,
            Err(outcome) => outcome,
        }
    }

    /// Archives the old key where there is an admin key. What cannot be archived is inactive all
    /// the same.
    fn archive_at_anthropic(&self, rotation: &Rotation) -> Result<(), Outcome> {
        if !self.has_admin_key().unwrap_or_default() {
            return Ok(());
        }
        match self.set_at_anthropic(&rotation.old, ListedStatus::Archived) {
            Err(Outcome::Refused(why)) => {
                tracing::warn!(rotation = %rotation.id, error = why, "the old key could not be archived at Anthropic");
                Ok(())
            }
            done => done,
        }
    }

    /// Has the line in the log, and the dates in the rotation policy's file where one is configured.
    fn leave_its_traces(&self, rotation: &Rotation) -> Outcome {
        match self.write_log_line(rotation) {
            Outcome::Done => {}
            failed => return failed,
        }
        match self.update_rotation_policy(&Principal::Chamberlain) {
            Ok(()) => Outcome::Done,
            Err(error) => Outcome::Failed(format!("the rotation policy's file: {error}")),
        }
    }

    /// Appends the line that people's own tools look for, once.
    fn write_log_line(&self, rotation: &Rotation) -> Outcome {
        let folder = self.data.join("logs");
        let path = folder.join("secrets-rotation.log");
        let how = match rotation.kind {
            Kind::Planned => "scheduled rotation",
            Kind::Emergency => "emergency rotation",
        };
        let line = format!(
            "{}: Rotated Anthropic API key ({how}) [{}]\n",
            self.now().utc_date(),
            rotation.id
        );
        let write = || {
            fs::create_dir_all(&folder)?;
            let has =
                fs::read_to_string(&path).is_ok_and(|text| text.contains(rotation.id.as_str()));
            if has {
                return Ok(());
            }
            let mut file = OpenOptions::new().create(true).append(true).mode(0o640).open(&path)?;
            file.write_all(line.as_bytes())?;
            file.sync_all()
        };
        match write() {
            Ok(()) => Outcome::Done,
            Err(error) => Outcome::Failed(std::io::Error::to_string(&error)),
        }
    }

    pub(super) fn today(&self) -> Date {
        self.settings.read().calendar.date(self.now())
    }
}

/// Erases a key, unless that was done.
fn erase(change: &mut Change<'_>, id: &UpstreamKeyId) -> Result<(), StoreFault> {
    match change.upstream_key(id)? {
        Some(row) if row.state != UpstreamKeyState::Revoked => change.revoke_upstream_key(id),
        _ => Ok(()),
    }
}

/// A name for the key after `old`: the same with today's date, free among those in use.
pub(super) fn name_after(old: &str, house: &House, now: Timestamp) -> String {
    let is_dated = |part: &str| part.len() == 10 && Date::parse(part).is_some();
    let cut = old.len().checked_sub(10).filter(|at| old.is_char_boundary(*at));
    let stem = match cut.map(|at| old.split_at(at)) {
        Some((stem, day)) if is_dated(day) => stem.trim_end_matches(['-', '_', '.']),
        _ => old,
    };
    let is_free = |name: &String| {
        let rows = house.upstream_keys.iter();
        !rows.filter(|row| row.state != UpstreamKeyState::Revoked).any(|row| row.name == *name)
    };
    let first = format!("{stem}-{}", now.utc_date());
    let more = (2..).map(|n| format!("{first}-{n}"));
    std::iter::once(first.clone()).chain(more).find(is_free).unwrap_or(first)
}

/// What is known of the key after `old`.
pub(super) fn profile_after(
    old: Option<&UpstreamKey>,
    rotation: &Rotation,
    today: Date,
) -> Profile {
    let old = old.map(|row| row.profile.clone()).unwrap_or_default();
    Profile {
        created_for: Some(match rotation.kind {
            Kind::Planned => CreatedFor::ScheduledRotation,
            Kind::Emergency => CreatedFor::Compromise,
        }),
        created_on: Some(today),
        last_rotated_on: Some(today),
        expires_at: None,
        anthropic_id: None,
        exemption: None,
        seen: None,
        ..old
    }
}

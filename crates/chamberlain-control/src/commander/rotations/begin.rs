//! Beginning a rotation: which key, who has to agree, and by which numbers.

use chamberlain_core::audit::record::Principal;
use chamberlain_core::id::RotationId;
use chamberlain_core::rotation::{Kind, MaintenanceWindow, Ordered, Rotation, Terms};
use chamberlain_core::time::Timestamp;
use chamberlain_store::{UpstreamKey, UpstreamKeyState};

use super::{Commander, from_store, may_begin, view};
use crate::command::RotationStart;
use crate::error::CommandError;
use crate::house::House;
use crate::settings::{EnvironmentSettings, Settings};
use crate::{reply, scope, virtual_key, when};

impl Commander {
    pub(in crate::commander) fn rotation_start(
        &self,
        actor: &Principal,
        asked: RotationStart,
    ) -> Result<reply::Rotation, CommandError> {
        let reason = virtual_key::reason(&asked.reason)?;
        let rotation = {
            let _changing = self.changing.lock();
            let (house, ruling, now) = (self.house()?, self.settings.read().clone(), self.now());
            let old = to_rotate(&asked.key, &house, &ruling.settings)?;
            let kind = if asked.emergency { Kind::Emergency } else { Kind::Planned };
            if kind == Kind::Planned && old.state != UpstreamKeyState::Current {
                return Err(CommandError::conflict(format!(
                    "{:?} is not in use, so there is nothing to put in its place",
                    old.name
                ))
                .hint("chamberlain key remove forgets it; --emergency cuts it off"));
            }
            let mut random = [0; 16];
            self.entropy.fill(&mut random);
            let id = RotationId::mint(random);
            let generation = self.store.rotations_done(old.environment.as_ref());
            let generation = generation.map_err(from_store)?;
            let ordered = Ordered { by: actor.to_string(), at: now, reason };
            let (seat, key) = (old.environment.clone(), old.id.clone());
            let mut rotation = Rotation::order(id, kind, seat, key, generation, ordered);
            if kind == Kind::Planned {
                rotation.approvals_needed = approvals_for(old, &house, &ruling.settings);
                rotation.window = window(&asked, now, &ruling.calendar)?;
                rotation.terms = terms(&asked, now, &ruling.calendar)?;
            }
            self.begin(actor, &rotation)?;
            rotation
        };
        // The leak is closed before the reply, and not at the next tick.
        if rotation.cut.is_some() {
            self.rotate(&rotation.id)?;
        }
        self.rotation_show(&crate::command::RotationShow {
            rotation: Some(rotation.id.to_string()),
        })
    }

    /// Writes down that it began, and that what it takes the place of has ended.
    fn begin(&self, actor: &Principal, rotation: &Rotation) -> Result<(), CommandError> {
        let open = self.store.open_rotations().map_err(from_store)?;
        let before = may_begin(&open, rotation.kind, rotation.seat.as_ref(), &rotation.old)?;
        let before =
            before.map(|plan| (plan.new.clone(), plan.superseded(&rotation.id, self.now())));
        let (meant, rotation) = (rotation, rotation.clone());
        self.write_down(actor, (meant, "begun"), move |change| {
            if let Some((new, ended)) = &before {
                change.save_rotation(ended, "superseded", rotation.id.as_str())?;
                // A key that was handed in and is not in use: another one will be asked for.
                let staged = match new {
                    Some(new) => change.upstream_key(&new.id)?,
                    None => None,
                };
                if let Some(row) = staged.filter(|row| row.state == UpstreamKeyState::Staged) {
                    change.revoke_upstream_key(&row.id)?;
                }
            }
            let seq = change.begin_rotation(&rotation)?;
            view::tell(change, seq, &rotation, "begun", &rotation.ordered.reason)
        })
    }
}

/// The key that is meant: by id, by name, or as the one that an environment leaves with.
fn to_rotate<'a>(
    named: &str,
    house: &'a House,
    settings: &Settings,
) -> Result<&'a UpstreamKey, CommandError> {
    if let Some(environment) = settings.environment(named) {
        return house.upstream_key_of(&environment.name).ok_or_else(|| {
            CommandError::not_found(format!("{named} has no upstream key"))
                .hint("chamberlain key add gives it one")
        });
    }
    let row = scope::upstream_key(named, house)?;
    match row.state {
        UpstreamKeyState::Revoked => {
            Err(CommandError::conflict(format!("{:?} is removed already", row.name)))
        }
        UpstreamKeyState::Listed => Err(CommandError::conflict(format!(
            "the value of {:?} was never given, so Chamberlain does not use it",
            row.name
        ))
        .hint("rotate it where it is used, or import its value first")),
        _ => Ok(row),
    }
}

/// How many have to approve: as many as the strictest environment asks for that leaves with this
/// key. One that is not configured any more may be production.
fn approvals_for(row: &UpstreamKey, house: &House, settings: &Settings) -> u32 {
    if let Some(seat) = &row.environment {
        let strictest = EnvironmentSettings::named(seat.as_str());
        return settings.environment(seat.as_str()).unwrap_or(&strictest).rotation_approvals;
    }
    let leaves_with_it = |environment: &&EnvironmentSettings| {
        house.upstream_key_of(&environment.name).is_some_and(|current| current.id == row.id)
    };
    let of = settings.environments.iter().filter(leaves_with_it);
    of.map(|environment| environment.rotation_approvals).max().unwrap_or_default()
}

fn window(
    asked: &RotationStart,
    now: Timestamp,
    calendar: &chamberlain_core::time::Calendar,
) -> Result<Option<MaintenanceWindow>, CommandError> {
    let moment = |text: &Option<String>| {
        text.as_deref().map(|text| when::ahead(text, now, calendar)).transpose()
    };
    let (from, until) = (moment(&asked.from)?, moment(&asked.until)?);
    if from.is_none() && until.is_none() {
        return Ok(None);
    }
    let start = from.unwrap_or(now);
    let end = until.unwrap_or(Timestamp::from_ms(i64::MAX));
    match start < end {
        true => Ok(Some(MaintenanceWindow { start, end })),
        false => Err(CommandError::usage(format!("a window from {start} to {end} is never open"))),
    }
}

fn terms(
    asked: &RotationStart,
    now: Timestamp,
    calendar: &chamberlain_core::time::Calendar,
) -> Result<Terms, CommandError> {
    let mut terms = Terms::default();
    if let Some(soak) = &asked.soak {
        terms.soak_ms = when::ahead(soak, now, calendar)?.ms_since(now);
    }
    terms.soak_successes = asked.soak_calls.unwrap_or(terms.soak_successes);
    Ok(terms)
}

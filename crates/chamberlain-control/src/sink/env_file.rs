//! The sink that is a line in a file.

use std::time::Duration;

use chamberlain_core::sink::env_text::{self, EnvTextError};
use chamberlain_core::sink::fault::{Receipt, SinkFault, Standing};
use chamberlain_core::sink::settings::EnvFile;
use chamberlain_vault::parcel::Parcel;
use rustix::fs::{Gid, Uid};

use super::place::{Found, Place};
use super::{Sink, owner};

/// The mode of a file that has a key in it.
const MODE: u32 = 0o600;

/// A line in a file.
pub(super) struct EnvFileSink {
    file: EnvFile,
    within: Duration,
}

impl EnvFileSink {
    pub(super) fn new(file: EnvFile, within: Duration) -> EnvFileSink {
        EnvFileSink { file, within }
    }

    fn place(&self) -> Result<Place, SinkFault> {
        Place::open(&self.file.path, self.file.owner.is_some())
    }

    /// Whose the file shall be: who is configured, or whose it is, or ours.
    fn owner(&self, found: Option<&Found>) -> Result<(Uid, Gid), SinkFault> {
        match (&self.file.owner, found) {
            (Some(owner), _) => owner::find(owner),
            (None, Some(found)) => Ok(found.owner),
            (None, None) => Ok((rustix::process::geteuid(), rustix::process::getegid())),
        }
    }

    fn unclear(&self, error: &EnvTextError) -> SinkFault {
        let hint = match error {
            EnvTextError::Twice { .. } => "leave one of the lines; comment the other out",
            EnvTextError::Value => "this key cannot stand in an env file",
            _ => "write the assignment on a line of its own, away from values of several lines",
        };
        SinkFault::refused(format!("{}: {error}", self.file.path), hint)
    }
}

impl Sink for EnvFileSink {
    fn check(&self) -> Result<Vec<String>, SinkFault> {
        let place = self.place()?;
        let found = place.read()?;
        let (path, variable) = (&self.file.path, &self.file.variable);
        let text = found.as_ref().map_or(&b""[..], |found| &found.text);
        // Any value shows whether the line can be told.
        env_text::replace(text, variable, b"0").map_err(|error| self.unclear(&error))?;
        let owner = self.owner(found.as_ref())?;
        place.try_to_make(owner)?;
        let mut notes = Vec::new();
        match &found {
            None => notes.push(format!("{path} is not there yet; a delivery makes it")),
            Some(found) if found.mode != MODE => {
                notes.push(format!(
                    "{path} has mode {:o}; a delivery makes it {MODE:o}",
                    found.mode
                ));
            }
            Some(_) => {}
        }
        let assigned = env_text::value_of(text, variable).ok().flatten().is_some();
        if found.is_some() && !assigned {
            notes.push(format!("{variable} is not in {path} yet; a delivery adds it at the end"));
        }
        Ok(notes)
    }

    fn deliver(&self, parcel: &Parcel<'_>) -> Result<Receipt, SinkFault> {
        let place = self.place()?;
        place.lock(self.within)?;
        let found = place.read()?;
        let owner = self.owner(found.as_ref())?;
        let text = found.as_ref().map_or(&b""[..], |found| &found.text);
        let new = env_text::replace(text, &self.file.variable, parcel.expose_to_sink())
            .map_err(|error| self.unclear(&error))?;
        if let Some(found) = &found
            && found.text == new
            && (found.mode, found.owner) == (MODE, owner)
        {
            return Ok(Receipt { mark: found.mark(), was_there: true, notes: Vec::new() });
        }
        let made = place.replace(&new, owner, found.as_ref())?;
        Ok(Receipt { mark: made.mark(), was_there: false, notes: Vec::new() })
    }

    fn verify(&self, parcel: &Parcel<'_>, _mark: Option<&str>) -> Result<Standing, SinkFault> {
        let (path, variable) = (&self.file.path, &self.file.variable);
        let Some(found) = self.place()?.read()? else {
            return Ok(Standing::Differs(format!("{path} is gone")));
        };
        let value =
            env_text::value_of(&found.text, variable).map_err(|error| self.unclear(&error))?;
        Ok(match value {
            None => Standing::Differs(format!("{variable} is not in {path}")),
            Some(value) if !parcel.is(value) => {
                Standing::Differs(format!("{variable} has another value in {path}"))
            }
            Some(_) if found.mode & 0o077 != 0 => {
                let mode = found.mode;
                Standing::Differs(format!(
                    "others can read {path} (mode {mode:o}): chmod 600 {path}"
                ))
            }
            Some(_) => Standing::Holds,
        })
    }
}

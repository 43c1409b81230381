//! What follows a delivery: having the program take the key up, and seeing that it did.
//!
//! A key in a file is of no use to a program that read the file long ago. So a sink may have a
//! command that *recreates* the program, and one that says whether it works, best by the SHA-256 of
//! the key that it uses: a program that was merely restarted still shows the old one.

use std::time::{Duration, Instant};

use chamberlain_core::sink::fault::{Again, Effect, Receipt, SinkFault, Standing};
use chamberlain_core::sink::settings::{FollowUp, Health, HealthShows, Target};
use chamberlain_vault::parcel::Parcel;

use super::command::runnable;
use super::program::Errand;
use super::{Sink, fits};

/// Time between two looks at a program's health.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// A sink with what follows a delivery to it.
pub(super) struct Followed {
    pub(super) inner: Box<dyn Sink>,
    pub(super) target: Target,
    pub(super) sink: String,
    pub(super) follow_up: FollowUp,
    pub(super) within: Duration,
}

impl Sink for Followed {
    fn check(&self) -> Result<Vec<String>, SinkFault> {
        let mut notes = self.inner.check()?;
        if let Some(program) = &self.follow_up.recreate {
            runnable("recreate", program)?;
        }
        match &self.follow_up.health {
            Some(health) => {
                runnable("health", &health.program)?;
                if health.shows == HealthShows::Exit {
                    notes.push(
                        "`health` shows that the program works, not with which key; with \
                         health_shows = \"sha256\" it proves that it is the new one"
                            .to_owned(),
                    );
                }
            }
            None if self.follow_up.recreate.is_some() => notes.push(
                "nothing shows whether the program works after `recreate`; add `health`".to_owned(),
            ),
            None => {}
        }
        Ok(notes)
    }

    fn deliver(&self, parcel: &Parcel<'_>) -> Result<Receipt, SinkFault> {
        fits(&self.target, parcel)?;
        // All that can be refused is refused before anything changes.
        for (what, program) in [
            ("recreate", self.follow_up.recreate.as_ref()),
            ("health", self.follow_up.health.as_ref().map(|health| &health.program)),
        ] {
            program.map_or(Ok(()), |program| runnable(what, program))?;
        }
        let receipt = self.inner.deliver(parcel)?;
        // From here on the key is there, whatever happens.
        self.taken_up(parcel).map_err(|fault| fault.with(Effect::Done))?;
        Ok(receipt)
    }

    fn verify(&self, parcel: &Parcel<'_>, mark: Option<&str>) -> Result<Standing, SinkFault> {
        let standing = self.inner.verify(parcel, mark)?;
        let Some(health) = &self.follow_up.health else { return Ok(standing) };
        if matches!(standing, Standing::Differs(_)) || health.shows != HealthShows::Sha256 {
            return Ok(standing);
        }
        // What the program uses counts for more than what lies in the sink.
        match self.looks_well(health, parcel) {
            Ok(()) => Ok(Standing::Holds),
            Err(fault) => Ok(Standing::Differs(fault.message)),
        }
    }
}

impl Followed {
    fn errand<'a>(
        &'a self,
        what: &'a str,
        program: &'a chamberlain_core::sink::settings::Program,
        parcel: &'a Parcel<'_>,
        within: Duration,
    ) -> Errand<'a> {
        Errand {
            program,
            what,
            sink: &self.sink,
            stands_for: parcel.stands_for(),
            input: b"",
            secret: parcel.expose_to_sink(),
            within,
        }
    }

    fn taken_up(&self, parcel: &Parcel<'_>) -> Result<(), SinkFault> {
        if let Some(program) = &self.follow_up.recreate {
            self.errand("recreate", program, parcel, self.within).run()?;
        }
        let Some(health) = &self.follow_up.health else { return Ok(()) };
        let until = Instant::now() + Duration::from_millis(health.timeout_ms);
        loop {
            match self.looks_well(health, parcel) {
                Ok(()) => return Ok(()),
                Err(fault) if Instant::now() + LOOK_EVERY >= until => return Err(fault),
                Err(_) => std::thread::sleep(LOOK_EVERY),
            }
        }
    }

    /// One look.
    fn looks_well(&self, health: &Health, parcel: &Parcel<'_>) -> Result<(), SinkFault> {
        let ended = self.errand("health", &health.program, parcel, self.within).run()?;
        if health.shows == HealthShows::Exit {
            return Ok(());
        }
        // `sha256sum` prints a name behind it.
        let printed = ended.printed.split_whitespace().next().unwrap_or_default();
        if parcel.has_sha256(printed) {
            return Ok(());
        }
        let is_digest = printed.len() == 64 && printed.bytes().all(|b| b.is_ascii_hexdigit());
        Err(match is_digest {
            true => SinkFault {
                effect: Effect::Done,
                again: Again::Later,
                message: "the program works, but with another key: what was delivered was not \
                          taken up"
                    .to_owned(),
                hint: "have `recreate` make the program anew (docker compose up -d \
                       --force-recreate): a restart keeps the environment of before"
                    .to_owned(),
            },
            false => SinkFault {
                effect: Effect::Done,
                again: Again::Never,
                message: "`health` does not print a SHA-256 as its first word".to_owned(),
                hint: "let it end with: printf %s \"$ANTHROPIC_API_KEY\" | sha256sum".to_owned(),
            },
        })
    }
}

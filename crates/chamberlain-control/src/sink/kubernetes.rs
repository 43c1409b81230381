//! The sink that is a Kubernetes Secret: its manifest in a file, or given to a program such as
//! `kubectl apply -f -`.

use std::time::Duration;

use chamberlain_core::sink::fault::{Receipt, SinkFault, Standing};
use chamberlain_core::sink::manifest::{self, Named};
use chamberlain_core::sink::settings::{Apply, Kubernetes, Program};
use chamberlain_vault::parcel::Parcel;
use rustix::fs::{Gid, Uid};
use zeroize::Zeroizing;

use super::Sink;
use super::command::runnable;
use super::place::{Found, Place};
use super::program::Errand;

/// The mode of a manifest that has a key in it.
const MODE: u32 = 0o600;

/// A Kubernetes Secret.
pub(super) struct KubernetesSink {
    sink: String,
    to: Kubernetes,
    within: Duration,
}

impl KubernetesSink {
    pub(super) fn new(sink: String, to: Kubernetes, within: Duration) -> KubernetesSink {
        KubernetesSink { sink, to, within }
    }

    fn manifest(&self, parcel: &Parcel<'_>) -> Zeroizing<Vec<u8>> {
        let named = Named {
            secret: &self.to.secret,
            namespace: &self.to.namespace,
            entry: &self.to.entry,
            fingerprint: parcel.stands_for(),
        };
        manifest::text(named, parcel.expose_to_sink())
    }

    /// A file of somebody else's is not written over.
    fn ours(&self, path: &str, found: Option<&Found>) -> Result<(), SinkFault> {
        let to = &self.to;
        match found {
            Some(found) if !manifest::is_ours(&found.text, &to.secret, &to.namespace) => {
                Err(SinkFault::refused(
                    format!(
                        "{path} is no manifest of Secret {}/{} that Chamberlain wrote",
                        to.namespace, to.secret
                    ),
                    "name a file of its own, or move that one away",
                ))
            }
            _ => Ok(()),
        }
    }

    fn write(&self, path: &str, parcel: &Parcel<'_>) -> Result<Receipt, SinkFault> {
        let place = Place::open(path, false)?;
        place.lock(self.within)?;
        let found = place.read()?;
        self.ours(path, found.as_ref())?;
        let text = self.manifest(parcel);
        if let Some(found) = &found
            && found.text == text
            && found.mode == MODE
        {
            return Ok(Receipt { mark: found.mark(), was_there: true, notes: Vec::new() });
        }
        let owner = found.as_ref().map_or_else(us, |found| found.owner);
        let made = place.replace(&text, owner, found.as_ref())?;
        let notes = vec![format!("the cluster has it once {path} is applied")];
        Ok(Receipt { mark: made.mark(), was_there: false, notes })
    }

    fn apply(&self, program: &Program, parcel: &Parcel<'_>) -> Result<Receipt, SinkFault> {
        runnable("command", program)?;
        let manifest = self.manifest(parcel);
        let errand = Errand {
            program,
            what: "command",
            sink: &self.sink,
            stands_for: parcel.stands_for(),
            input: &manifest,
            secret: parcel.expose_to_sink(),
            within: self.within,
        };
        errand.run()?;
        Ok(Receipt { mark: "applied".to_owned(), was_there: false, notes: Vec::new() })
    }
}

fn us() -> (Uid, Gid) {
    (rustix::process::geteuid(), rustix::process::getegid())
}

impl Sink for KubernetesSink {
    fn check(&self) -> Result<Vec<String>, SinkFault> {
        match &self.to.by {
            Apply::Command(program) => runnable("command", program).map(|()| Vec::new()),
            Apply::File(path) => {
                let place = Place::open(path, false)?;
                let found = place.read()?;
                self.ours(path, found.as_ref())?;
                place.try_to_make(found.as_ref().map_or_else(us, |found| found.owner))?;
                Ok(vec![format!("a key in {path} is a key in plain text: apply it and remove it")])
            }
        }
    }

    fn deliver(&self, parcel: &Parcel<'_>) -> Result<Receipt, SinkFault> {
        match &self.to.by {
            Apply::File(path) => self.write(path, parcel),
            Apply::Command(program) => self.apply(program, parcel),
        }
    }

    fn verify(&self, parcel: &Parcel<'_>, _mark: Option<&str>) -> Result<Standing, SinkFault> {
        let Apply::File(path) = &self.to.by else {
            return Ok(Standing::Unknown("the cluster is not asked; `health` can be".to_owned()));
        };
        Ok(match Place::open(path, false)?.read()? {
            None => Standing::Differs(format!("{path} is gone")),
            Some(found) if found.text == self.manifest(parcel) => Standing::Holds,
            Some(_) => Standing::Differs(format!("{path} has something else")),
        })
    }
}

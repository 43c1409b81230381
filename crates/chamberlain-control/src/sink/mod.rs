//! Sinks at work: keys that leave Chamberlain for a file, a program, GitHub, GitLab or Kubernetes.
//!
//! A sink is given an opened key for the moment of one call and keeps nothing of it. Everything it
//! can refuse it refuses before anything outside changes ([`Sink::check`] asks for nothing else);
//! everything it does may be done again: a delivery of a key that is there already writes nothing.
//! When it fails it says what it left behind ([`SinkFault::effect`]) and whether trying again can
//! help. It refuses to know the store: intents, results and their audit records are written by
//! whoever calls it.

use std::sync::Arc;
use std::time::Duration;

use chamberlain_core::sink::admit;
use chamberlain_core::sink::fault::{Receipt, SinkFault, Standing};
use chamberlain_core::sink::settings::{SinkSettings, Target};
use chamberlain_core::time::Entropy;
use chamberlain_vault::parcel::Parcel;

use crate::web::Web;

mod command;
mod env_file;
mod follow_up;
mod github;
mod gitlab;
mod host;
mod kubernetes;
mod owner;
mod place;
mod program;

/// A place outside that a key can be given to. Every call blocks, within the sink's own time limit.
pub trait Sink: Send + Sync {
    /// Looks whether a delivery could work, and changes nothing. Gives what people should know.
    ///
    /// # Errors
    /// Why it could not.
    fn check(&self) -> Result<Vec<String>, SinkFault>;

    /// Puts the key there, and has whoever uses it take it up. When it is there already, nothing
    /// is written; what follows a delivery is done all the same, for nobody knows whether it was.
    ///
    /// # Errors
    /// Why not, and what is left behind.
    fn deliver(&self, parcel: &Parcel<'_>) -> Result<Receipt, SinkFault>;

    /// Looks what is there now. `mark` is that of the last delivery of this key, if it is known.
    ///
    /// # Errors
    /// When it cannot be looked at.
    fn verify(&self, parcel: &Parcel<'_>, mark: Option<&str>) -> Result<Standing, SinkFault>;
}

/// The sink that is configured so.
pub fn open(
    settings: &SinkSettings,
    web: &Arc<dyn Web>,
    entropy: &Arc<dyn Entropy>,
) -> Box<dyn Sink> {
    let within = Duration::from_millis(settings.timeout_ms);
    let inner: Box<dyn Sink> = match &settings.target {
        Target::EnvFile(file) => Box::new(env_file::EnvFileSink::new(file.clone(), within)),
        Target::Command(program) => {
            Box::new(command::CommandSink::new(settings.name.clone(), program.clone(), within))
        }
        Target::Kubernetes(to) => {
            Box::new(kubernetes::KubernetesSink::new(settings.name.clone(), to.clone(), within))
        }
        Target::Github(to) => {
            Box::new(github::GithubSink::new(to.clone(), web.clone(), entropy.clone(), within))
        }
        Target::Gitlab(to) => Box::new(gitlab::GitlabSink::new(to.clone(), web.clone(), within)),
    };
    Box::new(follow_up::Followed {
        inner,
        target: settings.target.clone(),
        sink: settings.name.clone(),
        follow_up: settings.follow_up.clone(),
        within,
    })
}

/// Whether a key's text can stand in the target.
fn fits(target: &Target, parcel: &Parcel<'_>) -> Result<(), SinkFault> {
    admit::value_fits(target, parcel.expose_to_sink()).map_err(|what| {
        SinkFault::refused(what, "give this sink a key that fits; nothing was sent")
    })
}

#[cfg(test)]
mod tests;

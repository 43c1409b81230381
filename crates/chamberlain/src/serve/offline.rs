//! Commands without a server: the data folder is opened for one command and closed after it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chamberlain_control::client::Client;
use chamberlain_control::command::Command;
use chamberlain_control::commander::{Commander, CommanderParts};
use chamberlain_control::door::{Door, Execute};
use chamberlain_control::error::{CommandError, ErrorCode};
use chamberlain_control::settings::Settings;
use chamberlain_control::socket;
use chamberlain_core::audit::record::Principal;
use chamberlain_vault::keyring::Keyring;
use serde_json::Value;

use super::opened::{self, Opened};
use super::outside::Outside;
use super::{hardening, name_of};
use crate::data_dir::DataDir;
use crate::failure::{Failure, exit};
use crate::out::Out;
use crate::world::{SystemClock, SystemEntropy};

/// A data folder that nobody serves.
pub(crate) struct Offline {
    /// The folder.
    pub(crate) path: PathBuf,
    /// The configuration.
    pub(crate) settings: Settings,
    /// Where people are told what was begun.
    pub(crate) out: Out,
}

impl Door for Offline {
    /// Whoever has the store may only be another command, or a server that is starting: it is
    /// waited for a little while, and asked once it answers.
    fn execute(&self, command: Command) -> Result<Value, CommandError> {
        let mut looks = LOOKS_MAX;
        loop {
            match self.commander(&command) {
                Ok(commander) => return commander.execute(&caller(), command),
                Err(failure) if failure.code != exit::CONFLICT || looks == 0 => {
                    return Err(refused(failure));
                }
                Err(_) => {}
            }
            std::thread::sleep(LOOK_EVERY);
            looks -= 1;
            if let Some(server) = Client::connect(&self.path)? {
                return server.execute(command);
            }
        }
    }
}

/// How often a store in use is looked at before it is given up: five seconds in all.
const LOOKS_MAX: u32 = 100;
const LOOK_EVERY: Duration = Duration::from_millis(50);

impl Offline {
    /// A command that changes something may begin a house, and says so.
    fn commander(&self, command: &Command) -> Result<Commander, Failure> {
        hardening::no_core_dumps().map_err(|error| {
            Failure::failed(format!("core dumps cannot be switched off: {error}"))
        })?;
        let (data, is_new) = match command.changes() {
            true => (DataDir::prepare(&self.path)?, DataDir::used(&self.path).is_err()),
            false => (DataDir::used(&self.path)?, false),
        };
        let Opened { store, vault } = opened::open(&data, Arc::new(SystemClock), &SystemEntropy)?;
        if is_new {
            let path = data.path().display();
            self.out.hint(&format!("note: nothing was in {path} before; Chamberlain begins there"));
        }
        Ok(Commander::new(CommanderParts {
            store,
            vault,
            keyring: Arc::new(Keyring::default()),
            settings: self.settings.clone(),
            clock: Arc::new(SystemClock),
            entropy: Arc::new(SystemEntropy),
            data: data.path().to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            web: Arc::new(Outside),
        })?)
    }
}

/// Whoever runs this process.
pub(crate) fn caller() -> Principal {
    let uid = rustix::process::getuid().as_raw();
    socket::person(uid, name_of)
}

fn refused(failure: Failure) -> CommandError {
    let code = match failure.code {
        exit::USAGE => ErrorCode::Usage,
        exit::CONFLICT => ErrorCode::Conflict,
        exit::UNAVAILABLE => ErrorCode::Unavailable,
        _ => ErrorCode::Failed,
    };
    CommandError { code, message: failure.message, hint: failure.hint }
}

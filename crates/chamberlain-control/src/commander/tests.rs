//! Commands through a real store and vault, with a clock that stands and dice that repeat.

use std::ops::ControlFlow;
use std::path::Path;

use chamberlain_core::admission::key::PresentedKey;
use chamberlain_core::audit::record::Record;
use chamberlain_core::id::{EnvironmentName, VirtualKeyId};
use chamberlain_core::secret::Secret;
use chamberlain_store::OpenOptions;
use chamberlain_vault::master::Master;
use serde_json::json;

use super::*;
use crate::command::Ask;
use crate::error::ErrorCode;
use crate::testing::{Dice, Hands, NOON, real_key};

mod audit;
mod change;
mod keys;
mod look;
mod rotations;
mod sinks;

/// A house in a folder of its own.
struct World {
    folder: tempfile::TempDir,
    clock: Arc<Hands>,
    keyring: Arc<Keyring>,
    commander: Arc<Commander>,
}

fn ada() -> Principal {
    Principal::Person("ada".to_owned())
}

impl World {
    fn new() -> World {
        World::with(Settings::default())
    }

    fn with(settings: Settings) -> World {
        World::beside(settings, Arc::new(crate::testing::Nowhere))
    }

    fn beside(settings: Settings, web: Arc<dyn Web>) -> World {
        let folder = tempfile::tempdir().unwrap();
        std::fs::set_permissions(
            folder.path(),
            std::os::unix::fs::PermissionsExt::from_mode(0o700),
        )
        .unwrap();
        let (clock, entropy) = (Arc::new(Hands::at(NOON)), Arc::new(Dice::new()));
        let master = Master::from_text(&Master::generate(entropy.as_ref())).unwrap();
        let (vault, _) = Vault::create(&master, entropy.as_ref()).unwrap();
        let keyring = Arc::new(Keyring::default());
        let commander = Commander::new(CommanderParts {
            store: open(folder.path(), clock.clone()),
            vault: Arc::new(vault),
            keyring: keyring.clone(),
            settings,
            clock: clock.clone(),
            entropy,
            data: folder.path().to_owned(),
            version: "0".to_owned(),
            web,
        })
        .unwrap();
        World { folder, clock, keyring, commander: Arc::new(commander) }
    }

    /// The same house after a restart, with the vault still open.
    fn restarted(self) -> World {
        let World { folder, clock, keyring: _, commander } = self;
        let (vault, settings) = (commander.vault.clone(), commander.settings());
        let (entropy, web) = (commander.entropy.clone(), commander.web.clone());
        drop(commander);
        let keyring = Arc::new(Keyring::default());
        let again = Commander::new(CommanderParts {
            store: open(folder.path(), clock.clone()),
            vault,
            keyring: keyring.clone(),
            settings,
            clock: clock.clone(),
            entropy,
            data: folder.path().to_owned(),
            version: "0".to_owned(),
            web,
        })
        .unwrap();
        World { folder, clock, keyring, commander: Arc::new(again) }
    }

    fn ask<A: Ask>(&self, question: A) -> Result<A::Reply, CommandError> {
        let reply = self.commander.execute(&ada(), question.into())?;
        Ok(serde_json::from_value(reply).unwrap())
    }

    fn refused<A: Ask>(&self, question: A) -> ErrorCode {
        let before = self.records().len();
        let Err(error) = self.ask(question) else { panic!("it was done") };
        assert_eq!(self.records().len(), before, "a refused command left a record");
        error.code
    }

    fn published(&self) -> Arc<Snapshot> {
        self.commander.published().load_full()
    }

    /// Every audit record.
    fn records(&self) -> Vec<Record> {
        let mut records = Vec::new();
        self.commander
            .store
            .audit_each(0, |record| {
                records.push(Record::read(record.bytes).unwrap());
                ControlFlow::Continue(())
            })
            .unwrap();
        records
    }

    /// Kind, subject and facts of the last record.
    fn last_record(&self) -> Record {
        self.records().pop().unwrap()
    }

    fn verifies(&self) -> bool {
        self.ask(crate::command::AuditVerify::default()).unwrap().ok
    }
}

fn open(folder: &Path, clock: Arc<Hands>) -> Store {
    let options =
        OpenOptions { clock, boot_id: "one".to_owned(), read_only: false, bytes_max: None };
    Store::open(&folder.join("chamberlain.db"), options).unwrap()
}

fn create(name: &str) -> crate::command::VirtualCreate {
    crate::command::VirtualCreate {
        name: name.to_owned(),
        environment: "staging".to_owned(),
        ..Default::default()
    }
}

fn key_add(name: &str, environment: Option<&str>, secret: &str) -> crate::command::KeyAdd {
    crate::command::KeyAdd {
        name: name.to_owned(),
        environment: environment.map(str::to_owned),
        secret: crate::wire::SecretText::new(Secret::new(secret.to_owned())),
        about: crate::command::KeyAbout::default(),
        staged: false,
    }
}

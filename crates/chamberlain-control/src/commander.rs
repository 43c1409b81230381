//! Executes commands: on the running server's store, or on one that the command line has opened.
//!
//! Every change is one store transaction together with its audit record (actor, before, after);
//! then the new view is published. What cannot be written down is not done.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use chamberlain_core::audit::record::Principal;
use chamberlain_core::containment::Subject;
use chamberlain_core::id::UpstreamKeyId;
use chamberlain_core::ledger::account::{AccountId, Balance};
use chamberlain_core::money::Money;
use chamberlain_core::record::Notice;
use chamberlain_core::rotation::Traffic;
use chamberlain_core::snapshot::Snapshot;
use chamberlain_core::time::{Calendar, Clock, Entropy, Timestamp};
use chamberlain_store::{Change, Store, StoreFault};
use chamberlain_vault::keyring::{Keyring, UpstreamSecret};
use chamberlain_vault::vault::Vault;
use parking_lot::{Mutex, RwLock};
use serde::Serialize;
use serde_json::Value;

use crate::command::Command;
use crate::door::Execute;
use crate::error::CommandError;
use crate::fault::from_store;
use crate::house::House;
use crate::jobs::exceed::UsedUp;
use crate::publish::{self, Publisher};
use crate::reply::{JobLine, Running};
use crate::settings::Settings;
use crate::virtual_key::Ground;
use crate::web::Web;

mod admin;
mod at_anthropic;
mod audit;
mod backups;
mod batches;
mod calls;
mod containments;
mod costs;
mod doctor;
mod key_probe;
mod key_profile;
mod key_sync;
mod key_take_over;
mod keys;
mod pauses;
mod reload;
mod rotation_policy;
mod rotations;
mod sinks;
mod status;
mod terms;
mod virtual_keys;

/// What a running gateway tells the control plane.
pub trait Live: Send + Sync + 'static {
    /// How it stands.
    fn running(&self) -> Running;

    /// The books of every account whose window has not ended, newer than the store's.
    fn balances(&self) -> Vec<(AccountId, Balance)>;

    /// How the jobs stand.
    fn jobs(&self) -> Vec<JobLine>;

    /// How an upstream key is used: calls on their way with it, and what attempts with it have come
    /// to since the start.
    fn use_of(&self, key: &UpstreamKeyId) -> (u64, Traffic);

    /// Takes into the books that an unsettled call did cost `cost`, and that `let_go` of what it was
    /// charged is no longer unsettled.
    fn written_off(&self, accounts: &[AccountId], let_go: Money, cost: Money);
}

/// Asks upstream whether it takes a key, by a call that costs nothing; gives the HTTP status.
///
/// The reason, when there was no answer.
pub type Prober = Box<dyn Fn(&UpstreamSecret) -> Result<u16, String> + Send + Sync>;

/// Drills the restore of a backup with an identity file, and has it put on record.
///
/// The reason, when it could not be tried.
pub type Driller = Box<dyn Fn(&Path, &Path) -> Result<(), String> + Send + Sync>;

/// Reads the configuration again.
pub type Reload = Box<dyn Fn() -> Result<Settings, CommandError> + Send + Sync>;

/// Everything a [`Commander`] is made of.
pub struct CommanderParts {
    /// The store.
    pub store: Store,
    /// The open vault.
    pub vault: Arc<Vault>,
    /// Where opened upstream keys live. Filled here, read by the gateway.
    pub keyring: Arc<Keyring>,
    /// The configuration.
    pub settings: Settings,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The source of randomness.
    pub entropy: Arc<dyn Entropy>,
    /// The data folder, for showing and for its permissions.
    pub data: PathBuf,
    /// The version of this program.
    pub version: String,
    /// The way to hosts that are not upstream.
    pub web: Arc<dyn Web>,
}

/// Executes commands.
pub struct Commander {
    store: Store,
    vault: Arc<Vault>,
    keyring: Arc<Keyring>,
    settings: RwLock<Arc<Ruling>>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    data: PathBuf,
    version: String,
    web: Arc<dyn Web>,
    publisher: Publisher,
    live: OnceLock<Arc<dyn Live>>,
    reload: OnceLock<Reload>,
    prober: OnceLock<Prober>,
    driller: OnceLock<Driller>,
    /// What was told of backups last, so that it is told once a day.
    backups_told: Mutex<Option<Timestamp>>,
    /// Held while a backup is made: one at a time.
    backing_up: Mutex<()>,
    /// Held by a change from reading what it is checked against until it is published.
    changing: Mutex<()>,
    used_up: Mutex<Vec<UsedUp>>,
    /// The sinks that are being delivered to.
    delivering: Mutex<BTreeSet<String>>,
    /// Keys that are cut off here, and that the store may not have as such yet.
    cut_off: Mutex<BTreeSet<Subject>>,
    /// Held while containments are gone on with.
    pursuing: Mutex<()>,
    /// True while a change is not published yet.
    overdue: AtomicBool,
}

/// Settings with the calendar they name.
struct Ruling {
    settings: Settings,
    calendar: Calendar,
}

impl Ruling {
    fn new(settings: Settings) -> Result<Ruling, CommandError> {
        let calendar = Calendar::named(&settings.timezone).map_err(|reason| {
            CommandError::usage(format!("the time zone {:?}: {reason}", settings.timezone))
        })?;
        Ok(Ruling { settings, calendar })
    }
}

impl Commander {
    /// Reads the house, opens the upstream keys, and publishes the first view. Calls of a key that
    /// does not open are refused by the gateway; everything else goes on.
    ///
    /// # Errors
    /// When the store cannot be read, or the time zone is unknown.
    pub fn new(parts: CommanderParts) -> Result<Commander, CommandError> {
        let ruling = Ruling::new(parts.settings)?;
        let house = House::read(&parts.store)?;
        let first = publish::compose(&house, &ruling.settings, ruling.calendar.clone(), 1);
        let commander = Commander {
            store: parts.store,
            vault: parts.vault,
            keyring: parts.keyring,
            settings: RwLock::new(Arc::new(ruling)),
            clock: parts.clock,
            entropy: parts.entropy,
            data: parts.data,
            version: parts.version,
            web: parts.web,
            publisher: Publisher::new(first),
            live: OnceLock::new(),
            reload: OnceLock::new(),
            prober: OnceLock::new(),
            driller: OnceLock::new(),
            backups_told: Mutex::default(),
            backing_up: Mutex::default(),
            changing: Mutex::new(()),
            used_up: Mutex::default(),
            delivering: Mutex::default(),
            cut_off: Mutex::default(),
            pursuing: Mutex::default(),
            overdue: AtomicBool::new(false),
        };
        commander.open_keys(&house);
        Ok(commander)
    }

    /// Where the gateway reads what to decide by.
    pub fn published(&self) -> Arc<ArcSwap<Snapshot>> {
        self.publisher.published()
    }

    /// Lets the running gateway's figures into replies. Once.
    pub fn attach_live(&self, live: Arc<dyn Live>) {
        // A second gateway on one store cannot be: the store is locked.
        let _ = self.live.set(live);
    }

    /// Lets upstream be asked about keys. Once.
    pub fn attach_prober(&self, prober: Prober) {
        let _ = self.prober.set(prober);
    }

    /// Lets restores be drilled. Once.
    pub fn attach_driller(&self, driller: Driller) {
        let _ = self.driller.set(driller);
    }

    /// Lets `config.reload` read the configuration again. Once.
    pub fn attach_reload(&self, reload: Reload) {
        let _ = self.reload.set(reload);
    }

    /// Looks at a notice that goes on record; true when a budget is used up, and the job `exceed`
    /// is to be kicked.
    pub fn on_notice(&self, notice: &Notice) -> bool {
        match UsedUp::from_notice(notice) {
            Some(used_up) => {
                self.used_up.lock().push(used_up);
                true
            }
            None => false,
        }
    }

    /// The settings in force.
    pub fn settings(&self) -> Settings {
        self.settings.read().settings.clone()
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn house(&self) -> Result<House, CommandError> {
        House::read(&self.store)
    }

    /// The books: the gateway's where one runs, else the store's.
    fn balances(&self) -> Result<crate::view::Balances, CommandError> {
        let balances = match self.live.get() {
            Some(live) => live.balances(),
            None => self.store.balances(self.now()).map_err(from_store)?,
        };
        Ok(balances.into_iter().collect())
    }

    /// Makes a change in one transaction and publishes the house after it. `plan` sees the house
    /// as it is; nobody else changes it meanwhile.
    fn change<P, T: Send + 'static>(
        &self,
        actor: &Principal,
        plan: impl FnOnce(Ground<'_>) -> Result<P, CommandError>,
    ) -> Result<T, CommandError>
    where
        P: FnOnce(&mut Change<'_>) -> Result<T, StoreFault> + Send + 'static,
    {
        let _changing = self.changing.lock();
        let ruling = self.settings.read().clone();
        let house = self.house()?;
        let ground = Ground {
            house: &house,
            settings: &ruling.settings,
            calendar: &ruling.calendar,
            now: self.now(),
        };
        let work = plan(ground)?;
        let done = self.store.change(actor.clone(), work).map_err(from_store)?;
        self.publish().map_err(|error| not_in_force(&error))?;
        Ok(done)
    }

    /// Publishes the house as it stands.
    ///
    /// # Errors
    /// When it cannot be read; the view before stays, and [`Commander::publish_overdue`] tries
    /// again.
    pub fn publish(&self) -> Result<u64, CommandError> {
        let ruling = self.settings.read().clone();
        self.publisher.publish(|generation| {
            let house = self.house();
            self.overdue.store(house.is_err(), Ordering::SeqCst);
            let house = house?.without(&self.cut_off.lock());
            self.open_keys(&house);
            let calendar = ruling.calendar.clone();
            Ok(publish::compose(&house, &ruling.settings, calendar, generation))
        })
    }

    /// Publishes what could not be published when it was changed.
    ///
    /// # Errors
    /// As [`Commander::publish`].
    pub fn publish_overdue(&self) -> Result<(), CommandError> {
        match self.overdue.load(Ordering::SeqCst) {
            true => self.publish().map(drop),
            false => Ok(()),
        }
    }
}

impl Execute for Commander {
    fn execute(&self, actor: &Principal, command: Command) -> Result<Value, CommandError> {
        let (name, changes) = (command.name(), command.changes());
        let reply = self.dispatch(actor, command);
        match &reply {
            Ok(_) if changes => tracing::info!(command = name, %actor, "a command was carried out"),
            Err(error) => tracing::debug!(command = name, %actor, %error, "a command was refused"),
            Ok(_) => {}
        }
        reply
    }
}

impl Commander {
    fn dispatch(&self, actor: &Principal, command: Command) -> Result<Value, CommandError> {
        match command {
            Command::KeyAdd(asked) => json(self.key_add(actor, asked)),
            Command::KeyList(asked) => json(self.key_list(&asked)),
            Command::KeyShow(asked) => json(self.key_show(&asked)),
            Command::KeyRemove(asked) => json(self.key_remove(actor, asked)),
            Command::KeyAnnotate(asked) => json(self.key_annotate(actor, asked)),
            Command::KeyRename(asked) => json(self.key_rename(actor, &asked)),
            Command::KeyVerify(asked) => json(self.key_verify(actor, &asked)),
            Command::KeyImport(asked) => json(self.key_import(actor, &asked)),
            Command::KeyPolicy(asked) => json(self.key_policy(actor, &asked)),
            Command::KeySync(asked) => json(self.key_sync(actor, &asked)),
            Command::AdminKeyAdd(asked) => json(self.admin_key_add(actor, asked)),
            Command::AdminKeyShow(_) => json(self.admin_key_show()),
            Command::AdminKeyRemove(asked) => json(self.admin_key_remove(actor, asked)),
            Command::VirtualCreate(asked) => json(self.virtual_create(actor, &asked)),
            Command::VirtualList(asked) => json(self.virtual_list(&asked)),
            Command::VirtualShow(asked) => json(self.virtual_show(&asked)),
            Command::VirtualUpdate(asked) => json(self.virtual_update(actor, asked)),
            Command::VirtualFreeze(asked) => json(self.virtual_freeze(actor, asked)),
            Command::VirtualUnfreeze(asked) => json(self.virtual_unfreeze(actor, asked)),
            Command::VirtualRevoke(asked) => json(self.virtual_revoke(actor, asked)),
            Command::BudgetList(asked) => json(self.budget_list(&asked)),
            Command::BudgetSet(asked) => json(self.budget_set(actor, asked)),
            Command::LimitList(asked) => json(self.limit_list(&asked)),
            Command::LimitSet(asked) => json(self.limit_set(actor, asked)),
            Command::Pause(asked) => json(self.pause(actor, asked)),
            Command::Resume(asked) => json(self.resume(actor, asked)),
            Command::CallsList(asked) => json(self.calls_list(&asked)),
            Command::BatchesList(asked) => json(self.batches_list(&asked)),
            Command::CostToday(asked) => json(self.cost_today(asked.environment.as_deref())),
            Command::CostMonth(asked) => json(self.cost_month(asked.environment.as_deref())),
            Command::CostTop(asked) => json(self.cost_top(&asked)),
            Command::CostEstimate(asked) => {
                let ruling = self.settings.read().clone();
                json(crate::prices::estimate(&asked, &ruling.settings, self.now()))
            }
            Command::AuditVerify(asked) => json(self.audit_verify(&asked)),
            Command::AuditProve(asked) => json(self.audit_prove(actor, &asked)),
            Command::AuditExport(asked) => json(self.audit_export(actor, &asked)),
            Command::AuditCheckpoint(_) => json(self.audit_checkpoint()),
            Command::Status(_) => json(self.status()),
            Command::Doctor(_) => json(self.doctor()),
            Command::PricesList(asked) => {
                let ruling = self.settings.read().clone();
                json(Ok(crate::prices::list(&asked, &ruling.settings, self.now())))
            }
            Command::RotationStart(asked) => json(self.rotation_start(actor, asked)),
            Command::RotationApprove(asked) => json(self.rotation_approve(actor, &asked)),
            Command::RotationGiveKey(asked) => json(self.rotation_give_key(actor, asked)),
            Command::RotationVouch(asked) => json(self.rotation_vouch(actor, &asked)),
            Command::RotationAbort(asked) => json(self.rotation_abort(actor, &asked)),
            Command::RotationRollback(asked) => json(self.rotation_rollback(actor, &asked)),
            Command::RotationResume(asked) => json(self.rotation_resume(actor, &asked)),
            Command::RotationList(asked) => json(self.rotation_list(&asked)),
            Command::RotationShow(asked) => json(self.rotation_show(&asked)),
            Command::RotationStatus(_) => json(self.rotation_status()),
            Command::Contain(asked) => json(self.contain(actor, asked)),
            Command::ContainmentList(asked) => json(self.containment_list(asked)),
            Command::ContainmentShow(asked) => json(self.containment_show(&asked)),
            Command::ContainmentReport(asked) => json(self.containment_report(&asked)),
            Command::ContainmentVouch(asked) => json(self.containment_vouch(actor, &asked)),
            Command::ContainmentResume(asked) => json(self.containment_resume(actor, &asked)),
            Command::WriteOff(asked) => json(self.write_off(actor, asked)),
            Command::SinkList(_) => json(self.sink_list()),
            Command::SinkCheck(asked) => json(self.sink_check(&asked)),
            Command::SinkDeliver(asked) => json(self.sink_deliver(actor, asked)),
            Command::SinkForget(asked) => json(self.sink_forget(actor, asked)),
            Command::BackupCreate(asked) => json(self.backup_create(actor, &asked)),
            Command::BackupList(asked) => json(self.backup_list(&asked)),
            Command::BackupPrune(asked) => json(self.backup_prune(actor, &asked)),
            Command::BackupDrilled(asked) => json(self.backup_drilled(actor, asked)),
            Command::BackupHeld(_) => json(self.backup_held()),
            Command::BackupRelease(asked) => json(self.backup_release(actor, &asked)),
            Command::BackupSettle(asked) => json(self.backup_settle(actor, &asked)),
            Command::BackupRecheck(_) => json(self.backup_recheck(actor)),
            Command::ConfigReload(_) => json(self.config_reload(actor)),
        }
    }
}

fn json<T: Serialize>(reply: Result<T, CommandError>) -> Result<Value, CommandError> {
    serde_json::to_value(reply?)
        .map_err(|error| CommandError::failed(format!("the reply cannot be written: {error}")))
}

fn not_in_force(error: &CommandError) -> CommandError {
    tracing::error!(%error, "a change is on record but could not be published");
    CommandError::failed(format!("the change is on record, but not in force yet: {error}"))
        .hint("it is tried again every few seconds; chamberlain status shows the generation")
}

/// A record's view of something, for before and after.
fn fact<T: Serialize>(of: &T) -> Option<Value> {
    serde_json::to_value(of).ok()
}

#[cfg(test)]
mod tests;

//! Commands about backups, and about what is held back after one was put back.

use std::path::{Path, PathBuf};

use chamberlain_core::admission::key::{KeyState, VirtualKey};
use chamberlain_core::audit::record::Principal;
use chamberlain_core::backup::due;
use chamberlain_core::backup::keep;
use chamberlain_core::backup::name::BackupName;
use chamberlain_core::id::UpstreamKeyId;
use chamberlain_core::record::{Notice, Severity};
use chamberlain_core::time::Timestamp;
use chamberlain_store::{Change, Facts};
use chamberlain_vault::backup::Recipients;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Commander, from_store};
use crate::backup::folder::{self, Found};
use crate::backup::held::{HELD, Held, HeldSpending};
use crate::backup::make::{self, Destination, Made, Making, Readers};
use crate::backup::{BackupFault, BackupFaultKind};
use crate::command::{
    BackupCreate, BackupDrilled, BackupList, BackupPrune, BackupRelease, BackupSettle,
};
use crate::error::{CommandError, ErrorCode};
use crate::house::House;
use crate::reply::{
    Backup, BackupDrill, BackupHeld, BackupRechecked, BackupStatus, Backups, HeldBudget, HeldKey,
    RecheckedKey,
};
use crate::settings::BackupSettings;
use crate::{scope, virtual_key};

/// The name under which the store keeps the last backup that was made.
const LAST: &str = "backup.last";

/// Days in milliseconds.
const DAY_MS: u64 = 86_400_000;

/// The last backup that was made into the configured folder.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct LastBackup {
    /// When.
    pub(crate) at: Timestamp,
    /// Where.
    pub(crate) path: String,
    /// How many records its audit log has.
    pub(crate) records: u64,
}

/// A drill is made this long after the last one that went well.
const DRILL_EVERY_MS: u64 = 7 * DAY_MS;

/// Without one that went well for this long somebody is told.
const UNDRILLED_MS: u64 = 8 * DAY_MS;

/// Somebody is told again after this long.
const TOLD_MS: u64 = DAY_MS;

/// The name under which the store keeps what came of the last drill.
const DRILL: &str = "backup.drill";

/// The name under which the store keeps the last drill that went well.
const DRILLED: &str = "backup.drilled";

/// A drill on record.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct LastDrill {
    at: Timestamp,
    backup: String,
    ms: u64,
    problem: Option<String>,
}

impl LastDrill {
    fn shown(self) -> BackupDrill {
        let LastDrill { at, backup, ms, problem } = self;
        BackupDrill { at: at.into(), backup, ms, problem }
    }
}

impl Commander {
    pub(super) fn backup_drilled(
        &self,
        actor: &Principal,
        asked: BackupDrilled,
    ) -> Result<BackupDrill, CommandError> {
        let BackupDrilled { backup, ms, problem } = asked;
        let drill = LastDrill { at: self.now(), backup, ms, problem };
        let bytes = serde_json::to_vec(&drill);
        let bytes = bytes.map_err(|error| CommandError::failed(error.to_string()))?;
        let facts = Facts {
            after: Some(json!({ "backup": drill.backup, "ms": ms, "problem": drill.problem })),
            ..Facts::default()
        };
        let went_well = drill.problem.is_none();
        let work = move |change: &mut Change<'_>| {
            change.put_meta(DRILL, &bytes)?;
            if went_well {
                change.put_meta(DRILLED, &bytes)?;
            }
            change.audit("backup.drilled", "backup", &facts).map(drop)
        };
        self.store.change(actor.clone(), work).map_err(from_store)?;
        if let Some(problem) = &drill.problem {
            self.tell("backup.drill_failed", format!("A backup could not be put back: {problem}"));
        }
        Ok(drill.shown())
    }

    fn drill_under(&self, name: &str) -> Result<Option<LastDrill>, CommandError> {
        let stored = self.store.meta(name).map_err(from_store)?;
        // One that cannot be read is as good as none: another is made.
        Ok(stored.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
    }

    /// How backups stand.
    pub(super) fn backup_status(&self) -> Result<BackupStatus, CommandError> {
        Ok(BackupStatus {
            folder: self.settings().backup.folder.map(|folder| folder.display().to_string()),
            last_at: self.last_backup()?.map(|last| last.at.into()),
            drill: self.drill_under(DRILL)?.map(LastDrill::shown),
            held: !Held::read(&self.store)?.is_empty(),
        })
    }

    /// Drills the newest backup when the last drill that went well is a week old, where an identity
    /// for that is configured.
    ///
    /// # Errors
    /// When it could not be tried.
    pub(crate) fn drill_when_due(&self, now: Timestamp) -> Result<(), CommandError> {
        let settings = self.settings().backup;
        let (Some(folder), Some(identity)) = (&settings.folder, &settings.drill_identity) else {
            return Ok(());
        };
        let last = self.drill_under(DRILLED)?;
        if last.is_some_and(|last| now.ms_since(last.at) < DRILL_EVERY_MS) {
            return Ok(());
        }
        let found =
            folder::list(folder, Some(self.vault.id())).map_err(|fault| of_fault(&fault))?;
        let (Some(newest), Some(driller)) = (found.first(), self.driller.get()) else {
            return Ok(());
        };
        driller(&newest.path, identity).map_err(CommandError::failed)
    }

    /// What is wrong with backups that are to be made by themselves: the last one is too old, or none
    /// was put back lately.
    pub(super) fn backup_trouble(&self, now: Timestamp) -> Result<Option<String>, CommandError> {
        let settings = self.settings().backup;
        let Some(folder) = &settings.folder else { return Ok(None) };
        let last = self.last_backup()?;
        // Twice the time between two, and a little for making one.
        let old_ms = settings.every_s * 2_000 + 300_000;
        if last.as_ref().is_none_or(|last| now.ms_since(last.at) > old_ms) {
            let at = last.map_or_else(
                || "none was ever made".to_owned(),
                |last| format!("the last one was made at {}", last.at),
            );
            return Ok(Some(format!("no backup could be made lately: {at}")));
        }
        let drilled = self.drill_under(DRILLED)?.map(|drill| drill.at);
        let found =
            folder::list(folder, Some(self.vault.id())).map_err(|fault| of_fault(&fault))?;
        // A house that is younger than that has the time until its first drill.
        let since = drilled.or_else(|| found.last().map(|oldest| oldest.name.made_at));
        Ok(since.filter(|since| now.ms_since(*since) > UNDRILLED_MS).map(|since| {
            format!("no backup was put back in a drill since {since}: chamberlain backup drill")
        }))
    }

    /// Tells somebody, once a day, what is wrong with backups.
    ///
    /// # Errors
    /// When it cannot be seen.
    pub(crate) fn tell_backup_trouble(&self, now: Timestamp) -> Result<(), CommandError> {
        let Some(trouble) = self.backup_trouble(now)? else { return Ok(()) };
        {
            let mut told = self.backups_told.lock();
            if told.is_some_and(|told| now.ms_since(told) < TOLD_MS) {
                return Ok(());
            }
            *told = Some(now);
        }
        self.tell("backup.overdue", format!("Backups need a look: {trouble}."));
        Ok(())
    }

    /// Puts a notice on record that has to reach somebody.
    fn tell(&self, kind: &str, message: String) {
        self.store.note(Notice {
            at: self.now(),
            kind: kind.to_owned(),
            severity: Severity::High,
            subject: "backup".to_owned(),
            message,
            facts: serde_json::Map::new(),
            notify: true,
        });
    }

    pub(super) fn backup_create(
        &self,
        actor: &Principal,
        asked: &BackupCreate,
    ) -> Result<Backup, CommandError> {
        let settings = self.settings().backup;
        let readers = readers(asked, &settings)?;
        let to = destination(asked.to.as_deref(), settings.folder.as_deref())?;
        let (made, notes) = self.back_up(actor, &readers, &to)?;
        Ok(Backup {
            path: made.path.display().to_string(),
            made_at: Timestamp::from_rfc3339(&made.manifest.made_at).unwrap_or_default().into(),
            bytes: made.bytes,
            records: made.manifest.audit.records,
            sha256: Some(made.sha256),
            notes,
        })
    }

    /// Whether backups are made here, and whether they can be read here to be drilled.
    pub(super) fn can_back_up(&self) -> (bool, bool) {
        let settings = self.settings().backup;
        let drills = settings.drill_identity.is_some() && self.driller.get().is_some();
        (settings.folder.is_some(), settings.folder.is_some() && drills)
    }

    /// When the newest backup was begun that is known to restore.
    pub(super) fn drilled_backup_at(&self) -> Result<Option<Timestamp>, CommandError> {
        let Some(drill) = self.drill_under(DRILLED)? else { return Ok(None) };
        let last = self.last_backup()?.filter(|last| last.path == drill.backup);
        let named = || {
            let name = Path::new(&drill.backup).file_name()?.to_str()?;
            name.parse::<BackupName>().ok().map(|name| name.made_at)
        };
        Ok(last.map(|last| last.at).or_else(named))
    }

    /// Makes a backup into the configured folder now, and drills it where that can be done here.
    /// Gives its path.
    pub(super) fn back_up_now(&self) -> Result<String, CommandError> {
        let settings = self.settings().backup;
        let to = destination(None, settings.folder.as_deref())?;
        let readers = readers(&BackupCreate::default(), &settings)?;
        let (made, _) = self.back_up(&Principal::Chamberlain, &readers, &to)?;
        if let (Some(identity), Some(driller)) = (&settings.drill_identity, self.driller.get()) {
            driller(&made.path, identity).map_err(CommandError::failed)?;
        }
        Ok(made.path.display().to_string())
    }

    /// Makes a backup and puts it on record.
    fn back_up(
        &self,
        actor: &Principal,
        readers: &Readers,
        to: &Destination,
    ) -> Result<(Made, Vec<String>), CommandError> {
        let _one_at_a_time = self.backing_up.lock();
        // So that the head of what is in it is signed, too.
        self.checkpoint_now()?;
        let making = Making {
            store: &self.store,
            vault: &self.vault,
            data: &self.data,
            version: &self.version,
            generation: self.publisher.generation(),
            now: self.now(),
        };
        let made = make::make(&making, readers, to).map_err(|fault| of_fault(&fault))?;
        let last = LastBackup {
            at: making.now,
            path: made.path.display().to_string(),
            records: made.manifest.audit.records,
        };
        let (count, bytes) = (readers_of(readers), serde_json::to_vec(&last));
        let bytes = bytes.map_err(|error| CommandError::failed(error.to_string()))?;
        let facts = Facts {
            after: Some(json!({
                "path": last.path,
                "bytes": made.bytes,
                "sha256": made.sha256,
                "records": last.records,
                "readers": count,
            })),
            ..Facts::default()
        };
        let regular = matches!(to, Destination::Folder(_));
        let work = move |change: &mut Change<'_>| {
            if regular {
                change.put_meta(LAST, &bytes)?;
            }
            change.audit("backup.created", "backup", &facts).map(drop)
        };
        self.store.change(actor.clone(), work).map_err(from_store)?;
        let mut notes = Vec::new();
        if count < 2 {
            notes.push(
                "one person alone can read this backup; when that identity is lost, so is the \
                 backup: name a second recipient"
                    .to_owned(),
            );
        }
        Ok((made, notes))
    }

    /// Makes a backup into the configured folder when one is due, and lets go of those that are kept
    /// no longer. Nothing where no folder is configured.
    ///
    /// # Errors
    /// When it could not be made; what was made before is not touched then.
    pub(crate) fn back_up_when_due(&self, now: Timestamp) -> Result<(), CommandError> {
        let settings = self.settings().backup;
        let Some(folder) = &settings.folder else { return Ok(()) };
        let last = self.last_backup()?;
        let made = last.map(|last| due::Made { at: last.at, records: last.records });
        let changed = self.store.last_change_seq().map_err(from_store)?;
        if !due::is_due(made, changed, settings.every_s * 1_000, now) {
            return Ok(());
        }
        let readers = readers(&BackupCreate::default(), &settings)?;
        let to = Destination::Folder(folder.clone());
        self.back_up(&Principal::Chamberlain, &readers, &to)?;
        self.backup_prune(&Principal::Chamberlain, &BackupPrune::default()).map(drop)
    }

    /// The last backup that was made into the configured folder.
    pub(crate) fn last_backup(&self) -> Result<Option<LastBackup>, CommandError> {
        let stored = self.store.meta(LAST).map_err(from_store)?;
        // One that cannot be read is as good as none: another is made.
        Ok(stored.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
    }

    pub(super) fn backup_list(&self, asked: &BackupList) -> Result<Backups, CommandError> {
        let folder = asked.folder.clone().map(PathBuf::from).or(self.settings().backup.folder);
        let Some(folder) = folder else { return Ok(Backups { folder: None, backups: Vec::new() }) };
        let found =
            folder::list(&folder, Some(self.vault.id())).map_err(|fault| of_fault(&fault))?;
        Ok(Backups {
            folder: Some(folder.display().to_string()),
            backups: found.iter().map(shown).collect(),
        })
    }

    pub(super) fn backup_prune(
        &self,
        actor: &Principal,
        asked: &BackupPrune,
    ) -> Result<Backups, CommandError> {
        let settings = self.settings().backup;
        let folder = settings.folder.ok_or_else(no_folder)?;
        let found =
            folder::list(&folder, Some(self.vault.id())).map_err(|fault| of_fault(&fault))?;
        let names: Vec<_> = found.iter().map(|found| found.name.clone()).collect();
        let gone = keep::to_prune(&names, u64::from(settings.keep_days) * DAY_MS, self.now());
        let gone: Vec<&Found> = found.iter().filter(|found| gone.contains(&found.name)).collect();
        let reply = Backups {
            folder: Some(folder.display().to_string()),
            backups: gone.iter().copied().map(shown).collect(),
        };
        if asked.dry_run || gone.is_empty() {
            return Ok(reply);
        }
        let paths: Vec<String> =
            gone.iter().map(|found| found.path.display().to_string()).collect();
        let facts = Facts { before: Some(json!({ "backups": paths })), ..Facts::default() };
        let work = move |change: &mut Change<'_>| {
            change.audit("backup.pruned", "backup", &facts).map(drop)
        };
        // On record before it is done; what a crash leaves is deleted the next time.
        self.store.change(actor.clone(), work).map_err(from_store)?;
        for found in gone {
            folder::delete(&found.path).map_err(|fault| of_fault(&fault))?;
        }
        Ok(reply)
    }

    pub(super) fn backup_held(&self) -> Result<BackupHeld, CommandError> {
        let (house, held, now) = (self.house()?, Held::read(&self.store)?, self.now());
        let is_frozen = |id: &_| {
            house.virtual_key(id).filter(|key| key.state == KeyState::Frozen).map(|key| HeldKey {
                id: key.id.to_string(),
                name: key.name.clone(),
                environment: Some(key.environment.to_string()),
            })
        };
        let spending = held.spending.iter().filter(|held| held.account.window.end > now);
        let restored = held != Held::default();
        Ok(BackupHeld {
            restored_at: restored.then(|| held.restored_at.into()),
            made_at: restored.then(|| held.made_at.clone()),
            virtual_keys: held.virtual_keys.iter().filter_map(is_frozen).collect(),
            upstream_keys: held.upstream_keys.iter().map(|id| upstream(id, &house)).collect(),
            spending: spending
                .map(|held| HeldBudget {
                    scope: scope::name(&held.account.scope, &house),
                    window: held.account.window.kind,
                    window_end: held.account.window.end.into(),
                    charged: held.amount,
                })
                .collect(),
        })
    }

    pub(super) fn backup_release(
        &self,
        actor: &Principal,
        asked: &BackupRelease,
    ) -> Result<BackupHeld, CommandError> {
        let reason = virtual_key::reason(&asked.reason)?;
        if asked.keys.is_empty() != asked.all {
            return Err(CommandError::usage("name virtual keys, or say that you mean all of them")
                .hint("chamberlain backup held lists them"));
        }
        self.change(actor, |ground| {
            let held = Held::read(&self.store)?;
            let wanted: Vec<VirtualKey> = match asked.all {
                true => ground.house.virtual_keys.to_vec(),
                false => asked
                    .keys
                    .iter()
                    .map(|key| scope::virtual_key(key, ground.house).cloned())
                    .collect::<Result<_, _>>()?,
            };
            let is_held = |key: &VirtualKey| {
                key.state == KeyState::Frozen && held.virtual_keys.contains(&key.id)
            };
            if let Some(other) = wanted.iter().find(|key| !asked.all && !is_held(key)) {
                return Err(CommandError::conflict(format!(
                    "the virtual key {:?} is not held back by a restore",
                    other.name
                )));
            }
            let released: Vec<VirtualKey> = wanted
                .into_iter()
                .filter(is_held)
                .map(|key| VirtualKey { state: KeyState::Active, ..key })
                .collect();
            let ids: Vec<_> = released.iter().map(|key| key.id.clone()).collect();
            let mut left = held.clone();
            left.virtual_keys.retain(|id| !ids.contains(id));
            let facts = Facts {
                reason: Some(reason),
                before: Some(json!({ "virtual_keys_frozen": held.virtual_keys })),
                after: Some(json!({ "virtual_keys_frozen": left.virtual_keys })),
            };
            let bytes = left.bytes()?;
            Ok(move |change: &mut Change<'_>| {
                for key in &released {
                    change.save_virtual_key(key)?;
                }
                change.put_meta(HELD, &bytes)?;
                change.audit("backup.keys_released", "backup", &facts).map(drop)
            })
        })?;
        self.backup_held()
    }

    pub(super) fn backup_settle(
        &self,
        actor: &Principal,
        asked: &BackupSettle,
    ) -> Result<BackupHeld, CommandError> {
        let reason = virtual_key::reason(&asked.reason)?;
        let settled: Vec<HeldSpending> = self.change(actor, |ground| {
            let held = Held::read(&self.store)?;
            let of = asked.scope.as_deref();
            let of =
                of.map(|text| scope::scope(text, ground.house, ground.settings)).transpose()?;
            let (settled, left): (Vec<_>, Vec<_>) = held
                .spending
                .iter()
                .cloned()
                .partition(|one| of.as_ref().is_none_or(|of| one.account.scope == *of));
            let settled: Vec<_> =
                settled.into_iter().filter(|one| one.account.window.end > ground.now).collect();
            if settled.is_empty() {
                return Err(CommandError::conflict("nothing is charged for unseen spending there")
                    .hint("chamberlain backup held lists what is"));
            }
            let facts = Facts {
                reason: Some(reason),
                before: Some(json!({ "charged": settled })),
                after: Some(json!({ "spent": asked.spent })),
            };
            let (bytes, spent) = (Held { spending: left, ..held }.bytes()?, asked.spent);
            Ok(move |change: &mut Change<'_>| {
                for HeldSpending { account, amount } in &settled {
                    change.settle_unseen(account, *amount, spent)?;
                }
                change.put_meta(HELD, &bytes)?;
                change.audit("backup.spending_settled", "backup", &facts)?;
                Ok(settled)
            })
        })?;
        if let Some(live) = self.live.get() {
            for HeldSpending { account, amount } in settled {
                live.written_off(&[account], amount, asked.spent);
            }
        }
        self.backup_held()
    }

    pub(super) fn backup_recheck(
        &self,
        actor: &Principal,
    ) -> Result<BackupRechecked, CommandError> {
        let prober = self.prober.get().ok_or_else(|| {
            CommandError::unavailable("no server runs, and it is the server that asks upstream")
                .hint("start it with `chamberlain up`: it asks by itself, again and again")
        })?;
        let house = self.house()?;
        let mut keys = Vec::new();
        for id in house.closed.clone() {
            let asked = self.open_key(&id).map_err(|error| error.to_string());
            let status = asked.and_then(|secret| prober(&secret));
            let open = status == Ok(200);
            if open {
                self.open_again(actor, id.clone())?;
            }
            let answer = match status {
                Ok(200) => "upstream takes it".to_owned(),
                Ok(401) => "upstream does not take it any more (401): remove it".to_owned(),
                Ok(other) => format!("upstream answered {other}, which says nothing of the key"),
                Err(reason) => reason,
            };
            keys.push(RecheckedKey { key: upstream(&id, &house), open, answer });
        }
        Ok(BackupRechecked { keys })
    }

    /// Asks upstream about what is closed, where anything is and a server runs.
    ///
    /// # Errors
    /// When the store cannot be read or written.
    pub(crate) fn recheck_closed(&self) -> Result<(), CommandError> {
        if self.prober.get().is_none() || Held::read(&self.store)?.upstream_keys.is_empty() {
            return Ok(());
        }
        let asked = self.backup_recheck(&Principal::Chamberlain)?;
        let closed: Vec<String> = asked
            .keys
            .iter()
            .filter(|one| !one.open)
            .map(|one| format!("{} ({})", one.key.name, one.answer))
            .collect();
        match closed.is_empty() {
            true => Ok(()),
            false => Err(CommandError::unavailable(format!(
                "upstream keys stay closed after a restore: {}",
                closed.join(", ")
            ))),
        }
    }

    /// Puts a key into use again that upstream takes.
    fn open_again(&self, actor: &Principal, id: UpstreamKeyId) -> Result<(), CommandError> {
        self.change(actor, |_| {
            let mut held = Held::read(&self.store)?;
            held.upstream_keys.retain(|held| *held != id);
            let (bytes, subject) = (held.bytes()?, format!("upstream_key:{id}"));
            let facts = Facts {
                reason: Some("upstream takes it (200)".to_owned()),
                before: Some(json!({ "closed": true })),
                after: Some(json!({ "closed": false })),
            };
            Ok(move |change: &mut Change<'_>| {
                change.put_meta(HELD, &bytes)?;
                change.audit("upstream_key.rechecked", &subject, &facts).map(drop)
            })
        })
    }
}

/// Who can read what is to be made: those who were named, or else those who are configured.
fn readers(asked: &BackupCreate, settings: &BackupSettings) -> Result<Readers, CommandError> {
    let named: Vec<PathBuf> = asked.openpgp_keys.iter().map(PathBuf::from).collect();
    let (recipients, keys) = match asked.recipients.is_empty() && named.is_empty() {
        true => (settings.recipients.as_slice(), settings.openpgp_keys.clone()),
        false => (asked.recipients.as_slice(), named),
    };
    if !recipients.is_empty() && !keys.is_empty() {
        return Err(CommandError::usage("a backup is either age's or OpenPGP's, not both")
            .hint("name age recipients or OpenPGP keys; make a second backup for the others"));
    }
    if !keys.is_empty() {
        return Ok(Readers::OpenPgp(keys));
    }
    Recipients::parse(recipients).map(Readers::Age).map_err(|error| {
        CommandError::usage(error.to_string()).hint(
            "make an identity with `age-keygen`, keep it away from this machine, and name its \
             recipient with --recipient or backup.recipients",
        )
    })
}

fn readers_of(readers: &Readers) -> usize {
    match readers {
        Readers::Age(recipients) => recipients.len(),
        Readers::OpenPgp(keys) => keys.len(),
    }
}

fn destination(to: Option<&str>, configured: Option<&Path>) -> Result<Destination, CommandError> {
    match to.map(PathBuf::from) {
        Some(to) if to.is_dir() => Ok(Destination::Folder(to)),
        Some(to) => Ok(Destination::File(to)),
        None => {
            configured.map(|folder| Destination::Folder(folder.to_owned())).ok_or_else(no_folder)
        }
    }
}

fn no_folder() -> CommandError {
    CommandError::usage("no folder for backups is configured")
        .hint("name one with backup.folder in the configuration, or say where with --to")
}

fn shown(found: &Found) -> Backup {
    Backup {
        path: found.path.display().to_string(),
        made_at: found.name.made_at.into(),
        bytes: found.bytes,
        records: found.name.records,
        sha256: None,
        notes: Vec::new(),
    }
}

fn upstream(id: &UpstreamKeyId, house: &House) -> HeldKey {
    let row = house.upstream_keys.iter().find(|row| row.id == *id);
    HeldKey {
        id: id.to_string(),
        name: row.map_or_else(String::new, |row| row.name.clone()),
        environment: row.and_then(|row| row.environment.as_ref()).map(ToString::to_string),
    }
}

/// A fault as the answer to a command.
fn of_fault(fault: &BackupFault) -> CommandError {
    let code = match fault.kind {
        BackupFaultKind::Missing => ErrorCode::NotFound,
        _ => ErrorCode::Failed,
    };
    let error = CommandError::new(code, fault.message.clone());
    match &fault.hint {
        Some(hint) => error.hint(hint.clone()),
        None => error,
    }
}

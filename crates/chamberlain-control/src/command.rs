//! Everything an operator can ask for.
//!
//! One enum, one JSON form (`{"command":"virtual.create", "name":"ci", …}`), whoever asks: the
//! command line with or without a running server, and the console. Unknown fields are refused.
//! Each command's fields are a struct of its own that says, through [`Ask`], what the reply is.
//!
//! Scopes are named as people name them: `organization`, an environment's name, or a virtual
//! key's id or name; `environment:ci` and `virtual:ci` tell two of the same name apart. Keys are
//! named by id or by name.

use std::path::PathBuf;

use chamberlain_core::admission::policy::OnShortage;
use chamberlain_core::anthropic::request::Capability;
use chamberlain_core::containment::Reason;
use chamberlain_core::money::Money;
use chamberlain_core::rotation::What;
use ipnet::IpNet;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::reply;
use crate::wire::{Change, CostBy, SecretText};

/// A command that knows the type of its reply.
pub trait Ask: Into<Command> {
    /// What comes back.
    type Reply: Serialize + DeserializeOwned;
}

macro_rules! commands {
    ($($(#[$doc:meta])* $name:ident, $wire:literal, $reply:ty, $changes:literal;)*) => {
        /// What an operator asks for.
        #[derive(Debug, Serialize, Deserialize)]
        #[serde(tag = "command")]
        pub enum Command {
            $($(#[$doc])* #[serde(rename = $wire)] $name($name),)*
        }

        impl Command {
            /// Every command's name on the wire.
            pub const NAMES: &'static [&'static str] = &[$($wire),*];

            /// Its name on the wire, in the audit log and in messages.
            pub const fn name(&self) -> &'static str {
                match self { $(Command::$name(_) => $wire,)* }
            }

            /// Whether it may change something; then it is audited with before and after.
            pub const fn changes(&self) -> bool {
                match self { $(Command::$name(_) => $changes,)* }
            }
        }

        $(
            impl From<$name> for Command {
                fn from(command: $name) -> Command { Command::$name(command) }
            }
            impl Ask for $name {
                type Reply = $reply;
            }
        )*
    };
}

commands! {
    /// Seals an upstream key into the vault.
    KeyAdd, "key.add", reply::UpstreamKey, true;
    /// Lists upstream keys.
    KeyList, "key.list", reply::UpstreamKeys, false;
    /// Shows one upstream key, never its secret.
    KeyShow, "key.show", reply::UpstreamKey, false;
    /// Forgets an upstream key: its secret is erased here; upstream it stays valid.
    KeyRemove, "key.remove", reply::UpstreamKey, true;
    /// Says more about an upstream key.
    KeyAnnotate, "key.annotate", reply::UpstreamKey, true;
    /// Gives an upstream key another name, here and where asked at Anthropic.
    KeyRename, "key.rename", reply::UpstreamKey, true;
    /// Asks upstream whether a key works.
    KeyVerify, "key.verify", reply::KeyVerified, true;
    /// Takes over a table of keys, without their values.
    KeyImport, "key.import", reply::KeyImported, true;
    /// Checks a `secrets-rotation-policy.yaml`, and brings its dates up to date where asked.
    KeyPolicy, "key.policy", reply::RotationPolicy, true;
    /// Lays the inventory beside what Anthropic lists.
    KeySync, "key.sync", reply::KeySync, true;
    /// Seals the key of Anthropic's Admin API, in the place of the one before.
    AdminKeyAdd, "key.admin.add", reply::AdminKey, true;
    /// Shows whether there is an admin key, never the key.
    AdminKeyShow, "key.admin.show", reply::AdminKey, false;
    /// Erases the admin key here.
    AdminKeyRemove, "key.admin.remove", reply::AdminKey, true;
    /// Makes a virtual key.
    VirtualCreate, "virtual.create", reply::VirtualCreated, true;
    /// Lists virtual keys.
    VirtualList, "virtual.list", reply::VirtualKeys, false;
    /// Shows one virtual key.
    VirtualShow, "virtual.show", reply::VirtualKey, false;
    /// Changes what a virtual key may do.
    VirtualUpdate, "virtual.update", reply::VirtualKey, true;
    /// Stops a virtual key, reversibly.
    VirtualFreeze, "virtual.freeze", reply::VirtualKey, true;
    /// Lets a frozen virtual key work again.
    VirtualUnfreeze, "virtual.unfreeze", reply::VirtualKey, true;
    /// Stops a virtual key for good.
    VirtualRevoke, "virtual.revoke", reply::VirtualKey, true;
    /// Lists budgets with what is spent and left.
    BudgetList, "budget.list", reply::BudgetLines, false;
    /// Sets budgets of a scope.
    BudgetSet, "budget.set", reply::BudgetLines, true;
    /// Lists rate limits.
    LimitList, "limit.list", reply::LimitLines, false;
    /// Sets rate limits of a scope.
    LimitSet, "limit.set", reply::LimitLines, true;
    /// Stops all calls of a scope.
    Pause, "pause", reply::Paused, true;
    /// Ends a pause.
    Resume, "resume", reply::Paused, true;
    /// Lists calls.
    CallsList, "calls.list", reply::Calls, false;
    /// Lists batches.
    BatchesList, "batches.list", reply::Batches, false;
    /// Today's cost.
    CostToday, "cost.today", reply::CostSummary, false;
    /// This month's cost.
    CostMonth, "cost.month", reply::CostSummary, false;
    /// Who or what costs most.
    CostTop, "cost.top", reply::CostTopLines, false;
    /// What a call would cost, and how many a budget buys.
    CostEstimate, "cost.estimate", reply::Estimate, false;
    /// Checks the whole audit log.
    AuditVerify, "audit.verify", reply::AuditVerified, false;
    /// Gives a record out with the proof that it is in the log; itself audited.
    AuditProve, "audit.prove", reply::AuditProof, true;
    /// Gives audit records out; itself audited.
    AuditExport, "audit.export", reply::AuditRecords, true;
    /// Signs the log's head now.
    AuditCheckpoint, "audit.checkpoint", reply::Checkpoint, true;
    /// How Chamberlain is.
    Status, "status", reply::Status, false;
    /// Checks store, vault, audit log and settings.
    Doctor, "doctor", reply::Doctor, false;
    /// Lists prices in force.
    PricesList, "prices.list", reply::Prices, false;
    /// Begins to replace an upstream key.
    RotationStart, "rotation.start", reply::Rotation, true;
    /// Agrees to a rotation.
    RotationApprove, "rotation.approve", reply::Rotation, true;
    /// Hands in the key that comes after.
    RotationGiveKey, "rotation.give_key", reply::Rotation, true;
    /// Says that something was done that Chamberlain cannot see.
    RotationVouch, "rotation.vouch", reply::Rotation, true;
    /// Gives a rotation up before the new key is in use.
    RotationAbort, "rotation.abort", reply::Rotation, true;
    /// Puts the old key into use again.
    RotationRollback, "rotation.rollback", reply::Rotation, true;
    /// Tries again where a rotation is stuck.
    RotationResume, "rotation.resume", reply::Rotation, true;
    /// Lists rotations.
    RotationList, "rotation.list", reply::Rotations, false;
    /// Shows one rotation and everything that led there.
    RotationShow, "rotation.show", reply::Rotation, false;
    /// Days left for every key.
    RotationStatus, "rotation.status", reply::RotationStatus, false;
    /// Takes a key that is not to be trusted out of use, for good.
    Contain, "contain", reply::Containment, true;
    /// Lists containments.
    ContainmentList, "containment.list", reply::Containments, false;
    /// Shows one containment and everything that led there.
    ContainmentShow, "containment.show", reply::Containment, false;
    /// What was done with a contained key.
    ContainmentReport, "containment.report", reply::ContainmentReport, false;
    /// Says that a key was switched off at Anthropic by hand.
    ContainmentVouch, "containment.vouch", reply::Containment, true;
    /// Tries again what a containment could not do.
    ContainmentResume, "containment.resume", reply::Containment, true;
    /// Gives an unsettled call its true cost.
    WriteOff, "write_off", reply::WrittenOff, true;
    /// Lists sinks and what they hold.
    SinkList, "sink.list", reply::Sinks, false;
    /// Looks whether sinks can be delivered to, and what is in them; changes nothing.
    SinkCheck, "sink.check", reply::SinkChecks, false;
    /// Delivers a key to a sink.
    SinkDeliver, "sink.deliver", reply::SinkDelivered, true;
    /// Forgets what is on record of a sink.
    SinkForget, "sink.forget", reply::SinkLine, true;
    /// Makes a backup now.
    BackupCreate, "backup.create", reply::Backup, true;
    /// Lists the backups of this house.
    BackupList, "backup.list", reply::Backups, false;
    /// Deletes the backups that are kept no longer.
    BackupPrune, "backup.prune", reply::Backups, true;
    /// Puts on record what came of a restore drill.
    BackupDrilled, "backup.drilled", reply::BackupDrill, true;
    /// What is held back since a backup was put back.
    BackupHeld, "backup.held", reply::BackupHeld, false;
    /// Lets virtual keys work again that are frozen since a backup was put back.
    BackupRelease, "backup.release", reply::BackupHeld, true;
    /// Says what was spent since the backup that was put back.
    BackupSettle, "backup.settle", reply::BackupHeld, true;
    /// Asks upstream whether it takes the keys that are closed since a backup was put back.
    BackupRecheck, "backup.recheck", reply::BackupRechecked, true;
    /// Reads the configuration again.
    ConfigReload, "config.reload", reply::Reloaded, true;
}

/// `key.add`
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyAdd {
    /// A name for people, unique among keys in use. Empty: one by the convention is made. The name
    /// of a listed key gives that key its value.
    #[serde(default)]
    pub name: String,
    /// The environment it is for; absent makes it the shared key of all environments that have
    /// none of their own. The environment's earlier key is superseded, not forgotten.
    #[serde(default)]
    pub environment: Option<String>,
    /// The Anthropic key.
    pub secret: SecretText,
    /// What else is known of it.
    #[serde(default)]
    pub about: KeyAbout,
    /// Seal it without putting it into use.
    #[serde(default)]
    pub staged: bool,
}

/// What people say about an upstream key. What is absent stays as it is; an empty text forgets it.
#[derive(Clone, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KeyAbout {
    /// The first part of its name.
    pub project: Option<String>,
    /// The one team that answers for it.
    pub team: Option<String>,
    /// What it is for.
    pub purpose: Option<String>,
    /// Why it was made: `initial_setup`, `scheduled_rotation`, `new_environment`, `compromise`.
    pub created_for: Option<String>,
    /// Why it is kept as it is.
    pub rationale: Option<String>,
    /// The day it was made at Anthropic.
    pub created_on: Option<String>,
    /// The day it took over from the one before it.
    pub last_rotated_on: Option<String>,
    /// When Anthropic stops taking it: a day (its end) or RFC 3339.
    pub expires: Option<String>,
    /// Its id at Anthropic.
    pub anthropic_id: Option<String>,
    /// Not to be called unused up to this day; wants a reason. Empty ends it.
    pub exempt_until: Option<String>,
    /// Why it may rest.
    pub exempt_reason: Option<String>,
}

/// `key.annotate`
#[derive(Clone, Default, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KeyAnnotate {
    /// Id or name.
    pub key: String,
    /// What to say about it.
    pub about: KeyAbout,
}

/// `key.rename`
#[derive(Clone, Default, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KeyRename {
    /// Id or name.
    pub key: String,
    /// The new name; empty for one by the convention.
    pub name: String,
    /// Rename it at Anthropic, too.
    pub at_anthropic: bool,
}

/// `key.verify`
#[derive(Clone, Default, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KeyVerify {
    /// Id or name.
    pub key: String,
    /// Only the probe that costs nothing.
    pub free: bool,
    /// The model that it is to reach; the cheapest one when absent.
    pub model: Option<String>,
}

/// `key.policy`
#[derive(Clone, Default, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KeyPolicy {
    /// The file, absolute; absent takes `keys.rotation_policy`.
    pub file: Option<String>,
    /// Set its dates to those of the inventory.
    pub update: bool,
}

/// `key.import`
#[derive(Clone, Default, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KeyImport {
    /// The table: comma-separated values, YAML or Markdown.
    pub table: String,
    /// What it is called in messages.
    pub file: String,
    /// Say what would be done, and do nothing.
    pub dry_run: bool,
}

/// `key.list`
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KeyList {
    /// Show removed keys too.
    pub all: bool,
}

/// `key.show`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyShow {
    /// Id or name.
    pub key: String,
}

/// `key.remove`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyRemove {
    /// Id or name.
    pub key: String,
    /// Why.
    #[serde(default)]
    pub reason: Option<String>,
}

/// `key.admin.add`
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdminKeyAdd {
    /// The admin key.
    pub secret: SecretText,
    /// Take it without asking Anthropic whether it works.
    #[serde(default)]
    pub unchecked: bool,
}

/// `key.admin.remove`
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdminKeyRemove {
    /// Why.
    pub reason: Option<String>,
}

/// `virtual.create`
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VirtualCreate {
    /// A name for people, unique among keys in use.
    pub name: String,
    /// The environment it belongs to.
    pub environment: String,
    /// Budget per calendar day.
    #[serde(default)]
    pub daily: Option<Money>,
    /// Budget per calendar month.
    #[serde(default)]
    pub monthly: Option<Money>,
    /// Requests in any minute.
    #[serde(default)]
    pub rpm: Option<u64>,
    /// Input tokens in any minute.
    #[serde(default)]
    pub input_tpm: Option<u64>,
    /// Output tokens in any minute.
    #[serde(default)]
    pub output_tpm: Option<u64>,
    /// Calls in flight at once.
    #[serde(default)]
    pub concurrency: Option<u64>,
    /// Globs of allowed models; empty leaves it to the environment.
    #[serde(default)]
    pub models: Vec<String>,
    /// Globs of denied models.
    #[serde(default)]
    pub models_deny: Vec<String>,
    /// Operations a call may name; empty leaves it to the environment.
    #[serde(default)]
    pub operations: Vec<String>,
    /// The one operation every call of this key is for.
    #[serde(default)]
    pub operation: Option<String>,
    /// Capabilities denied on top of the environment's.
    #[serde(default)]
    pub capabilities_deny: Vec<Capability>,
    /// Source networks; empty leaves it to the environment.
    #[serde(default)]
    pub cidrs: Vec<IpNet>,
    /// When it ends: `30d`, `12h`, `2026-12-31` (end of that day) or RFC 3339.
    #[serde(default)]
    pub expires: Option<String>,
    /// Answered by the mock, never by upstream.
    #[serde(default)]
    pub test_mode: bool,
    /// Largest `max_tokens`.
    #[serde(default)]
    pub max_tokens: Option<u64>,
    /// What becomes of a call that a budget cannot hold.
    #[serde(default)]
    pub on_shortage: OnShortage,
}

/// `virtual.list`
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct VirtualList {
    /// Only of this environment.
    pub environment: Option<String>,
    /// Show revoked keys too.
    pub all: bool,
}

/// `virtual.show`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VirtualShow {
    /// Id or name.
    pub key: String,
}

/// `virtual.update`: what is absent stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VirtualUpdate {
    /// Id or name.
    pub key: String,
    /// A new name.
    #[serde(default)]
    pub name: Option<String>,
    /// Budget per calendar day.
    #[serde(default)]
    pub daily: Change<Money>,
    /// Budget per calendar month.
    #[serde(default)]
    pub monthly: Change<Money>,
    /// Requests in any minute.
    #[serde(default)]
    pub rpm: Change<u64>,
    /// Input tokens in any minute.
    #[serde(default)]
    pub input_tpm: Change<u64>,
    /// Output tokens in any minute.
    #[serde(default)]
    pub output_tpm: Change<u64>,
    /// Calls in flight at once.
    #[serde(default)]
    pub concurrency: Change<u64>,
    /// Globs of allowed models.
    #[serde(default)]
    pub models: Option<Vec<String>>,
    /// Globs of denied models.
    #[serde(default)]
    pub models_deny: Option<Vec<String>>,
    /// Operations a call may name.
    #[serde(default)]
    pub operations: Option<Vec<String>>,
    /// The one operation every call of this key is for.
    #[serde(default)]
    pub operation: Change<String>,
    /// Capabilities denied on top of the environment's.
    #[serde(default)]
    pub capabilities_deny: Option<Vec<Capability>>,
    /// Source networks.
    #[serde(default)]
    pub cidrs: Option<Vec<IpNet>>,
    /// When it ends.
    #[serde(default)]
    pub expires: Change<String>,
    /// Largest `max_tokens`.
    #[serde(default)]
    pub max_tokens: Change<u64>,
    /// What becomes of a call that a budget cannot hold.
    #[serde(default)]
    pub on_shortage: Option<OnShortage>,
}

/// `virtual.freeze`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VirtualFreeze {
    /// Id or name.
    pub key: String,
    /// Why.
    pub reason: String,
}

/// `virtual.unfreeze`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VirtualUnfreeze {
    /// Id or name.
    pub key: String,
}

/// `virtual.revoke`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VirtualRevoke {
    /// Id or name.
    pub key: String,
    /// Why.
    #[serde(default)]
    pub reason: Option<String>,
}

/// `budget.list`
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BudgetList {
    /// Only this scope; absent lists all that have a budget or spent something.
    pub scope: Option<String>,
}

/// `budget.set`
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BudgetSet {
    /// The scope.
    pub scope: String,
    /// Per calendar day.
    #[serde(default)]
    pub daily: Change<Money>,
    /// Per calendar month.
    #[serde(default)]
    pub monthly: Change<Money>,
}

/// `limit.list`
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitList {
    /// Only this scope; absent lists all environments, and the virtual keys with own limits.
    pub scope: Option<String>,
}

/// `limit.set`
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitSet {
    /// An environment or a virtual key.
    pub scope: String,
    /// Requests in any minute.
    #[serde(default)]
    pub rpm: Change<u64>,
    /// Input tokens in any minute.
    #[serde(default)]
    pub input_tpm: Change<u64>,
    /// Output tokens in any minute.
    #[serde(default)]
    pub output_tpm: Change<u64>,
    /// Calls in flight at once.
    #[serde(default)]
    pub concurrency: Change<u64>,
}

/// `pause`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pause {
    /// The scope.
    pub scope: String,
    /// Why; clients are told.
    pub reason: String,
    /// Until when: `2h`, a date, or RFC 3339; absent until somebody resumes.
    #[serde(default)]
    pub until: Option<String>,
    /// Whether the calls in flight are ended too.
    #[serde(default)]
    pub ends_calls: bool,
}

/// `resume`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resume {
    /// The scope.
    pub scope: String,
    /// Why.
    #[serde(default)]
    pub reason: Option<String>,
}

/// `calls.list`: newest first, or oldest first from `after` on (to follow).
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CallsList {
    /// Only of this environment.
    pub environment: Option<String>,
    /// Only of this virtual key (id or name).
    pub virtual_key: Option<String>,
    /// Only of this model, asked or served.
    pub model: Option<String>,
    /// Only of this operation.
    pub operation: Option<String>,
    /// Only with this outcome (`completed`, `cut`, …) or `in_flight`.
    pub outcome: Option<String>,
    /// Only with this certainty (`settled`, `estimated`, `unsettled`).
    pub certainty: Option<String>,
    /// Only that began at this moment or later: `2h` ago, a date, or RFC 3339.
    pub since: Option<String>,
    /// Only that began before this moment.
    pub until: Option<String>,
    /// Only calls after this one, oldest first.
    pub after: Option<String>,
    /// Only calls before this one, newest first.
    pub before: Option<String>,
    /// How many, 1 to 1,000; 50 when absent.
    pub limit: Option<u32>,
}

/// `cost.today`
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CostToday {
    /// Only of this environment.
    pub environment: Option<String>,
}

/// `cost.month`
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CostMonth {
    /// Only of this environment.
    pub environment: Option<String>,
}

/// `cost.top`
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CostTop {
    /// By what.
    pub by: CostBy,
    /// From when: `7d` ago, a date, or RFC 3339; the first of the month when absent.
    pub since: Option<String>,
    /// How many lines, 1 to 1,000; 10 when absent.
    pub limit: Option<u32>,
}

/// `cost.estimate`
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CostEstimate {
    /// The model.
    pub model: String,
    /// Uncached prompt tokens.
    #[serde(default)]
    pub input: u64,
    /// Output tokens, thinking included.
    #[serde(default)]
    pub output: u64,
    /// Tokens written to the five-minute cache.
    #[serde(default)]
    pub cache_write_5m: u64,
    /// Tokens written to the one-hour cache.
    #[serde(default)]
    pub cache_write_1h: u64,
    /// Tokens read from the cache.
    #[serde(default)]
    pub cache_read: u64,
    /// Web searches.
    #[serde(default)]
    pub web_searches: u64,
    /// At fast-mode prices.
    #[serde(default)]
    pub fast: bool,
    /// At US-only prices.
    #[serde(default)]
    pub us_only: bool,
    /// How many such calls this would buy.
    #[serde(default)]
    pub budget: Option<Money>,
}

/// `audit.verify`
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AuditVerify {
    /// A checkpoint kept elsewhere (the signed note); with it a log that was cut or rolled back is
    /// noticed.
    pub checkpoint: Option<String>,
}

/// `audit.prove`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditProve {
    /// The record's sequence number.
    pub seq: u64,
}

/// `audit.export`
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AuditExport {
    /// First sequence number.
    pub from: u64,
    /// First sequence number no longer wanted; absent for all.
    pub to: Option<u64>,
    /// How many in this answer, 1 to 10,000; 1,000 when absent.
    pub limit: Option<u32>,
}

/// `sink.list`
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SinkList {}

/// `sink.check`
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SinkCheck {
    /// Only this sink; absent looks at all.
    pub sink: Option<String>,
}

/// `sink.deliver`
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SinkDeliver {
    /// The sink.
    pub sink: String,
    /// The upstream key, by id or name; absent, with no virtual key either, means the one that the
    /// sink's environment uses now.
    #[serde(default)]
    pub key: Option<String>,
    /// A virtual key, whole.
    #[serde(default)]
    pub virtual_key: Option<SecretText>,
    /// Why an upstream key goes into a sink that takes virtual keys only.
    #[serde(default)]
    pub force_reason: Option<String>,
}

/// `sink.forget`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SinkForget {
    /// The sink.
    pub sink: String,
    /// Why.
    #[serde(default)]
    pub reason: Option<String>,
}

macro_rules! bare {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct $name {}
    )*};
}

bare! {
    /// `key.sync`
    KeySync;
    /// `key.admin.show`
    AdminKeyShow;
    /// `audit.checkpoint`
    AuditCheckpoint;
    /// `rotation.status`
    RotationStatus;
    /// `status`
    Status;
    /// `doctor`
    Doctor;
    /// `backup.held`
    BackupHeld;
    /// `backup.recheck`
    BackupRecheck;
    /// `config.reload`
    ConfigReload;
}

/// `backup.create`
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BackupCreate {
    /// A folder that is there, or a file that is not; absent for the configured folder.
    pub to: Option<String>,
    /// Age recipients instead of the configured ones.
    pub recipients: Vec<String>,
    /// Files with OpenPGP public keys instead of the configured readers.
    pub openpgp_keys: Vec<String>,
}

/// `backup.list`
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BackupList {
    /// Another folder than the configured one.
    pub folder: Option<String>,
}

/// `backup.prune`
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BackupPrune {
    /// Only say which.
    pub dry_run: bool,
}

/// `backup.drilled`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackupDrilled {
    /// The backup.
    pub backup: String,
    /// How long it took, milliseconds.
    pub ms: u64,
    /// What did not work; absent where all did.
    #[serde(default)]
    pub problem: Option<String>,
}

/// `backup.release`
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BackupRelease {
    /// Virtual keys, by id or name.
    pub keys: Vec<String>,
    /// All of them.
    pub all: bool,
    /// How it is known that none of them was revoked since.
    pub reason: String,
}

/// `backup.settle`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackupSettle {
    /// The scope; absent for every one that is charged.
    #[serde(default)]
    pub scope: Option<String>,
    /// What it spent since the backup, at most; `0` for nothing.
    pub spent: Money,
    /// How that is known.
    pub reason: String,
}

/// `prices.list`
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PricesList {
    /// Only models whose id contains this.
    pub model: Option<String>,
    /// Show retired models too.
    pub all: bool,
}

/// `batches.list`
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BatchesList {
    /// Only those whose cost is not known yet.
    pub open: bool,
    /// How many; 50 unless said.
    pub limit: Option<u32>,
}

/// `rotation.start`
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RotationStart {
    /// The upstream key's id or name, or the environment that it serves.
    pub key: String,
    /// Why.
    pub reason: String,
    /// The old key is not to be trusted: it is cut off at once.
    #[serde(default)]
    pub emergency: bool,
    /// Nothing is touched before: a date, RFC 3339, or a span from now on.
    #[serde(default)]
    pub from: Option<String>,
    /// Nothing is begun after.
    #[serde(default)]
    pub until: Option<String>,
    /// The new key is watched so long, as `15m`.
    #[serde(default)]
    pub soak: Option<String>,
    /// It must have served so many calls, probes included.
    #[serde(default)]
    pub soak_calls: Option<u64>,
}

/// `contain`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contain {
    /// An upstream key's id or name, an environment for the key that it leaves with, or a virtual
    /// key's id or name. `upstream:`, `environment:` and `virtual:` in front tell them apart.
    pub key: String,
    /// Why, of a closed list.
    pub reason: Reason,
    /// What else there is to say.
    #[serde(default)]
    pub note: Option<String>,
}

/// `containment.list`
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContainmentList {
    /// Those that have ended, too.
    #[serde(default)]
    pub all: bool,
}

/// `containment.show`
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContainmentShow {
    /// Its id, or the key's id or name; absent for the newest.
    #[serde(default)]
    pub containment: Option<String>,
}

/// `containment.report`
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContainmentReport {
    /// Its id, or the key's id or name; absent for the newest.
    #[serde(default)]
    pub containment: Option<String>,
}

/// `containment.vouch`
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContainmentVouch {
    /// Its id, or the key's id or name; absent where only one waits for it.
    #[serde(default)]
    pub containment: Option<String>,
    /// How that is known.
    pub note: String,
}

/// `containment.resume`
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContainmentResume {
    /// Its id, or the key's id or name; absent where only one is under way.
    #[serde(default)]
    pub containment: Option<String>,
}

/// `rotation.approve`
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RotationApprove {
    /// The rotation; absent where only one has not ended.
    #[serde(default)]
    pub rotation: Option<String>,
    /// A file of the approver's own that says so.
    #[serde(default)]
    pub file: Option<PathBuf>,
    /// Why nobody else can be waited for.
    #[serde(default)]
    pub break_glass: Option<String>,
}

/// `rotation.give_key`
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RotationGiveKey {
    /// The rotation; absent where only one waits for a key.
    #[serde(default)]
    pub rotation: Option<String>,
    /// What the new key is to be called; absent makes a name of the old one and the day.
    #[serde(default)]
    pub name: Option<String>,
    /// The Anthropic key.
    pub secret: SecretText,
}

/// `rotation.vouch`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RotationVouch {
    /// The rotation; absent where only one has not ended.
    #[serde(default)]
    pub rotation: Option<String>,
    /// What was done.
    pub what: What,
    /// How that is known.
    pub note: String,
}

/// `rotation.abort`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RotationAbort {
    /// The rotation; absent where only one has not ended.
    #[serde(default)]
    pub rotation: Option<String>,
    /// Why.
    pub reason: String,
}

/// `rotation.rollback`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RotationRollback {
    /// The rotation; absent where only one has not ended.
    #[serde(default)]
    pub rotation: Option<String>,
    /// Why.
    pub reason: String,
}

/// `rotation.resume`
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RotationResume {
    /// The rotation; absent where only one has not ended.
    pub rotation: Option<String>,
}

/// `rotation.list`
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RotationList {
    /// Show ended ones too.
    pub all: bool,
}

/// `rotation.show`
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RotationShow {
    /// The rotation; absent: the newest.
    pub rotation: Option<String>,
}

/// `write_off`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WriteOff {
    /// The call.
    pub call: String,
    /// What it really cost, `0` for nothing.
    pub cost: Money,
    /// How that is known.
    pub reason: String,
}

#[cfg(test)]
mod tests;

//! What comes back from a command. Field names are stable: scripts read them with `--json`.
//!
//! Money is an exact decimal string in US dollars, moments are RFC 3339 in UTC, absent values are
//! `null` (unknown is not zero). No reply ever carries an upstream key; one carries a virtual key,
//! once.

use std::collections::BTreeMap;

use chamberlain_core::admission::breaker::BreakerState;
use chamberlain_core::admission::key::KeyState;
use chamberlain_core::admission::policy::Policy;
use chamberlain_core::containment::{Reason, Who, Work};
use chamberlain_core::keys::finding::{Finding, FindingKind};
use chamberlain_core::keys::profile::CreatedFor;
use chamberlain_core::keys::schedule::Because;
use chamberlain_core::ledger::price::Lifecycle;
use chamberlain_core::money::Money;
use chamberlain_core::record::{Certainty, Outcome, Route, Severity};
use chamberlain_core::rotation::{Kind, Stage};
use chamberlain_core::sink::fault::{Effect, Standing};
use chamberlain_core::snapshot::{Budgets, Limits};
use chamberlain_core::time::{Date, WindowKind};
use chamberlain_core::usage::Tokens;
use serde::{Deserialize, Serialize};

use crate::exposure::{Exposure, UsageFound};
use crate::wire::{CostBy, Moment, SecretText};

/// What kind of scope.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScopeKind {
    /// Everything.
    Organization,
    /// One environment.
    Environment,
    /// One virtual key.
    VirtualKey,
}

/// A scope, with the name people know it by.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct ScopeName {
    /// What kind.
    pub kind: ScopeKind,
    /// `organization`, the environment's name, or the virtual key's id.
    pub id: String,
    /// The same, but for a virtual key its name.
    pub name: String,
}

/// Where an upstream key stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UpstreamKeyState {
    /// Known by name; its value was never given.
    Listed,
    /// Sealed, not yet in use.
    Staged,
    /// In use.
    Current,
    /// Not to be trusted, out of use for good; kept until it was seen dead.
    Contained,
    /// Superseded; kept for calls that began with it.
    Previous,
    /// Removed here; its secret is erased.
    Revoked,
}

/// An upstream key, as much of it as may be seen.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct UpstreamKey {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The environment it is for; `null` for the shared one.
    pub environment: Option<String>,
    /// Where it stands.
    pub state: UpstreamKeyState,
    /// Beginning and end of it, `sk-ant-api03-R2D…igAA`.
    pub hint: String,
    /// A keyed hash: equal keys have equal fingerprints.
    pub fingerprint: String,
    /// When it was added.
    pub created_at: Moment,
    /// When it was removed.
    pub removed_at: Option<Moment>,
    /// When a call last left with it, to the minute.
    #[serde(default)]
    pub last_used_at: Option<Moment>,
    /// The environments whose calls leave with it now.
    pub serves: Vec<String>,
    /// The first part of its name.
    #[serde(default)]
    pub project: Option<String>,
    /// The team that answers for it.
    #[serde(default)]
    pub team: Option<String>,
    /// What it is for.
    #[serde(default)]
    pub purpose: Option<String>,
    /// Why it was made.
    #[serde(default)]
    pub created_for: Option<CreatedFor>,
    /// Why it is kept as it is.
    #[serde(default)]
    pub rationale: Option<String>,
    /// The day it was made at Anthropic.
    #[serde(default)]
    pub created_on: Option<Date>,
    /// The day it took over from the one before it.
    #[serde(default)]
    pub last_rotated_on: Option<Date>,
    /// The day it is to be replaced; `null` for a removed key.
    #[serde(default)]
    pub next_rotation_on: Option<Date>,
    /// Why that day.
    #[serde(default)]
    pub next_rotation_because: Option<Because>,
    /// When Anthropic stops taking it.
    #[serde(default)]
    pub expires_at: Option<Moment>,
    /// Its id at Anthropic.
    #[serde(default)]
    pub anthropic_id: Option<String>,
    /// Its name in the Console.
    #[serde(default)]
    pub anthropic_name: Option<String>,
    /// How it stands at Anthropic: `active`, `inactive`, `archived`, `expired`.
    #[serde(default)]
    pub anthropic_status: Option<String>,
    /// Its workspace at Anthropic, by id; `default` for the default one, `organization` for all.
    #[serde(default)]
    pub workspace: Option<String>,
    /// The workspace's name.
    #[serde(default)]
    pub workspace_name: Option<String>,
    /// On whose behalf it acts.
    #[serde(default)]
    pub principal: Option<String>,
    /// Since when Anthropic lists it like this.
    #[serde(default)]
    pub seen_at: Option<Moment>,
    /// Not to be called unused up to this day.
    #[serde(default)]
    pub exempt_until: Option<Date>,
    /// Calls that left with it and ended; `null` where they were not added up.
    #[serde(default)]
    pub calls: Option<u64>,
    /// What they cost.
    #[serde(default)]
    pub cost: Option<Money>,
    /// What a person should look at.
    #[serde(default)]
    pub findings: Vec<KeyFinding>,
}

/// Something about a key that a person should look at.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct KeyFinding {
    /// `shadow`, `unused`, `misplaced` and so on.
    pub kind: FindingKind,
    /// The upstream key's id, or the key's or workspace's id at Anthropic.
    pub subject: String,
    /// What people call it.
    pub name: String,
    /// How urgent.
    pub severity: Severity,
    /// One sentence.
    pub message: String,
    /// What to do.
    pub advice: String,
    /// Since when it is known; `null` when it was found just now.
    #[serde(default)]
    pub since: Option<Moment>,
}

impl From<Finding> for KeyFinding {
    fn from(finding: Finding) -> KeyFinding {
        let Finding { kind, subject, name, severity, message, advice } = finding;
        KeyFinding { kind, subject, name, severity, message, advice, since: None }
    }
}

/// What a look at Anthropic gave.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct KeySync {
    /// False without an admin key: only what can be seen here was looked at.
    pub asked_anthropic: bool,
    /// Keys that Anthropic lists.
    pub listed: u64,
    /// Findings that are new.
    pub new: u64,
    /// Everything that a person should look at.
    pub findings: Vec<KeyFinding>,
}

/// What a probe says about a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyVerdict {
    /// It is taken.
    Works,
    /// It is refused as no valid key.
    Dead,
    /// It is taken and may not do this, or not from here.
    Forbidden,
    /// Nothing was learned about it.
    Unknown,
}

/// One probe.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ProbeLine {
    /// `free` or `paid`.
    pub probe: String,
    /// What it says.
    pub verdict: KeyVerdict,
    /// Upstream's words, where it did not work.
    pub message: Option<String>,
    /// The status.
    pub status: Option<u16>,
    /// Upstream's `request-id`.
    pub request_id: Option<String>,
}

/// Whether a key works.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct KeyVerified {
    /// The key's id.
    pub key: String,
    /// Its name.
    pub name: String,
    /// The fingerprint that stood in every request; the one that is stored.
    pub fingerprint: String,
    /// What the probes come to.
    pub verdict: KeyVerdict,
    /// Each probe.
    pub probes: Vec<ProbeLine>,
    /// The model that was asked, where one was.
    pub model: Option<String>,
}

/// A secret of a rotation policy.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PolicySecret {
    /// The key it stands under.
    pub name: String,
    /// The line, from 1.
    pub line: u64,
    /// The environment whose key it is; `null` for a secret that is not kept here.
    pub environment: Option<String>,
    /// Days between rotations.
    pub interval_days: Option<u32>,
    /// The day of the last one, in the file.
    pub last_rotated: Option<Date>,
    /// The day of the next one, as it follows from the file.
    pub next_rotation: Option<Date>,
    /// The day of the last one, in the inventory.
    pub last_rotated_here: Option<Date>,
}

/// A `secrets-rotation-policy.yaml`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RotationPolicy {
    /// The file.
    pub file: String,
    /// Its secrets.
    pub secrets: Vec<PolicySecret>,
    /// What deserves a look, each with its line.
    pub warnings: Vec<String>,
    /// Whether the file was changed.
    pub changed: bool,
}

/// What became of one row of a table.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ImportLine {
    /// The line of the file, from 1.
    pub line: u64,
    /// The key's name.
    pub name: String,
    /// `listed`, `recorded` (a key of the past), `updated` or `unchanged`.
    pub done: String,
    /// What does not agree with what is derived.
    pub warnings: Vec<String>,
}

/// What became of a table.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct KeyImported {
    /// True when nothing was done.
    pub dry_run: bool,
    /// Its rows.
    pub rows: Vec<ImportLine>,
}

/// A list of upstream keys.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct UpstreamKeys {
    /// The keys, newest first.
    pub keys: Vec<UpstreamKey>,
    /// What a person should look at that is about no key of these: keys at Anthropic that nobody
    /// here knows, members of workspaces.
    #[serde(default)]
    pub findings: Vec<KeyFinding>,
}

/// The key of Anthropic's Admin API, as much of it as may be seen.
#[derive(Clone, Default, PartialEq, Debug, Serialize, Deserialize)]
pub struct AdminKey {
    /// Whether there is one.
    pub present: bool,
    /// Beginning and end of it.
    pub hint: Option<String>,
    /// A keyed hash.
    pub fingerprint: Option<String>,
    /// When it was put in.
    pub created_at: Option<Moment>,
    /// The organization it belongs to, by id and name, where Anthropic was asked.
    pub organization: Option<String>,
    /// The name of that organization.
    pub organization_name: Option<String>,
}

/// Why a scope takes no calls.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PauseLine {
    /// Since when.
    pub since: Moment,
    /// Until when; `null` until somebody resumes.
    pub until: Option<Moment>,
    /// Who paused it.
    pub by: String,
    /// Why.
    pub reason: String,
    /// Whether it ended the calls in flight.
    #[serde(default)]
    pub ends_calls: bool,
}

/// A new virtual key. `key` is shown here and never again.
#[derive(Debug, Serialize, Deserialize)]
pub struct VirtualCreated {
    /// The public id.
    pub id: String,
    /// The whole key, `chm_<id>_<secret>`.
    pub key: SecretText,
    /// Its name.
    pub name: String,
    /// Its environment.
    pub environment: String,
    /// When it ends.
    pub expires_at: Option<Moment>,
    /// Whether it is answered by the mock.
    pub test_mode: bool,
    /// Everything else about it.
    pub virtual_key: VirtualKey,
}

/// A virtual key without its secret.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct VirtualKey {
    /// The public id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its environment.
    pub environment: String,
    /// Its state.
    pub state: KeyState,
    /// True when a call with it could pass now, as far as key and pauses go.
    pub usable: bool,
    /// When it was made.
    pub created_at: Moment,
    /// When it ends.
    pub expires_at: Option<Moment>,
    /// When a call was last made with it, as far back as calls are kept.
    #[serde(default)]
    pub last_used_at: Option<Moment>,
    /// Whether it is answered by the mock.
    pub test_mode: bool,
    /// The operation it is bound to.
    pub operation: Option<String>,
    /// What it may do, on top of the environment's policy.
    pub policy: Policy,
    /// Its own budgets.
    pub budgets: Budgets,
    /// Its own limits.
    pub limits: Limits,
    /// Set while it is paused.
    pub pause: Option<PauseLine>,
}

/// A list of virtual keys.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct VirtualKeys {
    /// The keys, newest first.
    pub keys: Vec<VirtualKey>,
}

/// One budget.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct BudgetLine {
    /// Whose.
    pub scope: ScopeName,
    /// Per day or month.
    pub window: WindowKind,
    /// First moment of the window.
    pub window_start: Moment,
    /// First moment after it.
    pub window_end: Moment,
    /// The limit; `null` for none.
    pub limit: Option<Money>,
    /// Who set it: `command`, or where the configuration has it (`default`, a file and line, an
    /// environment variable).
    pub source: String,
    /// Cost of calls that ended.
    pub settled: Money,
    /// Charged for calls whose outcome is unknown.
    pub unsettled: Money,
    /// Set aside for calls in flight.
    pub reserved: Money,
    /// What is left; `null` without a limit.
    pub left: Option<Money>,
    /// Settled and unsettled in hundredths of a percent of the limit.
    pub spent_basis_points: Option<u64>,
}

/// A list of budgets.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct BudgetLines {
    /// The budgets, widest scope first.
    pub budgets: Vec<BudgetLine>,
    /// What people should know besides (a pause still in force).
    pub notes: Vec<String>,
}

/// The limits of one scope.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct LimitLine {
    /// Whose. A virtual key's own limit counts alone; keys without one share the environment's.
    pub scope: ScopeName,
    /// The limits in force.
    pub limits: Limits,
    /// Who set each of them, by its name.
    pub sources: BTreeMap<String, String>,
}

/// A list of limits.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct LimitLines {
    /// The limits, widest scope first.
    pub limits: Vec<LimitLine>,
}

/// A scope after `pause` or `resume`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Paused {
    /// Which.
    pub scope: ScopeName,
    /// Its pause; `null` when calls pass.
    pub pause: Option<PauseLine>,
}

/// One call.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Call {
    /// Its id.
    pub id: String,
    /// When it was admitted.
    pub at: Moment,
    /// When it ended; `null` in flight.
    pub ended_at: Option<Moment>,
    /// Who called.
    pub virtual_key: String,
    /// Its name.
    pub virtual_key_name: Option<String>,
    /// In which environment.
    pub environment: String,
    /// Which route.
    pub route: Route,
    /// What for.
    pub operation: Option<String>,
    /// The model asked for.
    pub model: String,
    /// The model that served.
    pub served_model: Option<String>,
    /// Whether the answer was a stream.
    pub stream: bool,
    /// How it ended; `null` in flight.
    pub outcome: Option<Outcome>,
    /// How sure the cost is; `null` in flight.
    pub certainty: Option<Certainty>,
    /// The status given to the client.
    pub status: Option<u16>,
    /// `stop_reason` of the answer.
    pub stop_reason: Option<String>,
    /// Billed tokens.
    pub tokens: Tokens,
    /// Money that was set aside.
    pub reserved: Money,
    /// What is charged; `null` in flight.
    pub cost: Option<Money>,
    /// Times it was sent upstream.
    pub attempts: Option<u32>,
    /// To the first byte, milliseconds.
    pub first_byte_ms: Option<u64>,
    /// To the end, milliseconds.
    pub duration_ms: Option<u64>,
    /// The client's address.
    pub source: String,
    /// The upstream key it left with; `null` for the mock.
    pub upstream_key: Option<String>,
    /// Whether the mock answers it: nobody bills its cost.
    pub mock: bool,
    /// Upstream's `request-id`.
    pub upstream_request_id: Option<String>,
}

/// A list of calls.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Calls {
    /// The calls.
    pub calls: Vec<Call>,
    /// Whether there are more in that direction.
    pub has_more: bool,
}

/// What something cost.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct CostLine {
    /// What; an id where it has one.
    pub id: String,
    /// Its name for people.
    pub name: String,
    /// Calls that ended, without those that the mock answered.
    pub calls: u64,
    /// Billed tokens.
    pub tokens: Tokens,
    /// The cost, unsettled and estimated parts included.
    pub cost: Money,
    /// In hundredths of a percent of the whole.
    pub share_basis_points: Option<u64>,
    /// Calls that the mock answered.
    pub mock_calls: u64,
    /// What they would have cost; nobody bills it, and it is not in `cost`.
    pub mock_cost: Money,
}

/// What a window cost.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct CostSummary {
    /// First moment.
    pub from: Moment,
    /// First moment after.
    pub to: Moment,
    /// Only of this environment.
    pub environment: Option<String>,
    /// Calls that ended, without those that the mock answered.
    pub calls: u64,
    /// Billed tokens.
    pub tokens: Tokens,
    /// The whole cost.
    pub cost: Money,
    /// Of it: charged for calls whose outcome is unknown.
    pub unsettled: Money,
    /// Of it: estimated.
    pub estimated: Money,
    /// Calls that the mock answered.
    pub mock_calls: u64,
    /// What they would have cost; nobody bills it, and it is not in `cost`.
    pub mock_cost: Money,
    /// By environment, dearest first.
    pub by_environment: Vec<CostLine>,
    /// By served model, dearest first.
    pub by_model: Vec<CostLine>,
}

/// Who or what costs most.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct CostTopLines {
    /// By what.
    pub by: CostBy,
    /// First moment.
    pub from: Moment,
    /// First moment after.
    pub to: Moment,
    /// The whole cost, without what the mock answered.
    pub cost: Money,
    /// The lines, dearest first.
    pub lines: Vec<CostLine>,
}

/// Prices per million tokens.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct PricePerMillion {
    /// Uncached input.
    pub input: Money,
    /// Output.
    pub output: Money,
    /// Five-minute cache write.
    pub cache_write_5m: Money,
    /// One-hour cache write.
    pub cache_write_1h: Money,
    /// Cache read.
    pub cache_read: Money,
}

/// What a call would cost.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Estimate {
    /// The model, by its full id.
    pub model: String,
    /// The tokens asked about.
    pub tokens: Tokens,
    /// The prices that apply.
    pub per_million: PricePerMillion,
    /// The cost of one call.
    pub cost: Money,
    /// The budget asked about.
    pub budget: Option<Money>,
    /// How many whole calls it buys.
    pub calls: Option<u64>,
}

/// The outcome of checking the audit log.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct AuditVerified {
    /// True when nothing is wrong.
    pub ok: bool,
    /// Records checked.
    pub records: u64,
    /// The log's root hash, hex.
    pub root: String,
    /// Who signs checkpoints: name and key id of the signed notes.
    pub signer: String,
    /// Size at the last checkpoint kept in the store.
    pub last_checkpoint: Option<u64>,
    /// Whether a checkpoint kept elsewhere was compared.
    pub external: bool,
    /// What is wrong.
    pub problems: Vec<AuditProblem>,
}

/// Something wrong with the audit log.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AuditProblem {
    /// At which record; `null` when it is not about one.
    pub seq: Option<u64>,
    /// What.
    pub problem: String,
}

/// One audit record as exported.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct AuditRecord {
    /// Its sequence number.
    pub seq: u64,
    /// The leaf's hash, hex.
    pub leaf_hash: String,
    /// The record; `null` once its body was pruned.
    pub record: Option<serde_json::Value>,
}

/// Audit records given out.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct AuditRecords {
    /// The records, in order.
    pub records: Vec<AuditRecord>,
    /// Where to go on; `null` at the end.
    pub next: Option<u64>,
    /// The log's size.
    pub size: u64,
}

/// A signed head of the audit log.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Records it covers.
    pub size: u64,
    /// The root hash, hex.
    pub root: String,
    /// When it was signed.
    pub at: Moment,
    /// The signed note.
    pub note: String,
}

/// Proof that a record is in the log.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct AuditProof {
    /// The record.
    pub record: AuditRecord,
    /// Size of the tree the proof is for.
    pub size: u64,
    /// Its root hash, hex.
    pub root: String,
    /// Hashes from the leaf up, hex.
    pub path: Vec<String>,
    /// The checkpoint the proof leads to.
    pub checkpoint: Checkpoint,
    /// The whole proof as one text (C2SP tlog-proof), verifiable offline.
    pub text: String,
}

/// One environment in the status.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct EnvironmentStatus {
    /// Its name.
    pub name: String,
    /// The upstream key its calls leave with; `null` sends them to the mock.
    pub upstream_key: Option<String>,
    /// Virtual keys in use.
    pub virtual_keys: u64,
    /// Its pause.
    pub pause: Option<PauseLine>,
    /// Days between rotations of its upstream key.
    pub rotation_interval_days: u32,
    /// When its upstream key is due for rotation.
    pub rotation_due: Option<Moment>,
}

/// One breaker.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct BreakerLine {
    /// The upstream key, or `mock`.
    pub upstream_key: String,
    /// `closed`, `open` or `half_open`.
    pub state: BreakerState,
}

/// What the running gateway says of itself.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Running {
    /// Its version.
    pub version: String,
    /// Where clients reach it.
    pub gateway: Option<String>,
    /// Where the console is.
    pub console: Option<String>,
    /// Since when, seconds.
    pub uptime_s: u64,
    /// The process id.
    pub pid: u32,
    /// Upstream's address, or `mock`.
    pub upstream: String,
    /// True when calls go to the built-in mock.
    pub mock: bool,
    /// True while shutting down.
    pub draining: bool,
    /// Calls in flight.
    pub in_flight: u64,
    /// Calls waiting for a limit.
    pub waiting: u64,
    /// The breakers that exist.
    pub breakers: Vec<BreakerLine>,
}

/// What a job did last.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct JobLine {
    /// Its name.
    pub name: String,
    /// Whether it is at work now.
    pub running: bool,
    /// Times it ran.
    pub runs: u64,
    /// When it last ended.
    pub last_at: Option<Moment>,
    /// What went wrong then.
    pub last_error: Option<String>,
}

/// The audit log in the status.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct AuditStatus {
    /// Records.
    pub size: u64,
    /// Root hash, hex.
    pub root: String,
    /// The last checkpoint.
    pub last_checkpoint: Option<Checkpoint>,
}

/// The store in the status.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct StoreStatus {
    /// Whether it takes writes.
    pub ok: bool,
    /// What is wrong.
    pub problem: Option<String>,
    /// Bytes on disk.
    pub bytes: Option<u64>,
    /// Effects waiting in the outbox.
    pub outbox: u64,
}

/// How Chamberlain is.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Status {
    /// The time it says so.
    pub at: Moment,
    /// The version that answers.
    pub version: String,
    /// The data folder.
    pub data: String,
    /// The running server; `null` when there is none.
    pub running: Option<Running>,
    /// The generation of the published view; `null` without a server.
    pub generation: Option<u64>,
    /// The organization's pause.
    pub pause: Option<PauseLine>,
    /// The environments.
    pub environments: Vec<EnvironmentStatus>,
    /// The store.
    pub store: StoreStatus,
    /// The audit log.
    pub audit: AuditStatus,
    /// Budgets with a limit.
    pub budgets: Vec<BudgetLine>,
    /// Backups.
    pub backup: BackupStatus,
    /// The jobs; empty without a server.
    pub jobs: Vec<JobLine>,
}

/// How a check ended.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckState {
    /// Well.
    Ok,
    /// Worth a look.
    Warning,
    /// Broken.
    Problem,
}

/// One thing the doctor looked at.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Check {
    /// What was looked at.
    pub name: String,
    /// How it is.
    pub state: CheckState,
    /// What was found.
    pub message: String,
    /// What to do.
    pub fix: Option<String>,
}

/// What the doctor says.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Doctor {
    /// The worst of the checks.
    pub state: CheckState,
    /// The checks.
    pub checks: Vec<Check>,
}

/// A model's prices.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Price {
    /// The model.
    pub model: String,
    /// Other ids of the same model.
    pub aliases: Vec<String>,
    /// Where it is in its life.
    pub lifecycle: Lifecycle,
    /// Announced end.
    pub retires_on: Option<String>,
    /// Context window in tokens.
    pub context_window: u64,
    /// Largest output in tokens.
    pub max_output: u64,
    /// At standard speed, anywhere; `null` when no row is in force.
    pub per_million: Option<PricePerMillion>,
    /// In fast mode.
    pub fast_per_million: Option<PricePerMillion>,
    /// In the US only.
    pub us_only_per_million: Option<PricePerMillion>,
}

/// The price list.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Prices {
    /// The moment the prices are for.
    pub at: Moment,
    /// The models.
    pub prices: Vec<Price>,
}

/// Batches on record, the newest first.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Batches {
    /// The batches.
    pub batches: Vec<Batch>,
}

/// One batch.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Batch {
    /// Upstream's id.
    pub id: String,
    /// The call that submitted it.
    pub call: String,
    /// When it was submitted.
    pub at: Moment,
    /// Whose it is.
    pub virtual_key: String,
    /// The name of that key.
    pub virtual_key_name: Option<String>,
    /// The environment.
    pub environment: String,
    /// `open` until its cost is known, then `settled`; `given_up` when it cannot be learned.
    pub state: String,
    /// What upstream last said: `in_progress`, `canceling` or `ended`.
    pub processing_status: Option<String>,
    /// Its items.
    pub items: u64,
    /// What was set aside for it.
    pub reserved: Option<Money>,
    /// What it is charged.
    pub cost: Option<Money>,
    /// Why its cost cannot be learned.
    pub problem: Option<String>,
}

/// A call after `write_off`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct WrittenOff {
    /// The call.
    pub call: String,
    /// What was charged before.
    pub was: Money,
    /// What is charged now.
    pub now: Money,
    /// What stays unsettled in its budgets until their windows end, because the call was lost with
    /// power and other calls, lost as well, may have spent it.
    pub kept: Money,
}

/// The outcome of reading the configuration again.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Reloaded {
    /// Whether anything changed.
    pub changed: bool,
    /// The settings that changed, with the value before and after.
    pub changes: Vec<SettingChange>,
    /// The generation published.
    pub generation: u64,
}

/// One setting that changed.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct SettingChange {
    /// Its path.
    pub setting: String,
    /// Before.
    pub before: serde_json::Value,
    /// After.
    pub after: serde_json::Value,
}

/// Where the last delivery to a sink stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryState {
    /// Intended; whether it was done is not known.
    Begun,
    /// Done.
    Delivered,
    /// Not done, or not wholly.
    Failed,
}

/// A key as records name it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct NamedKey {
    /// Its id.
    pub key: String,
    /// Its name, as long as it is known.
    pub name: Option<String>,
    /// What stands for it: an upstream key's fingerprint, a virtual key's public id.
    pub stands_for: String,
    /// False once it is removed or revoked here.
    pub in_use: bool,
}

/// The last try to deliver to a sink.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct DeliveryLine {
    /// Which key.
    pub key: NamedKey,
    /// How it stands.
    pub state: DeliveryState,
    /// What a failure left behind: `nothing`, `done`, `unknown`.
    pub effect: Option<Effect>,
    /// Why it failed.
    pub error: Option<String>,
    /// When it began.
    pub begun_at: Moment,
    /// When it ended.
    pub ended_at: Option<Moment>,
}

/// One sink.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct SinkLine {
    /// Its name.
    pub name: String,
    /// Its kind; `null` when it is no longer configured.
    pub kind: Option<String>,
    /// The environment whose keys it takes.
    pub environment: Option<String>,
    /// Where exactly.
    pub place: String,
    /// What it is known to hold.
    pub holds: Option<NamedKey>,
    /// Since when.
    pub holds_since: Option<Moment>,
    /// The last try.
    pub last: Option<DeliveryLine>,
}

/// A list of sinks.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Sinks {
    /// The sinks, by name.
    pub sinks: Vec<SinkLine>,
}

/// What looking at a sink showed.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct SinkChecked {
    /// Its name.
    pub name: String,
    /// Whether a delivery could work.
    pub ok: bool,
    /// What is wrong.
    pub problem: Option<String>,
    /// What to do.
    pub hint: Option<String>,
    /// What people should know.
    pub notes: Vec<String>,
    /// What is in it, compared with what was delivered; `null` when nothing was.
    pub standing: Option<Standing>,
}

/// What looking at sinks showed.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct SinkChecks {
    /// The sinks, by name.
    pub sinks: Vec<SinkChecked>,
}

/// A delivery that was done.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct SinkDelivered {
    /// The sink as it is now.
    pub sink: SinkLine,
    /// Whether the key was there already, so that nothing was written.
    pub was_there: bool,
    /// What people should know.
    pub notes: Vec<String>,
}

/// A backup.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Backup {
    /// Where it lies.
    pub path: String,
    /// When it was made.
    pub made_at: Moment,
    /// Its size.
    pub bytes: u64,
    /// How many records its audit log has.
    pub records: u64,
    /// Its SHA-256; `null` in a list.
    pub sha256: Option<String>,
    /// Worth knowing.
    pub notes: Vec<String>,
}

/// Backups, the newest first.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Backups {
    /// The folder; `null` where none is configured.
    pub folder: Option<String>,
    /// They.
    pub backups: Vec<Backup>,
}

/// What is held back since a backup was put back.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct BackupHeld {
    /// When it was put back; `null` when nothing was.
    pub restored_at: Option<Moment>,
    /// When the backup was made.
    pub made_at: Option<String>,
    /// Virtual keys that are frozen until they are released.
    pub virtual_keys: Vec<HeldKey>,
    /// Upstream keys that are closed until upstream takes them.
    pub upstream_keys: Vec<HeldKey>,
    /// Budgets that are charged for what may have been spent unseen.
    pub spending: Vec<HeldBudget>,
}

/// A key that is held back.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct HeldKey {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The environment it belongs to; `null` for a shared upstream key.
    pub environment: Option<String>,
}

/// A budget that is charged for what may have been spent unseen.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct HeldBudget {
    /// Whose.
    pub scope: ScopeName,
    /// Day or month.
    pub window: WindowKind,
    /// When the window ends, and the charge with it.
    pub window_end: Moment,
    /// The charge.
    pub charged: Money,
}

/// What upstream said to the keys that are closed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct BackupRechecked {
    /// Key by key.
    pub keys: Vec<RecheckedKey>,
}

/// What upstream said to a key.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RecheckedKey {
    /// The key.
    pub key: HeldKey,
    /// Whether it is in use again.
    pub open: bool,
    /// What was said.
    pub answer: String,
}

/// What came of a restore drill.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct BackupDrill {
    /// When.
    pub at: Moment,
    /// The backup.
    pub backup: String,
    /// How long it took, milliseconds.
    pub ms: u64,
    /// What did not work; `null` where all did.
    pub problem: Option<String>,
}

/// How backups stand.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct BackupStatus {
    /// The folder they go to; `null` makes none by themselves.
    pub folder: Option<String>,
    /// When the last one was made into it.
    pub last_at: Option<Moment>,
    /// The last drill.
    pub drill: Option<BackupDrill>,
    /// Whether something is held back since one was put back.
    pub held: bool,
}

/// A rotation as it stands.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Rotation {
    /// Its id.
    pub id: String,
    /// `planned` or `emergency`.
    pub kind: Kind,
    /// The environment whose key it is; absent for the shared one.
    pub environment: Option<String>,
    /// The key that is replaced.
    pub old_key: String,
    /// Its name.
    pub old_name: String,
    /// The key that comes after, once it was handed in.
    pub new_key: Option<String>,
    /// What that one is told by.
    pub new_fingerprint: Option<String>,
    /// Where it stands: a stage's name, or `stuck`.
    pub state: String,
    /// The stage that was reached.
    pub stage: Stage,
    /// Since when.
    pub since: Moment,
    /// In an emergency, how far the old key is cut off.
    pub cut: Option<Stage>,
    /// What is waited for, in words, with what to do.
    pub waits_for: Vec<String>,
    /// Why a person is needed.
    pub stuck: Option<String>,
    /// Who asked.
    pub by: String,
    /// When.
    pub at: Moment,
    /// Why.
    pub reason: String,
    /// Approvals that count now.
    pub approvals: u32,
    /// Approvals that are needed.
    pub approvals_needed: u32,
    /// When a break of the glass is to be reviewed.
    pub review_by: Option<Moment>,
    /// Why it ended before its time.
    pub ended_because: Option<String>,
    /// The clocks of an emergency.
    pub clocks: Vec<RotationClock>,
    /// Everything that led there, where it was asked for.
    pub timeline: Vec<RotationLine>,
}

/// A clock of an emergency.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RotationClock {
    /// What it measures.
    pub name: String,
    /// How long it has run, seconds.
    pub ran_s: u64,
    /// How long it may run, seconds.
    pub limit_s: u64,
    /// Whether it still runs.
    pub runs: bool,
}

/// Something that changed a rotation.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RotationLine {
    /// When.
    pub at: Moment,
    /// Who.
    pub actor: String,
    /// What kind of thing.
    pub kind: String,
    /// Where the rotation stood after it.
    pub stage: String,
    /// What exactly.
    pub detail: String,
    /// Its record in the audit log.
    pub audit_seq: u64,
}

/// Rotations.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Rotations {
    /// The newest first.
    pub rotations: Vec<Rotation>,
}

/// Days left for every key in use.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RotationStatus {
    /// The most urgent first.
    pub keys: Vec<RotationDue>,
}

/// When a key is to be replaced.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RotationDue {
    /// The key.
    pub key: String,
    /// Its name.
    pub name: String,
    /// The environment whose interval counts.
    pub environment: String,
    /// The day.
    pub on: Date,
    /// Whole days to it; negative when it is over.
    pub days_left: i64,
    /// The rotation that is under way, if one is.
    pub rotation: Option<String>,
}

/// The containment of a key.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Containment {
    /// Its id.
    pub id: String,
    /// `upstream_key` or `virtual_key`.
    pub kind: String,
    /// The key.
    pub key: String,
    /// Its name.
    pub name: String,
    /// Beginning and end of an upstream key.
    pub hint: Option<String>,
    /// The environment it was for; absent for a shared one.
    pub environment: Option<String>,
    /// Why.
    pub reason: Reason,
    /// What else was said.
    pub note: Option<String>,
    /// Who said so.
    pub by: String,
    /// When.
    pub at: Moment,
    /// `cutting`; `cut` once no call leaves from here; `contained` once nobody can use the key any
    /// more; `done` once everything is.
    pub state: String,
    /// True when it was contained before this command.
    pub before: bool,
    /// Calls that were on their way with it, and were ended.
    pub in_flight: Option<u64>,
    /// The environments that left with it, and the key that each leaves with now; an absent one
    /// means that their calls are refused.
    pub serves_now: Vec<ServesNow>,
    /// What is done, and what is not.
    pub work: Vec<ContainmentWork>,
    /// Since when the key counts as dead: Anthropic refused it three times over a minute.
    pub dead_at: Option<Moment>,
    /// When all was done.
    pub ended_at: Option<Moment>,
    /// Who is to have done what by when.
    pub clocks: Vec<ContainmentClock>,
    /// What is left to people, the most urgent first.
    pub left_to_do: Vec<String>,
    /// Everything that led there, where it was asked for.
    pub timeline: Vec<ContainmentLine>,
}

/// An environment and the key it leaves with.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ServesNow {
    /// The environment.
    pub environment: String,
    /// The name of its key; absent where its calls are refused.
    pub key: Option<String>,
}

/// One piece of work of a containment.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ContainmentWork {
    /// `cut`, `switch_off`, `report`, `usage` or `erase`.
    pub work: Work,
    /// `done`, `under_way`, `failed` (it is tried again) or `waits` (for a person).
    pub state: String,
    /// When it was done.
    pub at: Option<Moment>,
    /// Milliseconds from the word of containment until then.
    pub after_ms: Option<u64>,
    /// Who did it by hand, and how that is known.
    pub by_hand: Option<String>,
    /// Why the last try failed.
    pub failed: Option<String>,
    /// How often it was tried in vain.
    pub tries: u32,
}

/// A clock of a containment.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ContainmentClock {
    /// What is to be done.
    pub name: String,
    /// `chamberlain` or `operator`.
    pub who: Who,
    /// When it began to run.
    pub began: Moment,
    /// By when it is to be done.
    pub due: Moment,
    /// When it was done.
    pub ended: Option<Moment>,
    /// How long it ran, milliseconds.
    pub ran_ms: u64,
}

/// Something that changed a containment.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ContainmentLine {
    /// When.
    pub at: Moment,
    /// Who.
    pub actor: String,
    /// What kind of thing.
    pub kind: String,
    /// What exactly.
    pub detail: String,
    /// Its record in the audit log.
    pub audit_seq: u64,
}

/// Containments.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Containments {
    /// The newest first.
    pub containments: Vec<Containment>,
}

/// What was done with a contained key.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ContainmentReport {
    /// The containment.
    pub containment: Containment,
    /// By the calls on record; absent while it is being put together.
    pub exposure: Option<Exposure>,
    /// By Anthropic's count; absent where it could not be asked.
    pub usage: Option<UsageFound>,
}

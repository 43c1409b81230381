//! What the configuration says, resolved: the ground that commands override.
//!
//! The binary reads files and environment variables and hands the result over as one value, with
//! a note of where each setting came from. `Default` is the house with nothing configured.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use chamberlain_core::admission::policy::Policy;
use chamberlain_core::anthropic::request::Capability;
use chamberlain_core::id::EnvironmentName;
use chamberlain_core::ledger::price::PriceBook;
use chamberlain_core::money::Money;
use chamberlain_core::sink::settings::SinkSettings;
use chamberlain_core::snapshot::{Budgets, GatewaySettings, Limits};
use serde_json::{Map, Value, json};

/// One environment as configured.
#[derive(Clone, PartialEq, Debug)]
pub struct EnvironmentSettings {
    /// Its name.
    pub name: EnvironmentName,
    /// What its calls may do.
    pub policy: Policy,
    /// Its budgets.
    pub budgets: Budgets,
    /// Whether using up a budget pauses the environment until the window ends.
    pub pause_on_exceed: bool,
    /// Shared by those of its keys that have no limits of their own.
    pub limits: Limits,
    /// Days between rotations of its upstream key.
    pub rotation_interval_days: u32,
    /// How many people, besides whoever asked for it, have to approve a planned rotation of its
    /// upstream key.
    pub rotation_approvals: u32,
    /// The workspace at Anthropic that its upstream key belongs in, by name or id; `default` for
    /// the default one.
    pub workspace: Option<String>,
}

/// What the inventory of upstream keys is measured by.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InventorySettings {
    /// The first part of names that are suggested.
    pub project: Option<String>,
    /// A key that no call has left with for so many days is unused.
    pub unused_days: u32,
    /// The `secrets-rotation-policy.yaml` that is kept up to date.
    pub rotation_policy: Option<PathBuf>,
}

/// How long things are kept, in days.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Retention {
    /// Single calls; their hourly sums and audit records stay.
    pub calls_days: u32,
}

/// When the audit log's head is signed, and where the signed head goes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CheckpointSettings {
    /// At the latest after this many seconds with new records.
    pub interval_s: u64,
    /// At the latest after this many new records.
    pub records: u64,
    /// A file, best on another machine, that every checkpoint is appended to.
    pub anchor_file: Option<PathBuf>,
}

/// How and where backups are made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BackupSettings {
    /// The folder they go to, best on another machine; `None` makes none by itself.
    pub folder: Option<PathBuf>,
    /// Age recipients who can read them.
    pub recipients: Vec<String>,
    /// Files with OpenPGP public keys whose owners can read them, instead of age recipients.
    pub openpgp_keys: Vec<PathBuf>,
    /// The time between two when nothing changes, seconds.
    pub every_s: u64,
    /// How long one is kept, days.
    pub keep_days: u32,
    /// A file with an age identity that the weekly drill reads them with; `None` drills none by
    /// itself.
    pub drill_identity: Option<PathBuf>,
}

/// Where settings came from, by their path in the configuration: `organization.budgets.daily`,
/// `environments.production.limits.concurrency`. A setting that is not listed has its default.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Sources(pub BTreeMap<String, String>);

impl Sources {
    /// Where the setting came from: `default`, a file and line, or an environment variable.
    pub fn of(&self, setting: &str) -> &str {
        self.0.get(setting).map_or("default", String::as_str)
    }
}

/// Everything configured that the control plane needs.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The organization's budgets.
    pub organization: Budgets,
    /// The environments, in the order they are listed to people.
    pub environments: Vec<EnvironmentSettings>,
    /// Bounds on the gateway.
    pub gateway: GatewaySettings,
    /// Percent of a budget that events are made for.
    pub thresholds_percent: Vec<u32>,
    /// How long things are kept.
    pub retention: Retention,
    /// The time zone of budget windows, an IANA name.
    pub timezone: String,
    /// The prices, own overrides included.
    pub prices: Arc<PriceBook>,
    /// Checkpoints.
    pub checkpoint: CheckpointSettings,
    /// Where keys are delivered to, by name.
    pub sinks: Vec<SinkSettings>,
    /// Where calls go once there is a key, and where the Admin API is.
    pub upstream_url: String,
    /// The inventory of upstream keys.
    pub inventory: InventorySettings,
    /// Backups.
    pub backup: BackupSettings,
    /// Where each setting came from.
    pub sources: Sources,
}

impl Settings {
    /// The environment of that name.
    pub fn environment(&self, name: &str) -> Option<&EnvironmentSettings> {
        self.environments.iter().find(|environment| environment.name.as_str() == name)
    }

    /// The sink of that name.
    pub fn sink(&self, name: &str) -> Option<&SinkSettings> {
        self.sinks.iter().find(|sink| sink.name == name)
    }
}

impl Settings {
    /// Every setting by its path, for comparing two configurations and for the audit log.
    pub fn facts(&self) -> Map<String, Value> {
        let mut facts = Map::new();
        let mut put = |path: String, value: Value| {
            if !value.is_null() {
                facts.insert(path, value);
            }
        };
        put("organization.budgets.daily".to_owned(), json!(self.organization.daily));
        put("organization.budgets.monthly".to_owned(), json!(self.organization.monthly));
        for environment in &self.environments {
            let of = |leaf: &str| format!("environments.{}.{leaf}", environment.name);
            put(of("budgets.daily"), json!(environment.budgets.daily));
            put(of("budgets.monthly"), json!(environment.budgets.monthly));
            put(of("limits"), json!(environment.limits));
            put(of("policy"), json!(environment.policy));
            put(of("pause_on_exceed"), json!(environment.pause_on_exceed));
            put(of("rotation_interval_days"), json!(environment.rotation_interval_days));
            put(of("rotation_approvals"), json!(environment.rotation_approvals));
            put(of("workspace"), json!(environment.workspace));
        }
        for sink in &self.sinks {
            // No secret is in it: tokens are named by their files.
            put(format!("sinks.{}", sink.name), json!(format!("{sink:?}")));
        }
        // Read by people in a record; no program takes it apart.
        put("gateway".to_owned(), json!(format!("{:?}", self.gateway)));
        put("thresholds_percent".to_owned(), json!(self.thresholds_percent));
        put("timezone".to_owned(), json!(self.timezone));
        put("prices.digest".to_owned(), json!(self.prices.digest()));
        put("retention.calls_days".to_owned(), json!(self.retention.calls_days));
        put("checkpoint.interval_s".to_owned(), json!(self.checkpoint.interval_s));
        put("checkpoint.records".to_owned(), json!(self.checkpoint.records));
        put("checkpoint.anchor_file".to_owned(), json!(self.checkpoint.anchor_file));
        put("keys.project".to_owned(), json!(self.inventory.project));
        put("keys.unused_days".to_owned(), json!(self.inventory.unused_days));
        put("keys.rotation_policy".to_owned(), json!(self.inventory.rotation_policy));
        put("backup.folder".to_owned(), json!(self.backup.folder));
        put("backup.recipients".to_owned(), json!(self.backup.recipients));
        put("backup.openpgp_keys".to_owned(), json!(self.backup.openpgp_keys));
        put("backup.every_s".to_owned(), json!(self.backup.every_s));
        put("backup.keep_days".to_owned(), json!(self.backup.keep_days));
        put("backup.drill_identity".to_owned(), json!(self.backup.drill_identity));
        facts
    }
}

/// What nobody may do until it is allowed by name.
///
/// A skill of the workspace's own is nobody's in particular: one tenant would run another's.
/// `billing_policy` changes what a call costs in ways the price book does not know. A server tool
/// that this version does not know has no price and no bound.
pub const CAPABILITIES_DENIED: [Capability; 3] =
    [Capability::CustomSkills, Capability::BillingPolicy, Capability::UnknownServerTool];

/// The policy of an environment with nothing configured: every priced, active model.
pub fn default_policy() -> Policy {
    Policy { capabilities_deny: CAPABILITIES_DENIED.to_vec(), ..Policy::default() }
}

impl EnvironmentSettings {
    /// An environment of that name with the default policy, no budgets and no limits.
    pub fn named(name: &str) -> EnvironmentSettings {
        EnvironmentSettings {
            name: EnvironmentName::new(name),
            policy: default_policy(),
            budgets: Budgets::default(),
            pause_on_exceed: false,
            limits: Limits::default(),
            rotation_interval_days: 180,
            // Nothing is known of it, so it may be production.
            rotation_approvals: 2,
            workspace: None,
        }
    }

    fn house(name: &str, daily: i64, monthly: i64, rpm: u64, days: u32) -> EnvironmentSettings {
        EnvironmentSettings {
            budgets: Budgets {
                daily: Some(Money::from_usd(daily)),
                monthly: Some(Money::from_usd(monthly)),
            },
            limits: Limits { requests_per_minute: Some(rpm), ..Limits::default() },
            rotation_interval_days: days,
            rotation_approvals: if name == "production" { 2 } else { 0 },
            ..EnvironmentSettings::named(name)
        }
    }
}

impl Default for Retention {
    fn default() -> Retention {
        Retention { calls_days: 400 }
    }
}

impl Default for InventorySettings {
    fn default() -> InventorySettings {
        InventorySettings { project: None, unused_days: 30, rotation_policy: None }
    }
}

impl Default for CheckpointSettings {
    fn default() -> CheckpointSettings {
        CheckpointSettings { interval_s: 60, records: 1_000, anchor_file: None }
    }
}

impl Default for BackupSettings {
    fn default() -> BackupSettings {
        BackupSettings {
            folder: None,
            recipients: Vec::new(),
            openpgp_keys: Vec::new(),
            every_s: 900,
            keep_days: 35,
            drill_identity: None,
        }
    }
}

impl Default for Settings {
    /// The house with nothing configured.
    fn default() -> Settings {
        let mut production = EnvironmentSettings::house("production", 100, 3_000, 20, 180);
        production.pause_on_exceed = true;
        Settings {
            organization: Budgets::default(),
            environments: vec![
                production,
                EnvironmentSettings::house("staging", 10, 300, 5, 180),
                EnvironmentSettings::house("development", 5, 150, 2, 365),
            ],
            gateway: GatewaySettings::default(),
            thresholds_percent: vec![75, 90, 100],
            retention: Retention::default(),
            timezone: "UTC".to_owned(),
            prices: Arc::new(PriceBook::builtin()),
            checkpoint: CheckpointSettings::default(),
            sinks: Vec::new(),
            upstream_url: "https://api.anthropic.com".to_owned(),
            inventory: InventorySettings::default(),
            backup: BackupSettings::default(),
            sources: Sources::default(),
        }
    }
}

//! The second stage: what the values mean together.
//!
//! Here shapes become core types, and values that contradict one another are found. What only
//! deserves a look (a pinned model that retires, a listener open to the network) is a warning.

use std::path::PathBuf;
use std::sync::Arc;

use chamberlain_control::settings::{
    BackupSettings, CAPABILITIES_DENIED, CheckpointSettings, EnvironmentSettings,
    InventorySettings, Retention, Settings, Sources,
};
use chamberlain_core::admission::policy::OnShortage;
use chamberlain_core::admission::policy::Policy;
use chamberlain_core::id::EnvironmentName;
use chamberlain_core::ledger::price::PriceBook;
use chamberlain_core::money::Money;
use chamberlain_core::sink::settings::SinkSettings;
use chamberlain_core::snapshot::{
    BreakerSettings, Budgets, GatewaySettings, Limits, RetrySettings,
};
use chamberlain_core::time::Timestamp;
use chamberlain_gateway::ConnectionLimits;
use chamberlain_vault::backup::Recipients;

use super::keys;
use super::mistake::{Mistake, Place};
use super::typed::{Source, Typed};
use super::value::Value;
use super::{advice, value};

/// Everything configured.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// The data folder, when somebody wrote one.
    pub(crate) data: Option<PathBuf>,
    /// Level of logs.
    pub(crate) log: String,
    /// Whether the log has a line for every call.
    pub(crate) log_calls: bool,
    /// Form of logs: `auto`, `pretty`, `json`.
    pub(crate) log_format: String,
    /// Where clients call, `HOST:PORT`.
    pub(crate) listen: String,
    /// Where the console is, `HOST:PORT`.
    pub(crate) console: String,
    /// What `listen` is served with; `None` serves without TLS.
    pub(crate) tls: Option<TlsFiles>,
    /// Where calls are taken beside TCP.
    pub(crate) unix_socket: Option<PathBuf>,
    /// How many connections there may be.
    pub(crate) connections: ConnectionLimits,
    /// Names by which the console may be called.
    pub(crate) console_hosts: Vec<String>,
    /// How long calls may go on after a first signal.
    pub(crate) stop_grace_ms: u64,
    /// Where calls go.
    pub(crate) upstream_url: String,
    /// True when somebody wrote where calls go.
    pub(crate) upstream_is_written: bool,
    /// Whether calls may go to another machine without TLS.
    pub(crate) allow_plain_http: bool,
    /// Who is told of every model call.
    pub(crate) traces: Option<String>,
    /// What the control plane and the gateway need.
    pub(crate) settings: Settings,
}

/// The files that TLS is served with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct TlsFiles {
    /// The certificate and those between it and the root.
    pub(crate) cert: PathBuf,
    /// Its private key.
    pub(crate) key: PathBuf,
    /// Who vouches for clients.
    pub(crate) client_ca: Option<PathBuf>,
    /// Whether clients must show a certificate, where there is somebody to vouch for them.
    pub(crate) client_is_required: bool,
}

impl Config {
    /// The settings in which `new` differs and that only a restart takes over.
    pub(crate) fn waiting_for_restart(&self, new: &Config) -> Vec<&'static str> {
        let thresholds = self.settings.thresholds_percent != new.settings.thresholds_percent;
        [
            ("data", self.data != new.data),
            ("log", self.log != new.log),
            ("log_calls", self.log_calls != new.log_calls),
            ("log_format", self.log_format != new.log_format),
            ("thresholds_percent", thresholds),
            ("server.listen", self.listen != new.listen),
            ("server.console", self.console != new.console),
            ("server.tls", self.tls != new.tls),
            ("server.unix_socket", self.unix_socket != new.unix_socket),
            ("server.connections_max", self.connections.all != new.connections.all),
            (
                "server.connections_per_address_max",
                self.connections.per_address != new.connections.per_address,
            ),
            ("server.console_hosts", self.console_hosts != new.console_hosts),
            ("server.stop_grace", self.stop_grace_ms != new.stop_grace_ms),
            ("tracing.endpoint", self.traces != new.traces),
            ("upstream.url", self.upstream_url != new.upstream_url),
        ]
        .into_iter()
        .filter_map(|(name, differs)| differs.then_some(name))
        .collect()
    }
}

/// Resolves what was written; also says what is wrong or strange about it, as of `now`.
pub(crate) fn resolve(typed: &Typed, now: Timestamp) -> (Config, Vec<Mistake>) {
    let read = Reader { typed };
    let mut mistakes = Vec::new();
    let prices = read.prices(&mut mistakes);
    let settings = Settings {
        organization: read.budgets("organization"),
        environments: environments_in_order(typed)
            .iter()
            .map(|name| read.environment(name))
            .collect(),
        gateway: read.gateway(),
        thresholds_percent: read.percents("thresholds_percent"),
        retention: Retention { calls_days: read.small("retention.calls") },
        timezone: read.text("timezone"),
        prices: Arc::new(prices),
        checkpoint: CheckpointSettings {
            interval_s: read.number("checkpoint.interval").div_ceil(1_000),
            records: read.number("checkpoint.records"),
            anchor_file: read.path("checkpoint.anchor_file"),
        },
        sinks: read.sinks(&mut mistakes),
        upstream_url: read.text("upstream.url"),
        inventory: InventorySettings {
            project: read.optional_text("keys.project"),
            unused_days: read.small("keys.unused_after"),
            rotation_policy: read.path("keys.rotation_policy"),
        },
        backup: BackupSettings {
            folder: read.path("backup.folder"),
            recipients: read.texts("backup.recipients"),
            openpgp_keys: read
                .texts("backup.openpgp_keys")
                .into_iter()
                .map(PathBuf::from)
                .collect(),
            every_s: read.number("backup.every").div_ceil(1_000),
            keep_days: read.small("backup.keep"),
            drill_identity: read.path("backup.drill_identity"),
        },
        sources: read.sources(),
    };
    let config = Config {
        data: read.path("data"),
        log: read.text("log"),
        log_calls: read.flag("log_calls"),
        log_format: read.text("log_format"),
        listen: read.text("server.listen"),
        console: read.text("server.console"),
        tls: read.tls(&mut mistakes),
        unix_socket: read.path("server.unix_socket"),
        connections: ConnectionLimits {
            all: read.size("server.connections_max"),
            per_address: read.size("server.connections_per_address_max"),
        },
        console_hosts: read.texts("server.console_hosts"),
        stop_grace_ms: read.number("server.stop_grace"),
        upstream_url: read.text("upstream.url"),
        upstream_is_written: typed.place("upstream.url").is_some(),
        allow_plain_http: read.flag("upstream.allow_plain_http"),
        traces: read.optional_text("tracing.endpoint"),
        settings,
    };
    contradictions(&config, typed, &mut mistakes);
    advice::look_at(&config, typed, now, &mut mistakes);
    (config, mistakes)
}

/// The three of the house first, then others by name.
fn environments_in_order(typed: &Typed) -> Vec<String> {
    let others = typed.environments().filter(|name| !keys::ENVIRONMENTS.contains(name));
    keys::ENVIRONMENTS.iter().copied().chain(others).map(str::to_owned).collect()
}

/// Errors that no single value shows.
fn contradictions(config: &Config, typed: &Typed, mistakes: &mut Vec<Mistake>) {
    if config.listen == config.console && !config.listen.ends_with(":0") {
        mistakes.push(Mistake::error(
            typed.place("server.console").or_else(|| typed.place("server.listen")),
            format!("calls and console cannot both be served at {}", config.listen),
            "give `console` another port",
        ));
    }
    backups(config, typed, mistakes);
    let retry = config.settings.gateway.retry;
    if retry.initial_delay_ms > retry.delay_max_ms {
        mistakes.push(Mistake::error(
            typed.place("retry.initial_delay").or_else(|| typed.place("retry.delay_max")),
            format!(
                "the first delay ({}) is longer than the longest ({})",
                value::duration_text(retry.initial_delay_ms),
                value::duration_text(retry.delay_max_ms)
            ),
            "lower `initial_delay` or raise `delay_max`",
        ));
    }
}

/// Backups that nobody could read are none.
fn backups(config: &Config, typed: &Typed, mistakes: &mut Vec<Mistake>) {
    let backup = &config.settings.backup;
    let mut wrong = |key: &str, what: String, fix: &str| {
        mistakes.push(Mistake::error(typed.place(key), what, fix));
    };
    if !backup.recipients.is_empty() && !backup.openpgp_keys.is_empty() {
        wrong(
            "backup.openpgp_keys",
            "backups are either age's or OpenPGP's, not both".to_owned(),
            "leave `recipients` or `openpgp_keys` out",
        );
    }
    if backup.folder.is_some() && backup.recipients.is_empty() && backup.openpgp_keys.is_empty() {
        wrong(
            "backup.folder",
            "there is a folder for backups and nobody who could read them".to_owned(),
            "make an identity with age-keygen, keep it elsewhere, and name its recipient in \
             `recipients`",
        );
    }
    if !backup.recipients.is_empty()
        && let Err(error) = Recipients::parse(&backup.recipients)
    {
        wrong("backup.recipients", error.to_string(), "mend it: each begins with age1");
    }
}

/// Reads values by path. Every path is in the table of keys, so every value is there.
struct Reader<'a> {
    typed: &'a Typed,
}

impl Reader<'_> {
    fn value(&self, path: &str) -> &Value {
        let written = self.typed.written(path);
        &written.expect("every path read here is in the table of keys").value
    }

    fn text(&self, path: &str) -> String {
        match self.value(path) {
            Value::Text(text) => text.clone(),
            _ => String::new(),
        }
    }

    fn optional_text(&self, path: &str) -> Option<String> {
        match self.value(path) {
            Value::Text(text) => Some(text.clone()),
            _ => None,
        }
    }

    fn path(&self, path: &str) -> Option<PathBuf> {
        self.optional_text(path).map(PathBuf::from)
    }

    /// Certificate and key belong together, and so do those who vouch for clients.
    fn tls(&self, mistakes: &mut Vec<Mistake>) -> Option<TlsFiles> {
        let (cert, key) = (self.path("server.tls.cert"), self.path("server.tls.key"));
        let client_ca = self.path("server.tls.client_ca");
        let mut lone = |written: &str, missing: &str| {
            mistakes.push(Mistake::error(
                self.typed.place(written),
                format!("`{written}` is set and `{missing}` is not"),
                format!("name both files, or leave `{written}` out"),
            ));
        };
        match (cert, key) {
            (Some(cert), Some(key)) => {
                let client_is_required = self.text("server.tls.client_certificate") == "required";
                return Some(TlsFiles { cert, key, client_ca, client_is_required });
            }
            (Some(_), None) => lone("server.tls.cert", "server.tls.key"),
            (None, Some(_)) => lone("server.tls.key", "server.tls.cert"),
            (None, None) if client_ca.is_some() => lone("server.tls.client_ca", "server.tls.cert"),
            (None, None) => {}
        }
        None
    }

    fn flag(&self, path: &str) -> bool {
        matches!(self.value(path), Value::Flag(true))
    }

    fn optional(&self, path: &str) -> Option<u64> {
        match self.value(path) {
            Value::Number(number) => Some(*number),
            _ => None,
        }
    }

    fn number(&self, path: &str) -> u64 {
        self.optional(path).unwrap_or_default()
    }

    /// A number whose kind keeps it small.
    fn small(&self, path: &str) -> u32 {
        u32::try_from(self.number(path)).unwrap_or(u32::MAX)
    }

    fn size(&self, path: &str) -> usize {
        usize::try_from(self.number(path)).unwrap_or(usize::MAX)
    }

    fn money(&self, path: &str) -> Option<Money> {
        match self.value(path) {
            Value::Money(money) => Some(*money),
            _ => None,
        }
    }

    fn texts(&self, path: &str) -> Vec<String> {
        match self.value(path) {
            Value::Texts(list) => list.clone(),
            _ => Vec::new(),
        }
    }

    fn percents(&self, path: &str) -> Vec<u32> {
        match self.value(path) {
            Value::Numbers(list) => list.clone(),
            _ => Vec::new(),
        }
    }

    fn networks(&self, path: &str) -> Vec<ipnet::IpNet> {
        match self.value(path) {
            Value::Networks(list) => list.clone(),
            _ => Vec::new(),
        }
    }

    fn budgets(&self, scope: &str) -> Budgets {
        Budgets {
            daily: self.money(&format!("{scope}.budgets.daily")),
            monthly: self.money(&format!("{scope}.budgets.monthly")),
        }
    }

    fn environment(&self, name: &str) -> EnvironmentSettings {
        let of = |leaf: &str| format!("environments.{name}.{leaf}");
        let capabilities = |leaf: &str| match self.value(&of(leaf)) {
            Value::Capabilities(list) => Some(list.clone()),
            _ => None,
        };
        EnvironmentSettings {
            name: EnvironmentName::new(name),
            policy: Policy {
                models_allow: self.texts(&of("policy.models_allow")),
                models_deny: self.texts(&of("policy.models_deny")),
                operations_allow: self.texts(&of("policy.operations_allow")),
                operations_deny: self.texts(&of("policy.operations_deny")),
                capabilities_deny: capabilities("policy.capabilities_deny")
                    .unwrap_or_else(|| CAPABILITIES_DENIED.to_vec()),
                capabilities_allow: capabilities("policy.capabilities_allow"),
                max_tokens: self.optional(&of("policy.max_tokens")),
                networks_allow: self.networks(&of("policy.networks_allow")),
                on_shortage: OnShortage::Refuse,
            },
            budgets: self.budgets(&format!("environments.{name}")),
            pause_on_exceed: self.flag(&of("pause_on_exceed")),
            limits: Limits {
                requests_per_minute: self.optional(&of("limits.requests_per_minute")),
                input_tokens_per_minute: self.optional(&of("limits.input_tokens_per_minute")),
                output_tokens_per_minute: self.optional(&of("limits.output_tokens_per_minute")),
                concurrency: self.optional(&of("limits.concurrency")),
            },
            rotation_interval_days: self.small(&of("rotation_interval")),
            rotation_approvals: self.small(&of("rotation_approvals")),
            workspace: self.optional_text(&of("workspace")),
        }
    }

    fn gateway(&self) -> GatewaySettings {
        GatewaySettings {
            trusted_proxies: self.networks("server.trusted_proxies"),
            unix_socket_is_proxy: self.flag("server.unix_socket_is_proxy"),
            request_body_bytes_max: self.size("server.request_body_max"),
            batch_body_bytes_max: self.size("server.batch_body_max"),
            batch_look_ms_min: self.number("upstream.batch_look"),
            public_url: Some(self.text("server.public_url")).filter(|url| !url.is_empty()),
            upload_body_bytes_max: self.size("server.upload_body_max"),
            json_depth_max: self.size("server.json_depth_max"),
            bodies_in_flight_bytes_max: self.size("server.bodies_in_flight_max"),
            waiting_calls_max: self.size("queue.calls_max"),
            wait_ms_max: self.number("queue.wait_max"),
            connect_ms_max: self.number("upstream.connect_timeout"),
            first_byte_ms_max: self.number("upstream.first_byte_timeout"),
            idle_ms_max: self.number("upstream.idle_timeout"),
            drain_ms_max: self.number("upstream.drain_timeout"),
            forward_rate_limit_headers: self.flag("upstream.forward_rate_limit_headers"),
            assume_us_geo: self.flag("upstream.assume_us_geo"),
            fields_allowed: self.texts("upstream.fields_allowed"),
            forward_billing_headers: self.flag("upstream.forward_billing_headers"),
            retry: RetrySettings {
                retries_max: self.small("retry.retries_max"),
                initial_delay_ms: self.number("retry.initial_delay"),
                delay_max_ms: self.number("retry.delay_max"),
                budget_percent: self.small("retry.budget_percent"),
            },
            breaker: BreakerSettings {
                failure_threshold: self.small("breaker.failure_threshold"),
                reset_timeout_ms: self.number("breaker.reset_timeout"),
                success_threshold: self.small("breaker.success_threshold"),
            },
        }
    }

    /// Each with the environment it names looked up.
    fn sinks(&self, mistakes: &mut Vec<Mistake>) -> Vec<SinkSettings> {
        let Value::Sinks(sinks) = self.value("sinks") else { return Vec::new() };
        let known: Vec<&str> = self.typed.environments().collect();
        let unknown = sinks.iter().filter(|sink| !known.contains(&sink.environment.as_str()));
        for sink in unknown {
            mistakes.push(Mistake::error(
                self.typed.place("sinks"),
                format!(
                    "sink {:?} is for {:?}, and there is no such environment",
                    sink.name,
                    sink.environment.as_str()
                ),
                format!("write one of {}", known.join(", ")),
            ));
        }
        sinks.clone()
    }

    fn prices(&self, mistakes: &mut Vec<Mistake>) -> PriceBook {
        let rows = match self.value("prices") {
            Value::Prices(rows) => rows.clone(),
            _ => Vec::new(),
        };
        PriceBook::builtin().with_overrides(rows).unwrap_or_else(|error| {
            let place = self.typed.place("prices");
            mistakes.push(Mistake::error(place, error.to_string(), "mend or remove that row"));
            PriceBook::builtin()
        })
    }

    fn sources(&self) -> Sources {
        let mut sources = Sources::default();
        for (path, _, written) in self.typed.all() {
            if let Source::Written(place) = &written.source {
                let text = match place {
                    Place::File { path, line, .. } => format!("{path}:{line}"),
                    other => other.to_string(),
                };
                sources.0.insert(path, text);
            }
        }
        sources
    }
}

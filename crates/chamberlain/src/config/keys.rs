//! Every configuration key, once: where it is written, what it is, what it is when nobody writes
//! it, and what it is for.
//!
//! `config check`, `config explain`, `init`, the environment overrides and the man page all read
//! this table; there is no second list.

use super::value::Kind;

/// What a key is when nobody writes it, in TOML.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Preset {
    /// The same everywhere.
    Fixed(&'static str),
    /// Depends on the environment: production, staging, development, and any other.
    ByEnvironment([&'static str; 4]),
}

impl Preset {
    /// The preset in `environment`.
    pub(crate) fn toml(self, environment: Option<&str>) -> &'static str {
        match (self, environment) {
            (Preset::Fixed(text), _) => text,
            (Preset::ByEnvironment(texts), Some("production")) => texts[0],
            (Preset::ByEnvironment(texts), Some("staging")) => texts[1],
            (Preset::ByEnvironment(texts), Some("development")) => texts[2],
            (Preset::ByEnvironment(texts), _) => texts[3],
        }
    }
}

/// One key.
#[derive(Debug)]
pub(crate) struct Key {
    /// Dotted path; `*` stands for the name of an environment.
    pub(crate) path: &'static str,
    /// Its shape.
    pub(crate) kind: Kind,
    /// Its value when nobody writes it.
    pub(crate) preset: Preset,
    /// A value that differs from the preset, for the sample file and the tests.
    pub(crate) example: &'static str,
    /// What it is for, in a sentence or two.
    pub(crate) doc: &'static str,
    /// Whether a reload takes it over; the others need a restart.
    pub(crate) reloads: bool,
}

const fn key(
    path: &'static str,
    kind: Kind,
    preset: &'static str,
    example: &'static str,
    doc: &'static str,
) -> Key {
    Key { path, kind, preset: Preset::Fixed(preset), example, doc, reloads: true }
}

const fn at_start(key: Key) -> Key {
    Key { reloads: false, ..key }
}

const fn per_environment(
    path: &'static str,
    kind: Kind,
    presets: [&'static str; 4],
    example: &'static str,
    doc: &'static str,
) -> Key {
    Key { path, kind, preset: Preset::ByEnvironment(presets), example, doc, reloads: true }
}

const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
const MIB: u64 = 1 << 20;

/// The levels of logs, the quietest first.
pub(crate) const LOG_LEVELS: &[&str] = &["off", "error", "warn", "info", "debug"];
/// The forms of logs.
pub(crate) const LOG_FORMATS: &[&str] = &["auto", "pretty", "json"];

/// Whether clients must show a certificate.
pub(crate) const CLIENT_CERTIFICATES: &[&str] = &["required", "optional"];

/// All keys, in the order of the file.
pub(crate) static KEYS: &[Key] = &[
    at_start(key(
        "version",
        Kind::Version,
        "1",
        "1",
        "The version of this file's format. It must be the first thing written.",
    )),
    at_start(key(
        "data",
        Kind::Folder,
        "\"\"",
        "\"/var/lib/chamberlain\"",
        "The folder that holds the store, the vault and the audit log. When empty: \
         $XDG_DATA_HOME/chamberlain, else ~/.local/share/chamberlain.",
    )),
    at_start(key(
        "log",
        Kind::OneOf(LOG_LEVELS),
        "\"warn\"",
        "\"info\"",
        "What is logged to stderr. \"info\" is a line for every call, too. Bodies and secrets are \
         never logged.",
    )),
    at_start(key(
        "log_calls",
        Kind::Flag,
        "true",
        "false",
        "Whether \"info\" and \"debug\" have the line for every call. Without it they still tell \
         what changes and what breaks.",
    )),
    at_start(key(
        "log_format",
        Kind::OneOf(LOG_FORMATS),
        "\"auto\"",
        "\"json\"",
        "\"auto\" is readable on a terminal and JSON lines elsewhere.",
    )),
    at_start(key(
        "timezone",
        Kind::Zone,
        "\"UTC\"",
        "\"Europe/Zurich\"",
        "The calendar of budgets: when a day and a month begin. Choose it once, before the first \
         call.",
    )),
    at_start(key(
        "thresholds_percent",
        Kind::Percents,
        "[75, 90, 100]",
        "[50, 80, 100]",
        "Shares of a budget at which somebody is told.",
    )),
    at_start(key(
        "server.listen",
        Kind::Address,
        "\"127.0.0.1:8787\"",
        "\"127.0.0.1:9787\"",
        "Where clients call. Anything but loopback needs TLS, here or in front: virtual keys \
         travel in headers.",
    )),
    at_start(key(
        "server.console",
        Kind::Address,
        "\"127.0.0.1:8788\"",
        "\"127.0.0.1:9788\"",
        "Where health checks and the console are served. Never the same as `listen`.",
    )),
    at_start(key(
        "server.tls.cert",
        Kind::OptionalFile,
        "\"off\"",
        "\"/etc/chamberlain/tls/chain.pem\"",
        "The certificate that `listen` is served with, in PEM: the server's own first, then those \
         between it and the root. With \"off\" calls come in without TLS. A new file at the same \
         place is taken over by itself.",
    )),
    at_start(key(
        "server.tls.key",
        Kind::OptionalFile,
        "\"off\"",
        "\"/etc/chamberlain/tls/key.pem\"",
        "The private key of that certificate, in PEM, not encrypted, mode 0600.",
    )),
    at_start(key(
        "server.tls.client_ca",
        Kind::OptionalFile,
        "\"off\"",
        "\"/etc/chamberlain/tls/clients.pem\"",
        "Certificates that vouch for clients, in PEM. A client must then show a certificate that \
         one of them signed, besides its virtual key.",
    )),
    at_start(key(
        "server.tls.client_certificate",
        Kind::OneOf(CLIENT_CERTIFICATES),
        "\"required\"",
        "\"optional\"",
        "Whether `client_ca` turns clients without a certificate away. \"optional\" is for the \
         days in which they get theirs: one that is shown must be good, none is let pass.",
    )),
    at_start(key(
        "server.unix_socket",
        Kind::OptionalFile,
        "\"off\"",
        "\"/run/chamberlain/gateway.sock\"",
        "A Unix socket on which calls are taken too, mode 0660, without TLS. Its callers have no \
         address: where `networks_allow` lists networks they are refused.",
    )),
    key(
        "server.unix_socket_is_proxy",
        Kind::Flag,
        "false",
        "true",
        "Whether what calls through the Unix socket is a trusted proxy, whose x-forwarded-for is \
         believed.",
    ),
    at_start(key(
        "server.connections_max",
        Kind::Count(1, 1_000_000),
        "16384",
        "1024",
        "Connections of clients at once; more wait until one ends.",
    )),
    at_start(key(
        "server.connections_per_address_max",
        Kind::Count(1, 1_000_000),
        "4096",
        "256",
        "Connections at once from one address (of IPv6: one /64) that is no trusted proxy; more are closed.",
    )),
    at_start(key(
        "server.console_hosts",
        Kind::Names,
        "[]",
        "[\"chamberlain.internal\"]",
        "Names by which the console may be called, besides localhost and addresses. A web page \
         of somebody else could give its own name this machine's address.",
    )),
    at_start(key(
        "server.stop_grace",
        Kind::Duration(0, HOUR),
        "\"30s\"",
        "\"2m\"",
        "How long calls in flight may go on after a first SIGTERM; a second one stops at once.",
    )),
    key(
        "server.trusted_proxies",
        Kind::Networks,
        "[]",
        "[\"10.0.0.0/28\"]",
        "Networks of proxies whose x-forwarded-for is believed. Empty believes nobody.",
    ),
    key(
        "server.request_body_max",
        Kind::Size(1024, 256 * MIB),
        "\"32MiB\"",
        "\"8MiB\"",
        "Largest body of a message request after decoding; Anthropic takes 32 MB.",
    ),
    key(
        "server.batch_body_max",
        Kind::Size(1024, 1024 * MIB),
        "\"256MiB\"",
        "\"64MiB\"",
        "Largest body of a batch after decoding; Anthropic takes 256 MB. It counts in \
         `bodies_in_flight_max` while it is checked and sent.",
    ),
    key(
        "server.public_url",
        Kind::OptionalUrl,
        "\"off\"",
        "\"https://claude.example.com\"",
        "Where clients reach Chamberlain, for the links it puts into answers (`results_url` of \
         batches). When off, it is what the client's request says.",
    ),
    key(
        "server.upload_body_max",
        Kind::Size(1024, 1024 * MIB),
        "\"512MiB\"",
        "\"20MiB\"",
        "Largest body of a file upload, form and all; Anthropic takes files of 500 MB. It passes \
         through and is not held in memory.",
    ),
    key(
        "server.json_depth_max",
        Kind::Count(8, 512),
        "128",
        "64",
        "Deepest nesting of a request's JSON.",
    ),
    key(
        "server.bodies_in_flight_max",
        Kind::Size(MIB, 64 * 1024 * MIB),
        "\"512MiB\"",
        "\"256MiB\"",
        "Body bytes held in memory over all calls; beyond it calls are refused as overloaded. No \
         virtual key may hold more than it leaves free, so make it several times \
         `request_body_max`.",
    ),
    key(
        "queue.calls_max",
        Kind::Count(0, 1_000_000),
        "4096",
        "256",
        "Calls that may wait for a rate limit or for money, over all keys.",
    ),
    key(
        "queue.wait_max",
        Kind::Duration(0, 5 * MINUTE),
        "\"10s\"",
        "\"1s\"",
        "Longest such wait; then the call is refused with a true retry-after.",
    ),
    at_start(key(
        "upstream.url",
        Kind::Url,
        "\"https://api.anthropic.com\"",
        "\"http://127.0.0.1:9000\"",
        "Where calls go.",
    )),
    at_start(key(
        "upstream.allow_plain_http",
        Kind::Flag,
        "false",
        "true",
        "Whether calls may go to another machine without TLS. The upstream key then travels in \
         the clear.",
    )),
    key(
        "upstream.connect_timeout",
        Kind::Duration(100, 2 * MINUTE),
        "\"5s\"",
        "\"2s\"",
        "Longest wait for a connection.",
    ),
    key(
        "upstream.first_byte_timeout",
        Kind::Duration(1_000, 2 * HOUR),
        "\"10m\"",
        "\"5m\"",
        "Longest wait for the head of an answer.",
    ),
    key(
        "upstream.idle_timeout",
        Kind::Duration(1_000, 2 * HOUR),
        "\"6m\"",
        "\"2m\"",
        "Longest silence inside an answer; then it is cut and charged at an upper estimate.",
    ),
    key(
        "upstream.drain_timeout",
        Kind::Duration(0, 10 * MINUTE),
        "\"30s\"",
        "\"0s\"",
        "How long an answer is read on after its client left, to learn its true cost. \"0s\" \
         cancels at once and charges an estimate.",
    ),
    key(
        "upstream.batch_look",
        Kind::Duration(10, HOUR),
        "\"10s\"",
        "\"1m\"",
        "Shortest pause between two looks at a batch that runs; older batches are looked at less \
         often, at least every five minutes.",
    ),
    key(
        "upstream.forward_rate_limit_headers",
        Kind::Flag,
        "true",
        "false",
        "Whether clients see upstream's anthropic-ratelimit-* headers.",
    ),
    key(
        "upstream.forward_billing_headers",
        Kind::Flag,
        "false",
        "true",
        "Whether clients may choose the billed workspace and user profile by header.",
    ),
    key(
        "upstream.fields_allowed",
        Kind::Names,
        "[]",
        "[\"a_new_field\"]",
        "Fields of a message request that this version does not know and that you know to cost \
         nothing. All other unknown fields are refused.",
    ),
    key(
        "upstream.assume_us_geo",
        Kind::Flag,
        "false",
        "true",
        "Set it when the workspace runs in the US geography: calls are then bounded at the dearer \
         US price although they do not ask for it.",
    ),
    key(
        "retry.retries_max",
        Kind::Count(0, 10),
        "3",
        "1",
        "Retries after the first attempt; only what surely was not processed is sent again.",
    ),
    key(
        "retry.initial_delay",
        Kind::Duration(1, MINUTE),
        "\"1s\"",
        "\"500ms\"",
        "Delay before the first retry; it doubles each time.",
    ),
    key(
        "retry.delay_max",
        Kind::Duration(1, 5 * MINUTE),
        "\"8s\"",
        "\"4s\"",
        "No delay is longer; a longer retry-after of upstream is handed to the client.",
    ),
    key(
        "retry.budget_percent",
        Kind::Count(0, 100),
        "20",
        "10",
        "Retries as a share of calls, so that an outage is not multiplied.",
    ),
    key(
        "breaker.failure_threshold",
        Kind::Count(1, 1_000),
        "5",
        "10",
        "Failures in a row (5xx, 529, timeouts) that stop sending to an upstream key.",
    ),
    key(
        "breaker.reset_timeout",
        Kind::Duration(100, HOUR),
        "\"1m\"",
        "\"30s\"",
        "How long it stays stopped before one call may probe.",
    ),
    key(
        "breaker.success_threshold",
        Kind::Count(1, 100),
        "2",
        "3",
        "Successes in a row that let all calls through again.",
    ),
    at_start(key(
        "tracing.endpoint",
        Kind::OptionalUrl,
        "\"off\"",
        "\"http://127.0.0.1:4318\"",
        "An OpenTelemetry collector that is told of every model call, by OTLP over HTTP at \
         /v1/traces: who, which model, tokens and cost, never prompts or answers.",
    )),
    key(
        "organization.budgets.daily",
        Kind::OptionalMoney,
        "\"off\"",
        "\"120.00 USD\"",
        "Hard limit of everything together per calendar day.",
    ),
    key(
        "organization.budgets.monthly",
        Kind::OptionalMoney,
        "\"off\"",
        "\"3000.00 USD\"",
        "Hard limit of everything together per calendar month.",
    ),
    key(
        "retention.calls",
        Kind::Days(1, 36_500),
        "\"400d\"",
        "\"90d\"",
        "How long each call is kept. Hourly sums and audit records are kept for good.",
    ),
    key(
        "checkpoint.interval",
        Kind::Duration(1_000, DAY),
        "\"1m\"",
        "\"5m\"",
        "The audit log's head is signed at the latest this long after a new record.",
    ),
    key(
        "checkpoint.records",
        Kind::Count(1, 1_000_000),
        "1000",
        "100",
        "The audit log's head is signed at the latest after this many new records.",
    ),
    key(
        "checkpoint.anchor_file",
        Kind::OptionalFile,
        "\"off\"",
        "\"/mnt/elsewhere/chamberlain.checkpoints\"",
        "A file that every signed head is appended to. On another machine it proves that nobody \
         rolled the log back here.",
    ),
    key(
        "keys.project",
        Kind::OptionalName,
        "\"off\"",
        "\"agentic-base\"",
        "The first part of the names that are suggested for new upstream keys, \
         PROJECT-ENVIRONMENT-PURPOSE-DATE.",
    ),
    key(
        "keys.unused_after",
        Kind::Days(1, 3_650),
        "\"30d\"",
        "\"45d\"",
        "An upstream key that no call has left with for so long is a finding.",
    ),
    key(
        "keys.rotation_policy",
        Kind::OptionalFile,
        "\"off\"",
        "\"/opt/agentic-base/config/secrets-rotation-policy.yaml\"",
        "A secrets-rotation-policy.yaml whose dates are kept up to date, comments and order as they \
         are.",
    ),
    key(
        "backup.folder",
        Kind::OptionalFile,
        "\"off\"",
        "\"/mnt/elsewhere/chamberlain\"",
        "The folder that backups go to by themselves, best on another machine: within a minute of a \
         change, and every so often. \"off\" makes none by itself.",
    ),
    key(
        "backup.recipients",
        Kind::Names,
        "[]",
        "[\"age1lvyvwawkr0mcnnnncaghunadrqkmuf9e6507x9y920xxpp866cnql7dp2z\"]",
        "Age recipients (age1…) who can read backups: two or more, whose identities are kept apart \
         and away from this machine.",
    ),
    key(
        "backup.openpgp_keys",
        Kind::Names,
        "[]",
        "[\"/etc/chamberlain/backup-key.asc\"]",
        "Files with OpenPGP public keys whose owners can read backups, instead of age recipients. \
         Wants gpg on this machine.",
    ),
    key(
        "backup.every",
        Kind::Duration(MINUTE, DAY),
        "\"15m\"",
        "\"1h\"",
        "Time between two backups while nothing is changed.",
    ),
    key(
        "backup.keep",
        Kind::Days(1, 35),
        "\"35d\"",
        "\"14d\"",
        "How long a backup is kept: all of two hours, then one an hour for two days, then one a day. \
         At most 35 days, because keys that were erased here are sealed in older ones.",
    ),
    key(
        "backup.drill_identity",
        Kind::OptionalFile,
        "\"off\"",
        "\"/etc/chamberlain/drill.identity\"",
        "A file with an age identity, mode 0600, that the weekly restore drill reads the newest \
         backup with. \"off\" leaves drills to you.",
    ),
    per_environment(
        "environments.*.budgets.daily",
        Kind::OptionalMoney,
        ["\"100.00 USD\"", "\"10.00 USD\"", "\"5.00 USD\"", "\"5.00 USD\""],
        "\"25.00 USD\"",
        "Hard limit per calendar day.",
    ),
    per_environment(
        "environments.*.budgets.monthly",
        Kind::OptionalMoney,
        ["\"3000.00 USD\"", "\"300.00 USD\"", "\"150.00 USD\"", "\"150.00 USD\""],
        "\"500.00 USD\"",
        "Hard limit per calendar month.",
    ),
    per_environment(
        "environments.*.pause_on_exceed",
        Kind::Flag,
        ["true", "false", "false", "false"],
        "true",
        "Whether using up a budget pauses the whole environment until the window ends, instead \
         of refusing only what does not fit.",
    ),
    per_environment(
        "environments.*.rotation_interval",
        Kind::Days(1, 3650),
        ["\"180d\"", "\"180d\"", "\"365d\"", "\"365d\""],
        "\"90d\"",
        "Time between rotations of the environment's upstream key.",
    ),
    per_environment(
        "environments.*.rotation_approvals",
        Kind::Count(0, 9),
        ["2", "0", "0", "2"],
        "1",
        "How many people, besides whoever asks for it, approve a planned rotation of the \
         environment's upstream key. 0 asks nobody.",
    ),
    per_environment(
        "environments.*.workspace",
        Kind::OptionalName,
        ["\"off\"", "\"off\"", "\"off\"", "\"off\""],
        "\"agentic-base-production\"",
        "The workspace at Anthropic that the environment's upstream key belongs in, by name or id; \
         \"default\" is the default workspace. A key elsewhere is a finding.",
    ),
    per_environment(
        "environments.*.limits.requests_per_minute",
        Kind::OptionalCount,
        ["20", "5", "2", "2"],
        "50",
        "Requests in any 60 seconds, every attempt counted; shared by all keys of the environment \
         that have no limits of their own.",
    ),
    key(
        "environments.*.limits.input_tokens_per_minute",
        Kind::OptionalCount,
        "\"off\"",
        "40000",
        "Prompt tokens in any 60 seconds; cache reads are not counted.",
    ),
    key(
        "environments.*.limits.output_tokens_per_minute",
        Kind::OptionalCount,
        "\"off\"",
        "8000",
        "Output tokens in any 60 seconds.",
    ),
    key(
        "environments.*.limits.concurrency",
        Kind::OptionalCount,
        "\"off\"",
        "10",
        "Calls in flight at once.",
    ),
    key(
        "environments.*.policy.models_allow",
        Kind::Globs,
        "[]",
        "[\"claude-sonnet-4-5-20250929\"]",
        "Models that may be called, * is a wildcard. Empty allows every model that is priced and \
         active.",
    ),
    key(
        "environments.*.policy.models_deny",
        Kind::Globs,
        "[]",
        "[\"claude-opus-*\"]",
        "Models that may not be called; deny wins.",
    ),
    key(
        "environments.*.policy.operations_allow",
        Kind::Names,
        "[]",
        "[\"document_translation\", \"executive_summary\", \"stakeholder_briefing\"]",
        "Operations a call must name in x-chamberlain-operation, unless its key is bound to one. \
         Empty asks for none.",
    ),
    key(
        "environments.*.policy.operations_deny",
        Kind::Names,
        "[]",
        "[\"code_generation\", \"image_analysis\", \"long_context_processing\"]",
        "Operations that are refused; deny wins.",
    ),
    key(
        "environments.*.policy.capabilities_allow",
        Kind::Capabilities,
        "\"all\"",
        "[\"documents\", \"tools\"]",
        "What a request may use, read from its body. \"all\" allows what is not denied.",
    ),
    key(
        "environments.*.policy.capabilities_deny",
        Kind::Capabilities,
        "[\"custom_skills\", \"billing_policy\", \"unknown_server_tool\"]",
        "[\"custom_skills\", \"billing_policy\", \"unknown_server_tool\", \
          \"images\", \"long_context\"]",
        "What a request may not use; deny wins. What you write replaces this list: keep the first \
         three unless every key of the environment belongs to one tenant.",
    ),
    key(
        "environments.*.policy.max_tokens",
        Kind::OptionalCount,
        "\"off\"",
        "4096",
        "Largest max_tokens; a request that asks for more is refused.",
    ),
    key(
        "environments.*.policy.networks_allow",
        Kind::Networks,
        "[]",
        "[\"10.0.1.0/24\", \"192.168.1.100/32\"]",
        "Networks that calls may come from. Empty allows all. It does not replace the IP allow \
         list at Anthropic: use both.",
    ),
    key(
        "prices",
        Kind::Prices,
        "[]",
        "[]",
        "Own prices on top of the built-in ones, as [[prices]] tables: id, input, output, \
         cache_write_5m, cache_write_1h and cache_read as quoted US dollars per million tokens, \
         and optionally effective_from, context_window, max_output, aliases, fast, long_context.",
    ),
    key(
        "sinks",
        Kind::Sinks,
        "{}",
        "{}",
        "Where keys are delivered to, as [sinks.NAME] tables: kind (\"env_file\", \"command\", \
         \"github\", \"gitlab\" or \"kubernetes\"), environment, and what the kind needs; \
         docs/sinks.md has every word. A program that can call Chamberlain needs none: give it a \
         virtual key.",
    ),
];

/// The environments there are when nobody writes any.
pub(crate) const ENVIRONMENTS: [&str; 3] = ["production", "staging", "development"];

/// The key that `path` names; an environment's name stands where the table has `*`.
pub(crate) fn find(path: &str) -> Option<&'static Key> {
    let pattern = pattern_of(path);
    KEYS.iter().find(|key| key.path == pattern)
}

/// `environments.production.budgets.daily` → `environments.*.budgets.daily`.
pub(crate) fn pattern_of(path: &str) -> String {
    let mut parts: Vec<&str> = path.split('.').collect();
    if parts.len() > 2 && parts[0] == "environments" {
        parts[1] = "*";
    }
    parts.join(".")
}

/// The environment that `path` is about.
pub(crate) fn environment_of(path: &str) -> Option<&str> {
    path.strip_prefix("environments.")?.split('.').next()
}

/// The environment variable that overrides `path`.
pub(crate) fn variable_of(path: &str) -> String {
    let upper = path.replace('.', "__").replace('-', "_").to_uppercase();
    format!("CHAMBERLAIN_{upper}")
}

/// Whether `name` can name an environment.
pub(crate) fn is_environment_name(name: &str) -> bool {
    let first = name.bytes().next().is_some_and(|b| b.is_ascii_lowercase());
    first
        && name.len() <= 32
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(key: &Key, toml: &str) -> super::super::value::Value {
        let text = format!("x = {toml}");
        let table = toml::de::DeTable::parse(&text).unwrap();
        let value = table.get_ref().get("x").unwrap();
        key.kind
            .read_toml(value.get_ref())
            .unwrap_or_else(|wrong| panic!("{}: {wrong:?}", key.path))
    }

    #[test]
    fn every_preset_and_example_is_what_its_key_takes() {
        for key in KEYS {
            // An empty folder means the default place; nobody may write it.
            if key.path == "data" {
                continue;
            }
            for environment in ["production", "staging", "development", "other"] {
                let preset = read(key, key.preset.toml(Some(environment)));
                let example = read(key, key.example);
                let may_equal = ["version", "prices", "sinks"].contains(&key.path);
                let may_equal = may_equal || key.kind == Kind::Flag;
                assert!(may_equal || preset != example, "{} has no example", key.path);
            }
        }
    }

    #[test]
    fn every_key_is_named_once_and_described() {
        for (index, key) in KEYS.iter().enumerate() {
            assert!(KEYS[..index].iter().all(|other| other.path != key.path), "{}", key.path);
            assert!(key.doc.ends_with('.') && key.doc.len() > 10, "{}", key.path);
        }
    }

    #[test]
    fn a_key_has_one_variable() {
        assert_eq!(variable_of("server.listen"), "CHAMBERLAIN_SERVER__LISTEN");
        let daily = variable_of("environments.production.budgets.daily");
        assert_eq!(daily, "CHAMBERLAIN_ENVIRONMENTS__PRODUCTION__BUDGETS__DAILY");
        assert_eq!(variable_of("log"), "CHAMBERLAIN_LOG");
    }
}

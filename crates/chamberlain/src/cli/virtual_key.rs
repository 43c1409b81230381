//! `chamberlain virtual`: what clients get instead of a real key.

use chamberlain_control::command::{
    BatchesList, VirtualCreate, VirtualFreeze, VirtualList, VirtualRevoke, VirtualShow,
    VirtualUnfreeze, VirtualUpdate,
};
use chamberlain_control::reply::{PauseLine, VirtualKey};
use chamberlain_control::wire::Change;
use chamberlain_core::admission::key::KeyState;
use chamberlain_core::admission::policy::OnShortage;
use chamberlain_core::anthropic::request::Capability;
use chamberlain_core::money::Money;
use chamberlain_core::snapshot::{Budgets, Limits};
use clap::{Args, Subcommand};
use ipnet::IpNet;

use super::context::Context;
use super::parse;
use crate::failure::Failure;
use crate::out::{Out, or_dash};

const EXAMPLES: &str = "\
Examples:
  chamberlain virtual create --name ci --environment staging --daily 2 --expires 30d
  chamberlain virtual create --name translator --environment production \\
      --model 'claude-haiku-*' --operation document_translation --cidr 10.0.1.0/24
  chamberlain virtual list
  chamberlain virtual update ci --rpm 10 --daily default
  chamberlain virtual freeze ci --reason 'seen in a log'";

const FREEZE_EXAMPLES: &str = "\
Examples:
  chamberlain freeze ci --reason 'seen in a log'";

/// Virtual keys: create, list, show, update, freeze, unfreeze, revoke
#[derive(Args, Debug)]
#[command(before_help = EXAMPLES)]
pub(crate) struct Virtual {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// Make a virtual key; it is shown once
    Create(Box<Create>),
    /// List virtual keys
    List {
        /// Only of this environment
        #[arg(long)]
        environment: Option<String>,
        /// Revoked ones too
        #[arg(long)]
        all: bool,
    },
    /// Show one virtual key, without its secret
    Show {
        /// Id or name
        key: String,
    },
    /// Change what a virtual key may do; what is not named stays
    Update(Box<Update>),
    /// Stop a virtual key, reversibly
    Freeze(Freeze),
    /// Let a frozen virtual key work again
    Unfreeze {
        /// Id or name
        key: String,
    },
    /// Stop a virtual key for good
    Revoke {
        /// Id or name
        key: String,
        /// Why
        #[arg(long)]
        reason: Option<String>,
    },
}

/// What a new virtual key may do.
#[derive(Args, Debug)]
struct Create {
    /// A name for people, unique
    #[arg(long)]
    name: String,
    /// The environment it belongs to
    #[arg(long)]
    environment: String,
    /// Budget per calendar day, in US dollars
    #[arg(long, value_name = "USD", value_parser = parse::money)]
    daily: Option<Money>,
    /// Budget per calendar month, in US dollars
    #[arg(long, value_name = "USD", value_parser = parse::money)]
    monthly: Option<Money>,
    /// Requests in any minute
    #[arg(long, value_name = "N", value_parser = parse::count)]
    rpm: Option<u64>,
    /// Input tokens in any minute
    #[arg(long, value_name = "N", value_parser = parse::count)]
    input_tpm: Option<u64>,
    /// Output tokens in any minute
    #[arg(long, value_name = "N", value_parser = parse::count)]
    output_tpm: Option<u64>,
    /// Calls in flight at once
    #[arg(long, value_name = "N", value_parser = parse::count)]
    concurrency: Option<u64>,
    /// Allow this model (* is a wildcard); repeatable; without it, what the environment allows
    #[arg(long = "model", value_name = "GLOB")]
    models: Vec<String>,
    /// Deny this model; repeatable; deny wins
    #[arg(long = "deny-model", value_name = "GLOB")]
    models_deny: Vec<String>,
    /// Allow this operation to be named by calls; repeatable
    #[arg(long = "operation", value_name = "NAME")]
    operations: Vec<String>,
    /// Every call of this key is for this operation; calls need not name it
    #[arg(long = "bind-operation", value_name = "NAME")]
    bound: Option<String>,
    /// Deny this capability (images, web_search, …); repeatable
    #[arg(long = "deny-capability", value_name = "NAME", value_parser = parse::capability)]
    capabilities_deny: Vec<Capability>,
    /// Take calls from this network only; repeatable
    #[arg(long = "cidr", value_name = "CIDR", value_parser = parse::network)]
    cidrs: Vec<IpNet>,
    /// When it ends: 30d, 12h, 2026-12-31 (end of that day) or RFC 3339
    #[arg(long, value_name = "WHEN")]
    expires: Option<String>,
    /// Largest max_tokens
    #[arg(long, value_name = "N", value_parser = parse::count)]
    max_tokens: Option<u64>,
    /// When a budget cannot hold a call: `refuse` it, or `cut`: begin a stream without thinking or
    /// server tools with what is left, and end it when that may be used up. Chamberlain charges no
    /// more than is left; Anthropic's bill stays below it only if Anthropic stops writing within
    /// 1,024 tokens of being hung up on, which it does not promise. `refuse` needs no such promise
    #[arg(long, value_name = "WHAT", value_enum, default_value_t = Shortage::Refuse)]
    on_shortage: Shortage,
    /// Answered by the built-in mock, never by upstream
    #[arg(long)]
    test_mode: bool,
}

/// What is to change; `off` removes a limit, `default` goes back to what the environment says.
#[derive(Args, Debug)]
struct Update {
    /// Id or name
    key: String,
    /// A new name
    #[arg(long)]
    name: Option<String>,
    /// Budget per calendar day
    #[arg(long, value_name = "USD|off|default", value_parser = parse::money_change)]
    daily: Option<Change<Money>>,
    /// Budget per calendar month
    #[arg(long, value_name = "USD|off|default", value_parser = parse::money_change)]
    monthly: Option<Change<Money>>,
    /// Requests in any minute
    #[arg(long, value_name = "N|off|default", value_parser = parse::count_change)]
    rpm: Option<Change<u64>>,
    /// Input tokens in any minute
    #[arg(long, value_name = "N|off|default", value_parser = parse::count_change)]
    input_tpm: Option<Change<u64>>,
    /// Output tokens in any minute
    #[arg(long, value_name = "N|off|default", value_parser = parse::count_change)]
    output_tpm: Option<Change<u64>>,
    /// Calls in flight at once
    #[arg(long, value_name = "N|off|default", value_parser = parse::count_change)]
    concurrency: Option<Change<u64>>,
    /// Allowed models, replacing all before; repeatable
    #[arg(long = "model", value_name = "GLOB")]
    models: Option<Vec<String>>,
    /// Denied models, replacing all before; repeatable
    #[arg(long = "deny-model", value_name = "GLOB")]
    models_deny: Option<Vec<String>>,
    /// Allowed operations, replacing all before; repeatable
    #[arg(long = "operation", value_name = "NAME")]
    operations: Option<Vec<String>>,
    /// The one operation every call is for
    #[arg(long = "bind-operation", value_name = "NAME|off", value_parser = parse::text_change)]
    bound: Option<Change<String>>,
    /// Denied capabilities, replacing all before; repeatable
    #[arg(long = "deny-capability", value_name = "NAME", value_parser = parse::capability)]
    capabilities_deny: Option<Vec<Capability>>,
    /// Source networks, replacing all before; repeatable
    #[arg(long = "cidr", value_name = "CIDR", value_parser = parse::network)]
    cidrs: Option<Vec<IpNet>>,
    /// When it ends
    #[arg(long, value_name = "WHEN|off", value_parser = parse::text_change)]
    expires: Option<Change<String>>,
    /// Largest max_tokens
    #[arg(long, value_name = "N|off", value_parser = parse::count_change)]
    max_tokens: Option<Change<u64>>,
    /// When a budget cannot hold a call; see `virtual create --help` for what `cut` promises
    #[arg(long, value_name = "WHAT", value_enum)]
    on_shortage: Option<Shortage>,
}

/// What becomes of a call that a budget cannot hold.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Shortage {
    /// It is refused
    Refuse,
    /// A stream is begun with what is left
    Cut,
}

impl From<Shortage> for OnShortage {
    fn from(shortage: Shortage) -> OnShortage {
        match shortage {
            Shortage::Refuse => OnShortage::Refuse,
            Shortage::Cut => OnShortage::Cut,
        }
    }
}

/// Stop a virtual key, reversibly, and end its calls in flight
#[derive(Args, Debug)]
#[command(before_help = FREEZE_EXAMPLES)]
pub(crate) struct Freeze {
    /// Id or name
    key: String,
    /// Why
    #[arg(long)]
    reason: String,
}

impl Virtual {
    pub(super) fn run(self, context: &Context) -> Result<(), Failure> {
        match self.verb {
            Verb::Create(create) => create.run(context),
            Verb::List { environment, all } => {
                let keys = context.ask(VirtualList { environment, all })?;
                context.show(&keys, |out, keys| {
                    let rows = keys.keys.iter().map(row).collect();
                    out.table(
                        &["id", "name", "environment", "state", "budgets", "limits", "expires"],
                        rows,
                    )
                })
            }
            Verb::Show { key } => context.show(&context.ask(VirtualShow { key })?, facts),
            Verb::Update(update) => {
                let asked = update.question();
                if asked == (VirtualUpdate { key: asked.key.clone(), ..VirtualUpdate::default() }) {
                    return Err(Failure::usage("nothing to change")
                        .hint("name what is to change (chamberlain virtual update --help)"));
                }
                context.show(&context.ask(asked)?, facts)
            }
            Verb::Freeze(freeze) => freeze.run(context),
            Verb::Unfreeze { key } => context.show(&context.ask(VirtualUnfreeze { key })?, facts),
            Verb::Revoke { key, reason } => {
                let revoked = context.ask(VirtualRevoke { key, reason })?;
                context.show(&revoked, facts)?;
                hint_open_batches(context, &revoked);
                Ok(())
            }
        }
    }
}

impl Freeze {
    pub(super) fn run(self, context: &Context) -> Result<(), Failure> {
        let frozen = context.ask(VirtualFreeze { key: self.key, reason: self.reason })?;
        context.show(&frozen, facts)?;
        context.out.hint(&format!("to undo it: chamberlain virtual unfreeze {}", frozen.name));
        hint_open_batches(context, &frozen);
        Ok(())
    }
}

/// The most open batches that are counted.
const OPEN_MAX: u32 = 1_000;

/// A key that is stopped submits nothing more; what it had submitted runs on.
fn hint_open_batches(context: &Context, key: &VirtualKey) {
    // The key is stopped whether or not this can be told.
    let asked = context.ask(BatchesList { open: true, limit: Some(OPEN_MAX) });
    let open = asked.map_or_else(|_| Vec::new(), |open| open.batches);
    let of_key = open.iter().filter(|batch| batch.virtual_key == key.id).count();
    if of_key > 0 {
        context.out.hint(&format!(
            "batches of it whose cost is not known yet: {of_key} (chamberlain batches --open); \
             those that run go on, and are ended in Anthropic's Console only"
        ));
    }
}

impl Create {
    fn run(self, context: &Context) -> Result<(), Failure> {
        let created = context.ask(VirtualCreate {
            name: self.name,
            environment: self.environment,
            daily: self.daily,
            monthly: self.monthly,
            rpm: self.rpm,
            input_tpm: self.input_tpm,
            output_tpm: self.output_tpm,
            concurrency: self.concurrency,
            models: self.models,
            models_deny: self.models_deny,
            operations: self.operations,
            operation: self.bound,
            capabilities_deny: self.capabilities_deny,
            cidrs: self.cidrs,
            expires: self.expires,
            test_mode: self.test_mode,
            max_tokens: self.max_tokens,
            on_shortage: self.on_shortage.into(),
        })?;
        if context.out.json {
            return context.out.value(&created);
        }
        context.out.facts(&[
            ("id", created.id.clone()),
            ("key", created.key.secret().expose().to_owned()),
        ])?;
        context.out.hint("The key is shown this once; only its hash is kept.");
        Ok(())
    }
}

impl Update {
    fn question(self) -> VirtualUpdate {
        VirtualUpdate {
            key: self.key,
            name: self.name,
            daily: self.daily.unwrap_or_default(),
            monthly: self.monthly.unwrap_or_default(),
            rpm: self.rpm.unwrap_or_default(),
            input_tpm: self.input_tpm.unwrap_or_default(),
            output_tpm: self.output_tpm.unwrap_or_default(),
            concurrency: self.concurrency.unwrap_or_default(),
            models: self.models,
            models_deny: self.models_deny,
            operations: self.operations,
            operation: self.bound.unwrap_or_default(),
            capabilities_deny: self.capabilities_deny,
            cidrs: self.cidrs,
            expires: self.expires.unwrap_or_default(),
            max_tokens: self.max_tokens.unwrap_or_default(),
            on_shortage: self.on_shortage.map(Into::into),
        }
    }
}

fn state(key: &VirtualKey) -> String {
    let state = match key.state {
        KeyState::Active if key.usable => "active",
        KeyState::Active if key.pause.is_some() => "paused",
        KeyState::Active => "not usable",
        KeyState::Frozen => "frozen",
        KeyState::Revoked => "revoked",
    };
    if key.test_mode { format!("{state}, test mode") } else { state.to_owned() }
}

pub(super) fn budgets(budgets: &Budgets) -> String {
    let daily = budgets.daily.map(|money| format!("{money} a day"));
    let monthly = budgets.monthly.map(|money| format!("{money} a month"));
    listed(daily.into_iter().chain(monthly))
}

pub(super) fn limits(limits: &Limits) -> String {
    let named = [
        (limits.requests_per_minute, "requests/min"),
        (limits.input_tokens_per_minute, "input tokens/min"),
        (limits.output_tokens_per_minute, "output tokens/min"),
        (limits.concurrency, "in flight"),
    ];
    listed(named.into_iter().filter_map(|(limit, noun)| Some(format!("{} {noun}", limit?))))
}

/// The parts in a row, or a dash.
pub(super) fn listed(parts: impl Iterator<Item = String>) -> String {
    let parts: Vec<String> = parts.collect();
    if parts.is_empty() { "—".to_owned() } else { parts.join(", ") }
}

pub(super) fn pause(pause: Option<&PauseLine>) -> String {
    pause.map_or_else(
        || "—".to_owned(),
        |pause| {
            let until = pause.until.map_or_else(String::new, |until| format!(" until {until}"));
            let ended = if pause.ends_calls { ", calls in flight ended" } else { "" };
            format!("since {}{until} by {}: {}{ended}", pause.since, pause.by, pause.reason)
        },
    )
}

fn row(key: &VirtualKey) -> Vec<String> {
    vec![
        key.id.clone(),
        key.name.clone(),
        key.environment.clone(),
        state(key),
        budgets(&key.budgets),
        limits(&key.limits),
        or_dash(key.expires_at),
    ]
}

fn facts(out: &Out, key: &VirtualKey) -> Result<(), Failure> {
    let texts = |list: &[String]| listed(list.iter().cloned());
    let policy = &key.policy;
    out.facts(&[
        ("id", key.id.clone()),
        ("name", key.name.clone()),
        ("environment", key.environment.clone()),
        ("state", state(key)),
        ("created", key.created_at.to_string()),
        ("expires", or_dash(key.expires_at)),
        ("budgets", budgets(&key.budgets)),
        ("limits", limits(&key.limits)),
        ("models", texts(&policy.models_allow)),
        ("models denied", texts(&policy.models_deny)),
        ("operations", texts(&policy.operations_allow)),
        ("bound to operation", or_dash(key.operation.as_ref())),
        ("capabilities denied", capabilities(&policy.capabilities_deny)),
        ("max_tokens", or_dash(policy.max_tokens)),
        ("on shortage", shortage(policy.on_shortage).to_owned()),
        ("networks", listed(policy.networks_allow.iter().map(ToString::to_string))),
        ("pause", pause(key.pause.as_ref())),
    ])
}

fn shortage(on_shortage: OnShortage) -> &'static str {
    match on_shortage {
        OnShortage::Refuse => "refuse",
        OnShortage::Cut => "cut",
    }
}

fn capabilities(list: &[Capability]) -> String {
    let name = |capability| serde_json::to_value(capability).ok()?.as_str().map(str::to_owned);
    listed(list.iter().filter_map(name))
}

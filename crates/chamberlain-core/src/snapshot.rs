//! What the gateway decides by: one immutable value, published whole, with a generation.

use std::collections::HashMap;
use std::sync::Arc;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::admission::key::VirtualKey;
use crate::admission::policy::Policy;
use crate::id::{EnvironmentName, UpstreamKeyId, VirtualKeyId};
use crate::ledger::price::PriceBook;
use crate::money::Money;
use crate::time::{Calendar, Timestamp};

/// Hard limits in money on one scope. `None` means no limit of that kind.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct Budgets {
    /// Per calendar day.
    pub daily: Option<Money>,
    /// Per calendar month.
    pub monthly: Option<Money>,
}

impl Budgets {
    /// The limit of one kind.
    pub fn limit(&self, kind: crate::time::WindowKind) -> Option<Money> {
        match kind {
            crate::time::WindowKind::Daily => self.daily,
            crate::time::WindowKind::Monthly => self.monthly,
        }
    }
}

/// Rate limits on one scope. `None` means no limit of that kind.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Requests in any 60 seconds, every attempt counted.
    pub requests_per_minute: Option<u64>,
    /// Prompt tokens (cache reads not counted) in any 60 seconds.
    pub input_tokens_per_minute: Option<u64>,
    /// Output tokens in any 60 seconds.
    pub output_tokens_per_minute: Option<u64>,
    /// Calls in flight at once.
    pub concurrency: Option<u64>,
}

impl Limits {
    /// True when the scope has a limit of its own on requests.
    pub fn is_empty(&self) -> bool {
        *self == Limits::default()
    }
}

/// Why and since when a scope takes no calls.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Pause {
    /// Since when.
    pub since: Timestamp,
    /// Until when; `None` until somebody resumes.
    pub until: Option<Timestamp>,
    /// Who paused.
    pub by: String,
    /// Why.
    pub reason: String,
    /// Whether it ends the calls in flight too, and not only refuses those that come.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ends_calls: bool,
}

impl Pause {
    /// Whether it holds at `now`.
    pub fn holds(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

/// The organization: the scope of every call.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Organization {
    /// Its budgets.
    pub budgets: Budgets,
    /// Set while everything is paused.
    pub pause: Option<Pause>,
}

/// An environment: own policy, budgets, limits and upstream key.
#[derive(Clone, PartialEq, Debug)]
pub struct Environment {
    /// Its name.
    pub name: EnvironmentName,
    /// What its calls may do.
    pub policy: Policy,
    /// Its budgets.
    pub budgets: Budgets,
    /// Whether reaching a budget pauses the environment until the window ends.
    pub pause_on_exceed: bool,
    /// Shared by those of its keys that have no limits of their own.
    pub limits: Limits,
    /// The current upstream key: its own, or the shared one; `None` sends calls to the mock.
    pub upstream_key: Option<UpstreamKeyId>,
    /// Whether it has none because the one it had was contained.
    pub is_contained: bool,
    /// Set while the environment is paused.
    pub pause: Option<Pause>,
}

/// What a client's retry and ours may do.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct RetrySettings {
    /// Retries after the first attempt.
    pub retries_max: u32,
    /// Delay before the first retry, milliseconds; doubles each time.
    pub initial_delay_ms: u64,
    /// No delay is longer, milliseconds; a longer `retry-after` ends retrying.
    pub delay_max_ms: u64,
    /// Retries as a share of calls, in percent, beyond a floor of ten a minute.
    pub budget_percent: u32,
}

/// When to stop sending to a failing upstream key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BreakerSettings {
    /// Consecutive failures that open it.
    pub failure_threshold: u32,
    /// How long it stays open, milliseconds.
    pub reset_timeout_ms: u64,
    /// Successes in a row that close it again.
    pub success_threshold: u32,
}

/// Bounds on the gateway itself. Units are in the names.
#[derive(Clone, PartialEq, Debug)]
pub struct GatewaySettings {
    /// Networks of proxies whose `x-forwarded-for` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Whether whoever calls through the Unix socket is such a proxy.
    pub unix_socket_is_proxy: bool,
    /// Largest body of a message request after decoding.
    pub request_body_bytes_max: usize,
    /// Largest body of a batch after decoding.
    pub batch_body_bytes_max: usize,
    /// The shortest pause between two looks at a batch that runs.
    pub batch_look_ms_min: u64,
    /// Where clients reach Chamberlain, without a slash at its end; `None` when it is as they say.
    pub public_url: Option<String>,
    /// Largest body of a file upload, form and all.
    pub upload_body_bytes_max: usize,
    /// Deepest JSON nesting.
    pub json_depth_max: usize,
    /// Body bytes in memory over all calls.
    pub bodies_in_flight_bytes_max: usize,
    /// Calls waiting for a rate limit or for money, over all keys.
    pub waiting_calls_max: usize,
    /// Longest such wait.
    pub wait_ms_max: u64,
    /// Longest wait for a connection upstream.
    pub connect_ms_max: u64,
    /// Longest wait for the head of an answer.
    pub first_byte_ms_max: u64,
    /// Longest silence inside an answer.
    pub idle_ms_max: u64,
    /// How long an answer is read on after its client left; 0 cancels at once.
    pub drain_ms_max: u64,
    /// Whether upstream's `anthropic-ratelimit-*` headers reach clients.
    pub forward_rate_limit_headers: bool,
    /// Whether calls may cost the US-only price although they do not ask for it.
    pub assume_us_geo: bool,
    /// Fields of a request that this version does not know and that pass all the same.
    pub fields_allowed: Vec<String>,
    /// Whether `anthropic-workspace-id` and `anthropic-user-profile-id` pass.
    pub forward_billing_headers: bool,
    /// Retry.
    pub retry: RetrySettings,
    /// Breaker.
    pub breaker: BreakerSettings,
}

impl Default for GatewaySettings {
    fn default() -> GatewaySettings {
        GatewaySettings {
            trusted_proxies: Vec::new(),
            unix_socket_is_proxy: false,
            request_body_bytes_max: 32 * 1024 * 1024,
            batch_body_bytes_max: 256 * 1024 * 1024,
            batch_look_ms_min: 10_000,
            public_url: None,
            upload_body_bytes_max: 512 * 1024 * 1024,
            json_depth_max: 128,
            bodies_in_flight_bytes_max: 512 * 1024 * 1024,
            waiting_calls_max: 4096,
            wait_ms_max: 10_000,
            connect_ms_max: 5_000,
            first_byte_ms_max: 600_000,
            idle_ms_max: 360_000,
            drain_ms_max: 30_000,
            forward_rate_limit_headers: true,
            assume_us_geo: false,
            fields_allowed: Vec::new(),
            forward_billing_headers: false,
            retry: RetrySettings {
                retries_max: 3,
                initial_delay_ms: 1_000,
                delay_max_ms: 8_000,
                budget_percent: 20,
            },
            breaker: BreakerSettings {
                failure_threshold: 5,
                reset_timeout_ms: 60_000,
                success_threshold: 2,
            },
        }
    }
}

/// Everything the gateway decides by.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Grows with every publication; an older snapshot is never published over a newer one.
    pub generation: u64,
    /// The calendar of budget windows.
    pub calendar: Calendar,
    /// The organization.
    pub organization: Organization,
    /// Environments by name.
    pub environments: HashMap<EnvironmentName, Arc<Environment>>,
    /// Virtual keys by public id, revoked ones included (they are told apart in the answer).
    pub virtual_keys: HashMap<VirtualKeyId, Arc<VirtualKey>>,
    /// The prices.
    pub prices: Arc<PriceBook>,
    /// The gateway's own bounds.
    pub settings: GatewaySettings,
}

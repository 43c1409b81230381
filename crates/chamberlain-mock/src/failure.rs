//! The error answers of the real API that have a name as a scenario, and errors for requests to
//! come, for clients that cannot ask for them themselves.

use std::sync::Mutex;
use std::time::Duration;

use http::{Method, StatusCode};

use crate::error::ApiError;

/// Requests that are to fail, by the beginning of their path.
#[derive(Default, Debug)]
pub(crate) struct Faults(Mutex<Vec<Fault>>, Mutex<Vec<Delay>>);

#[derive(Debug)]
struct Delay {
    method: Option<String>,
    path: String,
    by: Duration,
    left: u64,
}

#[derive(Debug)]
struct Fault {
    method: Option<String>,
    path: String,
    status: u16,
    left: u64,
}

impl Faults {
    /// Makes the next `times` requests to paths that begin with `path` fail.
    pub(crate) fn add(&self, method: Option<String>, path: String, status: u64, times: u64) {
        let status = u16::try_from(status).unwrap_or(500);
        self.lock().push(Fault { method, path, status, left: times });
    }

    /// Fails, if this request is to.
    ///
    /// # Errors
    /// As was asked for.
    pub(crate) fn take(&self, method: &Method, path: &str) -> Result<(), ApiError> {
        let mut faults = self.lock();
        let is_meant = |fault: &&mut Fault| {
            let method_fits = fault.method.as_deref().is_none_or(|asked| asked == method.as_str());
            fault.left > 0 && method_fits && path.starts_with(&fault.path)
        };
        let Some(fault) = faults.iter_mut().find(is_meant) else { return Ok(()) };
        fault.left -= 1;
        Err(of_status(fault.status).unwrap_or_else(|| ApiError::invalid("no error status")))
    }

    /// Makes the next `times` answers to paths that begin with `path` come later.
    pub(crate) fn add_delay(&self, method: Option<String>, path: String, ms: u64, times: u64) {
        let by = Duration::from_millis(ms);
        self.lock_delays().push(Delay { method, path, by, left: times });
    }

    /// How much later this answer is to come.
    pub(crate) fn delay(&self, method: &Method, path: &str) -> Duration {
        let mut delays = self.lock_delays();
        let is_meant = |delay: &&mut Delay| {
            let method_fits = delay.method.as_deref().is_none_or(|asked| asked == method.as_str());
            delay.left > 0 && method_fits && path.starts_with(&delay.path)
        };
        let Some(delay) = delays.iter_mut().find(is_meant) else { return Duration::ZERO };
        delay.left -= 1;
        delay.by
    }

    /// Nothing fails or is late any more.
    pub(crate) fn clear(&self) {
        self.lock().clear();
        self.lock_delays().clear();
    }

    fn lock_delays(&self) -> std::sync::MutexGuard<'_, Vec<Delay>> {
        self.1.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Fault>> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// The failure of that name, or `None`.
pub(crate) fn named(name: &str) -> Option<ApiError> {
    let (status, message, code, retry_after) = match name {
        "rate_limited" => (429, RATE_LIMITED, None, Some(1)),
        "ramp" => (429, RAMP, Some("ramp_limit_exceeded"), Some(5)),
        "tier_cap" => (429, TIER_CAP, Some("enforced_spend_limit_reached"), None),
        "contract_cap" => (429, CONTRACT_CAP, Some("contract_spend_limit_reached"), None),
        "own_limit" => (400, OWN_LIMIT, None, None),
        "workspace_limit" => (400, WORKSPACE_LIMIT, None, None),
        "billing" => (402, BILLING, None, None),
        "credit" => (400, CREDIT, None, None),
        "ip" => (403, IP, None, None),
        "expired" => (401, "API key has expired", None, None),
        "revoked" => (401, "invalid x-api-key", None, None),
        "too_large" => (413, TOO_LARGE, None, None),
        "internal" => (500, "Internal server error", None, None),
        "unavailable" => (503, "Service unavailable", None, None),
        "timeout" => (504, TIMEOUT, None, None),
        "overloaded" => (529, "Overloaded", None, None),
        _ => return None,
    };
    let mut error = of_status(status)?;
    error.message = message.to_owned();
    error.code = code.map(str::to_owned);
    error.retry_after = retry_after;
    Some(error)
}

/// A failure of that status with a plain message; `None` unless it is an error status.
pub(crate) fn of_status(status: u16) -> Option<ApiError> {
    if !(400..=599).contains(&status) {
        return None;
    }
    let status = StatusCode::from_u16(status).ok()?;
    Some(ApiError::new(status, format!("The mock was asked to answer {}.", status.as_u16())))
}

/// Larger than the edge lets through.
pub(crate) const TOO_LARGE: &str = "Request exceeds the maximum size";

const RATE_LIMITED: &str = "This request would exceed your organization's rate limit of 4,000 \
    requests per minute. Please reduce the rate of requests or contact sales for a higher limit.";
const RAMP: &str = "This request would exceed your organization's acceleration limit. Please \
    scale up your usage more gradually.";
const TIER_CAP: &str = "This organization has reached the monthly spend limit of its usage tier. \
    Access returns on 2026-12-01 at 00:00 UTC.";
const CONTRACT_CAP: &str = "This organization has reached the spend limit of its contract.";
const OWN_LIMIT: &str = "You have reached your specified API usage limits. You will regain access \
    on 2026-12-01 at 00:00 UTC.";
const WORKSPACE_LIMIT: &str = "You have reached your specified workspace API usage limits. You \
    will regain access on 2026-12-01 at 00:00 UTC.";
const BILLING: &str = "There is a problem with the billing of this organization. Please check \
    your payment details.";
const CREDIT: &str = "Your credit balance is too low to access the Anthropic API. Please go to \
    Plans & Billing to upgrade or purchase credits.";
const IP: &str = "This request comes from an IP address that your organization does not allow.";
const TIMEOUT: &str = "The request took too long. Please use streaming for long requests.";

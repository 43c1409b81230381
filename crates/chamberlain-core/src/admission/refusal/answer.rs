//! What a client is told when its call is refused.
//!
//! The status decides the class an SDK raises and whether it tries again, so it follows
//! Anthropic's own use where Anthropic has one: 401 for keys, 404 for a model that does not exist
//! or is retired, 413 for size, 429 for limits. What only our policy forbids is 403, never 404:
//! Claude Code shows the text of a 403 and hides that of a 404 after trying again without a
//! stream. Every own 4xx but a rate limit says `x-should-retry: false`, because Claude Code
//! otherwise repeats even a 401 for minutes. A pause is no `overloaded_error`: Claude Code asks three
//! times whatever that says, and then shows words of its own instead of the reason. No wait much longer than a minute is ever asked
//! for, because SDKs sleep through whatever `retry-after` says.
//!
//! No answer contains anything shaped like a key, whatever the client wrote where.

use super::{LimitKind, Refusal};
use crate::admission::key::KeyState;
use crate::anthropic::error::ErrorType;
use crate::anthropic::request::Capability;
use crate::ledger::account::{AccountId, Scope};
use crate::money::Money;
use crate::source::Source;
use crate::time::Timestamp;

/// The longest `retry-after` ever sent, in seconds: the minute of a rate limit, and what its
/// counting in whole seconds adds. Nothing is said of a longer wait, and no retry is asked for.
const RETRY_AFTER_MAX: u64 = 62;

/// Characters of client-written text that are repeated to it.
const ECHO_CHARS_MAX: usize = 100;

/// An answer to a refused call, ready to be put in Anthropic's error shape.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// `error.type`.
    pub kind: ErrorType,
    /// `x-chamberlain-code`: a stable name for programs.
    pub code: &'static str,
    /// `error.message`: what, why, and what to do next.
    pub message: String,
    /// `retry-after`, seconds; never long.
    pub retry_after_seconds: Option<u64>,
    /// `x-should-retry`.
    pub should_retry: bool,
}

impl Refusal {
    /// What to tell the client.
    pub fn answer(&self) -> Answer {
        let (status, kind, code) = self.class();
        let retry_after_seconds = self.retry_after_seconds();
        let should_retry = match self {
            Refusal::QueueFull
            | Refusal::BodiesInFlight { .. }
            | Refusal::NotOnRecord
            | Refusal::Draining => true,
            _ => retry_after_seconds.is_some(),
        };
        let message = without_keys(self.message());
        Answer { status, kind, code, message, retry_after_seconds, should_retry }
    }

    fn class(&self) -> (u16, ErrorType, &'static str) {
        use ErrorType as T;
        match self {
            Refusal::NoCredential => (401, T::AuthenticationError, "no_credential"),
            Refusal::CredentialsDiffer => (401, T::AuthenticationError, "credentials_differ"),
            Refusal::RealKeyOffered => (401, T::AuthenticationError, "real_key_offered"),
            Refusal::UnknownKey => (401, T::AuthenticationError, "unknown_key"),
            Refusal::KeyExpired { .. } => (401, T::AuthenticationError, "key_expired"),
            // The key is right and may be right again: the person should read why.
            Refusal::KeyStopped(KeyState::Frozen) => (403, T::PermissionError, "key_frozen"),
            Refusal::KeyStopped(_) => (401, T::AuthenticationError, "key_revoked"),
            Refusal::Paused { .. } => (503, T::ApiError, "paused"),
            Refusal::UnknownRoute { .. } => (403, T::PermissionError, "unknown_route"),
            Refusal::RouteNotForwarded { .. } => (403, T::PermissionError, "route_not_forwarded"),
            Refusal::WrongMethod { .. } => (405, T::InvalidRequestError, "wrong_method"),
            Refusal::Malformed(_) => (400, T::InvalidRequestError, "malformed_request"),
            Refusal::TooLarge { decoded: false, .. } => {
                (413, T::RequestTooLarge, "request_too_large")
            }
            Refusal::TooLarge { decoded: true, .. } => {
                (413, T::RequestTooLarge, "request_body_too_large_after_decoding")
            }
            Refusal::BatchItem { refusal, .. } => refusal.class(),
            Refusal::BatchNotSettled { .. } => (400, T::InvalidRequestError, "batch_not_settled"),
            Refusal::UploadTooLarge { .. } => (413, T::RequestTooLarge, "upload_too_large"),
            Refusal::UnknownResource { .. } => (404, T::NotFoundError, "unknown_resource"),
            Refusal::Encoding { code, .. } => (400, T::InvalidRequestError, code),
            Refusal::BodiesInFlight { key_bytes: None, .. } => {
                (503, T::OverloadedError, "bodies_in_flight")
            }
            Refusal::BodiesInFlight { key_bytes: Some(_), .. } => {
                (429, T::RateLimitError, "bodies_in_flight_of_key")
            }
            Refusal::Source { .. } => (403, T::PermissionError, "source_not_allowed"),
            Refusal::Model { .. } => (403, T::PermissionError, "model_not_allowed"),
            Refusal::UnknownModel { .. } => (404, T::NotFoundError, "unknown_model"),
            Refusal::RetiredModel { .. } => (404, T::NotFoundError, "retired_model"),
            Refusal::Operation { .. } => (403, T::PermissionError, "operation_not_allowed"),
            Refusal::Capability { .. } => (403, T::PermissionError, "capability_not_allowed"),
            Refusal::MaxTokens { .. } => (403, T::PermissionError, "max_tokens_above_cap"),
            // Anthropic's own word for it: SDKs send the whole conversation again when they read it.
            Refusal::UnknownThread { .. } => (404, T::NotFoundError, "thread_not_found"),
            // The mend is in the request, so it is the request that is wrong.
            Refusal::Unbounded { .. } => (400, T::InvalidRequestError, "unbounded_cost"),
            Refusal::Budget { .. } => (429, T::BillingError, "budget_exceeded"),
            Refusal::Rate { kind, .. } => (429, T::RateLimitError, rate_code(*kind)),
            Refusal::QueueFull => (503, T::OverloadedError, "queue_full"),
            Refusal::BreakerOpen { .. } => (503, T::OverloadedError, "breaker_open"),
            Refusal::NotOnRecord => (503, T::ApiError, "not_on_record"),
            Refusal::Draining => (503, T::OverloadedError, "draining"),
        }
    }

    fn retry_after_seconds(&self) -> Option<u64> {
        let ms = match self {
            Refusal::Rate { retry_after_ms, .. } => *retry_after_ms,
            Refusal::BreakerOpen { retry_after_ms } => Some(*retry_after_ms),
            Refusal::QueueFull | Refusal::BodiesInFlight { .. } | Refusal::Draining => Some(1_000),
            _ => None,
        };
        ms.map(whole_seconds).filter(|seconds| *seconds <= RETRY_AFTER_MAX)
    }

    fn message(&self) -> String {
        match self {
            Refusal::NoCredential => "No virtual key was sent. Send one (it begins with chm_) as \
                x-api-key or as Authorization: Bearer."
                .to_owned(),
            Refusal::CredentialsDiffer => "x-api-key and Authorization carry two different keys, \
                so it is unclear who calls. Send one virtual key, or the same one in both."
                .to_owned(),
            Refusal::RealKeyOffered => "A real Anthropic key was sent to Chamberlain. It was \
                neither forwarded nor kept. Send a virtual key (chm_...) instead, take the real \
                key out of this client's settings (often the variable ANTHROPIC_API_KEY), and \
                have it rotated: it is no longer only where it belongs."
                .to_owned(),
            Refusal::UnknownKey => "The virtual key is unknown or its secret is wrong. Check that \
                it was copied whole (chm_<id>_<secret>), or ask your operator for a new one."
                .to_owned(),
            Refusal::KeyStopped(KeyState::Frozen) => "This virtual key is frozen: it may work \
                again when your operator unfreezes it. Ask them why it was stopped."
                .to_owned(),
            Refusal::KeyStopped(_) => "This virtual key is revoked and will not work again. Ask \
                your operator for a new one."
                .to_owned(),
            Refusal::KeyExpired { at } => {
                format!("This virtual key expired at {at}. Ask your operator for a new one.")
            }
            Refusal::Paused { scope, reason, until } => paused(scope, reason, *until),
            Refusal::UnknownRoute { method, path } => format!(
                "{} {} is not a route that Chamberlain forwards, and what it does not know it \
                 refuses. It forwards POST /v1/messages, POST /v1/messages/count_tokens, \
                 /v1/messages/batches, GET /v1/models, GET /v1/models/{{id}} and /v1/files.",
                bare(method),
                bare(path)
            ),
            Refusal::RouteNotForwarded { method, path, reason } => {
                format!("Chamberlain does not forward {} {}: {reason}.", bare(method), bare(path))
            }
            Refusal::WrongMethod { allowed } => format!("This route takes {allowed} only."),
            Refusal::UnknownThread { id, moved: false } => format!(
                "There is no thread to go on with from {id} that was made with this virtual key. \
                 Send the whole conversation with thread: {{\"type\": \"create\"}}."
            ),
            Refusal::UnknownThread { id, moved: true } => format!(
                "The thread of {id} lives with an upstream key that this environment does not use \
                 any more. Send the whole conversation with thread: {{\"type\": \"create\"}}."
            ),
            Refusal::Malformed(malformed) => {
                format!("Not sent on: {malformed}. Mend it and send it again.")
            }
            Refusal::TooLarge { limit_bytes, decoded } => too_large(*limit_bytes, *decoded),
            Refusal::BatchItem { index, custom_id, refusal } => format!(
                "requests.{index} (custom_id {}) keeps the whole batch from being sent: {}",
                echo(custom_id),
                refusal.message()
            ),
            Refusal::BatchNotSettled { id } => format!(
                "What the batch {} cost is not known yet, and deleting it would take away the \
                 results that tell. Wait until it has ended, or cancel it first, and try again.",
                echo(id)
            ),
            Refusal::UploadTooLarge { limit_bytes } => format!(
                "The upload is larger than {limit_bytes} bytes, which is the most that \
                 server.upload_body_max of this Chamberlain lets through. Upload less, or ask your \
                 operator to raise it."
            ),
            Refusal::UnknownResource { kind, id } => format!(
                "This virtual key has no {kind} {}. Check the id; what another key made is not \
                 to be had with this one.",
                echo(id)
            ),
            Refusal::Encoding { message, .. } => message.clone(),
            Refusal::BodiesInFlight { limit_bytes, key_bytes: None } => busy(&format!(
                "the bodies of all calls in flight fill the {limit_bytes} bytes set aside for \
                 them (server.bodies_in_flight_max)"
            )),
            Refusal::BodiesInFlight { limit_bytes, key_bytes: Some(key_bytes) } => format!(
                "The bodies of this virtual key's calls in flight hold {key_bytes} bytes, and no \
                 key may hold more than it leaves free of the {limit_bytes} bytes for all \
                 (server.bodies_in_flight_max). This call was not sent. Try again when others of \
                 yours have ended, or send fewer or smaller ones at once; if it is refused alone, \
                 your operator must raise the limit."
            ),
            Refusal::QueueFull => busy("too many calls wait already"),
            Refusal::Draining => busy("it is shutting down"),
            Refusal::Source { source: Source::Address(address) } => format!(
                "API call rejected: source IP {address} is not in an allowed network. Call from \
                 one, or ask your operator to add yours."
            ),
            Refusal::Source { source: Source::Local } => "API call rejected: it came through the \
                Unix socket, which is in no network, and only allowed networks may call. Call \
                over TCP from one of them, or ask your operator for a key without networks."
                .to_owned(),
            Refusal::Model { model, rule } => format!(
                "The model {} is not allowed by {rule}. Choose an allowed model, or ask your \
                 operator.",
                echo(model)
            ),
            Refusal::UnknownModel { model } => format!(
                "The model {} has no price in Chamberlain's price book, so its cost could not be \
                 kept within budget. Check the spelling; if the model is new, your operator can \
                 add it under [[prices]].",
                echo(model)
            ),
            Refusal::RetiredModel { model, on } => format!(
                "Anthropic retired the model {} on {on}. Choose a newer model.",
                echo(model)
            ),
            Refusal::Operation { named, allowed } => operation(named.as_deref(), allowed),
            Refusal::Capability { capability, rule } => format!(
                "The request uses {}, which {rule} does not allow. Leave it out, or ask your \
                 operator.",
                capability_name(*capability)
            ),
            Refusal::MaxTokens { asked, cap } => format!(
                "max_tokens is {asked}, above the cap of {cap}. Send {cap} or less, or ask your \
                 operator to raise the cap."
            ),
            Refusal::Unbounded { field, reason } => format!(
                "What this request may cost has no upper bound, so no budget could hold it: \
                 {field}: {reason}."
            ),
            Refusal::Budget {
                account,
                limit,
                needed,
                left,
                reserved,
                max_tokens_that_fits,
                prompt,
            } => {
                let fits = match (max_tokens_that_fits, prompt) {
                    (Some(fits), _) => format!("lower max_tokens to {fits} or less, "),
                    (None, Some(prompt)) => format!(
                        "shorten the prompt (it alone may cost up to ${}, so a lower max_tokens \
                         does not help), ",
                        prompt.to_decimal()
                    ),
                    (None, None) => String::new(),
                };
                budget(account, *limit, [*needed, *left, *reserved], &fits)
            }
            Refusal::Rate { kind, scope, limit, retry_after_ms } => {
                rate(*kind, scope, *limit, retry_after_ms.map(whole_seconds))
            }
            Refusal::BreakerOpen { .. } => "Anthropic has failed several times in a row, so \
                Chamberlain lets it recover before it sends more. This call was not sent; try \
                again shortly."
                .to_owned(),
            Refusal::NotOnRecord => "Chamberlain could not put this call on record, and a call \
                that is not on record is not made. It is Chamberlain's fault, not yours: tell \
                your operator to look at its disk and its log."
                .to_owned(),
        }
    }
}

/// Rounded up: coming back too early is a wasted call.
fn whole_seconds(ms: u64) -> u64 {
    ms.div_ceil(1_000).max(1)
}

/// The word for a capability in configuration and answers.
pub(crate) fn capability_name(capability: Capability) -> String {
    let quoted = serde_json::to_string(&capability).unwrap_or_default();
    quoted.trim_matches('"').to_owned()
}

fn rate_code(kind: LimitKind) -> &'static str {
    match kind {
        LimitKind::Requests => "requests_per_minute",
        LimitKind::InputTokens => "input_tokens_per_minute",
        LimitKind::OutputTokens => "output_tokens_per_minute",
        LimitKind::Concurrency => "concurrency",
    }
}

fn paused(scope: &Scope, reason: &str, until: Option<Timestamp>) -> String {
    let end = match until {
        Some(until) => format!("It resumes at {until}, or when your operator resumes it."),
        None => "It stays so until your operator resumes it.".to_owned(),
    };
    format!("{} is paused ({reason}), so this call was not sent. {end}", capitalized(scope))
}

fn too_large(limit_bytes: usize, decoded: bool) -> String {
    let when = if decoded { " after decoding" } else { "" };
    format!("The request body is larger than {limit_bytes} bytes{when}. Send less in one request.")
}

fn busy(why: &str) -> String {
    format!(
        "Chamberlain takes no further calls just now: {why}. This call was not sent; try again."
    )
}

fn operation(named: Option<&str>, allowed: &[String]) -> String {
    let what = match named {
        Some(named) => format!("The operation {} is not allowed", echo(named)),
        None => "The call does not say which operation it is for".to_owned(),
    };
    let next = if allowed.is_empty() {
        "Ask your operator which operations are.".to_owned()
    } else {
        format!("Name one of {} in x-chamberlain-operation.", allowed.join(", "))
    };
    format!("{what}. {next}")
}

fn budget(account: &AccountId, limit: Money, amounts: [Money; 3], fits: &str) -> String {
    let [limit, needed, left, reserved] =
        [limit, amounts[0], amounts[1], amounts[2]].map(|money| format!("${}", money.to_decimal()));
    let held = match amounts[2].is_zero() {
        true => String::new(),
        false => format!(" ({reserved} is set aside for calls in flight)"),
    };
    format!(
        "The {account} of {limit} cannot hold this call: it may cost up to {needed} and {left} is \
         left{held}. It was not sent. To go on, {fits}wait for the window to end at {}, or ask \
         your operator to raise the budget.",
        account.window.end
    )
}

fn rate(kind: LimitKind, scope: &Scope, limit: u64, retry_after: Option<u64>) -> String {
    let noun = kind.noun();
    let what = match retry_after {
        Some(seconds) => format!(
            "{} has used up its limit of {limit} {noun} in Chamberlain. Try again in {seconds} s",
            capitalized(scope)
        ),
        None => format!(
            "This call alone is larger than the limit of {limit} {noun} that {scope} has in \
             Chamberlain, so it can never pass. Make it smaller"
        ),
    };
    format!("{what}, or ask your operator to raise the limit.")
}

fn capitalized(scope: &Scope) -> String {
    let text = match scope {
        Scope::Organization => "the organization".to_owned(),
        scope => scope.to_string(),
    };
    let mut chars = text.chars();
    match chars.next() {
        Some(first) => first.to_uppercase().chain(chars).collect(),
        None => text,
    }
}

/// Client-written text, quoted, escaped and shortened.
fn echo(text: &str) -> String {
    match text.char_indices().nth(ECHO_CHARS_MAX) {
        Some((end, _)) => format!("{:?}...", &text[..end]),
        None => format!("{text:?}"),
    }
}

/// The same without quotes.
fn bare(text: &str) -> String {
    echo(text).replace('"', "")
}

/// The message with everything that looks like a key, real or virtual, taken out: clients put
/// keys in the strangest fields, and messages are logged on both sides.
fn without_keys(message: String) -> String {
    const PREFIXES: [&str; 2] = ["sk-ant-", crate::admission::key::PREFIX];
    /// Prefixes alone, and ids, are no secret.
    const SECRET_CHARS_MIN: usize = 8;
    let mut clean = message;
    for prefix in PREFIXES {
        let mut from = 0;
        while let Some(at) = clean[from..].find(prefix).map(|at| from + at) {
            let secret = at + prefix.len();
            let is_key_char = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
            let length = clean[secret..].find(|c| !is_key_char(c)).unwrap_or(clean.len() - secret);
            if length >= SECRET_CHARS_MIN {
                clean.replace_range(at..secret + length, "[key]");
            }
            from = at + 1;
        }
    }
    clean
}

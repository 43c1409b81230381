use super::*;
use crate::anthropic::error::ErrorType;
use crate::id::{EnvironmentName, VirtualKeyId};
use crate::resource::{ResourceId, ResourceKind};
use crate::time::{Calendar, WindowKind};

fn at(text: &str) -> Timestamp {
    Timestamp::from_rfc3339(text).unwrap()
}

fn id(text: &str) -> ResourceId {
    ResourceId::parse(text).unwrap()
}

fn production() -> Scope {
    Scope::Environment(EnvironmentName::new("production"))
}

fn budget(reserved: Money, max_tokens_that_fits: Option<u64>) -> Refusal {
    let window = Calendar::utc().window(WindowKind::Daily, at("2026-11-23T09:00:00Z"));
    Refusal::Budget {
        account: AccountId { scope: production(), window },
        limit: Money::from_usd(100),
        needed: "0.0962".parse().unwrap(),
        left: "0.05".parse().unwrap(),
        reserved,
        max_tokens_that_fits,
        prompt: None,
    }
}

fn rate(kind: LimitKind, retry_after_ms: Option<u64>) -> Refusal {
    Refusal::Rate {
        kind,
        scope: Scope::VirtualKey(VirtualKeyId::new("0123456789abcdef")),
        limit: 20,
        retry_after_ms,
    }
}

/// One of each, and more than one where the answer depends on the facts.
fn all() -> Vec<Refusal> {
    let unbounded = |field: &str| Refusal::Unbounded {
        field: field.to_owned(),
        reason: "say how often it may run".to_owned(),
    };
    vec![
        Refusal::NoCredential,
        Refusal::CredentialsDiffer,
        Refusal::RealKeyOffered,
        Refusal::UnknownKey,
        Refusal::KeyStopped(KeyState::Frozen),
        Refusal::KeyStopped(KeyState::Revoked),
        Refusal::KeyExpired { at: at("2026-11-01T00:00:00Z") },
        Refusal::Paused { scope: production(), reason: "leak".to_owned(), until: None },
        Refusal::Paused {
            scope: Scope::Organization,
            reason: "budget".to_owned(),
            until: Some(at("2026-11-24T00:00:00Z")),
        },
        Refusal::UnknownRoute { method: "POST".to_owned(), path: "/v1/nothing".to_owned() },
        Refusal::RouteNotForwarded {
            method: "POST".to_owned(),
            path: "/v1/dreams".to_owned(),
            reason: "it spends after its answer",
        },
        Refusal::WrongMethod { allowed: "POST".to_owned() },
        Refusal::Malformed(MalformedRequest::TooDeep { max: 128 }),
        Refusal::TooLarge { limit_bytes: 33_554_432, decoded: false },
        Refusal::TooLarge { limit_bytes: 33_554_432, decoded: true },
        Refusal::BatchItem {
            index: 3,
            custom_id: "inv-0004".to_owned(),
            refusal: Box::new(Refusal::MaxTokens { asked: 8_192, cap: 4_096 }),
        },
        Refusal::BatchNotSettled { id: "msgbatch_01".to_owned() },
        Refusal::UploadTooLarge { limit_bytes: 536_870_912 },
        Refusal::UnknownResource { kind: ResourceKind::File, id: "file_01".to_owned() },
        Refusal::Encoding {
            code: "request_body_encoding_unsupported",
            message: "content-encoding lzma is not understood; send gzip or nothing.".to_owned(),
        },
        Refusal::BodiesInFlight { limit_bytes: 1_024, key_bytes: None },
        Refusal::BodiesInFlight { limit_bytes: 1_024, key_bytes: Some(512) },
        Refusal::Source { source: "10.0.2.0".parse().unwrap() },
        Refusal::Model {
            model: "claude-opus-5".to_owned(),
            rule: "environment production (models_allow)".to_owned(),
        },
        Refusal::UnknownModel { model: "claude-nine".to_owned() },
        Refusal::RetiredModel {
            model: "claude-opus-4-1-20250805".to_owned(),
            on: "2026-08-05".to_owned(),
        },
        Refusal::Operation { named: None, allowed: vec!["executive_summary".to_owned()] },
        Refusal::Operation { named: Some("code_generation".to_owned()), allowed: Vec::new() },
        Refusal::Capability {
            capability: Capability::WebSearch,
            rule: "environment production (capabilities_deny)".to_owned(),
        },
        Refusal::MaxTokens { asked: 8_192, cap: 4_096 },
        Refusal::UnknownThread { id: id("msg_1"), moved: false },
        Refusal::UnknownThread { id: id("msg_1"), moved: true },
        unbounded("tools[].max_uses"),
        budget(Money::ZERO, Some(812)),
        budget(Money::from_usd(3), None),
        rate(LimitKind::Requests, Some(12_001)),
        rate(LimitKind::InputTokens, None),
        rate(LimitKind::OutputTokens, Some(0)),
        rate(LimitKind::Concurrency, Some(1_000)),
        Refusal::QueueFull,
        Refusal::BreakerOpen { retry_after_ms: 59_999 },
        Refusal::BreakerOpen { retry_after_ms: 600_000 },
        Refusal::NotOnRecord,
        Refusal::Draining,
    ]
}

/// Fails to compile when a variant is added, so that it is added to [`all`] too.
fn place(refusal: &Refusal) -> usize {
    match refusal {
        Refusal::NoCredential => 0,
        Refusal::CredentialsDiffer => 1,
        Refusal::RealKeyOffered => 2,
        Refusal::UnknownKey => 3,
        Refusal::KeyStopped(_) => 4,
        Refusal::KeyExpired { .. } => 5,
        Refusal::Paused { .. } => 6,
        Refusal::UnknownRoute { .. } => 7,
        Refusal::WrongMethod { .. } => 8,
        Refusal::Malformed(_) => 9,
        Refusal::TooLarge { .. } => 10,
        Refusal::Encoding { .. } => 11,
        Refusal::BodiesInFlight { .. } => 12,
        Refusal::Source { .. } => 13,
        Refusal::Model { .. } => 14,
        Refusal::UnknownModel { .. } => 15,
        Refusal::RetiredModel { .. } => 16,
        Refusal::Operation { .. } => 17,
        Refusal::Capability { .. } => 18,
        Refusal::MaxTokens { .. } => 19,
        Refusal::Unbounded { .. } => 20,
        Refusal::Budget { .. } => 21,
        Refusal::Rate { .. } => 22,
        Refusal::QueueFull => 23,
        Refusal::BreakerOpen { .. } => 24,
        Refusal::NotOnRecord => 25,
        Refusal::Draining => 26,
        Refusal::UploadTooLarge { .. } => 27,
        Refusal::UnknownResource { .. } => 28,
        Refusal::UnknownThread { .. } => 29,
        Refusal::RouteNotForwarded { .. } => 30,
        Refusal::BatchItem { .. } => 31,
        Refusal::BatchNotSettled { .. } => 32,
    }
}

const VARIANTS: usize = 33;

#[test]
fn every_refusal_has_its_answer() {
    let mut seen = [false; VARIANTS];
    all().iter().for_each(|refusal| seen[place(refusal)] = true);
    assert!(seen.iter().all(|seen| *seen), "a variant is not in the table: {seen:?}");
    let table: Vec<String> = all()
        .iter()
        .map(|refusal| {
            let Answer { status, kind, code, message, retry_after_seconds, should_retry } =
                refusal.answer();
            let after = retry_after_seconds.map(|s| format!(" after {s} s")).unwrap_or_default();
            let retry = if should_retry { "retry" } else { "stop" };
            format!("{status} {} {code} {retry}{after}\n  {message}", kind.name())
        })
        .collect();
    insta::assert_snapshot!(table.join("\n"), @r#"
    401 authentication_error no_credential stop
      No virtual key was sent. Send one (it begins with chm_) as x-api-key or as Authorization: Bearer.
    401 authentication_error credentials_differ stop
      x-api-key and Authorization carry two different keys, so it is unclear who calls. Send one virtual key, or the same one in both.
    401 authentication_error real_key_offered stop
      A real Anthropic key was sent to Chamberlain. It was neither forwarded nor kept. Send a virtual key (chm_...) instead, take the real key out of this client's settings (often the variable ANTHROPIC_API_KEY), and have it rotated: it is no longer only where it belongs.
    401 authentication_error unknown_key stop
      The virtual key is unknown or its secret is wrong. Check that it was copied whole (chm_<id>_<secret>), or ask your operator for a new one.
    403 permission_error key_frozen stop
      This virtual key is frozen: it may work again when your operator unfreezes it. Ask them why it was stopped.
    401 authentication_error key_revoked stop
      This virtual key is revoked and will not work again. Ask your operator for a new one.
    401 authentication_error key_expired stop
      This virtual key expired at 2026-11-01T00:00:00.000Z. Ask your operator for a new one.
    503 api_error paused stop
      Environment production is paused (leak), so this call was not sent. It stays so until your operator resumes it.
    503 api_error paused stop
      The organization is paused (budget), so this call was not sent. It resumes at 2026-11-24T00:00:00.000Z, or when your operator resumes it.
    403 permission_error unknown_route stop
      POST /v1/nothing is not a route that Chamberlain forwards, and what it does not know it refuses. It forwards POST /v1/messages, POST /v1/messages/count_tokens, /v1/messages/batches, GET /v1/models, GET /v1/models/{id} and /v1/files.
    403 permission_error route_not_forwarded stop
      Chamberlain does not forward POST /v1/dreams: it spends after its answer.
    405 invalid_request_error wrong_method stop
      This route takes POST only.
    400 invalid_request_error malformed_request stop
      Not sent on: the request body is nested deeper than 128 levels. Mend it and send it again.
    413 request_too_large request_too_large stop
      The request body is larger than 33554432 bytes. Send less in one request.
    413 request_too_large request_body_too_large_after_decoding stop
      The request body is larger than 33554432 bytes after decoding. Send less in one request.
    403 permission_error max_tokens_above_cap stop
      requests.3 (custom_id "inv-0004") keeps the whole batch from being sent: max_tokens is 8192, above the cap of 4096. Send 4096 or less, or ask your operator to raise the cap.
    400 invalid_request_error batch_not_settled stop
      What the batch "msgbatch_01" cost is not known yet, and deleting it would take away the results that tell. Wait until it has ended, or cancel it first, and try again.
    413 request_too_large upload_too_large stop
      The upload is larger than 536870912 bytes, which is the most that server.upload_body_max of this Chamberlain lets through. Upload less, or ask your operator to raise it.
    404 not_found_error unknown_resource stop
      This virtual key has no file "file_01". Check the id; what another key made is not to be had with this one.
    400 invalid_request_error request_body_encoding_unsupported stop
      content-encoding lzma is not understood; send gzip or nothing.
    503 overloaded_error bodies_in_flight retry after 1 s
      Chamberlain takes no further calls just now: the bodies of all calls in flight fill the 1024 bytes set aside for them (server.bodies_in_flight_max). This call was not sent; try again.
    429 rate_limit_error bodies_in_flight_of_key retry after 1 s
      The bodies of this virtual key's calls in flight hold 512 bytes, and no key may hold more than it leaves free of the 1024 bytes for all (server.bodies_in_flight_max). This call was not sent. Try again when others of yours have ended, or send fewer or smaller ones at once; if it is refused alone, your operator must raise the limit.
    403 permission_error source_not_allowed stop
      API call rejected: source IP 10.0.2.0 is not in an allowed network. Call from one, or ask your operator to add yours.
    403 permission_error model_not_allowed stop
      The model "claude-opus-5" is not allowed by environment production (models_allow). Choose an allowed model, or ask your operator.
    404 not_found_error unknown_model stop
      The model "claude-nine" has no price in Chamberlain's price book, so its cost could not be kept within budget. Check the spelling; if the model is new, your operator can add it under [[prices]].
    404 not_found_error retired_model stop
      Anthropic retired the model "claude-opus-4-1-20250805" on 2026-08-05. Choose a newer model.
    403 permission_error operation_not_allowed stop
      The call does not say which operation it is for. Name one of executive_summary in x-chamberlain-operation.
    403 permission_error operation_not_allowed stop
      The operation "code_generation" is not allowed. Ask your operator which operations are.
    403 permission_error capability_not_allowed stop
      The request uses web_search, which environment production (capabilities_deny) does not allow. Leave it out, or ask your operator.
    403 permission_error max_tokens_above_cap stop
      max_tokens is 8192, above the cap of 4096. Send 4096 or less, or ask your operator to raise the cap.
    404 not_found_error thread_not_found stop
      There is no thread to go on with from msg_1 that was made with this virtual key. Send the whole conversation with thread: {"type": "create"}.
    404 not_found_error thread_not_found stop
      The thread of msg_1 lives with an upstream key that this environment does not use any more. Send the whole conversation with thread: {"type": "create"}.
    400 invalid_request_error unbounded_cost stop
      What this request may cost has no upper bound, so no budget could hold it: tools[].max_uses: say how often it may run.
    429 billing_error budget_exceeded stop
      The daily budget of environment production (2026-11-23) of $100.00 cannot hold this call: it may cost up to $0.0962 and $0.05 is left. It was not sent. To go on, lower max_tokens to 812 or less, wait for the window to end at 2026-11-24T00:00:00.000Z, or ask your operator to raise the budget.
    429 billing_error budget_exceeded stop
      The daily budget of environment production (2026-11-23) of $100.00 cannot hold this call: it may cost up to $0.0962 and $0.05 is left ($3.00 is set aside for calls in flight). It was not sent. To go on, wait for the window to end at 2026-11-24T00:00:00.000Z, or ask your operator to raise the budget.
    429 rate_limit_error requests_per_minute retry after 13 s
      Virtual key 0123456789abcdef has used up its limit of 20 requests per minute in Chamberlain. Try again in 13 s, or ask your operator to raise the limit.
    429 rate_limit_error input_tokens_per_minute stop
      This call alone is larger than the limit of 20 input tokens per minute that virtual key 0123456789abcdef has in Chamberlain, so it can never pass. Make it smaller, or ask your operator to raise the limit.
    429 rate_limit_error output_tokens_per_minute retry after 1 s
      Virtual key 0123456789abcdef has used up its limit of 20 output tokens per minute in Chamberlain. Try again in 1 s, or ask your operator to raise the limit.
    429 rate_limit_error concurrency retry after 1 s
      Virtual key 0123456789abcdef has used up its limit of 20 calls in flight in Chamberlain. Try again in 1 s, or ask your operator to raise the limit.
    503 overloaded_error queue_full retry after 1 s
      Chamberlain takes no further calls just now: too many calls wait already. This call was not sent; try again.
    503 overloaded_error breaker_open retry after 60 s
      Anthropic has failed several times in a row, so Chamberlain lets it recover before it sends more. This call was not sent; try again shortly.
    503 overloaded_error breaker_open stop
      Anthropic has failed several times in a row, so Chamberlain lets it recover before it sends more. This call was not sent; try again shortly.
    503 api_error not_on_record retry
      Chamberlain could not put this call on record, and a call that is not on record is not made. It is Chamberlain's fault, not yours: tell your operator to look at its disk and its log.
    503 overloaded_error draining retry after 1 s
      Chamberlain takes no further calls just now: it is shutting down. This call was not sent; try again.
    "#);
}

#[test]
fn only_what_can_pass_later_is_tried_again() {
    for refusal in all() {
        let answer = refusal.answer();
        let own_fault = (400..500).contains(&answer.status);
        if own_fault && answer.kind != ErrorType::RateLimitError {
            assert!(!answer.should_retry, "{refusal:?}");
            assert_eq!(answer.retry_after_seconds, None, "{refusal:?}");
        }
        assert!(answer.retry_after_seconds.is_none_or(|seconds| seconds <= 62), "{refusal:?}");
        assert!(answer.message.ends_with('.'), "{refusal:?}");
    }
}

#[test]
fn no_answer_repeats_a_key() {
    let real = format!("sk-ant-api03-{}", "aB3_-".repeat(8));
    let own = format!("{}0123456789abcdef_{}", crate::admission::key::PREFIX, "x".repeat(43));
    for key in [real, own] {
        let refusals = [
            Refusal::UnknownModel { model: key.clone() },
            Refusal::UnknownRoute { method: key.clone(), path: format!("/v1/{key}/{key}") },
            Refusal::Operation { named: Some(key.clone()), allowed: Vec::new() },
            Refusal::Malformed(MalformedRequest::DuplicateKey {
                path: "$".to_owned(),
                key: key.clone(),
            }),
        ];
        for refusal in refusals {
            let message = refusal.answer().message;
            assert!(!message.contains(&key[..20]), "{message}");
            assert!(message.contains("[key]"), "{message}");
        }
    }
}

#[test]
fn what_a_client_wrote_is_shortened_and_escaped() {
    let refusal = Refusal::UnknownModel { model: format!("a\r\nx: {}", "é".repeat(10_000)) };
    let message = refusal.answer().message;
    assert!(message.len() < 600 && !message.contains('\n'), "{message}");
}

#[test]
fn what_has_no_bound_becomes_the_refusal_that_says_why() {
    let unpriced = |unpriced| Refusal::from(NoBound::Unpriced(unpriced)).answer().code;
    assert_eq!(unpriced(Unpriced::UnknownModel("x".into())), "unknown_model");
    assert_eq!(unpriced(Unpriced::NoPriceInForce("x".into())), "unknown_model");
    assert_eq!(unpriced(Unpriced::NoFastPrice("x".into())), "unbounded_cost");
    assert_eq!(unpriced(Unpriced::Overflow), "unbounded_cost");
}

/// The first four cells of the rows under a heading of the document for operators.
fn documented(heading: &str) -> Vec<String> {
    let text = include_str!("../../../../../docs/errors.md");
    let (_, below) = text.split_once(&format!("\n## {heading}\n")).unwrap();
    let section = below.split("\n## ").next().unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| row.split('|').skip(1).take(4).map(str::trim).collect::<Vec<_>>().join(" | "))
        .collect()
}

#[test]
fn every_code_is_documented_as_it_is() {
    let kinds = [
        LimitKind::Requests,
        LimitKind::InputTokens,
        LimitKind::OutputTokens,
        LimitKind::Concurrency,
    ];
    let rates = kinds.into_iter().flat_map(|kind| [rate(kind, Some(1_000)), rate(kind, None)]);
    let refusals = all().into_iter().chain(rates);
    let answers: Vec<Answer> = refusals
        // Their codes come from whoever reads bodies, and are documented with that.
        .filter(|refusal| !matches!(refusal, Refusal::Encoding { .. }))
        .map(|refusal| refusal.answer())
        .collect();
    let mut rows: Vec<String> = Vec::new();
    for Answer { status, kind, code, .. } in &answers {
        let retried: Vec<bool> =
            answers.iter().filter(|other| other.code == *code).map(|a| a.should_retry).collect();
        let retried = match (retried.contains(&true), retried.contains(&false)) {
            (true, false) => "yes",
            (true, true) => "when waiting helps",
            (false, _) => "no",
        };
        let row = format!("`{code}` | {status} | `{}` | {retried}", kind.name());
        if !rows.contains(&row) {
            rows.push(row);
        }
    }
    let mut documented = documented("Refused by a rule");
    documented.sort();
    rows.sort();
    assert_eq!(documented, rows, "left: docs/errors.md, right: the code");
}

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::id::{CallId, EnvironmentName, UpstreamKeyId};
use crate::money::Money;
use crate::resource::ResourceId;
use crate::time::{Window, WindowKind};

const PLACE: Place = Place { seq: 7, prev: [0xab; 32] };

pub(in crate::audit) fn an_intent() -> Intent {
    let start = Timestamp::from_ms(1_763_856_000_000);
    let window = |kind| Window { kind, start, end: start.plus_ms(86_400_000) };
    let environment = EnvironmentName::new("production");
    Intent {
        call: CallId::mint(Timestamp::from_ms(1_763_888_400_000), [1; 10]),
        at: Timestamp::from_ms(1_763_888_400_000),
        virtual_key: VirtualKeyId::mint([3; 16]),
        environment: environment.clone(),
        upstream_key: Some(UpstreamKeyId::mint([4; 16])),
        route: Route::Messages,
        operation: Some("document_translation".into()),
        model: "claude-opus-4-5".into(),
        max_tokens: 1024,
        stream: true,
        source: "2001:db8::7".parse().unwrap(),
        reserved: Money::from_pico(25_600_000_000),
        accounts: vec![
            AccountId { scope: Scope::Organization, window: window(WindowKind::Daily) },
            AccountId {
                scope: Scope::Environment(environment),
                window: window(WindowKind::Monthly),
            },
            AccountId {
                scope: Scope::VirtualKey(VirtualKeyId::mint([3; 16])),
                window: window(WindowKind::Daily),
            },
        ],
        resource: None,
    }
}

pub(in crate::audit) fn a_settlement() -> Settlement {
    let intent = an_intent();
    let tokens = Tokens { input: 10, output: 503, cache_read: 4, ..Tokens::default() };
    Settlement {
        call: intent.call,
        at: intent.at.plus_ms(1500),
        outcome: Outcome::Completed,
        certainty: Certainty::Settled,
        cost: Money::from_pico(8_879_200_000),
        reserved: intent.reserved,
        accounts: intent.accounts,
        served_model: Some("claude-opus-4-5-20251101".into()),
        tokens,
        usage: Some(Usage {
            totals: tokens,
            iterations: vec![Iteration {
                kind: IterationKind::FallbackMessage,
                model: Some("claude-haiku-4-5".into()),
                tokens,
            }],
            web_searches: 2,
            web_fetches: 1,
            speed: Speed::Fast,
            us_only: true,
            service_tier: Some("standard".into()),
        }),
        status: 200,
        upstream_request_id: Some("req_011".into()),
        stop_reason: Some("end_turn".into()),
        attempts: 2,
        first_byte_ms: Some(0),
        duration_ms: 1500,
    }
}

fn a_notice() -> Notice {
    let Value::Object(facts) = json!({ "tried": 3, "budget": { "b": 1, "a": -2 } }) else {
        unreachable!("an object")
    };
    Notice {
        at: Timestamp::from_ms(-5),
        kind: "budget.threshold".into(),
        severity: Severity::High,
        subject: "production \"x\"\n".into(),
        message: "90 % of the day's budget is used".into(),
        facts,
        notify: true,
    }
}

fn bytes_of(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    write(&mut out);
    out
}

/// Bytes that are the JSON crate's own spelling of the same value, but for the order of the head.
fn parsed(bytes: &[u8]) -> Value {
    let value: Value = serde_json::from_slice(bytes).unwrap();
    let facts = value["facts"].to_string();
    assert!(std::str::from_utf8(bytes).unwrap().ends_with(&format!(",\"facts\":{facts}}}")));
    value
}

#[test]
fn an_intent_is_these_bytes() {
    let bytes = bytes_of(|out| intent(out, &PLACE, &an_intent()));
    let prev = "ab".repeat(32);
    let call = an_intent().call;
    let expected = format!(
        "{{\"v\":1,\"seq\":7,\"prev\":\"{prev}\",\"at\":1763888400000,\
         \"actor\":\"virtual_key:3333333333333333\",\"kind\":\"call.intent\",\
         \"subject\":\"{call}\",\"facts\":{{\"accounts\":[\
         \"organization/daily/1763856000000\",\
         \"environment:production/monthly/1763856000000\",\
         \"virtual_key:3333333333333333/daily/1763856000000\"],\
         \"environment\":\"production\",\"max_tokens\":1024,\"model\":\"claude-opus-4-5\",\
         \"operation\":\"document_translation\",\"reserved\":\"0.0256\",\"route\":\"messages\",\
         \"source\":\"2001:db8::7\",\"stream\":true,\"upstream_key\":\"uk_4444444444444444\"}}}}"
    );
    assert_eq!(String::from_utf8(bytes).unwrap(), expected);
}

/// Every member that the JSON of `shown` has, at the top or in the facts, but for `left_out`.
fn says_everything(bytes: &[u8], shown: Value, left_out: &[&str]) {
    let record = parsed(bytes);
    let mut said: BTreeSet<&str> =
        record["facts"].as_object().unwrap().keys().map(|k| &**k).collect();
    said.extend(left_out);
    said.insert("at");
    for member in shown.as_object().unwrap().keys() {
        assert!(said.contains(&**member), "{member} is not on record");
    }
}

#[test]
fn all_of_an_intent_is_on_record() {
    let about = Intent { resource: ResourceId::parse("file_1"), ..an_intent() };
    let bytes = bytes_of(|out| intent(out, &PLACE, &about));
    let shown = serde_json::to_value(about).unwrap();
    assert_eq!(parsed(&bytes)["facts"]["resource"], "file_1");
    says_everything(&bytes, shown.clone(), &["call", "virtual_key"]);
    assert_eq!(parsed(&bytes)["subject"], shown["call"]);
}

#[test]
fn all_of_a_settlement_is_on_record_but_its_accounts() {
    let settled = a_settlement();
    let bytes = bytes_of(|out| settlement(out, &PLACE, &settled));
    let shown = serde_json::to_value(&settled).unwrap();
    says_everything(&bytes, shown.clone(), &["call", "accounts"]);
    let facts = &parsed(&bytes)["facts"];
    for member in ["certainty", "cost", "reserved", "outcome", "status", "attempts"] {
        assert_eq!(facts[member], shown[member], "{member}");
    }
    assert_eq!(facts["first_byte_ms"], 0);
    assert_eq!(facts["tokens"], json!({ "cache_read": 4, "input": 10, "output": 503 }));
    assert_eq!(
        facts["usage"],
        json!({
            "iterations": [{
                "kind": "fallback_message", "model": "claude-haiku-4-5",
                "tokens": { "cache_read": 4, "input": 10, "output": 503 },
            }],
            "service_tier": "standard", "speed": "fast", "us_only": true,
            "totals": { "cache_read": 4, "input": 10, "output": 503 },
            "web_fetches": 1, "web_searches": 2,
        })
    );
}

#[test]
fn what_is_unknown_is_absent() {
    let mut settled = a_settlement();
    settled.usage = None;
    settled.served_model = None;
    settled.first_byte_ms = None;
    settled.stop_reason = None;
    settled.upstream_request_id = None;
    settled.tokens = Tokens::default();
    let record = parsed(&bytes_of(|out| settlement(out, &PLACE, &settled)));
    let facts: Vec<_> = record["facts"].as_object().unwrap().keys().cloned().collect();
    let expected =
        ["attempts", "certainty", "cost", "duration_ms", "outcome", "reserved", "status", "tokens"];
    assert_eq!(facts, expected);
}

#[test]
fn a_notice_keeps_its_facts() {
    let bytes = bytes_of(|out| notice(out, &PLACE, &a_notice()));
    let record = Record::read(&bytes).unwrap();
    assert_eq!((record.seq, record.at), (7, Timestamp::from_ms(-5)));
    assert_eq!((&*record.actor, &*record.kind), ("chamberlain", "budget.threshold"));
    assert_eq!(record.subject, a_notice().subject);
    assert_eq!(record.prev, "ab".repeat(32));
    assert_eq!(
        Value::Object(record.facts),
        json!({
            "facts": { "budget": { "a": -2, "b": 1 }, "tried": 3 }, "notify": true,
            "message": "90 % of the day's budget is used", "severity": "high",
        })
    );
}

#[test]
fn a_change_says_who_what_before_and_after() {
    let actor = Principal::Person("alice \"a\"".into());
    let (before, after) = (json!({ "daily": "25.00" }), json!({ "daily": "30.00" }));
    let record = change_record(&actor, Some(&before), Some(&after), Some("more pages"));
    assert_eq!(record.actor, "person:alice \"a\"");
    let expected = json!({ "before": before, "after": after, "reason": "more pages" });
    assert_eq!(Value::Object(record.facts), expected);
    let record = change_record(&Principal::Service("ci".into()), None, None, None);
    assert_eq!(record.actor, "service:ci");
    assert!(record.facts.is_empty());
}

fn change_record(
    actor: &Principal,
    before: Option<&Value>,
    after: Option<&Value>,
    reason: Option<&str>,
) -> Record {
    let at = Timestamp::from_ms(1);
    let (kind, subject) = ("budget.changed", "environment production");
    let change = Change { at, actor, kind, subject, reason, before, after };
    let bytes = bytes_of(|out| super::change(out, &PLACE, &change));
    parsed(&bytes);
    Record::read(&bytes).unwrap()
}

#[test]
fn the_names_are_the_ones_of_the_json_form() {
    fn name(value: impl serde::Serialize) -> String {
        serde_json::to_value(value).unwrap().as_str().unwrap().to_owned()
    }
    use Outcome::*;
    for it in [Completed, UpstreamRefused, UpstreamFailed, ClientLeft, Cut, NotSent, OurFault] {
        assert_eq!(outcome(it), name(it));
    }
    for it in [Certainty::Settled, Certainty::Estimated, Certainty::Unsettled] {
        assert_eq!(certainty(it), name(it));
    }
    use Route::{
        Batch, BatchCancel, BatchCreate, BatchDelete, BatchResults, Batches, CountTokens, File,
        FileContent, FileDelete, FileUpload, Files, Messages, Model, Models,
    };
    for it in [
        Messages,
        CountTokens,
        Models,
        Model,
        FileUpload,
        Files,
        File,
        FileContent,
        FileDelete,
        BatchCreate,
        Batches,
        Batch,
        BatchResults,
        BatchCancel,
        BatchDelete,
    ] {
        assert_eq!(route(it), name(it));
    }
    for it in [Severity::Info, Severity::Warning, Severity::High, Severity::Critical] {
        assert_eq!(severity(it), name(it));
    }
    use IterationKind::*;
    for it in [Message, Compaction, AdvisorMessage, FallbackMessage, Unknown] {
        assert_eq!(iteration_kind(it), name(it));
    }
}

#[test]
fn other_spellings_of_a_head_are_not_read() {
    let bytes = bytes_of(|out| intent(out, &PLACE, &an_intent()));
    let text = String::from_utf8(bytes).unwrap();
    assert!(Head::read(text.as_bytes()).is_some());
    for (from, to) in [
        ("\"seq\":7", "\"seq\":07"),
        ("\"seq\":7", "\"seq\":-0"),
        ("\"seq\":7", "\"seq\":-7"),
        ("\"seq\":7", "\"seq\":"),
        ("\"v\":1", "\"v\":2"),
        ("\"prev\":\"ab", "\"prev\":\"AB"),
        ("\"at\":1763888400000", "\"at\":1763888400000.0"),
        ("\"at\":1763888400000", "\"at\":17638884000000000000"),
        ("\"kind\":\"call.intent\"", "\"kind\":null"),
        ("\"facts\":{", "\"facts\":["),
    ] {
        let other = text.replace(from, to);
        assert_ne!(other, text);
        assert!(Head::read(other.as_bytes()).is_none(), "{to} was read");
    }
    for cut in 0..text.find("\"facts\"").unwrap() {
        assert!(Head::read(&text.as_bytes()[..cut]).is_none());
    }
}

proptest! {
    #[test]
    fn a_head_is_read_back(
        seq in any::<u64>(),
        prev in any::<[u8; 32]>(),
        at in any::<i64>(),
        kind in any::<String>(),
        subject in any::<String>(),
    ) {
        let change = Change {
            at: Timestamp::from_ms(at),
            actor: &Principal::Chamberlain,
            kind: &kind,
            subject: &subject,
            reason: None,
            before: None,
            after: None,
        };
        let bytes = bytes_of(|out| super::change(out, &Place { seq, prev }, &change));
        let head = Head::read(&bytes).unwrap();
        prop_assert_eq!((head.seq, head.prev, head.at.ms()), (seq, prev, at));
        prop_assert_eq!(head.actor, b"\"chamberlain\"");
        let as_text = |raw: &[u8]| serde_json::from_slice::<String>(raw).unwrap();
        prop_assert_eq!(as_text(head.kind), kind);
        prop_assert_eq!(as_text(head.subject), subject);
    }
}

//! Spans as OTLP/HTTP has them in JSON: 64-bit numbers in strings, ids in hexadecimal.
//! See docs/decisions/0018-spans-without-a-library.md.

use serde_json::{Value as Json, json};

use super::span::{Span, Value};

const KIND_CLIENT: u8 = 3;
const STATUS_UNSET: u8 = 0;
const STATUS_ERROR: u8 = 2;
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The body of one request to a collector.
pub(super) fn body(spans: &[Span]) -> Vec<u8> {
    let spans: Vec<Json> = spans.iter().map(span).collect();
    let resource = [
        attribute("service.name", &Value::from("chamberlain")),
        attribute("service.version", &Value::from(VERSION)),
    ];
    let whole = json!({
        "resourceSpans": [{
            "resource": { "attributes": resource },
            "scopeSpans": [{
                "scope": { "name": "chamberlain", "version": VERSION },
                "spans": spans,
            }],
        }],
    });
    whole.to_string().into_bytes()
}

/// How many spans a collector says it did not take, in its answer to a request that it took.
pub(super) fn rejected(answer: &[u8]) -> u64 {
    let answer: Json = serde_json::from_slice(answer).unwrap_or_default();
    let rejected = &answer["partialSuccess"]["rejectedSpans"];
    // JSON has it in a string; some collectors write a number.
    rejected.as_str().and_then(|text| text.parse().ok()).or(rejected.as_u64()).unwrap_or(0)
}

fn span(span: &Span) -> Json {
    let start = i128::from(span.start.ms()) * 1_000_000;
    let end = start + i128::try_from(span.took.as_nanos()).unwrap_or(0);
    let status = if span.is_error { STATUS_ERROR } else { STATUS_UNSET };
    let attributes: Vec<Json> =
        span.attributes.iter().map(|(name, value)| attribute(name, value)).collect();
    let mut out = json!({
        "traceId": span.trace.to_string(),
        "spanId": span.id.to_string(),
        "name": span.name,
        "kind": KIND_CLIENT,
        "startTimeUnixNano": start.to_string(),
        "endTimeUnixNano": end.to_string(),
        "attributes": attributes,
        "status": { "code": status },
    });
    if let Some(parent) = span.parent {
        out["parentSpanId"] = json!(parent.to_string());
    }
    out
}

fn attribute(name: &str, value: &Value) -> Json {
    let text = |text: &String| json!({ "stringValue": text });
    let value = match value {
        Value::Text(value) => text(value),
        Value::Number(number) => json!({ "intValue": number.to_string() }),
        Value::Seconds(seconds) => json!({ "doubleValue": seconds }),
        Value::Flag(flag) => json!({ "boolValue": flag }),
        Value::Texts(all) => {
            json!({ "arrayValue": { "values": all.iter().map(text).collect::<Vec<_>>() } })
        }
    };
    json!({ "key": name, "value": value })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use chamberlain_core::time::Timestamp;

    use super::*;
    use crate::trace::{SpanId, TraceId};

    #[test]
    fn a_span_is_written_as_the_specification_has_it() {
        let one = Span {
            trace: TraceId([0x4b; 16]),
            id: SpanId([1; 8]),
            parent: Some(SpanId([2; 8])),
            name: "chat m".to_owned(),
            start: Timestamp::from_ms(1_700_000_000_123),
            took: Duration::from_micros(1_500),
            is_error: true,
            attributes: vec![
                ("n", Value::Number(u64::MAX)),
                ("s", Value::Seconds(0.5)),
                ("l", Value::Texts(vec!["a".to_owned()])),
                ("f", Value::Flag(true)),
            ],
        };
        let written: Json = serde_json::from_slice(&body(&[one])).unwrap();
        assert_eq!(
            written["resourceSpans"][0]["scopeSpans"][0]["spans"][0],
            json!({
                "traceId": "4b".repeat(16),
                "spanId": "01".repeat(8),
                "parentSpanId": "02".repeat(8),
                "name": "chat m",
                "kind": 3,
                "startTimeUnixNano": "1700000000123000000",
                "endTimeUnixNano": "1700000000124500000",
                "attributes": [
                    { "key": "n", "value": { "intValue": "18446744073709551615" } },
                    { "key": "s", "value": { "doubleValue": 0.5 } },
                    { "key": "l", "value": { "arrayValue": { "values": [{ "stringValue": "a" }] } } },
                    { "key": "f", "value": { "boolValue": true } },
                ],
                "status": { "code": 2 },
            })
        );
    }

    #[test]
    fn what_a_collector_rejects_is_read() {
        assert_eq!(rejected(br#"{"partialSuccess":{"rejectedSpans":"3"}}"#), 3);
        assert_eq!(rejected(br#"{"partialSuccess":{"rejectedSpans":2}}"#), 2);
        for nothing in [&b"{}"[..], b"", b"<html>", br#"{"partialSuccess":{}}"#] {
            assert_eq!(rejected(nothing), 0);
        }
    }
}

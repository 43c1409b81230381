use serde_json::{Value, json};

use super::*;

const LIMITS: InspectLimits = InspectLimits { depth_max: 64 };

fn params() -> Value {
    json!({"model": "claude-haiku-5-5", "max_tokens": 8, "messages": [{"role": "user", "content": "hi"}]})
}

fn batch(items: Vec<Value>) -> String {
    json!({ "requests": items }).to_string()
}

fn item(custom_id: &str, params: Value) -> Value {
    json!({"custom_id": custom_id, "params": params})
}

fn with(name: &str, value: Value) -> Value {
    let mut params = params();
    params[name] = value;
    params
}

fn read(body: &str) -> Result<u64, BadBatch<()>> {
    inspect(body.as_bytes(), LIMITS, |_| Ok(()))
}

fn refused(body: &str) -> MalformedRequest {
    match read(body) {
        Err(BadBatch::Malformed(bad)) => bad,
        other => panic!("{other:?}: {body}"),
    }
}

fn refused_at(body: &str) -> (String, String) {
    match refused(body) {
        MalformedRequest::Field { field, reason } => (field, reason),
        other => panic!("{other:?}: {body}"),
    }
}

#[test]
fn every_item_is_shown_in_order_as_the_reader_of_messages_sees_it() {
    let body = batch(vec![item("a-1", params()), item("b_2", with("system", json!("s")))]);
    let mut seen = Vec::new();
    let count = inspect::<()>(body.as_bytes(), LIMITS, |item| {
        let mut alone = inspect_message(
            if item.index == 0 { params() } else { with("system", json!("s")) }
                .to_string()
                .as_bytes(),
            LIMITS,
        )
        .unwrap();
        alone.capabilities.push(Capability::Batches);
        assert_eq!(*item.facts, alone);
        seen.push(item.custom_id.to_owned());
        Ok(())
    });
    assert_eq!((count, seen), (Ok(2), vec!["a-1".to_owned(), "b_2".to_owned()]));
}

#[test]
fn what_is_not_taken_in_batches_is_refused_by_name_with_the_item() {
    for (name, value) in [
        ("stream", json!(true)),
        ("speed", json!("fast")),
        ("max_tokens", json!(0)),
        ("fallbacks", json!("default")),
        ("fallbacks", json!([{"model": "claude-opus-5-5"}])),
        ("thread", json!({"type": "create"})),
        ("model", json!(7)),
        ("max_tokens", json!(-1)),
    ] {
        let body = batch(vec![item("first", params()), item("second", with(name, value))]);
        let (field, reason) = refused_at(&body);
        assert_eq!(field, format!("requests.1.params.{name}"));
        assert!(reason.contains("\"second\""), "{reason}");
    }
    assert_eq!(read(&batch(vec![item("a", with("stream", json!(false)))])), Ok(1));
}

#[test]
fn a_custom_id_is_plain_and_occurs_once() {
    for bad in ["", "a b", "ä", "a.b", "a/b", &"x".repeat(65)] {
        assert_eq!(
            refused_at(&batch(vec![item(bad, params())])).0,
            "requests.0.custom_id",
            "{bad}"
        );
    }
    assert_eq!(read(&batch(vec![item(&"x".repeat(64), params())])), Ok(1));
    let (field, reason) = refused_at(&batch(vec![item("same", params()), item("same", params())]));
    assert_eq!(field, "requests.1.custom_id");
    assert!(reason.contains("same"));
    // However it is written.
    let escaped = format!(
        r#"{{"requests":[{{"custom_id":"ab","params":{0}}},{{"custom_id":"\u0061b","params":{0}}}]}}"#,
        params()
    );
    assert_eq!(refused_at(&escaped).0, "requests.1.custom_id");
}

#[test]
fn nothing_is_there_that_is_not_read() {
    assert_eq!(refused_at(r#"{"requests":[]}"#).0, "requests");
    assert_eq!(refused_at("{}").0, "requests");
    assert_eq!(refused_at(r#"{"completion_window":"24h"}"#).0, "completion_window");
    let more = json!({"custom_id": "a", "params": params(), "priority": 1});
    assert_eq!(refused_at(&batch(vec![more])).0, "requests.0.priority");
    assert_eq!(refused_at(&batch(vec![json!({"params": params()})])).0, "requests.0.custom_id");
    assert_eq!(refused_at(&batch(vec![json!({"custom_id": "a"})])).0, "requests.0.params");
    for bad in
        ["", "[]", "null", r#"{"requests":{}}"#, r#"{"requests":[1]}"#, r#"{"requests":null}"#]
    {
        assert!(matches!(refused(bad), MalformedRequest::NotJson { .. }), "{bad}");
    }
    let after = batch(vec![item("a", params())]) + "{}";
    assert!(matches!(refused(&after), MalformedRequest::NotJson { .. }));
    assert!(matches!(
        inspect::<()>(b"{\"requests\":[\"\xff\"]}", LIMITS, |_| Ok(())),
        Err(BadBatch::Malformed(MalformedRequest::NotUtf8 { offset: 14 }))
    ));
}

#[test]
fn a_name_that_occurs_twice_is_refused_wherever_it_is() {
    let one = params().to_string();
    for (path, body) in [
        ("the top level", format!(r#"{{"requests":[{{"custom_id":"a","params":{one}}}],"requests":[]}}"#)),
        ("requests.0", format!(r#"{{"requests":[{{"custom_id":"a","params":{one},"params":{one}}}]}}"#)),
        ("requests.0", format!(r#"{{"requests":[{{"custom_id":"a","custom_id":"b","params":{one}}}]}}"#)),
        (
            "requests.0.params (custom_id \"a\")",
            r#"{"requests":[{"custom_id":"a","params":{"model":"m","max_tokens":1,"max_tokens":9,"messages":[]}}]}"#
                .to_owned(),
        ),
    ] {
        let bad = refused(&body);
        let MalformedRequest::DuplicateKey { path: at, .. } = &bad else { panic!("{bad:?}") };
        assert_eq!(at, path);
    }
}

#[test]
fn a_batch_has_at_most_100_000_items() {
    let one = r#"{"model":"m","max_tokens":1,"messages":[]}"#;
    let body = |count: u64| {
        let items: Vec<String> =
            (0..count).map(|n| format!(r#"{{"custom_id":"{n}","params":{one}}}"#)).collect();
        format!(r#"{{"requests":[{}]}}"#, items.join(","))
    };
    assert_eq!(read(&body(ITEMS_MAX)), Ok(ITEMS_MAX));
    assert_eq!(refused_at(&body(ITEMS_MAX + 1)).0, "requests");
}

#[test]
fn the_first_item_that_is_refused_ends_it() {
    let body = batch((0..5).map(|n| item(&format!("n{n}"), params())).collect());
    let mut shown = 0;
    let answer = inspect(body.as_bytes(), LIMITS, |item| {
        shown += 1;
        if item.index == 2 { Err("no") } else { Ok(()) }
    });
    let why = BadBatch::Item { index: 2, custom_id: "n2".to_owned(), why: "no" };
    assert_eq!((answer, shown), (Err(why), 3));
}

//! The numbers: what is reported, and what is billed.

use chamberlain_mock::{Counts, RunningMock};
use serde_json::{Value, json};

use crate::client::*;

fn bill(mock: &RunningMock) -> Option<chamberlain_mock::Bill> {
    mock.journal().entries().pop().unwrap().billed
}

/// The charges of the last request: model, kind, counts.
fn charges(mock: &RunningMock) -> Vec<(String, &'static str, Counts)> {
    let charges = bill(mock).map(|bill| bill.charges).unwrap_or_default();
    charges.into_iter().map(|charge| (charge.model, charge.kind, charge.counts)).collect()
}

fn counts(input: u64, output: u64) -> Counts {
    Counts { input, output, ..Counts::default() }
}

#[tokio::test]
async fn counting_says_what_the_message_reports() {
    let mock = start().await;
    let bodies = [
        ask("hi"),
        ask("Grüße 日本語"),
        with(
            ask("hi"),
            json!({"system": "be brief", "tools": [{"name": "t", "input_schema": {}}]}),
        ),
        with(
            ask("hi"),
            json!({"output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}}}),
        ),
        with(
            ask("hi"),
            json!({"system": [{"type": "text", "text": "x".repeat(4000),
            "cache_control": {"type": "ephemeral"}}]}),
        ),
        ask("[[mock: usage input=12345 output=7]]"),
        ask("[[mock: status=500 times=1]]"),
    ];
    for body in bodies {
        let count = post(&mock, "/v1/messages/count_tokens", &body).await.json();
        let counted = count["input_tokens"].as_u64().unwrap();
        let mut answer = post(&mock, "/v1/messages", &body).await;
        if answer.status == 500 {
            answer = post(&mock, "/v1/messages", &body).await;
        }
        let usage = answer.json()["usage"].clone();
        let prompt: u64 =
            ["input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens"]
                .iter()
                .map(|name| usage[name].as_u64().unwrap())
                .sum();
        assert_eq!(counted, prompt, "{body}");
    }
    assert!(mock.journal().entries()[0].billed.is_none(), "counting is free");
}

#[tokio::test]
async fn the_cache_is_written_once_and_read_afterwards() {
    let mock = start().await;
    let marked = |ttl: &str, text: &str| {
        let control = json!({"type": "ephemeral", "ttl": ttl});
        json!({"type": "text", "text": text, "cache_control": control})
    };
    let (long, longer) = ("x".repeat(4_000), "y".repeat(8_000));
    let body = with(ask("hi"), json!({"system": [marked("1h", &long), marked("5m", &longer)]}));
    let usage = message(&mock, &body).await["usage"].clone();
    assert_eq!(usage["cache_creation_input_tokens"], 3 + 1_000 + 2_000);
    let split = json!({"ephemeral_5m_input_tokens": 2_000, "ephemeral_1h_input_tokens": 1_003});
    assert_eq!(usage["cache_creation"], split);
    assert_eq!(usage["input_tokens"], 8 + 1);
    let again = stream(&mock, &body).await.events();
    assert_eq!(again[0]["message"]["usage"]["cache_read_input_tokens"], 3_003);
    assert_eq!(again[0]["message"]["usage"]["cache_creation_input_tokens"], 0);
    let other_model = with(body.clone(), json!({"model": "claude-haiku-5-5"}));
    assert_eq!(message(&mock, &other_model).await["usage"]["cache_read_input_tokens"], 0);
    let short = with(ask("hi"), json!({"system": [marked("5m", "short")]}));
    assert_eq!(message(&mock, &short).await["usage"]["cache_creation_input_tokens"], 0);
    mock.mock().forget();
    assert_eq!(message(&mock, &body).await["usage"]["cache_read_input_tokens"], 0);
}

#[tokio::test]
async fn exact_numbers_are_reported_and_billed() {
    let mock = start().await;
    let words = "usage input=100_001 cache_read=8600 cache_write_5m=1 cache_write_1h=1200 \
        output=233 searches=2 geo=us speed=fast tier=priority";
    let usage = message(&mock, &ask(&format!("[[mock: {words}]]"))).await["usage"].clone();
    let expected = json!({
        "input_tokens": 100_001,
        "cache_creation_input_tokens": 1_201,
        "cache_read_input_tokens": 8_600,
        "cache_creation": {"ephemeral_5m_input_tokens": 1, "ephemeral_1h_input_tokens": 1_200},
        "output_tokens": 233,
        "server_tool_use": {"web_search_requests": 2, "web_fetch_requests": 0},
        "service_tier": "priority",
        "inference_geo": "us",
        "speed": "fast",
    });
    assert_eq!(usage, expected);
    let all = Counts {
        input: 100_001,
        cache_write_5m: 1,
        cache_write_1h: 1_200,
        cache_read: 8_600,
        output: 233,
    };
    assert_eq!(charges(&mock), [("claude-sonnet-5-5".to_owned(), "message", all)]);
    let bill = bill(&mock).unwrap();
    assert_eq!((bill.web_searches, bill.complete), (2, true));
    assert_eq!((bill.speed.as_str(), bill.inference_geo.as_str()), ("fast", "us"));
}

#[tokio::test]
async fn a_server_tool_raises_the_numbers_at_the_end() {
    let mock = start().await;
    let events =
        stream(&mock, &ask("[[mock: server_tool input=10_000 cache_write_5m=500]]")).await.events();
    let start = &events[0]["message"]["usage"];
    let end = events.iter().find(|event| event["type"] == "message_delta").unwrap();
    let input = start["input_tokens"].as_u64().unwrap();
    assert_eq!(end["usage"]["input_tokens"], input + 10_000);
    assert_eq!(start["cache_creation_input_tokens"], 0);
    assert_eq!(end["usage"]["cache_creation_input_tokens"], 500);
    assert_eq!(end["usage"]["server_tool_use"]["web_search_requests"], 1);
    assert_eq!(charges(&mock)[0].2.prompt(), input + 10_500);
    assert_eq!(bill(&mock).unwrap().web_searches, 1);
}

fn entries(usage: &Value) -> Vec<(String, Option<String>, u64, u64)> {
    let number = |entry: &Value, name: &str| entry[name].as_u64().unwrap();
    usage["iterations"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| {
            let model = entry.get("model").map(|model| model.as_str().unwrap().to_owned());
            let kind = entry["type"].as_str().unwrap().to_owned();
            (kind, model, number(entry, "input_tokens"), number(entry, "output_tokens"))
        })
        .collect()
}

#[tokio::test]
async fn work_outside_the_totals_is_told_and_billed() {
    let mock = start().await;
    let name = |text: &str| text.to_owned();
    let sonnet = || name("claude-sonnet-5-5");

    let words = "[[mock: output_tokens=9 iterations=compaction input=190 cache_read=0 output=21]]";
    let usage = message(&mock, &ask(words)).await["usage"].clone();
    let input = usage["input_tokens"].as_u64().unwrap();
    assert_eq!(
        entries(&usage),
        [(name("compaction"), None, 190, 21), (name("message"), None, input, 9)]
    );
    assert_eq!(usage["output_tokens"], 9);
    assert_eq!(
        charges(&mock),
        [(sonnet(), "compaction", counts(190, 21)), (sonnet(), "message", counts(input, 9))]
    );

    let words = "[[mock: iterations=advisor advisor=claude-fable-5-2 input=52 output=7]]";
    let usage = message(&mock, &ask(words)).await["usage"].clone();
    let fable = name("claude-fable-5-2");
    assert_eq!(entries(&usage)[1], (name("advisor_message"), Some(fable.clone()), 52, 7));
    assert_eq!(charges(&mock)[0], (fable, "advisor_message", counts(52, 7)));

    let body = with(ask("hi"), json!({"model": "claude-haiku-5-5"}));
    let always = post_with(&mock, &body, &[("anthropic-beta", "compact-2026-09-04")]).await.json();
    assert_eq!(entries(&always["usage"]).len(), 1, "the beta tells iterations always");
}

#[tokio::test]
async fn a_fallback_is_billed_at_the_model_that_served() {
    let mock = start().await;
    let opus = "claude-opus-4-8".to_owned();
    let sonnet = "claude-sonnet-5-5".to_owned();
    let body = with(
        ask("[[mock: output_tokens=9 iterations=fallback_served]]"),
        json!({"fallbacks": [{"model": "claude-opus-4-8"}]}),
    );
    let beta = [("anthropic-beta", "server-side-fallback-2026-07-01")];
    let answer = post_with(&mock, &body, &beta).await.json();
    let input = answer["usage"]["input_tokens"].as_u64().unwrap();
    assert_eq!(answer["model"], "claude-opus-4-8");
    assert_eq!(
        entries(&answer["usage"]),
        [
            ("message".to_owned(), None, input, 0),
            ("fallback_message".to_owned(), Some(opus.clone()), input, 9)
        ]
    );
    assert_eq!(charges(&mock), [(opus.clone(), "fallback_message", counts(input, 9))]);

    let mid =
        ask("[[mock: output_tokens=9 iterations=fallback_served to=claude-opus-4-8 after=4]]");
    let events = stream(&mock, &mid).await.events();
    assert_eq!(events[0]["message"]["model"], "claude-sonnet-5-5");
    let input = events[0]["message"]["usage"]["input_tokens"].as_u64().unwrap();
    assert_eq!(
        charges(&mock),
        [(sonnet, "message", counts(input, 4)), (opus, "fallback_message", counts(input, 9))]
    );

    let declined = message(&mock, &ask("[[mock: iterations=fallback_declined]]")).await;
    assert_eq!(declined["stop_reason"], "refusal");
    assert!(entries(&declined["usage"]).iter().all(|(_, _, _, output)| *output == 0));
    assert!(bill(&mock).is_none());
}

#[tokio::test]
async fn a_refusal_is_billed_only_after_output() {
    let mock = start().await;
    let before = message(&mock, &ask("[[mock: refusal category=bio]]")).await;
    assert_eq!((&before["stop_reason"], &before["content"]), (&json!("refusal"), &json!([])));
    assert_eq!(before["stop_details"]["category"], "bio");
    assert!(before["usage"]["input_tokens"].as_u64().unwrap() > 0);
    assert!(bill(&mock).is_none());
    let mid = stream(&mock, &ask("[[mock: refusal=mid after=6]]")).await;
    let end = mid.events().into_iter().find(|event| event["type"] == "message_delta").unwrap();
    assert_eq!(end["delta"]["stop_reason"], "refusal");
    assert_eq!(charges(&mock)[0].2.output, 6);
}

#[tokio::test]
async fn where_it_ran_follows_the_request() {
    let mock = start().await;
    let usage = async |more: Value| message(&mock, &with(ask("hi"), more)).await["usage"].clone();
    assert_eq!(usage(json!({"inference_geo": "us"})).await["inference_geo"], "us");
    assert_eq!(usage(json!({"model": "claude-opus-5-5", "speed": "fast"})).await["speed"], "fast");
    let ignored = usage(json!({"model": "claude-opus-4-6", "speed": "fast"})).await;
    assert_eq!(ignored["speed"], "standard");
    assert_eq!(usage(json!({"model": "claude-haiku-4-5"})).await["inference_geo"], "not_available");
}

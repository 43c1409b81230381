//! `GET /metrics` of the real binary: its numbers are those of the ledger, and its document is true.

use std::collections::{BTreeMap, BTreeSet};

use crate::house::{Place, Server, http, message};
use crate::tidy::repository::{code_spans, rows};

/// One line of the page.
struct Sample {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

/// The page: the types of its families by their names without suffix, and its lines.
struct Page {
    types: BTreeMap<String, String>,
    samples: Vec<Sample>,
}

impl Page {
    fn of(server: &Server) -> Page {
        let answer = http(&server.text("console"), "GET /metrics", "");
        assert_eq!(answer.status, 200, "{answer:?}");
        Page::read(&answer.body)
    }

    fn read(text: &str) -> Page {
        assert!(text.ends_with("# EOF\n"), "{text}");
        let mut page = Page { types: BTreeMap::new(), samples: Vec::new() };
        for line in text.lines() {
            if let Some(family) = line.strip_prefix("# TYPE ") {
                let (name, kind) = family.split_once(' ').unwrap();
                assert_eq!(page.types.insert(name.to_owned(), kind.to_owned()), None, "{line}");
            } else if !line.starts_with('#') {
                page.samples.push(Sample::read(line));
            }
        }
        page
    }

    /// The sum of the lines of that name whose labels are these, among others.
    fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let has = |sample: &&Sample| {
            sample.name == name
                && labels.iter().all(|(key, value)| sample.labels.get(*key).unwrap() == value)
        };
        self.samples.iter().filter(has).map(|sample| sample.value).sum()
    }

    /// Every family as the document writes it: name with suffix, type, labels.
    fn families(&self) -> BTreeSet<(String, String, BTreeSet<String>)> {
        let families = self.types.iter().map(|(name, kind)| {
            let suffix = match kind.as_str() {
                "counter" => "_total",
                "info" => "_info",
                _ => "",
            };
            let own = |sample: &&Sample| {
                sample
                    .name
                    .strip_prefix(name.as_str())
                    .is_some_and(|rest| ["", "_total", "_info", "_sum", "_count"].contains(&rest))
            };
            let labels = self.samples.iter().filter(own);
            let labels = labels.flat_map(|sample| sample.labels.keys().cloned()).collect();
            (format!("{name}{suffix}"), kind.clone(), labels)
        });
        families.collect()
    }
}

impl Sample {
    fn read(line: &str) -> Sample {
        let (series, value) = line.rsplit_once(' ').unwrap();
        let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
        let labels = labels.trim_end_matches('}').split("\",").filter(|label| !label.is_empty());
        let labels = labels.map(|label| {
            let (key, value) = label.split_once("=\"").unwrap();
            (key.to_owned(), value.trim_end_matches('"').to_owned())
        });
        Sample { name: name.to_owned(), labels: labels.collect(), value: value.parse().unwrap() }
    }
}

/// Calls that succeed, and one that does not get in.
fn after_three_calls(place: &Place) -> (Server, Page) {
    let server = place.up();
    let (gateway, key) = (server.text("gateway"), server.text("virtual_key"));
    for _ in 0..3 {
        assert_eq!(message(&gateway, &key).status, 200);
    }
    assert_eq!(message(&gateway, "chm_0123456789abcdef_x").status, 401);
    for _ in 0..200 {
        let page = Page::of(&server);
        let settled = page.sum("chamberlain_requests_total", &[("outcome", "completed")]) == 3.0;
        let nothing_is_left = ["chamberlain_calls_in_flight", "chamberlain_store_queue"];
        if settled && nothing_is_left.iter().all(|name| page.sum(name, &[]) == 0.0) {
            return (server, page);
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    panic!("three calls were never settled");
}

#[test]
fn the_numbers_are_those_of_the_ledger() {
    let place = Place::new();
    let (_server, page) = after_three_calls(&place);
    let calls = place.run("calls --json").json();
    let calls = calls["calls"].as_array().unwrap();
    assert_eq!(calls.len(), 3);
    let here = [("environment", "development"), ("model", "claude-haiku-5-5")];
    assert_eq!(page.sum("chamberlain_requests_total", &here), 3.0);
    assert_eq!(page.sum("chamberlain_requests_total", &[]), 4.0, "the refused one, too");
    assert_eq!(page.sum("chamberlain_refusals_total", &[("code", "unknown_key")]), 1.0);

    // The mock answered: no cost of the house's, but budgets and metrics count it all the same.
    let today = place.run("cost today --json").json();
    let cost: f64 = today["mock_cost"].as_str().unwrap().parse().unwrap();
    assert!(cost > 0.0);
    assert_eq!(page.sum("chamberlain_spend_usd_total", &here), cost);
    assert_eq!(page.sum("chamberlain_spend_usd_total", &[]), cost);
    let daily = [("environment", "development"), ("window", "daily")];
    assert_eq!(page.sum("chamberlain_budget_spent_usd", &daily), cost);
    assert_eq!(page.sum("chamberlain_budget_limit_usd", &daily), 5.0);
    assert_eq!(page.sum("chamberlain_budget_reserved_usd", &[]), 0.0);
    assert_eq!(page.sum("chamberlain_budget_remaining_ratio", &daily), 0.9999);

    let tokens = |kind: &str| page.sum("chamberlain_tokens_total", &[("kind", kind)]);
    let of_calls = |kind: &str| {
        let counts = calls.iter().map(|call| call["tokens"][kind].as_u64().unwrap());
        counts.sum::<u64>() as f64
    };
    for kind in ["input", "cache_read", "output"] {
        assert_eq!(tokens(kind), of_calls(kind), "{kind}");
    }
    for histogram in ["request_duration_seconds", "time_to_first_byte_seconds"] {
        let name = format!("chamberlain_{histogram}_count");
        assert_eq!(page.sum(&name, &[("route", "messages")]), 3.0, "{histogram}");
    }
    assert_eq!(page.sum("chamberlain_overhead_seconds_count", &[]), 3.0);
    let ours = page.sum("chamberlain_overhead_seconds_sum", &[]);
    let all = page.sum("chamberlain_request_duration_seconds_sum", &[]);
    assert!(0.0 < ours && ours < all, "{ours} of {all}");
    let ratio = page.sum("chamberlain_reservation_ratio_sum", &[]);
    assert!(ratio >= 3.0, "no call costs more than was set aside: {ratio}");
    assert_eq!(page.sum("chamberlain_calls_in_flight", &[]), 0.0);
    assert_eq!(page.sum("chamberlain_breaker_state", &[("upstream_key", "mock")]), 1.0);
    assert_eq!(page.sum("chamberlain_breaker_state", &[("state", "closed")]), 1.0);
    assert!(page.sum("chamberlain_audit_records", &[]) >= 7.0, "intents, settlements, a refusal");
}

#[test]
fn every_metric_is_documented_as_it_is() {
    let (_server, page) = after_three_calls(&Place::new());
    let documented: BTreeSet<_> = rows("docs/metrics.md", "Metrics")
        .iter()
        .map(|row| {
            assert!(row.len() == 5 && !row[2].is_empty() && !row[4].is_empty(), "{row:?}");
            let labels = code_spans(&row[3]).into_iter().map(str::to_owned).collect();
            (code_spans(&row[0])[0].to_owned(), row[1].clone(), labels)
        })
        .collect();
    assert_eq!(documented, page.families(), "left: docs/metrics.md, right: what is shown");
}

#[test]
fn nobody_who_calls_is_named() {
    let (server, page) = after_three_calls(&Place::new());
    let key = server.text("virtual_key");
    let id = key.split('_').nth(1).unwrap();
    let allowed =
        ["route", "model", "environment", "outcome", "code", "kind", "reason", "window", "le"];
    let allowed = [&allowed[..], &["upstream_key", "state", "version"]].concat();
    for sample in &page.samples {
        for (label, value) in &sample.labels {
            assert!(allowed.contains(&label.as_str()), "{} has {label}", sample.name);
            assert!(!value.contains(id) && !value.contains("127.0.0.1"), "{label}={value}");
        }
    }
}

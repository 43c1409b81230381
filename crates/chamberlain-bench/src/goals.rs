//! The goals that were set for Chamberlain with everything on, and whether they are met.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::report::number;
use crate::results::{MOCK, NGINX, Results};
use crate::streams;

/// The row that the goals are about.
pub(crate) const EVERYTHING: &str = "everything";

/// A goal: what it is about, what was wanted at most, and what was measured.
struct Goal {
    what: String,
    limit: f64,
    unit: &'static str,
    measured: Option<f64>,
}

/// All goals with what was measured; those that this run did not measure are left out.
fn goals(results: &Results, divisor: u32) -> Vec<Goal> {
    let median = |over: Option<crate::results::Over>| over.map(|over| over.median);
    let mut goals = Vec::new();
    let mut goal = |what: String, limit: f64, unit: &'static str, measured: Option<f64>| {
        goals.push(Goal { what, limit, unit, measured });
    };
    let times = |phase: &str, name: &str| median(results.times(phase, name, EVERYTHING, NGINX));
    let above =
        |phase: &str, name: &str, base: &str| median(results.added(phase, name, EVERYTHING, base));
    goal(
        "CPU a request, times nginx's".into(),
        1.6,
        "",
        times("throughput, 64 connections", "CPU µs/request"),
    );
    for rate in [500, 1_000] {
        let phase = format!("latency at {rate} requests/s");
        for (name, limit) in [("p50 µs", 100.0), ("p99 µs", 300.0)] {
            let what = format!("{} more than nginx at {rate} requests/s", name.replace(" µs", ""));
            goal(what, limit, " µs", above(&phase, name, NGINX));
        }
    }
    for count in streams::COUNTS {
        let gap = streams::gap(count);
        let count = count / divisor;
        let phase = streams::phase(count, gap);
        goal(
            format!("p50 added to the first byte, {count} streams"),
            300.0,
            " µs",
            above(&format!("{phase}: {}", streams::FIRST_BYTE), "p50 µs", MOCK),
        );
        let phase = format!("{phase}: {}", streams::COST);
        goal(
            format!("CPU an event, times nginx's, {count} streams"),
            1.5,
            "",
            times(&phase, "CPU s/million events"),
        );
        let weight = median(results.of(&phase, "KiB RSS/stream", EVERYTHING));
        goal(format!("memory a stream, {count} streams"), 30.0, " KB", weight.map(kb));
    }
    let start = results.of("cold start", "ms to the first answered call", EVERYTHING);
    goal("cold start".into(), 100.0, " ms", median(start));
    let idle = median(results.of("memory", "MiB RSS idle", EVERYTHING));
    goal("idle memory".into(), 25.0, " MB", idle.map(|mib| mib * 1.048_576));
    goals.retain(|goal| goal.measured.is_some());
    goals
}

fn kb(kib: f64) -> f64 {
    kib * 1.024
}

/// The goals as a table.
pub(crate) fn table(results: &Results, divisor: u32) -> String {
    let goals = goals(results, divisor);
    if goals.is_empty() {
        return String::new();
    }
    let mut text =
        "### Goals, everything on\n\n| Goal | At most | Measured | |\n|---|--:|--:|---|\n"
            .to_owned();
    for Goal { what, limit, unit, measured } in goals {
        let measured = measured.unwrap_or(f64::NAN);
        let verdict = match measured <= limit {
            true => "met".to_owned(),
            false => format!("missed by {}{unit}", number(measured - limit)),
        };
        let _ =
            writeln!(text, "| {what} | {}{unit} | {}{unit} | {verdict} |", limit, number(measured));
    }
    text
}

/// The same for programs.
pub(crate) fn to_json(results: &Results, divisor: u32) -> Value {
    let of = |goal: Goal| {
        json!({
            "goal": goal.what, "at_most": goal.limit, "measured": goal.measured,
            "met": goal.measured.is_some_and(|measured| measured <= goal.limit),
        })
    };
    goals(results, divisor).into_iter().map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goal_is_met_or_missed_by_so_much() {
        let mut results = Results::default();
        for (name, cpu) in [(NGINX, 20.0), (EVERYTHING, 50.0)] {
            results.push("throughput, 64 connections", "CPU µs/request", name, cpu);
        }
        results.push("memory", "MiB RSS idle", EVERYTHING, 20.0);
        let wanted = "\
### Goals, everything on

| Goal | At most | Measured | |
|---|--:|--:|---|
| CPU a request, times nginx's | 1.6 | 2.50 | missed by 0.90 |
| idle memory | 25 MB | 21.0 MB | met |
";
        assert_eq!(table(&results, 1), wanted);
        assert_eq!(to_json(&results, 1)[0]["met"], false);
        assert!(table(&Results::default(), 1).is_empty());
    }
}

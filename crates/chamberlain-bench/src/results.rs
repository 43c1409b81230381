//! What was measured: a number for each metric, candidate and round, and what follows from them.

use serde_json::{Value, json};

use crate::samples::median;

/// The candidates that others are compared with.
pub(crate) const MOCK: &str = "mock";
pub(crate) const NGINX: &str = "nginx";

/// One metric over all candidates and rounds.
#[derive(Debug)]
struct Metric {
    phase: String,
    name: String,
    /// Candidate, and its value in each round.
    values: Vec<(String, Vec<f64>)>,
}

/// Everything that was measured.
#[derive(Default, Debug)]
pub(crate) struct Results {
    metrics: Vec<Metric>,
}

/// A value over all rounds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Over {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

impl Results {
    /// Keeps the value of the next round.
    pub(crate) fn push(&mut self, phase: &str, name: &str, candidate: &str, value: f64) {
        let at = self.metrics.iter().position(|it| it.phase == phase && it.name == name);
        let at = at.unwrap_or_else(|| {
            let metric = Metric { phase: phase.into(), name: name.into(), values: Vec::new() };
            self.metrics.push(metric);
            self.metrics.len() - 1
        });
        let values = &mut self.metrics[at].values;
        match values.iter_mut().find(|(of, _)| of == candidate) {
            Some((_, rounds)) => rounds.push(value),
            None => values.push((candidate.to_owned(), vec![value])),
        }
    }

    fn rounds(&self, phase: &str, name: &str, candidate: &str) -> &[f64] {
        let metric = self.metrics.iter().find(|it| it.phase == phase && it.name == name);
        let values = metric.and_then(|it| it.values.iter().find(|(of, _)| of == candidate));
        values.map_or(&[], |(_, rounds)| rounds)
    }

    /// The value itself.
    pub(crate) fn of(&self, phase: &str, name: &str, candidate: &str) -> Option<Over> {
        over(self.rounds(phase, name, candidate).to_vec())
    }

    /// What the candidate adds to `base`, round by round.
    pub(crate) fn added(
        &self,
        phase: &str,
        name: &str,
        candidate: &str,
        base: &str,
    ) -> Option<Over> {
        self.compared(phase, name, candidate, base, |value, base| value - base)
    }

    /// How many times `base` it is, round by round.
    pub(crate) fn times(
        &self,
        phase: &str,
        name: &str,
        candidate: &str,
        base: &str,
    ) -> Option<Over> {
        self.compared(phase, name, candidate, base, |value, base| value / base)
    }

    fn compared(
        &self,
        phase: &str,
        name: &str,
        candidate: &str,
        base: &str,
        compare: impl Fn(f64, f64) -> f64,
    ) -> Option<Over> {
        let (values, bases) = (self.rounds(phase, name, candidate), self.rounds(phase, name, base));
        over(values.iter().zip(bases).map(|(value, base)| compare(*value, *base)).collect())
    }

    /// The phases, in the order they were first measured.
    pub(crate) fn phases(&self) -> Vec<&str> {
        let mut phases: Vec<&str> = Vec::new();
        for metric in &self.metrics {
            if !phases.contains(&metric.phase.as_str()) {
                phases.push(&metric.phase);
            }
        }
        phases
    }

    /// The metrics of a phase.
    pub(crate) fn names(&self, phase: &str) -> Vec<&str> {
        let of = self.metrics.iter().filter(|metric| metric.phase == phase);
        of.map(|metric| metric.name.as_str()).collect()
    }

    /// The candidates of a phase, in the order they were first measured.
    pub(crate) fn candidates(&self, phase: &str) -> Vec<&str> {
        let of = self.metrics.iter().filter(|metric| metric.phase == phase);
        let mut found: Vec<&str> = Vec::new();
        for (candidate, _) in of.flat_map(|metric| &metric.values) {
            if !found.contains(&candidate.as_str()) {
                found.push(candidate);
            }
        }
        found
    }

    /// Every value, for programs.
    pub(crate) fn to_json(&self) -> Value {
        let of = |metric: &Metric| {
            let values = metric.values.iter().map(|(candidate, rounds)| {
                let finite: Vec<Option<f64>> =
                    rounds.iter().map(|value| Some(*value).filter(|v| v.is_finite())).collect();
                json!({ "candidate": candidate, "median": median(rounds), "rounds": finite })
            });
            let values: Vec<Value> = values.collect();
            json!({ "phase": metric.phase, "metric": metric.name, "values": values })
        };
        self.metrics.iter().map(of).collect()
    }
}

fn over(values: Vec<f64>) -> Option<Over> {
    let values: Vec<f64> = values.into_iter().filter(|value| value.is_finite()).collect();
    let (first, rest) = values.split_first()?;
    let least = rest.iter().fold(*first, |least, value| least.min(*value));
    let most = rest.iter().fold(*first, |most, value| most.max(*value));
    Some(Over { median: median(&values), least, most })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_are_compared_with_the_same_round() {
        let mut results = Results::default();
        for (mock, nginx) in [(100.0, 150.0), (900.0, 960.0), (100.0, 155.0)] {
            results.push("p", "m", MOCK, mock);
            results.push("p", "m", NGINX, nginx);
        }
        let added = results.added("p", "m", NGINX, MOCK).unwrap();
        assert_eq!((added.median, added.least, added.most), (55.0, 50.0, 60.0));
        let times = results.times("p", "m", NGINX, MOCK).unwrap();
        assert_eq!(times.median, 1.5);
        assert!(results.of("p", "other", NGINX).is_none());
        assert!(results.added("p", "m", "absent", MOCK).is_none());
        assert_eq!((results.phases(), results.names("p")), (vec!["p"], vec!["m"]));
        assert_eq!(results.candidates("p"), [MOCK, NGINX]);
    }
}

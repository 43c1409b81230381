//! When a key counts as dead: refused several times over a while, with nothing else in between.

use serde::{Deserialize, Serialize};

use super::terms::Terms;
use crate::time::Timestamp;

/// What Anthropic says to a free request with a key.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "answer", content = "why")]
pub enum ProbeAnswer {
    /// It takes the key.
    Works,
    /// 401 `authentication_error`: it does not know the key, or not any more.
    Rejected,
    /// Anything else says nothing about the key: 403 (an address list), 404, 429, 5xx, silence.
    Inconclusive(String),
}

/// The refusals of a key, in a row.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
pub struct Death {
    /// How many.
    pub refusals: u32,
    /// The first of them.
    pub first: Option<Timestamp>,
    /// The last of them.
    pub last: Option<Timestamp>,
}

impl Death {
    /// Takes an answer in: a refusal counts, an answer that takes the key begins anew, and what is
    /// inconclusive changes nothing.
    #[must_use]
    pub fn after(self, answer: &ProbeAnswer, now: Timestamp) -> Death {
        match answer {
            ProbeAnswer::Works => Death::default(),
            ProbeAnswer::Inconclusive(_) => self,
            ProbeAnswer::Rejected => Death {
                refusals: self.refusals.saturating_add(1),
                first: self.first.or(Some(now)),
                last: Some(now),
            },
        }
    }

    /// Whether the key counts as dead.
    pub fn is_proven(&self, terms: &Terms) -> bool {
        let span = self.first.zip(self.last).map_or(0, |(first, last)| last.ms_since(first));
        self.refusals >= terms.death_answers && span >= terms.death_ms
    }

    /// The pause between two looks, milliseconds: so that the last one needed lies far enough from
    /// the first.
    pub fn pause_ms(terms: &Terms) -> u64 {
        terms.death_ms.div_ceil(u64::from(terms.death_answers.max(2) - 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_dead_when_it_was_refused_three_times_over_a_minute() {
        let terms = Terms::default();
        let at = |s: i64| Timestamp::from_ms(s * 1_000);
        let refused = ProbeAnswer::Rejected;
        let thrice = [0, 1, 2].iter().fold(Death::default(), |d, s| d.after(&refused, at(*s)));
        assert!(!thrice.is_proven(&terms), "three in two seconds");
        assert!(thrice.after(&refused, at(60)).is_proven(&terms));
        let twice = Death::default().after(&refused, at(0)).after(&refused, at(60));
        assert!(!twice.is_proven(&terms), "only two");
        assert_eq!(Death::pause_ms(&terms), 30_000);
    }

    #[test]
    fn anything_but_a_401_proves_nothing() {
        let at = |s: i64| Timestamp::from_ms(s * 1_000);
        let terms = Terms::default();
        let mut death = Death::default().after(&ProbeAnswer::Rejected, at(0));
        for status in ["403", "404", "429", "500", "529", "no answer"] {
            death = death.after(&ProbeAnswer::Inconclusive(status.to_owned()), at(70));
        }
        assert_eq!(death.refusals, 1);
        let alive = death.after(&ProbeAnswer::Works, at(80));
        assert_eq!(alive, Death::default(), "it was taken in between");
        let death =
            alive.after(&ProbeAnswer::Rejected, at(90)).after(&ProbeAnswer::Rejected, at(95));
        assert!(!death.after(&ProbeAnswer::Rejected, at(100)).is_proven(&terms));
    }
}

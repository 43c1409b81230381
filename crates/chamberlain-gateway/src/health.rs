//! How each upstream credential is doing: its breaker, its retries, and what upstream last said
//! about its own limits.

use chamberlain_core::admission::breaker::{Breaker, BreakerState, Health};
use chamberlain_core::admission::retry::RetryBudget;
use chamberlain_core::id::UpstreamKeyId;
use chamberlain_core::quick::QuickMap;
use chamberlain_core::rotation::Traffic;
use chamberlain_core::snapshot::{BreakerSettings, RetrySettings};
use chamberlain_core::time::Timestamp;
use http::{HeaderMap, HeaderName};
use parking_lot::Mutex;
use serde::Serialize;

use crate::decide::Destination;

/// A rejected key is told about once in this time, not once a call.
const REJECTED_AGAIN_MS: u64 = 60_000;

/// A kind of limit upstream speaks of.
struct Kind {
    name: &'static str,
    /// How many units it counts in at once.
    unit: u64,
    limit: HeaderName,
    remaining: HeaderName,
    reset: HeaderName,
}

macro_rules! kind {
    ($name:literal, $unit:literal) => {{
        const fn header(name: &'static str) -> HeaderName {
            HeaderName::from_static(name)
        }
        Kind {
            name: $name,
            unit: $unit,
            limit: header(concat!("anthropic-ratelimit-", $name, "-limit")),
            remaining: header(concat!("anthropic-ratelimit-", $name, "-remaining")),
            reset: header(concat!("anthropic-ratelimit-", $name, "-reset")),
        }
    }};
}

static KINDS: [Kind; 4] = [
    kind!("requests", 1),
    kind!("input-tokens", 1_000),
    kind!("output-tokens", 1_000),
    kind!("tokens", 1_000),
];

/// A breaker's state, for status.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct BreakerLive {
    /// The upstream key; `None` for the mock.
    pub upstream_key: Option<UpstreamKeyId>,
    /// Where its breaker stands.
    pub state: BreakerState,
}

/// What upstream last said about one of its limits.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct UpstreamLimit {
    /// The upstream key; `None` for the mock.
    pub upstream_key: Option<UpstreamKeyId>,
    /// The model that was asked for; upstream limits each class of models apart.
    pub model: String,
    /// `requests`, `tokens`, `input-tokens` or `output-tokens`.
    pub kind: String,
    /// The limit, a minute.
    pub limit: u64,
    /// What was left of it.
    pub remaining: u64,
    /// When it is whole again.
    pub reset: Timestamp,
}

/// All upstream credentials that were used.
#[derive(Debug, Default)]
pub(crate) struct Standings {
    all: Mutex<QuickMap<Destination, Standing>>,
}

#[derive(Debug)]
struct Standing {
    settings: BreakerSettings,
    breaker: Breaker,
    retries: RetryBudget,
    learned: QuickMap<String, Learned>,
    rejected_at: Option<Timestamp>,
    traffic: Traffic,
}

#[derive(Debug, Default)]
struct Learned {
    limits: Vec<(&'static str, u64, u64, Timestamp)>,
    learned_at: Timestamp,
    hold_until: Timestamp,
}

impl Standing {
    fn new(settings: BreakerSettings) -> Standing {
        Standing {
            settings,
            breaker: Breaker::new(settings),
            retries: RetryBudget::default(),
            learned: QuickMap::default(),
            rejected_at: None,
            traffic: Traffic::default(),
        }
    }
}

impl Standings {
    fn with<T>(
        &self,
        destination: &Destination,
        settings: BreakerSettings,
        act: impl FnOnce(&mut Standing) -> T,
    ) -> T {
        let mut all = self.all.lock();
        if !all.contains_key(destination) {
            all.insert(destination.clone(), Standing::new(settings));
        }
        let standing = all.get_mut(destination).expect("inserted above when it was missing");
        if standing.settings != settings {
            standing.settings = settings;
            standing.breaker = Breaker::new(settings);
        }
        act(standing)
    }

    /// Milliseconds for which no attempt is worth asking for, without asking for one.
    pub(crate) fn closed_for_ms(
        &self,
        destination: &Destination,
        settings: BreakerSettings,
        now: Timestamp,
    ) -> Option<u64> {
        self.with(destination, settings, |standing| match standing.breaker.state(now) {
            BreakerState::Open => standing.breaker.pass(now).err(),
            BreakerState::Closed | BreakerState::HalfOpen => None,
        })
    }

    /// Asks to send one attempt; a pass must be answered with [`Standings::report`].
    ///
    /// # Errors
    /// Milliseconds until it is worth asking again.
    pub(crate) fn pass(
        &self,
        destination: &Destination,
        settings: BreakerSettings,
        now: Timestamp,
    ) -> Result<(), u64> {
        self.with(destination, settings, |standing| standing.breaker.pass(now))
    }

    /// Reports what an attempt has shown. True when this opened the breaker.
    pub(crate) fn report(
        &self,
        destination: &Destination,
        settings: BreakerSettings,
        health: Health,
        now: Timestamp,
    ) -> bool {
        self.with(destination, settings, |standing| {
            match health {
                Health::Success => standing.traffic.succeeded += 1,
                Health::Failure => standing.traffic.failed += 1,
                Health::Neutral => {}
            }
            standing.breaker.report(health, now)
        })
    }

    /// What attempts with a key have come to since the start.
    pub(crate) fn traffic(&self, key: &UpstreamKeyId) -> Traffic {
        let destination = Destination::Key(key.clone());
        self.all.lock().get(&destination).map(|standing| standing.traffic).unwrap_or_default()
    }

    /// Counts a call towards the retry budget.
    pub(crate) fn count_call(
        &self,
        destination: &Destination,
        settings: BreakerSettings,
        now: Timestamp,
    ) {
        self.with(destination, settings, |standing| standing.retries.count_call(now));
    }

    /// Takes one retry of the budget; false when its share is used up.
    pub(crate) fn take_retry(
        &self,
        destination: &Destination,
        settings: BreakerSettings,
        retry: RetrySettings,
        now: Timestamp,
    ) -> bool {
        self.with(destination, settings, |standing| standing.retries.take_retry(retry, now))
    }

    /// True when a rejected key should be told about: the first time, and then once a minute.
    pub(crate) fn tell_rejected(
        &self,
        destination: &Destination,
        settings: BreakerSettings,
        now: Timestamp,
    ) -> bool {
        self.with(destination, settings, |standing| {
            standing.traffic.rejected += 1;
            let told = standing.rejected_at.is_some_and(|at| now.ms_since(at) < REJECTED_AGAIN_MS);
            if !told {
                standing.rejected_at = Some(now);
            }
            !told
        })
    }

    /// Remembers what an answer's headers say about upstream's limits.
    pub(crate) fn learn(
        &self,
        destination: &Destination,
        settings: BreakerSettings,
        model: &str,
        headers: &HeaderMap,
        now: Timestamp,
    ) {
        let limits: Vec<_> = KINDS.iter().filter_map(|kind| limit(headers, kind)).collect();
        if limits.is_empty() {
            return;
        }
        let hold_ms = limits.iter().map(|limit| refill_ms(limit, now)).max().unwrap_or(0);
        let hold_until = now.plus_ms(i64::try_from(hold_ms).unwrap_or(i64::MAX));
        self.with(destination, settings, |standing| {
            let news = Learned { limits, learned_at: now, hold_until };
            match standing.learned.get_mut(model) {
                Some(learned) => *learned = news,
                None => {
                    standing.learned.insert(model.to_owned(), news);
                }
            };
        });
    }

    /// Milliseconds for which upstream has nothing left for the model.
    pub(crate) fn hold_ms(&self, destination: &Destination, model: &str, now: Timestamp) -> u64 {
        let all = self.all.lock();
        let learned = all.get(destination).and_then(|standing| standing.learned.get(model));
        // Since the clock was put back, nobody can say how long is left.
        let learned = learned.filter(|learned| learned.learned_at <= now);
        learned.map_or(0, |learned| learned.hold_until.ms_since(now))
    }

    /// Every breaker, sorted by key.
    pub(crate) fn breakers(&self, now: Timestamp) -> Vec<BreakerLive> {
        let all = self.all.lock();
        let mut breakers: Vec<_> = all
            .iter()
            .map(|(destination, standing)| BreakerLive {
                upstream_key: destination.key().cloned(),
                state: standing.breaker.state(now),
            })
            .collect();
        breakers.sort_by(|left, right| left.upstream_key.cmp(&right.upstream_key));
        breakers
    }

    /// Everything learned about upstream's limits, sorted by key and model.
    pub(crate) fn limits(&self) -> Vec<UpstreamLimit> {
        let all = self.all.lock();
        let mut limits = Vec::new();
        for (destination, standing) in all.iter() {
            for (model, learned) in &standing.learned {
                for (kind, limit, remaining, reset) in &learned.limits {
                    limits.push(UpstreamLimit {
                        upstream_key: destination.key().cloned(),
                        model: model.clone(),
                        kind: (*kind).to_owned(),
                        limit: *limit,
                        remaining: *remaining,
                        reset: *reset,
                    });
                }
            }
        }
        limits.sort_by(|left, right| {
            let order = |limit: &UpstreamLimit| {
                (limit.upstream_key.clone(), limit.model.clone(), limit.kind.clone())
            };
            order(left).cmp(&order(right))
        });
        limits
    }
}

/// One kind of limit in an answer's headers.
fn limit(headers: &HeaderMap, kind: &Kind) -> Option<(&'static str, u64, u64, Timestamp)> {
    let text = |name: &HeaderName| headers.get(name)?.to_str().ok();
    let limit = text(&kind.limit)?.parse().ok()?;
    let remaining = text(&kind.remaining)?.parse().ok()?;
    let reset = Timestamp::from_rfc3339(text(&kind.reset)?).ok()?;
    Some((kind.name, limit, remaining, reset))
}

/// How long until something is left again. `reset` is when the bucket is full, and it fills
/// evenly, so the first unit comes back after its share of that time.
fn refill_ms(limit: &(&'static str, u64, u64, Timestamp), now: Timestamp) -> u64 {
    let (kind, limit, remaining, reset) = limit;
    if *remaining > 0 {
        return 0;
    }
    let unit = KINDS.iter().find(|known| known.name == *kind).map_or(1, |known| known.unit);
    reset.ms_since(now).saturating_mul(unit) / (*limit).max(unit)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const SETTINGS: BreakerSettings =
        BreakerSettings { failure_threshold: 5, reset_timeout_ms: 60_000, success_threshold: 2 };
    const NOW: Timestamp = Timestamp::from_ms(1_790_000_000_000);

    fn headers(kind: &str, limit: u64, remaining: u64, reset: Timestamp) -> HeaderMap {
        let parts = [
            ("limit", limit.to_string()),
            ("remaining", remaining.to_string()),
            ("reset", reset.to_rfc3339()),
        ];
        let line = |(part, value): (&str, String)| {
            let name = format!("anthropic-ratelimit-{kind}-{part}");
            (HeaderName::try_from(name).unwrap(), HeaderValue::try_from(value).unwrap())
        };
        parts.map(line).into_iter().collect()
    }

    #[test]
    fn an_empty_bucket_holds_calls_back_until_one_fits() {
        let standings = Standings::default();
        let mock = Destination::Mock;
        let full = NOW.plus_ms(60_000);
        let hold = |headers: &HeaderMap| {
            standings.learn(&mock, SETTINGS, "m", headers, NOW);
            standings.hold_ms(&mock, "m", NOW)
        };
        assert_eq!(hold(&headers("requests", 50, 1, full)), 0);
        assert_eq!(hold(&headers("requests", 50, 0, full)), 1_200);
        assert_eq!(hold(&headers("input-tokens", 30_000, 0, full)), 2_000);
        assert_eq!(hold(&headers("tokens", 10, 0, full)), 60_000);
        assert_eq!(hold(&headers("requests", 50, 0, NOW)), 0, "already whole");
        assert_eq!(standings.hold_ms(&mock, "another model", NOW), 0);
        hold(&headers("requests", 50, 0, full));
        assert_eq!(standings.hold_ms(&mock, "m", NOW.plus_ms(-3_600_000)), 0, "clock put back");
    }

    #[test]
    fn what_was_learned_is_shown() {
        let standings = Standings::default();
        let key = Destination::Key(UpstreamKeyId::new("uk_1"));
        standings.learn(&key, SETTINGS, "m", &headers("requests", 50, 7, NOW), NOW);
        let limits = standings.limits();
        assert_eq!(limits.len(), 1);
        assert_eq!((limits[0].limit, limits[0].remaining, limits[0].reset), (50, 7, NOW));
        standings.learn(&key, SETTINGS, "m", &HeaderMap::new(), NOW);
        assert_eq!(standings.limits(), limits, "silence is not news");
    }

    #[test]
    fn a_rejected_key_is_told_about_once_a_minute() {
        let standings = Standings::default();
        let key = Destination::Key(UpstreamKeyId::new("uk_1"));
        assert!(standings.tell_rejected(&key, SETTINGS, NOW));
        assert!(!standings.tell_rejected(&key, SETTINGS, NOW.plus_ms(59_999)));
        assert!(standings.tell_rejected(&key, SETTINGS, NOW.plus_ms(60_000)));
    }

    #[test]
    fn each_credential_has_its_own_breaker() {
        let standings = Standings::default();
        let one = Destination::Key(UpstreamKeyId::new("uk_1"));
        for _ in 0..5 {
            assert_eq!(standings.pass(&one, SETTINGS, NOW), Ok(()));
            standings.report(&one, SETTINGS, Health::Failure, NOW);
        }
        assert_eq!(standings.closed_for_ms(&one, SETTINGS, NOW), Some(60_000));
        assert_eq!(standings.closed_for_ms(&Destination::Mock, SETTINGS, NOW), None);
        let later = NOW.plus_ms(60_000);
        assert_eq!(standings.closed_for_ms(&one, SETTINGS, later), None, "a probe may pass");
        assert_eq!(standings.pass(&one, SETTINGS, later), Ok(()));
        assert!(standings.pass(&one, SETTINGS, later).is_err(), "looking took no probe");
        let other = BreakerSettings { failure_threshold: 9, ..SETTINGS };
        assert_eq!(standings.pass(&one, other, NOW), Ok(()), "new settings, new breaker");
    }
}

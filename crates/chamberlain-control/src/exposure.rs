//! What was done with a key, put together from the calls on record, and laid beside what Anthropic
//! has counted. What the record cannot say stands in the report in words.

use std::collections::BTreeMap;

use chamberlain_core::money::Money;
use chamberlain_core::record::Certainty;
use chamberlain_core::time::Timestamp;
use chamberlain_core::usage::Tokens;
use chamberlain_store::CallRow;
use serde::{Deserialize, Serialize};

use crate::admin_api::UsedHour;
use crate::wire::Moment;

/// How far back a report looks.
pub const HOURS: u64 = 48;

const HOUR_MS: i64 = 3_600_000;

/// Lines of a kind that a report has at most; the rest is one line.
const SHARES_MAX: usize = 50;

/// Different values of a kind that are told apart while calls are counted.
const VALUES_MAX: usize = 20_000;

/// The name of the line for what is not told apart.
const OTHERS: &str = "(others)";

/// What some calls come to.
#[derive(Clone, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Share {
    /// A model, a source, a virtual key, an hour.
    pub name: String,
    /// How many.
    pub calls: u64,
    /// Of those, how many are still on their way.
    pub open: u64,
    /// What they cost, US dollars; open ones count with what is set aside for them.
    pub cost: Money,
    /// Their tokens.
    pub tokens: Tokens,
    /// The first of them.
    pub first: Option<Moment>,
    /// The last of them.
    pub last: Option<Moment>,
}

impl Share {
    fn add(&mut self, call: &CallRow) {
        self.calls += 1;
        let (cost, tokens) = match &call.end {
            Some(end) => (end.cost, end.tokens),
            None => (call.reserved, Tokens::default()),
        };
        self.open += u64::from(call.end.is_none());
        self.cost = sum(self.cost, cost);
        self.tokens = self.tokens.plus(tokens);
        let at = Moment::from(call.at);
        self.first = Some(self.first.map_or(at, |first| first.min(at)));
        self.last = Some(self.last.map_or(at, |last| last.max(at)));
    }

    fn merge(&mut self, other: &Share) {
        self.calls += other.calls;
        self.open += other.open;
        self.cost = sum(self.cost, other.cost);
        self.tokens = self.tokens.plus(other.tokens);
        self.first = [self.first, other.first].into_iter().flatten().min();
        self.last = self.last.max(other.last);
    }
}

/// What a model was used for, here and by Anthropic's count.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Counted {
    /// The model.
    pub model: String,
    /// By our record.
    pub here: Tokens,
    /// By Anthropic's count.
    pub there: Tokens,
    /// What Anthropic has counted beyond our record: use of the key past Chamberlain.
    pub beyond: u64,
}

/// What Anthropic reports of the key's use in the same hours.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct UsageFound {
    /// When it was asked.
    pub at: Moment,
    /// From this full hour on.
    pub since: Moment,
    /// Each model, the one with most beyond our record first.
    pub models: Vec<Counted>,
    /// Web searches by Anthropic's count.
    pub web_searches: u64,
    /// Tokens beyond our record, all together.
    pub beyond: u64,
}

/// What was done with a key.
#[derive(Clone, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Exposure {
    /// When it was put together.
    pub at: Option<Moment>,
    /// From when on calls were looked at.
    pub since: Option<Moment>,
    /// All calls.
    pub all: Share,
    /// Of those, calls whose cost is not known for sure and stays charged at its upper bound.
    pub unsettled: u64,
    /// By model, the dearest first.
    pub models: Vec<Share>,
    /// By where the calls came from, the dearest first.
    pub sources: Vec<Share>,
    /// By virtual key, the dearest first.
    pub virtual_keys: Vec<Share>,
    /// By upstream key, the dearest first.
    pub upstream_keys: Vec<Share>,
    /// By operation, the dearest first; calls without one are `—`.
    pub operations: Vec<Share>,
    /// By outcome; open ones are `in_flight`.
    pub outcomes: Vec<Share>,
    /// By full hour in UTC, the earliest first.
    pub hours: Vec<Share>,
    /// What this report cannot say.
    pub unknown: Vec<String>,
}

/// Counts calls.
#[derive(Default)]
pub struct Tally {
    all: Share,
    unsettled: u64,
    models: BTreeMap<String, Share>,
    sources: BTreeMap<String, Share>,
    virtual_keys: BTreeMap<String, Share>,
    upstream_keys: BTreeMap<String, Share>,
    operations: BTreeMap<String, Share>,
    outcomes: BTreeMap<String, Share>,
    hours: BTreeMap<String, Share>,
    /// For laying beside Anthropic's count: calls that left for Anthropic, by the model that
    /// served them.
    billed: BTreeMap<String, Tokens>,
}

impl Tally {
    /// Takes a call in; `key` is what people call its virtual key.
    pub fn add(&mut self, call: &CallRow, key: &str) {
        self.all.add(call);
        let end = call.end.as_ref();
        self.unsettled += u64::from(end.is_some_and(|end| end.certainty == Certainty::Unsettled));
        let served = end.and_then(|end| end.served_model.as_deref()).unwrap_or(&call.model);
        let model = if served.is_empty() { "(none)" } else { served };
        let outcome = match end {
            None => "in_flight".to_owned(),
            Some(end) => end.outcome.map_or_else(|| "unknown".to_owned(), word),
        };
        let hour = Timestamp::from_ms(call.at.ms() - call.at.ms().rem_euclid(HOUR_MS));
        let upstream = call.upstream_key.as_ref().map_or("mock", |key| key.as_str());
        count(&mut self.models, model, call);
        count(&mut self.sources, &call.source.to_string(), call);
        count(&mut self.virtual_keys, key, call);
        count(&mut self.upstream_keys, upstream, call);
        count(&mut self.operations, call.operation.as_deref().unwrap_or("—"), call);
        count(&mut self.outcomes, &outcome, call);
        count(&mut self.hours, &hour.to_rfc3339(), call);
        if let Some(end) = end.filter(|_| call.upstream_key.is_some()) {
            let billed = self.billed.entry(model.to_owned()).or_default();
            *billed = billed.plus(end.tokens);
        }
    }

    /// Lays what was counted beside what Anthropic has counted since the same moment.
    pub fn beside(&self, hours: &[UsedHour], since: Timestamp, now: Timestamp) -> UsageFound {
        let mut there: BTreeMap<String, Tokens> = BTreeMap::new();
        for hour in hours {
            let counted = there.entry(hour.model.clone()).or_default();
            *counted = counted.plus(hour.tokens);
        }
        for model in self.billed.keys() {
            there.entry(model.clone()).or_default();
        }
        let mut models: Vec<Counted> = there
            .into_iter()
            .map(|(model, there)| {
                let here = self.billed.get(&model).copied().unwrap_or_default();
                Counted { beyond: beyond(here, there), model, here, there }
            })
            .filter(|counted| (counted.here, counted.there) != Default::default())
            .collect();
        models.sort_by_key(|counted| std::cmp::Reverse(counted.beyond));
        UsageFound {
            at: now.into(),
            since: since.into(),
            beyond: models.iter().map(|counted| counted.beyond).sum(),
            models,
            web_searches: hours.iter().map(|hour| hour.web_searches).sum(),
        }
    }

    /// The report.
    pub fn report(self, since: Timestamp, now: Timestamp, unknown: Vec<String>) -> Exposure {
        let all = Share { name: "all".to_owned(), ..self.all };
        let mut hours: Vec<Share> = self.hours.into_values().collect();
        hours.sort_by(|one, other| one.name.cmp(&other.name));
        Exposure {
            at: Some(now.into()),
            since: Some(since.into()),
            all,
            unsettled: self.unsettled,
            models: dearest(self.models),
            sources: dearest(self.sources),
            virtual_keys: dearest(self.virtual_keys),
            upstream_keys: dearest(self.upstream_keys),
            operations: dearest(self.operations),
            outcomes: dearest(self.outcomes),
            hours,
            unknown,
        }
    }
}

fn count(shares: &mut BTreeMap<String, Share>, name: &str, call: &CallRow) {
    let name = match shares.len() < VALUES_MAX || shares.contains_key(name) {
        true => name,
        false => OTHERS,
    };
    match shares.get_mut(name) {
        Some(share) => share.add(call),
        None => {
            let mut share = Share { name: name.to_owned(), ..Share::default() };
            share.add(call);
            shares.insert(name.to_owned(), share);
        }
    }
}

fn dearest(shares: BTreeMap<String, Share>) -> Vec<Share> {
    let mut shares: Vec<Share> = shares.into_values().collect();
    shares.sort_by(|one, other| {
        (other.cost, other.calls, &one.name).cmp(&(one.cost, one.calls, &other.name))
    });
    if shares.len() > SHARES_MAX {
        let mut others = Share { name: OTHERS.to_owned(), ..Share::default() };
        shares.drain(SHARES_MAX - 1..).for_each(|share| others.merge(&share));
        shares.push(others);
    }
    shares
}

/// More money than there is stays all there is.
fn sum(one: Money, other: Money) -> Money {
    one.checked_add(other).unwrap_or(Money::from_pico(i128::MAX))
}

/// Each category for itself: more output is not made up for by less input.
fn beyond(here: Tokens, there: Tokens) -> u64 {
    [
        (here.input, there.input),
        (here.cache_write_5m, there.cache_write_5m),
        (here.cache_write_1h, there.cache_write_1h),
        (here.cache_read, there.cache_read),
        (here.output, there.output),
    ]
    .into_iter()
    .map(|(here, there)| there.saturating_sub(here))
    .fold(0, u64::saturating_add)
}

fn word(outcome: chamberlain_core::record::Outcome) -> String {
    serde_json::to_value(outcome)
        .ok()
        .and_then(|word| word.as_str().map(str::to_owned))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests;

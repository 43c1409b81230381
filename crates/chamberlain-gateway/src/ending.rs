//! Who pays what when a call has ended: one table, pure.
//!
//! What upstream surely did not work on costs nothing. What it answered in full costs exactly
//! what it reported. What broke off is estimated from above. What nobody knows stays charged at
//! its reservation, and no timer ever gives it back.

use chamberlain_core::anthropic::meter::Metered;
use chamberlain_core::ledger::cost::{CostContext, cost, estimate};
use chamberlain_core::ledger::cut::spent_at_most;
use chamberlain_core::ledger::price::PriceBook;
use chamberlain_core::money::Money;
use chamberlain_core::record::{Certainty, Outcome};
use chamberlain_core::time::Timestamp;
use chamberlain_core::usage::Tokens;

use crate::permit::NO_TOKENS;

/// What was seen of a call's end.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Seen {
    /// Nothing was sent.
    NotSent,
    /// Upstream said no.
    Refused {
        /// Its status.
        status: u16,
        /// True when the body was an error of Anthropic's own API, not of something in between.
        by_api: bool,
    },
    /// It was sent, and no answer began.
    Silent,
    /// It was sent, and Chamberlain lost it.
    Forsaken,
    /// Upstream took it and will work on it later: what it costs is learned then.
    Accepted,
    /// An answer began.
    Answered {
        /// What was read of it.
        metered: Box<Metered>,
        /// True when it ended by itself.
        whole: bool,
    },
}

impl Seen {
    /// A whole answer of something free.
    pub(crate) fn answered() -> Seen {
        Seen::Answered { metered: Box::default(), whole: true }
    }
}

/// Why nobody takes an answer that is read to its end all the same.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Gone {
    /// The client left.
    Left,
    /// The call's key was stopped, so its client gets nothing more.
    Recalled,
}

/// How a call ended.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct End {
    pub(crate) seen: Seen,
    /// Why nobody was there any more to take the answer, if so.
    pub(crate) gone: Option<Gone>,
    /// The status given to the client.
    pub(crate) status: u16,
    pub(crate) upstream_request_id: Option<String>,
}

impl End {
    pub(crate) fn new(seen: Seen, status: u16) -> End {
        End { seen, gone: None, status, upstream_request_id: None }
    }
}

/// What the price of a call depends on besides its usage.
pub(crate) struct Bill<'a> {
    /// True for routes that cost nothing.
    pub(crate) free: bool,
    pub(crate) reserved: Money,
    pub(crate) at: Timestamp,
    pub(crate) requested_model: &'a str,
    pub(crate) max_tokens: u64,
    /// True when upstream may sample again after what was seen: server tools, MCP, compaction.
    pub(crate) samples_again: bool,
    /// True when less was set aside than the call may cost: a stream that is ended in time, and all
    /// of whose output can be seen.
    pub(crate) short: bool,
    /// True when upstream works after its answer (batches), so that an error of the API itself
    /// does not say that nothing was begun.
    pub(crate) works_later: bool,
    pub(crate) assume_us_geo: bool,
    pub(crate) prices: &'a PriceBook,
}

/// What is charged, and how surely.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Verdict {
    pub(crate) outcome: Outcome,
    pub(crate) certainty: Certainty,
    pub(crate) cost: Money,
    /// For the record.
    pub(crate) tokens: Tokens,
    /// For rate limits; `None` keeps what was counted at admission.
    pub(crate) counted: Option<Tokens>,
    pub(crate) concern: Option<Concern>,
}

/// Something a person should look at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Concern {
    /// The usage has no price.
    Unpriced,
    /// An answer was whole, and its usage could not be read.
    Unmetered,
}

/// Says what a call costs.
pub(crate) fn judge(end: &End, bill: &Bill<'_>) -> Verdict {
    let verdict = match &end.seen {
        Seen::NotSent => nothing(Outcome::NotSent),
        // It was worked on, and the answer is elsewhere.
        Seen::Refused { status: 303, .. } => unknown(Outcome::UpstreamFailed, bill),
        Seen::Refused { status, .. } if *status < 500 => nothing(Outcome::UpstreamRefused),
        Seen::Refused { status, by_api } => {
            // 503 and 529 say that nothing was begun, whoever says it. Any other 5xx from
            // something between us and the API says nothing about what the API did. A message
            // that the API itself failed is not billed; a batch may have been taken before.
            let known = (*by_api && !bill.works_later) || says_not_begun(*status);
            if known {
                nothing(Outcome::UpstreamFailed)
            } else {
                unknown(Outcome::UpstreamFailed, bill)
            }
        }
        Seen::Silent => unknown(Outcome::UpstreamFailed, bill),
        Seen::Forsaken => unknown(Outcome::OurFault, bill),
        Seen::Accepted => unknown(Outcome::Completed, bill),
        Seen::Answered { metered, whole } => answered(metered, *whole, bill),
    };
    let verdict = if bill.free { at_no_cost(verdict) } else { verdict };
    let outcome = match (end.gone, &end.seen) {
        (None, _) | (_, Seen::NotSent) => verdict.outcome,
        (Some(Gone::Left), _) => Outcome::ClientLeft,
        // What upstream refused had no answer that could be taken back.
        (Some(Gone::Recalled), Seen::Refused { .. }) => verdict.outcome,
        (Some(Gone::Recalled), _) => Outcome::Cut,
    };
    Verdict { outcome, ..verdict }
}

/// True for a status that says that nothing was begun.
pub(crate) fn says_not_begun(status: u16) -> bool {
    matches!(status, 503 | 529)
}

fn answered(metered: &Metered, whole: bool, bill: &Bill<'_>) -> Verdict {
    let outcome = match (whole, &metered.error_type) {
        (true, None) => Outcome::Completed,
        // An error event before anything was begun is a refusal that came late.
        (_, Some(_)) if nothing_begun(metered) => return nothing(Outcome::UpstreamFailed),
        _ => Outcome::Cut,
    };
    let Some(usage) = &metered.usage else {
        let concern = whole.then_some(Concern::Unmetered);
        return Verdict { concern, ..unknown(outcome, bill) };
    };
    let context = CostContext {
        at: bill.at,
        requested_model: bill.requested_model,
        served_model: metered.served_model.as_deref().unwrap_or(bill.requested_model),
        stop_reason: metered.stop_reason.as_deref(),
        assume_us_geo: bill.assume_us_geo,
        batch: false,
    };
    if !metered.is_final && bill.samples_again {
        return unknown(outcome, bill);
    }
    if !metered.is_final && bill.short {
        return cut_short(metered, context, outcome, bill);
    }
    if !metered.is_final {
        let cost = estimate(metered, context, bill.max_tokens, bill.reserved, bill.prices);
        return charged(outcome, Certainty::Estimated, cost.money, cost.tokens);
    }
    if let Ok(cost) = cost(usage, context, bill.prices) {
        return charged(outcome, Certainty::Settled, cost.money, cost.tokens);
    }
    // Served by a model that nobody has a price for. What was set aside is within budget, and a
    // person is told; a guess above it could break a budget over a mere new name.
    let concern = Some(Concern::Unpriced);
    Verdict { concern, ..charged(outcome, Certainty::Estimated, bill.reserved, usage.totals) }
}

/// A stream that was admitted with what was left, and ended before its last usage. What was seen of
/// it and what upstream may have written beyond that is charged; where that is not less than what
/// was set aside, or cannot be said, all of it stays charged until somebody learns the true cost.
fn cut_short(
    metered: &Metered,
    context: CostContext<'_>,
    outcome: Outcome,
    bill: &Bill<'_>,
) -> Verdict {
    let so_far = metered.so_far();
    let spent = so_far.and_then(|so_far| spent_at_most(so_far, context, bill.prices));
    match spent.filter(|spent| spent.money < bill.reserved) {
        Some(spent) => charged(outcome, Certainty::Estimated, spent.money, spent.tokens),
        None => unknown(outcome, bill),
    }
}

/// True when an answer has shown no sign of work. That its usage could not be read is none.
fn nothing_begun(metered: &Metered) -> bool {
    let Metered { usage, message_id, served_model, .. } = metered;
    let silent = metered.delivered_chars == 0 && !metered.thinking_seen;
    usage.is_none() && message_id.is_none() && served_model.is_none() && silent
}

fn charged(outcome: Outcome, certainty: Certainty, cost: Money, tokens: Tokens) -> Verdict {
    Verdict { outcome, certainty, cost, tokens, counted: Some(tokens), concern: None }
}

fn nothing(outcome: Outcome) -> Verdict {
    charged(outcome, Certainty::Settled, Money::ZERO, NO_TOKENS)
}

fn unknown(outcome: Outcome, bill: &Bill<'_>) -> Verdict {
    Verdict {
        outcome,
        certainty: Certainty::Unsettled,
        cost: bill.reserved,
        tokens: NO_TOKENS,
        counted: None,
        concern: None,
    }
}

fn at_no_cost(verdict: Verdict) -> Verdict {
    Verdict { concern: None, ..nothing(verdict.outcome) }
}

#[cfg(test)]
mod tests;

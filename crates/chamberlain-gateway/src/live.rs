//! How the gateway stands right now, for `chamberlain status`.

use std::sync::atomic::Ordering;

use chamberlain_core::ledger::account::{AccountId, Balance};
use chamberlain_core::time::Timestamp;
use serde::Serialize;

use crate::gateway::Inner;
use crate::health::{BreakerLive, UpstreamLimit};

/// One look at the gateway.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Live {
    /// The books of every account whose window has not ended.
    pub balances: Vec<(AccountId, Balance)>,
    /// Calls admitted and not settled yet.
    pub in_flight: usize,
    /// Calls waiting for a rate limit, for money, or for upstream's own limits.
    pub waiting: usize,
    /// Connections of clients.
    pub connections: usize,
    /// Batches whose cost is not known yet.
    pub open_batches: usize,
    /// When the oldest of them was submitted.
    pub oldest_batch: Option<Timestamp>,
    /// Bytes of request bodies in memory.
    pub body_bytes: usize,
    /// Large request bodies that wait for their turn to be read.
    pub bodies_waiting: usize,
    /// Large request bodies that are being read.
    pub bodies_read: usize,
    /// Breakers, one per upstream credential that was used.
    pub breakers: Vec<BreakerLive>,
    /// What upstream last said about its own limits.
    pub upstream_limits: Vec<UpstreamLimit>,
}

impl Inner {
    pub(crate) fn live(&self) -> Live {
        let now = self.now();
        let (balances, in_flight, waiting) = {
            let hall = self.hall.lock();
            (hall.gate.balances(now), hall.gate.in_flight(), hall.waiting())
        };
        let (open_batches, oldest_batch) = self.batches.standing();
        let (bodies_waiting, bodies_read) = self.desks.standing();
        Live {
            bodies_waiting,
            bodies_read,
            open_batches,
            oldest_batch,
            balances,
            in_flight,
            waiting,
            connections: self.connections_standing.load(Ordering::Relaxed),
            body_bytes: self.bodies.used(),
            breakers: self.standings.breakers(now),
            upstream_limits: self.standings.limits(),
        }
    }
}

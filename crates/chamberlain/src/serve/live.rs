//! The running gateway, as the control plane wants to see it.

use std::sync::Arc;

use chamberlain_control::commander::Live;
use chamberlain_control::jobs::driver::Driver;
use chamberlain_control::reply::{BreakerLine, JobLine, Running};
use chamberlain_core::id::UpstreamKeyId;
use chamberlain_core::ledger::account::{AccountId, Balance};
use chamberlain_core::money::Money;
use chamberlain_core::rotation::Traffic;
use chamberlain_core::time::{Clock, Timestamp};
use chamberlain_gateway::Gateway;
use tokio_util::sync::CancellationToken;

/// The running gateway, as `chamberlain status` shows it.
pub(super) struct LiveGateway {
    pub(super) gateway: Gateway,
    pub(super) driver: Arc<Driver>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) started: Timestamp,
    pub(super) gateway_url: String,
    pub(super) console_url: String,
    pub(super) upstream: String,
    pub(super) is_mock: bool,
    pub(super) stop: CancellationToken,
}

impl Live for LiveGateway {
    fn running(&self) -> Running {
        let live = self.gateway.live();
        let breakers = live.breakers.into_iter().map(|breaker| BreakerLine {
            upstream_key: breaker.upstream_key.map_or("mock".to_owned(), |id| id.to_string()),
            state: breaker.state,
        });
        Running {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            gateway: Some(self.gateway_url.clone()),
            console: Some(self.console_url.clone()),
            uptime_s: self.clock.now().ms_since(self.started) / 1_000,
            pid: std::process::id(),
            upstream: self.upstream.clone(),
            mock: self.is_mock,
            draining: self.stop.is_cancelled(),
            in_flight: live.in_flight as u64,
            waiting: live.waiting as u64,
            breakers: breakers.collect(),
        }
    }

    fn balances(&self) -> Vec<(AccountId, Balance)> {
        self.gateway.live().balances
    }

    fn jobs(&self) -> Vec<JobLine> {
        self.driver.status()
    }

    fn use_of(&self, key: &UpstreamKeyId) -> (u64, Traffic) {
        let used = self.gateway.use_of(key);
        (used.in_flight, used.traffic)
    }

    fn written_off(&self, accounts: &[AccountId], let_go: Money, cost: Money) {
        self.gateway.write_off(accounts, let_go, cost);
    }
}

//! The gateway and the keyring, as the control plane and the gateway want to see them.

use std::sync::Arc;

use axum::http::HeaderValue;
use chamberlain_control::commander::Live;
use chamberlain_control::jobs::driver::Driver;
use chamberlain_control::reply::{BreakerLine, JobLine, Running};
use chamberlain_core::id::UpstreamKeyId;
use chamberlain_core::ledger::account::{AccountId, Balance};
use chamberlain_core::money::Money;
use chamberlain_core::time::{Clock, Timestamp};
use chamberlain_gateway::Gateway;
use chamberlain_gateway::keys::KeySource;
use chamberlain_vault::keyring::Keyring;
use tokio_util::sync::CancellationToken;

/// The vault's keyring, as the gateway's source of credentials.
pub(super) struct OpenKeys(pub(super) Arc<Keyring>);

impl KeySource for OpenKeys {
    fn credential(&self, id: &UpstreamKeyId) -> Option<HeaderValue> {
        let secret = self.0.get(id)?;
        let mut value = HeaderValue::from_bytes(secret.expose_header_value()).ok()?;
        value.set_sensitive(true);
        Some(value)
    }
}

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

    fn written_off(&self, accounts: &[AccountId], charged: Money, cost: Money) {
        self.gateway.write_off(accounts, charged, cost);
    }
}

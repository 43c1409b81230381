//! `chamberlain mock`: a faithful fake Anthropic API, for people's own tests and for trying out.

use std::time::Duration;

use chamberlain_mock::{Abandoned, Journaling, Mock as Fake, MockConfig};
use clap::Args;
use tokio::net::TcpListener;

use super::context::Context;
use crate::failure::Failure;
use crate::serve::{listen, signals};

const EXAMPLES: &str = "\
Examples:
  chamberlain mock                                   answer on 127.0.0.1:8789
  chamberlain mock --listen 127.0.0.1:0 --json       any free port, for scripts
  curl -s 127.0.0.1:8789/mock/journal                what was asked and answered";

const SCENARIOS: &str = "\
A header `x-mock-scenario: overloaded times=3`, or `[[mock: overloaded times=3]]` in the last user
message, asks for a particular answer. docs/mock.md lists them.";

/// A faithful fake Anthropic API, for tests and for trying out
#[derive(Args, Debug)]
#[command(before_help = EXAMPLES, after_help = SCENARIOS)]
pub(crate) struct Mock {
    /// Where to answer
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8789")]
    listen: String,
    /// Milliseconds before the first byte of a message's answer
    #[arg(long, value_name = "MS", default_value_t = 0)]
    latency_ms: u64,
    /// Milliseconds between the events of a stream
    #[arg(long, value_name = "MS", default_value_t = 0)]
    event_gap_ms: u64,
    /// Milliseconds until the items of a batch are answered
    #[arg(long, value_name = "MS", default_value_t = 0)]
    batch_delay_ms: u64,
    /// Keep request bodies in the journal
    #[arg(long)]
    keep_bodies: bool,
    /// Refuse body fields the API does not know, as the real one does
    #[arg(long)]
    strict_fields: bool,
    /// Bill an answer in full although its client left
    #[arg(long)]
    bill_abandoned_in_full: bool,
}

impl Mock {
    pub(super) fn run(self, context: &Context) -> Result<(), Failure> {
        let runtime = tokio::runtime::Runtime::new()
            .map_err(|error| Failure::failed(format!("no runtime: {error}")))?;
        runtime.block_on(self.serve(context))
    }

    async fn serve(self, context: &Context) -> Result<(), Failure> {
        let listener: TcpListener = listen::bind(&self.listen, "mock").await?;
        let url = listen::url(&listener, "http")?;
        let mut signals = signals::Signals::catch()
            .map_err(|error| Failure::failed(format!("signals cannot be caught: {error}")))?;
        match context.out.json {
            true => context.out.value(&serde_json::json!({ "url": url }))?,
            false => context.out.line(&format!(
                "The fake Anthropic API answers at {url} (any key is right; Ctrl-C ends it)."
            ))?,
        }
        let fake = Fake::new(self.config());
        fake.serve(listener, signals.until_stop(|| {})).await;
        Ok(())
    }

    fn config(&self) -> MockConfig {
        MockConfig {
            journal: if self.keep_bodies { Journaling::WithBodies } else { Journaling::On },
            latency: Duration::from_millis(self.latency_ms),
            event_gap: Duration::from_millis(self.event_gap_ms),
            batch_delay: Duration::from_millis(self.batch_delay_ms),
            strict_fields: self.strict_fields,
            abandoned: match self.bill_abandoned_in_full {
                true => Abandoned::InFull,
                false => Abandoned::AsDelivered,
            },
            ..MockConfig::default()
        }
    }
}

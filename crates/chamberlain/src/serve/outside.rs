//! The control plane's way to hosts that are not upstream, through the one client of the house.

use std::time::Duration;

use bytes::Bytes;
use chamberlain_control::web::{ANSWER_BYTES_MAX, Web, WebFault};
use chamberlain_gateway::outside::{self, NoAnswer};
use http::{Request, Response};

/// Sends over the network.
pub(crate) struct Outside;

impl Web for Outside {
    fn send(&self, request: Request<Bytes>, within: Duration) -> Result<Response<Bytes>, WebFault> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| WebFault::NotSent(format!("no runtime: {error}")))?;
        let answer = runtime.block_on(outside::send(request, within, ANSWER_BYTES_MAX));
        answer.map_err(|fault| match fault {
            NoAnswer::NotSent(why) => WebFault::NotSent(why),
            NoAnswer::Lost(why) => WebFault::Lost(why),
        })
    }
}

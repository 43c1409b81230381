//! Listening, with errors that say what to do.

use std::io;

use tokio::net::TcpListener;

use crate::failure::{Failure, exit};

/// Listens at `address` (`HOST:PORT`; port 0 takes any free one). `what` names it in errors.
pub(crate) async fn bind(address: &str, what: &str) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).await.map_err(|error| {
        let failure = Failure::new(exit::UNAVAILABLE, format!("{what}: {address}: {error}"));
        match error.kind() {
            io::ErrorKind::AddrInUse => {
                failure.hint("another program listens there; stop it or choose another port")
            }
            io::ErrorKind::PermissionDenied => {
                failure.hint("ports below 1024 are root's; choose a higher one")
            }
            _ => failure.hint("write an address of this machine and a port, like 127.0.0.1:8787"),
        }
    })
}

/// The URL of a listener.
pub(crate) fn url(listener: &TcpListener) -> Result<String, Failure> {
    let address = listener
        .local_addr()
        .map_err(|error| Failure::failed(format!("the listener has no address: {error}")))?;
    Ok(format!("http://{address}"))
}

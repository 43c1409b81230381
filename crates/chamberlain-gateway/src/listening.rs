//! Where calls come in: TCP, plain or under TLS, and a Unix socket.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use chamberlain_core::source::Source;
use tokio::net::{TcpListener, UnixListener};

use crate::tls::Tls;

/// Everything that calls come in by, opened by somebody else.
#[derive(Debug)]
pub struct Listening {
    /// Where TCP is taken.
    pub tcp: TcpListener,
    /// What TLS is served with there; `None` serves plain HTTP.
    pub tls: Option<Arc<Tls>>,
    /// A Unix socket beside it, always plain.
    pub unix: Option<UnixListener>,
    /// How many connections there may be.
    pub limits: ConnectionLimits,
}

impl From<TcpListener> for Listening {
    fn from(tcp: TcpListener) -> Listening {
        Listening { tcp, tls: None, unix: None, limits: ConnectionLimits::default() }
    }
}

/// Connections at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ConnectionLimits {
    /// Over all addresses; more wait in the listener's queue.
    pub all: usize,
    /// From one address that is no trusted proxy; more are closed.
    pub per_address: usize,
}

impl Default for ConnectionLimits {
    fn default() -> ConnectionLimits {
        ConnectionLimits { all: 16_384, per_address: 4_096 }
    }
}

/// One of the places where connections come in.
pub(crate) enum Entrance {
    Tcp(TcpListener, Option<Arc<Tls>>),
    Unix(UnixListener),
}

/// A connection that came in, not yet anybody's to wait for: whoever carries it does.
pub(crate) enum Incomer {
    Tcp(std::net::TcpStream, SocketAddr, Option<Arc<Tls>>),
    Unix(std::os::unix::net::UnixStream),
}

impl Entrance {
    /// Takes the next connection.
    pub(crate) async fn accept(&self) -> io::Result<Incomer> {
        match self {
            Entrance::Tcp(listener, tls) => {
                let (stream, address) = listener.accept().await?;
                Ok(Incomer::Tcp(stream.into_std()?, address, tls.clone()))
            }
            Entrance::Unix(listener) => Ok(Incomer::Unix(listener.accept().await?.0.into_std()?)),
        }
    }
}

impl Incomer {
    /// Who is at the other end.
    pub(crate) fn peer(&self) -> Source {
        match self {
            Incomer::Tcp(_, address, _) => Source::Address(address.ip().to_canonical()),
            Incomer::Unix(_) => Source::Local,
        }
    }
}

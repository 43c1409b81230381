//! The TLS handshake: bounded in time, and plain words to whoever speaks plain HTTP.

use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::patience::Patient;

/// From connecting to the end of the handshake.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
/// The first byte of every TLS connection: a record of a handshake.
const HANDSHAKE_RECORD: u8 = 0x16;
/// Pieces that are read and thrown away of what a client said in plain HTTP.
const UNREAD_MAX: usize = 16;
const PLAIN: &[u8] = b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\
    content-type: text/plain; charset=utf-8\r\ncontent-length: 67\r\n\r\n\
    This address speaks TLS. Write https:// in place of http:// there.\n";

/// Why there is no connection under TLS.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum NoTls {
    /// It took too long.
    TimedOut,
    /// The client spoke plain HTTP, and was told.
    PlainHttp,
    /// Something was wrong: no certificate where one is required, one that nobody vouches for, no
    /// version or cipher that both know.
    Failed(String),
}

impl NoTls {
    /// Its name in metrics.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            NoTls::TimedOut => "timeout",
            NoTls::PlainHttp => "plain_http",
            NoTls::Failed(_) => "failed",
        }
    }
}

/// Shakes hands.
pub(crate) async fn shake(
    config: Arc<ServerConfig>,
    stream: Patient<TcpStream>,
) -> Result<TlsStream<Patient<TcpStream>>, NoTls> {
    match timeout(HANDSHAKE_MAX, try_shake(config, stream)).await {
        Ok(shaken) => shaken,
        Err(_) => Err(NoTls::TimedOut),
    }
}

async fn try_shake(
    config: Arc<ServerConfig>,
    mut stream: Patient<TcpStream>,
) -> Result<TlsStream<Patient<TcpStream>>, NoTls> {
    let failed = |error: std::io::Error| NoTls::Failed(error.to_string());
    let mut first = [0];
    let length = stream.get_ref().peek(&mut first).await.map_err(failed)?;
    if length == 1 && first[0] != HANDSHAKE_RECORD && first[0].is_ascii_uppercase() {
        tell(&mut stream).await;
        return Err(NoTls::PlainHttp);
    }
    TlsAcceptor::from(config).accept(stream).await.map_err(failed)
}

/// Tells a client what is spoken here. What it sent is read to a point: a connection that is closed
/// with unread bytes in it takes the answer down with it.
async fn tell(stream: &mut Patient<TcpStream>) {
    let mut unread = [0; 4096];
    let telling = async {
        stream.write_all(PLAIN).await?;
        stream.shutdown().await?;
        for _ in 0..UNREAD_MAX {
            if stream.read(&mut unread).await? == 0 {
                break;
            }
        }
        Ok::<_, std::io::Error>(())
    };
    // Whether it still listens is its own affair.
    let _ = telling.await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plain_words_are_as_long_as_they_say() {
        let text = std::str::from_utf8(PLAIN).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.ends_with(&format!("content-length: {}", body.len())), "{}", body.len());
    }
}

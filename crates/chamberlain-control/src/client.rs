//! The other end of the socket: the command line while a server runs.

use std::io;
use std::os::unix::net::UnixStream;
use std::path::Path;

use bytes::Bytes;
use http::header::HOST;
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use zeroize::Zeroizing;

use crate::command::Command;
use crate::door::Door;
use crate::error::{CommandError, ErrorCode};
use crate::socket;

/// Largest reply that is read.
const REPLY_BYTES_MAX: usize = 256 * 1024 * 1024;

/// A running server, seen through its socket.
pub struct Client {
    path: std::path::PathBuf,
}

impl Client {
    /// The server that runs on `data`; `None` when there is none (no socket, or one that a killed
    /// server left behind).
    ///
    /// # Errors
    /// When there may be one but it cannot be reached: it belongs to somebody else.
    pub fn connect(data: &Path) -> Result<Option<Client>, CommandError> {
        let path = data.join(socket::FILE_NAME);
        match UnixStream::connect(&path) {
            Ok(_) => Ok(Some(Client { path })),
            Err(error) => match error.kind() {
                // A path too long for a socket cannot be one.
                io::ErrorKind::NotFound
                | io::ErrorKind::ConnectionRefused
                | io::ErrorKind::NotADirectory
                | io::ErrorKind::InvalidInput => Ok(None),
                io::ErrorKind::PermissionDenied => Err(CommandError::new(
                    ErrorCode::Forbidden,
                    format!("{} belongs to somebody else", path.display()),
                )
                .hint("run as the user that runs Chamberlain, or as root")),
                _ => Err(CommandError::unavailable(format!("{}: {error}", path.display()))),
            },
        }
    }
}

impl Door for Client {
    /// Blocks until the reply is there. May be called from anywhere, a tokio runtime included.
    fn execute(&self, command: Command) -> Result<Value, CommandError> {
        std::thread::scope(|scope| {
            scope.spawn(|| self.block_on(command)).join().unwrap_or_else(|_| {
                Err(CommandError::failed("the connection to the server failed in an unknown way"))
            })
        })
    }
}

impl Client {
    fn block_on(&self, command: Command) -> Result<Value, CommandError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()
            .map_err(|error| CommandError::failed(format!("no runtime: {error}")))?;
        let (status, body) = runtime.block_on(self.send(command))?;
        if status == 200 {
            return serde_json::from_slice(&body).map_err(|error| not_ours(&error.to_string()));
        }
        Err(serde_json::from_slice(&body)
            .unwrap_or_else(|_| not_ours(&format!("it answered with status {status}"))))
    }

    async fn send(&self, command: Command) -> Result<(u16, Zeroizing<Vec<u8>>), CommandError> {
        let gone = |error: &dyn std::fmt::Display| {
            CommandError::unavailable(format!("the running server cannot be reached: {error}"))
                .hint("try again; if it was stopped, the command works without it")
        };
        let stream = tokio::net::UnixStream::connect(&self.path).await.map_err(|e| gone(&e))?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|e| gone(&e))?;
        // Ends with the runtime, which is this command's own.
        tokio::spawn(connection);
        let response = sender.send_request(request(command)?).await.map_err(|e| gone(&e))?;
        let status = response.status().as_u16();
        let mut body = Limited::new(response.into_body(), REPLY_BYTES_MAX);
        let mut bytes = Zeroizing::new(Vec::new());
        while let Some(frame) = body.frame().await {
            if let Ok(data) = frame.map_err(|e| gone(&e))?.into_data() {
                bytes.extend_from_slice(&data);
            }
        }
        Ok((status, bytes))
    }
}

fn request(command: Command) -> Result<http::Request<Full<Bytes>>, CommandError> {
    // It may hold a key, so it is wiped when it was sent.
    let body = serde_json::to_vec(&command)
        .map_err(|error| CommandError::failed(format!("the command cannot be written: {error}")))?;
    http::Request::post("/command")
        .header(HOST, "chamberlain")
        .body(Full::new(Bytes::from_owner(Zeroizing::new(body))))
        .map_err(|error| CommandError::failed(format!("the command cannot be sent: {error}")))
}

fn not_ours(what: &str) -> CommandError {
    CommandError::failed(format!("the running server does not speak this version: {what}"))
        .hint("restart it, or use the version of the command line that belongs to it")
}

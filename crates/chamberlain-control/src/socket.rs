//! The door while the server runs: a Unix socket in the data folder.
//!
//! `POST /command` takes a command as JSON and gives its reply. Only the owner of the data folder
//! and root get in (mode 0600, and the peer's uid is checked again); that uid is the actor in the
//! audit log. Bodies are bounded, never logged, and wiped after reading: one may hold a key.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::connect_info::Connected;
use axum::extract::{ConnectInfo, State};
use axum::response::Response;
use axum::routing::post;
use axum::serve::IncomingStream;
use chamberlain_core::audit::record::Principal;
use chamberlain_core::secret;
use http::header::CONTENT_TYPE;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::Serialize;
use tokio::net::UnixListener;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use crate::command::Command;
use crate::door::Execute;
use crate::error::{CommandError, ErrorCode};

/// The socket's name in the data folder.
pub const FILE_NAME: &str = "chamberlain.sock";

/// Largest command. The largest sensible one, a signed checkpoint to verify against, has 2 KiB.
const COMMAND_BYTES_MAX: usize = 256 * 1024;

/// Longest path of a Unix socket on Linux, without its final zero.
const PATH_BYTES_MAX: usize = 107;

/// Gives the name of a uid, where there is one.
pub type NameOf = fn(u32) -> Option<String>;

/// The listening end.
pub struct Socket {
    listener: UnixListener,
    path: PathBuf,
    owner: u32,
}

/// Who is at the other end, by the kernel's word.
#[derive(Clone, Copy)]
struct Peer(Option<u32>);

impl Connected<IncomingStream<'_, UnixListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, UnixListener>) -> Peer {
        Peer(stream.io().peer_cred().ok().map(|credentials| credentials.uid()))
    }
}

#[derive(Clone)]
struct Desk {
    executor: Arc<dyn Execute>,
    owner: u32,
    name_of: NameOf,
}

impl Socket {
    /// Listens in `data`, replacing what a killed server left behind. Whoever calls this holds the
    /// store's lock, so no living server is pushed aside. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// When the socket cannot be made, with the reason and what to do.
    pub fn bind(data: &Path) -> io::Result<Socket> {
        let path = data.join(FILE_NAME);
        let length = path.as_os_str().len();
        // ".new" is added below.
        if length + 4 > PATH_BYTES_MAX {
            let longest = PATH_BYTES_MAX - 4;
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!(
                    "{} is {length} bytes long and a Unix socket's path may have {longest}; \
                     choose a data folder with a shorter path",
                    path.display()
                ),
            ));
        }
        // Made beside its place and closed to others first, so it is never open to them.
        let made = data.join(format!("{FILE_NAME}.new"));
        remove(&made)?;
        let listener = UnixListener::bind(&made)?;
        fs::set_permissions(&made, Permissions::from_mode(0o600))?;
        let owner = fs::metadata(&made)?.uid();
        fs::rename(&made, &path)?;
        Ok(Socket { listener, path, owner })
    }

    /// Takes commands until `stop`, then lets those at work end and removes the socket.
    pub async fn serve(
        self,
        executor: Arc<dyn Execute>,
        name_of: NameOf,
        stop: CancellationToken,
    ) -> io::Result<()> {
        let desk = Desk { executor, owner: self.owner, name_of };
        let router = Router::new().route("/command", post(take)).with_state(desk);
        let served =
            axum::serve(self.listener, router.into_make_service_with_connect_info::<Peer>())
                .with_graceful_shutdown(stop.cancelled_owned())
                .await;
        remove(&self.path)?;
        served
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

async fn take(
    State(desk): State<Desk>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    body: Body,
) -> Response {
    match done(desk, peer, body).await {
        Ok(value) => answer(200, &value),
        Err(error) => answer(error.code.status(), &error),
    }
}

async fn done(desk: Desk, peer: Peer, body: Body) -> Result<serde_json::Value, CommandError> {
    let actor = desk.actor(peer)?;
    let command = read(body).await?;
    let name = command.name();
    // Commands read and write files; a thread of their own keeps them off the calls' way.
    let executor = desk.executor;
    tokio::task::spawn_blocking(move || executor.execute(&actor, command)).await.unwrap_or_else(
        |error| {
            tracing::error!(command = name, %error, "a command did not end");
            Err(CommandError::failed(format!("{name} did not end"))
                .hint("the server's log says more"))
        },
    )
}

/// How somebody on this machine is named in the audit log: `uid:1000(ada)`.
pub fn person(uid: u32, name_of: NameOf) -> Principal {
    let name = name_of(uid).unwrap_or_else(|| "?".to_owned());
    Principal::Person(format!("uid:{uid}({name})"))
}

impl Desk {
    fn actor(&self, peer: Peer) -> Result<Principal, CommandError> {
        match peer.0 {
            Some(uid) if uid == self.owner || uid == 0 => Ok(person(uid, self.name_of)),
            Some(uid) => Err(CommandError::new(
                ErrorCode::Forbidden,
                format!("commands are taken from uid {} and root, not from uid {uid}", self.owner),
            )),
            None => Err(CommandError::new(ErrorCode::Forbidden, "the caller's uid is not known")),
        }
    }
}

async fn read(body: Body) -> Result<Command, CommandError> {
    let mut body = Limited::new(body, COMMAND_BYTES_MAX);
    // Room for all of it at once: a buffer that grows leaves copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(COMMAND_BYTES_MAX));
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| match error.is::<LengthLimitError>() {
            true => CommandError::usage(format!("a command has at most {COMMAND_BYTES_MAX} bytes")),
            false => CommandError::usage("the command broke off"),
        })?;
        if let Ok(data) = frame.into_data() {
            bytes.extend_from_slice(&data);
        }
    }
    // The reason may quote what was sent.
    serde_json::from_slice(&bytes).map_err(|error| {
        let error = error.to_string();
        CommandError::usage(format!("this is not a command: {}", secret::redact(&error)))
    })
}

fn answer(status: u16, value: &impl Serialize) -> Response {
    let (status, body) = match serde_json::to_vec(value) {
        Ok(body) => (status, body),
        Err(_) => (500, br#"{"code":"failed","message":"the reply could not be written"}"#.into()),
    };
    // A new virtual key may be in it, once; the buffer is wiped when it was sent.
    let body = Body::from(Bytes::from_owner(Zeroizing::new(body)));
    let mut response = Response::new(body);
    *response.status_mut() =
        http::StatusCode::from_u16(status).unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
    response
}

#[cfg(test)]
mod tests;

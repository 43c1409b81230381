//! Listening, with errors that say what to do.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use tokio::net::{TcpListener, UnixListener};

use crate::failure::{Failure, exit};

/// Owner and group may call; the folder says who else cannot even come near.
const SOCKET_MODE: u32 = 0o660;

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
pub(crate) fn url(listener: &TcpListener, scheme: &str) -> Result<String, Failure> {
    let address = listener
        .local_addr()
        .map_err(|error| Failure::failed(format!("the listener has no address: {error}")))?;
    Ok(format!("{scheme}://{address}"))
}

/// A Unix socket that calls come in by. Its file goes away with it, unless another one was put in
/// its place.
pub(super) struct CallSocket {
    path: PathBuf,
    inode: u64,
}

impl CallSocket {
    /// Listens at `path`. A socket that is left over from a process that ended is replaced;
    /// anything else that is there is left alone.
    pub(super) fn bind(path: &Path) -> Result<(CallSocket, UnixListener), Failure> {
        let failed = |error: io::Error| {
            let message = format!("server.unix_socket: {}: {error}", path.display());
            let failure = Failure::new(exit::UNAVAILABLE, message);
            match error.kind() {
                io::ErrorKind::NotFound => failure.hint("make its folder first"),
                io::ErrorKind::AddrInUse => {
                    failure.hint("another program listens there; stop it or choose another path")
                }
                io::ErrorKind::AlreadyExists => {
                    failure.hint("something else than a socket lies there; choose another path")
                }
                _ => failure.hint("name a path in a folder that this user may write to"),
            }
        };
        clear(path).map_err(failed)?;
        let listener = UnixListener::bind(path).map_err(failed)?;
        fs::set_permissions(path, fs::Permissions::from_mode(SOCKET_MODE)).map_err(failed)?;
        let inode = fs::symlink_metadata(path).map_err(failed)?.ino();
        Ok((CallSocket { path: path.to_owned(), inode }, listener))
    }
}

impl Drop for CallSocket {
    fn drop(&mut self) {
        let is_ours = fs::symlink_metadata(&self.path).is_ok_and(|it| it.ino() == self.inode);
        if is_ours {
            // What cannot be removed is replaced at the next start.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Removes a socket that nobody listens at.
fn clear(path: &Path) -> io::Result<()> {
    let found = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        found => found?,
    };
    if !found.file_type().is_socket() {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        Ok(_) => Err(io::ErrorKind::AddrInUse.into()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_that_nobody_listens_at_is_replaced_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gateway.sock");
        let (socket, listener) = CallSocket::bind(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, SOCKET_MODE);
        let refused = CallSocket::bind(&path).map(drop).unwrap_err();
        assert!(refused.hint.unwrap().starts_with("another program listens there"));
        drop(listener);
        // As after a kill: the file is there, and nobody behind it.
        std::mem::forget(socket);
        let (socket, _listener) = CallSocket::bind(&path).unwrap();
        drop(socket);
        assert!(!path.exists());
        fs::write(&path, "precious").unwrap();
        let refused = CallSocket::bind(&path).map(drop).unwrap_err();
        assert!(refused.hint.unwrap().starts_with("something else"));
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }
}

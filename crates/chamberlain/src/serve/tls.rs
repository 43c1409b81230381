//! The files that TLS is served with: read at the start, looked at every two seconds, taken over
//! when they changed, on record either way.
//!
//! A file that cannot be used changes nothing: what was served before is served on.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use chamberlain_core::audit::record::Principal;
use chamberlain_core::record::{Notice, Severity};
use chamberlain_core::secret::Secret;
use chamberlain_core::time::Clock;
use chamberlain_gateway::{BadTls, Tls, TlsParts};
use chamberlain_store::{Facts, Store};
use serde_json::{Map, json};
use tokio::sync::Notify;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::config::settings::TlsFiles;
use crate::failure::{Failure, exit};

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// No certificate is larger.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// What the files were when they were read: device, inode, size, and the time of the last change.
pub(super) type Stamp = Vec<Option<(u64, u64, u64, i64, i64)>>;

/// Reads the files at the start.
pub(super) fn open(files: &TlsFiles) -> Result<Tls, Failure> {
    let read = Read::from(files)?;
    Tls::new(&read.parts(files)).map_err(|bad| refused(files, &bad))
}

/// What is in the files.
struct Read {
    chain: Vec<u8>,
    key: Secret,
    client_ca: Option<Vec<u8>>,
}

impl Read {
    fn from(files: &TlsFiles) -> Result<Read, Failure> {
        let chain = read("server.tls.cert", &files.cert)?;
        let client_ca = files.client_ca.as_deref().map(|path| read("server.tls.client_ca", path));
        Ok(Read { chain, key: read_key(&files.key)?, client_ca: client_ca.transpose()? })
    }

    fn parts<'a>(&'a self, files: &TlsFiles) -> TlsParts<'a> {
        TlsParts {
            chain: &self.chain,
            key: &self.key,
            client_ca: self.client_ca.as_deref(),
            client_is_required: files.client_is_required,
        }
    }
}

fn read(setting: &str, path: &Path) -> Result<Vec<u8>, Failure> {
    let failed = |error: io::Error| {
        Failure::new(exit::UNAVAILABLE, format!("{setting}: {}: {error}", path.display()))
            .hint("name a PEM file that this user may read")
    };
    let found = fs::metadata(path).map_err(failed)?;
    if found.len() > FILE_BYTES_MAX {
        return Err(failed(io::Error::other("it is far too large for a certificate")));
    }
    fs::read(path).map_err(failed)
}

/// Reads the key, which nobody else may read.
fn read_key(path: &Path) -> Result<Secret, Failure> {
    const SETTING: &str = "server.tls.key";
    if let Ok(found) = fs::metadata(path)
        && let Some(mode) = shared_mode(&found)
    {
        let message = format!("{SETTING}: others can read {} (mode {mode:o})", path.display());
        return Err(
            Failure::new(exit::UNAVAILABLE, message).hint(format!("chmod 600 {}", path.display()))
        );
    }
    let text = String::from_utf8(read(SETTING, path)?).map_err(|_| {
        Failure::new(exit::UNAVAILABLE, format!("{SETTING}: {} is not PEM", path.display()))
            .hint("write it with `openssl pkey -inform DER -in KEY -out KEY.pem`")
    })?;
    Ok(Secret::new(text))
}

/// The mode of a file that others than its owner may touch.
fn shared_mode(found: &fs::Metadata) -> Option<u32> {
    let mode = found.mode() & 0o777;
    (mode & 0o077 != 0).then_some(mode)
}

fn refused(files: &TlsFiles, bad: &BadTls) -> Failure {
    let (setting, path) = match bad {
        BadTls::Chain(_) => ("server.tls.cert", &files.cert),
        BadTls::Key(_) => ("server.tls.key", &files.key),
        BadTls::ClientCa(_) => {
            ("server.tls.client_ca", files.client_ca.as_ref().unwrap_or(&files.cert))
        }
    };
    Failure::new(exit::UNAVAILABLE, format!("{setting}: {}: {bad}", path.display()))
}

/// The files that are served with, watched.
pub(super) struct Watcher {
    pub(super) tls: Arc<Tls>,
    pub(super) files: TlsFiles,
    pub(super) store: Store,
    pub(super) clock: Arc<dyn Clock>,
    /// Told when the configuration is read again: look now.
    pub(super) kick: Arc<Notify>,
}

impl Watcher {
    /// Looks at the files until `stop`. They were read when `served` was taken.
    pub(super) async fn watch(self, served: Stamp, stop: CancellationToken) {
        let watcher = Arc::new(self);
        let (mut served, mut before) = (served.clone(), served);
        let mut looks = interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let kicked = tokio::select! {
                () = stop.cancelled() => return,
                _ = looks.tick() => false,
                () = watcher.kick.notified() => true,
            };
            let now = stamp(&watcher.files);
            // Two files are seldom replaced at the same instant: wait until they rest.
            let rests = kicked || now == before;
            before = now.clone();
            if now == served || !rests {
                continue;
            }
            served = now;
            let reloading = watcher.clone();
            let reloaded = tokio::task::spawn_blocking(move || reloading.reload()).await;
            if let Err(error) = reloaded {
                tracing::error!(%error, "the files of TLS could not be looked at");
            }
        }
    }

    fn reload(&self) {
        let read = Read::from(&self.files);
        let replaced = read.and_then(|read| {
            let replaced = self.tls.replace(&read.parts(&self.files));
            replaced.map_err(|bad| refused(&self.files, &bad))
        });
        match replaced {
            Ok(()) => {
                tracing::info!("new connections are served with the new certificate");
                self.record();
            }
            Err(failure) => self.tell(&failure),
        }
    }

    fn record(&self) {
        let facts = Facts {
            after: Some(json!({
                "cert": self.files.cert,
                "key": self.files.key,
                "client_ca": self.files.client_ca,
            })),
            ..Facts::default()
        };
        let recorded = self.store.change(Principal::Chamberlain, move |change| {
            change.audit("tls.reloaded", "tls", &facts).map(drop)
        });
        if let Err(fault) = recorded {
            tracing::error!(error = %fault, "that TLS was taken over is not on record");
        }
    }

    fn tell(&self, failure: &Failure) {
        let message = format!(
            "The new files of TLS cannot be used, and the old ones are served on. {}",
            failure.message
        );
        tracing::error!(
            error = failure.message,
            hint = failure.hint,
            "the new files of TLS cannot be used, and the old ones are served on"
        );
        self.store.note(Notice {
            at: self.clock.now(),
            kind: "tls.not_reloaded".to_owned(),
            severity: Severity::High,
            subject: "tls".to_owned(),
            message,
            facts: Map::new(),
            notify: false,
        });
    }
}

/// What the files are now.
pub(super) fn stamp(files: &TlsFiles) -> Stamp {
    let all: [Option<&PathBuf>; 3] =
        [Some(&files.cert), Some(&files.key), files.client_ca.as_ref()];
    let of = |path: &PathBuf| {
        let found = fs::metadata(path).ok()?;
        Some((found.dev(), found.ino(), found.size(), found.mtime(), found.mtime_nsec()))
    };
    all.into_iter().flatten().map(of).collect()
}

//! Moves the write-ahead log into the database, in a thread of its own: it waits for the disk, and
//! no call should.

use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use rusqlite::hooks::Wal;
use rusqlite::wal::CheckpointMode;
use rusqlite::{Connection, DEFAULT_NAME, ErrorCode};

use crate::fault::StoreFault;
use crate::file;

/// Pages in the log from which on it is moved.
const PAGES_MIN: i32 = 1_000;

/// Pages that the log grows by until it is tried again where some could not be moved. Each try sorts
/// all that are not moved yet.
const PAGES_STEP: i32 = 250;

/// Pages in the log from which on the writer moves them itself: it writes faster than the thread
/// moves, and the log would grow without end.
const PAGES_MAX: i32 = 32_000;

/// Starts the thread and has the writer's connection wake it. It ends with that connection.
pub(crate) fn start(writer: &mut Connection, path: &Path) -> Result<JoinHandle<()>, StoreFault> {
    let (wake, woken) = sync_channel(1);
    let mut tried_at = 0;
    writer.wal_hook(Some(move |wal: &mut Wal, pages: i32| {
        // The log has begun anew.
        if pages < tried_at {
            tried_at = 0;
        }
        if pages >= PAGES_MAX && pages % PAGES_MIN < 64 {
            // An error from here would pass for a failed commit, and the commit has succeeded.
            let moved = wal.checkpoint();
            moved.unwrap_or_else(|error| tracing::warn!(%error, "the store could not checkpoint its write-ahead log"));
        } else if pages >= PAGES_MIN.max(tried_at + PAGES_STEP) {
            tried_at = pages;
            nudge(&wake);
        }
        Ok(())
    }))?;
    let path = path.to_owned();
    std::thread::Builder::new()
        .name("store-checkpoint".into())
        .spawn(move || run(&path, &woken))
        .map_err(|error| StoreFault::Io(format!("no thread for checkpoints: {error}")))
}

fn nudge(wake: &SyncSender<()>) {
    match wake.try_send(()) {
        // Full: it is awake already. Gone: the store is being closed.
        Ok(()) | Err(TrySendError::Full(()) | TrySendError::Disconnected(())) => {}
    }
}

fn run(path: &Path, woken: &Receiver<()>) {
    let mut connection = None;
    while woken.recv().is_ok() {
        if connection.is_none() {
            connection = file::open_for_checkpoints(path)
                .inspect_err(|fault| tracing::warn!(error = %fault, "no connection for the checkpoints of the store could be opened"))
                .ok();
        }
        let Some(open) = &connection else { continue };
        match open.wal_checkpoint_v2(DEFAULT_NAME, CheckpointMode::PASSIVE) {
            Ok(_) => {}
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => {}
            Err(error) => {
                tracing::warn!(%error, "the write-ahead log was not moved into the store")
            }
        }
    }
}

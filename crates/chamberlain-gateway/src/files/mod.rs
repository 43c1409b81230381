//! `/v1/files`: a virtual key's own files and nobody else's.
//!
//! At Anthropic a file belongs to the workspace of the upstream key, so everybody who shares that
//! key could read, name and delete everybody's files. Here a file belongs to the virtual key that
//! uploaded it: its id is bound before the client sees it, whatever names another id is refused
//! as if there were no such file, and lists are answered from our own record alone.
//!
//! Files are free. A call about them still asks policy, counts against the limits and is on
//! record before it is sent. What is in a file passes through and is not looked at.

mod form;
mod list;
mod own;
mod upload;

use std::sync::Arc;

use chamberlain_core::record::Route;
use chamberlain_core::resource::{Resource, ResourceKind};
use http::Response;
use hyper::body::Incoming;

pub(crate) use self::form::{BrokenOff, Form};
pub(crate) use self::upload::announced;
use crate::bound::bounded;
use crate::decide::Decided;
use crate::forward::{Deletion, Recorded};
use crate::gateway::Inner;
use crate::notice::Witness;
use crate::refuse::Stop;
use crate::stream::AnswerBody;

/// True for the routes of this room.
pub(crate) fn is_about_files(route: Route) -> bool {
    matches!(
        route,
        Route::FileUpload | Route::Files | Route::File | Route::FileContent | Route::FileDelete
    )
}

impl Inner {
    /// Admits, records and answers a call about files.
    pub(crate) async fn call_files(
        self: Arc<Self>,
        decided: Box<Decided>,
        body: &mut Incoming,
        witness: &mut Witness,
    ) -> Result<Response<AnswerBody>, Stop> {
        let route = decided.subject.route;
        let own = self.own_file(&decided).await?;
        if route != Route::Files {
            self.breaker_is_not_open(&decided)?;
        }
        let admitted = self.admit(bounded(decided)?).await?;
        let recorded = self.record(admitted).await?;
        witness.is_on_record = true;
        match (route, own) {
            (Route::FileUpload, _) => self.upload_file(recorded, body).await,
            (Route::Files, _) => self.list_files(recorded).await,
            (Route::FileDelete, Some(file)) => self.delete_file(recorded, file).await,
            _ => self.forward(recorded).await,
        }
    }

    /// Deletes one's own file upstream, and forgets it when it is gone there.
    async fn delete_file(
        self: Arc<Self>,
        mut recorded: Recorded,
        file: Resource,
    ) -> Result<Response<AnswerBody>, Stop> {
        // Another key may be of another workspace, where this file never was.
        let is_at_home = recorded.decided.destination.key() == file.upstream_key.as_ref();
        let kind = ResourceKind::File;
        recorded.deletes = Some(Box::new(Deletion { kind, id: file.id, is_at_home }));
        self.forward(recorded).await
    }
}

//! Whose file a path names. There is one answer for a file that does not exist and for one that
//! another virtual key made, in the same words and by the same look-up.

use chamberlain_core::admission::refusal::Refusal;
use chamberlain_core::record::Route;
use chamberlain_core::resource::{Resource, ResourceId, ResourceKind};

use crate::decide::Decided;
use crate::gateway::Inner;
use crate::identify::Call;
use crate::refuse::Stop;

impl Inner {
    /// The file that a call names by its path; `None` on routes that name none.
    pub(super) async fn own_file(&self, decided: &Decided) -> Result<Option<Resource>, Stop> {
        let Some(text) = named(decided.subject.route, decided.head.uri.path()) else {
            return Ok(None);
        };
        let unknown = || Refusal::UnknownResource { kind: ResourceKind::File, id: text.to_owned() };
        let id = ResourceId::parse(text).ok_or_else(unknown)?;
        let found = self.own_files(&decided.call, vec![id]).await?;
        Ok(Some(found.into_iter().next().ok_or_else(unknown)?))
    }

    /// Of the files named, those that are the caller's own. That others were named is told.
    pub(super) async fn own_files(
        &self,
        call: &Call,
        ids: Vec<ResourceId>,
    ) -> Result<Vec<Resource>, Refusal> {
        let wanted = ids.into_iter().map(|id| (ResourceKind::File, id)).collect();
        let found = self.look_up(call, wanted).await?;
        Ok(found.into_iter().flatten().filter(|file| self.is_own(call, file)).collect())
    }
}

/// The id that a path names.
fn named(route: Route, path: &str) -> Option<&str> {
    let rest = path.strip_prefix("/v1/files/")?;
    match route {
        Route::File | Route::FileDelete => Some(rest),
        Route::FileContent => rest.strip_suffix("/content"),
        _ => None,
    }
}

//! Whose file a path names. There is one answer for a file that does not exist and for one that
//! another virtual key made, in the same words and by the same look-up.

use chamberlain_core::admission::refusal::Refusal;
use chamberlain_core::record::{Notice, Route, Severity};
use chamberlain_core::resource::{Resource, ResourceId, ResourceKind};
use serde_json::{Map, json};

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
    ) -> Result<Vec<Resource>, Stop> {
        let wanted = ids.into_iter().map(|id| (ResourceKind::File, id)).collect();
        let found = self.journal.resources(wanted).await.map_err(|fault| {
            tracing::error!("whose a file is could not be read: {fault}");
            Refusal::NotOnRecord
        })?;
        let (own, foreign): (Vec<_>, Vec<_>) =
            found.into_iter().flatten().partition(|file| file.virtual_key == call.key.id);
        for file in &foreign {
            self.note_foreign(call, file);
        }
        Ok(own)
    }

    fn note_foreign(&self, call: &Call, file: &Resource) {
        let mut facts = Map::new();
        facts.insert("call".to_owned(), json!(call.id));
        facts.insert("virtual_key".to_owned(), json!(call.key.id));
        facts.insert("source".to_owned(), json!(call.source));
        facts.insert("kind".to_owned(), json!(file.kind));
        facts.insert("id".to_owned(), json!(file.id));
        facts.insert("owner".to_owned(), json!(file.virtual_key));
        self.note(Notice {
            at: self.now(),
            kind: "security.foreign_id".to_owned(),
            severity: Severity::Warning,
            subject: format!("virtual key {}", call.key.id),
            message: format!(
                "{} named the {} {}, which belongs to the virtual key {}. It was refused as if \
                 there were no such {}.",
                call.id, file.kind, file.id, file.virtual_key, file.kind
            ),
            facts,
            notify: false,
        });
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

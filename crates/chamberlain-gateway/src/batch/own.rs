//! Whose batch a path names, and whose is what its items name. There is one answer for a batch that does not exist and for one that
//! another virtual key submitted, in the same words and by the same look-up.

use std::collections::BTreeMap;

use chamberlain_core::admission::refusal::Refusal;
use chamberlain_core::anthropic::request::{MalformedRequest, RequestFacts};
use chamberlain_core::batch::Item;
use chamberlain_core::record::Route;
use chamberlain_core::resource::{Resource, ResourceId, ResourceKind};

use crate::decide::Decided;
use crate::gateway::Inner;
use crate::identify::Call;
use crate::refuse::Stop;

impl Inner {
    /// The batch that a call names by its path; `None` on routes that name none.
    pub(super) async fn own_batch(&self, decided: &Decided) -> Result<Option<Resource>, Stop> {
        let Some(text) = named(decided.subject.route, decided.head.uri.path()) else {
            return Ok(None);
        };
        let kind = ResourceKind::Batch;
        let unknown = || Refusal::UnknownResource { kind, id: text.to_owned() };
        let id = ResourceId::parse(text).ok_or_else(unknown)?;
        let found = self.look_up(&decided.call, vec![(kind, id)]).await?;
        let batch = found.into_iter().flatten().next().ok_or_else(unknown)?;
        if self.is_own(&decided.call, &batch) { Ok(Some(batch)) } else { Err(unknown().into()) }
    }

    /// Refuses a batch that refers to what is not its caller's own, naming the item.
    pub(super) async fn refers_to_own(&self, call: &Call, named: Named) -> Result<(), Stop> {
        let is_heard = |(kind, id): &(ResourceKind, ResourceId)| {
            *kind == ResourceKind::Message && self.messages.heard(id, &call.key.id)
        };
        let (wanted, items): (Vec<_>, Vec<_>) =
            named.0.into_iter().filter(|(named, _)| !is_heard(named)).unzip();
        if wanted.is_empty() {
            return Ok(());
        }
        let found = self.look_up(call, wanted.clone()).await?;
        for (((kind, id), item), resource) in wanted.into_iter().zip(items).zip(found) {
            if !resource.is_some_and(|resource| self.is_own(call, &resource)) {
                let (index, custom_id) = item;
                let refusal = Box::new(Refusal::UnknownResource { kind, id: id.to_string() });
                return Err(Refusal::BatchItem { index, custom_id, refusal }.into());
            }
        }
        Ok(())
    }
}

/// What the items of a batch refer to by id, each with the first item that does.
#[derive(Default)]
pub(super) struct Named(BTreeMap<(ResourceKind, ResourceId), (u64, String)>);

/// More different ids than this are looked up for no batch.
const NAMED_MAX: usize = 10_000;

impl Named {
    /// Notes what an item refers to.
    pub(super) fn note(&mut self, item: &Item<'_>) -> Result<(), Refusal> {
        let RequestFacts { container, files, diagnosed_message, .. } = item.facts;
        let all = container
            .iter()
            .map(|id| (ResourceKind::Container, id))
            .chain(files.iter().map(|id| (ResourceKind::File, id)))
            .chain(diagnosed_message.iter().map(|id| (ResourceKind::Message, id)));
        for (kind, id) in all {
            let first = || (item.index, item.custom_id.to_owned());
            self.0.entry((kind, id.clone())).or_insert_with(first);
            if self.0.len() > NAMED_MAX {
                return Err(Refusal::Malformed(MalformedRequest::Field {
                    field: "requests".to_owned(),
                    reason: format!("a batch names at most {NAMED_MAX} files and containers"),
                }));
            }
        }
        Ok(())
    }
}

/// The id that a path names.
fn named(route: Route, path: &str) -> Option<&str> {
    let rest = path.strip_prefix("/v1/messages/batches/")?;
    match route {
        Route::Batch | Route::BatchDelete => Some(rest),
        Route::BatchResults => rest.strip_suffix("/results"),
        Route::BatchCancel => rest.strip_suffix("/cancel"),
        _ => None,
    }
}

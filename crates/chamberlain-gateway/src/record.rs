//! Record: nothing leaves before it is on record, and what cannot be recorded does not leave.

use chamberlain_core::admission::gate::Reservation;
use chamberlain_core::admission::refusal::Refusal;
use chamberlain_core::anthropic::request::RequestFacts;
use chamberlain_core::record::{Intent, Route};
use chamberlain_core::resource::ResourceId;

use crate::decide::Destination;
use crate::escort::Custody;
use crate::identify::Call;
use crate::journal::{Answer, JournalFault};
use crate::permit::Permit;

/// What a call is, as the record tells it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Subject {
    pub(crate) route: Route,
    pub(crate) operation: Option<String>,
    pub(crate) model: String,
    pub(crate) max_tokens: u64,
    pub(crate) stream: bool,
    /// True when upstream may sample more than once: what was seen of a broken answer then says
    /// little about its cost.
    pub(crate) samples_again: bool,
    /// What its answer may hand out.
    pub(crate) custody: Option<Custody>,
    /// The file or batch that its path names.
    pub(crate) resource: Option<ResourceId>,
}

impl Subject {
    pub(crate) fn new(
        route: Route,
        operation: Option<String>,
        request: Option<&RequestFacts>,
        path: &str,
    ) -> Subject {
        let model = match request {
            Some(request) => request.model.clone(),
            None if route == Route::Model => path.rsplit('/').next().unwrap_or_default().to_owned(),
            None => String::new(),
        };
        Subject {
            route,
            operation,
            model,
            max_tokens: request.and_then(|request| request.max_tokens).unwrap_or(0),
            stream: request.is_some_and(|request| request.stream),
            resource: resource(route, path),
            custody: request.filter(|_| route == Route::Messages).and_then(Custody::of),
            samples_again: request.is_some_and(|request| {
                !request.server_tools.is_empty() || request.mcp || request.compaction
            }),
        }
    }

    /// What is written before the call leaves.
    pub(crate) fn intent(
        &self,
        call: &Call,
        reservation: &Reservation,
        destination: &Destination,
    ) -> Intent {
        Intent {
            call: reservation.call,
            at: reservation.at,
            virtual_key: call.key.id.clone(),
            environment: call.environment.name.clone(),
            upstream_key: destination.key().cloned(),
            route: self.route,
            operation: self.operation.clone(),
            model: self.model.clone(),
            max_tokens: self.max_tokens,
            stream: self.stream,
            source: call.source,
            reserved: reservation.cost,
            accounts: reservation.accounts.clone(),
            resource: self.resource.clone(),
        }
    }
}

/// The id that a path names.
fn resource(route: Route, path: &str) -> Option<ResourceId> {
    use Route as R;
    let place = match route {
        R::File | R::FileContent | R::FileDelete => 3,
        R::Batch | R::BatchResults | R::BatchCancel | R::BatchDelete => 4,
        _ => return None,
    };
    ResourceId::parse(path.split('/').nth(place)?)
}

/// The journal's answer to an intent, still on its way.
pub(crate) type Acknowledgement = Answer<()>;

/// A call that was admitted; its intent is with the journal, but not yet known to be on record.
/// It cannot leave: only [`Pending::recorded`] makes the permit that forwarding takes.
pub(crate) struct Pending {
    held: Option<(Permit, Acknowledgement)>,
}

impl Pending {
    pub(crate) fn new(permit: Permit, acknowledgement: Acknowledgement) -> Pending {
        Pending { held: Some((permit, acknowledgement)) }
    }

    /// Waits until the intent is on record.
    ///
    /// # Errors
    /// [`Refusal::NotOnRecord`]; then nothing is held any more.
    pub(crate) async fn recorded(mut self) -> Result<Permit, Refusal> {
        let (_, acknowledgement) =
            self.held.as_mut().expect("taken only here and when dropped, and this takes self");
        let answer = acknowledgement.await;
        let (permit, _) = self.held.take().expect("see above");
        resolve(permit, answer)
    }
}

/// Turns the journal's answer into the right to leave, or gives everything back.
fn resolve(permit: Permit, answer: Result<(), JournalFault>) -> Result<Permit, Refusal> {
    let Err(fault) = answer else { return Ok(permit) };
    let call = permit.tale().call.id;
    tracing::error!(%call, error = %fault, "a call could not be put on record and was refused");
    permit.forget();
    Err(Refusal::NotOnRecord)
}

impl Drop for Pending {
    /// The client left while the intent was being written. Whether it is on record must be known
    /// before the end can be told, so this waits on beside; the permit then settles as not sent.
    fn drop(&mut self) {
        let Some((permit, acknowledgement)) = self.held.take() else { return };
        permit.gateway().clone().aside(async move {
            let _unsent = resolve(permit, acknowledgement.await);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_path_names_is_on_record() {
        let named = |route, path: &str| resource(route, path).map(|id| id.to_string());
        for (route, rest) in [(Route::File, ""), (Route::FileContent, "/content")] {
            let path = format!("/v1/files/file_1{rest}");
            assert_eq!(named(route, &path).as_deref(), Some("file_1"));
        }
        assert_eq!(named(Route::FileDelete, "/v1/files/file_2").as_deref(), Some("file_2"));
        for (route, rest) in [
            (Route::Batch, ""),
            (Route::BatchResults, "/results"),
            (Route::BatchCancel, "/cancel"),
            (Route::BatchDelete, ""),
        ] {
            let path = format!("/v1/messages/batches/msgbatch_1{rest}");
            assert_eq!(named(route, &path).as_deref(), Some("msgbatch_1"));
        }
        assert_eq!(named(Route::Batches, "/v1/messages/batches"), None);
        assert_eq!(named(Route::Messages, "/v1/messages"), None);
    }
}

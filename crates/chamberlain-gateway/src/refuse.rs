//! Every no of the gateway as an answer to the client, in Anthropic's shape.
//!
//! A [`Refusal`] is a rule that said no; its text is core's. A [`Fault`] is something that broke,
//! told apart by whose it is: the client's, upstream's, or ours.

use bytes::Bytes;
use chamberlain_core::admission::refusal::{Answer, Refusal};
use chamberlain_core::anthropic::error::{ErrorType, error_body};
use chamberlain_core::id::{CallId, EnvironmentName, UpstreamKeyId};
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode};

use crate::headers::{CALL, CODE, REQUEST_ID, SHOULD_RETRY, call_value};
use crate::stream::AnswerBody;

/// What broke on the way of a call.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Fault {
    /// The client's: two readers could see different requests in it.
    BadHead {
        /// What is wrong with it.
        what: &'static str,
    },
    /// The client's: its path and query are too long.
    TargetTooLong {
        /// The limit in bytes.
        limit_bytes: usize,
    },
    /// The client's: it expects something that is not known here.
    Expectation,
    /// The client's: its body did not arrive in time.
    BodyTimeout,
    /// The client's: its body broke off.
    BodyBroken,
    /// Ours: the virtual key's environment is not configured any more.
    NoEnvironment(EnvironmentName),
    /// Ours: the environment has no upstream key.
    NoUpstreamKey(EnvironmentName),
    /// Ours: the environment's upstream key was contained, and none took its place.
    KeyContained(EnvironmentName),
    /// Ours: the upstream key is not open.
    KeyNotOpen(UpstreamKeyId),
    /// Ours: the upstream key was removed while the call was in flight.
    KeyRemoved(UpstreamKeyId),
    /// Ours: no mock is running for a test-mode key.
    NoMock,
    /// Upstream's: it does not take our key.
    KeyRejected(EnvironmentName),
    /// Upstream's: it could not be reached; nothing was sent.
    Unreachable,
    /// Upstream's: the connection broke before an answer began; what it did is unknown.
    Lost,
    /// Upstream's: no answer began in time; what it did is unknown.
    NoAnswer {
        /// How long it was waited for, milliseconds.
        waited_ms: u64,
    },
    /// Upstream's: it sent the call somewhere else.
    Redirected {
        /// Its status.
        status: u16,
    },
    /// Upstream's: the connection broke before an upload was answered.
    UploadLost,
    /// Upstream's: what it made of an upload could not be read.
    UploadUnreadable,
    /// Upstream's: it did not answer the submission of a batch; whether it took it is unknown.
    BatchLost,
    /// Upstream's: it took a batch that could not be bound to its virtual key.
    BatchUnbound,
    /// Upstream's: what it says of a batch cannot be read, so that its link cannot be changed.
    BatchUnreadable,
    /// Ours, unforeseen.
    Ours,
}

impl Fault {
    /// What to tell the client.
    pub(crate) fn answer(&self) -> Answer {
        let (status, kind, code, should_retry) = self.class();
        let message = self.message();
        Answer { status, kind, code, message, retry_after_seconds: None, should_retry }
    }

    /// `should_retry` is what an SDK would do by itself with the same failure of Anthropic's,
    /// except where only a person can help.
    fn class(&self) -> (u16, ErrorType, &'static str, bool) {
        use ErrorType as T;
        match self {
            Fault::BadHead { .. } => (400, T::InvalidRequestError, "request_head_invalid", false),
            Fault::TargetTooLong { .. } => {
                (414, T::InvalidRequestError, "request_target_too_long", false)
            }
            Fault::Expectation => (417, T::InvalidRequestError, "expectation_unknown", false),
            Fault::BodyTimeout => (400, T::InvalidRequestError, "request_body_timeout", false),
            Fault::BodyBroken => (400, T::InvalidRequestError, "request_body_broken", false),
            Fault::NoEnvironment(_) => (503, T::ApiError, "no_environment", false),
            Fault::NoUpstreamKey(_) => (503, T::ApiError, "no_upstream_key", false),
            Fault::KeyContained(_) => (503, T::ApiError, "upstream_key_contained", false),
            Fault::KeyNotOpen(_) => (503, T::ApiError, "upstream_key_not_open", false),
            Fault::KeyRemoved(_) => (503, T::ApiError, "upstream_key_removed", true),
            Fault::NoMock => (503, T::ApiError, "no_mock", false),
            Fault::KeyRejected(_) => (502, T::ApiError, "upstream_key_rejected", false),
            Fault::Unreachable => (502, T::ApiError, "upstream_unreachable", true),
            Fault::Lost => (502, T::ApiError, "upstream_connection_lost", true),
            Fault::NoAnswer { .. } => (504, T::TimeoutError, "upstream_timeout", true),
            Fault::Redirected { .. } => (502, T::ApiError, "upstream_redirected", false),
            Fault::UploadLost => (502, T::ApiError, "upload_lost", true),
            Fault::UploadUnreadable => (502, T::ApiError, "upload_unreadable", false),
            // Trying again would submit it again.
            Fault::BatchLost => (502, T::ApiError, "batch_lost", false),
            Fault::BatchUnbound => (502, T::ApiError, "batch_unbound", false),
            Fault::BatchUnreadable => (502, T::ApiError, "batch_unreadable", true),
            Fault::Ours => (500, T::ApiError, "internal", true),
        }
    }

    fn message(&self) -> String {
        match self {
            Fault::BadHead { what } => format!(
                "The head of the request could be read in two ways: {what}. Nothing was sent on, \
                 and the connection ends. Mend the client, or the proxy in front of Chamberlain."
            ),
            Fault::TargetTooLong { limit_bytes } => format!(
                "The path and query are longer than {limit_bytes} bytes. Everything that this \
                 API takes is far shorter; send it in the body."
            ),
            Fault::Expectation => "The only expectation that is known here is 100-continue. \
                Leave the expect header out."
                .to_owned(),
            Fault::BodyTimeout => "The request body did not arrive in time: it may pause for 30 \
                seconds, must bring 64 KiB a second after its first 30, and may take ten minutes (a \
                file upload: an hour, at any pace). \
                Send it again, without long pauses inside."
                .to_owned(),
            Fault::BodyBroken => "The request body broke off before its end. Nothing was sent on; \
                send the whole request again."
                .to_owned(),
            Fault::NoEnvironment(name) => format!(
                "The environment {name} of this virtual key is not configured any more, so this \
                 call was not sent. Your operator can restore it, or issue a key for another one."
            ),
            Fault::NoUpstreamKey(name) => format!(
                "The environment {name} has no Anthropic key yet, so this call was not sent. Your \
                 operator can add one with: chamberlain key add"
            ),
            Fault::KeyContained(name) => format!(
                "The Anthropic key of the environment {name} was taken out of use because it is \
                 not to be trusted any more, and there is no other yet, so this call was not sent. \
                 Your virtual key is fine. Your operator brings calls back with a new key; \
                 chamberlain containment show says how."
            ),
            Fault::KeyNotOpen(id) => format!(
                "The upstream key {id} cannot be used right now, so this call was not sent. Your \
                 operator should run: chamberlain doctor"
            ),
            Fault::KeyRemoved(id) => format!(
                "Your operator took the upstream key {id} that this call was sent with out of use. \
                 What was worked on is charged; a new call goes out with the key in its place, if \
                 there is one."
            ),
            Fault::NoMock => "This is a test-mode key and no mock is running, so this call was \
                not sent. Your operator can start one with: chamberlain mock"
                .to_owned(),
            Fault::KeyRejected(name) => format!(
                "Anthropic does not accept the key that Chamberlain holds for the environment \
                 {name}. Your virtual key is fine; your operator has been told and must replace \
                 the upstream key."
            ),
            Fault::Unreachable => "Chamberlain could not connect to Anthropic. Nothing was sent \
                and nothing is charged; try again."
                .to_owned(),
            Fault::Lost => "The connection to Anthropic broke before an answer began. Whether the \
                call was worked on is unknown, so it stays charged at its upper bound."
                .to_owned(),
            Fault::NoAnswer { waited_ms } => format!(
                "Anthropic did not begin to answer within {waited_ms} ms. Whether the call was \
                 worked on is unknown, so it stays charged at its upper bound. For long answers, \
                 use streaming."
            ),
            Fault::Redirected { status } => format!(
                "What answers in Anthropic's place sent this call somewhere else ({status}). Chamberlain \
                 follows no redirect and passes none on. Your operator should look at \
                 upstream.url, and at what stands between Chamberlain and Anthropic."
            ),
            Fault::UploadLost => "Anthropic did not answer the upload. If it made a file all the \
                same, nobody can reach that file through Chamberlain. Nothing is charged; upload \
                it again."
                .to_owned(),
            Fault::UploadUnreadable => "Anthropic took the upload, and what it answered could not \
                be read, so the file could not be bound to your virtual key and nobody can reach \
                it through Chamberlain. Your operator will find the call in the log."
                .to_owned(),
            Fault::BatchLost => "Anthropic did not answer the submission of this batch. It may have \
                taken it, so the batch stays charged at its upper bound; do not submit it again \
                before your operator has looked for it in the Anthropic Console."
                .to_owned(),
            Fault::BatchUnbound => "Anthropic took this batch, but it could not be bound to your \
                virtual key, so it cannot be reached through Chamberlain. It may run and stays \
                charged at its upper bound; do not submit it again before your operator has looked \
                for it under this call's id."
                .to_owned(),
            Fault::BatchUnreadable => {
                "Anthropic's answer about this batch could not be read, so it \
                was not passed on: the link in it leads past Chamberlain. Try again."
                    .to_owned()
            }
            Fault::Ours => "Chamberlain failed while it handled this call. Your operator will \
                find the reason in its log under this request's id."
                .to_owned(),
        }
    }
}

/// Why a call ended before it was answered by upstream.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Stop {
    /// A rule said no.
    Refused(Refusal),
    /// Something broke.
    Failed(Fault),
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Stop {
        Stop::Refused(refusal)
    }
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Stop {
        Stop::Failed(fault)
    }
}

impl Stop {
    /// What to tell the client.
    pub(crate) fn answer(&self) -> Answer {
        match self {
            Stop::Refused(refusal) => refusal.answer(),
            Stop::Failed(fault) => fault.answer(),
        }
    }
}

/// The `request-id` of our own answers. It cannot be mistaken for one of Anthropic's.
pub(crate) fn own_request_id(call: CallId) -> String {
    let call = call.to_string();
    format!("req_chm_{}", call.trim_start_matches("call_"))
}

/// An answer of our own as a response.
pub(crate) fn response(call: CallId, answer: &Answer) -> Response<AnswerBody> {
    let request_id = own_request_id(call);
    let body = error_body(answer.kind, &answer.message, Some(answer.code), &request_id);
    let mut response = Response::new(AnswerBody::whole(Bytes::from(body)));
    *response.status_mut() =
        StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Ok(request_id) = HeaderValue::try_from(request_id) {
        headers.insert(REQUEST_ID, request_id);
    }
    headers.insert(CALL, call_value(call));
    headers.insert(CODE, HeaderValue::from_static(answer.code));
    let should_retry = if answer.should_retry { "true" } else { "false" };
    headers.insert(SHOULD_RETRY, HeaderValue::from_static(should_retry));
    if let Some(seconds) = answer.retry_after_seconds {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// The answer to a probe: yes, somebody is here.
pub(crate) fn here(call: CallId) -> Response<AnswerBody> {
    let mut response = Response::new(AnswerBody::whole(Bytes::new()));
    response.headers_mut().insert(CALL, call_value(call));
    response
}

#[cfg(test)]
mod tests;

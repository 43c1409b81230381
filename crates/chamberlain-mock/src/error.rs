//! Errors in the shape of the API: status, body and the headers that steer clients.

use http::StatusCode;
use serde::Serialize;

/// An answer that is an error.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct ApiError {
    pub(crate) status: StatusCode,
    pub(crate) kind: String,
    pub(crate) message: String,
    /// `error.details.error_code`
    pub(crate) code: Option<String>,
    /// `retry-after` in seconds
    pub(crate) retry_after: Option<u64>,
    /// `retry-after-ms`
    pub(crate) retry_after_ms: Option<u64>,
    /// `x-should-retry`
    pub(crate) should_retry: Option<bool>,
    /// An HTML page instead of JSON, as an edge in between would send it.
    pub(crate) html: bool,
}

#[derive(Serialize)]
struct Body<'a> {
    r#type: &'static str,
    error: Inner<'a>,
    request_id: &'a str,
}

#[derive(Serialize)]
struct Inner<'a> {
    r#type: &'a str,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<Details<'a>>,
}

#[derive(Serialize)]
struct Details<'a> {
    error_code: &'a str,
}

impl ApiError {
    pub(crate) fn new(status: StatusCode, message: impl Into<String>) -> ApiError {
        ApiError {
            status,
            kind: kind_of(status).to_owned(),
            message: message.into(),
            code: None,
            retry_after: None,
            retry_after_ms: None,
            should_retry: None,
            html: false,
        }
    }

    /// A 400.
    pub(crate) fn invalid(message: impl Into<String>) -> ApiError {
        ApiError::new(StatusCode::BAD_REQUEST, message)
    }

    /// A 404.
    pub(crate) fn not_found(message: impl Into<String>) -> ApiError {
        ApiError::new(StatusCode::NOT_FOUND, message)
    }

    pub(crate) fn with_code(mut self, code: &str) -> ApiError {
        self.code = Some(code.to_owned());
        self
    }

    /// The JSON body.
    pub(crate) fn body(&self, request_id: &str) -> Vec<u8> {
        let details = self.code.as_deref().map(|error_code| Details { error_code });
        crate::json::bytes(&Body {
            r#type: "error",
            error: Inner { r#type: &self.kind, message: &self.message, details },
            request_id,
        })
    }
}

/// The error type that goes with a status.
pub(crate) fn kind_of(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 => "authentication_error",
        402 => "billing_error",
        403 => "permission_error",
        404 => "not_found_error",
        409 => "conflict_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        504 => "timeout_error",
        529 => "overloaded_error",
        status if status >= 500 => "api_error",
        _ => "invalid_request_error",
    }
}

//! Error bodies in Anthropic's shape, for answers that are our own.

use serde::Serialize;

/// Anthropic's error types, as far as we use them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorType {
    /// 400
    InvalidRequestError,
    /// 401
    AuthenticationError,
    /// 402, and our own budget refusals (429)
    BillingError,
    /// 403
    PermissionError,
    /// 404
    NotFoundError,
    /// 413
    RequestTooLarge,
    /// 429
    RateLimitError,
    /// 500
    ApiError,
    /// 504
    TimeoutError,
    /// 529, 503
    OverloadedError,
}

impl ErrorType {
    /// The word on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            ErrorType::InvalidRequestError => "invalid_request_error",
            ErrorType::AuthenticationError => "authentication_error",
            ErrorType::BillingError => "billing_error",
            ErrorType::PermissionError => "permission_error",
            ErrorType::NotFoundError => "not_found_error",
            ErrorType::RequestTooLarge => "request_too_large",
            ErrorType::RateLimitError => "rate_limit_error",
            ErrorType::ApiError => "api_error",
            ErrorType::TimeoutError => "timeout_error",
            ErrorType::OverloadedError => "overloaded_error",
        }
    }
}

/// The JSON body of an error, as bytes.
pub fn error_body(kind: ErrorType, message: &str, code: Option<&str>, request_id: &str) -> Vec<u8> {
    let mut error = serde_json::json!({ "type": kind.name(), "message": message });
    if let Some(code) = code {
        error["details"] = serde_json::json!({ "error_code": code });
    }
    serde_json::json!({ "type": "error", "error": error, "request_id": request_id })
        .to_string()
        .into_bytes()
}

/// An SSE `error` event, as bytes, for streams that break in the middle.
pub fn error_event(
    kind: ErrorType,
    message: &str,
    code: Option<&str>,
    request_id: &str,
) -> Vec<u8> {
    let mut event = b"event: error\ndata: ".to_vec();
    event.extend_from_slice(&error_body(kind, message, code, request_id));
    event.extend_from_slice(b"\n\n");
    event
}
